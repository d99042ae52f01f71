"""The audit in the order of time; the life of alerts; who is to be told of them.

Revision ID: 0005
"""

from alembic import op

from openscr.store.migrations import postgres_schema

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SQLITE = (
    "CREATE INDEX audit_time ON audit (occurred_at, slot, sequence)",
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
        version INTEGER NOT NULL,
        PRIMARY KEY (slot, id)
    ) STRICT
    """,
    """
    INSERT INTO alert (slot, id, nhs_number, type, reason, text, raised_at, asid, organisation, user_id,
        role_profile_id, job_role, state, source, details, version)
    SELECT slot, id, nhs_number, type, reason, text, raised_at, asid, organisation, user_id,
        role_profile_id, job_role, state, source, details, 1
    FROM alert_before
    """,
    "DROP TABLE alert_before",
    "CREATE INDEX alert_id ON alert (id)",
    "CREATE INDEX alert_organisation ON alert (organisation, raised_at)",
    """
    CREATE TABLE alert_change (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        alert_id TEXT NOT NULL,
        version INTEGER NOT NULL,
        changed_at INTEGER NOT NULL,
        from_state TEXT NOT NULL,
        to_state TEXT NOT NULL,
        note TEXT NOT NULL,
        user_id TEXT NOT NULL,
        role_profile_id TEXT NOT NULL,
        organisation TEXT NOT NULL,
        PRIMARY KEY (slot, alert_id, version)
    ) STRICT
    """,
    # Small, and the same for every slot: on a distributed engine it is on every node.
    """
    CREATE TABLE subscription (
        id TEXT NOT NULL,
        organisation TEXT NOT NULL,
        kind TEXT NOT NULL,
        address TEXT NOT NULL,
        secret TEXT NOT NULL,
        types TEXT NOT NULL,
        user_id TEXT NOT NULL,
        role_profile_id TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        PRIMARY KEY (id)
    ) STRICT
    """,
    # What somebody must still be told; without a subscription it has still to be found out who.
    """
    CREATE TABLE notice (
        slot INTEGER NOT NULL CHECK (slot BETWEEN 0 AND 4095),
        alert_id TEXT NOT NULL,
        subscription_id TEXT NOT NULL,
        organisation TEXT NOT NULL,
        type TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        due_at INTEGER,
        attempts INTEGER NOT NULL,
        last_error TEXT NOT NULL,
        PRIMARY KEY (slot, alert_id, subscription_id)
    ) STRICT
    """,
    "CREATE INDEX notice_due ON notice (due_at) WHERE due_at IS NOT NULL",
)

SQL = {"sqlite": SQLITE, "postgresql": postgres_schema.STEPS[revision]}


def upgrade() -> None:
    """Make what is new; alerts that are there are in their first version, and nobody is told of them."""
    for statement in SQL[op.get_context().dialect.name]:
        op.execute(statement)
