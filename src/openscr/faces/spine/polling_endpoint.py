"""The polling channel: an upload is posted, its acknowledgement is fetched from the place that the answer names.

The message is decided and its result stored in the request that brings it, as on every channel, so that a result is
there when its token is. Only what nobody could acknowledge is refused at once: framing that cannot be read, a sender
who is not registered, and our own failure. Whatever else is wrong is told in the acknowledgement.

Spec: 40 §7.6, §10.5; 10 §15; 35 §9.2.
"""

from datetime import datetime, timedelta

import structlog

from openscr.access.registration import Cause, check_cpa, check_sender
from openscr.delivery.answers import poll_result
from openscr.errors import EBXML_ERRORS, WRAPPER_ERRORS, AccessRefused, StoreError, WireError
from openscr.faces.spine.arrival import LONGEST_PARTY_KEY, Arrival, Payload, caller_at
from openscr.faces.spine.context import SpineContext, fault, parties_behind
from openscr.faces.spine.exchange import Handled, Reply, Request
from openscr.faces.spine.interference import SCENARIO
from openscr.identifiers import is_uuid
from openscr.record.record import Reception
from openscr.spine import AckType, MessageIds, Outcome, Person
from openscr.store.interface import PollResult
from openscr.transport.ebxml import (
    Envelope,
    Reliability,
    check_reliability,
    read_envelope,
    time_to_live_passed,
)
from openscr.transport.interactions import INTERACTIONS, Interaction
from openscr.transport.mime import SPINE_CONTENT_TYPE, Multipart, Part, read_multipart
from openscr.transport.polling import (
    ASID_HEADER,
    CORRELATION_HEADER,
    FIRST_RETRY_AFTER,
    NEXT_RETRY_AFTER,
    POLL_PREFIX,
    REQUEST_HEADER,
    RESULT_SECONDS,
    ROLE_HEADER,
    USER_HEADER,
    poll_token,
    slot_of_token,
)
from openscr.transport.soap import parse_soap_action
from openscr.transport.xml import read_xml

_log = structlog.get_logger("spine.polling")

POLL: str = "poll"
"""What metrics and logs call the fetching of a result."""

LONGEST_PERSON_ID = 64
"""Characters of an id in the headers that name the user; those of the directory have twelve."""

_ASID, _USER, _ROLE, _REQUEST, _CORRELATION = (
    name.lower().encode() for name in (ASID_HEADER, USER_HEADER, ROLE_HEADER, REQUEST_HEADER, CORRELATION_HEADER)
)
_UNREADABLE_MANIFEST = frozenset({"manifest_version", "manifest_count"})


class PollingEndpoint:
    """Handles the path of polling uploads and those of their results."""

    def __init__(self, context: SpineContext) -> None:
        self._context = context
        # Results that a scenario keeps back, by their tokens, and until when.
        self._put_off: dict[str, datetime] = {}

    # --- uploads ----------------------------------------------------------------------------------------------------

    async def handle(self, request: Request) -> Handled:
        """Answer an upload: 202 with the place of its result, or a SOAP fault. Raises: `StoreError`, `Overloaded`.

        Any other interaction is unsupported here (101), whatever other channel takes it. Spec: 40 §3.
        """
        action = parse_soap_action(request.header(b"soapaction"))
        row = INTERACTIONS.get(action) if action is not None else None
        if row is None or not row.polling:
            return Handled("unknown", "fault-101", fault("101"))
        outcome, reply = await self._process(row, request)
        return Handled(row.name, outcome, reply)

    async def _process(self, row: Interaction, request: Request) -> tuple[str, Reply]:
        context = self._context
        directory = context.directory.snapshot
        try:
            multipart = read_multipart(request.header(b"content-type"), request.body)
            if len(multipart.parts) < 2:
                return "fault-201", fault("201")
            envelope = read_envelope(read_xml(multipart.root.content(request.body)))
        except WireError as error:
            return "fault-201", fault("201", *([error.location] if error.location else []))
        part = _payload_part(multipart, envelope)
        treatment = request.treatment
        arrival = Arrival(row, envelope, request.body, part, request.peer, directory, request.correlation_id, treatment)
        payload = arrival.read_payload(accept_ask=False)
        cause = self._check_sender(arrival, payload, request)
        if cause is not None:
            party = envelope.from_party[:LONGEST_PARTY_KEY]
            caller = caller_at(request.peer, payload.sender_asid, party, _person(request, payload))
            await context.record.audit_refusal(
                caller,
                arrival.ids(payload),
                Outcome(AckType.REJECTED),
                reason=cause,
                nhs_number=payload.nhs_number,
            )
            return "fault-300", fault("300")
        context.admission.check_system(payload.sender_asid or envelope.from_party)
        if payload.rules:
            _log.info("rules broken", rules=" ".join(payload.rules), correlation_id=request.correlation_id)
        return await self._receive(arrival, payload, request)

    def _check_sender(self, arrival: Arrival, payload: Payload, request: Request) -> str | None:
        """Return why the sender may not speak here, or none. Spec: 35 §3.2, 40 §4.1, §8 steps 9 and 10."""
        directory, from_party = arrival.directory, arrival.envelope.from_party
        if from_party not in directory.parties:
            return Cause.UNKNOWN_PARTY
        parties = parties_behind(directory, request.peer.certificate)
        if parties is not None and from_party not in parties:
            return Cause.PARTY_NOT_OF_CERTIFICATE
        shown = request.header(_ASID)
        if shown and payload.sender_asid and shown != payload.sender_asid:
            return Cause.ASID_HEADER_DIFFERS
        asid = payload.sender_asid or shown
        if asid:
            try:
                check_sender(
                    directory,
                    asid=asid,
                    service=arrival.row.service,
                    interaction=arrival.row.name,
                    parties=frozenset({from_party}),
                )
            except AccessRefused as refused:
                return refused.diagnostics
        return None

    async def _receive(self, arrival: Arrival, payload: Payload, request: Request) -> tuple[str, Reply]:
        """Hand the message to the record; its result is durable before its place is told. Spec: 40 §8 steps 12-15."""
        context, envelope, directory = self._context, arrival.envelope, arrival.directory
        now = context.clock()
        address = arrival.reply_address(payload)
        failed = _failed_checks(arrival)
        refusal = _refusal(arrival, payload, failed, expired=time_to_live_passed(envelope, now))
        message_id = context.mint()

        def render(outcome: Outcome) -> bytes:
            return poll_result(address, envelope.cpa_id, outcome, directory, message_id, now)

        received = await context.record.receive(
            Reception(
                from_party=envelope.from_party,
                message_id=envelope.message_id,
                raw=arrival.raw,
                received_at=now,
                signal_status=200,
                digest=payload.digest,
                reply=render,
                poll=PollResult(
                    token=poll_token(address.slot, context.mint()),
                    from_party=envelope.from_party,
                    message_id=envelope.message_id.upper(),
                    asid=request.header(_ASID) or "",
                    sender_asid=payload.sender_asid,
                    expires_at=now + timedelta(seconds=RESULT_SECONDS),
                ),
                deviations=(*arrival.deviations(payload), *failed),
                notes={**_author_as_sent(request, payload), **_ids_as_sent(request), **arrival.notes},
            ),
            arrival.caller(payload, _person(request, payload)),
            arrival.ids(payload),
            None if refusal is not None else payload.request,
            nhs_number=payload.nhs_number,
            refusal=refusal,
        )
        if request.treatment is not None and request.treatment.late:
            self._put_off.setdefault(received.token, now + timedelta(seconds=request.treatment.late))
        reply = Reply(
            202,
            content_type=None,
            headers=(
                ("content-location", POLL_PREFIX + received.token),
                ("retry-after", str(FIRST_RETRY_AFTER)),
            ),
        )
        if received.outcome is None:
            context.metrics.duplicate(arrival.row.name)
            return "duplicate", reply
        if received.deviations:
            _log.warning(
                "deviations",
                interaction=arrival.row.name,
                deviations=" ".join(received.deviations),
                correlation_id=arrival.correlation_id,
            )
        return received.outcome.code, reply

    # --- results ----------------------------------------------------------------------------------------------------

    async def fetch(self, request: Request, token: str) -> Handled:
        """Answer who asks for a result: the same bytes every time, to nobody but the sender. Spec: 40 §7.6."""
        context = self._context
        token = token.lower()
        slot = slot_of_token(token)
        if self._put_off and self._is_put_off(token):
            return Handled(POLL, SCENARIO, ask_again(token))
        try:
            found = await context.record.fetch(slot, token) if slot is not None else None
        except StoreError as error:
            # It may well be there: the client asks again, as long as it has patience.
            _log.error("store failed", error=error.code, correlation_id=request.correlation_id)
            return Handled(POLL, "202", ask_again(token))
        if found is None:
            return Handled(POLL, "404", Reply(404, content_type=None))
        shown = request.header(_ASID) or ""
        parties = parties_behind(context.directory.snapshot, request.peer.certificate)
        strange = parties is not None and found.from_party not in parties
        # Who showed no ASID with the upload may show none, or the one in the message.
        if strange or shown not in ({found.asid} if found.asid else {"", found.sender_asid}):
            _log.warning("a result asked for by another", correlation_id=request.correlation_id)
            await self._audit_stranger(request, shown)
            return Handled(POLL, "403", Reply(403, content_type=None))
        return Handled(POLL, "200", Reply(200, found.content, SPINE_CONTENT_TYPE.encode()))

    async def _audit_stranger(self, request: Request, shown: str) -> None:
        """Keep that somebody asked for a result that is another's. Spec: 35 §7, §9.4."""
        registered = self._context.directory.snapshot.systems.get(shown)
        party = registered.party_key if registered is not None else ""
        caller = caller_at(request.peer, shown[:LONGEST_PERSON_ID], party)
        ids = MessageIds("", POLL, correlation_id=request.correlation_id)
        outcome = Outcome(AckType.REJECTED)
        await self._context.record.audit_refusal(caller, ids, outcome, reason="result_of_another", nhs_number=None)

    def _is_put_off(self, token: str) -> bool:
        """Whether a scenario keeps this result back; those whose time has come are forgotten."""
        now = self._context.clock()
        self._put_off = {each: until for each, until in self._put_off.items() if until > now}
        return token in self._put_off


def ask_again(token: str) -> Reply:
    """Make the answer to who asks for a result that cannot be given now. Spec: 40 §7.6 step 4a."""
    again = (("content-location", POLL_PREFIX + token), ("retry-after", str(NEXT_RETRY_AFTER)))
    return Reply(202, content_type=None, headers=again)


def _payload_part(multipart: Multipart, envelope: Envelope) -> Part:
    """Return the part that the manifest names, else the second one. Spec: 40 §5.1."""
    content_id = envelope.payload_content_id
    named = multipart.part(content_id) if content_id else None
    return named or next(part for part in multipart.parts if part is not multipart.root)


def _failed_checks(arrival: Arrival) -> tuple[str, ...]:
    """Return the checks of 40 §8 steps 6-9 that fail, in the order of 40 §10.3, those of the sender left out."""
    envelope, directory, row = arrival.envelope, arrival.directory, arrival.row
    failed = set(check_reliability(envelope, Reliability.RELIABLE))
    if (envelope.short_service, envelope.action) != (row.service, row.name):
        failed.add("soap_action")
    if envelope.to_party != directory.own_party.party_key:
        failed.add("to_party")
    cpa = check_cpa(directory, envelope.cpa_id, envelope.service, envelope.action)
    if cpa is not None:
        failed.add(cpa)
    return tuple(key for key in EBXML_ERRORS if key in failed)


def _refusal(arrival: Arrival, payload: Payload, failed: tuple[str, ...], *, expired: bool) -> Outcome | None:
    """Return what the acknowledgement says of the message's own faults, or none when it may be processed.

    Differences from the contract, the CPA and the receiver pass. An envelope that speaks of another interaction, or
    whose manifest cannot be understood, or that is too old, does not. Spec: 40 §7.6; 10 §14.
    """
    codes = set()
    if "soap_action" in failed:
        codes.add("515")
    if expired or _UNREADABLE_MANIFEST & _stated(arrival.envelope, failed):
        codes.add("202")
    if not codes:
        return payload.refusal
    if payload.refusal is not None and payload.refusal.ack is AckType.REJECTED:
        codes |= {issue.code for issue in payload.refusal.issues}
    return Outcome(AckType.REJECTED, tuple(WRAPPER_ERRORS[code] for code in sorted(codes)))


def _stated(envelope: Envelope, failed: tuple[str, ...]) -> frozenset[str]:
    # Without any reference there is no part that it could name, which is the case of the second part.
    return frozenset(failed) - (frozenset() if envelope.references else {"manifest_count"})


def _person(request: Request, payload: Payload) -> Person | None:
    """Return the user whom the headers name, else the author in the message. Spec: 35 §9.2."""
    role, user = request.header(_ROLE), request.header(_USER)
    if role and user:
        return Person(user[:LONGEST_PERSON_ID], role[:LONGEST_PERSON_ID], "")
    return payload.wrapper.person if payload.wrapper else None


def _author_as_sent(request: Request, payload: Payload) -> dict[str, str]:
    """Return the message's own author for the audit, where the headers name the person who counts."""
    sent = payload.wrapper.person if payload.wrapper else None
    if sent is None or not (request.header(_ROLE) and request.header(_USER)):
        return {}
    ids = (sent.user_id, sent.role_profile_id, sent.job_role)
    return {"author_as_sent": " ".join(identifier or "-" for identifier in ids)}


def _ids_as_sent(request: Request) -> dict[str, str]:
    """Return the ids that the client gave the request itself, for the audit. Spec: 35 §7, 40 §7.6."""
    sent = {"request_id": request.header(_REQUEST) or "", "client_correlation_id": request.header(_CORRELATION) or ""}
    return {name: value for name, value in sent.items() if is_uuid(value)}
