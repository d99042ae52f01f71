"""The story of a record: who plays, and what happens.

Spec: 00 §4 ``demo``; 35 §9.5.
"""

import asyncio
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Final

from openscr.cli.narration import Narration, StoryFailed
from openscr.cli.options import reach, read_tls
from openscr.cli.outcomes import in_words
from openscr.cli.own_service import own_service
from openscr.client import Client, Profile, Refusal, SpineClient, Submission, Tls, refusal_of
from openscr.codes import GP_SUMMARY
from openscr.errors import OpenSCRError
from openscr.hl7.presentation import presentation_of
from openscr.identifiers import mint_uuid
from openscr.spine import Consent, DissentOverride, EventListOutcome, EventStatus, Outcome, Person
from openscr.store.alert_records import AlertRow
from openscr.store.opening import open_store
from openscr.testbench.population import fresh_number
from openscr.testbench.stories import Bearing, Step, Story

OVERRIDER: Final = Person("555000000501", "555000000502", "R8000")
"""The person of the override view. Spec: 00 §4, 35 §9.5."""

STATUTE: Final = DissentOverride("2", "Access required by statute: a demonstration with a synthetic patient")

_SEARCHES: Final = 50


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays: the GP system with its person, and the viewer with the person who may override.

    ``alerts_of`` reads the alerts that the service has raised for a patient; none where only the service itself can.
    """

    gp: Client
    viewer: Client
    alerts_of: Callable[[str], list[AlertRow]] | None = None


@contextmanager
def own_stage(narration: Narration) -> Iterator[Cast]:
    """Play at a service of one's own, over mutual TLS."""
    narration.remark("A service of its own starts, with a data folder that is thrown away afterwards.")
    with own_service() as service:

        def alerts_of(nhs_number: str) -> list[AlertRow]:
            return asyncio.run(_alerts(service.data / "openscr.db", nhs_number))

        narration.remark(f"Ready at {service.spine}, mutual TLS with the certificates of its data folder.")
        gp = _client(narration, service.spine, "app-gp", service.certificate("gp.client.test"), service.web)
        viewer = _client(narration, service.spine, "app-viewer", service.certificate("viewer.client.test"), service.web)
        with gp, viewer:
            yield Cast(gp, viewer, alerts_of)


@contextmanager
def guest_stage(narration: Narration, at: str, cert: Path | None, key: Path | None, ca: Path | None) -> Iterator[Cast]:
    """Play at a service that runs already.

    The viewer has a certificate of its own: beside the one that is given, if there is one.
    """
    tls = read_tls(at, cert, key, ca)
    theirs = tls
    if tls is not None:
        folder = tls.certificate.parent
        beside = Tls(folder / "viewer.client.test.pem", folder / "viewer.client.test.key", tls.authority)
        theirs = beside if beside.certificate.exists() and beside.key.exists() else tls
    asyncio.run(reach(at))
    with _client(narration, at, "app-gp", tls) as gp, _client(narration, at, "app-viewer", theirs) as viewer:
        yield Cast(gp, viewer)


def _client(narration: Narration, at: str, app: str, tls: Tls | None, inbox: str | None = None) -> Client:
    profile = Profile.demo(app) if app == "app-gp" else Profile.demo(app, OVERRIDER)
    return Client(SpineClient(at, profile, tls=tls, inbox=inbox, observer=narration.watch))


async def _alerts(database: Path, nhs_number: str) -> list[AlertRow]:
    store = open_store(str(database), migrate=False)
    await store.open()
    try:
        return [alert for alert in await store.read_alerts() if alert.nhs_number == nhs_number]
    finally:
        await store.close()


# --- the story ------------------------------------------------------------------------------------------------------


def play(cast: Cast, narration: Narration) -> bool:
    """Play every step; say whether all ended as they should."""
    try:
        _Story(cast, narration).play()
    except StoryFailed:
        return False
    except OpenSCRError as error:
        narration.outcome(error.diagnostics, good=False)
        return False
    return True


class _Story:
    """What happens to one patient whom nothing is known of yet."""

    def __init__(self, cast: Cast, narration: Narration) -> None:
        self._cast = cast
        self._tell = narration
        self._gp = cast.gp
        self._number = ""

    def play(self) -> None:
        """Play every step in its order. Raises: `StoryFailed`, and what the client raises."""
        self._find_patient()
        first, second = self._summaries()
        self._upload("Initial upload by the GP system", first)
        self._upload("Replacement: the GP's own summary takes its place", second)
        self._list()
        self._retrieve(second.event_id)
        self._consent(Consent.NO, "The patient says no")
        self._refused()
        self._override(second.event_id)
        self._consent(Consent.ASK, "The patient takes that back")
        self._withdraw(second.event_id)
        self._list_withdrawn(second.event_id)

    def _find_patient(self) -> None:
        with self._tell.step("A test patient without a record"):
            taken: set[str] = set()
            for _ in range(_SEARCHES):
                number = fresh_number(secrets.randbelow(1_000_000), taken)
                taken.add(number)
                answer = self._gp.list_events(number)
                kind = refusal_of(answer.outcome)
                if kind is Refusal.NO_RECORD:
                    self._number = number
                    spaced = f"{number[:3]} {number[3:6]} {number[6:]}"
                    self._tell.outcome(f"NHS number {spaced}: {in_words(answer.outcome)}", good=True)
                    return
                if kind is not None and kind is not Refusal.ACCESS_DENIED:
                    self._tell.outcome(in_words(answer.outcome), good=False)
                    return
            self._tell.outcome("no number without a record was found", good=False)

    def _summaries(self) -> tuple[Step, Step]:
        """Compose a synthetic history: first what the computer sends by itself, then what the GP adds."""
        # Event ids are fresh each time: a number that was played with and withdrawn may be drawn again.
        story = Story(self._number, mint_uuid(), date.today(), Bearing(enriched=True))
        first = story.upload(1, 2, story.history.core(story.today), initial=True)
        second = story.upload(2, 1, story.content(0), replaces=first.event_id)
        return first, second

    def _upload(self, title: str, summary: Step) -> None:
        with self._tell.step(title):
            submission = self._gp.upload_document(summary.document)
            self._acknowledged(submission, summary.event_id, EventStatus.NORMAL)

    def _acknowledged(self, submission: Submission, event_id: str, status: EventStatus) -> None:
        """Tell the application acknowledgement; where it cannot be seen, the record itself says what happened."""
        if submission.acknowledgement is not None:
            outcome = submission.acknowledgement.outcome
            text = f"application acknowledgement {in_words(outcome)} {submission.acknowledgement.detail}".rstrip()
            self._tell.outcome(text, good=outcome.accepted)
            return
        listed = self._gp.list_events(self._number)
        good = _status_of(listed, event_id) is status
        self._tell.outcome(
            f"delivered; the acknowledgement goes elsewhere, the list {'shows' if good else 'does not show'} the event "
            f"as {status.name.capitalize()}",
            good=good,
        )

    def _list(self) -> None:
        with self._tell.step("List: both versions, one of them current"):
            answer = self._gp.list_events(self._number)
            statuses = [event.status for event in answer.events]
            good = sorted(statuses) == [EventStatus.NORMAL, EventStatus.REPLACED]
            self._tell.outcome(f"{answer.outcome.ack.value}: {_listed(answer)}", good=good)

    def _retrieve(self, event_id: str) -> None:
        with self._tell.step("Retrieve the current summary"):
            answer = self._gp.retrieve(self._number)
            good = answer.event is not None and answer.event.event_id.upper() == event_id
            if good:
                self._tell.passage(presentation_of(answer.document).text(90))
            size = f", document of {len(answer.document):,} bytes" if good else ""
            self._tell.outcome(f"{in_words(answer.outcome)}{size}", good=good)

    def _consent(self, value: Consent, title: str) -> None:
        with self._tell.step(f"Consent {value.value}: {title}"):
            outcome = self._gp.set_consent(self._number, value)
            if not outcome.accepted:
                self._tell.outcome(in_words(outcome), good=False)
                return
            stored = self._gp.get_consent(self._number)
            good = stored.outcome.accepted and stored.consent is value
            self._tell.outcome(f"{in_words(outcome)}; the service says {stored.consent.value}", good=good)

    def _refused(self) -> None:
        with self._tell.step("List: refused"):
            outcome = self._gp.list_events(self._number).outcome
            self._tell.outcome(in_words(outcome), good=_is_refused(outcome))

    def _override(self, event_id: str) -> None:
        with self._tell.step("Legal override at the hospital's viewer, and an alert for the privacy officer"):
            answer = self._cast.viewer.retrieve(self._number, None, STATUTE)
            good = answer.event is not None and answer.event.event_id.upper() == event_id
            text = in_words(answer.outcome)
            if good and self._cast.alerts_of is not None:
                alerts = self._cast.alerts_of(self._number)
                good = bool(alerts)
                kinds = {f"type {alert.type}, reason {alert.reason}, user {alert.user_id}" for alert in alerts}
                text += f"; alerts raised: {', '.join(sorted(kinds)) or 'none'}"
            elif good:
                text += "; the service alerts the privacy officer"
            self._tell.outcome(text, good=good)

    def _withdraw(self, event_id: str) -> None:
        with self._tell.step("Withdrawal of the current summary"):
            submission = self._gp.withdraw(self._number, event_id, "03", event_type=GP_SUMMARY)
            self._acknowledged(submission, event_id, EventStatus.WITHDRAWN)

    def _list_withdrawn(self, event_id: str) -> None:
        with self._tell.step("List: nothing current any more"):
            answer = self._gp.list_events(self._number)
            good = _status_of(answer, event_id) is EventStatus.WITHDRAWN and all(
                event.status is not EventStatus.NORMAL for event in answer.events
            )
            self._tell.outcome(f"{answer.outcome.ack.value}: {_listed(answer)}", good=good)


def _status_of(answer: EventListOutcome, event_id: str) -> EventStatus | None:
    return next((event.status for event in answer.events if event.event_id.upper() == event_id), None)


def _listed(answer: EventListOutcome) -> str:
    return ", ".join(f"{event.event_id} {event.status.name.capitalize()}" for event in answer.events) or "no events"


def _is_refused(outcome: Outcome) -> bool:
    """Whether this is the refusal of a dissent: both codes, in their order. Spec: 20 §8."""
    return [issue.code for issue in outcome.issues] == ["420", "30418"]
