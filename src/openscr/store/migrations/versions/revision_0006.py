"""Who sends a row of the outbox; which services share the store; sessions that have ended.

Revision ID: 0006
"""

from alembic import op

from openscr.store.migrations import postgres_schema

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SQLITE = (
    # Microseconds since 1970 until which nobody but the holder sends the row.
    "ALTER TABLE outbox ADD COLUMN holder TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE outbox ADD COLUMN leased_until INTEGER NOT NULL DEFAULT 0",
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

SQL = {"sqlite": SQLITE, "postgresql": postgres_schema.STEPS[revision]}


def upgrade() -> None:
    """Make what is new; rows that are there are held by nobody."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
