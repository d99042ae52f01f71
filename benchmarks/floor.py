"""The floor: what the same machine spends on the least that any such service must do, with the same libraries.

An upload: parse the payload once, compress it, insert it with the same durability in one group-committed transaction,
answer with bytes of the same size, post a message of the same size and read its acknowledgement. A query: parse, one
point read, decompress, answer. The HTTP server, its protocol class, the client and the store's writer are ours.

Spec: 90 §6.4.
"""

import asyncio
import signal
import sqlite3
import ssl
import sys
from pathlib import Path

import aiohttp
import zstandard
from starlette.types import Receive, Scope, Send

from openscr.listeners import Listener, bind
from openscr.settings import Address
from openscr.store.group_commit import GroupCommitWriter
from openscr.tls import TlsFiles, server_tls
from openscr.transport.xml import read_xml

_SIGNAL = b"<acknowledgment>" + b"x" * 1300
_MESSAGE = b"<message>" + b"x" * 3300
_ANSWER_HEAD = b"x" * 2500


class Floor:
    """The two operations of the floor behind one listener."""

    def __init__(self, folder: Path, callback: str) -> None:
        self._path = folder / "floor.db"
        self._callback = callback
        self._compress = zstandard.ZstdCompressor(level=3)
        self._decompress = zstandard.ZstdDecompressor()
        self._writer = GroupCommitWriter(self._connect)
        self._session: aiohttp.ClientSession
        self._count = 0
        self._posts: set[asyncio.Task[None]] = set()

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS document (id INTEGER PRIMARY KEY, bytes BLOB)")
        return connection

    async def start(self) -> None:
        """Open the store and the client session."""
        await self._writer.start()
        self._session = aiohttp.ClientSession()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        if scope["path"] == "/upload":
            answer = await self._upload(bytes(body))
        else:
            read_xml(bytes(body))
            document = await self._writer.run(
                lambda c: c.execute("SELECT bytes FROM document WHERE id = ?", (self._count,)).fetchone()[0]
            )
            answer = _ANSWER_HEAD + (self._decompress.decompress(document) if scope["path"] == "/event" else b"")
        headers = [(b"content-length", str(len(answer)).encode()), (b"content-type", b"text/xml")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _upload(self, body: bytes) -> bytes:
        read_xml(body)
        packed = self._compress.compress(body)
        self._count += 1
        number = self._count
        await self._writer.run(lambda c: c.execute("INSERT OR REPLACE INTO document VALUES (?, ?)", (number, packed)))
        task = asyncio.create_task(self._post())
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)
        return _SIGNAL

    async def _post(self) -> None:
        async with self._session.post(self._callback, data=_MESSAGE) as answer:
            await answer.read()


async def _main(folder: Path, callback: str, pki: str) -> None:
    floor = Floor(folder, callback)
    await floor.start()
    tls: ssl.SSLContext | None = None
    if pki:
        keys = Path(pki)
        tls = server_tls(TlsFiles(keys / "localhost.pem", keys / "localhost.key", keys / "ca.pem"))
    listener = Listener(floor, bind(Address("127.0.0.1", 0), "floor"), tls=tls, grace=2)
    await listener.start()
    print("ready", listener.url, flush=True)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_main(Path(sys.argv[1]), sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else ""))
