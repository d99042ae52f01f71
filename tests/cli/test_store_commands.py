"""The commands on the store: certificates, directory, patient index, schema, proof. Spec: 00 §4, §6.3, §6.4."""

import asyncio
import json
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from cryptography import x509

from cli.conftest import Run
from openscr.cli.directory import _import as import_directory
from openscr.cli.directory import _read as read_directory
from openscr.directory import form
from openscr.directory.form import merge
from openscr.directory.form import read_directory as entries
from openscr.store.interface import OutboxState
from openscr.store.opening import open_store
from openscr.testbench.world import demo_directory
from serving import DemoServer, serving
from shared import MESSAGES
from store.samples import an_id, an_outbox_row, append

EMPTY = {"format": "openscr-directory/1"}


@pytest.fixture
def world(tmp_path: Path) -> dict[str, object]:
    """The demo's directory as a value, written to ``world.json``."""
    (tmp_path / "world.json").write_bytes(demo_directory())
    return json.loads(demo_directory())


# --- pki ------------------------------------------------------------------------------------------------------------


def test_certificates_are_issued_shown_and_renewed(openscr: Run, tmp_path: Path) -> None:
    assert openscr("pki", "show").done().out == "no certificates in openscr-data/pki\n"
    issued = openscr("pki", "issue", "gp.test", "--also", "127.0.0.1", "--use", "both", "--json").done().json
    certificate = tmp_path / issued["certificate"]
    old = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert (tmp_path / issued["key"]).stat().st_mode & 0o077 == 0

    assert "certificate openscr-data/pki/gp.test.pem" in openscr("pki", "renew", "gp.test", "--days", "9").done().out
    new = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert (old.subject, old.public_key()) == (new.subject, new.public_key())
    assert new.not_valid_after_utc < old.not_valid_after_utc
    assert old.serial_number != new.serial_number

    shown = {line.split("\t")[0] for line in openscr("pki", "show").done().out.splitlines()}
    assert shown == {"ca", "gp.test"}
    assert {one["name"] for one in openscr("pki", "show", "--json").done().json} == shown
    openscr("pki", "renew", "nobody").failed("nobody.pem cannot be read")
    openscr("pki", "issue", "../x").failed("a name holds letters")


def test_certificates_are_revoked_and_shown_as_such(openscr: Run, tmp_path: Path) -> None:
    """The list is made with the first revocation; a key that was revoked is not used again."""
    openscr("pki", "issue", "gp.test", "--key-type", "ec").done()
    key = (tmp_path / "openscr-data/pki/gp.test.key").read_bytes()
    (one,) = (one for one in openscr("pki", "show", "--json").done().json if one["name"] == "gp.test")
    assert (one["state"], one["key"], one["names"], one["days_left"]) == ("good", "EC secp256r1", ["gp.test"], 824)
    told = openscr("pki", "revoke", "gp.test", "--json").done().json
    assert told["revoked"] == [one["serial"]]
    revocation = x509.load_pem_x509_crl((tmp_path / told["crl"]).read_bytes())
    assert [f"{each.serial_number:X}" for each in revocation] == [one["serial"]]
    shown = {line.split("\t")[0]: line.split("\t")[4] for line in openscr("pki", "show").done().out.splitlines()}
    assert shown == {"ca": "good", "gp.test": "revoked"}
    openscr("pki", "renew", "gp.test").done()
    assert (tmp_path / "openscr-data/pki/gp.test.key").read_bytes() != key
    openscr("pki", "renew", "gp.test", "--new-key", "--days", "20").done()
    again = openscr("pki", "revoke", "gp.test", "--serial", one["serial"].lower()).done()
    assert "certificates on it: 1" in again.out
    shown_again = openscr("pki", "show").done()
    assert shown_again.err == "gp.test ends in 19 days: openscr pki renew gp.test\n"
    assert openscr("pki", "crl", "--days", "5", "--json").done().json["revoked"] == [one["serial"]]
    assert "the revocation list ends in 4 days: openscr pki crl" in openscr("pki", "show").done().err
    openscr("pki", "revoke", "nobody").failed("nobody.pem cannot be read")
    openscr("pki", "revoke", "ca").failed("was not issued by an authority")
    openscr("pki", "revoke", "gp.test", "--serial", "xyz").failed("hexadecimal", status=2)


# --- directory ------------------------------------------------------------------------------------------------------


def test_a_directory_goes_in_and_comes_out_again(openscr: Run, world: dict[str, object], tmp_path: Path) -> None:
    openscr("directory", "show").failed("does not exist")
    assert "entries imported" in openscr("directory", "import", "world.json").done().out
    (tmp_path / "again.json").write_text(openscr("directory", "export").done().out)
    assert openscr("directory", "import", "again.json", "--replace", "--json").done().json["imported"] > 0
    assert openscr("directory", "export").done().out == (tmp_path / "again.json").read_text()
    shown = openscr("directory", "show").done().out
    for word in ("YES-0000806", "Demo Practice", "200000000115", "app-viewer", "555000000102", "inbox:"):
        assert word in shown
    assert json.loads(openscr("directory", "show", "--json").done().out)["format"] == "openscr-directory/1"


def test_an_import_adds_and_a_replacement_removes(openscr: Run, world: dict[str, object]) -> None:
    openscr("directory", "import", "world.json").done()
    openscr("directory", "import", MESSAGES / "directory.json").done()
    assert "example-gp" in openscr("directory", "show").done().out
    assert "app-viewer" in openscr("directory", "show").done().out
    openscr("directory", "import", "world.json", "--replace").done()
    assert "example-gp" not in openscr("directory", "show").done().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "other/1"}, "/format"),
        ({"parties": []}, "exactly one party"),
        ({"more": 1}, "unknown member"),
        ({"systems": []}, "there is no system of the own party YES-0000806"),
    ],
)
def test_a_wrong_directory_is_told_by_its_place_and_nothing_is_written(
    openscr: Run, world: dict[str, object], tmp_path: Path, change: dict[str, object], said: str
) -> None:
    openscr("directory", "import", "world.json").done()
    before = openscr("directory", "export").done().out
    (tmp_path / "wrong.json").write_text(json.dumps(world | change))
    openscr("directory", "import", "wrong.json", "--replace").failed("directory, /" if said[0] == "/" else "", said)
    assert openscr("directory", "export").done().out == before
    openscr("directory", "import", "missing.json").failed("missing.json: No such file")


def test_an_import_that_comes_between_is_not_lost(
    world: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another import writes after ours has read is in the result of ours."""
    store = f"sqlite:///{tmp_path}/openscr.db"
    monkeypatch.chdir(tmp_path)
    asyncio.run(import_directory(entries(demo_directory()), None, store, replace=False))
    between = [json.dumps({**EMPTY, "parties": [{"party_key": "B-1", "ods": "B", "name": "Between"}]}).encode()]

    def merge_late(*arguments: object, **named: object) -> object:
        merged = merge(*arguments, **named)  # type: ignore[arg-type]
        if between:
            other = import_directory(entries(between.pop()), None, store, replace=False)
            thread = threading.Thread(target=asyncio.run, args=(other,))
            thread.start()
            thread.join()
        return merged

    monkeypatch.setattr(form, "merge", merge_late)
    ours = {**EMPTY, "parties": [{"party_key": "O-1", "ods": "O", "name": "Ours"}]}
    asyncio.run(import_directory(entries(json.dumps(ours).encode()), None, store, replace=False))
    directory = asyncio.run(read_directory(None, store))
    assert {"B-1", "O-1", "YES-0000806"} <= set(directory.parties)


@pytest.mark.parametrize("form", ["json", "ldap", "ldif"])
def test_every_form_of_an_export_imports_as_the_same_directory(
    openscr: Run, world: dict[str, object], tmp_path: Path, form: str
) -> None:
    """What the file is, it says itself. Spec: 00 §6.3."""
    openscr("directory", "import", "world.json").done()
    before = openscr("directory", "export").done().out
    (tmp_path / "exported").write_text(openscr("directory", "export", "--format", form).done().out)
    imported = openscr("directory", "import", "exported", "--replace", "--json").done().json
    assert imported["remarks"] == []
    assert openscr("directory", "export").done().out == before


def test_a_dump_with_something_of_other_services_is_imported_and_what_is_left_out_is_told(
    openscr: Run, world: dict[str, object], tmp_path: Path
) -> None:
    openscr("directory", "import", "world.json").done()
    system = {"objectClass": ["nhsAs"], "uniqueIdentifier": ["1"], "nhsIDCode": ["A1"], "nhsMHSPartyKey": ["A1-1"]}
    system["nhsAsSvcIA"] = ["urn:nhs:names:services:nrl:DocumentReference.read"]
    dump = {"entries": [{"dn": "uniqueIdentifier=1,ou=services,o=nhs", "raw": system}]}
    (tmp_path / "dump.json").write_text(json.dumps(dump))
    ended = openscr("directory", "import", "dump.json").done()
    assert "2 entries imported" in ended.out
    assert "none of Spine's messages is left out" in ended.err
    assert "A1-1" in openscr("directory", "show").done().out


def test_the_schema_is_printed_for_openldap(openscr: Run) -> None:
    assert "NAME 'nhsMhs'" in openscr("directory", "export", "--schema").done().out


def test_a_running_service_notices_a_new_directory(openscr: Run, tmp_path: Path) -> None:
    """The same request is refused until the service has looked, which it does within two seconds."""
    new = ("--directory", MESSAGES / "directory.json", "--as", "example-gp")
    with serving(tmp_path) as server:
        openscr("list", "9990012318", "--at", server.web, *new).failed("SOAP fault 300")
        openscr("directory", "import", MESSAGES / "directory.json", "--data", server.data).done()
        for _ in range(20):
            ended = openscr("list", "9990012318", "--at", server.web, *new)
            if ended.status == 0:
                break
        ended.done()


# --- patients -------------------------------------------------------------------------------------------------------


def test_a_patient_index_goes_in(openscr: Run, tmp_path: Path) -> None:
    (tmp_path / "patients.jsonl").write_text(
        '{"nhs_number": "9990012318", "name": {"given": "Mary", "family": "Sample"}}\n'
        '{"nhs_number": "9990012342", "status": "merged", "survivor": "9990012318"}\n'
    )
    assert openscr("patients", "import", "patients.jsonl").done().out == "2 patients imported\n"
    assert openscr("patients", "import", "patients.jsonl", "--json").done().json == {"imported": 2}


def test_a_wrong_line_is_told_by_its_number_only(openscr: Run, tmp_path: Path) -> None:
    (tmp_path / "patients.jsonl").write_text('{"nhs_number": "9990012318"}\n{"nhs_number": "9990012319"}\n')
    ended = openscr("patients", "import", "patients.jsonl").failed("patient index, line 2")
    assert "9990012319" not in ended.err
    assert not (tmp_path / "openscr-data").exists()


# --- the data folder --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ("admin", "migrate"),
        ("directory", "import", "world.json"),
        ("patients", "import", "patients.jsonl"),
        ("pki", "issue", "gp.test"),
    ],
    ids=" ".join,
)
def test_whoever_makes_the_data_folder_makes_it_for_its_owner(
    openscr: Run, world: dict[str, object], tmp_path: Path, command: tuple[str, ...]
) -> None:
    (tmp_path / "patients.jsonl").write_text('{"nhs_number": "9990012318"}\n')
    openscr(*command, "--data", "new/data").done()
    assert (tmp_path / "new" / "data").stat().st_mode & 0o777 == 0o700
    (tmp_path / "old").mkdir()
    (tmp_path / "old").chmod(0o750)
    openscr(*command, "--data", "old").done()
    assert (tmp_path / "old").stat().st_mode & 0o777 == 0o750


# --- admin ----------------------------------------------------------------------------------------------------------


def test_migrate_says_what_it_did(openscr: Run, tmp_path: Path) -> None:
    assert openscr("admin", "migrate").done().out.startswith("schema created (")
    assert openscr("admin", "migrate").done().out.startswith("the schema is up to date (")
    form = openscr("admin", "migrate", "--store", f"sqlite:///{tmp_path}/other.db", "--json").done().json
    assert (form["before"], form["changed"]) == (None, True)
    (tmp_path / "text").write_text("no database, whatever its name says" * 10)
    openscr("admin", "migrate", "--store", "text").failed("is not a SQLite database")


def test_verify_proves_a_store_that_is_in_use(openscr: Run, demo_server: DemoServer) -> None:
    form = openscr("admin", "verify", "--data", demo_server.data, "--json").done().json
    assert form["intact"] is True
    assert form["faults"] == []
    assert min(form["events"], form["messages"], form["audit_rows"]) > 40
    assert openscr("admin", "verify", "--data", demo_server.data).done().out.endswith("the store is intact\n")


def test_verify_finds_one_changed_byte(openscr: Run, tmp_path: Path) -> None:
    with serving(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "data" / "openscr.db")) as database, database:
        (slot, sequence, content) = database.execute("SELECT slot, sequence, content FROM audit LIMIT 1").fetchone()
        changed = bytes([content[0] ^ 1]) + content[1:]
        database.execute("UPDATE audit SET content = ? WHERE slot = ? AND sequence = ?", (changed, slot, sequence))
    ended = openscr("admin", "verify", "--data", tmp_path / "data").failed("NOT intact")
    assert f"slot {slot}" in ended.out


def test_a_schema_that_lacks_something_is_one_fault(openscr: Run, tmp_path: Path) -> None:
    """And a schema that cannot be brought up to date is told in one line."""
    openscr("admin", "migrate").done()
    path = tmp_path / "openscr-data" / "openscr.db"
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP TABLE poll")
    form = openscr("admin", "verify", "--json").failed("NOT intact: 1 fault").json
    assert form["faults"] == ["schema: no such table: poll; nothing further was looked at"]
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("CREATE TABLE poll (slot INTEGER)")
        database.execute("UPDATE alembic_version SET version_num = '0001'")
    openscr("admin", "migrate").failed("does not fit", "poll")
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DELETE FROM alembic_version")
    openscr("admin", "migrate").failed("does not say which schema it has")


def test_a_store_that_is_not_there_is_told(openscr: Run) -> None:
    for command in (("verify",), ("outbox", "list"), ("outbox", "resend", "--failed")):
        openscr("admin", *command, "--data", "nowhere").failed("does not exist")


def test_a_damaged_message_is_listed_and_left_alone(openscr: Run, tmp_path: Path) -> None:
    """One row that cannot be read hides no other one, and is proof that the store is not intact."""
    store = f"sqlite:///{tmp_path}/openscr.db"
    asyncio.run(_fill_outbox(store))
    with closing(sqlite3.connect(tmp_path / "openscr.db")) as database, database:
        database.execute("UPDATE outbox SET body = x'00' WHERE id = ?", (an_id(1),))
    listed = openscr("admin", "outbox", "list", "--store", store, "--json").done().json
    assert {one["message_id"]: one["state"] for one in listed} == {an_id(1): "damaged", an_id(2): "failed"}
    assert openscr("admin", "outbox", "list", "--store", store).done().out.count("\n") == 2

    ended = openscr("admin", "outbox", "resend", "--failed", "--store", store).failed(
        "damaged, cannot be sent", an_id(1)
    )
    assert ended.out == "1 to be sent again\n"
    openscr("admin", "outbox", "resend", an_id(1), "--store", store).failed("damaged, cannot be sent")
    ended = openscr("admin", "verify", "--store", store).failed("NOT intact")
    assert f"outbox {an_id(1)}: stored bytes are damaged" in ended.out


async def _fill_outbox(url: str) -> None:
    store = open_store(url)
    await store.open()
    try:
        await append(store, [an_outbox_row(number, state=OutboxState.FAILED, body=b"x" * 99) for number in (1, 2)])
    finally:
        await store.close()
