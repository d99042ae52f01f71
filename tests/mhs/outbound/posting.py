"""The REST face on a real socket, with workflows that only remember what they were asked."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

import msgspec
from starlette.routing import BaseRoute

from mhs.rig import context
from openscr.http_protocol import Limits
from openscr.listeners import Listener, bind
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import Answer, Exchanges, OutboundRequest
from openscr.mhs.outbound.application import outbound_application
from openscr.mhs.states import OutboundStatus, Workflow
from openscr.mhs.store.interface import MessageRow, StatusChange, Transaction
from openscr.settings import Address

INTERACTION = "QUPC_IN160101UK05"
HEADERS: Mapping[str, str] = {
    "Interaction-Id": INTERACTION,
    "wait-for-response": "false",
    "Content-Type": "application/json",
}
BODY = b'{"payload": "<hl7/>"}'


Parts = Callable[[AdaptorContext, Exchanges], Sequence[BaseRoute]]


@dataclass(frozen=True)
class Got:
    """What came back. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode()

    @property
    def json(self) -> dict[str, object]:
        """The body as JSON."""
        return msgspec.json.decode(self.body, type=dict[str, object])


@dataclass
class Recorder:
    """Workflows that keep the state of a message, and answer what the test says, when it says so."""

    context: AdaptorContext
    answer: Answer | Exception = field(default_factory=lambda: Answer(202))
    asked: list[OutboundRequest] = field(default_factory=list)
    told: list[tuple[OutboundRequest, Answer, bool]] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    finished: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Answer at once unless a test holds answers back."""
        self.go.set()

    async def send(self, request: OutboundRequest) -> Answer:
        """Remember the request, keep its state as every workflow does, and answer."""
        self.asked.append(request)
        now = self.context.clock()
        row = MessageRow(
            request.message_id,
            now,
            Workflow.SYNC_ASYNC if request.wait else request.workflow,
            interaction=request.interaction.name,
            correlation_id=request.correlation_id,
            outbound_status=OutboundStatus.ACKD,
            history=(StatusChange(now, OutboundStatus.RECEIVED), StatusChange(now, OutboundStatus.ACKD)),
            digest=request.digest,
        )

        async def keep(transaction: Transaction) -> None:
            await transaction.put_message(row)

        await self.context.store.transact(keep)
        self.begun.set()
        await self.go.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def answered(self, request: OutboundRequest, answer: Answer, *, delivered: bool) -> None:
        """Remember what was told."""
        self.told.append((request, answer, delivered))
        self.finished.set()


@dataclass
class Face:
    """A served REST face."""

    url: str
    context: AdaptorContext
    exchanges: Recorder

    async def ask(
        self, method: str, path: str, headers: Mapping[str, str | None] | None = None, body: bytes = b""
    ) -> Got:
        """Send one request on a connection of its own. A header that is none is left out."""
        reader, writer = await self.connect()
        writer.write(request_bytes(method, path, {"Content-Length": str(len(body)), **(headers or {})}))
        writer.write(body)
        try:
            await writer.drain()
            return read_answer(await reader.read())
        finally:
            writer.close()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection."""
        where = urlsplit(self.url)
        return await asyncio.open_connection(where.hostname, where.port)

    async def post(self, body: bytes = BODY, **changes: str | None) -> Got:
        """Post a message; ``changes`` are headers, with ``_`` for ``-``, none to leave one out."""
        named = {name.replace("_", "-").lower(): value for name, value in changes.items()}
        headers = {name.lower(): value for name, value in HEADERS.items()} | named
        return await self.ask("POST", "/", headers, body)


def request_bytes(method: str, path: str, headers: Mapping[str, str | None]) -> bytes:
    """Return the head of a request after which the connection ends."""
    lines = [f"{method} {path} HTTP/1.1", "Host: adaptor", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def read_answer(raw: bytes) -> Got:
    """Read a whole answer."""
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("transfer-encoding") != "chunked":
        assert len(body) == int(headers.get("content-length", "0"))
    return Got(int(status.split()[1]), headers, body)


@asynccontextmanager
async def face(
    *more: BaseRoute,
    adaptor: AdaptorContext | None = None,
    parts: Parts | None = None,
    workflows: Exchanges | None = None,
    **settings: object,
) -> AsyncIterator[Face]:
    """Serve the REST face on a free port of loopback, with more routes, given or made by ``parts``.

    With ``workflows`` messages go there, and the recorder stays empty; their store is open by then.
    """
    made = adaptor or context(**settings)  # type: ignore[arg-type]
    exchanges = Recorder(made)
    if workflows is None:
        await made.store.open()
    made_by_parts = parts(made, exchanges) if parts is not None else []
    application = outbound_application(made, workflows or exchanges, [*more, *made_by_parts])
    listener = Listener(
        application, bind(Address("127.0.0.1", 0), "test"), tls=None, grace=5, limits=Limits(half_open=False)
    )
    await listener.start()
    try:
        yield Face(listener.url, made, exchanges)
    finally:
        exchanges.go.set()
        listener.stop_accepting()
        await listener.stopped()
        await made.store.close()


def with_interactions(adaptor: AdaptorContext, **interactions: object) -> AdaptorContext:
    """Return an adaptor that knows these interactions as well."""
    return replace(adaptor, interactions={**adaptor.interactions, **interactions})  # type: ignore[dict-item]
