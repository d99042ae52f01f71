"""The ACS examples: requests sent as they are, our answers compared with those shown, all of them read."""

import pytest
from lxml import etree

from openscr.codes import ACS_GET, ACS_SET
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.hl7.acs import read_get_answer, write_get, write_set
from openscr.hl7.wrapper import Heading
from openscr.spine import Consent, ConsentChange, ConsentQuery, MessageIds
from openscr.transport.xml import read_xml

from .comparing import canonical, same
from .examples import example, interaction_in
from .harness import GP, GP_ASID, Harness

FOLDER = "acs"
PATIENT = "9990012016"
ALIAS = "990000000004"
SUPPORTED = {"01": ACS_SET, "02": ACS_SET, "03": ACS_SET, "06": ACS_GET, "07": ACS_GET}


async def ask(service: Harness, name: str, *changes: tuple[str, str]) -> bytes:
    """Send an example, after some replacements of text, and return the answer's envelope."""
    body = example(FOLDER, name)
    for old, new in changes:
        assert old.encode() in body
        body = body.replace(old.encode(), new.encode())
    answer = await service.ask(body)
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "text/xml"
    return answer.body


def codes(answer: bytes) -> tuple[str, list[str]]:
    """Return type and issue codes of an acknowledgement in an envelope."""
    outcome = read_acknowledgement(interaction_in(answer)).outcome
    return outcome.ack.value, [issue.code for issue in outcome.issues]


async def consent_of(service: Harness) -> Consent:
    """What the store holds."""
    return (await service.state(PATIENT)).consent


async def test_set_and_get(service: Harness) -> None:
    """Consent is set, read and cleared by the examples; the answers are those shown."""
    same(await ask(service, "06"), example(FOLDER, "09"))
    same(await ask(service, "01"), example(FOLDER, "04"))
    assert await consent_of(service) is Consent.YES
    assert codes(await ask(service, "02")) == ("AA", [])
    assert await consent_of(service) is Consent.NO
    same(await ask(service, "06"), example(FOLDER, "08"))
    filtered = read_xml(await ask(service, "07"))
    assert [e.text for e in filtered.iterfind(".//{*}accessControlAssertion/{*}function/{*}code")] == ["View"]
    assert codes(await ask(service, "03")) == ("AA", [])
    assert await consent_of(service) is Consent.ASK
    same(await ask(service, "06"), example(FOLDER, "09"))


async def test_wrong_nhs_number(service: Harness) -> None:
    """A number that fails its check digit is refused as shown."""
    same(await ask(service, "01", (PATIENT, "9990012017")), example(FOLDER, "05"))


async def test_set_over_ebxml(service: Harness) -> None:
    """The bare payload travels over reliable messaging and is acknowledged without wrapper and detail."""
    delivery, acknowledgement = await service.deliver(example(FOLDER, "13"))
    assert acknowledgement.outcome.accepted
    assert acknowledgement.detail == ""
    assert delivery.envelope.action == "MCCI_IN010000UK13"
    assert delivery.path.endswith("/lrs")
    assert await consent_of(service) is Consent.NO


@pytest.mark.parametrize("soap_first", [True, False])
async def test_set_repeated_on_the_other_transport(service: Harness, *, soap_first: bool) -> None:
    """The same SET over the other transport is acknowledged in that one's own form, and sets nothing. Spec: 30 §7.1."""
    payload = example(FOLDER, "13")
    payload = payload[payload.index(b"<SET_RESOURCE") :].rstrip()
    envelope = service.in_soap(payload, interaction=ACS_SET, receiver=ALIAS)
    for soap in (soap_first, not soap_first):
        if soap:
            answer = await service.ask(envelope)
            assert answer.status == 200
            assert codes(answer.body) == ("AA", [])
        else:
            _, acknowledgement = await service.deliver(payload)
            assert acknowledgement.outcome.accepted
        await service.set_consent(PATIENT, Consent.YES)
    assert await consent_of(service) is Consent.YES
    assert (await service.state(PATIENT)).consent_version == 3


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n1", ("AE", ["400", "99703"])),
        ("n2", ("AE", ["400", "99701"])),
        ("n3", ("AE", ["400", "99702", "99704", "99705"])),
        ("n4", ("AE", ["400", "35506"])),
        ("n6", ("AE", ["400", "99708"])),
    ],
)
async def test_negative_examples(service: Harness, name: str, expected: tuple[str, list[str]]) -> None:
    """Each faulty example is refused with every fault that the specification lists for it, in order."""
    assert codes(await ask(service, name)) == expected
    assert (await service.state(PATIENT)).consent_version == 0


async def test_unsupported_interaction(service: Harness) -> None:
    """A SOAPAction of no interaction gets the fault of example n7."""
    answer = await service.ask(example(FOLDER, "01"), action="urn:nhs:names:services:lrs/SET_NOTHING_INUK01")
    assert answer.status == 500
    assert canonical(answer.body) == canonical(example(FOLDER, "n7"))


def test_our_readers_read_the_answers() -> None:
    """A client of ours reads the acknowledgements and the GET answers, errors in both forms."""
    assert codes(example(FOLDER, "04")) == ("AA", [])
    assert codes(example(FOLDER, "05")) == ("AE", ["400", "35160"])
    assert codes(example(FOLDER, "10")) == ("AE", ["400"])
    for name, consent in (("08", Consent.NO), ("09", Consent.ASK)):
        answer = read_get_answer(interaction_in(example(FOLDER, name)), PATIENT)
        assert answer.outcome.accepted
        assert answer.consent is consent
    failed = read_get_answer(interaction_in(example(FOLDER, "10")), PATIENT)
    assert not failed.outcome.accepted


def test_requests_are_written_as_shown() -> None:
    """Our client writes SET with both assertions and GET without criteria, as the examples show. Spec: 30 §4."""
    set_id, get_id = (f"7A1F0E0{n}-3C55-4B0E-9D11-0C5A11CE000{n}" for n in (1, 6))
    heading = Heading(set_id, "20250602101500", "V3NPfIT3.0", ALIAS, GP_ASID)
    ours = write_set(heading, ConsentChange(MessageIds(set_id, ACS_SET), PATIENT, Consent.YES), GP)
    assert canonical(ours) == canonical(etree.tostring(interaction_in(example(FOLDER, "01")), with_tail=False))
    shown = interaction_in(example(FOLDER, "06"))
    person = GP if shown.find(".//{*}AgentPersonSDS") is not None else None
    created = shown.find("{*}creationTime")
    assert created is not None
    heading = Heading(get_id, created.get("value", ""), "V3NPfIT3.0", ALIAS, GP_ASID)
    ours = write_get(heading, ConsentQuery(MessageIds(get_id, ACS_GET), PATIENT), person)
    assert canonical(ours) == canonical(etree.tostring(shown, with_tail=False))
