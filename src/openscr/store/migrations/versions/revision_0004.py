"""Permissions to view and legitimate relationships, as records that end.

Revision ID: 0004
"""

from alembic import op

from openscr.store.migrations import postgres_schema

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SQLITE = (
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

SQL = {"sqlite": SQLITE, "postgresql": postgres_schema.STEPS[revision]}


def upgrade() -> None:
    """Make the table."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
