"""Values that entries are made of: times, coded terms, quantities, names, addresses.

They are plain: no XML, no clock. Text is kept as it was written; only times are normalised, to the digits of HL7.

Spec: 00 §6.2, 10 §6.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Self

from openscr.codes import OID_SNOMED
from openscr.identifiers import LONDON

_HL7_TIME = re.compile(r"(?:[0-9]{1,8}|(?:[0-9]{9,14}|[0-9]{14}\.[0-9]+)(?:[+-][0-9]{1,4})?)\Z")
_ISO_TIME = re.compile(
    r"(?P<date>[0-9]{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12][0-9]|3[01]))?)?)"
    r"(?:T(?P<time>(?:[01][0-9]|2[0-3])(?::[0-5][0-9](?::[0-5][0-9](?P<fraction>\.[0-9]+)?)?)?)"
    r"(?P<zone>Z|[+-][0-9]{2}:[0-9]{2})?)?\Z"
)
_MONTHS: Final = ("", "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Time(str):
    """A point in time of any precision, as the digits that HL7 writes: ``2021``, ``20210312``, ``20211111103045+0000``.

    Made from those digits, from ISO 8601 (``2021-03-12``), a date or a datetime. Without a zone it is UK local time;
    a zone that is given is kept.

    Raises: ValueError for any other text.

    Spec: 00 §6.2 "time", 10 §6.
    """

    __slots__ = ()

    def __new__(cls, moment: "str | date | datetime") -> Self:
        """Return the time; see the class."""
        return super().__new__(cls, _digits(moment))

    @property
    def iso(self) -> str:
        """The time in ISO 8601 as far as that can say it, else its digits. Spec: 00 §6.2."""
        found = re.match(r"([0-9]+)(?:([+-])([0-9]{2})([0-9]{2}))?\Z", self)
        if found is None:
            return str(self)
        digits, zone = found[1], f"{found[2]}{found[3]}:{found[4]}" if found[2] else ""
        day = "-".join(part for part in (digits[:4], digits[4:6], digits[6:8]) if part)
        clock = ":".join(part for part in (digits[8:10], digits[10:12], digits[12:]) if part)
        written = f"{day}T{clock}" if clock else day
        written += "Z" if zone == "+00:00" and clock else zone
        try:
            return written if _digits(written) == self else str(self)
        except ValueError:
            return str(self)

    @property
    def printed(self) -> str:
        """The time as a summary prints it: ``12-Mar-2021``, ``Mar-2021``, ``2021``, ``11-Nov-2025 10:30``. 10 §9.1."""
        digits = _in_local_time(self)[:12]
        month = _MONTHS[int(digits[4:6])] if len(digits) >= 6 and digits[4:6] <= "12" else ""
        if not month:
            return digits[:4]
        day = f"{digits[6:8]}-" if len(digits) >= 8 and digits[6:8] != "00" else ""
        clock = f" {digits[8:10]}:{digits[10:12]}" if len(digits) == 12 else ""
        return f"{day}{month}-{digits[:4]}{clock}"


NO_TIME: Final = str.__new__(Time, "")
"""Stands for the time that a message should have had. A reader may return it; nothing writes it."""


def _digits(moment: "str | date | datetime") -> str:
    if isinstance(moment, Time):
        return str(moment)
    if isinstance(moment, datetime):
        fraction = f"{moment:.%f}".rstrip("0") if moment.microsecond else ""
        return moment.strftime("%Y%m%d%H%M%S") + fraction + moment.strftime("%z")[:5]
    if isinstance(moment, date):
        return moment.strftime("%Y%m%d")
    if _HL7_TIME.match(moment):
        return moment
    found = _ISO_TIME.match(moment)
    if found is None:
        raise ValueError("not a time: write it like 2021-03-12, 2025-11-11T10:30:45 or 20210312")
    if len(found["date"]) == 10:
        try:
            date.fromisoformat(found["date"])
        except ValueError:
            raise ValueError("not a time: there is no such day") from None
    zone = found["zone"] or ""
    zone = "+0000" if zone == "Z" else zone.replace(":", "")
    return f"{found['date']}{found['time'] or ''}".replace("-", "").replace(":", "") + zone


def _in_local_time(time: Time) -> str:
    """Return the digits of a time in UK local time; those that have no zone are that already."""
    found = re.match(r"([0-9]{12})([0-9]{0,2})[.0-9]*([+-][0-9]{4})\Z", time)
    if found is None:
        return re.split(r"[+-]", time)[0]
    try:
        moment = datetime.strptime(f"{found[1]}{found[3]}", "%Y%m%d%H%M%z")
    except ValueError:
        return found[1]
    return moment.astimezone(LONDON).strftime("%Y%m%d%H%M")


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A stretch of time: from ``low``, until ``high``, around ``center``, of ``width``, in one of the shapes of HL7.

    Spec: 10 §6 IVL_TS.
    """

    low: Time | None = None
    high: Time | None = None
    center: Time | None = None
    width: "Quantity | None" = None

    @property
    def shape_is_known(self) -> bool:
        """Whether the parts that are there make one of the shapes that HL7 has."""
        there = frozenset(name for name in ("low", "high", "center", "width") if getattr(self, name) is not None)
        return there in _SHAPES


_SHAPES: Final = frozenset(
    frozenset(shape.split()) for shape in ("low", "low width", "low high", "high", "width", "width high", "center",
                                           "center width")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Quantity:
    """An amount: ``value`` in the digits that were written, its ``unit`` (UCUM; ``1`` for things that are counted).

    ``text`` is the wording of the pack: ``capsule``. Spec: 10 §6 PQ.
    """

    value: str
    unit: str = "1"
    text: str | None = None

    @property
    def printed(self) -> str:
        """The amount as a summary prints it: ``28 tablet``, ``2.1 mIU/L``."""
        return " ".join(part for part in (self.value, self.unit if self.unit != "1" else "", self.text) if part)


@dataclass(frozen=True, slots=True)
class Coded:
    """A coded term: SNOMED CT unless ``system`` (an OID) says otherwise; ``display`` is what a reader sees.

    Spec: 10 §6 CD, CE, CV.
    """

    code: str
    display: str | None = None
    system: str = OID_SNOMED
    system_name: str | None = None
    system_version: str | None = None
    original_text: str | None = None
    qualifiers: "tuple[Qualifier, ...]" = ()
    groups: "tuple[tuple[Qualifier, ...], ...]" = ()
    translations: "tuple[Coded, ...]" = ()

    @property
    def printed(self) -> str:
        """The words for the term: what the author wrote, else the term, else the code itself."""
        return self.original_text or self.display or self.code


@dataclass(frozen=True, slots=True)
class Qualifier:
    """What refines a coded term: a term of its own, or ``name`` with its ``value`` (severity, causative agent).

    Spec: 10 §6 CR.
    """

    code: str = ""
    display: str | None = None
    system: str = OID_SNOMED
    system_name: str | None = None
    system_version: str | None = None
    original_text: str | None = None
    qualifiers: "tuple[Qualifier, ...]" = ()
    groups: "tuple[tuple[Qualifier, ...], ...]" = ()
    translations: tuple[Coded, ...] = ()
    name: Coded | None = None
    value: Coded | None = None
    inverted: bool | None = None

    @property
    def printed_name(self) -> str:
        """What is qualified: ``Severity``."""
        return self.name.printed if self.name else self.original_text or self.display or self.code

    @property
    def printed(self) -> str:
        """The qualifier in words: its value, with what it is the value of."""
        return f"{self.printed_name}: {self.value.printed}" if self.value else self.printed_name


@dataclass(frozen=True, slots=True)
class Range:
    """An interval of amounts, such as the normal range of a result. Spec: 10 §6 IVL_PQ."""

    low: Quantity | None = None
    high: Quantity | None = None

    @property
    def printed(self) -> str:
        """The range as a summary prints it: ``0.4 - 4.5 mIU/L``."""
        if self.low and self.high:
            low = self.low.value if self.low.unit == self.high.unit else self.low.printed
            return f"{low} - {self.high.printed}"
        return f"at least {self.low.printed}" if self.low else f"at most {self.high.printed}" if self.high else ""


VALUE_TYPES: Final = ("PQ", "CD", "CE", "CV", "ST", "INT", "REAL", "BL", "TS", "IVL_PQ")
"""The HL7 data types that a typed value may have. Spec: 00 §6.2 "typed value"."""


@dataclass(frozen=True, slots=True)
class Value:
    """What was found, with its HL7 data type: an amount (PQ), a term (CD, CE, CV), a text (ST), a number, a time.

    ``type`` may be left out where the content tells it. Raises: ValueError when content and type do not fit.
    Spec: 00 §6.2 "typed value".
    """

    content: Quantity | Coded | Range | Time | str
    type: str = ""

    def __post_init__(self) -> None:
        """Find the data type, or check the one given."""
        possible = next(types for kind, types in _TYPES_OF.items() if isinstance(self.content, kind))
        if self.type and self.type not in possible:
            raise ValueError(f"a value of type {self.type} cannot hold this content")
        object.__setattr__(self, "type", self.type or possible[0])

    @property
    def printed(self) -> str:
        """The value as a summary prints it."""
        return self.content if isinstance(self.content, str) and self.type != "TS" else self.content.printed  # type: ignore[union-attr]


_TYPES_OF: Final[dict[type, tuple[str, ...]]] = {
    Quantity: ("PQ",),
    Coded: ("CD", "CE", "CV"),
    Range: ("IVL_PQ",),
    Time: ("TS",),
    str: ("ST", "INT", "REAL", "BL"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """A name of a person or an organisation: in parts (each one string or several), or as ``text`` alone.

    ``use`` as HL7 codes it (``L``).

    Spec: 10 §6 PN, ON.
    """

    prefix: str | tuple[str, ...] = ()
    given: str | tuple[str, ...] = ()
    family: str | tuple[str, ...] = ()
    suffix: str | tuple[str, ...] = ()
    text: str | None = None
    use: str | None = None

    def __post_init__(self) -> None:
        """Make sure that nothing is said twice. Raises: ValueError."""
        if self.text is not None and self.parts:
            raise ValueError("a name has parts or a text, not both")

    @property
    def printed(self) -> str:
        """The name in one line."""
        if self.text is not None:
            return " ".join(self.text.split())
        parts = ((part,) if isinstance(part, str) else part for part in self.parts.values())
        return " ".join(word for part in parts for word in part)

    @property
    def parts(self) -> "dict[str, str | tuple[str, ...]]":
        """The parts that are there, in the order in which they are written."""
        names = ("prefix", "given", "family", "suffix")
        return {name: part for name in names if (part := getattr(self, name))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A postal address: lines, city and postcode, or ``text`` alone. ``use`` as HL7 codes it (``WP``). 10 §6 AD."""

    lines: tuple[str, ...] = ()
    city: str | None = None
    postcode: str | None = None
    text: str | None = None
    use: str | None = None

    def __post_init__(self) -> None:
        """Make sure that nothing is said twice. Raises: ValueError."""
        if self.text is not None and (self.lines or self.city or self.postcode):
            raise ValueError("an address has lines or a text, not both")

    @property
    def printed(self) -> str:
        """The address in one line."""
        if self.text is not None:
            return " ".join(self.text.split())
        return ", ".join(part for part in (*self.lines, self.city, self.postcode) if part)


@dataclass(frozen=True, slots=True)
class Telecom:
    """A telephone number or another address of that kind, as a URL: ``tel:01000000000``. Spec: 10 §6 TEL."""

    value: str
    use: str | None = None


@dataclass(frozen=True, slots=True)
class Identifier:
    """An identifier: ``root`` is an OID or UUID, ``extension`` the id within it. Spec: 10 §6 II."""

    root: str | None = None
    extension: str | None = None
