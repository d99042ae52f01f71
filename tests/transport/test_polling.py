"""Tokens, and documents on one line: what they say stays what it was. Spec: 40 §7.6, §10.5."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.codes import OID_TMS_ISSUE
from openscr.errors import Issue, WireError
from openscr.hl7.acknowledgement import read_acknowledgement, write_acknowledgement
from openscr.hl7.wrapper import Heading
from openscr.identifiers import SLOTS, is_uuid, mint_uuid
from openscr.spine import AckType, Outcome
from openscr.transport.polling import on_one_line, poll_token, read_result, slot_of_token, with_hl7_prefix
from openscr.transport.xml import read_xml

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\r\t\x85\u2028\u2029<>&\"'"))
JAVA_LINE_ENDS = re.compile("[\n\r\x85\u2028\u2029]")


@given(st.integers(0, SLOTS - 1))
def test_a_token_names_its_slot_and_nothing_else(slot: int) -> None:
    """Two tokens of one slot differ; both are UUIDs in lower case."""
    one, other = poll_token(slot, mint_uuid()), poll_token(slot, mint_uuid())
    assert one != other
    assert slot_of_token(one) == slot_of_token(other) == slot
    assert is_uuid(one)
    assert one == one.lower()


@pytest.mark.parametrize(
    "token", ["", "x", "4b6", "4b6c8a3e6c1b4d539b579a6f6d0e7b11", "4B6C8A3E-6C1B-4D53-9B57-9A6F6D0E7B11", "٤b6c8a3e"]
)
def test_what_is_no_token_names_no_slot(token: str) -> None:
    assert slot_of_token(token) is None
    assert slot_of_token(poll_token(1, mint_uuid()) + token + "0") is None


@given(TEXTS, TEXTS)
def test_an_acknowledgement_says_the_same_with_its_prefix_on_one_line(reference: str, display: str) -> None:
    """Whatever ids and texts hold: every element has the prefix, no line ends, and the infoset is the plain one's."""
    heading = Heading(mint_uuid(), "20261122120000", "V3NPfIT3.0", "200000000115", "200000000100")
    outcome = Outcome(AckType.ERROR, (Issue("410", display), Issue("202", display, "ER", OID_TMS_ISSUE)))
    plain = write_acknowledgement(heading, outcome, reference, "REPC_IN150016SM05")
    written = on_one_line(with_hl7_prefix(plain))
    assert not JAVA_LINE_ENDS.search(written.decode())
    assert written.startswith(b'<hl7:MCCI_IN010000UK13 xmlns:hl7="urn:hl7-org:v3">')
    ours, theirs = read_xml(written), read_xml(plain)
    assert {element.prefix for element in ours.iter()} == {"hl7"}
    said = [[(e.tag, dict(e.attrib), e.text) for e in root.iter()] for root in (ours, theirs)]
    assert said[0] == said[1]
    assert read_acknowledgement(ours) == read_acknowledgement(theirs)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (None, b""),
        ("text/xml", b"<a/>"),
        ('multipart/related; boundary="b"', b"--b\r\n\r\n<a/>\r\n--b--\r\n"),
    ],
)
def test_a_result_has_two_parts(content_type: str | None, body: bytes) -> None:
    with pytest.raises(WireError):
        read_result(content_type, body)
