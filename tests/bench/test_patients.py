"""The patients and summaries of a measurement. Spec: 90 §4.1, §6.4, §7."""

import random
from pathlib import Path

import pytest

from openscr.bench.patients import LARGEST, draw, event_id_of, number_of
from openscr.bench.summaries import corpus
from openscr.bench.templates import EFFECTIVE, EVENT, HL7_TIME, MESSAGE, NUMBER, Template
from openscr.errors import ConfigurationError
from openscr.identifiers import is_nhs_number, is_uuid
from openscr.testbench.population import NAMED_NUMBERS, demo_numbers

ROOT = Path(__file__).parents[2]


def test_every_position_has_a_valid_number_of_its_own() -> None:
    around_the_end_of_a_range = range(880_000, 884_000)
    numbers = [number_of(p) for p in (*range(20_000), *around_the_end_of_a_range, LARGEST - 1)]
    assert len(set(numbers)) == len(numbers)
    assert all(is_nhs_number(number) for number in numbers)
    assert {number[:3] for number in numbers[:20_000]} == {"999"}
    assert not {*NAMED_NUMBERS, *demo_numbers()} & set(numbers)


@pytest.mark.parametrize("position", [-1, LARGEST])
def test_there_is_nobody_beyond(position: int) -> None:
    with pytest.raises(ConfigurationError, match="at most 9,000,000 patients"):
        number_of(position)


def test_ids_of_records_follow_from_patient_and_version() -> None:
    ids = {event_id_of(p, v) for p in range(500) for v in (1, 2)}
    assert len(ids) == 1000
    assert all(is_uuid(each) and each == each.upper() for each in ids)
    assert event_id_of(7, 2) == event_id_of(7, 2)


def test_patients_are_drawn_with_the_skew() -> None:
    """Of a thousand patients the share of the first hundred is 0.1 ** 0.3, a half; of the first one an eighth."""
    chance = random.Random(1)
    drawn = [draw(chance, 1000) for _ in range(20_000)]
    assert set(drawn) <= set(range(1000))
    assert sum(position < 100 for position in drawn) / 20_000 == pytest.approx(0.1**0.3, abs=0.02)
    assert drawn.count(0) / 20_000 == pytest.approx(0.001**0.3, abs=0.01)


def test_the_sizes_of_the_corpus_are_those_of_the_population() -> None:
    sizes = [len(document) for document in corpus()]
    assert len(sizes) == 100
    assert sizes[50] == pytest.approx(9_000, rel=0.15)
    assert sizes[95] == pytest.approx(120_000, rel=0.25)
    assert sizes[-1] <= 400_000


def test_every_document_has_the_places_of_a_patient(reference: bytes) -> None:
    for document in (reference, *corpus()):
        assert [document.count(place) for place in (NUMBER, MESSAGE, EFFECTIVE)] == [1, 1, 1]
        assert b"replacementOf" not in document


def test_the_reference_is_the_one_that_the_tests_know() -> None:
    shipped = ROOT / "src/openscr/bench/reference.xml"
    assert (
        shipped.read_bytes() == (ROOT / "tests/messages/gp-summary/02-replacement_REPC_IN150016UK05.xml").read_bytes()
    )


def test_a_template_is_filled_wherever_it_has_a_place() -> None:
    template = Template(b"<" + NUMBER + b"|" + HL7_TIME + b"|" + EVENT + b"|" + NUMBER + b">")
    values = {NUMBER: b"1234567890", HL7_TIME: b"20260101000000", EVENT: event_id_of(1).encode()}
    filled = template.fill(values)
    assert filled == b"<1234567890|20260101000000|" + event_id_of(1).encode() + b"|1234567890>"
    assert len(filled) == template.size
