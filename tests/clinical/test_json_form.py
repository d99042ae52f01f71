"""The JSON form: every rule of reading, with the place of each mistake."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openscr import clinical
from openscr.clinical import FormMistake, MistakenForm, read_form, read_json, read_toml, write_form, write_json
from openscr.errors import UnwritableSummary
from shared import MESSAGES

EXAMPLE = (MESSAGES / "gp-summary" / "summary.json").read_text()
SMALL: dict[str, Any] = {
    "format": "openscr-summary/1",
    "patient": {"nhs_number": "999 000 0018"},
    "author": {
        "kind": "person_sds",
        "role_profile_id": "100000000110",
        "user_id": "100000000101",
        "name": {"text": "Dr Ada Testwell"},
    },
}
ALLERGY = {"code": {"code": "91936005"}, "time": {"low": "2021-03-12"}}


def mistakes(form: object) -> dict[str, str]:
    with pytest.raises(MistakenForm) as found:
        read_form(form)
    return {each.pointer: each.text for each in found.value.mistakes}


def test_the_example_comes_back() -> None:
    """Reading the worked example and writing it gives the same members and values."""
    assert write_form(read_json(EXAMPLE)) == json.loads(EXAMPLE)


def test_the_smallest_summary() -> None:
    summary = read_form(SMALL)
    assert summary.patient.nhs_number == "9990000018"
    assert summary.interaction == "REPC_IN150016UK05"
    assert read_json(write_json(summary)) == summary


def test_toml_has_the_same_members() -> None:
    """TOML dates are times, tables are objects."""
    text = """
    format = "openscr-summary/1"
    created = 2025-11-11T10:30:45
    patient.nhs_number = "9990000018"
    author = {kind = "person_sds", role_profile_id = "1", user_id = "2", name = {text = "Dr Ada Testwell"}}
    [[allergies]]
    code = {code = "91936005"}
    time = {low = 2021-03-12}
    """
    summary = read_toml(text)
    assert summary.created == "20251111103045"
    assert summary.allergies[0].time.low == "20210312"  # type: ignore[attr-defined]
    with pytest.raises(MistakenForm, match="not TOML"):
        read_toml("format =")


@pytest.mark.parametrize(
    ("member", "value", "place", "said"),
    [
        ("format", "openscr-summary/2", "/format", 'must be "openscr-summary/1"'),
        ("interaction", "REPC_IN150018UK02", "/interaction", "must be one of"),
        ("status", "done", "/status", "active or nullified"),
        ("patient", {"nhs_number": "9990000019"}, "/patient/nhs_number", "modulus 11"),
        ("patient", {}, "/patient/nhs_number", "is missing"),
        ("patient", None, "/patient", "null"),
        ("colour", "blue", "/colour", "not a member"),
        ("a/b~c", 1, "/a~1b~0c", "not a member"),
        ("event_id", "not-a-uuid", "/event_id", "must be a UUID"),
        ("created", "11/11/2025", "/created", "not a time"),
        ("created", 2025, "/created", "must be a time"),
        ("author", {"kind": "robot"}, "/author/kind", "must be one of person_sds"),
        ("author", {**SMALL["author"], "name": {}}, None, None),
        ("author", {**SMALL["author"], "name": "Ada"}, "/author/name", "must be an object"),
        ("allergies", ALLERGY, "/allergies", "must be a list"),
        ("allergies", [{**ALLERGY, "type": "Sneeze"}], "/allergies/0/type", "record element"),
        ("allergies", [{"time": "2021"}], "/allergies/0/code", "is missing"),
        ("allergies", [{"code": {"code": "1"}}], "/allergies/0/time", "is missing"),
        ("allergies", [{**ALLERGY, "code": {"code": ""}}], "/allergies/0/code/code", "must not be empty"),
        ("allergies", [{**ALLERGY, "code": {"code": 1}}], "/allergies/0/code/code", "must be a string"),
        ("allergies", [{**ALLERGY, "id": "1"}], "/allergies/0/id", "must be a UUID"),
        ("allergies", [{**ALLERGY, "time": {"low": "2021", "center": "2021"}}], "/allergies/0/time", "low and high"),
        ("allergies", [{**ALLERGY, "author": {**SMALL["author"], "job_role": "R8000"}}], "/allergies/0/author/job_role",
         "only the author"),
        ("medications", {"acute": [{**ALLERGY}]}, "/medications/acute/0/code", "not a member"),
        ("medications", [], None, None),
        ("problems", [{"time": "2021"}], "/problems/0/about", "is missing"),
        ("problems", [{"time": "2021", "about": {"kind": "Sneeze", "id": "6D68C00C-7135-5BF6-8ADB-278528C9F62D"}}],
         "/problems/0/about/kind", "must be one of"),
        ("documents", [{**ALLERGY, "time": "2021", "text": "a", "version": 10**12}], "/documents/0/version", "larger"),
        ("risks_to_patient", [{"time": "2021", "about": []}], "/risks_to_patient/0/about", "must not be empty"),
        ("observations", [{**ALLERGY, "value": {"type": "XX"}}], "/observations/0/value/type", "must be one of PQ"),
        ("observations", [{**ALLERGY, "value": {"type": "ST"}}], "/observations/0/value/text", "is missing"),
        ("observations", [{**ALLERGY, "value": {"type": "ST", "text": "a", "b": 1}}], "/observations/0/value/b",
         "not a member"),
        ("documents", [{**ALLERGY, "time": "2021", "text": "a", "version": "1"}], "/documents/0/version", "whole"),
        ("presentation", {}, "/presentation/html", "is missing"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_place(member: str, value: object, place: str | None, said: str | None) -> None:
    """Unknown, missing, null, empty or of the wrong type: an error that names the place; else nothing is wrong."""
    form = {**SMALL, member: value}
    if place is None:
        read_form(form)
        return
    found = mistakes(form)
    assert place in found, found
    assert said is not None
    assert said in found[place]


def test_all_mistakes_are_told() -> None:
    assert set(mistakes({"format": "x", "patient": {"nhs_number": "1"}, "author": {}, "a": 1})) == {
        "/format", "/author/kind", "/a"
    }  # fmt: skip


def test_repeated_members_are_mistakes() -> None:
    text = json.dumps(SMALL).replace('"user_id": "100000000101"', '"user_id": "1", "user_id": "2"')
    with pytest.raises(MistakenForm, match="/author/user_id: stands twice"):
        read_json(text)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (
            ('"value": {"type": "PQ", "value": "1"}', '"value": {"type": "PQ", "value": "1", "value": "10"}'),
            "value/value",
        ),
        (
            ('"value": {"type": "PQ", "value": "1"}', '"value": {"type": "PQ", "type": "PQ", "value": "1"}'),
            "value/type",
        ),
        (('"value": {"type": "PQ", "value": "1"}', '"value": {"type": "ST", "text": "a", "text": "b"}'), "value/text"),
        (('{"code": "HI"}', '{"code": "LO", "code": "HI"}'), "reference_range/interpretation/code"),
    ],
)
def test_repeated_members_are_mistakes_at_every_depth(change: tuple[str, str], place: str) -> None:
    finding = {**ALLERGY, "value": {"type": "PQ", "value": "1"}, "reference_range": {"interpretation": {"code": "HI"}}}
    text = json.dumps({**SMALL, "observations": [finding]})
    read_json(text)
    assert change[0] in text
    with pytest.raises(MistakenForm, match=f"/observations/0/{place}: stands twice"):
        read_json(text.replace(*change))


def test_a_code_system_other_than_the_usual_one_is_said() -> None:
    """Where a member has a code system of its own, a SNOMED CT code keeps saying that it is one."""
    snomed = clinical.NonAgent(relationship=clinical.Coded("72705000", "Mother"))
    usual = clinical.NonAgent(relationship=clinical.Coded("12", "Mother", "2.16.840.1.113883.2.1.3.2.4.16.15"))
    for informant in (snomed, usual):
        entry = clinical.Allergy(code=clinical.Coded("1"), time=clinical.Time("2021"), informant=informant)
        summary = replace(read_form(SMALL), allergies=(entry,))
        assert read_json(write_json(summary)) == summary


def test_what_is_not_completed_is_not_written() -> None:
    """A form whose entries hold each other would be read by nobody."""
    asthma = clinical.Diagnosis(code=clinical.Coded("1"), time=clinical.Time("2021"))
    problem = clinical.Problem(time=clinical.Time("2021"), about=asthma)
    with pytest.raises(UnwritableSummary, match="complete the summary first"):
        write_json(replace(read_form(SMALL), problems=(problem,), diagnoses=(asthma,)))


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read_json(b"\xef\xbb\xbf" + json.dumps(SMALL).encode()) == read_form(SMALL)


@pytest.mark.parametrize("text", ["", "[", "[]", "NaN", b"\xff", "[" * 100_000])
def test_what_is_no_json_summary(text: str | bytes) -> None:
    with pytest.raises(MistakenForm):
        read_json(text)


def test_ids_in_either_case_are_written_in_upper_case() -> None:
    lower = "6d68c00c-7135-5bf6-8adb-278528c9f62d"
    summary = read_form({**SMALL, "event_id": lower, "replaces": lower})
    assert summary.event_id == summary.replaces == lower.upper()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None)
@given(st.data())
def test_any_change_is_read_or_told(data: st.DataObject) -> None:
    """Whatever stands anywhere in a form, it is a summary or a list of mistakes, never another error."""
    form = json.loads(EXAMPLE)
    place: Any = form
    while isinstance(place, dict | list) and place and data.draw(st.integers(0, 5)):
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        inner = place[key]
        if not isinstance(inner, dict | list) or not data.draw(st.booleans()):
            place[key] = data.draw(json_values)
            break
        place = inner
    found: list[FormMistake] = []
    try:
        summary = read_form(form)
        assert read_json(write_json(summary)) == summary
    except MistakenForm as error:
        found = error.mistakes
    assert all(each.pointer == "" or each.pointer.startswith("/") for each in found)


@pytest.mark.parametrize("character", ["\x00", "\x07", "\x0b", "\x1f", "\ufffe", "\uffff"])
def test_what_xml_cannot_carry_is_told_with_its_place(character: str) -> None:
    """No message could be written with it; lines and tabs are text."""
    form = {**SMALL, "allergies": [{**ALLERGY, "code": {"code": "91936005", "display": f"Peni{character}cillin"}}]}
    said = f"holds U+{ord(character):04X}, a character that XML cannot carry"
    assert mistakes(form) == {"/allergies/0/code/display": said}
    form["allergies"][0]["code"]["display"] = "Peni\t\r\ncillin"
    assert read_form(form).allergies[0].code.display == "Peni\t\r\ncillin"


def test_a_nesting_that_no_summary_has_is_told_in_either_form() -> None:
    deep = "[" * 20_000 + "]" * 20_000
    for read, text in ((read_json, deep), (read_toml, f"a = {deep}")):
        with pytest.raises(MistakenForm, match="nesting that no summary has"):
            read(text)
