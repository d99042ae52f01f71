"""What an attribute or a text may hold: a list of words, or a pattern, with plain words for it.

White space counts as the schemas count it: a *token* may have some around it, anything else is taken as it is.

Spec: 10 §6.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

SPACE: Final = " \t\r\n"
"""White space of XML; what else Python takes for white space is text."""

_SPACES: Final = re.compile(f"[{SPACE}]+")
_MOST_WORDS: Final = 8


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """What an attribute or a text may hold.

    ``accepts`` is asked first and decides nearly always; a ``token`` it does not accept is asked once more without the
    white space around. ``expected`` completes the sentence "it must be ...".
    """

    expected: str
    accepts: Callable[[str], object]
    token: bool = False

    def allows(self, text: str) -> bool:
        """Whether this text is allowed."""
        return bool(self.accepts(text)) or (self.token and bool(self.accepts(_SPACES.sub(" ", text).strip(" "))))


def pattern(expression: str, expected: str, *, token: bool = False) -> Value:
    """Return what matches a regular expression from end to end."""
    return Value(expected, re.compile(expression).fullmatch, token)


def words(allowed: Iterable[str], expected: str = "", *, token: bool = True) -> Value:
    """Return one of some words; they are named when they are few and ``expected`` does not say it better."""
    listed = tuple(dict.fromkeys(allowed))
    if not expected:
        shown = [f'"{word}"' for word in listed[:_MOST_WORDS]]
        more = len(listed) - len(shown)
        expected = (
            shown[0]
            if len(listed) == 1
            else f"one of {', '.join(shown)} and {more} others"
            if more > 0
            else f"{', '.join(shown[:-1])} or {shown[-1]}"
        )
    return Value(expected, frozenset(listed).__contains__, token)


def tokens(allowed: Iterable[str], expected: str = "") -> Value:
    """Return any number of words with white space between."""
    listed = tuple(allowed)
    known = frozenset(listed)
    return Value(
        expected or f"words of the list {', '.join(listed)}",
        lambda text: known.issuperset(filter(None, _SPACES.split(text))),
    )


CS: Final = pattern(rf"[^{SPACE}]*", "a code without white space", token=True)
ST: Final = pattern(r"(?s).+", "a text that is not empty")
ANYTHING: Final = Value("a text", lambda _: True)
OID: Final = pattern(r"[0-9]+(\.[0-9]+)*", "an OID")
UUID: Final = pattern(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", "a UUID in upper case")
UID: Final = pattern(
    r"[0-9]+(\.[0-9]+)*|[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}|[A-Za-z][A-Za-z0-9\-]*",
    "an OID or a UUID in upper case",
)
TS: Final = pattern(
    r"[0-9]{1,8}|([0-9]{9,14}|[0-9]{14}\.[0-9]+)([+\-][0-9]{1,4})?",
    "a time: digits YYYYMMDDHHMMSS, or fewer from the left",
)
REAL: Final = pattern(r"[+\-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+\-]?[0-9]+)?|-?INF|NaN", "a number", token=True)
INT: Final = pattern(r"[+\-]?[0-9]+", "a whole number", token=True)
BL: Final = words(("true", "false"))
URL: Final = pattern(r"[\-a-z0-9+]+:[^ ]*", "an address that names its scheme, for example tel:", token=True)
BASE64: Final = pattern(r"[A-Za-z0-9+/ ]*={0,2}", "data in base64", token=True)
NMTOKEN: Final = pattern(
    r"[\w.:\-\u00b7]+", "one word of letters, digits, full stops, hyphens, colons and underscores", token=True
)
CODES: Final = Value("codes with white space between", lambda _: True)
OIDS: Final = Value(
    "OIDs with white space between",
    lambda text: all(map(OID.accepts, filter(None, _SPACES.split(text)))),
)
LOCAL_LINK: Final = pattern(r"#.*", "a link within the text, which begins with #", token=True)
NHS_NUMBER: Final = pattern(r"[0-9]{10}", "an NHS number of ten digits")
TWELVE_DIGITS: Final = pattern(r"[0-9]{12}", "twelve digits")


def fixed(value: str, *, token: bool = True) -> Value:
    """Return the one word that is allowed."""
    return words((value,), token=token)
