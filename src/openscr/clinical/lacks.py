"""What a summary still lacks, or has too much of, before it can be sent.

Spec: 00 §6.2, 10 §4, §5, §8.5, §16.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from typing import Any

from openscr.clinical.entries import POINTERS_BY_ID, Entry, Pressure, Reference, Refusal, Supply
from openscr.clinical.headings import HEADINGS
from openscr.clinical.participants import Organisation, Participant, SdsOrganisation
from openscr.clinical.summary import Medications, Summary
from openscr.clinical.values import Coded, Name
from openscr.identifiers import is_nhs_number


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that a summary must have before it can be sent: where (a JSON Pointer) and what. Spec: 10 §16."""

    place: str
    what: str


def check_summary(summary: Summary) -> list[Lack]:
    """Return what keeps a completed summary from being sent; nothing when it may go. Spec: 10 §4, §5, §8.5, §16."""
    found: list[Lack] = []
    organisation = isinstance(summary.author, SdsOrganisation | Organisation)
    entries = list(summary.entries())
    if summary.initial:
        if entries:
            found.append(Lack("/interaction", "an initial summary has text only: no entries under any heading"))
        if summary.replaces:
            found.append(Lack("/replaces", "an initial summary cannot replace another one"))
        if not organisation:
            found.append(Lack("/author", "the author of an initial summary is an organisation"))
    elif organisation:
        found.append(Lack("/author", "the author of a summary is a person; only an initial one has an organisation"))
    if summary.dissent and not all(isinstance(entry, Refusal) for entry in entries):
        found.append(Lack("/preferences", "a summary with a Refusal states the dissent and has no other entries"))
    if not is_nhs_number(summary.patient.nhs_number):
        found.append(Lack("/patient/nhs_number", "must be ten digits that pass modulus 11"))
    _check_value(summary.author, "/author", found)
    for place, entry in _placed(summary):
        _check_value(entry, place, found)
    _check_ids(summary, found)
    return found


def _placed(summary: Summary) -> Iterator[tuple[str, Entry]]:
    """Iterate over the entries with their places in the JSON form."""
    for heading in HEADINGS:
        if heading.member == "medications":
            lists = [
                (f"/medications/{each.name}", getattr(summary.medications, each.name)) for each in fields(Medications)
            ]
        else:
            lists = [(f"/{heading.member}", summary.under(heading.member))]
        for place, entries in lists:
            yield from ((f"{place}/{index}", entry) for index, entry in enumerate(entries))


def _check_ids(summary: Summary, found: list[Lack]) -> None:
    """Every id stands for one thing, and every pointer leads to an entry of this summary. Spec: 10 §8, §16."""
    everything = list(summary.nested_entries())
    known = frozenset(entry.id for entry in everything)
    ids = [entry.id for entry in everything] + [part.id for entry in everything for part in _parts(entry)]
    ids += [summary.event_id, summary.presentation.id if summary.presentation else None]
    given = Counter(each for each in ids if each)
    found += [Lack(f"/…/id {each}", "stands for more than one thing") for each, times in given.items() if times > 1]
    for entry in everything:
        for dangling in dict.fromkeys(pointed for pointed in _pointers(entry) if pointed not in known):
            found.append(Lack(f"/…/id {dangling}", f"a {type(entry).__name__} points at it, and no entry has it"))


def _parts(entry: Entry) -> Iterator[Supply | Pressure]:
    """Iterate over what has an id of its own inside an entry."""
    for each in fields(entry):
        if isinstance(part := getattr(entry, each.name), Supply | Pressure):
            yield part


def _pointers(entry: Entry) -> Iterator[str]:
    """Iterate over the ids that an entry points at."""
    for each in fields(entry):
        value = getattr(entry, each.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Reference):
                yield one.id
            elif isinstance(one, str) and each.name in POINTERS_BY_ID:
                yield one


def _check_value(value: Any, place: str, found: list[Lack]) -> None:
    """Look for required members without a value, in an entry or a participant and what they hold."""
    for each in fields(value):
        member = getattr(value, each.name)
        at = f"{place}/{each.name}"
        if (each.default is MISSING or each.metadata.get("required")) and _is_empty(member):
            if not _may_lack(value, each.name, place):
                found.append(Lack(at, "is missing"))
        elif isinstance(member, Participant | Entry):
            _check_value(member, at, found)
        elif isinstance(member, tuple):
            for index, one in enumerate(member):
                if isinstance(one, Participant | Entry):
                    _check_value(one, f"{at}/{index}", found)


def _may_lack(value: Any, member: str, place: str) -> bool:
    """Whether a member may be missing here: who stands behind another has no role, and need not have an address."""
    return isinstance(value, Organisation) and place.endswith(("/organisation", "/represented")) and member != "name"


def _is_empty(value: Any) -> bool:
    if getattr(value, "shape_is_known", True) is False:
        return True
    if isinstance(value, Name):
        return not value.printed
    # What stands for a code, a time or a text that a message should have had.
    return value in ("", (), None) or (isinstance(value, Coded) and not value.code)
