"""Values that nobody sends by accident: what was accepted, later answers tell whole, and no more than they may."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from lxml import etree

from openscr.codes import ACS_SET, EVENT, EVENT_LIST, GP_SUMMARY, INITIAL_UPLOAD, UPLOAD, WITHDRAW
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.hl7.gp_summary import write_upload, write_withdrawal
from openscr.hl7.psis import PSIS, write_query
from openscr.hl7.rules.summaries import LONGEST_ID
from openscr.hl7.wrapper import Heading
from openscr.identifiers import hl7_timestamp, mint_uuid, utc_now
from openscr.spine import AckType, Consent, DissentOverride, EventListQuery, EventQuery, MessageIds, Person, Withdrawal
from openscr.testbench.world import OWN_ASID
from openscr.transport.xml import read_xml

from .examples import example, interaction_in
from .harness import GP, GP_ASID, Harness

PATIENT = "9990000018"
STRANGER = Person("979603625513", "055888118514", "R0260")


def heading() -> Heading:
    """The wrapper of a fresh message by the demo's GP system."""
    return Heading(mint_uuid(), hl7_timestamp(utc_now()), "V3NPfIT4.2.00", OWN_ASID, GP_ASID)


def summary(event_id: str, *changes: tuple[str, str]) -> bytes:
    """A core summary for our patient under an event id, after some replacements of text."""
    root = read_xml(example("gp-summary", "02"))
    document = next(root.iter("{urn:hl7-org:v3}GPSummary"))
    prior = document.find("{*}replacementOf")
    assert prior is not None
    document.remove(prior)
    identifier, patient = document.find("{*}id"), document.find("{*}recordTarget/{*}patient/{*}id")
    assert identifier is not None
    assert patient is not None
    identifier.set("root", event_id)
    patient.set("extension", PATIENT)
    text = etree.tostring(document, encoding="unicode", with_tail=False)
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text.encode()


async def ask(
    service: Harness, event_id: str | None = None, override: str = "0", person: Person | None = GP
) -> etree._Element:
    """List the patient's events, or retrieve one; return the interaction of the answer."""
    head = heading()
    reason = DissentOverride(override)
    query: EventListQuery | EventQuery
    if event_id is None:
        query = EventListQuery(MessageIds(head.message_id, EVENT_LIST), PATIENT, reason)
    else:
        query = EventQuery(MessageIds(head.message_id, EVENT), PATIENT, event_id, reason)
    payload = write_query(head, query, person)
    answer = await service.ask(service.in_soap(payload, interaction=query.ids.interaction))
    assert answer.status == 200, answer.body
    return interaction_in(answer.body)


def acknowledged_as(answer: etree._Element) -> str:
    """The type of an answer's acknowledgement."""
    element = answer.find("{urn:hl7-org:v3}acknowledgement")
    assert element is not None
    return element.get("typeCode", "")


@pytest.mark.parametrize("event_id", ['A"B', 'X"/><evil/>', "<&>'", "not-a-uuid", "x" * LONGEST_ID])
async def test_an_event_id_is_text_and_nothing_more(service: Harness, event_id: str) -> None:
    """Whatever word an event is kept under, lists and retrievals carry just that word."""
    _, taken = await service.deliver(write_upload(UPLOAD, heading(), summary(event_id), GP))
    assert taken.outcome.ack is AckType.ACCEPTED
    listed = await ask(service)
    ids = [e.get("root") for e in listed.iter(f"{PSIS}eventID")]
    assert ids == [event_id.upper()]
    assert not list(listed.iter("{*}evil"))
    retrieved = await ask(service, event_id)
    assert acknowledged_as(retrieved) == "AA"


@pytest.mark.parametrize("event_id", ["", "x" * (LONGEST_ID + 1), "a b"])
async def test_what_is_no_id_keeps_no_event(service: Harness, event_id: str) -> None:
    """An empty or endless id is as good as none: rule G2."""
    _, refused = await service.deliver(write_upload(UPLOAD, heading(), summary(event_id), GP))
    assert [issue.code for issue in refused.outcome.issues] == ["400", "400"]
    assert "hl7:id/@root" in refused.outcome.issues[1].display
    assert not (await service.state(PATIENT)).events


async def test_a_withdrawing_id_is_text_and_nothing_more(service: Harness) -> None:
    """The id of a withdrawal comes back on its target, whatever it is; what is no id withdraws nothing: rule W3."""
    target = mint_uuid()
    await service.deliver(write_upload(UPLOAD, heading(), summary(target), GP))
    withdrawal = Withdrawal(
        ids=MessageIds(mint_uuid(), WITHDRAW),
        nhs_number=PATIENT,
        event_id="a b",
        event_type=GP_SUMMARY,
        effective_time="20250101",
        target=target,
        reason="01",
    )
    _, refused = await service.deliver(write_withdrawal(WITHDRAW, heading(), withdrawal, GP))
    assert "hl7:id/@root" in refused.outcome.issues[-1].display
    hostile = replace(withdrawal, event_id='Q"><x')
    _, taken = await service.deliver(write_withdrawal(WITHDRAW, heading(), hostile, GP))
    assert taken.outcome.accepted
    listed = await ask(service)
    assert [e.get("root") for e in listed.iter(f"{PSIS}withdrawingEventID")] == ['Q"><X']


async def test_payload_id_follows_the_interaction(service: Harness) -> None:
    """What an initial upload brings is listed as its artefact, whatever the document calls itself. Spec: 10 §15."""
    _, taken = await service.deliver(write_upload(INITIAL_UPLOAD, heading(), summary(mint_uuid()), GP))
    assert taken.outcome.accepted
    renamed = summary(mint_uuid(), ("196981000000101", "196971000000103"))
    _, taken = await service.deliver(write_upload(UPLOAD, heading(), renamed, GP))
    assert taken.outcome.accepted
    listed = await ask(service)
    payloads = [e.get("extension") for e in listed.iter(f"{PSIS}payloadID")]
    assert payloads == ["REPC_MT150007UK05", "REPC_MT150002UK05"]


async def test_ids_outside_the_agent_are_no_crash(service: Harness) -> None:
    """A role profile id that stands beside the agent satisfies the count; nothing else is made of it."""
    agent = '<id root="1.2.826.0.1285.0.2.0.67" extension="100000000110"/>'
    beside = summary(
        mint_uuid(),
        (agent, ""),
        ("<author typeCode", "<author typeCode"),
        ('contextControlCode="OP">', f'contextControlCode="OP"><holder>{agent}</holder>'),
    )
    _, taken = await service.deliver(write_upload(UPLOAD, heading(), beside, GP))
    assert taken.outcome.accepted


@pytest.mark.parametrize("identified", [True, False])
async def test_a_refusal_entry_is_a_dissent_with_and_without_id(service: Harness, *, identified: bool) -> None:
    """The coded refusal alone lets a blank summary pass a recorded No. Spec: 10 §9.2."""
    await service.set_consent(PATIENT, Consent.NO)
    identifier = f'<id root="{mint_uuid()}"/>' if identified else ""
    refusal = (
        f'<UKCT_MT144056UK01.Refusal classCode="OBS" moodCode="EVN">{identifier}<code code="416308001"/>'
        '<effectiveTime value="20250101"/></UKCT_MT144056UK01.Refusal>'
    )
    document = summary(mint_uuid())
    start = document.index(b"<UKCT_MT144053UK02.Allergy")
    end = document.index(b"</UKCT_MT144053UK02.Allergy>") + len(b"</UKCT_MT144053UK02.Allergy>")
    document = document[:start] + refusal.encode() + document[end:]
    _, taken = await service.deliver(write_upload(UPLOAD, heading(), document, GP))
    assert taken.outcome.accepted
    (event,) = (await service.state(PATIENT)).events
    assert event.dissent == ("Refusal",)


async def test_phrases_are_found_however_deep(service: Harness) -> None:
    """A phrase counts in the innermost and in the outermost of nested cells alike. Spec: 10 §9.2."""
    phrase = "Refused consent for upload to national shared electronic record"
    cell = "<td>" * 20 + phrase + "</td>" * 20
    nested = summary(mint_uuid(), ("<h2>Current Repeat Medications</h2>", f"<table><tr>{cell}</tr></table>"))
    await service.deliver(write_upload(UPLOAD, heading(), nested, GP))
    (event,) = (await service.state(PATIENT)).events
    assert event.dissent == ("CASE1a",)


@pytest.mark.parametrize("person", [None, STRANGER], ids=["nobody", "a stranger"])
async def test_a_query_for_update_needs_a_known_person(service: Harness, person: Person | None) -> None:
    """Override 4 passes a No for the author's own practice, but never without somebody who is known. Spec: 35 §9.2."""
    await service.deliver(write_upload(UPLOAD, heading(), summary(mint_uuid()), GP))
    await service.set_consent(PATIENT, Consent.NO)
    assert acknowledged_as(await ask(service, override="4", person=GP)) == "AA"
    refused = await ask(service, override="4", person=person)
    assert acknowledged_as(refused) == "AE"
    assert not list(refused.iter(f"{PSIS}event"))


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('extension="990000000004"', 'extension=""', "INVALID_COMM_FUNC_RCV"),
        ("SET_RESOURCE_PERMISSIONS_INUK01", "GET_RESOURCE_PERMISSIONS_INUK01", "INCONSISTENT_HL7_INTERACTION_ID"),
    ],
)
async def test_a_broken_wrapper_changes_no_consent(service: Harness, old: str, new: str, key: str) -> None:
    """Over ebXML the wrapper of a SET is judged for itself: AR with the code and with reasons. Spec: 30 §6.1."""
    payload = example("acs", "13").decode()
    assert old in payload
    _, refused = await service.deliver(payload.replace(old, new).encode(), interaction=ACS_SET)
    assert refused.outcome.ack is AckType.REJECTED
    assert [issue.code for issue in refused.outcome.issues] == ["202", "400", "99720"]
    assert refused.outcome.issues[-1].display.endswith(key)
    assert (await service.state("9990012016")).consent is Consent.ASK


async def test_an_unreadable_set_has_reasons(service: Harness) -> None:
    """A client that looks at reasons alone must not take a rejection for a success. Spec: 30 §6.1."""
    delivery, refused = await service.deliver(
        b"<SET_RESOURCE_PERMISSIONS_INUK01", interaction=ACS_SET, from_party="Y90001-0000001"
    )
    assert refused.outcome.ack is AckType.REJECTED
    assert [issue.code for issue in refused.outcome.issues] == ["202", "400", "99720"]
    assert read_acknowledgement(delivery.root).reference


async def test_a_second_role_profile_is_not_believed(service: Harness) -> None:
    """An author with two role profile ids is nobody in particular: rule 19. Spec: 30 §3.1."""
    request = example("acs", "02").decode()
    one = '<id root="1.2.826.0.1285.0.2.0.67" extension="555000000102"/>'
    assert one in request
    answer = await service.ask(request.replace(one, one + one).encode())
    outcome = read_acknowledgement(interaction_in(answer.body)).outcome
    assert [issue.code for issue in outcome.issues] == ["202", "400", "99720"]
    assert (await service.state("9990012016")).consent is Consent.ASK


async def test_a_strange_party_is_audited(service: Harness) -> None:
    """Who is not registered is refused, and remembered with the cause. Spec: 35 §3.2, §9.4."""
    payload = write_upload(UPLOAD, heading(), summary(mint_uuid()), GP)
    answer, _ = await service.send(payload, interaction=UPLOAD, from_party="X99999-000001")
    assert b"402005" in answer.body
    (entry,) = [e for e in await service.audit() if e.content.get("reason") == "unknown_party"]
    assert entry.content["party_key"] == "X99999-000001"


async def test_the_audit_names_the_person(service: Harness) -> None:
    """A verified person's name stands beside the ids. Spec: 35 §7."""
    await service.deliver(write_upload(UPLOAD, heading(), summary(mint_uuid()), GP))
    (entry,) = await service.audit(nhs_number=PATIENT)
    assert entry.content["display_name"].endswith("Demopractice")


@pytest.mark.parametrize(
    ("change", "code"),
    [(lambda text: text.replace("<id root=", "<id x=", 1), b"201"), (lambda text: text, b"101")],
    ids=["no id to refer to", "another interaction"],
)
async def test_a_registered_sender_refused_with_a_fault_is_audited(
    service: Harness, change: Callable[[str], str], code: bytes
) -> None:
    """Also what is no message to answer in HL7 leaves a row, with who sent it. Spec: 35 §9.4, 20 §9.2."""
    head = heading()
    query = EventListQuery(MessageIds(head.message_id, EVENT_LIST), PATIENT)
    payload = change(write_query(head, query, GP).decode()).encode()
    wanted = EVENT_LIST if code == b"201" else EVENT
    answer = await service.ask(service.in_soap(payload, interaction=wanted))
    assert answer.status == 500
    assert b"errorCode>" + code in answer.body
    (entry,) = [each for each in await service.audit() if each.content.get("reason") == "invalid"]
    assert (entry.action, entry.outcome, entry.nhs_number) == (wanted, "AR", None)
    assert entry.content["asid"] == GP_ASID
    assert entry.content["user_id"] == GP.user_id
