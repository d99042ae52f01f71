"""What the landing page of a demo service shows, read from the running service as it is now.

Records are read through the record itself: consent decides, and the audit keeps it, as for anybody else.

Spec: 00 §3.1, 80 §1.4.
"""

import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from openscr import __version__
from openscr.codes import CORE_CONTENT, EVENT, GP_INITIAL_SUMMARY
from openscr.directory.demo import GP_ASID
from openscr.faces.operations.landing import PatientRow, ServiceFacts, Tone
from openscr.hl7.presentation import read_presentation
from openscr.identifiers import LONDON, Clock, UuidFactory, comparable_hl7_time
from openscr.record.record import Record
from openscr.spine import Caller, Consent, EventQuery, EventStatus, MessageIds
from openscr.store.interface import EventRow, PatientEntry, PatientState
from openscr.testbench.demo import Demo
from openscr.testbench.population import NAMED_NUMBERS, demo_numbers
from openscr.testbench.samples import GP_PERSON
from openscr.testbench.world import PRACTICE_PARTY

OLD = timedelta(days=90)


class DemoPages:
    """Satisfies `openscr.faces.operations.landing.LandingData`.

    ``addresses`` gives the web and the spine address once the listeners have their ports.
    """

    def __init__(
        self,
        demo: Demo,
        record: Record,
        *,
        engine: str,
        faces: Sequence[str],
        addresses: Callable[[], Sequence[str]],
        clock: Clock,
        mint: UuidFactory,
    ) -> None:
        self._demo = demo
        self._record = record
        self._engine = engine
        self._faces = tuple(faces)
        self._addresses = addresses
        self._clock = clock
        self._mint = mint
        self._started_at = clock()
        # Keys are drawn anew at every start: an address that somebody keeps tells nothing.
        self._number_of = {secrets.token_hex(8): number for number in (*NAMED_NUMBERS, *demo_numbers())}

    async def facts(self) -> ServiceFacts:
        """Return what runs."""
        web, *spine = self._addresses()
        return ServiceFacts(
            __version__, self._faces, self._engine, web, spine[0] if spine else "not running", self._started_at
        )

    async def patients(self) -> Sequence[PatientRow]:
        """Return the demo patients with the states of their records as they are now."""
        rows = []
        for key, number in self._number_of.items():
            state = await self._demo.state_of(number)
            text, tone = describe(state, self._clock())
            newest = max((event.stored_at for event in state.events), default=None)
            rows.append(PatientRow(key, _spaced(number), _name(state.index), text, newest, len(state.events), tone))
        return rows

    async def record_html(self, key: str) -> str | None:
        """Return the presentation text of the current record, sanitised; none when there is nothing to show."""
        number = self._number_of.get(key)
        if number is None:
            return None
        current = _current(await self._demo.state_of(number))
        if current is None:
            return None
        ids = MessageIds(self._mint(), EVENT, correlation_id="demo landing page")
        answer = await self._record.retrieve_event(
            Caller(GP_ASID, PRACTICE_PARTY, GP_PERSON), EventQuery(ids, number, current.event_id)
        )
        presentation = read_presentation(answer.document) if answer.outcome.accepted else None
        return presentation.html() if presentation is not None else None


def _current(state: PatientState) -> EventRow | None:
    return next((event for event in state.events if event.status is EventStatus.NORMAL), None)


def describe(state: PatientState, now: datetime) -> tuple[str, Tone]:
    """Say in a few words what a record is like now. Spec: 80 §1.4."""
    if state.index is not None and state.index.status == "merged":
        return f"Number merged into {_spaced(state.index.survivor or '')}", Tone.NONE
    current = _current(state)
    if state.consent is Consent.NO:
        return ("Opted out" if current is not None and current.dissent else "Record held, consent No"), Tone.NOTICE
    if not state.events:
        return "No record", Tone.NONE
    if current is None:
        return "Withdrawn by the practice", Tone.NOTICE
    if current.dissent:
        return "Opted out", Tone.NOTICE
    if "noSignificantContent" in current.metadata:
        return "No significant data", Tone.NOTICE
    if current.event_type == GP_INITIAL_SUMMARY:
        return "Initial summary only", Tone.NOTICE
    oldest = f"{(now - OLD).astimezone(LONDON):%Y%m%d%H%M%S}"
    if comparable_hl7_time(current.effective_time) < oldest:
        return "Older than 90 days", Tone.NOTICE
    if current.content - CORE_CONTENT:
        return "Core and additional information", Tone.CURRENT
    return "Core summary", Tone.CURRENT


def _spaced(number: str) -> str:
    return f"{number[:3]} {number[3:6]} {number[6:]}" if len(number) == 10 else number


def _name(entry: PatientEntry | None) -> str:
    name = entry.demographics.get("name") if entry is not None else None
    if not isinstance(name, dict):
        return "Name not known"
    if isinstance(name.get("text"), str):
        return str(name["text"])
    parts = [name.get(part) for part in ("given", "family")]
    words = [" ".join(part) if isinstance(part, list) else str(part) for part in parts if part]
    return " ".join(words) or "Name not known"
