"""Results that wait for a polling client to fetch them.

Revision ID: 0002
"""

from alembic import op

from openscr.store.migrations import postgres_schema, sqlite_schema

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SQL = {"sqlite": sqlite_schema.STEPS[revision], "postgresql": postgres_schema.STEPS[revision]}


def upgrade() -> None:
    """Create the table of poll results."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
