"""What an SCR application is told in one answer: events, consent, permission to view, legitimate relationship.

Spec: 20 §11; 30 §5.4.
"""

from typing import Final

from openscr.directory.model import Directory
from openscr.identifiers import hl7_timestamp
from openscr.record.ties import is_claim
from openscr.record.viewing import show
from openscr.spine import (
    Event,
    EventAuthor,
    LegitimateRelationship,
    ListedEvent,
    PermissionToView,
    ScrPermissionsQuery,
)
from openscr.standing import Basis, Holder, HolderKind
from openscr.store.interface import EventRow, StandingRow


def permission_of(row: StandingRow | None) -> PermissionToView:
    """Return what is told of a permission to view. Spec: 20 §11.2."""
    if row is None:
        return PermissionToView()
    group = row.holder.id if row.holder.kind is not HolderKind.ROLE_PROFILE else ""
    return PermissionToView(
        exists=True,
        claimed=row.basis is Basis.EMERGENCY,
        start=hl7_timestamp(row.starts_at),
        end=hl7_timestamp(row.ends_at) if row.ends_at else "",
        author=row.role_profile_id or "",
        assessor_id="" if group else row.holder.id,
        assessor_group=group,
    )


def relationship_of(row: StandingRow | None) -> LegitimateRelationship:
    """Return what is told of a legitimate relationship. Spec: 20 §11.2."""
    if row is None:
        return LegitimateRelationship()
    return LegitimateRelationship(
        exists=True,
        claimed=is_claim(row),
        referred=row.reason in _REFERRALS,
        start=hl7_timestamp(row.starts_at),
        end=hl7_timestamp(row.ends_at) if row.ends_at else "",
        reason=row.reason,
        staff=row.holder.id,
    )


def holders_of(query: ScrPermissionsQuery, directory: Directory) -> frozenset[Holder]:
    """Return everybody whose records count for those who would look: role profile, its organisation, workgroups."""
    workgroups = (*query.workgroups, query.workgroup)
    found = {Holder(HolderKind.WORKGROUP, workgroup) for workgroup in workgroups if workgroup}
    if query.role_profile:
        found.add(Holder(HolderKind.ROLE_PROFILE, query.role_profile))
        known = directory.role(query.role_profile)
        if known is not None:
            found.add(Holder(HolderKind.ORGANISATION, known[1].ods))
    return frozenset(found)


_REFERRALS: Final = frozenset({"06", "09"})
"""Reasons of a relationship that began with a referral. Spec: 35 §6."""


def listed(event: EventRow, directory: Directory) -> ListedEvent:
    """Return an event with its author's identity, from the metadata of the upload. Spec: 20 §11.2, §11.3."""
    said = event.metadata
    role_profile = said.get("author/roleProfileIdCode", "")
    known = directory.role(role_profile) if role_profile else None
    shown = show(event)
    return ListedEvent(
        event=Event(
            shown.event_id,
            shown.event_type,
            shown.payload_id,
            shown.status,
            shown.stored_at,
            shown.withdrawing_event_id,
        ),
        author=EventAuthor(
            time=said.get("author/time", ""),
            user_id=said.get("author/personIdCode", ""),
            role_profile_id=role_profile,
            job_role=known[1].job_role if known is not None else said.get("author/jobRoleCode", ""),
            family_name=said.get("author/structuredName/familyName", ""),
            asid=event.sender_asid,
        ),
    )
