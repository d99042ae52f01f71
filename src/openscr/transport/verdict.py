"""What the answer to one attempt means: delivered, to be tried again, or refused for good.

The table is that of reliable messaging, the same in both directions: our outbox and the client library judge by it.
A test walks every row of it.

Spec: 40 §6.4.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from openscr.errors import FAULTS, WireError
from openscr.transport.ebxml import read_signal
from openscr.transport.soap import read_fault
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

    ``codes`` and ``texts`` are those of the errors in the answer, a SOAP fault or a MessageError. They are the
    partner's own and are for the user alone: nobody knows what stands in them, so they are never logged.
    """

    verdict: Verdict
    reason: str = ""
    codes: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()


def judge(status: int, body: bytes, message_id: str) -> AttemptResult:
    """Judge the HTTP answer to a message that asked for an acknowledgement. Spec: 40 §6.4 (column reliable)."""
    if 400 <= status < 500:
        return AttemptResult(Verdict.REFUSED, f"HTTP {status}")
    try:
        root = read_xml(body) if body.strip() else None
    except WireError:
        root = None
    if root is not None:
        signal = read_signal(root)
        if signal is not None and signal.kind == "MessageError":
            codes = tuple(error.code for error in signal.errors)
            texts = tuple(error.description for error in signal.errors)
            return AttemptResult(Verdict.REFUSED, f"MessageError {_named(codes)}", codes, texts)
        if signal is not None and status in (200, 202):
            if signal.ref_to_message_id.upper() == message_id.upper():
                return AttemptResult(Verdict.DELIVERED)
            return AttemptResult(Verdict.RETRY, "acknowledgement of another message")
        fault = read_fault(root)
        if fault is not None:
            verdict = Verdict.RETRY if fault.retriable else Verdict.REFUSED
            return AttemptResult(verdict, f"SOAP fault {_named(fault.codes)}", fault.codes, fault.descriptions)
    if status == 202 and body.strip():
        return AttemptResult(Verdict.DELIVERED, "accepted with a body that is no acknowledgement")
    return AttemptResult(Verdict.RETRY, f"HTTP {status} without acknowledgement")


def judge_express(status: int, body: bytes) -> AttemptResult:
    """Judge the HTTP answer to a message that asked for no acknowledgement: it was taken, or it is over.

    Any body that is no refusal is harmless: some clients acknowledge whether or not they were asked to.
    Spec: 40 §6.4 (column express), §7.2 step 4.
    """
    try:
        root = read_xml(body) if body.strip() else None
    except WireError:
        root = None
    signal = read_signal(root) if root is not None else None
    errors = signal.errors if signal is not None and signal.kind == "MessageError" else None
    if errors is not None:
        codes = tuple(error.code for error in errors)
        texts = tuple(error.description for error in errors)
        return AttemptResult(Verdict.REFUSED, f"MessageError {_named(codes)}", codes, texts)
    fault = read_fault(root) if root is not None else None
    if fault is not None:
        return AttemptResult(Verdict.REFUSED, f"SOAP fault {_named(fault.codes)}", fault.codes, fault.descriptions)
    if 200 <= status < 300:
        return AttemptResult(Verdict.DELIVERED)
    return AttemptResult(Verdict.REFUSED, f"HTTP {status}")


def _named(codes: tuple[str, ...]) -> str:
    return ", ".join(code if code in _KNOWN_CODES else "with an unknown code" for code in codes) or "without a code"
