"""The system's PostgreSQL, where there is one, does as well as the one that comes with the tests."""

from collections.abc import Iterator

import pytest

from openscr.store.opening import open_store
from postgres import PostgresServer, postgres_server, system_programs

from .whole import populate


@pytest.fixture(scope="module")
def system_postgres() -> Iterator[PostgresServer]:
    """Give a server of the system's package."""
    programs = system_programs()
    if programs is None:
        pytest.skip("the system has no PostgreSQL of its own (Debian: the package postgresql)")
    with postgres_server(programs_in=programs) as server:
        yield server


async def test_the_systems_postgresql_is_a_store(system_postgres: PostgresServer) -> None:
    """Everything that a store holds is written, read again and proved, on the oldest version that is promised."""
    url = system_postgres.create_owned_database()
    store = open_store(url)
    await store.open()
    await populate(store)
    await store.close()
    again = open_store(url, migrate=False)
    await again.open()
    report = await again.verify()
    await again.close()
    assert report.faults == ()
    assert report.events
