"""Between the rows of the interface and the columns of a table, the same on every engine.

Times are whole microseconds since 1970 UTC; messages, signals and authors are compressed; what has no column of its own
is JSON. ``*_values`` give parameters in the order of the statements' columns, ``read_*`` take a row in that order.

Spec: 10 §15 step 12; 90 §5.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from openscr.errors import StoreError
from openscr.spine import Consent, EventStatus
from openscr.standing import Basis, Holder, HolderKind, StandingKind
from openscr.store.compression import Codec
from openscr.store.interface import (
    MOST_NAMED,
    ConsentRow,
    EventRow,
    OutboxRow,
    OutboxState,
    PatientEntry,
    PollResult,
    RawMessage,
    Receipt,
    StandingRow,
)

Values = tuple[Any, ...]
Row = Sequence[Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def to_microseconds(instant: datetime) -> int:
    """Return an aware instant as microseconds since 1970 UTC, exactly."""
    return (instant - _EPOCH) // _MICROSECOND


def from_microseconds(value: int) -> datetime:
    """Return the UTC instant of a stored time."""
    return _EPOCH + timedelta(microseconds=value)


def optional_time(instant: datetime | None) -> int | None:
    """Return the microseconds of an instant, none for none."""
    return None if instant is None else to_microseconds(instant)


def read_optional_time(value: int | None) -> datetime | None:
    """Return the instant of a stored time, none for none."""
    return None if value is None else from_microseconds(value)


EARLIEST: Final = -(2**63)
LATEST: Final = 2**63 - 1
"""The ends of time as the engine counts it."""


def period(since: datetime | None, until: datetime | None) -> tuple[int, int]:
    """Return both ends of a period as the columns have them."""
    return (
        EARLIEST if since is None else to_microseconds(since),
        LATEST if until is None else to_microseconds(until),
    )


# --- texts that may be damaged ----------------------------------------------------------------------------------------


def text_as_stored(data: bytes) -> str:
    """Return a stored text whatever its bytes are; what is not UTF-8 becomes what `check_texts` finds."""
    return data.decode("utf-8", "surrogateescape")


def bytes_as_stored(text: str) -> bytes:
    """Return the bytes of a text that `text_as_stored` gave."""
    return text.encode("utf-8", "surrogateescape")


def readable(text: str) -> str:
    """Return a text that `text_as_stored` gave in a form that can be printed."""
    return bytes_as_stored(text).decode("utf-8", "replace")


def refused_text() -> StoreError:
    """Return the error for a text that no engine keeps: half of a surrogate pair is no character."""
    return StoreError("the database cannot keep one of the values: a text with half of a surrogate pair")


def check_texts(row: Row) -> None:
    """Hold that every text of a row is one. Raises: `StoreError`."""
    try:
        for value in row:
            if isinstance(value, str) and not value.isascii():
                value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise StoreError("a stored text is not UTF-8") from error


# --- receipts -------------------------------------------------------------------------------------------------------


def receipt_values(receipt: Receipt, codec: Codec) -> Values:
    """Return the columns of a receipt."""
    raw = receipt.raw
    return (
        receipt.from_party,
        receipt.message_id,
        receipt.interaction,
        to_microseconds(receipt.received_at),
        raw.payload_offset,
        raw.payload_length,
        raw.encoding,
        codec.compress(receipt.signal),
        receipt.signal_status,
        receipt.ack,
        receipt.digest,
        receipt.nhs_number,
        receipt.sender_asid,
        receipt.wrapper_id,
        receipt.wsa_id,
        codec.compress(raw.body),
    )


def read_receipt(row: Row, codec: Codec) -> Receipt:
    """Return a receipt with its message decompressed. Raises: `StoreError` when the bytes are damaged."""
    (
        from_party, message_id, interaction, received_at, offset, length, encoding, signal, signal_status,
        ack, digest, nhs_number, sender_asid, wrapper_id, wsa_id, raw,
    ) = row  # fmt: skip
    return Receipt(
        from_party,
        message_id,
        interaction,
        from_microseconds(received_at),
        RawMessage(codec.decompress(raw), offset, length, encoding),
        codec.decompress(signal),
        signal_status,
        ack,
        digest,
        nhs_number,
        sender_asid,
        wrapper_id,
        wsa_id,
    )


# --- events ---------------------------------------------------------------------------------------------------------


class _Details(msgspec.Struct, frozen=True):
    content: frozenset[str]
    dissent: tuple[str, ...]
    metadata: dict[str, str]


write_json = msgspec.json.Encoder(order="deterministic").encode
_read_details = msgspec.json.Decoder(_Details).decode
read_texts = msgspec.json.Decoder(dict[str, str]).decode
_read_demographics = msgspec.json.Decoder(dict[str, Any]).decode

_STATUS: Final = {int(status): status for status in EventStatus}


def event_values(event: EventRow, codec: Codec) -> Values:
    """Return the columns of an event."""
    return (
        event.nhs_number,
        event.event_id,
        event.event_type,
        event.interaction,
        int(event.status),
        event.effective_time,
        to_microseconds(event.stored_at),
        event.sender_asid,
        event.from_party,
        event.message_id,
        event.wrapper_id,
        event.document_offset,
        event.document_length,
        event.name_length,
        event.declarations,
        codec.compress(event.author),
        write_json(_Details(event.content, event.dissent, dict(event.metadata))),
        event.replaced_by,
        event.withdrawn_by,
        event.withdrawal_reason,
        event.withdrawal_text,
        optional_time(event.withdrawn_at),
        event.withdrawer,
    )


def both_named(named: Sequence[str]) -> tuple[str | None, str | None]:
    """Return the two ids of events that statements have places for. Raises: `StoreError` when there are more."""
    if len(named) > MOST_NAMED:
        raise StoreError(f"at most {MOST_NAMED} events can be named")
    first, second, *_ = (*named, None, None)
    return first, second


def status_values(event: EventRow) -> Values:
    """Return the columns of an event that may change."""
    return (
        int(event.status),
        event.replaced_by,
        event.withdrawn_by,
        event.withdrawal_reason,
        event.withdrawal_text,
        optional_time(event.withdrawn_at),
        event.withdrawer,
    )


def read_event(row: Row, codec: Codec) -> EventRow:
    """Return an event. Raises: `StoreError` when the row is damaged."""
    (
        nhs_number, event_id, event_type, interaction, status, effective_time, stored_at, sender_asid, from_party,
        message_id, wrapper_id, document_offset, document_length, name_length, declarations, author, details,
        replaced_by, withdrawn_by, withdrawal_reason, withdrawal_text, withdrawn_at, withdrawer,
    ) = row  # fmt: skip
    try:
        read, known_status = _read_details(details), _STATUS[status]
    except (msgspec.MsgspecError, KeyError) as error:
        raise StoreError("the stored row is damaged") from error
    return EventRow(
        nhs_number,
        event_id,
        event_type,
        interaction,
        known_status,
        effective_time,
        from_microseconds(stored_at),
        sender_asid,
        from_party,
        message_id,
        wrapper_id,
        document_offset,
        document_length,
        name_length,
        declarations,
        codec.decompress(author),
        read.content,
        read.dissent,
        read.metadata,
        replaced_by,
        withdrawn_by,
        withdrawal_reason,
        withdrawal_text,
        read_optional_time(withdrawn_at),
        withdrawer,
    )


# --- consent --------------------------------------------------------------------------------------------------------


def consent_values(consent: ConsentRow) -> Values:
    """Return the columns of a version of the consent."""
    return (
        consent.nhs_number,
        consent.version,
        consent.value.value,
        to_microseconds(consent.set_at),
        consent.asid,
        consent.organisation,
        consent.role_profile_id,
        consent.user_id,
        consent.job_role,
        consent.message_id,
        consent.wsa_id,
        consent.source,
    )


def read_consent(row: Row) -> ConsentRow:
    """Return a version of the consent. Raises: `ValueError` or `OverflowError` when it is damaged."""
    nhs_number, version, value, set_at, *rest = row
    return ConsentRow(nhs_number, version, Consent(value), from_microseconds(set_at), *rest)


# --- outbox ---------------------------------------------------------------------------------------------------------


_check_answer = msgspec.json.Decoder(dict[str, Any]).decode
_OUTBOX_STATES: Final = frozenset(OutboxState)


def _due_at(row: OutboxRow) -> int:
    # A row without a planned attempt has been due since it was made.
    return to_microseconds(row.next_attempt_at or row.created_at)


def outbox_values(row: OutboxRow, codec: Codec) -> Values:
    """Return the columns of a row of the outbox, ``due_at`` last."""
    return (
        row.slot,
        row.id,
        row.to_party,
        row.service,
        row.interaction,
        row.conversation_id,
        row.ref_to_message_id,
        to_microseconds(row.created_at),
        row.answer,
        row.state.value,
        row.content_type,
        row.soap_action,
        codec.compress(row.body),
        row.attempts,
        optional_time(row.next_attempt_at),
        optional_time(row.first_attempt_at),
        row.last_error,
        _due_at(row),
    )


def new_outbox_values(row: OutboxRow, writer: str, codec: Codec) -> Values:
    """Return the columns of a row that ``writer`` adds, the holder last: who writes a row sends it.

    What has ended already, for want of an endpoint, is nobody's to send.
    """
    return (*outbox_values(row, codec), writer if row.state is OutboxState.OPEN else "")


def outbox_change_values(row: OutboxRow, codec: Codec) -> Values:
    """Return the columns of a row of the outbox that delivery changes."""
    return (
        row.state.value,
        row.content_type,
        row.soap_action,
        codec.compress(row.body),
        row.attempts,
        optional_time(row.next_attempt_at),
        optional_time(row.first_attempt_at),
        row.last_error,
        _due_at(row),
    )


def read_outbox(row: Row, codec: Codec) -> OutboxRow:
    """Return a row of the outbox. Raises: `StoreError` when it is damaged."""
    (
        slot, id, to_party, service, interaction, conversation_id, ref_to_message_id, created_at, answer, state,
        content_type, soap_action, body, attempts, next_attempt_at, first_attempt_at, last_error,
    ) = row  # fmt: skip
    check_texts(row)
    try:
        rendered = codec.decompress(body)
        if not rendered:
            # What must still be rendered is rendered from the answer.
            _check_answer(answer)
        return OutboxRow(
            slot,
            id,
            to_party,
            service,
            interaction,
            conversation_id,
            ref_to_message_id,
            from_microseconds(created_at),
            answer,
            OutboxState(state),
            content_type,
            soap_action,
            rendered,
            attempts,
            read_optional_time(next_attempt_at),
            read_optional_time(first_attempt_at),
            last_error,
        )
    except (msgspec.DecodeError, ValueError, OverflowError) as error:
        raise StoreError("the stored row is damaged") from error


def read_damaged_outbox(row: Row, fault: str) -> OutboxRow:
    """Return what is left of a row that `read_outbox` cannot read; ``fault`` is what is wrong with it."""
    values: list[Any] = [readable(value) if isinstance(value, str) else value for value in row]
    (
        slot, id, to_party, service, interaction, conversation_id, ref_to_message_id, created_at, answer, state,
        content_type, soap_action, _, attempts, next_attempt_at, first_attempt_at, _,
    ) = values  # fmt: skip
    return OutboxRow(
        slot,
        id,
        to_party,
        service,
        interaction,
        conversation_id,
        ref_to_message_id,
        _read_possible_time(created_at) or _EPOCH,
        answer,
        OutboxState(state) if state in _OUTBOX_STATES else OutboxState.FAILED,
        content_type,
        soap_action,
        b"",
        attempts,
        _read_possible_time(next_attempt_at),
        _read_possible_time(first_attempt_at),
        fault,
        damaged=True,
    )


def _read_possible_time(value: int | None) -> datetime | None:
    try:
        return read_optional_time(value)
    except OverflowError:
        return None


# --- poll results ---------------------------------------------------------------------------------------------------


def poll_values(result: PollResult, codec: Codec) -> Values:
    """Return the columns of a poll result."""
    return (
        result.token,
        result.from_party,
        result.message_id.upper(),
        result.asid,
        result.sender_asid,
        to_microseconds(result.expires_at),
        codec.compress(result.content),
    )


def read_poll(row: Row, codec: Codec) -> PollResult:
    """Return a poll result. Raises: `StoreError` or `OverflowError` when it is damaged."""
    token, from_party, message_id, asid, sender_asid, expires_at, content = row
    return PollResult(
        token, from_party, message_id, asid, sender_asid, from_microseconds(expires_at), codec.decompress(content)
    )


# --- permissions, relationships and patients --------------------------------------------------------------------------


def standing_values(row: StandingRow) -> Values:
    """Return the columns of a permission to view or a legitimate relationship."""
    return (
        row.id,
        row.nhs_number,
        row.kind.value,
        row.holder.kind.value,
        row.holder.id,
        row.basis.value,
        row.reason,
        row.text,
        to_microseconds(row.starts_at),
        optional_time(row.ends_at),
        to_microseconds(row.recorded_at),
        row.asid,
        row.organisation,
        row.user_id,
        row.role_profile_id,
        row.job_role,
        optional_time(row.ended_at),
        row.ended_by,
    )


def ended_values(row: StandingRow) -> Values:
    """Return the columns of a permission or relationship that may change."""
    return (optional_time(row.ended_at), row.ended_by)


def read_standing(row: Row) -> StandingRow:
    """Return a permission or relationship. Raises: `StoreError` when the row is damaged."""
    (
        id, nhs_number, kind, holder_kind, holder, basis, reason, text, starts_at, ends_at, recorded_at, asid,
        organisation, user_id, role_profile_id, job_role, ended_at, ended_by,
    ) = row  # fmt: skip
    try:
        return StandingRow(
            id,
            nhs_number,
            StandingKind(kind),
            Holder(HolderKind(holder_kind), holder),
            reason,
            from_microseconds(starts_at),
            read_optional_time(ends_at),
            from_microseconds(recorded_at),
            asid,
            organisation,
            user_id,
            role_profile_id,
            job_role,
            Basis(basis),
            text,
            read_optional_time(ended_at),
            ended_by,
        )
    except (ValueError, OverflowError) as error:
        raise StoreError("the stored row is damaged") from error


def patient_values(slot: int, patient: PatientEntry) -> Values:
    """Return the columns of an entry of the patient index, slot first."""
    return (slot, patient.nhs_number, patient.status, patient.survivor, write_json(dict(patient.demographics)))


def read_patient_entry(nhs_number: str, status: str, survivor: str | None, demographics: bytes) -> PatientEntry:
    """Return an entry of the patient index."""
    return PatientEntry(nhs_number, status, survivor, _read_demographics(demographics))


def read_index_and_consent(
    nhs_number: str, index: Row | None, consent: Row | None
) -> tuple[PatientEntry | None, Consent, int]:
    """Return a patient's entry of the index, the consent in force and its version, from their rows if there are any."""
    entry = None if index is None else read_patient_entry(nhs_number, *index)
    return (entry, Consent.ASK, 0) if consent is None else (entry, Consent(consent[1]), consent[0])
