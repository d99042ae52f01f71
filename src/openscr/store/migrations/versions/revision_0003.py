"""Alerts that were sent to us: where each came from, and all else that it said.

Revision ID: 0003
"""

from alembic import op

from openscr.store.migrations import postgres_schema

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SQLITE = (
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

SQL = {"sqlite": SQLITE, "postgresql": postgres_schema.STEPS[revision]}


def upgrade() -> None:
    """Give alerts a source and details; those that are there were raised by overrides."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
