"""The commands of auditors and privacy officers: what they print, what they refuse. Spec: 00 §4, 35 §7, 80 §5.3."""

import asyncio
import csv
import io
import json
import sqlite3
import stat
from contextlib import closing
from dataclasses import replace
from getpass import getuser
from pathlib import Path

import pytest

from cli.conftest import Run
from openscr.store.opening import open_store
from openscr.testbench.world import demo_directory
from store.samples import PATIENT, SLOT, an_alert, an_entry, append

OFFICER = ("--user", "555000000402")


@pytest.fixture
def filled(openscr: Run, tmp_path: Path) -> Path:
    """A data folder with a directory, three rows of audit, two alerts: one of the officer's organisation."""
    (tmp_path / "openscr-data").mkdir()
    path = tmp_path / "openscr-data" / "openscr.db"
    openscr("admin", "migrate").done()
    (tmp_path / "world.json").write_bytes(demo_directory())
    openscr("directory", "import", "world.json").done()

    async def fill() -> None:
        store = open_store(str(path))
        await store.open()
        await append(store, [an_entry(number) for number in (1, 2, 3)])
        own = replace(an_alert(1), organisation="RZZ01", text=f"about {PATIENT}")
        await append(store, [own, replace(an_alert(2), organisation="Y90001")])
        await store.close()

    asyncio.run(fill())
    return path


def tamper(path: Path, statement: str) -> None:
    """Change the store as somebody would who has its rights."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def test_the_audit_is_searched(openscr: Run, filled: Path) -> None:
    """The newest first; patients are masked unless that is asked for; each search is a row itself."""
    found = openscr("admin", "audit", "search", "--json").done().json
    assert [row["action"] for row in found["rows"]] == ["upload", "upload", "upload"]
    assert not found["more"]
    assert {row["patient"] for row in found["rows"]} == {f"******{PATIENT[-4:]}"}
    ended = openscr("admin", "audit", "search", "--limit", "2").done()
    assert len(ended.out.splitlines()) == 2
    assert "there is more than these 2" in ended.err
    of_patient = openscr("admin", "audit", "search", "--patient", "--patients", stdin=f"{PATIENT}\n".encode()).done()
    assert of_patient.out.count(PATIENT) == 3
    assert openscr("admin", "audit", "search", "--patient", stdin=b"9990000026\n").done().out == "nothing was found\n"
    kept = openscr("admin", "audit", "search", "--action", "audit search", "--json").done().json["rows"]
    assert len(kept) == 4
    assert all(row["operator"] for row in kept)
    ended = openscr("admin", "audit", "search", "--patient", stdin=b"999000001\n").failed("ten digits", status=2)
    assert "999000001" not in ended.err
    openscr("admin", "audit", "search", "--since", "yesterday").failed("a time is 2026-11-22", status=2)
    inside = ("admin", "audit", "search", "--since", "2026-05-04", "--until", "2026-05-04", "--json")
    assert len(openscr(*inside).done().json["rows"]) == 3
    assert openscr(*inside, "--out-of-hours").done().json["rows"] == []


def test_the_audit_is_taken_away(openscr: Run, filled: Path, tmp_path: Path) -> None:
    """To the output or to a file for its owner alone, which is never written over."""
    rows = list(csv.DictReader(io.StringIO(openscr("admin", "audit", "export").done().out)))
    assert [row["action"] for row in rows] == ["upload"] * 3
    assert openscr("admin", "audit", "export", "--format", "json", "--out", "a.jsonl").done().out.startswith("4 rows")
    assert stat.S_IMODE((tmp_path / "a.jsonl").stat().st_mode) == 0o600
    openscr("admin", "audit", "export", "--out", "a.jsonl").failed("File exists")
    for form in ("fhir", "fhir-bundle"):
        text = openscr("admin", "audit", "export", "--format", form, "--patients").done().out
        assert PATIENT in text
        assert json.loads(text.splitlines()[0] if form == "fhir" else text)
    openscr("admin", "audit", "export", "--format", "xml").failed("a format is one of csv", status=2)


def test_a_patients_report(openscr: Run, filled: Path) -> None:
    """In words, for one number that stands in no command line; the report is in the patient's audit."""
    first = openscr("admin", "audit", "report", "--json", stdin=PATIENT.encode()).done().json
    assert [line["what"] for line in first] == ["upload"] * 3
    again = openscr("admin", "audit", "report", stdin=PATIENT.encode()).done()
    assert again.out.splitlines()[-1].split("\t")[1] == "this report made"
    assert PATIENT not in again.out
    nobody = openscr("admin", "audit", "report", stdin=b"9990000026").done()
    assert nobody.out == "nobody has looked at or changed this record\n"


def test_a_checkpoint(openscr: Run, filled: Path, tmp_path: Path) -> None:
    """Made, held against, missed; never written over."""
    made = openscr("admin", "audit", "checkpoint", "--out", "point.json", "--json").done().json
    assert (made["rows"], made["chains"]) == (3, 1)
    openscr("admin", "audit", "checkpoint", "--out", "point.json").failed("File exists")
    assert "intact" in openscr("admin", "verify", "--checkpoint", "point.json").done().out
    (tmp_path / "broken.json").write_text((tmp_path / "point.json").read_text().replace(f"[{SLOT},3,", f"[{SLOT},2,"))
    openscr("admin", "verify", "--checkpoint", "broken.json").failed("does not fit its own digest")
    tamper(filled, "DELETE FROM audit")
    tamper(filled, "DELETE FROM chain")
    assert "intact" in openscr("admin", "verify").done().out
    ended = openscr("admin", "verify", "--checkpoint", "point.json").failed("NOT intact: 1 fault")
    assert f"slot {SLOT}: audit row 3 of the checkpoint is missing" in ended.out


def test_alerts_are_listed_by_the_operator_and_handled_by_officers(openscr: Run, filled: Path) -> None:
    """Without a role profile there is a list and no more; with one the policy decides."""
    everything = openscr("admin", "alerts", "--json").done().json
    assert openscr("admin", "alerts", "list", "--json").done().json == everything
    assert {alert["organisation"] for alert in everything} == {"RZZ01", "Y90001"}
    assert PATIENT not in json.dumps(everything)
    (own,) = openscr("admin", "alerts", "list", *OFFICER, "--json").done().json["alerts"]
    assert own["organisation"] == "RZZ01"
    other = next(alert["id"] for alert in everything if alert["id"] != own["id"])
    for command in (("show", own["id"]), ("change", own["id"], "--to", "closed"), ("subscriptions",)):
        openscr("admin", "alerts", *command).failed("only an officer may do this", status=2)
    shown = openscr("admin", "alerts", "show", own["id"].lower(), *OFFICER).done().out
    assert f"patient: {PATIENT}" in shown
    denied = openscr("admin", "alerts", "show", other, *OFFICER).failed("not permitted").err
    assert openscr("admin", "alerts", "show", "nonsense", *OFFICER).failed().err == denied
    openscr("admin", "alerts", "show", own["id"], "--user", "555000000302").failed("not permitted")
    openscr("admin", "alerts", "show", own["id"], "--user", "1").failed("knows no such role profile")

    change = ("admin", "alerts", "change", own["id"])
    openscr(*change, "--to", "closed", *OFFICER).failed("A note is required", status=2)
    openscr(*change, "--to", "open", *OFFICER).failed("a state is one of", status=2)
    openscr(*change, "--to", "closed", "--note", "n", *OFFICER).failed("1 of 1 alerts was not changed")
    openscr(*change, "--to", "under-investigation", "--version", "7", *OFFICER).failed("not changed")
    ended = openscr(*change, other, "--to", "under-investigation", *OFFICER).failed("1 of 2 alerts was not changed")
    assert [line.split()[1] for line in ended.out.splitlines()] == ["changed", "denied"]
    assert openscr(*change, "--to", "closed", "--note", "seen", *OFFICER, "--json").done().json[0]["state"] == "closed"
    assert "under-investigation -> closed" in openscr("admin", "alerts", "show", own["id"], *OFFICER).done().out
    steps = openscr("admin", "audit", "export", "--format", "json").done().out.splitlines()
    changes = [step for step in map(json.loads, steps) if step["action"] == "alert change"]
    # Both names, and no system: none has sent anything.
    assert {(step["user_id"], step["operator"], "asid" in step) for step in changes} == {
        ("555000000401", getuser(), False)
    }
    openscr("admin", "alerts", "--json", "list").failed("options stand behind the command", status=2)
    openscr("admin", "alerts", "list", "--state", "new").failed("go with --user", status=2)
    assert "intact" in openscr("admin", "verify").done().out


def test_officers_register_to_be_told(openscr: Run, filled: Path) -> None:
    """Where the operator allows it; a webhook's secret is printed once."""
    subscribe = ("admin", "alerts", "subscribe", *OFFICER)
    openscr(*subscribe, "--email", "officer@nhs.test").failed("no mail server")
    openscr(*subscribe, "--webhook", "https://hooks.nhs.test/a").failed("webhook_hosts")
    openscr(*subscribe).failed("--email or --webhook", status=2)
    openscr(*subscribe, "--email", "officer@nhs.test", OPENSCR_SMTP="smtp://mail.nhs.test").done()
    made = openscr(
        *subscribe, "--webhook", "https://hooks.nhs.test/a", "--json", OPENSCR_WEBHOOK_HOSTS="hooks.nhs.test"
    ).done().json  # fmt: skip
    assert len(made["secret"]) == 64
    listed = openscr("admin", "alerts", "subscriptions", *OFFICER, "--json").done()
    assert [each["channel"] for each in listed.json] == ["email", "webhook"]
    assert made["secret"] not in listed.out
    openscr("admin", "alerts", "unsubscribe", made["id"], *OFFICER).done()
    openscr("admin", "alerts", "unsubscribe", made["id"], *OFFICER).failed("not permitted")
    kept = openscr("admin", "audit", "export", "--format", "json").done().out.splitlines()
    ended = [step for step in map(json.loads, kept) if step["action"] == "alert unsubscribe"]
    assert {(step["operator"], step["subscription"]) for step in ended} == {(getuser(), made["id"])}
    assert len(openscr("admin", "alerts", "subscriptions", *OFFICER, "--json").done().json) == 1


def test_what_a_sender_wrote_tells_no_patient_and_moves_no_cursor(openscr: Run, filled: Path) -> None:
    """Names, references and displays are its sender's words; an opened alert shows them, on one line each."""
    details = {"reference": PATIENT, "user/name": f"for {PATIENT}", "reason/display": PATIENT, "author": "x"}
    text = "all well\nstate: closed\x1b[2K\u202e"
    with closing(sqlite3.connect(filled, isolation_level=None)) as connection:
        connection.execute("UPDATE alert SET text = ?, details = ?", (text, json.dumps(details).encode()))
    listed = openscr("admin", "alerts", "--json").done()
    assert PATIENT not in listed.out
    assert all(alert["details"] == {"author": "x"} for alert in listed.json)
    (own,) = openscr("admin", "alerts", "list", *OFFICER, "--json").done().json["alerts"]
    shown = openscr("admin", "alerts", "show", own["id"], *OFFICER).done().out
    assert f"reference: {PATIENT}" in shown
    assert "text: all well state: closed [2K " in shown
    assert shown.count("state: ") == 2
    assert not {"\x1b", "\u202e"} & set(shown)
