"""What the store keeps of privacy alerts: the alert, the steps of its life, who is told, and what must still be told.

Spec: 35 §6.1; 80 §5.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class AlertRow:
    """A privacy alert, kept for the privacy officer.

    ``source`` is ``override`` for one that we raised ourselves, else the interaction that brought it; ``details`` is
    what such a message said beside the columns, by name. ``version`` grows with every change of its state.
    Spec: 35 §6.1, 20 §10.4, 80 §5.2, §5.3.
    """

    id: str
    nhs_number: str
    type: str
    reason: str
    text: str
    raised_at: datetime
    asid: str
    organisation: str
    user_id: str | None
    role_profile_id: str | None
    job_role: str | None
    state: str = "new"
    source: str = "override"
    details: Mapping[str, str] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True, slots=True)
class AlertChange:
    """One step in the life of an alert: who took it to which state, when, and what was noted.

    ``version`` is that of the alert after it. Key: (slot, ``alert_id``, ``version``). Spec: 80 §5.3.
    """

    alert_id: str
    version: int
    changed_at: datetime
    from_state: str
    to_state: str
    note: str
    user_id: str
    role_profile_id: str
    organisation: str


@dataclass(frozen=True, slots=True)
class Subscription:
    """Who is told of an organisation's new alerts, and how: ``kind`` is ``webhook`` or ``email``.

    ``types`` are the alert types that the officer may handle; ``secret`` signs what a webhook is sent. Key: ``id``.
    Spec: 80 §5.3.
    """

    id: str
    organisation: str
    kind: str
    address: str
    secret: str
    types: tuple[str, ...]
    user_id: str
    role_profile_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Notice:
    """That somebody must be told of an alert; it names no patient and no user. Key: (slot, alert, subscription).

    An empty ``subscription_id`` says that it has still to be found out who. ``due_at`` is none once it was given up.
    Spec: 80 §5.1.
    """

    slot: int
    alert_id: str
    subscription_id: str
    organisation: str
    type: str
    created_at: datetime
    due_at: datetime | None
    attempts: int = 0
    last_error: str = ""
