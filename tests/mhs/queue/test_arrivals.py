"""Those who wait for queue messages are woken by an enqueue in this process, and find others by looking."""

import asyncio

from openscr.mhs.queue.arrivals import Arrivals

PATIENCE = 30.0


class Queue:
    """Something that may be found, and who has looked."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.looked = asyncio.Event()

    async def take(self) -> str | None:
        self.looked.set()
        return self.messages.pop(0) if self.messages else None


async def test_a_waiting_consumer_is_woken_by_an_enqueue_long_before_it_would_have_looked() -> None:
    arrivals, queue = Arrivals(), Queue()
    waiting = asyncio.create_task(arrivals.wait(queue.take, seconds=PATIENCE, interval=PATIENCE))
    await queue.looked.wait()
    queue.messages.append("one")
    arrivals.tell()
    async with asyncio.timeout(PATIENCE / 2):
        assert await waiting == "one"


async def test_all_who_wait_are_woken_and_each_message_goes_to_one() -> None:
    arrivals, queues = Arrivals(), [Queue(), Queue()]
    queues[1].messages = queues[0].messages
    waiting = [asyncio.create_task(arrivals.wait(queue.take, seconds=PATIENCE, interval=PATIENCE)) for queue in queues]
    for queue in queues:
        await queue.looked.wait()
    queues[0].messages += ["one", "two"]
    arrivals.tell()
    async with asyncio.timeout(PATIENCE / 2):
        assert sorted(await asyncio.gather(*waiting)) == ["one", "two"]


async def test_what_another_process_has_put_there_is_found_by_looking() -> None:
    arrivals, queue = Arrivals(), Queue()
    waiting = asyncio.create_task(arrivals.wait(queue.take, seconds=PATIENCE, interval=0.001))
    await queue.looked.wait()
    queue.messages.append("one")
    assert await waiting == "one"


async def test_who_has_no_patience_asks_once() -> None:
    arrivals, queue = Arrivals(), Queue()
    assert await arrivals.wait(queue.take, seconds=0) is None
    queue.messages.append("one")
    assert await arrivals.wait(queue.take, seconds=0) == "one"
