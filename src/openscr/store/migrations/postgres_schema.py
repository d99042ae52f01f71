"""The schema on PostgreSQL, revision by revision: what each adds to the one before.

All of them together make an empty database one of the newest revision, without alembic, whose import takes most of a
second; alembic runs those that a database lacks. Texts are compared by their bytes, as on every other engine, whatever
the database's own collation is. What is compressed already is stored as it is (`EXTERNAL`), and in its row's own page
as long as the row fits into one.

Spec: engine.md "The shape that makes it work".
"""

from typing import Final

_0001: Final = (
    """
    CREATE TABLE receipt (
        slot SMALLINT NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        from_party TEXT COLLATE "C" NOT NULL,
        message_id TEXT COLLATE "C" NOT NULL,
        interaction TEXT COLLATE "C" NOT NULL,
        received_at BIGINT NOT NULL,
        payload_offset INTEGER NOT NULL,
        payload_length INTEGER NOT NULL,
        encoding TEXT COLLATE "C" NOT NULL,
        signal BYTEA NOT NULL,
        signal_status INTEGER NOT NULL,
        ack TEXT COLLATE "C" NOT NULL,
        digest BYTEA NOT NULL,
        nhs_number TEXT COLLATE "C",
        sender_asid TEXT COLLATE "C",
        wrapper_id TEXT COLLATE "C",
        wsa_id TEXT COLLATE "C",
        raw BYTEA NOT NULL,
        PRIMARY KEY (slot, from_party, message_id)
    ) WITH (toast_tuple_target = 8160)
    """,
    "ALTER TABLE receipt ALTER COLUMN raw SET STORAGE EXTERNAL, ALTER COLUMN signal SET STORAGE EXTERNAL",
    """
    CREATE INDEX receipt_wrapper ON receipt (slot, nhs_number, sender_asid, wrapper_id) WHERE wrapper_id IS NOT NULL
    """,
    """
    CREATE INDEX receipt_wsa ON receipt (slot, nhs_number, sender_asid, wsa_id) WHERE wsa_id IS NOT NULL
    """,
    """
    CREATE TABLE event (
        slot SMALLINT NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        nhs_number TEXT COLLATE "C" NOT NULL,
        event_id TEXT COLLATE "C" NOT NULL,
        ordinal INTEGER NOT NULL,
        event_type TEXT COLLATE "C" NOT NULL,
        interaction TEXT COLLATE "C" NOT NULL,
        status INTEGER NOT NULL,
        effective_time TEXT COLLATE "C" NOT NULL,
        stored_at BIGINT NOT NULL,
        sender_asid TEXT COLLATE "C" NOT NULL,
        from_party TEXT COLLATE "C" NOT NULL,
        message_id TEXT COLLATE "C" NOT NULL,
        wrapper_id TEXT COLLATE "C" NOT NULL,
        document_offset INTEGER NOT NULL,
        document_length INTEGER NOT NULL,
        name_length INTEGER NOT NULL,
        declarations BYTEA NOT NULL,
        author BYTEA NOT NULL,
        details BYTEA NOT NULL,
        replaced_by TEXT COLLATE "C",
        withdrawn_by TEXT COLLATE "C",
        withdrawal_reason TEXT COLLATE "C",
        withdrawal_text TEXT COLLATE "C",
        withdrawn_at BIGINT,
        withdrawer TEXT COLLATE "C",
        PRIMARY KEY (slot, nhs_number, event_id),
        FOREIGN KEY (slot, from_party, message_id) REFERENCES receipt (slot, from_party, message_id)
    )
    """,
    """
    CREATE TABLE consent (
        slot SMALLINT NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        nhs_number TEXT COLLATE "C" NOT NULL,
        version INTEGER NOT NULL,
        value TEXT COLLATE "C" NOT NULL,
        set_at BIGINT NOT NULL,
        asid TEXT COLLATE "C" NOT NULL,
        organisation TEXT COLLATE "C" NOT NULL,
        role_profile_id TEXT COLLATE "C",
        user_id TEXT COLLATE "C",
        job_role TEXT COLLATE "C",
        message_id TEXT COLLATE "C" NOT NULL,
        wsa_id TEXT COLLATE "C" NOT NULL,
        source TEXT COLLATE "C" NOT NULL,
        PRIMARY KEY (slot, nhs_number, version)
    )
    """,
    """
    CREATE TABLE outbox (
        slot SMALLINT NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        id TEXT COLLATE "C" NOT NULL,
        to_party TEXT COLLATE "C" NOT NULL,
        service TEXT COLLATE "C" NOT NULL,
        interaction TEXT COLLATE "C" NOT NULL,
        conversation_id TEXT COLLATE "C" NOT NULL,
        ref_to_message_id TEXT COLLATE "C" NOT NULL,
        created_at BIGINT NOT NULL,
        answer BYTEA NOT NULL,
        state TEXT COLLATE "C" NOT NULL,
        content_type TEXT COLLATE "C" NOT NULL,
        soap_action TEXT COLLATE "C" NOT NULL,
        body BYTEA NOT NULL,
        attempts INTEGER NOT NULL,
        next_attempt_at BIGINT,
        first_attempt_at BIGINT,
        last_error TEXT COLLATE "C" NOT NULL,
        due_at BIGINT NOT NULL,
        PRIMARY KEY (slot, id)
    ) WITH (toast_tuple_target = 8160)
    """,
    "ALTER TABLE outbox ALTER COLUMN body SET STORAGE EXTERNAL",
    """
    CREATE INDEX outbox_due ON outbox (due_at, created_at) WHERE state = 'open'
    """,
    """
    CREATE INDEX outbox_party ON outbox (to_party, due_at, created_at) WHERE state = 'open'
    """,
    """
    CREATE TABLE alert (
        slot SMALLINT NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        id TEXT COLLATE "C" NOT NULL,
        nhs_number TEXT COLLATE "C" NOT NULL,
        type TEXT COLLATE "C" NOT NULL,
        reason TEXT COLLATE "C" NOT NULL,
        text TEXT COLLATE "C" NOT NULL,
        raised_at BIGINT NOT NULL,
        asid TEXT COLLATE "C" NOT NULL,
        organisation TEXT COLLATE "C" NOT NULL,
        user_id TEXT COLLATE "C",
        role_profile_id TEXT COLLATE "C",
        job_role TEXT COLLATE "C",
        state TEXT COLLATE "C" NOT NULL,
        PRIMARY KEY (slot, id)
    )
    """,
    # Written by every request: its new versions find place on their own page.
    """
    CREATE TABLE chain (
        slot SMALLINT NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        sequence BIGINT NOT NULL,
        hash BYTEA NOT NULL,
        PRIMARY KEY (slot)
    ) WITH (fillfactor = 40)
    """,
    """
    CREATE TABLE audit (
        slot SMALLINT NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        sequence BIGINT NOT NULL,
        occurred_at BIGINT NOT NULL,
        nhs_number TEXT COLLATE "C",
        content BYTEA NOT NULL,
        hash BYTEA NOT NULL,
        PRIMARY KEY (slot, sequence)
    )
    """,
    """
    CREATE TABLE patient (
        slot SMALLINT NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        nhs_number TEXT COLLATE "C" NOT NULL,
        status TEXT COLLATE "C" NOT NULL,
        survivor TEXT COLLATE "C",
        demographics BYTEA NOT NULL,
        PRIMARY KEY (slot, nhs_number)
    )
    """,
    """
    CREATE TABLE directory (
        kind TEXT COLLATE "C" NOT NULL,
        key TEXT COLLATE "C" NOT NULL,
        content BYTEA NOT NULL,
        PRIMARY KEY (kind, key)
    )
    """,
    """
    CREATE TABLE directory_revision (
        id INTEGER NOT NULL CHECK (id = 1),
        revision BIGINT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    "INSERT INTO directory_revision (id, revision) VALUES (1, 0)",
    # Written to find out whether writing works.
    """
    CREATE TABLE probe (
        id INTEGER NOT NULL CHECK (id = 1),
        written BIGINT NOT NULL,
        padding BYTEA,
        PRIMARY KEY (id)
    )
    """,
    "INSERT INTO probe (id, written) VALUES (1, 0)",
)

_0002: Final = (
    """
    CREATE TABLE poll (
        slot SMALLINT NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        from_party TEXT COLLATE "C" NOT NULL,
        message_id TEXT COLLATE "C" NOT NULL,
        token TEXT COLLATE "C" NOT NULL,
        asid TEXT COLLATE "C" NOT NULL,
        sender_asid TEXT COLLATE "C" NOT NULL,
        expires_at BIGINT NOT NULL,
        content BYTEA NOT NULL,
        PRIMARY KEY (slot, from_party, message_id)
    ) WITH (toast_tuple_target = 8160)
    """,
    "ALTER TABLE poll ALTER COLUMN content SET STORAGE EXTERNAL",
    "CREATE UNIQUE INDEX poll_token ON poll (slot, token)",
    "CREATE INDEX poll_expiry ON poll (expires_at)",
)

_0003: Final = (
    "ALTER TABLE alert ADD COLUMN source TEXT COLLATE \"C\" NOT NULL DEFAULT 'override',"
    " ADD COLUMN details BYTEA NOT NULL DEFAULT '{}'",
    "ALTER TABLE alert ALTER COLUMN source DROP DEFAULT, ALTER COLUMN details DROP DEFAULT",
)

_0004: Final = (
    """
    CREATE TABLE standing (
        slot SMALLINT NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        id TEXT COLLATE "C" NOT NULL,
        nhs_number TEXT COLLATE "C" NOT NULL,
        kind TEXT COLLATE "C" NOT NULL,
        holder_kind TEXT COLLATE "C" NOT NULL,
        holder TEXT COLLATE "C" NOT NULL,
        basis TEXT COLLATE "C" NOT NULL,
        reason TEXT COLLATE "C" NOT NULL,
        text TEXT COLLATE "C" NOT NULL,
        starts_at BIGINT NOT NULL,
        ends_at BIGINT,
        recorded_at BIGINT NOT NULL,
        asid TEXT COLLATE "C" NOT NULL,
        organisation TEXT COLLATE "C" NOT NULL,
        user_id TEXT COLLATE "C",
        role_profile_id TEXT COLLATE "C",
        job_role TEXT COLLATE "C",
        ended_at BIGINT,
        ended_by TEXT COLLATE "C",
        PRIMARY KEY (slot, id)
    )
    """,
    "CREATE INDEX standing_of_patient ON standing (slot, nhs_number, ended_at)",
)

_0005: Final = (
    "CREATE INDEX audit_time ON audit (occurred_at, slot, sequence)",
    "ALTER TABLE alert ADD COLUMN version INTEGER NOT NULL DEFAULT 1",
    "ALTER TABLE alert ALTER COLUMN version DROP DEFAULT",
    "CREATE INDEX alert_id ON alert (id)",
    "CREATE INDEX alert_organisation ON alert (organisation, raised_at)",
    """
    CREATE TABLE alert_change (
        slot SMALLINT NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        alert_id TEXT COLLATE "C" NOT NULL,
        version INTEGER NOT NULL,
        changed_at BIGINT NOT NULL,
        from_state TEXT COLLATE "C" NOT NULL,
        to_state TEXT COLLATE "C" NOT NULL,
        note TEXT COLLATE "C" NOT NULL,
        user_id TEXT COLLATE "C" NOT NULL,
        role_profile_id TEXT COLLATE "C" NOT NULL,
        organisation TEXT COLLATE "C" NOT NULL,
        PRIMARY KEY (slot, alert_id, version)
    )
    """,
    # Small, and the same for every slot: on a distributed engine it is on every node.
    """
    CREATE TABLE subscription (
        id TEXT COLLATE "C" NOT NULL,
        organisation TEXT COLLATE "C" NOT NULL,
        kind TEXT COLLATE "C" NOT NULL,
        address TEXT COLLATE "C" NOT NULL,
        secret TEXT COLLATE "C" NOT NULL,
        types TEXT COLLATE "C" NOT NULL,
        user_id TEXT COLLATE "C" NOT NULL,
        role_profile_id TEXT COLLATE "C" NOT NULL,
        created_at BIGINT NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    # What somebody must still be told; without a subscription it has still to be found out who.
    """
    CREATE TABLE notice (
        slot SMALLINT NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        alert_id TEXT COLLATE "C" NOT NULL,
        subscription_id TEXT COLLATE "C" NOT NULL,
        organisation TEXT COLLATE "C" NOT NULL,
        type TEXT COLLATE "C" NOT NULL,
        created_at BIGINT NOT NULL,
        due_at BIGINT,
        attempts INTEGER NOT NULL,
        last_error TEXT COLLATE "C" NOT NULL,
        PRIMARY KEY (slot, alert_id, subscription_id)
    )
    """,
    "CREATE INDEX notice_due ON notice (due_at) WHERE due_at IS NOT NULL",
)

_0006: Final = (
    # The worker process that sends the row, and nobody else does; empty: whoever takes it first.
    "ALTER TABLE outbox ADD COLUMN holder TEXT COLLATE \"C\" NOT NULL DEFAULT ''",
    # What others have is not even stepped over.
    "DROP INDEX outbox_due",
    "DROP INDEX outbox_party",
    "CREATE INDEX outbox_due ON outbox (holder, due_at, created_at) WHERE state = 'open'",
    "CREATE INDEX outbox_party ON outbox (holder, to_party, due_at, created_at) WHERE state = 'open'",
    # Every worker process that runs on the store, as it last said so itself.
    """
    CREATE TABLE instance (
        holder TEXT COLLATE "C" NOT NULL,
        program TEXT COLLATE "C" NOT NULL,
        started_at BIGINT NOT NULL,
        seen_at BIGINT NOT NULL,
        PRIMARY KEY (holder)
    )
    """,
    # Digests of the sessions of people, kept until their tokens have expired anyway.
    """
    CREATE TABLE ended_session (
        session TEXT COLLATE "C" NOT NULL,
        ended_at BIGINT NOT NULL,
        kept_until BIGINT NOT NULL,
        PRIMARY KEY (session)
    )
    """,
)

STEPS: Final = {"0001": _0001, "0002": _0002, "0003": _0003, "0004": _0004, "0005": _0005, "0006": _0006}
"""The statements of every revision, oldest first."""

CREATION: Final = tuple(statement for step in STEPS.values() for statement in step)
"""The statements that make the newest schema in an empty database."""
