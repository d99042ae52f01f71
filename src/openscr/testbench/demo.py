"""The demo world at work: its patients settled in the record, its collector, its fresh samples.

Spec: 00 §3.1, §5.
"""

import json
import secrets
from collections.abc import Sequence
from datetime import date

from openscr.identifiers import LONDON, Clock, UuidFactory, slot_of
from openscr.record.record import Record
from openscr.spine import EventStatus
from openscr.store.interface import PatientState, Store, Transaction
from openscr.testbench.inbox import SCHEME, Inbox, InboxMessage
from openscr.testbench.population import FULL_RECORD, fresh_number, population, synthetic_patient
from openscr.testbench.samples import Sample, put_patient, sample_event, sample_list, sample_upload
from openscr.testbench.stories import State, StepKind
from openscr.testbench.world import OWN_PARTY, demo_directory


class Demo:
    """Everything that exists only with ``--demo``. ``public_url`` is set once the listeners have their ports."""

    inbox_scheme = SCHEME

    def __init__(self, store: Store, record: Record, inbox_size: int, *, clock: Clock, mint: UuidFactory) -> None:
        self._store = store
        self._record = record
        self._clock = clock
        self._mint = mint
        self.collector = Inbox(inbox_size, clock=clock, mint=mint)
        self.public_url = ""

    def _today(self) -> date:
        return self._clock().astimezone(LONDON).date()

    async def settle(self) -> None:
        """Put the demo patients into an empty store; a store that has them is left alone.

        The patient index is written last: a first run that was cut short is begun again, and what it had stored
        answers as stored.
        """
        if await self._store.read_patients():
            return
        patients = population(self._today())
        for patient in patients:
            await put_patient(self._record, patient)
        await self._store.write_patients(patient.entry for patient in patients)

    async def bring(self, nhs_number: str) -> None:
        """Give a patient a core summary, unless there is a record of this number already."""
        if not (await self.state_of(nhs_number)).events:
            await put_patient(self._record, synthetic_patient(nhs_number, State.CORE, self._today()))

    async def state_of(self, nhs_number: str) -> PatientState:
        """Return what the store holds of a patient, for the demo's own pages."""

        async def read(transaction: Transaction) -> PatientState:
            return await transaction.read_patient(nhs_number)

        return await self._store.transact(slot_of(nhs_number), read)

    async def fresh_number(self) -> str:
        """Return a valid number of the test range that nothing is known of yet. Spec: 00 §4 ``demo``."""
        start = secrets.randbelow(1_000_000)
        taken: set[str] = set()
        while True:
            number = fresh_number(start, taken)
            state = await self.state_of(number)
            if state.index is None and not state.events and state.consent_version == 0:
                return number
            taken.add(number)

    # --- helpers behind /demo ---------------------------------------------------------------------------------------

    def inbox(self, party_key: str, since: int) -> tuple[int, Sequence[InboxMessage]]:
        """Return what a party's systems have received since. Spec: 00 §5."""
        return self.collector.since(party_key, since)

    async def sample(self, kind: str) -> Sample:
        """Return a fresh request body: ``upload`` for a fresh number, ``list`` and ``event`` for the full record."""
        now = self._clock()
        if kind == "list":
            return sample_list(FULL_RECORD, self._mint(), now, self.public_url)
        if kind == "event":
            state = await self.state_of(FULL_RECORD)
            current = next((event for event in state.events if event.status is EventStatus.NORMAL), None)
            event_id = current.event_id if current is not None else self._mint()
            return sample_event(FULL_RECORD, event_id, self._mint(), now, self.public_url)
        number = await self.fresh_number()
        patient = synthetic_patient(number, State.CORE, self._today())
        step = next(step for step in patient.steps if step.kind is StepKind.UPLOAD)
        # The population's event ids follow from the number; a sample is fresh each time it is asked for.
        event_id = self._mint()
        document = step.document.replace(step.event_id.encode(), event_id.encode())
        return sample_upload(document, event_id, now)

    # --- directory --------------------------------------------------------------------------------------------------

    @staticmethod
    def directory_file(*, own_only: bool) -> bytes:
        """Return the demo's directory, or of it just the service's own party, for a service that begins empty."""
        if not own_only:
            return demo_directory()
        form = json.loads(demo_directory())
        form["parties"] = [party for party in form["parties"] if party.get("own")]
        form["systems"] = [system for system in form["systems"] if system["party_key"] == OWN_PARTY]
        form["endpoints"] = [endpoint for endpoint in form["endpoints"] if endpoint["party_key"] == OWN_PARTY]
        form["users"] = []
        return json.dumps(form).encode()
