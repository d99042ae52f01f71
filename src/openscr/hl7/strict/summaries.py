"""The grammar of GP Summaries: an update and an initial one, by themselves and in their messages.

Spec: 10 §2-§5, §8.
"""

from typing import Final

from openscr.hl7.strict.grammar import ElementType, hl7
from openscr.hl7.strict.shapes import type_of_shape
from openscr.hl7.strict.transmission import act, upload_message
from openscr.hl7.summary_shapes import INITIAL, UPDATE

UPDATE_SUMMARY: Final = type_of_shape(UPDATE)
INITIAL_SUMMARY: Final = type_of_shape(INITIAL)


def _message(summary: ElementType, interaction: str) -> ElementType:
    subject = act(hl7("GPSummary", summary), infrastructure=False, typeCode="SUBJ", contextConductionInd="false")
    return upload_message(hl7("subject", subject), interaction=interaction)


_PUBLISHED: Final = "[A-Z]{4}_IN[0-9]{6}UK[0-9]{2}"

UPDATE_MESSAGE: Final = _message(UPDATE_SUMMARY, _PUBLISHED)
INITIAL_MESSAGE: Final = _message(INITIAL_SUMMARY, _PUBLISHED)
POLLING_MESSAGE: Final = _message(UPDATE_SUMMARY, "[A-Z]{4}_IN[0-9]{6}SM[0-9]{2}")
"""The update over the polling channel: its twin but for the interaction id. Spec: 10 §2, 40 §12."""
