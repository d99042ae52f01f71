"""Times and other values: what is taken, what it becomes, how it is printed."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.clinical import Address, Coded, Interval, Name, Qualifier, Quantity, Range, Time, Value


@pytest.mark.parametrize(
    ("given_as", "digits", "iso", "printed"),
    [
        ("2021", "2021", "2021", "2021"),
        ("2021-03", "202103", "2021-03", "Mar-2021"),
        ("2021-03-12", "20210312", "2021-03-12", "12-Mar-2021"),
        ("2025-11-11T10:30:45", "20251111103045", "2025-11-11T10:30:45", "11-Nov-2025 10:30"),
        ("2025-11-11T10:30Z", "202511111030+0000", "2025-11-11T10:30Z", "11-Nov-2025 10:30"),
        ("2025-07-01T10:30:45+01:00", "20250701103045+0100", "2025-07-01T10:30:45+01:00", "01-Jul-2025 10:30"),
        ("20210312", "20210312", "2021-03-12", "12-Mar-2021"),
        ("20251111103045.125", "20251111103045.125", "20251111103045.125", "11-Nov-2025 10:30"),
        ("202113", "202113", "202113", "2021"),
        (date(2021, 3, 12), "20210312", "2021-03-12", "12-Mar-2021"),
        (
            datetime(2025, 7, 1, 9, 30, 45, tzinfo=UTC),
            "20250701093045+0000",
            "2025-07-01T09:30:45Z",
            "01-Jul-2025 10:30",
        ),
        (datetime(2025, 7, 1, 9, 30, 45, 250_000), "20250701093045.25", "20250701093045.25", "01-Jul-2025 09:30"),
        ("20210300", "20210300", "20210300", "Mar-2021"),
        (datetime(2025, 7, 1, 9, 30, 45), "20250701093045", "2025-07-01T09:30:45", "01-Jul-2025 09:30"),
    ],
)
def test_times(given_as: str | date, digits: str, iso: str, printed: str) -> None:
    """A time is the digits of HL7, in UK local time where it has no zone."""
    time = Time(given_as)
    assert (time, time.iso, time.printed) == (digits, iso, printed)
    assert Time(time.iso) == time


@pytest.mark.parametrize(
    "text", ["", "12/03/2021", "2021-3-12", "2021-13-01", "2021-02-30", "2021-03-12T25:00", "yesterday", "2021Z"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="not a time"):
        Time(text)


@given(st.from_regex(r"[0-9]{1,8}|([0-9]{9,14}|[0-9]{14}\.[0-9]{1,4})([+-][0-9]{1,4})?", fullmatch=True))
def test_every_hl7_time_survives_iso(digits: str) -> None:
    """Whatever digits HL7 allows come back from their ISO form, and can be printed."""
    time = Time(digits)
    assert time == digits
    assert Time(time.iso) == time
    assert isinstance(time.printed, str)


def test_shapes_of_intervals() -> None:
    low, high, width = Time("2020"), Time("2021"), Quantity("1", "a")
    assert Interval(low=low, high=high).shape_is_known
    assert Interval(center=low, width=width).shape_is_known
    assert not Interval().shape_is_known
    assert not Interval(low=low, center=high).shape_is_known
    assert not Interval(low=low, high=high, width=width).shape_is_known


def test_values_know_their_type() -> None:
    assert Value(Quantity("1")).type == "PQ"
    assert Value(Coded("1"), "CE").type == "CE"
    assert Value("2", "INT").printed == "2"
    assert Value(Time("2021-03-12")).printed == "12-Mar-2021"
    with pytest.raises(ValueError, match="cannot hold"):
        Value("x", "PQ")


def test_what_is_printed() -> None:
    assert Quantity("28", text="tablet").printed == "28 tablet"
    assert Quantity("2.1", "mIU/L").printed == "2.1 mIU/L"
    assert Range(Quantity("0.4"), Quantity("4.5")).printed == "0.4 - 4.5"
    assert Range(Quantity("0.4", "g"), Quantity("4.5", "kg")).printed == "0.4 g - 4.5 kg"
    for of, parts in ((Name, {"given": "Ada"}), (Address, {"city": "Testford"})):
        with pytest.raises(ValueError, match="not both"):
            of(text="A", **parts)
    assert Coded("1", "Term", original_text="As written").printed == "As written"
    assert Qualifier("1", "causative agent", value=Coded("2", "Penicillin")).printed == "causative agent: Penicillin"
    assert Name(prefix="Dr", given=("Ada", "May"), family="Testwell").printed == "Dr Ada May Testwell"
    assert Address(lines=("1 Example Lane",), city="Testford", postcode="TE1 1ST").printed == (
        "1 Example Lane, Testford, TE1 1ST"
    )
