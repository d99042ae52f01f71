"""The access matrix: operation × role × relationship × consent × override, every cell asked of the real record.

What is expected is worked out here from the data alone: the activities of ``rbac.json`` and of the demo's directory,
and the tables of 35 §9.2 to §9.4, 30 §9, 20 §6 and 80 §4, written down below once more. Each cell is asserted whole:
outcome, codes, the reason in its audit row, who stands there, and the alerts that it raised.

Spec: 35 §9.2, §9.3, §9.4; 30 §9; 20 §6, §10.
"""

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any, Final

import pytest

from openscr.access.matrix import load_matrix
from openscr.access.policy import AccessPolicy, Operation
from openscr.codes import SUBJECT_ACCESS
from openscr.directory.model import Role
from openscr.spine import (
    Caller,
    Consent,
    DissentOverride,
    EventListQuery,
    MessageIds,
    Outcome,
    Person,
    Session,
    SubjectAccessQuery,
)
from openscr.standing import Basis, Holder, HolderKind
from openscr.store.interface import PatientEntry
from openscr.testbench.world import PRACTICE_PARTY, demo_directory

from .clinic import (
    CLERK,
    FORMER,
    GP,
    GP_SYSTEM,
    HOSPITAL_PARTY,
    HOSPITAL_SYSTEM,
    LAWYER,
    NURSE,
    PORTER,
    STRANGER,
    SYSTEM,
    Clinic,
    open_clinic,
    patient,
    uuid,
)

# --- the data ---------------------------------------------------------------------------------------------------------

MATRIX: Final[dict[str, Any]] = json.loads(files("openscr.access").joinpath("rbac.json").read_bytes())
USERS: Final[dict[str, dict[str, Any]]] = {
    role["role_profile_id"]: role for user in json.loads(demo_directory())["users"] for role in user["roles"]
}


def permits(right: str, activities: Iterable[str], job_role: str) -> bool:
    """Whether one role may do one row of the file, read from the file itself."""
    row = MATRIX["operations"][right]
    if row.get("role", job_role) != job_role:
        return False
    named = [{code for word in words for code in MATRIX["groups"].get(word, [word])} for words in row["needs"]]
    return all(any_of & set(activities) for any_of in named)


@dataclass(frozen=True)
class Somebody:
    """Who asks: what the record is told, and what is known of them."""

    name: str
    caller: Caller
    refused: str = ""
    """Why they are nobody at all, whatever they ask; empty for those who are somebody."""

    @property
    def role(self) -> dict[str, Any]:
        """The active role, as the directory or the session has it."""
        if self.caller.session is not None:
            role = self.caller.session.role
            return {"job_role": role.job_role, "activities": sorted(role.activities), "ods": role.ods}
        return USERS.get(self.caller.person.role_profile_id, {}) if self.caller.person else {}

    def may(self, right: str) -> bool:
        """Whether the active role carries a right."""
        return permits(right, self.role["activities"], self.role["job_role"].rpartition(":")[2])

    @property
    def organisation(self) -> str:
        """ODS code of those who ask: of the role, else of the system."""
        return str(self.role.get("ods") or self.caller.party_key.partition("-")[0])


OFFICER = Caller(HOSPITAL_SYSTEM, HOSPITAL_PARTY, Person("555000000401", "555000000402", "R0001"))
MASKED = replace(GP, person=Person("555000000201", "555000000102", "R8000"))
OUTSIDER = replace(GP, person=replace(GP.person, job_role="R8001"))  # type: ignore[type-var]


def signed_in(caller: Caller, activities: Iterable[str], level: int = 3, **changes: str) -> Caller:
    """Return a caller whom an identity provider vouches for, with just these activities."""
    person = caller.person
    assert person is not None
    ods = changes.pop("ods", "RZZ01")
    role = Role(person.role_profile_id, person.job_role, ods, frozenset(activities))
    return replace(caller, session=Session(person.user_id, "Synthetic Person", role, level, "https://issuer.test"))


UNLISTED = Caller(HOSPITAL_SYSTEM, HOSPITAL_PARTY, Person("555000000801", "555000000802", "R8000"))

PEOPLE = (
    Somebody("gp", GP),
    Somebody("clerk", CLERK),
    Somebody("legal", LAWYER),
    Somebody("nurse", NURSE),
    Somebody("nurse in her other role", PORTER),
    Somebody("privacy officer", OFFICER),
    Somebody("closed role", FORMER, "role_closed"),
    Somebody("role of another user", MASKED, "author_mismatch"),
    Somebody("another job role", OUTSIDER, "author_mismatch"),
    Somebody("signed in", signed_in(NURSE, ["B0370"])),
    Somebody("signed in, known to the provider alone", signed_in(UNLISTED, ["B0360", "B0082"])),
    Somebody("signed in with no right", signed_in(NURSE, ["B0570"])),
    Somebody("signed in weakly", signed_in(NURSE, ["B0370"], level=1), "assurance_too_low"),
    Somebody("signed in for another organisation", signed_in(NURSE, ["B0370"], ods="X99999"), "organisation_mismatch"),
    Somebody("signed in to a closed role", signed_in(FORMER, ["B0370"]), "role_closed"),
    Somebody("signed in as another", replace(signed_in(NURSE, ["B0370"]), person=LAWYER.person), "author_mismatch"),
)
NOBODY = Somebody("system", SYSTEM)
UNKNOWN = Somebody("stranger", STRANGER)
EVERYBODY = (*PEOPLE, NOBODY, UNKNOWN)

TIES = ("none", "relationship", "permission", "both", "registered")
CONSENTS = tuple(Consent)
OVERRIDES = (
    DissentOverride(),
    DissentOverride("1"),
    DissentOverride("1", "unconscious after a fall"),
    DissentOverride("2", "by statute"),
    DissentOverride("3", "by order"),
    DissentOverride("4"),
    DissentOverride("5", "agrees now"),
)
LEGAL = frozenset("123")


@dataclass
class Cell:
    """What is expected of one request."""

    codes: tuple[str, ...] = ()
    reason: str = ""
    alerts: tuple[tuple[str, str], ...] = ()


DENIED = ("420", "30418")


def refused(reason: str) -> Cell:
    """The one answer to every refusal of access."""
    return Cell(DENIED, reason)


def may_look(who: Somebody, override: DissentOverride) -> str:
    """Why somebody may not look at records at all, or nothing. Spec: 35 §9.2, §9.3; 20 §6."""
    if who.refused:
        return who.refused
    if who is NOBODY:
        return "" if override.code in "04" else "author_missing"
    if who is UNKNOWN:
        return "" if override.code in "04" else "author_unknown"
    if not who.may("view"):
        return "activity_missing"
    emergency = override.code == "1" and override.text and who.may("override_emergency")
    if override.code in LEGAL and not who.may("override") and not emergency:
        return "override_activity_missing"
    return ""


def expected_view(who: Somebody, ties: str, consent: Consent, override: DissentOverride, *, enforced: bool) -> Cell:
    """What looking at a record comes to. Spec: 35 §9.4 in its order."""
    reason = may_look(who, override)
    if reason:
        return refused(reason)
    past_permission = ""
    if enforced and not (ties == "registered" and who.organisation == "Y90001"):
        related = ties in ("relationship", "both")
        # A dissent ended every permission.
        permitted = ties in ("permission", "both") and consent is not Consent.NO
        if not related:
            return refused("relationship_missing")
        if not permitted and override.code in LEGAL:
            past_permission = override.code
        elif not permitted and override.code != "5":
            return refused("permission_missing")
    if consent is not Consent.NO:
        return Cell(alerts=(("2", past_permission),) if past_permission else ())
    if override.code in LEGAL:
        return Cell(alerts=(("2", override.code),))
    if override.code == "5":
        return Cell(alerts=(("2", "override-5"),))
    # The practice's own people update its own summary; a system alone is nobody's person.
    owner = who.organisation == "Y90001" and who not in (NOBODY, UNKNOWN)
    return Cell() if override.code == "4" and owner else refused("consent")


# --- the world --------------------------------------------------------------------------------------------------------

PLACES: Final = {place: patient(number) for number, place in enumerate(product(TIES, CONSENTS))}
EVENTS: Final = {place: uuid(number + 1) for number, place in enumerate(PLACES)}


@pytest.fixture(params=[False, True], ids=["as delivered", "enforced"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Clinic, bool]]:
    """One patient for every relationship and consent, made by the verbs themselves."""
    enforced: bool = request.param
    async with open_clinic(tmp_path, enforce_relationship=enforced, enforce_permission=enforced) as clinic:
        for (ties, consent), number in PLACES.items():
            if ties == "registered":
                await clinic.index(PatientEntry(number, demographics={"practice": "Y90001"}))
            await clinic.upload(EVENTS[ties, consent], nhs_number=number)
            if ties in ("permission", "both"):
                for caller in (CLERK, NURSE):
                    done = await clinic.permit(caller, nhs_number=number, scope=HolderKind.ORGANISATION)
                    assert done.outcome.accepted
            if ties in ("relationship", "both"):
                for who in EVERYBODY:
                    if not may_look(who, DissentOverride()) and who not in (NOBODY, UNKNOWN):
                        assert (await clinic.relate(who.caller, nhs_number=number)).outcome.accepted
                practice = Holder(HolderKind.ORGANISATION, "Y90001")
                assert (await clinic.relate(GP, nhs_number=number, holder=practice, reason="11")).outcome.accepted
            if consent is not Consent.ASK:
                await clinic.set_consent(consent, nhs_number=number)
        yield clinic, enforced


async def check(
    clinic: Clinic, who: Somebody, number: str, act: Callable[[], Coroutine[Any, Any, Outcome]], expected: Cell
) -> None:
    """Do it, and compare everything that became of it: answer, audit row, alerts."""
    outcome = await act()
    entry = await clinic.last_audit_of(number)
    told = tuple(issue.code for issue in outcome.issues)
    assert (told, entry.content.get("reason", "")) == (expected.codes, expected.reason)
    assert entry.outcome == ("AE" if expected.codes else "AA")
    assert entry.nhs_number == number
    assert ("alert" in entry.content) is bool(expected.alerts)
    for type, reason in expected.alerts:
        (alert,) = [alert for alert in await clinic.store.read_alerts() if alert.id == entry.content["alert"]]
        assert (alert.type, alert.reason) == (type, reason)
        assert (alert.nhs_number, alert.organisation, alert.state) == (number, who.organisation, "new")
        assert who.caller.person is not None
        assert alert.user_id == who.caller.person.user_id
    stated = who.caller.person
    if stated is not None and not (expected.codes and who.refused):
        assert entry.content["user_id"] == stated.user_id
    assert entry.content["asid"] == who.caller.asid


# --- looking ----------------------------------------------------------------------------------------------------------


async def test_every_cell_of_looking(world: tuple[Clinic, bool]) -> None:
    """List and retrieve, which is decided again: everybody × relationship × consent × override."""
    clinic, enforced = world
    raised = len(await clinic.store.read_alerts())
    for who, (place, number), override in product(EVERYBODY, PLACES.items(), OVERRIDES):
        ties, consent = place
        cell = expected_view(who, ties, consent, override, enforced=enforced)

        async def listing(number: str = number, override: DissentOverride = override, who: Somebody = who) -> Outcome:
            return (await clinic.list_events(nhs_number=number, caller=who.caller, override=override)).outcome

        async def retrieving(
            number: str = number,
            override: DissentOverride = override,
            place: tuple[str, Consent] = place,
            who: Somebody = who,
        ) -> Outcome:
            found = await clinic.retrieve(EVENTS[place], nhs_number=number, caller=who.caller, override=override)
            assert bool(found.document) is found.outcome.accepted
            return found.outcome

        for act in (listing, retrieving):
            try:
                await check(clinic, who, number, act, cell)
            except AssertionError as error:
                raise AssertionError(f"{act.__name__}, {who.name}: {ties}, {consent}, {override}: {error}") from error
            raised += len(cell.alerts)
    # None was raised that no audit row tells of.
    assert len(await clinic.store.read_alerts()) == raised


# --- everything else --------------------------------------------------------------------------------------------------


def with_activity(who: Somebody, right: str, *, system: bool, unknown: bool, alerts: tuple[Any, ...] = ()) -> Cell:
    """What a right of the matrix comes to; ``system`` and ``unknown`` say whether a person is needed. Spec: 35 §9.2."""
    if who.refused:
        return refused(who.refused)
    if who is NOBODY:
        return Cell(alerts=()) if system else refused("author_missing")
    if who is UNKNOWN:
        return Cell(alerts=()) if unknown else refused("author_unknown")
    return Cell(alerts=alerts) if who.may(right) else refused("activity_missing")


def dissented(cell: Cell, consent: Consent) -> Cell:
    """The same under a dissent, for what a dissent forbids."""
    return refused("consent") if consent is Consent.NO and not cell.codes else cell


async def do(clinic: Clinic, operation: str, who: Somebody, number: str) -> Outcome:
    """Do one operation once."""
    ids = MessageIds(clinic.mint(), operation)
    received = None
    if operation == "upload":
        current = next(event for event in (await clinic.state(number)).events if event.status.name == "NORMAL")
        received = await clinic.upload(clinic.mint(), nhs_number=number, caller=who.caller, replaces=current.event_id)
    elif operation == "withdraw":
        (current,) = (await clinic.state(number)).events
        received = await clinic.withdraw(current.event_id, nhs_number=number, caller=who.caller)
    elif operation == "set consent":
        consent = (await clinic.state(number)).consent
        received = await clinic.set_consent(consent, nhs_number=number, caller=who.caller)
    elif operation == "get consent":
        return (await clinic.get_consent(nhs_number=number, caller=who.caller)).outcome
    elif operation == "permit":
        return (await clinic.permit(who.caller, ids=ids, nhs_number=number)).outcome
    elif operation == "permit in an emergency":
        text = "unconscious after a fall"
        asked = await clinic.permit(who.caller, ids=ids, nhs_number=number, basis=Basis.EMERGENCY, text=text)
        return asked.outcome
    elif operation == "claim":
        return (await clinic.relate(who.caller, ids=ids, nhs_number=number, alert_reason="4")).outcome
    elif operation == "standing":
        return (await clinic.standing(who.caller, number)).outcome
    elif operation == "subject access":
        query = SubjectAccessQuery(MessageIds(clinic.mint(), SUBJECT_ACCESS), number, DissentOverride())
        return (await clinic.record.retrieve_record(who.caller, query)).outcome
    elif operation == "extended list":
        return (await clinic.record.list_extended(who.caller, EventListQuery(ids, number))).outcome
    assert received is not None
    assert received.outcome is not None
    return received.outcome


def expected_deed(operation: str, who: Somebody, ties: str, consent: Consent, *, enforced: bool) -> Cell:
    """What an operation that is no plain view comes to. Spec: 35 §9.2, §9.3; 30 §9."""
    if operation == "upload":
        return dissented(with_activity(who, "upload", system=True, unknown=True), consent)
    if operation == "withdraw":
        # What a system sends alone names its author inside: here the doctor of the practice.
        return with_activity(who, "withdraw", system=True, unknown=False)
    if operation == "set consent":
        return with_activity(who, "set_consent", system=False, unknown=False)
    if operation == "get consent":
        return with_activity(who, "get_consent", system=True, unknown=True)
    if operation == "permit":
        return dissented(with_activity(who, "view", system=False, unknown=False), consent)
    if operation == "permit in an emergency":
        alerts = (("2", "5"),)
        return dissented(with_activity(who, "emergency_view", system=False, unknown=False, alerts=alerts), consent)
    if operation == "claim":
        return with_activity(who, "claim_relationship", system=False, unknown=False, alerts=(("1", "4"),))
    if operation == "standing":
        return with_activity(who, "view", system=False, unknown=False)
    if operation == "extended list":
        return expected_view(who, ties, consent, DissentOverride(), enforced=enforced)
    assert operation == "subject access"
    asked = with_activity(who, "subject_access", system=False, unknown=False)
    if asked.codes:
        return asked
    # Whoever may is asked for the rest as everybody who looks is; the alert is its own.
    ready = replace(who, caller=replace(who.caller, session=signed_in(LAWYER, ["B0370", "B0082"]).session))
    looked = expected_view(replace(ready, name=who.name), ties, consent, DissentOverride(), enforced=enforced)
    return looked if looked.codes else Cell(alerts=(("2", "subject-access"),))


DEEDS = (
    "upload",
    "withdraw",
    "set consent",
    "get consent",
    "permit in an emergency",
    "claim",
    "standing",
    "subject access",
    "extended list",
    "permit",
)


@pytest.mark.parametrize("operation", DEEDS)
async def test_every_cell_of_doing(tmp_path: Path, operation: str) -> None:
    """Every other operation: relationship × consent for everybody, each cell with a patient of its own."""
    for enforced in (False, True):
        folder = tmp_path / str(enforced)
        folder.mkdir()
        async with open_clinic(folder, enforce_relationship=enforced, enforce_permission=enforced) as clinic:
            numbers = iter(range(10_000))
            raised = 0
            for who, ties, consent in product(EVERYBODY, ("none", "registered"), CONSENTS):
                number = patient(next(numbers))
                if ties == "registered":
                    await clinic.index(PatientEntry(number, demographics={"practice": "Y90001"}))
                await clinic.upload(clinic.mint(), nhs_number=number)
                if consent is not Consent.ASK:
                    await clinic.set_consent(consent, nhs_number=number)
                cell = expected_deed(operation, who, ties, consent, enforced=enforced)

                async def act(number: str = number, who: Somebody = who, clinic: Clinic = clinic) -> Outcome:
                    return await do(clinic, operation, who, number)

                try:
                    await check(clinic, who, number, act, cell)
                except AssertionError as error:
                    raise AssertionError(f"{who.name}: {ties}, {consent}, enforced {enforced}: {error}") from error
                raised += len(cell.alerts)
            assert len(await clinic.store.read_alerts()) == raised


OFFICERS: Final = {
    Operation.HANDLE_RELATIONSHIP_ALERTS: "alerts_relationship",
    Operation.HANDLE_ACCESS_ALERTS: "alerts_access",
    Operation.READ_AUDIT: "audit_read",
    Operation.ACTIVITY_REPORT: "activity_report",
}


@pytest.mark.parametrize("who", EVERYBODY, ids=lambda who: who.name)
async def test_every_cell_of_the_privacy_officer(clinic: Clinic, who: Somebody) -> None:
    """What only officers do: the rows of the file for everybody, decided by the one module that decides."""
    for operation, right in OFFICERS.items():
        told = clinic.record._policy.authorise(clinic.directory.snapshot, operation, who.caller)
        expected = with_activity(who, right, system=False, unknown=False)
        assert (told.allowed, told.reason) == (not expected.codes, expected.reason)
        trusting = AccessPolicy(matrix=load_matrix(), unknown_author="accept", trust_system_flags=True)
        assert trusting.authorise(clinic.directory.snapshot, operation, who.caller).allowed is told.allowed


# --- the data themselves ----------------------------------------------------------------------------------------------


def test_the_people_cover_the_matrix() -> None:
    """For every row of the file that the record asks there is somebody who may and somebody who may not."""
    roles = [who for who in PEOPLE if not who.refused]
    asked = {"view", "override", "override_emergency", "emergency_view", "subject_access", "upload", "withdraw"}
    asked |= {"set_consent", "get_consent", "claim_relationship", "alerts_relationship", "alerts_access", "audit_read"}
    for right in asked:
        assert {who.may(right) for who in roles} == {True, False}, right


def test_no_role_gains_by_another() -> None:
    """The trap of the union of roles: what her other role carries she has none of in this one. Spec: 35 §9.3."""
    nurse, porter = (next(who for who in PEOPLE if who.caller is caller) for caller in (NURSE, PORTER))
    assert nurse.caller.person is not None
    assert porter.caller.person is not None
    assert nurse.caller.person.user_id == porter.caller.person.user_id
    assert nurse.may("view")
    assert not porter.may("view")
    assert PRACTICE_PARTY.startswith("Y90001")
    assert GP_SYSTEM != HOSPITAL_SYSTEM
