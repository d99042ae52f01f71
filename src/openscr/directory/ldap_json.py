"""LDAP entries as JSON, in the form of the library `ldap3`: ``{"entries": [{"dn": …, "raw": {attribute: [values]}}]}``.

A file of this form is what `ldap3` writes with ``response_to_json(raw=True)`` and what its simulated server loads.
Where an entry has ``raw`` and ``attributes``, ``raw`` counts: the other is `ldap3`'s interpretation of it.

Spec: 00 §6.3, 40 §11.1.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Any

import msgspec

from openscr.directory.ldap_entry import LdapEntry
from openscr.errors import ConfigurationError


def write_ldap_json(entries: Iterable[LdapEntry]) -> bytes:
    """Write entries; `read_ldap_json` gives them back."""
    document = {
        "entries": [
            {"dn": entry.dn, "raw": {name: [_write(each) for each in values] for name, values in _attributes(entry)}}
            for entry in entries
        ]
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def read_ldap_json(data: bytes) -> list[LdapEntry]:
    """Read the entries, in the order of the file. Raises: `ConfigurationError` naming the place as a JSON Pointer."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _fault("", "the file is not JSON in UTF-8, or nested too deeply") from None
    entries = document.get("entries") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise _fault("", "LDAP entries as JSON stand in a list named entries")
    return [_read_entry(entry, f"/entries/{number}") for number, entry in enumerate(entries)]


def _attributes(entry: LdapEntry) -> Iterable[tuple[str, tuple[bytes, ...]]]:
    return entry.attributes.items()


def _write(value: bytes) -> str | dict[str, str]:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"encoding": "base64", "encoded": base64.b64encode(value).decode()}


def _read_entry(entry: Any, place: str) -> LdapEntry:
    if not isinstance(entry, dict) or not isinstance(entry.get("dn"), str):
        raise _fault(place, "an entry is an object with its name in dn")
    members = "raw" if "raw" in entry else "attributes"
    attributes = entry.get(members)
    if not isinstance(attributes, dict):
        raise _fault(f"{place}/{members}", "the attributes are an object")
    pairs = []
    for name, values in attributes.items():
        where = f"{place}/{members}/{name.replace('~', '~0').replace('/', '~1')}"
        pairs.append((name, [_read(each, where) for each in (values if isinstance(values, list) else [values])]))
    return LdapEntry(entry["dn"], pairs, place=f"{place} ({entry['dn']})")


def _read(value: Any, place: str) -> bytes:
    if isinstance(value, dict) and value.get("encoding") == "base64" and isinstance(value.get("encoded"), str):
        try:
            return base64.b64decode(value["encoded"], validate=True)
        except (binascii.Error, ValueError):
            raise _fault(place, "the value is not base64") from None
    if isinstance(value, bool):
        return b"TRUE" if value else b"FALSE"
    if isinstance(value, str | int):
        return str(value).encode("utf-8", "surrogatepass")
    raise _fault(place, "a value is a text, a number or true or false")


def _fault(place: str, text: str) -> ConfigurationError:
    return ConfigurationError(f"directory, {place or 'whole file'}: {text}")
