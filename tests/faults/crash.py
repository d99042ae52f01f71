"""The crash test: a service is killed again and again while clients are at work; then everybody's word is compared.

Clients repeat what was not answered, the same bytes each time, as their contract says, and write down in a journal what
they sent and what they were told. Something goes wrong meanwhile: the service is ended by ``kill -9`` at random times,
some of them while it starts, or its store fails under it. Afterwards the journals are held against what the service
answers, what lies in its store, and what has arrived at the endpoint of the clients' party.

Spec: 00 §7; 40 §6.3, §6.5, §7.6, §8; 90 §6.1.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Protocol

from faults.clients import RETRY_INTERVAL, Line, Message, Plan, Sender, Viewer, draw_messages
from faults.comparing import (
    Report,
    check_deliveries,
    check_journals,
    check_lists,
    check_looks,
    check_repetitions,
    check_store,
)
from faults.journal import Journal, read_journals
from journeys.endpoint import ClientEndpoint, Delivery, Reply, acknowledge
from journeys.runner import Server, client_context, import_directory, launch, live_directory, stored

REFUSED_DELIVERIES = 0.05
"""Share of deliveries that the endpoint does not take at first, so that the service has to come again."""

KILLED_WHILE_STARTING = 0.2
LONGEST_START = 1.5
"""Share of kills that hit the start again, and up to how many seconds after its beginning."""

PATIENCE = 300
"""Seconds for anything that must end, on however slow a machine."""

SETTINGS = {"patient_index": "open", "unknown_author": "accept"}

AT_WORK = "killed at work"
STARTING = "killed while it started"
WORKER = "worker killed"
RENEWED = "workers renewed"


# --- the service that dies ------------------------------------------------------------------------------------------


class MortalService:
    """A service that is killed in the middle of its work and started again, on new ports each time."""

    def __init__(self, data: Path, dice: random.Random, settings: Mapping[str, object]) -> None:
        self._data = data
        self._settings = SETTINGS | dict(settings)
        self._dice = dice
        self._server: Server | None = None
        self._ready = asyncio.Event()
        self.generation = 0
        self.disturbances: Counter[str] = Counter()

    async def begin(self) -> None:
        """Start it, as soon as whatever is left of its last life has ended: so would whoever watches over it."""
        async with asyncio.timeout(PATIENCE):
            while not await asyncio.to_thread(self._start):  # noqa: ASYNC110 another process gets there
                await asyncio.sleep(RETRY_INTERVAL)
        self.generation += 1
        self._ready.set()

    def _start(self) -> bool:
        try:
            self._server = Server.start(self._data, **self._settings)
        except AssertionError as error:
            if "another openscr serve runs" not in str(error):
                raise
            return False
        return True

    async def die(self) -> None:
        """Kill it in the middle of whatever it does, sometimes again while it starts, and start it again."""
        assert self._server is not None
        self._ready.clear()
        await asyncio.to_thread(self._server.kill)
        self.disturbances[AT_WORK] += 1
        while self._dice.random() < KILLED_WHILE_STARTING:
            process, _ = await asyncio.to_thread(launch, self._data, **self._settings)
            await asyncio.sleep(self._dice.uniform(0, LONGEST_START))
            process.kill()
            await asyncio.to_thread(process.wait)
            assert process.stdout is not None
            process.stdout.close()
            self.disturbances[STARTING] += 1
        await self.begin()

    async def lose_worker(self) -> None:
        """Kill one of its workers; the others go on, and it has another one soon."""
        assert self._server is not None
        os.kill(self._dice.choice(children_of(self._server.process.pid)), signal.SIGKILL)
        self.disturbances[WORKER] += 1

    async def renew_workers(self) -> None:
        """Let it put another worker in the place of each."""
        assert self._server is not None
        self._server.process.send_signal(signal.SIGUSR2)
        self.disturbances[RENEWED] += 1

    async def stop(self) -> int:
        """End it as its operator would; return its exit code."""
        assert self._server is not None
        return await asyncio.to_thread(self._server.stop)

    async def address(self) -> tuple[str, int]:
        """Return where it answers, once it does, and its how manieth life this is."""
        await self._ready.wait()
        assert self._server is not None
        return self._server.spine, self.generation

    def logged(self, outcome: str) -> int:
        """Return how often its logs say that a request ended so, over all its lives."""
        return logged(self._data, outcome)


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def logged(data: Path, outcome: str) -> int:
    """Return how often the logs of a data folder's services say that a request ended so."""
    found = 0
    for log in data.glob("service-*.log"):
        for line in log.read_text("utf-8").splitlines():
            # The last line of a life may be cut off.
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                found += entry.get("event") == "answered" and entry.get("outcome") == outcome
    return found


# --- the test -------------------------------------------------------------------------------------------------------


class Subject(Protocol):
    """The service that the clients talk to."""

    disturbances: Counter[str]

    async def begin(self) -> None:
        """Start it."""

    async def stop(self) -> int:
        """End it as its operator would; return its exit code."""

    async def address(self) -> tuple[str, int]:
        """Return where it answers, once it does, and its how manieth life this is."""

    def logged(self, outcome: str) -> int:
        """Return how often its logs say that a request ended so."""


class Work:
    """How far the clients have come."""

    def __init__(self, messages: int) -> None:
        self.messages = messages
        self.done = 0
        self.told: asyncio.Queue[str] = asyncio.Queue()

    async def reached(self, limit: int) -> None:
        """Wait until so many messages have been acknowledged."""
        while self.done < limit:
            await self.told.get()
            self.done += 1


Trouble = Callable[[Work], Awaitable[None]]
"""What goes wrong while the clients work; over when it returns."""


def moody(dice: random.Random) -> Callable[[Delivery], Reply | None]:
    """Return an endpoint's behaviour: now and then it is out of order."""

    def behave(delivery: Delivery) -> Reply | None:
        return Reply(503) if dice.random() < REFUSED_DELIVERIES else acknowledge(delivery)

    return behave


async def crash(plan: Plan, data: Path, progress: Callable[[str], None] = lambda _: None, **settings: object) -> Report:
    """Kill a service as often as the plan says; return the report. See `trial`.

    One with several workers loses one of them, or has them all replaced, in between.
    """
    dice = random.Random(plan.seed + 2)
    service = MortalService(data, random.Random(plan.seed + 1), settings)

    workers = int(str(settings.get("workers", 1))) > 1

    async def kill(work: Work) -> None:
        for count, limit in enumerate(limits_of(plan, dice), 1):
            await work.reached(limit)
            await asyncio.sleep(dice.uniform(0, 0.05))
            deaths = [service.die, service.lose_worker, service.renew_workers] if workers else [service.die]
            await deaths[count % len(deaths)]()
            progress(f"kill {count} of {plan.disturbances}, {work.done} of {work.messages} acknowledged")

    return await trial(plan, data, service, kill)


def limits_of(plan: Plan, dice: random.Random) -> list[int]:
    """Return after how many acknowledgements something goes wrong, so that it always hits clients at work."""
    # The last tenth is left alone.
    return sorted(dice.sample(range(1, max(plan.disturbances + 1, plan.uploads * 9 // 10)), plan.disturbances))


async def trial(plan: Plan, data: Path, service: Subject, trouble: Trouble) -> Report:
    """Let clients work while something goes wrong, on a data folder that has its keys; compare, return the report."""
    report = Report(plan)
    shares = draw_messages(plan, random.Random(plan.seed))
    messages = {message.message_id: message for share in shares for message in share}
    numbers = sorted({message.nhs_number for message in messages.values()})
    report.uploads = sum(message.uploads for message in messages.values())
    report.consents, report.patients = len(messages) - report.uploads, len(numbers)
    started = time.monotonic()
    patience = PATIENCE + plan.disturbances * 30
    async with asyncio.timeout(patience), ClientEndpoint(moody(random.Random(plan.seed))) as endpoint:
        contract = {"retry_interval": f"PT{RETRY_INTERVAL}S", "retries": 999, "persist_duration": "PT1H"}
        await import_directory(data, live_directory(endpoint.url, **contract))
        tls = client_context(data / "pki", "gp.client.test")
        await service.begin()
        work, over = Work(len(messages)), asyncio.Event()

        async def client(turn: int, share: list[Message] | None) -> None:
            """Send a share; without one look at what the others have sent."""
            with Journal(data / f"client-{turn}.jsonl") as journal:
                async with Line(service, tls) as line:
                    if share is not None:
                        await Sender(line, journal, report.faults, work.told).send(share)
                    else:
                        dice = random.Random(plan.seed + turn)
                        await Viewer(line, journal, dice, report.faults).look_until(over, numbers)

        async with asyncio.TaskGroup() as tasks:
            senders = [tasks.create_task(client(turn, share)) for turn, share in enumerate(shares)]
            for turn in range(plan.viewers):
                tasks.create_task(client(len(shares) + turn, None))
            await trouble(work)
            await asyncio.gather(*senders)
            over.set()
        await nothing_owed(data)
        async with Line(service, tls) as line:
            journals = read_journals(data)
            check_journals(journals, messages, report)
            check_looks(journals, messages, report)
            report.recognised = service.logged("duplicate")
            await check_repetitions(line, messages, data, report)
            await check_lists(line, messages, report)
        check_deliveries(endpoint.deliveries, messages, report)
        await check_store(data, messages, report)
        if await service.stop() != 0:
            report.faults.append("the service did not end as told")
    report.disturbances = service.disturbances
    if not report.unanswered + report.put_off:
        report.faults.append("whatever went wrong, no client has noticed: this has shown nothing")
    report.seconds = time.monotonic() - started
    return report


async def nothing_owed(data: Path) -> None:
    """Wait until every answer has been acknowledged, within the patience of the whole."""
    async with stored(data) as store:
        while await store.list_outbox():  # noqa: ASYNC110  # it is another process that gets there
            await asyncio.sleep(RETRY_INTERVAL)
