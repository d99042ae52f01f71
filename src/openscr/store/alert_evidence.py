"""Digests of alerts and of the steps of their life: they stand in the audit, whose chain nobody changes unseen.

An alert that was changed, taken away or closed behind the store's back no longer fits what the chain says of it.

Spec: 35 §7; 80 §5.3.
"""

from dataclasses import replace
from hashlib import sha256
from typing import Final

import msgspec

from openscr.store.alert_records import AlertChange, AlertRow
from openscr.store.alert_rows import alert_values, change_values

ALERT_DIGEST: Final = "alert_digest"
CHANGE_DIGEST: Final = "alert_change_digest"
"""What the digests are called in a row of the audit; ``alert`` beside them is the alert's id."""

NEW: Final = "new"
"""The state of an alert that nobody has touched."""


def alert_digest(alert: AlertRow) -> str:
    """Return the digest of everything about an alert that never changes (SHA-256, hexadecimal)."""
    return _digest(alert_values(replace(alert, state=NEW, version=1)))


def change_digest(change: AlertChange) -> str:
    """Return the digest of a step in an alert's life, its note included (SHA-256, hexadecimal)."""
    return _digest(change_values(change))


def _digest(values: tuple[object, ...]) -> str:
    return sha256(msgspec.json.encode(values)).hexdigest()
