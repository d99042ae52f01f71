"""The two ways of telling an officer: a signed POST to a web server, and a mail.

Both carry the reference of the alert and nothing else: no patient, no user, no reason. Spec: 80 §5.1.
"""

import asyncio
import hashlib
import hmac
import smtplib
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from threading import Thread
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from openscr.delivery.carriers import HttpCarrier
from openscr.errors import ConfigurationError, DeliveryError
from openscr.identifiers import Clock, is_loopback
from openscr.store.alert_records import Subscription

SIGNATURE: Final = "OpenSCR-Signature"
FORMAT: Final = "openscr-alert-notice/1"
SECONDS: Final = 20.0
"""For a whole exchange with a web server; for each step with a mail server."""

LONGEST: Final = 60.0
"""Seconds for a whole exchange with a mail server."""

SUBJECT: Final = "A privacy alert waits for you"
TEXT: Final = """\
A new privacy alert waits for you.

Its reference: {reference}

Sign in to the alert viewer to open it. This message says nothing about the patient or the user on purpose.
"""


def sign(secret: str, at: int, body: bytes) -> str:
    """Return the value of the signature header: when (seconds since 1970), and HMAC-SHA-256 over ``<when>.<body>``."""
    digest = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class WebhookSender:
    """Posts to web servers; redirections are not followed."""

    def __init__(self, carrier: HttpCarrier, clock: Clock) -> None:
        self._carrier = carrier
        self._clock = clock

    async def send(self, subscription: Subscription, alert_id: str) -> None:
        """Post a notice; every 2xx means that it was taken. Raises: `DeliveryError`."""
        body = msgspec.json.encode({"format": FORMAT, "alert": alert_id})
        at = int(self._clock().timestamp())
        headers = {"Content-Type": "application/json", SIGNATURE: sign(subscription.secret, at, body)}
        answer = await self._carrier.post(subscription.address, headers, body)
        if not 200 <= answer.status < 300:
            raise DeliveryError(f"HTTP {answer.status}")

    async def close(self) -> None:
        """Let go of all connections."""
        await self._carrier.close()


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail goes. ``secure`` means TLS from the first byte; else STARTTLS is asked for, but on this machine."""

    host: str
    port: int
    secure: bool = False
    user: str = ""
    password: str = ""

    @property
    def starts_tls(self) -> bool:
        """Whether the connection must be made secure before anything is said."""
        return not self.secure and not is_loopback(self.host)


def read_mail_server(url: str) -> MailServer:
    """Read ``smtp://USER:PASSWORD@HOST:PORT`` or ``smtps://…``. Raises: `ConfigurationError`, which repeats nothing."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
        raise ConfigurationError("setting smtp: a mail server is smtp://HOST:PORT or smtps://USER:PASSWORD@HOST:PORT")
    secure = parts.scheme == "smtps"
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return MailServer(parts.hostname, port or (465 if secure else 587), secure, user, password)


class MailSender:
    """Hands mails to one server, each on a connection of its own, on a thread that the service does not wait for.

    ``starts_tls`` beats what follows from the server's place; ``tls`` is what its certificate is judged by.
    """

    def __init__(
        self,
        server: MailServer,
        sender: str,
        tls: ssl.SSLContext,
        *,
        clock: Clock,
        timeout: float = SECONDS,
        starts_tls: bool | None = None,
    ) -> None:
        self._server = server
        self._sender = sender
        self._tls = tls
        self._clock = clock
        self._timeout = timeout
        self._starts_tls = server.starts_tls if starts_tls is None else starts_tls

    async def send(self, subscription: Subscription, alert_id: str) -> None:
        """Send a mail. Raises: `DeliveryError`, which repeats nothing that the server says."""
        message = write_mail(self._sender, subscription, alert_id, self._clock())
        connection = self._connection()
        try:
            async with asyncio.timeout(LONGEST):
                await _on_a_thread_of_its_own(lambda: self._hand_over(connection, message))
        except smtplib.SMTPResponseException as error:
            raise DeliveryError(f"SMTP {error.smtp_code}") from None
        except smtplib.SMTPRecipientsRefused:
            raise DeliveryError("the mail server does not take this recipient") from None
        except ssl.SSLError:
            raise DeliveryError("the mail server's certificate is not trusted") from None
        except TimeoutError:
            raise DeliveryError("no answer in time") from None
        except (OSError, smtplib.SMTPException) as error:
            # The library tells of a time that is over as of a connection that broke off.
            late = isinstance(error.__context__, TimeoutError)
            raise DeliveryError("no answer in time" if late else f"no connection ({type(error).__name__})") from None
        finally:
            # A server that says a little now and then is never late for the socket: its thread would wait for ever.
            if connection.sock is not None:
                with suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)

    def _connection(self) -> smtplib.SMTP:
        """Return a connection that is still to be made, so that it can be ended while it is."""
        server = self._server
        connection = (
            smtplib.SMTP_SSL(timeout=self._timeout, context=self._tls)
            if server.secure
            else smtplib.SMTP(timeout=self._timeout)
        )
        # The name that the certificate must bear; the library takes it only where it connects at once.
        connection._host = server.host  # type: ignore[attr-defined]
        return connection

    def _hand_over(self, connection: smtplib.SMTP, message: EmailMessage) -> None:
        server = self._server
        with connection:
            code, greeting = connection.connect(server.host, server.port)
            if code != 220:
                raise smtplib.SMTPConnectError(code, greeting)
            if self._starts_tls:
                connection.starttls(context=self._tls)
            if server.user:
                connection.login(server.user, server.password)
            connection.send_message(message)


async def _on_a_thread_of_its_own(work: Callable[[], None]) -> None:
    """Run ``work`` on a thread that the end of the program does not wait for. Raises what it raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except Exception as raised:  # noqa: BLE001 whatever it is, the one who waits hears of it
            error = raised
        # A closed loop means that nobody is left to hear it.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, error)

    Thread(target=run, name="openscr-mail", daemon=True).start()
    await done


def write_mail(sender: str, subscription: Subscription, alert_id: str, now: datetime) -> EmailMessage:
    """Write a notice as a mail; the same notice sent again has the same Message-ID. Spec: 80 §5.1."""
    message = EmailMessage()
    message["From"] = sender
    message["To"] = subscription.address
    message["Subject"] = SUBJECT
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{alert_id.lower()}.{subscription.id.lower()}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(TEXT.format(reference=alert_id))
    return message
