"""The first schema.

Revision ID: 0001
"""

from alembic import op

from openscr.mhs.store.migrations.schema_0001 import SQLITE

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SQL = {"sqlite": SQLITE}


def upgrade() -> None:
    """Create every table."""
    for statement in SQL[op.get_bind().dialect.name]:
        op.execute(statement)
