"""The catalogue of behaviours: what each does, what it can be told, and whether the message is processed all the same.

A message is never acknowledged that is not kept: what is not processed is refused, or not answered.

Spec: 20 §9; 40 §6.4, §10; 50 §14.4.
"""

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from openscr.codes import UPLOADS
from openscr.errors import (
    DETAILS,
    EBXML_ERRORS,
    FAULTS,
    GENERAL,
    MERGED_LONG_TEXT,
    NO_EXPLICIT_CONSENT,
    WRAPPER_ERRORS,
    Issue,
    detail_issue,
)
from openscr.spine import AckType, Outcome
from openscr.testbench.scenarios.facts import Facts
from openscr.testbench.scenarios.treatment import Treatment
from openscr.transport.interactions import Channel

LONGEST_SECONDS: Final = 3600.0
_LONGEST_NUMBER: Final = 20
"""Digits that are read of a number in a text."""

_ASYNCHRONOUS: Final = frozenset({Channel.EBXML, Channel.POLLING})
_MESSAGES: Final = _ASYNCHRONOUS | {Channel.SOAP}
_ALL: Final = frozenset(Channel)
_PLACEHOLDERS: Final = ("x", "y")
"""What stands in a text where nobody says what should: as in the published texts. Spec: 20 §9.4."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One thing that a behaviour can be told. ``read`` raises `ValueError` with what would be right.

    ``default`` is none where something must be said.
    """

    name: str
    meaning: str
    read: Callable[[object], Any]
    default: object = None


Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One row of the catalogue. ``processed`` says in words what becomes of the message."""

    name: str
    effect: str
    processed: str
    channels: frozenset[Channel]
    parameters: tuple[Parameter, ...]
    treat: Callable[[Values, Facts], Treatment]


# --- values ---------------------------------------------------------------------------------------------------------


def _seconds(value: object) -> float:
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= LONGEST_SECONDS:
        raise ValueError(f"is a number of seconds from 0 to {LONGEST_SECONDS:g}")
    return float(value)


def _whole(lowest: int, highest: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _LONGEST_NUMBER:
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not lowest <= value <= highest:
            raise ValueError(f"is a whole number from {lowest} to {highest}")
        return value

    return read


def _one_of(*words: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError(f"is one of {', '.join(words)}")
        return value

    return read


def _flag(value: object) -> bool:
    if value in (True, "true"):
        return True
    if value in (False, "false"):
        return False
    raise ValueError("is true or false")


def _media_type(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 200 or not (value.isascii() and value.isprintable()):
        raise ValueError("is a media type such as text/html")
    return value


def _issue_code(value: object) -> str:
    general, _, detail = value.rpartition("/") if isinstance(value, str) else ("", "", "")
    if detail in DETAILS and (not general or general in GENERAL):
        return f"{general or DETAILS[detail].general}/{detail}"
    if not general and detail in GENERAL:
        return detail
    raise ValueError("is a general code (430), a specific one (30307), or both (410/30307); docs/errors.md has them")


def _error_keys(value: object) -> tuple[str, ...]:
    wanted = value.split(",") if isinstance(value, str) else value
    if isinstance(wanted, list | tuple) and wanted and all(isinstance(each, str) for each in wanted):
        found = [_error_key(each.strip()) for each in wanted]
        if all(found):
            return tuple(dict.fromkeys(found))
    raise ValueError(f"is one or more of {', '.join(EBXML_ERRORS)}, or an ebXML error code such as ValueNotRecognized")


def _error_key(word: str) -> str:
    if word in EBXML_ERRORS:
        return word
    return next((key for key, error in EBXML_ERRORS.items() if error.code == word), "")


def _fields(value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) and _is_word(each) for each in value.values()):
        raise ValueError(
            "is an object of texts of at most 200 printable characters, for the words in braces of docs/errors.md"
        )
    known = {name for detail in DETAILS.values() for name in _words_of(detail.text)}
    if not set(value) <= known:
        raise ValueError(f"has the members {', '.join(sorted(known))}")
    return dict(value)


def _is_word(text: str) -> bool:
    """Whether a text can stand in every answer: halves of surrogate pairs and control characters cannot."""
    return len(text) <= 200 and text.isprintable()


def _words_of(text: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(text) if name]


SECONDS: Final = Parameter("seconds", "how long", _seconds)


# --- what they do ---------------------------------------------------------------------------------------------------


def issues_of(code: str, facts: Facts, fields: Mapping[str, str]) -> tuple[Issue, ...]:
    """Return the reasons of a refusal in the form that the record itself gives them for this interaction.

    A word that nobody gives is the request's own where it has one, else the placeholder of the published texts.
    """
    general, _, specific = code.partition("/")
    if not specific:
        return (GENERAL[general],)
    if facts.interaction in UPLOADS and specific == "30402":
        return (NO_EXPLICIT_CONSENT,)
    if facts.interaction in UPLOADS and specific == "30307":
        survivor = fields.get("survivor", "0000000000")
        text = f"[PSIS-30307] - {MERGED_LONG_TEXT.format(survivor=survivor)}"
        return (GENERAL[general], Issue("30307", text, GENERAL[general].severity))
    names = _words_of(DETAILS[specific].text)
    given = {"nhs_number": facts.nhs_number, **fields}
    open_words = [name for name in names if not given.get(name)]
    words = {**dict(zip(open_words, _PLACEHOLDERS, strict=False)), **{n: given[n] for n in names if given.get(n)}}
    issue = detail_issue(specific, **words)
    return (GENERAL[general], Issue(issue.code, issue.display, GENERAL[general].severity))


def _error(values: Values, facts: Facts) -> Treatment:
    # Sets of published triggers have reasons that no code of the catalogue has.
    issues = values.get("issues") or issues_of(values["code"], facts, values["fields"])
    ack = AckType.REJECTED if issues[0] is GENERAL["502"] else AckType.ERROR
    return Treatment(refusal=Outcome(ack, issues), by_acknowledgement=values.get("answer") == "mcci")


def _wrapper_error(values: Values, facts: Facts) -> Treatment:
    issues: tuple[Issue, ...] = (WRAPPER_ERRORS[values["code"]],)
    if "RESOURCE_PERMISSIONS" in facts.interaction:
        # The consent service says it twice. Spec: 30 §6.1.
        issues += (GENERAL["400"], detail_issue("99720", key="HL7_VALIDATION_ERROR"))
    return Treatment(refusal=Outcome(AckType.REJECTED, issues), by_acknowledgement=True)


def _no_answer(values: Values, facts: Facts) -> Treatment:
    # In FHIR any 2xx says that an alert is kept: there is no empty answer that says nothing. Spec: 60 §12.5.
    if values["how"] == "empty" and facts.channel is not Channel.FHIR:
        return Treatment(status=202, hold=values["seconds"])
    return Treatment(silent=True, hold=values["seconds"], drop="before")


def _drop(values: Values, _: Facts) -> Treatment:
    if values["where"] == "middle":
        return Treatment(drop="middle")
    return Treatment(drop="before", silent=not values["processed"])


def _late(values: Values, facts: Facts) -> Treatment:
    seconds = values["seconds"]
    return Treatment(late=seconds) if facts.channel in _ASYNCHRONOUS else Treatment(hold=seconds)


_MALFORMED: Final[dict[str, Callable[[bytes], bytes]]] = {
    "cut": lambda body: body[: len(body) // 2],
    "html": lambda _: b"<html><body><h1>502 Bad Gateway</h1></body></html>",
    "empty": lambda _: b"",
}

_OUTAGE: Final = {
    "503": Treatment(status=503),
    "fault": Treatment(fault="200"),
    "drop": Treatment(silent=True, drop="before"),
}

_NO: Final = "no"
_AS_EVER: Final = "yes, as ever"

BEHAVIOURS: Final = {
    each.name: each
    for each in (
        Behaviour(
            "error",
            "An HL7 refusal with these codes in the form of the interaction: QUQI for queries, the acknowledgement of "
            "uploads, withdrawals and consent; AE, and AR for 502.",
            "no; a message that is answered by an acknowledgement of its own is kept as a refused one, and gets the "
            "same answer when it is sent again",
            _MESSAGES,
            (
                Parameter("code", "general, specific, or both: 430, 30307, 410/30307", _issue_code),
                Parameter("fields", "the words in braces of its text", _fields, {}),
                Parameter("answer", "how queries are refused: quqi or mcci", _one_of("quqi", "mcci"), "quqi"),
            ),
            _error,
        ),
        Behaviour(
            "wrapper-error",
            "A rejection (AR, MCCI) with this acknowledgementDetail.",
            "no; kept as `error` is",
            _MESSAGES,
            (Parameter("code", "202, 501 to 535, 900, 1000", _one_of(*WRAPPER_ERRORS)),),
            _wrapper_error,
        ),
        Behaviour(
            "fault",
            "HTTP 500 with this SOAP fault.",
            _NO,
            _MESSAGES,
            (Parameter("code", ", ".join(FAULTS), _one_of(*FAULTS)),),
            lambda values, _: Treatment(fault=values["code"]),
        ),
        Behaviour(
            "message-error",
            "An ebXML MessageError.",
            _NO,
            frozenset({Channel.EBXML}),
            (
                Parameter("error", "names of checks, or an ebXML error code", _error_keys),
                Parameter("status", "200, or 500 as some services answer", _whole(200, 599), 200),
            ),
            lambda values, _: Treatment(message_errors=values["error"], answer_status=values["status"]),
        ),
        Behaviour(
            "delay",
            "The answer waits.",
            _AS_EVER + ", at once",
            _ALL,
            (SECONDS,),
            lambda values, _: Treatment(hold=values["seconds"]),
        ),
        Behaviour(
            "late",
            "The application acknowledgement goes out, or can be fetched, so long after the transport's answer; a "
            "synchronous answer waits as with `delay`.",
            _AS_EVER + ", at once",
            _MESSAGES,
            (SECONDS,),
            _late,
        ),
        Behaviour(
            "duplicate",
            "The application acknowledgement is delivered twice, with the same id and bytes.",
            _AS_EVER,
            frozenset({Channel.EBXML}),
            (),
            lambda _values, _: Treatment(twice=True),
        ),
        Behaviour(
            "no-answer",
            "The connection is held and then closed without a byte, or (`empty`, but for FHIR) HTTP 202 without a "
            "body: no transport acknowledgement.",
            _NO,
            _ALL,
            (
                Parameter("seconds", "how long it is held", _seconds, 0.0),
                Parameter("how", "close or empty", _one_of("close", "empty"), "close"),
            ),
            _no_answer,
        ),
        Behaviour(
            "drop",
            "The connection ends before the answer, or in the middle of it.",
            "in the middle: yes; before: only with `processed`, for an answer that was lost on its way",
            _ALL,
            (
                Parameter("where", "before or middle", _one_of("before", "middle"), "before"),
                Parameter("processed", "whether the message arrives although its answer does not", _flag, False),
            ),
            _drop,
        ),
        Behaviour(
            "slow",
            "The body of the answer comes drop by drop.",
            _AS_EVER,
            _ALL,
            (Parameter("bytes_per_second", "how fast", _whole(1, 1_000_000), 100),),
            lambda values, _: Treatment(bytes_per_second=values["bytes_per_second"]),
        ),
        Behaviour(
            "content-type",
            "The answer says that it is something else.",
            _AS_EVER,
            _ALL,
            (Parameter("type", "the Content-Type", _media_type, "text/html"),),
            lambda values, _: Treatment(content_type=values["type"]),
        ),
        Behaviour(
            "malformed",
            "The body of the answer is cut off in the middle, is a page of HTML, or is empty; its length is right.",
            _AS_EVER,
            _ALL,
            (Parameter("how", "cut, html or empty", _one_of(*_MALFORMED), "cut"),),
            lambda values, _: Treatment(rewrite=_MALFORMED[values["how"]]),
        ),
        Behaviour(
            "outage",
            "For so long after it was set: HTTP 503, SOAP fault 200, or closed connections.",
            _NO,
            _ALL,
            (SECONDS, Parameter("answer", "503, fault or drop", _one_of(*_OUTAGE), "503")),
            lambda values, _: _OUTAGE[values["answer"]],
        ),
    )
}
"""Every behaviour by its name."""
