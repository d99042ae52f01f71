"""Every rule, broken one at a time and sent to the real endpoint: exactly the answer that the specification names.

The rows are those of `hl7.rules`. One service answers all of them.
"""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from lxml import etree
from structlog.testing import capture_logs

from hl7.mutation import mutated
from hl7.rules import (
    ACS_HEADER_RULES,
    ACS_WRAPPER_RULES,
    GET_RULES,
    HAS_RULES,
    QUERY_RULES,
    SET_RULES,
    SUMMARY_RULES,
    TMS_SYSTEM,
    WRAPPER_RULES,
    Row,
    message,
)
from openscr.identifiers import mint_uuid
from openscr.transport.xml import read_xml

from .examples import interaction_in
from .harness import Harness, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

INTERACTIONS = {"01": "REPC_IN150015UK05", "02": "REPC_IN150016UK05", "04": "REPC_IN150018UK02"}
PARTY = "Z99999-200101"


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Harness]:
    """One service for all rows: none of them may leave anything in a record."""
    folder: Path = tmp_path_factory.mktemp("service")
    async with running(folder) as harness:
        yield harness


def details(root: etree._Element) -> Iterator[tuple[str, str]]:
    """The issues of an answer in the order of the wire, each with system and qualifier as they must be."""
    for code in root.iterfind("{*}acknowledgement/{*}acknowledgementDetail/{*}code"):
        parent = code.getparent()
        assert parent is not None
        assert parent.get("typeCode") == "ER"
        assert code.get("codeSystem") == TMS_SYSTEM
        yield code.get("code", ""), code.get("displayName", "")
    for code in root.iterfind("{*}ControlActEvent/{*}reason/{*}justifyingDetectedIssueEvent/{*}code"):
        qualifier = code.find("{*}qualifier")
        assert qualifier is not None
        assert qualifier.get("code") == "ER"
        assert code.get("codeSystem") != TMS_SYSTEM
        yield code.get("code", ""), code.get("displayName", "")


def ack_of(root: etree._Element) -> str:
    acknowledgement = root.find("{*}acknowledgement")
    assert acknowledgement is not None
    return acknowledgement.get("typeCode", "")


def reference_of(root: etree._Element) -> str:
    reference = root.find("{*}acknowledgement/{*}messageRef/{*}id")
    assert reference is not None
    return reference.get("root", "")


def version_of(root: etree._Element) -> str:
    version = root.find("{*}versionCode")
    assert version is not None
    return version.get("code", "")


def locations(root: etree._Element) -> list[str]:
    codes = [e.text for e in root.iterfind(".//{*}errorCode")]
    assert set(codes) == {"201"}
    return [e.text or "" for e in root.iterfind(".//{*}error/{*}location")]


def fresh_id(root: etree._Element) -> None:
    """Give a message an id of its own: a wrapper id that was seen before is refused as such."""
    identifier = root.find("{*}id")
    assert identifier is not None
    identifier.set("root", mint_uuid())


@pytest.mark.parametrize("row", [*SUMMARY_RULES, *WRAPPER_RULES], ids=str)
async def test_summary_rules(service: Harness, row: Row) -> None:
    """A faulty upload is accepted by transport, refused by its answer, and leaves nothing in the record."""
    payload = mutated(message("gp-summary", row.base), fresh_id, row.change)
    sent, message_id = await service.send(payload, interaction=INTERACTIONS[row.base], from_party=PARTY)
    assert sent.status == 202
    delivery = await service.clients.answer_to(message_id)
    root = delivery.root
    rejected = row in WRAPPER_RULES
    assert ack_of(root) == ("AR" if rejected else "AE")
    assert version_of(root) == ("V3NPfIT3.1.10" if rejected else "V3NPfIT3.0")
    assert list(details(root)) == list(row.issues)
    sent_id = read_xml(payload).find("{*}id")
    wrapper_id = sent_id.get("root") if sent_id is not None else None
    assert reference_of(root) == (wrapper_id or message_id)
    receiver = root.find("{*}communicationFunctionRcv/{*}device/{*}id")
    assert receiver is not None
    assert receiver.get("extension") == "200000000101"
    assert (await service.state("9990001030")).events == ()
    assert (await service.audit())[-1].content


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        (b"<REPC_IN150016UK05", "cut off"),
        (b"", "nothing"),
        (b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "document type"),
        (b"<a>" * 201 + b"</a>" * 201, "deep"),
        (b"\xff\xfe<\x00a\x00/\x00>\x00", "UTF-16"),
    ],
)
async def test_unreadable_payload(service: Harness, payload: bytes, name: str) -> None:
    """What is no XML is rejected with 202; the answer refers to the ebXML message. Spec: 10 §14."""
    sent, message_id = await service.send(payload, interaction="REPC_IN150016UK05", from_party=PARTY)
    assert sent.status == 202, name
    root = (await service.clients.answer_to(message_id)).root
    assert ack_of(root) == "AR"
    assert list(details(root)) == [("202", "HL7 Validation Error")]
    assert reference_of(root) == message_id


KEYS = {
    "S0": "ErrorBaseTms.MESSAGE_NOT_WELL_FORMED",
    "S1": "ErrorBaseTms.SOAP_MESSAGE_ID_ERROR[checkHeader.invalidMessageIDLength]",
    "S2": "ErrorBaseTms.SOAP_ACTION_ERROR",
    "S3": "ErrorBaseTms.SOAP_TO_ERROR",
    "S4": "ErrorBaseTms.SOAP_COMM_FUNC_RCV_ERROR",
    "S5": "ErrorBaseTms.SOAP_COMM_FUNC_SND_ERROR",
}


@pytest.mark.parametrize("row", [row for row in QUERY_RULES if row.label in KEYS], ids=str)
async def test_constants_of_header_rules_are_logged(service: Harness, row: Row) -> None:
    """The fault says where, the log says which rule. Spec: 20 §9.2."""
    interaction = row.base.removesuffix("_request_soap")
    with capture_logs() as logs:
        await service.ask(
            mutated(message("psis-query", row.base), row.change),
            action=f"urn:nhs:names:services:psisquery/{interaction}",
        )
    (rules,) = [log["rules"].split(" ") for log in logs if log["event"] == "refused"]
    assert rules[0].startswith(KEYS[row.label])
    assert len(rules) == len(row.location)


@pytest.mark.parametrize("row", QUERY_RULES, ids=str)
async def test_query_rules(service: Harness, row: Row) -> None:
    """A faulty query gets its SOAP fault, or its refusal in the wrapper of its request."""
    interaction = row.base.removesuffix("_request_soap")
    action = f"urn:nhs:names:services:psisquery/{interaction}"
    answer = await service.ask(mutated(message("psis-query", row.base), row.change), action=action)
    if row.location:
        assert answer.status == 500
        assert locations(answer.root) == list(row.location)
        return
    assert answer.status == 200
    root = interaction_in(answer.body)
    assert etree.QName(root).localname == "QUQI_IN010000UK14"
    parent = root.getparent()
    assert parent is not None
    expected = "eventQueryResponse" if interaction == "QUPC_IN190000UK04" else "eventListQueryResponse"
    assert etree.QName(parent).localname == expected
    assert ack_of(root) == "AE"
    assert version_of(root) == ("V3NPfIT3.0" if row.label == "B3" else "V3NPfIT4.2.00")
    assert list(details(root)) == list(row.issues)
    assert [e.get("code") for e in root.iterfind(".//{*}queryResponseCode")] == ["ID"]


@pytest.mark.parametrize("row", [*SET_RULES, *GET_RULES, *HAS_RULES, *ACS_WRAPPER_RULES, *ACS_HEADER_RULES], ids=str)
async def test_consent_rules(service: Harness, row: Row) -> None:
    """A faulty SET, GET or HAS gets its SOAP fault, or an acknowledgement in the wrapper of its request."""
    data = message("acs", row.base)
    action = read_xml(data).findtext("{*}Header/{*}Action")
    answer = await service.ask(mutated(data, row.change), action=action)
    if row.location:
        assert answer.status == 500
        assert locations(answer.root) == list(row.location)
        return
    assert answer.status == 200, answer.body
    root = interaction_in(answer.body)
    assert etree.QName(root).localname == "MCCI_IN010000UK13"
    parent = root.getparent()
    assert parent is not None
    asked = (action or "").rpartition("/")[2].partition("_")[0].lower()
    assert etree.QName(parent).localname == f"{asked}ResourcePermissionsResponse"
    rejected = row in ACS_WRAPPER_RULES
    assert ack_of(root) == ("AR" if rejected else "AE")
    assert version_of(root) == ("V3NPfIT3.0" if rejected else "V3NPfIT4.2.00")
    assert list(details(root)) == list(row.issues)
    assert (await service.state("9990012016")).consent_version == 0


async def test_nothing_was_stored(service: Harness) -> None:
    """After all that, the store is sound and every refusal is in the audit."""
    assert (await service.store.verify()).intact
    reasons = {entry.content.get("reason") for entry in await service.audit() if entry.outcome != "AA"}
    assert reasons == {"invalid"}
