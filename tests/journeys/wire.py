"""HTTP by hand: every byte of a request is the test's own, every header of an answer is looked at."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from openscr.transport.ebxml import Signal, read_signal
from openscr.transport.soap import Fault, read_fault
from openscr.transport.wsa import SoapAnswer, read_answer
from openscr.transport.xml import read_xml

SYNC = "/sync-service"
RELIABLE = "/reliablemessaging/reliablerequest"
QUERIES = "/reliablemessaging/queryrequest"
SIGNALS = "urn:oasis:names:tc:ebxml-msg:service"
PATIENCE = 60


class Ended(Exception):
    """The connection ended before a whole answer had come."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer; header names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the one value of a header, or none."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None


class Connection:
    """One connection to a listener."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def end_sending(self) -> None:
        """Close our half; the answer can still be read (not over TLS)."""
        self.writer.write_eof()

    async def answer(self) -> Answer:
        """Read one answer. Raises: `Ended`."""
        try:
            async with asyncio.timeout(PATIENCE):
                head = await self.reader.readuntil(b"\r\n\r\n")
                start, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
                pairs = (line.partition(":") for line in lines)
                headers = tuple((name.strip().lower(), value.strip()) for name, _, value in pairs)
                length = int(dict(headers).get("content-length", "0"))
                body = await self.reader.readexactly(length)
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError) as error:
            raise Ended from error
        return Answer(int(start.split()[1]), headers, body)

    async def ended(self) -> bool:
        """Whether the other end closes now, with nothing more to say."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await self.reader.read() == b""
        except (ConnectionError, ssl.SSLError):
            return True

    async def exchange(self, request: bytes) -> Answer:
        """Send a request and read its answer."""
        await self.send(request)
        return await self.answer()


@asynccontextmanager
async def connected(
    base: str, tls: ssl.SSLContext | None = None, *, source: str | None = None
) -> AsyncIterator[Connection]:
    """Connect to a listener's base URL, from the address ``source`` if that matters."""
    parts = urlsplit(base)
    ours = (source, 0) if source is not None else None
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=tls, local_addr=ours)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


def request_bytes(
    path: str,
    body: bytes,
    headers: Sequence[tuple[str, str]],
    *,
    method: str = "POST",
    length: int | None = None,
) -> bytes:
    """Write a request; ``length`` announces another length than the body has."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: spine.test",
        f"Content-Length: {len(body) if length is None else length}",
    ]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def post(
    base: str,
    path: str,
    body: bytes,
    headers: Sequence[tuple[str, str]],
    tls: ssl.SSLContext | None = None,
    method: str = "POST",
) -> Answer:
    """Send one request on a connection of its own."""
    async with connected(base, tls) as connection:
        return await connection.exchange(request_bytes(path, body, headers, method=method))


# --- what an answer is ----------------------------------------------------------------------------------------------


def fault_of(answer: Answer) -> Fault:
    """Return the SOAP fault that an answer is, with the headers that one has. Spec: 40 §4.4, §10.5."""
    assert (answer.status, answer.header("content-type"), answer.header("soapaction")) == (500, "text/xml", None)
    fault = read_fault(read_xml(answer.body))
    assert fault is not None, answer.body
    return fault


def signal_of(answer: Answer) -> Signal:
    """Return the signal that an answer is, with the status and headers that it has. Spec: 40 §5.4, §5.5, §8."""
    signal = read_signal(read_xml(answer.body))
    assert signal is not None, answer.body
    status = 202 if signal.kind == "Acknowledgment" else 200
    expected = (status, "text/xml", f"{SIGNALS}/{signal.kind}")
    assert (answer.status, answer.header("content-type"), answer.header("soapaction")) == expected
    return signal


def soap_of(answer: Answer, *interactions: str) -> SoapAnswer:
    """Return the SOAP answer with one of these interactions. Spec: 40 §4.3, §10.5."""
    assert (answer.status, answer.header("content-type"), answer.header("soapaction")) == (200, "text/xml", None)
    assert answer.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>')
    return read_answer(read_xml(answer.body), frozenset(interactions))


def errors_of(answer: Answer) -> list[tuple[str, str]]:
    """Return code and description of every error of a MessageError, in order."""
    signal = signal_of(answer)
    assert signal.kind == "MessageError"
    return [(error.code, error.description) for error in signal.errors]
