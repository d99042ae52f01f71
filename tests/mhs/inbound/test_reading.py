"""Reading never fails but in words of ours, loses nothing, and takes no more than it must. Spec: 50 §3.1, F10, A5."""

import base64
import quopri
import tracemalloc
from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from mhs.inbound.posting import (
    CONTENT_TYPE,
    PAYLOAD_REFERENCE,
    MimePart,
    envelope,
    header_part,
    multipart,
    payload_part,
    reference,
)
from openscr.mhs.inbound.answers import Refused
from openscr.mhs.inbound.charsets import decode
from openscr.mhs.inbound.reading import Arrived, read_arrived
from openscr.mhs.queue_message import read_inbound_message, write_inbound_message

MESSAGE = multipart(
    header_part(envelope(references=PAYLOAD_REFERENCE + reference("cid:a@x") + reference("mid:b", description="c"))),
    payload_part(),
    MimePart(b"aGVsbG8=", id="a@x", type="application/pdf", encoding="base64"),
)
texts = st.text(st.characters(exclude_categories=("Cs",)))
encodings = st.sampled_from(["7bit", "8bit", "binary", "base64", "quoted-printable", ""])


def read(content_type: str, body: bytes) -> Arrived | Refused:
    try:
        return read_arrived(content_type, body)
    except Refused as refused:
        return refused


@given(st.integers(0, len(MESSAGE)), st.integers(0, 40), st.binary(max_size=40))
def test_a_damaged_message_is_read_or_refused(at: int, length: int, change: bytes) -> None:
    damaged = MESSAGE[:at] + change + MESSAGE[at + length :]
    arrived = read(CONTENT_TYPE, damaged)
    if isinstance(arrived, Refused):
        assert arrived.status == 500
    else:
        assert read_inbound_message(write_inbound_message(arrived.message)) == arrived.message


@given(st.text(max_size=200), st.binary(max_size=300))
def test_anything_at_all_is_read_or_refused(content_type: str, body: bytes) -> None:
    arrived = read(content_type, body)
    assert not isinstance(arrived, Refused) or arrived.status == 500


@given(texts)
def test_any_text_arrives_as_the_payload_that_it_was(text: str) -> None:
    for encoding in ("8bit", "base64"):
        content = text.encode() if encoding == "8bit" else base64.b64encode(text.encode())
        body = multipart(header_part(), payload_part(content, encoding=encoding))
        assert read_arrived(CONTENT_TYPE, body).message.payload == text


@given(st.binary(), encodings)
def test_any_bytes_of_an_attachment_can_be_had_back(content: bytes, encoding: str) -> None:
    """As text, in base64 as they came, or in base64 by us."""
    writers = {"base64": base64.encodebytes, "quoted-printable": partial(quopri.encodestring, quotetabs=True)}
    sent = writers.get(encoding, bytes)(content)
    if b"----=_MIME-Boundary" in sent:
        return
    references = PAYLOAD_REFERENCE + reference("cid:a@x")
    part = MimePart(sent, id="a@x", type="application/octet-stream", encoding=encoding)
    body = multipart(header_part(envelope(references=references)), payload_part(), part)
    (attachment,) = read_arrived(CONTENT_TYPE, body).message.attachments
    found = base64.b64decode(attachment.payload) if attachment.is_base64 else attachment.payload.encode()
    assert found == content


@given(st.binary(max_size=50), st.text(max_size=30))
def test_a_charset_of_any_name_is_taken_or_left(content: bytes, name: str) -> None:
    text = decode(content, f'text/xml; charset="{name}"')
    assert text is None or isinstance(text, str)


def test_a5_large_message_with_98_attachments_stays_below_ten_times_its_size() -> None:
    """5 MB of payload, the rest in attachments: from the body to what goes onto the queue."""
    ids = [f"{number}@x" for number in range(98)]
    references = PAYLOAD_REFERENCE + "".join(reference(f"cid:{id}") for id in ids)
    parts = [MimePart(base64.b64encode(bytes(30_000)), id=id, type="image/png", encoding="base64") for id in ids]
    payload = payload_part("<a>" + "é" * 2_500_000 + "</a>")
    body = multipart(header_part(envelope(references=references)), payload, *parts)
    tracemalloc.start()
    try:
        arrived = read_arrived(CONTENT_TYPE, body)
        written = write_inbound_message(arrived.message)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(arrived.message.attachments) == 98
    assert len(written) > 8_900_000
    assert peak < 10 * len(body)
