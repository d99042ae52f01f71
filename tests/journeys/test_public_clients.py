"""The two public clients of the field, as they write their messages: what they send is taken as it is.

The builders here write by hand what the specification says of each client, without our own writers: the FHIR facade in
Java (20 §15, 30 §10) and the adaptor in Python with its published test message (50 §2.5, §2.6, §14.5; 10 §17).
"""

import asyncio
import re
from datetime import UTC, datetime

import pytest

from journeys.messages import PRACTICE, Post, answer_to, codes_of, collected, fresh_patient
from journeys.runner import Server
from journeys.wire import RELIABLE, SYNC, fault_of, signal_of, soap_of
from openscr.codes import ACKNOWLEDGEMENT, EVENT_ANSWER, EVENT_LIST_SM_ANSWER, QUERY_FAILED
from openscr.hl7.acknowledgement import read_outcome
from openscr.hl7.psis import read_event_list_answer
from openscr.identifiers import mint_uuid
from openscr.spine import Consent
from openscr.testbench.population import FULL_RECORD
from openscr.transport.xml import read_xml

ASID_ROOT = "1.2.826.0.1285.0.2.0.107"
SPINE_ASID = "200000000100"
ADAPTOR_PATIENT = "9446245796"
"""The patient of the adaptor's own test message: not of the 999 range. Spec: 50 §14.5 S7."""


def now() -> str:
    """Return the creation time as a client writes it."""
    return datetime.now(UTC).strftime("%Y%m%d%H%M%S")


# --- the FHIR facade ------------------------------------------------------------------------------------------------


def facade_envelope(action: str, message_id: str, address: str, body: str) -> bytes:
    """Return the envelope of the facade: prefixes of HL7 mixed, no attributes on the header's devices."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<SOAP:Envelope xmlns:crs="http://national.carerecords.nhs.uk/schema/crs/"
               xmlns:SOAP="http://schemas.xmlsoap.org/soap/envelope/"
               xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing"
               xmlns="urn:hl7-org:v3" xmlns:hl7="urn:hl7-org:v3">
    <SOAP:Header>
        <wsa:MessageID>uuid:{message_id}</wsa:MessageID>
        <wsa:Action>urn:nhs:names:services:{action}</wsa:Action>
        <wsa:To>https://spine.test/sync-service</wsa:To>
        <wsa:From><wsa:Address>{address}</wsa:Address></wsa:From>
        <hl7:communicationFunctionRcv>
            <hl7:device><hl7:id root="{ASID_ROOT}" extension="{SPINE_ASID}"/></hl7:device>
        </hl7:communicationFunctionRcv>
        <hl7:communicationFunctionSnd>
            <hl7:device><hl7:id root="{ASID_ROOT}" extension="{PRACTICE.asid}"/></hl7:device>
        </hl7:communicationFunctionSnd>
        <wsa:ReplyTo><wsa:Address>{address}</wsa:Address></wsa:ReplyTo>
    </SOAP:Header>
    <SOAP:Body>{body}</SOAP:Body>
</SOAP:Envelope>""".encode()


def facade_wrapper(interaction: str, message_id: str, version: str, author: str, payload: str) -> str:
    """Return an interaction as the facade writes it."""
    return f"""<{interaction} xmlns="urn:hl7-org:v3">
    <id root="{message_id}"/>
    <creationTime value="{now()}"/>
    <versionCode code="{version}"/>
    <hl7:interactionId root="2.16.840.1.113883.2.1.3.2.4.12" extension="{interaction}"/>
    <processingCode code="P"/>
    <processingModeCode code="T"/>
    <acceptAckCode code="NE"/>
    <hl7:communicationFunctionRcv typeCode="RCV">
        <device classCode="DEV" determinerCode="INSTANCE"><id root="{ASID_ROOT}" extension="{SPINE_ASID}"/></device>
    </hl7:communicationFunctionRcv>
    <communicationFunctionSnd typeCode="SND">
        <device classCode="DEV" determinerCode="INSTANCE"><id root="{ASID_ROOT}" extension="{PRACTICE.asid}"/></device>
    </communicationFunctionSnd>
    <ControlActEvent classCode="CACT" moodCode="EVN">
        {author}<author1 typeCode="AUT">
            <AgentSystemSDS classCode="AGNT">
                <agentSystemSDS classCode="DEV" determinerCode="INSTANCE">
                    <id root="{ASID_ROOT}" extension="{PRACTICE.asid}"/>
                </agentSystemSDS>
            </AgentSystemSDS>
        </author1>
        {payload}
    </ControlActEvent>
</{interaction}>"""


def facade_query(interaction: str, number: str, message_id: str, event_id: str = "") -> Post:
    """Return a query of the facade: no author; in the event query ``wsa:From`` is empty."""
    event = (
        f'<eventRecord><value root="{event_id}"/><semanticsText>EventRecord</semanticsText></eventRecord>'
        if event_id
        else ""
    )
    query = f"""<query>
            <dissentOverride>
                <value code="0" codeSystem="2.16.840.1.113883.2.1.3.2.4.17.60"/>
                <semanticsText>DissentOverride</semanticsText>
            </dissentOverride>
            {event}<nHSNumber>
                <value root="2.16.840.1.113883.2.1.4.1" extension="{number}"/>
                <semanticsText>NHSNumber</semanticsText>
            </nHSNumber>
        </query>"""
    body = facade_wrapper(interaction, message_id, "V3NPfIT4.2.00", "", query)
    action = f"psisquery/{interaction}"
    headers = [("Content-Type", "text/xml"), ("SOAPAction", f"urn:nhs:names:services:{action}")]
    if event_id:
        headers.append(("nhsd-asid", PRACTICE.asid))
    address = "" if event_id else "192.0.2.15"
    return Post(facade_envelope(action, message_id, address, body), tuple(headers), SYNC, message_id)


def with_type_message(body: str) -> str:
    """Add the attribute that the facade writes on the root of a SET, on its functions and devices. Spec: 30 §3."""
    for name in (
        "SET_RESOURCE_PERMISSIONS_INUK01 ",
        "communicationFunctionRcv ",
        "communicationFunctionSnd ",
        "device ",
    ):
        body = re.sub(f"<((?:hl7:)?{name})", r'<\1type="Message" ', body)
    return body


def facade_set(number: str, permission: str, message_id: str) -> Post:
    """Return the SET of the facade: a single View assertion with an empty ``userData``. Spec: 30 §10."""
    interaction = "SET_RESOURCE_PERMISSIONS_INUK01"
    author = """<author typeCode="AUT">
            <AgentPersonSDS classCode="AGNT">
                <id root="1.2.826.0.1285.0.2.0.67" extension="555000000102"/>
                <agentPersonSDS classCode="PSN" determinerCode="INSTANCE">
                    <id root="1.2.826.0.1285.0.2.0.65" extension="555000000101"/>
                </agentPersonSDS>
                <part typeCode="PART">
                    <partSDSRole classCode="ROL"><id root="1.2.826.0.1285.0.2.1.104" extension="R8000"/></partSDSRole>
                </part>
            </AgentPersonSDS>
        </author>"""
    payload = f"""<crs:setResourcePermissionsRequest>
            <crs:permissions>
                <crs:resourceContext root="2.16.840.1.113883.2.1.4.1" extension="{number}"/>
                <crs:accessControlAssertion>
                    <crs:permission>{permission}</crs:permission>
                    <crs:userData/>
                    <crs:resource><crs:type>SCR</crs:type><crs:Id>{number}</crs:Id></crs:resource>
                    <crs:function><crs:context>Consent</crs:context><crs:code>View</crs:code></crs:function>
                    <crs:accessor>
                        <crs:type>Everyone</crs:type>
                        <crs:accessorId><crs:name>Everyone</crs:name></crs:accessorId>
                    </crs:accessor>
                </crs:accessControlAssertion>
            </crs:permissions>
        </crs:setResourcePermissionsRequest>"""
    body = with_type_message(facade_wrapper(interaction, message_id, "V3NPfIT3.0", author, payload))
    assert body.count('type="Message"') == 5
    action = f"lrs/{interaction}"
    headers = (
        ("Content-Type", "text/xml"),
        ("SOAPAction", f"urn:nhs:names:services:{action}"),
        ("nhsd-asid", PRACTICE.asid),
    )
    return Post(facade_envelope(action, message_id, "192.0.2.15", body), headers, SYNC, message_id)


@pytest.mark.parametrize("correlation_id", [mint_uuid(), mint_uuid().lower()], ids=["upper", "lower"])
async def test_one_correlation_id_serves_a_whole_call_of_the_facade(demo: Server, correlation_id: str) -> None:
    """List, event and SET under one id, in either letter case, and all of it again. Spec: 20 §15.2 trap 1 and 2."""
    number = fresh_patient()
    mail = PRACTICE.upload(number)
    signal_of(await mail.post().to(demo.web))
    for _ in range(2):
        answer = await facade_query("QUPC_IN180000SM04", number, correlation_id).to(demo.web)
        listing = soap_of(answer, EVENT_LIST_SM_ANSWER)
        assert listing.relates_to == f"uuid:{correlation_id}"
        assert b"<wsa:To>192.0.2.15</wsa:To>" in answer.body
        (first, *_) = listing.interaction.iter("{*}event")
        event_id = first.find("{*}eventID").get("root")
        assert event_id == mail.event_id
        answer = await facade_query("QUPC_IN190000UK04", number, correlation_id, event_id).to(demo.web)
        assert soap_of(answer, EVENT_ANSWER).relates_to == f"uuid:{correlation_id}"
        # An empty address comes back as an empty element. Trap 3.
        assert b"<wsa:To></wsa:To>" in answer.body or b"<wsa:To/>" in answer.body
        (summary,) = soap_of(answer, EVENT_ANSWER).interaction.iter("{*}GPSummary")
        assert summary.find("{*}statusCode").get("code") == "active"
    request = facade_set(number, "Yes", correlation_id)
    for _ in range(2):
        outcome, reference = read_outcome(soap_of(await request.to(demo.web), ACKNOWLEDGEMENT).interaction)
        assert outcome.accepted
        assert reference == correlation_id


@pytest.mark.parametrize(("permission", "shown"), [("Yes", Consent.YES), ("No", None), ("Clear", Consent.ASK)])
async def test_the_facades_single_assertion_sets_the_whole_consent(
    demo: Server, permission: str, shown: Consent | None
) -> None:
    number = fresh_patient()
    signal_of(await PRACTICE.upload(number).post().to(demo.web))
    answer = await facade_set(number, permission, mint_uuid()).to(demo.web)
    assert read_outcome(soap_of(answer, ACKNOWLEDGEMENT).interaction)[0].accepted
    assert b"setResourcePermissionsResponse" in answer.body
    answer = await facade_query("QUPC_IN180000SM04", number, mint_uuid()).to(demo.web)
    if shown is None:
        outcome, _ = read_outcome(soap_of(answer, QUERY_FAILED).interaction)
        # The first issue alone decides for the facade, and every one needs code and text. Traps 7 and 8.
        assert [(issue.code, issue.severity) for issue in outcome.issues] == [("420", "ER"), ("30418", "ER")]
        assert all(issue.display for issue in outcome.issues)
        return
    interaction = soap_of(answer, EVENT_LIST_SM_ANSWER).interaction
    assert read_event_list_answer(interaction, number).consent is shown
    # Unprefixed names are what its expressions look for. Spec: 20 §15.3, 30 §10.
    for name in (b"<accessControlAssertion>", b"<permission>", b"<type>SCR</type>", b"<code>View</code>"):
        assert name in answer.body


UUID = "8B99E543-8210-413E-9765-440F296889F6"


@pytest.mark.parametrize("message_id", ["no-uuid-at-all", f"{UUID}0", ""])
async def test_a_correlation_id_of_another_length_is_located(demo: Server, message_id: str) -> None:
    """``wsa:MessageID`` has 41 characters, whatever they are. Spec: 20 §15.2 trap 2, 40 §4.2 rule 4."""
    answer = await facade_query("QUPC_IN180000SM04", FULL_RECORD, message_id).to(demo.web)
    assert fault_of(answer).codes == ("201",)
    assert b"<nasp:location>/SOAP:Envelope/SOAP:Header/wsa:MessageID</nasp:location>" in answer.body


# --- the adaptor ----------------------------------------------------------------------------------------------------


def adaptor_payload(number: str, message_id: str, event_id: str, receiver: str) -> str:
    """Return the adaptor's published upload in its form. Spec: 10 §17, 50 §12.

    ``author1`` stands before ``author``, the text is not in an ``html`` element, the coded part is empty.
    """
    author = """<author typeCode="AUT">
            <AgentPersonSDS classCode="AGNT">
                <id root="1.2.826.0.1285.0.2.0.67" extension="055888118514"/>
                <agentPersonSDS classCode="PSN" determinerCode="INSTANCE">
                    <id root="1.2.826.0.1285.0.2.0.65" extension="979603625513"/>
                </agentPersonSDS>
                <part typeCode="PART">
                    <partSDSRole classCode="ROL"><id root="1.2.826.0.1285.0.2.1.104" extension="R0260"/></partSDSRole>
                </part>
            </AgentPersonSDS>
        </author>"""
    return f"""<REPC_IN150016UK05 xmlns="urn:hl7-org:v3" ITSVersion="XML_1.0">
    <id root="{message_id}"/>
    <creationTime value="{now()}"/>
    <versionCode code="3NPfIT7.2.00"/>
    <interactionId root="2.16.840.1.113883.2.1.3.2.4.12" extension="REPC_IN150016UK05"/>
    <processingCode code="P"/>
    <processingModeCode code="T"/>
    <acceptAckCode code="NE"/>
    <communicationFunctionRcv typeCode="RCV">
        <device classCode="DEV" determinerCode="INSTANCE"><id root="{ASID_ROOT}" extension="{receiver}"/></device>
    </communicationFunctionRcv>
    <communicationFunctionSnd typeCode="SND">
        <device classCode="DEV" determinerCode="INSTANCE"><id root="{ASID_ROOT}" extension="{PRACTICE.asid}"/></device>
    </communicationFunctionSnd>
    <ControlActEvent classCode="CACT" moodCode="EVN">
        <author1 typeCode="AUT"><AgentSystemSDS classCode="AGNT">
            <agentSystemSDS classCode="DEV" determinerCode="INSTANCE">
                <id root="{ASID_ROOT}" extension="{PRACTICE.asid}"/>
            </agentSystemSDS>
        </AgentSystemSDS></author1>
        {author}
        <subject typeCode="SUBJ" contextConductionInd="false">
            <GPSummary classCode="COMPOSITION" moodCode="EVN">
                <id root="{event_id}"/>
                <code code="196981000000101" codeSystem="2.16.840.1.113883.2.1.3.2.4.15"
                      displayName="General Practice Summary"/>
                <effectiveTime value="{now()}"/>
                <statusCode code="active"/>
                <author typeCode="AUT" contextControlCode="OP">
                    <time value="{now()}"/>
                    <UKCT_MT160018UK01.AgentPersonSDS classCode="AGNT">
                        <id root="1.2.826.0.1285.0.2.0.67" extension="055888118514"/>
                        <agentPersonSDS classCode="PSN" determinerCode="INSTANCE">
                            <id root="1.2.826.0.1285.0.2.0.65" extension="979603625513"/>
                            <name><family>Invented</family></name>
                        </agentPersonSDS>
                    </UKCT_MT160018UK01.AgentPersonSDS>
                </author>
                <excerptFrom typeCode="XCRPT" contextConductionInd="true" inversionInd="false" negationInd="false">
                    <templateId root="2.16.840.1.113883.2.1.3.2.4.18.2" extension="CSAB_RM-NPfITUK10.excerptFrom"/>
                    <UKCT_MT144051UK01.CareProfessionalDocumentationCRE classCode="CATEGORY" moodCode="EVN">
                        <code code="163171000000105" codeSystem="2.16.840.1.113883.2.1.3.2.4.15"
                              displayName="Care Professional Documentation"/>
                        <component typeCode="COMP"><presentationText classCode="OBS" moodCode="EVN">
                            <value mediaType="text/x-h7uk-pmip"><h1>Invented heading</h1></value>
                            <id root="{mint_uuid()}"/>
                            <code code="PresentationText" codeSystem="2.16.840.1.113883.2.1.3.2.4.17.126"/>
                            <statusCode code="completed"/>
                            <effectiveTime value="{now()}"/>
                        </presentationText></component>
                    </UKCT_MT144051UK01.CareProfessionalDocumentationCRE>
                </excerptFrom>
                <pertinentInformation1 typeCode="PERT">
                    <pertinentRootCREType classCode="CATEGORY" moodCode="EVN">
                        <code code="163171000000105" codeSystem="2.16.840.1.113883.2.1.3.2.4.15"
                              displayName="Care Professional Documentation"/>
                    </pertinentRootCREType>
                </pertinentInformation1>
                <pertinentInformation2 typeCode="PERT"/>
                <recordTarget typeCode="RCT">
                    <patient classCode="PAT"><id root="2.16.840.1.113883.2.1.4.1" extension="{number}"/></patient>
                </recordTarget>
            </GPSummary>
        </subject>
    </ControlActEvent>
</REPC_IN150016UK05>"""


def adaptor_upload(number: str, receiver: str, *, lower: bool = False) -> Post:
    """Return the adaptor's multipart: LF line ends, unquoted start, headers of its own. Spec: 50 §2.5."""
    message_id, correlation_id = mint_uuid(), mint_uuid()
    if lower:
        message_id = message_id.lower()
    event_id = mint_uuid()
    soap = "http://schemas.xmlsoap.org/soap/envelope/"
    party_type = "urn:nhs:names:partyType:ocs+serviceInstance"
    envelope = f"""<?xml version="1.0" encoding="UTF-8"?>
<SOAP:Envelope xmlns:SOAP="{soap}" xmlns:eb="http://www.oasis-open.org/committees/ebxml-msg/schema/msg-header-2_0.xsd"
    xmlns:hl7ebxml="urn:hl7-org:transport/ebXML/DSTUv1.0" xmlns:xlink="http://www.w3.org/1999/xlink">
    <SOAP:Header>
        <eb:MessageHeader SOAP:mustUnderstand="1" eb:version="2.0">
            <eb:From>
                <eb:PartyId eb:type="{party_type}">{PRACTICE.party_key}</eb:PartyId>
            </eb:From>
            <eb:To>
                <eb:PartyId eb:type="{party_type}">YES-0000806</eb:PartyId>
            </eb:To>
            <eb:CPAId>S20001A000182</eb:CPAId>
            <eb:ConversationId>{correlation_id}</eb:ConversationId>
            <eb:Service>urn:nhs:names:services:psis</eb:Service>
            <eb:Action>REPC_IN150016UK05</eb:Action>
            <eb:MessageData>
                <eb:MessageId>{message_id}</eb:MessageId>
                <eb:Timestamp>{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}</eb:Timestamp>
            </eb:MessageData>
            <eb:DuplicateElimination/>
        </eb:MessageHeader>
        <eb:AckRequested SOAP:mustUnderstand="1" eb:version="2.0" eb:signed="false"
            SOAP:actor="urn:oasis:names:tc:ebxml-msg:actor:toPartyMSH"/>
        <eb:SyncReply SOAP:mustUnderstand="1" eb:version="2.0" SOAP:actor="http://schemas.xmlsoap.org/soap/actor/next"/>
    </SOAP:Header>
    <SOAP:Body>
        <eb:Manifest SOAP:mustUnderstand="1" eb:version="2.0">
            <eb:Reference xlink:href="cid:{message_id}@spine.nhs.uk">
                <eb:Schema eb:location="http://www.nhsia.nhs.uk/schemas/HL7-Message.xsd" eb:version="1.0"/>
                <eb:Description xml:lang="en">HL7 payload</eb:Description>
                <hl7ebxml:Payload style="HL7" encoding="XML" version="3.0"/>
            </eb:Reference>
        </eb:Manifest>
    </SOAP:Body>
</SOAP:Envelope>"""
    parts = [("ebXMLHeader", envelope), (message_id, adaptor_payload(number, message_id, event_id, receiver))]
    body = "".join(
        f"----=_MIME-Boundary\nContent-Id: <{content_id}@spine.nhs.uk>\nContent-Type: text/xml; charset=UTF-8\n"
        f"Content-Transfer-Encoding: 8bit\n\n{content}\n"
        for content_id, content in parts
    )
    headers = (
        (
            "Content-Type",
            'multipart/related; boundary="--=_MIME-Boundary"; type=text/xml; start=ebXMLHeader@spine.nhs.uk',
        ),
        ("SOAPAction", "urn:nhs:names:services:psis/REPC_IN150016UK05"),
        ("charset", "UTF-8"),
        ("Correlation-Id", correlation_id),
        ("Message-Id", message_id),
        ("Interaction-Id", "REPC_IN150016UK05"),
        ("User-Agent", "Mozilla/5.0 (compatible; pycurl)"),
        ("Accept", "*/*"),
        ("Accept-Encoding", "gzip,deflate"),
    )
    return Post(f"{body}----=_MIME-Boundary--\n".encode(), headers, RELIABLE, message_id, event_id)


@pytest.mark.parametrize("receiver", ["227319907548", "YES-0000806", SPINE_ASID])
async def test_the_adaptors_published_upload_is_stored(demo: Server, receiver: str) -> None:
    """Another environment's ASID, a party key in its place, an author whom nobody knows. Spec: 50 §14.5 S3, S7."""
    request = adaptor_upload(ADAPTOR_PATIENT, receiver)
    answer = await request.to(demo.web)
    assert signal_of(answer).ref_to_message_id == request.message_id
    acknowledgement = await answer_to(demo.web, request.message_id)
    assert codes_of(acknowledgement) == ("AA", [])
    assert acknowledgement.detail == "GP Summary upload successful"
    (delivered,) = await collected(demo.web, request.message_id)
    assert delivered["conversation_id"] == dict(request.headers)["Correlation-Id"]
    # What answers is one of our own ASIDs, whatever the message called us. Spec: 40 §10.5.
    sender = read_xml(delivered["payload"].encode()).find("{*}communicationFunctionSnd/{*}device/{*}id")
    assert sender.get("extension") == SPINE_ASID
    answer = await PRACTICE.event(ADAPTOR_PATIENT, request.event_id).to(demo.web)
    (summary,) = soap_of(answer, EVENT_ANSWER).interaction.iter("{*}GPSummary")
    assert summary.findtext(".//{urn:hl7-org:v3}h1") == "Invented heading"


async def test_the_adaptor_finds_its_message_letter_for_letter(demo: Server) -> None:
    request = adaptor_upload(fresh_patient(), SPINE_ASID, lower=True)
    answer = await request.to(demo.spine, demo.tls())
    assert signal_of(answer).ref_to_message_id == request.message_id
    acknowledgement = await answer_to(demo.web, request.message_id)
    assert (acknowledgement.outcome.accepted, acknowledgement.reference) == (True, request.message_id)


async def test_the_adaptor_may_send_the_same_bytes_four_times(demo: Server) -> None:
    """It does so when an answer is late: one event, one answer, the same acknowledgement. Spec: 50 §14.5 S8."""
    request = adaptor_upload(fresh_patient(), SPINE_ASID)
    answers = await asyncio.gather(*(request.to(demo.web) for _ in range(4)))
    assert len({answer.body for answer in answers}) == 1
    assert (await answer_to(demo.web, request.message_id)).outcome.accepted
    assert len(await collected(demo.web, request.message_id)) == 1


async def test_faults_for_the_adaptor_have_the_one_content_type_it_reads(demo: Server) -> None:
    """A parameter on it makes the adaptor fail. Spec: 50 §14.5 S1."""
    request = adaptor_upload(fresh_patient(), SPINE_ASID)
    answer = await request.with_headers(soapaction="urn:nhs:names:services:psis/REPC_IN150099UK05").to(demo.web)
    assert fault_of(answer).codes == ("101",)


async def test_the_adaptors_synchronous_query_is_answered(demo: Server) -> None:
    """A bare service URN in ``wsa:To``, empty addresses, headers of its own. Spec: 50 §2.6, §14.5 S3."""
    message_id, interaction = mint_uuid(), "QUPC_IN180000SM04"
    service = "urn:nhs:names:services:psisquery"
    payload = facade_query(interaction, FULL_RECORD, message_id).body.decode()
    payload = payload.partition("<SOAP:Body>")[2].partition("</SOAP:Body>")[0]
    body = f"""<?xml version='1.0' encoding='UTF-8'?>
<SOAP-ENV:Envelope xmlns:SOAP-ENV="http://schemas.xmlsoap.org/soap/envelope/"
    xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:hl7="urn:hl7-org:v3">
    <SOAP-ENV:Header>
        <wsa:MessageID>uuid:{message_id}</wsa:MessageID>
        <wsa:Action>{service}/{interaction}</wsa:Action>
        <wsa:To>{service}</wsa:To>
        <wsa:From>
            <wsa:Address/>
        </wsa:From>
        <hl7:communicationFunctionRcv>
            <hl7:device><hl7:id extension="{SPINE_ASID}" root="{ASID_ROOT}"/></hl7:device>
        </hl7:communicationFunctionRcv>
        <hl7:communicationFunctionSnd>
            <hl7:device><hl7:id extension="{PRACTICE.asid}" root="{ASID_ROOT}"/></hl7:device>
        </hl7:communicationFunctionSnd>
        <wsa:ReplyTo>
            <wsa:Address/>
        </wsa:ReplyTo>
    </SOAP-ENV:Header>
    <SOAP-ENV:Body>{payload}</SOAP-ENV:Body>
</SOAP-ENV:Envelope>""".encode()
    headers = (
        ("SOAPAction", f"{service}/{interaction}"),
        ("Content-Type", "text/xml"),
        ("charset", "UTF-8"),
        ("type", "text/xml"),
        ("Message-Id", message_id),
        ("Correlation-Id", mint_uuid()),
        ("Interaction-Id", interaction),
    )
    answer = await Post(body, headers, SYNC, message_id).to(demo.web)
    assert soap_of(answer, EVENT_LIST_SM_ANSWER).relates_to == f"uuid:{message_id}"
    assert b"<eventListQueryResponse" in answer.body
