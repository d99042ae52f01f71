"""An ebXML message that has arrived, on whichever channel: what was read of it, and what an answer to it refers to.

Spec: 40 §5, §8 steps 10-14.
"""

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from openscr.access.registration import Cause, check_receiver
from openscr.delivery.answers import ReplyAddress
from openscr.directory.model import Directory
from openscr.errors import WireError
from openscr.faces.spine.exchange import Peer
from openscr.faces.spine.interference import SCENARIO, Treatment
from openscr.hl7 import acs, alert, gp_summary, psis
from openscr.hl7.document_query import read_document_query
from openscr.hl7.psis import Query
from openscr.hl7.wrapper import Wrapper, read_wrapper
from openscr.identifiers import slot_of
from openscr.spine import Alert, Caller, ConsentChange, MessageIds, Outcome, Person, Upload, Withdrawal
from openscr.store.interface import OutboxRow, RawMessage
from openscr.transport.ebxml import Envelope
from openscr.transport.interactions import Domain, Interaction
from openscr.transport.mime import Part
from openscr.transport.xml import read_xml

LONGEST_PARTY_KEY = 64
"""Characters of an unregistered party key that the audit keeps."""


_UNREADABLE: Final = {
    Domain.SUMMARY: gp_summary.UNREADABLE,
    Domain.QUERY: psis.UNREADABLE,
    Domain.CONSENT: acs.UNREADABLE,
    Domain.ALERT: alert.UNREADABLE,
}
"""The outcome of a payload that is no XML."""


@dataclass(frozen=True, slots=True)
class Payload:
    """What was read from the payload part: a ``request`` for a change, or a ``query``.

    ``wrapper`` is none when it is not well-formed XML.
    """

    wrapper: Wrapper | None
    request: Upload | Withdrawal | ConsentChange | Alert | None
    nhs_number: str | None
    refusal: Outcome | None
    digest: bytes = b""
    rules: tuple[str, ...] = ()
    query: Query | None = None

    @property
    def sender_asid(self) -> str:
        """ASID of the sender in the payload, empty when it cannot be read."""
        return self.wrapper.sender_asid if self.wrapper else ""


@dataclass(frozen=True, slots=True)
class Arrival:
    """An ebXML message whose envelope is in order: what transport knows of it."""

    row: Interaction
    envelope: Envelope
    body: bytes
    part: Part
    peer: Peer
    directory: Directory
    correlation_id: str
    treatment: Treatment | None = None

    def read_payload(self, *, accept_ask: bool) -> Payload:
        """Read the payload part. Nothing is raised for a faulty one: its refusal is in the result. Spec: 40 §8.

        What a scenario refuses is refused, whatever it is.
        """
        payload = self._read_payload(accept_ask=accept_ask)
        refusal = self.treatment.refusal if self.treatment is not None else None
        return payload if refusal is None else replace(payload, request=None, query=None, refusal=refusal)

    def _read_payload(self, *, accept_ask: bool) -> Payload:
        try:
            content = self.part.content(self.body)
            root = read_xml(content)
        except WireError:
            return Payload(None, None, None, _UNREADABLE[self.row.domain])
        wrapper = read_wrapper(root)
        if self.row.domain is Domain.SUMMARY:
            summary = gp_summary.read_summary_message(root, wrapper, content, self.row.name)
            rules = tuple(dict.fromkeys(finding.rule for finding in (*summary.rejected, *summary.findings)))
            return Payload(wrapper, summary.request, summary.nhs_number, summary.refusal, rules=rules)
        if self.row.domain is Domain.QUERY:
            query = read_document_query(wrapper, None, self.row.name)
            rules = tuple(dict.fromkeys(finding.rule for finding in query.findings))
            return Payload(wrapper, None, query.nhs_number, query.refusal, rules=rules, query=query.request)
        digest = hashlib.sha256(content).digest()
        if self.row.domain is Domain.ALERT:
            raised = alert.read_alert_message(wrapper)
            rules = tuple(dict.fromkeys(finding.rule for finding in (*raised.rejected, *raised.findings)))
            request = None if raised.request is None else replace(raised.request, ids=self._ids(wrapper))
            return Payload(wrapper, request, raised.nhs_number, raised.refusal, digest, rules)
        consent = acs.read_consent_message(wrapper, self.row.name, accept_ask=accept_ask)
        change = consent.request if isinstance(consent.request, ConsentChange) else None
        rules = tuple(dict.fromkeys(finding.rule for finding in (*consent.rejected, *consent.findings)))
        return Payload(wrapper, change, consent.nhs_number, consent.refusal, digest, rules)

    @property
    def notes(self) -> dict[str, str]:
        """What the audit should know of a scenario that took part."""
        return {SCENARIO: self.treatment.scenario} if self.treatment is not None else {}

    def takes(self, interaction: str) -> bool:
        """Whether the sender has an endpoint for this kind of answer."""
        return self.directory.endpoint(self.envelope.from_party, self.row.service, interaction) is not None

    def put_off(self, row: OutboxRow) -> OutboxRow:
        """Return an answer on its way, to be sent later if a scenario wants it so."""
        if self.treatment is None or not self.treatment.late or row.next_attempt_at is None:
            return row
        return replace(row, next_attempt_at=row.next_attempt_at + timedelta(seconds=self.treatment.late))

    @property
    def raw(self) -> RawMessage:
        """The message as the store keeps it."""
        part = self.part
        return RawMessage(self.body, part.start, part.end - part.start, "base64" if part.encoding == "base64" else "")

    def caller(self, payload: Payload, person: Person | None) -> Caller:
        """Return who sends the message in the name of ``person``."""
        return caller_at(self.peer, payload.sender_asid, self.envelope.from_party, person)

    def ids(self, payload: Payload) -> MessageIds:
        """Return the ids of the message."""
        return self._ids(payload.wrapper)

    def _ids(self, wrapper: Wrapper | None) -> MessageIds:
        return MessageIds(
            wrapper.message_id if wrapper else "", self.row.name, self.envelope.message_id, self.correlation_id
        )

    def reply_address(self, payload: Payload) -> ReplyAddress:
        """Return where an application acknowledgement goes, and what it refers to. Spec: 40 §5.3, §10.5; 10 §14."""
        envelope, directory, wrapper = self.envelope, self.directory, payload.wrapper
        senders = directory.systems_of(envelope.from_party)
        receiver = wrapper.receiver_asid if wrapper else ""
        return ReplyAddress(
            slot=slot_of(payload.nhs_number or envelope.from_party),
            to_party=envelope.from_party,
            service=self.row.service,
            interaction=self.row.name,
            conversation_id=envelope.conversation_id,
            ref_to_message_id=envelope.message_id,
            reference=(wrapper.message_id if wrapper else "") or envelope.message_id,
            receiver_asid=payload.sender_asid or (senders[0].asid if senders else ""),
            sender_asid=receiver if receiver in directory.own_asids else directory.own_system.asid,
        )

    def deviations(self, payload: Payload) -> tuple[str, ...]:
        """Return what is remarkable about the message's addressing and passes all the same.

        Published clients carry the ASID of another environment, or a party key. Spec: 40 §8 step 10.
        """
        receiver = payload.wrapper.receiver_asid if payload.wrapper else ""
        return (Cause.RECEIVER_NOT_OURS.value,) if receiver and not check_receiver(self.directory, receiver) else ()


def caller_at(peer: Peer, asid: str, party_key: str, person: Person | None = None) -> Caller:
    """Return a caller as the audit knows it."""
    certificate = peer.certificate
    return Caller(
        asid=asid,
        party_key=party_key,
        person=person,
        certificate=certificate.identity if certificate else None,
        address=peer.address,
    )
