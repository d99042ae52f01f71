"""Where brokers are, and several of them as one.

Spec: 50 §3.4, §7.
"""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote, urlsplit

from openscr.errors import ConfigurationError
from openscr.mhs.queue.publisher import Publisher, QueueUnavailable
from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.settings import MhsSettings

_PORTS: Final = {"amqp": 5672, "amqps": 5671}


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """One broker: where it is, what its certificate is judged by (none: no TLS), and who we are there.

    ``path`` is what the address says after the port, without the slash: of AMQP 0-9-1 the virtual host.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    user: str = ""
    password: str = field(default="", repr=False)
    path: str = ""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def read_brokers(settings: MhsSettings) -> list[BrokerAddress]:
    """Read the list of brokers. User and password of the settings win over those in an address.

    Raises: `ConfigurationError`, which repeats no address: it may hold a password.
    """
    addresses = [address.strip() for address in settings.inbound_queue_brokers.split(",") if address.strip()]
    if not addresses:
        raise ConfigurationError("setting inbound_queue_brokers: name at least one broker, as amqp://HOST:PORT")
    if not settings.inbound_queue_name:
        raise ConfigurationError("setting inbound_queue_name: name the queue that messages go to")
    return [_read_broker(address, settings) for address in addresses]


def _read_broker(address: str, settings: MhsSettings) -> BrokerAddress:
    try:
        parts = urlsplit(address if "//" in address else f"amqp://{address}")
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ConfigurationError(
            "setting inbound_queue_brokers: a broker is amqp://HOST:PORT, with TLS amqps://HOST:PORT"
        )
    user, password = settings.secret_inbound_queue_username, settings.secret_inbound_queue_password
    return BrokerAddress(
        parts.hostname,
        port or _PORTS[parts.scheme],
        trust(settings) if parts.scheme == "amqps" else None,
        user.get_secret_value() if user is not None else unquote(parts.username or ""),
        password.get_secret_value() if password is not None else unquote(parts.password or ""),
        unquote(parts.path[1:]),
    )


def trust(settings: MhsSettings) -> ssl.SSLContext:
    """Return what the certificate at the other end is judged by. Raises: `ConfigurationError`."""
    try:
        context = ssl.create_default_context(cafile=settings.inbound_queue_ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"setting inbound_queue_ca_file: {settings.inbound_queue_ca_file} is not a readable PEM file"
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Brokers:
    """Several brokers as one: asked in their order until one takes the message, in rounds.

    The one that took the last message is asked first: its connection stands. ``rounds`` are made after the first,
    ``pause`` seconds apart. A broker that refuses a message has spoken for all of them. Spec: 50 §3.4.
    """

    def __init__(self, brokers: Sequence[Publisher], *, rounds: int, pause: float) -> None:
        self._brokers = tuple(brokers)
        self._rounds = rounds
        self._pause = pause
        self._current: Publisher | None = None

    async def publish(self, message: QueueMessage) -> None:
        """Return once one of them has taken responsibility. Raises: `QueueUnavailable`, `QueueRefused`."""
        for round_made in range(self._rounds + 1):
            if round_made:
                await asyncio.sleep(self._pause)
            for broker in self._in_turn():
                try:
                    await broker.publish(message)
                except QueueUnavailable as error:
                    last = error
                    self._current = None
                else:
                    self._current = broker
                    return
        raise last

    def _in_turn(self) -> list[Publisher]:
        first = self._current
        return [*([first] if first is not None else []), *(broker for broker in self._brokers if broker is not first)]

    async def reachable(self) -> bool:
        """Whether one of them could be given a message now."""
        for broker in self._in_turn():
            if await broker.reachable():
                return True
        return False

    async def close(self) -> None:
        """Let go of every connection."""
        for broker in self._brokers:
            await broker.close()
