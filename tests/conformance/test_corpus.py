"""Every published summary comes back as it was sent: uploaded through the real paths, retrieved, and compared.

The files are read where they lie, and only while the shared material is there. Spec: 20 §7.2, 00 §7.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from lxml import etree

from hl7.mutation import mutated, put
from openscr.codes import EVENT, GP_INITIAL_SUMMARY, INITIAL_UPLOAD, UPLOAD
from openscr.hl7.gp_summary import read_summary_message
from openscr.hl7.psis import write_query
from openscr.hl7.wrapper import Heading, read_wrapper
from openscr.identifiers import hl7_timestamp, is_nhs_number, mint_uuid, utc_now
from openscr.spine import Caller, EventQuery, MessageIds
from openscr.testbench.world import OWN_ASID, PRACTICE_PARTY
from openscr.transport.xml import element_span, read_xml
from shared import MESSAGES, PROJECT, shared

from .comparing import HL7
from .harness import GP, GP_ASID, Harness

CORPUS = Path(os.environ.get("OPENSCR_SHARED") or PROJECT.parent / "shared") / "corpus"
FILES = sorted(
    str(path.relative_to(CORPUS))
    for path in CORPUS.rglob("*")
    if path.suffix in {".xml", ".html"} and re.search(rb"<(\w+:)?GPSummary[\s>]", path.read_bytes())
)

FRAGMENT = {"gp-G2", "gp-G3", "gp-G4", "gp-G5", "gp-G6", "gp-G8", "gp-G9"}
REFUSED = {
    # Cuttings of a record for one entry each: no id, author, patient or text, so that the rules refuse them whole.
    "fhir/visible/cre/diagnosis/example.html": FRAGMENT,
    "fhir/visible/cre/finding/investigation_results/investigationResults.html": FRAGMENT,
    # Its statusCode is empty, and its number fails modulus 11.
    "smsp/visible/querySCRResponse-v1-0_REPC_MT150012GB01.xml": {"gp-G4", "gp-nhs-number"},
}
"""Files that no store may take, with the rules that they break."""

# The whole wrapper has a prefix of its own, so that a document's default namespace is its own affair.
MESSAGE = """<w:{name} xmlns:w="urn:hl7-org:v3"{ancestors}><w:id root="{id}"/><w:creationTime value="{time}"/>
<w:versionCode code="V3NPfIT4.2.00"/>
<w:interactionId root="2.16.840.1.113883.2.1.3.2.4.12" extension="{name}"/><w:processingCode code="P"/>
<w:processingModeCode code="T"/><w:acceptAckCode code="NE"/>
<w:communicationFunctionRcv typeCode="RCV"><w:device classCode="DEV" determinerCode="INSTANCE">
<w:id root="1.2.826.0.1285.0.2.0.107" extension="{receiver}"/></w:device></w:communicationFunctionRcv>
<w:communicationFunctionSnd typeCode="SND"><w:device classCode="DEV" determinerCode="INSTANCE">
<w:id root="1.2.826.0.1285.0.2.0.107" extension="{sender}"/></w:device></w:communicationFunctionSnd>
<w:ControlActEvent classCode="CACT" moodCode="EVN"><w:author1 typeCode="AUT"><w:AgentSystemSDS classCode="AGNT">
<w:agentSystemSDS classCode="DEV" determinerCode="INSTANCE">
<w:id root="1.2.826.0.1285.0.2.0.107" extension="{sender}"/></w:agentSystemSDS></w:AgentSystemSDS></w:author1>
<w:subject typeCode="SUBJ" contextConductionInd="false"{declarations}>"""
END = "</w:subject></w:ControlActEvent></w:{name}>"


@dataclass(frozen=True)
class Summary:
    """A summary as bytes of its file, and the namespace declarations that it inherits there."""

    element: bytes
    declarations: str = ""

    def message(self, interaction: str, ancestors: str = "") -> bytes:
        """Wrap it into a fresh upload; its own bytes are untouched."""
        head = MESSAGE.format(
            name=interaction,
            id=mint_uuid(),
            time=hl7_timestamp(utc_now()),
            receiver=OWN_ASID,
            sender=GP_ASID,
            declarations=self.declarations,
            ancestors=ancestors,
        )
        return head.encode() + self.element + END.format(name=interaction).encode()


def summary_in(data: bytes) -> Summary:
    """Cut the one summary out of a file, whatever it stands in."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if b"urn:hl7-org:v3" not in data:
        # No namespace at all, in one file with a prefix that nothing declares: the HL7 namespace is added around it.
        (found,) = re.findall(rb"<GPSummary[\s>].*?</GPSummary>", data, re.DOTALL)
        return Summary(found, ' xmlns="urn:hl7-org:v3"')
    root = read_xml(data)
    (element,) = root.iter(f"{HL7}GPSummary")
    offset, length, _ = element_span(data, element)
    parent = element.getparent()
    assert parent is not None
    declared = "".join(
        f' xmlns{":" + prefix if prefix else ""}="{uri}"' for prefix, uri in parent.nsmap.items() if prefix != "w"
    )
    return Summary(data[offset : offset + length], declared)


def sent_document(message: bytes) -> etree._Element:
    return next(read_xml(message).iter(f"{HL7}GPSummary"))


def attribute(document: etree._Element, path: str, name: str) -> str:
    element = document.find(path)
    assert element is not None, path
    return element.get(name, "")


async def put_target(service: Harness, document: etree._Element, nhs_number: str) -> None:
    """Upload what the document says that it replaces: the initial summary of the examples, under that id."""
    target = document.find("{*}replacementOf/{*}priorMessageRef/{*}id")
    if target is None:
        return
    (path,) = (MESSAGES / "gp-summary").glob("01-*")
    summary = "h:ControlActEvent/h:subject/h:GPSummary"
    earlier = mutated(
        path.read_bytes(),
        put("h:id", "root", mint_uuid()),
        put(f"{summary}/h:id", "root", target.get("root", "")),
        put(f"{summary}/h:recordTarget/h:patient/h:id", "extension", nhs_number),
    )
    _, acknowledgement = await service.deliver(earlier)
    assert acknowledgement.outcome.accepted


async def retrieve(service: Harness, nhs_number: str, event_id: str) -> etree._Element:
    """Ask for the event over SOAP and return the answer's document where it stands in the envelope."""
    heading = Heading(mint_uuid(), hl7_timestamp(utc_now()), "V3NPfIT4.2.00", OWN_ASID, GP_ASID)
    query = EventQuery(MessageIds(heading.message_id, EVENT), nhs_number, event_id)
    answer = await service.ask(service.in_soap(write_query(heading, query, GP), interaction=EVENT))
    assert answer.status == 200
    (data,) = answer.root.iter("{urn:npfit:psisqr}hl7Data")
    assert len(data) == 1
    return data[0]


def canonical(element: etree._Element) -> bytes:
    return etree.tostring(element, method="c14n", exclusive=True, with_comments=True)


def scopes(document: etree._Element) -> list[dict[str | None, str]]:
    """The namespaces in scope at each element: what inclusive canonical XML adds to the exclusive one."""
    return [{prefix: str(uri) for prefix, uri in e.nsmap.items() if uri} for e in document.iter("*")]


async def check_round_trip(service: Harness, message: bytes, interaction: str) -> None:
    """Upload, retrieve, compare: in the envelope by what is visible, on its own by everything in scope."""
    document = sent_document(message)
    nhs_number = attribute(document, "{*}recordTarget/{*}patient/{*}id", "extension")
    event_id = attribute(document, "{*}id", "root").upper()
    if is_nhs_number(nhs_number):
        await put_target(service, document, nhs_number)
    _, acknowledgement = await service.deliver(message, interaction=interaction)
    if not is_nhs_number(nhs_number):
        assert acknowledgement.outcome.ack == "AE"
        assert [issue.code for issue in acknowledgement.outcome.issues] == ["400", "35160"]
        return
    assert acknowledgement.outcome.accepted, acknowledgement.outcome
    answered = await retrieve(service, nhs_number, event_id)
    query = EventQuery(MessageIds(mint_uuid(), EVENT), nhs_number, event_id)
    alone = await service.record.retrieve_event(Caller(GP_ASID, PRACTICE_PARTY, GP), query)
    parsed = etree.fromstring(alone.document)
    shown = canonical(document)
    inherited = {
        key: value
        for ancestor in reversed(list(document.iterancestors()))
        for key, value in ancestor.items()
        if str(key).startswith("{http://www.w3.org/XML/1998/namespace}") and key not in document.attrib
    }
    for found in (answered, parsed):
        # What was said above it by xml: attributes is now said on the document itself.
        for key, value in inherited.items():
            assert found.attrib.pop(key) == value
        assert canonical(found) == shown
    assert scopes(parsed) == scopes(document)
    assert (await service.store.verify()).intact


@pytest.mark.parametrize("name", FILES or ["any file"])
async def test_round_trip(service: Harness, name: str) -> None:
    """A published summary is stored and comes back; one whose number fails modulus 11 is refused for that."""
    summary = summary_in(shared("corpus", name).read_bytes())
    initial = GP_INITIAL_SUMMARY.encode() in summary.element
    interaction = INITIAL_UPLOAD if initial else UPLOAD
    if name in REFUSED:
        message = summary.message(interaction)
        _, acknowledgement = await service.deliver(message, interaction=interaction)
        assert acknowledgement.outcome.ack == "AE"
        root = read_xml(message)
        read = read_summary_message(root, read_wrapper(root), message, interaction)
        assert {finding.rule for finding in read.findings} == REFUSED[name]
        return
    await check_round_trip(service, summary.message(interaction), interaction)


def test_every_summary_of_the_corpus_is_here() -> None:
    """What is found is what the corpus says that it holds."""
    table = shared("corpus", "VALIDITY.md").read_text("utf-8").partition("## GP summaries in the corpus")[2]
    rows = table.partition("\n## ")[0]
    assert set(re.findall(r"^\| `([^`]+)`", rows, re.MULTILINE)) == set(FILES)


# --- what a sender may do to the same document ----------------------------------------------------------------------

BASE = MESSAGES / "gp-summary"


def plain() -> bytes:
    """The document of an example, without anything declared on it that it inherits in its file."""
    (path,) = BASE.glob("03-*")
    data = path.read_bytes()
    offset, length, _ = element_span(data, sent_document(data))
    return data[offset : offset + length]


def with_prefix(element: bytes) -> bytes:
    """Give every HL7 element the prefix ``ns2``, and every element of the text another one."""
    parts = re.split(rb'(<html xmlns="xhtml:NPfIT:PresentationText">.*?</html>)', element, flags=re.DOTALL)
    tags = rb"<(/?)(?=[A-Za-z])"
    outside = [re.sub(tags, rb"<\1ns2:", part) for part in parts[::2]]
    inside = [
        re.sub(tags, rb"<\1verylongnamespace:", part.replace(b' xmlns="xhtml:NPfIT:PresentationText"', b""))
        for part in parts[1::2]
    ]
    return outside[0] + b"".join(a + b for a, b in zip(inside, outside[1:], strict=True))


HL7_DEFAULT = ' xmlns="urn:hl7-org:v3"'
PREFIXES = ' xmlns:ns2="urn:hl7-org:v3" xmlns:verylongnamespace="xhtml:NPfIT:PresentationText"'
INSIDE = b'<?viewer keep="this"?><!-- and this --><recordTarget'


@pytest.mark.parametrize(
    ("summary", "ancestors"),
    [
        (Summary(plain()), HL7_DEFAULT),
        (Summary(with_prefix(plain())), PREFIXES),
        (Summary(with_prefix(plain()), PREFIXES), HL7_DEFAULT),
        (Summary(with_prefix(plain()), PREFIXES + ' xmlns="urn:example:other"'), ""),
        (Summary(plain(), HL7_DEFAULT), ' xmlns="urn:example:other" xmlns:psis="urn:example:mine"'),
        (Summary(plain(), HL7_DEFAULT), ' xml:lang="en-GB" xml:space="preserve"'),
        (Summary(plain().replace(b"<GPSummary", b'<GPSummary xml:lang="cy"', 1), HL7_DEFAULT), ' xml:lang="en-GB"'),
        (Summary(plain().replace(b"<recordTarget", INSIDE), HL7_DEFAULT), ""),
        (Summary(plain().replace(b"<h2>General", b"<h2><![CDATA[<General> & ]]>General", 1), HL7_DEFAULT), ""),
        (
            Summary(plain().replace(b"<h2>General", "<h2>&#233;&#x1F600;&lt;é\u00a0General".encode(), 1), HL7_DEFAULT),
            "",
        ),
        (Summary(plain().replace(b"<head/>", b"<head></head  >\r\n\t"), HL7_DEFAULT), ""),
        (
            Summary(plain().replace(b"<head/>", b'<head/><o:mark xmlns:o="urn:o" o:a="1"/><n xmlns=""/>'), HL7_DEFAULT),
            "",
        ),
    ],
    ids=[
        "default namespace on the root",
        "prefixes on the root",
        "prefixes over a default namespace",
        "foreign default namespace",
        "our own prefix with another meaning",
        "xml attributes above",
        "xml attribute above and on the document",
        "comment and instruction",
        "CDATA",
        "character references",
        "white space",
        "foreign elements",
    ],
)
async def test_same_document_however_it_is_written(service: Harness, summary: Summary, ancestors: str) -> None:
    """Prefixes, inherited declarations and ways of writing change nothing: what comes back means the same."""
    await check_round_trip(service, summary.message(UPLOAD, ancestors), UPLOAD)


async def test_stored_bytes_are_the_sent_bytes(service: Harness) -> None:
    """The raw message is kept byte for byte; the document is a part of it and is spliced, not written anew."""
    summary = Summary(plain(), HL7_DEFAULT)
    message = summary.message(UPLOAD)
    await check_round_trip(service, message, UPLOAD)
    document = sent_document(message)
    number = attribute(document, "{*}recordTarget/{*}patient/{*}id", "extension")
    (event,) = (await service.state(number)).events
    query = EventQuery(MessageIds(mint_uuid(), EVENT), number, event.event_id)
    alone = await service.record.retrieve_event(Caller(GP_ASID, PRACTICE_PARTY, GP), query)
    head = len(b"<GPSummary")
    assert alone.document.startswith(b"<GPSummary")
    assert alone.document.endswith(summary.element[head:])
