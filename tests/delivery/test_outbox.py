"""The outbox at work on a real store: what is sent, how much at once, and never twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from delivery.rows import NOON, SLOT, FakeClock, a_row, an_id, directory
from openscr.delivery.carrier import HttpAnswer
from openscr.delivery.outbox import Outbox, reopen
from openscr.directory.model import CurrentDirectory, Directory
from openscr.errors import DeliveryError
from openscr.identifiers import ebxml_timestamp
from openscr.store.interface import OutboxRow, OutboxState, Store, Transaction
from openscr.store.sqlite import SqliteStore
from openscr.testbench.world import HOSPITAL_PARTY
from openscr.transport.ebxml import read_envelope, write_acknowledgment
from openscr.transport.mime import read_multipart
from openscr.transport.xml import read_xml

Answering = Callable[[str], Awaitable[HttpAnswer]]


def acknowledgment(message_id: str) -> HttpAnswer:
    """Return what a receiver answers that has taken a message."""
    body = write_acknowledgment(
        from_party="Y90001-0000001",
        to_party="YES-0000806",
        cpa_id="S90001A000001",
        conversation_id="c",
        message_id=an_id(999_999),
        timestamp=ebxml_timestamp(NOON),
        ref_to_message_id=message_id,
    )
    return HttpAnswer(200, body)


class MemoryCarrier:
    """Carries messages to a receiver in this process.

    ``gate`` holds answers back while it is closed: every one, or those to messages that are ``slow``.
    """

    def __init__(self, answering: Callable[[str], HttpAnswer] = acknowledgment) -> None:
        self.answering = answering
        self.gate = asyncio.Event()
        self.gate.set()
        self.slow: Callable[[str], bool] = lambda _: True
        self.sent: list[str] = []
        self.bodies: list[bytes] = []
        self.under_way = 0
        self.most = 0
        self._changed = asyncio.Condition()

    async def post(
        self, address: str, headers: Mapping[str, str], body: bytes, names: Collection[str] = ()
    ) -> HttpAnswer:
        """Take a message, and answer when the gate is open."""
        assert address == "memory:"
        multipart = read_multipart(headers["Content-Type"], body)
        message_id = read_envelope(read_xml(multipart.root.content(body))).message_id
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        async with self._changed:
            self.sent.append(message_id)
            self.bodies.append(body)
            self._changed.notify_all()
        try:
            if self.slow(message_id):
                await self.gate.wait()
            return self.answering(message_id)
        finally:
            self.under_way -= 1

    async def has_sent(self, count: int) -> None:
        """Wait until so many attempts have begun."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(lambda: len(self.sent) >= count)


class WatchedStore(SqliteStore):
    """The real store, which tells when rows change and can hold back what a scan has read."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.changes = 0
        self.scans = 0
        self.hold: asyncio.Event | None = None
        self.breaks: Exception | None = None
        self._changed = asyncio.Condition()

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    async def due_outbox(self, now: datetime, limit: int, *, besides: Sequence[str] = ()) -> list[OutboxRow]:
        """Read as the store does, or break once; then wait, if a test wants the answer to be old."""
        if (error := self.breaks) is not None:
            self.breaks = None
            raise error
        rows = await super().due_outbox(now, limit, besides=besides)
        self.scans += 1
        await self._tell()
        if self.hold is not None:
            await self.hold.wait()
        return rows

    async def change_outbox(self, row: OutboxRow, *, keep: bool = False, whoever: bool = False) -> bool:
        """Change as the store does."""
        done = await super().change_outbox(row, keep=keep, whoever=whoever)
        self.changes += 1
        await self._tell()
        return done

    async def remove_outbox(self, slot: int, id: str) -> None:
        """Remove as the store does."""
        await super().remove_outbox(slot, id)
        self.changes += 1
        await self._tell()

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds that changes with the rows."""
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(holds)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[WatchedStore]:
    store = WatchedStore(tmp_path / "openscr.db")
    await store.open()
    yield store
    await store.close()


async def keep(store: Store, *rows: OutboxRow) -> None:
    """Put rows into the outbox, as the transaction that decided does."""

    async def work(transaction: Transaction) -> None:
        for row in rows:
            await transaction.append_outbox(row)

    await store.transact(SLOT, work)


class Bench:
    """An outbox with a clock that a test moves; it looks at the store all the time."""

    def __init__(self, store: WatchedStore, carrier: MemoryCarrier, where: Directory, concurrency: int = 4) -> None:
        self.clock = FakeClock()
        self.current = CurrentDirectory(where)
        self.known_to_live = True
        self.outbox = Outbox(
            store,
            self.current,
            {"memory": carrier},
            clock=self.clock,
            concurrency=concurrency,
            poll=0.01,
            may_send=lambda: self.known_to_live,
        )


async def test_no_more_attempts_are_under_way_than_allowed(store: WatchedStore) -> None:
    """Twenty rows and four hands: what does not fit waits in the store, and all of it is sent, once.

    One receiver has no more hands than are left free for the others.
    """
    carrier = MemoryCarrier()
    carrier.gate.clear()
    bench = Bench(store, carrier, directory())
    rows = [a_row(number) for number in range(20)]
    await keep(store, *rows)
    bench.outbox.start()
    for row in rows:
        bench.outbox.submit(row)
    await carrier.has_sent(2)
    scans = store.scans
    await store.until(lambda: store.scans > scans + 1)
    assert (len(carrier.sent), carrier.under_way) == (2, 2)
    carrier.gate.set()
    await store.until(lambda: store.changes == 20)
    assert carrier.most == 2
    assert sorted(carrier.sent) == [row.id for row in rows]
    assert await store.list_outbox() == []
    await bench.outbox.stop(1)


@pytest.mark.parametrize("concurrency", [1, 2, 3, 16])
async def test_a_receiver_that_is_slow_holds_up_nobody_else(store: WatchedStore, concurrency: int) -> None:
    """A long queue to a receiver that never answers: another's answers go out, submitted or found in the store."""
    carrier = MemoryCarrier()
    carrier.gate.clear()
    slow = [a_row(number) for number in range(200)]
    carrier.slow = {row.id for row in slow}.__contains__
    quick = [a_row(1000 + number, party=HOSPITAL_PARTY) for number in range(40)]
    bench = Bench(store, carrier, directory(), concurrency)
    # With a single hand there is no other to give: only what comes before the slow one is sent.
    at_once = quick[:20] if concurrency > 1 else []
    await keep(store, *slow, *at_once)
    bench.outbox.start()
    for row in slow:
        bench.outbox.submit(row)
    await store.until(lambda: store.changes == len(at_once))
    if concurrency > 1:
        await keep(store, *quick[20:])
        for row in quick[20:]:
            bench.outbox.submit(row)
        await store.until(lambda: store.changes == 40)
    assert {row.id for row in await store.list_outbox()} == {row.id for row in slow}
    assert carrier.under_way <= max(1, concurrency // 2 + concurrency % 2)
    carrier.gate.set()
    await store.until(lambda: store.changes == len(slow) + (40 if concurrency > 1 else 0))
    assert len(carrier.sent) == len(set(carrier.sent))
    assert carrier.most <= concurrency
    await bench.outbox.stop(1)


async def test_what_an_earlier_run_left_is_sent_first_of_all(store: WatchedStore) -> None:
    rows = [a_row(number) for number in range(3)]
    await keep(store, *rows)
    carrier = MemoryCarrier()
    bench = Bench(store, carrier, directory())
    bench.outbox.start()
    await store.until(lambda: store.changes == 3)
    assert sorted(carrier.bodies) == sorted(row.body for row in rows)
    await bench.outbox.stop(1)


async def test_a_scan_that_overlaps_a_delivery_does_not_send_again(store: WatchedStore) -> None:
    """The scan has read the row, the attempt ends, the scan goes on with what it has read: nothing is sent twice."""
    carrier = MemoryCarrier()
    bench = Bench(store, carrier, directory())
    store.hold = asyncio.Event()
    row = a_row(1)
    await keep(store, row)
    bench.outbox.start()
    await store.until(lambda: store.scans == 1)
    bench.outbox.submit(row)
    await store.until(lambda: store.changes == 1)
    store.hold.set()
    # Another row, and another scan: by then the first scan has done what it does with its old rows.
    other = a_row(2)
    await keep(store, other)
    await store.until(lambda: store.changes == 2)
    assert carrier.sent == [row.id, other.id]
    await bench.outbox.stop(1)


async def test_a_scan_that_overlaps_a_failure_does_not_hurry_the_next_attempt(store: WatchedStore) -> None:
    carrier = MemoryCarrier(lambda _: HttpAnswer(500, b""))
    bench = Bench(store, carrier, directory(retries=2, retry_interval=60.0, persist_duration=300.0))
    store.hold = asyncio.Event()
    row = a_row(1)
    await keep(store, row)
    bench.outbox.start()
    await store.until(lambda: store.scans == 1)
    bench.outbox.submit(row)
    await store.until(lambda: store.changes == 1)
    store.hold.set()
    await store.until(lambda: store.scans >= 2)
    assert carrier.sent == [row.id]
    await bench.outbox.stop(1)
    (waiting,) = await store.list_outbox()
    assert (waiting.attempts, (waiting.next_attempt_at or NOON) - NOON) == (1, (NOON.replace(minute=1) - NOON))


async def test_attempts_follow_the_clock_until_the_contract_ends(store: WatchedStore) -> None:
    """Not before they are due; the same bytes each time; then the row is kept as failed, and can be opened again."""

    def refuse(_: str) -> HttpAnswer:
        raise DeliveryError("no connection")

    carrier = MemoryCarrier(refuse)
    bench = Bench(store, carrier, directory(retries=2, retry_interval=60.0, persist_duration=300.0))
    row = a_row(1)
    await keep(store, row)
    bench.outbox.start()
    for attempt in (1, 2, 3):
        await store.until(lambda attempt=attempt: store.changes == attempt)
        scans = store.scans
        bench.clock.advance(59)
        await store.until(lambda scans=scans: store.scans > scans + 1)
        assert len(carrier.sent) == attempt
        bench.clock.advance(1)
    (failed,) = await store.list_outbox()
    assert (failed.state, failed.attempts, failed.last_error) == (OutboxState.FAILED, 3, "no connection")
    assert carrier.bodies == [row.body] * 3

    carrier.answering = acknowledgment
    await store.change_outbox(reopen(failed, bench.clock()))
    await store.until(lambda: store.changes == 5)
    assert carrier.bodies == [row.body] * 4
    assert await store.list_outbox() == []
    await bench.outbox.stop(1)


async def test_an_acknowledgement_that_comes_later_ends_the_attempts(store: WatchedStore) -> None:
    """Also while an attempt is under way, whose failure then changes nothing. Spec: 40 §9."""
    carrier = MemoryCarrier(lambda _: HttpAnswer(202, b""))
    carrier.gate.clear()
    bench = Bench(store, carrier, directory())
    row = a_row(0xABC)
    await keep(store, row)
    bench.outbox.submit(row)
    await carrier.has_sent(1)
    assert not await bench.outbox.acknowledged(an_id(1), None)
    assert not await bench.outbox.acknowledged(row.id, {"another-party"})
    assert await bench.outbox.acknowledged(row.id.lower(), {row.to_party})
    assert not await bench.outbox.acknowledged(row.id, None)
    carrier.gate.set()
    await store.until(lambda: store.changes == 2)
    assert await store.list_outbox() == []
    await bench.outbox.stop(1)


async def test_a_refusal_that_comes_later_ends_the_attempts_as_failed(store: WatchedStore) -> None:
    """From its receiver only; an attempt that is under way then changes nothing. Spec: 40 §6.3 step 3."""
    carrier = MemoryCarrier(lambda _: HttpAnswer(202, b""))
    carrier.gate.clear()
    bench = Bench(store, carrier, directory())
    row = a_row(0xABC)
    await keep(store, row)
    bench.outbox.submit(row)
    await carrier.has_sent(1)
    assert not await bench.outbox.refused(an_id(1), None)
    assert not await bench.outbox.refused(row.id, {"another-party"})
    assert await bench.outbox.refused(row.id.lower(), {row.to_party})
    assert not await bench.outbox.refused(row.id, None)
    carrier.gate.set()
    await bench.outbox.stop(30)
    (failed,) = await store.list_outbox()
    assert (failed.state, failed.next_attempt_at, failed.body) == (OutboxState.FAILED, None, row.body)
    assert failed.last_error == "MessageError, posted later"


async def test_an_acknowledgement_after_all_ends_a_row_that_has_failed(store: WatchedStore) -> None:
    bench = Bench(store, MemoryCarrier(), directory())
    row = a_row(1)
    await keep(store, row)
    assert await bench.outbox.refused(row.id, None)
    assert await bench.outbox.acknowledged(row.id, None)
    assert await store.list_outbox() == []


class Broken(Exception):
    """What nobody has thought of; its text is a patient's."""


async def test_what_nobody_has_thought_of_is_tried_again_by_contract(store: WatchedStore) -> None:
    """The contract's end comes all the same, and the log tells no more than the type."""

    def break_down(_: str) -> HttpAnswer:
        raise Broken("9990000018")

    carrier = MemoryCarrier(break_down)
    bench = Bench(store, carrier, directory(retries=1, retry_interval=60.0, persist_duration=300.0))
    row = a_row(1)
    await keep(store, row)
    with capture_logs() as logs:
        bench.outbox.start()
        await store.until(lambda: store.changes == 1)
        (waiting,) = await store.list_outbox()
        assert (waiting.attempts, waiting.last_error) == (1, "failed unexpectedly (Broken)")
        assert waiting.next_attempt_at == NOON.replace(minute=1)
        bench.clock.advance(60)
        await store.until(lambda: store.changes == 2)
        await bench.outbox.stop(1)
    (failed,) = await store.list_outbox()
    assert (failed.state, failed.attempts, failed.body) == (OutboxState.FAILED, 2, row.body)
    assert [log["error"] for log in logs if log["log_level"] == "error"] == ["Broken", "Broken"]
    assert "9990000018" not in repr(logs)


async def test_an_answer_that_cannot_be_rendered_is_given_up_by_contract(store: WatchedStore) -> None:
    bench = Bench(store, MemoryCarrier(), directory(retries=0))
    row = replace(reopen(a_row(1, directory(None)), NOON), answer=b"{}")
    await keep(store, row)
    bench.outbox.start()
    await store.until(lambda: store.changes == 1)
    (failed,) = await store.list_outbox()
    assert (failed.state, failed.last_error) == (OutboxState.FAILED, "failed unexpectedly (ValidationError)")
    await bench.outbox.stop(1)


async def test_who_is_not_known_to_live_sends_nothing_and_says_so(store: WatchedStore) -> None:
    """Somebody else may have what is ours: neither what was just kept is sent, nor what is due; later all of it is."""
    carrier = MemoryCarrier()
    bench = Bench(store, carrier, directory())
    bench.known_to_live = False
    rows = [a_row(number) for number in range(3)]
    await keep(store, *rows)
    bench.outbox.start()
    assert not bench.outbox.at_work
    bench.outbox.submit(rows[0])
    assert not bench.outbox._under_way
    bench.known_to_live = True
    assert bench.outbox.at_work
    await store.until(lambda: store.changes == 3)
    assert sorted(carrier.sent) == sorted(row.id for row in rows)
    await bench.outbox.stop(1)


async def test_the_outbox_goes_on_after_whatever_ends_its_scan(store: WatchedStore) -> None:
    """It says that it is not at work while it is not; a row that waits is sent all the same."""
    carrier = MemoryCarrier()
    bench = Bench(store, carrier, directory())
    assert not bench.outbox.at_work
    row = a_row(1)
    await keep(store, row)
    store.breaks = Broken("9990000018")
    with capture_logs() as logs:
        bench.outbox.start()
        assert bench.outbox.at_work
        await store.until(lambda: store.changes == 1)
    assert carrier.sent == [row.id]
    assert bench.outbox.at_work
    assert [(log["event"], log["error"]) for log in logs] == [("outbox scan ended unexpectedly", "Broken")]
    await bench.outbox.stop(1)
    assert not bench.outbox.at_work


async def test_a_row_without_an_endpoint_is_kept_and_rendered_once_there_is_one(store: WatchedStore) -> None:
    carrier = MemoryCarrier()
    bench = Bench(store, carrier, directory(None))
    row = a_row(1, directory(None))
    await keep(store, row)
    bench.outbox.start()
    bench.outbox.submit(row)
    await store.change_outbox(reopen(row, NOON))
    await store.until(lambda: store.changes == 2)
    (waiting,) = await store.list_outbox()
    assert (waiting.state, waiting.last_error, waiting.body) == (
        OutboxState.UNDELIVERABLE,
        "no endpoint registered",
        b"",
    )
    bench.current.snapshot = directory()
    await store.change_outbox(reopen(waiting, NOON))
    await store.until(lambda: store.changes == 5)
    assert carrier.bodies == [a_row(1).body]
    assert await store.list_outbox() == []
    await bench.outbox.stop(1)


async def test_rendered_bytes_are_durable_before_they_are_sent(store: WatchedStore) -> None:
    """A crash after the first attempt must find the same bytes, not render them again. Spec: 40 §6.3 step 1."""
    carrier = MemoryCarrier()
    carrier.gate.clear()
    bench = Bench(store, carrier, directory())
    row = reopen(a_row(1, directory(None)), NOON)
    await keep(store, row)
    bench.outbox.submit(row)
    await carrier.has_sent(1)
    (kept,) = await store.list_outbox()
    assert kept.body == carrier.bodies[0] != b""
    carrier.gate.set()
    await store.until(lambda: store.changes == 2)
    await bench.outbox.stop(1)


async def test_an_address_that_no_carrier_reaches_is_undeliverable(store: WatchedStore) -> None:
    bench = Bench(store, MemoryCarrier(), directory("gopher://receiver/"))
    row = a_row(1)
    await keep(store, row)
    bench.outbox.submit(row)
    await store.until(lambda: store.changes == 1)
    (waiting,) = await store.list_outbox()
    assert waiting == replace(
        row,
        state=OutboxState.UNDELIVERABLE,
        next_attempt_at=None,
        last_error="address not reachable from this service",
    )
    await bench.outbox.stop(1)


async def test_a_stop_lets_attempts_end_and_begins_no_more(store: WatchedStore) -> None:
    carrier = MemoryCarrier()
    carrier.gate.clear()
    bench = Bench(store, carrier, directory(), concurrency=4)
    rows = [a_row(number) for number in range(4)]
    await keep(store, *rows)
    bench.outbox.start()
    await carrier.has_sent(2)

    async def go_on() -> None:
        bench.outbox.submit(rows[3])
        carrier.gate.set()

    await asyncio.gather(bench.outbox.stop(30), go_on())
    assert len(carrier.sent) == 2
    left = await store.list_outbox()
    assert {row.id for row in left} == {row.id for row in rows} - set(carrier.sent)
    assert all((row.state, row.attempts) == (OutboxState.OPEN, 0) for row in left)


async def test_a_stop_does_not_wait_for_a_receiver_for_ever(store: WatchedStore) -> None:
    """What is cut off stays open, as if its attempt had not been: it begins again after the next start."""
    carrier = MemoryCarrier()
    carrier.gate.clear()
    bench = Bench(store, carrier, directory())
    row = a_row(1)
    await keep(store, row)
    bench.outbox.submit(row)
    await carrier.has_sent(1)
    await bench.outbox.stop(0)
    assert await store.list_outbox() == [row]
