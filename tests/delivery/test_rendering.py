"""An answer's bytes follow from its row alone, and say what was decided. Spec: 40 §6.3, §10.5."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.rows import NOON, a_row, an_id, directory
from openscr.codes import ACS_SET, OID_PSIS_ISSUE, OID_TMS_ISSUE, UPLOAD, WITHDRAW
from openscr.delivery.answers import render_late
from openscr.errors import GENERAL, WRAPPER_ERRORS, Issue, refusal
from openscr.hl7.acknowledgement import Acknowledgement, read_acknowledgement
from openscr.spine import AckType, Outcome
from openscr.store.interface import OutboxRow, OutboxState
from openscr.testbench.world import OWN_ASID, OWN_PARTY, PRACTICE_PARTY
from openscr.transport.ebxml import Envelope, Reliability, check_reliability, read_envelope
from openscr.transport.mime import SPINE_CONTENT_TYPE, read_multipart
from openscr.transport.xml import read_xml

ACCEPTED = Outcome()
REFUSED = Outcome(AckType.ERROR, refusal("30418"))
REJECTED = Outcome(AckType.REJECTED, (WRAPPER_ERRORS["501"], WRAPPER_ERRORS["507"]))


def parts_of(row: OutboxRow) -> tuple[Envelope, bytes]:
    """Return the envelope of a rendered row, and its payload."""
    multipart = read_multipart(row.content_type, row.body)
    envelope = read_envelope(read_xml(multipart.root.content(row.body)))
    part = multipart.part(envelope.payload_content_id or "")
    assert part is not None
    return envelope, part.content(row.body)


def said_by(row: OutboxRow) -> Acknowledgement:
    """Return what a client reads in a rendered row."""
    return read_acknowledgement(read_xml(parts_of(row)[1]))


@pytest.mark.parametrize("outcome", [ACCEPTED, REFUSED, REJECTED])
@pytest.mark.parametrize("interaction", [UPLOAD, WITHDRAW, ACS_SET])
def test_the_same_decision_gives_the_same_bytes(outcome: Outcome, interaction: str) -> None:
    row = a_row(7, outcome=outcome, interaction=interaction)
    assert row.body
    assert row == a_row(7, outcome=outcome, interaction=interaction)
    # Rendered again, much later, it is the same message: id and time are the row's.
    assert render_late(replace(row, body=b"", attempts=2), directory()) == replace(row, attempts=2)


def test_a_row_carries_everything_that_is_sent() -> None:
    row = a_row(3)
    envelope, payload = parts_of(row)
    assert (row.content_type, row.soap_action) == (SPINE_CONTENT_TYPE, "urn:nhs:names:services:psis/MCCI_IN010000UK13")
    assert (envelope.from_party, envelope.to_party, envelope.cpa_id) == (OWN_PARTY, PRACTICE_PARTY, "S90001A000001")
    assert (envelope.message_id, envelope.ref_to_message_id) == (an_id(3), an_id(10_003).lower())
    assert envelope.conversation_id == "a conversation"
    assert envelope.timestamp == "2026-07-01T12:00:00Z"
    assert check_reliability(envelope, Reliability.RELIABLE) == ()
    # HL7 times are those of the clocks in the United Kingdom: it is summer.
    assert b'<creationTime value="20260701130000"/>' in payload
    acknowledgement = said_by(row)
    assert (acknowledgement.message_id, acknowledgement.reference) == (an_id(3), an_id(20_003))
    assert b'extension="200000000115"' in payload
    assert f'extension="{OWN_ASID}"'.encode() in payload


@pytest.mark.parametrize(
    ("outcome", "interaction", "version"),
    [
        (ACCEPTED, UPLOAD, "V3NPfIT4.2.00"),
        (REFUSED, UPLOAD, "V3NPfIT3.0"),
        (REJECTED, WITHDRAW, "V3NPfIT3.1.10"),
        (ACCEPTED, ACS_SET, "V3NPfIT3.0"),
        (REFUSED, ACS_SET, "V3NPfIT4.2.00"),
    ],
)
def test_version_codes_are_those_of_the_table(outcome: Outcome, interaction: str, version: str) -> None:
    """Spec: 10 §13, 30 §6.1."""
    _, payload = parts_of(a_row(outcome=outcome, interaction=interaction))
    assert f'<versionCode code="{version}"/>'.encode() in payload


def test_only_uploads_and_withdrawals_have_a_success_detail() -> None:
    details = {name: said_by(a_row(interaction=name)).detail for name in (UPLOAD, WITHDRAW, ACS_SET)}
    assert details == {
        UPLOAD: "GP Summary upload successful",
        WITHDRAW: "GP Summary withdrawal successful",
        ACS_SET: "",
    }
    assert said_by(a_row(outcome=REFUSED)).detail == ""


def test_a_row_without_an_endpoint_waits_as_data() -> None:
    """It is rendered when the party has an endpoint, as it would have been at first. Spec: 40 §6.3, §8 "Delivery"."""
    nowhere = directory(None)
    row = a_row(5, nowhere, REFUSED)
    assert (row.state, row.body, row.next_attempt_at) == (OutboxState.UNDELIVERABLE, b"", None)
    assert render_late(row, nowhere) is None
    late = render_late(row, directory())
    assert late is not None
    assert late.body == a_row(5, outcome=REFUSED).body


TEXTS = st.text(st.characters(min_codepoint=0x20, exclude_categories=("Cs", "Cn", "Cc")), min_size=1, max_size=60)
ISSUES = st.builds(
    Issue, st.sampled_from(["400", "410", "35160"]), TEXTS, st.sampled_from(["ER", "WG"]), st.just(OID_PSIS_ISSUE)
)
DETAILS = st.builds(Issue, st.sampled_from(["202", "501"]), TEXTS, st.just("ER"), st.just(OID_TMS_ISSUE))
OUTCOMES = st.one_of(
    st.just(ACCEPTED),
    st.builds(Outcome, st.just(AckType.ERROR), st.lists(ISSUES, min_size=1, max_size=4).map(tuple)),
    st.builds(Outcome, st.just(AckType.REJECTED), st.lists(DETAILS, min_size=1, max_size=4).map(tuple)),
)


@given(OUTCOMES)
def test_whatever_was_decided_is_what_the_client_reads(outcome: Outcome) -> None:
    """Every issue, in order, whatever characters its text has; late rendering included."""
    row = a_row(outcome=outcome)
    assert said_by(row).outcome == outcome
    late = render_late(replace(a_row(1, directory(None), outcome), created_at=NOON), directory())
    assert late is not None
    assert late.body == row.body


def test_time_changes_the_bytes_and_nothing_else_does() -> None:
    assert a_row(now=NOON + timedelta(seconds=1)).body != a_row().body
    assert a_row(where=directory(retries=7, retry_interval=1.0)).body == a_row().body
    assert GENERAL["400"].severity == "ER"
