"""One AMQP 1.0 connection with one link that sends: qpid-proton's engine, driven by the event loop.

The engine does no I/O of its own: bytes go in and come out, what happened stands in its collector. TLS is the event
loop's, so that the broker's certificate is judged as every other one.

Spec: 50 §3.4.
"""

import asyncio
from typing import Final, cast

import proton

from openscr.mhs.queue.brokers import BrokerAddress
from openscr.mhs.queue.publisher import QueueRefused, QueueUnavailable

IDLE: Final = 30.0
"""Seconds without a byte after which the other end is taken for gone; we send something at least every half of its."""

CONTAINER: Final = "openscr-mhs"

_NO_ROOM: Final = "amqp:resource-limit-exceeded"
"""The condition of a rejection that may pass. Source: AMQP 1.0 part 2, §2.8.15."""

_NOT_THIS: Final = frozenset({"amqp:link:message-size-exceeded", "amqp:precondition-failed"})
"""Conditions with which brokers end a link or session because of the message that they got."""


class SendingLink(asyncio.Protocol):
    """A connection to a broker and a link to one of its queues.

    Invariant: whoever waits for an outcome gets one: the broker's, or `QueueUnavailable` once the connection has gone.
    """

    def __init__(self, address: BrokerAddress, queue: str) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._outcomes: dict[str, asyncio.Future[None]] = {}
        self._sent = 0
        self._wire: asyncio.Transport | None = None
        self._full = False
        self._timer: asyncio.TimerHandle | None = None
        self._reason = "the connection ended"
        self._collector = proton.Collector()
        self._connection = proton.Connection()
        self._connection.collect(self._collector)
        self._connection.hostname = address.host
        self._connection.container = CONTAINER
        self._engine = proton.Transport()
        self._engine.idle_timeout = IDLE
        # A variable of the environment (PN_TRACE_FRM) would make it print passwords and messages.
        self._engine.trace(proton.Transport.TRACE_OFF)
        sasl = self._engine.sasl()
        sasl.allowed_mechs("PLAIN" if address.user else "ANONYMOUS")
        # What the engine cannot see: whether the loop has encrypted the connection.
        sasl.allow_insecure_mechs = True
        if address.user:
            self._connection.user = address.user
            self._connection.password = address.password
        self._engine.bind(self._connection)
        self._connection.open()
        session = self._connection.session()
        session.open()
        self._sender = session.sender(f"{CONTAINER}-{queue}")
        self._sender.target.address = queue
        # A queue that the broker makes for us outlives it. The value is what the reference asks for.
        self._sender.target.durability = proton.Terminus.DELIVERIES
        self._sender.snd_settle_mode = proton.Link.SND_UNSETTLED
        self._sender.open()

    @property
    def lost(self) -> bool:
        """Whether nothing can be sent any more."""
        return self._gone.done() or self._wire is None or self._wire.is_closing()

    async def opened(self) -> None:
        """Wait until the broker has accepted the link. Raises: `QueueUnavailable`."""
        await asyncio.shield(self._opened)

    async def send(self, message: proton.Message) -> None:
        """Send, and return once the broker has accepted. Raises: `QueueUnavailable`, `QueueRefused`."""
        if self.lost:
            raise self._unavailable(self._reason)
        self._sent += 1
        tag = str(self._sent)
        outcome: asyncio.Future[None] = self._loop.create_future()
        self._outcomes[tag] = outcome
        try:
            self._sender.send(message, tag=tag)
            self._drive()
            await outcome
        finally:
            self._outcomes.pop(tag, None)

    async def close(self) -> None:
        """Say good-bye and wait until the connection has gone."""
        if not self.lost:
            self._connection.close()
            self._drive()
        await asyncio.shield(self._gone)

    async def abort(self) -> None:
        """Let the connection go without a word, and wait until it has gone."""
        if self._wire is None:
            return
        self._wire.abort()
        await asyncio.shield(self._gone)

    # --- asyncio.Protocol -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to speak."""
        self._wire = cast("asyncio.Transport", transport)
        self._drive()

    def data_received(self, data: bytes) -> None:
        """Give the engine what has come."""
        try:
            while data and (room := self._engine.capacity()) > 0:
                self._engine.push(data[:room])
                data = data[room:]
                self._read_events()
        except proton.ProtonException as error:
            self._end(f"it does not speak AMQP 1.0 ({type(error).__name__})")
        self._drive()

    def pause_writing(self) -> None:
        """Leave bytes in the engine."""
        self._full = True

    def resume_writing(self) -> None:
        """Take bytes out of the engine again."""
        self._full = False
        self._drive()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        if self._timer is not None:
            self._timer.cancel()
        if self._engine.sasl().outcome != proton.SASL.OK:
            self._reason += "; it has not let us in, perhaps because of this user or password"
        error = self._unavailable(self._reason)
        for waiting in (self._opened, *self._outcomes.values()):
            if not waiting.done():
                waiting.set_exception(error)
        # Nobody need have been waiting for the link.
        self._opened.exception()
        self._gone.set_result(None)

    # --- the engine -------------------------------------------------------------------------------------------------

    def _drive(self) -> None:
        """Let the engine work until it has nothing more to say, and wake it when it wants to be woken."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        wire = self._wire
        if wire is None or wire.is_closing():
            return
        try:
            wanted = self._engine.tick(self._loop.time())
            self._read_events()
            while not self._full and (pending := self._engine.pending()) > 0:
                wire.write(self._engine.peek(pending))
                self._engine.pop(pending)
                self._read_events()
            ended = pending < 0 if not self._full else False
        except proton.ProtonException as error:
            self._end(f"it does not speak AMQP 1.0 ({type(error).__name__})")
            return
        if ended:
            wire.close()
        elif wanted:
            self._timer = self._loop.call_at(wanted, self._drive)

    def _read_events(self) -> None:
        while (event := self._collector.peek()) is not None:
            self._read_event(event)
            self._collector.pop()

    def _read_event(self, event: proton.Event) -> None:
        match event.type:
            case proton.Event.LINK_REMOTE_OPEN:
                # A link without a target is refused; its detach follows and says why.
                if self._sender.remote_target.address is not None and not self._opened.done():
                    self._opened.set_result(None)
            case proton.Event.DELIVERY:
                self._read_outcome(event.delivery)
            case proton.Event.LINK_REMOTE_CLOSE | proton.Event.LINK_REMOTE_DETACH:
                self._refuse_by(event.link.remote_condition)
                self._end(_told(event.link.remote_condition, "it has ended the link"))
            case proton.Event.SESSION_REMOTE_CLOSE:
                self._refuse_by(event.session.remote_condition)
                self._end(_told(event.session.remote_condition, "it has ended the session"))
            case proton.Event.CONNECTION_REMOTE_CLOSE:
                self._end(_told(event.connection.remote_condition, "it has closed the connection"))
            case proton.Event.TRANSPORT_ERROR:
                self._end(_told(event.transport.condition, "the connection failed"))

    def _read_outcome(self, delivery: proton.Delivery) -> None:
        state = delivery.remote_state
        if not state and not delivery.settled:
            return
        delivery.settle()
        outcome = self._outcomes.get(delivery.tag)
        if outcome is None or outcome.done():
            return
        condition = delivery.remote.condition
        if state == proton.Delivery.ACCEPTED:
            outcome.set_result(None)
        elif state == proton.Delivery.REJECTED and (condition is None or condition.name != _NO_ROOM):
            # The description could quote the message: only the condition's name is told.
            named = f" ({condition.name})" if condition is not None and condition.name else ""
            outcome.set_exception(QueueRefused(f"broker {self._address} has rejected the message{named}"))
        else:
            outcome.set_exception(self._unavailable("it has given the message back"))

    def _refuse_by(self, condition: proton.Condition | None) -> None:
        """Take the end of the link for the refusal of the message under way; of several it cannot be told which."""
        waiting = [outcome for outcome in self._outcomes.values() if not outcome.done()]
        if self._opened.done() and condition is not None and condition.name in _NOT_THIS and len(waiting) == 1:
            waiting[0].set_exception(QueueRefused(f"broker {self._address}: {condition.name}"))

    def _end(self, reason: str) -> None:
        """Let the connection go, for a reason that those who wait are told."""
        self._reason = reason
        if self._wire is not None:
            self._wire.abort()

    def _unavailable(self, reason: str) -> QueueUnavailable:
        return QueueUnavailable(f"broker {self._address}: {reason}")


def _told(condition: proton.Condition | None, otherwise: str) -> str:
    """Return the other end's own words on why it ends something; no message is in them."""
    if condition is None:
        return otherwise
    return f"{otherwise}: {condition.name} {condition.description or ''}".rstrip()
