"""The JSON form of a summary, ``openscr-summary/1``: what suppliers write by hand and get back.

The members of the form are the members of the model, so the form is read and written from the types of the model; what
differs is named here: ``type`` and ``kind``, times in ISO 8601, default code systems, typed values. Every mistake is
reported with its place, a JSON Pointer.

Spec: 00 §6.2.
"""

import json
import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from datetime import date, datetime
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Union, cast, get_args, get_origin, get_type_hints

from openscr.clinical.entries import ENTRY_TYPES, POINTERS_BY_ID, REFERENCE_KINDS, Entry, Reference
from openscr.clinical.headings import HEADINGS, MEDICATION_LISTS
from openscr.clinical.participants import (
    Device,
    NonAgent,
    Organisation,
    Participant,
    Person,
    Place,
    RepresentedPerson,
    SdsOrganisation,
    SdsPerson,
)
from openscr.clinical.summary import Medications, Patient, Presentation, Summary
from openscr.clinical.values import (
    VALUE_TYPES,
    Coded,
    Interval,
    Qualifier,
    Quantity,
    Range,
    Time,
    Value,
)
from openscr.codes import INITIAL_UPLOAD, POLLING_UPLOAD, UPLOAD
from openscr.errors import FormMistake, MistakenForm, UnwritableSummary
from openscr.identifiers import is_nhs_number, is_uuid

FORMAT: Final = "openscr-summary/1"
"""Value of the member ``format``."""

KINDS: Final[dict[str, type]] = {
    "person_sds": SdsPerson,
    "person": Person,
    "organisation_sds": SdsOrganisation,
    "organisation": Organisation,
    "non_agent": NonAgent,
    "device": Device,
    "place": Place,
    "represented_person": RepresentedPerson,
}
"""The kinds of participant, by the value of the member ``kind``."""

_KIND_OF: Final = {of: kind for kind, of in KINDS.items()}
_DEFAULT_TYPES: Final = {heading.member: heading.default_type for heading in HEADINGS} | MEDICATION_LISTS


class _Object(dict[str, Any]):
    """A JSON object that remembers members that were given twice."""

    repeated: tuple[str, ...] = ()


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    made = _Object(pairs)
    if len(made) != len(pairs):
        made.repeated = tuple(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return made


def read_json(text: str | bytes) -> Summary:
    """Read a summary from its JSON form. Raises: `MistakenForm`. Spec: 00 §6.2."""
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig")
        found = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise MistakenForm([FormMistake("", f"not UTF-8: byte {error.start} cannot be read")]) from error
    except json.JSONDecodeError as error:
        raise MistakenForm([FormMistake("", f"not JSON: {error.msg} (line {error.lineno})")]) from error
    except (ValueError, RecursionError) as error:
        raise MistakenForm([FormMistake("", "not JSON: a number or a nesting that no summary has")]) from error
    return read_form(found)


def read_toml(text: str | bytes) -> Summary:
    """Read a summary from TOML with the same members. Raises: `MistakenForm`. Spec: 00 §6.2."""
    try:
        return read_form(tomllib.loads(text.decode("utf-8") if isinstance(text, bytes) else text))
    except UnicodeDecodeError as error:
        raise MistakenForm([FormMistake("", f"not UTF-8: byte {error.start} cannot be read")]) from error
    except tomllib.TOMLDecodeError as error:
        raise MistakenForm([FormMistake("", f"not TOML: {error}")]) from error
    except RecursionError as error:
        raise MistakenForm([FormMistake("", "not TOML: a nesting that no summary has")]) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def read_form(form: object) -> Summary:
    """Read a summary from the objects of its JSON form. Raises: `MistakenForm`. Spec: 00 §6.2."""
    reader = _Reader()
    try:
        summary = reader.summary(form)
    except RecursionError as error:
        raise MistakenForm([FormMistake("", "a nesting that no summary has")]) from error
    if reader.mistakes:
        raise MistakenForm(reader.mistakes)
    return cast("Summary", summary)


def write_json(summary: Summary, *, indent: int | None = 2) -> str:
    """Write a summary in its JSON form.

    Raises: `UnwritableSummary` when entries point at others by themselves: `complete` makes references of that.
    """
    return json.dumps(write_form(summary), ensure_ascii=False, indent=indent)


def write_form(summary: Summary) -> dict[str, Any]:
    """Return the objects of the JSON form of a summary. Spec: 00 §6.2."""
    return {"format": FORMAT, **_written(summary)}


# --- reading --------------------------------------------------------------------------------------------------------

_LACKING: Final = object()
_LARGEST: Final = 2_147_483_647
_HALF_A_PAIR: Final = re.compile("[\ud800-\udfff]")
_NOT_OF_XML: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""Characters that no XML document may hold, not even escaped."""


@cache
def _hints(of: type) -> dict[str, Any]:
    return get_type_hints(of)


@cache
def _fields(of: type) -> tuple[Field[Any], ...]:
    return fields(of)


class _Reader:
    """One reading; every mistake is kept."""

    def __init__(self) -> None:
        self.mistakes: list[FormMistake] = []

    def mistake(self, pointer: str, text: str) -> Any:
        self.mistakes.append(FormMistake(pointer, text))
        return _LACKING

    def summary(self, form: object) -> object:
        if not isinstance(form, dict):
            return self.mistake("", "must be an object")
        given = dict(form)
        if given.pop("format", None) != FORMAT:
            self.mistake("/format", f'must be "{FORMAT}"')
        interaction = given.get("interaction", UPLOAD)
        if isinstance(interaction, str) and interaction and interaction not in _INTERACTIONS:
            self.mistake("/interaction", f"must be one of {', '.join(_INTERACTIONS)}")
        if given.get("status", "active") not in ("active", "nullified"):
            self.mistake("/status", "must be active or nullified")
        rest = _Object(given)
        rest.repeated = getattr(form, "repeated", ())
        made = self.members(Summary, rest, "")
        number = getattr(getattr(made, "patient", None), "nhs_number", None)
        if isinstance(number, str):
            digits = number.replace(" ", "")
            if not is_nhs_number(digits):
                return self.mistake("/patient/nhs_number", "must be ten digits that pass modulus 11")
            made = replace(made, patient=Patient(digits))
        return made

    def members(self, of: type, form: Any, pointer: str, **preset: Any) -> Any:
        """Return a value of a model class from an object with its members."""
        if not isinstance(form, dict):
            return self.mistake(pointer, "must be an object")
        before = len(self.mistakes)
        for name in getattr(form, "repeated", ()):
            self.mistake(f"{pointer}/{_escaped(name)}", "stands twice")
        hints = _hints(of)
        members = [each for each in _fields(of) if each.name not in preset and _is_member(of, each.name)]
        known = {each.name for each in members}
        for name in form:
            if name not in known:
                self.mistake(f"{pointer}/{_escaped(name)}", "is not a member here")
        found = dict(preset)
        for each in members:
            at = f"{pointer}/{each.name}"
            value = form.get(each.name, _LACKING)
            if value is _LACKING or value == []:
                required = each.default is MISSING or each.metadata.get("required")
                if required and not _excused(of, each.name, pointer, form):
                    self.mistake(at, "is missing" if value is _LACKING else "must not be empty")
                continue
            found[each.name] = self.value(hints[each.name], value, at, each.metadata)
        if len(self.mistakes) > before:
            return _LACKING
        try:
            return of(**found)
        except ValueError as error:
            return self.mistake(pointer, str(error))

    def value(self, hint: Any, form: Any, pointer: str, metadata: Mapping[str, Any]) -> Any:
        """Return the value of one member, by the type of the model."""
        if form is None:
            return self.mistake(pointer, "must not be null; leave the member out")
        kinds = get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)
        kinds = tuple(kind for kind in kinds if kind is not NoneType)
        lists = [kind for kind in kinds if get_origin(kind) is tuple]
        if isinstance(form, list):
            if not lists:
                return self.mistake(pointer, "must not be a list")
            each = get_args(lists[0])[0]
            found = [self.value(each, one, f"{pointer}/{index}", metadata) for index, one in enumerate(form)]
            return tuple(found)
        if lists and len(kinds) == 1:
            return self.mistake(pointer, "must be a list")
        return self.single(tuple(kind for kind in kinds if kind not in lists), form, pointer, metadata)

    def single(self, kinds: tuple[Any, ...], form: Any, pointer: str, metadata: Mapping[str, Any]) -> Any:
        if Time in kinds and (not isinstance(form, dict) or Interval not in kinds):
            return self.time(form, pointer)
        if Interval in kinds:
            return self.interval(form, pointer)
        if Reference in kinds:
            made = self.members(Reference, form, pointer)
            if made is not _LACKING and made.kind not in REFERENCE_KINDS:
                return self.mistake(f"{pointer}/kind", f"must be one of {', '.join(sorted(REFERENCE_KINDS))}")
            return made
        if kinds[0] in (Value, Coded, Qualifier):
            return {Value: self.typed, Coded: self.coded, Qualifier: self.coded}[kinds[0]](
                form, pointer, kinds[0], metadata.get("system")
            )
        if kinds[0] is Entry:
            return self.entry(form, pointer)
        if all(isinstance(kind, type) and issubclass(kind, Participant | Place | RepresentedPerson) for kind in kinds):
            return self.participant(kinds, form, pointer)
        kind = cast("type", kinds[0])
        if issubclass(kind, Entry):
            return self.entry(form, pointer, kind.__name__)
        return self.members(kind, form, pointer) if is_dataclass(kind) else self.plain(kind, form, pointer)

    def plain(self, kind: type, form: Any, pointer: str) -> Any:
        if kind is str:
            if not isinstance(form, str):
                return self.mistake(pointer, "must be a string")
            if not form:
                return self.mistake(pointer, "must not be empty")
            if _HALF_A_PAIR.search(form):
                return self.mistake(pointer, "holds half of a surrogate pair, which is no character")
            if found := _NOT_OF_XML.search(form):
                return self.mistake(pointer, f"holds U+{ord(found[0]):04X}, a character that XML cannot carry")
            name = pointer.rpartition("/")[2]
            holder = pointer.rstrip("0123456789").rstrip("/").rpartition("/")[2]
            if (name in _UUIDS or holder == "findings") and not is_uuid(form):
                return self.mistake(pointer, "must be a UUID")
            return form.upper() if name in _UUIDS or holder == "findings" else form
        if kind is int and isinstance(form, int) and abs(form) > _LARGEST:
            return self.mistake(pointer, f"must not be larger than {_LARGEST}")
        if type(form) is not kind:
            words = {int: "a whole number", bool: "true or false"}
            return self.mistake(pointer, f"must be {words[kind]}")
        return form

    def time(self, form: Any, pointer: str) -> Any:
        if not isinstance(form, str | date | datetime):
            return self.mistake(pointer, "must be a time")
        try:
            return Time(form)
        except ValueError as error:
            return self.mistake(pointer, str(error))

    def interval(self, form: Any, pointer: str) -> Any:
        made = self.members(Interval, form, pointer)
        if made is not _LACKING and not made.shape_is_known:
            return self.mistake(pointer, "must be a time, or low, low and high or width, high, width, or center")
        return made

    def coded(self, form: Any, pointer: str, of: type, system: str | None) -> Any:
        if system and isinstance(form, dict) and "system" not in form:
            form = _without(form, "system", system=system)
        return self.members(of, form, pointer)

    def typed(self, form: Any, pointer: str, _of: type, _system: str | None) -> Any:
        if not isinstance(form, dict):
            return self.mistake(pointer, "must be an object with a type")
        kind = form.get("type")
        if kind not in VALUE_TYPES:
            return self.mistake(f"{pointer}/type", f"must be one of {', '.join(VALUE_TYPES)}")
        rest = _without(form, "type")
        content: Any
        if kind == "PQ":
            content = self.members(Quantity, rest, pointer)
        elif kind == "IVL_PQ":
            content = self.members(Range, rest, pointer)
        elif kind in ("CD", "CE", "CV"):
            content = self.members(Coded, rest, pointer)
        else:
            name = {"ST": "text", "TS": "time"}.get(kind, "value")
            for other in rest.keys() - {name}:
                self.mistake(f"{pointer}/{_escaped(other)}", "is not a member here")
            for twice in rest.repeated:
                self.mistake(f"{pointer}/{_escaped(twice)}", "stands twice")
            if name not in rest:
                return self.mistake(f"{pointer}/{name}", "is missing")
            content = self.single(
                (Time if kind == "TS" else str,), self.number(kind, rest[name]), f"{pointer}/{name}", {}
            )
        return content if content is _LACKING else Value(content, kind)

    def number(self, kind: str, form: Any) -> Any:
        """Return a number or a truth value as the digits or the word that HL7 writes."""
        fits = {"INT": int, "REAL": (int, float), "BL": bool}.get(kind)
        if fits and isinstance(form, cast("type", fits)) and isinstance(form, bool) == (kind == "BL"):
            return str(form).lower()
        return form

    def participant(self, kinds: tuple[Any, ...], form: Any, pointer: str) -> Any:
        if not isinstance(form, dict):
            return self.mistake(pointer, "must be an object")
        if len(kinds) == 1 and "kind" not in form:
            return self.members(kinds[0], form, pointer)
        allowed = [kind for kind, of in KINDS.items() if of in kinds]
        kind = form.get("kind")
        if kind not in allowed:
            return self.mistake(f"{pointer}/kind", f"must be one of {', '.join(allowed)}")
        if "job_role" in form and kind == "person_sds" and pointer != "/author":
            self.mistake(f"{pointer}/job_role", "is not a member here; only the author of the summary has one")
        return self.members(KINDS[kind], _without(form, "kind"), pointer)

    def entry(self, form: Any, pointer: str, default: str | None = None) -> Any:
        if not isinstance(form, dict):
            return self.mistake(pointer, "must be an object")
        holder = pointer.rpartition("/")[0].rpartition("/")[2]
        name = form.get("type", default or _DEFAULT_TYPES.get(holder))
        of = ENTRY_TYPES.get(name) if isinstance(name, str) else None
        if of is None or (default and name != default):
            return self.mistake(f"{pointer}/type", f"must be {default or 'the name of a record element'}")
        return self.members(of, _without(form, "type"), pointer)


_INTERACTIONS: Final = (UPLOAD, POLLING_UPLOAD, INITIAL_UPLOAD)
_UUIDS: Final = frozenset({"id", "event_id", "message_id", "replaces", "problem", "linked_problem"})


def _is_member(of: type, name: str) -> bool:
    # ``type_code`` belongs to the participants of a care event; any participant may carry it in the model.
    return not (of is Place and name in ("time", "mode"))


def _excused(of: type, name: str, pointer: str, form: Mapping[str, Any]) -> bool:
    """Whether a required member may be missing at this place."""
    if of is Organisation:
        # Behind a person the organisation has a name, and the rest if the sender knows it. Spec: 10 §4.1.
        return pointer.endswith(("/organisation", "/represented")) and name != "name"
    return of is Qualifier and name == "code" and "name" in form


def _without(form: Mapping[str, Any], name: str, **more: Any) -> _Object:
    rest = _Object({key: value for key, value in form.items() if key != name} | more)
    rest.repeated = getattr(form, "repeated", ())
    return rest


def _escaped(name: str) -> str:
    # What JSON lets stand in a name may be no text that can be written.
    written = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return written.replace("~", "~0").replace("/", "~1")


# --- writing --------------------------------------------------------------------------------------------------------

_LINKS: Final = frozenset({"about", "source", "target", "member", "related", "reasons", "discontinuation_reasons"}) | (
    POINTERS_BY_ID
)
_ALWAYS: Final = frozenset({"interaction", "status", "unit"})
"""Members that are written even where reading would supply the same value: a reader of the form wants to see them."""


def _written(value: Any) -> dict[str, Any]:
    """Return the members of a value that say something that reading would not supply."""
    form: dict[str, Any] = {}
    for each in fields(value):
        member = getattr(value, each.name)
        if each.name in _ALWAYS and not (each.name == "status" and isinstance(value, Summary)):
            form[each.name] = member
        elif member not in (None, (), "") and not (each.default is not MISSING and member == each.default):
            form[each.name] = _member(member, each)
    return form


def _member(member: Any, each: Field[Any]) -> Any:
    match member:
        case Time():
            return member.iso
        case tuple():
            return [_member(one, each) for one in member]
        case Value():
            return _typed(member)
        case Coded() if system := each.metadata.get("system"):
            # Such a member has a default of its own: any other system is said.
            form = {name: value for name, value in _written(member).items() if name != "system"}
            return form if member.system == system else {**form, "system": member.system}
        case Entry() if each.name in _LINKS:
            raise UnwritableSummary("an entry points at another one by itself; complete the summary first")
        case Entry():
            # In the lists of medications the list says what most entries are.
            name = type(member).__name__
            return ({} if MEDICATION_LISTS.get(each.name) == name else {"type": name}) | _written(member)
        case Participant() | Place() | RepresentedPerson():
            return {"kind": _KIND_OF[type(member)], **_written(member)}
        case Medications() | Patient() | Presentation() | Reference():
            return _written(member)
        case _ if is_dataclass(member):
            return _written(member)
        case _:
            return member


def _typed(value: Value) -> dict[str, Any]:
    if is_dataclass(value.content):
        return {"type": value.type, **_written(value.content)}
    if isinstance(value.content, Time):
        return {"type": value.type, "time": value.content.iso}
    return {"type": value.type, "text" if value.type == "ST" else "value": value.content}
