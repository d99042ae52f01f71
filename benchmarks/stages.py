"""Measures the parts of one upload on their own: where the CPU of a message goes that is not HTTP's.

    python -m benchmarks.stages [--count N] [--rounds R]

Each part does what it does for the 17 kB reference message, in this process and without a network: the best of several
rounds, since a machine only ever makes things slower. What a running service takes more than their sum (``openscr bench
cost``) is HTTP and TLS on both sides, and the event loop. Spec: 90 §6.4; figures go to docs/performance.md.
"""

import argparse
import asyncio
import os
import platform
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

from openscr.access.matrix import load_matrix
from openscr.access.policy import AccessPolicy
from openscr.bench.patients import event_id_of, number_of
from openscr.bench.service import practice_profile
from openscr.bench.summaries import reference_document
from openscr.bench.templates import EVENT, MESSAGE, NUMBER, Template, times_at
from openscr.client.reliable import write_reliable
from openscr.codes import ACTOR_TO_PARTY, UPLOAD, VERSION_CODE
from openscr.delivery.answers import ReplyAddress, acknowledgement_row
from openscr.directory.form import build_directory, read_directory
from openscr.directory.model import CurrentDirectory
from openscr.hl7.gp_summary import read_summary_message, write_upload
from openscr.hl7.wrapper import Heading, read_wrapper
from openscr.identifiers import ebxml_timestamp, hl7_timestamp, mint_uuid, slot_of, utc_now
from openscr.record.decision import RecordRules
from openscr.record.record import Reception, Record
from openscr.spine import MessageIds, Outcome, Upload
from openscr.store.interface import RawMessage
from openscr.store.opening import open_store
from openscr.testbench.world import demo_directory
from openscr.transport.ebxml import Reliability, check_reliability, read_envelope, write_acknowledgment
from openscr.transport.mime import CLIENT_CONTENT_TYPE, read_multipart
from openscr.transport.verdict import judge
from openscr.transport.xml import read_xml

AT_ONCE = 16
"""Uploads that share a commit, as those of so many connections do."""


class Parts:
    """The reference message, and what is done to it."""

    def __init__(self) -> None:
        self.directory = build_directory(read_directory(demo_directory()), 1)
        self.profile = practice_profile(self.directory)
        self.message = self._message()
        self.multipart = read_multipart(CLIENT_CONTENT_TYPE, self.message)
        self.envelope = read_envelope(read_xml(self.multipart.root.content(self.message)))
        part = self.multipart.part(self.envelope.payload_content_id or "")
        assert part is not None
        self.part = part
        self.payload = part.content(self.message)
        self.root = read_xml(self.payload)
        self.signal = self.acknowledgment()

    def _message(self) -> bytes:
        profile, now, id = self.profile, utc_now(), event_id_of(0, 1)
        heading = Heading(id, hl7_timestamp(now), VERSION_CODE, profile.receiver_asid, profile.asid)
        identified = {NUMBER: number_of(0).encode(), MESSAGE: id.encode(), EVENT: id.encode()}
        document = Template(reference_document()).fill(times_at(now) | identified)
        message = write_reliable(
            write_upload(UPLOAD, heading, document, profile.person),
            action=UPLOAD,
            caller=profile.caller,
            receiver=profile.receiver_party,
            route=profile.route(UPLOAD),
            message_id=id,
            timestamp=ebxml_timestamp(now),
        )
        return message.body

    def read_envelope(self) -> None:
        """MIME parts, the ebXML header and its rules."""
        multipart = read_multipart(CLIENT_CONTENT_TYPE, self.message)
        envelope = read_envelope(read_xml(multipart.root.content(self.message)))
        check_reliability(envelope, Reliability.RELIABLE)

    def parse(self) -> None:
        """The payload's one parse."""
        read_xml(self.part.content(self.message))

    def read_summary(self) -> Upload:
        """Wrapper, rules and metadata of the parsed payload."""
        found = read_summary_message(self.root, read_wrapper(self.root), self.payload, UPLOAD)
        assert isinstance(found.request, Upload)
        return found.request

    def acknowledgment(self) -> bytes:
        """The signal that answers the upload."""
        return write_acknowledgment(
            from_party=self.profile.receiver_party,
            to_party=self.envelope.from_party,
            cpa_id=self.envelope.cpa_id,
            conversation_id=self.envelope.conversation_id,
            message_id=self.envelope.message_id,
            timestamp=ebxml_timestamp(utc_now()),
            ref_to_message_id=self.envelope.message_id,
            actor=ACTOR_TO_PARTY,
        )

    def judge(self) -> None:
        """What the sender's endpoint answered to its application acknowledgement."""
        judge(200, self.signal, self.envelope.message_id)

    async def store(self, file: Path, count: int, *, answered: bool) -> float:
        """Return the CPU microseconds of a decision, its rows and its share of a synced commit.

        With ``answered`` the application acknowledgement is written, kept, and removed as delivered.
        """
        store = open_store(str(file))
        await store.open()
        record = Record(
            store,
            CurrentDirectory(self.directory),
            AccessPolicy(matrix=load_matrix(), unknown_author="accept"),
            RecordRules(open_index=True),
        )
        request, first = self.read_summary(), secrets.randbelow(1_000_000)
        positions = iter(range(first, first + count))

        async def worker() -> None:
            for position in positions:
                number, id = number_of(position), event_id_of(position, 1)
                received = await record.receive(
                    self._reception(id, number, answered=answered),
                    self.profile.caller,
                    MessageIds(id, UPLOAD, id),
                    replace(request, nhs_number=number, event_id=id),
                    nhs_number=number,
                )
                assert received.outcome == Outcome()
                if received.outbox is not None:
                    await store.remove_outbox(received.outbox.slot, received.outbox.id)

        try:
            began = time.process_time()
            await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
            return (time.process_time() - began) / count * 1e6
        finally:
            await store.close()

    def _reception(self, id: str, number: str, *, answered: bool) -> Reception:
        envelope, now, part = self.envelope, utc_now(), self.part
        address = ReplyAddress(
            slot_of(number),
            envelope.from_party,
            envelope.short_service,
            envelope.action,
            envelope.conversation_id,
            id,
            id,
            self.profile.asid,
            self.profile.receiver_asid,
        )
        return Reception(
            from_party=envelope.from_party,
            message_id=id,
            raw=RawMessage(self.message, part.start, part.end - part.start),
            received_at=now,
            signal=self.signal,
            answer=(lambda outcome: acknowledgement_row(address, outcome, self.directory, mint_uuid(), now))
            if answered
            else None,
        )


def _best(work: Callable[[], object], count: int, rounds: int) -> float:
    """Return the CPU microseconds of the work: the best of several rounds."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        for _ in range(count):
            work()
        found.append((time.process_time() - began) / count * 1e6)
    return min(found)


async def _main(count: int, rounds: int) -> None:
    print(
        f"{date.today()}, {os.cpu_count()} cores, CPython {platform.python_version()}, reference upload, microseconds"
    )
    parts = Parts()
    found = {
        "MIME parts, ebXML header and its rules": _best(parts.read_envelope, count, rounds),
        "the payload's one parse": _best(parts.parse, count, rounds),
        "wrapper, rules and metadata of the summary": _best(parts.read_summary, count, rounds),
        "the signal that answers": _best(parts.acknowledgment, count, rounds),
    }
    plain, answered = [], []
    with tempfile.TemporaryDirectory(prefix="openscr-stages-") as folder:
        for turn in range(rounds // 4 + 1):
            plain.append(await parts.store(Path(folder) / f"plain{turn}.db", count, answered=False))
            answered.append(await parts.store(Path(folder) / f"answered{turn}.db", count, answered=True))
    found["decision, rows, audit, compression, share of a commit"] = min(plain)
    found["acknowledgement written, kept, and removed"] = min(answered) - min(plain)
    found["its endpoint's answer judged"] = _best(parts.judge, count, rounds)
    for name, cost in found.items():
        print(f"{name:<56}{cost:>8,.0f}", flush=True)
    print(f"{'together':<56}{sum(found.values()):>8,.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stages", description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    asyncio.run(_main(given.count, given.rounds))
