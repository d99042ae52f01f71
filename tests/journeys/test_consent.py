"""Consent over both transports, to a real service: set, asked for, told, refused, repeated. Spec: 30."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from lxml import etree

from journeys.messages import HOSPITAL, PRACTICE, Client, Mail, answer_to, codes_of, collected, fresh_patient
from journeys.runner import Server
from journeys.wire import fault_of, signal_of, soap_of
from openscr.codes import ACKNOWLEDGEMENT, ACS_GET_ANSWER, ACS_HAS_ANSWER, CRS_NS
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.hl7.acs import read_get_answer
from openscr.hl7.permission_check import read_has_answer
from openscr.spine import Accessor, AskedPermission, Consent, Person
from openscr.testbench.population import MERGED
from openscr.transport.xml import read_xml

EVERYONE = (AskedPermission("Store"), AskedPermission("View"))
SOMEBODY = AskedPermission("View", Accessor("User Id", "", "1.2.826.0.1285.0.2.0.65", "555000000101"))
CLERK = Person("555000000201", "555000000202", "R8008")
DENIED = [
    ("420", "Business condition related to access control  which prevents the action being performed by PSIS"),
    ("30418", "[PSIS-30418] - ACF does not permit access to resource"),
]


async def consent_of(server: Server, number: str) -> Consent:
    """What a GET says."""
    answer = soap_of(await PRACTICE.get_consent(number).to(server.web), ACS_GET_ANSWER)
    return read_get_answer(answer.interaction, number).consent


def wrapper_of(interaction: etree._Element) -> str:
    """The element around an answer."""
    parent = interaction.getparent()
    assert parent is not None
    return etree.QName(parent).localname


async def permissions_of(server: Server, number: str, *asked: AskedPermission) -> list[tuple[str, str, str]]:
    """What a HAS says: function, accessor and permission of each set."""
    answer = soap_of(await HOSPITAL.has_permissions(number, *asked).to(server.web), ACS_HAS_ANSWER)
    assert wrapper_of(answer.interaction) == "hasResourcePermissionsResponse"
    read = read_has_answer(answer.interaction, number)
    assert read.outcome.accepted
    return [(one.code, one.accessor.name or one.accessor.extension, value.value) for one, value in read.permissions]


async def test_consent_lives_over_both_transports(demo: Server) -> None:
    """No, Yes and Clear over reliable messaging and over SOAP; GET and HAS tell each of them."""
    number = fresh_patient()
    assert await permissions_of(demo, number, *EVERYONE) == [("Store", "Everyone", "Ask"), ("View", "Everyone", "Ask")]
    for value in (Consent.NO, Consent.YES, Consent.ASK, Consent.NO, Consent.ASK):
        mail = PRACTICE.consent_mail(number, value)
        assert signal_of(await mail.post().to(demo.web)).kind == "Acknowledgment"
        answered = await answer_to(demo.web, mail.message_id)
        assert codes_of(answered) == ("AA", [])
        assert (answered.detail, answered.reference) == ("", mail.message_id)
        assert await consent_of(demo, number) is value
        told = [("View", "555000000101", value.value), ("Store", "Everyone", value.value)]
        assert await permissions_of(demo, number, SOMEBODY, EVERYONE[0]) == told
        over_soap = Consent.NO if value is not Consent.NO else Consent.YES
        answer = soap_of(await PRACTICE.set_consent(number, over_soap).to(demo.web), ACKNOWLEDGEMENT)
        assert read_acknowledgement(answer.interaction).outcome.accepted
        assert await consent_of(demo, number) is over_soap


async def delivered(server: Server, mail: Mail) -> etree._Element:
    """Send a message reliably and return the HL7 document that answers it, as it was delivered."""
    assert signal_of(await mail.post().to(server.web)).kind == "Acknowledgment"
    await answer_to(server.web, mail.message_id)
    (message,) = await collected(server.web, mail.message_id)
    return read_xml(message["payload"].encode())


def told(root: etree._Element) -> tuple[str, str, list[tuple[str, str]], list[tuple[str, str]]]:
    """Return root, type, wrapper details and reasons of an acknowledgement, each with its text."""
    name = {"h": "urn:hl7-org:v3"}
    details = root.findall("h:acknowledgement/h:acknowledgementDetail/h:code", name)
    reasons = root.findall("h:ControlActEvent/h:reason/h:justifyingDetectedIssueEvent/h:code", name)
    acknowledgement = root.find("h:acknowledgement", name)
    assert acknowledgement is not None
    return (
        etree.QName(root).localname,
        acknowledgement.get("typeCode", ""),
        [(each.get("code", ""), each.get("displayName", "")) for each in details],
        [(each.get("code", ""), each.get("displayName", "")) for each in reasons],
    )


INVALID = ("400", "Invalid Request")
REFUSED = {
    "role": (lambda mail: mail, [], DENIED),
    "two values": (
        lambda mail: replace(mail, payload=mail.payload.replace(b">Yes<", b">No<", 1)),
        [],
        [INVALID, ("99701", "[ACS-99701] - Mandatory data missing: Inconsistent Permission to View and Store")],
    ),
    "no such word": (
        lambda mail: replace(mail, payload=mail.payload.replace(b">Yes<", b">Perhaps<")),
        [],
        [INVALID, ("99716", "[ACS-99716] - Invalid permission value Perhaps")],
    ),
    "ask": (
        lambda mail: replace(mail, payload=mail.payload.replace(b">Yes<", b">Ask<")),
        [],
        [INVALID, ("99716", "[ACS-99716] - Invalid permission value Ask")],
    ),
    "wrapper": (
        lambda mail: mail.changed("<versionCode", "<versionCodes", part="payload"),
        [("202", "HL7 Validation Error")],
        [INVALID, ("99720", "[ACS-99720] - HL7 wrapper invalid: INVALID_VERSION_CODE")],
    ),
    "not XML": (
        lambda mail: replace(mail, payload=b"<SET"),
        [("202", "HL7 Validation Error")],
        [INVALID, ("99720", "[ACS-99720] - HL7 wrapper invalid: HL7_VALIDATION_ERROR")],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_a_set_that_is_refused_is_told_so_reliably(demo: Server, name: str) -> None:
    """AE and AR in their forms: no wrapper element around them, the reasons with their texts. Spec: 30 §6, §7."""
    change, details, reasons = REFUSED[name]
    number = fresh_patient()
    client = Client(person=CLERK) if name == "role" else PRACTICE
    mail = change(client.consent_mail(number, Consent.YES))
    assert told(await delivered(demo, mail)) == (ACKNOWLEDGEMENT, "AR" if details else "AE", details, reasons)
    assert await consent_of(demo, number) is Consent.ASK


async def test_a_set_that_is_sent_again_is_acknowledged_again_and_answered_once(demo: Server) -> None:
    """The same MessageId is a repetition; the same wrapper id with other content is a duplicate id. Spec: 30 §7.1."""
    number = fresh_patient()
    mail = PRACTICE.consent_mail(number, Consent.NO)
    first = await mail.post().to(demo.web)
    assert (await mail.post().to(demo.web)).body == first.body
    assert codes_of(await answer_to(demo.web, mail.message_id)) == ("AA", [])
    other = PRACTICE.consent_mail(number, Consent.YES)
    other = replace(other, payload=other.payload.replace(other.message_id.encode(), mail.message_id.encode()))
    assert told(await delivered(demo, other))[1:] == ("AE", [], [("401", "Duplicate Message ID")])
    assert await consent_of(demo, number) is Consent.NO
    assert len(await collected(demo.web, mail.message_id)) == 1


async def test_a_question_about_a_superseded_number_is_answered_for_the_one_that_holds(demo: Server) -> None:
    """HAS follows a merged number and warns; a SET of it is refused. Spec: 30 §6.1, §9.1."""
    answer = soap_of(await PRACTICE.has_permissions(MERGED, *EVERYONE).to(demo.web), ACS_HAS_ANSWER)
    root = answer.interaction
    (warning,) = read_has_answer(root, MERGED).outcome.issues
    text = "NHS Number supplied as a parameter has been superseded and superseding NHS Number returned"
    assert (warning.code, warning.display, warning.severity) == ("24", text, "WG")
    context = root.find(f".//{{{CRS_NS}}}resourceContext")
    assert context is not None
    assert context.get("extension") == "9990012318"
    assert {each.text for each in root.iterfind(f".//{{{CRS_NS}}}Id")} == {"9990012318"}
    refused = soap_of(await PRACTICE.set_consent(MERGED, Consent.NO).to(demo.web), ACKNOWLEDGEMENT)
    assert [issue.code for issue in read_acknowledgement(refused.interaction).outcome.issues] == ["410", "30307"]


async def test_has_goes_over_soap_alone_and_is_refused_in_its_own_wrapper(demo: Server) -> None:
    """A broken HAS is refused in the wrapper of HAS; over reliable messaging there is none. Spec: 30 §6.1, 40 §3."""
    number = fresh_patient()
    post = PRACTICE.has_permissions(number, *EVERYONE)
    broken = replace(post, body=post.body.replace(b"<crs:code>View</crs:code>", b""))
    answer = soap_of(await broken.to(demo.web), ACKNOWLEDGEMENT).interaction
    assert wrapper_of(answer) == "hasResourcePermissionsResponse"
    assert told(answer)[1:] == ("AE", [], [INVALID, ("99711", "[ACS-99711] - Function code missing")])
    mail = PRACTICE.consent_mail(number, Consent.NO)
    name = "HAS_RESOURCE_PERMISSIONS_INUK01"
    action = f"urn:nhs:names:services:lrsquery/{name}"
    assert fault_of(await mail.post().with_headers(soapaction=action).to(demo.web)).codes == ("101",)


async def test_set_takes_ask_for_clear_and_answers_without_namespace_where_told(start: Callable[..., Server]) -> None:
    """`acs.accept_ask_in_set` and `acs.response_payload_ns`. Spec: 30 §4.3 D2, D3."""
    server = await asyncio.to_thread(start, demo=True, acs_accept_ask_in_set=True, acs_response_payload_ns="none")
    number = fresh_patient()
    for value in (Consent.NO, Consent.YES):
        await delivered(server, PRACTICE.consent_mail(number, value))
    mail = PRACTICE.consent_mail(number, Consent.YES)
    mail = replace(mail, payload=mail.payload.replace(b">Yes<", b">Ask<"))
    assert told(await delivered(server, mail))[1] == "AA"
    assert await consent_of(server, number) is Consent.ASK
    await delivered(server, PRACTICE.consent_mail(number, Consent.NO))
    got = soap_of(await PRACTICE.get_consent(number).to(server.web), ACS_GET_ANSWER).interaction
    has = soap_of(await PRACTICE.has_permissions(number, *EVERYONE).to(server.web), ACS_HAS_ANSWER).interaction
    for root, payload in ((got, "getResourcePermissionsResponse"), (has, "hasResourcePermissionsResponse")):
        subject = root.find("{urn:hl7-org:v3}ControlActEvent/{urn:hl7-org:v3}subject")
        assert subject is not None
        assert {etree.QName(each).namespace for each in subject.iterdescendants()} == {None}
        assert [etree.QName(each).localname for each in subject] == [payload]
    assert read_get_answer(got, number).consent is Consent.NO
    assert [value for _, value in read_has_answer(has, number).permissions] == [Consent.NO, Consent.NO]
