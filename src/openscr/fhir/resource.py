"""JSON of a FHIR resource, read within limits: what FHIR forbids in any resource is refused here.

The texts quote nothing of the document but names of its elements.

Spec: 60 §8.2, 00 §7.
"""

from typing import Any, Final

import msgspec

from openscr.errors import WireError

DEEPEST: Final = 200
"""Levels of nesting that are read, as in XML."""

LONGEST_NAME: Final = 64
"""Characters of an element's name that a refusal repeats."""


class NotFhir(WireError):
    """A body is not FHIR JSON; ``diagnostics`` says what is wrong with it."""

    code = "NOT_FHIR"


def read_resource(body: bytes, resource_type: str) -> dict[str, Any]:
    """Return a resource of this type. Raises: `NotFhir`. Spec: 60 §8.2."""
    try:
        document = msgspec.json.decode(body)
    except RecursionError:
        raise NotFhir(_TOO_DEEP) from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # The parser's own words say where, but might quote a name of the document at length.
        raise NotFhir("the body is not JSON") from None
    if not isinstance(document, dict):
        raise NotFhir("the body is not a JSON object")
    if document.get("resourceType") != resource_type:
        raise NotFhir(f"the resource is not of type {resource_type}")
    _check_values(document)
    return document


_TOO_DEEP: Final = f"the body is nested deeper than {DEEPEST} levels"


def _check_values(document: dict[str, Any]) -> None:
    """Hold that no text is empty or has control characters, and that nothing is nested too deep."""
    waiting: list[tuple[str, Any, int]] = [("", document, 1)]
    while waiting:
        name, value, level = waiting.pop()
        if isinstance(value, str):
            if not value:
                raise NotFhir(
                    f'[element="{name[:LONGEST_NAME]}"] Invalid attribute value "": '
                    'Attribute value must not be empty ("")'
                )
            if any(letter < " " and letter not in "\t\r\n" for letter in value):
                raise NotFhir(f'[element="{name[:LONGEST_NAME]}"] the text holds a control character')
            continue
        if level > DEEPEST:
            raise NotFhir(_TOO_DEEP)
        if isinstance(value, dict):
            # Turned round, because the last one is taken first: the first fault of the document is told.
            waiting += [(key, inner, level + 1) for key, inner in reversed(value.items())]
        elif isinstance(value, list):
            waiting += [(name, inner, level + 1) for inner in reversed(value)]
