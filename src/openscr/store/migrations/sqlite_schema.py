"""The schema on SQLite, revision by revision: what each adds to, or changes in, the one before.

All of them together make an empty database one of the newest revision, without alembic, whose import takes most of a
second; alembic runs those that a database lacks.

Spec: architecture.md "Data"; engine.md "The shape that makes it work".
"""

from typing import Final

_0001: Final = (
    # Rows with messages in them are large, so their tables keep insertion order; small rows live in their key.
    """
    CREATE TABLE receipt (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        from_party TEXT NOT NULL,
        message_id TEXT NOT NULL,
        interaction TEXT NOT NULL,
        received_at INTEGER NOT NULL,
        payload_offset INTEGER NOT NULL,
        payload_length INTEGER NOT NULL,
        encoding TEXT NOT NULL,
        signal BLOB NOT NULL,
        signal_status INTEGER NOT NULL,
        ack TEXT NOT NULL,
        digest BLOB NOT NULL,
        nhs_number TEXT,
        sender_asid TEXT,
        wrapper_id TEXT,
        wsa_id TEXT,
        raw BLOB NOT NULL,
        PRIMARY KEY (slot, from_party, message_id)
    ) STRICT
    """,
    """
    CREATE INDEX receipt_wrapper ON receipt (slot, nhs_number, sender_asid, wrapper_id) WHERE wrapper_id IS NOT NULL
    """,
    """
    CREATE INDEX receipt_wsa ON receipt (slot, nhs_number, sender_asid, wsa_id) WHERE wsa_id IS NOT NULL
    """,
    """
    CREATE TABLE event (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        nhs_number TEXT NOT NULL,
        event_id TEXT NOT NULL,
        ordinal INTEGER NOT NULL,
        event_type TEXT NOT NULL,
        interaction TEXT NOT NULL,
        status INTEGER NOT NULL,
        effective_time TEXT NOT NULL,
        stored_at INTEGER NOT NULL,
        sender_asid TEXT NOT NULL,
        from_party TEXT NOT NULL,
        message_id TEXT NOT NULL,
        wrapper_id TEXT NOT NULL,
        document_offset INTEGER NOT NULL,
        document_length INTEGER NOT NULL,
        name_length INTEGER NOT NULL,
        declarations BLOB NOT NULL,
        author BLOB NOT NULL,
        details BLOB NOT NULL,
        replaced_by TEXT,
        withdrawn_by TEXT,
        withdrawal_reason TEXT,
        withdrawal_text TEXT,
        withdrawn_at INTEGER,
        withdrawer TEXT,
        PRIMARY KEY (slot, nhs_number, event_id),
        FOREIGN KEY (slot, from_party, message_id) REFERENCES receipt (slot, from_party, message_id)
    ) STRICT
    """,
    """
    CREATE TABLE consent (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        nhs_number TEXT NOT NULL,
        version INTEGER NOT NULL,
        value TEXT NOT NULL,
        set_at INTEGER NOT NULL,
        asid TEXT NOT NULL,
        organisation TEXT NOT NULL,
        role_profile_id TEXT,
        user_id TEXT,
        job_role TEXT,
        message_id TEXT NOT NULL,
        wsa_id TEXT NOT NULL,
        source TEXT NOT NULL,
        PRIMARY KEY (slot, nhs_number, version)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE outbox (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        id TEXT NOT NULL,
        to_party TEXT NOT NULL,
        service TEXT NOT NULL,
        interaction TEXT NOT NULL,
        conversation_id TEXT NOT NULL,
        ref_to_message_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        answer BLOB NOT NULL,
        state TEXT NOT NULL,
        content_type TEXT NOT NULL,
        soap_action TEXT NOT NULL,
        body BLOB NOT NULL,
        attempts INTEGER NOT NULL,
        next_attempt_at INTEGER,
        first_attempt_at INTEGER,
        last_error TEXT NOT NULL,
        due_at INTEGER NOT NULL,
        PRIMARY KEY (slot, id)
    ) STRICT
    """,
    """
    CREATE INDEX outbox_due ON outbox (due_at, created_at) WHERE state = 'open'
    """,
    """
    CREATE INDEX outbox_party ON outbox (to_party, due_at, created_at) WHERE state = 'open'
    """,
    """
    CREATE TABLE alert (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        id TEXT NOT NULL,
        nhs_number TEXT NOT NULL,
        type TEXT NOT NULL,
        reason TEXT NOT NULL,
        text TEXT NOT NULL,
        raised_at INTEGER NOT NULL,
        asid TEXT NOT NULL,
        organisation TEXT NOT NULL,
        user_id TEXT,
        role_profile_id TEXT,
        job_role TEXT,
        state TEXT NOT NULL,
        PRIMARY KEY (slot, id)
    ) STRICT
    """,
    """
    CREATE TABLE chain (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        sequence INTEGER NOT NULL,
        hash BLOB NOT NULL,
        PRIMARY KEY (slot)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE audit (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        sequence INTEGER NOT NULL,
        occurred_at INTEGER NOT NULL,
        nhs_number TEXT,
        content BLOB NOT NULL,
        hash BLOB NOT NULL,
        PRIMARY KEY (slot, sequence)
    ) STRICT
    """,
    """
    CREATE TABLE patient (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        nhs_number TEXT NOT NULL,
        status TEXT NOT NULL,
        survivor TEXT,
        demographics BLOB NOT NULL,
        PRIMARY KEY (slot, nhs_number)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE directory (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        content BLOB NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT
    """,
    """
    CREATE TABLE directory_revision (
        id INTEGER NOT NULL CHECK (id = 1),
        revision INTEGER NOT NULL,
        PRIMARY KEY (id)
    ) STRICT
    """,
    "INSERT INTO directory_revision (id, revision) VALUES (1, 0)",
    # Written to find out whether writing works.
    """
    CREATE TABLE probe (
        id INTEGER NOT NULL CHECK (id = 1),
        written INTEGER NOT NULL,
        padding BLOB,
        PRIMARY KEY (id)
    ) STRICT
    """,
    "INSERT INTO probe (id, written) VALUES (1, 0)",
)

_0002: Final = (
    """
    CREATE TABLE poll (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        from_party TEXT NOT NULL,
        message_id TEXT NOT NULL,
        token TEXT NOT NULL,
        asid TEXT NOT NULL,
        sender_asid TEXT NOT NULL,
        expires_at INTEGER NOT NULL,
        content BLOB NOT NULL,
        PRIMARY KEY (slot, from_party, message_id)
    ) STRICT
    """,
    "CREATE UNIQUE INDEX poll_token ON poll (slot, token)",
    "CREATE INDEX poll_expiry ON poll (expires_at)",
)

_0003: Final = (
    "ALTER TABLE alert RENAME TO alert_before",
    """
    CREATE TABLE alert (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        id TEXT NOT NULL,
        nhs_number TEXT NOT NULL,
        type TEXT NOT NULL,
        reason TEXT NOT NULL,
        text TEXT NOT NULL,
        raised_at INTEGER NOT NULL,
        asid TEXT NOT NULL,
        organisation TEXT NOT NULL,
        user_id TEXT,
        role_profile_id TEXT,
        job_role TEXT,
        state TEXT NOT NULL,
        source TEXT NOT NULL,
        details BLOB NOT NULL,
        PRIMARY KEY (slot, id)
    ) STRICT
    """,
    """
    INSERT INTO alert (slot, id, nhs_number, type, reason, text, raised_at, asid, organisation, user_id,
        role_profile_id, job_role, state, source, details)
    SELECT slot, id, nhs_number, type, reason, text, raised_at, asid, organisation, user_id,
        role_profile_id, job_role, state, 'override', CAST('{}' AS BLOB)
    FROM alert_before
    """,
    "DROP TABLE alert_before",
)

_0004: Final = (
    """
    CREATE TABLE standing (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        id TEXT NOT NULL,
        nhs_number TEXT NOT NULL,
        kind TEXT NOT NULL,
        holder_kind TEXT NOT NULL,
        holder TEXT NOT NULL,
        basis TEXT NOT NULL,
        reason TEXT NOT NULL,
        text TEXT NOT NULL,
        starts_at INTEGER NOT NULL,
        ends_at INTEGER,
        recorded_at INTEGER NOT NULL,
        asid TEXT NOT NULL,
        organisation TEXT NOT NULL,
        user_id TEXT,
        role_profile_id TEXT,
        job_role TEXT,
        ended_at INTEGER,
        ended_by TEXT,
        PRIMARY KEY (slot, id)
    ) STRICT
    """,
    "CREATE INDEX standing_of_patient ON standing (slot, nhs_number, ended_at)",
)

_0005: Final = (
    "CREATE INDEX audit_time ON audit (occurred_at, slot, sequence)",
    "ALTER TABLE alert RENAME TO alert_before",
    """
    CREATE TABLE alert (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        id TEXT NOT NULL,
        nhs_number TEXT NOT NULL,
        type TEXT NOT NULL,
        reason TEXT NOT NULL,
        text TEXT NOT NULL,
        raised_at INTEGER NOT NULL,
        asid TEXT NOT NULL,
        organisation TEXT NOT NULL,
        user_id TEXT,
        role_profile_id TEXT,
        job_role TEXT,
        state TEXT NOT NULL,
        source TEXT NOT NULL,
        details BLOB NOT NULL,
        version INTEGER NOT NULL,
        PRIMARY KEY (slot, id)
    ) STRICT
    """,
    """
    INSERT INTO alert (slot, id, nhs_number, type, reason, text, raised_at, asid, organisation, user_id,
        role_profile_id, job_role, state, source, details, version)
    SELECT slot, id, nhs_number, type, reason, text, raised_at, asid, organisation, user_id,
        role_profile_id, job_role, state, source, details, 1
    FROM alert_before
    """,
    "DROP TABLE alert_before",
    "CREATE INDEX alert_id ON alert (id)",
    "CREATE INDEX alert_organisation ON alert (organisation, raised_at)",
    """
    CREATE TABLE alert_change (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        alert_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        changed_at INTEGER NOT NULL,
        from_state TEXT NOT NULL,
        to_state TEXT NOT NULL,
        note TEXT NOT NULL,
        user_id TEXT NOT NULL,
        role_profile_id TEXT NOT NULL,
        organisation TEXT NOT NULL,
        PRIMARY KEY (slot, alert_id, version)
    ) STRICT
    """,
    # Small, and the same for every slot: on a distributed engine it is on every node.
    """
    CREATE TABLE subscription (
        id TEXT NOT NULL,
        organisation TEXT NOT NULL,
        kind TEXT NOT NULL,
        address TEXT NOT NULL,
        secret TEXT NOT NULL,
        types TEXT NOT NULL,
        user_id TEXT NOT NULL,
        role_profile_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (id)
    ) STRICT
    """,
    # What somebody must still be told; without a subscription it has still to be found out who.
    """
    CREATE TABLE notice (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        alert_id TEXT NOT NULL,
        subscription_id TEXT NOT NULL,
        organisation TEXT NOT NULL,
        type TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        due_at INTEGER,
        attempts INTEGER NOT NULL,
        last_error TEXT NOT NULL,
        PRIMARY KEY (slot, alert_id, subscription_id)
    ) STRICT
    """,
    "CREATE INDEX notice_due ON notice (due_at) WHERE due_at IS NOT NULL",
)

_0006: Final = (
    # The worker process that sends the row, and nobody else does; empty: whoever takes it first.
    "ALTER TABLE outbox ADD COLUMN holder TEXT NOT NULL DEFAULT ''",
    # What others have is not even stepped over.
    "DROP INDEX outbox_due",
    "DROP INDEX outbox_party",
    "CREATE INDEX outbox_due ON outbox (holder, due_at, created_at) WHERE state = 'open'",
    "CREATE INDEX outbox_party ON outbox (holder, to_party, due_at, created_at) WHERE state = 'open'",
    # Every worker process that runs on the store, as it last said so itself.
    """
    CREATE TABLE instance (
        holder TEXT NOT NULL,
        program TEXT NOT NULL,
        started_at INTEGER NOT NULL,
        seen_at INTEGER NOT NULL,
        PRIMARY KEY (holder)
    ) STRICT
    """,
    # Digests of the sessions of people, kept until their tokens have expired anyway.
    """
    CREATE TABLE ended_session (
        session TEXT NOT NULL,
        ended_at INTEGER NOT NULL,
        kept_until INTEGER NOT NULL,
        PRIMARY KEY (session)
    ) STRICT
    """,
)

STEPS: Final = {"0001": _0001, "0002": _0002, "0003": _0003, "0004": _0004, "0005": _0005, "0006": _0006}
"""The statements of every revision, oldest first."""

CREATION: Final = tuple(statement for step in STEPS.values() for statement in step)
"""The statements that make the newest schema in an empty database."""
