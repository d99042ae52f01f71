"""Every SQL statement of the adaptor's SQLite store, written once; values are parameters.

Spec: 50 §6, E2, E4.
"""

# Every part of every statement is a constant of this module.
# ruff: noqa: S608

from typing import Final

_MESSAGE: Final = (
    "message_id, created, workflow, interaction, correlation_id, outbound_status, inbound_status, history, last_error,"
    " from_party, to_party, digest, waits_until, result_status, result_content_type, result_body"
)
_SENDING: Final = (
    "message_id, address, headers, names, retries, retry_interval, persist_duration, state, attempts,"
    " first_attempt_at, next_attempt_at, last_error, due_at, digest"
)
_RECEIPT: Final = "from_party, message_id, received_at, expires_at, answer"
_REPLY: Final = "message_id, correlation_id, received_at, body"


def _put(table: str, columns: str, key: str, *, fixed: str = "") -> str:
    """Return what inserts a row, or replaces the one with its key; ``fixed`` is for new rows alone."""
    names = [name.strip() for name in columns.split(",")]
    marks = ", ".join("?" * len(names))
    keys = {name.strip() for name in key.split(",")}
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    more, value = (f", {fixed}", ", 0") if fixed else ("", "")
    return f"INSERT INTO {table} ({columns}{more}) VALUES ({marks}{value}) ON CONFLICT ({key}) DO UPDATE SET {changes}"


# --- messages ---
FIND_MESSAGE: Final = f"SELECT {_MESSAGE} FROM message WHERE message_id = ?"
PUT_MESSAGE: Final = _put("message", _MESSAGE, "message_id")
REMOVE_MESSAGE: Final = "DELETE FROM message WHERE message_id = ?"
LIST_MESSAGES: Final = (
    f"SELECT {_MESSAGE} FROM message WHERE created >= ? AND (created, message_id) > (?, ?)"
    " ORDER BY created, message_id LIMIT ?"
)
LIST_MESSAGES_OF_STATUS: Final = " UNION ALL ".join(
    f"SELECT {_MESSAGE} FROM message WHERE {column} = ?1 AND created >= ?2 AND (created, message_id) > (?3, ?4)"
    for column in ("outbound_status", "inbound_status")
) + " ORDER BY created, message_id LIMIT ?5"  # fmt: skip

# --- what is to be sent ---
_SENDING_WITH_BODY: Final = f"SELECT {_SENDING}, body FROM sending JOIN sending_body USING (message_id)"
FIND_SENDING: Final = f"{_SENDING_WITH_BODY} WHERE message_id = ?"
SENDING_DIGEST: Final = "SELECT digest FROM sending WHERE message_id = ?"
PUT_SENDING: Final = _put("sending", _SENDING, "message_id", fixed="leased_until")
PUT_SENDING_BODY: Final = _put("sending_body", "message_id, body", "message_id")
REMOVE_SENDING: Final = "DELETE FROM sending WHERE message_id = ?"
RELEASE_SENDING: Final = "UPDATE sending SET leased_until = 0 WHERE message_id = ?"
DUE_SENDINGS: Final = (
    f"{_SENDING_WITH_BODY} WHERE state = 'open' AND due_at <= ?1 AND leased_until <= ?1"
    " ORDER BY due_at, sending.rowid LIMIT ?2"
)
HOLD_SENDING: Final = "UPDATE sending SET leased_until = ? WHERE message_id = ? AND state = 'open'"
LEASE_SENDING: Final = "UPDATE sending SET leased_until = ? WHERE message_id = ?"
FAIL_SENDING: Final = "UPDATE sending SET state = 'failed', last_error = ? WHERE message_id = ?"

# --- replies and receipts ---
FIND_REPLY: Final = f"SELECT {_REPLY} FROM reply WHERE message_id = ?"
PUT_REPLY: Final = _put("reply", _REPLY, "message_id")
REMOVE_REPLY: Final = "DELETE FROM reply WHERE message_id = ?"
OVERDUE_REPLIES: Final = (
    f"SELECT {_REPLY} FROM reply WHERE NOT EXISTS (SELECT 1 FROM message"
    " WHERE message.message_id = reply.message_id AND message.waits_until > ?)"
    " ORDER BY received_at, message_id LIMIT ?"
)
FIND_RECEIPT: Final = (
    f"SELECT {_RECEIPT} FROM inbound_receipt WHERE from_party = ? AND message_id = ? AND expires_at > ?"
)
PUT_RECEIPT: Final = _put("inbound_receipt", _RECEIPT, "from_party, message_id")

# --- the queue ---
ENQUEUE: Final = (
    "INSERT INTO queue (id, message_id, correlation_id, created_at, late, size, free_at, deliveries)"
    " VALUES (?, ?, ?, ?, ?, ?, 0, 0)"
)
ENQUEUE_BODY: Final = "INSERT INTO queue_body (sequence, body) VALUES (?, ?)"
FREE_MESSAGES: Final = (
    "SELECT sequence, size FROM queue WHERE died_at IS NULL AND free_at <= ? ORDER BY sequence LIMIT ?"
)
LEASE_MESSAGE: Final = (
    "UPDATE queue SET receipt = ?, free_at = ?, deliveries = deliveries + 1 WHERE sequence = ?"
    " RETURNING id, message_id, correlation_id, created_at, late, deliveries"
)
LEASED_BODY: Final = "SELECT body FROM queue_body WHERE sequence = ?"
BURY_DAMAGED: Final = "UPDATE queue SET died_at = ?, receipt = NULL WHERE sequence = ?"
ACKNOWLEDGE: Final = "DELETE FROM queue WHERE receipt = ?"
RELEASE: Final = (
    "UPDATE queue SET receipt = NULL, free_at = ?1, died_at = CASE WHEN deliveries >= ?2 THEN ?3 END WHERE receipt = ?4"
)
BURY: Final = (
    "UPDATE queue SET died_at = ?1, receipt = NULL WHERE died_at IS NULL AND free_at <= ?1 AND deliveries >= ?2"
    " AND deliveries > 0"
)
DEAD_LETTERS: Final = (
    "SELECT id, message_id, correlation_id, created_at, late, size, deliveries, died_at FROM queue"
    " WHERE died_at IS NOT NULL ORDER BY died_at, sequence LIMIT ?"
)
REQUEUE: Final = "UPDATE queue SET died_at = NULL, deliveries = 0, free_at = 0 WHERE id = ? AND died_at IS NOT NULL"
QUEUE_FIGURES: Final = (
    "SELECT count(*), count(CASE WHEN receipt IS NOT NULL AND free_at > ?1 THEN 1 END),"
    " min(CASE WHEN receipt IS NULL OR free_at <= ?1 THEN created_at END),"
    " (SELECT count(*) FROM queue WHERE died_at IS NOT NULL) FROM queue WHERE died_at IS NULL"
)

# --- keeping house: a number of rows at a time, so that nobody waits long ---
PURGE_MESSAGES: Final = (
    "DELETE FROM message WHERE message_id IN (SELECT message_id FROM message WHERE created < ?"
    " AND NOT EXISTS (SELECT 1 FROM reply WHERE reply.message_id = message.message_id)"
    " AND NOT EXISTS (SELECT 1 FROM sending WHERE sending.message_id = message.message_id AND state = 'open')"
    " ORDER BY created LIMIT ?) RETURNING message_id"
)
PURGE_RECEIPTS: Final = (
    "DELETE FROM inbound_receipt WHERE rowid IN (SELECT rowid FROM inbound_receipt WHERE expires_at <= ? LIMIT ?)"
)
PURGE_QUEUE: Final = (
    "DELETE FROM queue WHERE sequence IN (SELECT sequence FROM queue WHERE created_at < ?1"
    " AND (died_at IS NOT NULL OR receipt IS NULL OR free_at <= ?2) LIMIT ?3)"
)

# --- audit ---
HEAD: Final = "SELECT sequence, hash FROM chain WHERE id = 1"
MOVE_HEAD: Final = "UPDATE chain SET sequence = ?, hash = ? WHERE id = 1"
APPEND_AUDIT: Final = "INSERT INTO audit (sequence, occurred_at, content, hash) VALUES (?, ?, ?, ?)"
READ_AUDIT: Final = (
    "SELECT sequence, occurred_at, content, hash FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?"
)

# --- encryption ---
KEY_ID: Final = "SELECT key_id FROM encryption WHERE id = 1"
KEEP_KEY_ID: Final = "UPDATE encryption SET key_id = ? WHERE id = 1"
