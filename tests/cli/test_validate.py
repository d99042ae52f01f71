"""`openscr validate`, run as its users run it. Spec: 00 §4."""

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Run
from serving import clean_environment
from shared import MESSAGES, shared

SUMMARY = MESSAGES / "gp-summary" / "02-replacement_REPC_IN150016UK05.xml"
CAPTURE = MESSAGES / "transport" / "01-upload-request.http"
INCONSISTENT = MESSAGES / "acs" / "n2-set-inconsistent-view-store.xml"
PATIENT = "9990001030"

WITHOUT_STATUS = SUMMARY.read_bytes().replace(b'<statusCode code="active"/>', b"<statusCode/>", 1)


def objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_a_valid_message(openscr: Run) -> None:
    ended = openscr("validate", SUMMARY).done()
    assert ended.out == f"OK  {SUMMARY}: REPC_IN150016UK05, GP summary; no findings at level spine\n"
    assert ended.err == ""


def test_a_faulty_message_is_reported_with_everything_that_helps(openscr: Run, tmp_path: Path) -> None:
    """Rule, file and line, XPath, the line itself, what is wrong, how to mend it, and what Spine says."""
    (tmp_path / "upload.xml").write_bytes(WITHOUT_STATUS)
    ended = openscr("validate", "upload.xml")
    assert ended.status == 1
    assert ended.err == ""
    assert ended.out == (
        "FAULTY  upload.xml: REPC_IN150016UK05, GP summary; 1 error at level spine\n"
        "\n"
        "  error  gp-G4  upload.xml:46\n"
        "    /REPC_IN150016UK05/ControlActEvent/subject/GPSummary/statusCode\n"
        '      45 |         <effectiveTime value="20251111103045"/>\n'
        "    > 46 |         <statusCode/>\n"
        "                   ^^^^^^^^^^^^^\n"
        '      47 |         <author typeCode="AUT" contextControlCode="OP">\n'
        "    wrong  The summary must have exactly one status, and the code must be written out although the schema has "
        "a default.\n"
        "    mend   Write statusCode with code active.\n"
        "    Spine  ErrorBase1733.INVALID_DOCUMENT_DATA | A single hl7:GPSummary/hl7:statusCode/@code must be provided "
        "(400)\n"
        "\n"
    )


def test_a_message_on_one_line_is_shown_around_the_place(openscr: Run, tmp_path: Path) -> None:
    (tmp_path / "one.xml").write_bytes(b"".join(line.strip() for line in WITHOUT_STATUS.splitlines()))
    ended = openscr("validate", "one.xml")
    (shown,) = [line for line in ended.out.splitlines() if line.startswith("    > 1 | ")]
    assert "…" in shown
    assert "<statusCode/><author" in shown
    assert len(shown) < 120


def test_json_is_exactly_what_the_specification_says(openscr: Run, tmp_path: Path) -> None:
    (tmp_path / "upload.xml").write_bytes(WITHOUT_STATUS)
    ended = openscr("validate", "upload.xml", "--json")
    assert ended.status == 1
    assert ended.err == ""
    (one,) = objects(ended.out)
    assert one == {
        "input": "upload.xml",
        "interaction": "REPC_IN150016UK05",
        "level": "spine",
        "ok": False,
        "findings": [
            {
                "rule": "gp-G4",
                "severity": "error",
                "key": "ErrorBase1733.INVALID_DOCUMENT_DATA",
                "code": "400",
                "code_system": "2.16.840.1.113883.2.1.3.2.4.17.33",
                "text": "A single hl7:GPSummary/hl7:statusCode/@code must be provided",
                "xpath": "/REPC_IN150016UK05/ControlActEvent/subject/GPSummary/statusCode",
                "line": 46,
                "help": "The summary must have exactly one status, and the code must be written out although the "
                "schema has a default. Write statusCode with code active.",
            }
        ],
    }
    assert list(one) == ["input", "interaction", "level", "ok", "findings"]


def test_warnings_leave_a_message_in_order(openscr: Run) -> None:
    ended = openscr("validate", CAPTURE, "--json").done()
    (one,) = objects(ended.out)
    assert one["ok"] is True
    assert [finding["severity"] for finding in one["findings"]] == ["warning"]
    assert "warning  gp-message-id-not-event-id" in openscr("validate", CAPTURE).done().out


def test_several_inputs_are_summed_up(openscr: Run) -> None:
    ended = openscr("validate", SUMMARY, INCONSISTENT, CAPTURE)
    assert ended.status == 1
    assert ended.out.splitlines()[-1] == "3 messages: 2 ok, 1 faulty (1 error, 1 warning)"
    lines = openscr("validate", SUMMARY, INCONSISTENT, CAPTURE, "--json").out
    assert [one["ok"] for one in objects(lines)] == [True, False, True]


def test_standard_input(openscr: Run) -> None:
    ended = openscr("validate", "-", "--json", stdin=CAPTURE.read_bytes()).done()
    (one,) = objects(ended.out)
    assert (one["input"], one["interaction"]) == ("-", "REPC_IN150016UK05")
    assert openscr("validate", "-", stdin=WITHOUT_STATUS).status == 1


def test_folders_are_walked_and_strangers_skipped(openscr: Run, tmp_path: Path) -> None:
    """Messages of every depth are looked at; what is no message is counted, and hidden folders are left alone."""
    inner = tmp_path / "box" / "deep" / "deeper"
    inner.mkdir(parents=True)
    (inner / "a.XML").write_bytes(SUMMARY.read_bytes())
    (tmp_path / "box" / "b.http").write_bytes(CAPTURE.read_bytes())
    (tmp_path / "box" / "pom.xml").write_text("<project/>", "utf-8")
    (tmp_path / "box" / "notes.txt").write_text("remember the milk", "utf-8")
    (tmp_path / "box" / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / "box" / ".git").mkdir()
    (tmp_path / "box" / ".git" / "c.xml").write_bytes(WITHOUT_STATUS)
    ended = openscr("validate", "box").done()
    assert ended.out.splitlines()[-1] == "2 messages: 2 ok (1 warning); 2 other files skipped"
    assert [one["input"] for one in objects(openscr("validate", "box", "--json").done().out)] == [
        "box/b.http",
        "box/deep/deeper/a.XML",
    ]
    named = openscr("validate", "box/pom.xml")
    assert named.status == 1
    assert "This is no message of the Summary Care Record" in named.out


def test_a_broken_message_in_a_folder_is_not_skipped(openscr: Run, tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "cut.xml").write_bytes(SUMMARY.read_bytes()[:3_000])
    ended = openscr("validate", "box", "--json")
    assert ended.status == 1
    ((finding,),) = [one["findings"] for one in objects(ended.out)]
    assert finding["rule"] == "gp-202"
    assert re.match(r"Line \d+, column \d+: ", finding["help"])


def test_a_folder_without_any_message_fails(openscr: Run, tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    openscr("validate", "box").failed("no message")


@pytest.mark.parametrize("name", ["nothing.xml", "pipe"])
def test_what_cannot_be_read(openscr: Run, tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    ended = openscr("validate", name, SUMMARY, "--json")
    assert ended.status == 1
    first, second = objects(ended.out)
    assert (first["input"], first["ok"], first["findings"][0]["rule"]) == (name, False, "file")
    assert second["ok"] is True


def test_a_file_beyond_any_message_is_not_read_to_its_end(openscr: Run, tmp_path: Path) -> None:
    with (tmp_path / "huge.xml").open("wb") as file:
        file.truncate(8 << 30)
    ended = openscr("validate", "huge.xml")
    assert ended.status == 1
    assert "larger than any message" in ended.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "Missing argument"),
        ((SUMMARY, "--level", "loose"), "spine or strict"),
        ((SUMMARY, "--json", "--sarif"), "choose --json or --sarif"),
        ((SUMMARY, "--mim", "nowhere"), "not a folder"),
        ((SUMMARY, "--mim", "."), "holds neither"),
        ((SUMMARY, "--mim", ""), "empty"),
        (("",), "empty"),
        ((SUMMARY, ""), "empty"),
    ],
)
def test_wrong_usage(openscr: Run, arguments: tuple[object, ...], said: str) -> None:
    ended = openscr("validate", *arguments, COLUMNS="200").failed(status=2)
    assert said in ended.err


def test_the_level_can_be_named(openscr: Run, tmp_path: Path) -> None:
    """What Spine takes although the model says otherwise is an error at level strict alone."""
    openscr("validate", SUMMARY, "--level", "spine").done()
    (tmp_path / "swapped.xml").write_bytes(
        SUMMARY.read_bytes().replace(b'<statusCode code="active"/>', b'<statusCode code="active" unknown="x"/>', 1)
    )
    openscr("validate", "swapped.xml").done()
    ended = openscr("validate", "swapped.xml", "--level", "strict")
    assert ended.status == 1
    assert "1 error at level strict" in ended.out
    assert "gp-strict" in ended.out
    (told,) = objects(openscr("validate", "swapped.xml", "--level", "strict", "--json").out)
    assert (told["level"], told["ok"], [each["rule"] for each in told["findings"]]) == ("strict", False, ["gp-strict"])


def test_sarif(openscr: Run, tmp_path: Path) -> None:
    """One log for all inputs, on standard output alone, with the same exit status. Spec: SARIF 2.1.0."""
    (tmp_path / "upload file.xml").write_bytes(WITHOUT_STATUS)
    ended = openscr("validate", "upload file.xml", SUMMARY, "--sarif")
    assert ended.status == 1
    log = json.loads(ended.out)
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    assert [artifact["location"]["uri"] for artifact in run["artifacts"]] == ["upload%20file.xml", str(SUMMARY)]
    (result,) = run["results"]
    assert (result["ruleId"], result["level"]) == ("gp-G4", "error")
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == 46
    assert openscr("validate", SUMMARY, "--sarif").done().err == ""


def test_the_help_tells_the_form_of_json(openscr: Run) -> None:
    out = " ".join(openscr("validate", "--help", COLUMNS="200").done().out.split())
    assert "JSON lines: one object for each input" in out


def test_json_holds_nothing_of_the_content(openscr: Run, tmp_path: Path) -> None:
    """The report for people may show the lines in question; what goes into other programs' logs does not."""
    data = SUMMARY.read_bytes().replace(PATIENT.encode(), b"9990001031")
    (tmp_path / "upload.xml").write_bytes(data)
    ended = openscr("validate", "upload.xml", "--json")
    assert ended.status == 1
    assert "9990001031" not in ended.out
    assert "gp-nhs-number" in ended.out


def test_schemas_of_the_user(openscr: Run, tmp_path: Path) -> None:
    mim = shared("mim")
    openscr("validate", SUMMARY, "--mim", mim).done()
    (tmp_path / "upload.xml").write_bytes(SUMMARY.read_bytes().replace(b'code="V3NPfIT4.2.00"', b'code="V4"'))
    openscr("validate", "upload.xml").done()
    ended = openscr("validate", "upload.xml", "--mim", mim)
    assert ended.status == 1
    assert "error  xsd  upload.xml:" in ended.out
    assert "schema Element 'versionCode'" in ended.out


def test_people_get_colours_and_pipes_do_not(openscr: Run, tmp_path: Path) -> None:
    """On a terminal the report is coloured and keeps to its width; piped there is not one escape sequence."""
    (tmp_path / "upload.xml").write_bytes(WITHOUT_STATUS)
    assert "\x1b" not in openscr("validate", "upload.xml").out
    ours, theirs = pty.openpty()
    environment = clean_environment(COLUMNS="80", TERM="xterm")
    command = [sys.executable, "-m", "openscr", "validate", "upload.xml"]
    with subprocess.Popen(
        command, stdout=theirs, stdin=theirs, stderr=theirs, cwd=tmp_path, env=environment
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 65_536):
                shown += piece
        except OSError:  # the terminal is gone with its program
            pass
    os.close(ours)
    assert process.returncode == 1
    text = shown.decode()
    assert "\x1b[1;31mFAULTY" in text
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    wide = [line for line in plain.splitlines() if len(line.rstrip()) > 80]
    assert wide == [], wide
    assert "Write statusCode with code active." in plain


def test_a_folder_that_cannot_be_read_is_reported(openscr: Run, tmp_path: Path) -> None:
    """Nothing in it was checked, which nobody must take for a proof."""
    (tmp_path / "box" / "closed").mkdir(parents=True)
    (tmp_path / "box" / "a.xml").write_bytes(SUMMARY.read_bytes())
    (tmp_path / "box" / "z").mkdir()
    (tmp_path / "box" / "z" / "a.xml").write_bytes(SUMMARY.read_bytes())
    (tmp_path / "sitecustomize.py").write_text(CLOSED, "utf-8")
    ended = openscr("validate", "box", "--json", PYTHONPATH=with_path(tmp_path))
    assert ended.status == 1
    first, second, third = objects(ended.out)
    assert [first["ok"], third["ok"]] == [True, True]
    assert (second["input"], second["findings"][0]["rule"]) == ("box/closed", "file")
    assert second["findings"][0]["text"] == "Permission denied"
    assert openscr("validate", "box/closed", PYTHONPATH=with_path(tmp_path)).status == 1


CLOSED = """
import os

_scandir = os.scandir


def scandir(path="."):
    if os.path.basename(path) == "closed":
        raise PermissionError(13, "Permission denied", os.fspath(path))
    return _scandir(path)


os.scandir = scandir
"""
"""Closes a folder to a program whoever runs it: the system lets its administrator in everywhere."""


def with_path(folder: Path) -> str:
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])


def test_a_name_that_is_not_utf_8(openscr: Run, tmp_path: Path) -> None:
    """It is told with U+FFFD, and the message is judged all the same."""
    name = os.fsdecode(b"caf\xe9.xml")
    (tmp_path / name).write_bytes(SUMMARY.read_bytes())
    for given in (name, "."):
        (one,) = objects(openscr("validate", given, "--json").done().out)
        assert (one["input"], one["ok"]) == ("caf\ufffd.xml", True)
    assert "caf\ufffd.xml" in openscr("validate", name).done().out


def test_standard_input_that_is_closed(tmp_path: Path) -> None:
    command = ["sh", "-c", '"$0" -m openscr validate - <&-', sys.executable]
    ended = subprocess.run(command, capture_output=True, cwd=tmp_path, env=clean_environment(), check=False)
    assert ended.returncode == 1
    assert b"Standard input is closed" in ended.stdout
    assert ended.stderr == b""


def test_empty_and_utf_16_files_of_a_folder_are_not_skipped(openscr: Run, tmp_path: Path) -> None:
    """A capture that holds nothing, and one that a shell wrote in its own encoding, are no strangers."""
    (tmp_path / "box").mkdir()
    (tmp_path / "box" / "empty.http").touch()
    (tmp_path / "box" / "notes.txt").write_text("remember the milk", "utf-16")
    (tmp_path / "box" / "query.http").write_text(CAPTURE.read_text("utf-8"), "utf-16")
    (tmp_path / "box" / "summary.xml").write_text(SUMMARY.read_text("utf-8"), "utf-16-le")
    ended = openscr("validate", "box", "--json")
    assert ended.status == 1
    assert "1 files are no messages" in ended.err
    empty, query, summary = objects(ended.out)
    assert "nothing in this input" in empty["findings"][0]["help"]
    for one in (query, summary):
        assert one["interaction"] == "REPC_IN150016UK05"
        assert "the text is UTF-16" in one["findings"][0]["help"]
    assert summary["findings"][0]["code"] == "202"
