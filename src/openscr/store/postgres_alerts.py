"""Reading alerts for those who handle them, and notices for those who give them, on PostgreSQL.

Spec: 80 §5.1, §5.3.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime

from openscr.store import postgres_statements as statements
from openscr.store.alert_records import AlertRow, Notice, Subscription
from openscr.store.alert_rows import notice_values, read_alert, read_notice, read_subscription, subscription_values
from openscr.store.postgres_connection import Connection
from openscr.store.rows import period, to_microseconds


async def read_alerts(
    connection: Connection, organisation: str | None, since: datetime | None, until: datetime | None
) -> list[AlertRow]:
    """Return alerts, oldest first. Raises: `StoreError` when one is damaged."""
    between = period(since, until)
    found = (
        await connection.fetch(statements.ALERTS_OF_PERIOD, *between)
        if organisation is None
        else await connection.fetch(statements.ALERTS_OF_ORGANISATION, organisation, *between)
    )
    return [read_alert(row) for row in found]


async def read_subscriptions(connection: Connection, organisation: str | None) -> list[Subscription]:
    """Return subscriptions, oldest first."""
    found = map(read_subscription, await connection.fetch(statements.READ_SUBSCRIPTIONS))
    return [each for each in found if organisation in (None, each.organisation)]


async def write_subscription(connection: Connection, subscription: Subscription) -> None:
    """Keep a subscription. Raises: errors of the driver when its id exists."""
    await connection.execute(statements.APPEND_SUBSCRIPTION, *subscription_values(subscription))


async def remove_subscription(connection: Connection, id: str) -> None:
    """Forget a subscription with what it had still to be told."""
    await connection.execute(statements.REMOVE_SUBSCRIPTION, id)
    await connection.execute(statements.REMOVE_ITS_NOTICES, id)


async def due_notices(connection: Connection, now: datetime, limit: int, besides: Collection[str] = ()) -> list[Notice]:
    """Return notices that are due, the longest due first: a quarter of them at most is for one subscription."""
    due: list[Notice] = []
    counts: Counter[str] = Counter()
    async for row in connection.cursor(statements.DUE_NOTICES, to_microseconds(now), prefetch=max(limit, 1)):
        notice = read_notice(row)
        id = notice.subscription_id
        if id in besides or (id and counts[id] >= limit // 4):
            continue
        counts[id] += 1
        due.append(notice)
        if len(due) == limit:
            break
    return due


async def read_notices(connection: Connection) -> list[Notice]:
    """Return every notice, oldest first."""
    return [read_notice(row) for row in await connection.fetch(statements.READ_NOTICES)]


async def share_notice(connection: Connection, notice: Notice, among: Sequence[Notice]) -> None:
    """Put notices for subscriptions in the place of one for nobody yet; all or nothing, once."""
    if await remove_notice(connection, notice):
        await connection.executemany(statements.APPEND_NOTICE, [notice_values(each) for each in among])


async def change_notice(connection: Connection, notice: Notice) -> None:
    """Write what an attempt changes; nothing happens when the notice is gone."""
    *_, due_at, attempts, last_error = notice_values(notice)
    await connection.execute(statements.CHANGE_NOTICE, due_at, attempts, last_error, *_key(notice))


async def remove_notice(connection: Connection, notice: Notice) -> bool:
    """Forget a notice; return whether it was there."""
    return bool(await connection.execute(statements.REMOVE_NOTICE, *_key(notice)) == "DELETE 1")


def _key(notice: Notice) -> tuple[int, str, str]:
    return notice.slot, notice.alert_id, notice.subscription_id
