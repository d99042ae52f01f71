"""Consent set, repeated, changed and told. Spec: 30 §7.1, §8, §9.1, §9.2."""

from pathlib import Path

import pytest

from openscr.codes import ACS_GET, ACS_HAS
from openscr.errors import StoreUnavailable
from openscr.record.consent import ConsentChanged
from openscr.record.decision import RecordRules
from openscr.record.reading import read_consent_history
from openscr.spine import AskedPermission, Caller, Consent, MessageIds, PermissionQuery
from openscr.store.interface import PatientEntry

from .clinic import (
    CLERK,
    FORMER,
    GP,
    GP_SYSTEM,
    HOSPITAL_PARTY,
    HOSPITAL_SYSTEM,
    NURSE,
    PATIENT,
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
SAME, OTHER = b"<SET>same</SET>", b"<SET>other</SET>"


async def test_history(clinic: Clinic) -> None:
    """Every accepted SET is a version with who, where and by which message; setting what holds is one too."""
    for value in (Consent.YES, Consent.YES, Consent.NO, Consent.ASK):
        assert codes((await clinic.set_consent(value)).outcome) == ACCEPTED
    rows = await clinic.consents()
    assert [(row.version, row.value) for row in rows] == [
        (1, Consent.YES),
        (2, Consent.YES),
        (3, Consent.NO),
        (4, Consent.ASK),
    ]
    for row in rows:
        assert (row.asid, row.organisation, row.user_id, row.role_profile_id, row.job_role) == (
            GP_SYSTEM,
            "Y90001",
            "555000000101",
            "555000000102",
            "R8000",
        )
        assert row.message_id == row.wsa_id
        assert row.source == "SET_RESOURCE_PERMISSIONS_INUK01"
    changes = [(e.content["previous_consent"], e.content["new_consent"]) for e in await clinic.audit()]
    assert changes == [("Ask", "Yes"), ("Yes", "Yes"), ("Yes", "No"), ("No", "Ask")]


@pytest.mark.parametrize("soap", [True, False])
@pytest.mark.parametrize("value", list(Consent))
@pytest.mark.parametrize("before", list(Consent))
async def test_transitions(clinic: Clinic, before: Consent, value: Consent, *, soap: bool) -> None:
    """Every cell of the state machine: each value can be set from each, and setting what holds is audited too."""
    if before is not Consent.ASK:
        await clinic.set_consent(before)
    count = len(await clinic.consents())
    assert codes((await clinic.set_consent(value, soap=soap)).outcome) == ACCEPTED
    assert (await clinic.state()).consent is value
    rows = await clinic.consents()
    assert (len(rows), rows[-1].value) == (count + 1, value)
    content = (await clinic.last_audit()).content
    assert (content["previous_consent"], content["new_consent"]) == (before, value)


async def test_subscribers_are_told_after_the_commit(clinic: Clinic) -> None:
    """`consent.changed` for every accepted SET, once, when it is durable; one that fails harms nobody. 30 §9.2."""
    told: list[tuple[Consent, Consent, int]] = []

    def fail(_: ConsentChanged) -> None:
        raise RuntimeError("a subscriber's own trouble")

    def listen(changed: ConsentChanged) -> None:
        told.append((changed.previous, changed.version.value, changed.version.version))

    clinic.subscribe(fail, listen)
    await clinic.set_consent(Consent.NO, wrapper_id=uuid(5), content=SAME)
    await clinic.set_consent(Consent.NO, wrapper_id=uuid(5), content=SAME)
    await clinic.set_consent(Consent.YES, wrapper_id=uuid(5), content=OTHER)
    await clinic.set_consent(Consent.NO, caller=CLERK)
    await clinic.set_consent(Consent.NO)
    await clinic.set_consent(Consent.ASK, soap=False)
    await clinic.upload(uuid(1))
    assert told == [
        (Consent.ASK, Consent.NO, 1),
        (Consent.NO, Consent.NO, 2),
        (Consent.NO, Consent.ASK, 3),
    ]


async def test_a_commit_that_breaks_off_is_told_of_when_it_stands(clinic: Clinic) -> None:
    """Whether the transaction is there is found out first: the event follows what was found."""
    told: list[Consent] = []
    clinic.subscribe(lambda changed: told.append(changed.version.value))
    with clinic.commits_break_off(kept=True):
        assert (await clinic.set_consent(Consent.NO)).duplicate
    with clinic.commits_break_off(kept=False), pytest.raises(StoreUnavailable):
        await clinic.set_consent(Consent.YES)
    assert told == [Consent.NO]
    assert (await clinic.state()).consent is Consent.NO


async def test_a_system_registered_for_batches_sets_consent_without_a_person(tmp_path: Path) -> None:
    """`batch_consent` stands for the person; the history then names the system alone. Spec: 30 §3.1, 35 §9.2."""
    async with open_clinic(tmp_path) as clinic:
        assert codes((await clinic.set_consent(Consent.NO, caller=SYSTEM)).outcome) == DENIED
        clinic.register(GP_SYSTEM, batch_consent=True)
        assert codes((await clinic.set_consent(Consent.NO, caller=SYSTEM)).outcome) == ACCEPTED
        (row,) = await clinic.consents()
        assert (row.user_id, row.role_profile_id, row.job_role, row.asid) == (None, None, None, GP_SYSTEM)
        # A person who is named counts all the same.
        assert codes((await clinic.set_consent(Consent.YES, caller=CLERK)).outcome) == DENIED


async def test_an_operator_reads_a_history_and_that_is_audited(clinic: Clinic) -> None:
    """All versions with all their facts; another patient's are not among them. Spec: 30 §9.1, 35 §7."""
    await clinic.set_consent(Consent.NO)
    await clinic.set_consent(Consent.YES, nhs_number=patient(1))
    await clinic.set_consent(Consent.ASK)
    rows = await read_consent_history(clinic.store, PATIENT, "operator", clinic.clock())
    assert rows == await clinic.consents()
    entry = await clinic.last_audit()
    assert (entry.action, entry.nhs_number, entry.content["operator"]) == ("admin consent-history", PATIENT, "operator")


async def test_repeated_over_soap(clinic: Clinic) -> None:
    """The same message again gets the same bytes again, and sets nothing; in between others may have set it."""
    first = await clinic.set_consent(Consent.NO, wrapper_id=uuid(5), content=SAME)
    await clinic.set_consent(Consent.YES)
    again = await clinic.set_consent(Consent.NO, wrapper_id=uuid(5), content=SAME)
    assert again.duplicate
    assert (again.signal, again.signal_status) == (first.signal, first.signal_status)
    assert (await clinic.state()).consent is Consent.YES
    assert len(await clinic.consents()) == 2


@pytest.mark.parametrize(
    ("wrapper_id", "wsa_id"), [(uuid(5), uuid(5)), (uuid(5), uuid(9)), (uuid(9), uuid(6)), (uuid(6), uuid(9))]
)
async def test_other_content_under_a_known_id(clinic: Clinic, wrapper_id: str, wsa_id: str) -> None:
    """The HL7 id or the wsa id of an earlier SET with other content is 401, and nothing is set."""
    await clinic.set_consent(Consent.NO, wrapper_id=uuid(5), wsa_id=uuid(6), content=SAME)
    received = await clinic.set_consent(Consent.YES, wrapper_id=wrapper_id, wsa_id=wsa_id, content=OTHER)
    if {wrapper_id, wsa_id} & {uuid(5), uuid(6)}:
        assert codes(received.outcome) == ("401",)
        assert (await clinic.state()).consent is Consent.NO
        assert (await clinic.last_audit()).content["reason"] == "duplicate_message_id"


async def test_ids_are_compared_for_one_patient_and_one_sender(clinic: Clinic) -> None:
    """Another patient's SETs, and those of another system, are not looked at."""
    await clinic.set_consent(Consent.NO, wrapper_id=uuid(5), content=SAME)
    assert codes((await clinic.set_consent(Consent.NO, nhs_number=patient(1), wrapper_id=uuid(5))).outcome) == ACCEPTED
    other = Caller(HOSPITAL_SYSTEM, HOSPITAL_PARTY, GP.person)
    received = await clinic.set_consent(Consent.YES, caller=other, wrapper_id=uuid(5), content=OTHER)
    assert codes(received.outcome) == ACCEPTED


@pytest.mark.parametrize("soap_first", [True, False])
async def test_repeated_on_the_other_transport(clinic: Clinic, soap_first: bool) -> None:
    """The same content under the same id over the other transport succeeds in that one's form, and sets nothing."""
    first = await clinic.set_consent(Consent.NO, wrapper_id=uuid(5), content=SAME, soap=soap_first)
    assert codes(first.outcome) == ACCEPTED
    await clinic.set_consent(Consent.YES)
    again = await clinic.set_consent(Consent.NO, wrapper_id=uuid(5), content=SAME, soap=not soap_first)
    assert codes(again.outcome) == ACCEPTED
    assert again.signal.startswith(b"signal of" if soap_first else b"AA ")
    assert (again.outbox is not None) == soap_first
    assert (await clinic.last_audit()).content["reason"] == "repeated"
    assert (await clinic.state()).consent is Consent.YES
    other = await clinic.set_consent(Consent.ASK, wrapper_id=uuid(5), content=OTHER, soap=not soap_first)
    assert codes(other.outcome) == ("401",)


async def test_refused_set_is_refused_again(clinic: Clinic) -> None:
    """The same SET gets the stored reply, also a refusal; other content under its id is 401; a new id is decided."""
    clerk = await clinic.set_consent(Consent.NO, caller=CLERK, wrapper_id=uuid(5), content=SAME)
    assert codes(clerk.outcome) == DENIED
    again = await clinic.set_consent(Consent.NO, wrapper_id=uuid(5), content=SAME)
    assert again.duplicate
    assert again.signal == clerk.signal
    other = await clinic.set_consent(Consent.NO, wrapper_id=uuid(5), content=b"other" * 8)
    assert codes(other.outcome) == ("401",)
    assert codes((await clinic.set_consent(Consent.NO, wrapper_id=uuid(6), content=SAME)).outcome) == ACCEPTED
    assert (await clinic.state()).consent is Consent.NO


@pytest.mark.parametrize("soap", [True, False])
@pytest.mark.parametrize(
    ("caller", "expected", "reason"),
    [
        (GP, ACCEPTED, ""),
        (SYSTEM, DENIED, "author_missing"),
        (STRANGER, DENIED, "author_unknown"),
        (CLERK, DENIED, "activity_missing"),
        (NURSE, DENIED, "activity_missing"),
        (FORMER, DENIED, "role_closed"),
    ],
)
async def test_who_may_set(
    clinic: Clinic, caller: Caller, expected: tuple[str, ...], reason: str, *, soap: bool
) -> None:
    """A known person with the right sets consent; nobody else, over either transport."""
    assert codes((await clinic.set_consent(Consent.NO, caller=caller, soap=soap)).outcome) == expected
    assert (await clinic.last_audit()).content.get("reason", "") == reason
    assert (await clinic.state()).consent is (Consent.NO if expected == ACCEPTED else Consent.ASK)


@pytest.mark.parametrize(
    ("caller", "expected"),
    [(GP, ACCEPTED), (SYSTEM, ACCEPTED), (STRANGER, ACCEPTED), (NURSE, ACCEPTED), (FORMER, DENIED)],
)
async def test_who_may_get(clinic: Clinic, caller: Caller, expected: tuple[str, ...]) -> None:
    """Consent is told to systems and to whoever may view."""
    await clinic.set_consent(Consent.NO)
    answer = await clinic.get_consent(caller=caller)
    assert codes(answer.outcome) == expected


async def test_a_number_that_was_merged_twice(clinic: Clinic) -> None:
    """The consent told is that of the number that holds now, however many mergers lead to it. Spec: 30 §9.1."""
    first, second, third = patient(1), patient(2), patient(3)
    await clinic.set_consent(Consent.NO, nhs_number=third)
    await clinic.index(PatientEntry(first, "merged", second), PatientEntry(second, "merged", third))
    answer = await clinic.get_consent(nhs_number=first)
    assert (answer.consent, answer.nhs_number, answer.superseded) == (Consent.NO, third, True)
    query = PermissionQuery(MessageIds(clinic.mint(), ACS_HAS), first, (AskedPermission("View"),))
    told = await clinic.record.has_permissions(GP, query)
    assert [value for _, value in told.permissions] == [Consent.NO]
    gets = [entry for entry in await clinic.audit() if entry.action == ACS_GET]
    assert {entry.nhs_number for entry in gets} == {first, second, third}


async def test_mergers_without_an_end(clinic: Clinic) -> None:
    """Where the index leads round in a circle nothing is told, least of all Ask."""
    one, other = patient(1), patient(2)
    await clinic.set_consent(Consent.NO, nhs_number=one)
    await clinic.index(PatientEntry(one, "merged", other), PatientEntry(other, "merged", one))
    answer = await clinic.get_consent(nhs_number=one)
    assert codes(answer.outcome) == ("410", "30307")
    assert (await clinic.last_audit()).content["reason"] == "merged_without_end"
    query = PermissionQuery(MessageIds(clinic.mint(), ACS_HAS), one, (AskedPermission("View"),))
    assert (await clinic.record.has_permissions(GP, query)).permissions == ()


async def test_merged_number(clinic: Clinic) -> None:
    """A GET is answered with the survivor's value, and both numbers are audited; a SET is refused."""
    merged, survivor = patient(1), patient(2)
    await clinic.set_consent(Consent.YES, nhs_number=merged)
    await clinic.set_consent(Consent.NO, nhs_number=survivor)
    await clinic.index(PatientEntry(merged, "merged", survivor))
    answer = await clinic.get_consent(nhs_number=merged)
    assert codes(answer.outcome) == ACCEPTED
    assert (answer.consent, answer.nhs_number, answer.superseded) == (Consent.NO, survivor, True)
    gets = [entry for entry in await clinic.audit() if entry.action.startswith("GET")]
    assert {entry.nhs_number for entry in gets} == {merged, survivor}
    outcome = (await clinic.set_consent(Consent.ASK, nhs_number=merged)).outcome
    assert codes(outcome) == ("410", "30307")
    assert outcome is not None
    assert outcome.issues[1].display == "[PSIS-30307] - The NHS Number has been merged."
    assert (await clinic.last_audit()).content["reason"] == "merged"


async def test_unlisted_number(tmp_path: Path) -> None:
    """Under a closed index nobody's consent is set or told."""
    async with open_clinic(tmp_path, RecordRules(open_index=False)) as clinic:
        assert codes((await clinic.set_consent(Consent.NO)).outcome) == ("400", "35160")
        assert codes((await clinic.get_consent()).outcome) == ("400", "35160")
        assert (await clinic.last_audit()).content["reason"] == "patient_unknown"
        # Who may not ask learns nothing of the index.
        assert codes((await clinic.get_consent(caller=FORMER)).outcome) == DENIED
        await clinic.index(PatientEntry(PATIENT))
        assert codes((await clinic.set_consent(Consent.NO)).outcome) == ACCEPTED


async def test_no_hides_and_clear_shows_again(clinic: Clinic) -> None:
    """A dissent deletes nothing: cleared, the last summary is there again. Spec: 30 §8.4."""
    await clinic.upload(uuid(1))
    await clinic.upload(uuid(2), replaces=uuid(1))
    await clinic.set_consent(Consent.NO)
    assert codes((await clinic.list_events()).outcome) == DENIED
    await clinic.set_consent(Consent.ASK)
    assert [event.event_id for event in (await clinic.list_events()).events] == [uuid(2), uuid(1)]
    assert (await clinic.retrieve(uuid(2))).document == clinic.documents[uuid(2)]
