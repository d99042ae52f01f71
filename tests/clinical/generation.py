"""Summaries of every shape that the model can hold, from a source of random numbers: never plausible, always valid.

What a field may hold follows from its type in the model; where the schemas allow less (code lists, ids, patterns) the
tables below say so by the name of the field.
"""

import uuid
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from openscr import clinical
from openscr.clinical.entries import ENTRY_TYPES, Entry, Medication
from openscr.clinical.headings import HEADINGS, MEDICATION_LISTS
from openscr.clinical.participants import Participant
from openscr.clinical.values import Coded, Identifier, Interval, Name, Qualifier, Quantity, Time, Value
from openscr.codes import (
    INITIAL_UPLOAD,
    OID_INTERPRETATION,
    OID_JOB_ROLE_NAME,
    OID_ORGANISATION_ROLE_NAME,
    OID_RELATIONSHIP,
)
from openscr.hl7.datatypes import INTERVAL
from openscr.hl7.entry_shapes import ENTRY_SHAPES
from openscr.hl7.shapes import Choice, Content, Leaf, Sub, Within

NUMBERS = ("9990000018", "9990000026", "9990012318", "9990012326")
WORDS = (
    "fish & chips",
    "<b>not markup</b>",
    "Überweisung",
    'she said "no"',
    "50 µg",
    "one\ttwo",
    "last\nline",
    "日本",
    "x",
)
MOODS = ("EVN", "PRMS", "PRP", "APT", "ARQ", "RQO", "SLOT")
LISTED = {
    "job_role": [
        Coded(code, display, OID_JOB_ROLE_NAME)
        for code, display in (("NR0260", "General Medical Practitioner"), ("NR0620", "Staff Nurse"))
    ],
    "role": [
        Coded("PHARM", "Pharmacy", OID_ORGANISATION_ROLE_NAME),
        Coded("HOSP", "Hospital", OID_ORGANISATION_ROLE_NAME),
    ],
    "relationship": [Coded("21", "Self", OID_RELATIONSHIP), Coded("12", "Mother", OID_RELATIONSHIP)],
    "interpretation": [
        Coded("HI", "Above high reference limit", OID_INTERPRETATION),
        Coded("LO", "Below low reference limit", OID_INTERPRETATION),
    ],
    "organisation_type": ["001", "008", "999"],
    "mood": MOODS,
    "mode": ["PHYSICAL", "PHONE", "VERBAL"],
    "type_code": ["ATND", "CON"],
    "determiner": ["INSTANCE", "KIND", "QUANTIFIED_KIND"],
    "ods": ["A12345", "123456789012"],
    "use": [None],
}
NARROW = {"service_location", "material"}
"""Coded fields whose type takes no qualifiers or translations."""


class Generator:
    """Makes one summary after the other from ``random``."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.minted = 0
        self.pool: list[str] = []

    # --- values -----------------------------------------------------------------------------------------------------

    def uuid(self) -> str:
        self.minted += 1
        return str(uuid.UUID(int=self.random.getrandbits(96) << 32 | self.minted)).upper()

    def maybe(self, make: Callable[[], Any], chance: float = 0.4) -> Any:
        return make() if self.random.random() < chance else None

    def words(self) -> str:
        return " ".join(self.random.choices(WORDS, k=self.random.randint(1, 3)))

    def digits(self, count: int) -> str:
        return "".join(self.random.choices("0123456789", k=count))

    def time(self) -> Time:
        moment = datetime(1930, 1, 1, tzinfo=UTC) + timedelta(minutes=self.random.randrange(50_000_000))
        written = moment.strftime("%Y%m%d%H%M%S")[: self.random.choice((4, 6, 8, 8, 8, 10, 12, 14))]
        zone = self.random.choice(("", "", "+0000", "-0130")) if len(written) > 8 else ""
        return Time(written + zone)

    def interval(self) -> Interval:
        low, high, width = self.time(), self.time(), self.quantity()
        return self.random.choice(
            (
                Interval(low=low),
                Interval(low=low, high=high),
                Interval(low=low, width=width),
                Interval(high=high),
                Interval(width=width),
                Interval(width=width, high=high),
                Interval(center=low),
                Interval(center=low, width=width),
            )
        )

    def number(self) -> str:
        return self.random.choice(("1", "28", "0.50", "-3", "120.0"))

    def quantity(self) -> Quantity:
        return Quantity(self.number(), self.random.choice(("1", "mg", "mm[Hg]")), self.maybe(self.words))

    def plain_code(self) -> Coded:
        return Coded(self.digits(9), self.maybe(self.words), original_text=self.maybe(self.words))

    def coded(self, depth: int = 2, *, qualified: bool = True) -> Coded:
        inner = depth > 0 and self.random.random() < 0.3
        return Coded(
            self.digits(9),
            self.maybe(self.words, 0.8),
            system_name=self.maybe(lambda: "SNOMED CT", 0.1),
            system_version=self.maybe(lambda: "20250401", 0.1),
            original_text=self.maybe(self.words, 0.2),
            qualifiers=self.qualifiers(depth) if inner and qualified else (),
            groups=(self.qualifiers(depth),) if inner and qualified and self.random.random() < 0.2 else (),
            translations=tuple(self.coded(depth - 1) for _ in range(self.random.randint(0, 2))) if inner else (),
        )

    def qualifiers(self, depth: int) -> tuple[Qualifier, ...]:
        return tuple(self.qualifier(depth - 1) for _ in range(self.random.randint(1, 2)))

    def qualifier(self, depth: int) -> Qualifier:
        value = self.maybe(lambda: self.coded(depth), 0.8)
        inverted = self.maybe(lambda: self.random.random() < 0.5, 0.2)
        if self.random.random() < 0.3:
            return Qualifier(name=self.plain_code(), value=value, inverted=inverted)
        return Qualifier(self.digits(9), self.maybe(self.words), value=value, inverted=inverted)

    def value(self) -> Value:
        return self.random.choice(
            (
                lambda: Value(self.quantity()),
                lambda: Value(self.coded()),
                lambda: Value(self.coded(qualified=False), "CE"),
                lambda: Value(self.plain_code(), "CV"),
                lambda: Value(self.words()),
                lambda: Value(str(self.random.randint(-5, 500)), "INT"),
                lambda: Value(self.number(), "REAL"),
                lambda: Value(self.random.choice(("true", "false")), "BL"),
                lambda: Value(self.time()),
            )
        )()

    def name(self, *, organisation: bool = False) -> Name:
        if organisation or self.random.random() < 0.3:
            return Name(text=self.words(), use=self.maybe(lambda: "L"))
        given = self.random.choice((self.words(), (self.words(), self.words())))
        return Name(prefix=self.random.choice(((), "Dr")), given=given, family=self.words())

    def address(self) -> clinical.Address:
        if self.random.random() < 0.3:
            return clinical.Address(text=self.words(), use="WP")
        lines = tuple(self.words() for _ in range(self.random.randint(1, 3)))
        return clinical.Address(lines=lines, city=self.maybe(self.words), postcode=self.maybe(lambda: "TE1 1ST"))

    # --- by the types of the model ----------------------------------------------------------------------------------

    def made(self, of: type, **preset: Any) -> Any:
        hints = get_type_hints(of)
        if of in (clinical.DeviceDetails, clinical.DeviceOrganisation):
            if self.random.random() < 0.5:
                return of(sds_id=self.digits(12))
            preset["sds_id"] = None
        found = dict(preset)
        for each in fields(of):
            if each.name not in preset:
                required = each.default is MISSING or bool(each.metadata.get("required"))
                value = self.field(of, each.name, hints[each.name], required=required)
                if value is not None:
                    found[each.name] = value
        return of(**found)

    def field(self, of: type, name: str, hint: Any, *, required: bool) -> Any:
        if name in ("problem", "linked_problem"):
            return self.random.choice(self.pool)
        if name == "id" and Identifier not in (hint, *get_args(hint)):
            return self.uuid()
        if of is clinical.Organisation and name in ("represented",):
            return None
        if not required and self.random.random() < 0.6:
            return None
        if name == "status":
            return self.random.choice(STATUSES[of])
        if name in LISTED:
            return self.random.choice(LISTED[name])
        if name in ("role_profile_id", "user_id", "sds_id"):
            return self.digits(12)
        if name == "findings":
            return tuple(self.random.choices(self.pool, k=self.random.randint(0, 2)))
        possible = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        kinds = [kind for kind in possible if kind not in (NoneType, Entry)]
        if get_origin(kinds[0]) is tuple:
            count = self.random.randint(1 if required else 0, 2)
            return tuple(self.single(get_args(kinds[0])[0], of, name) for _ in range(count))
        return self.single(self.random.choice(kinds), of, name)

    def single(self, kind: Any, of: type, name: str) -> Any:
        if get_origin(kind) in (Union, UnionType):
            kind = self.random.choice([each for each in get_args(kind) if each is not Entry])
        simple: dict[Any, Callable[[], Any]] = {
            Time: self.time,
            Interval: self.interval,
            Quantity: self.quantity,
            Value: self.value,
            clinical.Address: self.address,
            clinical.Telecom: lambda: clinical.Telecom("tel:01632960000", self.maybe(lambda: "WP")),
            Identifier: lambda: Identifier("1.2.3.4", self.digits(5)),
            int: lambda: self.random.randint(0, 99),
        }
        if kind in simple:
            return simple[kind]()
        if kind is str:
            return self.digits(3) if name == "code" else self.words()
        if kind is Name:
            return self.name(organisation=of not in (clinical.SdsPerson, clinical.Person, clinical.NonAgent,
                                                     clinical.RepresentedPerson))  # fmt: skip
        if kind is Coded:
            narrow = name in NARROW or of in (clinical.Device, clinical.Place)
            whole = not issubclass(of, Medication) or name != "product"
            return self.plain_code() if narrow else self.coded(qualified=whole and of is not clinical.Material)
        if kind is clinical.Reference:
            return self.reference(of, name)
        if issubclass(kind, Participant):
            return self.participant(kind, of, name)
        assert is_dataclass(kind), kind
        return self.made(kind)

    def participant(self, kind: type, of: type, name: str) -> Any:
        """Return a participant with the time, mode and type that this participation has."""
        time, mode, type_code = PARTICIPATIONS.get((of, name), (None, False, False))
        preset = {
            "time": None
            if time is None
            else self.random.choice((self.time, self.interval))()
            if time is INTERVAL
            else self.time(),
            "mode": self.maybe(lambda: self.random.choice(LISTED["mode"])) if mode else None,
            "type_code": self.random.choice(LISTED["type_code"]) if type_code else None,
        }
        if kind is clinical.SdsPerson:
            preset["job_role"] = None
        if kind is clinical.Organisation and name in ("organisation", "represented"):
            preset |= {"role": None, "telecom": (), "own_address": None, "represented": None}
        return self.made(kind, **preset)

    def reference(self, of: type, name: str) -> clinical.Reference:
        kind = self.random.choice(KINDS_OF[of, name])
        mood = self.random.choice(MOODS) if kind in WITH_MOOD else "EVN"
        return clinical.Reference(kind, self.random.choice(self.pool), mood)

    # --- participants and entries -----------------------------------------------------------------------------------

    def summary(self, *, types: list[type[Entry]] | None = None) -> clinical.Summary:
        """Return a summary with some entries of any type, or with one of each of ``types``."""
        event = self.uuid()
        created = Time(datetime(2025, 11, 11, 10, 30, 45, tzinfo=UTC))
        common: dict[str, Any] = {
            "patient": clinical.Patient(self.random.choice(NUMBERS)),
            "event_id": event,
            "message_id": event,
            "created": created,
            "status": self.random.choice(("active", "active", "nullified")),
        }
        if types is None and self.random.random() < 0.05:
            author = self.made(
                self.random.choice((clinical.SdsOrganisation, clinical.Organisation)), **NO_ROLE, time=created
            )
            return clinical.Summary(**common, interaction=INITIAL_UPLOAD, author=author)
        kind = self.random.choice((clinical.SdsPerson, clinical.Person))
        author = self.made(
            kind, **NO_ROLE, time=self.time(), **({"job_role": "R8000"} if kind is clinical.SdsPerson else {})
        )
        others = [of for of in ENTRY_TYPES.values() if of is not clinical.Refusal]
        # A refusal stands alone.
        alone = [clinical.Refusal] if self.random.random() < 0.05 else []
        chosen = types or alone or self.random.choices(others, k=self.random.randint(1, 12))
        self.pool = [self.uuid() for _ in chosen]
        under: dict[str, Any] = {}
        medications: dict[str, Any] = {}
        for of, entry_id in zip(chosen, self.pool, strict=True):
            entry = self.made(of, id=entry_id)
            member = _heading_of(of, self.random)
            if of.__name__ in MEDICATION_LISTS.values():
                held = next(name for name, each in MEDICATION_LISTS.items() if each == of.__name__)
                medications[held] = (*medications.get(held, ()), entry)
            else:
                under[member] = (*under.get(member, ()), entry)
        if medications:
            under["medications"] = clinical.Medications(**medications)
        replaces = self.maybe(self.uuid)
        return clinical.Summary(**common, author=author, replaces=replaces, **under)


NO_ROLE = {"mode": None, "type_code": None}


def _heading_of(of: type, random: Random) -> str:
    usual = [heading.member for heading in HEADINGS if heading.default_type == of.__name__]
    others = [heading.member for heading in HEADINGS if heading.member != "medications"]
    return random.choice(usual or others)


def _walk(content: Content, of: type) -> None:
    """Collect from the shapes what an entry's status may be, and what its pointers may mean."""
    for node in content.nodes:
        match node:
            case Leaf(member="status", datatype=datatype):
                STATUSES[of] = sorted(datatype.values)  # type: ignore[attr-defined]
            case Within(content=inside):
                _walk(inside, of)
            case Sub(member=member, shape=shape):
                leaves = {leaf.member: leaf.datatype for leaf in shape.content.nodes if isinstance(leaf, Leaf)}
                bound = "type_code" in shape.bound.values()
                PARTICIPATIONS[of, member] = (leaves.get("time"), "mode" in leaves, bound)
                for inner in shape.content.nodes:
                    if isinstance(inner, Choice) and inner.alternatives[0].of is clinical.Reference:
                        KINDS_OF[of, member] = sorted(each.name for each in inner.alternatives)
                        WITH_MOOD.update(each.name for each in inner.alternatives if each.bound)
                if shape.of is not None and shape.of is not of:
                    _walk(shape.content, shape.of)


PARTICIPATIONS: dict[tuple[type, str], tuple[Any, bool, bool]] = {}
STATUSES: dict[type, list[str]] = {}
KINDS_OF: dict[tuple[type, str], list[str]] = {}
WITH_MOOD: set[str] = set()
for _shape in ENTRY_SHAPES:
    assert _shape.of is not None
    _walk(_shape.content, _shape.of)
