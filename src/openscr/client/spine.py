"""`SpineClient`: the verbs of `openscr.spine.Spine`, answered by a remote Spine over HL7 V3.

Spec: 10 §13, §16; 20 §16; 30 §4, §6; 40 §7.1, §7.3.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Self

from lxml import etree

from openscr.client.answers import Answers, DemoInbox, Unseen
from openscr.client.callback import Callback
from openscr.client.connection import Connection, Observer, Tls
from openscr.client.express import ask as ask_express
from openscr.client.polling import polling_headers, upload_and_poll
from openscr.client.profile import Profile
from openscr.client.refusals import Refusal, refusal_of
from openscr.client.reliable import Monotonic, deliver, write_packed, write_reliable
from openscr.client.soap import exchange, with_retries
from openscr.clinical import Summary
from openscr.codes import (
    ACKNOWLEDGEMENT,
    ACS_GET,
    ACS_GET_ANSWER,
    ACS_HAS,
    ACS_HAS_ANSWER,
    ACS_SET,
    DOCUMENT,
    DOCUMENT_LIST,
    DOCUMENT_LIST_BY_TYPE,
    DOCUMENT_QUERIES,
    EVENT_ANSWER,
    EVENT_LIST_ANSWER,
    EVENT_LIST_SM_ANSWER,
    GP_INITIAL_SUMMARY,
    INITIAL_UPLOAD,
    POLLING_UPLOAD,
    QUERY_FAILED,
    SCR_PERMISSIONS,
    SUBJECT_ACCESS_ANSWER,
    UPLOAD,
    VERSION_CODE,
    VERSION_CODE_7,
    WITHDRAW,
    WITHDRAW_INITIAL,
    WITHDRAWAL_REASONS,
)
from openscr.errors import DeliveryError, Issue, UnreadableMessage
from openscr.fhir.audit_event import write_audit_event
from openscr.fhir.operation_outcome import ERROR_SYSTEM, MEDIA_TYPE, text_of_outcome
from openscr.hl7 import acs, permission_check, psis
from openscr.hl7.acknowledgement import Acknowledgement, read_acknowledgement, read_outcome
from openscr.hl7.alert import check_alert, write_alert
from openscr.hl7.document_list import read_document_answer, read_document_list_answer
from openscr.hl7.document_query import write_document_query
from openscr.hl7.gp_summary import locate_document, write_upload, write_withdrawal
from openscr.hl7.presend import Check, check_upload
from openscr.hl7.scr_application import read_permissions_answer, write_permissions_query
from openscr.hl7.summary_writer import compose, person_of, write_summary
from openscr.hl7.wrapper import Heading, Wrapper, local_name, read_wrapper
from openscr.identifiers import Clock, UuidFactory, ebxml_timestamp, hl7_timestamp, mint_uuid, minting_from, utc_now
from openscr.spine import (
    AckType,
    Alert,
    Caller,
    ConsentChange,
    ConsentOutcome,
    ConsentQuery,
    DocumentListOutcome,
    DocumentListQuery,
    DocumentOutcome,
    DocumentQuery,
    EventListOutcome,
    EventListQuery,
    EventOutcome,
    EventQuery,
    MessageIds,
    Outcome,
    PermissionQuery,
    PermissionsOutcome,
    ScrPermissionsOutcome,
    ScrPermissionsQuery,
    SubjectAccessOutcome,
    SubjectAccessQuery,
    Upload,
    Withdrawal,
)
from openscr.transport.ebxml import Reliability
from openscr.transport.interactions import ALERT_PATH
from openscr.transport.xml import read_xml

DEMO: Final = "http://127.0.0.1:8080"
"""Where `openscr serve --demo` answers. Spec: 00 §3."""

_NOT_BY_POLLING: Final = "an initial summary does not go over the polling channel; send it reliably"
_NO_WITHDRAWER: Final = "a withdrawal needs the person who withdraws"
_LIST_ANSWERS: Final = frozenset({EVENT_LIST_ANSWER, EVENT_LIST_SM_ANSWER, QUERY_FAILED, ACKNOWLEDGEMENT})
_RECORD_ANSWERS: Final = frozenset({SUBJECT_ACCESS_ANSWER, QUERY_FAILED, ACKNOWLEDGEMENT})
_PERMISSION_ANSWERS: Final = frozenset({SCR_PERMISSIONS, QUERY_FAILED, ACKNOWLEDGEMENT})
_EVENT_ANSWERS: Final = frozenset({EVENT_ANSWER, QUERY_FAILED, ACKNOWLEDGEMENT})
_SET_ANSWERS: Final = frozenset({ACKNOWLEDGEMENT})
_GET_ANSWERS: Final = frozenset({ACS_GET_ANSWER, ACKNOWLEDGEMENT})
_HAS_ANSWERS: Final = frozenset({ACS_HAS_ANSWER, ACKNOWLEDGEMENT})


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of an upload or a withdrawal that was delivered.

    ``message_id`` is its transport id, ``attempts`` how often it was sent. ``acknowledgement`` is the answer of the
    record, none when it goes to an endpoint where we do not listen. Spec: 40 §7.3.
    """

    interaction: str
    message_id: str
    attempts: int
    acknowledgement: Acknowledgement | None = None

    @property
    def accepted(self) -> bool | None:
        """Whether the record accepted the message; none when that cannot be known here."""
        return self.acknowledgement.outcome.accepted if self.acknowledgement is not None else None

    def __str__(self) -> str:
        """Return the acknowledgement in one line. Spec: 10 §13 "Client parse rule"."""
        if self.acknowledgement is None:
            return "delivered; the application acknowledgement goes to the registered endpoint"
        outcome = self.acknowledgement.outcome
        issues = "; ".join(f"{issue.code}: {issue.display}" for issue in outcome.issues)
        return f"Acknowledgement: {outcome.ack.value} {issues or self.acknowledgement.detail}".rstrip()


@dataclass(frozen=True, slots=True)
class Posting:
    """What makes a message the same one when it is sent once more: its transport id, and when it was made.

    ``again`` says that it may have arrived before: its answer is looked for among those that came already.
    ``wrapper_id`` is the HL7 id of a message of our own where it is not that of the summary. Spec: 40 §6.3, §6.5.
    """

    message_id: str
    at: datetime
    again: bool = False
    wrapper_id: str = ""

    @property
    def minting(self) -> UuidFactory:
        """Gives the same ids, in the same order, whenever the message is made again."""
        return minting_from(self.message_id)


class SpineClient:
    """A remote Spine. Satisfies `openscr.spine.Spine`; use it in ``async with``.

    ``at`` is its base address, ``profile`` says who we are and where messages go, ``tls`` are our files for ``https``.
    Application acknowledgements are taken by ``callback``, else read from the inbox of a demo service (``inbox`` is the
    base address of that, ``at`` by default), else not seen. ``timeout`` bounds one HTTP exchange, ``answer_timeout``
    the wait for an acknowledgement, in seconds. ``check`` says how closely an upload is looked at before it is sent:
    one with faults is held back (`NotSent`). ``observer`` sees every exchange as it went over the wire.

    Every verb raises, beside what it says itself: `AccessRefused` (certificate, ASID), `DeliveryError` (nothing came
    back, or a SOAP fault), `WireError` (an answer that cannot be read). Spec: 20 §16.
    """

    def __init__(
        self,
        at: str = DEMO,
        profile: Profile | None = None,
        *,
        tls: Tls | None = None,
        callback: Callback | None = None,
        inbox: str | None = None,
        timeout: float = 20.0,
        answer_timeout: float = 30.0,
        check: Check = Check.STRICT,
        observer: Observer | None = None,
        clock: Clock = utc_now,
        mint: UuidFactory = mint_uuid,
        monotonic: Monotonic = time.monotonic,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.profile = profile if profile is not None else Profile.demo()
        self._connection = Connection(at, tls=tls, timeout=timeout, observer=observer)
        self._inbox = Connection(inbox, timeout=timeout) if inbox is not None else self._connection
        self._callback = callback
        self._answers: dict[str, Answers] = {}
        self._answer_timeout = answer_timeout
        self._check = check
        self._clock = clock
        self._mint = mint
        self._monotonic = monotonic
        self._pause = pause

    async def __aenter__(self) -> Self:
        """Begin to listen when there is a callback listener. Raises: `ConfigurationError`."""
        if self._callback is not None:
            await self._callback.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections, stop listening."""
        if self._callback is not None:
            await self._callback.stop()
        await self._connection.close()
        await self._inbox.close()

    @property
    def at(self) -> str:
        """The base address of the service."""
        return self._connection.at

    # --- reliable messages ------------------------------------------------------------------------------------------

    async def upload(self, caller: Caller, upload: Upload) -> Outcome:
        """Store a summary, or say why not; the document goes as it is, unchecked. Spec: 10 §13, 40 §7.3."""
        heading = self._heading(caller, upload.ids.message_id)
        document = upload.document.standalone()
        return await self._decided(
            write_upload(upload.ids.interaction, heading, document, caller.person), caller, upload.ids.transport_id
        )

    async def withdraw(self, caller: Caller, withdrawal: Withdrawal) -> Outcome:
        """Withdraw an event, or say why not, in the name of the caller's person. Spec: 10 §10, 40 §7.3.

        Raises: `ValueError` when there is no person: a withdrawal names one.
        """
        person = caller.person or withdrawal.payload_author
        if person is None:
            raise ValueError(_NO_WITHDRAWER)
        heading = self._heading(caller, withdrawal.ids.message_id)
        payload = write_withdrawal(withdrawal.ids.interaction, heading, withdrawal, person)
        return await self._decided(payload, caller, withdrawal.ids.transport_id)

    async def _decided(self, payload: bytes, caller: Caller, message_id: str) -> Outcome:
        # Whoever has an `Upload` has judged it, at the level of that door.
        return _outcome_of(await self.submit(payload, caller, message_id=message_id, check=Check.NONE))

    async def upload_document(
        self, document: bytes, caller: Caller | None = None, *, polling: bool = False, posting: Posting | None = None
    ) -> Submission:
        """Send a ``GPSummary`` element (self-contained XML) as it is, in a message of our own.

        An initial summary goes as initial upload, any other as upload, over the polling channel if ``polling``; the
        message takes the summary's id. Raises: `UnreadableMessage` when it is not a summary with one id, or is an
        initial one for the polling channel, which does not take those. Spec: 10 §1, §2, §16.
        """
        sender = caller or self.profile.caller
        root = read_xml(document)
        ids = root.findall("{*}id")
        if local_name(root) != "GPSummary" or len(ids) != 1 or not ids[0].get("root"):
            raise UnreadableMessage("a document is a GPSummary element with one id", "/GPSummary/id/@root")
        code = root.find("{*}code")
        initial = code is not None and code.get("code") == GP_INITIAL_SUMMARY
        wrapper_id = (posting.wrapper_id if posting else "") or str(ids[0].get("root")).upper()
        heading = self._heading(sender, wrapper_id, posting=posting)
        element = locate_document(root, document).standalone()
        if initial and polling:
            raise UnreadableMessage(_NOT_BY_POLLING)
        interaction = INITIAL_UPLOAD if initial else POLLING_UPLOAD if polling else UPLOAD
        return await self.submit(write_upload(interaction, heading, element, sender.person), sender, posting=posting)

    async def upload_summary(
        self, summary: Summary, caller: Caller | None = None, *, polling: bool = False, posting: Posting | None = None
    ) -> Submission:
        """Complete a summary, write its text if it brings none, and send it; the interaction is the summary's own.

        The message names the caller's person, else the author when the summary knows the job role. ``polling`` sends an
        update over the polling channel, whatever its interaction. Raises: `UnwritableSummary` when it lacks something,
        `UnreadableMessage` for an initial one over the polling channel. Spec: 00 §6.2, 10 §16.
        """
        sender = caller or self.profile.caller
        if polling and summary.initial:
            raise UnreadableMessage(_NOT_BY_POLLING)
        if polling:
            summary = replace(summary, interaction=POLLING_UPLOAD)
        mint, now = (posting.minting, posting.at) if posting else (self._mint, self._clock())
        summary = compose(summary, mint, now)
        person = sender.person or person_of(summary)
        document = write_summary(summary)
        wrapper_id = (posting.wrapper_id if posting else "") or summary.message_id or ""
        heading = replace(self._heading(sender, wrapper_id), created=summary.created or "")
        return await self.submit(write_upload(summary.interaction, heading, document, person), sender, posting=posting)

    async def withdraw_event(
        self,
        caller: Caller,
        nhs_number: str,
        event_id: str,
        event_type: str,
        reason: str,
        text: str = "",
        *,
        posting: Posting | None = None,
    ) -> Submission:
        """Withdraw an event of a type in a message of our own; ``reason`` is 01, 02 or 03. Spec: 10 §10.

        Raises: `ValueError` when there is no person: a withdrawal names one.
        """
        if caller.person is None:
            raise ValueError(_NO_WITHDRAWER)
        message_id = posting.message_id if posting else self._mint()
        withdrawal = Withdrawal(
            ids=MessageIds(message_id, WITHDRAW_INITIAL if event_type == GP_INITIAL_SUMMARY else WITHDRAW),
            nhs_number=nhs_number,
            event_id=message_id,
            event_type=event_type,
            effective_time=hl7_timestamp(posting.at if posting else self._clock()),
            target=event_id,
            reason=reason,
            reason_text=text or WITHDRAWAL_REASONS.get(reason, ""),
        )
        heading = self._heading(caller, message_id, posting=posting)
        payload = write_withdrawal(withdrawal.ids.interaction, heading, withdrawal, caller.person)
        return await self.submit(payload, caller, posting=posting)

    async def submit(
        self,
        payload: bytes,
        caller: Caller | None = None,
        *,
        message_id: str = "",
        posting: Posting | None = None,
        check: Check | None = None,
    ) -> Submission:
        """Send an upload, withdrawal or alert byte for byte, and wait for what the record says.

        Each call is a new message with a new transport id unless it is given one, or a ``posting``; the attempts of one
        call are repetitions. ``REPC_IN150016SM05`` goes over the polling channel, everything else reliably. ``check``
        is that of the client, unless it is given.
        Raises: `NotSent`, `EndpointUnknown`, `RetriesExhausted`. Spec: 10 §16; 40 §6.3, §7.3, §7.6, §9.
        """
        sender = caller or self.profile.caller
        wrapper = read_wrapper(read_xml(payload))
        check_upload(wrapper, payload, self._check if check is None else check)
        at = posting.at if posting else self._clock()
        message_id = (posting.message_id if posting else message_id) or self._mint()
        if wrapper.name == POLLING_UPLOAD:
            return await self._submit_polling(payload, wrapper, sender, message_id, at)
        message = write_reliable(
            payload,
            action=wrapper.name,
            caller=sender,
            receiver=self.profile.receiver_party,
            route=self.profile.route(wrapper.name),
            message_id=message_id,
            timestamp=ebxml_timestamp(at),
        )
        answers = await self._answers_of(sender.party_key)
        expectation = await answers.expect(message_id, again=posting is not None and posting.again)
        try:
            attempts = await deliver(self._connection, message, answers, expectation, monotonic=self._monotonic)
            answer = await expectation.answer(self._answer_timeout)
        finally:
            expectation.forget()
        if answer is None:
            return Submission(wrapper.name, message_id, attempts)
        return Submission(wrapper.name, message_id, attempts, _acknowledgement_of(wrapper, answer))

    async def _submit_polling(
        self, payload: bytes, wrapper: Wrapper, sender: Caller, message_id: str, at: datetime
    ) -> Submission:
        """Send an upload over the polling channel and fetch its acknowledgement. Spec: 40 §7.6."""
        message = write_reliable(
            payload,
            action=wrapper.name,
            caller=sender,
            receiver=self.profile.receiver_party,
            route=self.profile.route(wrapper.name),
            message_id=message_id,
            timestamp=ebxml_timestamp(at),
        )
        headers = polling_headers(sender, correlation_id=self._mint(), request_id=self._mint())
        attempts, answer = await upload_and_poll(
            self._connection, message, headers, monotonic=self._monotonic, pause=self._pause
        )
        return Submission(wrapper.name, message_id, attempts, _acknowledgement_of(wrapper, answer))

    async def _answers_of(self, party_key: str) -> Answers:
        if self._callback is not None:
            return self._callback
        own = self.profile if party_key == self.profile.party_key else None
        if own is not None and own.answers_to and not own.answers_to.startswith("inbox:"):
            # The directory leads acknowledgements elsewhere: they are not to be waited for here.
            return Unseen()
        if party_key not in self._answers:
            inbox = DemoInbox(self._inbox, party_key)
            self._answers[party_key] = inbox if await inbox.exists() else Unseen()
        return self._answers[party_key]

    # --- alerts -----------------------------------------------------------------------------------------------------

    async def raise_alert(self, caller: Caller, alert: Alert) -> Outcome:
        """Keep a privacy alert for the privacy officer, or say why not. Raises as `send_alert`. Spec: 35 §6.1."""
        return _outcome_of(await self.send_alert(alert, caller))

    async def send_alert(
        self, alert: Alert, caller: Caller | None = None, *, posting: Posting | None = None
    ) -> Submission:
        """Send a privacy alert reliably, in the name of the caller's person, and wait for what is said to it.

        Raises: `ValueError` when there is no person, or the alert lacks something. Spec: 80 §5.2, 40 §7.3.
        """
        sender = caller or self.profile.caller
        if sender.person is None:
            raise ValueError("an alert needs the person who raises it")
        mint = posting.minting if posting else self._mint
        heading = self._heading(sender, (posting.wrapper_id if posting else "") or mint(), posting=posting)
        payload = write_alert(heading, alert, sender.person, mint)
        failed = check_alert(read_wrapper(read_xml(payload)))
        if failed:
            raise ValueError(f"the alert is not complete: {' '.join(finding.rule for finding in failed)}")
        return await self.submit(payload, sender, message_id=alert.ids.transport_id, posting=posting)

    async def post_alert(self, alert: Alert, caller: Caller | None = None) -> Outcome:
        """Post a privacy alert as FHIR JSON; type and reason are the codes of 80 §5.1. Spec: 60 §8.2, §12.5."""
        sender = caller or self.profile.caller
        headers = polling_headers(
            sender, correlation_id=self._mint(), request_id=alert.ids.transport_id or self._mint()
        )
        headers["Content-Type"] = MEDIA_TYPE
        status, body = await self._connection.post(ALERT_PATH, headers, write_audit_event(alert, sender.asid))
        if status in (200, 201, 204):
            return Outcome()
        said = text_of_outcome(body) or "no reason was given"
        if status not in (400, 403):
            raise DeliveryError(f"HTTP {status}: {said}")
        code = "400" if status == 400 else "420"
        return Outcome(AckType.ERROR, (Issue(code, said, "ER", ERROR_SYSTEM),))

    # --- queries and consent ----------------------------------------------------------------------------------------

    async def list_events(self, caller: Caller, query: EventListQuery) -> EventListOutcome:
        """List a patient's events. Spec: 20 §5, §7.1."""

        async def ask() -> EventListOutcome:
            return psis.read_event_list_answer(await self._query(caller, query, _LIST_ANSWERS), query.nhs_number)

        return await with_retries(ask, lambda answer: _unavailable(answer.outcome), pause=self._pause)

    async def retrieve_event(self, caller: Caller, query: EventQuery) -> EventOutcome:
        """Return one event with its document. Spec: 20 §5, §7.2."""

        async def ask() -> EventOutcome:
            return psis.read_event_answer(await self._query(caller, query, _EVENT_ANSWERS), query.nhs_number)

        return await with_retries(ask, lambda answer: _unavailable(answer.outcome), pause=self._pause)

    async def retrieve_record(self, caller: Caller, query: SubjectAccessQuery) -> SubjectAccessOutcome:
        """Return every event with its document, for the person whose record it is. Spec: 20 §5, §7.2."""

        async def ask() -> SubjectAccessOutcome:
            return psis.read_record_answer(await self._query(caller, query, _RECORD_ANSWERS), query.nhs_number)

        return await with_retries(ask, lambda answer: _unavailable(answer.outcome), pause=self._pause)

    async def list_documents(
        self, caller: Caller, query: DocumentListQuery, *, express: bool = False
    ) -> DocumentListOutcome:
        """List the documents of a patient that are wanted. Spec: 20 §4, §13.

        The interaction is that of the query's ids, without one the list query, or by heading if one is wanted.
        ``express`` sends it over ebXML; the answer is waited for as for an acknowledgement. Raises: `EndpointUnknown`.
        """

        async def ask() -> DocumentListOutcome:
            root = await self._ask_for_documents(caller, query, _interaction_of(query), express=express)
            return read_document_list_answer(root, query.nhs_number)

        return await with_retries(ask, lambda answer: _unavailable(answer.outcome), pause=self._pause)

    async def retrieve_document(
        self, caller: Caller, query: DocumentQuery, *, express: bool = False
    ) -> DocumentOutcome:
        """Return one document with its content; ``express`` as for `list_documents`. Spec: 20 §4, §13."""

        async def ask() -> DocumentOutcome:
            interaction = query.ids.interaction or DOCUMENT
            root = await self._ask_for_documents(caller, query, interaction, express=express)
            return read_document_answer(root, query.nhs_number)

        return await with_retries(ask, lambda answer: _unavailable(answer.outcome), pause=self._pause)

    async def _ask_for_documents(
        self, caller: Caller, query: DocumentListQuery | DocumentQuery, interaction: str, *, express: bool
    ) -> etree._Element:
        message_id = self._mint()
        expected = frozenset({DOCUMENT_QUERIES[interaction], QUERY_FAILED, ACKNOWLEDGEMENT})
        stated = replace(query, ids=replace(query.ids, interaction=interaction))
        heading = self._heading(caller, message_id, VERSION_CODE_7)
        payload = write_document_query(heading, stated, caller.person)
        if not express:
            root = await self._soap(caller, "psisquery", interaction, message_id, payload, expected)
        else:
            message = write_packed(
                payload,
                "psisquery",
                Reliability.EXPRESS,
                interaction,
                caller,
                self.profile.receiver_party,
                self.profile.route(interaction),
                message_id=message_id,
                at=ebxml_timestamp(self._clock()),
            )
            answers = await self._answers_of(caller.party_key)
            answer = await ask_express(self._connection, message, answers, self._answer_timeout)
            root = _answer_to(read_xml(answer, answer=True), expected, message_id)
        return _no_mere_acknowledgement(root)

    async def check_scr_permissions(self, caller: Caller, query: ScrPermissionsQuery) -> ScrPermissionsOutcome:
        """Say whether there is a summary, and what stands in the way of viewing it. Spec: 20 §11."""

        async def ask() -> ScrPermissionsOutcome:
            message_id = self._mint()
            body = write_permissions_query(self._heading(caller, message_id), query, caller.person)
            root = await self._soap(caller, "psisquery", SCR_PERMISSIONS, message_id, body, _PERMISSION_ANSWERS)
            return read_permissions_answer(_no_mere_acknowledgement(root), query.nhs_number)

        return await with_retries(ask, lambda answer: _unavailable(answer.outcome), pause=self._pause)

    async def _query(
        self, caller: Caller, query: EventListQuery | EventQuery | SubjectAccessQuery, expected: frozenset[str]
    ) -> etree._Element:
        # A new message each time: a repeated query id is a duplicate to some services. Spec: 20 §9.5.
        message_id = self._mint()
        body = psis.write_query(self._heading(caller, message_id), query, caller.person)
        root = await self._soap(caller, "psisquery", query.ids.interaction, message_id, body, expected)
        return _no_mere_acknowledgement(root)

    async def set_consent(self, caller: Caller, change: ConsentChange) -> Outcome:
        """Set or clear the patient's consent. It is asked once: a change is not repeated by itself. Spec: 30 §5.1."""
        message_id = change.ids.message_id or self._mint()
        heading = self._heading(caller, message_id, acs.VERSION_OF_REQUEST)
        body = acs.write_set(heading, change, caller.person)
        root = await self._soap(caller, "lrs", ACS_SET, message_id, body, _SET_ANSWERS)
        return read_acknowledgement(root).outcome

    async def get_consent(self, caller: Caller, query: ConsentQuery) -> ConsentOutcome:
        """Return the stored consent. Spec: 30 §5.2."""

        async def ask() -> ConsentOutcome:
            message_id = self._mint()
            heading = self._heading(caller, message_id, acs.VERSION_OF_REQUEST)
            body = acs.write_get(heading, query, caller.person)
            root = await self._soap(caller, "lrsquery", ACS_GET, message_id, body, _GET_ANSWERS)
            return acs.read_get_answer(root, query.nhs_number)

        return await with_retries(ask, lambda answer: _unavailable(answer.outcome), pause=self._pause)

    async def has_permissions(self, caller: Caller, query: PermissionQuery) -> PermissionsOutcome:
        """Say of each set that was asked what holds for it. Spec: 30 §5.3."""

        async def ask() -> PermissionsOutcome:
            message_id = self._mint()
            heading = self._heading(caller, message_id, acs.VERSION_OF_REQUEST)
            body = permission_check.write_has(heading, query, caller.person)
            root = await self._soap(caller, "lrsquery", ACS_HAS, message_id, body, _HAS_ANSWERS)
            return permission_check.read_has_answer(root, query.nhs_number)

        return await with_retries(ask, lambda answer: _unavailable(answer.outcome), pause=self._pause)

    async def _soap(
        self, caller: Caller, service: str, interaction: str, message_id: str, body: bytes, expected: frozenset[str]
    ) -> etree._Element:
        return await exchange(
            self._connection,
            path=self.profile.sync_path,
            service=service,
            interaction=interaction,
            message_id=message_id,
            receiver_asid=self.profile.receiver_asid,
            sender_asid=caller.asid,
            body=body,
            expected=expected,
        )

    def _heading(
        self, caller: Caller, message_id: str, version: str = VERSION_CODE, *, posting: Posting | None = None
    ) -> Heading:
        at = posting.at if posting else self._clock()
        return Heading(message_id or self._mint(), hl7_timestamp(at), version, self.profile.receiver_asid, caller.asid)


def _outcome_of(submission: Submission) -> Outcome:
    if submission.acknowledgement is None:
        raise DeliveryError("delivered, but the application acknowledgement goes to an endpoint that is not ours")
    return submission.acknowledgement.outcome


def _acknowledgement_of(wrapper: Wrapper, answer: bytes) -> Acknowledgement:
    acknowledgement = read_acknowledgement(read_xml(answer, answer=True))
    if wrapper.message_id and acknowledgement.reference.upper() != wrapper.message_id.upper():
        raise UnreadableMessage("the application acknowledgement refers to another message")
    return acknowledgement


def _answer_to(root: etree._Element, expected: frozenset[str], message_id: str) -> etree._Element:
    """Return an answer that came as a message of its own, once it is sure that it answers this one. 20 §16 item 5."""
    if local_name(root) not in expected:
        raise UnreadableMessage("the answer is none of the expected interactions")
    _, reference = read_outcome(root)
    if reference.upper() != message_id.upper():
        raise UnreadableMessage("the answer refers to another message")
    return root


def _no_mere_acknowledgement(root: etree._Element) -> etree._Element:
    """Return the answer to a query; an acknowledgement may refuse one, but it can never answer it. Spec: 20 §1.3."""
    if local_name(root) == ACKNOWLEDGEMENT and read_outcome(root)[0].accepted:
        raise UnreadableMessage("the query is acknowledged, but not answered")
    return root


def _interaction_of(query: DocumentListQuery) -> str:
    """Return the interaction of a document list query, chosen by what it asks for where it does not say so itself."""
    return query.ids.interaction or (DOCUMENT_LIST_BY_TYPE if query.wanted.cre_type is not None else DOCUMENT_LIST)


def _unavailable(outcome: Outcome) -> bool:
    """Whether the service says that it cannot answer now. Spec: 20 §9.5."""
    return refusal_of(outcome) is Refusal.UNAVAILABLE and any(issue.code == "502" for issue in outcome.issues)
