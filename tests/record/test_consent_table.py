"""Consent and operation, cell by cell. Spec: 30 §9, 20 §6."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from openscr.codes import GP_INITIAL_SUMMARY, INITIAL_UPLOAD, WITHDRAW_INITIAL
from openscr.record.decision import RecordRules
from openscr.spine import Caller, Consent, DissentOverride

from .clinic import CLERK, DISSENT, GP, LAWYER, NURSE, PATIENT, SYSTEM, Clinic, codes, open_clinic, uuid

DENIED = ("420", "30418")
ACCEPTED = ("AA",)
CONSENTS = (Consent.ASK, Consent.YES, Consent.NO)
FIRST, SECOND, THIRD = uuid(1), uuid(2), uuid(3)


async def settle(clinic: Clinic, consent: Consent, *, summary: bool = True) -> None:
    """Put a summary of the practice and a consent in place. Ask comes after a No that was cleared."""
    if summary:
        assert codes((await clinic.upload(FIRST)).outcome) == ACCEPTED
    if consent is Consent.ASK:
        assert codes((await clinic.set_consent(Consent.NO)).outcome) == ACCEPTED
    assert codes((await clinic.set_consent(consent)).outcome) == ACCEPTED


@pytest.mark.parametrize(
    ("consent", "expected"), [(Consent.ASK, ACCEPTED), (Consent.YES, ACCEPTED), (Consent.NO, DENIED)]
)
async def test_upload(clinic: Clinic, consent: Consent, expected: tuple[str, ...]) -> None:
    """A summary with clinical content is refused after a dissent, and nothing changes."""
    await settle(clinic, consent)
    assert codes((await clinic.upload(SECOND, replaces=FIRST)).outcome) == expected
    assert (SECOND in await clinic.statuses()) == (expected == ACCEPTED)
    assert (await clinic.last_audit()).content.get("reason", "") == ("" if expected == ACCEPTED else "consent")


@pytest.mark.parametrize("consent", CONSENTS)
async def test_dissent_upload(clinic: Clinic, consent: Consent) -> None:
    """The blank summary that states the dissent is always accepted."""
    await settle(clinic, consent)
    assert codes((await clinic.upload(SECOND, replaces=FIRST, text=DISSENT)).outcome) == ACCEPTED
    assert await clinic.statuses() == {FIRST: "REPLACED", SECOND: "NORMAL"}


@pytest.mark.parametrize("consent", CONSENTS)
async def test_withdraw(clinic: Clinic, consent: Consent) -> None:
    """A withdrawal reduces what is there: consent never forbids it, for either kind of summary."""
    await settle(clinic, consent)
    assert codes((await clinic.withdraw(FIRST)).outcome) == ACCEPTED
    assert await clinic.statuses() == {FIRST: "WITHDRAWN"}


@pytest.mark.parametrize("consent", CONSENTS)
async def test_withdraw_initial(clinic: Clinic, consent: Consent) -> None:
    """The same for an initial summary."""
    await clinic.upload(FIRST, interaction=INITIAL_UPLOAD, event_type=GP_INITIAL_SUMMARY)
    await settle(clinic, consent, summary=False)
    assert codes((await clinic.withdraw(FIRST, interaction=WITHDRAW_INITIAL)).outcome) == ACCEPTED


@pytest.mark.parametrize("consent", CONSENTS)
async def test_get_and_set(clinic: Clinic, consent: Consent) -> None:
    """Consent is always told and can always be changed, back and forth and to itself."""
    await settle(clinic, consent)
    answer = await clinic.get_consent()
    assert codes(answer.outcome) == ACCEPTED
    assert answer.consent is consent
    for value in (consent, *CONSENTS):
        assert codes((await clinic.set_consent(value)).outcome) == ACCEPTED
        assert (await clinic.state()).consent is value


async def test_consent_is_told_and_set_though_the_record_cannot_be_read(clinic: Clinic) -> None:
    """No event is looked at, so that it costs the same for a patient of many years, and a No can always be said."""
    await settle(clinic, Consent.YES)
    with closing(sqlite3.connect(clinic.file)) as file, file:
        file.execute("UPDATE event SET details = x'00'")
    assert (await clinic.get_consent()).consent is Consent.YES
    assert codes((await clinic.set_consent(Consent.NO)).outcome) == ACCEPTED
    assert (await clinic.get_consent()).consent is Consent.NO


ALERT_1, ALERT_2, ALERT_3 = ("2", "1"), ("2", "2"), ("2", "3")
NO_ALERT = None

VIEWS = [
    # caller, override, Ask, Yes, No, alert under No
    (GP, "0", "", ACCEPTED, ACCEPTED, DENIED, NO_ALERT),
    (SYSTEM, "0", "", ACCEPTED, ACCEPTED, DENIED, NO_ALERT),
    (LAWYER, "1", "", ACCEPTED, ACCEPTED, ACCEPTED, ALERT_1),
    (LAWYER, "2", "", ACCEPTED, ACCEPTED, ACCEPTED, ALERT_2),
    (LAWYER, "3", "by order of the court", ACCEPTED, ACCEPTED, ACCEPTED, ALERT_3),
    # The emergency right: code 1, and only with a justification.
    (GP, "1", "patient unconscious", ACCEPTED, ACCEPTED, ACCEPTED, ALERT_1),
    (GP, "1", "", DENIED, DENIED, DENIED, NO_ALERT),
    (GP, "1", "   ", DENIED, DENIED, DENIED, NO_ALERT),
    (GP, "2", "patient unconscious", DENIED, DENIED, DENIED, NO_ALERT),
    (GP, "3", "patient unconscious", DENIED, DENIED, DENIED, NO_ALERT),
    # Without either right.
    (NURSE, "1", "please", DENIED, DENIED, DENIED, NO_ALERT),
    (NURSE, "2", "", DENIED, DENIED, DENIED, NO_ALERT),
    (CLERK, "3", "", DENIED, DENIED, DENIED, NO_ALERT),
    (SYSTEM, "1", "please", DENIED, DENIED, DENIED, NO_ALERT),
    # Query for update: a known person of the owner of the current summary; for others it is as if nothing was said.
    (GP, "4", "", ACCEPTED, ACCEPTED, ACCEPTED, NO_ALERT),
    (CLERK, "4", "", ACCEPTED, ACCEPTED, ACCEPTED, NO_ALERT),
    (SYSTEM, "4", "", ACCEPTED, ACCEPTED, DENIED, NO_ALERT),
    (NURSE, "4", "", ACCEPTED, ACCEPTED, DENIED, NO_ALERT),
    # Temporary consent of the patient: no further right is needed, but somebody must be there to have been given it.
    (NURSE, "5", "", ACCEPTED, ACCEPTED, ACCEPTED, ("2", "override-5")),
    (GP, "5", "asked in person", ACCEPTED, ACCEPTED, ACCEPTED, ("2", "override-5")),
    (SYSTEM, "5", "", DENIED, DENIED, DENIED, NO_ALERT),
]


@pytest.mark.parametrize("operation", ["list", "retrieve"])
@pytest.mark.parametrize(("caller", "code", "text", "ask", "yes", "no", "alert"), VIEWS)
async def test_view(
    clinic: Clinic,
    operation: str,
    caller: Caller,
    code: str,
    text: str,
    ask: tuple[str, ...],
    yes: tuple[str, ...],
    no: tuple[str, ...],
    alert: tuple[str, str] | None,
) -> None:
    """Each override under each consent: what is answered, what is shown, whether an alert is raised."""
    await clinic.upload(FIRST)
    override = DissentOverride(code, text)
    for consent, expected in ((Consent.ASK, ask), (Consent.YES, yes), (Consent.NO, no)):
        await clinic.set_consent(consent)
        before = len(await clinic.store.read_alerts())
        if operation == "list":
            listed = await clinic.list_events(caller=caller, override=override)
            outcome = listed.outcome
            assert [event.event_id for event in listed.events] == ([FIRST] if expected == ACCEPTED else [])
            assert listed.consent is consent
        else:
            found = await clinic.retrieve(FIRST, caller=caller, override=override)
            outcome = found.outcome
            assert bool(found.document) == (expected == ACCEPTED)
            assert (found.event is not None) == (expected == ACCEPTED)
        assert codes(outcome) == expected, consent
        alerts = (await clinic.store.read_alerts())[before:]
        raised = [(found.type, found.reason) for found in alerts]
        assert raised == ([alert] if alert is not None and consent is Consent.NO else [])
        entry = await clinic.last_audit()
        assert entry.outcome == ("AA" if expected == ACCEPTED else "AE")
        assert entry.content.get("override_code") == (None if code == "0" else code)
        assert entry.content.get("override_text", "") == text
        if alerts:
            assert entry.content["alert"] == alerts[0].id
            assert (alerts[0].nhs_number, alerts[0].text, alerts[0].asid) == (PATIENT, text, caller.asid)
            assert caller.person is not None
            assert alerts[0].user_id == caller.person.user_id


@pytest.mark.parametrize("switch", [False, True])
@pytest.mark.parametrize("code", ["4", "5"])
async def test_best_interests(tmp_path: Path, code: str, switch: bool) -> None:
    """In the vocabulary of MIM 4.2.00 codes 4 and 5 mean best interests: an alert always, past a No by switch only."""
    rules = RecordRules(open_index=True, override_vocabulary="4.2.00", best_interest_overrides_dissent=switch)
    async with open_clinic(tmp_path, rules) as clinic:
        await clinic.upload(FIRST)
        for consent in CONSENTS:
            await clinic.set_consent(consent)
            before = len(await clinic.store.read_alerts())
            expected = DENIED if consent is Consent.NO and not switch else ACCEPTED
            listed = await clinic.list_events(override=DissentOverride(code, "cannot decide"))
            assert codes(listed.outcome) == expected
            alerts = (await clinic.store.read_alerts())[before:]
            assert [(a.type, a.reason) for a in alerts] == ([("2", "5")] if expected == ACCEPTED else [])


async def test_consent_can_change_between_list_and_retrieve(clinic: Clinic) -> None:
    """Retrieving is decided again."""
    await clinic.upload(FIRST)
    (event,) = (await clinic.list_events()).events
    await clinic.set_consent(Consent.NO)
    assert codes((await clinic.retrieve(event.event_id)).outcome) == DENIED
    await clinic.set_consent(Consent.ASK)
    assert (await clinic.retrieve(event.event_id)).document == clinic.documents[FIRST]


@pytest.mark.parametrize(
    ("consent", "expected"), [(Consent.ASK, ("420",)), (Consent.YES, ACCEPTED), (Consent.NO, DENIED)]
)
async def test_explicit_consent_to_store(tmp_path: Path, consent: Consent, expected: tuple[str, ...]) -> None:
    """With the switch, an upload while nothing was said gets a single reason that carries the text of 30402."""
    rules = RecordRules(open_index=True, require_explicit_store_consent=True)
    async with open_clinic(tmp_path, rules) as clinic:
        await clinic.set_consent(consent)
        outcome = (await clinic.upload(FIRST)).outcome
        assert codes(outcome) == expected
        if expected == ("420",):
            assert outcome is not None
            (issue,) = outcome.issues
            assert issue.display == (
                "30402 - PQR-02 - No explicit Service User Consent exists for Sharing of this record "
            )
        assert codes((await clinic.upload(SECOND, text=DISSENT)).outcome) == ACCEPTED


@pytest.mark.parametrize("operation", ["list", "retrieve"])
async def test_no_record(clinic: Clinic, operation: str) -> None:
    """Without a record the answer is a warning; after a No it is the No, so that it does not tell. Spec: 20 §8."""

    async def ask() -> tuple[str, ...]:
        if operation == "list":
            return codes((await clinic.list_events()).outcome)
        return codes((await clinic.retrieve(FIRST)).outcome)

    assert await ask() == ("210", "30312")
    await clinic.set_consent(Consent.NO)
    assert await ask() == DENIED
    await clinic.set_consent(Consent.ASK)
    assert await ask() == ("210", "30312")
    assert [entry.content.get("reason") for entry in await clinic.audit() if entry.action.startswith("QUPC")] == [
        "no_record",
        "consent",
        "no_record",
    ]
