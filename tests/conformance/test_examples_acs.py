"""The ACS examples: requests sent as they are, our answers compared with those shown, all of them read."""

import asyncio

import pytest
from lxml import etree

from openscr.codes import ACS_GET, ACS_HAS, ACS_SET
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.hl7.acs import read_get_answer, write_get, write_set
from openscr.hl7.permission_check import read_has_answer, write_has
from openscr.hl7.wrapper import Heading
from openscr.identifiers import slot_of
from openscr.spine import (
    Accessor,
    AskedPermission,
    Consent,
    ConsentChange,
    ConsentQuery,
    MessageIds,
    PermissionQuery,
)
from openscr.store.interface import ConsentRow, Transaction
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


async def test_has(service: Harness) -> None:
    """What is asked of example 11 is answered as example 12 shows, and with the value that holds."""
    same(await ask(service, "11"), example(FOLDER, "12"))
    assert codes(await ask(service, "02")) == ("AA", [])
    answer = read_has_answer(interaction_in(await ask(service, "11")), PATIENT)
    assert [(asked.code, value) for asked, value in answer.permissions] == [
        ("Store", Consent.NO),
        ("View", Consent.NO),
    ]
    (entry,) = [entry for entry in await service.audit() if entry.action == ACS_HAS][-1:]
    assert (entry.nhs_number, entry.outcome) == (PATIENT, "AA")


ACCESSOR = "<crs:name>Everyone</crs:name>"


@pytest.mark.parametrize("name", ["id", "Id"])
async def test_has_for_one_user(service: Harness, name: str) -> None:
    """The id of an accessor is taken in the schema's spelling and in the rule's, and told in the schema's. D1."""
    written = f'<crs:{name} root="1.2.826.0.1285.0.2.0.65" extension="555000000101"/>'
    answer = await ask(service, "11", (ACCESSOR, written), ("<crs:type>Everyone", "<crs:type>User Id"))
    assert answer.count(b'<crs:id root="1.2.826.0.1285.0.2.0.65" extension="555000000101"/>') == 2
    accessors = {asked.accessor for asked, _ in read_has_answer(interaction_in(answer), PATIENT).permissions}
    assert accessors == {Accessor("User Id", "", "1.2.826.0.1285.0.2.0.65", "555000000101")}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ((), ["Ask", "No"]),
        ((("<crs:type>SCR<", "<crs:type>Document<"),), ["Ask", "Ask"]),
        ((("<crs:context>Consent<", "<crs:context>Sealing<"),), ["Ask", "Ask"]),
        ((("<crs:code>View<", "<crs:code>Print<"),), ["Ask", "Ask"]),
    ],
)
async def test_has_for_what_consent_does_not_cover(
    service: Harness, changes: tuple[tuple[str, str], ...], expected: list[str]
) -> None:
    """Nothing can be stored of another resource, context or function: it is at its default, whatever the consent."""
    told = []
    for value in (Consent.ASK, Consent.NO):
        await service.set_consent(PATIENT, value)
        answer = read_has_answer(interaction_in(await ask(service, "11", *changes)), PATIENT)
        assert len(answer.permissions) == 2
        told.append(answer.permissions[-1][1].value)
    assert told == expected


@pytest.mark.parametrize(
    ("changes", "functions"),
    [
        ((), ["View"]),
        ((("<crs:code>View</crs:code>", ""),), ["Store", "View"]),
        ((("<crs:code>View<", "<crs:code>Store<"),), ["Store"]),
        ((("<crs:code>View<", "<crs:code>Print<"),), []),
        ((("<crs:type>SCR<", "<crs:type>Document<"),), []),
        ((("<crs:context>Consent<", "<crs:context>Sealing<"),), []),
        (
            (
                (
                    "<crs:resource>",
                    "<crs:resource><crs:type>X</crs:type><crs:Id>9990012016</crs:Id></crs:resource><crs:resource>",
                ),
            ),
            ["View"],
        ),
    ],
)
async def test_criteria_of_get(service: Harness, changes: tuple[tuple[str, str], ...], functions: list[str]) -> None:
    """Criteria are a filter: no code is both, another resource or context is nothing. Spec: 30 §5.2."""
    await service.set_consent(PATIENT, Consent.NO)
    answer = read_xml(await ask(service, "07", *changes))
    told = [e.text for e in answer.iterfind(".//{*}accessControlAssertion/{*}function/{*}code")]
    assert told == functions


@pytest.mark.parametrize("name", ["08", "09", "12"])
@pytest.mark.parametrize("namespace", ["", "urn:hl7-org:v3"])
def test_payloads_of_other_namespaces_are_read_alike(name: str, namespace: str) -> None:
    """The harness's payload is in no namespace, that of an event list in the default one. Spec: 30 §4.3 D3."""
    data = example(FOLDER, name)
    root = interaction_in(data)
    for element in list(root.iter("{http://national.carerecords.nhs.uk/schema/crs/}*")):
        local = etree.QName(element).localname
        element.tag = f"{{{namespace}}}{local}" if namespace else local
    other = read_xml(etree.tostring(root, with_tail=False))
    if name == "12":
        assert read_has_answer(other, PATIENT) == read_has_answer(interaction_in(data), PATIENT)
        assert len(read_has_answer(other, PATIENT).permissions) == 2
    else:
        assert read_get_answer(other, PATIENT) == read_get_answer(interaction_in(data), PATIENT)
        assert read_get_answer(other, PATIENT).consent is (Consent.NO if name == "08" else Consent.ASK)


async def test_concurrent_sets(service: Harness) -> None:
    """Two SETs at once are both accepted, one after the other: the last one committed holds. Spec: 30 §9.1, §13."""
    bodies = []
    for number, value in ((1, b">Yes<"), (2, b">No<")):
        body = example(FOLDER, "01").replace(b"7A1F0E01", b"7A1F0E0%d" % number).replace(b">Yes<", value)
        bodies.append(body.replace(b"CE0001", b"CE000%d" % number))
    answers = await asyncio.gather(*(service.ask(body) for body in bodies))
    assert [codes(answer.body) for answer in answers] == [("AA", []), ("AA", [])]
    state = await service.state(PATIENT)
    assert state.consent_version == 2

    async def read(transaction: Transaction) -> tuple[ConsentRow, ...]:
        return await transaction.consent_history(PATIENT)

    first, last = await service.store.transact(slot_of(PATIENT), read)
    assert {first.value, last.value} == {Consent.YES, Consent.NO}
    assert state.consent is last.value
    audited = [entry.content for entry in await service.audit() if entry.action == ACS_SET]
    assert [entry["previous_consent"] for entry in audited[-2:]] == ["Ask", first.value.value]


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
        ("n5", ("AE", ["400", "99702"])),
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
    shown = interaction_in(example(FOLDER, "11"))
    heading = Heading("7A1F0E0B-3C55-4B0E-9D11-0C5A11CE000B", "20250602102200", "V3NPfIT3.0", ALIAS, GP_ASID)
    query = PermissionQuery(MessageIds("", ACS_HAS), PATIENT, (AskedPermission("Store"), AskedPermission("View")))
    assert canonical(write_has(heading, query, GP)) == canonical(etree.tostring(shown, with_tail=False))
