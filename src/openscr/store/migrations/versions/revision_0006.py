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

SQL = {"sqlite": SQLITE, "postgresql": postgres_schema.STEPS[revision]}


def upgrade() -> None:
    """Make what is new; rows that are there are nobody's."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
