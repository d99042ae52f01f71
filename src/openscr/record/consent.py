"""Consent to share: one value per patient, every version of it kept.

Spec: 30 §5.1, §8, §9.1, §9.2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from openscr.access.policy import Authorisation
from openscr.record.decision import (
    ACCEPTED,
    ACCESS_DENIED,
    Decision,
    RecordRules,
    is_known,
    refuse,
    survivor_of,
)
from openscr.spine import AskedPermission, Caller, Consent, ConsentChange
from openscr.store.interface import ConsentRow, Patient


@dataclass(frozen=True, slots=True)
class ConsentChanged:
    """The event ``consent.changed``: a SET was accepted and is durable. ``previous`` may be the same value.

    ``version`` is the row of the history. Spec: 30 §8.4, §9.2 step 12.
    """

    version: ConsentRow
    previous: Consent


ConsentSubscriber = Callable[[ConsentChanged], None]
"""Told of changes after their commit; must be quick, and is not asked whether it agrees."""


def decide_consent_change(
    change: ConsentChange,
    state: Patient,
    authorisation: Authorisation,
    rules: RecordRules,
    caller: Caller,
    now: datetime,
) -> Decision:
    """Decide whether the consent is set; setting the value that holds already succeeds too. Spec: 30 §9.1, §9.2."""
    if not authorisation.allowed:
        return refuse(ACCESS_DENIED, authorisation.reason)
    if not is_known(state, rules):
        return refuse("35160", "patient_unknown", field="NHS Number")
    if survivor_of(state) is not None:
        return refuse("30307", "merged")
    person = authorisation.person
    version = ConsentRow(
        nhs_number=change.nhs_number,
        version=state.consent_version + 1,
        value=change.value,
        set_at=now,
        asid=caller.asid,
        organisation=authorisation.organisation,
        role_profile_id=person.role_profile_id if person else None,
        user_id=person.user_id if person else None,
        job_role=person.job_role if person else None,
        message_id=change.ids.message_id,
        wsa_id=change.ids.transport_id,
        source=change.ids.interaction,
    )
    notes = {"previous_consent": state.consent.value, "new_consent": change.value.value}
    return Decision(ACCEPTED, consent=version, notes=notes)


def decide_consent_query(state: Patient, authorisation: Authorisation, rules: RecordRules) -> Decision:
    """Decide whether the consent is told. A recorded No is told: it is needed to be reversed. Spec: 30 §9."""
    if not authorisation.allowed:
        return refuse(ACCESS_DENIED, authorisation.reason)
    if not is_known(state, rules):
        return refuse("35160", "patient_unknown", field="NHS Number")
    return Decision(ACCEPTED, notes={"consent": state.consent.value})


def permission_of(asked: AskedPermission, consent: Consent) -> Consent:
    """Return what holds for one access control set of a HAS: a consent given to everyone holds for each of them.

    Of anything but the sharing of the record nothing can be stored, so that it is at its default. Spec: 30 §4.2, §5.3.
    """
    of_the_record = (asked.context, asked.resource_type) == ("Consent", "SCR") and asked.code in ("View", "Store")
    return consent if of_the_record else Consent.ASK
