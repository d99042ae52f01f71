"""Privacy officers at work, from the override that raises an alert to the closed one: a real service, real tokens,
a real web server and a real mail server that are told. Spec: 35 §6, §7; 80 §5.
"""

import asyncio
import csv
import hashlib
import hmac
import io
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession

from alerts import an_alert, in_fhir
from journeys.messages import HOSPITAL, PRACTICE, Client, answer_to, codes_of, fresh_patient
from journeys.officers import Mailbox, Webhook, mailbox, webhook
from journeys.runner import Server, command, faults_of, stored, until
from journeys.test_relationships import Staff
from journeys.wire import Answer, post, signal_of
from openscr.identifiers import slot_of
from openscr.spine import Consent, DissentOverride, Person

OFFICER = "555000000402"
LEGAL = Client(HOSPITAL.party_key, HOSPITAL.asid, Person("555000000501", "555000000502", "R8000"))
TEXT = "the court in Leeds wants it"


class Officer(Staff):
    """A privacy officer who is signed in."""

    async def get(self, path: str) -> Answer:
        """Get something."""
        headers = (("Authorization", f"Bearer {self._token}"),)
        return await post(self._server.web, f"/governance/{path}", b"", headers, method="GET")

    async def delete(self, path: str) -> Answer:
        """Delete something."""
        headers = (("Authorization", f"Bearer {self._token}"),)
        return await post(self._server.web, f"/governance/{path}", b"", headers, method="DELETE")

    async def export(self, **form: Any) -> tuple[str, str]:
        """Take the audit away; return its media type and its text. It comes in pieces, without a length."""
        headers = {"Authorization": f"Bearer {self._token}"}
        address = f"{self._server.web}/governance/audit/export"
        async with ClientSession(headers=headers) as session, session.post(address, json=form) as answer:
            assert answer.status == 200
            return answer.headers["Content-Type"], await answer.text()


@pytest.fixture
def server(start: Callable[..., Server]) -> Server:
    """A demo service without limits of rate."""
    return start(demo=True, rate_per_second=0, rate_per_minute=0, log_level="debug")


async def overridden(server: Server) -> str:
    """A patient of whom a court wanted to see the summary, though the patient had said no."""
    number = fresh_patient()
    mail = PRACTICE.upload(number)
    assert signal_of(await mail.post().to(server.web)).kind == "Acknowledgment"
    assert (await answer_to(server.web, mail.message_id)).outcome.accepted
    await PRACTICE.set_consent(number, Consent.NO).to(server.web)
    answer = await LEGAL.event_list(number, DissentOverride("3", TEXT)).to(server.web)
    assert b"30418" not in answer.body
    return number


def read(answer: Answer, status: int = 200) -> Any:
    """The JSON of an answer."""
    assert answer.status == status, answer.body
    return json.loads(answer.body)


async def audit_of(server: Server, number: str) -> list[tuple[str, str, str]]:
    """Action, outcome and user of every row of a patient."""
    async with stored(server.data) as store:
        rows = [row.entry async for row in store.read_audit(slot_of(number)) if row.entry.nhs_number == number]
    return [(row.action, row.outcome, row.content.get("user_id", "")) for row in rows]


async def test_an_alert_from_the_override_to_its_end(server: Server) -> None:
    """New, under investigation, closed with a note; two officers at once; every look and change is in the audit."""
    number = await overridden(server)
    officer = await Officer.signed_in(server, "app-viewer", OFFICER)
    listed = read(await officer.get("alerts?status=new&type=2"))
    (alert,) = listed["alerts"]
    assert (listed["total"], listed["unclosed"]) == (1, 1)
    assert (alert["type"], alert["reason"], alert["user"], alert["organisation"]) == ("2", "3", "555000000501", "RZZ01")
    assert alert["patient"] == f"******{number[-4:]}"
    assert number not in json.dumps(listed)
    assert TEXT not in json.dumps(listed)
    place = f"alerts/{alert['id']}"

    opened = read(await officer.get(place))
    assert (opened["patient"], opened["text"], opened["history"]) == (number, TEXT, [])

    assert read(await officer.ask(place, version=1, status="closed", note="done"), 409)["result"] == "not-possible"
    stepped = read(await officer.ask(place, version=1, status="under-investigation"))
    assert (stepped["result"], stepped["status"], stepped["version"]) == ("changed", "under-investigation", 2)
    # Another officer still looks at the first version.
    assert read(await officer.ask(place, version=1, status="under-investigation", note="me too"), 409)["version"] == 2
    assert (await officer.ask(place, version=2, status="closed", note="  ")).status == 400
    assert (await officer.ask(place, version=2, status="new")).status == 400
    assert read(await officer.ask(place, version=2, status="closed", note="order seen"))["status"] == "closed"
    assert read(await officer.ask(place, version=3, status="under-investigation"), 409)["result"] == "not-possible"

    steps = read(await officer.get(place))["history"]
    assert [(each["from"], each["to"], each["note"], each["user"]) for each in steps] == [
        ("new", "under-investigation", "", "555000000401"),
        ("under-investigation", "closed", "order seen", "555000000401"),
    ]
    assert read(await officer.ask("alerts/search", status=["new", "under-investigation"]))["alerts"] == []
    kept = [row for row in await audit_of(server, number) if row[0].startswith("alert ")]
    assert [row[:2] for row in kept] == [
        ("alert view", "AA"),
        ("alert change", "AE"),
        ("alert change", "AA"),
        ("alert change", "AE"),
        ("alert change", "AA"),
        ("alert change", "AE"),
        ("alert view", "AA"),
    ]
    assert {row[2] for row in kept} == {"555000000401"}
    assert await faults_of(server.data) == ()


async def test_an_alert_is_nobody_elses(server: Server) -> None:
    """No right, another organisation, an unknown id: the one answer. A clinician sees no list, and no audit."""
    number = await overridden(server)
    mail = PRACTICE.alert_mail(an_alert(fresh_patient()))
    await mail.post().to(server.web)
    assert codes_of(await answer_to(server.web, mail.message_id)) == ("AA", [])
    async with stored(server.data) as store:
        alerts = {alert.organisation: alert.id for alert in await store.read_alerts()}
    assert set(alerts) == {"RZZ01", "Y90001"}
    officer = await Officer.signed_in(server, "app-viewer", OFFICER)
    nurse = await Officer.signed_in(server, "app-viewer", "555000000302")
    doctor = await Officer.signed_in(server, "app-gp", "555000000102")
    answers = [
        await officer.get(f"alerts/{alerts['Y90001']}"),
        await officer.get("alerts/00000000-0000-4000-8000-000000000000"),
        await nurse.get(f"alerts/{alerts['RZZ01']}"),
        await doctor.get(f"alerts/{alerts['Y90001']}"),
        await officer.ask(f"alerts/{alerts['Y90001']}", version=1, status="under-investigation"),
        await nurse.get("alerts"),
        await nurse.ask("audit/search", nhs_number=number),
        await nurse.ask("audit/export"),
        await doctor.ask("alerts/subscriptions", channel="webhook", address="http://127.0.0.1:9/x"),
        await nurse.get("alerts/subscriptions"),
    ]
    assert {(answer.status, answer.body) for answer in answers} == {(403, answers[0].body)}
    together = [{"id": alerts["Y90001"], "version": 1}, {"id": alerts["RZZ01"], "version": 1}]
    stepped = read(await officer.ask("alerts/change", alerts=together, status="under-investigation"))["alerts"]
    assert [each["result"] for each in stepped] == ["denied", "changed"]


async def test_an_alert_of_fhir_is_not_handled_by_its_subject(server: Server) -> None:
    """The sender's headers name one person, the event another: neither may handle it."""
    headers = (("Content-Type", "application/fhir+json"), ("nhsd-asid", HOSPITAL.asid))
    officer = await Officer.signed_in(server, "app-viewer", OFFICER)
    event = in_fhir(an_alert(fresh_patient()), HOSPITAL.asid)
    for agent in event["agent"]:
        identifier = agent["who"]["identifier"]
        if identifier["system"].endswith("sds-user-id"):
            identifier["value"] = "555000000401"
        if identifier["system"].endswith("ods-organization-code"):
            identifier["value"] = "RZZ01"
    assert (await post(server.web, "/clinical/alert", json.dumps(event).encode(), headers)).status == 200
    async with stored(server.data) as store:
        (alert,) = await store.read_alerts()
    assert alert.organisation == "RZZ01"
    assert read(await officer.get("alerts"))["total"] == 0
    assert (await officer.get(f"alerts/{alert.id}")).status == 403


async def test_the_audit_is_searched_and_taken_away(server: Server) -> None:
    """By patient, user, outcome; the own organisation alone; every form can be read by those who read such forms."""
    number = await overridden(server)
    officer = await Officer.signed_in(server, "app-viewer", OFFICER)
    rows = read(await officer.ask("audit/search", nhs_number=number, patients=True))["rows"]
    # What the practice did, the upload and the consent, is the practice's.
    (look,) = rows
    assert (look["action"], look["patient"]) == ("QUPC_IN180000UK04", number)
    assert (look["user_id"], look["override_code"], look["override_text"]) == ("555000000501", "3", TEXT)
    masked = read(await officer.ask("audit/search", user="555000000501"))
    assert number not in json.dumps(masked)
    assert TEXT not in json.dumps(masked)
    assert read(await officer.ask("audit/search", user="555000000501", outcome="refused"))["rows"] == []
    own = read(await officer.ask("audit/search", user="555000000401", limit=1))
    assert own["more"]
    (row,) = own["rows"]
    assert (row["assurance_level"], row["organisation"], row["action"]) == ("3", "RZZ01", "audit search")
    assert row["session"]
    assert row["issuer"].startswith("http")

    kind, table = await officer.export(format="csv")
    assert kind.startswith("text/csv")
    lines = list(csv.DictReader(io.StringIO(table)))
    assert {line["organisation"] for line in lines} == {"RZZ01"}
    assert number not in table
    events = (await officer.export(format="fhir", nhs_number=number, patients=True))[1].splitlines()
    patients = [json.loads(line)["entity"][0]["what"]["identifier"]["value"] for line in events]
    assert patients == [number] * len(events)
    bundle = json.loads((await officer.export(format="fhir-bundle"))[1])
    assert len(bundle["entry"]) > len(events) > 0
    assert (await officer.ask("audit/search", nhs_number="999")).status == 400
    kept = [row[0] for row in await audit_of(server, number)]
    assert kept.count("audit search") == 1
    assert kept.count("audit export") == 1


FAULTY_FORMS: list[tuple[str, dict[str, Any], str]] = [
    ("alerts/search", {"status": ["open"]}, "status"),
    ("alerts/search", {"type": ["3"]}, "type"),
    ("alerts/search", {"size": 501}, "size"),
    ("alerts/search", {"page": 0}, "page"),
    ("alerts/search", {"since": "2026-11-22T10:00:00"}, "timezone"),
    ("alerts/search", {"nhs_number": "9990000018"}, "unknown field"),
    ("alerts/A", {"status": "closed", "note": "x"}, "version"),
    ("alerts/A", {"version": "1", "status": "closed", "note": "x"}, "version"),
    ("alerts/A", {"version": 1, "status": "new"}, "new again"),
    ("alerts/A", {"version": 1, "status": "closed"}, "required to close"),
    ("alerts/A", {"version": 1, "status": "closed", "note": "x" * 4001}, "4000"),
    ("alerts/change", {"alerts": [], "status": "closed", "note": "x"}, "at least one"),
    ("alerts/change", {"alerts": [{"id": "A", "version": 1}] * 2, "status": "closed", "note": "x"}, "twice"),
    ("alerts/change", {"alerts": [{"id": "A" * 65, "version": 1}], "status": "closed", "note": "x"}, "64"),
    ("alerts/subscriptions", {"channel": "post", "address": "x"}, "channel"),
    ("alerts/subscriptions", {"channel": "email", "address": "officer@nhs.test"}, "no mail server"),
    ("audit/search", {"limit": 1001}, "limit"),
    ("audit/search", {"nhs_number": "999 000 001"}, "ten digits"),
    ("audit/search", {"organisation": "Y90001"}, "unknown field"),
    ("audit/search", {"outcome": "maybe"}, "outcome"),
    ("audit/export", {"format": "xml"}, "format"),
]


async def test_what_is_wrong_with_a_form_is_said(server: Server) -> None:
    """400, with what to mend; the conditions of a list stand behind the path and are looked at as well."""
    officer = await Officer.signed_in(server, "app-viewer", OFFICER)
    for path, form, words in FAULTY_FORMS:
        answer = await officer.ask(path, **form)
        assert answer.status == 400, (path, form)
        assert words in answer.body.decode(), (path, form, answer.body)
        assert b"999 000 001" not in answer.body
    for query in ("status=open", "page=x", "size=0", "nhs_number=1", "since=now"):
        assert (await officer.get(f"alerts?{query}")).status == 400
    for query in ("status=9990012318", "9990012318=x"):
        answer = await officer.get(f"alerts?{query}")
        assert (answer.status, b"9990012318" in answer.body) == (400, False)
        assert b"A list is asked for by status" in answer.body
    assert read(await officer.get("alerts?status=new,closed&type=1,2&page=1&size=5&since=2026-01-01T00:00:00Z"))


@pytest.fixture
async def hook() -> AsyncIterator[Webhook]:
    """A web server that wants to be told."""
    async with webhook() as opened:
        yield opened


async def noticed(box: Webhook | Mailbox, count: int) -> None:
    """Wait until so many notices have come."""

    async def come() -> bool:
        await asyncio.sleep(0)
        return len(box.posted if isinstance(box, Webhook) else box.mails) >= count

    await until(come)


async def test_officers_are_told_without_a_word_about_the_patient(
    hook: Webhook, start: Callable[..., Server], data: Path
) -> None:
    """A signed POST and a mail, with the reference alone; who was away is told after the next start."""
    async with mailbox() as box:
        settings = {"demo": True, "rate_per_second": 0, "rate_per_minute": 0, "log_level": "debug"}
        server = await asyncio.to_thread(
            start, **settings, smtp=f"smtp://127.0.0.1:{box.port}", smtp_from="openscr@nhs.test"
        )
        officer = await Officer.signed_in(server, "app-viewer", OFFICER)
        made = read(await officer.ask("alerts/subscriptions", channel="webhook", address=hook.url), 201)
        mail = {"channel": "email", "address": "officer@nhs.test"}
        read(await officer.ask("alerts/subscriptions", **mail), 201)
        for wrong in ("https://elsewhere.test/x", "http://192.0.2.1/x", "ftp://127.0.0.1/x", "http://a@127.0.0.1/"):
            assert (await officer.ask("alerts/subscriptions", channel="webhook", address=wrong)).status == 400
        third = read(await officer.ask("alerts/subscriptions", **mail), 201)["id"]
        assert [(await officer.delete(f"alerts/subscriptions/{third}")).status for _ in range(2)] == [204, 403]
        told = read(await officer.get("alerts/subscriptions"))["subscriptions"]
        assert [each["channel"] for each in told] == ["webhook", "email"]
        assert made["secret"] not in json.dumps(told)

        number = await overridden(server)
        await noticed(hook, 1)
        await noticed(box, 1)
        (alert,) = read(await officer.get("alerts"))["alerts"]
        ((headers, body),) = hook.posted
        assert json.loads(body) == {"format": "openscr-alert-notice/1", "alert": alert["id"]}
        at, signature = (part.partition("=")[2] for part in headers["OpenSCR-Signature"].split(","))
        expected = hmac.new(made["secret"].encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        assert hmac.compare_digest(signature, expected)
        (letter,) = box.mails
        assert (letter["To"], letter["From"]) == ("officer@nhs.test", "openscr@nhs.test")
        words = letter.as_string()
        assert alert["id"] in words
        for secret in (number, number[-4:], "555000000501", "Olwen", TEXT, "RZZ01"):
            assert secret not in words
            assert secret not in body.decode()

        # The web server is away: the request does not notice, the notice stays.
        hook.status = 503
        second = await overridden(server)
        await noticed(box, 2)
        await until(lambda: _only_one_left(data))
        assert hook.refused == 1
        assert await asyncio.to_thread(server.stop) == 0
        log = server.log.read_text()
        for secret in (number, second, TEXT, "officer@nhs.test", hook.url, made["secret"]):
            assert secret not in log
        async with stored(data) as store:
            (left,) = await store.read_notices()
            assert (left.attempts, left.last_error) == (1, "HTTP 503")
            # Its time has come, as it would have half a minute later.
            await store.postpone_notices(left.subscription_id, left.created_at)
            await store.change_notice(_due(left))
        hook.status = 200
        await asyncio.to_thread(start, **settings)
        await noticed(hook, 2)
        assert len(box.mails) == 2


def _due(notice: Any) -> Any:
    return replace(notice, due_at=notice.created_at)


async def _only_one_left(data: Path) -> bool:
    """Whether everything was given but for one notice, which was tried."""
    async with stored(data) as store:
        return [notice.attempts for notice in await store.read_notices()] == [1]


async def test_the_commands_of_an_officer(server: Server, tmp_path: Path) -> None:
    """What can be done over HTTP can be done on the machine, in an officer's name; a checkpoint holds."""
    number = await overridden(server)
    (alert,) = json.loads(await command(server.data, "admin", "alerts", "--json"))
    listed = json.loads(await command(server.data, "admin", "alerts", "list", "--user", OFFICER, "--json"))
    assert [each["id"] for each in listed["alerts"]] == [alert["id"]]
    user = ("--user", OFFICER)
    shown = json.loads(await command(server.data, "admin", "alerts", "show", alert["id"], *user, "--json"))
    assert (shown["patient"], shown["text"]) == (number, TEXT)
    await command(server.data, "admin", "alerts", "change", alert["id"], "--to", "under-investigation", *user)
    out = await command(
        server.data, "admin", "alerts", "change", alert["id"], "--to", "closed", "--note", "order seen", *user
    )
    assert out.split() == [alert["id"], "changed", "closed"]
    point = tmp_path / "point.json"
    assert "digest" in await command(server.data, "admin", "audit", "checkpoint", "--out", str(point))
    await overridden(server)
    assert "intact" in await command(server.data, "admin", "verify", "--checkpoint", str(point))
    found = json.loads(await command(server.data, "admin", "audit", "search", "--action", "alert change", "--json"))
    assert [row["alert_new_state"] for row in found["rows"]] == ["closed", "under-investigation"]
    assert number not in json.dumps(found)
