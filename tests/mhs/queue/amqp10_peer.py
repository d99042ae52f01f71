"""An AMQP 1.0 broker for what RabbitMQ never says: it answers each message as the test tells it to."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import proton

Answer = Callable[[proton.Delivery], None]
"""What is done with a message that has come."""


def outcome(state: object, condition: str = "", description: str = "") -> Answer:
    """Settle with an outcome, and with a condition if there is one."""

    def answer(delivery: proton.Delivery) -> None:
        if condition:
            delivery.local.condition = proton.Condition(condition, description)
        delivery.update(state)
        delivery.settle()

    return answer


def end_link(condition: str, description: str = "") -> Answer:
    """End the link instead of giving an outcome."""

    def answer(delivery: proton.Delivery) -> None:
        delivery.link.condition = proton.Condition(condition, description)
        delivery.link.close()

    return answer


class _Conversation(asyncio.Protocol):
    def __init__(self, peer: "Amqp10Peer") -> None:
        self._peer = peer
        self._collector = proton.Collector()
        self._connection = proton.Connection()
        self._connection.collect(self._collector)
        self._engine = proton.Transport(proton.Transport.SERVER)
        self._engine.sasl().allowed_mechs("ANONYMOUS PLAIN")
        self._engine.idle_timeout = peer.idle
        self._engine.bind(self._connection)
        self.gone = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._wire = transport
        self._peer.conversations.append(self)

    def data_received(self, data: bytes) -> None:
        self._peer.heard.set()
        while data:
            room = self._engine.capacity()
            self._engine.push(data[:room])
            data = data[room:]
            self._work()
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:
        self._peer.conversations.remove(self)
        self.gone.set()

    def abort(self) -> None:
        self._wire.abort()

    def _work(self) -> None:
        while (event := self._collector.peek()) is not None:
            match event.type:
                case proton.Event.CONNECTION_REMOTE_OPEN:
                    self._connection.container = "peer"
                    self._connection.open()
                case proton.Event.SESSION_REMOTE_OPEN:
                    event.session.open()
                case proton.Event.LINK_REMOTE_OPEN:
                    self._peer.durability = event.link.remote_target.durability
                    if self._peer.no_such_queue:
                        event.link.open()
                        event.link.condition = proton.Condition("amqp:not-found", "no such queue")
                        event.link.close()
                    else:
                        event.link.target.copy(event.link.remote_target)
                        event.link.open()
                        event.link.flow(self._peer.credit)
                case proton.Event.DELIVERY:
                    self._read(event.delivery)
                case proton.Event.CONNECTION_REMOTE_CLOSE:
                    self._connection.close()
            self._collector.pop()
        while (pending := self._engine.pending()) > 0:
            self._wire.write(self._engine.peek(pending))
            self._engine.pop(pending)
        if pending < 0:
            self._wire.close()

    def _read(self, delivery: proton.Delivery) -> None:
        if delivery.readable and not delivery.partial:
            received = proton.Message()
            received.decode(delivery.link.recv(delivery.pending))
            delivery.link.advance()
            self._peer.received.append(received)
            self._peer.answers.pop(0)(delivery)
            delivery.link.flow(1)


class Amqp10Peer:
    """Messages in ``received``; ``answers`` are given in turn. ``credit`` is how many messages it asks for at first.

    ``idle`` is seconds of silence that it bears, as it says; ``heard`` is set when bytes come.
    """

    def __init__(self) -> None:
        self.port = 0
        self.received: list[proton.Message] = []
        self.answers: list[Answer] = []
        self.conversations: list[_Conversation] = []
        self.credit = 10
        self.idle = 60.0
        self.heard = asyncio.Event()
        self.no_such_queue = False
        self.durability: object = None


@asynccontextmanager
async def amqp10_peer(*answers: Answer) -> AsyncIterator[Amqp10Peer]:
    """Run a peer on a loopback port."""
    peer = Amqp10Peer()
    peer.answers += answers
    server = await asyncio.get_running_loop().create_server(lambda: _Conversation(peer), "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    try:
        yield peer
    finally:
        for conversation in list(peer.conversations):
            conversation.abort()
        server.close()
        await server.wait_closed()
