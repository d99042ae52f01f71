"""Clients that do not give up: they upload, set consent and look, and repeat what was not answered, the same bytes.

Each keeps a journal of what it sent and what it was told. Spec: 40 §6.3, §6.4.
"""

import asyncio
import contextlib
import random
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, Self

from lxml import etree

from faults.journal import Journal, digest_of
from journeys.messages import PRACTICE, fresh_patient
from journeys.polling import ACTION, CLINICAL, CONTENT_TYPE, FacadeUpload, read_as_the_facade
from journeys.wire import Answer, Connection, Ended, connected, request_bytes, signal_of, soap_of
from openscr.codes import ACKNOWLEDGEMENT, EVENT_LIST_ANSWER, QUERY_FAILED
from openscr.hl7.acknowledgement import read_acknowledgement, read_outcome
from openscr.hl7.psis import read_event_list_answer
from openscr.spine import Consent, Event
from openscr.transport.soap import read_fault
from openscr.transport.xml import read_xml

RETRY_INTERVAL = 0.2
"""Seconds between two attempts, on both sides: a contract of minutes for people without patience."""

RETRIES = 299


class Kind(StrEnum):
    """What a message does, and over which channel."""

    RELIABLE = "upload over reliable messaging"
    POLLING = "upload over the polling channel"
    CONSENT = "consent over SOAP"


@dataclass(frozen=True)
class Message:
    """One message that changes something, complete: what every attempt sends.

    ``version`` counts the patient's summaries, or the settings of consent, from 0. ``event_id`` is an upload's.
    """

    nhs_number: str
    version: int
    event_id: str
    message_id: str
    kind: Kind
    request: bytes
    facade: FacadeUpload | None = None

    @property
    def uploads(self) -> bool:
        """Whether it brings a summary."""
        return self.kind is not Kind.CONSENT


@dataclass(frozen=True)
class Plan:
    """How much is done: everything that is drawn by lot follows from ``seed``, but not the timing of two processes.

    ``consents`` of a hundred patients have their consent set too, once or several times; ``viewers`` look at the
    patients' lists as long as the others work. ``disturbances`` is how often something goes wrong.
    """

    uploads: int
    disturbances: int
    reliable_clients: int
    polling_clients: int
    seed: int
    consents: int = 0
    viewers: int = 0


class Service(Protocol):
    """A service, wherever it is just now."""

    async def address(self) -> tuple[str, int]:
        """Return where it answers, once it does, and its how manieth life this is."""


class Line:
    """A client's kept connection to wherever the service is now. ``seconds`` is how long the last exchange took."""

    def __init__(self, service: Service, tls: ssl.SSLContext) -> None:
        self._service = service
        self._tls = tls
        self._open: contextlib.AsyncExitStack | None = None
        self._connection: Connection | None = None
        self._generation = 0
        self.seconds = 0.0

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
        begun = time.monotonic()
        try:
            if self._connection is None or generation != self._generation:
                await self._hang_up()
                self._open = contextlib.AsyncExitStack()
                self._connection = await self._open.enter_async_context(connected(base, self._tls))
                self._generation = generation
            answer = await self._connection.exchange(request)
        except (OSError, Ended):
            await self._hang_up()
            return None
        finally:
            self.seconds = time.monotonic() - begun
        if answer.header("connection") == "close":
            await self._hang_up()
        return answer


def reliable_message(nhs_number: str, version: int, replaces: str | None) -> Message:
    """Make an upload over reliable messaging."""
    mail = PRACTICE.upload(nhs_number, *([replaces] if replaces else []))
    return Message(nhs_number, version, mail.event_id, mail.message_id, Kind.RELIABLE, mail.post().raw())


def polling_message(nhs_number: str, version: int, replaces: str | None) -> Message:
    """Make an upload as the public FHIR facade writes it."""
    upload = FacadeUpload.of(nhs_number, *([replaces] if replaces else []))
    headers = (("SOAPAction", ACTION), ("Content-Type", CONTENT_TYPE), *upload.headers)
    request = request_bytes(CLINICAL, upload.body, headers)
    return Message(nhs_number, version, upload.event_id.upper(), upload.message_id, Kind.POLLING, request, upload)


def consent_message(nhs_number: str, version: int) -> Message:
    """Make a SET over SOAP, of a value that hides nothing."""
    post = PRACTICE.set_consent(nhs_number, (Consent.YES, Consent.ASK)[version % 2])
    return Message(nhs_number, version, "", post.message_id, Kind.CONSENT, post.raw())


class Sender:
    """One client: a share of the patients, whose messages it sends one after the other."""

    def __init__(self, line: Line, journal: Journal, faults: list[str], told: asyncio.Queue[str]) -> None:
        self._line = line
        self._journal = journal
        self._faults = faults
        self._told = told

    async def send(self, messages: list[Message]) -> None:
        """Send messages one after the other, each until it is acknowledged; what goes wrong is a fault of the test."""
        for message in messages:
            answer = await self._post(message)
            if answer is not None and message.kind is Kind.POLLING:
                place = answer.header("content-location") or ""
                self._note("accepted", message, place=place)
                await self._poll(message, place)
            elif answer is not None:
                self._note("accepted", message, signal=digest_of(answer.body))
                if not _of_message(answer, message):
                    self._faults.append(f"message {message.message_id}: the answer to another, or a refusal")
            self._told.put_nowait(message.message_id)

    def _note(self, what: str, message: Message, **more: object) -> None:
        self._journal.write(what, message.message_id, seconds=self._line.seconds, **more)

    async def _post(self, message: Message) -> Answer | None:
        """Post until it is taken; what is not answered is sent again, the same bytes. None: refused for good."""
        taken = 200 if message.kind is Kind.CONSENT else 202
        for _ in range(RETRIES + 1):
            self._journal.write("post", message.message_id)
            answer = await self._line.exchange(message.request)
            if answer is None:
                self._note("no answer", message)
            elif answer.status == taken:
                return answer
            elif not _retriable(answer):
                self._note("refused", message, status=answer.status)
                self._faults.append(f"message {message.message_id}: answered {answer.status}")
                return None
            else:
                self._note("try again", message, status=answer.status)
            await asyncio.sleep(RETRY_INTERVAL)
        self._faults.append(f"message {message.message_id}: never answered")
        return None

    async def _poll(self, message: Message, place: str) -> None:
        assert message.facade is not None
        request = request_bytes(place, b"", message.facade.headers, method="GET")
        for _ in range(RETRIES + 1):
            answer = await self._line.exchange(request)
            if answer is None or _retriable(answer):
                self._note("no result", message)
            elif answer.status == 200:
                result = read_as_the_facade(answer)
                self._note("result", message, success=result.success, result=digest_of(answer.body))
                return
            elif answer.status != 202:
                self._faults.append(f"message {message.message_id}: its result was answered {answer.status}")
                return
            await asyncio.sleep(RETRY_INTERVAL)
        self._faults.append(f"message {message.message_id}: no result")


class Viewer:
    """Looks at one patient's list after the other, and writes down what it was shown."""

    def __init__(self, line: Line, journal: Journal, dice: random.Random, faults: list[str]) -> None:
        self._line = line
        self._journal = journal
        self._dice = dice
        self._faults = faults

    async def look_until(self, over: asyncio.Event, patients: Sequence[str]) -> None:
        """Look until the others have done their work. A query that was not answered is given up."""
        while not over.is_set():
            number = self._dice.choice(patients)
            post = PRACTICE.event_list(number)
            self._journal.write("ask", post.message_id, patient=number)
            answer = await self._line.exchange(post.raw())
            seconds = self._line.seconds
            if answer is not None and answer.status == 200:
                shown = [event.event_id for event in events_of(answer, number)]
                self._journal.write("shown", post.message_id, seconds=seconds, patient=number, events=shown)
            elif answer is None or _retriable(answer):
                what = "no answer" if answer is None else "try again"
                self._journal.write(what, post.message_id, seconds=seconds)
            else:
                self._faults.append(f"query {post.message_id}: answered {answer.status}")
            await asyncio.sleep(RETRY_INTERVAL)


def events_of(answer: Answer, nhs_number: str) -> tuple[Event, ...]:
    """Return the events that a list shows; none for a patient without a record."""
    told = soap_of(answer, EVENT_LIST_ANSWER, QUERY_FAILED).interaction
    if etree.QName(told).localname == QUERY_FAILED:
        outcome, _ = read_outcome(told)
        assert "30312" in [issue.code for issue in outcome.issues]
        return ()
    return read_event_list_answer(told, nhs_number).events


def _retriable(answer: Answer) -> bool:
    """Whether the contract lets an answer be followed by another attempt. Spec: 40 §6.4."""
    if answer.status == 503:
        return True
    fault = read_fault(read_xml(answer.body)) if answer.status == 500 and answer.body else None
    return fault is not None and fault.retriable


def _of_message(answer: Answer, message: Message) -> bool:
    """Whether an answer says yes, and to this message."""
    if message.kind is Kind.RELIABLE:
        return signal_of(answer).ref_to_message_id == message.message_id
    told = read_acknowledgement(soap_of(answer, ACKNOWLEDGEMENT).interaction)
    return told.outcome.accepted and told.reference == message.message_id


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
        consents = plan.consents and dice.random() * 100 < plan.consents
        for version in range(min(remaining, dice.choice((1, 1, 2, 3)))):
            message = make(number, version, before)
            share.append(message)
            if consents:
                share.append(consent_message(number, version))
            before = message.event_id
            remaining -= 1
        turn += 1
    return shares
