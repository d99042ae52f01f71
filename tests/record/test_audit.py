"""Every access and every refusal is in the audit: who, what, when, why and how it ended. Spec: 35 §7."""

from collections.abc import Awaitable, Callable

import pytest

from openscr.directory.model import Role
from openscr.record.audit import LONGEST_TEXT, audit_entry
from openscr.spine import AckType, Caller, Consent, DissentOverride, MessageIds, Outcome, Session

from .clinic import FORMER, GP, HOSPITAL_PARTY, HOSPITAL_SYSTEM, LAWYER, NOON, PATIENT, SYSTEM, Clinic, uuid

A, B = uuid(1), uuid(2)
Act = Callable[[Clinic], Awaitable[object]]


ACTS: list[tuple[str, Act, str, str, dict[str, str]]] = [
    (
        "upload",
        lambda c: c.upload(B),
        "REPC_IN150016UK05",
        "AA",
        {"event_id": B, "warning": "replaced_without_reference"},
    ),
    (
        "refused upload",
        lambda c: c.upload(A),
        "REPC_IN150016UK05",
        "AE",
        {"event_id": A, "codes": "410 30134", "reason": "duplicate_event"},
    ),
    (
        "withdrawal",
        lambda c: c.withdraw(A, event_id=B),
        "REPC_IN150018UK02",
        "AA",
        {"event_id": B, "target": A, "withdrawal_reason": "01"},
    ),
    (
        "refused withdrawal",
        lambda c: c.withdraw(B),
        "REPC_IN150018UK02",
        "AE",
        {"target": B, "codes": "410 30308", "reason": "target_unknown"},
    ),
    ("list", lambda c: c.list_events(), "QUPC_IN180000UK04", "AA", {}),
    (
        "refused list",
        lambda c: c.list_events(caller=FORMER),
        "QUPC_IN180000UK04",
        "AE",
        {"codes": "420 30418", "reason": "role_closed"},
    ),
    ("event", lambda c: c.retrieve(A), "QUPC_IN190000UK04", "AA", {"event_id": A}),
    (
        "unknown event",
        lambda c: c.retrieve(B),
        "QUPC_IN190000UK04",
        "AE",
        {"event_id": B, "codes": "410 30308", "reason": "event_unknown"},
    ),
    (
        "SET",
        lambda c: c.set_consent(Consent.NO),
        "SET_RESOURCE_PERMISSIONS_INUK01",
        "AA",
        {"previous_consent": "Ask", "new_consent": "No"},
    ),
    (
        "refused SET",
        lambda c: c.set_consent(Consent.NO, caller=SYSTEM),
        "SET_RESOURCE_PERMISSIONS_INUK01",
        "AE",
        {"codes": "420 30418", "reason": "author_missing"},
    ),
    ("GET", lambda c: c.get_consent(), "GET_RESOURCE_PERMISSIONS_INUK01", "AA", {"consent": "Ask"}),
]


@pytest.mark.parametrize(("name", "act", "action", "outcome", "told"), ACTS, ids=[act[0] for act in ACTS])
async def test_one_row_for_each(
    clinic: Clinic, name: str, act: Act, action: str, outcome: str, told: dict[str, str]
) -> None:
    """One row, in the chain of the patient's slot, with ids, caller, codes and reason; nothing clinical."""
    await clinic.upload(A)
    before = len(await clinic.audit())
    await act(clinic)
    rows = await clinic.audit()
    assert len(rows) == before + 1, name
    row = rows[-1]
    assert (row.action, row.outcome, row.nhs_number) == (action, outcome, PATIENT)
    assert told.items() <= row.content.items()
    assert row.content["interaction"] == action
    assert row.content["message_id"]
    assert row.content["asid"]
    assert row.content["party_key"]
    assert ("reason" in row.content) == (outcome == "AE")
    assert "Nothing remarkable" not in str(row.content)
    assert (await clinic.store.verify()).intact


async def test_persons(clinic: Clinic) -> None:
    """The verified person with the organisation of the active role; a refused one as the message named it."""
    await clinic.upload(A)
    await clinic.list_events(caller=LAWYER)
    content = (await clinic.last_audit()).content
    assert (content["user_id"], content["role_profile_id"], content["job_role"], content["organisation"]) == (
        "555000000501",
        "555000000502",
        "R8000",
        "RZZ01",
    )
    await clinic.list_events(caller=FORMER)
    content = (await clinic.last_audit()).content
    assert (content["user_id"], content["role_profile_id"]) == ("555000000701", "555000000702")
    await clinic.list_events(caller=SYSTEM)
    content = (await clinic.last_audit()).content
    assert "user_id" not in content
    assert content["organisation"] == "Y90001"


async def test_overrides_are_told_with_their_meaning(clinic: Clinic) -> None:
    """Code, meaning and text of an override, used or not, allowed or not."""
    await clinic.upload(A)
    for caller, outcome in ((LAWYER, "AA"), (SYSTEM, "AE")):
        await clinic.list_events(caller=caller, override=DissentOverride("2", "statute 7"))
        row = await clinic.last_audit()
        assert row.outcome == outcome
        assert row.content["override_code"] == "2"
        assert row.content["override_meaning"] == "Access required by statute"
        assert row.content["override_text"] == "statute 7"


async def test_duplicates_are_not_told_twice(clinic: Clinic) -> None:
    """A message that was answered before is answered again and leaves no second row."""
    await clinic.upload(A, message_id=uuid(9))
    before = await clinic.audit()
    await clinic.upload(A, message_id=uuid(9))
    assert await clinic.audit() == before


async def test_refusals_before_any_verb(clinic: Clinic) -> None:
    """What transport refuses is kept too, in the slot of the patient if the number is one, else of the party."""
    caller = Caller(HOSPITAL_SYSTEM, HOSPITAL_PARTY, GP.person, "viewer.client.test", "192.0.2.1")
    ids = MessageIds(uuid(1), "QUPC_IN180000UK04", uuid(2), uuid(3))
    outcome = Outcome(AckType.REJECTED)
    for number, kept in ((PATIENT, PATIENT), ("123", None), (None, None)):
        await clinic.record.audit_refusal(caller, ids, outcome, reason="wrong_certificate", nhs_number=number)
        row = await clinic.last_audit()
        assert (row.outcome, row.nhs_number) == ("AR", kept)
        assert row.content["reason"] == "wrong_certificate"
        assert (row.content["certificate"], row.content["address"]) == ("viewer.client.test", "192.0.2.1")
        assert (row.content["transport_id"], row.content["correlation_id"]) == (uuid(2), uuid(3))
    assert (await clinic.store.verify()).intact


def test_a_session_is_told_with_how_it_was_authenticated() -> None:
    """Who vouches, how strongly, by what; a digest of the session, and nothing of a token. Spec: 35 §7."""
    role = Role("555000000402", "R0001", "RZZ01", frozenset({"B0015"}))
    session = Session("555000000401", "Percival Privacy", role, 3, "https://issuer.test", ("hwk", "pin"), "d1ge57")
    caller = Caller(HOSPITAL_SYSTEM, HOSPITAL_PARTY, address="192.0.2.1", session=session)
    ids = MessageIds("", "GET /governance/alerts", "request", "correlation")
    entry = audit_entry("alert list", Outcome(AckType.ERROR), None, NOON, caller=caller, ids=ids, reason="role_closed")
    assert entry.content == {
        "interaction": "GET /governance/alerts",
        "transport_id": "request",
        "correlation_id": "correlation",
        "asid": HOSPITAL_SYSTEM,
        "party_key": HOSPITAL_PARTY,
        "address": "192.0.2.1",
        "user_id": "555000000401",
        "role_profile_id": "555000000402",
        "job_role": "R0001",
        "display_name": "Percival Privacy",
        "organisation": "RZZ01",
        "assurance_level": "3",
        "amr": "hwk pin",
        "issuer": "https://issuer.test",
        "session": "d1ge57",
        "reason": "role_closed",
        "class": "author_mismatch",
    }


@pytest.mark.parametrize("caller", [LAWYER, FORMER])
async def test_a_request_does_not_fill_the_audit(clinic: Clinic, caller: Caller) -> None:
    """A reason of megabytes is kept as far as anybody reads it, in the audit and in the alert, refused or not."""
    await clinic.set_consent(Consent.NO)
    text = "because " * 500_000
    await clinic.list_events(caller=caller, override=DissentOverride("1", text))
    kept = [(await clinic.last_audit()).content["override_text"]]
    kept += [alert.text for alert in await clinic.store.read_alerts()]
    assert len(kept) == (2 if caller is LAWYER else 1)
    for each in kept:
        assert each == f"{text[: LONGEST_TEXT - 1]}…"
