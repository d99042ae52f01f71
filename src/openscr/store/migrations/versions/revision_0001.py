"""The first schema.

Revision ID: 0001
"""

from alembic import op

from openscr.store.migrations import postgres_schema, sqlite_schema

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SQL = {"sqlite": sqlite_schema.STEPS[revision], "postgresql": postgres_schema.STEPS[revision]}


def upgrade() -> None:
    """Create every table."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
