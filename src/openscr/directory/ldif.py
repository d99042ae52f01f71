"""LDIF, the text form of LDAP entries: content records read strictly and written.

What `ldapsearch` prints around its entries (comments, the lines ``search:`` and ``result:``) is passed over. Records
that change something, other than by adding an entry, and values that stand in other files are refused.

Spec: 40 §11.1; RFC 2849.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from typing import Final

from openscr.directory.ldap_entry import LdapEntry
from openscr.errors import ConfigurationError

WIDTH: Final = 76
"""Characters of a line that is written; what is longer continues in the next."""

_Line = tuple[int, bytes]
_ATTRIBUTE = re.compile(rb"([A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*)((?:;[A-Za-z0-9-]+)*):(:|<|) *(.*)\Z", re.DOTALL)
_PLAIN = re.compile(rb"(?![ :<])[ -~]+(?<! )\Z")
_REPORTS: Final = (b"search:", b"result:", b"ref:", b"text:", b"numresponses:", b"numentries:")


def read_ldif(data: bytes) -> list[LdapEntry]:
    """Read the entries of an LDIF file, in its order. Raises: `ConfigurationError` naming the line."""
    return [entry for record in _records(data) if (entry := _read_record(record)) is not None]


def write_ldif(entries: Iterable[LdapEntry]) -> bytes:
    """Write entries as LDIF; `read_ldif` gives them back."""
    records = []
    for entry in entries:
        lines = [_line("dn", entry.dn.encode())]
        lines += [_line(name, value) for name, values in entry.attributes.items() for value in values]
        records.append(b"".join(lines))
    # Without the line "version: 1": OpenLDAP's slapadd does not know it, and everybody reads LDIF without it.
    return b"\n".join(records)


def _line(name: str, value: bytes) -> bytes:
    line = name.encode() + (b": " + value if _PLAIN.match(value) else b":: " + base64.b64encode(value))
    first, rest = line[:WIDTH], line[WIDTH:]
    folded = [b" " + rest[at : at + WIDTH - 1] for at in range(0, len(rest), WIDTH - 1)]
    return b"\n".join([first, *folded]) + b"\n"


def _records(data: bytes) -> Iterator[list[_Line]]:
    """Give the records: lines unfolded, with the number of their first line, without comments."""
    record: list[_Line] = []
    for number, line in _unfolded(data.removeprefix(b"\xef\xbb\xbf")):
        if not line:
            if record:
                yield record
            record = []
        elif not line.startswith(b"#"):
            record.append((number, line))
    if record:
        yield record


def _unfolded(data: bytes) -> Iterator[_Line]:
    number, parts = 0, [b""]
    started = False
    for at, raw in enumerate(data.split(b"\n"), start=1):
        line = raw.removesuffix(b"\r")
        if line.startswith(b" "):
            if not started or not parts[0]:
                raise _fault(at, "a line that begins with a blank continues the one before it, and there is none")
            parts.append(line[1:])
            continue
        if started:
            yield number, b"".join(parts)
        number, parts, started = at, [line], True
    yield number, b"".join(parts)


def _read_record(lines: list[_Line]) -> LdapEntry | None:
    number, first = lines[0]
    if first.lower().startswith(b"version:"):
        if first.partition(b":")[2].strip() != b"1":
            raise _fault(number, "this is not LDIF of version 1")
        lines = lines[1:]
        if not lines:
            return None
        number, first = lines[0]
    if first.lower().startswith(_REPORTS):
        return None
    name, value = _read_line(number, first)
    if name.lower() != "dn":
        raise _fault(number, "an entry begins with dn:")
    try:
        dn = value.decode("utf-8")
    except UnicodeDecodeError:
        raise _fault(number, "the name of the entry is not UTF-8") from None
    attributes = [_read_line(at, line) for at, line in lines[1:]]
    for (at, _), (name, value) in zip(lines[1:], attributes, strict=True):
        if name.lower() == "dn":
            raise _fault(at, "an empty line stands between two entries")
        if name.lower() == "control" or (name.lower() == "changetype" and value.lower() != b"add"):
            raise _fault(at, "this changes a directory; only entries can be read")
    kept = [(name, [value]) for name, value in attributes if name.lower() != "changetype"]
    return LdapEntry(dn, kept, place=f"line {number} ({dn})")


def _read_line(number: int, line: bytes) -> tuple[str, bytes]:
    match = _ATTRIBUTE.match(line)
    if match is None:
        raise _fault(number, "a line is an attribute, a colon and a value")
    base, options, form, value = match.groups()
    if form == b"<":
        raise _fault(number, "a value that stands in another file is not read")
    if form == b":":
        try:
            value = base64.b64decode(value, validate=True)
        except binascii.Error:
            raise _fault(number, "the value is not base64") from None
    elif b"\0" in value:
        raise _fault(number, "the value holds a NUL")
    return (base + options).decode(), value


def _fault(number: int, text: str) -> ConfigurationError:
    return ConfigurationError(f"directory, line {number}: {text}")
