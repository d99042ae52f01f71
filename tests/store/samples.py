"""Synthetic rows to store, and the transactions that tests do most."""

from base64 import encodebytes
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from openscr.identifiers import slot_of
from openscr.spine import Consent, EventStatus
from openscr.standing import Holder, HolderKind, StandingKind
from openscr.store.alert_records import AlertRow
from openscr.store.interface import (
    AuditEntry,
    ConsentRow,
    EventRow,
    OutboxRow,
    OutboxState,
    PatientState,
    PollResult,
    RawMessage,
    Receipt,
    StandingRow,
    Store,
    Transaction,
)

MESSAGES = Path(__file__).parents[1] / "messages"
SUMMARY = (MESSAGES / "gp-summary" / "02-replacement_REPC_IN150016UK05.xml").read_bytes()
SIGNAL = (MESSAGES / "transport" / "02-upload-ack-response.http").read_bytes()

NOON = datetime(2026, 5, 4, 12, 0, 0, 123456, tzinfo=UTC)
PATIENT = "9990000018"
OTHER_PATIENT = "9990012318"
SLOT = slot_of(PATIENT)
PARTY = "B99901-900101"
ASID = "900000000101"


def an_id(number: int) -> str:
    """Return the UUID that stands for a number."""
    return f"00000000-0000-4000-8000-{number:012X}"


def at(seconds: float) -> datetime:
    """Return an instant some seconds after noon."""
    return NOON + timedelta(seconds=seconds)


def a_raw(payload: bytes = SUMMARY, *, base64: bool = False) -> RawMessage:
    """Return a message body around a payload."""
    head, tail = b"--=_b\r\nContent-Id: <a@b>\r\n\r\n", b"\r\n--=_b--\r\n"
    part = encodebytes(payload).replace(b"\n", b"\r\n") if base64 else payload
    return RawMessage(head + part + tail, len(head), len(part), "base64" if base64 else "")


def a_receipt(
    number: int, nhs_number: str | None = PATIENT, *, payload: bytes = SUMMARY, base64: bool = False
) -> Receipt:
    """Return the receipt of the message of a number."""
    return Receipt(
        from_party=PARTY,
        message_id=an_id(number),
        interaction="REPC_IN150016UK05",
        received_at=at(number),
        raw=a_raw(payload, base64=base64),
        signal=SIGNAL,
        signal_status=202,
        ack="AA",
        digest=sha256(payload).digest(),
        nhs_number=nhs_number,
        sender_asid=ASID,
        wrapper_id=an_id(number + 2000),
        wsa_id=None,
    )


def an_event(number: int, nhs_number: str = PATIENT, **changes: object) -> EventRow:
    """Return the event that the message of a number brought; its document is the whole of `SUMMARY`'s root."""
    start = SUMMARY.index(b"<GPSummary")
    end = SUMMARY.index(b"</GPSummary>") + len(b"</GPSummary>")
    values: dict[str, object] = {
        "nhs_number": nhs_number,
        "event_id": an_id(number),
        "event_type": "196981000000101",
        "interaction": "REPC_IN150016UK05",
        "status": EventStatus.NORMAL,
        "effective_time": "20260504130000",
        "stored_at": at(number),
        "sender_asid": ASID,
        "from_party": PARTY,
        "message_id": an_id(number),
        "wrapper_id": an_id(number + 2000),
        "document_offset": start,
        "document_length": end - start,
        "name_length": len(b"<GPSummary"),
        "declarations": b' xmlns="urn:hl7-org:v3"',
        "author": b'<author xmlns="urn:hl7-org:v3" typeCode="AUT"><time value="20260504130000"/></author>',
        "content": frozenset({"Allergy", "AcuteMedication"}),
        "dissent": ("Standard",),
        "metadata": {"author.type": "agentPersonSDS", "statusCode": "active"},
    }
    return EventRow(**{**values, **changes})  # type: ignore[arg-type]


def a_consent(version: int, value: Consent = Consent.YES, nhs_number: str = PATIENT) -> ConsentRow:
    """Return a version of a patient's consent."""
    return ConsentRow(
        nhs_number, version, value, at(version), ASID, "B99901", "900000000201", "900000000301", None,
        an_id(version + 3000), an_id(version + 4000), "SET",
    )  # fmt: skip


def an_outbox_row(number: int, slot: int = SLOT, **changes: object) -> OutboxRow:
    """Return a row of the outbox that has never been tried."""
    values: dict[str, object] = {
        "slot": slot,
        "id": an_id(number),
        "to_party": PARTY,
        "service": "psis",
        "interaction": "MCCI_IN010000UK13",
        "conversation_id": an_id(number + 5000),
        "ref_to_message_id": an_id(number + 6000),
        "created_at": at(number),
        "answer": b'{"ack":"AA"}',
        "state": OutboxState.OPEN,
    }
    return OutboxRow(**{**values, **changes})  # type: ignore[arg-type]


def a_poll_result(number: int, **changes: object) -> PollResult:
    """Return a result that waits for the client that sent the message of a number."""
    values: dict[str, object] = {
        "token": f"{SLOT:03x}{an_id(number)[3:].lower()}",
        "from_party": PARTY,
        "message_id": an_id(number),
        "asid": ASID,
        "sender_asid": ASID,
        "expires_at": at(number),
        "content": SIGNAL,
    }
    return PollResult(**{**values, **changes})  # type: ignore[arg-type]


def an_alert(number: int) -> AlertRow:
    """Return a privacy alert."""
    return AlertRow(
        an_id(number),
        PATIENT,
        "1",
        "emergency",
        "Synthetic",
        at(-number),
        ASID,
        "B99901",
        "900000000301",
        None,
        None,
        source="COMT_IN000001UK01",
        details={"device/name": "Synthetic system"},
    )


def a_standing(number: int, nhs_number: str = PATIENT, **changes: object) -> StandingRow:
    """Return a permission to view of a role profile, for an hour from the minute of its number on."""
    values: dict[str, object] = {
        "id": an_id(number),
        "nhs_number": nhs_number,
        "kind": StandingKind.PERMISSION,
        "holder": Holder(HolderKind.ROLE_PROFILE, "900000000302"),
        "reason": "04",
        "starts_at": at(number),
        "ends_at": at(number + 3600),
        "recorded_at": at(number),
        "asid": ASID,
        "organisation": "B99901",
        "user_id": "900000000301",
        "role_profile_id": "900000000302",
        "job_role": "R8000",
        "text": "Synthetic",
    }
    return StandingRow(**{**values, **changes})  # type: ignore[arg-type]


def an_entry(number: int, nhs_number: str | None = PATIENT) -> AuditEntry:
    """Return an audit entry."""
    return AuditEntry(at(number), "upload", "AA", nhs_number, {"message_id": an_id(number), "asid": ASID})


async def upload(store: Store, number: int, nhs_number: str = PATIENT, *, base64: bool = False) -> None:
    """Store a summary as the record does: receipt, event, answer to be sent, audit."""
    await store.transact(slot_of(nhs_number), receive(number, nhs_number, base64=base64))


def receive(
    number: int, nhs_number: str = PATIENT, *, base64: bool = False
) -> Callable[[Transaction], Coroutine[None, None, None]]:
    """Return the unit of work that stores a summary."""

    async def work(transaction: Transaction) -> None:
        await transaction.append_receipt(a_receipt(number, nhs_number, base64=base64))
        await transaction.append_event(an_event(number, nhs_number))
        await transaction.append_outbox(an_outbox_row(number, slot_of(nhs_number)))
        await transaction.append_audit(an_entry(number, nhs_number))

    return work


async def read_patient(store: Store, nhs_number: str = PATIENT) -> PatientState:
    """Return what the store knows of a patient."""

    async def work(transaction: Transaction) -> PatientState:
        return await transaction.read_patient(nhs_number)

    return await store.transact(slot_of(nhs_number), work)


async def find_receipt(store: Store, number: int, nhs_number: str = PATIENT) -> Receipt | None:
    """Return the receipt of the message of a number."""

    async def work(transaction: Transaction) -> Receipt | None:
        return await transaction.find_receipt(PARTY, an_id(number))

    return await store.transact(slot_of(nhs_number), work)


async def append(store: Store, rows: Sequence[object], slot: int = SLOT) -> None:
    """Append rows of any kind in one transaction."""

    async def work(transaction: Transaction) -> None:
        appends = {
            Receipt: transaction.append_receipt,
            EventRow: transaction.append_event,
            ConsentRow: transaction.append_consent,
            OutboxRow: transaction.append_outbox,
            PollResult: transaction.keep_poll_result,
            AlertRow: transaction.append_alert,
            StandingRow: transaction.append_standing,
            AuditEntry: transaction.append_audit,
        }
        for row in rows:
            await appends[type(row)](row)  # type: ignore[arg-type, operator]

    await store.transact(slot, work)
