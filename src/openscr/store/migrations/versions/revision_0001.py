"""The first schema.

Revision ID: 0001
"""

from alembic import op

from openscr.store.migrations import postgres_schema

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SQLITE = (
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

SQL = {"sqlite": SQLITE, "postgresql": postgres_schema.STEPS[revision]}


def upgrade() -> None:
    """Create every table."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
