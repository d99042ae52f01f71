"""Those whom notices are sent to: a web server that notes what is posted to it, a mail server that keeps its mail."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from typing import Any

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Webhook:
    """A web server: what was posted to it. While ``status`` is not 200 it refuses; ``closed`` lets it keep silent."""

    url: str = ""
    status: int = 200
    posted: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    refused: int = 0
    silent: asyncio.Event | None = None

    async def take(self, request: web.Request) -> web.Response:
        """Note what was posted."""
        body = await request.read()
        if self.silent is not None:
            await self.silent.wait()
        if self.status != 200:
            self.refused += 1
            return web.Response(status=self.status, headers={"Location": self.url})
        self.posted.append((dict(request.headers), body))
        return web.Response()


@asynccontextmanager
async def webhook() -> AsyncIterator[Webhook]:
    """Listen on a free port of loopback."""
    hook = Webhook()
    application = web.Application()
    application.router.add_post("/alerts", hook.take)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/alerts"
    try:
        yield hook
    finally:
        if hook.silent is not None:
            hook.silent.set()
        await runner.cleanup()


@dataclass
class Mailbox:
    """A mail server: its port, what it took. ``refusal`` is what it answers to recipients instead of taking them."""

    port: int = 0
    refusal: str = ""
    mails: list[Message] = field(default_factory=list)
    secure: list[bool] = field(default_factory=list)

    async def handle_RCPT(  # noqa: N802 its name in aiosmtpd
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Take a recipient, or refuse."""
        if self.refusal:
            return self.refusal
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Keep a mail."""
        assert isinstance(envelope.content, bytes)
        self.mails.append(BytesParser().parsebytes(envelope.content))
        self.secure.append(session.ssl is not None)
        return "250 Message accepted"


@asynccontextmanager
async def mailbox(**settings: Any) -> AsyncIterator[Mailbox]:
    """Run a mail server on a free port of loopback; ``settings`` are those of `aiosmtpd.smtp.SMTP`."""
    box = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(box, **settings), "127.0.0.1", 0)
    box.port = server.sockets[0].getsockname()[1]
    try:
        yield box
    finally:
        server.close()
        await server.wait_closed()
