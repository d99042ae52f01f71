"""The patient index file. Spec: 00 §6.4."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.directory.patients import ListedPatient, read_patients
from openscr.errors import ConfigurationError

FULL = {
    "nhs_number": "9990012318",
    "name": {"given": "Mary", "family": "Sample"},
    "birth_date": "1948-03-02",
    "gender": "female",
    "address": {"lines": ["1 Example Lane"], "city": "Exampleton", "postcode": "EX1 1EX"},
    "practice": "Y90001",
}


def test_a_line_gives_a_patient_with_the_demographics_it_has() -> None:
    merged = '{"nhs_number": "9990012342", "status": "merged", "survivor": "9990012318"}'
    patients = read_patients((json.dumps(FULL) + "\r\n\n" + merged + "\n").encode())
    assert patients == [
        ListedPatient("9990012318", demographics={k: v for k, v in FULL.items() if k != "nhs_number"}),
        ListedPatient("9990012342", "merged", "9990012318"),
    ]


def test_a_line_replaces_an_earlier_one_for_the_same_number() -> None:
    lines = b'{"nhs_number": "9990012318"}\n{"nhs_number": "9990012318", "status": "deceased"}'
    assert read_patients(lines) == [ListedPatient("9990012318", "deceased")]


@pytest.mark.parametrize(
    "line",
    [
        {"nhs_number": "9990012319"},
        {"nhs_number": "999 001 2318"},
        {"nhs_number": 9990012318},
        {},
        {"nhs_number": "9990012318", "status": "merged"},
        {"nhs_number": "9990012318", "survivor": "9990012342"},
        {"nhs_number": "9990012318", "status": "merged", "survivor": "9990012318"},
        {"nhs_number": "9990012318", "status": "merged", "survivor": "9990012343"},
        {"nhs_number": "9990012318", "status": "Sample"},
        {"nhs_number": "9990012318", "gender": "Sample"},
        {"nhs_number": "9990012318", "birth_date": "1948-02-30"},
        {"nhs_number": "9990012318", "birth_date": "1948-02-01T00:00:00"},
        {"nhs_number": "9990012318", "name": {"family": "Sample", "text": "Sample"}},
        {"nhs_number": "9990012318", "name": "Sample"},
        {"nhs_number": "9990012318", "address": {"use": "H"}},
        {"nhs_number": "9990012318", "address": {"text": "x", "city": "Sample"}},
        {"nhs_number": "9990012318", "practice": ""},
        {"nhs_number": "9990012318", "Sample": 1},
        {"nhs_number": "9990012318", "9990012318": 1},
        ["9990012318"],
        "9990012318",
    ],
)
def test_a_wrong_line_is_told_by_its_number_and_nothing_of_it_is_quoted(line: object) -> None:
    data = b'{"nhs_number": "9990012326"}\n\n' + json.dumps(line).encode()
    with pytest.raises(ConfigurationError) as refusal:
        read_patients(data)
    assert refusal.value.diagnostics.startswith("patient index, line 3: ")
    assert "999" not in refusal.value.diagnostics
    assert "Sample" not in refusal.value.diagnostics


@pytest.mark.parametrize(
    "line", [b"{", b'{"nhs_number": "\xff"}', b'{"name":' + b"[" * 100_000, b'{"nhs_number"', b'{"practice":"\\ud800"}']
)
def test_a_line_that_is_not_json_is_told_by_its_number(line: bytes) -> None:
    with pytest.raises(ConfigurationError, match="line 1: "):
        read_patients(line)


@given(st.binary(min_size=1, max_size=80))
def test_any_bytes_are_refused_by_line_unless_they_are_blank(data: bytes) -> None:
    if not data.strip():
        assert read_patients(data) == []
        return
    with pytest.raises(ConfigurationError, match="patient index, line "):
        read_patients(data)
