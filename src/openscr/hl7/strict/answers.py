"""The grammar of answers: acknowledgements, refusals, lists and records of events.

A clinical document inside an answer is that of its author, whatever level it was accepted at: its container says only
that it is an element of HL7 V3, and it is judged by itself.

Spec: 10 §13; 20 §3.3, §7; 30 §6.
"""

from typing import Final

from openscr.codes import EVENT_STATUSES, PSIS_NS
from openscr.hl7.strict.datatypes import CV, II, TS_TYPE, must
from openscr.hl7.strict.grammar import (
    MANY,
    Attribute,
    Child,
    ElementType,
    Foreign,
    Particle,
    Sequence,
    hl7,
    sequence,
)
from openscr.hl7.strict.transmission import QUERY_ACK, REASONS, legacy, legacy_message
from openscr.hl7.strict.values import ANYTHING, UID, pattern, words
from openscr.hl7.wrapper import HL7

ACKNOWLEDGEMENT_MESSAGE: Final = legacy_message(REASONS, answer=True)
REFUSAL_MESSAGE: Final = legacy_message(REASONS, QUERY_ACK, answer=True)


def _one(name: str, of: ElementType, least: int = 1, most: int = 1) -> Child:
    return Child(f"{{{PSIS_NS}}}{name}", of, least, most)


def _of(*parts: Particle) -> ElementType:
    return ElementType(content=Sequence(parts))


_STORED: Final = ElementType(
    attributes={**TS_TYPE.attributes, **must(value=pattern("[0-9]{14}", "a time of 14 digits"))}, base=TS_TYPE
)
DOCUMENT_STATES: Final = {str(code): name for code, name in EVENT_STATUSES.items()}
"""Whether a document is current. Spec: 20 §7.1."""

_STATUS: Final = ElementType(
    attributes={
        **CV.attributes,
        **must(code=words(DOCUMENT_STATES), codeSystem=UID),
        "displayName": Attribute(words(DOCUMENT_STATES.values(), token=False)),
    },
)
_TARGET: Final = _one("recordTarget", _of(_one("patient", _of(_one("id", II)))))
_ABOUT: Final = (
    _one("eventID", II),
    _one("withdrawingEventID", II, 0),
    _one("payloadID", II),
    _one("persistenceDate", _STORED),
    _one("eventStatus", _STATUS),
    _one("eventType", CV),
)
_DOCUMENT: Final = _of(*_ABOUT, _one("hl7Data", _of(Foreign(HL7))))
_LISTED: Final = ElementType(content=Sequence((*_ABOUT, _one("author", _of(Foreign("")), 0)), 1, MANY))


def _answer(name: str, *events: Particle) -> ElementType:
    subject = legacy(_one(name, _of(_TARGET, *events)), typeCode="SUBJ")
    return legacy_message(REASONS, hl7("subject", subject), QUERY_ACK, answer=True)


EVENT_LIST: Final = _answer("queryResponseEventList", _one("event", _LISTED, 1, MANY))
EVENT: Final = _answer("queryResponseEvent", _one("event", _DOCUMENT))
WHOLE_RECORD: Final = _answer("queryResponsePatient", _one("event", _DOCUMENT, 0, MANY))

# --- the list of the channel SM -------------------------------------------------------------------------------------

_WORD: Final = ElementType(text=ANYTHING)


def _said(*allowed: str) -> ElementType:
    return ElementType(text=words(allowed, token=False))


def _group(**children: ElementType) -> ElementType:
    return ElementType(content=sequence(*(hl7(name, of) for name, of in children.items())))


_ASSERTION: Final = _group(
    permission=_said("Yes", "No", "Ask"),
    resource=_group(type=_said("SCR"), Id=_WORD),
    function=_group(context=_said("Consent"), code=_said("Store", "View")),
    accessor=_group(type=_said("Everyone"), accessorId=_group(name=_said("Everyone"))),
)
_PERMISSIONS: Final = ElementType(
    content=sequence(
        hl7("resourceContext", ElementType(attributes=must(root=UID, extension=ANYTHING))),
        hl7("accessControlAssertion", _ASSERTION, 1, MANY),
    )
)
EVENT_LIST_SM: Final = _answer(
    "queryResponseEventList", _one("event", _LISTED, 1, MANY), hl7("permissions", _PERMISSIONS, 0)
)
"""The list with the consent behind it. Spec: 20 §7.3, 40 §12."""
