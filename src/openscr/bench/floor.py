"""The floor: what the same machine spends on the least that any such service must do, with the same libraries.

An upload: parse the payload once, compress it, insert it with the same durability, answer with bytes of the same size,
post a message of the same size and read its acknowledgement. A query: parse, one point read, decompress, answer. The
HTTP server, its protocol class, the client and the writer of SQLite are ours; on PostgreSQL each is one statement.

Spec: 90 §6.4.
"""

import asyncio
import json
import os
import re
import signal
import sqlite3
import ssl
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

import aiohttp
import asyncpg
import uvloop
import zstandard
from starlette.types import Receive, Scope, Send

from openscr.bench.stores import is_postgresql
from openscr.client.connection import Tls
from openscr.listeners import Listener, bind
from openscr.settings import Address
from openscr.store.group_commit import GroupCommitWriter
from openscr.tls import TlsFiles, server_tls
from openscr.transport.xml import read_xml

_SIGNAL: Final = b"<Acknowledgment>" + b"x" * 1300
_ANSWER: Final = b'<answer typeCode="AA">' + b"x" * 2500
_POSTED: Final = b"<message><eb:MessageId>%s</eb:MessageId><eb:RefToMessageId>%s</eb:RefToMessageId>" + b"x" * 3300
_ID: Final = re.compile(rb"<eb:MessageId>([0-9A-Fa-f-]{36})</eb:MessageId>")
_CONNECTIONS: Final = 16
_VARIABLE: Final = "OPENSCR_BENCH_FLOOR"


@dataclass(frozen=True, slots=True)
class FloorPlan:
    """What a floor stands on: a folder of its own or a PostgreSQL, where it posts to, and TLS files if it has any."""

    folder: str
    store: str
    callback: str
    certificate: str = ""
    key: str = ""
    authority: str = ""

    def environment(self) -> dict[str, str]:
        """Return the variable that the program reads it from: a password is for no list of processes."""
        return {_VARIABLE: json.dumps(asdict(self))}


class _Table(Protocol):
    async def start(self) -> None: ...
    async def insert(self, number: int, packed: bytes) -> None: ...
    async def read(self, number: int) -> bytes: ...


class _SqliteTable:
    """One table in a file, committed in groups as the service's own."""

    def __init__(self, folder: str) -> None:
        self._path = Path(folder) / "floor.db"
        self._writer = GroupCommitWriter(self._connect)

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS document (id INTEGER PRIMARY KEY, bytes BLOB)")
        return connection

    async def start(self) -> None:
        """Open it."""
        await self._writer.start()

    async def insert(self, number: int, packed: bytes) -> None:
        """Keep a document."""
        statement = "INSERT OR REPLACE INTO document VALUES (?, ?)"
        await self._writer.run(lambda connection: connection.execute(statement, (number, packed)))

    async def read(self, number: int) -> bytes:
        """Return a document."""
        statement = "SELECT bytes FROM document WHERE id = ?"
        row: bytes = await self._writer.run(lambda connection: connection.execute(statement, (number,)).fetchone()[0])
        return row


class _PostgresTable:
    """One table of its own in the same database."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._pool: asyncpg.Pool[asyncpg.Record]

    async def start(self) -> None:
        """Connect, and make the table afresh."""
        self._pool = await asyncpg.create_pool(self._url, min_size=_CONNECTIONS, max_size=_CONNECTIONS)
        await self._pool.execute("DROP TABLE IF EXISTS bench_floor")
        await self._pool.execute("CREATE TABLE bench_floor (id bigint PRIMARY KEY, bytes bytea)")
        await self._pool.execute("ALTER TABLE bench_floor ALTER bytes SET STORAGE EXTERNAL")

    async def insert(self, number: int, packed: bytes) -> None:
        """Keep a document."""
        await self._pool.execute("INSERT INTO bench_floor VALUES ($1, $2)", number, packed)

    async def read(self, number: int) -> bytes:
        """Return a document."""
        row: bytes = await self._pool.fetchval("SELECT bytes FROM bench_floor WHERE id = $1", number)
        return row


class Floor:
    """The operations of the floor behind one listener: by the path, and by what is asked for."""

    def __init__(self, plan: FloorPlan, tls: ssl.SSLContext | None) -> None:
        self._table: _Table = _PostgresTable(plan.store) if is_postgresql(plan.store) else _SqliteTable(plan.folder)
        self._callback = plan.callback
        self._tls = tls
        self._compress = zstandard.ZstdCompressor(level=3)
        self._decompress = zstandard.ZstdDecompressor()
        self._session: aiohttp.ClientSession
        self._begun = 0
        self._kept = 0
        self._posts: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Open the store and the client session."""
        await self._table.start()
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=self._tls or True))

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
        if scope["path"].startswith("/reliable"):
            status, answer = 202, await self._upload(bytes(body))
        else:
            status, answer = 200, await self._query(bytes(body))
        headers = [(b"content-length", str(len(answer)).encode()), (b"content-type", b"text/xml")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": answer})

    async def _query(self, body: bytes) -> bytes:
        read_xml(body)
        document = self._decompress.decompress(await self._table.read(self._kept))
        return _ANSWER + (document if b"<QUPC_IN19" in body else b"")

    async def _upload(self, body: bytes) -> bytes:
        read_xml(body[body.index(b"<REPC_IN") : body.rindex(b"\r\n--")])
        packed = self._compress.compress(body)
        self._begun += 1
        number = self._begun
        await self._table.insert(number, packed)
        self._kept = number
        found = _ID.search(body)
        task = asyncio.create_task(self._post(found.group(1) if found else b""))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)
        return _SIGNAL

    async def _post(self, reference: bytes) -> None:
        async with self._session.post(self._callback, data=_POSTED % (reference, reference)) as answer:
            await answer.read()


async def _main(plan: FloorPlan) -> None:
    files = Tls(Path(plan.certificate), Path(plan.key), Path(plan.authority)) if plan.certificate else None
    ours = files.context() if files is not None else None
    if ours is not None:
        # The certificate of the sender's party names the party, not the address.
        ours.check_hostname = False
    floor = Floor(plan, ours)
    await floor.start()
    tls: ssl.SSLContext | None = None
    if files is not None:
        # The same context as the service's own listener.
        folder = files.certificate.parent
        tls = server_tls(TlsFiles(folder / "localhost.pem", folder / "localhost.key", files.authority))
    listener = Listener(floor, bind(Address("127.0.0.1", 0), "floor"), tls=tls, grace=2)
    await listener.start()
    sys.stdout.write(f"ready {listener.url}\n")
    sys.stdout.flush()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await stopped.wait()


if __name__ == "__main__":
    uvloop.run(_main(FloorPlan(**json.loads(os.environ[_VARIABLE]))))
