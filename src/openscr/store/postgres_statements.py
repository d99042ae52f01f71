"""Every SQL statement of the PostgreSQL store: those of `openscr.store.statements` in the engine's own notation.

What both engines say alike is written once, there; here is only what differs. The same lint holds both.

Spec: engine.md "SQL that stays portable up to Citus".
"""

# Every part of every statement is a constant; values are parameters.
# ruff: noqa: S608

import re
from itertools import count
from typing import Final

from openscr.store import statements as shared

_PLACE = re.compile(r"\?")


def numbered(statement: str) -> str:
    """Return a statement with its parameters in PostgreSQL's notation: ``$1``, ``$2``, … in the order of values."""
    numbers = count(1)
    return _PLACE.sub(lambda _: f"${next(numbers)}", statement)


# --- hot ------------------------------------------------------------------------------------------------------------

LOCK_CHAIN: Final = "SELECT sequence, hash FROM chain WHERE slot = $1 FOR UPDATE"
"""Whoever holds the row of a slot is alone in it until the transaction ends."""

START_CHAIN: Final = "INSERT INTO chain (slot, sequence, hash) VALUES ($1, 0, $2) ON CONFLICT (slot) DO NOTHING"
MOVE_CHAIN: Final = "UPDATE chain SET sequence = $2, hash = $3 WHERE slot = $1"

OPEN_SLOT: Final = (
    "SELECT c.sequence, c.hash, c.place = s.ctid,"
    " EXISTS (SELECT 1 FROM receipt r WHERE r.slot = $1 AND r.from_party = $3 AND r.message_id = $4),"
    " EXISTS (SELECT 1 FROM receipt r WHERE r.slot = $1 AND r.nhs_number = $2 AND r.sender_asid = $5"
    " AND r.wrapper_id = ANY($6::text[]))"
    " OR EXISTS (SELECT 1 FROM receipt r WHERE r.slot = $1 AND r.nhs_number = $2 AND r.sender_asid = $5"
    " AND r.wsa_id = ANY($6::text[])),"
    " p.status, p.survivor, p.demographics, k.version, k.value,"
    " CASE WHEN $7::boolean AND $8::text[] IS NOT NULL"
    " THEN (SELECT count(*) FROM event WHERE slot = $1 AND nhs_number = $2) END,"
    f" {', '.join('e.' + column for column in shared.EVENT_COLUMNS.split(', '))}"
    " FROM (SELECT slot, sequence, hash, ctid AS place FROM chain WHERE slot = $1 FOR UPDATE) c"
    " JOIN chain s ON s.slot = $1"
    " LEFT JOIN patient p ON p.slot = $1 AND p.nhs_number = $2"
    " LEFT JOIN LATERAL (SELECT version, value FROM consent WHERE slot = $1 AND nhs_number = $2"
    " ORDER BY version DESC LIMIT 1) k ON true"
    " LEFT JOIN event e ON e.slot = $1 AND e.nhs_number = $2 AND $7::boolean"
    " AND ($8::text[] IS NULL OR e.status = 1 OR e.event_id = ANY($8::text[]))"
    " ORDER BY e.ordinal"
)
"""Locks the chain of a slot, and reads with it what is foreseen: head, known receipts, patient, consent, events.

The third column tells whether the rest can be believed: the lock may have been waited for, and what the one before has
written is not in what this statement sees. Whoever writes in a slot moves its chain.
"""

FIND_RECEIPT: Final = numbered(shared.FIND_RECEIPT)
FIND_BY_WRAPPER: Final = numbered(shared.FIND_BY_WRAPPER)
FIND_BY_WSA: Final = numbered(shared.FIND_BY_WSA)
READ_RAW: Final = numbered(shared.READ_RAW)
READ_PATIENT: Final = numbered(shared.READ_PATIENT)
READ_CONSENT: Final = numbered(shared.READ_CONSENT)
READ_EVENTS: Final = numbered(shared.READ_EVENTS)
READ_CONCERNED: Final = numbered(shared.READ_CONCERNED)
COUNT_EVENTS: Final = numbered(shared.COUNT_EVENTS)
CONSENT_HISTORY: Final = numbered(shared.CONSENT_HISTORY)
APPEND_RECEIPT: Final = numbered(shared.APPEND_RECEIPT)
APPEND_EVENT: Final = numbered(shared.APPEND_EVENT)
CHANGE_EVENT: Final = numbered(shared.CHANGE_EVENT)
APPEND_CONSENT: Final = numbered(shared.APPEND_CONSENT)
APPEND_OUTBOX: Final = numbered(shared.APPEND_OUTBOX)
CHANGE_OUTBOX: Final = numbered(shared.CHANGE_OUTBOX)
OVERRULE_OUTBOX: Final = numbered(shared.OVERRULE_OUTBOX)
# What somebody else is just taking is not waited for.
SEIZE_OUTBOX: Final = (
    "SELECT id, state, due_at FROM outbox WHERE slot = $1 AND id = ANY($2::text[]) AND holder = ''"
    " FOR UPDATE SKIP LOCKED"
)
LEASE_OUTBOX: Final = "UPDATE outbox SET holder = $1 WHERE slot = $2 AND id = ANY($3::text[])"
FAIL_DAMAGED_OUTBOX: Final = numbered(shared.FAIL_DAMAGED_OUTBOX)
REMOVE_OUTBOX: Final = numbered(shared.REMOVE_OUTBOX)
FIND_POLL: Final = numbered(shared.FIND_POLL)
POLL_OF_MESSAGE: Final = numbered(shared.POLL_OF_MESSAGE)
KEEP_POLL: Final = numbered(shared.KEEP_POLL)
FIND_STANDING: Final = numbered(shared.FIND_STANDING)
READ_STANDINGS: Final = numbered(shared.READ_STANDINGS)
APPEND_STANDING: Final = numbered(shared.APPEND_STANDING)
END_STANDING: Final = numbered(shared.END_STANDING)
APPEND_ALERT: Final = numbered(shared.APPEND_ALERT)
FIND_ALERT: Final = numbered(shared.FIND_ALERT)
CHANGE_ALERT: Final = numbered(shared.CHANGE_ALERT)
APPEND_CHANGE: Final = numbered(shared.APPEND_CHANGE)
READ_CHANGES: Final = numbered(shared.READ_CHANGES)
APPEND_NOTICE: Final = numbered(shared.APPEND_NOTICE)
CHANGE_NOTICE: Final = numbered(shared.CHANGE_NOTICE)
REMOVE_NOTICE: Final = numbered(shared.REMOVE_NOTICE)
APPEND_AUDIT: Final = numbered(shared.APPEND_AUDIT)
WRITE_PATIENT: Final = numbered(shared.WRITE_PATIENT)
READ_AUDIT: Final = numbered(shared.READ_AUDIT)

PREPARED: Final = {
    "openscr_move_chain": MOVE_CHAIN,
    "openscr_receipt": APPEND_RECEIPT,
    "openscr_event": APPEND_EVENT,
    "openscr_change_event": CHANGE_EVENT,
    "openscr_consent": APPEND_CONSENT,
    "openscr_outbox": APPEND_OUTBOX,
    "openscr_poll": KEEP_POLL,
    "openscr_standing": APPEND_STANDING,
    "openscr_alert": APPEND_ALERT,
    "openscr_alert_change": APPEND_CHANGE,
    "openscr_notice": APPEND_NOTICE,
    "openscr_audit": APPEND_AUDIT,
    "openscr_remove_outbox": REMOVE_OUTBOX,
}
"""What is prepared on every connection, by its name there: the writes of a transaction travel together."""

FORGET_SOON: Final = "SET LOCAL synchronous_commit TO off;"
"""Before what need not be on disk when it returns: to find it again after a crash of the server would do no harm."""

PREPARATION: Final = "; ".join(f"PREPARE {name} AS {statement}" for name, statement in PREPARED.items())

HOT: Final = (
    OPEN_SLOT, LOCK_CHAIN, START_CHAIN, MOVE_CHAIN, FIND_RECEIPT, FIND_BY_WRAPPER, FIND_BY_WSA, READ_RAW, READ_PATIENT,
    READ_CONSENT, READ_EVENTS, READ_CONCERNED, COUNT_EVENTS, CONSENT_HISTORY, APPEND_RECEIPT, APPEND_EVENT,
    CHANGE_EVENT, APPEND_CONSENT, APPEND_OUTBOX, CHANGE_OUTBOX, OVERRULE_OUTBOX, SEIZE_OUTBOX, LEASE_OUTBOX,
    FAIL_DAMAGED_OUTBOX, REMOVE_OUTBOX, FIND_POLL, POLL_OF_MESSAGE, KEEP_POLL, FIND_STANDING, READ_STANDINGS,
    APPEND_STANDING, END_STANDING, APPEND_ALERT, FIND_ALERT, CHANGE_ALERT, APPEND_CHANGE, READ_CHANGES, APPEND_NOTICE,
    CHANGE_NOTICE, REMOVE_NOTICE, APPEND_AUDIT, WRITE_PATIENT, READ_AUDIT,
)  # fmt: skip

# --- background -----------------------------------------------------------------------------------------------------

DUE_OUTBOX: Final = numbered(shared.DUE_OUTBOX)
NEXT_PARTY_WITH_OUTBOX: Final = numbered(shared.NEXT_PARTY_WITH_OUTBOX)
DUE_OUTBOX_OF_PARTIES: Final = (
    "SELECT due.* FROM unnest($1::text[]) AS party CROSS JOIN LATERAL"
    f" (SELECT {shared.OUTBOX_COLUMNS}, due_at, holder FROM outbox"
    " WHERE state = 'open' AND holder = $2 AND to_party = party AND due_at <= $3"
    " ORDER BY due_at, created_at LIMIT $4) AS due ORDER BY due.due_at, due.created_at LIMIT $4"
)
NEXT_HOLDER: Final = numbered(shared.NEXT_HOLDER)
FIND_OUTBOX: Final = numbered(shared.FIND_OUTBOX)
LIST_OUTBOX: Final = numbered(shared.LIST_OUTBOX)
LIST_OUTBOX_OF_STATE: Final = numbered(shared.LIST_OUTBOX_OF_STATE)
OUTBOX_FIGURES: Final = numbered(shared.OUTBOX_FIGURES)
# Two that give back the same do not wait for each other.
RELEASE_OUTBOX: Final = (
    "UPDATE outbox SET holder = '' WHERE holder = $1 AND (slot, id) IN"
    " (SELECT slot, id FROM outbox WHERE state = 'open' AND holder = $1 LIMIT $2 FOR UPDATE SKIP LOCKED)"
)
ANNOUNCE: Final = numbered(shared.ANNOUNCE)
WITHDRAW: Final = numbered(shared.WITHDRAW)
READ_INSTANCES: Final = numbered(shared.READ_INSTANCES)
END_SESSION: Final = numbered(shared.END_SESSION)
ENDED_SESSIONS: Final = numbered(shared.ENDED_SESSIONS)
REMOVE_ENDED_SESSIONS: Final = numbered(shared.REMOVE_ENDED_SESSIONS)
REMOVE_POLLS: Final = numbered(shared.REMOVE_POLLS)
SLOT_OF_ALERT: Final = numbered(shared.SLOT_OF_ALERT)
ALERTS_OF_ORGANISATION: Final = numbered(shared.ALERTS_OF_ORGANISATION)
ALERTS_OF_PERIOD: Final = numbered(shared.ALERTS_OF_PERIOD)
READ_SUBSCRIPTIONS: Final = numbered(shared.READ_SUBSCRIPTIONS)
APPEND_SUBSCRIPTION: Final = numbered(shared.APPEND_SUBSCRIPTION)
REMOVE_SUBSCRIPTION: Final = numbered(shared.REMOVE_SUBSCRIPTION)
REMOVE_ITS_NOTICES: Final = numbered(shared.REMOVE_ITS_NOTICES)
DUE_NOTICES: Final = numbered(shared.DUE_NOTICES)
POSTPONE_NOTICES: Final = numbered(shared.POSTPONE_NOTICES)
READ_NOTICES: Final = numbered(shared.READ_NOTICES)
AUDIT_FORWARDS: Final = numbered(shared.AUDIT_FORWARDS)
AUDIT_BACKWARDS: Final = numbered(shared.AUDIT_BACKWARDS)
AUDIT_OF_PATIENT: Final = numbered(shared.AUDIT_OF_PATIENT)
AUDIT_OF_PATIENT_BACKWARDS: Final = numbered(shared.AUDIT_OF_PATIENT_BACKWARDS)
READ_PATIENTS: Final = numbered(shared.READ_PATIENTS)
DIRECTORY_REVISION: Final = numbered(shared.DIRECTORY_REVISION)
READ_DIRECTORY: Final = numbered(shared.READ_DIRECTORY)
CLEAR_DIRECTORY: Final = numbered(shared.CLEAR_DIRECTORY)
WRITE_DIRECTORY: Final = numbered(shared.WRITE_DIRECTORY)
# A slot that was only looked into has a row without a hash yet.
CHAINS: Final = "SELECT slot FROM chain WHERE sequence > 0 ORDER BY slot"
HEADS: Final = "SELECT slot, sequence, hash FROM chain WHERE sequence > 0 ORDER BY slot"
MOVE_DIRECTORY_REVISION: Final = "UPDATE directory_revision SET revision = revision + 1 WHERE id = 1 RETURNING revision"
HAS_INSTANCES: Final = "SELECT pg_catalog.to_regclass('instance')::text"
NOW: Final = "SELECT (extract(epoch FROM now()) * 1000000)::bigint"


def _of_slots(statement: str, slot: str = "slot") -> str:
    """Return a statement that reads one slot as one that reads a range of them, the slot before the other columns."""
    return numbered(
        statement.replace("SELECT ", f"SELECT {slot}, ", 1)
        .replace(f"WHERE {slot} = ?", f"WHERE {slot} BETWEEN ? AND ?")
        .replace("ORDER BY ", f"ORDER BY {slot}, ")
    )


OF_SLOTS: Final = {
    "READ_CHAIN": _of_slots(shared.READ_CHAIN),
    "SLOT_AUDIT": _of_slots(shared.SLOT_AUDIT),
    "SLOT_RECEIPTS": _of_slots(shared.SLOT_RECEIPTS),
    "SLOT_EVENTS": _of_slots(shared.SLOT_EVENTS, "e.slot"),
    "SLOT_CONSENTS": _of_slots(shared.SLOT_CONSENTS),
    "SLOT_OUTBOX": _of_slots(shared.SLOT_OUTBOX),
    "SLOT_POLLS": _of_slots(shared.SLOT_POLLS),
    "SLOT_CHANGES": _of_slots(shared.SLOT_CHANGES),
    "SLOT_ALERTS": _of_slots(shared.SLOT_ALERTS),
    "SLOT_NOTICES": _of_slots(shared.SLOT_NOTICES),
    "SLOT_STANDINGS": _of_slots(shared.SLOT_STANDINGS),
}
"""What verification reads, by its name among the statements that both engines share."""

PROBE: Final = numbered(shared.PROBE)
PROBE_LARGE: Final = "UPDATE probe SET written = written + 1, padding = $1 WHERE id = 1"

BACKGROUND: Final = (
    DUE_OUTBOX, NEXT_PARTY_WITH_OUTBOX, DUE_OUTBOX_OF_PARTIES, FIND_OUTBOX, LIST_OUTBOX, LIST_OUTBOX_OF_STATE,
    OUTBOX_FIGURES, RELEASE_OUTBOX, NEXT_HOLDER, ANNOUNCE, WITHDRAW, READ_INSTANCES, END_SESSION, ENDED_SESSIONS,
    REMOVE_ENDED_SESSIONS, REMOVE_POLLS, SLOT_OF_ALERT, ALERTS_OF_ORGANISATION, ALERTS_OF_PERIOD, READ_SUBSCRIPTIONS,
    APPEND_SUBSCRIPTION, REMOVE_SUBSCRIPTION, REMOVE_ITS_NOTICES, DUE_NOTICES, POSTPONE_NOTICES, READ_NOTICES,
    AUDIT_FORWARDS, AUDIT_BACKWARDS, AUDIT_OF_PATIENT, AUDIT_OF_PATIENT_BACKWARDS, READ_PATIENTS, DIRECTORY_REVISION,
    READ_DIRECTORY, CLEAR_DIRECTORY, WRITE_DIRECTORY, CHAINS, HEADS, MOVE_DIRECTORY_REVISION, HAS_INSTANCES, NOW, PROBE,
    PROBE_LARGE, *OF_SLOTS.values(),
)  # fmt: skip
