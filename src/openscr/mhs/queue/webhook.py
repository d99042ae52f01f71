"""The queue plug-in ``webhook``: the supplier's own web server takes the messages.

Spec: 50 E3.
"""

import asyncio
import contextlib
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from openscr.delivery.carriers import HttpCarrier
from openscr.errors import ConfigurationError, DeliveryError
from openscr.mhs.queue.brokers import trust
from openscr.mhs.queue.publisher import Publisher, QueueRefused, QueueUnavailable
from openscr.mhs.queue_message import QueueMessage
from openscr.mhs.settings import MhsSettings

KEY_HEADER: Final = "Idempotency-Key"
"""Holds the queue message's id: the same one each time that it is posted."""

_LATER: Final = frozenset({408, 425, 429})
"""Statuses below 500 that mean: again later."""

_PORTS: Final = {"http": 80, "https": 443}


def open_webhook(settings: MhsSettings) -> Publisher:
    """Return the publisher that the settings ask for. Raises: `ConfigurationError`."""
    parts = urlsplit(settings.webhook_url)
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ConfigurationError("setting webhook_url: give the address that messages are posted to, https://HOST/PATH")
    user, password = settings.secret_inbound_queue_username, settings.secret_inbound_queue_password
    credentials = ""
    if user is not None:
        secret = password.get_secret_value() if password is not None else ""
        credentials = aiohttp.encode_basic_auth(user.get_secret_value(), secret)
    tls = trust(settings) if parts.scheme == "https" else None
    return Webhook(
        settings.webhook_url,
        HttpCarrier(
            tls,
            timeout=settings.inbound_queue_timeout,
            tries=settings.inbound_queue_max_retries + 1,
            pause=settings.inbound_queue_retry_delay / 1000,
            # Who has said 2xx has the message, whatever else there is to say and however long that takes.
            largest_answer=0,
        ),
        credentials=credentials,
        timeout=settings.inbound_queue_timeout,
    )


class Webhook:
    """An address that messages are posted to. A 2xx means that the message was taken; redirections are not followed.

    ``credentials`` is the value of the header ``Authorization``, if there is to be one; ``timeout`` is in seconds.
    """

    def __init__(self, url: str, carrier: HttpCarrier, *, credentials: str = "", timeout: float) -> None:
        parts = urlsplit(url)
        self._url = url
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._carrier = carrier
        self._credentials = credentials
        self._timeout = timeout

    async def publish(self, message: QueueMessage) -> None:
        """Post a message. Raises: `QueueUnavailable`, `QueueRefused`."""
        headers = {"Content-Type": "application/json", KEY_HEADER: message.id, **message.properties}
        if self._credentials:
            headers["Authorization"] = self._credentials
        try:
            answer = await self._carrier.post(self._url, headers, message.body)
        except DeliveryError as error:
            raise QueueUnavailable(f"webhook at {self._host}: {error.diagnostics}") from None
        except ValueError:
            raise QueueRefused("an id of the message cannot stand in an HTTP header") from None
        if 200 <= answer.status < 300:
            return
        if answer.status >= 500 or answer.status in _LATER:
            raise QueueUnavailable(f"webhook at {self._host}: HTTP {answer.status}")
        raise QueueRefused(f"webhook at {self._host} does not take the message: HTTP {answer.status}")

    async def reachable(self) -> bool:
        """Whether somebody listens at the address."""
        try:
            async with asyncio.timeout(self._timeout):
                _, writer = await asyncio.open_connection(self._host, self._port)
        except (TimeoutError, OSError):
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    async def close(self) -> None:
        """Let go of the connections."""
        await self._carrier.close()
