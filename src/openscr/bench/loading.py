"""Filling a store with records of any number, straight through the record's own decisions.

Nothing goes over a network and nothing is parsed for each record, but all of it is stored as an upload is: receipt with
the whole message, event, audit row. Uploads of one slot go together in one transaction. What is there already is left
alone, so a load that was cut short is begun again.

Spec: 90 §4 "bulk load", §5, §7.
"""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar, cast

from openscr.access.matrix import load_matrix
from openscr.access.policy import AccessPolicy
from openscr.bench.patients import event_id_of, number_of
from openscr.bench.templates import EBXML_TIME, EFFECTIVE, EVENT, HL7_TIME, MESSAGE, NUMBER, Template, times_at
from openscr.client.profile import Profile
from openscr.client.reliable import write_reliable
from openscr.codes import ACTOR_TO_PARTY, UPLOAD, VERSION_CODE
from openscr.directory.model import CurrentDirectory, Directory
from openscr.errors import ConfigurationError, OutcomeUnknown
from openscr.hl7.gp_summary import read_summary_message, write_upload
from openscr.hl7.wrapper import Heading, read_wrapper
from openscr.identifiers import SLOTS, Clock, slot_of, utc_now
from openscr.record.decision import RecordRules
from openscr.record.record import Reception, Record
from openscr.spine import MessageIds, Upload
from openscr.store.interface import NOTHING, Foreseen, PatientEntry, RawMessage, Store, Transaction
from openscr.transport.ebxml import write_acknowledgment
from openscr.transport.xml import read_xml

T = TypeVar("T")

WINDOW: Final = SLOTS * 8
"""Patients that are shared out among their slots at once: about eight of them come into one transaction."""

_SLOTS_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class _Kind:
    """A summary that was read once: the whole message, where its payload lies, and what the record asks of it."""

    body: Template
    signal: Template
    offset: int
    length: int
    request: Upload


class _Within:
    """A store of which one transaction is open: what is decided in it becomes durable together."""

    def __init__(self, transaction: Transaction) -> None:
        self._transaction = transaction

    async def transact(
        self, _slot: int, work: Callable[[Transaction], Awaitable[T]], _foreseen: Foreseen = NOTHING
    ) -> T:
        """Run ``work`` in the open transaction."""
        return await work(self._transaction)


class Loader:
    """Puts patients into ``store`` in the name of ``profile``, whom ``directory`` knows.

    ``documents`` are summaries with places to be filled; who gets which is a matter of chance, the same each time.
    """

    def __init__(
        self,
        store: Store,
        directory: Directory,
        profile: Profile,
        documents: Sequence[bytes],
        *,
        clock: Clock = utc_now,
    ) -> None:
        self._store = store
        self._directory = CurrentDirectory(directory)
        self._policy = AccessPolicy(matrix=load_matrix(), unknown_author="accept")
        self._profile = profile
        self._clock = clock
        self._kinds = [self._read(document) for document in documents]

    async def load(
        self,
        count: int,
        *,
        first: int = 0,
        versions: int = 1,
        indexed: bool = False,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Give ``count`` patients from position ``first`` on ``versions`` of a summary each, and a place in the index.

        ``progress`` is told how many records more there are. Raises: `StoreError`.
        """
        for start in range(first, first + count, WINDOW):
            positions = range(start, min(start + WINDOW, first + count))
            if indexed:
                await self._store.write_patients(PatientEntry(number_of(position)) for position in positions)
            await self._load_window(positions, versions, progress)

    async def _load_window(self, positions: range, versions: int, progress: Callable[[int], None]) -> None:
        slots: defaultdict[int, list[int]] = defaultdict(list)
        for position in positions:
            slots[slot_of(number_of(position))].append(position)
        groups: Iterator[tuple[int, list[int]]] = iter(slots.items())

        async def worker() -> None:
            for slot, members in groups:
                try:
                    await self._put(slot, members, versions)
                except OutcomeUnknown:
                    # Whatever is there already is recognised.
                    await self._put(slot, members, versions)
                progress(len(members) * versions)

        workers = [asyncio.create_task(worker()) for _ in range(_SLOTS_AT_ONCE)]
        try:
            await asyncio.gather(*workers)
        finally:
            for each in workers:
                each.cancel()

    async def _put(self, slot: int, positions: Sequence[int], versions: int) -> None:
        async def work(transaction: Transaction) -> None:
            # The record asks of its store nothing but transactions.
            store = cast("Store", _Within(transaction))
            record = Record(store, self._directory, self._policy, RecordRules(open_index=True), clock=self._clock)
            for position in positions:
                for version in range(1, versions + 1):
                    await self._upload(record, position, version)

        await self._store.transact(slot, work)

    async def _upload(self, record: Record, position: int, version: int) -> None:
        number, event_id, now = number_of(position), event_id_of(position, version), self._clock()
        kind = self._kinds[random.Random(position * 31 + version).randrange(len(self._kinds))]  # noqa: S311
        identified = {NUMBER: number.encode(), MESSAGE: event_id.encode(), EVENT: event_id.encode()}
        values = times_at(now) | identified
        body = kind.body.fill(values)
        payload = body[kind.offset : kind.offset + kind.length]
        ids = MessageIds(event_id, UPLOAD, event_id)
        request = replace(
            kind.request,
            ids=ids,
            nhs_number=number,
            event_id=event_id,
            effective_time=values[EFFECTIVE].decode(),
            document=replace(kind.request.document, payload=payload),
        )
        reception = Reception(
            from_party=self._profile.party_key,
            message_id=event_id,
            raw=RawMessage(body, kind.offset, kind.length),
            received_at=now,
            signal=kind.signal.fill(values),
        )
        received = await record.receive(reception, self._profile.caller, ids, request, nhs_number=number)
        if received.outcome is not None and not received.outcome.accepted:
            raise ConfigurationError(f"the record refused a summary: {received.outcome.code}")

    def _read(self, document: bytes) -> _Kind:
        profile, message_id = self._profile, MESSAGE.decode()
        heading = Heading(message_id, HL7_TIME.decode(), VERSION_CODE, profile.receiver_asid, profile.asid)
        payload = write_upload(UPLOAD, heading, document, profile.person)
        route = profile.route(UPLOAD)
        message = write_reliable(
            payload,
            action=UPLOAD,
            caller=profile.caller,
            receiver=profile.receiver_party,
            route=route,
            message_id=message_id,
            timestamp=EBXML_TIME.decode(),
        )
        # It is read as any patient's, then told of each by name.
        whole = Template(payload).fill(
            times_at(self._clock()) | {NUMBER: number_of(0).encode(), MESSAGE: MESSAGE, EVENT: EVENT}
        )
        root = read_xml(whole)
        found = read_summary_message(root, read_wrapper(root), whole, UPLOAD)
        if not isinstance(found.request, Upload):
            raise ConfigurationError("a summary of the corpus breaks the rules of uploads")
        signal = write_acknowledgment(
            from_party=profile.receiver_party,
            to_party=profile.party_key,
            cpa_id=route.cpa_id,
            conversation_id=message_id,
            message_id=EVENT.decode(),
            timestamp=EBXML_TIME.decode(),
            ref_to_message_id=message_id,
            actor=ACTOR_TO_PARTY,
        )
        offset = message.body.index(payload)
        return _Kind(Template(message.body), Template(signal), offset, len(payload), found.request)
