"""Revision 0001 as data, so that a new store can be made of it without alembic.

Times are microseconds since 1970 UTC. Bodies may be sealed (`openscr.mhs.store.encryption`).
"""

from typing import Final

SQLITE: Final = (
    """
    CREATE TABLE message (
        message_id TEXT NOT NULL,
        created INTEGER NOT NULL,
        workflow TEXT NOT NULL,
        interaction TEXT NOT NULL,
        correlation_id TEXT NOT NULL,
        outbound_status TEXT,
        inbound_status TEXT,
        history BLOB NOT NULL,
        last_error TEXT NOT NULL,
        from_party TEXT NOT NULL,
        to_party TEXT NOT NULL,
        digest TEXT NOT NULL,
        waits_until INTEGER,
        result_status INTEGER,
        result_content_type TEXT,
        result_body BLOB,
        PRIMARY KEY (message_id)
    ) STRICT
    """,
    "CREATE INDEX message_created ON message (created, message_id)",
    "CREATE INDEX message_outbound ON message (outbound_status, created, message_id)",
    "CREATE INDEX message_inbound ON message (inbound_status, created, message_id)",
    """
    CREATE TABLE sending (
        message_id TEXT NOT NULL,
        address TEXT NOT NULL,
        headers BLOB NOT NULL,
        names BLOB NOT NULL,
        retries INTEGER NOT NULL,
        retry_interval REAL NOT NULL,
        persist_duration REAL NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        first_attempt_at INTEGER,
        next_attempt_at INTEGER,
        last_error TEXT NOT NULL,
        due_at INTEGER NOT NULL,
        leased_until INTEGER NOT NULL,
        digest BLOB NOT NULL,
        PRIMARY KEY (message_id)
    ) STRICT
    """,
    # Bodies apart, here and below: what changes of a message, at every attempt, is written without them.
    """
    CREATE TABLE sending_body (
        message_id TEXT NOT NULL REFERENCES sending (message_id) ON DELETE CASCADE,
        body BLOB NOT NULL,
        PRIMARY KEY (message_id)
    ) STRICT
    """,
    "CREATE INDEX sending_due ON sending (due_at) WHERE state = 'open'",
    """
    CREATE TABLE reply (
        message_id TEXT NOT NULL,
        correlation_id TEXT NOT NULL,
        received_at INTEGER NOT NULL,
        body BLOB NOT NULL,
        PRIMARY KEY (message_id)
    ) STRICT
    """,
    """
    CREATE TABLE inbound_receipt (
        from_party TEXT NOT NULL,
        message_id TEXT NOT NULL,
        received_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL,
        answer BLOB NOT NULL,
        PRIMARY KEY (from_party, message_id)
    ) STRICT
    """,
    "CREATE INDEX inbound_receipt_expires ON inbound_receipt (expires_at)",
    # A message waits from free_at on: since it came, after a pause, or because its lease has ended.
    """
    CREATE TABLE queue (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        message_id TEXT NOT NULL,
        correlation_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        late INTEGER NOT NULL,
        receipt TEXT,
        free_at INTEGER NOT NULL,
        deliveries INTEGER NOT NULL,
        died_at INTEGER,
        size INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE queue_body (
        sequence INTEGER PRIMARY KEY REFERENCES queue (sequence) ON DELETE CASCADE,
        body BLOB NOT NULL
    ) STRICT
    """,
    # Whatever is asked of many messages is answered from indexes alone.
    "CREATE INDEX queue_living ON queue (sequence, died_at, free_at, size, created_at, receipt) WHERE died_at IS NULL",
    "CREATE INDEX queue_delivered ON queue (deliveries, free_at) WHERE died_at IS NULL AND deliveries > 0",
    "CREATE UNIQUE INDEX queue_receipt ON queue (receipt) WHERE receipt IS NOT NULL",
    "CREATE INDEX queue_created ON queue (created_at)",
    "CREATE INDEX queue_dead ON queue (died_at, sequence) WHERE died_at IS NOT NULL",
    """
    CREATE TABLE audit (
        sequence INTEGER NOT NULL,
        occurred_at INTEGER NOT NULL,
        content BLOB NOT NULL,
        hash BLOB NOT NULL,
        PRIMARY KEY (sequence)
    ) STRICT
    """,
    """
    CREATE TABLE chain (
        id INTEGER NOT NULL CHECK (id = 1),
        sequence INTEGER NOT NULL,
        hash BLOB NOT NULL,
        PRIMARY KEY (id)
    ) STRICT
    """,
    "INSERT INTO chain (id, sequence, hash) VALUES (1, 0, zeroblob(32))",
    # Which key the bodies are sealed with; none: they are not.
    """
    CREATE TABLE encryption (
        id INTEGER NOT NULL CHECK (id = 1),
        key_id TEXT,
        PRIMARY KEY (id)
    ) STRICT
    """,
    "INSERT INTO encryption (id, key_id) VALUES (1, NULL)",
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


POSTGRES: Final = (
    """
    CREATE TABLE message (
        message_id text COLLATE "C" NOT NULL,
        created bigint NOT NULL,
        workflow text NOT NULL,
        interaction text NOT NULL,
        correlation_id text NOT NULL,
        outbound_status text,
        inbound_status text,
        history bytea NOT NULL,
        last_error text NOT NULL,
        from_party text COLLATE "C" NOT NULL,
        to_party text NOT NULL,
        digest text NOT NULL,
        waits_until bigint,
        result_status integer,
        result_content_type text,
        result_body bytea,
        PRIMARY KEY (message_id)
    )
    """,
    # Bodies may be sealed, and are then as large after compression as before it.
    "ALTER TABLE message ALTER COLUMN result_body SET STORAGE EXTERNAL",
    "CREATE INDEX message_created ON message (created, message_id)",
    "CREATE INDEX message_outbound ON message (outbound_status, created, message_id)",
    "CREATE INDEX message_inbound ON message (inbound_status, created, message_id)",
    """
    CREATE TABLE sending (
        message_id text COLLATE "C" NOT NULL,
        sequence bigint GENERATED ALWAYS AS IDENTITY,
        address text NOT NULL,
        headers bytea NOT NULL,
        names bytea NOT NULL,
        retries integer NOT NULL,
        retry_interval double precision NOT NULL,
        persist_duration double precision NOT NULL,
        state text NOT NULL,
        attempts integer NOT NULL,
        first_attempt_at bigint,
        next_attempt_at bigint,
        last_error text NOT NULL,
        due_at bigint NOT NULL,
        leased_until bigint NOT NULL,
        digest bytea NOT NULL,
        PRIMARY KEY (message_id)
    )
    """,
    """
    CREATE TABLE sending_body (
        message_id text COLLATE "C" NOT NULL REFERENCES sending (message_id) ON DELETE CASCADE,
        body bytea NOT NULL,
        PRIMARY KEY (message_id)
    )
    """,
    "ALTER TABLE sending_body ALTER COLUMN body SET STORAGE EXTERNAL",
    "CREATE INDEX sending_due ON sending (due_at, sequence) WHERE state = 'open'",
    """
    CREATE TABLE reply (
        message_id text COLLATE "C" NOT NULL,
        correlation_id text NOT NULL,
        received_at bigint NOT NULL,
        body bytea NOT NULL,
        PRIMARY KEY (message_id)
    )
    """,
    "ALTER TABLE reply ALTER COLUMN body SET STORAGE EXTERNAL",
    "CREATE INDEX reply_received ON reply (received_at, message_id)",
    """
    CREATE TABLE inbound_receipt (
        from_party text COLLATE "C" NOT NULL,
        message_id text COLLATE "C" NOT NULL,
        received_at bigint NOT NULL,
        expires_at bigint NOT NULL,
        answer bytea NOT NULL,
        PRIMARY KEY (from_party, message_id)
    )
    """,
    "CREATE INDEX inbound_receipt_expires ON inbound_receipt (expires_at)",
    """
    CREATE TABLE queue (
        sequence bigint GENERATED ALWAYS AS IDENTITY,
        id text COLLATE "C" NOT NULL UNIQUE,
        message_id text COLLATE "C" NOT NULL,
        correlation_id text NOT NULL,
        created_at bigint NOT NULL,
        late integer NOT NULL,
        receipt text COLLATE "C",
        free_at bigint NOT NULL,
        deliveries integer NOT NULL,
        died_at bigint,
        size bigint NOT NULL,
        PRIMARY KEY (sequence)
    )
    """,
    """
    CREATE TABLE queue_body (
        sequence bigint NOT NULL REFERENCES queue (sequence) ON DELETE CASCADE,
        body bytea NOT NULL,
        PRIMARY KEY (sequence)
    )
    """,
    "ALTER TABLE queue_body ALTER COLUMN body SET STORAGE EXTERNAL",
    "CREATE INDEX queue_living ON queue (sequence) WHERE died_at IS NULL",
    "CREATE INDEX queue_delivered ON queue (deliveries, free_at) WHERE died_at IS NULL AND deliveries > 0",
    "CREATE UNIQUE INDEX queue_receipt ON queue (receipt) WHERE receipt IS NOT NULL",
    "CREATE INDEX queue_created ON queue (created_at)",
    "CREATE INDEX queue_dead ON queue (died_at, sequence) WHERE died_at IS NOT NULL",
    """
    CREATE TABLE audit (
        sequence bigint NOT NULL,
        occurred_at bigint NOT NULL,
        content bytea NOT NULL,
        hash bytea NOT NULL,
        PRIMARY KEY (sequence)
    )
    """,
    """
    CREATE TABLE chain (
        id integer NOT NULL CHECK (id = 1),
        sequence bigint NOT NULL,
        hash bytea NOT NULL,
        PRIMARY KEY (id)
    )
    """,
    "INSERT INTO chain (id, sequence, hash) VALUES (1, 0, decode(repeat('00', 32), 'hex'))",
    """
    CREATE TABLE encryption (
        id integer NOT NULL CHECK (id = 1),
        key_id text,
        PRIMARY KEY (id)
    )
    """,
    "INSERT INTO encryption (id, key_id) VALUES (1, NULL)",
    """
    CREATE TABLE probe (
        id integer NOT NULL CHECK (id = 1),
        written bigint NOT NULL,
        padding bytea,
        PRIMARY KEY (id)
    )
    """,
    "INSERT INTO probe (id, written) VALUES (1, 0)",
    # One row for each transaction that wrote: whoever was not told how its COMMIT ended finds it out here.
    """
    CREATE TABLE ending (
        token uuid NOT NULL,
        committed boolean NOT NULL,
        PRIMARY KEY (token)
    )
    """,
)
"""The same for PostgreSQL."""
