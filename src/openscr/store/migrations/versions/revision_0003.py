"""Alerts that were sent to us: where each came from, and all else that it said.

Revision ID: 0003
"""

from alembic import op

from openscr.store.migrations import postgres_schema, sqlite_schema

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SQL = {"sqlite": sqlite_schema.STEPS[revision], "postgresql": postgres_schema.STEPS[revision]}


def upgrade() -> None:
    """Give alerts a source and details; those that are there were raised by overrides."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
