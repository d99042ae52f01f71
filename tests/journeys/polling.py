"""The public FHIR facade as it uploads: its message letter by letter, its polling, and its two regular expressions.

Written by hand from what the specification says of that client, without our own writers. Spec: 40 §7.6, 20 §15.
"""

import asyncio
import re
import ssl
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import uuid4

from lxml import etree

from journeys.wire import Answer, connected, request_bytes
from openscr.directory.demo import GP_ASID, OWN_ASID, OWN_PARTY, PRACTICE_PARTY

CLINICAL = "/clinical"
ACTION = "urn:nhs:names:services:psis/REPC_IN150016SM05"
CONTENT_TYPE = 'multipart/related; boundary="--=_MIME-Boundary"; type="text/xml"; start="<ebXMLHeader@spine.nhs.uk>"'
POLLING_LIMIT = 50_000
"""Milliseconds that the client asks for one result (``scrResultRepeatTimeout``)."""

# Java's dot stops at every one of these.
_DOT = "[^\n\r\u0085\u2028\u2029]"
SOAP = re.compile(f"<soap:Envelope{_DOT}*</soap:Envelope>")
HL7 = re.compile(f"<hl7:MCCI_IN010000UK13{_DOT}*</hl7:MCCI_IN010000UK13>")

_ENVELOPE = """<?xml version="1.0" encoding="UTF-8"?>
<soap:Envelope xmlns:xlink="http://www.w3.org/1999/xlink"
               xmlns:eb="http://www.oasis-open.org/committees/ebxml-msg/schema/msg-header-2_0.xsd"
               xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"
               xmlns:hl7ebxml="urn:hl7-org:transport/ebXML/DSTUv1.0">
  <soap:Header>
    <eb:MessageHeader eb:version="2.0" soap:mustUnderstand="1">
      <eb:From><eb:PartyId eb:type="urn:nhs:names:partyType:ocs+serviceInstance">{party}</eb:PartyId></eb:From>
      <eb:To><eb:PartyId eb:type="urn:nhs:names:partyType:ocs+serviceInstance">{receiver}</eb:PartyId></eb:To>
      <eb:CPAId>S1001A1630</eb:CPAId>
      <eb:ConversationId>{message_id}</eb:ConversationId>
      <eb:Service>urn:nhs:names:services:psis</eb:Service>
      <eb:Action>REPC_IN150016SM05</eb:Action>
      <eb:MessageData>
        <eb:MessageId>{message_id}</eb:MessageId>
        <eb:Timestamp>{now}</eb:Timestamp>
      </eb:MessageData>
      <eb:DuplicateElimination/>
    </eb:MessageHeader>
    <eb:AckRequested eb:version="2.0" soap:mustUnderstand="1"
                     soap:actor="urn:oasis:names:tc:ebxml-msg:actor:toPartyMSH" eb:signed="false"/>
    <eb:SyncReply eb:version="2.0" soap:mustUnderstand="1" soap:actor="http://schemas.xmlsoap.org/soap/actor/next"/>
  </soap:Header>
  <soap:Body>
    <eb:Manifest eb:version="2.0" soap:mustUnderstand="1">
      <eb:Reference xlink:href="cid:{message_id}@spine.nhs.uk">
        <eb:Schema eb:location="http://www.nhsia.nhs.uk/schemas/HL7-Message.xsd" eb:version="1.0"/>
        <eb:Description xml:lang="en">HL7 payload</eb:Description>
        <hl7ebxml:Payload style="HL7" encoding="XML" version="3.0"/>
      </eb:Reference>
    </eb:Manifest>
  </soap:Body>
</soap:Envelope>"""

_PAYLOAD = """<REPC_IN150016SM05 xmlns="urn:hl7-org:v3" xmlns:hl7="urn:hl7-org:v3" ITSVersion="XML_1.0">
  <id root="{message_id}"/>
  <creationTime value="{now}"/>
  <versionCode code="V3NPfIT4.2.00"/>
  <interactionId root="2.16.840.1.113883.2.1.3.2.4.12" extension="REPC_IN150016SM05"/>
  <processingCode code="P"/><processingModeCode code="T"/><acceptAckCode code="NE"/>
  <communicationFunctionRcv typeCode="RCV">
    <device classCode="DEV" determinerCode="INSTANCE"><id root="1.2.826.0.1285.0.2.0.107" extension="{spine}"/></device>
  </communicationFunctionRcv>
  <communicationFunctionSnd typeCode="SND">
    <device classCode="DEV" determinerCode="INSTANCE"><id root="1.2.826.0.1285.0.2.0.107" extension="{asid}"/></device>
  </communicationFunctionSnd>
  <ControlActEvent classCode="CACT" moodCode="EVN">
    <author1 typeCode="AUT"><AgentSystemSDS classCode="AGNT">
      <agentSystemSDS classCode="DEV" determinerCode="INSTANCE">
        <id root="1.2.826.0.1285.0.2.0.107" extension="{asid}"/>
      </agentSystemSDS></AgentSystemSDS></author1>
    <author typeCode="AUT"><AgentPersonSDS classCode="AGNT">
      <id root="1.2.826.0.1285.0.2.0.67" extension="055888118514"/>
      <agentPersonSDS classCode="PSN" determinerCode="INSTANCE">
        <id root="1.2.826.0.1285.0.2.0.65" extension="979603625513"/>
      </agentPersonSDS>
      <part typeCode="PART"><partSDSRole classCode="ROL">
        <id root="1.2.826.0.1285.0.2.1.104" extension="R0260"/></partSDSRole></part></AgentPersonSDS></author>
    <subject typeCode="SUBJ" contextConductionInd="false">
      <GPSummary classCode="COMPOSITION" moodCode="EVN">
        <id root="{event_id}"/>
        <code code="196981000000101" codeSystem="2.16.840.1.113883.2.1.3.2.4.15"
              displayName="General Practice Summary"/>
        <statusCode code="active"/>
        <effectiveTime value="{now}"/>
        <author typeCode="AUT" contextControlCode="OP">
          <time value="{now}"/>
          <UKCT_MT160018UK01.AgentPersonSDS classCode="AGNT">
            <id root="1.2.826.0.1285.0.2.0.67" extension="055888118514"/>
            <agentPersonSDS classCode="PSN" determinerCode="INSTANCE">
              <id root="1.2.826.0.1285.0.2.0.65" extension="979603625513"/><name>Dr A Tester</name>
            </agentPersonSDS>
          </UKCT_MT160018UK01.AgentPersonSDS>
        </author>
        <excerptFrom typeCode="XCRPT"><UKCT_MT144051UK01.CareProfessionalDocumentationCRE classCode="CATEGORY">
          <component typeCode="COMP"><presentationText classCode="OBS" moodCode="EVN">
            <value mediaType="text/plain">
              <html xmlns="xhtml:NPfIT:PresentationText"><body><h2>Diagnoses</h2></body></html>
            </value></presentationText></component>
        </UKCT_MT144051UK01.CareProfessionalDocumentationCRE></excerptFrom>
        <recordTarget typeCode="RCT"><patient classCode="PAT">
          <id root="2.16.840.1.113883.2.1.4.1" extension="{number}"/></patient></recordTarget>{replaces}
      </GPSummary>
    </subject>
  </ControlActEvent>
</REPC_IN150016SM05>"""

_REPLACES = (
    '<replacementOf typeCode="RPLC"><priorMessageRef classCode="COMPOSITION" moodCode="EVN">'
    '<id root="{}"/></priorMessageRef></replacementOf>'
)


@dataclass(frozen=True)
class FacadeUpload:
    """One upload of the facade: the whole request, and what is needed to ask for its result."""

    body: bytes
    headers: tuple[tuple[str, str], ...]
    message_id: str
    event_id: str

    @classmethod
    def of(cls, number: str, *replaces: str, asid: str = GP_ASID, party: str = PRACTICE_PARTY) -> "FacadeUpload":
        """Return an upload for a patient. Every id is in lower case, the event's another than the message's."""
        message_id, event_id = str(uuid4()), str(uuid4())
        values = {
            "message_id": message_id,
            "event_id": event_id,
            "now": datetime.now(UTC).strftime("%Y%m%d%H%M%S"),
            "number": number,
            "party": party,
            "receiver": OWN_PARTY,
            "asid": asid,
            "spine": OWN_ASID,
            "replaces": "".join(_REPLACES.format(target) for target in replaces),
        }
        lines = (
            "----=_MIME-Boundary",
            "Content-Id: <ebXMLHeader@spine.nhs.uk>",
            "Content-Type: text/xml; charset=UTF-8",
            "Content-Transfer-Encoding: 8bit",
            "",
            _ENVELOPE.format(**values),
            "----=_MIME-Boundary",
            f"Content-Id: <{message_id}@spine.nhs.uk>",
            "Content-Type: text/xml; charset=UTF-8",
            "Content-Transfer-Encoding: 8bit",
            "",
            _PAYLOAD.format(**values),
            # The last delimiter has no hyphens behind it.
            "----=_MIME-Boundary",
        )
        headers = (
            ("nhsd-asid", asid),
            ("NHSD-Identity-UUID", "555000000101"),
            ("NHSD-Session-URID", "555000000102"),
            ("NHSD-Correlation-ID", str(uuid4())),
            ("NHSD-Request-ID", str(uuid4())),
        )
        return cls("\r\n".join(lines).encode(), headers, message_id, event_id)

    def changed(self, old: str, new: str) -> "FacadeUpload":
        """Return it with one text of its body for another."""
        assert old in self.body.decode()
        return replace(self, body=self.body.replace(old.encode(), new.encode()))

    def with_headers(self, **changes: str | None) -> "FacadeUpload":
        """Return it with other values of the further headers (underscores stand for hyphens); none leaves one out."""
        names = {name.replace("_", "-").lower(): value for name, value in changes.items()}
        kept = [(name, value) for name, value in self.headers if name.lower() not in names]
        return replace(self, headers=(*kept, *((n, v) for n, v in names.items() if v is not None)))

    async def post(self, base: str, tls: ssl.SSLContext | None = None, *, action: str = ACTION) -> Answer:
        """Post it on a connection of its own."""
        headers = (("SOAPAction", action), ("Content-Type", CONTENT_TYPE), *self.headers)
        async with connected(base, tls) as connection:
            return await connection.exchange(request_bytes(CLINICAL, self.body, headers))

    async def ask(self, base: str, place: str, tls: ssl.SSLContext | None = None, *, method: str = "GET") -> Answer:
        """Ask for a result at its place."""
        async with connected(base, tls) as connection:
            return await connection.exchange(request_bytes(place, b"", self.headers, method=method))


@dataclass(frozen=True)
class FacadeResult:
    """What the facade makes of a result: success, or the codes of the detected issues."""

    success: bool
    codes: list[str]
    reference: str
    text: str


def place_of(answer: Answer) -> str:
    """Hold that an upload was accepted, and return where its result will be."""
    assert answer.status == 202, answer.body
    place, wait = answer.header("content-location"), answer.header("retry-after")
    assert place is not None
    assert wait is not None
    assert int(wait) < POLLING_LIMIT
    return place


def read_as_the_facade(answer: Answer) -> FacadeResult:
    """Take a result apart with the facade's two expressions, and judge it as the facade does."""
    assert answer.status == 200, answer
    text = answer.body.decode()
    soap, hl7 = SOAP.findall(text), HL7.findall(text)
    assert len(soap) == 1
    assert len(hl7) == 1
    etree.fromstring(soap[0].encode())
    root = etree.fromstring(hl7[0].encode())
    codes = root.xpath(
        "//*[local-name()='ControlActEvent']/*[local-name()='reason']"
        "/*[local-name()='justifyingDetectedIssueEvent']/*[local-name()='code']/@code"
    )
    (ack,) = root.xpath("//*[local-name()='acknowledgement']/@typeCode")
    (reference,) = root.xpath("//*[local-name()='messageRef']/*[local-name()='id']/@root")
    return FacadeResult(ack == "AA", list(codes), reference, text)


async def upload_as_the_facade(upload: FacadeUpload, base: str, tls: ssl.SSLContext | None = None) -> FacadeResult:
    """Post an upload, then ask for its result as often as the service wants, waiting as long as it says."""
    answer = await upload.post(base, tls)
    place, waited = place_of(answer), 0
    while True:
        wait = int(answer.header("retry-after") or "")
        waited += wait
        assert waited <= POLLING_LIMIT
        await asyncio.sleep(wait / 1000)
        answer = await upload.ask(base, place, tls)
        if answer.status != 202:
            return read_as_the_facade(answer)
