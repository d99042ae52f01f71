"""The client commands against a running service. Spec: 00 §4."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import Run
from client.stories import document_of, new_patient, summary
from openscr.cli.get import _as_json
from openscr.codes import INITIAL_UPLOAD, POLLING_UPLOAD, UPLOAD, WITHDRAW_INITIAL
from openscr.hl7.gp_summary import write_upload
from openscr.hl7.wrapper import Heading
from openscr.identifiers import mint_uuid
from openscr.spine import Person
from openscr.testbench.world import demo_directory
from openscr.transport.xml import read_xml
from serving import DemoServer, clean_environment
from shared import MESSAGES

GP = ("--user", "555000000102")
EXAMPLES = MESSAGES / "gp-summary"


@pytest.fixture
def at(demo_server: DemoServer) -> tuple[str, str]:
    return "--at", demo_server.web


@pytest.fixture
def record(openscr: Run, at: tuple[str, str], tmp_path: Path) -> tuple[str, str]:
    """A patient with one summary: number and event id."""
    nhs_number = new_patient()
    content = summary(nhs_number)
    (tmp_path / "summary.xml").write_bytes(document_of(content))
    openscr("upload", "summary.xml", *at, *GP).done()
    return nhs_number, content.event_id


# --- list, get ------------------------------------------------------------------------------------------------------


def test_list_prints_a_line_for_every_event(openscr: Run, at: tuple[str, str]) -> None:
    lines = openscr("list", "999 001 2318", *at).done().out.splitlines()
    assert [line.split("\t")[1] for line in lines] == ["Normal", "Replaced", "Replaced"]
    assert all(len(line.split("\t")) == 4 for line in lines)


def test_list_says_everything_to_programs(openscr: Run, at: tuple[str, str]) -> None:
    form = openscr("list", "9990012318", *at, "--json").done().json
    assert (form["ack"], form["refusal"], form["issues"]) == ("AA", None, [])
    newest = form["events"][0]
    assert set(newest) == {"event_id", "type", "type_name", "status", "stored_at", "withdrawing_event_id"}
    assert (newest["type_name"], newest["status"]) == ("General Practice Summary", "Normal")


def test_no_record_is_no_failure_of_a_list(openscr: Run, at: tuple[str, str]) -> None:
    assert openscr("list", "9990012334", *at).done().out == "no record\n"
    form = openscr("list", "9990012334", *at, "--json").done().json
    assert (form["refusal"], form["events"]) == ("no record", [])


def test_a_refusal_is_one_line_and_ends_with_one(openscr: Run, at: tuple[str, str]) -> None:
    ended = openscr("list", "9990012326", *at).failed("access denied: AE 420", "30418")
    assert ended.out == ""
    machine = openscr("list", "9990012326", *at, "--json").failed("access denied")
    assert machine.json["refusal"] == "access denied"
    assert [issue["code"] for issue in machine.json["issues"]] == ["420", "30418"]
    openscr("list", "9990012342", *at).failed("conflict: AE 410", "30307")
    openscr("list", "9990012319", *at).failed("invalid request: AE 400", "35160")


def test_get_prints_the_current_summary_to_be_read(openscr: Run, at: tuple[str, str]) -> None:
    text = openscr("get", "9990012318", *at).done().out
    assert text.startswith("General Practice Summary\n=====")
    assert "\x1b" not in text


def test_get_prints_a_page(openscr: Run, at: tuple[str, str]) -> None:
    page = openscr("get", "9990012318", *at, "--format", "html").done().out
    assert page.startswith("<!doctype html>")
    assert page.endswith("</html>\n")
    assert "<script" not in page


def test_get_prints_the_document_as_it_is_stored(openscr: Run, at: tuple[str, str], record: tuple[str, str]) -> None:
    nhs_number, event_id = record
    document = openscr("get", nhs_number, *at, "--event", event_id.lower(), "--format", "xml").done().out
    root = read_xml(document.encode())
    assert root.find("{*}id").get("root") == event_id
    form = openscr("get", nhs_number, *at, "--format", "xml", "--json").done().json
    assert (form["event"]["event_id"], form["document"] + "\n") == (event_id, document)


def test_get_of_what_is_not_there_is_told(openscr: Run, at: tuple[str, str]) -> None:
    openscr("get", "9990012334", *at).failed("no record")
    openscr("get", "9990012318", *at, "--event", mint_uuid()).failed("conflict: AE 410", "30308")


def test_an_override_opens_what_a_no_has_closed(openscr: Run, at: tuple[str, str]) -> None:
    viewer = ("--as", "app-viewer", "--user", "555000000502")
    why = ("--override", "2", "--override-text", "Access required by statute: a test")
    assert "General Practice Summary" in openscr("get", "9990012326", *at, *viewer, *why).done().out
    openscr("get", "9990012326", *at, *GP, *why).failed("access denied")
    assert openscr("list", "9990012326", *at, *viewer, *why).done().out.count("\n") == 1


# --- upload, withdraw -----------------------------------------------------------------------------------------------


def test_upload_says_what_the_record_says(openscr: Run, at: tuple[str, str], tmp_path: Path) -> None:
    nhs_number = new_patient()
    content = summary(nhs_number)
    (tmp_path / "one.xml").write_bytes(document_of(content))
    assert openscr("upload", "one.xml", *at).done().out == "one.xml: AA GP Summary upload successful\n"
    openscr("upload", "one.xml", *at).failed("one.xml: invalid request: AE 401")

    form = openscr("upload", "one.xml", *at, "--json").json
    assert (form["input"], form["delivered"], form["interaction"]) == ("one.xml", True, UPLOAD)
    assert form["acknowledgement"]["ack"] == "AE"
    assert form["acknowledgement"]["message_ref"] == content.event_id


def test_what_has_faults_is_not_sent_unless_it_is_said(openscr: Run, at: tuple[str, str], tmp_path: Path) -> None:
    """Spec: 10 §16."""
    document = (
        document_of(summary(new_patient())).replace(b"<head/>", b"").replace(b"<body>", b"<body><h1>Loud</h1>", 1)
    )
    (tmp_path / "loud.xml").write_bytes(document)
    openscr("upload", "loud.xml", *at).failed("body has no place for h1")
    assert openscr("upload", "loud.xml", *at, "--json").json["error"]["code"] == "NOT_SENT"
    openscr("upload", "loud.xml", *at, "--check", "spine").done()
    (tmp_path / "broken.xml").write_bytes(document.replace(b'<statusCode code="active"/>', b"", 1))
    openscr("upload", "broken.xml", *at, "--check", "spine").failed("gp-G4")
    openscr("upload", "broken.xml", *at, "--check", "none").failed("invalid request: AE 401")
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / "loud.xml").write_bytes(document)
    openscr("upload", "many", *at).failed("body has no place for h1")


def test_upload_reads_standard_input_folders_and_many_files(openscr: Run, at: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "many").mkdir()
    for name in ("a.xml", "b.xml"):
        (tmp_path / "many" / name).write_bytes(document_of(summary(new_patient())))
    (tmp_path / "many" / "notes.txt").write_text("not sent")
    ended = openscr("upload", "-", "many", *at, stdin=document_of(summary(new_patient()))).done()
    assert [line.split(":")[0] for line in ended.out.splitlines()] == ["standard input", "many/a.xml", "many/b.xml"]


def test_what_cannot_be_sent_does_not_stop_the_rest(openscr: Run, at: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "good.xml").write_bytes(document_of(summary(new_patient())))
    (tmp_path / "broken.xml").write_text("<GPSummary")
    withdrawal = EXAMPLES / "04-withdrawal_REPC_IN150018UK02.xml"
    ended = openscr("upload", "broken.xml", "missing.xml", withdrawal, "good.xml", *at)
    assert ended.status == 1
    assert ended.out == "good.xml: AA GP Summary upload successful\n"
    broken, missing, other, total = ended.err.splitlines()
    assert broken == "openscr: broken.xml: XML is not well-formed (line 1)"
    assert missing == "openscr: missing.xml: No such file or directory"
    assert "neither" in other
    assert total == "openscr: 3 of 4 not accepted"


def test_a_name_that_is_not_utf_8_is_written_all_the_same(openscr: Run, at: tuple[str, str]) -> None:
    ended = openscr("upload", os.fsdecode(b"caf\xe9.xml"), "--json", *at)
    assert ended.status == 1
    assert json.loads(ended.out)["input"] == "caf\ufffd.xml"


@pytest.mark.parametrize("command", ["upload", "validate"])
def test_standard_input_that_is_closed_is_told(openscr: Run, at: tuple[str, str], tmp_path: Path, command: str) -> None:
    arguments = [sys.executable, "-m", "openscr", command, "-", *(at if command == "upload" else ())]
    # The shell closes it; a program that starts others always gives them one.
    closed = ["sh", "-c", 'exec "$@" <&-', "sh", *arguments]
    ended = subprocess.run(closed, capture_output=True, text=True, env=clean_environment(), cwd=tmp_path, check=False)
    assert ended.returncode == 1
    assert "closed" in ended.stdout + ended.stderr
    assert "unexpected" not in ended.stderr


def test_the_name_says_what_form_a_file_has(openscr: Run, at: tuple[str, str], tmp_path: Path) -> None:
    """An empty file, one in another encoding, one too deep: told as what they should be, plainly."""
    (tmp_path / "empty.json").write_bytes(b"")
    (tmp_path / "wide.json").write_bytes('{"format": "openscr-summary/1"}'.encode("utf-16"))
    (tmp_path / "deep.toml").write_text(f"a = {'[' * 20_000}{']' * 20_000}")
    openscr("upload", "empty.json", *at).failed("empty.json: /: not JSON")
    openscr("upload", "wide.json", *at).failed("wide.json: /: not UTF-8")
    openscr("upload", "deep.toml", *at).failed("deep.toml: /: not TOML: a nesting that no summary has")
    (tmp_path / "many").mkdir()
    (tmp_path / "empty.json").rename(tmp_path / "many" / "empty.json")
    ended = openscr("upload", "many", *at)
    assert ended.status == 1
    assert "not JSON" in ended.out + ended.err


def test_many_files_end_when_the_service_cannot_be_reached(
    openscr: Run, demo_server: DemoServer, tmp_path: Path
) -> None:
    """Each would take its whole contract; what was not tried is counted."""
    for name in "abcde":
        (tmp_path / f"{name}.xml").write_bytes(document_of(summary(new_patient())))
    cert, key, ca = demo_server.certificate("foreign")
    tls = ("--at", demo_server.spine, "--cert", cert, "--key", key, "--ca", ca)
    directory = json.loads(demo_directory())
    for contract in directory["contracts"].values():
        if "retries" in contract:
            contract["retry_interval"] = "PT0.01S"
    (tmp_path / "world.json").write_text(json.dumps(directory))
    ended = openscr("upload", *(f"{name}.xml" for name in "abcde"), *tls, "--directory", "world.json")
    assert ended.status == 1
    *each, left, total = ended.err.splitlines()
    assert [line.split(":")[1] for line in each] == [" a.xml", " b.xml", " c.xml"]
    assert left == "openscr: the service was not reached 3 times running: 2 not sent"
    assert total == "openscr: 3 of 5 not accepted"


def test_an_interaction_of_the_app_goes_byte_for_byte(openscr: Run, at: tuple[str, str], tmp_path: Path) -> None:
    content = summary(new_patient())
    person = Person("555000000101", "555000000102", "R8000")
    heading = Heading(mint_uuid(), "20260302103000", "V3NPfIT4.2.00", "200000000100", "200000000115")
    (tmp_path / "whole.xml").write_bytes(write_upload(UPLOAD, heading, document_of(content), person))
    ended = openscr("upload", "whole.xml", *at, "--json", "-v").done()
    assert ended.json["acknowledgement"]["message_ref"] == heading.message_id
    assert "byte for byte" in ended.err


@pytest.mark.parametrize("extra", [(), GP], ids=["another sender", "another person"])
def test_otherwise_the_summary_is_taken_out_and_sent_afresh(
    openscr: Run, at: tuple[str, str], tmp_path: Path, extra: tuple[str, ...]
) -> None:
    content = summary(new_patient())
    sender = "200000000115" if extra else "200000000101"
    heading = Heading(mint_uuid(), "20260302103000", "V3NPfIT4.2.00", "200000000100", sender)
    (tmp_path / "whole.xml").write_bytes(write_upload(UPLOAD, heading, document_of(content), None))
    ended = openscr("upload", "whole.xml", *at, *extra, "--json", "-v").done()
    assert ended.json["acknowledgement"]["message_ref"] == content.event_id
    assert "in a message of our own" in ended.err


def test_upload_polls_where_it_is_told_to(openscr: Run, at: tuple[str, str], tmp_path: Path) -> None:
    """The polling channel has its own interaction: a message of the other channel goes in one of our own."""
    content = summary(new_patient())
    (tmp_path / "one.xml").write_bytes(document_of(content))
    form = openscr("upload", "one.xml", *at, "--pattern", "polling", "--json").done().json
    assert (form["interaction"], form["acknowledgement"]["ack"]) == (POLLING_UPLOAD, "AA")
    heading = Heading(mint_uuid(), "20260302103000", "V3NPfIT4.2.00", "200000000100", "200000000115")
    for name, said in ((UPLOAD, "in a message of our own"), (POLLING_UPLOAD, "byte for byte")):
        document = document_of(summary(new_patient()))
        (tmp_path / "whole.xml").write_bytes(write_upload(name, heading, document, None))
        ended = openscr("upload", "whole.xml", *at, "--pattern", "polling", "--json", "-v").done()
        assert ended.json["interaction"] == POLLING_UPLOAD
        assert said in ended.err
    openscr("upload", "one.xml", *at, "--pattern", "pigeon").failed("pigeon", status=2)


def test_withdraw_knows_an_initial_summary(openscr: Run, at: tuple[str, str], tmp_path: Path) -> None:
    """Initial summaries have a withdrawal of their own; where the record may not tell, --initial says so."""
    said_no = new_patient()
    for nhs_number, extra in ((new_patient(), ()), (said_no, ("--initial",))):
        content = summary(nhs_number, initial=True)
        (tmp_path / "initial.xml").write_bytes(document_of(content))
        assert openscr("upload", "initial.xml", *at, "--json").done().json["interaction"] == INITIAL_UPLOAD
        arguments = ("withdraw", nhs_number, content.event_id, "--reason", "01", *at, *GP, "--json")
        if extra:
            openscr("consent", "set", nhs_number, "no", *at, *GP).done()
            openscr(*arguments).failed("conflict: AE 430")
        form = openscr(*arguments, *extra).done().json
        assert (form["interaction"], form["acknowledgement"]["ack"]) == (WITHDRAW_INITIAL, "AA")


def test_withdraw_takes_a_summary_out(openscr: Run, at: tuple[str, str], record: tuple[str, str]) -> None:
    nhs_number, event_id = record
    arguments = ("withdraw", nhs_number, event_id, "--reason", "03", *at, *GP)
    assert openscr(*arguments).done().out == "AA GP Summary withdrawal successful\n"
    openscr(*arguments).failed("conflict: AE 430")
    assert openscr("list", nhs_number, *at).done().out.split("\t")[1] == "Withdrawn"
    openscr("get", nhs_number, *at).failed("no current summary")


def test_withdraw_says_everything_to_programs(openscr: Run, at: tuple[str, str]) -> None:
    ended = openscr("withdraw", "9990012334", mint_uuid(), "--reason", "02", *at, *GP, "--json").failed("30312")
    assert ended.json["interaction"] == "REPC_IN150018UK02"
    assert ended.json["acknowledgement"]["refusal"] == "conflict"


# --- consent --------------------------------------------------------------------------------------------------------


def test_consent_is_set_and_read(openscr: Run, at: tuple[str, str]) -> None:
    nhs_number = new_patient()
    assert openscr("consent", "get", nhs_number, *at).done().out == "Ask\n"
    assert openscr("consent", "set", nhs_number, "no", *at, *GP).done().out == "consent is No\n"
    assert openscr("consent", "get", nhs_number, *at, "--json").done().json["consent"] == "No"
    assert openscr("consent", "set", nhs_number, "ask", *at, *GP, "--json").done().json["ack"] == "AA"
    assert openscr("consent", "get", nhs_number, *at).done().out == "Ask\n"


def test_permissions_are_asked_for(openscr: Run, at: tuple[str, str]) -> None:
    """Everyone's, one user's, of one function or of both; Ask where nothing was said."""
    nhs_number = new_patient()
    asked = ("consent", "has", nhs_number, *at)
    told = openscr(*asked, "--json").done().json
    assert told["permissions"] == [
        {"function": "Store", "accessor": "Everyone", "permission": "Ask"},
        {"function": "View", "accessor": "Everyone", "permission": "Ask"},
    ]
    openscr("consent", "set", nhs_number, "no", *at, *GP).done()
    shown = openscr(*asked, "--accessor", "555000000101", "--accessor", "everyone", "--function", "view").done().out
    assert [line.split() for line in shown.splitlines()] == [
        ["View", "555000000101", "No"],
        ["View", "Everyone", "No"],
    ]
    openscr(*asked, "--accessor", "nobody", *at).failed("--accessor is everyone, or a user id", status=2)
    openscr("consent", "has", "9990012319", *at).failed("invalid request: AE 400")
    merged = openscr("consent", "has", "9990012342", *at).done()
    assert "superseded" in merged.err


# --- alerts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fhir", [False, True])
def test_alerts_are_raised_and_listed(openscr: Run, demo_server: DemoServer, fhir: bool) -> None:
    """An alert over HL7 or as FHIR, by a person of the directory; the operator's list has it, the patient masked."""
    nhs_number = new_patient()
    at, data = ("--at", demo_server.web), ("--data", str(demo_server.data))
    form = ("--fhir",) if fhir else ()
    sent = openscr("alert", nhs_number, "--type", "2", "--reason", "5", "--text", "collapsed", *GP, *at, *form).done()
    assert sent.out == ("the alert is stored\n" if fhir else "Acknowledgement: AA\n")
    masked = openscr("admin", "alerts", "--json", *data).done().json[-1]
    assert masked["patient"] == f"******{nhs_number[-4:]}"
    assert "collapsed" not in str(masked)
    alert = openscr("admin", "alerts", "--json", "--patients", *data).done().json[-1]
    assert (alert["patient"], alert["type"], alert["reason"]) == (nhs_number, "2", "5")
    assert (alert["text"], alert["user"], alert["system"]) == ("collapsed", "555000000101", "200000000115")
    assert alert["source"] == ("AuditEvent" if fhir else "COMT_IN000001UK01")
    assert alert["details"]["organisation/id"] == "Y90001"
    table = openscr("admin", "alerts", *data).done().out
    assert nhs_number not in table
    assert masked["patient"] in table


def test_alerts_that_there_are_not(openscr: Run, at: tuple[str, str]) -> None:
    """Wrong usage is told at once; a stranger's alert is refused in both forms."""
    alert = ("alert", new_patient(), *at)
    openscr(*alert, "--type", "2", "--reason", "4", *GP).failed("no alert of type 2 with reason 4", status=2)
    openscr(*alert, "--type", "1", "--reason", "7", *GP).failed("a code from 1 to 6", status=2)
    openscr(*alert, "--type", "3", "--reason", "1", *GP).failed("--type", status=2)
    openscr(*alert, "--type", "1", "--reason", "6").failed("--user", status=2)
    closed = ("--type", "2", "--reason", "5", "--user", "555000000702")
    openscr(*alert, *closed).failed("access denied: AE 420")
    openscr(*alert, *closed, "--fhir").failed("access denied: AE 420")


def test_an_alert_to_a_live_service_needs_its_code_systems(openscr: Run, demo_server: DemoServer) -> None:
    """Nobody publishes the OIDs: where it is no demo, the operator says which; then they are sent."""
    certificate, key, authority = demo_server.certificate("gp.client.test")
    nhs_number = new_patient()
    alert = ("alert", nhs_number, "--type", "1", "--reason", "6", *GP, "--at", demo_server.spine)
    tls = ("--cert", certificate, "--key", key, "--ca", authority)
    openscr(*alert, *tls).failed("alerts.type_oid and alerts.reason_oid")
    oids = {"OPENSCR_ALERTS_TYPE_OID": "1.2.3", "OPENSCR_ALERTS_REASON_OID": "1.2.4"}
    openscr(*alert, *tls, **oids).done()
    stored = openscr("admin", "alerts", "--json", "--patients", "--data", demo_server.data).done().json
    (found,) = [alert for alert in stored if alert["patient"] == nhs_number]
    assert (found["details"]["type/system"], found["details"]["reason/system"]) == ("1.2.3", "1.2.4")
    wrong = openscr(*alert, *tls, OPENSCR_ALERTS_TYPE_OID="one.two")
    wrong.failed("alert_type_oid", "an OID is numbers with dots between them")


def test_a_history_of_consent_is_read(openscr: Run, demo_server: DemoServer) -> None:
    """The number comes over standard input: it stands in no command line."""
    nhs_number = new_patient()
    at, data = ("--at", demo_server.web), ("--data", str(demo_server.data))
    history = ("admin", "consent-history", *data)
    assert openscr(*history, stdin=nhs_number.encode()).done().out == "no consent was ever set: Ask holds\n"
    for value in ("no", "yes", "ask"):
        openscr("consent", "set", nhs_number, value, *at, *GP).done()
    rows = openscr(*history, "--json", stdin=f"{nhs_number[:3]} {nhs_number[3:6]} {nhs_number[6:]}\n".encode()).done()
    assert [row["value"] for row in rows.json] == ["No", "Yes", "Ask"]
    first = rows.json[0]
    assert (first["version"], first["user"], first["role_profile"], first["job_role"]) == (
        1,
        "555000000101",
        "555000000102",
        "R8000",
    )
    assert (first["organisation"], first["asid"]) == ("Y90001", "200000000115")
    assert first["source"] == "SET_RESOURCE_PERMISSIONS_INUK01"
    assert first["message_id"]
    assert first["transport_id"]
    table = openscr(*history, stdin=nhs_number.encode()).done().out
    assert nhs_number not in table
    assert [line.split("\t")[1] for line in table.splitlines()] == ["No", "Yes", "Ask"]
    openscr(*history, stdin=b"12345").failed("an NHS number has ten digits", status=2)


def test_nobody_may_not_set_consent(openscr: Run, at: tuple[str, str]) -> None:
    """Without --user the message has no person, and the service wants one."""
    openscr("consent", "set", new_patient(), "yes", *at).failed("access denied: AE 420")
    openscr("consent", "set", new_patient(), "yes", *at, "--user", "555000000202").failed("access denied")


# --- who sends, and where to ----------------------------------------------------------------------------------------


def test_nobody_there_is_told_at_once(openscr: Run) -> None:
    openscr("list", "9990012318", "--at", "http://127.0.0.1:9").failed("nothing answers at http://127.0.0.1:9")


def test_something_else_there_is_told(openscr: Run, demo_server: DemoServer) -> None:
    openscr("list", "9990012318", "--at", f"{demo_server.web}/nowhere").failed("HTTP 404", "no Spine")


def test_mutual_tls_with_the_files_given(openscr: Run, demo_server: DemoServer) -> None:
    def files(name: str) -> tuple[object, ...]:
        cert, key, ca = demo_server.certificate(name)
        return "--cert", cert, "--key", key, "--ca", ca, "--at", demo_server.spine

    openscr("list", "9990012318", *files("gp.client.test")).done()
    openscr("list", "9990012318", *files("viewer.client.test")).failed("300")
    openscr("list", "9990012318", *files("viewer.client.test"), "--as", "app-viewer").done()
    openscr("list", "9990012318", *files("nobody")).failed("the TLS files", "No such file")
    openscr("list", "9990012318", "--at", demo_server.spine).failed("not from the authority given")


def test_who_sends_is_told_by_a_directory(openscr: Run, at: tuple[str, str]) -> None:
    """The demo service does not know this system; the client does, and the refusal is the service's."""
    file = ("--directory", MESSAGES / "directory.json")
    openscr("list", "9990012318", *at, *file, "--as", "example-gp").failed("SOAP fault 300")
    openscr("list", "9990012318", *at, *file, "--as", "nobody").failed("no app 'nobody'", "example-gp")
    openscr("list", "9990012318", *at, "--user", "555000009999").failed("no role profile")
    openscr("list", "9990012318", *at, "--directory", "missing.json").failed("missing.json: No such file")


def test_the_directory_of_the_data_folder_comes_before_the_demos(
    openscr: Run, at: tuple[str, str], tmp_path: Path
) -> None:
    openscr("directory", "import", MESSAGES / "directory.json", "--data", tmp_path / "mine").done()
    openscr("list", "9990012318", *at, "--as", "example-gp").failed("no app 'example-gp'")
    data = str(tmp_path / "mine")
    openscr("list", "9990012318", *at, "--as", "example-gp", OPENSCR_DATA=data).failed("SOAP fault 300")
    (tmp_path / "mine" / "openscr.db").write_bytes(b"not a database" * 100)
    openscr("list", "9990012318", *at, OPENSCR_DATA=data).failed("not a SQLite database")


def test_details_are_told_when_they_are_asked_for(openscr: Run, at: tuple[str, str]) -> None:
    ended = openscr("list", "9990012318", *at, "-v").done()
    assert "QUPC_IN180000UK04" in ended.err
    assert "HTTP 200" in ended.err
    assert "9990012318" not in ended.err
    assert openscr("list", "9990012318", *at).err == ""


def test_an_address_for_callbacks_that_is_taken_is_told(openscr: Run, at: tuple[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        openscr("list", "9990012318", *at, "--callback", where).failed(f"callback {where}: cannot listen there")


# --- the JSON form --------------------------------------------------------------------------------------------------


def test_a_json_summary_is_uploaded_and_comes_back(openscr: Run, at: tuple[str, str], tmp_path: Path) -> None:
    """The worked example under fresh ids goes up as JSON and as TOML, and `get --format json` gives it back."""
    form = json.loads((EXAMPLES / "summary.json").read_text())
    form["patient"]["nhs_number"] = new_patient()
    form["author"] |= {"user_id": "555000000101", "role_profile_id": "555000000102"}
    del form["replaces"]
    form["event_id"] = mint_uuid()
    (tmp_path / "summary.json").write_text(json.dumps(form))
    assert openscr("upload", "summary.json", *at).done().out == "summary.json: AA GP Summary upload successful\n"
    got = openscr("get", form["patient"]["nhs_number"], *at, "--format", "json").done().json
    html = got["presentation"].pop("html")
    assert "Levothyroxine sodium 50microgram tablets" in html
    wanted = {**form, "presentation": {"id": form["presentation"]["id"], "created": form["created"]}}
    wanted["message_id"] = wanted["event_id"]
    wanted["author"] = {"time": form["created"], **form["author"]}
    del wanted["author"]["job_role"]
    assert got == wanted


def test_a_toml_summary_is_composed(openscr: Run, at: tuple[str, str], tmp_path: Path) -> None:
    """What is left out is written: ids, text, the author of the control act; over the polling channel too."""
    number = new_patient()
    (tmp_path / "summary.toml").write_text(
        f"""
        format = "openscr-summary/1"
        patient.nhs_number = "{number}"
        author = {{kind = "person_sds", user_id = "555000000101", role_profile_id = "555000000102", job_role = "R8000",
                  name = {{text = "Dr Demopractice"}}}}
        [[allergies]]
        code = {{code = "91936005", display = "Allergy to penicillin"}}
        time = 2021-03-12
        """.replace("\n                  name", " name")
    )
    openscr("upload", "summary.toml", *at, "--pattern", "polling").done()
    text = openscr("get", number, *at).done().out
    assert "12-Mar-2021" in text
    assert "Allergy to penicillin" in text


def test_mistakes_of_a_json_summary_are_told_with_their_place(
    openscr: Run, at: tuple[str, str], tmp_path: Path
) -> None:
    (tmp_path / "wrong.json").write_text('{"format": "openscr-summary/1", "patient": {"nhs_number": "1"}, "colour": 1}')
    said = openscr("upload", "wrong.json", *at).failed("/author: is missing").err
    assert "/colour: is not a member here" in said
    (tmp_path / "dangling.json").write_text(
        json.dumps(
            {
                "format": "openscr-summary/1",
                "patient": {"nhs_number": new_patient()},
                "author": {"kind": "person_sds", "user_id": "1", "role_profile_id": "2", "name": {"text": "A"}},
                "problems": [{"time": "2021", "about": {"kind": "Diagnosis", "id": mint_uuid()}}],
            }
        )
    )
    openscr("upload", "dangling.json", *at).failed("no entry has it")


def test_what_the_json_form_does_not_hold_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A document that says more than the form can, or less than it must, is printed with a note on standard error."""
    (path,) = EXAMPLES.glob("02-*")
    whole = path.read_bytes()
    assert json.loads(_as_json(whole))["format"] == "openscr-summary/1"
    assert capsys.readouterr().err == ""
    assert json.loads(_as_json(whole.replace(b"<value>One daily</value>", b"")))
    assert "lacks what the JSON form must have" in capsys.readouterr().err
    assert json.loads(_as_json(whole.replace(b'classCode="SBADM" moodCode="RQO"', b'classCode="SBADM" moodCode="EVN"')))
    assert "3 things in the document have no place" in capsys.readouterr().err
