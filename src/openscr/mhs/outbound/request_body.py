"""The JSON that a supplier posts: read, or every mistake in it told as the reference tells them.

Members are cut out of the body first and each is read by itself, so that nothing is built of what nobody asked for: a
body costs about twice its size, and no more mistakes are told than anybody would read.

Spec: 50 §1.2, §1.3 row 8.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

import msgspec

from openscr.mhs.exchange import Attachment, ExternalReference
from openscr.mhs.outbound.refusals import NOT_JSON, Refused, invalid_body

LONGEST: Final = 5_000_000
"""Characters of a payload, and of each attachment."""
MOST_ATTACHMENTS: Final = 98
"""A message has up to 100 parts; envelope and payload are two of them."""
CONTENT_TYPES: Final = (
    "text/plain",
    "text/html",
    "application/pdf",
    "text/xml",
    "application/xml",
    "text/rtf",
    "audio/basic",
    "audio/mpeg",
    "image/png",
    "image/gif",
    "image/jpeg",
    "image/tiff",
    "video/mpeg",
    "application/msword",
    "application/octet-stream",
)
"""Of attachments."""


@dataclass(frozen=True, slots=True)
class RequestBody:
    """What a supplier wants sent."""

    payload: str
    attachments: tuple[Attachment, ...] = ()
    external_attachments: tuple[ExternalReference, ...] = ()


Mistakes = dict[str | int, Any]
"""Lists of texts by member; within arrays by index."""
_Members = dict[str, msgspec.Raw]
_Item = TypeVar("_Item")

_MISSING: Final = "Missing data for required field."
_NULL: Final = "Field may not be null."
_UNKNOWN: Final = "Unknown field."
_NO_TEXT: Final = "Not a valid string."
_NO_BOOLEAN: Final = "Not a valid boolean."
_NO_OBJECT: Final = "Invalid input type."
_NO_ARRAY: Final = "Invalid type."

MOST_TOLD: Final = 1_000
"""Items of an array, and members that nobody knows, of which mistakes are told."""


class _Reference(msgspec.Struct, forbid_unknown_fields=True):
    message_id: str
    description: str
    document_id: str | msgspec.UnsetType = msgspec.UNSET


_ABSENT: Final = msgspec.Raw()


def _first(most: int) -> msgspec.json.Decoder[msgspec.Struct]:
    """Return a reader of the first items of an array, which builds nothing of those after them."""
    items = [(f"item{number}", msgspec.Raw, _ABSENT) for number in range(most)]
    return msgspec.json.Decoder(msgspec.defstruct("_First", items, array_like=True))


_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ATTACHMENTS: Final = _first(MOST_ATTACHMENTS + 1)
_REFERENCES: Final = msgspec.json.Decoder(list[_Reference])
_FIRST_REFERENCES: Final = _first(MOST_TOLD)
_NONE: Final = msgspec.Raw(b"[]")
_TEXT: Final = msgspec.json.Decoder(str)


def read_request_body(body: bytes | bytearray) -> RequestBody:
    """Read a body. Raises: `Refused`: it is not JSON, or not what the table of 50 §1.2 asks for."""
    try:
        return _read(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(NOT_JSON) from None


def check_payload(payload: str) -> None:
    """Check the length of a payload that did not come in JSON. Raises: `Refused`."""
    if told := _payload_length(payload):
        raise Refused(invalid_body({"payload": [told]}))


def _read(body: bytes | bytearray) -> RequestBody:
    members = _members(body)
    if members is None:
        raise Refused(invalid_body({"_schema": [_NO_OBJECT]}))
    mistakes: Mistakes = {}
    payload = _text(members, "payload", mistakes, _payload_length)
    attachments = _items(members, "attachments", mistakes, _ATTACHMENTS, _attachment)
    if len(attachments) > MOST_ATTACHMENTS and "attachments" not in mistakes:
        mistakes["attachments"] = [f"Longer than maximum length {MOST_ATTACHMENTS}."]
    references = _references(members, mistakes)
    _refuse_others(members, {"payload", "attachments", "external_attachments"}, mistakes)
    if mistakes:
        raise Refused(invalid_body(mistakes))
    return RequestBody(payload, tuple(attachments), tuple(references))


def _attachment(members: _Members, mistakes: Mistakes) -> Attachment:
    is_base64 = _boolean(members, "is_base64", mistakes)
    content_type = _text(members, "content_type", mistakes, _allowed_type)
    payload = _text(members, "payload", mistakes, _payload_length)
    description = _text(members, "description", mistakes, _not_empty)
    document_id = _optional_text(members, "document_id", mistakes)
    _refuse_others(members, {"is_base64", "content_type", "payload", "description", "document_id"}, mistakes)
    return Attachment(content_type, payload, is_base64, description, document_id)


def _reference(members: _Members, mistakes: Mistakes) -> ExternalReference:
    message_id = _text(members, "message_id", mistakes)
    description = _text(members, "description", mistakes)
    document_id = _optional_text(members, "document_id", mistakes)
    _refuse_others(members, {"message_id", "description", "document_id"}, mistakes)
    return ExternalReference(message_id, description, document_id)


# --- what a text must be ----------------------------------------------------------------------------------------------


def _payload_length(text: str) -> str | None:
    return None if 1 <= len(text) <= LONGEST else f"Length must be between 1 and {LONGEST}."


def _not_empty(text: str) -> str | None:
    return None if text else "Shorter than minimum length 1."


def _allowed_type(text: str) -> str | None:
    return None if text in CONTENT_TYPES else f"Must be one of: {', '.join(CONTENT_TYPES)}."


def _anything(_text: str) -> None:
    return None


# --- members ----------------------------------------------------------------------------------------------------------


def _members(value: msgspec.Raw | bytes | bytearray) -> _Members | None:
    """Return the members of an object, none of anything else. Raises: `msgspec.DecodeError`: no JSON."""
    try:
        return _OBJECT.decode(value)
    except msgspec.ValidationError:
        msgspec.json.decode(value, type=msgspec.Raw)  # it may be no JSON at all, which only shows further on
        return None


def _literal(value: msgspec.Raw) -> bytes:
    """Return enough of a value to tell ``null``, ``true`` and ``false`` from everything else."""
    return bytes(memoryview(value)[:6])


def _text(members: _Members, name: str, mistakes: Mistakes, check: Callable[[str], str | None] = _anything) -> str:
    """Return a member that must be there and be a text; an empty one after noting what is wrong with it."""
    value = members.get(name)
    if value is None:
        mistakes[name] = [_MISSING]
        return ""
    return _text_of(value, name, mistakes, check)


def _optional_text(members: _Members, name: str, mistakes: Mistakes) -> str | None:
    value = members.get(name)
    return None if value is None else _text_of(value, name, mistakes, _anything)


def _text_of(value: msgspec.Raw, name: str, mistakes: Mistakes, check: Callable[[str], str | None]) -> str:
    if _literal(value) == b"null":
        mistakes[name] = [_NULL]
        return ""
    try:
        text = _TEXT.decode(value)
    except msgspec.ValidationError:
        mistakes[name] = [_NO_TEXT]
        return ""
    if told := check(text):
        mistakes[name] = [told]
    return text


def _boolean(members: _Members, name: str, mistakes: Mistakes) -> bool:
    value = members.get(name)
    if value is None:
        mistakes[name] = [_MISSING]
    elif _literal(value) == b"null":
        mistakes[name] = [_NULL]
    elif _literal(value) == b"true":
        return True
    elif _literal(value) != b"false":
        mistakes[name] = [_NO_BOOLEAN]
    return False


def _items(
    members: _Members,
    name: str,
    mistakes: Mistakes,
    first: msgspec.json.Decoder[msgspec.Struct],
    read: Callable[[_Members, Mistakes], _Item],
) -> list[_Item]:
    """Return the first items of an array, each an object; none of a member that is absent."""
    value = members.get(name)
    if value is None:
        return []
    if _literal(value) == b"null":
        mistakes[name] = [_NULL]
        return []
    try:
        array = msgspec.structs.astuple(first.decode(value))
    except msgspec.ValidationError:
        mistakes[name] = [_NO_ARRAY]
        return []
    items: list[_Item] = []
    faulty: Mistakes = {}
    for index, item in enumerate(array):
        if item is _ABSENT:
            break
        inner = _members(item)
        found: Mistakes = {}
        if inner is None:
            found = {"_schema": [_NO_OBJECT]}
        else:
            items.append(read(inner, found))
        if found:
            faulty[index] = found
    if faulty:
        mistakes[name] = faulty
    return items


def _references(members: _Members, mistakes: Mistakes) -> list[ExternalReference]:
    """Return the references, of which there may be any number."""
    name = "external_attachments"
    try:
        read = _REFERENCES.decode(members.get(name, _NONE))
    except msgspec.ValidationError:
        _items(members, name, mistakes, _FIRST_REFERENCES, _reference)
        # Where the mistake is further on than anybody reads.
        mistakes.setdefault(name, [_NO_ARRAY])
        return []
    return [
        ExternalReference(
            each.message_id, each.description, None if each.document_id is msgspec.UNSET else each.document_id
        )
        for each in read
    ]


def _refuse_others(members: _Members, known: set[str], mistakes: Mistakes) -> None:
    for name in islice((name for name in members if name not in known), MOST_TOLD):
        mistakes[name] = [_UNKNOWN]
