"""Measures the audit at a million rows: what a row costs, what a search and an export cost, how long a proof takes.

    python -m benchmarks.audit [--rows N]

The store is filled in bulk with rows as the service writes them, in right chains. Then one byte of one row is changed
in the file, and `Store.verify` must find it, and nothing else. Spec: 35 §7; figures go to docs/performance.md with date
and machine.
"""

import argparse
import asyncio
import mmap
import os
import platform
import resource
import sqlite3
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import perf_counter, process_time

from openscr.identifiers import check_digit, mint_uuid, slot_of
from openscr.record.audit_forms import Form, written
from openscr.store import statements
from openscr.store.chain import GENESIS, link, write_content
from openscr.store.interface import AuditEntry, AuditPeriod, AuditRow, Store, Transaction
from openscr.store.opening import open_store
from openscr.store.rows import to_microseconds

START = datetime(2026, 1, 1, tzinfo=UTC)
BETWEEN = timedelta(seconds=30)
INSERTS = 20_000
USERS = 5000


def patients(count: int) -> Iterator[str]:
    """Give valid test numbers."""
    number = 999_000_000
    while count:
        number += 1
        digit = check_digit(str(number))
        if digit < 10:
            count -= 1
            yield f"{number}{digit}"


def entry(index: int, nhs_number: str) -> AuditEntry:
    """Return a row as a query writes it."""
    content = {
        "interaction": "QUPC_IN180000UK04",
        "message_id": mint_uuid(),
        "transport_id": mint_uuid(),
        "correlation_id": mint_uuid(),
        "asid": "200000000116",
        "party_key": "RZZ01-0000001",
        "certificate": "viewer.client.test 2A3B4C5D6E7F8091A2B3",
        "address": "192.0.2.17",
        "user_id": f"5550{index % USERS:08d}",
        "role_profile_id": f"5551{index % USERS:08d}",
        "job_role": "R8000",
        "display_name": "Dr Olwen Override",
        "organisation": "RZZ01",
    }
    return AuditEntry(START + BETWEEN * index, "QUPC_IN180000UK04", "AA", nhs_number, content)


def fill(path: Path, rows: int) -> list[str]:
    """Write rows in right chains; return the patients."""
    numbers = list(patients(rows // 8))
    heads: dict[int, tuple[int, bytes]] = {}

    def values() -> Iterator[tuple[object, ...]]:
        for index in range(rows):
            number = numbers[index * 7919 % len(numbers)]
            each, slot = entry(index, number), slot_of(number)
            sequence, previous = heads.get(slot, (0, GENESIS))
            at, content = to_microseconds(each.occurred_at), write_content(each)
            hash = link(previous, slot, sequence + 1, at, number, content)
            heads[slot] = (sequence + 1, hash)
            yield slot, sequence + 1, at, number, content, hash

    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        with connection:
            connection.executemany(statements.APPEND_AUDIT, values())
            connection.executemany(statements.MOVE_CHAIN, [(slot, *head) for slot, head in heads.items()])
    return numbers


async def insert(store: Store, numbers: list[str], first: int) -> tuple[float, float]:
    """Append rows as requests do, 64 at a time; return microseconds of CPU and of time for each."""
    cpu, clock = process_time(), perf_counter()

    async def one(index: int) -> None:
        number = numbers[index * 7919 % len(numbers)]
        each = entry(index, number)

        async def work(transaction: Transaction) -> None:
            await transaction.append_audit(each)

        await store.transact(slot_of(number), work)

    for start in range(first, first + INSERTS, 64):
        await asyncio.gather(*(one(index) for index in range(start, min(start + 64, first + INSERTS))))
    return (process_time() - cpu) / INSERTS * 1e6, (perf_counter() - clock) / INSERTS * 1e6


async def _main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "openscr.db"
        store = open_store(str(path))
        await store.open()
        await store.close()
        began = perf_counter()
        numbers = await asyncio.to_thread(fill, path, rows)
        print(f"{rows} rows in {len(numbers)} patients' chains written in {perf_counter() - began:.1f} s")
        print(f"store {path.stat().st_size / 1e6:.0f} MB, {path.stat().st_size / rows:.0f} bytes a row")
        store = open_store(str(path))
        await store.open()
        with_index = await insert(store, numbers, rows)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("DROP INDEX audit_time")
        without = await insert(store, numbers, rows + INSERTS)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE INDEX audit_time ON audit (occurred_at, slot, sequence)")
        for name, (cpu, clock) in (("with", with_index), ("without", without)):
            print(f"a row appended {name} the index of time: {cpu:.1f} µs CPU, {clock:.1f} µs")
        await _searches(store, numbers[17])
        await _proof(store, path, numbers[len(numbers) // 2])
        await store.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB")
    print(f"{date.today()}, {os.cpu_count()} cores, CPython {platform.python_version()}, SQLite WAL FULL")


async def _searches(store: Store, number: str) -> None:
    day = AuditPeriod(START + timedelta(days=100), START + timedelta(days=101))
    periods = {"of one patient": AuditPeriod(nhs_number=number), "of one day": day, "all": AuditPeriod()}
    for name, period in periods.items():
        began, count = perf_counter(), 0
        async for _ in store.search_audit(period):
            count += 1
        print(f"search {name}: {count} rows in {perf_counter() - began:.3f} s")
    began, count = perf_counter(), 0
    async for row in store.search_audit(AuditPeriod()):
        count += row.entry.content["user_id"] == "555000000077"
    print(f"search of one user through all: {count} rows in {perf_counter() - began:.3f} s")
    for form in (Form.CSV, Form.FHIR):
        began, size = perf_counter(), 0
        async for line in written(store.search_audit(AuditPeriod()), form, patients=True):
            size += len(line)
        print(f"export as {form}: {size / 1e6:.0f} MB in {perf_counter() - began:.1f} s")


async def _proof(store: Store, path: Path, number: str) -> None:
    began = perf_counter()
    report = await store.verify()
    print(f"verify: {report.audit_rows} rows in {perf_counter() - began:.1f} s, {len(report.faults)} faults")
    if not report.intact:
        sys.exit("an untouched store was not intact")
    rows = [row async for row in store.read_audit(slot_of(number))]
    row = rows[len(rows) // 2]
    await store.close()
    place = _flip(path, row)
    await store.open()
    began = perf_counter()
    report = await store.verify()
    print(f"verify after byte {place} of the file was changed: {perf_counter() - began:.1f} s; {report.faults}")
    if report.faults != (f"slot {row.slot}: audit row {row.sequence} does not fit its hash",):
        sys.exit("the changed byte was not found, or something else was")


def _flip(path: Path, row: AuditRow) -> int:
    """Change one byte of a row's content in the file, as a failing disk or a clever thief would; return its place."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        place = data.find(row.entry.content["correlation_id"].encode())
        data[place] ^= 1
    return place


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    asyncio.run(_main(parser.parse_args().rows))
