"""Every SQL statement of the adaptor's PostgreSQL store, written once; values are parameters.

What may take several steps is one statement where it can be: each is a way to the server and back.

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
    marks = ", ".join(f"${number}" for number in range(1, len(names) + 1))
    keys = {name.strip() for name in key.split(",")}
    changes = ", ".join(f"{name} = excluded.{name}" for name in names if name not in keys)
    more, value = (f", {fixed}", ", 0") if fixed else ("", "")
    return f"INSERT INTO {table} ({columns}{more}) VALUES ({marks}{value}) ON CONFLICT ({key}) DO UPDATE SET {changes}"


def _leaving_token(change: str, parameter: int) -> str:
    """Return what changes one row, or none, and leaves a token if it did: so nobody need be in doubt of it."""
    return (
        f"WITH changed AS ({change} RETURNING 1)"
        f" INSERT INTO ending (token, committed) SELECT ${parameter}::uuid, true FROM changed"
    )


# --- messages ---
FIND_MESSAGE: Final = f"SELECT {_MESSAGE} FROM message WHERE message_id = $1"
PUT_MESSAGE: Final = _put("message", _MESSAGE, "message_id")
REMOVE_MESSAGE: Final = (
    "WITH reply_gone AS (DELETE FROM reply WHERE message_id = $1),"
    " sending_gone AS (DELETE FROM sending WHERE message_id = $1) DELETE FROM message WHERE message_id = $1"
)
LIST_MESSAGES: Final = (
    f"SELECT {_MESSAGE} FROM message WHERE created >= $1 AND (created, message_id) > ($2, $3)"
    " ORDER BY created, message_id LIMIT $4"
)
LIST_MESSAGES_OF_STATUS: Final = (
    "SELECT * FROM ("
    + " UNION ALL ".join(
        f"(SELECT {_MESSAGE} FROM message WHERE {column} = $1 AND created >= $2 AND (created, message_id) > ($3, $4)"
        " ORDER BY created, message_id LIMIT $5)"
        for column in ("outbound_status", "inbound_status")
    )
    + ") AS found ORDER BY created, message_id LIMIT $5"
)

# --- what is to be sent ---
FIND_SENDING: Final = f"SELECT {_SENDING}, body FROM sending JOIN sending_body USING (message_id) WHERE message_id = $1"
PUT_SENDING: Final = _put("sending", _SENDING, "message_id", fixed="leased_until")
PUT_SENDING_BODY: Final = _put("sending_body", "message_id, body", "message_id")
REMOVE_SENDING: Final = "DELETE FROM sending WHERE message_id = $1"
RELEASE_SENDING: Final = "UPDATE sending SET leased_until = 0 WHERE message_id = $1"
LEASE_SENDINGS: Final = (
    "WITH due AS MATERIALIZED (SELECT message_id, sequence FROM sending"
    " WHERE state = 'open' AND due_at <= $1 AND leased_until <= $1 ORDER BY due_at, sequence LIMIT $3"
    " FOR UPDATE SKIP LOCKED),"
    " leased AS (UPDATE sending SET leased_until = $2 FROM due WHERE sending.message_id = due.message_id"
    f" RETURNING {_SENDING.replace('message_id', 'sending.message_id', 1)}, sending.sequence)"
    f" SELECT {_SENDING}, body FROM leased JOIN sending_body USING (message_id) ORDER BY due_at, sequence"
)
HOLD_SENDINGS: Final = "UPDATE sending SET leased_until = $1 WHERE message_id = ANY($2::text[]) AND state = 'open'"
FAIL_SENDING: Final = "UPDATE sending SET state = 'failed', leased_until = 0, last_error = $1 WHERE message_id = $2"

# --- replies and receipts ---
FIND_REPLY: Final = f"SELECT {_REPLY} FROM reply WHERE message_id = $1"
PUT_REPLY: Final = _put("reply", _REPLY, "message_id")
REMOVE_REPLY: Final = "DELETE FROM reply WHERE message_id = $1"
OVERDUE_REPLIES: Final = (
    f"SELECT {_REPLY} FROM reply WHERE NOT EXISTS (SELECT 1 FROM message"
    " WHERE message.message_id = reply.message_id AND message.waits_until > $1)"
    " ORDER BY received_at, message_id LIMIT $2"
)
FIND_RECEIPT: Final = (
    f"SELECT {_RECEIPT} FROM inbound_receipt WHERE from_party = $1 AND message_id = $2 AND expires_at > $3"
)
PUT_RECEIPT: Final = _put("inbound_receipt", _RECEIPT, "from_party, message_id")

# --- the queue ---
ENQUEUE: Final = (
    "WITH queued AS (INSERT INTO queue (id, message_id, correlation_id, created_at, late, size, free_at, deliveries)"
    " VALUES ($1, $2, $3, $4, $5, $6, 0, 0) RETURNING sequence)"
    " INSERT INTO queue_body (sequence, body) SELECT sequence, $7::bytea FROM queued"
)
# As many of the oldest as fit together, but one always; $3 holds a fresh receipt for each.
LEASE_MESSAGES: Final = (
    "WITH free AS MATERIALIZED (SELECT sequence, size FROM queue WHERE died_at IS NULL AND free_at <= $1"
    " ORDER BY sequence LIMIT $4 FOR UPDATE SKIP LOCKED),"
    " counted AS (SELECT sequence, row_number() OVER earlier AS number, sum(size) OVER earlier AS total FROM free"
    " WINDOW earlier AS (ORDER BY sequence)),"
    " leased AS (UPDATE queue SET receipt = ($3::text[])[counted.number], free_at = $2, deliveries = deliveries + 1"
    " FROM counted WHERE queue.sequence = counted.sequence AND (counted.number = 1 OR counted.total <= $5)"
    " RETURNING queue.sequence, id, message_id, correlation_id, created_at, late, deliveries, receipt)"
    " SELECT id, message_id, correlation_id, created_at, late, deliveries, body, receipt"
    " FROM leased JOIN queue_body USING (sequence) ORDER BY sequence"
)
BURY_DAMAGED: Final = "UPDATE queue SET died_at = $1, receipt = NULL WHERE receipt = ANY($2::text[])"
ACKNOWLEDGE: Final = _leaving_token("DELETE FROM queue WHERE receipt = $1", 2)
RELEASE: Final = _leaving_token(
    "UPDATE queue SET receipt = NULL, free_at = $1, died_at = CASE WHEN deliveries >= $2 THEN $3::bigint END"
    " WHERE receipt = $4",
    5,
)
BURY: Final = (
    "WITH dying AS MATERIALIZED (SELECT sequence FROM queue WHERE died_at IS NULL AND free_at <= $1"
    " AND deliveries >= $2 AND deliveries > 0 ORDER BY sequence FOR UPDATE SKIP LOCKED)"
    " UPDATE queue SET died_at = $1, receipt = NULL FROM dying WHERE queue.sequence = dying.sequence"
)
DEAD_LETTERS: Final = (
    "SELECT id, message_id, correlation_id, created_at, late, size, deliveries, died_at FROM queue"
    " WHERE died_at IS NOT NULL ORDER BY died_at, sequence LIMIT $1"
)
REQUEUE: Final = _leaving_token(
    "UPDATE queue SET died_at = NULL, deliveries = 0, free_at = 0 WHERE id = $1 AND died_at IS NOT NULL", 2
)
QUEUE_FIGURES: Final = (
    "SELECT count(*), count(CASE WHEN receipt IS NOT NULL AND free_at > $1 THEN 1 END),"
    " min(CASE WHEN receipt IS NULL OR free_at <= $1 THEN created_at END),"
    " (SELECT count(*) FROM queue WHERE died_at IS NOT NULL) FROM queue WHERE died_at IS NULL"
)

# --- keeping house: a number of rows at a time, so that nobody waits long ---
# Messages in three steps: which may go, whose locks are free, and once more whether they may still.
_MAY_GO: Final = (
    "created < $1 AND NOT EXISTS (SELECT 1 FROM reply WHERE reply.message_id = message.message_id)"
    " AND NOT EXISTS (SELECT 1 FROM sending WHERE sending.message_id = message.message_id AND state = 'open')"
)
OLD_MESSAGES: Final = (
    f"SELECT created, message_id FROM message WHERE {_MAY_GO} AND (created, message_id) > ($2, $3)"
    " ORDER BY created, message_id LIMIT $4"
)
PURGE_MESSAGES: Final = (
    f"WITH gone AS (DELETE FROM message WHERE message_id = ANY($2::text[]) AND {_MAY_GO} RETURNING message_id),"
    " sending_gone AS (DELETE FROM sending USING gone WHERE sending.message_id = gone.message_id)"
    " SELECT count(*) FROM gone"
)
PURGE_RECEIPTS: Final = (
    "WITH expired AS MATERIALIZED (SELECT from_party, message_id FROM inbound_receipt WHERE expires_at <= $1"
    " LIMIT $2 FOR UPDATE SKIP LOCKED)"
    " DELETE FROM inbound_receipt AS kept USING expired"
    " WHERE kept.from_party = expired.from_party AND kept.message_id = expired.message_id"
)
PURGE_QUEUE: Final = (
    "WITH outlived AS MATERIALIZED (SELECT sequence FROM queue WHERE created_at < $1"
    " AND (died_at IS NOT NULL OR receipt IS NULL OR free_at <= $2) LIMIT $3 FOR UPDATE SKIP LOCKED)"
    " DELETE FROM queue USING outlived WHERE queue.sequence = outlived.sequence"
)
PURGE_ENDINGS: Final = (
    "DELETE FROM ending WHERE token IN (SELECT token FROM ending WHERE token < $1::uuid ORDER BY token LIMIT $2)"
)

# --- audit ---
HEAD: Final = "SELECT sequence, hash FROM chain WHERE id = 1"
LOCK_HEAD: Final = f"{HEAD} FOR UPDATE"
APPEND_AUDIT: Final = "INSERT INTO audit (sequence, occurred_at, content, hash) VALUES ($1, $2, $3, $4)"
MOVE_HEAD: Final = "UPDATE chain SET sequence = $1, hash = $2 WHERE id = 1"
READ_AUDIT: Final = (
    "SELECT sequence, occurred_at, content, hash FROM audit WHERE sequence > $1 ORDER BY sequence LIMIT $2"
)

# --- the store itself ---
KEY_ID: Final = "SELECT key_id FROM encryption WHERE id = 1"
LOCK_KEY_ID: Final = f"{KEY_ID} FOR UPDATE"
KEEP_KEY_ID: Final = "UPDATE encryption SET key_id = $1 WHERE id = 1"
LOCK: Final = "SELECT pg_advisory_xact_lock($1)"
TRY_LOCKS: Final = (
    "SELECT message_id FROM unnest($1::bigint[], $2::text[]) AS wanted (lock, message_id)"
    " WHERE pg_try_advisory_xact_lock(lock)"
)
LEAVE_TOKEN: Final = "INSERT INTO ending (token, committed) VALUES ($1::uuid, true)"  # noqa: S105 no password
GIVE_UP: Final = "INSERT INTO ending (token, committed) VALUES ($1::uuid, false) ON CONFLICT (token) DO NOTHING"
HAS_COMMITTED: Final = "SELECT committed FROM ending WHERE token = $1::uuid"
PROBE: Final = "UPDATE probe SET written = written + 1 WHERE id = 1"
PROBE_LARGE: Final = "UPDATE probe SET padding = $1 WHERE id = 1"
TELL: Final = "SELECT pg_notify($1, word) FROM unnest($2::text[]) AS told (word)"

PREPARED: Final = {
    "mhs_put_message": PUT_MESSAGE,
    "mhs_remove_message": REMOVE_MESSAGE,
    "mhs_put_sending": PUT_SENDING,
    "mhs_put_sending_body": PUT_SENDING_BODY,
    "mhs_remove_sending": REMOVE_SENDING,
    "mhs_release_sending": RELEASE_SENDING,
    "mhs_put_reply": PUT_REPLY,
    "mhs_remove_reply": REMOVE_REPLY,
    "mhs_put_receipt": PUT_RECEIPT,
    "mhs_enqueue": ENQUEUE,
    "mhs_append_audit": APPEND_AUDIT,
    "mhs_move_head": MOVE_HEAD,
    "mhs_leave_token": LEAVE_TOKEN,
}
"""What a transaction writes, by the names under which every connection has it ready."""

PREPARATION: Final = ";".join(
    (
        # Others wait for the keys of a transaction of which the server hears no more.
        "SET idle_in_transaction_session_timeout = 3000",
        *(f"PREPARE {name} AS {statement}" for name, statement in PREPARED.items()),
    )
)
