"""The clinical document inside a stored message: found by position, never copied or changed.

Spec: 10 §15 step 12; 20 §7.2; 90 §5.
"""

from base64 import b64decode

from openscr.errors import StoreError
from openscr.spine import splice_document
from openscr.store.interface import EventRow


def read_payload(body: bytes, offset: int, length: int, encoding: str) -> bytes:
    """Return the HL7 payload of a message body, decoded. Raises: `StoreError` when it is not where it should be."""
    part = body[offset : offset + length]
    if len(part) != length or offset < 0:
        raise StoreError("the payload lies outside its message")
    if not encoding:
        return part
    if encoding != "base64":
        raise StoreError("the payload has a content transfer encoding that is not known")
    try:
        return b64decode(part)
    except ValueError as error:
        raise StoreError("the payload is not the base64 that it claims to be") from error


def cut_document(payload: bytes, event: EventRow) -> bytes:
    """Return an event's document, self-contained. Raises: `StoreError` when it is not where it should be."""
    offset, length = event.document_offset, event.document_length
    element = payload[offset : offset + length]
    if len(element) != length or offset < 0 or not element.startswith(b"<"):
        raise StoreError("the document lies outside its message")
    return splice_document(element, event.name_length, event.declarations)
