"""What a refusal means. Spec: 20 §8, §16 items 3 and 4."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.client import RecordRefusal, Refusal, latest_summary, refusal_of
from openscr.client.refusals import own_words
from openscr.codes import DOCUMENT_TYPES, GP_SUMMARY
from openscr.errors import FAULTS, GENERAL, WRAPPER_ERRORS, Issue, detail_issue
from openscr.spine import AckType, Event, EventStatus, Outcome

AE, AR = AckType.ERROR, AckType.REJECTED


@pytest.mark.parametrize(
    ("ack", "codes", "kind"),
    [
        (AE, ["420", "30418"], Refusal.ACCESS_DENIED),
        (AE, ["210", "30312"], Refusal.NO_RECORD),
        (AE, ["400", "35160"], Refusal.INVALID_REQUEST),
        (AE, ["401"], Refusal.INVALID_REQUEST),
        (AE, ["410", "30134"], Refusal.CONFLICT),
        (AE, ["430"], Refusal.CONFLICT),
        (AE, ["500"], Refusal.SERVER_ERROR),
        (AR, ["502"], Refusal.UNAVAILABLE),
        (AR, [], Refusal.UNAVAILABLE),
        (AE, [], Refusal.SERVER_ERROR),
        (AR, ["400"], Refusal.INVALID_REQUEST),
    ],
)
def test_the_first_issue_decides_then_the_acknowledgement(ack: AckType, codes: list[str], kind: Refusal) -> None:
    issues = tuple(GENERAL[c] if c in GENERAL else Issue(c, "", "WG" if c == "30312" else "ER") for c in codes)
    assert refusal_of(Outcome(ack, issues)) is kind


def test_an_error_decides_before_a_warning_that_stands_first() -> None:
    assert refusal_of(Outcome(AE, (GENERAL["210"], GENERAL["420"]))) is Refusal.ACCESS_DENIED


def test_wrapper_errors_are_not_taken_for_the_general_codes_with_the_same_number() -> None:
    """502 of the wrapper says that the creation time is missing, not that the service is."""
    assert refusal_of(Outcome(AE, (WRAPPER_ERRORS["502"],))) is Refusal.SERVER_ERROR
    assert refusal_of(Outcome(AR, (WRAPPER_ERRORS["501"],))) is Refusal.UNAVAILABLE


@given(st.sampled_from(AckType), st.lists(st.builds(Issue, st.text(), st.text(), st.sampled_from(["ER", "WG"]))))
def test_every_outcome_has_one_meaning(ack: AckType, issues: list[Issue]) -> None:
    """Accepted means no refusal, whatever warnings come with it; anything else is one of the six kinds."""
    kind = refusal_of(Outcome(ack, tuple(issues)))
    assert (kind is None) == (ack is AckType.ACCEPTED)


@given(st.from_regex(r"[0-9]{10}", fullmatch=True))
def test_what_is_raised_never_holds_the_number(nhs_number: str) -> None:
    outcome = Outcome(AE, (GENERAL["210"], detail_issue("30312", nhs_number=nhs_number)))
    assert nhs_number not in str(RecordRefusal(outcome))


@given(st.lists(st.text(min_size=8)), st.lists(st.text()))
def test_a_partner_cannot_bring_its_own_words_into_an_error(codes: list[str], texts: list[str]) -> None:
    known = {fault.description for fault in FAULTS.values()}
    foreign = [text for text in (*codes, *texts) if len(text) > 7 and text not in known]
    said = own_words(codes, texts)
    assert not any(text in said for text in foreign) or said == "without a known code"


def test_known_codes_and_words_are_told() -> None:
    assert own_words(("300",), (FAULTS["300"].description,)) == f"300: {FAULTS['300'].description}"


EVENTS = st.lists(
    st.builds(
        Event,
        event_id=st.uuids().map(lambda u: str(u).upper()),
        event_type=st.sampled_from([*DOCUMENT_TYPES, "1"]),
        status=st.sampled_from(EventStatus),
        stored_at=st.integers(0, 1000).map(lambda n: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(hours=n)),
    )
)


@given(EVENTS, st.randoms())
def test_the_current_summary_does_not_depend_on_the_order_of_the_list(events: list[Event], random: object) -> None:
    shuffled = list(events)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = latest_summary(tuple(events)), latest_summary(tuple(shuffled))
    assert (first is None) == (second is None)
    if first is not None and second is not None:
        assert first.stored_at == second.stored_at
        assert first.status is EventStatus.NORMAL


def test_only_normal_summaries_are_current() -> None:
    event = Event("A", GP_SUMMARY, "REPC_MT150007UK05", EventStatus.NORMAL, datetime(2026, 1, 1, tzinfo=UTC))
    assert latest_summary((event,)) is event
    for status in (EventStatus.REPLACED, EventStatus.WITHDRAWN):
        assert latest_summary((dataclasses.replace(event, status=status),)) is None
    assert latest_summary(()) is None
