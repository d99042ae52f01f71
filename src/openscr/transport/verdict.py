"""What the answer to one attempt means: delivered, to be tried again, or refused for good.

The table is that of reliable messaging, the same in both directions: our outbox and the client library judge by it.
A test walks every row of it.

Spec: 40 §6.4.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from openscr.errors import FAULTS, WireError
from openscr.transport.ebxml import Signal, read_signal
from openscr.transport.soap import Fault, read_fault
from openscr.transport.xml import read_xml

TRANSPORT_TRIES: Final = 4
TRANSPORT_PAUSE: Final = 0.1
"""Within one attempt, a connection that fails before anything was sent is tried again 3 times, 100 ms apart. 40 §6.4"""

_KNOWN_CODES: Final = frozenset(
    {
        "ValueNotRecognized",
        "NotSupported",
        "Inconsistent",
        "OtherXml",
        "DeliveryFailure",
        "TimeToLiveExpired",
        "SecurityFailure",
        "MimeProblem",
        "Unknown",
        "402005",
        *FAULTS,
    }
)
"""Codes that a reason repeats: a code of the partner's own making could hold anything. Spec: 40 §10.1, §10.2."""


class Verdict(StrEnum):
    """What to do with a message after an attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """The verdict on one attempt, and why, in words that name no patient.

    ``codes`` and ``texts`` are those of the errors in the answer, a SOAP fault or a MessageError; ``said`` is that
    fault, or the signal, as a whole. They are the partner's own and are for the user alone: nobody knows what stands
    in them, so they are never logged. ``readable`` is whether the answer was XML.
    """

    verdict: Verdict
    reason: str = ""
    codes: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    said: Fault | Signal | None = None
    readable: bool = False


def judge(status: int, body: bytes, message_id: str) -> AttemptResult:
    """Judge the HTTP answer to a message that asked for an acknowledgement. Spec: 40 §6.4 (column reliable)."""
    answer = _read(body)
    return replace(_judged(status, body, message_id, answer), readable=answer.readable, said=answer.said)


def _judged(status: int, body: bytes, message_id: str, answer: "_Answer") -> AttemptResult:
    if 400 <= status < 500:
        return AttemptResult(Verdict.REFUSED, f"HTTP {status}")
    refusal = answer.refusal
    if refusal is not None:
        retriable = isinstance(answer.said, Fault) and answer.said.retriable
        return replace(refusal, verdict=Verdict.RETRY) if retriable else refusal
    if isinstance(answer.said, Signal) and status in (200, 202):
        if answer.said.ref_to_message_id.upper() == message_id.upper():
            return AttemptResult(Verdict.DELIVERED)
        return AttemptResult(Verdict.RETRY, "acknowledgement of another message")
    if status == 202 and body.strip():
        return AttemptResult(Verdict.DELIVERED, "accepted with a body that is no acknowledgement")
    return AttemptResult(Verdict.RETRY, f"HTTP {status} without acknowledgement")


def judge_express(status: int, body: bytes) -> AttemptResult:
    """Judge the HTTP answer to a message that asked for no acknowledgement: it was taken, or it is over.

    Any body that is no refusal is harmless: some clients acknowledge whether or not they were asked to.
    Spec: 40 §6.4 (column express), §7.2 step 4.
    """
    refusal = _read(body).refusal
    if refusal is not None:
        return refusal
    if 200 <= status < 300:
        return AttemptResult(Verdict.DELIVERED)
    return AttemptResult(Verdict.REFUSED, f"HTTP {status}")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a partner's answer is."""

    readable: bool = False
    said: Fault | Signal | None = None

    @property
    def refusal(self) -> AttemptResult | None:
        """The refusal that it is, a fault or a MessageError."""
        if isinstance(self.said, Fault):
            reason = f"SOAP fault {_named(self.said.codes)}"
            return AttemptResult(Verdict.REFUSED, reason, self.said.codes, self.said.descriptions, self.said)
        if self.said is not None and self.said.kind == "MessageError":
            codes = tuple(error.code for error in self.said.errors)
            texts = tuple(error.description for error in self.said.errors)
            return AttemptResult(Verdict.REFUSED, f"MessageError {_named(codes)}", codes, texts, self.said)
        return None


def _read(body: bytes) -> _Answer:
    try:
        root = read_xml(body) if body.strip() else None
    except WireError:
        root = None
    if root is None:
        return _Answer()
    return _Answer(True, read_signal(root) or read_fault(root))


def _named(codes: tuple[str, ...]) -> str:
    return ", ".join(code if code in _KNOWN_CODES else "with an unknown code" for code in codes) or "without a code"
