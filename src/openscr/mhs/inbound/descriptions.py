"""What the description of a manifest entry says of a file, such as ``Filename="a b.txt" ContentType=text/plain``.

Spec: 40 §6.6; 50 §3.1.
"""

import re
from collections.abc import Iterator
from typing import Final

_WORD: Final = re.compile(r'(?:"[^"]*+(?:"|\Z)|[^ "]++)++')
_FILE_NAME: Final = "Filename"


def words_of(description: str) -> Iterator[str]:
    """Give the words between blanks; a blank within quotation marks parts nothing. Backslashes are left out."""
    return (found.group() for found in _WORD.finditer(description.replace("\\", "")))


def file_name_of(description: str) -> str | None:
    """Return the value of ``Filename=`` without its quotation marks, none when it is not there.

    Everything behind the first ``=`` is the name: it may hold more of them.
    """
    for word in words_of(description):
        name, equals, value = word.partition("=")
        if equals and name == _FILE_NAME:
            return value.replace('"', "")
    return None
