"""The queue plug-in ``amqp10``: what users of the NHS adaptor read from.

Spec: 50 §3.4, E3; L22.
"""

import asyncio
import ssl

import proton
import structlog

from openscr.mhs.queue.amqp10_link import SendingLink
from openscr.mhs.queue.brokers import BrokerAddress, Brokers, read_brokers
from openscr.mhs.queue.publisher import Publisher, QueueUnavailable
from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.settings import MhsSettings

_log = structlog.get_logger("queue")


def open_amqp10(settings: MhsSettings) -> Publisher:
    """Return the publisher that the settings ask for. Raises: `ConfigurationError`."""
    return Brokers(
        [
            Amqp10Queue(
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


class Amqp10Queue:
    """A queue of one broker. ``life`` is seconds that a message lives there, 0: for ever.

    ``timeout`` is seconds for the whole way of a message: connection, link, outcome.
    """

    def __init__(self, address: BrokerAddress, queue: str, *, life: float, timeout: float) -> None:
        self._address = address
        self._queue = queue
        self._life = life
        self._timeout = timeout
        self._link: SendingLink | None = None
        self._opening = asyncio.Lock()

    async def publish(self, message: QueueMessage) -> None:
        """Return once the broker has accepted the message. Raises: `QueueUnavailable`, `QueueRefused`."""
        wire = write_amqp10(message, self._life)
        try:
            async with asyncio.timeout(self._timeout):
                link = await self._opened()
                await link.send(wire)
        except TimeoutError:
            # Whether it has the message is not known; on this connection nothing more will be heard of it.
            await self._drop()
            raise QueueUnavailable(f"broker {self._address} has not answered in time") from None

    async def reachable(self) -> bool:
        """Whether the broker accepts our link."""
        try:
            async with asyncio.timeout(self._timeout):
                await self._opened()
        except (TimeoutError, QueueUnavailable):
            return False
        return True

    async def close(self) -> None:
        """Let go of the connection."""
        link, self._link = self._link, None
        if link is None:
            return
        try:
            async with asyncio.timeout(self._timeout):
                await link.close()
        except TimeoutError:
            await link.abort()

    async def _drop(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.abort()

    async def _opened(self) -> SendingLink:
        async with self._opening:
            if self._link is not None and not self._link.lost:
                return self._link
            self._link = None
            link = SendingLink(self._address, self._queue)
            try:
                await asyncio.get_running_loop().create_connection(
                    lambda: link, self._address.host, self._address.port, ssl=self._address.tls
                )
                await link.opened()
            except ssl.SSLCertVerificationError:
                raise QueueUnavailable(f"broker {self._address}: its certificate is not trusted") from None
            except OSError as error:
                raise QueueUnavailable(f"broker {self._address}: no connection ({type(error).__name__})") from None
            except BaseException:
                await link.abort()
                raise
            self._link = link
            _log.info("broker connected", broker=str(self._address))
            return link


def write_amqp10(message: QueueMessage, life: float) -> proton.Message:
    """Return a message as the broker gets it: every property of the table. ``life`` in seconds. Spec: 50 §3.4."""
    return proton.Message(
        id=message.id,
        durable=True,
        ttl=life,
        content_type="application/json",
        properties=message.properties,
        body=message.body.decode("utf-8"),
    )
