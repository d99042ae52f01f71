"""The first schema.

Revision ID: 0001
"""

from alembic import op

from openscr.mhs.store.migrations.schema_0001 import POSTGRES, SQLITE

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SQL = {"sqlite": SQLITE, "postgresql": POSTGRES}


def upgrade() -> None:
    """Create every table."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
