"""What the Spine's answer to an asynchronous message means, by the workflow.

The table is that of reliable messaging (`openscr.transport.verdict`). What differs is written here: which workflow
takes an empty 202 for a yes, that an acknowledgement of another message is a no, and that an answer which no row of
the table lets be tried again is told to the supplier at once.

Spec: 50 §1.4, §2.2 steps 5-6, §2.3, F8; 40 §6.4.
"""

from dataclasses import replace

from openscr.mhs.states import Workflow
from openscr.transport.ebxml import Signal
from openscr.transport.soap import Fault
from openscr.transport.verdict import AttemptResult, Verdict, judge


def judge_answer(workflow: Workflow, status: int, body: bytes, message_id: str) -> AttemptResult:
    """Judge the answer to a message of an asynchronous workflow: taken, to be sent again, or refused."""
    result = judge(status, body, message_id)
    if result.verdict is not Verdict.RETRY:
        return result
    refused = replace(result, verdict=Verdict.REFUSED)
    if isinstance(result.said, Signal):
        return refused
    if isinstance(result.said, Fault):
        return refused if workflow is Workflow.ASYNC_EXPRESS else result
    if status == 202:
        return result if workflow is Workflow.ASYNC_RELIABLE else AttemptResult(Verdict.DELIVERED)
    return refused if status < 500 or workflow is Workflow.ASYNC_EXPRESS else result
