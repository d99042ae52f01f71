"""Every verb that shows something of a record: each is one transaction, which also holds its audit row and its alert.

Invariant: who may look is decided before anything is looked at, and every attempt is audited, whatever its outcome.

Spec: 20 §4.4, §7, §8, §10.3, §10.5, §11; 30 §9; 40 §7.2.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from openscr.access.policy import AccessPolicy, Admission, Authorisation, Operation
from openscr.directory.model import CurrentDirectory
from openscr.identifiers import Clock, UuidFactory, slot_of
from openscr.record.audit import audit_entry
from openscr.record.decision import Decision, RecordRules, refuse
from openscr.record.documents import choose, criteria_of, describe, matching, note_headings
from openscr.record.scr_application import holders_of, listed, permission_of, relationship_of
from openscr.record.ties import in_force, ties_of
from openscr.record.viewing import access_alert, decide_view, in_list_order, no_record, show
from openscr.spine import (
    Caller,
    Consent,
    DissentOverride,
    DocumentListOutcome,
    DocumentListQuery,
    DocumentOutcome,
    DocumentQuery,
    EventListOutcome,
    EventListQuery,
    EventOutcome,
    EventQuery,
    EventStatus,
    ExtendedListOutcome,
    ScrPermissionsOutcome,
    ScrPermissionsQuery,
    SubjectAccessOutcome,
    SubjectAccessQuery,
)
from openscr.store.alert_evidence import ALERT_DIGEST, alert_digest
from openscr.store.interface import Foreseen, OutboxRow, PatientState, Store, Transaction

LARGEST_RECORD = 64 * 1024 * 1024
"""Bytes of documents that one answer to a subject access query may hold; a usual record has some hundred thousand."""

SUBJECT_ACCESS_ALERT = "subject-access"
"""Reason of the alert that every subject access raises. Spec: 20 §10.5."""

_ADMITTED = Admission()

Query = EventListQuery | EventQuery | DocumentListQuery | DocumentQuery | SubjectAccessQuery | ScrPermissionsQuery


@dataclass(frozen=True, slots=True)
class _Look:
    """A patient's record as one caller may see it; ``decision`` is a refusal where it may not."""

    caller: Caller
    query: Query
    now: datetime
    state: PatientState
    authorisation: Authorisation
    decision: Decision

    @property
    def allowed(self) -> bool:
        """Whether anything may be shown."""
        return self.decision.outcome.accepted

    def refused(self, refusal: Decision) -> "_Look":
        """Return the same with a refusal; what was noted and alerted stays."""
        return replace(self, decision=replace(refusal, notes=self.decision.notes, alert=self.decision.alert))


class Views:
    """The record of all patients, as far as it is looked at. Parameters as those of `openscr.record.record.Record`."""

    def __init__(
        self,
        store: Store,
        directory: CurrentDirectory,
        policy: AccessPolicy,
        rules: RecordRules,
        clock: Clock,
        mint: UuidFactory,
    ) -> None:
        self._store = store
        self._directory = directory
        self._policy = policy
        self._rules = rules
        self._clock = clock
        self._mint = mint

    async def _look(
        self,
        transaction: Transaction,
        caller: Caller,
        query: Query,
        override: DissentOverride,
        operation: Operation = Operation.VIEW,
        *,
        named: tuple[str, ...] | None = None,
        only_asking: bool = False,
    ) -> _Look:
        """Decide whether this may be looked at: the steps 4 to 6 of 20 §10.3, 35 §9.4.

        With ``named`` of the record only the current event and those of these ids are read. With ``only_asking`` it is
        what stands in the way that is asked for: consent, relationship and permission are part of the answer then, and
        refuse nothing.
        """
        now = self._clock()
        authorisation = self._policy.authorise(self._directory.snapshot, operation, caller, override=override)
        if named is None:
            state = await transaction.read_patient(query.nhs_number)
        else:
            state = await transaction.read_concerned(query.nhs_number, named)
        if only_asking:
            judged = replace(state, consent=Consent.ASK)
            decision = decide_view(override, judged, authorisation, self._rules, caller, now, self._mint())
            return _Look(caller, query, now, state, authorisation, decision)
        ties = ties_of(state, await transaction.read_standings(query.nhs_number, now), authorisation, now)
        admission = self._policy.admit(authorisation, override, ties) if authorisation.allowed else _ADMITTED
        if not admission.allowed:
            authorisation = replace(authorisation, allowed=False, reason=admission.reason)
        decision = decide_view(
            override, state, authorisation, self._rules, caller, now, self._mint(), past_permission=admission.alert
        )
        told = {"relationship": ties.relationship, "permission": ties.permission}
        told["registered"] = "here" if ties.registered else ""
        decision = replace(decision, notes={**decision.notes, **{name: said for name, said in told.items() if said}})
        return _Look(caller, query, now, state, authorisation, decision)

    async def _conclude(self, transaction: Transaction, look: _Look, details: Mapping[str, str] | None = None) -> None:
        """Keep the alert and the audit row. Spec: 35 §7."""
        decision, query = look.decision, look.query
        said = {**decision.notes, **(details or {})}
        if decision.alert is not None:
            await transaction.append_alert(decision.alert)
            said |= {"alert": decision.alert.id, ALERT_DIGEST: alert_digest(decision.alert)}
        entry = audit_entry(
            query.ids.interaction,
            decision.outcome,
            query.nhs_number,
            look.now,
            caller=look.caller,
            ids=query.ids,
            authorisation=look.authorisation,
            reason=decision.reason,
            details=said,
        )
        await transaction.append_audit(entry)

    # --- events -----------------------------------------------------------------------------------------------------

    async def list_events(self, caller: Caller, query: EventListQuery) -> EventListOutcome:
        """List a patient's events in the order of 20 §7.1. Raises: `StoreError`. Spec: 20 §10.3."""

        async def work(transaction: Transaction) -> EventListOutcome:
            look = await self._look(transaction, caller, query, query.override)
            events, consent = look.state.events, look.state.consent
            empty = not events or (
                query.current_only and all(event.status is not EventStatus.NORMAL for event in events)
            )
            if look.allowed and empty:
                look = look.refused(no_record(query.nhs_number))
            await self._conclude(transaction, look)
            outcome = look.decision.outcome
            if not look.allowed:
                return EventListOutcome(outcome, query.nhs_number, consent=consent)
            shown = tuple(show(event) for event in in_list_order(events))
            return EventListOutcome(outcome, query.nhs_number, shown, consent)

        return await self._store.transact(slot_of(query.nhs_number), work, Foreseen(query.nhs_number))

    async def retrieve_event(self, caller: Caller, query: EventQuery) -> EventOutcome:
        """Return one event with its document, whatever its status. Raises: `StoreError`. Spec: 20 §7.2, §10.3."""
        named = (query.event_id,)

        async def work(transaction: Transaction) -> EventOutcome:
            look = await self._look(transaction, caller, query, query.override, named=named)
            event = next((row for row in look.state.events if row.event_id == query.event_id), None)
            if look.allowed and event is None:
                unknown = refuse("30308", "event_unknown", event_id=query.event_id)
                look = look.refused(unknown if look.state.has_events else no_record(query.nhs_number))
            await self._conclude(transaction, look, {"event_id": query.event_id})
            if event is None or not look.allowed:
                return EventOutcome(look.decision.outcome, query.nhs_number)
            document = await transaction.read_document(event)
            return EventOutcome(look.decision.outcome, query.nhs_number, show(event), document)

        return await self._store.transact(slot_of(query.nhs_number), work, Foreseen(query.nhs_number, named=named))

    async def list_extended(self, caller: Caller, query: EventListQuery) -> ExtendedListOutcome:
        """List a patient's events with the identity of their authors, for an SCR application. Spec: 20 §11.3."""

        async def work(transaction: Transaction) -> ExtendedListOutcome:
            look = await self._look(transaction, caller, query, query.override)
            await self._conclude(transaction, look)
            if not look.allowed:
                return ExtendedListOutcome(look.decision.outcome, query.nhs_number)
            directory = self._directory.snapshot
            events = tuple(listed(event, directory) for event in in_list_order(look.state.events))
            return ExtendedListOutcome(look.decision.outcome, query.nhs_number, events)

        return await self._store.transact(slot_of(query.nhs_number), work, Foreseen(query.nhs_number))

    # --- documents --------------------------------------------------------------------------------------------------

    async def list_documents(
        self,
        caller: Caller,
        query: DocumentListQuery,
        answer: Callable[[DocumentListOutcome], OutboxRow] | None = None,
    ) -> DocumentListOutcome:
        """List the documents that are wanted, newest first; ``answer`` makes the row that will deliver the list.

        Raises: `StoreError`. Spec: 20 §8, §13; 40 §7.2.
        """
        has_heading: dict[str, bool] = {}

        async def work(transaction: Transaction) -> DocumentListOutcome | None:
            look = await self._look(transaction, caller, query, query.override)
            if look.allowed and not look.state.events:
                look = look.refused(no_record(query.nhs_number))
            found = DocumentListOutcome(look.decision.outcome, query.nhs_number)
            if look.allowed:
                rows = matching(look.state.events, query.wanted)
                if query.wanted.cre_type is not None:
                    if not await note_headings(transaction, rows, query.wanted.cre_type, has_heading):
                        return None
                    rows = [row for row in rows if has_heading[row.event_id]]
                directory = self._directory.snapshot
                found = replace(found, documents=tuple(describe(row, directory) for row in rows))
            await self._conclude(transaction, look, criteria_of(query.wanted))
            if answer is not None:
                await transaction.append_outbox(answer(found))
            return found

        slot, foreseen = slot_of(query.nhs_number), Foreseen(query.nhs_number)
        while (found := await self._store.transact(slot, work, foreseen)) is None:
            # Nothing has been kept of it; others go in between.
            pass
        return found

    async def retrieve_document(
        self, caller: Caller, query: DocumentQuery, answer: Callable[[DocumentOutcome], OutboxRow] | None = None
    ) -> DocumentOutcome:
        """Return one document with its content, whatever its status; ``answer`` makes the row that will deliver it.

        Raises: `StoreError`. Spec: 20 §8, §13; 40 §7.2.
        """
        # Which document is meant by its set can only be told by looking at all of them.
        named = (query.document_id.upper(),) if query.document_id else None

        async def work(transaction: Transaction) -> DocumentOutcome:
            look = await self._look(transaction, caller, query, query.override, named=named)
            if look.allowed and not look.state.has_events:
                look = look.refused(no_record(query.nhs_number))
            event = None
            if look.allowed:
                chosen = choose(look.state.events, query)
                if isinstance(chosen, Decision):
                    look = look.refused(chosen)
                else:
                    event = chosen
            asked = {"event_id": query.document_id} if query.document_id else {"set_id": query.set_id}
            await self._conclude(transaction, look, asked)
            found = DocumentOutcome(look.decision.outcome, query.nhs_number)
            if event is not None:
                document = describe(event, self._directory.snapshot)
                found = replace(found, document=document, content=await transaction.read_document(event))
            if answer is not None:
                await transaction.append_outbox(answer(found))
            return found

        return await self._store.transact(slot_of(query.nhs_number), work, Foreseen(query.nhs_number, named=named))

    # --- the whole record -------------------------------------------------------------------------------------------

    async def retrieve_record(self, caller: Caller, query: SubjectAccessQuery) -> SubjectAccessOutcome:
        """Return every event with its document; it never happens without an alert. Raises: `StoreError`.

        Spec: 20 §7.2, §10.5.
        """

        async def work(transaction: Transaction) -> SubjectAccessOutcome:
            look = await self._look(transaction, caller, query, query.override, Operation.SUBJECT_ACCESS)
            events = in_list_order(look.state.events)
            if look.allowed and look.decision.alert is None:
                alert = access_alert(
                    SUBJECT_ACCESS_ALERT, query.override, look.state, look.authorisation, caller, look.now, self._mint()
                )
                look = replace(look, decision=replace(look.decision, alert=alert))
            if look.allowed and not events:
                look = look.refused(no_record(query.nhs_number))
            elif look.allowed and sum(event.document_length for event in events) > LARGEST_RECORD:
                details = f"the record is larger than {LARGEST_RECORD} bytes"
                look = look.refused(refuse("30112", "record_too_large", operation="read", details=details))
            await self._conclude(transaction, look, {"events": str(len(events))} if look.allowed else None)
            if not look.allowed:
                return SubjectAccessOutcome(look.decision.outcome, query.nhs_number)
            found = [(show(event), await transaction.read_document(event)) for event in events]
            return SubjectAccessOutcome(look.decision.outcome, query.nhs_number, tuple(found))

        return await self._store.transact(slot_of(query.nhs_number), work, Foreseen(query.nhs_number))

    # --- SCR applications -------------------------------------------------------------------------------------------

    async def check_scr_permissions(self, caller: Caller, query: ScrPermissionsQuery) -> ScrPermissionsOutcome:
        """Say whether there is a summary, and what stands in the way of viewing it. Raises: `StoreError`.

        A dissent is part of the answer, not a refusal of it; under one, no event is told. Spec: 20 §11, 30 §9.
        """

        async def work(transaction: Transaction) -> ScrPermissionsOutcome:
            look = await self._look(transaction, caller, query, DissentOverride(), named=(), only_asking=True)
            consent = look.state.consent
            named = {"asker": query.asker, "looker": query.role_profile or query.workgroup}
            await self._conclude(transaction, look, named)
            if not look.allowed:
                return ScrPermissionsOutcome(look.decision.outcome, query.nhs_number)
            current = [
                event
                for event in in_list_order(look.state.events)
                if event.status is EventStatus.NORMAL and consent is not Consent.NO
            ]
            rows = await transaction.read_standings(query.nhs_number, look.now)
            holders = holders_of(query, self._directory.snapshot)
            known = self._directory.snapshot.role(query.role_profile)
            permission, relationship = in_force(rows, holders, look.now, known[0].user_id if known else None)
            return ScrPermissionsOutcome(
                look.decision.outcome,
                query.nhs_number,
                tuple(listed(event, self._directory.snapshot) for event in current),
                consent,
                consent,
                permission_of(permission),
                relationship_of(relationship),
            )

        return await self._store.transact(slot_of(query.nhs_number), work, Foreseen(query.nhs_number, named=()))
