"""Reading alerts for those who handle them, and notices for those who give them, on SQLite.

Spec: 80 §5.1, §5.3.
"""

import sqlite3
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime

from openscr.store import statements
from openscr.store.alert_records import AlertRow, Notice, Subscription
from openscr.store.alert_rows import notice_values, read_alert, read_notice, read_subscription, subscription_values
from openscr.store.rows import period, to_microseconds


def read_alerts(
    connection: sqlite3.Connection, organisation: str | None, since: datetime | None, until: datetime | None
) -> list[AlertRow]:
    """Return alerts, oldest first. Raises: `StoreError` when one is damaged."""
    between = period(since, until)
    found = (
        connection.execute(statements.ALERTS_OF_PERIOD, between)
        if organisation is None
        else connection.execute(statements.ALERTS_OF_ORGANISATION, (organisation, *between))
    )
    return [read_alert(row) for row in found]


def slot_of_alert(connection: sqlite3.Connection, id: str) -> int | None:
    """Return the slot of an alert, or none."""
    row = connection.execute(statements.SLOT_OF_ALERT, (id,)).fetchone()
    return None if row is None else int(row[0])


def read_subscriptions(connection: sqlite3.Connection, organisation: str | None) -> list[Subscription]:
    """Return subscriptions, oldest first."""
    found = map(read_subscription, connection.execute(statements.READ_SUBSCRIPTIONS))
    return [each for each in found if organisation in (None, each.organisation)]


def write_subscription(connection: sqlite3.Connection, subscription: Subscription) -> None:
    """Keep a subscription. Raises: `sqlite3.IntegrityError` when its id exists."""
    connection.execute(statements.APPEND_SUBSCRIPTION, subscription_values(subscription))


def remove_subscription(connection: sqlite3.Connection, id: str) -> None:
    """Forget a subscription with what it had still to be told."""
    connection.execute(statements.REMOVE_SUBSCRIPTION, (id,))
    connection.execute(statements.REMOVE_ITS_NOTICES, (id,))


def due_notices(
    connection: sqlite3.Connection, now: datetime, limit: int, besides: Collection[str] = ()
) -> list[Notice]:
    """Return notices that are due, the longest due first: a quarter of them at most is for one subscription."""
    due: list[Notice] = []
    counts: Counter[str] = Counter()
    for row in connection.execute(statements.DUE_NOTICES, (to_microseconds(now),)):
        notice = read_notice(row)
        id = notice.subscription_id
        if id in besides or (id and counts[id] >= limit // 4):
            continue
        counts[id] += 1
        due.append(notice)
        if len(due) == limit:
            break
    return due


def read_notices(connection: sqlite3.Connection) -> list[Notice]:
    """Return every notice, oldest first."""
    return [read_notice(row) for row in connection.execute(statements.READ_NOTICES)]


def share_notice(connection: sqlite3.Connection, notice: Notice, among: Sequence[Notice]) -> None:
    """Put notices for subscriptions in the place of one for nobody yet; all or nothing, once."""
    if remove_notice(connection, notice):
        connection.executemany(statements.APPEND_NOTICE, [notice_values(each) for each in among])


def change_notice(connection: sqlite3.Connection, notice: Notice) -> None:
    """Write what an attempt changes; nothing happens when the notice is gone."""
    *_, due_at, attempts, last_error = notice_values(notice)
    connection.execute(statements.CHANGE_NOTICE, (due_at, attempts, last_error, *_key(notice)))


def remove_notice(connection: sqlite3.Connection, notice: Notice) -> bool:
    """Forget a notice; return whether it was there."""
    return connection.execute(statements.REMOVE_NOTICE, _key(notice)).rowcount == 1


def _key(notice: Notice) -> tuple[int, str, str]:
    return notice.slot, notice.alert_id, notice.subscription_id
