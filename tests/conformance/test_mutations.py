"""Any small damage to a valid message gets an answer of the protocol: never a failure of ours, never acceptance of what
breaks a rule.

Each example request is damaged at seeded places and sent to the real endpoint. What the service accepts, the validator
must accept as well, and what the validator finds faulty, the service must refuse. Spec: 00 §7 (bad input), 40 §8.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
import pytest_asyncio
from lxml import etree

from openscr.codes import ACKNOWLEDGEMENT, OID_PSIS_ISSUE, QUERY_FAILED
from openscr.errors import FAULTS
from openscr.identifiers import mint_uuid
from openscr.transport.soap import read_fault
from openscr.transport.xml import read_xml
from openscr.validation import validate
from shared import MESSAGES

from .distortion import distorted
from .examples import interaction_in
from .harness import Harness, running

pytestmark = pytest.mark.asyncio(loop_scope="module")

SEEDS = 25
"""Damaged copies of each example."""

SOAP = sorted(
    path
    for path in (
        *(MESSAGES / "acs").glob("*request*.xml"),
        *(MESSAGES / "acs").glob("0?-set-*.xml"),
        *(MESSAGES / "psis-query").glob("*_request_soap.xml"),
    )
    if "response" not in path.name
)
RELIABLE = (*sorted((MESSAGES / "gp-summary").glob("0?-*.xml")), MESSAGES / "acs" / "13-set-no-ebxml-hl7-payload.xml")
EXPRESS = sorted((MESSAGES / "psis-query").glob("QUPC_IN16*_request*_payload.xml"))
INTERNAL = {"200", "206", "208"}
"""Faults that say that something went wrong with us."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def service(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Harness]:
    """One service for all of them."""
    async with running(tmp_path_factory.mktemp("service")) as harness:
        yield harness


def parsed(path: Path) -> etree._Element:
    return read_xml(path.read_bytes())


def refused(root: etree._Element) -> bool:
    """Whether an interaction that answers says no; what is in it is of the form that the schema knows."""
    acknowledgement = root.find("{*}acknowledgement")
    assert acknowledgement is not None
    kind = acknowledgement.get("typeCode")
    assert kind in ("AA", "AE", "AR")
    issues = [*root.iterfind(".//{*}justifyingDetectedIssueEvent/{*}code"), *acknowledgement.iter("{*}code")]
    if kind != "AA":
        assert issues
        assert etree.QName(root).localname in (ACKNOWLEDGEMENT, QUERY_FAILED)
    assert all(each.get("code") and each.get("displayName") and each.get("codeSystem") for each in issues)
    # Codes of our own failures are not among the answers to a message of the client's.
    told = {each.get("code") for each in issues if each.get("codeSystem") == OID_PSIS_ISSUE}
    assert not told & {"500", "502", "30112", "30318"}
    return kind != "AA"


@pytest.mark.parametrize("path", SOAP, ids=lambda path: path.stem)
async def test_damaged_synchronous_requests(service: Harness, path: Path) -> None:
    original = parsed(path)
    action = original.findtext(".//{http://schemas.xmlsoap.org/ws/2004/08/addressing}Action")
    for seed in range(SEEDS):
        root, told = distorted(original, Random(f"{path.name} {seed}"), 2)
        data = etree.tostring(root)
        answer = await service.ask(data, action=action)
        about = f"seed {seed}: {told}"
        if answer.status == 500:
            fault = read_fault(answer.root)
            assert fault is not None, about
            assert set(fault.codes) <= set(FAULTS) - INTERNAL, about
            continue
        assert answer.status == 200, about
        if not refused(interaction_in(answer.body)):
            assert validate(data).ok, about


@pytest.mark.parametrize("path", RELIABLE, ids=lambda path: path.stem)
async def test_damaged_reliable_messages(service: Harness, path: Path) -> None:
    original = parsed(path)
    interaction = etree.QName(original).localname
    for seed in range(SEEDS):
        root, told = distorted(original, Random(f"{path.name} {seed}"), 2)
        identifier = root.find("{*}id")
        if identifier is not None and identifier.get("root"):
            identifier.set("root", mint_uuid())
        data = etree.tostring(root)
        about = f"seed {seed}: {told}"
        answer, message_id = await service.send(data, interaction=interaction, from_party="Z99999-200101")
        if answer.status == 500:
            fault = read_fault(answer.root)
            assert fault is not None, about
            assert set(fault.codes) == {"300"}, about
            continue
        assert answer.status == 202, about
        delivery = await service.clients.answer_to(message_id)
        if refused(delivery.root):
            continue
        assert validate(data).ok, about


@pytest.mark.parametrize("path", EXPRESS, ids=lambda path: path.stem)
async def test_damaged_express_queries(service: Harness, path: Path) -> None:
    original = parsed(path)
    interaction = etree.QName(original).localname
    for seed in range(SEEDS):
        root, told = distorted(original, Random(f"{path.name} {seed}"), 2)
        data = etree.tostring(root)
        about = f"seed {seed}: {told}"
        answer, message_id = await service.send(data, interaction=interaction, from_party="A99999-918101")
        if answer.status == 500:
            fault = read_fault(answer.root)
            assert fault is not None, about
            assert set(fault.codes) == {"300"}, about
            continue
        assert (answer.status, answer.body) == (202, b""), about
        delivery = await service.clients.answer_to(message_id)
        if not refused(delivery.root):
            assert validate(data).ok, about
