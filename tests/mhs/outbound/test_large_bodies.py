"""What a large body costs, and one that is made to cost. Spec: 50 A5, §1.2, §11."""

import json
import tracemalloc

import pytest

from mhs.outbound.posting import INTERACTION, face
from openscr.mhs.outbound.refusals import Refused
from openscr.mhs.outbound.request_body import MOST_TOLD, read_request_body

REFERENCE = b'{"message_id":"","description":""}'


def large_body() -> bytes:
    attachment = {"is_base64": True, "content_type": "text/plain", "description": "A", "payload": "QUJD" * 125_000}
    return json.dumps({"payload": "x" * 5_000_000, "attachments": [attachment] * 98}).encode()


async def test_a5_a_full_message_goes_through() -> None:
    body = large_body()
    async with face() as served:
        assert (await served.post(body, interaction_id=INTERACTION)).status == 202
        (asked,) = served.exchanges.asked
    assert (len(asked.payload), len(asked.attachments)) == (5_000_000, 98)
    assert {len(each.payload) for each in asked.attachments} == {500_000}


def test_a5_reading_a_full_message_copies_it_once() -> None:
    body = bytearray(large_body())
    tracemalloc.start()
    try:
        read = read_request_body(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(read.attachments) == 98
    assert peak < 1.2 * len(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"payload":"x","attachments":[' + b"0," * 2_000_000 + b"0]}",
        b'{"payload":"x","external_attachments":[' + b"{}," * 1_000_000 + b"0]}",
        b'{"payload":"x","external_attachments":[' + (REFERENCE + b",") * 200_000 + b"0]}",
    ],
    ids=["numbers", "empty objects", "a mistake far behind"],
)
def test_a_body_that_is_all_mistakes_costs_a_few_times_its_size(body: bytes) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refused:
            read_request_body(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.refusal.code == "body_invalid"
    assert peak < 10 * len(body) + 10_000_000


def test_no_more_mistakes_are_told_than_anybody_reads() -> None:
    body = {"payload": "x", "external_attachments": [{}] * 3_000, **{f"zz{number}": 1 for number in range(3_000)}}
    with pytest.raises(Refused) as refused:
        read_request_body(json.dumps(body).encode())
    told = refused.value.refusal.errors
    assert len([each for each in told if each["pointer"].startswith("/zz")]) == MOST_TOLD
    assert len([each for each in told if each["pointer"].startswith("/external")]) == 2 * MOST_TOLD


def test_any_number_of_references_is_read() -> None:
    read = read_request_body(
        b'{"payload":"x","external_attachments":[' + (REFERENCE + b",") * 20_000 + REFERENCE + b"]}"
    )
    assert len(read.external_attachments) == 20_001
