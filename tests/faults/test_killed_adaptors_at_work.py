"""Adaptors that are killed again and again while suppliers send, the Spine replies, and the queue is read.

Spec: 50 §14.4 A3; E4, E5, F4, F11.
"""

import asyncio
import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from faults.adaptor_site import Site, adaptor_site, free_port
from journeys.adaptor import Adaptor, Supplier
from journeys.runner import PATIENCE
from journeys.stub_estate import acceptance_of, queue_stats
from mhs.stub_spine import Received, acknowledge, reply_message
from openscr.codes import UPLOAD
from openscr.identifiers import mint_uuid

MESSAGES, KILLS, SUPPLIERS = 60, 4, 4
GONE = (aiohttp.ClientError, ConnectionError, TimeoutError)
BETWEEN = 0.05
"""Seconds between two calls of somebody who finds nobody there."""


@dataclass
class Book:
    """What suppliers, Spine and queue reader have seen, and what should not have been (``faults``)."""

    accepted: set[str] = field(default_factory=set)
    replied: set[str] = field(default_factory=set)
    seen: Counter[str] = field(default_factory=Counter)
    """Message ids by the queue's own ids: each message must have one."""
    queue_ids: dict[str, str] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)
    moved: asyncio.Condition = field(default_factory=asyncio.Condition)
    broken_calls: int = 0

    @property
    def progress(self) -> int:
        """How many steps have been made."""
        return len(self.accepted) + len(self.replied) + len(self.taken)

    async def note(self, of: set[str], message_id: str) -> None:
        """Keep that a step was made."""
        async with self.moved:
            of.add(message_id)
            self.moved.notify_all()

    async def reaches(self, steps: int) -> None:
        """Wait until so many steps were made."""
        async with asyncio.timeout(2 * PATIENCE), self.moved:
            await self.moved.wait_for(lambda: self.progress >= steps)


class Replier:
    """The Spine's side: one reply to each message, the same until it is acknowledged, however often it was sent."""

    def __init__(self, site: Site, adaptor: Adaptor, book: Book) -> None:
        self._site = site
        self._adaptor = adaptor
        self._book = book
        self._known: set[str] = set()

    async def reply_to(self, received: Received) -> None:
        """Answer one message unless it was answered before."""
        message_id = received.envelope.message_id
        if message_id in self._known:
            return
        self._known.add(message_id)
        headers, body = reply_message(received.envelope, acceptance_of(received))
        while True:
            try:
                status, answer = await self._site.post(self._adaptor, headers, body)
            except GONE:
                self._book.broken_calls += 1
                await asyncio.sleep(BETWEEN)
                continue
            if (status, b"<eb:Acknowledgment " in answer) == (200, True):
                await self._book.note(self._book.replied, message_id)
            else:
                self._book.faults.append(f"a reply was answered with {status}: {answer[:200]!r}")
            return


async def supply(adaptor: Adaptor, ids: list[str], book: Book) -> None:
    """Send messages one by one, each until somebody says that it is accepted."""
    async with Supplier(adaptor) as supplier:
        while ids:
            message_id = ids.pop()
            while message_id not in book.accepted:
                try:
                    told = await supplier.send(UPLOAD, f"<{UPLOAD}/>", message_id=message_id)
                except GONE:
                    book.broken_calls += 1
                    await asyncio.sleep(BETWEEN)
                    continue
                if told.status == 202:
                    await book.note(book.accepted, message_id)
                else:
                    raise AssertionError(f"a message was answered with {told.status}: {told.text[:200]}")


async def read_queue(adaptor: Adaptor, book: Book) -> None:
    """Read the queue and acknowledge what comes, until told to end."""
    async with Supplier(adaptor) as supplier:
        while True:
            try:
                told = await supplier.ask("GET", "/queue/messages?wait=1&max=5")
                for message in json.loads(told.body)["messages"] if told.status == 200 else ():
                    await _take(supplier, message, book)
            except GONE:
                book.broken_calls += 1
                await asyncio.sleep(BETWEEN)


async def _take(supplier: Supplier, message: dict[str, object], book: Book) -> None:
    properties = message["properties"]
    assert isinstance(properties, dict)
    message_id, queue_id = str(properties["message-id"]), str(message["id"])
    book.seen[message_id] += 1
    if book.queue_ids.setdefault(message_id, queue_id) != queue_id:
        book.faults.append(f"{message_id} was queued twice")
    if message_id in book.taken:
        book.faults.append(f"{message_id} was given out after it had been acknowledged")
    told = await supplier.ask("POST", f"/queue/messages/{message['receipt']}/ack")
    if told.status == 204:
        await book.note(book.taken, message_id)


async def test_nothing_is_lost_and_nothing_comes_twice_whenever_it_is_killed(tmp_path: Path) -> None:
    book = Book()
    ids = [mint_uuid() for _ in range(MESSAGES)]
    # Everybody finds the next adaptor where the last one was.
    settings = {"outbound_server_port": free_port(), "inbound_server_port": free_port(), "queue_lease": 2}
    with adaptor_site(tmp_path) as site:
        async with site.spine(acknowledge) as spine:
            adaptor = await site.start(**settings)
            spine.replies = Replier(site, adaptor, book)  # type: ignore[assignment]
            left = list(ids)
            async with asyncio.TaskGroup() as group:
                suppliers = [group.create_task(supply(adaptor, left, book)) for _ in range(SUPPLIERS)]
                reader = group.create_task(read_queue(adaptor, book))
                for number in range(1, KILLS + 1):
                    await book.reaches(3 * MESSAGES * number // (KILLS + 2))
                    await asyncio.to_thread(adaptor.kill)
                    adaptor = await site.start(**settings)
                await asyncio.wait(suppliers)
                await _all_is_done(adaptor, book)
                reader.cancel()
            assert book.accepted == {each.envelope.message_id for each in spine.received} == set(ids)
        assert await asyncio.to_thread(adaptor.stop) == 0
        for message_id in ids:
            assert await site.still_to_be_sent(message_id) is None
    assert book.faults == []
    assert book.replied == set(book.seen) == set(ids)
    # An acknowledgement may have been lost with the process that had noted it; then nothing comes again either.
    assert len(book.taken) >= MESSAGES - 5 * KILLS
    # The kills hit callers at work.
    assert book.broken_calls > 0


async def _all_is_done(adaptor: Adaptor, book: Book) -> None:
    """Wait until every reply was taken, and the queue is empty."""
    async with asyncio.timeout(2 * PATIENCE), Supplier(adaptor) as supplier:
        while True:
            with contextlib.suppress(*GONE):
                stats = await queue_stats(supplier)
                if len(book.replied) == MESSAGES and (stats["waiting"], stats["leased"], stats["dead"]) == (0, 0, 0):
                    return
