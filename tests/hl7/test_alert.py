"""The privacy alert: written, read again, and every check broken one at a time. Spec: 35 §6.1, 80 §5.2, 40 §10.3."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from alerts import an_alert
from openscr.hl7.alert import AlertMessage, read_alert_message, write_alert
from openscr.hl7.rules.alerts import ALERT_ACT, ALERT_EVENT
from openscr.hl7.wrapper import Heading, read_wrapper
from openscr.identifiers import mint_uuid
from openscr.spine import AckType, Alert, Person
from openscr.transport.xml import read_xml
from shared import shared

from .alert_rules import ALERT_RULES, ALERT_WRAPPER_RULES, EVENT, PATIENT
from .mutation import both, drop, mutated
from .rules import Row

NUMBER = "9990012016"
GP = Person("555000000101", "555000000102", "R8000")
HEADING = Heading(
    "7A1F0E0B-3C55-4B0E-9D11-0C5A11CE000B", "20261122143001", "V3NPfIT4.2.00", "200000000100", "200000000115"
)


def message(alert: Alert | None = None) -> bytes:
    return write_alert(HEADING, alert or an_alert(NUMBER), GP, mint_uuid)


def read(data: bytes) -> AlertMessage:
    return read_alert_message(read_wrapper(read_xml(data)))


@pytest.mark.parametrize("row", ALERT_RULES, ids=str)
def test_checks(row: Row) -> None:
    """Each check, broken alone: its own name is found, and the answer is 202 whichever it is."""
    found = read(mutated(message(), row.change))
    assert [(finding.rule, finding.key, finding.text) for finding in found.findings] == list(row.found)
    assert found.request is None
    assert found.refusal is not None
    assert found.refusal.ack is AckType.REJECTED
    assert [(issue.code, issue.display) for issue in found.refusal.issues] == list(row.issues)


def test_every_check_has_a_row() -> None:
    broken = {rule for row in ALERT_RULES for rule, _, _ in row.found}
    assert broken == {rule.id for rule in (*ALERT_ACT.rules, *ALERT_EVENT.rules)}


def test_all_that_is_wrong_is_found() -> None:
    """Several checks at once are all named, in the order of the rows, and answered once."""
    change = both(drop("h:ControlActEvent/h:author"), drop(f"{EVENT}/h:id"), drop(PATIENT))
    found = read(mutated(message(), change))
    checks = ["checkControlActEvent:author", "checkAlertEvent:id", "checkPatient:nhsNumber"]
    assert [finding.rule for finding in found.findings] == [f"alert-{check}" for check in checks]
    assert found.refusal is not None
    assert len(found.refusal.issues) == 1


@pytest.mark.parametrize("row", ALERT_WRAPPER_RULES, ids=str)
def test_the_wrapper_comes_first(row: Row) -> None:
    """A wrapper at fault is told by its code, and the alert is not looked at. Spec: 40 §10.4."""
    alert_too = () if row.label == "504" else (drop(f"{EVENT}/h:id"),)
    found = read(mutated(message(), row.change, *alert_too))
    assert [(finding.rule, finding.text) for finding in found.rejected][:1] == [(row.found[0][0], row.found[0][2])]
    assert found.findings == ()
    assert found.refusal is not None
    assert [(issue.code, issue.display) for issue in found.refusal.issues] == list(row.issues)


def test_optional_parts_may_be_missing_or_nil() -> None:
    """No notification and no words; or parts that say that they are nil."""
    plain = read(message(replace(an_alert(NUMBER), text="", notification="")))
    assert plain.refusal is None
    assert plain.request is not None
    assert (plain.request.text, plain.request.notification) == ("", "")
    root = read_xml(message())
    for part in ("component", "reason1"):
        element = root.find(f".//{{urn:hl7-org:v3}}{part}")
        assert element is not None
        element.clear()
        element.set("{http://www.w3.org/2001/XMLSchema-instance}nil", "true")
    assert read(etree.tostring(root)).refusal is None


def test_what_is_written_is_read_again() -> None:
    alert = an_alert(NUMBER)
    found = read(message(alert))
    assert found.request is not None
    assert found.nhs_number == NUMBER
    assert replace(found.request, ids=alert.ids, carried={}) == alert
    assert found.request.carried["device/id/extension"] == "200000000115"
    assert set(found.request.carried) >= {"reason/id", "reason1/id", "notification/id", "author/person/id/root"}


texts = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=40).filter(
    lambda text: bool(text.strip())
)


@given(text=texts, notification=texts, name=texts)
def test_any_words_survive(text: str, notification: str, name: str) -> None:
    """Whatever people write comes out as it went in, but for white space around it."""
    alert = an_alert(NUMBER, text=text)
    alert = replace(alert, notification=notification, user=replace(alert.user, name=name))
    found = read(message(alert)).request
    assert found is not None
    assert (found.text, found.notification, found.user.name) == (text.strip(), notification.strip(), name.strip())


@pytest.mark.parametrize("folder", ["TightenedSchemas", "Schemas"])
@pytest.mark.parametrize("complete", [True, False])
def test_what_we_write_is_valid_against_the_published_schema(folder: str, complete: bool) -> None:
    schema = etree.XMLSchema(etree.parse(str(shared("mim", folder, "COMT_IN000001UK01.xsd"))))
    alert = an_alert(NUMBER) if complete else replace(an_alert(NUMBER), text="", notification="")
    schema.assertValid(etree.fromstring(message(alert)))
