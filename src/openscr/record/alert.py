"""Privacy alerts: those that client systems raise, kept beside those that an override raises by itself.

No consent forbids an alert, and no activity is asked for: who may look may say so. A person must be behind it.

Spec: 30 §9, 35 §6.1, §9.2; 80 §5.
"""

from datetime import datetime

from openscr.access.policy import Authorisation, Reason
from openscr.record.decision import ACCEPTED, ACCESS_DENIED, Decision, refuse
from openscr.spine import Alert, Caller
from openscr.store.alert_evidence import ALERT_DIGEST, alert_digest
from openscr.store.alert_records import AlertRow


def decide_alert(alert: Alert, authorisation: Authorisation, caller: Caller, now: datetime, alert_id: str) -> Decision:
    """Decide whether an alert is kept; it is new to the privacy officer, whatever its patient's consent. Spec: 30 §9.

    The person who counts is the one that the directory vouches for, else the one that the alert names.
    """
    if not authorisation.allowed:
        return refuse(ACCESS_DENIED, authorisation.reason)
    person, user = authorisation.person, alert.user
    unverified = "" if person is not None else Reason.AUTHOR_UNVERIFIED.value
    details = {
        "reference": alert.reference,
        "occurred_at": alert.occurred_at,
        "type/system": alert.type.system,
        "type/display": alert.type.display,
        "reason/system": alert.reason.system,
        "reason/display": alert.reason.display,
        "notification": alert.notification,
        "user/id": user.user_id,
        "user/name": user.name,
        "user/role": user.role,
        "user/role_profile_id": user.role_profile_id,
        "organisation/id": user.organisation,
        "organisation/name": user.organisation_name,
        "system/name": alert.system_name,
        "author": unverified,
        **alert.carried,
    }
    row = AlertRow(
        id=alert_id,
        nhs_number=alert.nhs_number,
        type=alert.type.code,
        reason=alert.reason.code,
        text=alert.text,
        raised_at=now,
        asid=caller.asid,
        organisation=_organisation(alert, authorisation),
        user_id=person.user_id if person else user.user_id,
        role_profile_id=person.role_profile_id if person else user.role_profile_id or None,
        job_role=person.job_role if person else None,
        source=alert.ids.interaction,
        details={name: value for name, value in details.items() if value},
    )
    notes = {
        "alert": alert_id,
        ALERT_DIGEST: alert_digest(row),
        "alert_type": row.type,
        "alert_reason": row.reason,
    }
    if unverified:
        notes["author"] = unverified
    return Decision(ACCEPTED, alert=row, notes=notes)


def _organisation(alert: Alert, authorisation: Authorisation) -> str:
    """Return whose privacy officer is to look: the verified person's organisation, else one that the system acts for.

    What an alert says of a person whom nobody vouches for counts only as far as its system is registered for it.
    """
    system, stated = authorisation.system, alert.user.organisation
    if authorisation.person is None and system is not None and stated in system.organisations:
        return stated
    return authorisation.organisation
