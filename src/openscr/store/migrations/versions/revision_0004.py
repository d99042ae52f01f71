"""Permissions to view and legitimate relationships, as records that end.

Revision ID: 0004
"""

from alembic import op

from openscr.store.migrations import postgres_schema, sqlite_schema

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SQL = {"sqlite": sqlite_schema.STEPS[revision], "postgresql": postgres_schema.STEPS[revision]}


def upgrade() -> None:
    """Make the table."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
