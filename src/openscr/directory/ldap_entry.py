"""An entry of an LDAP directory: distinguished name and attributes, whose names have no letter case.

Values are bytes, as LDAP has them; text is UTF-8 and read when it is asked for, because a directory holds much (photos,
certificates) that nobody here looks at.

Spec: 40 §11.1.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

Dn = tuple[frozenset[tuple[str, str]], ...]
"""A distinguished name to compare: from the entry up, each level its attributes and values, all in lower case."""

_PART: Final = re.compile(
    r" *(?P<name>[A-Za-z][A-Za-z0-9-]*|[0-9.]+) *= *(?P<value>[^\\,;+]*(?:\\.[^\\,;+]*)*)(?P<end>[,;+]|\Z)", re.DOTALL
)
_ESCAPED: Final = re.compile(rb"\\(?:([0-9A-Fa-f]{2})|(.))", re.DOTALL)


class LdapEntry:
    """One entry. ``place`` says where it stood in its file, for messages only."""

    __slots__ = ("_values", "dn", "place")

    def __init__(self, dn: str, attributes: Iterable[tuple[str, Iterable[bytes]]], place: str = "") -> None:
        self.dn = dn
        self.place = place
        found: dict[str, tuple[str, list[bytes]]] = {}
        for name, values in attributes:
            found.setdefault(name.lower(), (name, []))[1].extend(values)
        self._values = {name: (spelled, tuple(values)) for name, (spelled, values) in found.items()}

    @classmethod
    def of(cls, dn: str, **attributes: str | Iterable[str] | None) -> "LdapEntry":
        """Make an entry of texts; what is none or empty is left out, because LDAP has no empty values."""
        pairs = (
            (name, [value] if isinstance(value, str) else [each for each in value if each])
            for name, value in attributes.items()
            if value
        )
        return cls(dn, ((name, [text.encode() for text in dict.fromkeys(texts)]) for name, texts in pairs if texts))

    @property
    def attributes(self) -> Mapping[str, tuple[bytes, ...]]:
        """The values by attribute name, spelled as they came."""
        return dict(self._values.values())

    def texts(self, name: str) -> tuple[str, ...]:
        """Return the values of an attribute, without empty ones. Raises: `ValueError`."""
        _, values = self._values.get(name.lower(), ("", ()))
        try:
            return tuple(value.decode("utf-8") for value in values if value)
        except UnicodeDecodeError:
            raise ValueError(f"{name} is not UTF-8") from None

    def text(self, name: str) -> str:
        """Return the first value of an attribute, empty when there is none. Raises: `ValueError`."""
        return next(iter(self.texts(name)), "")

    def has_class(self, name: str) -> bool:
        """Whether one of the entry's object classes is this one."""
        _, values = self._values.get("objectclass", ("", ()))
        return name.lower().encode() in {value.lower() for value in values}

    def __eq__(self, other: object) -> bool:
        """Whether both have the same name and values; spelling of attributes and place do not count."""
        if not isinstance(other, LdapEntry):
            return NotImplemented
        mine = {name: values for name, (_, values) in self._values.items()}
        return self.dn == other.dn and mine == {name: values for name, (_, values) in other._values.items()}

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        """Return the distinguished name: values may be about a person."""
        return f"LdapEntry({self.dn!r})"


def write_dn(*levels: tuple[tuple[str, str], ...]) -> str:
    """Write a distinguished name from the entry up; each level is one or more attributes with their values."""
    return ",".join("+".join(f"{name}={_escape(value)}" for name, value in level) for level in levels)


def read_dn(dn: str) -> Dn:
    """Read a distinguished name, to compare it. Raises: `ValueError`."""
    levels: list[set[tuple[str, str]]] = [set()]
    for name, value, separator in _parts(dn):
        levels[-1].add((name.lower(), value.lower()))
        if separator != "+":
            levels.append(set())
    return tuple(frozenset(level) for level in levels[:-1])


def id_in(dn: str, name: str) -> str:
    """Return the value of the lowest level that this attribute names, empty when none is. Raises: `ValueError`."""
    return next((value for part, value, _ in _parts(dn) if part.lower() == name.lower()), "")


def ancestors(dn: str) -> list[str]:
    """Return the names of the entries that an entry stands under, from the nearest. Raises: `ValueError`."""
    return [dn[match.end() :] for match in _matches(dn) if match["end"] in (",", ";")]


def _parts(dn: str) -> list[tuple[str, str, str]]:
    return [(match["name"], _unescape(match["value"]), match["end"]) for match in _matches(dn)]


def _matches(dn: str) -> list[re.Match[str]]:
    """Return attribute, value and what follows, for each part of a distinguished name. Raises: `ValueError`."""
    matches, at = [], 0
    while at <= len(dn):
        match = _PART.match(dn, at)
        if match is None:
            raise ValueError("this is not a distinguished name")
        matches.append(match)
        # Behind a separator comes another part; behind the last part nothing.
        at = match.end() if match["end"] else len(dn) + 1
    return matches


def _escape(value: str) -> str:
    # More than must be: what is neither letter nor digit nor common in ids can mean nothing else that way.
    return "".join(
        each if each.isalnum() or each in "-._:" else "".join(f"\\{byte:02x}" for byte in each.encode())
        for each in value
    )


def _unescape(value: str) -> str:
    def plain(match: re.Match[bytes]) -> bytes:
        digits, letter = match.groups()
        return bytes.fromhex(digits.decode()) if digits else letter

    # Blanks at the end are no part of the value, but for one that is escaped.
    bare = value.rstrip(" ")
    if bare != value and (len(bare) - len(bare.rstrip("\\"))) % 2:
        bare += " "
    return _ESCAPED.sub(plain, bare.encode()).decode("utf-8", "replace")
