"""The workflow ``sync``: one SOAP request, one answer, both within the supplier's own call.

Spec: 50 §2.1, F1, F5.
"""

from typing import Final

from openscr.delivery.carrier import HttpAnswer
from openscr.errors import DeliveryError, UnreadableMessage, WireError
from openscr.mhs import audit_lines
from openscr.mhs.audit import AuditFacts
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import XML, Answer
from openscr.mhs.states import OutboundStatus, Workflow
from openscr.mhs.workflows.answers import (
    ACCEPTED,
    UNEXPECTED,
    UNREADABLE,
    fault_document,
    no_answer,
    no_interaction,
    passed_on,
)
from openscr.mhs.workflows.message_states import MessageStates
from openscr.mhs.workflows.packing import Packed
from openscr.mhs.workflows.unwrapping import unwrap
from openscr.transport.soap import read_fault
from openscr.transport.xml import read_xml

_STATUSES: Final = range(200, 600)
"""Of answers that can be passed on; others are no answers of HTTP, and nothing can be sent on with them."""


async def exchange(context: AdaptorContext, states: MessageStates, packed: Packed, facts: AuditFacts) -> Answer:
    """Send a request, keep that it was answered, and return what the supplier is told. Raises: `StoreError`.

    It is sent again only while there is no connection: a query that may have arrived is the Spine's to answer.
    Spec: 50 §2.1 steps 6-8, F5.
    """
    settings = context.settings
    try:
        answer = await context.carrier.post(
            packed.address,
            dict(packed.headers),
            packed.body,
            timeout=settings.sync_timeout,
            unsafe=settings.retry_unsafe,
        )
    except DeliveryError as error:
        # The reference takes it for an answer, with a status of its library's own.
        await states.change(facts, OutboundStatus.SYNC_RESPONSE_RECEIVED, error.diagnostics)
        return no_answer(error.diagnostics)
    told = read_answer(answer)
    error_told = "" if told.status < 400 else f"HTTP {answer.status}"
    await states.change(facts, OutboundStatus.SYNC_RESPONSE_RECEIVED, error_told)
    if not error_told:
        context.figures.spine_succeeded()
    audit_lines.outbound_completed(Workflow.SYNC)
    return told


def read_answer(answer: HttpAnswer) -> Answer:
    """Return what the supplier is told of the Spine's answer. Spec: 50 §1.4, §2.1 step 8."""
    if answer.status == 202:
        return ACCEPTED
    if answer.status not in _STATUSES:
        return UNREADABLE
    if answer.status not in (200, 500):
        return passed_on(answer.status, answer.body)
    try:
        root = read_xml(answer.body, answer=True)
    except WireError:
        return no_interaction() if answer.status == 200 else UNREADABLE
    fault = read_fault(root)
    if fault is not None:
        return fault_document(fault)
    if answer.status == 500:
        return UNEXPECTED
    try:
        return Answer(200, unwrap(answer.body, root), XML)
    except UnreadableMessage:
        return no_interaction()
