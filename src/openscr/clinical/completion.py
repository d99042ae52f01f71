"""Completing a summary: ids, times and references that may be left out are put in.

Invariants of a completed summary: every id is there, upper case, and minted ones are fresh; every link between entries
is a `Reference` to an id; ``created`` is there, and with it the times of the author, the text and the pressures. The
times of entries' participants that are left out are those of the summary, and are filled in when it is written.

Spec: 00 §6.2, 10 §16.
"""

from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from openscr.clinical.entries import POINTERS_BY_ID, Entry, Pressure, Reference, Supply
from openscr.clinical.headings import HEADINGS
from openscr.clinical.summary import Medications, Summary
from openscr.clinical.values import Time
from openscr.errors import UnwritableSummary
from openscr.identifiers import UuidFactory, hl7_timestamp


def complete(summary: Summary, mint: UuidFactory, now: datetime) -> Summary:
    """Return the summary with everything filled in that may be left out: ids, times, references.

    A summary that is complete already comes back unchanged. Raises: `UnwritableSummary` when an entry stands in it
    twice, points at one that is not in it, or at one of a kind that nothing may point at. Spec: 00 §6.2, 10 §16.
    """
    created = summary.created or Time(hl7_timestamp(now))
    completion = _Completion(mint)
    for entry in summary.entries():
        completion.name(entry)
    under: dict[str, Any] = {
        heading.member: completion.fill_all(summary.under(heading.member))
        for heading in HEADINGS
        if heading.member != "medications" and summary.under(heading.member)
    }
    if summary.medications:
        lists = {
            each.name: completion.fill_all(getattr(summary.medications, each.name)) for each in fields(Medications)
        }
        under["medications"] = Medications(**lists)
    event_id = (summary.event_id or mint()).upper()
    presentation = summary.presentation and replace(
        summary.presentation,
        id=(summary.presentation.id or mint()).upper(),
        created=summary.presentation.created or created,
    )
    return replace(
        summary,
        event_id=event_id,
        message_id=(summary.message_id or event_id).upper(),
        replaces=summary.replaces and summary.replaces.upper(),
        created=created,
        author=summary.author if summary.author.time else replace(summary.author, time=created),
        presentation=presentation,
        **under,
    )


class _Completion:
    """The ids of one summary's entries, by the entry itself."""

    def __init__(self, mint: UuidFactory) -> None:
        self.mint = mint
        self.ids: dict[int, str] = {}

    def name(self, entry: Entry) -> None:
        """Give an entry its id, and the findings inside it theirs."""
        if id(entry) in self.ids:
            raise UnwritableSummary("one entry stands twice in the summary; make a second one")
        self.ids[id(entry)] = (entry.id or self.mint()).upper()
        for member in getattr(entry, "members", ()):
            self.name(member)

    def fill_all(self, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
        return tuple(map(self.fill, entries))

    def fill(self, entry: Entry) -> Entry:
        changed: dict[str, Any] = {}
        for each in fields(entry):
            member = getattr(entry, each.name)
            if each.name == "members":
                changed[each.name] = self.fill_all(member)
            elif each.name in POINTERS_BY_ID:
                changed[each.name] = self.pointer(member)
            else:
                changed[each.name] = self.filled(member, entry)
        return replace(entry, **{**changed, "id": self.ids[id(entry)]})

    def filled(self, value: Any, entry: Entry) -> Any:
        match value:
            case tuple():
                return tuple(self.filled(one, entry) for one in value)
            case Reference():
                return replace(value, id=value.id.upper())
            case Entry():
                if value.refers_as is None:
                    raise UnwritableSummary(f"nothing may point at a {type(value).__name__}")
                return Reference(value.refers_as, self.id_of(value), getattr(value, "mood", "EVN"))
            case Supply():
                return replace(value, id=(value.id or self.mint()).upper())
            case Pressure():
                time = value.time or getattr(entry, "time", None)
                return replace(value, id=(value.id or self.mint()).upper(), time=time)
            case _:
                return value

    def pointer(self, value: Any) -> Any:
        match value:
            case tuple():
                return tuple(map(self.pointer, value))
            case Entry():
                return self.id_of(value)
            case str():
                return value.upper()
            case _:
                return value

    def id_of(self, entry: Entry) -> str:
        if id(entry) not in self.ids:
            raise UnwritableSummary(f"an entry points at a {type(entry).__name__} that is not in the summary")
        return self.ids[id(entry)]
