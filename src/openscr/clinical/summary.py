"""A GP Summary as a whole: whose it is, who wrote it, what it says under each heading.

Invariants of a completed summary (`complete`): every id is there, upper case, and minted ones are fresh; every link
between entries is a `Reference` to an id; ``created`` and every time that has a default are there.

Spec: 00 §6.2, 10 §4, §5, §16.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, replace
from datetime import datetime
from typing import Any, Final, cast

from openscr.clinical.entries import Entry, Pressure, Reference, Refusal, Supply
from openscr.clinical.headings import HEADINGS
from openscr.clinical.participants import Organisation, Participant, Person, SdsOrganisation, SdsPerson
from openscr.clinical.values import Coded, Name, Time
from openscr.codes import INITIAL_UPLOAD, UPLOAD
from openscr.identifiers import UuidFactory

Author = SdsPerson | Person | SdsOrganisation | Organisation
"""Who may author a summary: a person, of an initial summary an organisation. Spec: 10 §4.1, §5."""


@dataclass(frozen=True, slots=True)
class Patient:
    """The patient, by NHS number: ten digits. Spec: 10 §4.5."""

    nhs_number: str


@dataclass(frozen=True, slots=True)
class Presentation:
    """The text that people read: one ``html`` element of the presentation namespace, serialised.

    ``html`` is empty when a message that was read carries none. Spec: 10 §9.
    """

    html: str
    id: str | None = None
    created: Time | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Medications:
    """The heading Medication: one coded heading that is printed as three. Spec: 10 §7."""

    acute: tuple[Entry, ...] = ()
    current_repeat: tuple[Entry, ...] = ()
    discontinued: tuple[Entry, ...] = ()
    administrations: tuple[Entry, ...] = ()

    def __iter__(self) -> Iterator[Entry]:
        """Iterate over all medications in written order."""
        yield from (*self.acute, *self.current_repeat, *self.discontinued, *self.administrations)

    def __bool__(self) -> bool:
        """Whether there is any medication."""
        return any(True for _ in self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A GP Summary. Any entry may stand under any heading; ``replaces`` is the event id of the summary it replaces.

    Spec: 00 §6.2, 10 §4, §5.
    """

    patient: Patient
    author: Author
    interaction: str = UPLOAD
    event_id: str | None = None
    message_id: str | None = None
    replaces: str | None = None
    status: str = "active"
    created: Time | None = None
    allergies: tuple[Entry, ...] = ()
    medications: Medications = Medications()
    problems: tuple[Entry, ...] = ()
    care_events: tuple[Entry, ...] = ()
    preferences: tuple[Entry, ...] = ()
    diagnoses: tuple[Entry, ...] = ()
    circumstances: tuple[Entry, ...] = ()
    services: tuple[Entry, ...] = ()
    lifestyle: tuple[Entry, ...] = ()
    family_history: tuple[Entry, ...] = ()
    treatments: tuple[Entry, ...] = ()
    administrative_procedures: tuple[Entry, ...] = ()
    observations: tuple[Entry, ...] = ()
    investigation_results: tuple[Entry, ...] = ()
    investigations: tuple[Entry, ...] = ()
    advice: tuple[Entry, ...] = ()
    documents: tuple[Entry, ...] = ()
    patient_correspondence: tuple[Entry, ...] = ()
    third_party_correspondence: tuple[Entry, ...] = ()
    risks_to_patient: tuple[Entry, ...] = ()
    risks_to_others: tuple[Entry, ...] = ()
    links: tuple[Entry, ...] = ()
    presentation: Presentation | None = None

    @property
    def initial(self) -> bool:
        """Whether this is an initial summary: text only, in the name of the practice. Spec: 10 §5."""
        return self.interaction == INITIAL_UPLOAD

    @property
    def dissent(self) -> bool:
        """Whether the summary states that the patient refuses: it holds a Refusal. Spec: 10 §9.2, §16."""
        return any(isinstance(entry, Refusal) for entry in self.entries())

    def under(self, member: str) -> tuple[Entry, ...]:
        """Return the entries under a heading, by its member name."""
        return tuple(cast("tuple[Entry, ...]", getattr(self, member)))

    def entries(self) -> Iterator[Entry]:
        """Iterate over every entry in written order."""
        for heading in HEADINGS:
            yield from self.under(heading.member)


def complete(summary: Summary, mint: UuidFactory, now: datetime) -> Summary:
    """Return the summary with everything filled in that may be left out: ids, times, references.

    A summary that is complete already comes back unchanged. Raises: ValueError when an entry points at one that is not
    in the summary, or at one of a kind that nothing may point at. Spec: 00 §6.2, 10 §16.
    """
    created = summary.created or Time(now)
    ids: dict[int, str] = {}
    for entry in summary.entries():
        if id(entry) in ids:
            raise ValueError("one entry stands twice in the summary; make a second one")
        ids[id(entry)] = (entry.id or mint()).upper()
    event_id = (summary.event_id or mint()).upper()
    author = summary.author if summary.author.time else replace(summary.author, time=created)
    presentation = summary.presentation and replace(
        summary.presentation,
        id=(summary.presentation.id or mint()).upper(),
        created=summary.presentation.created or created,
    )

    def filled(value: Any, entry: Entry) -> Any:
        match value:
            case tuple():
                return tuple(filled(one, entry) for one in value)
            case Reference():
                return replace(value, id=value.id.upper())
            case Entry() if id(value) in ids:
                return _refer(value, ids[id(value)])
            case Entry() if _is_member(value, entry):
                return fill(value, (value.id or mint()).upper())
            case Entry():
                raise ValueError(f"an entry points at a {type(value).__name__} that is not in the summary")
            case Supply():
                return replace(value, id=(value.id or mint()).upper())
            case Pressure():
                return replace(value, id=(value.id or mint()).upper(), time=value.time or entry.time)  # type: ignore[attr-defined]
            case _:
                return value

    def fill(entry: Entry, entry_id: str) -> Entry:
        changed: dict[str, Any] = {"id": entry_id}
        for each in fields(entry):
            if each.name in _POINTERS_BY_ID:
                changed[each.name] = _ids(getattr(entry, each.name), ids)
            elif each.name != "id":
                changed[each.name] = filled(getattr(entry, each.name), entry)
        return replace(entry, **changed)

    def fill_all(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        return tuple(fill(entry, ids[id(entry)]) for entry in entries)

    under: dict[str, Any] = {
        heading.member: fill_all(summary.under(heading.member))
        for heading in HEADINGS
        if heading.member != "medications" and summary.under(heading.member)
    }
    if summary.medications:
        lists = {each.name: fill_all(getattr(summary.medications, each.name)) for each in fields(Medications)}
        under["medications"] = Medications(**lists)
    return replace(
        summary,
        event_id=event_id,
        message_id=(summary.message_id or event_id).upper(),
        replaces=summary.replaces and summary.replaces.upper(),
        created=created,
        author=author,
        presentation=presentation,
        **under,
    )


_POINTERS_BY_ID: Final = frozenset({"findings", "problem", "linked_problem"})
"""Members that hold ids of entries, not references."""


def _is_member(value: Entry, entry: Entry) -> bool:
    # The findings of an organizer stand inside it, not under a heading.
    return any(value is member for member in getattr(entry, "members", ()))


def _refer(entry: Entry, entry_id: str) -> Reference:
    if entry.refers_as is None:
        raise ValueError(f"nothing may point at a {type(entry).__name__}")
    return Reference(entry.refers_as, entry_id, getattr(entry, "mood", "EVN"))


def _ids(value: Any, ids: dict[int, str]) -> Any:
    match value:
        case tuple():
            return tuple(_ids(one, ids) for one in value)
        case Entry() if id(value) in ids:
            return ids[id(value)]
        case Entry():
            raise ValueError(f"an entry points at a {type(value).__name__} that is not in the summary")
        case str():
            return value.upper()
        case _:
            return value


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that a summary must have before it can be sent: where (a JSON Pointer) and what. Spec: 10 §16."""

    place: str
    what: str


def check_summary(summary: Summary) -> list[Lack]:
    """Return what a summary still lacks, or has too much of, before it can be sent. Spec: 00 §6.2, 10 §4, §5, §8.5."""
    found: list[Lack] = []
    if summary.initial:
        if any(True for _ in summary.entries()):
            found.append(Lack("/interaction", "an initial summary has text only: no entries under any heading"))
        if summary.replaces:
            found.append(Lack("/replaces", "an initial summary cannot replace another one"))
        if not isinstance(summary.author, SdsOrganisation | Organisation):
            found.append(Lack("/author", "the author of an initial summary is an organisation"))
    elif isinstance(summary.author, SdsOrganisation | Organisation):
        found.append(Lack("/author", "the author of a summary is a person; only an initial one has an organisation"))
    _check_value(summary.author, "/author", found)
    for heading in HEADINGS:
        if heading.member == "medications":
            for each in fields(Medications):
                _check_entries(getattr(summary.medications, each.name), f"/medications/{each.name}", found)
        else:
            _check_entries(summary.under(heading.member), f"/{heading.member}", found)
    _check_ids(summary, found)
    return found


def _check_ids(summary: Summary, found: list[Lack]) -> None:
    """Every id stands for one entry, and every pointer leads to an entry of this summary. Spec: 10 §8, §16."""
    everything = [each for entry in summary.entries() for each in (entry, *getattr(entry, "members", ()))]
    known = Counter(entry.id for entry in everything if entry.id)
    found += [Lack(f"/…/id {each}", "stands for more than one entry") for each, times in known.items() if times > 1]
    for entry in everything:
        for dangling in dict.fromkeys(pointed for pointed in _pointers(entry) if pointed not in known):
            found.append(Lack(f"/…/id {dangling}", f"a {type(entry).__name__} points at it, and no entry has it"))


def _pointers(entry: Entry) -> Iterator[str]:
    """Iterate over the ids that an entry points at."""
    for each in fields(entry):
        value = getattr(entry, each.name)
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Reference):
                yield one.id
            elif isinstance(one, str) and each.name in _POINTERS_BY_ID:
                yield one


def _check_entries(entries: tuple[Entry, ...], place: str, found: list[Lack]) -> None:
    for index, entry in enumerate(entries):
        _check_value(entry, f"{place}/{index}", found)


def _check_value(value: Any, place: str, found: list[Lack]) -> None:
    """Look for required members without a value, in an entry or a participant and what they hold."""
    for each in fields(value):
        member = getattr(value, each.name)
        at = f"{place}/{each.name}"
        if (each.default is MISSING or each.metadata.get("required")) and _is_empty(member):
            # An organisation behind a person has neither role nor address of its own. Spec: 10 §4.1.
            if not (isinstance(value, Organisation) and place.endswith("/organisation")):
                found.append(Lack(at, "is missing"))
        elif isinstance(member, Participant | Entry):
            _check_value(member, at, found)
        elif isinstance(member, tuple):
            for index, one in enumerate(member):
                if isinstance(one, Participant | Entry):
                    _check_value(one, f"{at}/{index}", found)


def _is_empty(value: Any) -> bool:
    if getattr(value, "shape_is_known", True) is False:
        return True
    if isinstance(value, Name):
        return not value.printed
    # What stands for a code, a time or a text that a message should have had.
    return value in ("", (), None) or (isinstance(value, Coded) and not value.code)
