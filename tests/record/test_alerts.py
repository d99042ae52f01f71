"""Who may handle which alert, and what becomes of it. Spec: 35 §6, §9.3; 80 §5.3."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

import pytest

from openscr.directory.model import Directory, Role, User
from openscr.identifiers import slot_of
from openscr.record.alerts import Alerts, AlertSearch, AlertState, AlertStep, StepResult, mistakes, named_in
from openscr.record.subscriptions import Channel, Reachable, Subscriptions
from openscr.spine import Caller, MessageIds, Session
from openscr.store.alert_evidence import CHANGE_DIGEST
from openscr.store.alert_records import AlertRow
from openscr.store.interface import Transaction

from .clinic import GP, HOSPITAL_PARTY, HOSPITAL_SYSTEM, NOON, PATIENT, Clinic, uuid

IDS = MessageIds("", "GET /governance/alerts", uuid(1), uuid(2))
NEW, OPEN, CLOSED = AlertState
ROLES: Final = {
    "both": Role("900000000001", "R0001", "RZZ01", frozenset({"B0015", "B0016"})),
    "access": Role("900000000002", "R0001", "RZZ01", frozenset({"B0015"})),
    "relationship": Role("900000000003", "R0001", "RZZ01", frozenset({"B0016"})),
    "elsewhere": Role("900000000004", "R0001", "Y90001", frozenset({"B0015", "B0016"})),
    "other job": Role("900000000005", "R8000", "RZZ01", frozenset({"B0015", "B0016", "B0370"})),
    "nothing": Role("900000000006", "R0001", "RZZ01", frozenset()),
}
"""One officer for each of them; the second role of the first one is at another desk."""


def officer(name: str) -> Caller:
    """Return an officer who is signed in."""
    role = ROLES[name]
    session = Session(f"U{role.role_profile_id}", name, role, 3, "https://issuer.test", ("hwk",), "digest")
    return Caller(HOSPITAL_SYSTEM, HOSPITAL_PARTY, address="192.0.2.7", session=session)


def an_alert(number: int, **changes: object) -> AlertRow:
    """Return an alert of type 2 of the hospital."""
    row = AlertRow(
        id=uuid(number),
        nhs_number=PATIENT,
        type="2",
        reason="3",
        text="by order",
        raised_at=NOON + timedelta(seconds=number),
        asid=HOSPITAL_SYSTEM,
        organisation="RZZ01",
        user_id="555000000501",
        role_profile_id="555000000502",
        job_role="R8000",
    )
    return replace(row, **changes)  # type: ignore[arg-type]


async def keep(clinic: Clinic, *alerts: AlertRow) -> None:
    """Store alerts as the record does."""

    async def work(transaction: Transaction) -> None:
        for alert in alerts:
            await transaction.append_alert(alert)

    await clinic.store.transact(slot_of(PATIENT), work)


def desk(clinic: Clinic) -> Alerts:
    """Return the verbs over the clinic's store."""
    return Alerts(clinic.store, clinic.directory, clinic._policy, clinic.clock)


SEEN: Final[Mapping[str, set[int]]] = {
    "both": {1, 2},
    "access": {2},
    "relationship": {1},
    "elsewhere": {3},
    "other job": set(),
    "nothing": set(),
}


@pytest.mark.parametrize("name", SEEN)
async def test_each_meets_the_alerts_of_the_own_kind_and_place(clinic: Clinic, name: str) -> None:
    """The list, the one alert, the change: the same answer of the policy, and a row in the audit for each."""
    rows = (an_alert(1, type="1", reason="4"), an_alert(2), an_alert(3, organisation="Y90001"))
    await keep(clinic, *rows)
    alerts, caller = desk(clinic), officer(name)
    page = await alerts.search(caller, IDS, AlertSearch())
    assert page.outcome.accepted is (name not in ("other job", "nothing"))
    assert {row.id for row in page.alerts} == {uuid(number) for number in SEEN[name]}
    entry = await clinic.last_audit()
    assert (entry.action, entry.outcome) == ("alert list", page.outcome.ack)
    assert (entry.content["user_id"], entry.content["session"]) == (f"U{ROLES[name].role_profile_id}", "digest")
    for number, row in enumerate(rows, 1):
        may = number in SEEN[name]
        opened = await alerts.open(caller, IDS, row.id)
        assert (opened.alert == row, opened.outcome.accepted) == (may, may)
        entry = await clinic.last_audit()
        # Of another organisation's alert not even the audit tells its officers, who may read it, the patient.
        told = PATIENT if row.organisation == ROLES[name].ods else None
        assert (entry.action, entry.outcome, entry.nhs_number) == ("alert view", "AA" if may else "AE", told)
        assert ("reason" in entry.content) is not may
        (stepped,) = await alerts.change(caller, IDS, [AlertStep(row.id, 1)], OPEN, "")
        assert stepped.result is (StepResult.CHANGED if may else StepResult.DENIED)
        entry = await clinic.last_audit()
        assert (entry.action, entry.outcome) == ("alert change", "AA" if may else "AE")


CAUSES: Final[Mapping[str, Mapping[str, object]]] = {
    "the user": {"user_id": "U900000000001"},
    "the role profile": {"role_profile_id": "900000000001"},
    "the user that the message names": {"details": {"user/id": " U900000000001 "}},
    "the role profile that the message names": {"details": {"user/role_profile_id": "900000000001"}},
    "another role of the same person": {"role_profile_id": "900000000091"},
    "another role, named by the message": {"details": {"user/role_profile_id": "900000000091"}},
    "the user in other letters": {"details": {"user/id": "u900000000001"}},
    "the user with blanks and a zero-width one": {"user_id": "U 9000 0000\u200b 0001"},
    "the user in wide letters": {"details": {"user/id": "\uff359000-0000-0001"}},
    "another role in groups": {"details": {"user/role_profile_id": "9000 0000 0091"}},
    "the role under another code system": {"details": {"author/id/extension": "900000000001"}},
}


@pytest.mark.parametrize("cause", CAUSES)
async def test_nobody_handles_what_he_has_caused(clinic: Clinic, cause: str) -> None:
    """In whatever role, sender or subject; a colleague does. Spec: 35 §6."""
    known = clinic.directory.snapshot
    second = Role("900000000091", "R8000", "RZZ01", frozenset({"B0370"}))
    users = [*known.users.values(), User("U900000000001", {"text": "Both"}, roles=(ROLES["both"], second))]
    clinic.directory.snapshot = Directory(
        parties=known.parties.values(), systems=known.systems.values(), users=users, endpoints=known.endpoints
    )
    await keep(clinic, an_alert(1, **CAUSES[cause]))
    alerts = desk(clinic)
    assert (await alerts.search(officer("both"), IDS, AlertSearch())).alerts == ()
    assert (await alerts.open(officer("both"), IDS, uuid(1))).alert is None
    assert (await clinic.last_audit()).content["reason"] == "own_alert"
    step = [AlertStep(uuid(1), 1)]
    assert (await alerts.change(officer("both"), IDS, step, OPEN, ""))[0].result is StepResult.DENIED
    assert (await alerts.change(officer("access"), IDS, step, OPEN, ""))[0].result is StepResult.CHANGED


async def test_the_audit_does_not_tell_whether_an_alert_is_elsewhere(clinic: Clinic) -> None:
    """One of another organisation, one of nobody's and one that never was leave the same rows, in the same chain."""
    await keep(clinic, an_alert(1, organisation="Y90001"), an_alert(2, organisation=""))
    for name in ("both", "access", "nothing"):
        told = set()
        for number in (1, 2, 3):
            await desk(clinic).open(officer(name), IDS, uuid(number))
            viewed = await clinic.last_audit()
            await desk(clinic).change(officer(name), IDS, [AlertStep(uuid(number), 1)], OPEN, "")
            changed = await clinic.last_audit()
            for entry in (viewed, changed):
                said = {key: value for key, value in entry.content.items() if key != "alert"}
                told.add((entry.action, entry.outcome, entry.nhs_number, *sorted(said.items())))
        assert len(told) == 2
        assert {row[2] for row in told} == {None}


def test_who_is_named() -> None:
    """Every id of a user or role profile, without blanks; empty ones are nobody."""
    row = an_alert(1, user_id=None, role_profile_id="", details={"user/id": "1", "user/role": "R8000", "author": "x"})
    assert named_in(row) == {"1"}


async def test_the_life_of_an_alert(clinic: Clinic) -> None:
    """Notes while it is under investigation, one to close it; nothing afterwards; the history says all of it."""
    await keep(clinic, an_alert(1))
    alerts, caller = desk(clinic), officer("both")

    async def step(version: int, to: AlertState, note: str = "") -> StepResult:
        return (await alerts.change(caller, IDS, [AlertStep(uuid(1), version)], to, note))[0].result

    assert await step(1, CLOSED, "at once") is StepResult.NOT_POSSIBLE
    assert await step(1, OPEN) is StepResult.CHANGED
    assert await step(1, OPEN) is StepResult.CONFLICT
    assert (await clinic.last_audit()).content["reason"] == "conflict"
    assert await step(2, OPEN, "patient called") is StepResult.CHANGED
    digest = (await clinic.last_audit()).content[CHANGE_DIGEST]
    assert len(digest) == 64
    assert await step(3, CLOSED, "order seen") is StepResult.CHANGED
    assert (await clinic.last_audit()).content[CHANGE_DIGEST] != digest
    assert "order seen" not in str(await clinic.audit())
    for to in (OPEN, CLOSED):
        assert await step(4, to, "again") is StepResult.NOT_POSSIBLE
    opened = await alerts.open(caller, IDS, uuid(1))
    assert [(c.version, c.from_state, c.to_state, c.note, c.user_id) for c in opened.changes] == [
        (2, "new", "under-investigation", "", "U900000000001"),
        (3, "under-investigation", "under-investigation", "patient called", "U900000000001"),
        (4, "under-investigation", "closed", "order seen", "U900000000001"),
    ]
    assert (await clinic.store.verify()).intact


async def test_a_search_with_pages(clinic: Clinic) -> None:
    """The newest first, by state, type and period; how many are not closed is told of all."""
    await keep(clinic, *(an_alert(n, type="1" if n % 3 == 0 else "2") for n in range(1, 25)))
    alerts, caller = desk(clinic), officer("both")
    await alerts.change(caller, IDS, [AlertStep(uuid(n), 1) for n in (1, 2, 3)], OPEN, "")
    await alerts.change(caller, IDS, [AlertStep(uuid(n), 2) for n in (1, 2)], CLOSED, "seen")

    async def found(**wanted: object) -> list[str]:
        page = await alerts.search(caller, IDS, AlertSearch(**wanted))  # type: ignore[arg-type]
        assert page.unclosed == 22
        return [row.id for row in page.alerts]

    assert await found() == [uuid(n) for n in range(24, 14, -1)]
    assert await found(page=3) == [uuid(n) for n in (4, 3, 2, 1)]
    assert await found(page=4) == []
    assert await found(states=(CLOSED,)) == [uuid(2), uuid(1)]
    assert await found(states=(OPEN, CLOSED), types=("1",)) == [uuid(3)]
    since = NOON + timedelta(seconds=5)
    assert await found(since=since, until=since + timedelta(seconds=2)) == [uuid(6), uuid(5)]


def test_what_a_request_must_not_look_like() -> None:
    """Each mistake is told in words."""
    one = [AlertStep("A", 1)]
    assert mistakes(one, OPEN, "") == ()
    assert mistakes(one, CLOSED, "note") == ()
    for nothing in ("\u200b", "\u2060\u00a0", "\x00", ".", "\u202e\ufeff"):
        assert mistakes(one, CLOSED, nothing) == ("A note is required to close an alert",)
    for steps, to, note, word in (
        ([], OPEN, "", "at least one"),
        (one * 2, OPEN, "", "twice"),
        ([AlertStep(str(n), 1) for n in range(501)], OPEN, "", "500"),
        (one, NEW, "", "new again"),
        (one, CLOSED, " ", "required"),
        (one, OPEN, "x" * 4001, "4000"),
    ):
        (said,) = mistakes(steps, to, note)
        assert word in said


# --- who is told ----------------------------------------------------------------------------------------------------


ADDRESSES = [
    (Channel.EMAIL, "officer@nhs.test", ""),
    (Channel.EMAIL, "officer@nhs.test\r\nBcc: x@y.test", "not an e-mail"),
    (Channel.EMAIL, "officer", "not an e-mail"),
    (Channel.EMAIL, f"{'x' * 500}@nhs.test", "too long"),
    (Channel.WEBHOOK, "https://hooks.nhs.test/a?b=c", ""),
    (Channel.WEBHOOK, "https://HOOKS.nhs.test:8443/a", ""),
    (Channel.WEBHOOK, "http://hooks.nhs.test/a", "https://"),
    (Channel.WEBHOOK, "https://169.254.169.254/latest", "webhook_hosts"),
    (Channel.WEBHOOK, "https://127.0.0.1/a", "webhook_hosts"),
    (Channel.WEBHOOK, "https://hooks.nhs.test@evil.test/", "not the address"),
    (Channel.WEBHOOK, "https://evil.test#hooks.nhs.test", "not the address"),
    (Channel.WEBHOOK, "https://hooks.nhs.test:99999/", "not the address"),
    (Channel.WEBHOOK, "https://hooks.nhs.test/\n", "not the address"),
    (Channel.WEBHOOK, "https://[", "not the address"),
]


@pytest.mark.parametrize(("channel", "address", "said"), ADDRESSES)
def test_where_notices_may_go(channel: Channel, address: str, said: str) -> None:
    """Hosts that the operator has named, over TLS; this machine in test environments alone."""
    fault = Reachable(mail=True, hosts=frozenset({"hooks.nhs.test"})).fault(channel, address)
    assert said in fault
    assert bool(fault) is bool(said)
    assert "mail server" in Reachable().fault(Channel.EMAIL, "officer@nhs.test")
    assert Reachable(local=True).fault(Channel.WEBHOOK, "http://127.0.0.1:8000/a") == ""


async def test_an_officer_subscribes_for_the_own_organisation(clinic: Clinic) -> None:
    """For the types of the role; a colleague sees and removes it, nobody of another organisation does."""
    reach = Reachable(mail=True)
    made = Subscriptions(clinic.store, clinic.directory, clinic._policy, reach, clock=clinic.clock, mint=clinic.mint)
    told = await made.subscribe(officer("access"), IDS, Channel.EMAIL, "officer@nhs.test")
    (subscription,) = told.subscriptions
    assert (subscription.types, subscription.organisation, subscription.secret) == (("2",), "RZZ01", "")
    entry = await clinic.last_audit()
    assert (entry.action, entry.content["subscription"]) == ("alert subscribe", subscription.id)
    assert "officer@nhs.test" not in str(entry)
    for stranger in ("nothing", "other job"):
        assert not (await made.subscribe(officer(stranger), IDS, Channel.EMAIL, "a@nhs.test")).outcome.accepted
        assert not (await made.list(officer(stranger), IDS)).outcome.accepted
    assert not (await made.subscribe(GP, IDS, Channel.EMAIL, "a@nhs.test")).outcome.accepted
    assert (await made.list(officer("elsewhere"), IDS)).subscriptions == ()
    assert not (await made.remove(officer("elsewhere"), IDS, subscription.id)).outcome.accepted
    assert (await made.list(officer("relationship"), IDS)).subscriptions == (subscription,)
    assert (await made.remove(officer("relationship"), IDS, subscription.id)).outcome.accepted
    assert (await made.list(officer("both"), IDS)).subscriptions == ()
    with pytest.raises(ValueError, match="looked at before"):
        await made.subscribe(officer("both"), IDS, Channel.WEBHOOK, "http://192.0.2.1/")
