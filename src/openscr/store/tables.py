"""What a store's tables are, the same on every engine: names, columns, and which of them lie in slots.

For what goes from one store to another whole: copies between engines, backups. What belongs to one installation alone
(who runs on the store, whether it can be written) is none of it.

Spec: architecture.md "Data"; engine.md "The shape that makes it work".
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from openscr.store.statements import (
    ALERT_COLUMNS,
    CHANGE_COLUMNS,
    CONSENT_COLUMNS,
    EVENT_COLUMNS,
    NOTICE_COLUMNS,
    OUTBOX_COLUMNS,
    POLL_COLUMNS,
    RECEIPT_COLUMNS,
    STANDING_COLUMNS,
    SUBSCRIPTION_COLUMNS,
)

# A backup brings tables of its own; their names end up in statements.
Name = Annotated[str, Meta(pattern=r"^[a-z][a-z_]{0,62}\Z")]


class Table(msgspec.Struct, frozen=True):
    """A table: its columns in the order of its rows, whether it lies in slots, whether its rows may hold messages."""

    name: Name
    columns: tuple[Name, ...]
    of_slots: bool = True
    large: bool = False


def _columns(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


def _of_slots(name: str, columns: str, *, large: bool = False) -> Table:
    return Table(name, ("slot", *_columns(columns)), large=large)


RECEIPT: Final = _of_slots("receipt", RECEIPT_COLUMNS, large=True)
CHAIN: Final = Table("chain", ("slot", "sequence", "hash"))
DIRECTORY_REVISION: Final = Table("directory_revision", ("id", "revision"), of_slots=False)

TABLES: Final = (
    Table("directory", ("kind", "key", "content"), of_slots=False),
    DIRECTORY_REVISION,
    Table("subscription", _columns(SUBSCRIPTION_COLUMNS), of_slots=False),
    Table("ended_session", ("session", "ended_at", "kept_until"), of_slots=False),
    # What an event refers to comes before it.
    RECEIPT,
    _of_slots("event", f"ordinal, {EVENT_COLUMNS}", large=True),
    _of_slots("consent", CONSENT_COLUMNS),
    # Who sends it is for the installation to decide in which it lies: everybody may.
    Table("outbox", _columns(f"{OUTBOX_COLUMNS}, due_at"), large=True),
    _of_slots("poll", POLL_COLUMNS, large=True),
    _of_slots("alert", ALERT_COLUMNS),
    _of_slots("alert_change", CHANGE_COLUMNS),
    Table("notice", _columns(NOTICE_COLUMNS)),
    _of_slots("standing", STANDING_COLUMNS),
    _of_slots("patient", "nhs_number, status, survivor, demographics"),
    CHAIN,
    _of_slots("audit", "sequence, occurred_at, nhs_number, content, hash"),
)
"""Every table that is copied, in an order in which its rows can be written."""

MADE: Final = {"chain": ("slot", "sequence > 0"), "directory_revision": ("id", "revision > 0")}
"""Tables that a new store has rows in already: their key, and what holds for a row once it means something."""

LEFT_BEHIND: Final = frozenset({"alembic_version", "instance", "probe", "outbox.holder"})
"""Tables and columns that say something of one installation only."""
