"""Privacy alerts to a real service, in both forms: stored, answered, listed, refused. Spec: 35 §6.1, 60 §8.2, 80 §5."""

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from lxml import etree

from alerts import REFERENCE, an_alert, in_fhir
from hl7.test_readers import harm
from journeys.messages import HOSPITAL, PRACTICE, Client, answer_to, codes_of, collected, fresh_patient
from journeys.runner import Server, command
from journeys.wire import Answer, connected, errors_of, fault_of, post, request_bytes, signal_of
from openscr.codes import SERVICE_PREFIX
from openscr.errors import WRAPPER_ERRORS
from openscr.identifiers import mint_uuid
from openscr.spine import Consent, DissentOverride, Person
from openscr.testbench.alerts import REASON_OID, TYPE_OID
from openscr.transport.xml import read_xml
from openscr.validation import validate

PATH = "/clinical/alert"
JSON = ("Content-Type", "application/fhir+json")
GP_HEADERS = (("NHSD-Identity-UUID", "555000000101"), ("NHSD-Session-URID", "555000000102"))
ASID = ("nhsd-asid", "200000000115")


async def listed(server: Server, number: str) -> list[dict[str, Any]]:
    """The alerts about a patient, as the operator lists them."""
    alerts: list[dict[str, Any]] = json.loads(await command(server.data, "admin", "alerts", "--json", "--patients"))
    return [alert for alert in alerts if alert["patient"] == number]


async def test_an_alert_is_acknowledged_and_listed(demo: Server) -> None:
    """Over mutual TLS: the acknowledgement is AA with nothing in it; the list has all that the alert said."""
    number = fresh_patient()
    mail = PRACTICE.alert_mail(an_alert(number))
    first = await mail.post().to(demo.spine, demo.tls())
    assert signal_of(first).kind == "Acknowledgment"
    answered = await answer_to(demo.web, mail.message_id)
    assert codes_of(answered) == ("AA", [])
    assert (answered.detail, answered.reference) == ("", mail.message_id)
    (delivered,) = await collected(demo.web, mail.message_id)
    assert delivered["action"] == "MCCI_IN010000UK13"
    assert '<versionCode code="V3NPfIT4.2.00"/>' in delivered["payload"]
    # The same message again is the same alert.
    assert (await mail.post().to(demo.spine, demo.tls())).body == first.body
    (alert,) = await listed(demo, number)
    assert (alert["type"], alert["reason"], alert["state"], alert["source"]) == ("2", "5", "new", "COMT_IN000001UK01")
    assert (alert["user"], alert["role_profile"], alert["organisation"]) == ("555000000101", "555000000102", "Y90001")
    assert (alert["system"], alert["text"]) == ("200000000115", "Found unconscious")
    expected = {
        "reference": REFERENCE,
        "occurred_at": "20261122143000",
        "type/system": TYPE_OID,
        "type/display": "Access Alert",
        "reason/system": REASON_OID,
        "reason/display": "Access made in an emergency",
        "notification": f"Alert: Permission to view override {REFERENCE}",
        "user/name": "Dr Gita Demopractice",
        "organisation/name": "Demo Practice",
        "system/name": "Demo GP system",
    }
    assert alert["details"].items() >= expected.items()
    assert len(await collected(demo.web, mail.message_id)) == 1


async def test_what_an_override_raises_is_in_the_same_list(demo: Server) -> None:
    """An override past a dissent, an alert of HL7 and one of FHIR stand side by side, each with its source."""
    number = fresh_patient()
    await PRACTICE.upload(number).post().to(demo.web)
    await HOSPITAL.event_list(number, DissentOverride("2")).to(demo.web)
    assert await listed(demo, number) == []
    mail = PRACTICE.upload(number)
    await mail.post().to(demo.web)
    await PRACTICE.set_consent(number, Consent.NO).to(demo.web)
    await HOSPITAL.event_list(number, DissentOverride("2", "by statute")).to(demo.web)
    sent = PRACTICE.alert_mail(an_alert(number, "1", "4", text=""))
    await sent.post().to(demo.web)
    assert codes_of(await answer_to(demo.web, sent.message_id)) == ("AA", [])
    assert (await posted(demo, in_fhir(an_alert(number, "1", "6")), ASID, *GP_HEADERS)).status == 200
    found = [(alert["source"], alert["type"], alert["reason"], alert["text"]) for alert in await listed(demo, number)]
    assert found == [
        ("override", "2", "2", "by statute"),
        ("COMT_IN000001UK01", "1", "4", ""),
        ("AuditEvent", "1", "6", "Found unconscious"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ('extension="{number}"', 'extension="999000001"', "alert-checkPatient:nhsNumber"),
        ("<desc>R8000</desc>", "<desc/>", "alert-checkAuthor:personDesc"),
        (TYPE_OID, "", "alert-checkAlertEvent:codeSystem"),
        ("AgentPersonSDS", "AgentSystemSDS", "alert-checkControlActEvent:author"),
    ],
)
async def test_an_alert_that_fails_a_check_is_rejected_and_the_log_says_which(
    demo: Server, old: str, new: str, check: str
) -> None:
    """AR with code 202 and nothing else; nothing is stored. Spec: 40 §10.3 DECISION 25."""
    number = fresh_patient()
    mail = PRACTICE.alert_mail(an_alert(number)).changed(old.format(number=number), new, part="payload")
    assert signal_of(await mail.post().to(demo.web)).kind == "Acknowledgment"
    answered = await answer_to(demo.web, mail.message_id)
    assert [(i.code, i.display) for i in answered.outcome.issues] == [("202", "HL7 Validation Error")]
    assert answered.outcome.ack == "AR"
    (delivered,) = await collected(demo.web, mail.message_id)
    assert '<versionCode code="V3NPfIT3.1.10"/>' in delivered["payload"]
    assert "<reason " not in delivered["payload"]
    assert check in demo.log.read_text()
    assert await listed(demo, number) == []


@pytest.mark.parametrize(("payload", "code"), [(b"<COMT", "202"), (None, "503")])
async def test_a_wrapper_at_fault_is_told_by_its_codes(demo: Server, payload: bytes | None, code: str) -> None:
    """The codes of every asynchronous message; a payload that is no XML is 202. Spec: 40 §10.4."""
    mail = PRACTICE.alert_mail(an_alert(fresh_patient()))
    mail = replace(mail, payload=payload or mail.payload.replace(b"<versionCode", b"<versionCodes"))
    assert signal_of(await mail.post().to(demo.web)).kind == "Acknowledgment"
    assert codes_of(await answer_to(demo.web, mail.message_id)) == ("AR", [code])


@pytest.mark.parametrize(
    "person",
    [
        Person("555000009901", "555000009902", "R8000"),
        Person("555000000501", "555000000102", "R8000"),
        Person("555000000701", "555000000702", "R8000"),
    ],
    ids=["unknown", "another's role", "closed role"],
)
async def test_nobody_raises_an_alert_in_a_strangers_name(demo: Server, person: Person) -> None:
    """An alert always needs a known author, also where uploads do without. Spec: 35 §9.2."""
    number = fresh_patient()
    mail = Client(person=person).alert_mail(an_alert(number))
    assert signal_of(await mail.post().to(demo.web)).kind == "Acknowledgment"
    assert codes_of(await answer_to(demo.web, mail.message_id)) == ("AE", ["420", "30418"])
    assert await listed(demo, number) == []


async def test_an_alert_under_a_known_wrapper_id(demo: Server) -> None:
    """Sent once more under another MessageId it is the same alert; with other content it is refused. Spec: 30 §7.1."""
    number = fresh_patient()
    first = PRACTICE.alert_mail(an_alert(number))
    repeated = PRACTICE.mail(first.payload, "COMT_IN000001UK01", mint_uuid(), service="alerts")
    other = PRACTICE.mail(
        first.payload.replace(b"unconscious", b"otherwise"),
        "COMT_IN000001UK01",
        mint_uuid(),
        service="alerts",
    )
    for mail, codes in ((first, ("AA", [])), (repeated, ("AA", [])), (other, ("AE", ["401"]))):
        assert signal_of(await mail.post().to(demo.web)).kind == "Acknowledgment"
        assert codes_of(await answer_to(demo.web, mail.message_id)) == codes
    assert [alert["text"] for alert in await listed(demo, number)] == ["Found unconscious"]


async def test_alerts_go_over_reliable_messaging_under_their_own_contract(demo: Server) -> None:
    """Over SOAP there is no alert; under the CPA of uploads none either."""
    mail = PRACTICE.alert_mail(an_alert(fresh_patient()))
    action = f"{SERVICE_PREFIX}alerts/COMT_IN000001UK01"
    over_soap = await post(
        demo.web, "/sync-service", mail.payload, (("SOAPAction", action), ("Content-Type", "text/xml"))
    )
    assert fault_of(over_soap).codes == ("101",)
    codes = errors_of(await mail.changed("S20005A000506", "S20001A000182").post().to(demo.web))
    assert [code for code, _ in codes] == ["ValueNotRecognized"]
    mail = PRACTICE.alert_mail(an_alert(fresh_patient()))
    errors = errors_of(await mail.post().to(demo.spine, demo.tls("viewer.client.test")))
    assert [code for code, _ in errors] == ["SecurityFailure"]


async def test_a_damaged_alert_gets_an_answer_of_the_protocol(demo: Server) -> None:
    """Whatever is done to an alert: a fault of the client's, AR, AE, or AA for what the validator finds good."""
    for seed in range(60):
        mail = PRACTICE.alert_mail(an_alert(fresh_patient()))
        root = read_xml(mail.payload)
        chance = random.Random(seed)
        kinds = ("drop", "repeat", "empty", "blank", "strip", "rename", "comment", "text")
        words = ("", " ", "0", "x" * 50, "\u00e9", "9990001030", "1.2.3")
        harm(root, [(chance.choice(kinds), chance.randrange(10_000), chance.choice(words)) for _ in range(2)])
        mail = replace(mail, payload=etree.tostring(root))
        answer = await mail.post().to(demo.web)
        if answer.status == 500:
            assert fault_of(answer).codes == ("300",), seed
            continue
        assert signal_of(answer).kind == "Acknowledgment", seed
        outcome = (await answer_to(demo.web, mail.message_id)).outcome
        told = {issue.code for issue in outcome.issues}
        assert told <= (set(WRAPPER_ERRORS) if outcome.ack == "AR" else {"420", "30418"}), seed
        assert not outcome.accepted or validate(mail.payload).ok, seed


# --- FHIR -----------------------------------------------------------------------------------------------------------


async def posted(server: Server, event: object, *headers: tuple[str, str], tls: str = "") -> Answer:
    """Post an AuditEvent, or a body as it is."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    base, context = (server.spine, server.tls(tls)) if tls else (server.web, None)
    sent: Sequence[tuple[str, str]] = (
        headers if any(name == "Content-Type" for name, _ in headers) else (JSON, *headers)
    )
    return await post(base, PATH, body, sent, context)


def refusal(answer: Answer) -> tuple[int, str, str, str]:
    """Return status, issue code, Spine code and text of an OperationOutcome."""
    assert answer.header("content-type") == "application/fhir+json"
    outcome = json.loads(answer.body)
    assert outcome["resourceType"] == "OperationOutcome"
    (issue,) = outcome["issue"]
    (coding,) = issue["details"]["coding"]
    assert coding["system"] == "https://fhir.nhs.uk/CodeSystem/Spine-ErrorOrWarningCode"
    assert issue["details"]["text"] == coding["display"]
    return answer.status, issue["code"], coding["code"], coding["display"]


async def test_an_audit_event_is_stored_and_listed(demo: Server) -> None:
    """200 with an empty body, over mutual TLS; a request that is repeated is one alert."""
    number = fresh_patient()
    headers = (ASID, *GP_HEADERS, ("NHSD-Request-ID", "9f3a0a9c-0000-4000-8000-000000000001"))
    for _ in range(2):
        answer = await posted(demo, in_fhir(an_alert(number)), *headers, tls="gp.client.test")
        assert (answer.status, answer.body, answer.header("content-type")) == (200, b"", None)
    (alert,) = await listed(demo, number)
    assert (alert["type"], alert["reason"], alert["source"], alert["text"]) == (
        "2",
        "5",
        "AuditEvent",
        "Found unconscious",
    )
    assert (alert["user"], alert["role_profile"], alert["job_role"]) == ("555000000101", "555000000102", "R8000")
    assert alert["details"]["notification"].endswith(REFERENCE)
    assert alert["details"]["occurred_at"] == "2026-11-22T14:30:00+00:00"
    assert "author" not in alert["details"]


async def test_an_audit_event_without_headers_is_taken_at_its_word_in_a_demo(demo: Server) -> None:
    """The ASID is the event's, the user the one whom it names; that nobody vouches for them is kept."""
    number = "9999999998"
    before = len(await listed(demo, number))
    event = in_fhir(an_alert(number))
    event["agent"][2]["who"]["identifier"]["value"] = "T10101"
    assert (await posted(demo, event)).status == 200
    alert = (await listed(demo, number))[before]
    assert (alert["user"], alert["role_profile"], alert["system"]) == ("T10101", None, "200000000115")
    assert alert["details"]["author"] == "author_unverified"


@pytest.mark.parametrize(
    ("headers", "tls", "code"),
    [
        ((("nhsd-asid", "200000000999"),), "", "ASID_CHECK_FAILED"),
        ((("nhsd-asid", "200000000100"), ("nhsd-asid", "200000000115")), "", "ASID_CHECK_FAILED"),
        ((ASID,), "viewer.client.test", "ASID_CHECK_FAILED"),
        ((ASID, ("NHSD-Identity-UUID", "555000009901"), ("NHSD-Session-URID", "555000009902")), "", "ACCESS_DENIED"),
        ((ASID, ("NHSD-Identity-UUID", "555000000501"), ("NHSD-Session-URID", "555000000102")), "", "ACCESS_DENIED"),
    ],
)
async def test_who_may_not_raise_alerts_is_forbidden(
    demo: Server, headers: tuple[tuple[str, str], ...], tls: str, code: str
) -> None:
    """403 with an OperationOutcome, and nothing stored. Spec: 35 §9.1, §9.2."""
    number = fresh_patient()
    status, issue, said, _ = refusal(await posted(demo, in_fhir(an_alert(number)), *headers, tls=tls))
    assert (status, issue, said) == (403, "forbidden", code)
    assert await listed(demo, number) == []


async def test_a_live_service_wants_to_know_who_raises_an_alert(start: Callable[..., Server]) -> None:
    """Where unknown authors are refused, so is an event whose user nothing vouches for."""
    server = await asyncio.to_thread(start, demo=True, author_unknown="refuse")
    number = fresh_patient()
    assert refusal(await posted(server, in_fhir(an_alert(number)), ASID))[:3] == (403, "forbidden", "ACCESS_DENIED")
    assert (await posted(server, in_fhir(an_alert(number)), ASID, *GP_HEADERS)).status == 200
    assert len(await listed(server, number)) == 1


NOT_JSON = "the body is not JSON"
BODIES = {
    "empty": (b"", NOT_JSON),
    "cut off": (b'{"resourceType": "AuditEvent"', NOT_JSON),
    "not UTF-8": (b'{"resourceType": "\xff"}', NOT_JSON),
    "XML": (b"<AuditEvent/>", NOT_JSON),
    "a list": (b"[]", "the body is not a JSON object"),
    "a number": (b"1", "the body is not a JSON object"),
    "another resource": (b'{"resourceType": "Patient"}', "the resource is not of type AuditEvent"),
    "a type that is no text": (b'{"resourceType": ["AuditEvent"]}', "the resource is not of type AuditEvent"),
    "very deep": (b"[" * 100_000 + b"]" * 100_000, "the body is nested deeper than 200 levels"),
    "too deep": (
        b'{"resourceType": "AuditEvent", "contained": ' + b"[" * 200 + b"]" * 200 + b"}",
        "the body is nested deeper than 200 levels",
    ),
    "another type of value": (
        b'{"resourceType": "AuditEvent", "agent": {"who": 1}}',
        "Expected `array | null`, got `object` - at `$.agent`",
    ),
    "nothing in it": (b'{"resourceType": "AuditEvent"}', "'id' element is missing"),
    "a control character": (
        b'{"resourceType": "AuditEvent", "outcomeDesc": "a\\u0000b"}',
        '[element="outcomeDesc"] the text holds a control character',
    ),
    "an empty text": (
        b'{"resourceType": "AuditEvent", "outcomeDesc": ""}',
        '[element="outcomeDesc"] Invalid attribute value "": Attribute value must not be empty ("")',
    ),
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_body_that_is_no_alert_is_refused_with_its_reason(demo: Server, name: str) -> None:
    """400 with an OperationOutcome, whatever was sent: never a fault of ours."""
    body, text = BODIES[name]
    assert refusal(await posted(demo, body, ASID)) == (400, "value", "INVALID_VALUE", text)


async def test_the_framing_of_an_alert(demo: Server) -> None:
    """Other methods, other media types and bodies over the limit have their own status, and an OperationOutcome."""
    event = json.dumps(in_fhir(an_alert(fresh_patient()))).encode()
    async with connected(demo.web) as connection:
        other = await connection.exchange(request_bytes(PATH, b"", (), method="GET"))
    assert (other.status, other.header("allow")) == (405, "POST")
    assert refusal(await posted(demo, event, ASID, ("Content-Type", "text/xml")))[:2] == (415, "not-supported")
    assert (await posted(demo, event, ASID, ("Content-Type", "application/json; charset=utf-8"))).status == 200
    async with connected(demo.web) as connection:
        head = request_bytes(PATH, b"", (JSON, ASID), length=6_000_000)
        large = await connection.exchange(head)
    assert refusal(large)[:3] == (413, "too-long", "INVALID_VALUE")
    assert large.header("connection") == "close"
