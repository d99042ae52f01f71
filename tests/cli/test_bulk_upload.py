"""Populations and folders go to a running service, are interrupted, and go on: every version accepted exactly once."""

import json
import os
import pty
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from cli.conftest import Run
from client.stories import document_of, new_patient, summary
from openscr.client import Client
from openscr.spine import EventStatus
from openscr.testbench.made_population import made_population
from openscr.testbench.stories import State, StepKind
from serving import DemoServer, clean_environment, serving

GP = ("--user", "555000000102")
PATIENCE = 60


@pytest.fixture
def at(demo_server: DemoServer) -> tuple[str, str]:
    return "--at", demo_server.web


def lines_of(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def folder_of(path: Path, count: int) -> Path:
    path.mkdir()
    for number in range(count):
        (path / f"{number}.xml").write_bytes(document_of(summary(new_patient())))
    return path


# --- make -----------------------------------------------------------------------------------------------------------


def test_the_same_seed_makes_the_same_files_and_no_name_tells_a_number(openscr: Run, tmp_path: Path) -> None:
    openscr("patients", "make", "--count", 30, "--seed", 5, "--out", "one").done()
    openscr("patients", "make", "--count", 30, "--seed", 5, "--out", "two", TZ="Asia/Tokyo", PYTHONHASHSEED="7").done()
    openscr("patients", "make", "--count", 30, "--seed", 6, "--out", "three").done()
    found = {
        name: {p.relative_to(tmp_path / name).as_posix(): p.read_bytes() for p in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two", "three")
    }
    assert found["one"] == found["two"]
    assert found["one"]["patients.jsonl"] != found["three"]["patients.jsonl"]
    numbers = {line["nhs_number"] for line in lines_of(tmp_path / "one" / "patients.jsonl")}
    assert len(numbers) == 30
    assert not [name for name in found["one"] for number in numbers if number in name]
    assert openscr("patients", "import", "one/patients.jsonl").done().out == "30 patients imported\n"


def test_what_cannot_be_made_is_told(openscr: Run, tmp_path: Path) -> None:
    make = ("patients", "make", "--seed", 1)
    openscr(*make, "--count", 1).failed("--out DIR or --load", status=2)
    openscr(*make, "--count", 1, "--out", "a", "--load").failed("--out DIR or --load", status=2)
    openscr(*make, "--count", 1, "--out", "a", "--rate", 3).failed("go with --load", status=2)
    openscr(*make, "--count", 1_000_000, "--out", "a").failed("no population can be larger")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    openscr(*make, "--count", 1, "--out", "full").failed("is not empty")


def state_in_the_record(client: Client, nhs_number: str) -> tuple[str, list[str]]:
    listed = client.list_events(nhs_number)
    return client.get_consent(nhs_number).consent.value, [event.status.name for event in listed.events]


def test_a_closed_index_is_filled_before_the_population_is_sent(openscr: Run, tmp_path: Path) -> None:
    make = ("patients", "make", "--count", 8, "--seed", 2, "--on", "2026-06-01", "--load")
    with serving(tmp_path) as server:
        openscr(*make, "--at", server.web, "--data", server.data).done()
        # The same population is there already: as other messages its summaries are refused.
        assert openscr(*make, "--at", server.web).status == 1
    index = tmp_path / "data" / "openscr.db"
    with closing(sqlite3.connect(index)) as database:
        known = {number for (number,) in database.execute("SELECT nhs_number FROM patient")}
    assert {patient.nhs_number for patient in made_population(8, 2, date(2026, 6, 1), told=False)} <= known


EXPECTED = {
    State.NO_RECORD: ("Ask", []),
    State.WITHDRAWN: ("Ask", ["WITHDRAWN"]),
    # After a No nothing may be listed.
    State.OPTED_OUT: ("No", []),
}


@pytest.mark.parametrize("way", ["folder", "load"])
def test_every_state_is_reproduced(openscr: Run, tmp_path: Path, way: str) -> None:
    """A population of one day that holds every state, by way of files and directly, in a service of its own."""
    seed = next(s for s in range(100) if {p.state for p in made_population(60, s)} == set(State))
    make = ("patients", "make", "--count", 60, "--seed", seed)
    patients = list(made_population(60, seed))
    uploads = sum(len(patient.steps) for patient in patients)
    with serving(tmp_path) as server:
        at = ("--at", server.web, "--parallel", 3, "--json")
        if way == "folder":
            openscr(*make, "--out", "population").done()
            openscr("upload", "population", "--at", server.web).failed("--user URP", status=2)
            ended = openscr("upload", "population", *at, *GP).done()
        else:
            ended = openscr(*make, "--load", *at).done()
        tally = json.loads(ended.out.splitlines()[-1])
        assert (tally["accepted"], tally["complete"]) == (uploads, True)
        with Client.demo(server.web) as client:
            for patient in patients:
                versions = [step for step in patient.steps if step.document]
                current = ["NORMAL", *["REPLACED"] * (len(versions) - 1)]
                assert state_in_the_record(client, patient.nhs_number) == EXPECTED.get(patient.state, ("Ask", current))
                if patient.state is State.ADDITIONAL:
                    newest = client.retrieve(patient.nhs_number)
                    assert newest.event is not None
                    assert newest.event.event_id == versions[-1].event_id
    assert {step.kind for patient in patients for step in patient.steps} == set(StepKind) - {StepKind.INDEX_MERGED}


# --- folders --------------------------------------------------------------------------------------------------------


def test_a_folder_is_sent_once(openscr: Run, at: tuple[str, str], tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "many", 4)
    (folder / "below").mkdir()
    (folder / "below" / "last.xml").write_bytes(document_of(summary(new_patient())))
    (folder / "notes.txt").write_text("not sent")
    assert openscr("upload", "many", *at).done().out == "5 accepted, 0 refused, 0 skipped\n"
    assert openscr("upload", "many", *at).done().out == "0 accepted, 0 refused, 5 skipped\n"
    assert not re.search(r"\b9\d{9}\b", (folder / "upload-journal.jsonl").read_text())


def test_what_is_refused_is_told_and_sent_again_only_when_asked(
    openscr: Run, at: tuple[str, str], tmp_path: Path
) -> None:
    folder = folder_of(tmp_path / "many", 1)
    # The patient has said No: the summary is refused until that changes.
    nhs_number = new_patient()
    openscr("consent", "set", nhs_number, "no", *at, *GP).done()
    (folder / "refused.xml").write_bytes(document_of(summary(nhs_number)))
    (folder / "broken.xml").write_text("<GPSummary")
    first = openscr("upload", "many", *at)
    assert first.status == 1
    assert first.out == "1 accepted, 1 refused, 0 skipped, 1 not sent: no summary can be read in them\n"
    assert "openscr: broken.xml: XML is not well-formed" in first.err
    assert "openscr: refused.xml: access denied" in first.err
    (folder / "broken.xml").unlink()
    again = openscr("upload", "many", *at)
    assert (again.status, again.out) == (1, "0 accepted, 1 refused, 1 skipped\n")
    assert "refused.xml: refused before (420/30418); --retry-refused" in again.err
    openscr("consent", "set", nhs_number, "ask", *at, *GP).done()
    ended = openscr("upload", "many", *at, "--retry-refused").done()
    assert ended.out == "1 accepted, 0 refused, 1 skipped\n"


def test_a_journal_belongs_to_one_sender_and_one_upload(openscr: Run, at: tuple[str, str], tmp_path: Path) -> None:
    folder_of(tmp_path / "many", 1)
    openscr("upload", "many", *at, "--journal", "kept.jsonl").done()
    assert not (tmp_path / "many" / "upload-journal.jsonl").exists()
    openscr("upload", "many", *at, *GP, "--journal", "kept.jsonl").failed("--journal FILE")
    (tmp_path / "other.jsonl").write_text("something else\n")
    openscr("upload", "many", *at, "--journal", "other.jsonl").failed("is not the journal of an upload")
    openscr("upload", "many/0.xml", *at, "--rate", "2").failed("are for one folder", status=2)


def cut_short(arguments: list[str], cwd: Path, answers: int, how: signal.Signals) -> int:
    """Run an upload and end it after so many answers; return how it ended."""
    command = [sys.executable, "-m", "openscr", *arguments, "--json"]
    # Tests that run in the background of a shell ignore SIGINT, and so would whatever they start.
    ours = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(
            command, cwd=cwd, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
    finally:
        signal.signal(signal.SIGINT, ours)
    assert process.stdout is not None
    with process.stdout as lines:
        for _ in range(answers):
            assert json.loads(lines.readline())["fate"] == "accepted"
        process.send_signal(how)
        lines.read()
    return process.wait(PATIENCE)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_upload_that_is_cut_short_goes_on_and_every_version_is_accepted_once(
    openscr: Run, tmp_path: Path, how: signal.Signals
) -> None:
    """Killed twice in the middle: in the end the record holds each version once, in its order."""
    openscr("patients", "make", "--count", 40, "--seed", 11, "--out", "population").done()
    patients = list(made_population(40, 11))
    journal = tmp_path / "population" / "upload-journal.jsonl"
    with serving(tmp_path) as server:
        arguments = ["upload", "population", "--at", server.web, *GP, "--parallel", "2"]
        for answers in (8, 17):
            # At a pace at which the signal finds it at work, also on a machine that is busy with something else.
            status = cut_short([*arguments, "--rate", "8"], tmp_path, answers, how)
            assert status == (-signal.SIGKILL if how is signal.SIGKILL else 1)
        if how is signal.SIGKILL:
            # What the kill tore: a line that was being written.
            with journal.open("ab") as file:
                file.write(b'{"name": "0000/00000')
        ended = openscr(*arguments, "--json").done()
        tally = json.loads(ended.out.splitlines()[-1])
        assert tally["skipped"] >= 25
        assert tally["accepted"] + tally["skipped"] == sum(len(patient.steps) for patient in patients)
        fates = Counter(line["fate"] for line in lines_of(journal)[1:])
        assert fates["accepted"] == sum(len(patient.steps) for patient in patients)
        assert "refused" not in fates
        with Client.demo(server.web) as client:
            for patient in patients:
                if patient.state is State.OPTED_OUT:
                    continue
                events = client.list_events(patient.nhs_number).events
                uploaded = [step.event_id for step in patient.steps if step.document]
                assert Counter(event.event_id for event in events) == Counter(uploaded)
                current = [event.event_id for event in events if event.status is EventStatus.NORMAL]
                assert current == ([] if patient.state is State.WITHDRAWN else uploaded[-1:])


def test_a_message_that_was_sent_but_not_answered_is_sent_again_as_the_same(
    openscr: Run, at: tuple[str, str], tmp_path: Path
) -> None:
    """The journal of a run that ended between request and answer: the service has the message already."""
    folder = folder_of(tmp_path / "many", 1)
    openscr("upload", "many", *at).done()
    journal = folder / "upload-journal.jsonl"
    first, sending, accepted = journal.read_text().splitlines(keepends=True)
    assert '"accepted"' in accepted
    journal.write_text(first + sending)
    assert openscr("upload", "many", *at).done().out == "1 accepted, 0 refused, 0 skipped\n"
    # As another message it would have been refused: the record knows the event.
    journal.unlink()
    assert openscr("upload", "many", *at).out == "0 accepted, 1 refused, 0 skipped\n"


def test_the_service_that_is_away_ends_the_upload_and_it_goes_on(openscr: Run, tmp_path: Path) -> None:
    folder_of(tmp_path / "many", 1)
    openscr("upload", "many", "--at", "http://127.0.0.1:9").failed("nothing answers")
    with serving(tmp_path) as server:
        openscr("upload", "many", "--at", server.web).failed("is the journal of an upload")
        ended = openscr("upload", "many", "--at", server.web, "--journal", "mine.jsonl").done()
    assert ended.out == "1 accepted, 0 refused, 0 skipped\n"


def test_a_person_at_a_terminal_sees_progress(demo_server: DemoServer, tmp_path: Path) -> None:
    folder_of(tmp_path / "many", 3)
    primary, secondary = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "openscr", "upload", "many", "--at", demo_server.web, "--rate", "20"],
        cwd=tmp_path,
        env=clean_environment(TERM="xterm"),
        stdout=secondary,
        stderr=secondary,
    )
    os.close(secondary)
    shown = b""
    try:
        while chunk := os.read(primary, 4096):
            shown += chunk
    except OSError:
        # The terminal is gone when the program has ended.
        pass
    os.close(primary)
    assert process.wait(PATIENCE) == 0
    assert b"Sending" in shown
    assert b"3/3" in shown
    assert b"/s" in shown
    assert b"3 accepted, 0 refused, 0 skipped" in shown
