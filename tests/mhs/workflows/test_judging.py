"""What an answer means for each asynchronous workflow, row by row. Spec: 40 §6.4; 50 §1.4, §2.2-§2.4, F8."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from delivery.test_verdict import CODELESS_FAULT, MESSAGE, OTHER, WARNINGS_ONLY, acknowledgment, fault, message_error
from openscr.mhs.states import Workflow
from openscr.mhs.workflows.judging import judge_answer
from openscr.transport.verdict import Verdict

EXPRESS, RELIABLE, FORWARD = Workflow.ASYNC_EXPRESS, Workflow.ASYNC_RELIABLE, Workflow.FORWARD_RELIABLE
YES, AGAIN, NO = Verdict.DELIVERED, Verdict.RETRY, Verdict.REFUSED

# Status and body; then the verdict for express, reliable and forwarded messages.
TABLE = [
    (202, acknowledgment(), YES, YES, YES),
    (200, acknowledgment(), YES, YES, YES),
    (202, acknowledgment(MESSAGE.lower()), YES, YES, YES),
    (202, WARNINGS_ONLY, YES, YES, YES),
    (202, acknowledgment(OTHER), NO, NO, NO),
    (200, acknowledgment(OTHER), NO, NO, NO),
    (500, acknowledgment(), NO, NO, NO),
    (202, b"", YES, AGAIN, YES),
    (202, b" \r\n", YES, AGAIN, YES),
    (202, b"<MCCI_IN010000UK13/>", YES, YES, YES),
    (202, b"thank you", YES, YES, YES),
    (200, b"", NO, NO, NO),
    (200, b"<accepted/>", NO, NO, NO),
    (200, b"thank you", NO, NO, NO),
    (302, b"", NO, NO, NO),
    *((status, message_error(), NO, NO, NO) for status in (200, 202, 400, 500)),
    *((500, fault(code), NO, AGAIN, AGAIN) for code in ("200", "206", "208")),
    (200, fault("200"), NO, AGAIN, AGAIN),
    (500, fault("200", "206", "208"), NO, AGAIN, AGAIN),
    (500, fault("200", "300"), NO, NO, NO),
    *((500, fault(code), NO, NO, NO) for code in ("101", "201", "300")),
    (500, CODELESS_FAULT, NO, NO, NO),
    (400, fault("200"), NO, NO, NO),
    (500, b"", NO, AGAIN, AGAIN),
    (503, b"busy", NO, AGAIN, AGAIN),
    (502, b"<html/>", NO, AGAIN, AGAIN),
    (404, b"", NO, NO, NO),
]


@pytest.mark.parametrize(("status", "body", "express", "reliable", "forward"), TABLE)
def test_the_table(status: int, body: bytes, express: Verdict, reliable: Verdict, forward: Verdict) -> None:
    found = [judge_answer(workflow, status, body, MESSAGE).verdict for workflow in (EXPRESS, RELIABLE, FORWARD)]
    assert found == [express, reliable, forward]


@given(
    st.sampled_from([EXPRESS, RELIABLE, FORWARD]),
    st.integers(100, 599),
    st.one_of(st.binary(max_size=100), st.sampled_from([body for _, body, *_ in TABLE])),
)
def test_whatever_comes_has_one_meaning(workflow: Workflow, status: int, body: bytes) -> None:
    """Taken only with 200 or 202; never again for express; a refusal of the Spine's never counts as a yes."""
    result = judge_answer(workflow, status, body, MESSAGE)
    if result.verdict is YES:
        assert status in (200, 202)
        assert not (result.said is not None and getattr(result.said, "errors", ()) and result.codes)
    if workflow is EXPRESS or 400 <= status < 500:
        assert result.verdict is not AGAIN
