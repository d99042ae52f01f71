"""Parts of a message as text.

Spec: 50 F10.
"""

import codecs
import re
from typing import Final

from openscr.errors import MalformedMultipart
from openscr.transport.mime import read_content_type

_CHARSETS: Final = frozenset(
    codecs.lookup(name).name
    for name in (
        *("utf-8", "us-ascii", "utf-16", "utf-16-le", "utf-16-be", "iso-8859-1", "iso-8859-15"),
        *("windows-1250", "windows-1252"),
    )
)
"""Those that messages are written in. Not every codec of Python is safe to run on what a stranger sent."""

_WIDER: Final = {"ascii": "utf-8"}
"""What a charset is read as: who says US-ASCII without thinking, and writes more, has written UTF-8."""

_DECLARED: Final = re.compile(rb"\s*<\?xml\s[^>]*?\sencoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")


def media_type_of(content_type: str) -> str:
    """Return the media type without parameters, in lower case; ``text/plain`` when there is none."""
    return content_type.partition(";")[0].strip().lower() or "text/plain"


def decode(content: bytes, content_type: str) -> str | None:
    """Return the text of a part: by its charset, else by its XML declaration, else UTF-8; none when it is no text."""
    try:
        _, parameters = read_content_type(content_type)
        charset = parameters.get("charset", "")
    except MalformedMultipart:
        charset = ""
    if not charset and (declared := _DECLARED.match(content)) is not None:
        charset = declared.group(1).decode("ascii")
    try:
        name = codecs.lookup(charset or "utf-8").name
        return content.decode(_WIDER.get(name, name)) if name in _CHARSETS else None
    except (LookupError, ValueError):
        return None
