"""The audit in the order of time; the life of alerts; who is to be told of them.

Revision ID: 0005
"""

from alembic import op

from openscr.store.migrations import postgres_schema, sqlite_schema

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SQL = {"sqlite": sqlite_schema.STEPS[revision], "postgresql": postgres_schema.STEPS[revision]}


def upgrade() -> None:
    """Make what is new; alerts that are there are in their first version, and nobody is told of them."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
