"""Asynchronous messaging: uploads, withdrawals and consent reliably over ebXML, document queries as express messages.

The message is decided and stored in the request that brings it; the signal follows the commit, and the application
acknowledgement is delivered later to the endpoint that the sender's party has registered. A query gets an empty 202;
its answer is a message of its own, sent once.

Spec: 40 §5, §6.5, §7.2, §7.3, §8.
"""

import structlog

from openscr.access.registration import Cause, check_cpa, check_sender
from openscr.codes import ACTOR_TO_PARTY, SIGNAL_SERVICE
from openscr.delivery.answers import acknowledgement_row
from openscr.directory.model import Directory
from openscr.errors import EBXML_ERRORS, AccessRefused, WireError
from openscr.faces.spine.arrival import LONGEST_PARTY_KEY, Arrival, Payload, caller_at
from openscr.faces.spine.context import SpineContext, fault, parties_behind
from openscr.faces.spine.exchange import Handled, Peer, Reply, Request
from openscr.faces.spine.interference import SCENARIO
from openscr.faces.spine.queries import answer_express
from openscr.identifiers import ebxml_timestamp
from openscr.record.record import Reception
from openscr.spine import AckType, Caller, MessageIds, Outcome
from openscr.store.interface import OutboxRow
from openscr.transport.ebxml import (
    Envelope,
    Reliability,
    check_reliability,
    read_envelope,
    read_signal,
    time_to_live_passed,
    write_acknowledgment,
    write_message_error,
)
from openscr.transport.interactions import INTERACTIONS, Interaction
from openscr.transport.mime import Part, read_multipart
from openscr.transport.soap import parse_soap_action
from openscr.transport.xml import read_xml

_log = structlog.get_logger("spine.ebxml")
_STRANGERS = {"from_party": Cause.UNKNOWN_PARTY, "certificate": Cause.PARTY_NOT_OF_CERTIFICATE}
_ACKNOWLEDGMENT = f"{SIGNAL_SERVICE}/Acknowledgment"
_MESSAGE_ERROR = f"{SIGNAL_SERVICE}/MessageError"


class EbxmlEndpoint:
    """Handles the reliable-messaging paths."""

    def __init__(self, context: SpineContext) -> None:
        self._context = context

    async def handle(self, request: Request) -> Handled:
        """Answer one request; what must be delivered is on its way before that.

        Raises: `StoreError`, `Overloaded`.
        """
        soap_action = request.header(b"soapaction")
        if soap_action is not None and soap_action.strip().strip('"').endswith(("/Acknowledgment", "/MessageError")):
            return await self._take_late_signal(request)
        action = parse_soap_action(soap_action)
        row = INTERACTIONS.get(action) if action is not None else None
        if row is None or not (row.reliable or row.express):
            return Handled("unknown", "fault-101", fault("101"))
        outcome, reply, outbox_row = await self._process(row, request)
        # An answer that is to come late is found by the outbox when it is due.
        if outbox_row is not None and not (request.treatment is not None and request.treatment.late):
            self._context.outbox.submit(outbox_row)
        return Handled(row.name, outcome, reply)

    async def _take_late_signal(self, request: Request) -> Handled:
        """Take an acknowledgement or error that a client posts on its own, for a message to its own party.

        Spec: 40 §6.3 step 3, §7.5, §9.
        """
        try:
            signal = read_signal(read_xml(request.body))
        except WireError:
            signal = None
        if signal is None:
            return Handled("signal", "fault-201", fault("201"))
        outbox = self._context.outbox
        take = outbox.acknowledged if signal.kind == "Acknowledgment" else outbox.refused
        parties = parties_behind(self._context.directory.snapshot, request.peer.certificate)
        known = await take(signal.ref_to_message_id, parties)
        _log.info("late signal", kind=signal.kind, expected=known)
        return Handled("signal", "200", Reply(200))

    async def _process(self, row: Interaction, request: Request) -> tuple[str, Reply, OutboxRow | None]:
        context = self._context
        directory = context.directory.snapshot
        try:
            multipart = read_multipart(request.header(b"content-type"), request.body)
            if len(multipart.parts) < 2:
                return "fault-201", fault("201"), None
            root = read_xml(multipart.root.content(request.body))
            envelope = read_envelope(root)
        except WireError as error:
            return "fault-201", fault("201", *([error.location] if error.location else [])), None
        treatment = request.treatment
        if treatment is not None and treatment.message_errors:
            return SCENARIO, self._message_error(envelope, directory, treatment.message_errors), None
        content_id = envelope.payload_content_id
        part = multipart.part(content_id) if content_id else None
        errors = self._check_envelope(row, envelope, directory, request.peer, part)
        if errors or part is None:
            _log.info("refused", checks=" ".join(errors), correlation_id=request.correlation_id)
            cause = next((cause for key, cause in _STRANGERS.items() if key in errors), None)
            await self._audit_envelope(row, envelope, request, cause or f"envelope {' '.join(errors)}")
            return "message-error", self._message_error(envelope, directory, errors), None
        arrival = Arrival(row, envelope, request.body, part, request.peer, directory, request.correlation_id, treatment)
        payload = arrival.read_payload(accept_ask=context.accept_ask_in_set)
        if payload.sender_asid:
            try:
                check_sender(
                    directory,
                    asid=payload.sender_asid,
                    service=row.service,
                    interaction=row.name,
                    parties=frozenset({envelope.from_party}),
                )
            except AccessRefused as refused:
                await self._audit_refusal(arrival, payload, refused.diagnostics)
                return "fault-300", fault("300"), None
        context.admission.check_system(payload.sender_asid or envelope.from_party)
        now = context.clock()
        if time_to_live_passed(envelope, now):
            await self._audit_refusal(arrival, payload, "expired")
            return "message-error", self._message_error(envelope, directory, ("expired",)), None
        if payload.rules:
            _log.info("rules broken", rules=" ".join(payload.rules), correlation_id=request.correlation_id)
        if row.express:
            _log_deviations(arrival, arrival.deviations(payload))
            outcome, answer = await answer_express(context, arrival, payload)
            return outcome.code, Reply(202), answer
        return await self._receive(arrival, payload)

    def _check_envelope(
        self, row: Interaction, envelope: Envelope, directory: Directory, peer: Peer, part: Part | None
    ) -> tuple[str, ...]:
        """Return the failed checks of 40 §8 steps 6-9, in the order in which they are reported."""
        pattern = Reliability.EXPRESS if row.express else Reliability.RELIABLE
        failed: set[str] = set(check_reliability(envelope, pattern))
        if (envelope.short_service, envelope.action) != (row.service, row.name):
            failed.add("soap_action")
        if part is None and not failed & {"manifest_count", "manifest_href"}:
            failed.add("manifest_part")
        if envelope.to_party != directory.own_party.party_key:
            failed.add("to_party")
        if envelope.from_party not in directory.parties:
            failed.add("from_party")
        else:
            parties = parties_behind(directory, peer.certificate)
            if parties is not None and envelope.from_party not in parties:
                failed.add("certificate")
        cpa = check_cpa(directory, envelope.cpa_id, envelope.service, envelope.action)
        if cpa is not None:
            failed.add(cpa)
        return tuple(key for key in EBXML_ERRORS if key in failed)

    def _message_error(self, envelope: Envelope, directory: Directory, keys: tuple[str, ...]) -> Reply:
        errors = tuple(dict.fromkeys(EBXML_ERRORS[key] for key in keys))
        body = write_message_error(
            from_party=directory.own_party.party_key,
            to_party=envelope.from_party,
            cpa_id=envelope.cpa_id,
            conversation_id=envelope.conversation_id,
            message_id=self._context.mint(),
            timestamp=ebxml_timestamp(self._context.clock()),
            ref_to_message_id=envelope.message_id,
            errors=errors,
        )
        return Reply(200, body, soap_action=_MESSAGE_ERROR)

    async def _audit_envelope(self, row: Interaction, envelope: Envelope, request: Request, cause: str) -> None:
        """Keep that a message was refused by its envelope, above all by who it says it is from. Spec: 35 §3.2, §9.4."""
        caller = caller_at(request.peer, "", envelope.from_party[:LONGEST_PARTY_KEY])
        ids = MessageIds("", row.name, envelope.message_id, request.correlation_id)
        outcome = Outcome(AckType.REJECTED)
        await self._context.record.audit_refusal(caller, ids, outcome, reason=cause, nhs_number=None)

    async def _audit_refusal(self, arrival: Arrival, payload: Payload, cause: str) -> None:
        await self._context.record.audit_refusal(
            _caller(arrival, payload),
            arrival.ids(payload),
            Outcome(AckType.REJECTED),
            reason=cause,
            nhs_number=payload.nhs_number,
        )

    async def _receive(self, arrival: Arrival, payload: Payload) -> tuple[str, Reply, OutboxRow | None]:
        """Hand the message to the record; what comes back is durable. Spec: 40 §8 steps 12-15."""
        context, envelope, directory = self._context, arrival.envelope, arrival.directory
        now = context.clock()
        address = arrival.reply_address(payload)
        signal = write_acknowledgment(
            from_party=directory.own_party.party_key,
            to_party=envelope.from_party,
            cpa_id=envelope.cpa_id,
            conversation_id=envelope.conversation_id,
            message_id=context.mint(),
            timestamp=ebxml_timestamp(now),
            ref_to_message_id=envelope.message_id,
            actor=ACTOR_TO_PARTY,
        )
        reception = Reception(
            from_party=envelope.from_party,
            message_id=envelope.message_id,
            raw=arrival.raw,
            received_at=now,
            signal=signal,
            digest=payload.digest,
            answer=lambda outcome: arrival.put_off(
                acknowledgement_row(address, outcome, directory, context.mint(), now)
            ),
            deviations=arrival.deviations(payload),
            notes=arrival.notes,
        )
        received = await context.record.receive(
            reception,
            _caller(arrival, payload),
            arrival.ids(payload),
            payload.request,
            nhs_number=payload.nhs_number,
            refusal=payload.refusal,
        )
        reply = Reply(received.signal_status, received.signal, soap_action=_ACKNOWLEDGMENT)
        if received.outcome is None:
            context.metrics.duplicate(arrival.row.name)
            return "duplicate", reply, None
        _log_deviations(arrival, received.deviations)
        return received.outcome.code, reply, received.outbox


def _log_deviations(arrival: Arrival, deviations: tuple[str, ...]) -> None:
    """Tell once what is remarkable about a message that passes all the same. Spec: 10 §17, 40 §8 step 10."""
    if deviations:
        _log.warning(
            "deviations",
            interaction=arrival.row.name,
            deviations=" ".join(deviations),
            correlation_id=arrival.correlation_id,
        )


def _caller(arrival: Arrival, payload: Payload) -> Caller:
    return arrival.caller(payload, payload.wrapper.person if payload.wrapper else None)
