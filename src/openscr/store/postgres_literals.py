"""Values as PostgreSQL reads them in the text of a statement.

Only for ``EXECUTE name (…)`` of statements that are prepared already: so the statements of a transaction travel
together, and still each value is a parameter of one of them. The server must have ``standard_conforming_strings`` on,
which `openscr.store.postgres_connection` sees to: a quote is then the only character with a meaning in a string.

Spec: engine.md "parameters".
"""

import re
from typing import Final

from openscr.errors import StoreError
from openscr.store.rows import refused_text

_HALF: Final = re.compile("[\ud800-\udfff]")

Value = str | int | float | bytes | None


def literal(value: Value) -> str:
    """Return one value as the engine reads it. Raises: `StoreError` when it cannot be kept."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        # The text of a statement ends there.
        if "\0" in value:
            raise StoreError("the database cannot keep one of the values: a text with the character NUL")
        # Before anything of the transaction is sent: an error while it is being committed says nothing about it.
        if not value.isascii() and _HALF.search(value):
            raise refused_text()
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, bytes):
        return f"'\\x{value.hex()}'"
    # Read as the very type that is wanted, whatever its width.
    return f"'{value!r}'" if isinstance(value, float) else f"'{value:d}'"


def execution(name: str, values: tuple[Value, ...]) -> str:
    """Return the statement that runs a prepared one with these values. Raises: `StoreError`."""
    return f"EXECUTE {name}({','.join(map(literal, values))})"
