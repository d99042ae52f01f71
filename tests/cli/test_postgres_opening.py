"""What can be wrong with a PostgreSQL store: one clear line, exit 1, nothing changed. Spec: 00 §4; engine.md."""

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cli.conftest import Run
from openscr.cli.whole_store import _move
from openscr.errors import ConfigurationError
from postgres import PASSWORD, USER, PostgresServer, free_port
from store.whole import populated

QUOTED = PASSWORD.replace("/", "%2F")
TABLES = (
    "SELECT string_agg(format('%s %s', relname, relkind), ',' ORDER BY relname) FROM pg_class WHERE relnamespace = 2200"
)
Spoil = Callable[[PostgresServer, str], str]


@contextmanager
def answering(
    server_port: int | None, change: Callable[[bytes], bytes], ask: Callable[[bytes], bytes] = lambda data: data
) -> Iterator[int]:
    """Give a port behind which a server answers, its words changed; without a server just ``change(b"")``.

    ``ask`` changes what it is asked.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def relay(client: socket.socket) -> None:
            with client:
                if server_port is None:
                    client.recv(1024)
                    client.sendall(change(b""))
                    return
                with socket.create_connection(("127.0.0.1", server_port)) as server:
                    back = threading.Thread(target=pump, args=(server, client, change))
                    back.start()
                    pump(client, server, ask)
                    back.join()

        def pump(source: socket.socket, sink: socket.socket, through: Callable[[bytes], bytes]) -> None:
            with contextlib.suppress(OSError):
                while data := source.recv(65536):
                    sink.sendall(through(data))
                sink.shutdown(socket.SHUT_WR)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=relay, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)


# --- where the database is not ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"postgresql://{USER}:{QUOTED}@127.0.0.1:5432", "names no database"),
        (f"postgresql://{USER}:{QUOTED}@127.0.0.1:5432/a/b", "names no database"),
        (f"postgresql://{USER}:{QUOTED}@127.0.0.1:no/x", "has the port 'no'"),
        (f"postgresql://{USER}:{QUOTED}@127.0.0.1:99999/x", "has the port '99999'"),
        (f"postgresql://{USER}:{QUOTED}@:5432/x", "names no host"),
        (f"postgresql://{USER}:{QUOTED}@[::1/x", "cannot be read"),
        *((f"postgresql://{USER}:31415{character}45@127.0.0.1:5432/x", "%2F for /") for character in "/#"),
        (f"postgresql://{USER}:31415/45@127.0.0.1", "%2F for /"),
        *(
            (f"{scheme}{USER}:{QUOTED}@127.0.0.1/x", "a store is a file")
            for scheme in ("", "postgresql:", "postgres:/", "postgres//")
        ),
        (f"host=127.0.0.1 user={USER} password={PASSWORD} dbname=x", "a store is a file"),
        (f"postgresql://{USER}:{QUOTED}@127.0.0.1:5432/x?target_session_attrs=read-only", "read-write"),
        (f"postgresql://{USER}:{QUOTED}@127.0.0.1:FREE/x", "nobody listens"),
        (f"postgresql://{USER}:{QUOTED}@127.0.0.1:FREE,127.0.0.1:FREE/x", "nobody listens"),
        (f"postgresql://{USER}:{QUOTED}@127.0.0.1:5432/x?sslmode=perhaps", "has an option that"),
        (f"mysql://{USER}:{QUOTED}@127.0.0.1:5432/x", "a store is a file"),
    ],
)
def test_a_url_that_leads_nowhere(openscr: Run, url: str, said: str) -> None:
    # Ports are looked for here: processes that run the tests side by side must know each test by the same name.
    url = re.sub("FREE", lambda _: str(free_port()), url)
    no_store = said == "a store is a file"
    ended = openscr("admin", "migrate", "--store", url).failed(said, status=2 if no_store else 1)
    assert not any(secret in ended.err for secret in (PASSWORD, QUOTED, "31415"))
    if no_store:
        moved = openscr("admin", "migrate", "--from", url, "--to", "new.db").failed("postgresql://USER:")
        assert not any(secret in moved.err for secret in (PASSWORD, QUOTED))


def test_what_answers_is_not_postgresql(openscr: Run) -> None:
    with answering(None, lambda _: b"HTTP/1.0 400 Bad Request\r\n\r\n") as port:
        openscr("admin", "migrate", "--store", f"postgresql://u:p@127.0.0.1:{port}/x").failed("check host and port")


def test_a_server_that_is_too_old(openscr: Run, postgres: PostgresServer) -> None:
    """A real server that gives another version for its own."""
    url = postgres.create_database()

    def older(data: bytes) -> bytes:
        start = data.find(b"server_version\0")
        if start < 0:
            return data
        end = data.index(b"\0", start + 15)
        return data[: start + 15] + b"14.9".ljust(end - start - 15, b"0") + data[end:]

    with answering(postgres.port, older) as port:
        ended = openscr("admin", "migrate", "--store", url.replace(f":{postgres.port}/", f":{port}/"))
        ended.failed("is PostgreSQL 14; the store needs 15 or newer")


def test_a_pooler_that_knows_no_settings_of_a_session(openscr: Run, postgres: PostgresServer) -> None:
    """One refuses them, as PgBouncer does, or ignores them where it is told to: then nobody would know."""
    url = postgres.create_database().replace(f":{postgres.port}/", ":PORT/") + "?sslmode=disable"
    words = b"SFATAL\0C08P01\0Munsupported startup parameter: lock_timeout\0\0"
    refusal = b"E" + (len(words) + 4).to_bytes(4) + words
    with answering(None, lambda _: refusal) as port:
        openscr("admin", "migrate", "--store", url.replace("PORT", str(port))).failed("let the URL lead to PostgreSQL")
    with answering(
        postgres.port, lambda data: data, lambda data: data.replace(b"lock_timeout\x0010s", b"lock_timeout\x0000s")
    ) as port:
        openscr("admin", "migrate", "--store", url.replace("PORT", str(port))).failed("let the URL lead to PostgreSQL")


# --- what is wrong with the database ----------------------------------------------------------------------------------


def _other_password(server: PostgresServer, url: str) -> str:
    return url.replace(QUOTED, "wrong-secret")


def _other_user(server: PostgresServer, url: str) -> str:
    return url.replace(f"//{USER}:", "//nobody:")


def _other_database(server: PostgresServer, url: str) -> str:
    return url + "nowhere"


def _read_only(server: PostgresServer, url: str) -> str:
    server.sql(f"ALTER DATABASE {url.rpartition('/')[2]} SET default_transaction_read_only = on")
    return url


def _foreign(server: PostgresServer, url: str) -> str:
    server.sql("CREATE TABLE somebody_elses (x integer)", url.rpartition("/")[2])
    return url


def _without_rights(server: PostgresServer, url: str) -> str:
    """A user who may connect and nothing else: since PostgreSQL 15 the owner alone makes tables."""
    server.sql(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'visitor') THEN"
        f" CREATE ROLE visitor LOGIN PASSWORD '{PASSWORD}'; END IF; END $$"
    )
    return url.replace(f"//{USER}:", "//visitor:")


def _no_schema(server: PostgresServer, url: str) -> str:
    server.sql(f"ALTER DATABASE {url.rpartition('/')[2]} SET search_path = ''")
    return url


def _other_encoding(server: PostgresServer, url: str) -> str:
    name = url.rpartition("/")[2]
    server.sql(f"DROP DATABASE {name}")
    server.sql(f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0")
    return url


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_other_password, "refuses the user or the password"),
        (_other_user, "refuses the user or the password"),
        (_other_database, "does not exist; create it"),
        (_read_only, "takes no writes"),
        (_foreign, "belongs to another program"),
        (_without_rights, "lacks rights"),
        (_no_schema, "search_path"),
        (_other_encoding, "ENCODING 'UTF8'"),
    ],
)
def test_an_empty_database_that_cannot_be_used(openscr: Run, postgres: PostgresServer, spoil: Spoil, said: str) -> None:
    name = (url := postgres.create_database()).rpartition("/")[2]
    wrong = spoil(postgres, url)
    before = postgres.sql(TABLES, name)
    ended = openscr("admin", "migrate", "--store", wrong).failed(said)
    for secret in (PASSWORD, QUOTED, "wrong-secret"):
        assert secret not in ended.err
    assert postgres.sql(TABLES, name) == before


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE alembic_version SET version_num = '9999'", ("has schema 9999", "use a newer program")),
        ("DELETE FROM alembic_version", ("does not say which schema it has",)),
        ("UPDATE alembic_version SET version_num = 'unfinished'", ("is half filled", "run the same command again")),
        ("UPDATE alembic_version SET version_num = '0001'", ("does not fit", "nothing was changed")),
    ],
)
def test_a_store_that_this_program_cannot_use(
    openscr: Run, postgres: PostgresServer, statement: str, said: tuple[str, ...]
) -> None:
    name = (url := postgres.create_database()).rpartition("/")[2]
    openscr("admin", "migrate", "--store", url).done()
    postgres.sql(statement, name)
    before = postgres.sql(TABLES, name)
    openscr("admin", "migrate", "--store", url).failed(*said)
    openscr("serve", "--store", url, "--web", "127.0.0.1:0", "--spine", "127.0.0.1:0").failed(*said)
    assert postgres.sql(TABLES, name) == before


def test_a_user_who_may_not_do_everything_is_told_what_is_missing(openscr: Run, postgres: PostgresServer) -> None:
    """Not at the first request that needs it; the audit need not be changed by anybody."""
    name = (url := postgres.create_database()).rpartition("/")[2]
    openscr("admin", "migrate", "--store", url).done()
    visitor = _without_rights(postgres, url)
    postgres.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO visitor", name)
    postgres.sql("REVOKE UPDATE, DELETE ON audit FROM visitor", name)
    openscr("admin", "verify", "--store", visitor).done()
    postgres.sql("REVOKE UPDATE ON chain FROM visitor", name)
    postgres.sql("REVOKE INSERT ON consent FROM visitor", name)
    ended = openscr("serve", "--store", visitor, "--web", "127.0.0.1:0", "--spine", "127.0.0.1:0")
    ended.failed("lacks rights", "on chain, consent")


def test_a_move_that_cannot_be_is_told_in_one_line(
    openscr: Run, postgres: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To and from PostgreSQL; neither side is changed, and no line holds a password."""
    monkeypatch.chdir(tmp_path)
    asyncio.run(populated("a.db", versions=1))
    asyncio.run(populated(full := postgres.create_database(), versions=2))
    asyncio.run(populated(newer := postgres.create_database(), versions=1))
    postgres.sql("UPDATE alembic_version SET version_num = '9999'", newer.rpartition("/")[2])
    empty = postgres.create_database()
    refused = [
        ("a.db", full, "the target is not empty"),
        ("a.db", newer, "has schema 9999"),
        ("a.db", _foreign(postgres, postgres.create_database()), "belongs to another program"),
        ("a.db", _other_password(postgres, empty), "refuses the user or the password"),
        ("a.db", _other_database(postgres, empty), "does not exist"),
        ("a.db", _read_only(postgres, postgres.create_database()), "takes no writes"),
        (empty, "b.db", "is empty"),
        (newer, "b.db", "has schema 9999"),
        (full, full, "the same store"),
        (full.replace("127.0.0.1", "localhost"), full, "the same store"),
    ]
    for source, target, said in refused:
        with pytest.raises(ConfigurationError, match=said) as told:
            asyncio.run(_move(source, target))
        assert PASSWORD not in str(told.value)
        assert QUOTED not in str(told.value)
    assert not (tmp_path / "b.db").exists()
    assert postgres.sql(TABLES, empty.rpartition("/")[2]) == ""
    openscr("admin", "migrate", "--from", "a.db", "--to", full).failed("the target is not empty")
