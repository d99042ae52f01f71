"""AuditEvent as an alert: every published check with its text, in its order; hostile bodies. Spec: 60 §8.2."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts import an_alert, in_fhir
from openscr.codes import ALERT_REASONS, FORBIDDEN_ALERTS
from openscr.fhir.audit_event import NHS_NUMBER_SYSTEM, USER_SYSTEM, alert_of, check_audit_event, read_audit_event
from openscr.fhir.operation_outcome import text_of_outcome, write_outcome
from openscr.fhir.resource import NotFhir, read_resource
from openscr.spine import MessageIds
from shared import shared

NUMBER = "9990012016"
Event = dict[str, Any]
Change = Callable[[Event], object]

NOTIFICATION = "https://fhir.nhs.uk/StructureDefinition/Extension-SCR-NotificationMessage"
TYPE = "https://fhir.nhs.uk/CodeSystem/SCR-AlertType"
REASON = "https://fhir.nhs.uk/CodeSystem/SCR-AlertReason"
ODS = "https://fhir.nhs.uk/Id/ods-organization-code"
BAD_CODE = "Invalid or missing value in field"


def entry(system: str) -> str:
    return f"'agent' entry with 'who.identifier.system' '{system}' and non-empty 'value'"


def judged(event: Event) -> str | None:
    return check_audit_event(read_audit_event(json.dumps(event).encode()))


def lose(*path: str | int) -> Change:
    """Take a value out."""

    def change(event: Event) -> None:
        inner: Any = event
        for step in path[:-1]:
            inner = inner[step]
        del inner[path[-1]]

    return change


def put(value: object, *path: str | int) -> Change:
    """Give it another value."""

    def change(event: Event) -> None:
        inner: Any = event
        for step in path[:-1]:
            inner = inner[step]
        inner[path[-1]] = value

    return change


def again(*path: str | int) -> Change:
    """Repeat the first of a list."""

    def change(event: Event) -> None:
        inner: Any = event
        for step in path:
            inner = inner[step]
        inner.append(inner[0])

    return change


CHECKS: list[tuple[Change, str]] = [
    (lose("id"), "'id' element is missing"),
    (lose("extension"), f"Expecting exactly one 'extension' element with URL: '{NOTIFICATION}'"),
    (again("extension"), f"Expecting exactly one 'extension' element with URL: '{NOTIFICATION}'"),
    (put("urn:x", "extension", 0, "url"), f"Expecting exactly one 'extension' element with URL: '{NOTIFICATION}'"),
    (lose("extension", 0, "valueString"), f"'valueString' for 'extension' '{NOTIFICATION}' is missing"),
    (lose("type"), f"'Type' element for '{TYPE}' system missing"),
    (put("urn:x", "type", "system"), f"'Type' element for '{TYPE}' system missing"),
    (put("-34", "type", "code"), f"{BAD_CODE} 'type.code'. Supported values are: 1, 2"),
    (lose("type", "code"), f"{BAD_CODE} 'type.code'. Supported values are: 1, 2"),
    (lose("type", "display"), "Missing value 'type.display'"),
    (lose("subtype"), "Expecting exactly one 'subtype' element"),
    (again("subtype"), "Expecting exactly one 'subtype' element"),
    (put("urn:x", "subtype", 0, "system"), f"{BAD_CODE} 'subtype.system'. Supported value is: {REASON}"),
    (put("7", "subtype", 0, "code"), f"{BAD_CODE} 'subtype.code'. Supported values are: 1, 2, 3, 4, 5, 6"),
    (lose("subtype", 0, "display"), "Missing value 'subtype.display'"),
    (put("4", "subtype", 0, "code"), "Invalid combination of alert type '2' and alert subtype '4'."),
    (lose("recorded"), "'recorded' element missing"),
    (put([], "entity"), "Expecting exactly one 'entity' element"),
    (again("entity"), "Expecting exactly one 'entity' element"),
    (lose("entity", 0, "what"), f"{BAD_CODE} 'entity.what.identifier.value'"),
    (lose("agent", 0), f"Missing {entry(NHS_NUMBER_SYSTEM)}"),
    (lose("agent", 0, "who", "identifier", "value"), f"Missing {entry(NHS_NUMBER_SYSTEM)}"),
    (lose("agent", 1), f"Missing {entry(ODS)}"),
    (lose("agent", 2), f"Missing {entry(USER_SYSTEM)}"),
    (again("agent"), f"Expecting exactly one {entry(NHS_NUMBER_SYSTEM)}"),
    (
        put(True, "agent", 1, "requestor"),
        f"Missing or unsupported 'requestor' value for 'agent' with 'who.identifier.system' '{ODS}'",
    ),
    (
        lose("agent", 2, "requestor"),
        f"Missing or unsupported 'requestor' value for 'agent' with 'who.identifier.system' '{USER_SYSTEM}'",
    ),
    (lose("agent", 2, "role"), f"Expecting at least one 'role' for 'agent' entry with system {USER_SYSTEM}"),
    (
        put([{}], "agent", 2, "role"),
        f"Expecting at least one non empty 'role' for 'agent' entry with system {USER_SYSTEM}",
    ),
]


@pytest.mark.parametrize(("change", "text"), CHECKS, ids=[text[:60] for _, text in CHECKS])
def test_checks(change: Change, text: str) -> None:
    event = in_fhir(an_alert(NUMBER))
    assert judged(event) is None
    change(event)
    assert judged(event) == text


def test_the_first_check_that_fails_is_told() -> None:
    """The checks have an order: of all that fail, the earliest is told."""
    independent = [CHECKS[number] for number in (0, 4, 6, 7, 9, 12, 13, 14, 16, 19, 21, 25, 28)]
    for number, (_, text) in enumerate(independent):
        event = in_fhir(an_alert(NUMBER))
        for change, _ in independent[number:]:
            change(event)
        assert judged(event) == text


@pytest.mark.parametrize("kind", ["1", "2"])
@pytest.mark.parametrize("reason", ALERT_REASONS)
def test_combinations(kind: str, reason: str) -> None:
    """Nine pairs of type and reason are alerts, three are not. Spec: 80 §5.1, 35 §9.6."""
    told = judged(in_fhir(an_alert(NUMBER, kind, reason)))
    forbidden = (kind, reason) in FORBIDDEN_ALERTS
    text = f"Invalid combination of alert type '{kind}' and alert subtype '{reason}'."
    assert told == (text if forbidden else None)


def test_what_an_alert_is_made_of() -> None:
    event = in_fhir(an_alert(NUMBER), asid="200000000116")
    event["agent"][2]["role"] = [{"coding": [{"system": "urn:x", "code": "R8000", "display": "Doctor"}]}]
    alert = alert_of(read_audit_event(json.dumps(event).encode()), MessageIds("", "AuditEvent"))
    assert (alert.nhs_number, alert.type.code, alert.reason.code) == (NUMBER, "2", "5")
    assert (alert.user.user_id, alert.user.role, alert.user.organisation) == ("555000000101", "Doctor", "Y90001")
    assert alert.text == "Found unconscious"
    assert alert.carried["source/asid"] == "200000000116"
    assert alert.carried["user/role/code"] == "R8000"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("alert/alert/success.json", None),
        ("alert/alert/type_range.json", f"{BAD_CODE} 'type.code'. Supported values are: 1, 2"),
        (
            "alert/alert/type_subtype_combination_24.json",
            "Invalid combination of alert type '2' and alert subtype '4'.",
        ),
        ("uat/send_alert/success/1-basic.request.json", None),
        ("uat/send_alert/bad_request/1-missingNhsNumber.request.json", f"Missing {entry(NHS_NUMBER_SYSTEM)}"),
    ],
)
def test_published_samples(name: str, told: str | None) -> None:
    """What the public facade's own tests send is judged as they expect."""
    event = read_audit_event(shared("corpus", "fhir", "visible", name).read_bytes())
    assert check_audit_event(event) == told


def test_a_published_sample_with_an_empty_text() -> None:
    body = shared("corpus", "fhir", "visible", "alert", "alert", "free_text_empty.json").read_bytes()
    with pytest.raises(NotFhir) as caught:
        read_audit_event(body)
    assert caught.value.diagnostics == (
        '[element="outcomeDesc"] Invalid attribute value "": Attribute value must not be empty ("")'
    )


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
PARTS = ["id", "extension", "type", "subtype", "recorded", "outcomeDesc", "agent", "source", "entity"]


@given(part=st.sampled_from(PARTS), value=anything)
def test_any_value_anywhere_is_judged_and_never_fails(part: str, value: object) -> None:
    """Whatever stands in a place, the answer is a refusal with words, or an alert."""
    event = in_fhir(an_alert(NUMBER))
    event[part] = value
    try:
        read = read_audit_event(json.dumps(event).encode())
    except NotFhir:
        return
    if check_audit_event(read) is None:
        assert alert_of(read, MessageIds("", "AuditEvent")).nhs_number == NUMBER


@given(st.binary(max_size=60))
def test_any_bytes_are_refused(body: bytes) -> None:
    with pytest.raises(NotFhir):
        read_resource(body, "AuditEvent")


def test_a_refusal_never_repeats_what_was_sent() -> None:
    """The words of a refusal name elements and types, never values."""
    event = in_fhir(an_alert(NUMBER))
    event["agent"][0]["who"]["identifier"]["value"] = int(NUMBER)
    with pytest.raises(NotFhir) as caught:
        read_audit_event(json.dumps(event).encode())
    assert NUMBER not in caught.value.diagnostics


def test_operation_outcomes_are_read_as_written() -> None:
    assert text_of_outcome(write_outcome("value", "INVALID_VALUE", "Why not")) == "Why not"
    for body in (b"", b"<x/>", b"[]", b'{"issue": []}', b'{"issue": [{}]}', b"[" * 5000):
        assert text_of_outcome(body) == ""
