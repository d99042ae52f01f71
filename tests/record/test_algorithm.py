"""Accepting and withdrawing summaries, question by question in the order of the specification. Spec: 10 §15."""

from pathlib import Path

import pytest

from openscr.codes import INITIAL_UPLOAD, UPLOAD, WITHDRAW, WITHDRAW_INITIAL
from openscr.record.decision import RecordRules
from openscr.spine import Caller, Consent, Outcome
from openscr.store.interface import PatientEntry

from .clinic import (
    CLERK,
    DISSENT,
    FORMER,
    GP,
    GP_SYSTEM,
    HOSPITAL_PARTY,
    HOSPITAL_SYSTEM,
    LAWYER,
    PATIENT,
    PORTER,
    STRANGER,
    SYSTEM,
    Clinic,
    codes,
    open_clinic,
    patient,
    uuid,
)

ACCEPTED = ("AA",)
DENIED = ("420", "30418")
A, B, C, D = (uuid(n) for n in range(1, 5))
OTHER = patient(1)


def texts(outcome: Outcome | None) -> list[str]:
    assert outcome is not None
    return [issue.display for issue in outcome.issues]


# --- step 1: seen before --------------------------------------------------------------------------------------------


async def test_duplicate_message(clinic: Clinic) -> None:
    """The same ebXML message gets the same signal again, in any letter case, however late; nothing else happens."""
    first = await clinic.upload(A, message_id="ABCDEF00-0000-4000-8000-000000000001")
    await clinic.upload(B, replaces=A)
    rows, entries = await clinic.store.list_outbox(), await clinic.audit()
    for again in ("ABCDEF00-0000-4000-8000-000000000001", "abcdef00-0000-4000-8000-000000000001"):
        received = await clinic.upload(A, message_id=again)
        assert received.duplicate
        assert received.outbox is None
        assert (received.signal, received.signal_status) == (first.signal, first.signal_status)
    assert await clinic.store.list_outbox() == rows
    assert await clinic.audit() == entries
    assert await clinic.statuses() == {A: "REPLACED", B: "NORMAL"}


async def test_duplicate_of_a_refused_message(clinic: Clinic) -> None:
    """A refusal is remembered as well."""
    await clinic.set_consent(Consent.NO)
    first = await clinic.upload(A, message_id=uuid(77))
    assert codes(first.outcome) == DENIED
    await clinic.set_consent(Consent.ASK)
    assert (await clinic.upload(A, message_id=uuid(77))).duplicate
    assert await clinic.statuses() == {}


async def test_same_message_id_from_another_party(clinic: Clinic) -> None:
    """Message ids are unique within their party only."""
    await clinic.upload(A, message_id=uuid(77))
    other = Caller(HOSPITAL_SYSTEM, HOSPITAL_PARTY)
    assert codes((await clinic.upload(B, message_id=uuid(77), caller=other)).outcome) == ACCEPTED


async def test_repeated_wrapper_id(clinic: Clinic) -> None:
    """The same wrapper id on another message of the same system is 401, for this patient, and for withdrawals too."""
    await clinic.upload(A, wrapper_id=uuid(55))
    again = await clinic.upload(B, wrapper_id=uuid(55))
    assert codes(again.outcome) == ("401",)
    assert texts(again.outcome) == ["Duplicate Message ID"]
    assert (await clinic.last_audit()).content["reason"] == "duplicate_message_id"
    assert codes((await clinic.withdraw(A, wrapper_id=uuid(55))).outcome) == ("401",)
    assert await clinic.statuses() == {A: "NORMAL"}


async def test_repeated_wrapper_id_elsewhere(clinic: Clinic) -> None:
    """For another patient, or from another system, the id is a fresh one; in lower case it is the same."""
    await clinic.upload(A, wrapper_id="abcdef00-0000-4000-8000-000000000055")
    upper = "ABCDEF00-0000-4000-8000-000000000055"
    assert codes((await clinic.upload(B, wrapper_id=upper)).outcome) == ("401",)
    assert codes((await clinic.upload(B, nhs_number=OTHER, wrapper_id=upper)).outcome) == ACCEPTED
    other = Caller(HOSPITAL_SYSTEM, HOSPITAL_PARTY)
    assert codes((await clinic.upload(B, caller=other, wrapper_id=upper)).outcome) == ACCEPTED


async def test_wrapper_id_of_a_set_is_not_seen(clinic: Clinic) -> None:
    """Ids are never compared across domains: one correlation id may stand on all messages of a call. Spec: 30 §7.1."""
    await clinic.set_consent(Consent.YES, wrapper_id=uuid(55))
    assert codes((await clinic.upload(A, wrapper_id=uuid(55))).outcome) == ACCEPTED
    assert codes((await clinic.set_consent(Consent.NO, wrapper_id=uuid(55), wsa_id=uuid(56))).outcome) == ("401",)


# --- step 2: what the message's own faults decide -------------------------------------------------------------------


async def test_invalid_message(clinic: Clinic) -> None:
    """A faulty message leaves receipt, audit and answer, and nothing in the record; sent again it is a duplicate."""
    first = await clinic.upload(A, nhs_number=PATIENT[:9] + str((int(PATIENT[9]) + 1) % 10), message_id=uuid(77))
    assert codes(first.outcome) == ("400", "35160")
    assert first.outbox is not None
    assert (await clinic.last_audit()).content["reason"] == "invalid"
    again = await clinic.upload(A, nhs_number=PATIENT[:9] + str((int(PATIENT[9]) + 1) % 10), message_id=uuid(77))
    assert again.duplicate
    assert (await clinic.store.verify()).intact


# --- step 3: who sends, and for whom --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("caller", "expected", "reason"),
    [
        (GP, ACCEPTED, ""),
        (SYSTEM, ACCEPTED, ""),
        (STRANGER, ACCEPTED, ""),
        (CLERK, DENIED, "activity_missing"),
        (FORMER, DENIED, "role_closed"),
        (Caller(GP_SYSTEM, GP.party_key, LAWYER.person), DENIED, "activity_missing"),
        (Caller("299999999999", GP.party_key), DENIED, "system_unknown"),
    ],
)
async def test_author(clinic: Clinic, caller: Caller, expected: tuple[str, ...], reason: str) -> None:
    """The author's role decides; a person that nobody knows counts as the system where that is allowed."""
    assert codes((await clinic.upload(A, caller=caller)).outcome) == expected
    entry = await clinic.last_audit()
    assert entry.content.get("reason", "") == reason
    assert entry.content.get("author") == ("author_unverified" if caller is STRANGER else None)
    if caller is STRANGER:
        assert entry.content["deviations"].split()[-1] == "author_unverified"


async def test_patient_index(tmp_path: Path) -> None:
    """A closed index knows what is listed; merged and restricted numbers are refused, deceased ones flagged."""
    unknown, merged, restricted, deceased, current = (patient(n) for n in range(10, 15))
    async with open_clinic(tmp_path, RecordRules(open_index=False)) as clinic:
        await clinic.index(
            PatientEntry(merged, "merged", current),
            PatientEntry(restricted, "restricted"),
            PatientEntry(deceased, "deceased"),
            PatientEntry(current),
        )
        for number, expected, reason in (
            (unknown, ("400", "35160"), "patient_unknown"),
            (merged, ("410", "30307"), "merged"),
            (restricted, DENIED, "restricted"),
            (deceased, ACCEPTED, ""),
            (current, ACCEPTED, ""),
        ):
            received = await clinic.upload(A, nhs_number=number)
            assert codes(received.outcome) == expected
            entry = await clinic.last_audit()
            assert entry.content.get("reason", "") == reason
            assert entry.content.get("warning_patient") == ("deceased" if number == deceased else None)
            if number == merged:
                assert texts(received.outcome)[1] == (
                    "[PSIS-30307] - PQR-99 - The requested NHS Number has been merged. PSIS currently records the "
                    f"merged NHS Number as ## {current} ##. The caller is strongly recommended to verify the validity "
                    "of this NHS Number using the PDS.  "
                )
        for number, expected in ((unknown, ("400", "35160")), (merged, ("410", "30307")), (restricted, DENIED)):
            assert codes((await clinic.withdraw(A, nhs_number=number)).outcome) == expected


# --- steps 5 to 8: what is there already ----------------------------------------------------------------------------


async def test_duplicate_event(clinic: Clinic) -> None:
    """An event id is there once for a patient, whatever became of it; another patient's events play no part."""
    await clinic.upload(A)
    outcome = (await clinic.upload(A)).outcome
    assert codes(outcome) == ("410", "30134")
    assert texts(outcome)[1] == f"[PSIS-30134] - Duplicate event with eventId {A} and nhsNumber {PATIENT}."
    await clinic.withdraw(A)
    assert codes((await clinic.upload(A.lower())).outcome) == ("410", "30134")
    assert codes((await clinic.upload(A, nhs_number=OTHER)).outcome) == ACCEPTED


async def test_unknown_event_type(clinic: Clinic) -> None:
    """A summary of a type that is none of ours has no processing pattern."""
    outcome = (await clinic.upload(A, event_type="163171000000105")).outcome
    assert codes(outcome) == ("410", "30340")
    assert texts(outcome)[1] == f"[PSIS-30340] - CSMP Pattern Not Found for Event ({A})."


async def test_initial_upload(clinic: Clinic) -> None:
    """An initial upload is stored where nothing is current, and refused where something is."""
    assert codes((await clinic.upload_initially(A)).outcome) == ACCEPTED
    outcome = (await clinic.upload_initially(B)).outcome
    assert codes(outcome) == ("430",)
    assert texts(outcome) == ["Invalid Update"]
    await clinic.withdraw(A, interaction=WITHDRAW_INITIAL)
    assert codes((await clinic.upload_initially(B)).outcome) == ACCEPTED
    assert await clinic.statuses() == {A: "WITHDRAWN", B: "NORMAL"}


async def test_initial_upload_that_overwrites(tmp_path: Path) -> None:
    """With the switch the older one is replaced."""
    async with open_clinic(tmp_path, RecordRules(open_index=True, initial_upload_overwrites=True)) as clinic:
        await clinic.upload(A)
        assert codes((await clinic.upload_initially(B)).outcome) == ACCEPTED
        assert await clinic.statuses() == {A: "REPLACED", B: "NORMAL"}


async def test_replacement_without_reference(clinic: Clinic) -> None:
    """A summary that names nothing replaces the current one, and the audit says so."""
    await clinic.upload(A)
    assert "warning" not in (await clinic.last_audit()).content
    assert codes((await clinic.upload(B)).outcome) == ACCEPTED
    assert (await clinic.last_audit()).content["warning"] == "replaced_without_reference"
    assert await clinic.statuses() == {A: "REPLACED", B: "NORMAL"}
    first, _ = (await clinic.state()).events
    assert first.replaced_by == B


async def test_replacement(clinic: Clinic) -> None:
    """A replacement names a current event of this patient: an initial summary as well, and not itself."""
    await clinic.upload_initially(A)
    outcome = (await clinic.upload(B, replaces=D)).outcome
    assert codes(outcome) == ("410", "30308")
    assert texts(outcome)[1] == f"[PSIS-30308] - The Case status is Normal but the Event id '{D}' does not exist."
    assert codes((await clinic.upload(B, replaces=B)).outcome) == ("410", "30134")
    assert codes((await clinic.upload(B, replaces=A.lower())).outcome) == ACCEPTED
    assert codes((await clinic.upload(C, replaces=A)).outcome) == ("430",)
    await clinic.withdraw(B)
    assert codes((await clinic.upload(C, replaces=B)).outcome) == ("430",)
    assert codes((await clinic.upload(C)).outcome) == ACCEPTED
    assert "warning" not in (await clinic.last_audit()).content
    assert await clinic.statuses() == {A: "REPLACED", B: "WITHDRAWN", C: "NORMAL"}


async def test_events_of_others_do_not_exist(clinic: Clinic) -> None:
    """A target or an event of another patient is as unknown as one of nobody."""
    await clinic.upload(A, nhs_number=OTHER)
    await clinic.upload(B)
    assert codes((await clinic.upload(C, replaces=A)).outcome) == ("410", "30308")
    assert codes((await clinic.withdraw(A)).outcome) == ("410", "30308")
    assert codes((await clinic.retrieve(A)).outcome) == ("410", "30308")
    assert await clinic.statuses(OTHER) == {A: "NORMAL"}


# --- step 9: withdrawals --------------------------------------------------------------------------------------------


async def test_withdrawal(clinic: Clinic) -> None:
    """A withdrawal hides its target and revives nothing; its own id shows on the target."""
    outcome = (await clinic.withdraw(A)).outcome
    assert codes(outcome) == ("410", "30312")
    assert texts(outcome) == ["Logical inconsistency", f"[PSIS-30312] - Case Instance not found. {PATIENT}"]
    await clinic.upload(A)
    await clinic.upload(B, replaces=A)
    assert codes((await clinic.withdraw(D)).outcome) == ("410", "30308")
    assert codes((await clinic.withdraw(B, event_id=C)).outcome) == ACCEPTED
    assert await clinic.statuses() == {A: "REPLACED", B: "WITHDRAWN"}
    withdrawn = (await clinic.state()).events[1]
    assert (withdrawn.withdrawn_by, withdrawn.withdrawal_reason, withdrawn.withdrawal_text, withdrawn.withdrawer) == (
        C,
        "01",
        "Sent by mistake",
        "555000000102",
    )
    assert codes((await clinic.withdraw(B)).outcome) == ("430",)
    # A historic copy may be removed too.
    assert codes((await clinic.withdraw(A)).outcome) == ACCEPTED
    assert await clinic.statuses() == {A: "WITHDRAWN", B: "WITHDRAWN"}
    listed = await clinic.list_events()
    assert [event.event_id for event in listed.events] == [B, A]
    assert listed.events[0].withdrawing_event_id == C
    assert codes((await clinic.list_events(current_only=True)).outcome) == ("210", "30312")


@pytest.mark.parametrize(("uploaded", "withdrawal"), [(UPLOAD, WITHDRAW_INITIAL), (INITIAL_UPLOAD, WITHDRAW)])
async def test_withdrawal_of_the_other_type(clinic: Clinic, uploaded: str, withdrawal: str) -> None:
    """017 withdraws initial summaries, 018 the others."""
    if uploaded == INITIAL_UPLOAD:
        await clinic.upload_initially(A)
    else:
        await clinic.upload(A)
    assert codes((await clinic.withdraw(A, interaction=withdrawal)).outcome) == ("430",)
    assert await clinic.statuses() == {A: "NORMAL"}


@pytest.mark.parametrize(
    ("caller", "expected", "reason"),
    [
        (GP, ACCEPTED, ""),
        # Nobody in the control act: the person inside the withdrawal counts.
        (SYSTEM, ACCEPTED, ""),
        (CLERK, DENIED, "activity_missing"),
        (STRANGER, DENIED, "author_unknown"),
    ],
)
async def test_withdrawer(clinic: Clinic, caller: Caller, expected: tuple[str, ...], reason: str) -> None:
    """A withdrawal always needs a known person with the right."""
    await clinic.upload(A)
    assert codes((await clinic.withdraw(A, caller=caller)).outcome) == expected
    assert (await clinic.last_audit()).content.get("reason", "") == reason


# --- steps 10 to 12 -------------------------------------------------------------------------------------------------


async def test_nullified(clinic: Clinic) -> None:
    """A nullified summary is stored as withdrawn, is never current, and leaves the current one as it is."""
    await clinic.upload(A)
    assert codes((await clinic.upload(B, status="nullified")).outcome) == ACCEPTED
    assert await clinic.statuses() == {A: "NORMAL", B: "WITHDRAWN"}
    nullified = (await clinic.state()).events[1]
    assert (nullified.withdrawal_reason, nullified.withdrawn_by) == ("01", None)
    listed = await clinic.list_events()
    assert [(event.event_id, event.withdrawing_event_id) for event in listed.events] == [(A, None), (B, None)]
    assert codes((await clinic.withdraw(B)).outcome) == ("430",)


async def test_nullified_replacement(clinic: Clinic) -> None:
    """A nullified summary that names the current one takes its place: there is none then."""
    await clinic.upload(A)
    assert codes((await clinic.upload(B, replaces=A, status="nullified")).outcome) == ACCEPTED
    assert await clinic.statuses() == {A: "REPLACED", B: "WITHDRAWN"}


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("20260302120000", "20260302115959", True),
        ("20260302120000", "20260302120000", False),
        ("202603021200", "20260302120000", False),
        ("20260303", "20260302235959", True),
        ("20260302", "20260302000001", False),
        ("2026", "2025", True),
    ],
)
async def test_out_of_order(clinic: Clinic, first: str, second: str, told: bool) -> None:
    """A summary older than the current one is accepted, and the audit says so; precisions compare."""
    await clinic.upload(A, effective=first)
    assert codes((await clinic.upload(B, effective=second, replaces=A)).outcome) == ACCEPTED
    assert (await clinic.last_audit()).content.get("warning_order") == ("older_than_current" if told else None)


async def test_what_is_kept(clinic: Clinic) -> None:
    """The event keeps where it came from and what the rules report of it; the document comes back byte for byte."""
    await clinic.upload(A, wrapper_id=uuid(55), message_id=uuid(66), text=DISSENT, effective="20260302")
    (event,) = (await clinic.state()).events
    assert (event.wrapper_id, event.message_id, event.from_party, event.sender_asid) == (
        uuid(55),
        uuid(66),
        GP.party_key,
        GP_SYSTEM,
    )
    assert (event.interaction, event.effective_time, event.dissent) == (UPLOAD, "20260302", ("Standard",))
    assert event.metadata["author.type"] == "agentPersonSDS"
    assert event.metadata["author/roleProfileIdCode"] == "555000000102"
    assert event.metadata["author/unstructuredName"] == "Dr Gita Demopractice"
    assert event.metadata["statusCode"] == "active"
    found = await clinic.retrieve(A)
    assert found.document == clinic.documents[A]
    assert found.event is not None
    assert found.event.author.startswith(b"<author ")


async def test_list_order(clinic: Clinic) -> None:
    """Normal first, then Replaced, then Withdrawn; within each the newest first. Spec: 20 §7.1."""
    for number in range(1, 4):
        await clinic.upload(uuid(number))
    await clinic.withdraw(uuid(1))
    await clinic.upload(uuid(4), status="nullified")
    await clinic.upload(uuid(5))
    listed = await clinic.list_events()
    assert [event.event_id for event in listed.events] == [uuid(n) for n in (5, 3, 2, 4, 1)]


# --- the order of the checks ----------------------------------------------------------------------------------------


async def test_order_of_checks_of_a_view(clinic: Clinic) -> None:
    """Author, role, activity, merged, consent, existence: the first that fails is the one that is told and audited."""
    survivor = patient(20)
    await clinic.set_consent(Consent.NO)
    await clinic.index(PatientEntry(PATIENT, "merged", survivor))
    for caller, expected, reason in (
        (FORMER, DENIED, "role_closed"),
        (Caller(GP_SYSTEM, GP.party_key, LAWYER.person), ("410", "30307"), "merged"),
        (PORTER, DENIED, "activity_missing"),
        (GP, ("410", "30307"), "merged"),
    ):
        for outcome in (
            (await clinic.list_events(caller=caller)).outcome,
            (await clinic.retrieve(A, caller=caller)).outcome,
        ):
            assert codes(outcome) == expected
            assert (await clinic.last_audit()).content["reason"] == reason
    assert texts((await clinic.list_events()).outcome)[1] == "[PSIS-30307] - The NHS Number has been merged."
    await clinic.index(PatientEntry(PATIENT))
    assert codes((await clinic.list_events()).outcome) == DENIED
    assert (await clinic.last_audit()).content["reason"] == "consent"


async def test_order_of_checks_of_an_upload(clinic: Clinic) -> None:
    """Author, patient, consent, event, replacement."""
    await clinic.upload(A)
    await clinic.set_consent(Consent.NO)
    await clinic.index(PatientEntry(PATIENT, "merged", patient(20)))
    assert codes((await clinic.upload(A, caller=CLERK, replaces=D)).outcome) == DENIED
    assert (await clinic.last_audit()).content["reason"] == "activity_missing"
    assert codes((await clinic.upload(A, replaces=D)).outcome) == ("410", "30307")
    await clinic.index(PatientEntry(PATIENT))
    assert codes((await clinic.upload(A, replaces=D)).outcome) == DENIED
    assert (await clinic.last_audit()).content["reason"] == "consent"
    await clinic.set_consent(Consent.YES)
    assert codes((await clinic.upload(A, replaces=D)).outcome) == ("410", "30134")
    assert codes((await clinic.upload(B, replaces=D)).outcome) == ("410", "30308")
