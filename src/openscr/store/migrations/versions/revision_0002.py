"""Results that wait for a polling client to fetch them.

Revision ID: 0002
"""

from alembic import op

from openscr.store.migrations import postgres_schema

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SQLITE = (
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

SQL = {"sqlite": SQLITE, "postgresql": postgres_schema.STEPS[revision]}


def upgrade() -> None:
    """Create the table of poll results."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
