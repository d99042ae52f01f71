"""Connections to PostgreSQL as the store needs them: where the database is, and a small pool.

Invariants: nobody waits for a connection or for an answer beyond its deadline; a connection that failed is never used
again; no text that this module makes holds a password; whoever puts values into the text of a statement has asked
`Connections.keeps_quiet` before.

Spec: engine.md level 1, "What the protocol layer does with it".
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qs, quote, unquote, urlsplit
from weakref import WeakSet

import asyncpg

from openscr.errors import ConfigurationError, StoreUnavailable
from openscr.store.postgres_errors import CONNECTION_ERRORS, sqlstate_of, translate_error

# Not ours to print: a service forwards it to its log, a command has nothing but its answer to say.
_log = logging.getLogger("openscr.store")
_log.addHandler(logging.NullHandler())

Connection: TypeAlias = Any
"""A connection of the driver, which says nothing of its types."""

POOL_SIZE: Final = 16
"""Connections of one store at most."""

PATIENCE: Final = 2.4
"""Seconds that a unit of work may take in all. Looking up an unknown outcome takes as long again at most: callers of
the service are promised an answer within 5 s."""

_FULL: Final = "53300"
_FULL_SECONDS: Final = 5.0
"""After the server has taken no more connections, seconds in which those that we have must do."""

SCHEMES: Final = ("postgresql://", "postgres://")

_SESSION: Final = {
    "application_name": "openscr",
    # Whatever a URL says: in another one letters would be lost on the way.
    "client_encoding": "UTF8",
    # Whatever is usual on the server: what the store relies on.
    "default_transaction_isolation": "read committed",
    "standard_conforming_strings": "on",
    "statement_timeout": "5s",
    # A client that vanished must not hold a slot for long.
    "idle_in_transaction_session_timeout": "10s",
    "client_connection_check_interval": "2s",
    "jit": "off",
    "plan_cache_mode": "force_generic_plan",
}

# Usually a server logs the text of every statement that fails, and the key of a row that exists already: a patient's
# number may be in it. Who may tell it not to does so.
_QUIETEN: Final = (
    "SELECT CASE WHEN has_parameter_privilege('log_min_error_statement', 'SET')"
    " THEN set_config('log_min_error_statement', 'panic', false)"
    " ELSE current_setting('log_min_error_statement') END,"
    " CASE WHEN has_parameter_privilege('log_error_verbosity', 'SET')"
    " THEN set_config('log_error_verbosity', 'terse', false) END"
)
_QUIET: Final = "panic"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a database is: one URL for each address of it, in the order given; ``name`` is for people."""

    urls: tuple[str, ...]
    name: str


def read_place(url: str) -> Place:
    """Return where the database of a URL is. Raises: `ConfigurationError` when it is no URL of a database."""
    example = "postgresql://USER:PASSWORD@HOST:5432/DATABASE"
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query, strict_parsing=True) if parts.query else {}
    except ValueError as error:
        raise ConfigurationError(f"the store's URL cannot be read; write {example}") from error
    if "@" in url.partition("://")[2].removeprefix(parts.netloc):
        # What we took for host, port and database is a part of a password, which must not be repeated.
        raise ConfigurationError(
            f"the store's URL cannot be read; write {example}, with %2F for /, %3F for ?, %23 for # and %40 for @"
            " within a name or password"
        )
    credentials, at, hosts = parts.netloc.rpartition("@")
    database = unquote(parts.path.removeprefix("/"))
    if not database or "/" in database:
        raise ConfigurationError(f"the store's URL names no database; write {example}")
    addresses = [_check_address(address, example) for address in hosts.split(",")]
    wanted = query.get("target_session_attrs", ["read-write"])[-1]
    if wanted not in {"read-write", "primary", "any"}:
        raise ConfigurationError("the store is written: its URL needs target_session_attrs=read-write")
    suffix = f"?{parts.query}" if parts.query else ""
    urls = tuple(f"postgresql://{credentials}{at}{address}{parts.path}{suffix}" for address in addresses)
    return Place(urls, f"{database} at {','.join(addresses)}")


def _check_address(address: str, example: str) -> str:
    host, colon, port = address.rpartition(":")
    if address.endswith("]") or not colon:
        host, port = address, "5432"
    if not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigurationError(f"the store's URL has the port {port!r}, which is none; write {example}")
    if not host:
        raise ConfigurationError(f"the store's URL names no host; write {example}")
    return f"{host}:{port}"


def with_name(url: str, database: str) -> str:
    """Return a URL with another database in it."""
    parts = urlsplit(url)
    return parts._replace(path=f"/{quote(database, safe='')}").geturl()


async def connect(place: Place, seconds: float, settings: Mapping[str, str] = _SESSION) -> Connection:
    """Return a connection to whichever address takes writes. Raises: errors of the driver, `TimeoutError`."""
    if len(place.urls) == 1:
        return await _connect_one(place.urls[0], seconds, settings)
    attempts = {asyncio.ensure_future(_connect_one(url, seconds, settings)) for url in place.urls}
    waiting, errors, connection = attempts, list[BaseException](), None
    try:
        while waiting and connection is None:
            finished, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for attempt in finished:
                if (error := attempt.exception()) is not None:
                    errors.append(error)
                elif connection is None:
                    connection = attempt.result()
    finally:
        for attempt in attempts:
            attempt.add_done_callback(lambda done: _let_go(done, connection))
            attempt.cancel()
    if connection is not None:
        return connection
    # An address that answered says more than one that did not.
    raise next((error for error in errors if isinstance(error, asyncpg.PostgresError)), errors[0])


async def _connect_one(url: str, seconds: float, settings: Mapping[str, str]) -> Connection:
    return await asyncpg.connect(
        url,
        timeout=seconds,
        server_settings=dict(settings),
        target_session_attrs="any" if "target_session_attrs=any" in url else "read-write",
    )


def _let_go(attempt: "asyncio.Future[Connection]", chosen: Connection | None) -> None:
    if not attempt.cancelled() and attempt.exception() is None and attempt.result() is not chosen:
        attempt.result().terminate()


def _end_wait(turn: "asyncio.Future[None]") -> None:
    if not turn.done():
        turn.set_result(None)


class Connections:
    """A pool of connections to one place, for the units of one event loop."""

    def __init__(self, place: Place, size: int = POOL_SIZE, preparation: str = "") -> None:
        self._place = place
        self._preparation = preparation
        self._size = size
        self._idle: list[Connection] = []
        self._open = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._quiet: WeakSet[Connection] = WeakSet()
        self._warned = False
        self._full_until = float("-inf")

    def keeps_quiet(self, connection: Connection) -> bool:
        """Whether the server keeps the texts of failed statements out of its log: only then may they hold values."""
        return connection in self._quiet

    async def acquire(self, deadline: float) -> Connection:
        """Return a connection that nobody else uses; ``deadline`` by the loop's clock. Raises: `StoreUnavailable`."""
        loop = asyncio.get_running_loop()
        while True:
            while self._idle:
                connection = self._idle.pop()
                if not connection.is_closed():
                    return connection
                self._open -= 1
            remaining = deadline - loop.time()
            if remaining <= 0:
                raise StoreUnavailable("too many requests wait for the database")
            if self._open < self._size and (not self._open or loop.time() >= self._full_until):
                self._open += 1
                try:
                    return await self._connect(remaining)
                except BaseException as error:
                    self._open -= 1
                    if self._open and sqlstate_of(error) == _FULL:
                        self._note_full(loop.time())
                        continue
                    self._wake()
                    if isinstance(error, CONNECTION_ERRORS):
                        raise translate_error(error) from error
                    raise
            await self._wait(loop, remaining)

    def _note_full(self, now: float) -> None:
        """Wait for connections that we have rather than for more of them."""
        if self._full_until == float("-inf"):
            _log.warning("the database takes no more connections: requests wait for each other; raise max_connections")
        self._full_until = now + _FULL_SECONDS

    async def _connect(self, seconds: float) -> Connection:
        # For all steps together: none of them knows how long the others took.
        async with asyncio.timeout(seconds):
            connection = await connect(self._place, seconds)
            try:
                if self._preparation:
                    await connection.execute(self._preparation)
                if await connection.fetchval(_QUIETEN) == _QUIET:
                    self._quiet.add(connection)
                elif not self._warned:
                    self._warned = True
                    _log.warning("the database logs statements that fail: writing is slower, each value by itself")
            except BaseException:
                connection.terminate()
                raise
        return connection

    async def _wait(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        turn = loop.create_future()
        self._waiting.append(turn)
        alarm = loop.call_later(seconds, _end_wait, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._wake()
            raise
        finally:
            alarm.cancel()

    def _wake(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def release(self, connection: Connection) -> None:
        """Give a connection back; one that is closed, or still in a transaction, is let go of."""
        if connection.is_closed() or connection.is_in_transaction():
            connection.terminate()
            self._open -= 1
        else:
            self._idle.append(connection)
        self._wake()

    def drop_idle(self) -> None:
        """Let go of every connection that nobody uses: they lead to a server that is no longer the right one."""
        for connection in self._idle:
            connection.terminate()
        self._open -= len(self._idle)
        self._idle.clear()

    async def close(self) -> None:
        """Close every connection; none may be in use."""
        idle, self._idle = self._idle, []
        self._open -= len(idle)
        for connection in idle:
            try:
                await connection.close(timeout=1)
            except CONNECTION_ERRORS:
                connection.terminate()
