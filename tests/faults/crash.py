"""The crash test: a service is killed again and again while clients upload; then everybody's word is compared.

Clients repeat what was not answered, the same bytes each time, as their contract says, and write down in a journal what
they sent and what they were told. The service is ended by ``kill -9`` at random moments, some of them while it starts.
Afterwards the journals are held against what the service answers, what lies in its store, and what has arrived at the
endpoint of the clients' party.

What must hold: what was answered 202 is there, exactly once; every application acknowledgement arrives, under one
MessageId and with the same bytes each time; a repetition is answered as the first time; the store and the chain of its
audit are whole.

Spec: 00 §7; 40 §6.3, §6.5, §7.6, §8; 90 §6.1.
"""

import asyncio
import contextlib
import hashlib
import json
import random
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from journeys.endpoint import ClientEndpoint, Delivery, Reply, acknowledge
from journeys.messages import PRACTICE, fresh_patient
from journeys.polling import ACTION, CLINICAL, CONTENT_TYPE, FacadeUpload, read_as_the_facade
from journeys.runner import (
    Server,
    client_context,
    command,
    import_directory,
    launch,
    live_directory,
    outbox_rows,
    stored,
)
from journeys.wire import Answer, Connection, Ended, connected, request_bytes, signal_of, soap_of
from openscr.codes import EVENT_LIST_ANSWER, POLLING_UPLOAD, UPLOAD
from openscr.hl7.psis import read_event_list_answer
from openscr.spine import EventStatus
from openscr.transport.soap import read_fault
from openscr.transport.xml import read_xml

RETRY_INTERVAL = 0.2
"""Seconds between two attempts, on both sides: a contract of minutes for people without patience."""

RETRIES = 99
REFUSED_DELIVERIES = 0.05
"""Share of deliveries that the endpoint does not take at first, so that the service has to come again."""

KILLED_WHILE_STARTING = 0.2
LONGEST_START = 1.5
"""Share of kills that hit the start again, and up to how many seconds after its beginning."""

PATIENCE = 300
"""Seconds for anything that must end, on however slow a machine."""

SETTINGS = {"patient_index": "open", "unknown_author": "accept"}


@dataclass(frozen=True)
class Plan:
    """How much is done: everything that is drawn by lot follows from ``seed``, but not the timing of two processes."""

    uploads: int
    kills: int
    reliable_clients: int
    polling_clients: int
    seed: int


@dataclass(frozen=True)
class Message:
    """One upload, complete: what every attempt sends. ``version`` counts the patient's summaries from 0."""

    nhs_number: str
    version: int
    event_id: str
    message_id: str
    polling: bool
    request: bytes
    facade: FacadeUpload | None = None


@dataclass
class Report:
    """What happened, in numbers, and everything that should not have."""

    plan: Plan
    seconds: float = 0.0
    kills_while_serving: int = 0
    kills_while_starting: int = 0
    uploads: int = 0
    patients: int = 0
    attempts: int = 0
    unanswered: int = 0
    acknowledged: int = 0
    recognised: int = 0
    found_once: int = 0
    polled: int = 0
    unanswered_polls: int = 0
    application_acknowledgements: int = 0
    deliveries: int = 0
    delivered_again: int = 0
    repeated_at_the_end: int = 0
    audit_rows: int = 0
    verified: str = ""
    faults: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """Yield the figures for people."""
        yield f"seed {self.plan.seed}: {self.uploads} uploads for {self.patients} patients in {self.seconds:.0f} s"
        plan = self.plan
        yield f"clients                          {plan.reliable_clients} reliable, {plan.polling_clients} polling"
        kills = f"{self.kills_while_serving} at work, {self.kills_while_starting} while it started"
        yield f"kills                            {kills}"
        yield f"posts                            {self.attempts}, of them repeated {self.attempts - self.uploads}"
        yield f"posts without an answer          {self.unanswered}"
        yield f"acknowledged                     {self.acknowledged}"
        yield f"recognised as repetitions        {self.recognised}"
        yield f"found exactly once               {self.found_once}"
        yield f"results polled                   {self.polled}, polls without an answer {self.unanswered_polls}"
        yield f"acknowledgements delivered       {self.application_acknowledgements}, each under one MessageId"
        yield f"deliveries                       {self.deliveries}, of them again {self.delivered_again}"
        yield f"answered again at the end alike  {self.repeated_at_the_end}"
        yield f"audit rows of uploads            {self.audit_rows}"
        yield f"openscr admin verify             {self.verified}"
        yield f"faults                           {len(self.faults)}"


# --- journals -------------------------------------------------------------------------------------------------------


class Journal:
    """What one client knows, line by line, on disk before it goes on."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")

    def write(self, what: str, message: Message, **more: object) -> None:
        """Write one line about a message."""
        self._file.write(json.dumps({"what": what, "message_id": message.message_id, **more}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_journals(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the lines of all journals by message."""
    found: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("client-*.jsonl")):
        for line in path.read_text("utf-8").splitlines():
            entry = json.loads(line)
            found.setdefault(entry["message_id"], []).append(entry)
    return found


def digest_of(data: bytes) -> str:
    """Return what stands in a journal for some bytes."""
    return hashlib.sha256(data).hexdigest()


# --- the service that dies ------------------------------------------------------------------------------------------


class MortalService:
    """A service that is killed in the middle of its work and started again, on new ports each time."""

    def __init__(self, data: Path, dice: random.Random) -> None:
        self._data = data
        self._dice = dice
        self._server: Server | None = None
        self._ready = asyncio.Event()
        self.generation = 0
        self.kills_while_serving = 0
        self.kills_while_starting = 0

    async def begin(self) -> None:
        """Start it."""
        self._server = await asyncio.to_thread(Server.start, self._data, **SETTINGS)
        self.generation += 1
        self._ready.set()

    async def die(self) -> None:
        """Kill it in the middle of whatever it does, sometimes again while it starts, and start it again."""
        assert self._server is not None
        self._ready.clear()
        await asyncio.to_thread(self._server.kill)
        self.kills_while_serving += 1
        while self._dice.random() < KILLED_WHILE_STARTING:
            process, _ = await asyncio.to_thread(launch, self._data, **SETTINGS)
            await asyncio.sleep(self._dice.uniform(0, LONGEST_START))
            process.kill()
            await asyncio.to_thread(process.wait)
            assert process.stdout is not None
            process.stdout.close()
            self.kills_while_starting += 1
        await self.begin()

    async def stop(self) -> int:
        """End it as its operator would; return its exit code."""
        assert self._server is not None
        return await asyncio.to_thread(self._server.stop)

    async def address(self) -> tuple[str, int]:
        """Return where it answers, once it does, and its how manieth life this is."""
        await self._ready.wait()
        assert self._server is not None
        return self._server.spine, self.generation

    def logged(self, outcome: str) -> int:
        """Return how often its logs say that a request ended so, over all its lives."""
        found = 0
        for log in self._data.glob("service-*.log"):
            for line in log.read_text("utf-8").splitlines():
                # The last line of a life may be cut off.
                with contextlib.suppress(ValueError):
                    entry = json.loads(line)
                    found += entry.get("event") == "answered" and entry.get("outcome") == outcome
        return found


class Line:
    """A client's kept connection to wherever the service is now."""

    def __init__(self, service: MortalService, tls: ssl.SSLContext) -> None:
        self._service = service
        self._tls = tls
        self._open: contextlib.AsyncExitStack | None = None
        self._connection: Connection | None = None
        self._generation = 0

    async def __aenter__(self) -> Self:
        """Nothing is opened before the first request."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        await self._hang_up()

    async def _hang_up(self) -> None:
        stack, self._open, self._connection = self._open, None, None
        if stack is not None:
            await stack.aclose()

    async def exchange(self, request: bytes) -> Answer | None:
        """Send a request; none when nothing came back, whatever has become of it."""
        base, generation = await self._service.address()
        try:
            if self._connection is None or generation != self._generation:
                await self._hang_up()
                self._open = contextlib.AsyncExitStack()
                self._connection = await self._open.enter_async_context(connected(base, self._tls))
                self._generation = generation
            return await self._connection.exchange(request)
        except (OSError, Ended):
            await self._hang_up()
            return None


# --- clients --------------------------------------------------------------------------------------------------------


def reliable_message(nhs_number: str, version: int, replaces: str | None) -> Message:
    """Make an upload over reliable messaging."""
    mail = PRACTICE.upload(nhs_number, *([replaces] if replaces else []))
    return Message(nhs_number, version, mail.event_id, mail.message_id, False, mail.post().raw())


def polling_message(nhs_number: str, version: int, replaces: str | None) -> Message:
    """Make an upload as the public FHIR facade writes it."""
    upload = FacadeUpload.of(nhs_number, *([replaces] if replaces else []))
    headers = (("SOAPAction", ACTION), ("Content-Type", CONTENT_TYPE), *upload.headers)
    request = request_bytes(CLINICAL, upload.body, headers)
    return Message(nhs_number, version, upload.event_id.upper(), upload.message_id, True, request, upload)


class Uploader:
    """One client: a share of the patients, each with one to three summaries that replace each other."""

    def __init__(self, line: Line, journal: Journal, faults: list[str], told: asyncio.Queue[str]) -> None:
        self._line = line
        self._journal = journal
        self._faults = faults
        self._told = told

    async def send(self, messages: list[Message]) -> None:
        """Send messages one after the other, each until it is acknowledged; what goes wrong is a fault of the test."""
        for message in messages:
            answer = await self._post(message)
            if answer is not None and message.polling:
                place = answer.header("content-location") or ""
                self._journal.write("accepted", message, place=place)
                await self._poll(message, place)
            elif answer is not None:
                self._journal.write("accepted", message, signal=digest_of(answer.body))
                if signal_of(answer).ref_to_message_id != message.message_id:
                    self._faults.append(f"message {message.message_id}: the signal of another")
            self._told.put_nowait(message.message_id)

    async def _post(self, message: Message) -> Answer | None:
        """Post until there is a 202; what is not answered is sent again, the same bytes. None: refused for good."""
        for _ in range(RETRIES + 1):
            self._journal.write("post", message, event_id=message.event_id)
            answer = await self._line.exchange(message.request)
            if answer is None:
                self._journal.write("no answer", message)
            elif answer.status == 202:
                return answer
            elif not _retriable(answer):
                self._faults.append(f"message {message.message_id}: answered {answer.status}")
                return None
            await asyncio.sleep(RETRY_INTERVAL)
        self._faults.append(f"message {message.message_id}: never answered")
        return None

    async def _poll(self, message: Message, place: str) -> None:
        assert message.facade is not None
        request = request_bytes(place, b"", message.facade.headers, method="GET")
        for _ in range(RETRIES + 1):
            answer = await self._line.exchange(request)
            if answer is None:
                self._journal.write("no result", message)
            elif answer.status == 200:
                result = read_as_the_facade(answer)
                self._journal.write("result", message, success=result.success, result=digest_of(answer.body))
                return
            elif answer.status != 202:
                self._faults.append(f"message {message.message_id}: its result was answered {answer.status}")
                return
            await asyncio.sleep(RETRY_INTERVAL)
        self._faults.append(f"message {message.message_id}: no result")


def _retriable(answer: Answer) -> bool:
    """Whether the contract lets an answer be followed by another attempt. Spec: 40 §6.4."""
    if answer.status == 503:
        return True
    fault = read_fault(read_xml(answer.body)) if answer.status == 500 and answer.body else None
    return fault is not None and fault.retriable


def draw_messages(plan: Plan, dice: random.Random) -> list[list[Message]]:
    """Return every client's messages, in the order in which it sends them."""
    makers: list[Callable[[str, int, str | None], Message]] = [reliable_message] * plan.reliable_clients
    makers += [polling_message] * plan.polling_clients
    shares: list[list[Message]] = [[] for _ in makers]
    remaining = plan.uploads
    turn = 0
    while remaining:
        number, before = fresh_patient(), None
        share, make = shares[turn % len(makers)], makers[turn % len(makers)]
        for version in range(min(remaining, dice.choice((1, 1, 2, 3)))):
            message = make(number, version, before)
            share.append(message)
            before = message.event_id
            remaining -= 1
        turn += 1
    return shares


# --- the test -------------------------------------------------------------------------------------------------------


def moody(dice: random.Random) -> Callable[[Delivery], Reply | None]:
    """Return an endpoint's behaviour: now and then it is out of order."""

    def behave(delivery: Delivery) -> Reply | None:
        return Reply(503) if dice.random() < REFUSED_DELIVERIES else acknowledge(delivery)

    return behave


async def crash(plan: Plan, data: Path, progress: Callable[[str], None] = lambda _: None) -> Report:
    """Run a plan on a data folder that has its keys, and no store yet; return the report, faults and all."""
    dice = random.Random(plan.seed)
    report = Report(plan)
    shares = draw_messages(plan, dice)
    messages = {message.message_id: message for share in shares for message in share}
    report.uploads, report.patients = len(messages), len({message.nhs_number for message in messages.values()})
    started = time.monotonic()
    async with asyncio.timeout(PATIENCE + plan.kills * 30), ClientEndpoint(moody(random.Random(plan.seed))) as endpoint:
        contract = {"retry_interval": f"PT{RETRY_INTERVAL}S", "retries": RETRIES, "persist_duration": "PT1H"}
        await import_directory(data, live_directory(endpoint.url, **contract))
        tls = client_context(data / "pki", "gp.client.test")
        service = MortalService(data, random.Random(plan.seed + 1))
        await service.begin()
        told: asyncio.Queue[str] = asyncio.Queue()

        async def client(turn: int, share: list[Message]) -> None:
            journal = Journal(data / f"client-{turn}.jsonl")
            try:
                async with Line(service, tls) as line:
                    await Uploader(line, journal, report.faults, told).send(share)
            finally:
                journal.close()

        clients = [asyncio.create_task(client(turn, share)) for turn, share in enumerate(shares)]
        # The last tenth is left alone, so that every kill hits clients at work.
        limits = sorted(dice.sample(range(1, max(plan.kills + 1, plan.uploads * 9 // 10)), plan.kills))
        done = 0
        for kill, limit in enumerate(limits, 1):
            while done < limit:
                await told.get()
                done += 1
            await asyncio.sleep(dice.uniform(0, 0.05))
            await service.die()
            progress(f"kill {kill} of {plan.kills}, {done} of {plan.uploads} acknowledged")
        await asyncio.gather(*clients)
        await until(lambda: nothing_owed(data))
        async with Line(service, tls) as line:
            check_journals(read_journals(data), messages, report)
            await check_repetitions(line, messages, data, report)
            await check_lists(line, messages, report)
        check_deliveries(endpoint.deliveries, messages, report)
        await check_store(data, messages, report)
        report.recognised = service.logged("duplicate") - report.repeated_at_the_end
        if await service.stop() != 0:
            report.faults.append("the service did not end as told")
    report.kills_while_serving = service.kills_while_serving
    report.kills_while_starting = service.kills_while_starting
    report.seconds = time.monotonic() - started
    return report


async def nothing_owed(data: Path) -> bool:
    """Whether every answer has been acknowledged."""
    return await outbox_rows(data) == []


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until the answer is yes, within the patience of the whole."""
    while not await holds():  # noqa: ASYNC110  # it is another process that gets there
        await asyncio.sleep(RETRY_INTERVAL)


# --- the checks -----------------------------------------------------------------------------------------------------


def check_journals(
    journals: Mapping[str, list[dict[str, Any]]], messages: Mapping[str, Message], report: Report
) -> None:
    """Hold that every client came to an end with every message, and count what happened on the way."""
    for message_id, message in messages.items():
        lines = journals.get(message_id, [])
        said = Counter(line["what"] for line in lines)
        report.attempts += said["post"]
        report.unanswered += said["no answer"]
        report.unanswered_polls += said["no result"]
        report.acknowledged += said["accepted"]
        if said["accepted"] != 1:
            report.faults.append(f"message {message_id}: acknowledged {said['accepted']} times")
        if message.polling:
            results = [line for line in lines if line["what"] == "result"]
            report.polled += len(results)
            if [line["success"] for line in results] != [True]:
                report.faults.append(f"message {message_id}: no result that says yes")


async def check_repetitions(line: Line, messages: Mapping[str, Message], data: Path, report: Report) -> None:
    """Send everything once more: the answer is the first one, to the byte."""
    known = {
        entry["message_id"]: entry
        for entries in read_journals(data).values()
        for entry in entries
        if "signal" in entry or "result" in entry
    }
    for message_id, message in messages.items():
        answer = await line.exchange(message.request)
        if answer is None or answer.status != 202:
            report.faults.append(f"message {message_id}: not acknowledged again")
            continue
        if message.facade is not None:
            place = answer.header("content-location") or ""
            answer = await line.exchange(request_bytes(place, b"", message.facade.headers, method="GET"))
        first = known.get(message_id, {})
        if answer is None or digest_of(answer.body) not in (first.get("signal"), first.get("result")):
            report.faults.append(f"message {message_id}: answered otherwise than the first time")
            continue
        report.repeated_at_the_end += 1


async def check_lists(line: Line, messages: Mapping[str, Message], report: Report) -> None:
    """Ask the service for every patient's events: each upload once, the last one current, the others replaced."""
    patients: dict[str, list[Message]] = {}
    for message in messages.values():
        patients.setdefault(message.nhs_number, []).append(message)
    for number, uploads in patients.items():
        answer = await line.exchange(PRACTICE.event_list(number).raw())
        assert answer is not None
        events = read_event_list_answer(soap_of(answer, EVENT_LIST_ANSWER).interaction, number).events
        listed = Counter(event.event_id for event in events)
        status = {event.event_id: event.status for event in events}
        for upload in uploads:
            last = upload.version == len(uploads) - 1
            expected = EventStatus.NORMAL if last else EventStatus.REPLACED
            if listed[upload.event_id] == 1 and status[upload.event_id] is expected:
                report.found_once += 1
            else:
                report.faults.append(f"message {upload.message_id}: listed {listed[upload.event_id]} times")
        if len(events) != len(uploads):
            report.faults.append(f"message {uploads[0].message_id}: its patient has {len(events)} events")


def check_deliveries(deliveries: list[Delivery], messages: Mapping[str, Message], report: Report) -> None:
    """Hold that each reliable upload was answered under one MessageId, with the same bytes, and nobody else was."""
    arrived: dict[str, set[tuple[str, bytes]]] = {}
    report.deliveries = len(deliveries)
    for delivery in deliveries:
        envelope = delivery.envelope
        arrived.setdefault(envelope.ref_to_message_id or "", set()).add((envelope.message_id, delivery.body))
        if not delivery.acknowledgement.outcome.accepted:
            report.faults.append(f"message {envelope.ref_to_message_id}: refused")
    reliable = {message_id for message_id, message in messages.items() if not message.polling}
    report.faults += [f"message {message_id}: not expected to be answered" for message_id in arrived.keys() - reliable]
    for message_id in reliable:
        found = arrived.get(message_id, set())
        if len(found) == 1:
            report.application_acknowledgements += 1
        else:
            report.faults.append(f"message {message_id}: answered in {len(found)} ways")
    report.delivered_again = len(deliveries) - len(arrived)


async def check_store(data: Path, messages: Mapping[str, Message], report: Report) -> None:
    """Hold that each upload was processed once, by the audit, and that the store and its chains are whole."""
    processed: Counter[str] = Counter()
    async with stored(data) as store:
        async for row in store.read_audit():
            if row.entry.action in (UPLOAD, POLLING_UPLOAD):
                processed[row.entry.content["transport_id"]] += 1
    report.audit_rows = processed.total()
    report.faults += [
        f"message {message_id}: processed {processed[message_id]} times"
        for message_id in messages.keys() | processed.keys()
        if processed[message_id] != 1 or message_id not in messages
    ]
    try:
        report.verified = (await command(data, "admin", "verify")).strip().splitlines()[-1]
    except AssertionError as error:
        report.verified = "not whole"
        report.faults.append(f"openscr admin verify: {error}")
