"""Who sends a row of the outbox; which services share the store; sessions that have ended.

Revision ID: 0006
"""

from alembic import op

from openscr.store.migrations import postgres_schema, sqlite_schema

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SQL = {"sqlite": sqlite_schema.STEPS[revision], "postgresql": postgres_schema.STEPS[revision]}


def upgrade() -> None:
    """Make what is new; rows that are there are nobody's."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
