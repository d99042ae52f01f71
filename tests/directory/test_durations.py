"""Durations of contracts. Spec: 40 §6.1, §6.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.directory.durations import read_duration, write_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("PT1M", 60),
        ("PT5M", 300),
        ("PT2S", 2),
        ("PT16M", 960),
        ("PT1H30M", 5400),
        ("P1DT1S", 86_401),
        ("P2W", 1_209_600),
        ("PT0.25S", 0.25),
        ("PT0S", 0),
    ],
)
def test_the_durations_of_contracts_are_seconds(text: str, seconds: float) -> None:
    assert read_duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "1M", "PT1", "P1M", "P1Y", "pt1m", "PT-1M", "PT1M ", "PT1M\n", "P1WT1S", "PT1.5M", "PT١M"]
)
def test_what_has_no_fixed_length_or_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="ISO 8601"):
        read_duration(text)


@given(st.integers(min_value=0, max_value=10**15))
def test_whatever_is_written_reads_back_the_same(micros: int) -> None:
    seconds = micros / 1_000_000
    assert round(read_duration(write_duration(seconds)) * 1_000_000) == micros


def test_durations_are_written_as_the_specification_spells_them() -> None:
    assert [write_duration(s) for s in (60, 300, 2, 3600, 86_400, 0, 90.5)] == [
        "PT1M", "PT5M", "PT2S", "PT1H", "P1D", "PT0S", "PT1M30.5S",
    ]  # fmt: skip
