"""An adaptor as those who run it see it: health, figures, keys, log lines, audit. Spec: 50 §9, §10, F16, F18, F22."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGHUP
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from journeys.adaptor import Adaptor, Supplier, beside, launch
from journeys.messages import GP, PRACTICE, Post, fresh_patient, get
from journeys.runner import STOP_SECONDS, Server, until
from openscr.access.pki import issue
from openscr.codes import EVENT_LIST, UPLOAD
from openscr.transport.soap import BODY
from openscr.transport.xml import read_xml, write_element

ASID = PRACTICE.asid


@pytest.fixture
def settings(demo: Server) -> dict[str, object]:
    """Settings of an adaptor that sends to the demo service; answers to uploads stay there."""
    return beside(demo)


@pytest.fixture
def adaptor(settings: dict[str, object], tmp_path: Path) -> Iterator[Adaptor]:
    running = Adaptor.start(tmp_path, **settings)
    yield running
    assert running.stop() == 0


def interaction_of(post: Post) -> bytes:
    (interaction,) = read_xml(post.body).iterfind(f"{BODY}/*")
    return write_element(interaction)


async def exchange(adaptor: Adaptor, number: str) -> str:
    """Upload a summary and ask for a list; return the id of the upload."""
    mail = PRACTICE.upload(number)
    async with Supplier(adaptor) as supplier:
        told = await supplier.send(UPLOAD, mail.payload, message_id=mail.message_id)
        assert told.status == 202, told.text
        listed = await supplier.send(EVENT_LIST, interaction_of(PRACTICE.event_list(number)), from_asid=ASID)
        assert listed.status == 200, listed.text
        refused = await supplier.send("NOT_AN_INTERACTION", "<x/>")
        assert refused.status == 404
    return mail.message_id


async def readiness(base: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((await get(base, "/readyz")).body)
    return found


async def test_f18_health_readiness_and_figures_of_a_running_adaptor(adaptor: Adaptor) -> None:
    health = await get(adaptor.outbound, "/healthcheck")
    assert (health.status, health.body, health.header("content-type")) == (200, b"", "text/html; charset=UTF-8")
    before = await readiness(adaptor.outbound)
    assert (before["ready"], before["store"]) == (True, {"engine": "sqlite", "writable": True})
    assert before["certificate"]["days_left"] > 30
    assert before["spine"] == {"last_success": None}
    number = fresh_patient()
    await exchange(adaptor, number)
    assert (await readiness(adaptor.outbound))["spine"]["last_success"] is not None
    text = (await get(adaptor.outbound, "/metrics")).body.decode()
    assert number not in text
    counted = {
        (sample.labels["direction"], sample.labels["interaction"], sample.labels["workflow"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "mhs_messages_total"
    }
    assert counted["outbound", UPLOAD, "async-reliable"] == 1
    assert counted["outbound", EVENT_LIST, "sync"] == 1
    assert counted["outbound", "unknown", ""] == 1


async def test_the_health_port_of_inbound_is_its_own(settings: dict[str, object], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    inbound = Adaptor.start(tmp_path, "inbound", **settings, inbound_healthcheck_server_port=port)
    base = f"http://127.0.0.1:{port}"
    assert (await get(base, "/healthcheck")).status == 200
    assert (await readiness(base))["ready"] is True
    assert b"mhs_queue_messages" in (await get(base, "/metrics")).body
    assert (await get(base, "/messages")).status == 404
    assert inbound.stop() == 0


async def test_f16_keys_from_variables_are_used_and_stand_in_no_file(demo: Server, tmp_path: Path) -> None:
    certificate, key, authority = (path.read_text() for path in demo.certificate("gp.client.test"))
    files = ("client_cert_file", "client_key_file", "ca_certs_file")
    given = {name: value for name, value in beside(demo).items() if name not in files}
    text = {"secret_client_cert": certificate, "secret_client_key": key, "secret_ca_certs": authority}
    running = Adaptor.start(tmp_path, **given, **text, tmpdir=tmp_path)
    await exchange(running, fresh_patient())
    assert files_with(tmp_path, key.splitlines()[5]) == []
    assert running.stop() == 0


def files_with(folder: Path, text: str) -> list[Path]:
    """Return the files that hold a text."""
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


async def test_f16_a_new_certificate_is_taken_when_the_adaptor_is_told(
    settings: dict[str, object], pki: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name in ("ca.pem", "ca.key", "gp.client.test.pem", "gp.client.test.key"):
        (own / name).write_bytes((pki / name).read_bytes())
    files = {
        "client_cert_file": own / "gp.client.test.pem",
        "client_key_file": own / "gp.client.test.key",
        "ca_certs_file": own / "ca.pem",
    }
    running = Adaptor.start(tmp_path / "data", **(settings | files))
    assert (await readiness(running.outbound))["certificate"]["days_left"] > 30
    issue(own, "gp.client.test", usage="both", days=12, new_key=True)
    running.process.send_signal(SIGHUP)

    async def taken() -> bool:
        days: int = (await readiness(running.outbound))["certificate"]["days_left"]
        return days in (11, 12)

    await until(taken)
    await exchange(running, fresh_patient())
    assert running.stop() == 0
    assert "our certificate ends soon" in running.log.read_text()


async def test_f22_the_audit_says_who_asked_and_names_no_patient(adaptor: Adaptor) -> None:
    number = fresh_patient()
    message_id = await exchange(adaptor, number)
    records = [json.loads(line) for line in openscr("audit", adaptor).splitlines()]
    upload = [record for record in records if record.get("message_id") == message_id]
    assert upload[-1]["outcome"] == "OUTBOUND_MESSAGE_ACKD"
    assert {record["user"] for record in upload} == {GP.user_id}
    assert {record["interaction"] for record in records} >= {UPLOAD, EVENT_LIST}
    assert "NOT_AN_INTERACTION" not in {record.get("interaction") for record in records}
    assert [record["interaction"] for record in records if record["outcome"] == "interaction_unknown"] == ["unknown"]
    of_patient = [json.loads(line) for line in openscr("audit", adaptor, "--patient", stdin=number).splitlines()]
    assert {record["interaction"] for record in of_patient} == {UPLOAD, EVENT_LIST}
    assert number not in json.dumps(records)
    assert openscr("verify", adaptor) == f"the audit is intact: {len(records)} records\n"


def openscr(command: str, adaptor: Adaptor, *options: str, stdin: str = "") -> str:
    """Look into the store of an adaptor that runs."""
    done = subprocess.run(
        [sys.executable, "-m", "openscr", "mhs", command, "--data", str(adaptor.data / "mhs"), *options],
        input=stdin + "\n",
        capture_output=True,
        text=True,
        check=False,
        cwd=adaptor.data,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_c7_lines_of_the_nhs_adaptor_stand_on_standard_output(
    settings: dict[str, object], tmp_path: Path
) -> None:
    process, log = launch(tmp_path, "serve", **settings, log_style="nhs-mhs", state_table_name="states")
    assert process.stdout is not None
    lines = []
    while not (line := process.stdout.readline()).startswith("ready "):
        assert line, log.read_text()
        lines.append(line)
    _, outbound, inbound = line.split()
    number = fresh_patient()
    message_id = await exchange(Adaptor(outbound, inbound, tmp_path, process, log), number)
    process.terminate()
    rest, _ = process.communicate(timeout=STOP_SECONDS)
    lines += rest.splitlines()
    assert process.returncode == 0
    assert number not in "".join(lines)
    read = [re.fullmatch(r"\[[0-9T:.-]{26}Z\] ((?:\| [^|]* ?)*)\n?", line) for line in lines]
    assert all(read), lines
    fields = [[field.strip() for field in line.split("|")] for line in lines]
    assert {row[2] for row in fields} == {str(process.pid)}
    warned = [row for row in fields if "MHS_STATE_TABLE_NAME has no effect" in row[8]]
    assert [row[1] for row in warned] == ["WARNING"]
    audit = [row for row in fields if row[1] == "AUDIT"]
    assert [(row[3], row[7], row[8]) for row in audit] == [
        (UPLOAD, "outbound.audit", "Outbound WorkflowName=async-reliable workflow invoked."),
        (
            UPLOAD,
            "outbound.audit",
            "WorkflowName=async-reliable outbound workflow invoked. Message sent to Spine and "
            "Acknowledgment=MessageStatus.OUTBOUND_MESSAGE_ACKD received.",
        ),
        (EVENT_LIST, "outbound.audit", "Outbound Synchronous workflow invoked."),
        (
            EVENT_LIST,
            "outbound.audit",
            "Outbound Synchronous workflow completed. Message sent to Spine and "
            "Acknowledgment=MessageStatus.OUTBOUND_SYNC_MESSAGE_RESPONSE_RECEIVED received.",
        ),
    ]
    assert [row[4] for row in audit[:2]] == [message_id, message_id]


@pytest.mark.parametrize("name", ["secret_party_key", "client_key_file"])
def test_a_setting_that_is_missing_stops_the_start_with_the_text_that_people_know(
    name: str, settings: dict[str, object], tmp_path: Path
) -> None:
    process, log = launch(tmp_path, "serve", **{key: value for key, value in settings.items() if key != name})
    assert process.wait(STOP_SECONDS) == 1
    assert process.stdout is not None
    process.stdout.close()
    missed = {"secret_party_key": "SECRET_PARTY_KEY", "client_key_file": "SECRET_CLIENT_KEY"}[name]
    (line,) = log.read_text().splitlines()
    assert f'Failed to get config ConfigName="{missed}"' in line
