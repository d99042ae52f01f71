"""Our own form of a summary, ``openscr-summary/1``: clinical content alone; the adaptor knows or mints the rest.

Spec: 00 §6.2; 10 §16; 50 §12, C8.
"""

from dataclasses import dataclass
from datetime import datetime

from openscr.clinical import Summary
from openscr.clinical.json_form import read_json
from openscr.codes import POLLING_UPLOAD, VERSION_CODE
from openscr.errors import MistakenForm, NotSent, UnwritableSummary
from openscr.hl7.gp_summary import write_upload
from openscr.hl7.presend import Check, check_upload
from openscr.hl7.summary_writer import compose, person_of, write_summary
from openscr.hl7.wrapper import Heading, read_wrapper
from openscr.identifiers import UuidFactory
from openscr.mhs.scr.answers import Refused, unusable
from openscr.transport.xml import read_xml


@dataclass(frozen=True, slots=True)
class Composed:
    """A message that is ready to be sent, and the id of its event."""

    payload: bytes
    event_id: str


def read_summary(body: bytes) -> Summary:
    """Read a summary. Raises: `Refused`, which names every mistake by its place."""
    try:
        summary = read_json(body)
    except MistakenForm as error:
        mistakes = [{"place": mistake.pointer, "text": mistake.text} for mistake in error.mistakes]
        raise Refused(
            400, "summary_invalid", "The summary is not as openscr-summary/1 has it.", errors=mistakes
        ) from None
    if summary.interaction == POLLING_UPLOAD:
        raise unusable(f"{POLLING_UPLOAD} goes over the polling channel, which an adaptor does not have")
    return summary


def write_message(
    summary: Summary, sender: str, receiver: str, mint: UuidFactory, now: datetime, check: Check
) -> Composed:
    """Compose the upload of a summary and look at it before it leaves; ``sender`` and ``receiver`` are ASIDs.

    Raises: `Refused`. Spec: 10 §11.5, §16.
    """
    try:
        summary = compose(summary, mint, now)
        document = write_summary(summary)
    except UnwritableSummary as error:
        raise unusable(error.diagnostics) from None
    heading = Heading(summary.message_id or "", summary.created or "", VERSION_CODE, receiver, sender)
    payload = write_upload(summary.interaction, heading, document, person_of(summary))
    try:
        check_upload(read_wrapper(read_xml(payload)), payload, check)
    except NotSent as error:
        raise unusable(error.diagnostics) from None
    return Composed(payload, summary.event_id or "")
