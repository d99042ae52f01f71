"""Permission to view and legitimate relationship: recorded, claimed, ended, and what they do to a view.

Spec: 35 §6, §9.4; 70 §6.4, §9; 80 §4; 20 §10.1.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from openscr.record.decision import RecordRules
from openscr.spine import AckType, Caller, Consent, DissentOverride, MessageIds, Person
from openscr.standing import (
    Basis,
    Holder,
    HolderKind,
    PermissionRequest,
    RelationshipRequest,
    StandingEnd,
    StandingKind,
    mistakes,
)
from openscr.store.interface import PatientEntry

from .clinic import (
    CLERK,
    FORMER,
    GP,
    LAWYER,
    NOON,
    NURSE,
    PATIENT,
    PORTER,
    STRANGER,
    SYSTEM,
    Clinic,
    codes,
    open_clinic,
    uuid,
)

FIRST = uuid(1)
DENIED = ("420", "30418")
ORGANISATION = HolderKind.ORGANISATION
REASON = "patient unconscious on arrival"
HOSPITAL = Holder(ORGANISATION, "RZZ01")


async def alerts(clinic: Clinic) -> list[tuple[str, str, str | None]]:
    """Type, reason and user of every alert, oldest first."""
    return [(alert.type, alert.reason, alert.user_id) for alert in await clinic.store.read_alerts()]


# --- recording --------------------------------------------------------------------------------------------------------


async def test_a_permission_is_for_the_one_who_asked_for_a_day(clinic: Clinic) -> None:
    """80 §4: for me, this time (24 hours); nobody is alerted, and nobody else is permitted."""
    told = await clinic.permit(NURSE)
    outcome, record, repeated = told.outcome, told.record, told.repeated
    assert record is not None
    assert outcome.accepted
    assert not repeated
    assert record.kind is StandingKind.PERMISSION
    assert record.holder == Holder(HolderKind.ROLE_PROFILE, "555000000302")
    assert record.ends_at == record.starts_at + timedelta(hours=24)
    assert (await clinic.standing(NURSE)).permission == record
    assert (await clinic.standing(LAWYER)).permission is None
    assert await alerts(clinic) == []
    entry = (await clinic.audit())[0]
    assert (entry.outcome, entry.nhs_number, entry.content["standing"]) == ("AA", PATIENT, record.id)
    assert entry.content["relationship_type"] == "04"
    assert entry.content["user_id"] == "555000000301"


async def test_a_permission_for_an_organisation_holds_for_all_of_it(clinic: Clinic) -> None:
    """For staff at an organisation, for the period that it set; not for another organisation. Spec: 70 §9, 80 §4."""
    record = (await clinic.permit(NURSE, scope=ORGANISATION)).record
    assert record is not None
    assert record.holder == HOSPITAL
    assert record.ends_at == record.starts_at + timedelta(hours=168)
    assert (await clinic.standing(LAWYER)).permission == record
    assert (await clinic.standing(GP)).permission is None
    asked = (await clinic.permit(LAWYER, scope=ORGANISATION, hours=2.5)).record
    assert asked is not None
    assert asked.ends_at == asked.starts_at + timedelta(hours=2.5)
    practice = (await clinic.permit(GP, scope=ORGANISATION)).record
    assert practice is not None
    assert practice.ends_at == practice.starts_at + timedelta(hours=24)


async def test_a_permission_ends_at_the_second(clinic: Clinic) -> None:
    """70 §13: expiry works at the second."""
    record = (await clinic.permit(NURSE, hours=1)).record
    assert record is not None
    assert record.ends_at is not None
    clinic.now = record.ends_at - timedelta(seconds=2)
    assert (await clinic.standing(NURSE)).permission == record
    assert (await clinic.standing(NURSE)).permission is None


async def test_a_permission_that_began_before_ends_earlier(clinic: Clinic) -> None:
    """effectiveTime is when the patient was asked; what is over already is not recorded. Spec: 70 §6.4."""
    record = (await clinic.permit(NURSE, starts_at=NOON - timedelta(hours=23))).record
    assert record is not None
    assert record.ends_at == NOON + timedelta(hours=1)
    over = await clinic.permit(NURSE, starts_at=NOON - timedelta(hours=25))
    assert codes(over.outcome) == ("400",)


async def test_the_same_request_again_is_the_same_permission(clinic: Clinic) -> None:
    """The id is the idempotency key; another content under it, or another user, is refused. Spec: 70 §6.4."""
    ids = MessageIds(uuid(7), "record permission")
    first = await clinic.permit(NURSE, ids=ids)
    again = await clinic.permit(NURSE, ids=ids)
    assert again.repeated
    assert again.record == first.record
    assert codes((await clinic.permit(NURSE, ids=ids, scope=ORGANISATION)).outcome) == ("401",)
    assert codes((await clinic.permit(LAWYER, ids=ids)).outcome) == ("401",)
    claim = await clinic.relate(NURSE, ids=replace(ids, message_id=uuid(8)))
    assert (await clinic.relate(NURSE, ids=replace(ids, message_id=uuid(8)))).record == claim.record
    assert len(await alerts(clinic)) == 1
    assert [entry.content.get("reason") for entry in await clinic.audit()] == [
        None,
        "repeated",
        "duplicate_message_id",
        "duplicate_message_id",
        None,
        "repeated",
    ]


@pytest.mark.parametrize("caller", [PORTER, FORMER, STRANGER, SYSTEM])
async def test_who_has_no_right_records_nothing(clinic: Clinic, caller: Caller) -> None:
    """A view right is needed; a person too. The answer is that of every refusal. Spec: 35 §9.3, 80 §4."""
    for outcome in (
        await clinic.permit(caller),
        await clinic.relate(caller),
        await clinic.relate(caller, holder=HOSPITAL),
    ):
        assert codes(outcome.outcome) == DENIED
        assert outcome.record is None
    assert codes((await clinic.standing(caller)).outcome) == DENIED
    end = StandingEnd(MessageIds(uuid(5), "end"), PATIENT, uuid(6))
    assert codes(await clinic.standings.end(caller, end)) == DENIED
    rows = await clinic.audit()
    assert len(rows) == 5
    assert all(row.outcome == "AE" and row.content["reason"] for row in rows)


async def test_a_number_that_nobody_has_gets_no_record(tmp_path: Path) -> None:
    """An unknown, merged or restricted patient: the codes of 10 §15."""
    async with open_clinic(tmp_path, RecordRules(open_index=False)) as clinic:
        assert codes((await clinic.permit(GP)).outcome) == ("400", "35160")
        await clinic.index(PatientEntry(PATIENT, "merged", "9990000018"))
        assert codes((await clinic.permit(GP)).outcome) == ("410", "30307")
        assert codes((await clinic.standing(GP)).outcome) == ("410", "30307")
        await clinic.index(PatientEntry(PATIENT, "restricted"))
        assert codes((await clinic.permit(GP)).outcome) == DENIED
        assert codes((await clinic.standing(GP)).outcome) == DENIED


# --- alerts -----------------------------------------------------------------------------------------------------------


async def test_an_emergency_needs_its_right_and_raises_an_alert(clinic: Clinic) -> None:
    """View right and B0168, a reason, an alert 2/5 in the same transaction. Spec: 80 §4, 35 §9.3."""
    refused = await clinic.permit(NURSE, basis=Basis.EMERGENCY, text=REASON)
    assert codes(refused.outcome) == DENIED
    assert await alerts(clinic) == []
    done = await clinic.permit(GP, basis=Basis.EMERGENCY, text=REASON)
    assert done.record is not None
    assert done.record.emergency
    (alert,) = await clinic.store.read_alerts()
    assert (alert.type, alert.reason, alert.text, alert.user_id) == ("2", "5", REASON, "555000000101")
    row = await clinic.last_audit()
    assert row.content["alert"] == alert.id
    assert row.content["standing_basis"] == "emergency"
    assert REASON not in str(row.content)


@pytest.mark.parametrize("reason", ["1", "2", "3", "4", "6"])
async def test_a_claim_raises_an_alert(clinic: Clinic, reason: str) -> None:
    """Type 1 with each reason that it may have. Spec: 35 §6.1."""
    done = await clinic.relate(NURSE, alert_reason=reason, text="by the bed")
    assert done.record is not None
    assert done.record.claimed
    assert done.record.ends_at is None
    (alert,) = await clinic.store.read_alerts()
    assert (alert.type, alert.reason, alert.text, alert.organisation) == ("1", reason, "by the bed", "RZZ01")


async def test_a_claim_by_another_name_is_a_claim(clinic: Clinic) -> None:
    """Whoever names himself, whatever the reason, claims."""
    himself = Holder(HolderKind.ROLE_PROFILE, "555000000302")
    await clinic.relate(NURSE, reason="06")
    await clinic.relate(NURSE, holder=himself, reason="08")
    named = await clinic.relate(NURSE, holder=himself, reason="06")
    assert named.record is not None
    assert named.record.claimed
    assert await alerts(clinic) == [("1", "6", "555000000301")] * 3


async def test_who_may_not_claim_does_not_claim_by_another_name(tmp_path: Path) -> None:
    """Where claiming takes an activity of its own, naming oneself takes it too; and the alert has a reason it may have.

    Spec: 35 §9.3 ``lr.claim_activity``, §6.1.
    """
    himself = Holder(HolderKind.ROLE_PROFILE, "555000000302")
    async with open_clinic(tmp_path, claim_activity=("B0168",)) as clinic:
        assert codes((await clinic.relate(NURSE, holder=himself, reason="06")).outcome) == DENIED
        assert (await clinic.standing(NURSE)).relationship is None
        assert (await clinic.relate(GP)).outcome.accepted
        himself = Holder(HolderKind.ROLE_PROFILE, "555000000102")
        for reason in ("5", "", "x" * 100_000):
            told = await clinic.relate(GP, holder=himself, reason="06", alert_reason=reason)
            assert codes(told.outcome) == ("400",)
        assert await alerts(clinic) == [("1", "6", "555000000101")]


async def test_nobody_gives_himself_a_relationship_without_an_alert(clinic: Clinic) -> None:
    """A relationship of the whole organisation counts for its others, and for whoever recorded it only when claimed."""
    await clinic.relate(NURSE, holder=HOSPITAL, reason="06")
    assert await alerts(clinic) == []
    assert (await clinic.standing(NURSE)).relationship is None
    assert (await clinic.standing(LAWYER)).relationship is not None
    await clinic.relate(NURSE)
    assert (await clinic.standing(NURSE)).relationship is not None


# --- ending -----------------------------------------------------------------------------------------------------------


async def test_a_dissent_ends_every_permission(clinic: Clinic) -> None:
    """Consent set to No closes all permissions, no relationship; none is recorded while it holds. Spec: 70 §9."""
    for caller, scope in ((NURSE, ORGANISATION), (GP, HolderKind.ROLE_PROFILE)):
        await clinic.permit(caller, scope=scope)
        await clinic.relate(caller)
    await clinic.set_consent(Consent.NO)
    for caller in (NURSE, GP):
        told = await clinic.standing(caller)
        assert told.permission is None
        assert told.relationship is not None
        assert codes((await clinic.permit(caller)).outcome) == DENIED
    assert codes((await clinic.permit(GP, basis=Basis.EMERGENCY, text=REASON)).outcome) == DENIED
    await clinic.set_consent(Consent.YES)
    assert (await clinic.standing(GP)).permission is None
    assert (await clinic.permit(GP)).outcome.accepted


async def test_a_record_is_ended_by_those_whose_it_is(clinic: Clinic) -> None:
    """A record of others, of another patient and one that is not there get one answer; ending twice changes nothing."""
    record = (await clinic.permit(NURSE)).record
    assert record is not None
    ids = MessageIds(uuid(5), "end")
    for caller, request in (
        (GP, StandingEnd(ids, PATIENT, record.id)),
        (NURSE, StandingEnd(ids, "9990000018", record.id)),
        (NURSE, StandingEnd(ids, PATIENT, uuid(404))),
    ):
        assert codes(await clinic.standings.end(caller, request)) == ("410", "30308")
    assert (await clinic.standing(NURSE)).permission == record
    assert (await clinic.standings.end(LAWYER, StandingEnd(ids, PATIENT, record.id.lower()))).accepted
    assert (await clinic.standing(NURSE)).permission is None
    assert (await clinic.standings.end(NURSE, StandingEnd(ids, PATIENT, record.id))).accepted
    assert (await clinic.last_audit()).content["standing"] == record.id


async def test_a_permission_that_was_ended_is_not_told_as_one_that_holds(clinic: Clinic) -> None:
    """The same request again is answered with the record as it is now: over."""
    ids = MessageIds(uuid(7), "record permission")
    record = (await clinic.permit(NURSE, ids=ids)).record
    assert record is not None
    assert (await clinic.standings.end(NURSE, StandingEnd(MessageIds(uuid(8), "end"), PATIENT, record.id))).accepted
    again = await clinic.permit(NURSE, ids=ids)
    assert again.repeated
    assert again.record is not None
    assert again.record.ends_at is not None
    assert again.record.ends_at <= clinic.now


# --- what is wrong with a request -------------------------------------------------------------------------------------

IDS = MessageIds(uuid(1), "record permission")


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (PermissionRequest(IDS, PATIENT, text="x" * 201), "200 characters"),
        (PermissionRequest(IDS, PATIENT, reason="99"), "the reason is none of 01"),
        (PermissionRequest(IDS, PATIENT, hours=0.5), "between 1 and 8760 hours"),
        (PermissionRequest(IDS, PATIENT, hours=8761), "between 1 and 8760 hours"),
        (PermissionRequest(IDS, PATIENT, hours=float("nan")), "between 1 and 8760 hours"),
        (PermissionRequest(IDS, PATIENT, starts_at=NOON + timedelta(seconds=90)), "future"),
        (
            RelationshipRequest(IDS, PATIENT, starts_at=datetime.min.replace(tzinfo=timezone(timedelta(hours=14)))),
            "ago",
        ),
        (RelationshipRequest(IDS, PATIENT, starts_at=datetime(1800, 1, 1, tzinfo=UTC)), "longer ago"),
        (RelationshipRequest(IDS, PATIENT, text="a\x00b"), "control characters"),
        (RelationshipRequest(IDS, PATIENT, text="\u202eemos eht"), "control characters"),
        (PermissionRequest(IDS, PATIENT, basis=Basis.EMERGENCY, text="\u200b" * 12), "at least 10 characters"),
        (PermissionRequest(IDS, PATIENT, scope=HolderKind.WORKGROUP), "for a role profile or for its organisation"),
        (PermissionRequest(IDS, PATIENT, basis=Basis.EMERGENCY, text="  too short "), "at least 10 characters"),
        (PermissionRequest(IDS, PATIENT, ORGANISATION, Basis.EMERGENCY, text=REASON), "not for an organisation"),
        (RelationshipRequest(IDS, PATIENT, alert_reason="5"), "reason 1, 2, 3, 4 or 6"),
        (RelationshipRequest(IDS, PATIENT, reason="8"), "the reason is none of 01"),
    ],
)
async def test_what_is_wrong_is_said_and_refused(
    clinic: Clinic, request_: PermissionRequest | RelationshipRequest, words: str
) -> None:
    """Each mistake in words without a value; a face that does not ask is stopped by the record."""
    (said,) = mistakes(request_, NOON)
    assert words in said
    if isinstance(request_, PermissionRequest):
        outcome = await clinic.standings.record_permission(GP, request_)
    else:
        outcome = await clinic.standings.record_relationship(GP, request_)
    assert codes(outcome.outcome) == ("400",)
    assert await alerts(clinic) == []
    # Whatever was sent, the patient's records can still be read.
    assert (await clinic.standing(GP)).outcome.accepted


def test_what_is_right_is_not_wrong() -> None:
    """The limits themselves, and a start a minute ahead."""
    for request in (
        PermissionRequest(IDS, PATIENT, hours=1, text="x" * 200, starts_at=NOON + timedelta(seconds=60)),
        PermissionRequest(IDS, PATIENT, hours=8760, basis=Basis.EMERGENCY, text="ten chars!"),
        RelationshipRequest(IDS, PATIENT, holder=HOSPITAL, reason="11", alert_reason="5"),
        RelationshipRequest(
            IDS, PATIENT, text="since birth\u00a0–\nDr\tO’Neill", starts_at=datetime(1920, 1, 1, tzinfo=UTC)
        ),
    ):
        assert mistakes(request, NOON) == ()


# --- what they do to a view -------------------------------------------------------------------------------------------


async def test_by_default_nothing_of_it_is_asked_and_all_of_it_is_in_the_audit(clinic: Clinic) -> None:
    """35 §8: not enforced by default, audited."""
    await clinic.upload(FIRST)
    assert (await clinic.list_events(caller=NURSE)).outcome.accepted
    assert "permission" not in (await clinic.last_audit()).content
    permission = (await clinic.permit(NURSE)).record
    relationship = (await clinic.relate(NURSE)).record
    assert permission is not None
    assert relationship is not None
    assert (await clinic.list_events(caller=NURSE)).outcome.accepted
    said = (await clinic.last_audit()).content
    assert (said["permission"], said["relationship"]) == (permission.id, relationship.id)


async def test_an_enforced_relationship(tmp_path: Path) -> None:
    """No relationship, no record, whatever the override; whoever claims one may look at once. Spec: 35 §9.4."""
    async with open_clinic(tmp_path, enforce_relationship=True) as clinic:
        await clinic.upload(FIRST)
        for override in (DissentOverride(), DissentOverride("2", "by law")):
            refused = await clinic.list_events(caller=LAWYER, override=override)
            assert codes(refused.outcome) == DENIED
            assert (await clinic.last_audit()).content["reason"] == "relationship_missing"
        assert codes((await clinic.retrieve(FIRST, caller=LAWYER)).outcome) == DENIED
        await clinic.relate(LAWYER)
        assert (await clinic.list_events(caller=LAWYER)).events
        assert (await clinic.retrieve(FIRST, caller=LAWYER)).document
        assert codes((await clinic.list_events(caller=NURSE)).outcome) == DENIED


async def test_an_enforced_permission(tmp_path: Path) -> None:
    """The four ways past the dialogue of 80 §4, each with its alert or none."""
    async with open_clinic(tmp_path, enforce_permission=True) as clinic:
        await clinic.upload(FIRST)
        assert codes((await clinic.list_events(caller=LAWYER)).outcome) == DENIED
        assert (await clinic.last_audit()).content["reason"] == "permission_missing"
        assert (await clinic.list_events(caller=LAWYER, override=DissentOverride("2", "by law"))).events
        assert await alerts(clinic) == [("2", "2", "555000000501")]
        assert (await clinic.list_events(caller=LAWYER, override=DissentOverride("5", "agrees now"))).events
        assert len(await alerts(clinic)) == 1
        await clinic.permit(NURSE, scope=ORGANISATION)
        assert (await clinic.list_events(caller=LAWYER)).events
        assert len(await alerts(clinic)) == 1
        await clinic.permit(GP, basis=Basis.EMERGENCY, text=REASON)
        assert (await clinic.list_events(caller=GP)).events
        assert [alert[:2] for alert in await alerts(clinic)] == [("2", "2"), ("2", "5")]


async def test_an_override_of_a_dissent_raises_one_alert(tmp_path: Path) -> None:
    """Past a missing permission and a dissent at once it is still one access."""
    async with open_clinic(tmp_path, enforce_permission=True) as clinic:
        await clinic.upload(FIRST)
        await clinic.set_consent(Consent.NO)
        assert (await clinic.list_events(caller=LAWYER, override=DissentOverride("3", "order"))).events
        assert await alerts(clinic) == [("2", "3", "555000000501")]


async def test_the_practice_of_a_patient_needs_neither(tmp_path: Path) -> None:
    """20 §10.1: where the patient is registered the relationship exists and nobody asks for permission."""
    async with open_clinic(tmp_path, enforce_permission=True, enforce_relationship=True) as clinic:
        await clinic.index(PatientEntry(PATIENT, demographics={"practice": "Y90001"}))
        await clinic.upload(FIRST)
        assert (await clinic.list_events(caller=CLERK)).events
        assert (await clinic.list_events(caller=SYSTEM)).events
        assert (await clinic.standing(CLERK)).registered
        assert codes((await clinic.list_events(caller=NURSE)).outcome) == DENIED
        assert not (await clinic.standing(NURSE)).registered


async def test_systems_that_keep_relationships_themselves(tmp_path: Path) -> None:
    """DOLR skips the relationship where that is trusted; nothing skips the permission. Spec: 35 §3.3."""
    async with open_clinic(tmp_path, enforce_relationship=True, trust_system_flags=True) as clinic:
        await clinic.upload(FIRST)
        clinic.register("200000000116", acf=("RBAC", "CNST"))  # type: ignore[arg-type]
        assert codes((await clinic.list_events(caller=NURSE)).outcome) == DENIED
        clinic.register("200000000116", acf=("DOLR",))  # type: ignore[arg-type]
        assert (await clinic.list_events(caller=NURSE)).events
    async with open_clinic(tmp_path, enforce_relationship=True) as clinic:
        clinic.register("200000000116", acf=("DOLR",))  # type: ignore[arg-type]
        assert codes((await clinic.list_events(caller=NURSE)).outcome) == DENIED


async def test_a_stranger_does_not_learn_that_a_relationship_is_missing(tmp_path: Path) -> None:
    """Every refusal is the same to the letter, with and without a record. Spec: 35 §9.4."""
    async with open_clinic(tmp_path, enforce_permission=True, enforce_relationship=True) as clinic:
        without = await clinic.list_events(caller=NURSE)
        await clinic.upload(FIRST)
        assert (await clinic.list_events(caller=NURSE)).outcome == without.outcome
        assert (await clinic.list_events(caller=PORTER)).outcome == without.outcome
        assert without.outcome.ack is AckType.ERROR


async def test_another_person_of_the_same_job_has_nothing(clinic: Clinic) -> None:
    """A permission is for this role profile only. Spec: 70 §9."""
    await clinic.permit(NURSE)
    other = replace(NURSE, person=Person("555000000301", "555000000303", "R8003"))
    assert codes((await clinic.standing(other)).outcome) == DENIED
