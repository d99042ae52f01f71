"""What has faults is held back before it is sent, at the level that the caller chooses. Spec: 10 §16."""

from collections.abc import Callable, Iterator

import pytest
from lxml import etree

from client.stories import document_of, new_patient, summary
from openscr.client import Check, Client, Exchange, Profile, SpineClient
from openscr.errors import NotSent
from openscr.hl7.gp_summary import write_upload
from openscr.hl7.wrapper import HL7, Heading
from openscr.identifiers import mint_uuid
from serving import DemoServer
from shared import MESSAGES

Open = Callable[[Check | None], Client]


@pytest.fixture
def exchanges() -> list[Exchange]:
    return []


@pytest.fixture
def opened(demo_server: DemoServer, exchanges: list[Exchange]) -> Iterator[Open]:
    """Clients of the real service; what they send is seen."""
    clients: list[Client] = []

    def open_one(check: Check | None) -> Client:
        more = {} if check is None else {"check": check}
        client = Client(SpineClient(demo_server.web, Profile.demo(), observer=exchanges.append, **more))
        clients.append(client.__enter__())
        return client

    yield open_one
    for client in clients:
        client.__exit__()


def faulty(*paths: str, **attributes: str) -> bytes:
    """A fresh document without some elements, its root with other attributes."""
    document = etree.fromstring(document_of(summary(new_patient())))
    for path in paths:
        for element in document.findall(HL7 + path):
            document.remove(element)
    document.attrib.update(attributes)
    return etree.tostring(document)


def test_a_fault_that_only_strict_sees(opened: Open, exchanges: list[Exchange]) -> None:
    """Without entries the record takes a summary; the schema does not, and that is what is asked first."""
    document = faulty("pertinentInformation2")
    with pytest.raises(NotSent) as refused:
        opened(None).upload_document(document)
    text = refused.value.diagnostics
    assert text.startswith("not sent, because it is not valid at level strict: gp-strict, line ")
    assert "GPSummary must hold pertinentInformation2, and it is missing" in text
    assert exchanges == []
    assert opened(Check.SPINE).upload_document(document).accepted


def test_a_fault_that_the_record_refuses_by(opened: Open, exchanges: list[Exchange]) -> None:
    """A rule of the record is asked at both levels; with no check the record itself answers."""
    document = faulty("statusCode")
    for check, shown in ((None, "gp-G4"), (Check.SPINE, "gp-G4")):
        with pytest.raises(NotSent, match=shown):
            opened(check).upload_document(document)
    assert exchanges == []
    assert opened(Check.NONE).upload_document(document).accepted is False


def test_a_message_that_goes_byte_for_byte(opened: Open) -> None:
    """A whole message of ours is asked about, too: here its author stands behind the system."""
    heading = Heading(mint_uuid(), "20260302103000", "V3NPfIT4.2.00", "990000000004", Profile.demo().asid)
    profile = Profile.demo()
    message = etree.fromstring(write_upload("REPC_IN150016UK05", heading, faulty(), profile.caller.person))
    author = next(message.iter(f"{HL7}author"))
    author.addnext(next(message.iter(f"{HL7}author1")))
    next(message.iter(f"{HL7}author1")).addnext(author)
    payload = etree.tostring(message)
    with pytest.raises(NotSent, match="author must stand before author1"):
        opened(None).submit(payload)
    assert opened(Check.SPINE).submit(payload).accepted


def test_many_faults_are_told_in_short(opened: Open) -> None:
    document = faulty(version="1", colour="red", length="2", moodCode="RQO")
    with pytest.raises(NotSent) as refused:
        opened(None).upload_document(document)
    assert refused.value.diagnostics.endswith("; and 1 more")
    assert refused.value.diagnostics.count("gp-strict") == 3


def test_examples_pass(opened: Open) -> None:
    """A valid example reaches the record, whatever that says of it."""
    document = etree.fromstring(
        (MESSAGES / "gp-summary" / "05-dissent-blank-summary_REPC_IN150016UK05.xml").read_bytes()
    )
    summary_alone = next(document.iter(f"{HL7}GPSummary"))
    assert opened(None).upload_document(etree.tostring(summary_alone)).acknowledgement is not None
