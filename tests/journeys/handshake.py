"""Handshakes by hand: with whatever certificate, version, suites and session a test wants, and what came of them."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509

from journeys.messages import Post
from journeys.runner import Server, stored, until
from journeys.wire import PATIENCE, Answer
from openscr.store.interface import AuditEntry


@dataclass(frozen=True)
class Visit:
    """What a client saw of one connection, and the answer to what it asked."""

    session: ssl.SSLSession | None
    resumed: bool
    version: str
    suite: str
    serial: int
    answer: Answer


async def visit(base: str, tls: ssl.SSLContext, post: Post, *, session: ssl.SSLSession | None = None) -> Visit:
    """Connect as a plain client does, ask, and leave. Raises: `ssl.SSLError` whose reason is the alert, `OSError`."""
    return await asyncio.to_thread(_visit, base, tls, post, session)


def _visit(base: str, tls: ssl.SSLContext, post: Post, session: ssl.SSLSession | None) -> Visit:
    parts = urlsplit(base)
    with (
        socket.create_connection((parts.hostname, parts.port or 0), PATIENCE) as raw,
        tls.wrap_socket(raw, server_hostname="localhost", session=session) as connection,
    ):
        # With TLS 1.3 whether we are let in is told with the first thing that comes back: an alert, or the answer.
        connection.sendall(post.raw())
        answer = _read(connection)
        suite = connection.cipher()
        shown = connection.getpeercert(binary_form=True)
        assert suite is not None
        assert shown is not None
        serial = x509.load_der_x509_certificate(shown).serial_number
        return Visit(
            connection.session, bool(connection.session_reused), connection.version() or "", suite[0], serial, answer
        )


def _read(connection: ssl.SSLSocket) -> Answer:
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65_536)
        if not piece:
            raise ConnectionResetError("no answer")
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    start, *lines = head.decode("latin-1").split("\r\n")
    headers = tuple((n.strip().lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines))
    length = int(dict(headers).get("content-length", "0"))
    while len(body) < length:
        body += connection.recv(65_536)
    return Answer(int(start.split()[1]), headers, body)


def only(tls: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Let a client speak one version alone."""
    tls.minimum_version = tls.maximum_version = version
    return tls


def serial_of(certificate: Path) -> int:
    """Return the serial number of a certificate file."""
    return x509.load_pem_x509_certificate(certificate.read_bytes()).serial_number


async def _audit(server: Server) -> dict[tuple[int, int], AuditEntry]:
    async with stored(server.data) as store:
        return {(row.slot, row.sequence): row.entry async for row in store.read_audit()}


class NewRows:
    """The audit rows that were written since a test began."""

    def __init__(self, server: Server, before: set[tuple[int, int]]) -> None:
        self._server = server
        self.before = before
        self.rows: list[AuditEntry] = []

    async def reasons(self, count: int = 1) -> list[str]:
        """Wait for ``count`` new rows; return their reasons, sorted: rows of several slots have no order."""

        async def there() -> bool:
            rows = await _audit(self._server)
            self.rows = [entry for place, entry in rows.items() if place not in self.before]
            return len(self.rows) >= count

        await until(there)
        return sorted(row.content.get("reason", "") for row in self.rows)


@asynccontextmanager
async def new_rows(server: Server) -> AsyncIterator[NewRows]:
    """Look at what a test adds to the audit."""
    yield NewRows(server, set(await _audit(server)))
