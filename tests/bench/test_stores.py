"""How large a store is, and whose processes serve it. Spec: 90 §5, §6.4."""

import os
from pathlib import Path

import pytest

from openscr.bench.processes import family_of, usage_of
from openscr.bench.stores import logged_of, server_of, size_of, tables_of
from openscr.errors import ConfigurationError, StoreUnavailable
from openscr.store.opening import open_store
from postgres import PostgresServer


async def created(url: str) -> str:
    store = open_store(url)
    await store.open()
    await store.close()
    return url


async def test_a_server_on_this_machine_is_found_with_all_its_processes(postgres: PostgresServer) -> None:
    url = postgres.create_database()
    first = await server_of(url)
    assert first == postgres.pids()[0]
    before, family, after = set(postgres.pids()), set(family_of(first)), set(postgres.pids())
    # A process that served a connection may be about to end.
    assert {first} < before & after <= family
    assert usage_of([first]).memory > 1


async def test_a_file_has_no_server(tmp_path: Path) -> None:
    assert await server_of(f"sqlite:///{tmp_path / 'openscr.db'}") is None


async def test_the_size_of_a_database_is_told_by_table(postgres: PostgresServer) -> None:
    url = await created(postgres.create_database())
    tables = await tables_of(url)
    assert {"receipt", "event", "audit", "outbox"} <= tables.keys()
    assert 0 < sum(tables.values()) < await size_of(url)


async def test_what_a_database_writes_to_its_log_grows_with_it(postgres: PostgresServer, tmp_path: Path) -> None:
    url = postgres.create_database()
    before = await logged_of(url)
    await created(url)
    after = await logged_of(url)
    assert before is not None
    assert after is not None
    assert after > before
    assert await logged_of(f"sqlite:///{tmp_path / 'openscr.db'}") is None


async def test_the_size_of_a_file_is_that_of_the_pages_in_use(tmp_path: Path) -> None:
    url = await created(f"sqlite:///{tmp_path / 'openscr.db'}")
    assert 0 < await size_of(url) <= (tmp_path / "openscr.db").stat().st_size
    assert await tables_of(url) == {}


async def test_a_server_that_is_gone_is_told_without_its_password() -> None:
    with pytest.raises(StoreUnavailable, match="cannot be asked") as caught:
        await size_of("postgresql://somebody:secret@127.0.0.1:1/nothing")
    assert "secret" not in caught.value.diagnostics


def test_what_processes_use_is_counted_with_their_children() -> None:
    used = usage_of([os.getpid()])
    assert used.cpu > 0
    assert used.memory > 10
    with pytest.raises(ConfigurationError, match="there is no process"):
        usage_of([1 << 22])
