"""The outbox at work: every message that must be sent is sent, again by contract, until it is acknowledged or given up.

Invariants: a row exists before its first attempt and leaves the outbox only when its receiver has acknowledged it; all
attempts send the same bytes; a stop or a crash loses nothing, because the rows are found again at the next start.

Spec: 40 §6.3, §6.4.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import datetime

import structlog

from openscr.delivery.answers import is_express, render_late
from openscr.delivery.carrier import Carrier
from openscr.delivery.schedule import after_failure, terms_of
from openscr.directory.model import Contract, CurrentDirectory
from openscr.errors import DeliveryError, StoreError
from openscr.identifiers import Clock, utc_now
from openscr.store.interface import OutboxRow, OutboxState, Store
from openscr.transport.verdict import AttemptResult, Verdict, judge, judge_express

_log = structlog.get_logger("delivery")


def next_state(
    row: OutboxRow, result: AttemptResult, contract: Contract, started: datetime, ended: datetime
) -> OutboxRow:
    """Return the row after an attempt that did not deliver it. Spec: 40 §6.3 steps 3-5, §7.2.

    The answer to a query has one attempt, whatever the contract says, and is not kept after it: who asked asks again.
    """
    terms = terms_of(contract)
    progress = after_failure(row.attempts, row.first_attempt_at, result.verdict, terms, started, ended)
    tried = replace(
        row, attempts=progress.attempts, first_attempt_at=progress.first_attempt_at, last_error=result.reason
    )
    if is_express(row):
        return replace(_spent(tried), state=OutboxState.FAILED, next_attempt_at=None)
    if progress.next_attempt_at is None:
        return replace(tried, state=OutboxState.FAILED, next_attempt_at=None)
    return replace(tried, next_attempt_at=progress.next_attempt_at)


def _spent(row: OutboxRow) -> OutboxRow:
    """Return a row that will not be sent again as it is kept: of the answer to a query nothing clinical remains."""
    return replace(row, body=b"") if is_express(row) else row


class Outbox:
    """Sends what the store's outbox holds.

    ``carriers`` are the ways to send by URL scheme. ``concurrency`` bounds the attempts under way; of these one party
    has no more than it leaves free, so that a receiver that is slow holds up nobody else. What does not fit waits in
    the store, not in memory. ``poll`` is how often, in seconds, the store is asked for due rows.

    Of several workers on one store each sends what it has accepted, and takes what is nobody's when it is due, as long
    as ``may_send`` says that the others know of it: else what it has could be theirs by now.
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
        may_send: Callable[[], bool] = lambda: True,
    ) -> None:
        self._store = store
        self._directory = directory
        self._carriers = carriers
        self._clock = clock
        self._concurrency = concurrency
        self._poll = poll
        self._may_send = may_send
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._of_party: Counter[str] = Counter()
        self._held_back: set[str] = set()
        self._changed_during_scan: set[str] = set()
        self._refused: set[str] = set()
        self._wake = asyncio.Event()
        self._stopping = False
        self._backlog = True
        self._scanner: asyncio.Task[None] | None = None

    @property
    def at_work(self) -> bool:
        """Whether the store is being asked for due rows."""
        return self._scanner is not None and not self._scanner.done() and not self._stopping and self._may_send()

    def start(self) -> None:
        """Begin to send: first of all what an earlier run left behind."""
        if self._stopping:
            return
        self._scanner = asyncio.create_task(self._scan(), name="outbox")
        self._scanner.add_done_callback(self._scanner_ended)

    def _scanner_ended(self, scanner: asyncio.Task[None]) -> None:
        """Begin again after a pause: whatever went wrong, what waits must still be sent."""
        if self._stopping or scanner.cancelled():
            return
        error = scanner.exception()
        _log.error("outbox scan ended unexpectedly", error=type(error).__name__)
        scanner.get_loop().call_later(self._poll, self.start)

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
        """Send a row that has just been committed; with the hands full it waits in the store."""
        if row.state is not OutboxState.OPEN or self._stopping:
            return
        if self._has_room_for(row.to_party) and self._may_send():
            self._begin(row)
        else:
            self._held_back.add(row.to_party)

    async def acknowledged(self, message_id: str, parties: Collection[str] | None) -> bool:
        """Note an acknowledgement that came later, on its own. Returns whether it was waited for. Spec: 40 §9.

        ``parties`` are those that may speak here (none: anybody, on the demo listener): only the receiver of a message
        can say that it has it.
        """
        row = await self._sent_to(message_id, parties)
        if row is None:
            return False
        self._changed_during_scan.add(row.id)
        await self._store.remove_outbox(row.slot, row.id)
        return True

    async def refused(self, message_id: str, parties: Collection[str] | None) -> bool:
        """Note a refusal that came later, on its own: the row ends as failed. Returns whether it was waited for.

        ``parties`` as for `acknowledged`. Spec: 40 §6.3 step 3.
        """
        row = await self._sent_to(message_id, parties)
        if row is None or row.damaged or row.state is not OutboxState.OPEN:
            return False
        if row.id in self._under_way:
            self._refused.add(row.id)
        self._changed_during_scan.add(row.id)
        failed = replace(
            _spent(row), state=OutboxState.FAILED, next_attempt_at=None, last_error="MessageError, posted later"
        )
        # Another worker may be sending it: what its receiver says counts for that one too.
        if not await self._store.change_outbox(failed, whoever=True):
            return False
        _log.warning("refused later", message_id=row.id, party_key=row.to_party)
        return True

    async def _sent_to(self, message_id: str, parties: Collection[str] | None) -> OutboxRow | None:
        row = await self._store.find_outbox(message_id.upper())
        return row if row is not None and (parties is None or row.to_party in parties) else None

    # --- what is under way ------------------------------------------------------------------------------------------

    def _has_room_for(self, party: str) -> bool:
        return self._of_party[party] < self._concurrency - len(self._under_way)

    def _begin(self, row: OutboxRow) -> None:
        if row.id in self._under_way:
            return
        task = asyncio.create_task(self._attempt(row), name=f"deliver {row.id}")
        self._under_way[row.id] = task
        self._of_party[row.to_party] += 1
        task.add_done_callback(lambda _: self._ended(row))

    def _ended(self, row: OutboxRow) -> None:
        self._under_way.pop(row.id, None)
        self._refused.discard(row.id)
        self._of_party[row.to_party] -= 1
        if not self._of_party[row.to_party]:
            del self._of_party[row.to_party]
        self._changed_during_scan.add(row.id)
        if self._backlog or any(self._has_room_for(party) for party in self._held_back):
            self._wake.set()

    async def _scan(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                await self._begin_due()
            except StoreError as error:
                _log.warning("outbox not readable", error=error.code)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._poll):
                    await self._wake.wait()

    async def _begin_due(self) -> None:
        self._backlog = True
        if not self._may_send():
            return
        while (free := self._concurrency - len(self._under_way)) > 0:
            # Rows of a party whose share is taken are not even read: its queue may be long, and others wait behind it.
            self._held_back = {party for party in self._of_party if not self._has_room_for(party)}
            # Rows under way are still open in the store and come again.
            wanted = free + len(self._under_way)
            # A row read now may be out of date by the time it arrives here: its attempt may have ended meanwhile.
            self._changed_during_scan.clear()
            rows = await self._store.due_outbox(self._clock(), wanted, besides=sorted(self._held_back))
            for row in rows:
                if row.id in self._under_way or row.id in self._changed_during_scan:
                    continue
                if self._has_room_for(row.to_party):
                    self._begin(row)
                else:
                    self._held_back.add(row.to_party)
            if len(rows) < wanted:
                self._backlog = False
                return

    async def _attempt(self, row: OutboxRow) -> None:
        started = self._clock()
        try:
            try:
                await self._send(row, started)
            except (StoreError, asyncio.CancelledError):
                raise
            except Exception as error:  # noqa: BLE001 whatever it is, the contract's end must come
                endpoint = self._directory.snapshot.endpoint(row.to_party, row.service, row.interaction)
                contract = endpoint.contract if endpoint is not None else Contract("none")
                await self._note_failure(row, _unexpected(row, error), contract, started)
        except StoreError as error:
            _log.warning("delivery not recorded", message_id=row.id, error=error.code)

    async def _send(self, row: OutboxRow, started: datetime) -> None:
        directory = self._directory.snapshot
        endpoint = directory.endpoint(row.to_party, row.service, row.interaction)
        carrier = self._carriers.get(endpoint.address.partition(":")[0]) if endpoint is not None else None
        if endpoint is None or carrier is None:
            reason = "no endpoint registered" if endpoint is None else "address not reachable from this service"
            await self._store.change_outbox(
                replace(_spent(row), state=OutboxState.UNDELIVERABLE, next_attempt_at=None, last_error=reason)
            )
            _log.warning("undeliverable", message_id=row.id, party_key=row.to_party, reason=reason)
            return
        express = is_express(row)
        if not row.body and express:
            reason = "the answer was not kept; the query has to be asked again"
            await self._store.change_outbox(
                replace(row, state=OutboxState.FAILED, next_attempt_at=None, last_error=reason)
            )
            _log.warning("not delivered", message_id=row.id, party_key=row.to_party, reason=reason)
            return
        if not row.body:
            rendered = render_late(row, directory)
            if rendered is None:
                return
            row = rendered
            if not await self._store.change_outbox(row, keep=True):
                return
        headers = {"SOAPAction": row.soap_action, "Content-Type": row.content_type}
        try:
            party = directory.parties.get(row.to_party)
            answer = await carrier.post(endpoint.address, headers, row.body, party.fqdn if party is not None else ())
            result = judge_express(answer.status, answer.body) if express else judge(answer.status, answer.body, row.id)
        except DeliveryError as error:
            result = AttemptResult(Verdict.RETRY, error.diagnostics)
        except Exception as error:  # noqa: BLE001 as above; here the bytes that were sent are kept
            result = _unexpected(row, error)
        if result.verdict is Verdict.DELIVERED:
            await self._store.remove_outbox(row.slot, row.id)
            if result.reason:
                _log.warning("delivered", message_id=row.id, party_key=row.to_party, reason=result.reason)
            return
        await self._note_failure(row, result, endpoint.contract, started)

    async def _note_failure(self, row: OutboxRow, result: AttemptResult, contract: Contract, started: datetime) -> None:
        if row.id in self._refused:
            return
        after = next_state(row, result, contract, started, self._clock())
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


def _unexpected(row: OutboxRow, error: Exception) -> AttemptResult:
    """Take a failure of our own for one that may pass. The error's text could hold anything: only its type is told."""
    name = type(error).__name__
    _log.error("delivery failed unexpectedly", message_id=row.id, error=name)
    return AttemptResult(Verdict.RETRY, f"failed unexpectedly ({name})")


def reopen(row: OutboxRow, now: datetime) -> OutboxRow:
    """Return a row that ended as failed or undeliverable, ready for a new run of attempts. Spec: 40 §6.3 step 5."""
    return replace(row, state=OutboxState.OPEN, attempts=0, next_attempt_at=now, first_attempt_at=None, last_error="")
