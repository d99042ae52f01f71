"""The load: what is sent, when, and what counts as answered. Spec: 90 §6.2, §7."""

import asyncio
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import pytest

from openscr.bench.connections import Answer, Connections
from openscr.bench.generator import Plan, Samples, fault_of, generate, is_shed
from openscr.bench.generators import generators
from openscr.bench.messages import Composer, Message, Operation
from openscr.bench.mix import NATIONAL, Mix, Stream, alone, first_uploads
from openscr.bench.patients import event_id_of, number_of
from openscr.client.profile import Profile
from openscr.errors import ConfigurationError, DeliveryError

Answering = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
SOUND = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n<a typeCode="AA">'


@asynccontextmanager
async def listening(answering: Answering) -> AsyncIterator[str]:
    """Give the address of a server; a connection that its client leaves, or that is left at the end, ends quietly."""
    tasks = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        with suppress(asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            await answering(reader, writer)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def read_request(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    return head + await reader.readexactly(length)


@pytest.fixture(scope="module")
def composer(profile: Profile, reference: bytes) -> Composer:
    return Composer(profile, "http://127.0.0.1:1", [reference, reference])


def drawn(mix: Mix, composer: Composer, count: int, seed: int = 1) -> list[Message]:
    stream = Stream(mix, composer, seed)
    return [stream.next() for _ in range(count)]


# --- what is sent ---


def test_operations_have_their_shares(composer: Composer) -> None:
    found = Counter(message.operation for message in drawn(Mix(NATIONAL, 100), composer, 4000))
    total = sum(NATIONAL.values())
    assert found.keys() == NATIONAL.keys()
    for operation, share in NATIONAL.items():
        assert found[operation] / 4000 == pytest.approx(share / total, abs=0.03)


def test_uploads_are_repeated_disordered_and_faulty_in_their_shares(composer: Composer) -> None:
    mix = Mix({Operation.UPLOAD: 1.0}, 100, repeats=0.2, disorder=0.1, faults=0.05)
    messages = drawn(mix, composer, 2000)
    ids = Counter(message.message_id for message in messages)
    repeated = 2000 - len(ids)
    assert repeated / 2000 == pytest.approx(0.2, abs=0.04)
    # A repetition is the same message, byte for byte.
    assert len({message.wire for message in messages}) == len(ids)
    fresh = {message.message_id: message.wire for message in messages}.values()
    assert sum(b'code="absurd"' in wire for wire in fresh) / 2000 == pytest.approx(0.05, abs=0.02)


def test_the_same_seed_asks_for_the_same_patients(composer: Composer) -> None:
    mix = alone(Operation.LIST, 50)
    first, again, other = ([number_in(message) for message in drawn(mix, composer, 30, seed)] for seed in (3, 3, 4))
    assert first == again != other


def test_fresh_requests_go_from_patient_to_patient(composer: Composer) -> None:
    mix = alone(Operation.UPLOAD, 5, fresh=700)
    assert [number_in(message) for message in drawn(mix, composer, 4)] == [number_of(700 + n) for n in range(4)]


def test_first_uploads_are_those_that_a_load_would_have_put_there(composer: Composer) -> None:
    messages = drawn(first_uploads(3, mixed_sizes=False), composer, 3)
    assert [message.message_id for message in messages] == [event_id_of(position) for position in range(3)]


@pytest.mark.parametrize("operation", Operation)
def test_a_message_is_a_whole_request(composer: Composer, operation: Operation) -> None:
    (message,) = drawn(alone(operation, 1), composer, 1)
    head, _, body = message.wire.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /")
    assert f"Content-Length: {len(body)}".encode() in head.split(b"\r\n")
    assert number_of(0).encode() in body
    assert b"0010000000" not in message.wire


def test_requests_are_made_in_the_name_of_somebody(profile: Profile, reference: bytes) -> None:
    with pytest.raises(ConfigurationError, match="--user"):
        Composer(replace(profile, person=None, user=None), "http://127.0.0.1:1", [reference])


def number_in(message: Message) -> str:
    return next(number_of(n) for n in range(1000) if number_of(n).encode() in message.wire)


# --- what counts as answered ---


@pytest.mark.parametrize(
    ("operation", "answer", "sound", "shed"),
    [
        (Operation.UPLOAD, Answer(202, b"<eb:Acknowledgment/>"), True, False),
        (Operation.UPLOAD, Answer(200, b"<eb:Error/>"), False, False),
        (Operation.LIST, Answer(200, b'<a typeCode="AA"/>'), True, False),
        (Operation.LIST, Answer(200, b'<a typeCode="AE"/>'), False, False),
        (Operation.LIST, Answer(500, b"<errorCode>200</errorCode>"), False, True),
        (Operation.LIST, Answer(500, b"<errorCode>300</errorCode>"), False, False),
        (Operation.ALERT, Answer(200, b""), True, False),
        (Operation.ALERT, Answer(503, b""), False, True),
        (Operation.ALERT, Answer(429, b""), False, True),
    ],
)
def test_answers_are_judged(operation: Operation, answer: Answer, sound: bool, shed: bool) -> None:
    assert (fault_of(operation, answer) is None) is sound
    assert is_shed(answer) is shed


# --- when it is sent ---


def plan_for(at: str, profile: Profile, **how: object) -> Plan:
    return Plan(at, None, profile, alone(Operation.LIST, 10), 64, 1, **how)  # type: ignore[arg-type]


async def test_a_stalled_service_is_charged_for_everybody_who_came_meanwhile(profile: Profile) -> None:
    """Nothing is answered before the twentieth request is there: whoever waits for answers would wait for ever."""
    arrived = 0
    twenty = asyncio.Event()

    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        while True:
            await read_request(reader)
            arrived += 1
            if arrived == 20:
                twenty.set()
            await twenty.wait()
            writer.write(SOUND)

    async with listening(stall) as at:
        plan = plan_for(at, profile, rate=100.0, seconds=0.3, arrivals="fixed")
        samples = await asyncio.to_thread(generate, plan)
    (latencies,) = samples.latencies.values()
    assert samples.answered == arrived == len(samples.late)
    assert arrived >= 29
    # The first one was due 190 ms before the twentieth, which the loop's clock may let go a moment early.
    assert max(latencies) > 0.18
    assert not samples.failures


async def test_a_closed_loop_sends_so_many_and_counts_what_fails(profile: Profile) -> None:
    turns = iter(range(1000))

    async def now_and_then(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await read_request(reader)
            bad = next(turns) % 5 == 0
            writer.write(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n" if bad else SOUND)

    async with listening(now_and_then) as at:
        samples = await asyncio.to_thread(generate, plan_for(at, profile, count=50))
    assert (samples.answered, samples.shed) == (40, 10)
    assert not samples.failures


async def test_nobody_there_is_a_failure_of_every_request(profile: Profile) -> None:
    async with listening(lambda *_: asyncio.sleep(0)) as at:
        pass
    samples = await asyncio.to_thread(generate, plan_for(at, profile, count=3))
    assert samples.failures == {"event list: no connection (ConnectionRefusedError)": 3}


async def test_several_processes_share_a_plan(profile: Profile) -> None:
    seen: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            seen.append(await read_request(reader))
            writer.write(SOUND)

    async with listening(answer) as at:
        with generators(2, mixed_sizes=False) as senders:
            plan = plan_for(at, profile, count=7)
            samples = await senders.run(replace(plan, mix=alone(Operation.LIST, 10, fresh=0)))
    assert samples.answered == 7
    # Each process has patients of its own.
    assert {number_of(n) for n in range(7)} == {
        number_of(n) for n in range(50) for one in seen if number_of(n).encode() in one
    }


def test_what_two_processes_saw_is_put_together() -> None:
    one = Samples({Operation.LIST: array("d", [1.0])}, {"A": 1.0}, Counter(x=1), 1, seconds=2.0, cpu=1.0)
    other = Samples({Operation.LIST: array("d", [3.0])}, {"B": 2.0}, Counter(x=2), 2, seconds=1.0, cpu=0.5)
    one.add(other)
    assert (list(one.latencies[Operation.LIST]), one.uploads.keys()) == ([1.0, 3.0], {"A", "B"})
    assert (one.failures["x"], one.shed, one.seconds, one.cpu) == (3, 3, 2.0, 1.5)


# --- connections ---


async def test_a_kept_connection_that_was_closed_is_no_failure() -> None:
    opened = 0

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal opened
        opened += 1
        await read_request(reader)
        writer.write(SOUND)
        if opened == 1:
            # The second request on this connection meets its end.
            await read_request(reader)
        else:
            await reader.read()

    async with listening(once) as at:
        connections = Connections(at, None, 1)
        wire = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
        assert (await connections.send(wire)).status == 200
        assert (await connections.send(wire)).status == 200
        connections.close()
    assert opened == 2


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-dropbear\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort"])
async def test_what_is_no_answer_is_told(said: bytes) -> None:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(said)

    async with listening(say) as at:
        connections = Connections(at, None, 1)
        with pytest.raises(DeliveryError, match=r"closed|not HTTP"):
            await connections.send(b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n")


async def test_more_requests_than_connections_wait_in_line() -> None:
    peers = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.add(writer.get_extra_info("peername"))
        while True:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n")

    async with listening(answer) as at:
        connections = Connections(at, None, 2)
        wire = b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
        answers = await asyncio.gather(*(connections.send(wire) for _ in range(20)))
        connections.close()
    assert {answer.body for answer in answers} == {b"abc"}
    assert len(peers) == 2


@pytest.mark.parametrize("at", ["ftp://127.0.0.1", "somewhere", "https://127.0.0.1:1"])
def test_an_address_that_will_not_do(at: str) -> None:
    with pytest.raises(ConfigurationError):
        Connections(at, None, 1)
