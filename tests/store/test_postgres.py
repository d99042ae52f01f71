"""What is particular to PostgreSQL: connections that end, servers that hang, commits nobody hears of, two programs."""

import asyncio
import random
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from openscr.errors import ConfigurationError, OutcomeUnknown, StoreError, StoreFull, StoreUnavailable
from openscr.identifiers import slot_of
from openscr.store import postgres_statements
from openscr.store.compression import Codec
from openscr.store.instances import SILENCE
from openscr.store.interface import Foreseen, Instance, Leasing, OutboxRow, PatientState, Receipt, Transaction
from openscr.store.migrations import REVISIONS, postgres_script
from openscr.store.migrations.postgres_schema import STEPS
from openscr.store.postgres import PostgresStore
from openscr.store.postgres_connection import PATIENCE, POOL_SIZE
from openscr.store.postgres_preparation import _VERSION_TABLE
from openscr.store.postgres_transaction import PostgresTransaction
from openscr.store.rows import outbox_values
from openscr.store.statements import OUTBOX_COLUMNS
from postgres import PostgresServer, postgres_server

from .samples import (
    ASID,
    OTHER_PATIENT,
    PARTY,
    PATIENT,
    SLOT,
    a_consent,
    a_receipt,
    an_entry,
    an_event,
    an_id,
    an_outbox_row,
    append,
    find_receipt,
    read_patient,
    receive,
    upload,
)
from .tampering import in_words_of_postgres
from .test_migrations import FIXED_ROW

FORESEEN = Foreseen(PATIENT, PARTY, an_id(1), ASID, (an_id(2001),))
BOUND = PATIENCE + 2.5
"""Seconds within which a caller is answered, on a machine that is busy with other tests as well."""


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    """Return the URL of an empty database."""
    return postgres.create_database()


@pytest.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    """Give an open store."""
    opened = PostgresStore(url)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
async def other(url: str) -> AsyncIterator[Any]:
    """Give a connection of somebody else to the same database."""
    connection = await asyncpg.connect(url)
    yield connection
    await connection.close()


# --- what is foreseen -------------------------------------------------------------------------------------------------


async def test_what_is_foreseen_is_what_is_there(store: PostgresStore) -> None:
    """The same answers with the lock as by asking for each of them."""
    await upload(store, 1)
    await append(store, [a_consent(1)])

    async def work(transaction: Transaction) -> tuple[object, ...]:
        return (
            await transaction.find_receipt(PARTY, an_id(1).lower()),
            await transaction.find_receipt(PARTY, an_id(2)),
            await transaction.find_seen(PATIENT, ASID, [an_id(2001).lower()]),
            await transaction.read_patient(PATIENT),
            await transaction.read_patient(OTHER_PATIENT),
        )

    asked = await store.transact(SLOT, work)
    assert asked[3].consent_version == 1  # type: ignore[attr-defined]
    for foreseen in (FORESEEN, replace(FORESEEN, message_id=an_id(2)), Foreseen(PATIENT), Foreseen(OTHER_PATIENT)):
        assert await store.transact(SLOT, work, foreseen) == asked


async def test_what_was_just_written_is_read(store: PostgresStore) -> None:
    """What was foreseen holds until the unit itself changes it."""

    async def work(transaction: Transaction) -> tuple[Receipt | None, int, PatientState]:
        assert await transaction.find_receipt(PARTY, an_id(1)) is None
        assert await transaction.find_seen(PATIENT, ASID, [an_id(2001)]) == ()
        assert (await transaction.read_patient(PATIENT)).events == ()
        await receive(1)(transaction)
        await transaction.append_consent(a_consent(1))
        seen = await transaction.find_seen(PATIENT, ASID, [an_id(2001)])
        return await transaction.find_receipt(PARTY, an_id(1)), len(seen), await transaction.read_patient(PATIENT)

    receipt, seen, state = await store.transact(SLOT, work, FORESEEN)
    assert (receipt, seen) == (a_receipt(1), 1)
    assert (state.events, state.consent_version) == ((an_event(1),), 1)


async def test_who_had_to_wait_sees_what_the_one_before_wrote(store: PostgresStore, url: str) -> None:
    """Two programs at one patient: what the second one read while it waited is not believed."""
    second = PostgresStore(url)
    await second.open()
    await upload(store, 7)
    inside, go_on = asyncio.Event(), asyncio.Event()

    async def slow(transaction: Transaction) -> None:
        inside.set()
        await go_on.wait()
        await receive(1)(transaction)

    async def look(transaction: Transaction) -> tuple[Receipt | None, PatientState]:
        return await transaction.find_receipt(PARTY, an_id(1)), await transaction.read_patient(PATIENT)

    first = asyncio.create_task(store.transact(SLOT, slow))
    await inside.wait()
    waiting = asyncio.create_task(second.transact(SLOT, look, FORESEEN))
    while not await second._fetch(  # noqa: ASYNC110 the server tells nobody
        "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    ):
        await asyncio.sleep(0.01)
    go_on.set()
    receipt, state = await waiting
    await first
    assert receipt == a_receipt(1)
    assert [event.event_id for event in state.events] == [an_id(7), an_id(1)]
    await second.close()


async def test_two_programs_at_one_patient(store: PostgresStore, url: str) -> None:
    """Versions are counted by both, none twice, and the chain is whole."""
    second = PostgresStore(url)
    store.patience = second.patience = 30.0
    await second.open()

    async def work(transaction: Transaction) -> int:
        version = (await transaction.read_patient(PATIENT)).consent_version + 1
        await transaction.append_consent(a_consent(version))
        await transaction.append_audit(an_entry(version))
        return version

    units = [one.transact(SLOT, work, Foreseen(PATIENT)) for _ in range(40) for one in (store, second)]
    assert sorted(await asyncio.gather(*units)) == list(range(1, 81))
    assert (await second.verify()).intact
    await second.close()


# --- what is large or odd ---------------------------------------------------------------------------------------------


async def test_a_large_message_and_very_many_rows(store: PostgresStore) -> None:
    """What is held back is sent when it has become much; all of it is there or nothing."""
    store.patience = 30.0
    body = random.Random(7).randbytes(3_000_000)
    receipt = replace(a_receipt(1), raw=replace(a_receipt(1).raw, body=body, payload_length=10), digest=b"")
    await append(store, [receipt, *[an_entry(number) for number in range(1000)]])
    assert await find_receipt(store, 1) == receipt
    assert (await store.verify()).audit_rows == 1000

    async def breaks(transaction: Transaction) -> None:
        for number in range(1000):
            await transaction.append_audit(an_entry(number))
        raise LookupError("synthetic")

    with pytest.raises(LookupError):
        await store.transact(SLOT, breaks)
    assert (await store.verify()).audit_rows == 1000


async def test_a_text_that_cannot_be_kept_is_an_error_of_the_unit(store: PostgresStore) -> None:
    """Not an outage: the same request would never succeed."""
    with pytest.raises(StoreError) as refused:
        await append(store, [replace(a_receipt(1), interaction="a\0b")])
    assert not isinstance(refused.value, StoreUnavailable)
    await upload(store, 1)


async def test_an_error_that_the_work_swallows_leaves_nothing(store: PostgresStore) -> None:
    """A statement that failed has ended its transaction, whatever the work makes of it."""
    await append(store, [a_consent(1)])

    async def work(transaction: Transaction) -> None:
        await transaction.append_audit(an_entry(1))
        await transaction.append_consent(a_consent(1))
        try:
            await transaction.consent_history(PATIENT)
        except StoreError:
            return

    with pytest.raises(StoreError):
        await store.transact(SLOT, work)
    assert [row async for row in store.read_audit()] == []


# --- connections and servers that fail --------------------------------------------------------------------------------


async def cut_all(connection: Any) -> None:
    """End every other connection to the database, as a server does that is restarted."""
    await connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )


async def test_connections_that_ended_while_nobody_used_them_are_replaced(store: PostgresStore, other: Any) -> None:
    """Callers do not notice."""
    await asyncio.gather(*(upload(store, number, f"999{number:07}") for number in range(POOL_SIZE)))
    await cut_all(other)
    for number in range(POOL_SIZE, POOL_SIZE + 4):
        await upload(store, number, f"999{number:07}")
    assert (await store.verify()).receipts == POOL_SIZE + 4


async def test_a_connection_that_ends_in_the_middle_leaves_nothing(store: PostgresStore, other: Any) -> None:
    """The unit has failed, nothing of it is there, the next one succeeds."""

    async def work(transaction: Transaction) -> None:
        await receive(1)(transaction)
        await cut_all(other)
        await transaction.read_patient(PATIENT)

    with pytest.raises(StoreUnavailable):
        await store.transact(SLOT, work)
    assert await find_receipt(store, 1) is None
    await upload(store, 1)


async def test_an_error_at_the_commit_says_nothing_of_its_outcome(store: PostgresStore, other: Any) -> None:
    """Whatever the server says then: the caller has to look. Spec: engine.md."""
    await other.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'synthetic'; END $$;"
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON event DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION fail()"
    )
    with pytest.raises(OutcomeUnknown):
        await upload(store, 1)
    await other.execute("DROP TRIGGER late ON event")
    assert await find_receipt(store, 1) is None
    await upload(store, 1)


async def test_an_error_before_the_commit_is_no_riddle(store: PostgresStore, other: Any) -> None:
    """The writes travel with the COMMIT, which is not reached when one of them fails: nothing is stored, for sure."""
    await other.execute("ALTER TABLE audit ADD CONSTRAINT none CHECK (sequence < 1)")
    with pytest.raises(StoreError) as refused:
        await upload(store, 1)
    assert not isinstance(refused.value, OutcomeUnknown)
    await other.execute("ALTER TABLE audit DROP CONSTRAINT none; REVOKE ALL ON audit FROM PUBLIC")
    await upload(store, 1)


async def test_a_slot_that_somebody_holds_hurts_no_other(store: PostgresStore, other: Any) -> None:
    """Many who wait for one patient do not keep the connections from the rest; each is told in time."""
    await upload(store, 1)
    transaction = other.transaction()
    await transaction.start()
    await other.execute("SELECT 1 FROM chain WHERE slot = $1 FOR UPDATE", SLOT)
    started = time.monotonic()
    stuck = [asyncio.create_task(upload(store, number)) for number in range(2, 2 + POOL_SIZE * 2)]
    await asyncio.sleep(0)
    for number in range(100, 110):
        await upload(store, number, OTHER_PATIENT)
    results = await asyncio.gather(*stuck, return_exceptions=True)
    assert {type(result) for result in results} == {StoreUnavailable}
    assert time.monotonic() - started < BOUND
    await transaction.rollback()
    await upload(store, 2)


async def test_a_server_that_takes_no_writes_any_more(store: PostgresStore, other: Any) -> None:
    """Reading may work, and the next connection may lead to the right server."""
    await upload(store, 1)
    name = await other.fetchval("SELECT current_database()")
    await other.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    await cut_all(other)
    with pytest.raises(StoreUnavailable):
        await upload(store, 2)
    assert not await store.writable()
    await other.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await upload(store, 2)
    assert await store.writable()


async def test_a_server_that_hangs_or_is_gone_is_told_in_time() -> None:
    """Frozen, killed and started again: every caller is answered within its time, and nothing acknowledged is lost."""
    with postgres_server(durable=True) as server:
        store = PostgresStore(server.create_database())
        await store.open()
        await upload(store, 1)
        server.freeze()
        started = time.monotonic()
        units = (upload(store, number, f"999{number:07}") for number in range(10, 40))
        writable, *results = await asyncio.gather(store.writable(), *units, return_exceptions=True)
        assert {type(result) for result in results} <= {StoreUnavailable, OutcomeUnknown}
        assert writable is False
        assert time.monotonic() - started < BOUND
        server.thaw()
        await upload(store, 2)
        server.kill()
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            await upload(store, 3)
        assert time.monotonic() - started < BOUND
        await asyncio.to_thread(server.start)
        await upload(store, 3)
        assert {1, 2, 3} <= {number for number in range(1, 40) if await find_receipt(store, number)}
        assert (await store.verify()).intact
        await store.close()


@pytest.mark.parametrize(
    "option", ["client_encoding=LATIN1", "client_encoding=SJIS", "standard_conforming_strings=off"]
)
async def test_what_a_url_asks_for_changes_no_letter(url: str, option: str) -> None:
    """Texts are kept as they are, whatever encoding or syntax a URL wants."""
    store = PostgresStore(f"{url}?{option}")
    await store.open()
    row = replace(an_outbox_row(1), last_error="it's \\ \\' \u00e9 \u20ac \u30bd\u8868 \U0001f600")
    await append(store, [row])
    assert await store.list_outbox() == [row]
    await store.close()


async def test_who_gives_up_does_not_wait_for_a_server_that_hangs() -> None:
    """What takes long is let go of at once when its task is cancelled, and the store can be closed."""
    with postgres_server() as server:
        store = PostgresStore(server.create_database())
        await store.open()
        await upload(store, 1)
        await store.outbox_figures()
        server.freeze()
        tasks = [
            asyncio.create_task(unit) for unit in (store.outbox_figures(), store.read_directory(), upload(store, 2))
        ]
        _, waiting = await asyncio.wait(tasks, timeout=0.2)
        assert len(waiting) == 3
        for task in tasks:
            task.cancel()
        async with asyncio.timeout(BOUND):
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await store.close()
        assert {type(result) for result in results} == {asyncio.CancelledError}
        server.thaw()


async def test_the_address_that_takes_writes_is_found(postgres: PostgresServer, url: str) -> None:
    """Of several addresses one listens, and one is a port where nobody answers at all."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        here, port = f"127.0.0.1:{postgres.port}", silent.getsockname()[1]
        several = url.replace(here, f"127.0.0.1:{port},127.0.0.1:9,{here}")
        store = PostgresStore(f"{several}?target_session_attrs=read-write")
        await store.open()
        started = time.monotonic()
        await upload(store, 1)
        assert time.monotonic() - started < BOUND
        await store.close()


# --- the schema -------------------------------------------------------------------------------------------------------


class _BeforeLeases(PostgresTransaction):
    """Writes rows of the outbox as programs would have done before they had holders."""

    async def append_outbox(self, row: OutboxRow) -> None:
        """Keep a message that must be sent."""
        columns = f"{OUTBOX_COLUMNS}, due_at"
        marks = ", ".join(f"${number}" for number in range(1, len(columns.split(",")) + 1))
        await self._write("outbox", f"INSERT INTO outbox ({columns}) VALUES ({marks})", *outbox_values(row, Codec()))  # noqa: S608


async def make_old(connection: Any, revision: str) -> None:
    """Make a database as a program of an older revision left it, with rows in it."""
    for step in REVISIONS[: REVISIONS.index(revision) + 1]:
        for statement in STEPS[step]:
            await connection.execute(statement)
    await connection.execute(_VERSION_TABLE)
    await connection.execute("INSERT INTO alembic_version (version_num) VALUES ($1)", revision)
    for statement in FIXED_ROW[revision]:
        await connection.execute(in_words_of_postgres(statement))
    for name, statement in (("receipt", "APPEND_RECEIPT"), ("event", "APPEND_EVENT"), ("audit", "APPEND_AUDIT")):
        await connection.execute(f"PREPARE openscr_{name} AS {getattr(postgres_statements, statement)}")
    await connection.execute("PREPARE openscr_move_chain AS UPDATE chain SET sequence = $2, hash = $3 WHERE slot = $1")
    transaction = _BeforeLeases(connection, Codec(), SLOT)
    await transaction.begin(Foreseen())
    await receive(2)(transaction)
    await transaction.commit()


@pytest.mark.parametrize("revision", REVISIONS)
async def test_a_populated_store_of_any_revision_is_brought_up_to_date(url: str, other: Any, revision: str) -> None:
    """By alembic's own script, with the rows that were there. The same tables come of it as of making them anew."""
    await make_old(other, revision)
    store = PostgresStore(url)
    assert await store.current_revision() == revision
    if revision != REVISIONS[-1]:
        with pytest.raises(ConfigurationError, match="run `openscr admin migrate`"):
            await PostgresStore(url, migrate=False).open()
    await store.open()
    assert await store.current_revision() == store.head_revision() == REVISIONS[-1]
    state = await read_patient(store)
    assert (state.consent.value, state.consent_version) == ("No", 1)
    assert [event.event_id for event in state.events] == [an_id(2)]
    assert [row.id for row in await store.list_outbox()] == [an_id(2)]
    alerts = [(alert.id, alert.job_role, alert.source, alert.details) for alert in await store.read_alerts()]
    assert alerts == ([("A", "j", "override", {})] if revision != "0001" else [])
    await upload(store, 1)
    report = await store.verify()
    assert report.faults == ()
    assert (report.audit_rows, report.events, report.receipts) == (2, 2, 2)
    await store.close()


COLUMNS = (
    "SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default"
    " FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"
)
OTHERS = (
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' UNION ALL SELECT conrelid::regclass || ' ' ||"
    " pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'"
    " UNION ALL SELECT relname || ' ' || reloptions::text FROM pg_class WHERE reloptions IS NOT NULL"
    " UNION ALL SELECT attrelid::regclass || ' ' || attname || ' ' || attstorage::text FROM pg_attribute"
    " JOIN pg_class c ON c.oid = attrelid WHERE c.relnamespace = 'public'::regnamespace AND attnum > 0"
    " AND NOT attisdropped ORDER BY 1"
)


async def test_a_new_store_is_what_the_revisions_make(postgres: PostgresServer, url: str, other: Any) -> None:
    """Made at once or step by step: the same columns, keys, indexes and ways to store."""
    await make_old(other, "0001")
    await other.execute(postgres_script("0001"))
    store = PostgresStore(postgres.create_database())
    await store.open()
    for question in (COLUMNS, OTHERS):
        assert list(map(tuple, await store._fetch(question))) == list(map(tuple, await other.fetch(question)))
    await store.close()


async def test_programs_that_start_at_once_make_one_store(url: str) -> None:
    """One makes the schema, the others find it."""
    stores = [PostgresStore(url) for _ in range(4)]
    await asyncio.gather(*(store.open() for store in stores))
    await asyncio.gather(*(upload(store, number) for number, store in enumerate(stores)))
    assert (await stores[0].verify()).receipts == 4
    for store in stores:
        await store.close()


async def test_a_schema_is_not_changed_under_those_who_work_with_it(url: str, other: Any) -> None:
    """A worker process of another place was heard of lately: a newer program waits, and says for whom."""
    store = PostgresStore(url, leasing=Leasing("here/1"))
    await store.open()
    now = await store.now()
    await store.announce(Instance("there/1", "0.1.0", now, now))
    await other.execute("UPDATE alembic_version SET version_num = '0005'")
    with pytest.raises(ConfigurationError, match=rf"1 worker process runs on it .* or wait {SILENCE:.0f} s"):
        await PostgresStore(url, leasing=Leasing("here/2")).open()
    await store.close()


def test_neither_making_nor_opening_a_store_imports_alembic(url: str) -> None:
    """A start is quick, the first one as well."""
    program = (
        "import asyncio, sys; from openscr.store.opening import open_store\n"
        "async def main():\n store = open_store(sys.argv[1]); await store.open(); await store.close()\n"
        "asyncio.run(main()); asyncio.run(main()); assert not {'alembic', 'sqlalchemy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, url], check=True)


async def test_a_full_disk_is_one(store: PostgresStore, other: Any) -> None:
    """By its SQLSTATE, wherever it comes up."""
    await other.execute(
        "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'synthetic' USING ERRCODE = '53100'; END $$;"
        "CREATE TRIGGER no_room BEFORE INSERT ON receipt FOR EACH ROW EXECUTE FUNCTION no_room()"
    )
    with pytest.raises(StoreFull, match="no space left"):
        await upload(store, 1)


async def test_slots_are_computed_as_ever(store: PostgresStore) -> None:
    """The patient index lies where requests look."""
    await upload(store, 1, OTHER_PATIENT)
    rows = await store._fetch("SELECT slot FROM event")
    assert [row[0] for row in rows] == [slot_of(OTHER_PATIENT)]


async def test_a_database_that_may_lose_what_it_has_acknowledged_is_warned_of(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The server of these tests does not sync; who runs a service like that is told so, each time."""
    url = postgres.create_database()
    for setting, loss in (("off", "in a crash"), ("local", "when a standby takes over")):
        postgres.sql(f"ALTER DATABASE {url.rpartition('/')[2]} SET synchronous_commit = {setting}")
        store = PostgresStore(url)
        await store.open()
        await store.close()
        told = [line for line in caplog.messages if "what was acknowledged" in line]
        assert [line.partition(":")[0] for line in told] == ["fsync is off", f"synchronous_commit is {setting}"]
        assert f"may lose {loss} what" in told[1]
        caplog.clear()


async def test_a_log_of_statements_that_do_not_fail_is_warned_of(
    postgres: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """They hold patients' data: whoever has them logged, for this database alone as well, is told by which setting."""
    url = postgres.create_database()
    talkative = {
        "log_statement": "mod",
        "log_min_duration_statement": "100",
        "log_min_duration_sample": "0",
        "log_transaction_sample_rate": "0.5",
        "session_preload_libraries": "auto_explain",
        "auto_explain.log_min_duration": "0",
    }
    for name, value in talkative.items():
        postgres.sql(f"ALTER DATABASE {url.rpartition('/')[2]} SET {name} = '{value}'")
    for database, expected in ((postgres.create_database(), set()), (url, talkative.keys())):
        store = PostgresStore(database)
        await store.open()
        await store.close()
        told = {line.partition(" is ")[0] for line in caplog.messages if "the database's log" in line}
        assert told == expected - {"session_preload_libraries"}
