"""The grammar of consent: requests to set, get and compare permissions, and the answers.

Spec: 30 §4.
"""

from typing import Final

from openscr.codes import CRS_NS
from openscr.hl7.strict.datatypes import may, must
from openscr.hl7.strict.grammar import MANY, Child, ElementType, OneOf, Particle, hl7, sequence
from openscr.hl7.strict.transmission import QUERY_ACK, REASONS, later_message, legacy, legacy_message
from openscr.hl7.strict.values import ANYTHING, Value, words

_TEXT: Final = ElementType(text=ANYTHING)


def _one(name: str, of: ElementType, least: int = 1, most: int = 1) -> Child:
    return Child(f"{{{CRS_NS}}}{name}", of, least, most)


def _of(*parts: Particle) -> ElementType:
    return ElementType(content=sequence(*parts))


def _word(*allowed: str) -> ElementType:
    value: Value = words(allowed, token=False)
    return ElementType(text=value)


_II: Final = ElementType(attributes={**must(root=ANYTHING), **may(extension=ANYTHING)}, text=ANYTHING)
_RESOURCE: Final = _of(_one("type", _TEXT), _one("Id", _TEXT))
_CODE: Final = _word("View", "Store")
_CONTEXT: Final = _one("context", _word("Consent", "Sealing"))
_FUNCTION: Final = _of(_CONTEXT, _one("code", _CODE))
_LOOSE_FUNCTION: Final = _of(_CONTEXT, _one("code", _CODE, 0))
_ACCESSOR: Final = _of(
    _one("type", _word("Everyone", "User Id")),
    _one("accessorId", ElementType(content=OneOf((_one("id", _II), _one("name", _TEXT))))),
)
_PATIENT: Final = _one("resourceContext", _II)


def _permissions(function: ElementType, least: int, *permissions: str) -> Child:
    assertion = _of(
        _one("permission", _word(*permissions)),
        _one("userData", _TEXT, 0),
        _one("resource", _RESOURCE),
        _one("function", function),
        _one("accessor", _ACCESSOR, 0),
    )
    return _one("permissions", _of(_PATIENT, _one("accessControlAssertion", assertion, least, MANY)))


def _answer(name: str, function: ElementType) -> ElementType:
    response = _one(name, _of(_permissions(function, 0, "Yes", "No", "Ask")))
    return legacy_message(REASONS, hl7("subject", legacy(response, typeCode="SUBJ")), QUERY_ACK, answer=True)


_CRITERIA: Final = _of(_one("function", _LOOSE_FUNCTION), _one("resource", _RESOURCE, 1, MANY))
_COMPARED: Final = _of(_one("resource", _RESOURCE), _one("function", _FUNCTION), _one("accessor", _ACCESSOR))

SET_REQUEST: Final = later_message(
    REASONS,
    _one("setResourcePermissionsRequest", _of(_permissions(_FUNCTION, 1, "Yes", "No", "Clear"))),
    interaction="[A-Z]{3}_[A-Z]{8}_[A-Z]{11}_INUK[0-9]{2}",
)
GET_REQUEST: Final = legacy_message(
    _one(
        "getResourcePermissionsRequest",
        _of(_one("accessControlQuery", _of(_PATIENT, _one("queryCriteria", _CRITERIA, 0)))),
    )
)
HAS_REQUEST: Final = legacy_message(
    _one(
        "hasResourcePermissionsRequest",
        _of(_one("accessControlQuery", _of(_PATIENT, _one("accessControlSet", _COMPARED, 1, MANY)))),
    )
)
GET_ANSWER: Final = _answer("getResourcePermissionsResponse", _LOOSE_FUNCTION)
HAS_ANSWER: Final = _answer("hasResourcePermissionsResponse", _FUNCTION)
