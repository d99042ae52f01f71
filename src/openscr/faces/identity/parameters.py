"""Parameters of a request: each at most once, of bounded length, without control characters.

Spec: RFC 6749 §3.1, §3.2.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from openscr.faces.identity.refusals import FORM, OAuthRefusal, invalid_request, wrong_media_type

LARGEST_BODY: Final = 65_536
LONGEST_QUERY: Final = 16_384
_MOST: Final = 64

Parameters = Mapping[str, str]


def read_parameters(text: str) -> Parameters:
    """Read URL-encoded parameters; one that is empty counts as not given.

    Raises: `OAuthRefusal` for what is doubled, not UTF-8, or holds control characters.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MOST)
    except ValueError:
        raise invalid_request("The parameters cannot be read") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        # The name may be anything: it is not repeated.
        if name in found:
            raise invalid_request("A parameter is given twice")
        if any(ord(character) < 32 or ord(character) == 127 for character in name + value):
            raise invalid_request("A parameter holds control characters")
        found[name] = value
    return MappingProxyType({name: value for name, value in found.items() if value})


def query_of(request: Request) -> Parameters:
    """Read the query of a request. Raises: `OAuthRefusal`."""
    query = request.scope["query_string"]
    if len(query) > LONGEST_QUERY:
        raise OAuthRefusal(414, "invalid_request", "The address is too long")
    return read_parameters(query.decode("latin-1"))


async def form_of(request: Request) -> Parameters:
    """Read the form that a request posts. Raises: `OAuthRefusal`. Spec: 35 §4.3."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise wrong_media_type()
    body = await body_of(request)
    try:
        return read_parameters(body.decode("ascii"))
    except UnicodeDecodeError:
        raise invalid_request("The parameters cannot be read") from None


async def body_of(request: Request) -> bytes:
    """Read a body within its limit. Raises: `OAuthRefusal`."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise OAuthRefusal(413, "invalid_request", f"A body has at most {LARGEST_BODY} bytes")
    return bytes(body)
