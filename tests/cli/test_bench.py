"""Measurements as their users run them, against services that really run. Spec: 00 §4 ``bench``; 90 §6, §7."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from cli.conftest import Run
from openscr.store.opening import open_store
from postgres import PASSWORD, PostgresServer
from serving import DemoServer
from store.conftest import ENGINES, url_of
from store.samples import upload

KEYS = [
    "operation", "engine", "messages", "seconds", "per_second", "server_cpu_ms_per_message",
    "floor_cpu_ms_per_message", "latency_ms", "rss_mb", "bytes_per_record",
]  # fmt: skip
SMALL = ["--arrivals", "fixed", "--sizes", "reference"]
NUMBER = re.compile(r"\b9\d{9}\b")


def test_a_mix_is_sent_to_a_service_that_runs(openscr: Run, demo_server: DemoServer) -> None:
    """At two rates: each asks for as many as it should, and is told of each operation."""
    options = ["--at", demo_server.web, "--patients", 20, "--seconds", 2, "--level", "t2", *SMALL]
    ended = openscr("bench", "mix", *options, "--rate", 60, "--pid", demo_server.process.pid, "--json").done()
    whole, *parts = ended.json
    assert list(whole) == KEYS
    assert whole["operation"] == "mix"
    assert 110 <= whole["messages"] == sum(part["messages"] for part in parts) <= 120
    assert {"upload", "event list", "consent get"} <= {part["operation"] for part in parts}
    for figure in (whole, *parts):
        assert 0 < figure["latency_ms"]["p50"] <= figure["latency_ms"]["p95"] <= figure["latency_ms"]["p99"]
    assert whole["server_cpu_ms_per_message"] > 0
    assert whole["rss_mb"] > 10
    # Whose service it is, and how its store stands, nobody has said.
    assert (whole["engine"], whole["bytes_per_record"]) == (None, None)
    assert NUMBER.search(ended.out + ended.err) is None


def test_a_service_of_our_own_is_measured_with_its_floor(openscr: Run, tmp_path: Path) -> None:
    """Live, with certificates, its acknowledgements delivered to us."""
    kinds = ["--operation", "upload", "--operation", "event"]
    sizes = ["--count", 40, "--runs", 1, "--patients", 20, "--data", tmp_path / "kept"]
    ended = openscr("bench", "cost", *kinds, *sizes, "--json").done()
    upload, event = ended.json
    assert [list(upload), list(event)] == [KEYS, KEYS]
    assert (upload["operation"], upload["engine"], upload["messages"]) == ("upload", "SQLite", 40)
    for figure in (upload, event):
        assert figure["server_cpu_ms_per_message"] > 0
        assert figure["floor_cpu_ms_per_message"] is not None
    assert 1_000 < upload["bytes_per_record"] < 30_000
    assert event["bytes_per_record"] is None
    verified = openscr("admin", "verify", "--data", tmp_path / "kept", "--json").done().json
    # 20 loaded; of the uploads 40 to warm up, 40 measured, and some at half the rate.
    assert verified["intact"]
    assert verified["events"] >= 20 + 80


def test_limits_that_are_missed_end_with_one(openscr: Run, demo_server: DemoServer) -> None:
    """Patients without a record are none of the service's mistakes, and yet not what was asked for."""
    options = ["--at", demo_server.web, "--patients", 800_000, "--no-load", "--seconds", 1, "--rate", 50, *SMALL]
    ended = openscr("bench", "mix", *options, "--check").failed("missed", "errors: event: HTTP 200")
    assert NUMBER.search(ended.out + ended.err) is None


def test_a_store_is_filled_and_begun_again(openscr: Run, tmp_path: Path) -> None:
    options = ["--data", tmp_path / "data", "--versions", 2]
    first = openscr("bench", "load", "--count", 30, *options, "--json").done().json
    assert first["records"] == 60
    assert "records in" in openscr("bench", "load", "--count", 40, *options, "--indexed").done().out
    verified = openscr("admin", "verify", "--data", tmp_path / "data", "--json").done().json
    assert (verified["intact"], verified["events"]) == (True, 80)


def test_a_store_of_somebody_is_left_alone(openscr: Run, tmp_path: Path) -> None:
    data = tmp_path / "theirs"
    world = Path(__file__).parents[2] / "src/openscr/testbench/world.json"
    theirs = tmp_path / "directory.json"
    theirs.write_text(world.read_text().replace("Y90001-0000001", "X26-0000001"))
    openscr("directory", "import", theirs, "--data", data, "--replace").done()
    openscr("bench", "load", "--count", 5, "--data", data).failed("a party X26-0000001", "a store of their own")
    openscr("bench", "cost", "--patients", 5, "--data", data).failed("a party X26-0000001")
    assert openscr("admin", "verify", "--data", data, "--json").done().json["events"] == 0


@pytest.mark.parametrize("engine", ENGINES)
def test_records_without_a_directory_are_somebodys(
    openscr: Run, engine: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Nothing is added to them, and no directory is put beside them."""
    store = url_of(engine, request, tmp_path)
    asyncio.run(one_record(store))
    for command in (["load", "--count", 5], ["cost", "--patients", 5]):
        openscr("bench", *command, "--store", store).failed("records and no directory", "a store of their own")
    assert openscr("admin", "verify", "--store", store, "--json").done().json["events"] == 1
    openscr("directory", "export", "--store", store).failed("the directory is empty")


async def one_record(url: str) -> None:
    """Make a store in which one summary was stored, and nothing else."""
    store = open_store(url)
    await store.open()
    await upload(store, 1)
    await store.close()


@pytest.mark.parametrize(
    ("arguments", "said", "status"),
    [
        (["cost", "--operation", "dance"], "operations are upload; upload, mixed sizes; event list", 1),
        (["cost", "--workers", "2", "--no-tls"], "without TLS it is a demo service, which has one worker", 1),
        (["mix", "--at", "http://127.0.0.1:1"], "nothing answers at http://127.0.0.1:1", 1),
        (["mix", "--at", "http://127.0.0.1:1", "--workers", "2"], "for a service of our own", 2),
        (["mix", "--callback", "127.0.0.1:0"], "--callback goes with --at", 2),
        (["mix", "--rate", "0"], "--rate", 2),
        (["load", "--count", "0"], "--count", 2),
        (["load", "--count", "5", "--store", "oracle://x"], "a store is a file", 2),
    ],
)
def test_what_will_not_do_is_told(openscr: Run, arguments: list[str], said: str, status: int) -> None:
    ended = openscr("bench", *arguments)
    assert ended.status == status
    assert said in " ".join(re.sub(r"[│╭╮╰╯─\n]+", " ", ended.err).split())


def test_a_process_that_is_not_there_is_told(openscr: Run, demo_server: DemoServer) -> None:
    gone = os.getpid() + (1 << 22)
    options = ["--at", demo_server.web, "--no-load", "--seconds", 1, "--pid", gone]
    openscr("bench", "mix", *options).failed(f"there is no process {gone} here")


COSTS = {
    "engine": "SQLite",
    "cores": 2,
    "measured": [
        {"operation": operation, "service_ms": 1.5, "database_ms": 0.0, "bytes_in": 3000.0, "bytes_out": 3000.0,
         "stored": 1000.0, "written": 2000.0, "load_ms": 0.1}
        for operation in ("upload", "event list", "event", "consent get", "consent has", "consent set", "alert")
    ],
}  # fmt: skip


@pytest.mark.parametrize("interrupts", [signal.SIG_DFL, signal.SIG_IGN], ids=str)
def test_who_is_told_to_end_ends_the_service_that_is_measured(tmp_path: Path, interrupts: signal.Handlers) -> None:
    """Also in the background of a script, where a shell has interrupts ignored; told twice, as by ``timeout``."""

    def serving() -> list[Path]:
        found = []
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = each.read_bytes().split(b"\0")
                found += [each] if b"serve" in words and os.fsencode(tmp_path / "data") in words else []
        return found

    def received() -> int:
        with closing(sqlite3.connect(tmp_path / "data" / "openscr.db")) as file:
            return int(file.execute("SELECT count(*) FROM receipt").fetchone()[0])

    command = [sys.executable, "-m", "openscr", "bench", "mix", "--patients", "5", "--rate", "5", "--seconds", "600"]
    (tmp_path / "tmp").mkdir()
    surroundings = {**os.environ, "TMPDIR": str(tmp_path / "tmp")}
    before = signal.signal(signal.SIGINT, interrupts)
    try:
        command += ["--data", str(tmp_path / "data")]
        bench = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=surroundings)
    finally:
        signal.signal(signal.SIGINT, before)
    with bench:
        try:
            # Five have their records before it starts; what comes after that is the load.
            while not serving() or received() <= 5:
                assert bench.poll() is None
                time.sleep(0.05)
            bench.terminate()
            bench.terminate()
            assert bench.wait(20) == 130
            assert serving() == []
            # Keys and certificates of the measurement are no more.
            assert [each.name for each in (tmp_path / "tmp").iterdir()] == []
        finally:
            bench.kill()


def test_a_plan_from_costs_that_were_measured_before(openscr: Run, tmp_path: Path) -> None:
    kept = tmp_path / "costs.json"
    kept.write_text(json.dumps({"costs": COSTS}))
    told = openscr("bench", "plan", "--costs", kept, "--population", 6_500_000, "--busiest", "high").done().out
    # A tenth of 170.4 requests a second.
    assert "requests      17.0/s" in told
    assert "service       0.03 cores busy: 1 worker, 2 machines of 16 cores (1 may fail)" in told
    assert "6.5 GB for a first summary of everybody" in told
    form = openscr("bench", "plan", "--costs", kept, "--json").done().json
    assert form["costs"] == COSTS
    assert form["needs"]["per_second"] == 440
    kept.write_text("{}")
    openscr("bench", "plan", "--costs", kept).failed("this is not what bench plan --json prints")


def test_costs_of_a_strangers_service_cannot_be_planned_with(openscr: Run, demo_server: DemoServer) -> None:
    options = ["--at", demo_server.web, "--no-load"]
    openscr("bench", "plan", *options).failed("name its process with --pid")
    openscr("bench", "plan", *options, "--verify").failed("leave out --at", status=2)


def test_two_workers_on_postgresql_are_measured_with_their_database(openscr: Run, postgres: PostgresServer) -> None:
    url = postgres.create_database()
    options = ["--store", url, "--workers", 2, "--patients", 10, "--rate", 20, "--seconds", 1, *SMALL]
    ended = openscr("bench", "mix", *options, "--json").done()
    whole = ended.json[0]
    assert whole["engine"] == "PostgreSQL"
    assert whole["messages"] >= 19
    # The two workers with their parent, each with its libraries; not the database.
    assert whole["rss_mb"] > 150
    assert PASSWORD not in ended.out + ended.err
