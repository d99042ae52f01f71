"""A commit that breaks off: what was done is found out before anybody is answered, for whatever changes something.

Spec: 40 §8; engine.md "outcome unknown".
"""

import pytest

from openscr.identifiers import slot_of
from openscr.record.alerts import AlertStep, StepResult
from openscr.spine import MessageIds
from openscr.standing import StandingEnd
from openscr.store.interface import StandingRow, Transaction

from .clinic import NURSE, PATIENT, Clinic, uuid
from .test_alerts import IDS, OPEN, an_alert, desk, keep, officer


@pytest.mark.parametrize("kept", [True, False])
async def test_a_permission_is_recorded_once(clinic: Clinic, kept: bool) -> None:
    """Whether or not the first commit took place, there is one record, and it is shown."""
    with clinic.commits_break_off(kept=kept):
        told = await clinic.permit(NURSE)
    assert told.outcome.accepted
    assert (await clinic.standing(NURSE)).permission == told.record

    async def read(transaction: Transaction) -> tuple[StandingRow, ...]:
        return await transaction.read_standings(PATIENT, clinic.clock())

    assert len(await clinic.store.transact(slot_of(PATIENT), read)) == 1


@pytest.mark.parametrize("kept", [True, False])
async def test_a_permission_is_ended_once(clinic: Clinic, kept: bool) -> None:
    """Ending it again changes nothing."""
    record = (await clinic.permit(NURSE)).record
    assert record is not None
    with clinic.commits_break_off(kept=kept):
        outcome = await clinic.standings.end(NURSE, StandingEnd(MessageIds(uuid(5), "end"), PATIENT, record.id))
    assert outcome.accepted
    assert (await clinic.standing(NURSE)).permission is None


@pytest.mark.parametrize("kept", [True, False])
async def test_a_step_of_an_alert_is_taken_once(clinic: Clinic, kept: bool) -> None:
    """Whether or not the first commit took place, the alert is one version further."""
    await keep(clinic, an_alert(1))
    alerts, caller, steps = desk(clinic), officer("both"), [AlertStep(uuid(1), 1)]
    with clinic.commits_break_off(kept=kept):
        (stepped,) = await alerts.change(caller, IDS, steps, OPEN, "")
    assert stepped.result is StepResult.CHANGED
    assert stepped.alert is not None
    assert (stepped.alert.state, stepped.alert.version) == (OPEN.value, 2)
    opened = await alerts.open(caller, IDS, uuid(1))
    assert len(opened.changes) == 1
