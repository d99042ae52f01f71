"""The outbox at work: every message that must be sent is sent, again by contract, until it is acknowledged or given up.

Invariants: a row exists before its first attempt and leaves the outbox only when its receiver has acknowledged it; all
attempts send the same bytes; a stop or a crash loses nothing, because the rows are found again at the next start.

Spec: 40 §6.3, §6.4.
"""

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from openscr.delivery.answers import render_late
from openscr.directory.model import Contract, CurrentDirectory
from openscr.errors import DeliveryError, StoreError
from openscr.identifiers import Clock, utc_now
from openscr.store.interface import OutboxRow, OutboxState, Store
from openscr.transport.verdict import AttemptResult, Verdict, judge

_log = structlog.get_logger("delivery")

DEFAULT_RETRIES = 2
DEFAULT_RETRY_INTERVAL = 60.0
DEFAULT_PERSIST_DURATION = 300.0
"""Contract towards a client that registers none. Seconds. Spec: 40 DECISION 11."""


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """Status and body of the receiver's answer."""

    status: int
    body: bytes


class Carrier(Protocol):
    """Carries one message to an address, once."""

    async def post(self, address: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        """Send and return the answer. Raises: `DeliveryError` when there is none."""


def next_state(
    row: OutboxRow, result: AttemptResult, contract: Contract, started: datetime, ended: datetime
) -> OutboxRow:
    """Return the row after an attempt that did not deliver it. Spec: 40 §6.3 steps 3-5.

    Attempts are numbered from 0 to Retries; the interval counts from the end of an attempt, PersistDuration from the
    beginning of the first.
    """
    attempts = row.attempts + 1
    first = row.first_attempt_at or started
    retries = DEFAULT_RETRIES if contract.retries is None else contract.retries
    interval = DEFAULT_RETRY_INTERVAL if contract.retry_interval is None else contract.retry_interval
    persist = DEFAULT_PERSIST_DURATION if contract.persist_duration is None else contract.persist_duration
    tried = replace(row, attempts=attempts, first_attempt_at=first, last_error=result.reason)
    again = ended + timedelta(seconds=interval)
    if result.verdict is Verdict.REFUSED or attempts > retries or again >= first + timedelta(seconds=persist):
        return replace(tried, state=OutboxState.FAILED, next_attempt_at=None)
    return replace(tried, next_attempt_at=again)


class Outbox:
    """Sends what the store's outbox holds.

    ``carriers`` are the ways to send by URL scheme. ``concurrency`` bounds the attempts under way; what does not fit
    waits in the store, not in memory. ``poll`` is how often, in seconds, the store is asked for due rows.
    """

    def __init__(
        self,
        store: Store,
        directory: CurrentDirectory,
        carriers: Mapping[str, Carrier],
        *,
        clock: Clock = utc_now,
        concurrency: int = 32,
        poll: float = 1.0,
    ) -> None:
        self._store = store
        self._directory = directory
        self._carriers = carriers
        self._clock = clock
        self._concurrency = concurrency
        self._poll = poll
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._ended_during_scan: set[str] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._backlog = True
        self._scanner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send: first of all what an earlier run left behind."""
        self._scanner = asyncio.create_task(self._scan(), name="outbox")

    async def stop(self, grace: float) -> None:
        """Start no more attempts, and give those under way ``grace`` seconds to end."""
        self._stopping = True
        self._wake.set()
        if self._scanner is not None:
            self._scanner.cancel()
            await asyncio.gather(self._scanner, return_exceptions=True)
        if self._under_way:
            _, late = await asyncio.wait(self._under_way.values(), timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def submit(self, row: OutboxRow) -> None:
        """Send a row that has just been committed; with all hands full it waits in the store."""
        if row.state is not OutboxState.OPEN or self._stopping:
            return
        if len(self._under_way) >= self._concurrency:
            self._backlog = True
            return
        self._begin(row)

    def wake(self) -> None:
        """Look at the store now: a row was opened again."""
        self._backlog = True
        self._wake.set()

    async def acknowledged(self, message_id: str, parties: Collection[str] | None) -> bool:
        """Note an acknowledgement that came later, on its own. Returns whether it was waited for. Spec: 40 §9.

        ``parties`` are those that may speak here (none: anybody, on the demo listener): only the receiver of a message
        can say that it has it.
        """
        for row in await self._store.list_outbox():
            if row.id == message_id.upper() and (parties is None or row.to_party in parties):
                await self._store.remove_outbox(row.slot, row.id)
                return True
        return False

    def _begin(self, row: OutboxRow) -> None:
        if row.id in self._under_way:
            return
        task = asyncio.create_task(self._attempt(row), name=f"deliver {row.id}")
        self._under_way[row.id] = task
        task.add_done_callback(lambda _: self._ended(row.id))

    def _ended(self, message_id: str) -> None:
        self._under_way.pop(message_id, None)
        self._ended_during_scan.add(message_id)
        if self._backlog:
            self._wake.set()

    async def _scan(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                await self._begin_due()
            except StoreError as error:
                _log.warning("outbox not readable", error=error.code)
            try:
                async with asyncio.timeout(self._poll):
                    await self._wake.wait()
            except TimeoutError:
                self._backlog = True

    async def _begin_due(self) -> None:
        free = self._concurrency - len(self._under_way)
        if free <= 0:
            return
        self._backlog = False
        wanted = free + len(self._under_way)
        # A row read now may be out of date by the time it arrives here: its attempt may have ended meanwhile.
        self._ended_during_scan.clear()
        rows = await self._store.due_outbox(self._clock(), wanted)
        for row in rows:
            if len(self._under_way) < self._concurrency and row.id not in self._ended_during_scan:
                self._begin(row)
        self._backlog = len(rows) >= wanted

    async def _attempt(self, row: OutboxRow) -> None:
        try:
            await self._send(row)
        except StoreError as error:
            _log.warning("delivery not recorded", message_id=row.id, error=error.code)
        except Exception as error:
            _log.error("delivery failed unexpectedly", message_id=row.id, error=type(error).__name__)
            raise

    async def _send(self, row: OutboxRow) -> None:
        directory = self._directory.snapshot
        endpoint = directory.endpoint(row.to_party, row.service, row.interaction)
        carrier = self._carriers.get(endpoint.address.partition(":")[0]) if endpoint is not None else None
        if endpoint is None or carrier is None:
            reason = "no endpoint registered" if endpoint is None else "address not reachable from this service"
            await self._store.change_outbox(
                replace(row, state=OutboxState.UNDELIVERABLE, next_attempt_at=None, last_error=reason)
            )
            _log.warning("undeliverable", message_id=row.id, party_key=row.to_party, reason=reason)
            return
        if not row.body:
            rendered = render_late(row, directory)
            if rendered is None:
                return
            row = rendered
            await self._store.change_outbox(row)
        started = self._clock()
        headers = {"SOAPAction": row.soap_action, "Content-Type": row.content_type}
        try:
            answer = await carrier.post(endpoint.address, headers, row.body)
            result = judge(answer.status, answer.body, row.id)
        except DeliveryError as error:
            result = AttemptResult(Verdict.RETRY, error.diagnostics)
        if result.verdict is Verdict.DELIVERED:
            await self._store.remove_outbox(row.slot, row.id)
            if result.reason:
                _log.warning("delivered", message_id=row.id, party_key=row.to_party, reason=result.reason)
            return
        after = next_state(row, result, endpoint.contract, started, self._clock())
        await self._store.change_outbox(after)
        if after.next_attempt_at is not None:
            wait = (after.next_attempt_at - self._clock()).total_seconds()
            asyncio.get_running_loop().call_later(max(0.0, wait), self._wake.set)
        _log.warning(
            "not delivered",
            message_id=row.id,
            party_key=row.to_party,
            attempt=after.attempts,
            state=after.state.value,
            reason=result.reason,
        )


def reopen(row: OutboxRow, now: datetime) -> OutboxRow:
    """Return a row that ended as failed or undeliverable, ready for a new run of attempts. Spec: 40 §6.3 step 5."""
    return replace(row, state=OutboxState.OPEN, attempts=0, next_attempt_at=now, first_attempt_at=None, last_error="")
