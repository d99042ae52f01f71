"""The largest message that there may be, out and in: whole at the other end, and the adaptor's memory in proportion.

Spec: 50 §14.4 A5, §1.2.
"""

import base64
import json
from pathlib import Path

import pytest

from journeys.adaptor import Adaptor
from journeys.stub_estate import estate, issue_certificates
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
from openscr.identifiers import mint_uuid

FORWARD = "COPC_IN000001UK01"
PAYLOAD = f"<{FORWARD}>" + "0123456789é" * 450_000 + f"</{FORWARD}>"
NOTE = "a note of ten thousand letters, or nearly so; " * 220
PICTURE = base64.b64encode(bytes(range(256)) * 30).decode()
ATTACHMENTS = 98
TIMES = 10
"""Resident memory stays below so many times the size of the message. Spec: 50 A5."""


def text_of(number: int) -> str:
    """An attachment's text: every second one is in base64."""
    return f"{number:02}" + NOTE if number % 2 else PICTURE


def unsolicited(payload: str = f"<{FORWARD}/>", *parts: MimePart) -> list[MimePart]:
    """A message that nobody has asked for."""
    references = PAYLOAD_REFERENCE + "".join(reference(f"cid:{part.id}") for part in parts)
    header = envelope(Action=FORWARD, RefToMessageId=None, MessageId=mint_uuid(), references=references)
    return [header_part(header), payload_part(payload), *parts]


def memory(adaptor: Adaptor, figure: str) -> int:
    """Return what a process holds (``VmRSS``), or the most that it has held (``VmHWM``), in bytes."""
    status = Path(f"/proc/{adaptor.process.pid}/status").read_text()
    return int(status.split(f"{figure}:")[1].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not tell a process's memory")
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a5_a_full_message_goes_out_and_comes_in(tmp_path: Path) -> None:
    pki = issue_certificates(tmp_path / "pki")
    async with estate(tmp_path / "data", pki, spine_request_max_size=100_000_000) as between:
        between.script()
        attachments = [
            {
                "is_base64": number % 2 == 0,
                "content_type": "text/plain",
                "payload": text_of(number),
                "description": f"number {number}",
            }
            for number in range(ATTACHMENTS)
        ]
        body = {"payload": PAYLOAD, "attachments": attachments}
        # What every message needs, large or small, is there after the first one.
        assert (await between.supplier.send(FORWARD, f"<{FORWARD}/>")).status == 202
        assert (await between.post({"Content-Type": CONTENT_TYPE}, multipart(*unsolicited())))[0] == 200
        await between.supplier.next_message()
        between.script()
        before = memory(between.adaptor, "VmRSS")
        told = await between.supplier.send(FORWARD, "", body=body, message_id=mint_uuid())
        assert told.status == 202, told.text
        (received,) = between.spine.received
        assert received.payload == PAYLOAD.encode()
        sent = received.multipart.parts[2:]
        assert [received.body[part.start : part.end].decode() for part in sent] == list(
            map(text_of, range(ATTACHMENTS))
        )

        parts = [
            MimePart(
                text_of(number).encode(),
                id=f"{number}@x",
                type="text/plain",
                encoding="8bit" if number % 2 else "base64",
            )
            for number in range(ATTACHMENTS)
        ]
        arriving = multipart(*unsolicited(PAYLOAD, *parts))
        status, answer = await between.post({"Content-Type": CONTENT_TYPE}, arriving)
        assert (status, b"<eb:Acknowledgment " in answer) == (200, True)
        message = (await between.supplier.next_message())["body"]
        assert message["payload"] == PAYLOAD
        assert [each["payload"] for each in message["attachments"]] == list(map(text_of, range(ATTACHMENTS)))
        assert [each["is_base64"] for each in message["attachments"]] == [number % 2 == 0 for number in range(98)]

        size = min(len(json.dumps(body, ensure_ascii=False).encode()), len(arriving))
        assert memory(between.adaptor, "VmHWM") - before < TIMES * size
        assert memory(between.adaptor, "VmRSS") - before < TIMES / 2 * size, "most of it is given back afterwards"
