"""What an SCR application is told in one answer: events, consent, permission to view, legitimate relationship.

Spec: 20 §11; 30 §5.4.
"""

from dataclasses import dataclass
from typing import Final, Protocol

from openscr.directory.model import Directory
from openscr.record.viewing import show
from openscr.spine import (
    Event,
    EventAuthor,
    LegitimateRelationship,
    ListedEvent,
    PermissionToView,
    ScrPermissionsQuery,
)
from openscr.store.interface import EventRow


@dataclass(frozen=True, slots=True)
class Standing:
    """How those who would look stand to the patient. ``protection_order``: a child protection order is in force."""

    permission: PermissionToView
    relationship: LegitimateRelationship
    protection_order: bool = False


class Relationships(Protocol):
    """Where permissions to view and legitimate relationships are kept."""

    def standing(self, query: ScrPermissionsQuery) -> Standing:
        """Return what is recorded between those of the query and its patient."""


class NothingRecorded:
    """No relationships are kept: what is asked for does not exist, and the answer says so."""

    def standing(self, query: ScrPermissionsQuery) -> Standing:
        """Return that there is nothing."""
        return _NOTHING


_NOTHING: Final = Standing(PermissionToView(), LegitimateRelationship())


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
