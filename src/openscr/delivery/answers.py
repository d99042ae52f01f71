"""Answers on their way out: from an outcome to an outbox row with its complete bytes.

The bytes are rendered once, in the transaction that decided, and never again: every attempt sends the same MessageId
and Timestamp. A row whose receiver has no endpoint keeps the outcome as data, and is rendered when there is one.

Spec: 40 §5.3, §6.3, §8, §10.5.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

import msgspec

from openscr.codes import ACKNOWLEDGEMENT, ACS_SET, SERVICE_PREFIX
from openscr.directory.model import Directory, Endpoint
from openscr.errors import Issue
from openscr.hl7.acknowledgement import VERSION_OF_ACS_ANSWER, VERSION_OF_UPLOAD_ANSWER, write_acknowledgement
from openscr.hl7.wrapper import Heading
from openscr.identifiers import ebxml_timestamp, hl7_timestamp
from openscr.spine import AckType, Outcome
from openscr.store.interface import OutboxRow, OutboxState
from openscr.transport.ebxml import Reliability, payload_id_of, write_user_message
from openscr.transport.mime import (
    HEADER_CONTENT_ID,
    SPINE_CONTENT_TYPE,
    SPINE_HEADER_TYPE,
    SPINE_PAYLOAD_TYPE,
    write_multipart,
)
from openscr.transport.polling import on_one_line, with_hl7_prefix
from openscr.transport.xml import DECLARATION

_QUERIES: Final = "psisquery"
"""The service of the queries whose answers are messages of their own."""


def is_express(row: OutboxRow) -> bool:
    """Whether an answer is sent once, with no acknowledgement and no repetition: those to queries. Spec: 40 §7.2.

    A query may be refused by an ``MCCI_IN010000UK13`` too, which is then no more than any other answer to it.
    """
    return row.service == _QUERIES


class Answer(msgspec.Struct, frozen=True):
    """The outcome of a request as data: all that the HL7 answer is written from.

    ``reference`` is the wrapper id of the request as received; ``receiver`` and ``sender`` are ASIDs.
    """

    interaction: str
    ack: str
    issues: tuple[tuple[str, str, str, str], ...]
    reference: str
    receiver: str
    sender: str


@dataclass(frozen=True, slots=True)
class ReplyAddress:
    """Where the answer to one asynchronous request goes, and what it refers to. Spec: 40 §5.3."""

    slot: int
    to_party: str
    service: str
    interaction: str
    conversation_id: str
    ref_to_message_id: str
    reference: str
    receiver_asid: str
    sender_asid: str


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Answer)


def acknowledgement_row(
    address: ReplyAddress, outcome: Outcome, directory: Directory, message_id: str, now: datetime
) -> OutboxRow:
    """Make the outbox row of an application acknowledgement, rendered when the directory knows where it goes."""
    answer = _answer(address, outcome)
    endpoint = directory.endpoint(address.to_party, address.service, ACKNOWLEDGEMENT)
    body = b""
    if endpoint is not None:
        body = _write(address, answer, outcome, endpoint.cpa_id, directory, message_id, now)
    return _row(address, ACKNOWLEDGEMENT, answer, endpoint, body, message_id, now)


def express_row(
    address: ReplyAddress,
    interaction: str,
    payload: bytes,
    outcome: Outcome,
    directory: Directory,
    message_id: str,
    now: datetime,
) -> OutboxRow:
    """Make the outbox row of the answer to a query: ``payload`` is its HL7 document, whose id is ``message_id``.

    A party that has no endpoint for it gets a row that says so and holds nothing of the answer: by the time that one
    is registered nobody waits for it any more. Spec: 40 §7.2, §8, §10.5.
    """
    endpoint = directory.endpoint(address.to_party, address.service, interaction)
    body = b""
    if endpoint is not None:
        envelope = _envelope(
            address, interaction, endpoint.cpa_id, directory, message_id, now, reliability=Reliability.EXPRESS
        )
        body = _pack(message_id, envelope, payload)
    return _row(address, interaction, _answer(address, outcome), endpoint, body, message_id, now)


def _row(
    address: ReplyAddress,
    interaction: str,
    answer: Answer,
    endpoint: Endpoint | None,
    body: bytes,
    message_id: str,
    now: datetime,
) -> OutboxRow:
    return OutboxRow(
        slot=address.slot,
        id=message_id,
        to_party=address.to_party,
        service=address.service,
        interaction=interaction,
        conversation_id=address.conversation_id,
        ref_to_message_id=address.ref_to_message_id,
        created_at=now,
        answer=_ENCODER.encode(answer),
        state=OutboxState.OPEN if endpoint is not None else OutboxState.UNDELIVERABLE,
        content_type=SPINE_CONTENT_TYPE if endpoint is not None else "",
        soap_action=f"{SERVICE_PREFIX}{address.service}/{interaction}" if endpoint is not None else "",
        body=body,
        next_attempt_at=now if endpoint is not None else None,
        last_error="" if endpoint is not None else "no endpoint registered",
    )


def poll_result(
    address: ReplyAddress, cpa_id: str, outcome: Outcome, directory: Directory, message_id: str, now: datetime
) -> bytes:
    """Write the result that a polling client fetches: both documents on one line each. Spec: 40 §7.6, §10.5.

    ``cpa_id`` is the request's, echoed.
    """
    envelope, payload = _documents(address, _answer(address, outcome), outcome, cpa_id, directory, message_id, now)
    # The declaration of the envelope stands on a line of its own already; the payload of a delivery has none.
    declaration, _, line = envelope.partition(b"\n")
    return _pack(
        message_id,
        b"%b\n%b" % (declaration, on_one_line(line)),
        DECLARATION.encode() + on_one_line(with_hl7_prefix(payload)),
    )


def _answer(address: ReplyAddress, outcome: Outcome) -> Answer:
    return Answer(
        interaction=address.interaction,
        ack=outcome.ack.value,
        issues=tuple([(issue.code, issue.display, issue.severity, issue.system) for issue in outcome.issues]),
        reference=address.reference,
        receiver=address.receiver_asid,
        sender=address.sender_asid,
    )


def render_late(row: OutboxRow, directory: Directory) -> OutboxRow | None:
    """Render an acknowledgement that had no endpoint when it was made; none when it still has not. Spec: 40 §6.3."""
    endpoint = directory.endpoint(row.to_party, row.service, row.interaction)
    if endpoint is None:
        return None
    answer = _DECODER.decode(row.answer)
    outcome = Outcome(AckType(answer.ack), tuple(Issue(*issue) for issue in answer.issues))
    body = _write(row, answer, outcome, endpoint.cpa_id, directory, row.id, row.created_at)
    soap_action = f"{SERVICE_PREFIX}{row.service}/{row.interaction}"
    return replace(row, content_type=SPINE_CONTENT_TYPE, soap_action=soap_action, body=body)


def _write(
    address: ReplyAddress | OutboxRow,
    answer: Answer,
    outcome: Outcome,
    cpa_id: str,
    directory: Directory,
    message_id: str,
    created_at: datetime,
) -> bytes:
    """Write the complete message: ebXML envelope and HL7 payload in their multipart. Spec: 40 §10.5."""
    return _pack(message_id, *_documents(address, answer, outcome, cpa_id, directory, message_id, created_at))


def _documents(
    address: ReplyAddress | OutboxRow,
    answer: Answer,
    outcome: Outcome,
    cpa_id: str,
    directory: Directory,
    message_id: str,
    created_at: datetime,
) -> tuple[bytes, bytes]:
    versions = VERSION_OF_ACS_ANSWER if answer.interaction == ACS_SET else VERSION_OF_UPLOAD_ANSWER
    heading = Heading(message_id, hl7_timestamp(created_at), versions[outcome.ack], answer.receiver, answer.sender)
    payload = write_acknowledgement(heading, outcome, answer.reference, answer.interaction)
    envelope = _envelope(
        address, ACKNOWLEDGEMENT, cpa_id, directory, message_id, created_at, reliability=Reliability.RELIABLE
    )
    return envelope, payload


def _envelope(
    address: ReplyAddress | OutboxRow,
    interaction: str,
    cpa_id: str,
    directory: Directory,
    message_id: str,
    created_at: datetime,
    *,
    reliability: Reliability,
) -> bytes:
    return write_user_message(
        from_party=directory.own_party.party_key,
        to_party=address.to_party,
        cpa_id=cpa_id,
        conversation_id=address.conversation_id,
        service=SERVICE_PREFIX + address.service,
        action=interaction,
        message_id=message_id,
        timestamp=ebxml_timestamp(created_at),
        ref_to_message_id=address.ref_to_message_id,
        reliability=reliability,
        spine=True,
    )


def _pack(message_id: str, envelope: bytes, payload: bytes) -> bytes:
    return write_multipart(
        (
            (HEADER_CONTENT_ID, SPINE_HEADER_TYPE, envelope),
            (payload_id_of(message_id), SPINE_PAYLOAD_TYPE, payload),
        )
    )
