"""A process that puts messages onto its own queue and relays them, until it is killed.

It prints ``durable`` and the id of each message once it is that: from then on an adaptor would have acknowledged it.
"""

import asyncio
import sys

from openscr.identifiers import utc_now
from openscr.mhs.context import AdaptorContext
from openscr.mhs.queue.opening import open_queue
from openscr.mhs.queue.relay import Relay
from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.settings import load_mhs_settings
from openscr.mhs.store.interface import Transaction
from openscr.mhs.store.opening import open_store

from .. import rig
from .suppliers import message


async def run(count: int) -> None:
    """Enqueue ``count`` messages while the relay works; then wait to be ended."""
    settings = load_mhs_settings()
    publisher = open_queue(settings)
    assert publisher is not None
    store = open_store(settings)
    await store.open()
    context = rig.context(store=store, publisher=publisher, clock=utc_now, **settings.model_dump(exclude_unset=True))
    relay = Relay(context, publisher)
    relay.start()
    await asyncio.gather(*(_put(context, message()) for _ in range(count)))
    await asyncio.Event().wait()


async def _put(context: AdaptorContext, each: QueueMessage) -> None:
    async def work(transaction: Transaction) -> None:
        await transaction.enqueue(each)

    await context.store.transact(work)
    context.arrivals.tell()
    sys.stdout.write(f"durable {each.id}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(run(int(sys.argv[1])))
