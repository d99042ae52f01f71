"""Many messages, one after the other for each patient, several patients at once, at a steady rate.

Invariants:

* What belongs to one patient is sent in its order, each message after the answer to the one before.
* A message that may have arrived is sent again as the same message, never as another one.
* The rate is that of an open loop: a message is due at its time whatever the answers take. A program that is behind
  sends without waiting, until it has caught up.

Spec: 00 §4 ``upload``; 40 §6.3, §6.5; 90 §6.2.
"""

import hashlib
import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from openscr.cli.console import note, on_terminal, readable_name, say, say_json
from openscr.cli.upload_journal import Fate, Journal
from openscr.errors import AccessRefused, DeliveryError, OpenSCRError, RetriesExhausted
from openscr.identifiers import Clock, UuidFactory, mint_uuid, utc_now

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from openscr.client import Client, Posting
    from openscr.spine import Outcome

FEW: Final = 20
"""Refusals of earlier runs that are listed one by one."""

IN_A_ROW: Final = 5
"""Messages without an answer after which the service is taken to be away."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something to be sent: its name in the journal, whose it is (a key, not a number), and its content.

    ``send`` sends it as the posting says and returns the outcome, none when that cannot be seen. ``stored`` says
    whether the record has it already, when an answer was lost.
    """

    name: str
    patient: str
    content: bytes
    send: "Callable[[Client, Posting], Outcome | None]"
    stored: "Callable[[Client], bool]"


@dataclass(slots=True)
class Pace:
    """Says how long to wait before the next message: ``rate`` a second, none for as fast as it goes."""

    rate: float | None
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _first: float | None = None
    _sent: int = 0

    def wait(self) -> None:
        """Wait until the next message is due."""
        if self.rate is None:
            return
        now = self.monotonic()
        self._first = now if self._first is None else self._first
        due = self._first + self._sent / self.rate
        self._sent += 1
        if due > now:
            self.sleep(due - now)


@dataclass(slots=True)
class Tally:
    """How many messages ended how in this run."""

    accepted: int = 0
    delivered: int = 0
    refused: int = 0
    refused_before: int = 0
    skipped: int = 0
    unreadable: int = 0
    unanswered: int = 0
    stopped: str = ""

    @property
    def failed(self) -> bool:
        """Whether something is still to be done."""
        return bool(self.refused or self.refused_before or self.unreadable or self.unanswered or self.stopped)

    def __str__(self) -> str:
        """Return the last line of an upload."""
        parts = [
            f"{self.accepted} accepted",
            f"{self.refused + self.refused_before} refused",
            f"{self.skipped} skipped",
        ]
        more = (
            (self.delivered, "delivered; their acknowledgements go to the registered endpoint"),
            (self.unreadable, "not sent: no summary can be read in them"),
            (self.unanswered, "without an answer"),
        )
        return ", ".join(parts + [f"{number} {words}" for number, words in more if number])

    @property
    def form(self) -> dict[str, Any]:
        """The same for programs."""
        names = ("accepted", "delivered", "refused", "refused_before", "skipped", "unreadable", "unanswered")
        return {name: getattr(self, name) for name in names} | {"complete": not self.failed}


@dataclass(slots=True)
class Bulk:
    """One bulk upload under way."""

    client: "Client"
    journal: Journal
    pace: Pace
    parallel: int = 1
    retry_refused: bool = False
    as_json: bool = False
    clock: Clock = utc_now
    mint: UuidFactory = mint_uuid
    tally: Tally = field(default_factory=Tally)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _in_a_row: int = 0

    def run(self, items: Iterable[Item], total: int | None) -> Tally:
        """Send everything that was not sent before, and return what became of it. Interrupted, it says how to go on."""
        lanes = [_Lane(self._handle, self._stop) for _ in range(self.parallel)]
        with ExitStack() as stack:
            progress = stack.enter_context(_progress()) if on_terminal() and not self.as_json else None
            task = progress.add_task("Sending", total=total) if progress is not None else None
            try:
                self._dispatch(items, lanes, progress, task)
                for lane in lanes:
                    lane.finish()
            except KeyboardInterrupt:
                self._end("interrupted")
                for lane in lanes:
                    lane.abandon()
        return self.tally

    def _dispatch(
        self, items: Iterable[Item], lanes: "list[_Lane]", progress: "Progress | None", task: "TaskID | None"
    ) -> None:
        for item in items:
            if self._stop.is_set():
                return
            if not self._is_done(item.name):
                self.pace.wait()
                lane = lanes[hash_of(item.patient) % len(lanes)]
                lane.put(item)
            if progress is not None and task is not None:
                progress.advance(task)

    def _is_done(self, name: str) -> bool:
        known = self.journal.find(name)
        if known is None or known.fate is Fate.SENDING:
            return False
        if known.fate is Fate.REFUSED:
            if self.retry_refused:
                return False
            self.tally.refused_before += 1
            if self.tally.refused_before <= FEW:
                note(f"openscr: {name}: refused before ({known.code}); --retry-refused sends it again")
            return True
        self.tally.skipped += 1
        return True

    def _end(self, why: str) -> None:
        with self._lock:
            self.tally.stopped = self.tally.stopped or why
        self._stop.set()

    # --- one message ------------------------------------------------------------------------------------------------

    def _handle(self, item: Item) -> None:
        posting = self._posting(item)
        try:
            outcome = item.send(self.client, posting)
        except (AccessRefused, RetriesExhausted) as error:
            self._unanswered(item, error)
            self._end(error.diagnostics)
        except DeliveryError as error:
            if posting.again and self._is_stored(item):
                self._answered(item, Fate.ACCEPTED)
            else:
                self._unanswered(item, error)
        except (OpenSCRError, ValueError) as error:
            self._count("unreadable")
            self._tell(item, "unreadable", getattr(error, "diagnostics", str(error)))
        else:
            if outcome is None:
                self._answered(item, Fate.DELIVERED)
            elif outcome.accepted:
                self._answered(item, Fate.ACCEPTED)
            else:
                self._answered(item, Fate.REFUSED, outcome)

    def _posting(self, item: Item) -> "Posting":
        """Return how a message goes, and write that down: as before when it may have arrived, else as a new one."""
        from openscr.client import Posting

        known = self.journal.find(item.name)
        digest = hashlib.sha256(item.content).hexdigest()[:24]
        if known is not None and known.fate is Fate.SENDING and known.digest == digest:
            wrapper_id = known.message_id if known.retry else ""
            return Posting(known.message_id, datetime.fromisoformat(known.at), again=True, wrapper_id=wrapper_id)
        retry = known is not None and known.fate is Fate.REFUSED
        posting = Posting(self.mint(), self.clock())
        self.journal.sending(item.name, posting.message_id, posting.at, digest, retry=retry)
        # A message with the HL7 id of one that was refused would be refused as its repetition.
        return Posting(posting.message_id, posting.at, wrapper_id=posting.message_id) if retry else posting

    def _is_stored(self, item: Item) -> bool:
        try:
            return item.stored(self.client)
        except OpenSCRError:
            return False

    def _answered(self, item: Item, fate: Fate, outcome: "Outcome | None" = None) -> None:
        self._in_a_row = 0
        self.journal.ended(item.name, fate, outcome.code if outcome is not None else "")
        self._count(fate.value)
        from openscr.cli.outcomes import refusal_line

        self._tell(item, fate.value, refusal_line(outcome) if outcome is not None else "")

    def _unanswered(self, item: Item, error: OpenSCRError) -> None:
        self._count("unanswered")
        self._tell(item, "unanswered", error.diagnostics)
        self._in_a_row += 1
        if self._in_a_row >= IN_A_ROW:
            self._end(error.diagnostics)

    def _count(self, name: str) -> None:
        with self._lock:
            setattr(self.tally, name, getattr(self.tally, name) + 1)

    def _tell(self, item: Item, fate: str, text: str) -> None:
        with self._lock:
            if self.as_json:
                say_json({"input": readable_name(item.name), "fate": fate, **({"text": text} if text else {})})
            elif text:
                note(f"openscr: {item.name}: {text}")


def report(tally: Tally, *, as_json: bool, resume: str) -> None:
    """Print the last line of an upload; ``resume`` says how to go on when not everything was sent."""
    if as_json:
        say_json(tally.form)
    else:
        say(str(tally))
    if tally.stopped:
        note(f"openscr: stopped: {tally.stopped}; {resume}")


class _Lane:
    """Sends for some of the patients, one message after the other."""

    def __init__(self, handle: Callable[[Item], None], stop: threading.Event) -> None:
        # Few enough that a large upload waits here and not in memory.
        self._items: queue.Queue[Item | None] = queue.Queue(maxsize=8)
        self._handle = handle
        self._stop = stop
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="openscr upload", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Give it something to send; waits while it has enough."""
        while not self._stop.is_set():
            try:
                self._items.put(item, timeout=0.2)
            except queue.Full:
                continue
            else:
                return

    def finish(self) -> None:
        """Wait until everything is sent. Raises: what went wrong in a way that nobody expected."""
        while self._thread.is_alive():
            try:
                self._items.put(None, timeout=0.2)
                break
            except queue.Full:
                continue
        self._thread.join()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """Wait a moment for the message under way; the journal knows of it if that is not enough."""
        self._thread.join(1.0)

    def _work(self) -> None:
        try:
            while (item := self._next()) is not None:
                self._handle(item)
        except BaseException as error:  # noqa: BLE001  raised again where somebody sees it
            self._error = error
            self._stop.set()

    def _next(self) -> Item | None:
        while not self._stop.is_set():
            try:
                return self._items.get(timeout=0.2)
            except queue.Empty:
                continue
        return None


def hash_of(key: str) -> int:
    """Return a number for a key that is the same in every run."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=4).digest(), "big")


def _progress() -> "Progress":
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "-")

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), Rate(), TimeRemainingColumn())
    return Progress(*columns, transient=True)
