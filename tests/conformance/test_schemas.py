"""Every answer that the service writes is valid against the published schemas, but for the exceptions of 40 §12.

The schemas are read where they lie, and only while the shared material is there.
"""

from copy import deepcopy

import pytest
from lxml import etree

from hl7.mutation import mutated
from hl7.rules import (
    ACS_WRAPPER_RULES,
    GET_RULES,
    QUERY_RULES,
    SET_RULES,
    SUMMARY_RULES,
    WRAPPER_RULES,
    message,
)
from openscr.hl7.strict import check_strict
from openscr.identifiers import mint_uuid
from openscr.spine import Consent
from openscr.transport.xml import read_xml
from shared import schema, shared

from .comparing import HL7
from .examples import interaction_in
from .harness import Harness
from .test_examples_psis import DISSENTER, LIST, LIST_SM, MERGED, PATIENT, RETRIEVE, STRANGER, put_record
from .test_rules import INTERACTIONS, PARTY

BOTH = ("TightenedSchemas", "Schemas")


@pytest.fixture(autouse=True)
def _schemas() -> None:
    shared("mim")


def errors(root: etree._Element, folder: str) -> list[str]:
    """Validate an interaction by the schema of its name; a copy, because validation belongs to nobody else."""
    element = deepcopy(root)
    name = etree.QName(element).localname
    if name == "QUPC_IN200000SM04":
        # There is no schema of this name: it is its twin with a block more. Spec: 40 §12.
        name = "QUPC_IN200000UK04"
        element.tag = HL7 + name
        interaction = element.find(f"{HL7}interactionId")
        assert interaction is not None
        interaction.set("extension", name)
        for permissions in list(element.iter(f"{HL7}permissions")):
            parent = permissions.getparent()
            assert parent is not None
            parent.remove(permissions)
    found = schema(folder, name)
    found.validate(etree.ElementTree(element))
    return [error.message for error in found.error_log]


def check(root: etree._Element, *, success_detail: bool = False) -> None:
    """Fail unless an answer is valid in both folders and at level strict; an AA of an upload has one known error."""
    told = [finding.text for finding in check_strict(root, etree.QName(root).localname)]
    assert len(told) == int(success_detail), told
    acs_only = etree.QName(root).localname.endswith("PERMISSIONS_RESPONSE_INUK01")
    for folder in BOTH[:1] if acs_only else BOTH:
        found = errors(root, folder)
        if success_detail:
            assert len(found) == 1, found
            assert "requestSuccessDetail" in found[0]
        else:
            assert found == [], (folder, found)


async def test_acknowledgements(service: Harness) -> None:
    """AA of uploads and withdrawals has the one error; AA of SET over ebXML, every AE and every AR have none."""
    for name in ("01", "02", "04", "03", "05", "06"):
        delivery, acknowledgement = await service.deliver(message("gp-summary", name))
        assert acknowledgement.outcome.accepted
        check(delivery.root, success_detail=True)
    delivery, acknowledgement = await service.deliver(message("acs", "13"))
    assert acknowledgement.outcome.accepted
    check(delivery.root)
    for row in (*SUMMARY_RULES, *WRAPPER_RULES):
        payload = mutated(message("gp-summary", row.base), row.change)
        delivery, acknowledgement = await service.deliver(payload, interaction=INTERACTIONS[row.base], from_party=PARTY)
        assert not acknowledgement.outcome.accepted
        check(delivery.root)
    message_id = mint_uuid()
    delivery, _ = await service.deliver(
        b"no XML", interaction="REPC_IN150016UK05", message_id=message_id, from_party=PARTY
    )
    check(delivery.root)


async def test_query_answers(service: Harness) -> None:
    """Lists, events and refusals are valid, whatever the consent and the statuses are."""
    await put_record(service)
    requests = [
        message("psis-query", name).replace(PATIENT.encode(), number.encode())
        for name in (LIST, LIST_SM, RETRIEVE)
        for number in (PATIENT, STRANGER, DISSENTER, MERGED)
    ]
    requests += [mutated(message("psis-query", row.base), row.change) for row in QUERY_RULES if not row.location]
    names = set()
    for request in requests:
        action = "QUPC_IN190000UK04" if b"<QUPC_IN190000UK04" in request else None
        action = action or ("QUPC_IN180000SM04" if b"<QUPC_IN180000SM04" in request else "QUPC_IN180000UK04")
        answer = await service.ask(request, action=f"urn:nhs:names:services:psisquery/{action}")
        assert answer.status == 200
        root = interaction_in(answer.body)
        names.add(etree.QName(root).localname)
        check(root)
    assert names == {"QUPC_IN200000UK04", "QUPC_IN200000SM04", "QUPC_IN210000UK04", "QUQI_IN010000UK14"}


async def test_withdrawn_events_in_lists(service: Harness) -> None:
    """A list with the id of a withdrawing event is valid too."""
    for name in ("01", "02", "04"):
        await service.deliver(message("gp-summary", name))
    request = message("psis-query", LIST).replace(PATIENT.encode(), b"9990001030")
    root = interaction_in((await service.ask(request)).body)
    assert len(list(root.iter("{urn:npfit:psisqr}withdrawingEventID"))) == 1
    assert len(list(root.iter("{urn:npfit:psisqr}event"))) == 2
    check(root)


async def test_consent_answers(service: Harness) -> None:
    """SET and GET answers, accepted and refused, are valid."""
    for consent in Consent:
        await service.set_consent("9990012016", consent)
        for name in ("06", "07"):
            check(interaction_in((await service.ask(message("acs", name))).body))
    for name in ("01", "02", "03"):
        check(interaction_in((await service.ask(message("acs", name))).body))
    merged = message("acs", "06").replace(b"9990012016", MERGED.encode())
    check(interaction_in((await service.ask(merged)).body))
    for row in (*SET_RULES, *GET_RULES, *ACS_WRAPPER_RULES):
        data = message("acs", row.base)
        action = read_xml(data).findtext("{*}Header/{*}Action")
        answer = await service.ask(mutated(data, row.change), action=action)
        assert answer.status == 200
        check(interaction_in(answer.body))


def test_requests_are_valid() -> None:
    """The examples that the other tests send are what the schemas know, so that a fault is the answer's own."""
    for folder, name in (("psis-query", LIST), ("psis-query", RETRIEVE)):
        root = interaction_in(message(folder, name))
        for where in BOTH:
            assert errors(root, where) == []
