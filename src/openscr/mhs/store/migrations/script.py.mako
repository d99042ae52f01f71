"""${message}.

Revision ID: ${up_revision}
"""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

SQL: dict[str, tuple[str, ...]] = {"sqlite": (), "postgresql": ()}


def upgrade() -> None:
    """${message}."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
