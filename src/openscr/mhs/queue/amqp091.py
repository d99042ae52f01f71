"""The queue plug-in ``amqp091``: RabbitMQ in its own protocol.

Spec: 50 E3.
"""

import asyncio
import logging
import ssl
from typing import Final

import aio_pika
import structlog
from aio_pika import exceptions
from aio_pika.abc import AbstractChannel, AbstractConnection

from openscr.mhs.queue.brokers import BrokerAddress, Brokers, read_brokers
from openscr.mhs.queue.publisher import Publisher, QueueRefused, QueueUnavailable
from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.settings import MhsSettings

_log = structlog.get_logger("queue")

FAREWELL: Final = 1.0
"""Seconds that a broker has to say good-bye before its connection is let go of."""


def open_amqp091(settings: MhsSettings) -> Publisher:
    """Return the publisher that the settings ask for. Raises: `ConfigurationError`."""
    for library in ("aio_pika", "aiormq"):
        # They log whole messages at DEBUG; what else they have to say comes to us as exceptions.
        logging.getLogger(library).setLevel(logging.CRITICAL)
    return Brokers(
        [
            Amqp091Queue(
                address,
                settings.inbound_queue_name,
                life=settings.inbound_queue_message_ttl_in_seconds,
                timeout=settings.inbound_queue_timeout,
            )
            for address in read_brokers(settings)
        ],
        rounds=settings.inbound_queue_max_retries,
        pause=settings.inbound_queue_retry_delay / 1000,
    )


class Amqp091Queue:
    """A queue of one broker, in the virtual host that the address's path names; none: ``/``. It must exist.

    ``life`` is seconds that a message lives there, 0: for ever. ``timeout`` is seconds for the whole way of a message:
    connection, channel, confirmation.
    """

    def __init__(self, address: BrokerAddress, queue: str, *, life: float, timeout: float) -> None:
        self._address = address
        self._queue = queue
        self._life = life
        self._timeout = timeout
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._opening = asyncio.Lock()

    async def publish(self, message: QueueMessage) -> None:
        """Return once the broker has confirmed the message. Raises: `QueueUnavailable`, `QueueRefused`."""
        wire = write_amqp091(message, self._life)
        try:
            async with asyncio.timeout(self._timeout):
                channel = await self._opened()
                await channel.default_exchange.publish(wire, self._queue, mandatory=True)
        except exceptions.PublishError:
            raise self._unavailable("it has no queue of this name") from None
        except exceptions.DeliveryError:
            # RabbitMQ says so of a queue that is full and refuses more, and of faults of its own.
            raise self._unavailable("it has given the message back") from None
        except exceptions.ChannelPreconditionFailed:
            # Of a message there is one reason: its size.
            raise QueueRefused(f"broker {self._address} does not take a message like this") from None
        except TimeoutError:
            # Whether it has the message is not known; on this connection nothing more will be heard of it.
            await self.close()
            raise self._unavailable("it has not answered in time") from None
        except exceptions.CONNECTION_EXCEPTIONS as error:
            await self.close()
            raise self._unavailable(f"the connection ended ({type(error).__name__})") from None

    async def reachable(self) -> bool:
        """Whether the broker lets us in, and has the queue."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._opened()
        except (TimeoutError, QueueUnavailable):
            return False
        return True

    async def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            try:
                async with asyncio.timeout(FAREWELL):
                    await connection.close()
            except (TimeoutError, *exceptions.CONNECTION_EXCEPTIONS):
                pass

    async def _opened(self) -> AbstractChannel:
        async with self._opening:
            if self._channel is not None and not self._channel.is_closed:
                return self._channel
            await self.close()
            address = self._address
            try:
                self._connection = await aio_pika.connect(
                    host=address.host,
                    port=address.port,
                    login=address.user or "guest",
                    password=address.password or "guest",
                    virtualhost=address.path or "/",
                    ssl=address.tls is not None,
                    ssl_context=address.tls,
                )
                channel = self._connection.channel(on_return_raises=True)
                await channel.initialize()
                await channel.get_queue(self._queue, ensure=True)
            except exceptions.ChannelNotFoundEntity:
                raise self._unavailable("it has no queue of this name") from None
            except (exceptions.AuthenticationError, exceptions.ProbableAuthenticationError):
                raise self._unavailable("it does not know this user with this password") from None
            except exceptions.CONNECTION_EXCEPTIONS as error:
                untrusted = isinstance(error.__cause__ or error, ssl.SSLCertVerificationError)
                reason = "its certificate is not trusted" if untrusted else f"no connection ({type(error).__name__})"
                raise self._unavailable(reason) from None
            self._channel = channel
            _log.info("broker connected", broker=str(address))
            return channel

    def _unavailable(self, reason: str) -> QueueUnavailable:
        return QueueUnavailable(f"broker {self._address}: {reason}")


def write_amqp091(message: QueueMessage, life: float) -> aio_pika.Message:
    """Return a message as the broker gets it. ``life`` in seconds. Spec: 50 E3."""
    return aio_pika.Message(
        message.body,
        message_id=message.id,
        content_type="application/json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        expiration=life or None,
        headers=dict(message.properties),
    )
