"""Adaptors that end with the test, and the examples of the specification."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from mhs.rig import RELIABLE, GivenRoutes, TestClock, context
from mhs.stub_spine import Received, StubSpine
from mhs.workflows.adaptor import INTERACTIONS_WITH_FORWARD, Adaptor, StartAdaptor
from openscr.delivery.carriers import HttpCarrier
from openscr.directory.model import Contract
from openscr.identifiers import utc_now
from openscr.mhs.audit import AuditTrail
from openscr.mhs.replies import Replies
from openscr.mhs.store.interface import Store
from openscr.mhs.store.memory import MemoryStore
from openscr.mhs.workflows import Workflows
from shared import MESSAGES


@pytest.fixture
async def spine() -> AsyncIterator[StubSpine]:
    """A Spine that acknowledges, until it is told otherwise."""
    async with StubSpine() as stub:
        yield stub


@pytest.fixture
async def start(spine: StubSpine) -> AsyncIterator[StartAdaptor]:
    """Starts adaptors whose messages go to the stub; they end with the test."""
    running: list[Adaptor] = []

    async def begin(
        *,
        contract: Contract = RELIABLE,
        store: Store | None = None,
        real_clock: bool = True,
        clock: TestClock | None = None,
        carrier: HttpCarrier | None = None,
        local: bool = False,
        **settings: Any,
    ) -> Adaptor:
        kept = store or MemoryStore()
        await kept.open()
        given = {"forward_reliable_endpoint_url": spine.url} | settings
        made = context(spine.url, store=kept, clock=clock, interactions=INTERACTIONS_WITH_FORWARD, **given)
        routes = GivenRoutes(spine.url, contract)
        posting = carrier or HttpCarrier(None, largest_answer=16 * 1024 * 1024, connections=0, pause=0.001)
        made = replace(made, router=routes, carrier=posting, replies=Replies(local=local))
        if real_clock and clock is None:
            made = replace(made, clock=utc_now, audit=AuditTrail(kept, utc_now))
        adaptor = Adaptor(Workflows(made), made, routes, spine)
        adaptor.workflows.start()
        running.append(adaptor)
        return adaptor

    yield begin
    for adaptor in running:
        await adaptor.workflows.stop()
        await adaptor.context.carrier.close()


@pytest.fixture
def example() -> Callable[[str], Received]:
    """Reads a captured HTTP message by its number."""

    def read(number: str) -> Received:
        (path,) = (MESSAGES / "transport").glob(f"{number}-*.http")
        head, _, body = path.read_bytes().partition(b"\r\n\r\n")
        _, *lines = head.decode("ascii").split("\r\n")
        pairs = [line.partition(":") for line in lines]
        return Received("", tuple((name, value.strip()) for name, _, value in pairs), body)

    return read
