"""Synchronous SOAP: event queries and consent, asked and answered in one HTTP exchange.

The order of the checks is the specification's: SOAPAction, XML, envelope rules, ASIDs, body root, wrapper rules,
domain.
Transport refuses with a SOAP fault (HTTP 500), everything behind it answers in HL7 with HTTP 200.

Spec: 40 §4, §8 (sync pipeline); 20 §9; 30 §6.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import structlog

from openscr.access.refusals import RequestRefused
from openscr.access.registration import Cause, check_receiver, check_sender
from openscr.access.smartcard import SMARTCARD_HEADER
from openscr.codes import (
    ACKNOWLEDGEMENT,
    ACS_GET_ANSWER,
    ACS_HAS,
    ACS_HAS_ANSWER,
    ACS_SET,
    HL7_NS,
    QUERY_FAILED,
    SERVICE_PREFIX,
    VERSION_CODE,
    VERSION_CODE_3,
)
from openscr.directory.model import Directory, System
from openscr.errors import GENERAL, AccessRefused, WireError
from openscr.faces.spine.context import SpineContext, fault, parties_behind
from openscr.faces.spine.exchange import Handled, Peer, Reply, Request
from openscr.faces.spine.interference import SCENARIO, Treatment
from openscr.faces.spine.queries import answer_query, read_query
from openscr.hl7 import acs, permission_check, psis
from openscr.hl7.acknowledgement import VERSION_OF_ACS_ANSWER, write_acknowledgement
from openscr.hl7.wrapper import Finding, Heading, Wrapper, read_wrapper
from openscr.identifiers import hl7_timestamp
from openscr.record.decision import ACCESS_DENIED, refuse
from openscr.record.record import Reception
from openscr.spine import (
    AckType,
    Caller,
    ConsentChange,
    ConsentQuery,
    MessageIds,
    Outcome,
    PermissionQuery,
    Session,
)
from openscr.store.interface import RawMessage
from openscr.transport.interactions import INTERACTIONS, Domain, Interaction
from openscr.transport.soap import parse_soap_action
from openscr.transport.wsa import HEADER_RULES, SoapRequest, read_request, write_response
from openscr.transport.xml import element_span, read_xml

_log = structlog.get_logger("spine.soap")

_SMARTCARD = SMARTCARD_HEADER.lower().encode()
_MEDIA_TYPES = frozenset({"text/xml", "application/xml", ""})


class _Refused(Exception):
    """The request ends here with this reply; ``outcome`` is its label in metrics and logs."""

    def __init__(self, reply: Reply, outcome: str) -> None:
        super().__init__(outcome)
        self.reply = reply
        self.outcome = outcome


def _refuse(code: str, *locations: str) -> _Refused:
    return _Refused(fault(code, *locations), f"fault-{code}")


class _Exchange:
    """One request on its way through the pipeline: what is known of it so far."""

    def __init__(self, context: SpineContext, peer: Peer, row: Interaction, correlation_id: str) -> None:
        self.context = context
        self.peer = peer
        self.row = row
        self.correlation_id = correlation_id
        self.directory: Directory = context.directory.snapshot
        self.request: SoapRequest
        self.system: System
        self.session: Session | None = None
        self.message_id = context.mint()

    @property
    def transport_id(self) -> str:
        """The UUID of ``wsa:MessageID``."""
        return self.request.message_id.removeprefix("uuid:")

    def caller(self, wrapper: Wrapper) -> Caller:
        """Return who asks: the registered system, and the person that the message names."""
        certificate = self.peer.certificate
        return Caller(
            asid=self.system.asid,
            party_key=self.system.party_key,
            person=wrapper.person or (self.session.person if self.session is not None else None),
            certificate=certificate.identity if certificate else None,
            address=self.peer.address,
            session=self.session,
        )

    def ids(self, wrapper: Wrapper) -> MessageIds:
        """Return the ids of the request."""
        return MessageIds(wrapper.message_id, self.row.name, self.transport_id, self.correlation_id)

    def heading(self, version_code: str) -> Heading:
        """Return the wrapper facts of the answer: ASIDs swapped, our fresh message id. Spec: 40 §10.5."""
        return Heading(
            message_id=self.message_id,
            created=hl7_timestamp(self.context.clock()),
            version_code=version_code,
            receiver=self.request.sender_asid,
            sender=self.request.receiver_asid,
        )

    def respond(self, interaction: str, body: bytes) -> bytes:
        """Put an answer into its SOAP envelope."""
        return write_response(
            message_id=self.message_id,
            action=f"{SERVICE_PREFIX}{self.row.service}/{interaction}",
            to=self.request.from_address,
            from_address=self.context.public_url,
            receiver_asid=self.request.sender_asid,
            sender_asid=self.request.receiver_asid,
            relates_to=self.request.message_id,
            body=body,
        )


def _log_rules(findings: Sequence[Finding], exchange: _Exchange) -> None:
    rules = " ".join(dict.fromkeys(finding.rule for finding in findings))
    _log.info("rules broken", rules=rules, correlation_id=exchange.correlation_id)


class SoapEndpoint:
    """Handles ``/sync-service`` and its aliases."""

    def __init__(self, context: SpineContext) -> None:
        self._context = context

    async def handle(self, request: Request) -> Handled:
        """Answer one request. Raises: `StoreError`, `Overloaded`."""
        action = parse_soap_action(request.header(b"soapaction"))
        row = INTERACTIONS.get(action) if action is not None else None
        if row is None or not row.soap or row.name in self._context.switched_off:
            return Handled("unknown", "fault-101", fault("101"))
        exchange = _Exchange(self._context, request.peer, row, request.correlation_id)
        try:
            outcome, answer = await self._process(exchange, request)
        except _Refused as refused:
            return Handled(row.name, refused.outcome, refused.reply)
        return Handled(row.name, outcome, Reply(200, answer))

    async def _process(self, exchange: _Exchange, arrived: Request) -> tuple[str, bytes]:
        row = exchange.row
        media_type = (arrived.header(b"content-type") or "").partition(";")[0].strip().lower()
        if media_type not in _MEDIA_TYPES:
            raise _refuse("201")
        try:
            root = read_xml(arrived.body)
        except WireError:
            raise _refuse("201") from None
        request = read_request(root, row.name)
        if request.faults or request.body is None:
            faults = request.faults or ("/SOAP:Envelope/SOAP:Body",)
            keys = [HEADER_RULES[location].key for location in faults]
            _log.info("refused", rules=" ".join(keys), correlation_id=exchange.correlation_id)
            raise _refuse("201", *faults)
        exchange.request = request
        wrapper = read_wrapper(request.body)
        await self._check_registration(exchange, arrived.header(b"nhsd-asid"), wrapper)
        exchange.context.admission.check_system(exchange.system.asid)
        if request.body.tag != f"{{{HL7_NS}}}{row.name}":
            await self._audit_fault(exchange, wrapper)
            raise _refuse("101")
        if arrived.refusal is not None:
            return await self._refuse_as_told(exchange, wrapper, arrived.refusal, arrived.treatment)
        smartcard = arrived.header(_SMARTCARD)
        if smartcard is not None and exchange.context.smartcards is not None:
            # The policy holds the message's author to whom the broker vouches for.
            try:
                exchange.session = await exchange.context.smartcards.authenticate(smartcard.strip())
            except RequestRefused as refused:
                return await self._refuse_smartcard(exchange, wrapper, refused.refusal.reason)
        header = psis.HeaderFacts(request.action.partition("/")[2], request.receiver_asid, request.sender_asid)
        if row.domain is Domain.QUERY:
            return await self._answer_query(exchange, wrapper, header)
        return await self._answer_consent(exchange, wrapper, header, arrived.body)

    async def _check_registration(self, exchange: _Exchange, stated: str | None, wrapper: Wrapper) -> None:
        """Refuse with fault 300 whoever is not registered for this; keep the precise cause. Spec: 35 §3.2."""
        request, row, directory = exchange.request, exchange.row, exchange.directory
        parties = parties_behind(directory, exchange.peer.certificate)
        try:
            exchange.system = check_sender(
                directory, asid=request.sender_asid, service=row.service, interaction=row.name, parties=parties
            )
            if row.name == ACS_SET and wrapper.sender_asid and wrapper.sender_asid != request.sender_asid:
                # Spine compares header and body of every request but this one. Spec: 40 §4.2.
                check_sender(
                    directory, asid=wrapper.sender_asid, service=row.service, interaction=row.name, parties=parties
                )
            if stated is not None and stated.strip() != request.sender_asid:
                raise AccessRefused(Cause.ASID_HEADER_DIFFERS)
            if not check_receiver(directory, request.receiver_asid):
                raise AccessRefused(Cause.RECEIVER_NOT_OURS)
        except AccessRefused as refused:
            registered = directory.systems.get(request.sender_asid)
            certificate = exchange.peer.certificate
            caller = Caller(
                request.sender_asid,
                registered.party_key if registered else "",
                wrapper.person,
                certificate.identity if certificate else None,
                exchange.peer.address,
            )
            outcome = Outcome(AckType.REJECTED)
            await exchange.context.record.audit_refusal(
                caller, exchange.ids(wrapper), outcome, reason=refused.diagnostics, nhs_number=None
            )
            raise _refuse("300") from None

    async def _audit_fault(self, exchange: _Exchange, wrapper: Wrapper) -> None:
        """Keep that a registered sender was refused with a fault. Spec: 35 §9.4."""
        outcome = Outcome(AckType.REJECTED)
        await exchange.context.record.audit_refusal(
            exchange.caller(wrapper), exchange.ids(wrapper), outcome, reason="invalid", nhs_number=None
        )

    async def _refuse_as_told(
        self, exchange: _Exchange, wrapper: Wrapper, refusal: Outcome, treatment: Treatment | None
    ) -> tuple[str, bytes]:
        """Answer what a scenario says, whatever is asked, as the record's own refusal would be answered."""
        await exchange.context.record.audit_refusal(
            exchange.caller(wrapper), exchange.ids(wrapper), refusal, reason=SCENARIO, nhs_number=None
        )
        if treatment is not None and treatment.by_acknowledgement and exchange.row.domain is not Domain.CONSENT:
            name, shell = exchange.row.name, exchange.system.sync_wrapper
            reference = wrapper.message_id or exchange.transport_id
            heading = exchange.heading(wrapper.version_code or VERSION_CODE_3)
            body = write_acknowledgement(heading, refusal, reference, name, enveloped=True)
            return SCENARIO, exchange.respond(ACKNOWLEDGEMENT, psis.wrap(name, body, shell))
        return SCENARIO, self._write_refusal(exchange, wrapper, refusal)

    async def _refuse_smartcard(self, exchange: _Exchange, wrapper: Wrapper, reason: str) -> tuple[str, bytes]:
        """Refuse a person whose smartcard token does not count, as one without rights. Spec: 35 §4.1, §9.2."""
        refusal = refuse(ACCESS_DENIED, reason).outcome
        await exchange.context.record.audit_refusal(
            exchange.caller(wrapper), exchange.ids(wrapper), refusal, reason=reason, nhs_number=None
        )
        return refusal.code, self._write_refusal(exchange, wrapper, refusal)

    def _write_refusal(self, exchange: _Exchange, wrapper: Wrapper, refusal: Outcome) -> bytes:
        """Write a refusal that was decided before the message was looked into, as the record's own would be."""
        reference = wrapper.message_id or exchange.transport_id
        if exchange.row.domain is Domain.CONSENT:
            return self._write_consent_outcome(exchange, refusal, reference)
        heading = exchange.heading(wrapper.version_code or VERSION_CODE_3)
        body = psis.write_query_failed(exchange.row.name, heading, refusal, reference, exchange.system.sync_wrapper)
        return exchange.respond(QUERY_FAILED, body)

    # --- queries ----------------------------------------------------------------------------------------------------

    async def _answer_query(self, exchange: _Exchange, wrapper: Wrapper, header: psis.HeaderFacts) -> tuple[str, bytes]:
        name = exchange.row.name
        message = read_query(wrapper, header, name)
        if message.unanswerable is not None:
            await self._audit_fault(exchange, wrapper)
            raise _refuse("201", message.unanswerable)
        caller, ids = exchange.caller(wrapper), exchange.ids(wrapper)
        record = exchange.context.record
        shell = exchange.system.sync_wrapper
        refusal = message.refusal
        if refusal is None and message.request is not None:
            outcome, answer, body = await answer_query(
                record,
                caller,
                ids,
                message.request,
                lambda: exchange.heading(wrapper.version_code),
                wrapper.message_id,
                shell,
            )
            if outcome.accepted:
                return "AA", exchange.respond(answer, body)
            refusal = outcome
        else:
            refusal = refusal or Outcome(AckType.ERROR, (GENERAL["500"],))
            _log_rules(message.findings, exchange)
            await record.audit_refusal(caller, ids, refusal, reason="invalid", nhs_number=message.nhs_number)
        heading = exchange.heading(wrapper.version_code or VERSION_CODE_3)
        body = psis.write_query_failed(name, heading, refusal, wrapper.message_id, shell)
        return refusal.code, exchange.respond(QUERY_FAILED, body)

    # --- consent ----------------------------------------------------------------------------------------------------

    async def _answer_consent(
        self, exchange: _Exchange, wrapper: Wrapper, header: psis.HeaderFacts, raw: bytes
    ) -> tuple[str, bytes]:
        name = exchange.row.name
        if name == ACS_HAS:
            message = permission_check.read_permission_message(wrapper, header)
        else:
            message = acs.read_consent_message(wrapper, name, header, accept_ask=exchange.context.accept_ask_in_set)
        caller, ids = exchange.caller(wrapper), exchange.ids(wrapper)
        record = exchange.context.record
        reference = wrapper.message_id or exchange.transport_id
        shell = exchange.system.sync_wrapper
        if message.refusal is not None:
            _log_rules((*message.rejected, *message.findings), exchange)
            await record.audit_refusal(caller, ids, message.refusal, reason="invalid", nhs_number=message.nhs_number)
            return message.refusal.code, self._write_consent_outcome(exchange, message.refusal, reference)
        if isinstance(message.request, ConsentChange):
            change = ConsentChange(ids, message.request.nhs_number, message.request.value)
            offset, length, _ = element_span(raw, wrapper.root)
            digest = hashlib.sha256(raw[offset : offset + length])
            reception = Reception(
                from_party=exchange.system.party_key,
                # Transport knows no duplicates here: an id over other content is for the record to refuse (30 §7.1).
                message_id=f"SOAP {exchange.transport_id} {digest.hexdigest()}",
                raw=RawMessage(raw, offset, length),
                received_at=exchange.context.clock(),
                signal_status=200,
                digest=digest.digest(),
                reply=lambda outcome: self._write_consent_outcome(exchange, outcome, reference),
            )
            received = await record.receive(reception, caller, ids, change, nhs_number=change.nhs_number)
            if received.outcome is None:
                exchange.context.metrics.duplicate(name)
                return "duplicate", received.signal
            return received.outcome.code, received.signal
        heading, namespace = exchange.heading(VERSION_CODE), exchange.context.namespace_of_permissions
        if isinstance(message.request, PermissionQuery):
            permissions = await record.has_permissions(caller, replace(message.request, ids=ids))
            if not permissions.outcome.accepted:
                return permissions.outcome.code, self._write_consent_outcome(exchange, permissions.outcome, reference)
            body = permission_check.write_has_answer(
                heading, permissions, wrapper.message_id, shell, namespace=namespace
            )
            return "AA", exchange.respond(ACS_HAS_ANSWER, body)
        if not isinstance(message.request, ConsentQuery):
            raise TypeError("a consent message without faults has a request")
        query = replace(message.request, ids=ids)
        answer = await record.get_consent(caller, query)
        if not answer.outcome.accepted:
            return answer.outcome.code, self._write_consent_outcome(exchange, answer.outcome, reference)
        body = acs.write_get_answer(heading, answer, query.criteria, wrapper.message_id, shell, namespace=namespace)
        return "AA", exchange.respond(ACS_GET_ANSWER, body)

    @staticmethod
    def _write_consent_outcome(exchange: _Exchange, outcome: Outcome, reference: str) -> bytes:
        heading = exchange.heading(VERSION_OF_ACS_ANSWER[outcome.ack])
        body = acs.write_outcome(exchange.row.name, heading, outcome, reference, exchange.system.sync_wrapper)
        return exchange.respond(ACKNOWLEDGEMENT, body)
