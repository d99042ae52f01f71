"""`openscr mhs audit` and `verify`: on a store that an adaptor has written, and on one that somebody has touched."""

import asyncio
import json
import sqlite3
from pathlib import Path
from urllib.parse import quote

import pytest

from cli.conftest import Run
from journeys.messages import GP, PRACTICE
from mhs.rig import TestClock, settings
from openscr.mhs.audit import AuditFacts, AuditTrail, patient_name_of
from openscr.mhs.payload_people import read_people
from openscr.mhs.store.opening import open_store
from postgres import PASSWORD, PostgresServer

CERTIFICATE = {"MHS_CLIENT_CERT_FILE": "a", "MHS_CLIENT_KEY_FILE": "b", "MHS_CA_CERTS_FILE": "c"}
NUMBERS = ("9990000034", "9990000042", "9990000034")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a record about each of the numbers."""
    folder = tmp_path / "mhs-data"

    async def write() -> None:
        chosen = settings(data=folder)
        store, clock = open_store(chosen), TestClock()
        await store.open()
        trail = AuditTrail(store, clock, patient_name_of(chosen))
        for sequence, number in enumerate(NUMBERS):
            people = read_people(PRACTICE.upload(number).payload)
            await trail.write(AuditFacts("outbound", "202", clock.now, message_id=f"M{sequence}", people=people))
            clock.move(1)
        await store.close()

    asyncio.run(write())
    return folder


def test_f22_an_audit_that_nobody_touched_is_intact(openscr: Run, data: Path) -> None:
    assert openscr("mhs", "verify", "--data", data).done().out == "the audit is intact: 3 records\n"
    form = openscr("mhs", "verify", "--data", data, "--json").done().json
    assert form == {"intact": True, "records": 3, "broken": None}
    assert openscr("mhs", "verify", MHS_DATA=str(data)).done().out == "the audit is intact: 3 records\n"


def test_an_audit_in_a_database_is_read_and_nothing_is_made_by_looking(openscr: Run, postgres: PostgresServer) -> None:
    url = postgres.create_database()
    ended = openscr("mhs", "verify", MHS_STORE=url).failed("run `openscr mhs serve`")
    assert PASSWORD not in ended.err
    tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    assert postgres.sql(tables, url.rpartition("/")[2]) == "0"

    async def write() -> None:
        store, clock = open_store(settings(store=url)), TestClock()
        await store.open()
        await AuditTrail(store, clock).write(AuditFacts("outbound", "202", clock.now, message_id="M"))
        await store.close()

    asyncio.run(write())
    assert openscr("mhs", "verify", MHS_STORE=url).done().out == "the audit is intact: 1 records\n"
    postgres.sql("UPDATE audit SET occurred_at = occurred_at + 1", url.rpartition("/")[2])
    openscr("mhs", "verify", MHS_STORE=url).failed("record 1 does not fit the chain")


def test_no_word_of_a_password_is_shown(openscr: Run, postgres: PostgresServer) -> None:
    url = postgres.create_database()
    wrong = url.replace(quote(PASSWORD, safe=""), "another-word")
    ended = openscr("mhs", "verify", MHS_STORE=wrong).failed("refuses the user or the password")
    shown = openscr("mhs", "serve", "--show-config", MHS_STORE=url, MHS_SECRET_PARTY_KEY="K", **CERTIFICATE).done()
    for text in (ended.out + ended.err, shown.out):
        assert "another-word" not in text
        assert quote(PASSWORD, safe="") not in text
    assert "postgresql://openscr:***@127.0.0.1" in shown.out


@pytest.mark.parametrize(
    ("harm", "broken"),
    [
        ("UPDATE audit SET content = CAST(replace(CAST(content AS TEXT), 'M1', 'M9') AS BLOB) WHERE sequence = 2", 2),
        ("UPDATE audit SET occurred_at = occurred_at + 1 WHERE sequence = 3", 3),
        ("DELETE FROM audit WHERE sequence = 1", 1),
        ("DELETE FROM audit WHERE sequence = 3", 3),
    ],
)
def test_f22_a_record_that_was_touched_is_named(openscr: Run, data: Path, harm: str, broken: int) -> None:
    with sqlite3.connect(data / "mhs.db") as connection:
        assert connection.execute(harm).rowcount == 1
    connection.close()
    openscr("mhs", "verify", "--data", data).failed(f"record {broken} does not fit the chain")
    ended = openscr("mhs", "verify", "--data", data, "--json").failed()
    assert (ended.json["intact"], ended.json["broken"]) == (False, broken)


def test_f22_records_are_printed_in_their_order_and_name_no_patient(openscr: Run, data: Path) -> None:
    out = openscr("mhs", "audit", "--data", data).done().out
    records = [json.loads(line) for line in out.splitlines()]
    assert [(record["sequence"], record["message_id"]) for record in records] == [(1, "M0"), (2, "M1"), (3, "M2")]
    assert {record["user"] for record in records} == {GP.user_id}
    assert records[0]["patient"] == records[2]["patient"] != records[1]["patient"]
    assert not [number for number in NUMBERS if number in out]
    assert [
        json.loads(line)["sequence"] for line in openscr("mhs", "audit", "--data", data, "--after", 2).out.splitlines()
    ] == [3]


def test_f22_the_records_of_one_patient_are_found(openscr: Run, data: Path) -> None:
    out = openscr("mhs", "audit", "--data", data, "--patient", stdin=b"999 000 0034\n").done().out
    assert [json.loads(line)["sequence"] for line in out.splitlines()] == [1, 3]
    assert openscr("mhs", "audit", "--data", data, "--patient", stdin=b"9990000018\n").done().out == ""


def test_a_store_that_is_not_there_is_not_made(openscr: Run, tmp_path: Path) -> None:
    openscr("mhs", "verify", "--data", tmp_path / "nowhere").failed("there is no store of an adaptor at")
    assert not (tmp_path / "nowhere").exists()
