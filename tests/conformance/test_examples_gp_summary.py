"""The GP summary examples, sent as they are: each gets its acknowledgement, and what was stored comes back."""

import pytest
from lxml import etree

from openscr.codes import EVENT
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.hl7.psis import read_event_answer, write_query
from openscr.hl7.wrapper import Heading
from openscr.identifiers import hl7_timestamp, mint_uuid, utc_now
from openscr.spine import AckType, Consent, EventQuery, EventStatus, MessageIds
from openscr.testbench.world import OWN_ASID
from openscr.transport.xml import read_xml

from .comparing import canonical, same
from .examples import example, interaction_in
from .harness import GP, GP_ASID, Harness

FOLDER = "gp-summary"
PATIENT = "9990001030"
INITIAL = "7FDB3E35-2F88-5D30-897F-FE7AEA370F13"
REPLACEMENT = "6D68C00C-7135-5BF6-8ADB-278528C9F62D"


async def upload(service: Harness, *names: str) -> list[AckType]:
    """Send examples in turn and return how each was acknowledged."""
    types = []
    for name in names:
        _, acknowledgement = await service.deliver(example(FOLDER, name))
        types.append(acknowledgement.outcome.ack)
    return types


async def retrieve(service: Harness, nhs_number: str, event_id: str) -> bytes:
    """Ask for an event by our own client's writer, and return the document of the answer."""
    heading = Heading(mint_uuid(), hl7_timestamp(utc_now()), "V3NPfIT4.2.00", OWN_ASID, GP_ASID)
    query = EventQuery(MessageIds(heading.message_id, EVENT), nhs_number, event_id)
    answer = await service.ask(service.in_soap(write_query(heading, query, GP), interaction=EVENT))
    assert answer.status == 200
    outcome = read_event_answer(interaction_in(answer.body), nhs_number)
    assert outcome.outcome.accepted, outcome.outcome
    return outcome.document


async def test_initial_replacement_withdrawal(service: Harness) -> None:
    """An initial summary, its replacement and the withdrawal of that are accepted and change the events in turn."""
    assert await upload(service, "01", "02") == [AckType.ACCEPTED] * 2
    state = await service.state(PATIENT)
    assert {event.event_id: event.status for event in state.events} == {
        INITIAL: EventStatus.REPLACED,
        REPLACEMENT: EventStatus.NORMAL,
    }
    assert await upload(service, "04") == [AckType.ACCEPTED]
    state = await service.state(PATIENT)
    assert [event.status for event in state.events] == [EventStatus.REPLACED, EventStatus.WITHDRAWN]
    assert (await service.store.verify()).intact


@pytest.mark.parametrize("name", ["03", "05", "06"])
async def test_single_upload(service: Harness, name: str) -> None:
    """A summary that stands alone is accepted and comes back with the same content."""
    sent = example(FOLDER, name)
    assert await upload(service, name) == [AckType.ACCEPTED]
    document = next(read_xml(sent).iter("{urn:hl7-org:v3}GPSummary"))
    identifier, patient = document.find("{*}id"), document.find("{*}recordTarget/{*}patient/{*}id")
    assert identifier is not None
    assert patient is not None
    stored = await retrieve(service, patient.get("extension", ""), identifier.get("root", ""))
    assert canonical(stored) == canonical(etree.tostring(document, with_tail=False))


async def test_dissent_summary_passes_a_recorded_no(service: Harness) -> None:
    """The blank summary that states the dissent is stored although the patient has refused; another is not."""
    patient = read_xml(example(FOLDER, "05")).find(".//{*}recordTarget/{*}patient/{*}id")
    assert patient is not None
    number = patient.get("extension", "")
    await service.set_consent(number, Consent.NO)
    assert await upload(service, "05") == [AckType.ACCEPTED]
    (event,) = (await service.state(number)).events
    assert set(event.dissent) == {"Standard", "Refusal"}


async def test_acknowledgements_equal_the_examples(service: Harness) -> None:
    """AA, AE and AR are written as the examples show them, but for the prefix that polling results have."""
    await upload(service, "01")
    delivery, _ = await service.deliver(example(FOLDER, "02"))
    same(delivery.payload, example(FOLDER, "ack-AA"))
    again = example(FOLDER, "02").replace(b'<id root="6D68C00C-7135', b'<id root="AAAAAAAA-7135', 1)
    delivery, _ = await service.deliver(again)
    same(delivery.payload, _with_reference(example(FOLDER, "ack-AE"), "AAAAAAAA-7135-5BF6-8ADB-278528C9F62D"))
    without = example(FOLDER, "02").replace(b'  <versionCode code="V3NPfIT4.2.00"/>\n', b"")
    delivery, _ = await service.deliver(without)
    same(delivery.payload, example(FOLDER, "ack-AR"))


def _with_reference(acknowledgement: bytes, message_id: str) -> bytes:
    root = read_xml(acknowledgement)
    reference = root.find("{*}acknowledgement/{*}messageRef/{*}id")
    assert reference is not None
    reference.set("root", message_id)
    return etree.tostring(root)


@pytest.mark.parametrize(("name", "ack"), [("ack-AA", "AA"), ("ack-AE", "AE"), ("ack-AR", "AR")])
def test_our_reader_reads_the_acknowledgements(name: str, ack: str) -> None:
    """A client of ours reads the three acknowledgements, each with its issues."""
    read = read_acknowledgement(read_xml(example(FOLDER, name)))
    assert read.outcome.ack == ack
    assert read.reference == REPLACEMENT
    assert [issue.code for issue in read.outcome.issues] == {"AA": [], "AE": ["410", "30134"], "AR": ["503"]}[ack]
    assert read.detail == ("GP Summary upload successful" if ack == "AA" else "")
