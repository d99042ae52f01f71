"""Telling officers of new alerts: durable, on its own time, and never with a word about patient or user.

The notice of an alert is written in the transaction that raises it. A sweep shares it out among those who have
subscribed, and sends each its own, again after a while where that failed, until it is taken or three days are over. A
restart finds what is left in the store. No request ever waits for any of this.

Spec: 80 §5.1, §5.3; 35 §6 "notifications carry no patient or user identity".
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol

import structlog

from openscr.errors import DeliveryError, StoreError
from openscr.identifiers import Clock
from openscr.metrics import Metrics
from openscr.store.alert_records import Notice, Subscription
from openscr.store.interface import Store

SWEEP_SECONDS: Final = 1.0
DUE_AT_ONCE: Final = 200
FIRST_PAUSE: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = timedelta(hours=1)
GIVEN_UP_AFTER: Final = timedelta(days=3)

_log = structlog.get_logger("notifications")


class Sender(Protocol):
    """One way of telling somebody."""

    async def send(self, subscription: Subscription, alert_id: str) -> None:
        """Tell a subscriber of an alert, by its reference alone. Raises: `DeliveryError`."""


def pause_after(attempts: int) -> timedelta:
    """Return how long to wait after so many failed attempts: twice as long each time, an hour at most."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * (1 << min(attempts - 1, 10)))


class Notifier:
    """Sends what is due, subscriber by subscriber, so that one who does not answer holds up nobody else.

    ``senders`` are the ways of telling by the ``kind`` of a subscription. Of all workers on a store one tells, so that
    nobody is told twice: the one of which ``leads`` says so.
    """

    def __init__(
        self,
        store: Store,
        senders: Mapping[str, Sender],
        metrics: Metrics,
        *,
        clock: Clock,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._senders = dict(senders)
        self._metrics = metrics
        self._clock = clock
        self._leads = leads
        self._task: asyncio.Task[None] | None = None
        self._busy: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Begin to look for notices."""
        self._task = asyncio.create_task(self._run(), name="notifications")

    async def stop(self) -> None:
        """Stop; what was under way is tried again at the next start."""
        tasks = [task for task in (self._task, *self._busy.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                if self._leads():
                    await self.sweep()
            except StoreError as error:
                _log.warning("notices not read", error=error.code)
            except Exception as error:  # noqa: BLE001 the sweep must outlive whatever happens in it
                _log.error("notices failed", error=type(error).__name__)
            await asyncio.sleep(SWEEP_SECONDS)

    async def sweep(self) -> None:
        """Share out what is new, and begin to send what is due to everybody who is not being sent to already."""
        now = self._clock()
        due = await self._store.due_notices(now, DUE_AT_ONCE, besides=frozenset(self._busy))
        if not due:
            return
        subscriptions = {each.id: each for each in await self._store.read_subscriptions()}
        waiting: defaultdict[str, list[Notice]] = defaultdict(list)
        for notice in due:
            if not notice.subscription_id:
                await self._store.share_notice(notice, _shared(notice, subscriptions.values(), now))
            elif notice.subscription_id not in subscriptions:
                await self._store.remove_notice(notice)
            else:
                waiting[notice.subscription_id].append(notice)
        for id, notices in waiting.items():
            task = asyncio.create_task(self._tell(subscriptions[id], notices), name="notices of a subscription")
            self._busy[id] = task
            task.add_done_callback(partial(self._done, id))

    def _done(self, id: str, _: "asyncio.Task[None]") -> None:
        self._busy.pop(id, None)

    async def idle(self) -> None:
        """Wait until everything that was begun has ended."""
        while self._busy:
            await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _tell(self, subscription: Subscription, notices: Iterable[Notice]) -> None:
        # One that is refused again and again stands in the way of none that is new.
        for notice in sorted(notices, key=lambda notice: notice.attempts):
            try:
                if not await self._tell_one(subscription, notice):
                    # Who does not take this one will hardly take the next.
                    await self._store.postpone_notices(subscription.id, self._clock() + FIRST_PAUSE)
                    return
            except StoreError as error:
                _log.warning("notice not kept", error=error.code)
                return

    async def _tell_one(self, subscription: Subscription, notice: Notice) -> bool:
        sender = self._senders.get(subscription.kind)
        failure = "this service cannot send there"
        if sender is not None:
            try:
                await sender.send(subscription, notice.alert_id)
            except DeliveryError as error:
                failure = error.diagnostics
            except Exception as error:  # noqa: BLE001 a receiver must not end the sending to it, whatever it answers
                failure = type(error).__name__
            else:
                await self._store.remove_notice(notice)
                self._metrics.notice(subscription.kind, "sent")
                return True
        now, attempts = self._clock(), notice.attempts + 1
        over = now - notice.created_at >= GIVEN_UP_AFTER
        due_at = None if over else now + pause_after(attempts)
        await self._store.change_notice(replace(notice, due_at=due_at, attempts=attempts, last_error=failure))
        self._metrics.notice(subscription.kind, "given-up" if over else "failed")
        # Neither the address nor the alert: an address may be a person's.
        log = _log.error if over else _log.warning
        log("notice given up" if over else "notice not sent", subscription=subscription.id, error=failure)
        return False


def _shared(notice: Notice, subscriptions: Iterable[Subscription], now: datetime) -> list[Notice]:
    """Return a notice for everybody who is to be told of this alert."""
    return [
        replace(notice, subscription_id=each.id, due_at=now)
        for each in subscriptions
        if each.organisation == notice.organisation and notice.type in each.types
    ]
