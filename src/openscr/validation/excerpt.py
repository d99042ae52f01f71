"""The lines of an input around a place, cut to what a person can read.

A message on one long line is the rule rather than the exception: then what is shown is the region around the place.

Spec: 00 §4 ``validate``.
"""

from dataclasses import dataclass
from typing import Final

from openscr.validation.places import Lines

AROUND: Final = 1
"""Lines that are shown before and after the one in question."""

_BEFORE: Final = 24
_ELLIPSIS: Final = "…"
_LONGEST_MARK: Final = 60


@dataclass(frozen=True, slots=True)
class Excerpt:
    """One line of an input: its number, what of it is shown, and what in that is marked (begin and end, or none)."""

    number: int
    text: str
    marked: tuple[int, int] | None = None


def excerpt(data: bytes, lines: Lines, offset: int, width: int) -> tuple[Excerpt, ...]:
    """Return the line in which ``offset`` stands, the tag there marked, and its neighbours.

    Each is at most ``width`` characters long. Nothing that could move a terminal's cursor is left in them.
    """
    line = lines.line_of(offset)
    shown = []
    for number in range(line - AROUND, line + AROUND + 1):
        span = lines.span(number)
        if span is None:
            continue
        begin, end = span
        if number == line:
            shown.append(_marked(data, number, begin, end, offset, width))
        else:
            text = _clean(data[begin : min(end, begin + 4 * width)]).rstrip()
            shown.append(Excerpt(number, text if len(text) <= width else text[: width - 1] + _ELLIPSIS))
    return tuple(shown)


def _marked(data: bytes, number: int, begin: int, end: int, offset: int, width: int) -> Excerpt:
    """Cut the line so that the place is in sight, with a little of what stands before it."""
    before = _clean(data[max(begin, offset - 4 * width) : offset])
    after = _clean(data[offset : min(end, offset + 4 * width)]).rstrip()
    cut_before = len(before) + min(len(after), _LONGEST_MARK) > width or offset - begin > 4 * width
    if cut_before:
        before = _ELLIPSIS + before[-_BEFORE:]
    room = max(width - len(before), 1)
    if len(after) > room:
        after = after[: room - 1] + _ELLIPSIS
    return Excerpt(number, before + after, (len(before), len(before) + max(_tag_length(after), 1)))


def _tag_length(text: str) -> int:
    """How much of a text is marked: the tag with which it begins, as far as it is shown."""
    end = text.find(">") + 1 if text.startswith("<") else 1
    return min(end or len(text), len(text))


def _clean(data: bytes) -> str:
    text = data.decode("utf-8", "replace").replace("\t", "  ")
    return "".join(character if character.isprintable() else " " for character in text)
