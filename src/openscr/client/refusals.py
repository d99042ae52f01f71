"""What a refusal means to the one who asked: six kinds, found from the issues of an answer.

Spec: 20 §8, §16 items 3 and 4.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar

from openscr.codes import DOCUMENT_TYPES, OID_TMS_ISSUE
from openscr.errors import EBXML_ERRORS, FAULTS, OpenSCRError
from openscr.spine import (
    AckType,
    DocumentListOutcome,
    DocumentOutcome,
    Event,
    EventListOutcome,
    EventStatus,
    Outcome,
    StoredDocument,
)


class Refusal(StrEnum):
    """Kinds of refusal. `NO_RECORD` is a refusal on the wire only: the patient simply has nothing stored."""

    ACCESS_DENIED = "access denied"
    NO_RECORD = "no record"
    INVALID_REQUEST = "invalid request"
    CONFLICT = "conflict"
    SERVER_ERROR = "server error"
    UNAVAILABLE = "unavailable"


_BY_CODE = {
    "210": Refusal.NO_RECORD,
    "30312": Refusal.NO_RECORD,
    "420": Refusal.ACCESS_DENIED,
    "400": Refusal.INVALID_REQUEST,
    "401": Refusal.INVALID_REQUEST,
    "410": Refusal.CONFLICT,
    "430": Refusal.CONFLICT,
    "500": Refusal.SERVER_ERROR,
    "502": Refusal.UNAVAILABLE,
}


def refusal_of(answer: Outcome | EventListOutcome | DocumentListOutcome | DocumentOutcome) -> Refusal | None:
    """Return the kind of a refusal; none when the request was carried out.

    The first issue that is an error decides, the first of all when none is; then the acknowledgement type. The answer
    to a query that brings nothing means that there is no record of that kind. Spec: 20 §8, §16 item 3.
    """
    if isinstance(answer, Outcome):
        outcome = answer
    else:
        outcome = answer.outcome
        if outcome.accepted:
            return None if _brings(answer) else Refusal.NO_RECORD
    if outcome.accepted:
        return None
    first = next((issue for issue in outcome.issues if issue.severity == "ER"), next(iter(outcome.issues), None))
    # Wrapper errors have numbers of their own, some of them the same.
    code = first.code if first is not None and first.system != OID_TMS_ISSUE else ""
    if code in _BY_CODE:
        return _BY_CODE[code]
    return Refusal.UNAVAILABLE if outcome.ack is AckType.REJECTED else Refusal.SERVER_ERROR


def _brings(answer: EventListOutcome | DocumentListOutcome | DocumentOutcome) -> bool:
    if isinstance(answer, DocumentOutcome):
        return answer.document is not None
    return bool(answer.events if isinstance(answer, EventListOutcome) else answer.documents)


class RecordRefusal(OpenSCRError):
    """The record says no to a verb that returns a plain value. ``outcome`` holds every issue, ``kind`` their sense."""

    code = "RECORD_REFUSAL"

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self.kind = refusal_of(outcome) or Refusal.NO_RECORD
        # Texts of issues may hold the NHS number, so only the codes are told.
        super().__init__(f"{self.kind.value} ({outcome.code})" if not outcome.accepted else self.kind.value)


def own_words(codes: Iterable[str], texts: Iterable[str]) -> str:
    """Return what a partner says about an error, as far as these are words of the protocol.

    Errors end up in logs, and what else a partner writes may hold anything: codes of its own are told when they are
    too short for a number of a patient, its own texts are not. Spec: 00 §7 "privacy".
    """
    told = [code for code in dict.fromkeys(codes) if code in _WORDS or len(code) < 8]
    words = [text for text in dict.fromkeys(texts) if text in _WORDS]
    return ": ".join(part for part in (", ".join(told), "; ".join(words)) if part) or "without a known code"


_WORDS = frozenset(
    {
        *FAULTS,
        *(fault.description for fault in FAULTS.values()),
        *(error.code for error in EBXML_ERRORS.values()),
        *(error.description for error in EBXML_ERRORS.values()),
    }
)


T = TypeVar("T", Event, StoredDocument)


def latest_summary(events: tuple[T, ...]) -> T | None:
    """Return the newest Normal GP Summary or Initial Summary, whatever the order of a list. Spec: 20 §16 item 4.

    ``events`` are those of an event list, or the documents of a document list.
    """
    current = [e for e in events if e.status is EventStatus.NORMAL and e.event_type in DOCUMENT_TYPES]
    return max(current, key=lambda event: event.stored_at, default=None)
