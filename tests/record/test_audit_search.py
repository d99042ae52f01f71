"""Who may read what of the audit, and the forms in which it is taken away. Spec: 35 §7, §9.3; 80 §5.3."""

import csv
import io
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.directory.model import Role
from openscr.record.access_report import report_line
from openscr.record.audit_forms import COLUMNS, Form, harmless, without_patient, written
from openscr.record.audit_search import (
    REPORT,
    SEARCH,
    AuditQuery,
    AuditSearch,
    LocalOperator,
    Reader,
    is_out_of_hours,
)
from openscr.spine import Caller, DissentOverride, MessageIds, Session
from openscr.store.alert_evidence import ALERT_DIGEST, CHANGE_DIGEST
from openscr.store.interface import AuditEntry, AuditRow

from .clinic import FORMER, GP, HOSPITAL_PARTY, HOSPITAL_SYSTEM, LAWYER, NOON, NURSE, PATIENT, Clinic, patient, uuid

A = uuid(1)
IDS = MessageIds("", "POST /governance/audit/search", uuid(8), uuid(9))
AUDITOR: Final = LocalOperator("auditor")
ROLE: Final = Role("900000000001", "R0001", "RZZ01", frozenset())
OFFICER: Final = Caller(
    HOSPITAL_SYSTEM, HOSPITAL_PARTY, session=Session("900000000101", "An Officer", ROLE, 2, "https://issuer.test")
)


def with_role(**changes: Any) -> Caller:
    """Return an officer in another role."""
    assert OFFICER.session is not None
    return replace(OFFICER, session=replace(OFFICER.session, role=replace(ROLE, **changes)))


async def read(clinic: Clinic, reader: Reader = AUDITOR, purpose: str = SEARCH, **query: Any) -> list[AuditEntry]:
    """Return what somebody reads."""
    search = AuditSearch(clinic.store, clinic.directory, clinic._policy, clinic.clock)
    reading = await search.read(reader, AuditQuery(**query), IDS, purpose)
    found = [row.entry async for row in reading.rows]
    assert reading.outcome.accepted or found == []
    return found


@pytest.fixture
async def busy(clinic: Clinic) -> Clinic:
    """A clinic where this and that has happened."""
    await clinic.upload(A)
    await clinic.list_events(caller=NURSE)
    await clinic.list_events(caller=FORMER)
    await clinic.list_events(caller=LAWYER, override=DissentOverride("2", "=statute 7"))
    await clinic.upload(uuid(2), nhs_number=patient(1))
    return clinic


async def test_a_local_auditor_reads_everything_and_that_is_kept_first(busy: Clinic) -> None:
    """The row of the reading is there before the first row is given, and is not among those."""
    search = AuditSearch(busy.store, busy.directory, busy._policy, busy.clock)
    before = len(await busy.audit())
    reading = await search.read(AUDITOR, AuditQuery(nhs_number=PATIENT, user="x"), IDS, SEARCH)
    entry = await busy.last_audit()
    assert (entry.action, entry.outcome, entry.nhs_number) == ("audit search", "AA", PATIENT)
    assert entry.content == {"interaction": IDS.interaction, "operator": "auditor", "criteria/user": "x"}
    assert [row async for row in reading.rows] == []
    everything = await read(busy)
    assert len(everything) == before + 1
    assert everything[-1] == entry


CONDITIONS: Final[list[tuple[dict[str, Any], int]]] = [
    ({"nhs_number": PATIENT}, 4),
    ({"nhs_number": patient(2)}, 0),
    ({"user": "555000000301"}, 1),
    ({"user": "555000000302"}, 1),
    ({"organisation": "RZZ01"}, 3),
    ({"organisation": "Y90001"}, 2),
    ({"system": HOSPITAL_SYSTEM}, 3),
    ({"action": "QUPC_IN180000UK04"}, 3),
    ({"action": "QUPC_IN180000UK04", "refused": True}, 1),
    ({"refused": False}, 4),
    ({"correlation_id": "none"}, 0),
    ({"since": NOON + timedelta(hours=1)}, 0),
    ({"until": NOON}, 0),
    ({"since": NOON, "until": NOON + timedelta(hours=1)}, 5),
    ({"out_of_hours": True}, 0),
    ({"nhs_number": PATIENT, "user": "555000000501", "organisation": "RZZ01"}, 1),
]


@pytest.mark.parametrize(("conditions", "count"), CONDITIONS, ids=[str(each) for each, _ in CONDITIONS])
async def test_every_condition_must_hold(busy: Clinic, conditions: dict[str, Any], count: int) -> None:
    """A condition that is given narrows the search; together all of them hold."""
    assert len(await read(busy, **conditions)) == count


async def test_an_officer_reads_the_own_organisation(busy: Clinic) -> None:
    """Whatever is asked for: nothing of another organisation, not of the same patient, not by naming it."""
    found = await read(busy, OFFICER)
    assert {entry.content["organisation"] for entry in found} == {"RZZ01"}
    assert len(found) == 3
    assert len(await read(busy, OFFICER, nhs_number=PATIENT)) == 3
    assert await read(busy, OFFICER, nhs_number=patient(1)) == []
    assert await read(busy, OFFICER, organisation="Y90001") == []
    entry = await busy.last_audit()
    assert (entry.outcome, entry.content["reason"]) == ("AE", "organisation_mismatch")
    assert entry.content["criteria/organisation"] == "Y90001"


STRANGERS: Final[dict[str, tuple[Caller, str]]] = {
    "a doctor": (with_role(job_role="R8000"), "activity_missing"),
    "an officer whose system does not act for the place": (with_role(ods="B99901"), "organisation_mismatch"),
    "a person without a right": (GP, "activity_missing"),
    "an application": (Caller(HOSPITAL_SYSTEM, HOSPITAL_PARTY), "author_missing"),
    "an unknown system": (replace(OFFICER, asid="1"), "system_unknown"),
}


@pytest.mark.parametrize("who", STRANGERS)
async def test_nobody_else_reads_anything(busy: Clinic, who: str) -> None:
    """Refused, audited with the reason, and told nothing."""
    caller, reason = STRANGERS[who]
    assert await read(busy, caller, nhs_number=PATIENT) == []
    entry = await busy.last_audit()
    assert (entry.action, entry.outcome, entry.nhs_number) == ("audit search", "AE", PATIENT)
    assert entry.content["reason"] == reason


def test_out_of_hours() -> None:
    """Weekends, and before 8 or from 18 o'clock on, by the clocks of the United Kingdom."""
    summer = datetime(2026, 7, 1, tzinfo=UTC)
    assert is_out_of_hours(summer.replace(hour=6, minute=59))
    assert not is_out_of_hours(summer.replace(hour=7))
    assert not is_out_of_hours(summer.replace(hour=16, minute=59))
    assert is_out_of_hours(summer.replace(hour=17))
    winter = datetime(2026, 1, 7, tzinfo=UTC)
    assert is_out_of_hours(winter.replace(hour=7, minute=59))
    assert not is_out_of_hours(winter.replace(hour=17, minute=59))
    assert is_out_of_hours(datetime(2026, 7, 4, 12, tzinfo=UTC))


async def test_the_report_for_a_patient(busy: Clinic) -> None:
    """In words: who, what, why; what was refused is said as well."""
    found = await read(busy, purpose=REPORT, nhs_number=PATIENT)
    lines = [report_line(entry, busy.directory.snapshot) for entry in found]
    assert [line[1:] for line in lines] == [
        ("summary stored", "Dr Gita Demopractice", "R8000", "Demo Practice (Y90001)", "Demo GP system", "done", ""),
        ("list of summaries looked at", "Tamsin Tworoles", "R8001", "Demo Hospital (RZZ01)", "Demo viewing system",
         "done", ""),
        ("list of summaries looked at", "555000000701", "R8000", "Demo Hospital (RZZ01)", "Demo viewing system",
         "refused", ""),
        ("list of summaries looked at", "Dr Olwen Override", "R8000", "Demo Hospital (RZZ01)", "Demo viewing system",
         "done", "Access required by statute"),
    ]  # fmt: skip
    assert lines[0][0].startswith("02-Mar-2026 12:00:")


# --- forms ----------------------------------------------------------------------------------------------------------


def a_row(**changes: Any) -> AuditRow:
    """Return a row that says as much as a row can."""
    content = {
        "interaction": "QUPC_IN180000UK04", "asid": HOSPITAL_SYSTEM, "party_key": HOSPITAL_PARTY,
        "address": "192.0.2.1",
        "user_id": "555000000501", "role_profile_id": "555000000502", "job_role": "R8000", "organisation": "RZZ01",
        "display_name": 'Dr "Olwen", Override', "override_code": "2", "override_text": "=HYPERLINK(9990000018)",
        "event_id": A, "reason": "consent", "slot": "not the slot", "unforeseen": "x", "session": "digest",
    }  # fmt: skip
    values = {"action": "QUPC_IN180000UK04", "outcome": "AE", "nhs_number": PATIENT, "content": content}
    return AuditRow(7, 12, AuditEntry(NOON, **{**values, **changes}), bytes(32))


async def lines(form: Form, *rows: AuditRow, patients: bool = False) -> str:
    """Return rows in a form."""

    async def given() -> AsyncIterator[AuditRow]:
        for row in rows:
            yield row

    return "".join([text async for text in written(given(), form, patients=patients)])


async def test_csv() -> None:
    """A line for each row, every column in its place, what has no column at the end; nothing that is calculated."""
    text = await lines(Form.CSV, a_row(), a_row(content={}), patients=True)
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert list(first) == [*COLUMNS, "more"]
    assert (first["slot"], first["sequence"], first["patient"]) == ("7", "12", PATIENT)
    assert first["display_name"] == 'Dr "Olwen", Override'
    assert first["override_text"] == "'=HYPERLINK(9990000018)"
    assert json.loads(first["more"]) == {"unforeseen": "x"}
    assert second["user_id"] == second["more"] == ""
    assert text.count("\r\n") == 3
    assert await lines(Form.CSV) == ",".join([*COLUMNS, "more"]) + "\r\n"


@given(st.text())
def test_no_cell_is_a_formula(text: str) -> None:
    """Whatever somebody has written, a spreadsheet shows it; and nothing is lost."""
    cell = harmless(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert text in (cell, cell[1:])


@pytest.mark.parametrize("form", list(Form))
async def test_patients_are_told_only_when_that_is_asked_for(form: Form) -> None:
    """The number is masked; what users wrote, which may hold it, is left out."""
    assert PATIENT not in await lines(form, a_row())
    assert "HYPERLINK" not in await lines(form, a_row())
    assert PATIENT in await lines(form, a_row(), patients=True)
    assert without_patient(a_row()).entry.nhs_number == f"******{PATIENT[-4:]}"
    assert await lines(form, a_row(nhs_number=None))


@pytest.mark.parametrize("form", list(Form))
async def test_a_masked_row_gives_nothing_to_try_numbers_on(form: Form) -> None:
    """Slot and hashes follow from the number: of those that end in the four digits, one would be left."""
    content = {"asid": "1", ALERT_DIGEST: "d" * 64, CHANGE_DIGEST: "e" * 64}
    row = replace(a_row(content=content), slot=3999, sequence=77777, hash=bytes.fromhex("ab" * 32))
    hidden = ("3999", "77777", "abababab", "dddddddd", "eeeeeeee")
    text = await lines(form, row)
    assert [each for each in hidden if each in text] == []
    whole = await lines(form, row, patients=True)
    assert [each for each in hidden if each in whole] == list(hidden)


async def test_json_lines() -> None:
    """An object for each row; columns are not overwritten by what a row says."""
    first, second = (
        json.loads(line) for line in (await lines(Form.JSON, a_row(), a_row(), patients=True)).splitlines()
    )
    assert first == second
    assert (first["slot"], first["unforeseen"], first["outcome"], first["hash"]) == (7, "x", "AE", "00" * 32)


async def test_fhir() -> None:
    """AuditEvents of R4: who asked, for whom, by which system, what for, how it ended."""
    (event,) = [json.loads(line) for line in (await lines(Form.FHIR, a_row(), patients=True)).splitlines()]
    check_r4(event)
    person, system, organisation = event["agent"]
    assert (person["requestor"], system["requestor"], organisation["requestor"]) == (True, False, False)
    assert person["network"] == {"address": "192.0.2.1", "type": "2"}
    assert (event["outcome"], event["outcomeDesc"]) == ("4", "consent")
    subject, thing = event["entity"]
    assert subject["what"]["identifier"]["value"] == PATIENT
    assert thing["what"]["identifier"]["value"] == f"urn:uuid:{A.lower()}"
    assert {"type": "session", "valueString": "digest"} in thing["detail"]


@pytest.mark.parametrize(
    "content",
    [{}, {"operator": "auditor"}, {"certificate": "x 1"}, {"asid": "1"}, {"organisation": "A"}, {"event_id": A}],
)
@pytest.mark.parametrize("number", [None, PATIENT])
async def test_fhir_of_rows_that_say_little(content: dict[str, str], number: str | None) -> None:
    """Whatever is missing, what FHIR requires is there and nothing is empty."""
    row = a_row(content=content, nhs_number=number, outcome="AA", action="audit search")
    check_r4(json.loads(await lines(Form.FHIR, row)))


@pytest.mark.parametrize(
    ("action", "coding"),
    [
        ("QUPC_IN180000UK04", {"system": "https://fhir.nhs.uk/CodeSystem/message-event", "code": "QUPC_IN180000UK04"}),
        ("POST /governance/permissions", {"code": "POST /governance/permissions"}),
        ("alert view", {"code": "alert view"}),
    ],
)
async def test_only_interactions_are_of_the_code_system_of_interactions(action: str, coding: dict[str, str]) -> None:
    """What our routes and commands are called is no code of anybody else's."""
    event = json.loads(await lines(Form.FHIR, a_row(content={}, nhs_number=None, outcome="AA", action=action)))
    assert event["subtype"] == [coding]


async def test_a_bundle() -> None:
    """A collection; without rows it has no entries, for FHIR knows no empty lists."""
    bundle = json.loads(await lines(Form.BUNDLE, a_row(), a_row()))
    assert (bundle["resourceType"], bundle["type"], len(bundle["entry"])) == ("Bundle", "collection", 2)
    for each in bundle["entry"]:
        check_r4(each["resource"])
    assert json.loads(await lines(Form.BUNDLE)) == {"resourceType": "Bundle", "type": "collection"}


ELEMENTS: Final = {
    "": {"resourceType", "id", "type", "subtype", "recorded", "outcome", "outcomeDesc", "agent", "source", "entity"},
    "agent": {"who", "requestor", "name", "altId", "role", "network"},
    "entity": {"what", "type", "role", "detail"},
}
"""The elements of R4's AuditEvent that are used; the definition has no others of these names."""


def check_r4(event: dict[str, Any]) -> None:
    """Hold an AuditEvent against the definition of R4 (hl7.org/fhir/R4/auditevent.html): what must be, and be so."""
    assert set(event) <= ELEMENTS[""]
    assert event["resourceType"] == "AuditEvent"
    # Without patients it has none: the place in the chain is not told.
    assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", event.get("id", "none"))
    assert {"system", "code"} <= set(event["type"])
    assert all(re.fullmatch(r"[^\s]+(\s[^\s]+)*", each["code"]) for each in event["subtype"])
    assert datetime.fromisoformat(event["recorded"]).tzinfo is not None
    assert event["outcome"] in {"0", "4", "8", "12"}
    assert event["source"]["observer"]
    assert event["agent"]
    assert [agent["requestor"] for agent in event["agent"]].count(True) == 1
    for name in ("agent", "entity"):
        for each in event.get(name, [{}]):
            assert set(each) <= ELEMENTS[name]
    for detail in (detail for entity in event.get("entity", ()) for detail in entity.get("detail", ())):
        assert set(detail) == {"type", "valueString"}
    check_not_empty(event)


def check_not_empty(value: Any) -> None:
    """Hold that no text, list or object is empty, which FHIR forbids everywhere."""
    assert value not in ("", [], {})
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        check_not_empty(inner)
