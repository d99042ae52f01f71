"""What the database server logs of statements that fail says nothing of a patient, whatever the store's role may do.

Spec: 35 §7; CONTRIBUTING "privacy".
"""

from collections.abc import Callable

import pytest

from openscr.errors import Conflict, StoreError
from openscr.identifiers import slot_of
from openscr.store.interface import Transaction
from openscr.store.opening import open_store
from openscr.store.postgres import PostgresStore
from postgres import PostgresServer

from .samples import a_consent, a_receipt, an_entry, append, read_patient
from .whole import populate

NUMBER = "9990000964"


def of_superuser(server: PostgresServer) -> str:
    """Return a database whose role may say what is logged."""
    return server.create_database()


def of_owner(server: PostgresServer) -> str:
    """Return a database whose role may not."""
    return server.create_owned_database()


def of_trusted_owner(server: PostgresServer) -> str:
    """Return a database whose role has been given these two rights."""
    url = server.create_owned_database()
    server.sql(f"GRANT SET ON PARAMETER log_min_error_statement, log_error_verbosity TO {url.rpartition('/')[2]}")
    return url


@pytest.mark.parametrize("make", [of_superuser, of_owner, of_trusted_owner])
async def test_a_statement_that_fails_does_not_show_its_values(
    postgres: PostgresServer, make: Callable[[PostgresServer], str]
) -> None:
    """A conflict, and the text of the statement beside it, tell an id at most."""
    store = open_store(make(postgres))
    await store.open()
    slot = slot_of(NUMBER)
    await append(store, [a_receipt(1, NUMBER)], slot)
    before = len(postgres.log())
    with pytest.raises(Conflict):
        await append(store, [a_receipt(1, NUMBER), a_consent(1, nhs_number=NUMBER), an_entry(1, NUMBER)], slot)
    await store.close()
    logged = postgres.log()[before:]
    assert "duplicate key" in logged
    assert NUMBER not in logged


@pytest.mark.parametrize("make", [of_superuser, of_trusted_owner])
async def test_a_key_that_exists_is_not_shown(postgres: PostgresServer, make: Callable[[PostgresServer], str]) -> None:
    """That of a consent holds the patient's number; the server's log does not."""
    store = open_store(make(postgres))
    await store.open()
    slot = slot_of(NUMBER)
    await append(store, [a_consent(1, nhs_number=NUMBER)], slot)
    before = len(postgres.log())
    with pytest.raises(Conflict):
        await append(store, [a_consent(1, nhs_number=NUMBER)], slot)
    await store.close()
    logged = postgres.log()[before:]
    assert "duplicate key" in logged
    assert NUMBER not in logged


async def test_a_role_without_rights_over_the_log_can_store_everything(postgres: PostgresServer) -> None:
    """Each write by itself does the same as all together."""
    store = open_store(postgres.create_owned_database())
    await store.open()
    await populate(store)
    report = await store.verify()
    assert report.faults == ()
    with pytest.raises(Conflict):
        await append(store, [a_consent(7, nhs_number=NUMBER)] * 2, slot_of(NUMBER))

    async def fail(transaction: Transaction) -> None:
        await transaction.append_consent(a_consent(8, nhs_number=NUMBER))
        raise StoreError("given up")

    with pytest.raises(StoreError, match="given up"):
        await store.transact(slot_of(NUMBER), fail)
    assert (await read_patient(store, NUMBER)).consent_version == 0
    await store.close()


async def test_the_role_without_the_right_is_told_once(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """What makes it slower is known to who runs it; who has the right hears nothing."""
    for make, lines in ((of_owner, 1), (of_trusted_owner, 0)):
        store = PostgresStore(make(postgres))
        await store.open()
        for number in range(3):
            await append(store, [an_entry(number)])
        await store.close()
        told = [line for line in caplog.messages if "the database logs statements that fail" in line]
        assert len(told) == lines
        caplog.clear()
