"""Headers of the REST API: their names, and what their values may hold.

Spec: 50 §1.1, F23.
"""

from collections.abc import Mapping
from typing import Final

from openscr.mhs.outbound.refusals import Refused, unsafe_header

INTERACTION_ID: Final = "Interaction-Id"
WAIT: Final = "wait-for-response"
CONTENT_TYPE: Final = "Content-Type"
FROM_ASID: Final = "from-asid"
ODS_CODE: Final = "ods-code"
WORKFLOW: Final = "workflow"
IDEMPOTENCY: Final = "Idempotency"
PREFER: Final = "Prefer"


def is_safe(value: str) -> bool:
    """Whether a value is all printed, so that it may stand in headers, in those of MIME parts and in XML.

    Line ends and other control characters are not, and neither are spaces that do not break and hyphens not seen.
    """
    return value.isprintable()


def header_value(headers: Mapping[str, str], name: str) -> str:
    """Return a header's value, empty when it is absent or may not be told on."""
    value = headers.get(name, "").strip()
    return value if is_safe(value) else ""


def checked_value(headers: Mapping[str, str], name: str) -> str:
    """Return a header's value, empty when it is absent. Raises: `Refused`: it holds what is not printed."""
    value = headers.get(name, "").strip()
    if not is_safe(value):
        raise Refused(unsafe_header(name))
    return value


def media_type(headers: Mapping[str, str]) -> tuple[str, str]:
    """Return the media type of the body and its charset, both in lower case; empty where nothing is said. 50 F7."""
    name, *parameters = headers.get(CONTENT_TYPE, "").split(";")
    charset = ""
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "charset":
            charset = value.strip().strip('"').lower()
    return name.strip().lower(), charset


def prefers_async(headers: Mapping[str, str]) -> bool:
    """Whether the caller would rather not wait for a reliable message's attempts. Spec: 50 F11; RFC 7240 §4.1."""
    wishes = headers.get(PREFER, "").split(",")
    return any(wish.partition(";")[0].strip().lower() == "respond-async" for wish in wishes)
