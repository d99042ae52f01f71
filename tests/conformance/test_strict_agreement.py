"""Level ``strict`` agrees with the published schemas over thousands of messages, but for what is explained by name.

The schemas are read where they lie, and only while the shared material is there. ``make agreement`` compares 100,000.
"""

from pathlib import Path

import pytest
from lxml import etree

from openscr.hl7.strict import STRICT_INTERACTIONS
from shared import schema, shared

from .agreement import ALERT, EXPLANATIONS, Tally, compare, describe, interactions_in, judge
from .test_corpus import CORPUS, FILES, summary_in

MESSAGES = 16_000
SEED = 20
WITHOUT_SCHEMA = {"HAS_SCRA_PERMISSIONS_INSM01"}
"""No schema of it is public. Spec: 20 §11."""


@pytest.fixture(scope="module")
def tally() -> Tally:
    """One comparison for all questions: the same messages in every run."""
    shared("mim")
    return compare(MESSAGES, SEED)


def test_every_disagreement_is_explained(tally: Tally) -> None:
    """Valid messages and distorted ones of every interaction: both take them, or neither does."""
    assert not tally.unexplained, "\n".join(map(describe, tally.unexplained[:5]))
    assert tally.messages > MESSAGES
    assert min(tally.valid, tally.invalid) > tally.messages / 4
    assert tally.disagreed < tally.messages / 30


def test_every_interaction_was_compared(tally: Tally) -> None:
    assert set(tally.by_interaction) == STRICT_INTERACTIONS - WITHOUT_SCHEMA
    assert min(tally.by_interaction.values()) > 100


def test_no_explanation_is_left_over(tally: Tally) -> None:
    """An explanation that explains nothing would hide the next disagreement."""
    assert set(tally.by_explanation) == {each.name for each in EXPLANATIONS}


def test_the_alert_that_we_write_is_valid() -> None:
    """The specification has no example of it."""
    schema("TightenedSchemas", "COMT_IN000001UK01").assertValid(etree.ElementTree(etree.fromstring(ALERT)))


@pytest.mark.parametrize("name", FILES)
def test_summaries_of_the_corpus(name: str) -> None:
    """Each published summary: both take it, or neither does."""
    shared("corpus")
    shared("mim")
    found = summary_in((CORPUS / name).read_bytes())
    declared = found.declarations + ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"' * (
        "xmlns:xsi=" not in found.declarations
    )
    (document,) = etree.fromstring(f"<all{declared}>".encode() + found.element + b"</all>")
    judgement = judge(etree.fromstring(etree.tostring(document, with_tail=False)), name)
    assert judgement is not None
    assert judgement.agreed, describe(judgement)


OTHERS = sorted(str(path.relative_to(CORPUS)) for path in CORPUS.rglob("*.xml")) if CORPUS.is_dir() else []


@pytest.mark.parametrize("name", OTHERS)
def test_messages_of_the_corpus(name: str) -> None:
    """Each published message that stands in the namespace of HL7, whatever its template leaves open."""
    shared("mim")
    data = Path(CORPUS / name).read_bytes().removeprefix(b"\xef\xbb\xbf")
    try:
        messages = list(interactions_in(data))
    except Exception as error:  # noqa: BLE001 - what our own reader refuses is no message
        pytest.skip(f"not XML that is read: {type(error).__name__}")
    for message in messages:
        judgement = judge(message, name)
        if judgement is not None:
            assert judgement.agreed, describe(judgement)
