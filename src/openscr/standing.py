"""How people stand to a patient: permission to view, and legitimate relationship, as records that end.

A permission says that the patient agreed to be looked at (or could not be asked, in an emergency); a relationship that
somebody is involved in the patient's care. Both belong to a role profile, an organisation or a workgroup, and hold for
a time. `openscr.record.standings` answers these verbs; faces are written against this module alone.

Spec: 35 §6, §9.4; 70 §9 "Permission to view model"; 80 §3, §4; 20 §10.1.
"""

import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

from openscr.spine import Caller, MessageIds, Outcome


class HolderKind(StrEnum):
    """Whose a permission or a relationship is. Spec: 70 §9, 35 §6."""

    ROLE_PROFILE = "role_profile"
    ORGANISATION = "organisation"
    WORKGROUP = "workgroup"


class StandingKind(StrEnum):
    """What is recorded. Spec: 35 §6."""

    PERMISSION = "permission"
    RELATIONSHIP = "relationship"


class Basis(StrEnum):
    """Why a permission holds: the patient was asked, or could not be. Spec: 80 §4."""

    ASKED = "asked"
    EMERGENCY = "emergency"


SELF_CLAIMED: Final = "08"
"""Reason of a relationship that somebody claims for himself. Spec: 35 §6."""

RELATIONSHIP_REASONS: Final = {
    "01": "Subject Access Request",
    "02": "Responding to Patient Complaint",
    "03": "Granted to Colleague by User",
    "04": "Express consent",
    "05": "Court Order",
    "06": "Referral",
    "07": "Patient Registration",
    SELF_CLAIMED: "Self Claimed Relationship",
    "09": "Patient Self-referral",
    "10": "Other",
    "11": "General Practice Registration",
}
"""Why somebody is involved in a patient's care: system 2.16.840.1.113883.2.1.3.2.4.16.11. Spec: 35 §6."""

EXPRESS_CONSENT: Final = "04"


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose it is: a role profile id, an ODS code or a workgroup id."""

    kind: HolderKind
    id: str


@dataclass(frozen=True, slots=True)
class PermissionRequest:
    """Record that a patient may be looked at.

    ``scope`` is whom the permission is for: the acting role profile, or everybody of its organisation. With the basis
    ``EMERGENCY`` nobody was asked: ``text`` says why, and an alert is raised. ``starts_at`` is now when it is none,
    ``hours`` what is usual. ``ids.message_id`` is the idempotency key. Spec: 70 §6.4, §9; 80 §4.
    """

    ids: MessageIds
    nhs_number: str
    scope: HolderKind = HolderKind.ROLE_PROFILE
    basis: Basis = Basis.ASKED
    reason: str = EXPRESS_CONSENT
    text: str = ""
    starts_at: datetime | None = None
    hours: float | None = None


@dataclass(frozen=True, slots=True)
class RelationshipRequest:
    """Record that somebody is involved in a patient's care, or claim it for oneself.

    ``holder`` is none for the acting role profile: that is a claim, whatever the reason, and raises an alert of type 1
    with ``alert_reason``. Without ``hours`` the relationship has no end. ``ids.message_id`` is the idempotency key.
    Spec: 35 §6, §6.1.
    """

    ids: MessageIds
    nhs_number: str
    holder: Holder | None = None
    reason: str = SELF_CLAIMED
    alert_reason: str = "6"
    text: str = ""
    starts_at: datetime | None = None
    hours: float | None = None

    @property
    def claimed(self) -> bool:
        """Whether somebody claims it for himself."""
        return self.holder is None or self.reason == SELF_CLAIMED


@dataclass(frozen=True, slots=True)
class StandingEnd:
    """End one permission or relationship before its time. ``record_id`` is what recording it answered."""

    ids: MessageIds
    nhs_number: str
    record_id: str


@dataclass(frozen=True, slots=True)
class StandingQuery:
    """Ask what is in force between the acting role and a patient. Spec: 70 §6.3."""

    ids: MessageIds
    nhs_number: str


@dataclass(frozen=True, slots=True)
class StandingRecord:
    """One permission or relationship. ``ends_at`` is none for one without an end. Spec: 70 §9."""

    kind: StandingKind
    id: str
    holder: Holder
    reason: str
    starts_at: datetime
    ends_at: datetime | None = None
    emergency: bool = False
    claimed: bool = False


@dataclass(frozen=True, slots=True)
class RecordedOutcome:
    """What became of a request to record something: the record, or a refusal. ``repeated``: it was there before."""

    outcome: Outcome
    record: StandingRecord | None = None
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class StandingOutcome:
    """What is in force between the acting role and the patient, or a refusal.

    ``registered``: the patient is registered where the role works, which is a relationship and needs no permission.
    Spec: 20 §10.1.
    """

    outcome: Outcome
    permission: StandingRecord | None = None
    relationship: StandingRecord | None = None
    registered: bool = False


LEAST_HOURS: Final = 1.0
MOST_HOURS: Final = 365 * 24.0
"""How long a permission or a relationship may be asked to hold. Spec: 70 §9."""

_MOST_TEXT: Final = 200
_LEAST_EMERGENCY_TEXT: Final = 10
_AHEAD: Final = timedelta(seconds=60)
_LONG_AGO: Final = timedelta(days=150 * 365)
"""A relationship may have begun with its patient's life, and no patient is older."""

_LINES: Final = frozenset("\n\r\t")
_NO_TEXT: Final = frozenset({"Cc", "Cs", "Co", "Cn"})
_TURNS: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that show a text in another order than it was written in."""

_CLAIM_ALERT_REASONS: Final = frozenset({"1", "2", "3", "4", "6"})


def mistakes(request: PermissionRequest | RelationshipRequest, now: datetime) -> tuple[str, ...]:
    """Return what is wrong with a request, in words for whoever sent it; never with a value of it.

    A reason for an emergency has 10 to 200 characters that can be seen, any other text 200 at most; a start is not in
    the future by more than a minute, nor before anybody's birth; a relationship's alert has a reason that its type
    allows. Spec: 70 §6.4, §9; 80 §4; 35 §6.1.
    """
    found = []
    text = request.text.strip()
    if len(text) > _MOST_TEXT:
        found.append(f"the text has more than {_MOST_TEXT} characters")
    if not all(map(_is_text, text)):
        found.append("the text holds control characters")
    if request.reason not in RELATIONSHIP_REASONS:
        found.append(f"the reason is none of {', '.join(RELATIONSHIP_REASONS)}")
    if request.hours is not None and not LEAST_HOURS <= request.hours <= MOST_HOURS:
        found.append(f"it can hold between {LEAST_HOURS:.0f} and {MOST_HOURS:.0f} hours")
    if request.starts_at is not None and request.starts_at > now + _AHEAD:
        found.append("it starts in the future")
    if request.starts_at is not None and request.starts_at < now - _LONG_AGO:
        found.append("it starts longer ago than anybody lives")
    if isinstance(request, PermissionRequest):
        if request.scope is HolderKind.WORKGROUP:
            found.append("a permission is for a role profile or for its organisation")
        if request.basis is Basis.EMERGENCY and request.scope is not HolderKind.ROLE_PROFILE:
            found.append("an emergency is for who acts in it, not for an organisation")
        if request.basis is Basis.EMERGENCY and _visible(text) < _LEAST_EMERGENCY_TEXT:
            found.append(f"an emergency needs a reason of at least {_LEAST_EMERGENCY_TEXT} characters")
    elif request.claimed and request.alert_reason not in _CLAIM_ALERT_REASONS:
        found.append("the alert of a claim has reason 1, 2, 3, 4 or 6")
    return tuple(found)


def _is_text(character: str) -> bool:
    return character in _LINES or (unicodedata.category(character) not in _NO_TEXT and character not in _TURNS)


def _visible(text: str) -> int:
    """Return how many characters of a text take up room: ten that nobody sees are no reason."""
    return sum(unicodedata.category(character) != "Cf" for character in text)


class Standings(Protocol):
    """A service that keeps permissions to view and legitimate relationships."""

    async def record_permission(self, caller: Caller, request: PermissionRequest) -> RecordedOutcome:
        """Record a permission to view, or say why not. Spec: 70 §9."""

    async def record_relationship(self, caller: Caller, request: RelationshipRequest) -> RecordedOutcome:
        """Record or claim a legitimate relationship, or say why not. Spec: 35 §6."""

    async def end(self, caller: Caller, request: StandingEnd) -> Outcome:
        """End one of them before its time."""

    async def standing(self, caller: Caller, query: StandingQuery) -> StandingOutcome:
        """Say what is in force between the acting role and a patient. Spec: 70 §6.3."""
