"""Any story of uploads, withdrawals and consent, told to the record and to a simple model of it.

Invariants: a patient has at most one Normal event; every acknowledged event comes back byte for byte unless consent
forbids it; consent is only ever appended to; the audit chain holds. Spec: 10 §15, 30 §9.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openscr.spine import Consent, DissentOverride
from openscr.store.interface import ConsentRow

from .clinic import DISSENT, GP, NURSE, SYSTEM, Clinic, codes, open_clinic, patient, uuid

T = TypeVar("T")

PATIENTS = [patient(0), patient(1)]
EVENTS = [uuid(n) for n in range(1, 7)]
SENDERS = [GP, SYSTEM]

patients = st.sampled_from(PATIENTS)
events = st.sampled_from(EVENTS)


class RecordStory(RuleBasedStateMachine):
    """The record beside its model: events by id with their status, and the consent, of each patient."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp())
        self.stack = AsyncExitStack()
        self.events: dict[str, dict[str, str]] = {number: {} for number in PATIENTS}
        self.documents: dict[tuple[str, str], bytes] = {}
        self.types: dict[tuple[str, str], bool] = {}
        self.sent: list[tuple[str, str, str, bytes]] = []
        self.consent = dict.fromkeys(PATIENTS, Consent.ASK)
        self.history: dict[str, tuple[ConsentRow, ...]] = dict.fromkeys(PATIENTS, ())

    def run(self, coroutine: Coroutine[object, object, T]) -> T:
        """Do one thing to its end."""
        return self.runner.run(coroutine)

    @initialize()
    def open(self) -> None:
        """Open a fresh record."""
        self.clinic: Clinic = self.run(self.stack.enter_async_context(open_clinic(self.folder)))

    def teardown(self) -> None:
        """Check the whole store, and close it."""
        try:
            if hasattr(self, "clinic"):
                report = self.run(self.clinic.store.verify())
                assert report.intact, report.faults
                assert report.events == sum(map(len, self.events.values()))
        finally:
            self.run(self.stack.aclose())
            self.runner.close()
            shutil.rmtree(self.folder)

    def current(self, number: str) -> str | None:
        """The model's Normal event."""
        return next((event for event, status in self.events[number].items() if status == "NORMAL"), None)

    @rule(
        number=patients,
        event=events,
        replaces=st.none() | events,
        dissent=st.booleans(),
        nullified=st.booleans(),
        sender=st.sampled_from(SENDERS),
    )
    def upload(
        self, number: str, event: str, replaces: str | None, dissent: bool, nullified: bool, sender: object
    ) -> None:
        """Upload a summary, with or without naming what it replaces."""
        message_id = self.clinic.mint()
        received = self.run(
            self.clinic.upload(
                event,
                nhs_number=number,
                message_id=message_id,
                caller=GP if sender is GP else SYSTEM,
                replaces=replaces,
                text=DISSENT if dissent else "Nothing remarkable",
                status="nullified" if nullified else "active",
            )
        )
        self.sent.append((number, event, message_id, received.signal))
        known = self.events[number]
        current = self.current(number)
        if self.consent[number] is Consent.NO and not dissent:
            expected: tuple[str, ...] = ("420", "30418")
        elif event in known or event == replaces:
            expected = ("410", "30134")
        elif replaces is not None and replaces not in known:
            expected = ("410", "30308")
        elif replaces is not None and known[replaces] != "NORMAL":
            expected = ("430",)
        else:
            expected = ("AA",)
            if current is not None and (replaces is not None or not nullified):
                known[current] = "REPLACED"
            known[event] = "WITHDRAWN" if nullified else "NORMAL"
            self.types[number, event] = False
            self.documents[number, event] = self.clinic.documents[event]
        assert codes(received.outcome) == expected

    @precondition(lambda story: bool(story.sent))
    @rule(data=st.data())
    def resend(self, data: st.DataObject) -> None:
        """Send an upload again, however late and whatever became of it: the same signal, and nothing else."""
        number, event, message_id, signal = data.draw(st.sampled_from(self.sent))
        received = self.run(self.clinic.upload(event, nhs_number=number, message_id=message_id.lower()))
        assert received.duplicate
        assert received.signal == signal

    @rule(event=events)
    def upload_initially(self, event: str) -> None:
        """Upload an initial summary of the first patient."""
        number = PATIENTS[0]
        received = self.run(self.clinic.upload_initially(event))
        if self.consent[number] is Consent.NO:
            expected: tuple[str, ...] = ("420", "30418")
        elif event in self.events[number]:
            expected = ("410", "30134")
        elif self.current(number) is not None:
            expected = ("430",)
        else:
            expected = ("AA",)
            self.events[number][event] = "NORMAL"
            self.types[number, event] = True
            self.documents[number, event] = self.clinic.documents[event]
        assert codes(received.outcome) == expected

    @rule(number=patients, event=events)
    def withdraw(self, number: str, event: str) -> None:
        """Withdraw a summary."""
        received = self.run(self.clinic.withdraw(event, nhs_number=number))
        known = self.events[number]
        if not known:
            expected: tuple[str, ...] = ("410", "30312")
        elif event not in known:
            expected = ("410", "30308")
        elif self.types[number, event] or known[event] == "WITHDRAWN":
            expected = ("430",)
        else:
            expected = ("AA",)
            known[event] = "WITHDRAWN"
        assert codes(received.outcome) == expected

    @rule(number=patients, value=st.sampled_from(list(Consent)), soap=st.booleans())
    def set_consent(self, number: str, value: Consent, soap: bool) -> None:
        """Set the consent."""
        received = self.run(self.clinic.set_consent(value, nhs_number=number, soap=soap))
        assert codes(received.outcome) == ("AA",)
        self.consent[number] = value

    @rule(number=patients, code=st.sampled_from("045"))
    def view(self, number: str, code: str) -> None:
        """List and retrieve everything, as a nurse of another organisation."""
        override = DissentOverride(code)
        listed = self.run(self.clinic.list_events(nhs_number=number, caller=NURSE, override=override))
        allowed = self.consent[number] is not Consent.NO or code == "5"
        if not allowed:
            assert codes(listed.outcome) == ("420", "30418")
        elif not self.events[number]:
            assert codes(listed.outcome) == ("210", "30312")
        else:
            assert {event.event_id: event.status.name for event in listed.events} == self.events[number]
        for event in EVENTS:
            found = self.run(self.clinic.retrieve(event, nhs_number=number, caller=NURSE, override=override))
            if allowed and event in self.events[number]:
                assert found.document == self.documents[number, event]
            else:
                assert found.document == b""
                assert not found.outcome.accepted

    @invariant()
    def one_current_summary(self) -> None:
        """At most one event is Normal, and the statuses are those of the model."""
        if hasattr(self, "clinic"):
            for number in PATIENTS:
                statuses = self.run(self.clinic.statuses(number))
                assert statuses == self.events[number]
                assert list(statuses.values()).count("NORMAL") <= 1

    @invariant()
    def consent_is_appended_to(self) -> None:
        """What was in the history stays there, in its place; the last version is what holds."""
        if hasattr(self, "clinic"):
            for number in PATIENTS:
                rows = self.run(self.clinic.consents(number))
                before = self.history[number]
                assert rows[: len(before)] == before
                assert [row.version for row in rows] == list(range(1, len(rows) + 1))
                assert (rows[-1].value if rows else Consent.ASK) is self.consent[number]
                self.history[number] = rows


RecordStory.TestCase.settings = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestRecordStory = RecordStory.TestCase
