"""Every SQL statement of the SQLite store, written once.

`HOT` are the statements of a request: each names one slot as a parameter, so that the same shape runs on one node of a
distributed engine. `BACKGROUND` are those of operations and reports. All of them keep to what `engine.md` allows on
every engine: values come from the client, nothing depends on identity values, no triggers.

Spec: engine.md "SQL that stays portable up to Citus".
"""

# Every part of every statement is a constant of this module; values are parameters.
# ruff: noqa: S608

from typing import Final

RECEIPT_COLUMNS: Final = (
    "from_party, message_id, interaction, received_at, payload_offset, payload_length, encoding, signal, signal_status,"
    " ack, digest, nhs_number, sender_asid, wrapper_id, wsa_id, raw"
)
EVENT_COLUMNS: Final = (
    "nhs_number, event_id, event_type, interaction, status, effective_time, stored_at, sender_asid, from_party,"
    " message_id, wrapper_id, document_offset, document_length, name_length, declarations, author, details,"
    " replaced_by, withdrawn_by, withdrawal_reason, withdrawal_text, withdrawn_at, withdrawer"
)
CONSENT_COLUMNS: Final = (
    "nhs_number, version, value, set_at, asid, organisation, role_profile_id, user_id, job_role, message_id, wsa_id,"
    " source"
)
OUTBOX_COLUMNS: Final = (
    "slot, id, to_party, service, interaction, conversation_id, ref_to_message_id, created_at, answer, state,"
    " content_type, soap_action, body, attempts, next_attempt_at, first_attempt_at, last_error"
)
POLL_COLUMNS: Final = "token, from_party, message_id, asid, sender_asid, expires_at, content"
ALERT_COLUMNS: Final = (
    "id, nhs_number, type, reason, text, raised_at, asid, organisation, user_id, role_profile_id, job_role, state,"
    " source, details, version"
)
STANDING_COLUMNS: Final = (
    "id, nhs_number, kind, holder_kind, holder, basis, reason, text, starts_at, ends_at, recorded_at, asid,"
    " organisation, user_id, role_profile_id, job_role, ended_at, ended_by"
)
CHANGE_COLUMNS: Final = (
    "alert_id, version, changed_at, from_state, to_state, note, user_id, role_profile_id, organisation"
)
SUBSCRIPTION_COLUMNS: Final = "id, organisation, kind, address, secret, types, user_id, role_profile_id, created_at"
NOTICE_COLUMNS: Final = "slot, alert_id, subscription_id, organisation, type, created_at, due_at, attempts, last_error"

# --- hot ------------------------------------------------------------------------------------------------------------

FIND_RECEIPT: Final = f"SELECT {RECEIPT_COLUMNS} FROM receipt WHERE slot = ? AND from_party = ? AND message_id = ?"
FIND_BY_WRAPPER: Final = (
    f"SELECT {RECEIPT_COLUMNS} FROM receipt WHERE slot = ? AND nhs_number = ? AND sender_asid = ? AND wrapper_id = ?"
    " ORDER BY received_at LIMIT 8"
)
FIND_BY_WSA: Final = (
    f"SELECT {RECEIPT_COLUMNS} FROM receipt WHERE slot = ? AND nhs_number = ? AND sender_asid = ? AND wsa_id = ?"
    " ORDER BY received_at LIMIT 8"
)
READ_RAW: Final = (
    "SELECT raw, payload_offset, payload_length, encoding FROM receipt"
    " WHERE slot = ? AND from_party = ? AND message_id = ?"
)
READ_PATIENT: Final = "SELECT status, survivor, demographics FROM patient WHERE slot = ? AND nhs_number = ?"
READ_CONSENT: Final = (
    "SELECT version, value FROM consent WHERE slot = ? AND nhs_number = ? ORDER BY version DESC LIMIT 1"
)
READ_EVENTS: Final = f"SELECT {EVENT_COLUMNS} FROM event WHERE slot = ? AND nhs_number = ? ORDER BY ordinal"
# Who has a current event has one; an upload names its own and the one that it replaces.
READ_CONCERNED: Final = (
    f"SELECT {EVENT_COLUMNS} FROM event WHERE slot = ? AND nhs_number = ? AND (status = 1 OR event_id IN (?, ?))"
    " ORDER BY ordinal"
)
COUNT_EVENTS: Final = "SELECT count(*) FROM event WHERE slot = ? AND nhs_number = ?"
CONSENT_HISTORY: Final = f"SELECT {CONSENT_COLUMNS} FROM consent WHERE slot = ? AND nhs_number = ? ORDER BY version"
READ_CHAIN: Final = "SELECT sequence, hash FROM chain WHERE slot = ?"

APPEND_RECEIPT: Final = (
    f"INSERT INTO receipt (slot, {RECEIPT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
APPEND_EVENT: Final = (
    f"INSERT INTO event (slot, ordinal, {EVENT_COLUMNS})"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
CHANGE_EVENT: Final = (
    "UPDATE event SET status = ?, replaced_by = ?, withdrawn_by = ?, withdrawal_reason = ?, withdrawal_text = ?,"
    " withdrawn_at = ?, withdrawer = ? WHERE slot = ? AND nhs_number = ? AND event_id = ?"
)
APPEND_CONSENT: Final = f"INSERT INTO consent (slot, {CONSENT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
APPEND_OUTBOX: Final = (
    f"INSERT INTO outbox ({OUTBOX_COLUMNS}, due_at, holder)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
CHANGE_OUTBOX: Final = (
    "UPDATE outbox SET state = ?, content_type = ?, soap_action = ?, body = ?, attempts = ?, next_attempt_at = ?,"
    " first_attempt_at = ?, last_error = ?, due_at = ?, holder = ? WHERE slot = ? AND id = ? AND holder = ?"
)
# Overrules whoever has the row: a refusal that arrives at another worker than the one that sends.
OVERRULE_OUTBOX: Final = CHANGE_OUTBOX.removesuffix(" AND holder = ?")
LEASE_OUTBOX: Final = "UPDATE outbox SET holder = ? WHERE slot = ? AND id = ? AND holder = ''"
# The id comes as the bytes that are stored: in a damaged row they need not be text.
FAIL_DAMAGED_OUTBOX: Final = (
    "UPDATE outbox SET state = ?, next_attempt_at = ?, last_error = ?, holder = ''"
    " WHERE slot = ? AND id = CAST(? AS TEXT)"
)
REMOVE_OUTBOX: Final = "DELETE FROM outbox WHERE slot = ? AND id = ?"
FIND_POLL: Final = f"SELECT {POLL_COLUMNS} FROM poll WHERE slot = ? AND token = ?"
POLL_OF_MESSAGE: Final = f"SELECT {POLL_COLUMNS} FROM poll WHERE slot = ? AND from_party = ? AND message_id = ?"
KEEP_POLL: Final = (
    f"INSERT INTO poll (slot, {POLL_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (slot, from_party, message_id) DO UPDATE SET token = excluded.token, asid = excluded.asid,"
    " sender_asid = excluded.sender_asid, expires_at = excluded.expires_at, content = excluded.content"
)
FIND_STANDING: Final = f"SELECT {STANDING_COLUMNS} FROM standing WHERE slot = ? AND id = ?"
READ_STANDINGS: Final = (
    f"SELECT {STANDING_COLUMNS} FROM standing WHERE slot = ? AND nhs_number = ? AND ended_at IS NULL"
    " AND (ends_at IS NULL OR ends_at > ?) ORDER BY recorded_at DESC, id"
)
APPEND_STANDING: Final = (
    f"INSERT INTO standing (slot, {STANDING_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
END_STANDING: Final = "UPDATE standing SET ended_at = ?, ended_by = ? WHERE slot = ? AND id = ?"
APPEND_ALERT: Final = (
    f"INSERT INTO alert (slot, {ALERT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
FIND_ALERT: Final = f"SELECT {ALERT_COLUMNS} FROM alert WHERE slot = ? AND id = ?"
CHANGE_ALERT: Final = "UPDATE alert SET state = ?, version = ? WHERE slot = ? AND id = ? AND state = ? AND version = ?"
APPEND_CHANGE: Final = f"INSERT INTO alert_change (slot, {CHANGE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
READ_CHANGES: Final = f"SELECT {CHANGE_COLUMNS} FROM alert_change WHERE slot = ? AND alert_id = ? ORDER BY version"
APPEND_NOTICE: Final = f"INSERT INTO notice ({NOTICE_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
CHANGE_NOTICE: Final = (
    "UPDATE notice SET due_at = ?, attempts = ?, last_error = ? WHERE slot = ? AND alert_id = ? AND subscription_id = ?"
)
REMOVE_NOTICE: Final = "DELETE FROM notice WHERE slot = ? AND alert_id = ? AND subscription_id = ?"
MOVE_CHAIN: Final = (
    "INSERT INTO chain (slot, sequence, hash) VALUES (?, ?, ?)"
    " ON CONFLICT (slot) DO UPDATE SET sequence = excluded.sequence, hash = excluded.hash"
)
APPEND_AUDIT: Final = (
    "INSERT INTO audit (slot, sequence, occurred_at, nhs_number, content, hash) VALUES (?, ?, ?, ?, ?, ?)"
)
WRITE_PATIENT: Final = (
    "INSERT INTO patient (slot, nhs_number, status, survivor, demographics) VALUES (?, ?, ?, ?, ?)"
    " ON CONFLICT (slot, nhs_number) DO UPDATE"
    " SET status = excluded.status, survivor = excluded.survivor, demographics = excluded.demographics"
)
READ_AUDIT: Final = (
    "SELECT slot, sequence, occurred_at, nhs_number, content, hash FROM audit"
    " WHERE slot = ? AND sequence > ? ORDER BY sequence LIMIT ?"
)
SLOT_AUDIT: Final = (
    "SELECT sequence, occurred_at, nhs_number, content, hash FROM audit WHERE slot = ? ORDER BY sequence"
)
SLOT_RECEIPTS: Final = (
    "SELECT message_id, payload_offset, payload_length, encoding, digest, signal, raw FROM receipt WHERE slot = ?"
)
SLOT_EVENTS: Final = (
    f"SELECT {', '.join('e.' + column for column in EVENT_COLUMNS.split(', '))},"
    " r.raw, r.payload_offset, r.payload_length, r.encoding, s.nhs_number"
    " FROM event e"
    " LEFT JOIN receipt r ON r.slot = e.slot AND r.from_party = e.from_party AND r.message_id = e.message_id"
    " LEFT JOIN event s ON s.slot = e.slot AND s.nhs_number = e.nhs_number AND s.event_id = e.replaced_by"
    " WHERE e.slot = ? ORDER BY e.nhs_number, e.ordinal"
)
SLOT_CONSENTS: Final = f"SELECT {CONSENT_COLUMNS} FROM consent WHERE slot = ? ORDER BY nhs_number, version"
SLOT_OUTBOX: Final = f"SELECT {OUTBOX_COLUMNS} FROM outbox WHERE slot = ? ORDER BY id"
SLOT_POLLS: Final = f"SELECT {POLL_COLUMNS} FROM poll WHERE slot = ? ORDER BY from_party, message_id"
SLOT_ALERTS: Final = f"SELECT {ALERT_COLUMNS} FROM alert WHERE slot = ? ORDER BY id"
SLOT_STANDINGS: Final = f"SELECT {STANDING_COLUMNS} FROM standing WHERE slot = ? ORDER BY id"
SLOT_CHANGES: Final = f"SELECT {CHANGE_COLUMNS} FROM alert_change WHERE slot = ? ORDER BY alert_id, version"
SLOT_NOTICES: Final = f"SELECT {NOTICE_COLUMNS} FROM notice WHERE slot = ? ORDER BY alert_id, subscription_id"

HOT: Final = (
    FIND_RECEIPT, FIND_BY_WRAPPER, FIND_BY_WSA, READ_RAW, READ_PATIENT, READ_CONSENT, READ_EVENTS, READ_CONCERNED,
    COUNT_EVENTS,
    CONSENT_HISTORY, READ_CHAIN, APPEND_RECEIPT, APPEND_EVENT, CHANGE_EVENT, APPEND_CONSENT, APPEND_OUTBOX,
    CHANGE_OUTBOX, OVERRULE_OUTBOX, LEASE_OUTBOX, FAIL_DAMAGED_OUTBOX, REMOVE_OUTBOX, FIND_POLL, POLL_OF_MESSAGE,
    KEEP_POLL, APPEND_ALERT,
    FIND_ALERT, CHANGE_ALERT, APPEND_CHANGE, READ_CHANGES, APPEND_NOTICE, CHANGE_NOTICE, REMOVE_NOTICE, SLOT_CHANGES,
    SLOT_NOTICES,
    MOVE_CHAIN, APPEND_AUDIT, WRITE_PATIENT,
    READ_AUDIT, SLOT_AUDIT, SLOT_RECEIPTS, SLOT_EVENTS, SLOT_CONSENTS, SLOT_OUTBOX, SLOT_POLLS, SLOT_ALERTS,
    FIND_STANDING, READ_STANDINGS, APPEND_STANDING, END_STANDING, SLOT_STANDINGS,
)  # fmt: skip

# --- background -----------------------------------------------------------------------------------------------------

DUE_OUTBOX: Final = (
    f"SELECT {OUTBOX_COLUMNS}, due_at, holder FROM outbox WHERE state = 'open' AND holder = ? AND due_at <= ?"
    " ORDER BY due_at, created_at LIMIT ?"
)
# Party by party: one that has very many rows is stepped over with one look at its first.
NEXT_PARTY_WITH_OUTBOX: Final = (
    "SELECT to_party, due_at FROM outbox WHERE state = 'open' AND holder = ? AND to_party > CAST(? AS TEXT)"
    " ORDER BY to_party, due_at LIMIT 1"
)
DUE_OUTBOX_OF_PARTY: Final = (
    f"SELECT {OUTBOX_COLUMNS}, due_at, holder FROM outbox"
    " WHERE state = 'open' AND holder = ? AND to_party = CAST(? AS TEXT) AND due_at <= ?"
    " ORDER BY due_at, created_at LIMIT ?"
)
# The slot is found in the key's index alone, without touching the rows and their bodies.
FIND_OUTBOX: Final = (
    f"SELECT {OUTBOX_COLUMNS} FROM outbox WHERE slot = (SELECT slot FROM outbox WHERE id = ? LIMIT 1) AND id = ?"
)
LIST_OUTBOX: Final = f"SELECT {OUTBOX_COLUMNS} FROM outbox ORDER BY created_at, id"
LIST_OUTBOX_OF_STATE: Final = f"SELECT {OUTBOX_COLUMNS} FROM outbox WHERE state = ? ORDER BY created_at, id"
OUTBOX_FIGURES: Final = "SELECT state, count(*), min(created_at) FROM outbox GROUP BY state"
# So many at a time; who leases one of them meanwhile keeps it.
RELEASE_OUTBOX: Final = (
    "UPDATE outbox SET holder = '' WHERE holder = ? AND (slot, id) IN"
    " (SELECT slot, id FROM outbox WHERE state = 'open' AND holder = ? LIMIT ?)"
)
NEXT_HOLDER: Final = "SELECT holder FROM outbox WHERE state = 'open' AND holder > ? ORDER BY holder LIMIT 1"
ANNOUNCE: Final = (
    "INSERT INTO instance (holder, program, started_at, seen_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (holder) DO UPDATE SET program = excluded.program, started_at = excluded.started_at,"
    " seen_at = excluded.seen_at"
)
WITHDRAW: Final = "DELETE FROM instance WHERE holder = ?"
READ_INSTANCES: Final = "SELECT holder, program, started_at, seen_at FROM instance ORDER BY started_at, holder"
END_SESSION: Final = (
    "INSERT INTO ended_session (session, ended_at, kept_until) VALUES (?, ?, ?) ON CONFLICT (session) DO NOTHING"
)
ENDED_SESSIONS: Final = "SELECT session, kept_until FROM ended_session WHERE ended_at >= ?"
REMOVE_ENDED_SESSIONS: Final = "DELETE FROM ended_session WHERE kept_until <= ?"
REMOVE_POLLS: Final = "DELETE FROM poll WHERE expires_at <= ?"
CHAINS: Final = "SELECT slot FROM chain ORDER BY slot"
# The slot is found in an index of ids: alerts are few.
SLOT_OF_ALERT: Final = "SELECT slot FROM alert WHERE id = ? LIMIT 1"
ALERTS_OF_ORGANISATION: Final = (
    f"SELECT {ALERT_COLUMNS} FROM alert WHERE organisation = ? AND raised_at >= ? AND raised_at < ?"
    " ORDER BY raised_at, id"
)
ALERTS_OF_PERIOD: Final = (
    f"SELECT {ALERT_COLUMNS} FROM alert WHERE raised_at >= ? AND raised_at < ? ORDER BY raised_at, id"
)
READ_SUBSCRIPTIONS: Final = f"SELECT {SUBSCRIPTION_COLUMNS} FROM subscription ORDER BY created_at, id"
APPEND_SUBSCRIPTION: Final = f"INSERT INTO subscription ({SUBSCRIPTION_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
REMOVE_SUBSCRIPTION: Final = "DELETE FROM subscription WHERE id = ?"
REMOVE_ITS_NOTICES: Final = "DELETE FROM notice WHERE subscription_id = ?"
DUE_NOTICES: Final = f"SELECT {NOTICE_COLUMNS} FROM notice WHERE due_at <= ? ORDER BY due_at"
POSTPONE_NOTICES: Final = "UPDATE notice SET due_at = ? WHERE subscription_id = ? AND due_at < ?"
READ_NOTICES: Final = f"SELECT {NOTICE_COLUMNS} FROM notice ORDER BY created_at, alert_id, subscription_id"
AUDIT_FORWARDS: Final = (
    "SELECT slot, sequence, occurred_at, nhs_number, content, hash FROM audit"
    " WHERE (occurred_at, slot, sequence) > (?, ?, ?) AND occurred_at < ?"
    " ORDER BY occurred_at, slot, sequence LIMIT ?"
)
AUDIT_BACKWARDS: Final = (
    "SELECT slot, sequence, occurred_at, nhs_number, content, hash FROM audit"
    " WHERE (occurred_at, slot, sequence) < (?, ?, ?) AND occurred_at >= ?"
    " ORDER BY occurred_at DESC, slot DESC, sequence DESC LIMIT ?"
)
# The number has no index of its own: it would be written all over the file by every request, and a chain is short.
AUDIT_OF_PATIENT: Final = (
    "SELECT slot, sequence, occurred_at, nhs_number, content, hash FROM audit"
    " WHERE slot = ? AND sequence > ? AND nhs_number = ? AND occurred_at >= ? AND occurred_at < ?"
    " ORDER BY sequence LIMIT ?"
)
AUDIT_OF_PATIENT_BACKWARDS: Final = (
    "SELECT slot, sequence, occurred_at, nhs_number, content, hash FROM audit"
    " WHERE slot = ? AND sequence < ? AND nhs_number = ? AND occurred_at >= ? AND occurred_at < ?"
    " ORDER BY sequence DESC LIMIT ?"
)
HEADS: Final = "SELECT slot, sequence, hash FROM chain ORDER BY slot"
READ_PATIENTS: Final = "SELECT nhs_number, status, survivor, demographics FROM patient ORDER BY nhs_number"
DIRECTORY_REVISION: Final = "SELECT revision FROM directory_revision WHERE id = 1"
MOVE_DIRECTORY_REVISION: Final = "UPDATE directory_revision SET revision = revision + 1 WHERE id = 1"
READ_DIRECTORY: Final = "SELECT kind, key, content FROM directory ORDER BY kind, key"
CLEAR_DIRECTORY: Final = "DELETE FROM directory"
WRITE_DIRECTORY: Final = (
    "INSERT INTO directory (kind, key, content) VALUES (?, ?, ?)"
    " ON CONFLICT (kind, key) DO UPDATE SET content = excluded.content"
)
PROBE: Final = "UPDATE probe SET written = written + 1 WHERE id = 1"
PROBE_LARGE: Final = "UPDATE probe SET written = written + 1, padding = zeroblob(65536) WHERE id = 1"
PROBE_LARGE_END: Final = "UPDATE probe SET padding = NULL WHERE id = 1"

# Tells an empty slot in one look: nine in ten are empty in a store of a few hundred patients.
SLOT_IN_USE: Final = "SELECT " + " OR ".join(
    f"EXISTS (SELECT 1 FROM {table} WHERE slot = ?)"
    for table in (
        "chain", "audit", "receipt", "event", "consent", "outbox", "poll", "alert_change", "alert", "notice", "standing"
    )
)  # fmt: skip

BACKGROUND: Final = (
    DUE_OUTBOX, NEXT_PARTY_WITH_OUTBOX, DUE_OUTBOX_OF_PARTY, FIND_OUTBOX, LIST_OUTBOX, LIST_OUTBOX_OF_STATE,
    OUTBOX_FIGURES, RELEASE_OUTBOX, NEXT_HOLDER, ANNOUNCE, WITHDRAW, READ_INSTANCES, END_SESSION, ENDED_SESSIONS,
    REMOVE_ENDED_SESSIONS,
    REMOVE_POLLS, CHAINS, READ_PATIENTS, SLOT_OF_ALERT, ALERTS_OF_ORGANISATION,
    ALERTS_OF_PERIOD, READ_SUBSCRIPTIONS, APPEND_SUBSCRIPTION, REMOVE_SUBSCRIPTION, REMOVE_ITS_NOTICES, DUE_NOTICES,
    POSTPONE_NOTICES,
    READ_NOTICES, AUDIT_FORWARDS, AUDIT_BACKWARDS, AUDIT_OF_PATIENT,
    AUDIT_OF_PATIENT_BACKWARDS, HEADS, DIRECTORY_REVISION, MOVE_DIRECTORY_REVISION,
    READ_DIRECTORY, CLEAR_DIRECTORY, WRITE_DIRECTORY, PROBE, PROBE_LARGE, PROBE_LARGE_END, SLOT_IN_USE,
)  # fmt: skip
