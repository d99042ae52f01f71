"""A faulty line between a program and its PostgreSQL: it drops, delays, falls silent, half-closes, cuts at a COMMIT.

The proxy reads PostgreSQL's own protocol (frontend/backend, version 3), so that a fault hits exactly the commit that is
meant: the n-th whose transaction has written a certain table. It runs in the event loop of who uses it.
"""

import asyncio
import contextlib
import re
import socket
import struct
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Self

_LENGTH: Final = struct.Struct("!I")
_SSL_REQUEST: Final = 80877103
_GSS_REQUEST: Final = 80877104
_CANCEL_REQUEST: Final = 80877102
_COMMIT: Final = re.compile(r"(?:.*;)?\s*(COMMIT|END)\s*;?\s*\Z", re.IGNORECASE | re.DOTALL)
_PREPARE: Final = re.compile(r"\bPREPARE (\w+) AS ([^;]*)", re.IGNORECASE)
_EXECUTE: Final = re.compile(r"\bEXECUTE (\w+)", re.IGNORECASE)
_BYTES: Final = re.compile(r"'\\x((?:[0-9a-f]{2})+)'")
_WRITE: Final = re.compile(r"\s*(INSERT|UPDATE|DELETE|WITH)\b", re.IGNORECASE)
_IDLE: Final = b"I"


class AtCommit(Enum):
    """What goes wrong at a commit, and what has become of it."""

    CUT_BEFORE = "the line is cut before COMMIT has reached the server: nothing is committed"
    CUT_UNDER_WAY = "the line is cut as COMMIT leaves: nobody can know"
    CUT_AFTER = "the line is cut after the server has committed, before the program hears of it"
    HALF_CLOSED = "the server commits, and all that the program reads is the end of the stream"
    SILENT_BEFORE = "COMMIT never arrives, and the line stays open: nothing is committed"
    SILENT_AFTER = "the server commits, the line stays open, and nothing comes back"
    ERROR_BEFORE = "an error is answered (XX000), and nothing is committed"
    ERROR_AFTER = "an error is answered (XX000) over what is committed"

    @property
    def committed(self) -> bool | None:
        """Whether it is stored all the same; none when that is a matter of luck."""
        if self is AtCommit.CUT_UNDER_WAY:
            return None
        return self in {AtCommit.CUT_AFTER, AtCommit.HALF_CLOSED, AtCommit.SILENT_AFTER, AtCommit.ERROR_AFTER}


@dataclass
class _Fault:
    """One fault to come: at a commit whose transaction has run ``statement``, when ``ahead`` such have passed."""

    kind: AtCommit
    statement: re.Pattern[str]
    ahead: int
    struck: asyncio.Event = field(default_factory=asyncio.Event)


class FaultProxy:
    """Listens on a free port of loopback and passes everything on to the server on ``port``, except what it is told.

    ``delay``: seconds that each message waits, both ways. ``silent``: nothing is passed on, and nothing is closed.
    ``refusing``: who connects is cut at once. All may be changed while it runs. ``commits`` counts those seen.
    """

    def __init__(self, port: int) -> None:
        self.server_port = port
        self.port = 0
        self.delay = 0.0
        self.refusing = False
        self.commits = 0
        self._silent = False
        self._loud = asyncio.Event()
        self._loud.set()
        self._faults: list[_Fault] = []
        self._lines: set[_Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Cut everything and listen no more."""
        await self.deafen()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def url(self, url: str) -> str:
        """Return the URL of a database of the server as it is reached through the proxy."""
        return url.replace(f":{self.server_port}/", f":{self.port}/")

    # --- faults of the whole line -----------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Take connections (again), always on the same port."""
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def deafen(self) -> None:
        """Take no connections: who tries is refused by the operating system. What is open stays."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    @property
    def silent(self) -> bool:
        """Whether nothing is passed on."""
        return self._silent

    @silent.setter
    def silent(self, value: bool) -> None:
        self._silent = value
        self._loud.clear() if value else self._loud.set()

    def cut(self) -> int:
        """Reset every connection; return how many."""
        lines = list(self._lines)
        for line in lines:
            line.cut()
        return len(lines)

    def half_close(self, towards: str) -> int:
        """End one direction of every connection, ``program`` or ``server``: that side reads the end of the stream."""
        lines = list(self._lines)
        for line in lines:
            line.half_close(towards)
        return len(lines)

    # --- faults at a commit -----------------------------------------------------------------------------------------

    def strike(self, kind: AtCommit, *, statement: str = "", ahead: int = 0) -> asyncio.Event:
        """Let a fault hit the next commit whose transaction has run a statement like this (a regular expression).

        It looks at the text of a statement and, from the next line on, at its values as they are sent: a MessageId
        finds the transaction of a message. ``ahead`` such commits pass before. Returns the event that is set when it
        has struck.
        """
        fault = _Fault(kind, re.compile(statement, re.IGNORECASE | re.DOTALL), ahead)
        self._faults.append(fault)
        return fault.struck

    def due_fault(self, statements: list[str]) -> AtCommit | None:
        """Return what must go wrong at the commit of a transaction that has run these statements."""
        self.commits += 1
        for fault in self._faults:
            if any(fault.statement.search(statement) for statement in statements):
                if fault.ahead:
                    fault.ahead -= 1
                    continue
                self._faults.remove(fault)
                fault.struck.set()
                return fault.kind
        return None

    # --- passing on -------------------------------------------------------------------------------------------------

    async def pause(self) -> None:
        """Wait as long as a message must."""
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._loud.wait()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        line = _Line(self, reader, writer)
        self._lines.add(line)
        try:
            if self.refusing:
                return
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await line.run(self.server_port)
        finally:
            line.cut()
            self._lines.discard(line)
            self._tasks.discard(task)


class _Line:
    """One connection through the proxy."""

    def __init__(self, proxy: FaultProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._program = (reader, writer)
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._statements: dict[bytes, str] = {}
        self._portals: dict[bytes, str] = {}
        self._prepared: dict[str, str] = {}
        self._executed: list[str] = []
        self._status = _IDLE
        self._fault: AtCommit | None = None
        self._never = asyncio.Event()

    def cut(self) -> None:
        """Reset both sides."""
        for _, writer in filter(None, (self._program, self._server)):
            _reset(writer)

    def half_close(self, towards: str) -> None:
        """Let one side read the end of the stream; the other direction stays."""
        side = self._program if towards == "program" else self._server
        if side is not None and side[1].can_write_eof() and not side[1].is_closing():
            side[1].write_eof()

    async def run(self, port: int) -> None:
        """Pass on until one side ends."""
        await self._proxy.pause()
        self._server = await asyncio.open_connection("127.0.0.1", port)
        if not await self._begin():
            return
        ways = [asyncio.create_task(self._from_program()), asyncio.create_task(self._from_server())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _begin(self) -> bool:
        """Pass on what stands before the first message that has a type; whether a session begins."""
        assert self._server is not None
        while True:
            head = await self._program[0].readexactly(8)
            length, code = _LENGTH.unpack_from(head)[0], _LENGTH.unpack_from(head, 4)[0]
            rest = await self._program[0].readexactly(length - 8)
            if code in (_SSL_REQUEST, _GSS_REQUEST):
                # What goes through here must be readable: there is no encryption.
                self._program[1].write(b"N")
                continue
            await self._pass(self._server[1], head + rest)
            return code != _CANCEL_REQUEST

    async def _from_program(self) -> None:
        assert self._server is not None
        reader, writer = self._program[0], self._server[1]
        while True:
            kind, body = await _read(reader)
            fault = self._at_commit(kind, body)
            if fault is None:
                await self._pass(writer, _message(kind, body))
                continue
            self._fault = fault
            if fault is AtCommit.CUT_BEFORE:
                return
            if fault is AtCommit.SILENT_BEFORE:
                await self._never.wait()
            if fault is AtCommit.ERROR_BEFORE:
                await self._pass(writer, _message(b"Q", b"ROLLBACK\0"))
                continue
            await self._pass(writer, _message(kind, body))
            if fault is AtCommit.CUT_UNDER_WAY:
                return

    async def _from_server(self) -> None:
        assert self._server is not None
        reader, writer = self._server[0], self._program[1]
        while True:
            kind, body = await _read(reader)
            if kind == b"Z":
                self._status = body
                if body == _IDLE:
                    self._executed.clear()
            if self._fault is None:
                await self._pass(writer, _message(kind, body))
            elif kind == b"Z" and not await self._after_commit(writer, body):
                return

    async def _after_commit(self, writer: asyncio.StreamWriter, status: bytes) -> bool:
        """Do what the fault says now that the server has answered the commit; whether the line goes on."""
        fault = self._fault
        if fault is AtCommit.SILENT_AFTER:
            await self._never.wait()
        if fault is AtCommit.HALF_CLOSED:
            self.half_close("program")
            await self._never.wait()
        if fault in (AtCommit.ERROR_BEFORE, AtCommit.ERROR_AFTER):
            self._fault = None
            fields = b"SERROR\0VERROR\0CXX000\0Mthe worker that held it is gone\0\0"
            await self._pass(writer, _message(b"E", fields) + _message(b"Z", status))
            return True
        return False

    def _at_commit(self, kind: bytes, body: bytes) -> AtCommit | None:
        """Follow what the program says; return the fault that is due when this very message commits."""
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._statements[name] = text.decode()
        elif kind == b"B":
            portal, name, values = body.split(b"\0", 2)
            self._portals[portal] = f"{self._statements.get(name, '')}\n{values.decode('latin-1')}"
        elif kind == b"E":
            text = self._portals.get(body.split(b"\0", 1)[0], "")
            if _COMMIT.fullmatch(text.partition("\n")[0]):
                return self._proxy.due_fault(self._executed)
            self._executed.append(text)
        elif kind == b"Q":
            text = body.rstrip(b"\0").decode()
            self._executed.append(self._understood(text))
            if _COMMIT.fullmatch(text) or (self._status == _IDLE and _WRITE.match(text)):
                return self._proxy.due_fault(self._executed)
        elif kind == b"S" and self._status == _IDLE and any(map(_WRITE.match, self._executed)):
            # Outside a block, the end of the exchange commits.
            return self._proxy.due_fault(self._executed)
        return None

    def _understood(self, text: str) -> str:
        """Return a statement with what it does not show: those that it runs by name, bytes written in hex."""
        for name, statement in _PREPARE.findall(text):
            self._prepared[name] = statement
        run = [self._prepared.get(name, "") for name in _EXECUTE.findall(text)]
        told = [bytes.fromhex(digits).decode("latin-1") for digits in _BYTES.findall(text)]
        return "\n".join((text, *run, *told))

    async def _pass(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        await self._proxy.pause()
        writer.write(data)
        await writer.drain()


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readexactly(5)
    return head[:1], await reader.readexactly(_LENGTH.unpack_from(head, 1)[0] - 4)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + _LENGTH.pack(len(body) + 4) + body


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that the other side reads a reset, not an end."""
    connection: socket.socket | None = writer.get_extra_info("socket")
    if connection is not None and connection.fileno() >= 0:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
