"""Synthetic summaries say in text what they say in codes, and what stands in their way is refused."""

from datetime import UTC, date, datetime
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from openscr.clinical import Allergy, Coded, Interval, Patient, Refusal, Summary, Time
from openscr.clinical.narrative import DISSENT
from openscr.codes import INITIAL_UPLOAD
from openscr.hl7.presentation import presentation_of
from openscr.hl7.summary_reader import read_summary
from openscr.hl7.summary_writer import UnwritableSummary
from openscr.testbench.documents import AUTHOR, PRACTICE, wording, write_document

AT = datetime(2025, 11, 12, 14, 2, 10, tzinfo=UTC)
DAY = Time(date(2021, 3, 12))
EVENT = "F665BA93-6979-5013-BDAC-B84C7B38ADC9"


def minting():
    numbers = count(1)
    return lambda: f"00000000-0000-4000-8000-{next(numbers):012X}"


def document(summary, words=None):
    return write_document(summary, minting(), AT, words or wording(PRACTICE))


def summary(author=AUTHOR, **members):
    return Summary(patient=Patient("9990001065"), author=author, event_id=EVENT, **members)


def allergy(text="Allergy to penicillin"):
    return Allergy(code=Coded("91936005", text), time=Interval(low=DAY), supporting_text=text)


def test_an_initial_summary_is_the_practice_s_and_has_text_only():
    written = document(summary(PRACTICE.organisation, interaction=INITIAL_UPLOAD, allergies=(allergy(),)))
    read = read_summary(written).summary
    assert read.author.ods == "Y90001"
    assert list(read.entries()) == []
    assert "Allergy to penicillin" in presentation_of(written).text()


def test_a_blank_summary_holds_the_refusal_and_nothing_clinical():
    written = document(summary(preferences=(Refusal(time=DAY),)))
    assert DISSENT in [element.text for element in etree.fromstring(written).iter("{*}h3")]
    assert [type(entry) for entry in read_summary(written).summary.entries()] == [Refusal]
    assert "Allerg" not in presentation_of(written).text()


def test_empty_core_sections_say_so_and_absent_ones_say_nothing():
    text = presentation_of(document(summary(allergies=(allergy(),)), wording(PRACTICE, left_out="discontinued"))).text(
        200
    )
    assert "The practice system holds no Acute Medication issued within the last 12 months" in text
    assert "Discontinued" not in text
    assert "Author Dr Gita Demopractice, Demo Practice, 1 Example Lane, Testford, TE1 1ST" in text


def test_an_author_of_the_wrong_kind_is_refused():
    with pytest.raises(UnwritableSummary, match="/author"):
        document(summary(PRACTICE.organisation, allergies=(allergy(),)))


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=40))
def test_no_text_of_a_caller_becomes_markup(text):
    root = etree.fromstring(document(summary(allergies=(allergy(text),))))
    assert len(list(root.iter("{*}td"))) == 5
