"""Health, readiness and figures over a real socket. Spec: 50 §10, F18."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from journeys.wire import Answer, post
from mhs.rig import TestClock, context
from openscr.errors import StoreUnavailable
from openscr.listeners import Listener, bind
from openscr.mhs.context import AdaptorContext
from openscr.mhs.figures import Figures
from openscr.mhs.operations import Operations
from openscr.mhs.queue.publisher import Publisher
from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.store.interface import QueueFigures, Transaction
from openscr.mhs.store.memory import MemoryStore
from openscr.settings import Address


@asynccontextmanager
async def served(operations: Operations) -> AsyncIterator[str]:
    """Serve the application of the health port; give its base URL."""
    listener = Listener(operations.health_app(), bind(Address("127.0.0.1", 0), "health"), tls=None, grace=5)
    await listener.start()
    try:
        yield listener.url
    finally:
        listener.stop_accepting()
        await listener.stopped()


async def ask(operations: Operations, path: str, method: str = "GET") -> Answer:
    async with served(operations) as base:
        return await post(base, path, b"", (), method=method)


class FailingStore(MemoryStore):
    """A store that cannot be asked."""

    async def writable(self) -> bool:
        return False

    async def queue_figures(self, now: object) -> QueueFigures:
        raise StoreUnavailable("the disk is gone")


class Broker:
    """A broker that is there, or not."""

    def __init__(self, *, up: bool) -> None:
        self.up = up

    async def publish(self, message: QueueMessage) -> None:
        """Nothing is published here."""

    async def reachable(self) -> bool:
        return self.up

    async def close(self) -> None:
        """Nothing is open."""


async def opened(**changes: object) -> AdaptorContext:
    made = context(**changes)  # type: ignore[arg-type]
    await made.store.open()
    return made


async def enqueue(made: AdaptorContext, count: int) -> None:
    async def work(transaction: Transaction) -> None:
        for number in range(count):
            await transaction.enqueue(QueueMessage(f"Q{number}", "M", "C", b"{}", made.clock()))

    await made.store.transact(work)


def read(answer: Answer) -> dict[str, object]:
    assert answer.header("content-type") == "application/json"
    found = json.loads(answer.body)
    assert isinstance(found, dict)
    return found


async def figures_of(operations: Operations) -> dict[tuple[str, ...], float]:
    """Ask for the figures; return them by name and the values of their labels."""
    answer = await ask(operations, "/metrics")
    assert (answer.header("content-type") or "").startswith("text/plain; version=")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.body.decode())
        for sample in family.samples
    }


async def test_f18_the_health_check_is_that_of_the_nhs_adaptor() -> None:
    answer = await ask(Operations(context(store=FailingStore())), "/healthcheck")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.header("content-type") == "text/html; charset=UTF-8"


@pytest.mark.parametrize(
    ("path", "method", "title"),
    [
        ("/", "GET", "404: Not Found"),
        ("/messages", "GET", "404: Not Found"),
        ("/healthcheck", "POST", "405: Method Not Allowed"),
        ("/healthcheck", "DELETE", "405: Method Not Allowed"),
        ("/readyz", "POST", "405: Method Not Allowed"),
    ],
)
async def test_the_health_port_has_nothing_else(path: str, method: str, title: str) -> None:
    answer = await ask(Operations(context()), path, method)
    assert answer.status == int(title[:3])
    assert answer.body.decode() == f"<html><title>{title}</title><body>{title}</body></html>"
    assert answer.header("content-type") == "text/html; charset=UTF-8"


async def test_f18_readiness_says_how_everything_stands() -> None:
    clock = TestClock()
    made = await opened(clock=clock)
    await enqueue(made, 2)
    clock.move(90)
    await made.store.lease_queue(clock.now, clock.now + timedelta(seconds=60), 1)
    answer = await ask(Operations(made, days_left=lambda: 29), "/readyz")
    assert answer.status == 200
    assert read(answer) == {
        "ready": True,
        "store": {"engine": "memory", "writable": True},
        "queue": {
            "kind": "embedded",
            "reachable": True,
            "waiting": 1,
            "leased": 1,
            "dead": 0,
            "oldest_seconds": 90.0,
        },
        "certificate": {"days_left": 29},
        "spine": {"last_success": None},
    }


async def test_f18_readiness_tells_when_the_spine_last_took_a_message() -> None:
    clock = TestClock()
    made = replace(await opened(), figures=Figures(clock))
    assert read(await ask(Operations(made), "/readyz"))["spine"] == {"last_success": None}
    assert (await figures_of(Operations(made)))["mhs_last_spine_success_timestamp_seconds",] == 0
    clock.move(60)
    made.figures.spine_succeeded()
    clock.move(60)
    assert read(await ask(Operations(made), "/readyz"))["spine"] == {"last_success": "2026-11-23T12:01:00+00:00"}
    at = datetime(2026, 11, 23, 12, 1, tzinfo=UTC)
    assert (await figures_of(Operations(made)))["mhs_last_spine_success_timestamp_seconds",] == at.timestamp()


@pytest.mark.parametrize(
    ("made", "days_left", "reason"),
    [
        ({"store": FailingStore()}, 100, "store"),
        ({}, -1, "certificate"),
        ({"publisher": Broker(up=False), "queue": "amqp10", "queue_direct": True}, 100, "queue"),
    ],
)
async def test_f18_what_stops_the_work_makes_unready(made: dict[str, object], days_left: int, reason: str) -> None:
    answer = await ask(Operations(await opened(**made), days_left=lambda: days_left), "/readyz")
    assert answer.status == 503
    found = read(answer)
    assert (found["ready"], found["reason"]) == (False, reason)
    assert found["certificate"] == {"days_left": days_left}


@pytest.mark.parametrize("up", [True, False])
async def test_e5_a_broker_that_is_down_refuses_nobody_and_is_told(up: bool) -> None:
    publisher: Publisher = Broker(up=up)
    answer = await ask(Operations(await opened(publisher=publisher, queue="amqp10")), "/readyz")
    assert answer.status == 200
    queue = read(answer)["queue"]
    assert isinstance(queue, dict)
    assert (queue["kind"], queue["reachable"]) == ("amqp10", up)


async def test_f18_who_stops_is_not_ready_and_still_healthy() -> None:
    operations = Operations(await opened())
    operations.stop()
    assert read(await ask(operations, "/readyz"))["reason"] == "stopping"
    assert (await ask(operations, "/healthcheck")).status == 200


async def test_f18_figures_count_by_interaction_workflow_and_outcome() -> None:
    made = await opened()
    figures = made.figures
    for seconds in (0.02, 0.3):
        figures.message("outbound", "QUPC_IN180000UK04", "sync", "SYNC_RESPONSE_SUCCESSFUL", seconds)
    figures.message("inbound", "unknown", "", "404", 0.01)
    figures.retried("async-reliable")
    figures.duplicate("inbound")
    figures.relayed("taken")
    await enqueue(made, 3)
    found = await figures_of(Operations(made, days_left=lambda: 12))
    sync = ("outbound", "QUPC_IN180000UK04", "SYNC_RESPONSE_SUCCESSFUL", "sync")
    assert found["mhs_messages_total", *sync] == 2
    assert found["mhs_message_seconds_count", *sync] == 2
    assert found["mhs_message_seconds_sum", *sync] == pytest.approx(0.32)
    # Labels stand in the order of their names: direction, interaction, the bucket's end, outcome, workflow.
    assert found["mhs_message_seconds_bucket", "outbound", "QUPC_IN180000UK04", "0.025", *sync[2:]] == 1
    assert found["mhs_messages_total", "inbound", "unknown", "404", ""] == 1
    assert found["mhs_retries_total", "async-reliable"] == 1
    assert found["mhs_duplicates_total", "inbound"] == 1
    assert found["mhs_relayed_total", "taken"] == 1
    assert found["mhs_queue_messages", "waiting"] == 3
    assert found[("mhs_certificate_days_left",)] == 12
    assert found[("process_resident_memory_bytes",)] > 0


async def test_f18_figures_are_told_while_the_store_is_gone() -> None:
    made = context(store=FailingStore())
    made.figures.duplicate("inbound")
    assert (await figures_of(Operations(made)))["mhs_duplicates_total", "inbound"] == 1


def test_the_page_names_every_figure_and_no_other() -> None:
    page = (Path(__file__).parents[3] / "docs" / "mhs-operations.md").read_text("utf-8")
    told = set(re.findall(r"^\| `(mhs_[a-z_]+)` \|", page, re.MULTILINE))
    names = {
        f"{family.name}_total" if family.type == "counter" else family.name for family in Figures().registry.collect()
    }
    assert told == {name for name in names if name.startswith("mhs_")}
