"""Which form of an answer a caller wants. What the reference answers is what one gets unless JSON is wanted more.

Clients that were written for the reference say ``*/*``, or list JSON beside text as their libraries do: they get what
they always got.

Spec: 50 F20, F21; RFC 9110 §12.5.1; RFC 9457.
"""

from functools import lru_cache
from typing import Final

from openscr.mhs.exchange import JSON, TEXT, XML

PROBLEM: Final = "application/problem+json"


# A client says the same with every request.
@lru_cache(maxsize=64)
def wants_problem(accept: str) -> bool:
    """Whether errors are to be problem documents; ``accept`` is the header's value, empty without one."""
    return max(_quality(accept, JSON), _quality(accept, PROBLEM)) > _quality(accept, TEXT)


@lru_cache(maxsize=64)
def wants_whole_reply(accept: str) -> bool:
    """Whether a reply is to be the JSON of 50 §3.4 instead of its payload."""
    return _quality(accept, JSON) > _quality(accept, XML)


def _quality(accept: str, media_type: str) -> float:
    """Return how much a media type is wanted, 0 to 1: the most specific range that covers it says so."""
    if not accept.strip():
        return 1.0
    main = media_type.partition("/")[0]
    places = {media_type: 3, f"{main}/*": 2, "*/*": 1}
    best, quality = 0, 0.0
    for element in accept.split(","):
        name, *parameters = (part.strip().lower() for part in element.split(";"))
        place = places.get(name, 0)
        if place > best:
            best, quality = place, _weight(parameters)
    return quality


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return min(1.0, max(0.0, float(value)))
            except ValueError:
                return 0.0
    return 1.0
