"""Permissions to view and legitimate relationships: recorded, claimed, ended, and looked up.

Each verb is one transaction, which also holds its audit row and its alert. Invariants: who may do it is decided before
anything about the patient is looked at; whoever claims a relationship for himself, or acts in an emergency, raises an
alert; while a patient dissents nobody is permitted anything.

Spec: 35 §6, §9.3, §9.4; 70 §9; 80 §4.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from openscr.access.policy import AccessPolicy, Authorisation, Operation
from openscr.directory.model import CurrentDirectory
from openscr.identifiers import Clock, UuidFactory, slot_of
from openscr.record.audit import audit_entry
from openscr.record.decision import (
    ACCEPTED,
    ACCESS_DENIED,
    Decision,
    RecordRules,
    is_known,
    is_restricted,
    refuse,
    refuse_general,
    survivor_of,
)
from openscr.record.settling import transact_until_known
from openscr.record.ties import in_force_for_role, is_claim, is_registered
from openscr.record.viewing import ACCESS_ALERT, raised_alert
from openscr.spine import Caller, Consent, MessageIds, Outcome
from openscr.standing import (
    Basis,
    Holder,
    HolderKind,
    PermissionRequest,
    RecordedOutcome,
    RelationshipRequest,
    StandingEnd,
    StandingKind,
    StandingOutcome,
    StandingQuery,
    StandingRecord,
    mistakes,
)
from openscr.store.alert_evidence import ALERT_DIGEST, alert_digest
from openscr.store.alert_records import AlertRow
from openscr.store.interface import Patient, StandingRow, Store, Transaction

RELATIONSHIP_ALERT: Final = "1"
"""Alert type: a relationship that somebody claimed for himself. Spec: 35 §6.1."""

EMERGENCY: Final = "5"
"""Alert reason: access made in an emergency. Spec: 35 §6.1."""

USUAL_HOURS: Final = 24.0
"""How long a permission holds where nobody says otherwise. Spec: 70 §9, 80 §4."""


def show_record(row: StandingRow) -> StandingRecord:
    """Return what is told of a stored record; one that was ended before its time holds no longer than that."""
    return StandingRecord(
        row.kind,
        row.id,
        row.holder,
        row.reason,
        row.starts_at,
        row.ended_at or row.ends_at,
        emergency=row.basis is Basis.EMERGENCY,
        claimed=is_claim(row),
    )


class StandingRecords:
    """The permissions and relationships of all patients. Satisfies `openscr.standing.Standings`.

    ``organisation_hours`` is how long a permission for a whole organisation holds, by ODS code, where that is not the
    usual time; the rest as `openscr.record.record.Record`.
    """

    def __init__(
        self,
        store: Store,
        directory: CurrentDirectory,
        policy: AccessPolicy,
        rules: RecordRules,
        *,
        clock: Clock,
        mint: UuidFactory,
        organisation_hours: Mapping[str, float] | None = None,
    ) -> None:
        self._store = store
        self._directory = directory
        self._policy = policy
        self._rules = rules
        self._clock = clock
        self._mint = mint
        self._organisation_hours = dict(organisation_hours or {})

    # --- recording --------------------------------------------------------------------------------------------------

    async def record_permission(self, caller: Caller, request: PermissionRequest) -> RecordedOutcome:
        """Record a permission to view. Raises: `StoreError`. Spec: 70 §6.4, §9; 80 §4."""
        emergency = request.basis is Basis.EMERGENCY
        operation = Operation.EMERGENCY_ACCESS if emergency else Operation.RECORD_PERMISSION
        return await self._record(caller, request, operation)

    async def record_relationship(self, caller: Caller, request: RelationshipRequest) -> RecordedOutcome:
        """Record or claim a legitimate relationship. Raises: `StoreError`. Spec: 35 §6, §6.1."""
        person = caller.person
        if person is not None and request.holder == Holder(HolderKind.ROLE_PROFILE, person.role_profile_id):
            # Whoever names himself claims, whatever the reason: that takes the right to, and the reason of an alert.
            request = replace(request, holder=None)
        operation = Operation.CLAIM_RELATIONSHIP if request.claimed else Operation.RECORD_PERMISSION
        return await self._record(caller, request, operation)

    async def _record(
        self, caller: Caller, request: PermissionRequest | RelationshipRequest, operation: Operation
    ) -> RecordedOutcome:
        now = self._clock()
        authorisation = self._policy.authorise(self._directory.snapshot, operation, caller)
        invalid = bool(mistakes(request, now))
        # Times that no record can have are not even compared; the decision refuses them.
        storable = replace(request, hours=None, starts_at=None) if invalid else request

        async def work(transaction: Transaction) -> RecordedOutcome:
            state = await transaction.read_without_events(request.nhs_number)
            known = await transaction.find_standing(request.ids.message_id.upper())
            wanted = self._row(caller, storable, authorisation, now)
            decision = self._decide(request, state, authorisation, known, wanted, now, invalid=invalid)
            repeated = decision.reason == "repeated"
            if decision.outcome.accepted and not repeated:
                await transaction.append_standing(wanted)
                alert = self._alert(request, wanted, authorisation, caller, now)
                if alert is not None:
                    await transaction.append_alert(alert)
                    raised = {"alert": alert.id, ALERT_DIGEST: alert_digest(alert)}
                    decision = replace(decision, notes={**decision.notes, **raised})
            await self._audit(transaction, caller, request.ids, request.nhs_number, decision, authorisation, now)
            record = show_record(known if repeated and known else wanted) if decision.outcome.accepted else None
            return RecordedOutcome(decision.outcome, record, repeated)

        return await transact_until_known(self._store, slot_of(request.nhs_number), work)

    def _decide(
        self,
        request: PermissionRequest | RelationshipRequest,
        state: Patient,
        authorisation: Authorisation,
        known: StandingRow | None,
        wanted: StandingRow,
        now: datetime,
        *,
        invalid: bool,
    ) -> Decision:
        notes = _describe(wanted)
        if not authorisation.allowed:
            return replace(refuse(ACCESS_DENIED, authorisation.reason), notes=notes)
        if invalid or (wanted.ends_at is not None and wanted.ends_at <= now):
            return replace(refuse_general("400", "invalid"), notes=notes)
        if survivor_of(state) is not None:
            return replace(refuse("30307", "merged"), notes=notes)
        if not is_known(state, self._rules):
            return replace(refuse("35160", "patient_unknown", field="NHS Number"), notes=notes)
        if is_restricted(state):
            return replace(refuse(ACCESS_DENIED, "restricted"), notes=notes)
        if isinstance(request, PermissionRequest) and state.consent is Consent.NO:
            # What the patient refused to everybody nobody can be permitted; a legal reason is an override of the query.
            return replace(refuse(ACCESS_DENIED, "consent"), notes=notes)
        if known is not None:
            same = _describe(known) == notes and (known.nhs_number, known.user_id) == (
                wanted.nhs_number,
                wanted.user_id,
            )
            repeated = Decision(ACCEPTED, reason="repeated", notes=notes)
            return repeated if same else replace(refuse_general("401", "duplicate_message_id"), notes=notes)
        return Decision(ACCEPTED, notes=notes)

    def _row(
        self,
        caller: Caller,
        request: PermissionRequest | RelationshipRequest,
        authorisation: Authorisation,
        now: datetime,
    ) -> StandingRow:
        """Return what would be stored; a relationship without hours has no end."""
        person = authorisation.person
        own = Holder(HolderKind.ROLE_PROFILE, person.role_profile_id if person else "")
        starts_at = request.starts_at or now
        hours = request.hours
        if isinstance(request, PermissionRequest):
            kind, basis = StandingKind.PERMISSION, request.basis
            holder = own
            if request.scope is HolderKind.ORGANISATION:
                holder = Holder(HolderKind.ORGANISATION, authorisation.organisation)
                hours = hours or self._organisation_hours.get(authorisation.organisation)
            hours = hours or USUAL_HOURS
        else:
            kind, basis = StandingKind.RELATIONSHIP, Basis.ASKED
            holder = request.holder or own
        return StandingRow(
            id=request.ids.message_id.upper(),
            nhs_number=request.nhs_number,
            kind=kind,
            holder=holder,
            reason=request.reason,
            starts_at=starts_at,
            ends_at=None if hours is None else starts_at + timedelta(hours=hours),
            recorded_at=now,
            asid=caller.asid,
            organisation=authorisation.organisation,
            user_id=person.user_id if person else None,
            role_profile_id=person.role_profile_id if person else None,
            job_role=person.job_role if person else None,
            basis=basis,
            text=request.text.strip(),
        )

    def _alert(
        self,
        request: PermissionRequest | RelationshipRequest,
        row: StandingRow,
        authorisation: Authorisation,
        caller: Caller,
        now: datetime,
    ) -> AlertRow | None:
        """Return the alert that goes with a record: of an emergency, or of a claim for oneself. Spec: 35 §6.1."""
        if row.basis is Basis.EMERGENCY:
            type, reason = ACCESS_ALERT, EMERGENCY
        elif isinstance(request, RelationshipRequest) and is_claim(row):
            type, reason = RELATIONSHIP_ALERT, request.alert_reason
        else:
            return None
        return raised_alert(type, reason, row.text, row.nhs_number, authorisation, caller, now, self._mint())

    # --- ending and asking ------------------------------------------------------------------------------------------

    async def end(self, caller: Caller, request: StandingEnd) -> Outcome:
        """End a record of the acting organisation before its time; ending it again changes nothing.

        A record that is not there and one of somebody else get the same answer. Raises: `StoreError`.
        """
        now = self._clock()
        authorisation = self._policy.authorise(self._directory.snapshot, Operation.RECORD_PERMISSION, caller)

        async def work(transaction: Transaction) -> Outcome:
            row = await transaction.find_standing(request.record_id.upper())
            if not authorisation.allowed:
                decision = refuse(ACCESS_DENIED, authorisation.reason)
            elif row is None or row.nhs_number != request.nhs_number or not _may_end(row, authorisation):
                decision = refuse("30308", "standing_unknown", event_id=request.record_id)
            else:
                decision = Decision(ACCEPTED, notes=_describe(row))
                if row.ended_at is None:
                    by = authorisation.person.role_profile_id if authorisation.person else caller.asid
                    await transaction.end_standing(replace(row, ended_at=now, ended_by=by))
            await self._audit(transaction, caller, request.ids, request.nhs_number, decision, authorisation, now)
            return decision.outcome

        return await transact_until_known(self._store, slot_of(request.nhs_number), work)

    async def standing(self, caller: Caller, query: StandingQuery) -> StandingOutcome:
        """Say what is in force between the acting role and a patient. Raises: `StoreError`. Spec: 70 §6.3."""
        now = self._clock()
        authorisation = self._policy.authorise(self._directory.snapshot, Operation.RECORD_PERMISSION, caller)

        async def work(transaction: Transaction) -> StandingOutcome:
            state = await transaction.read_without_events(query.nhs_number)
            if not authorisation.allowed:
                decision = refuse(ACCESS_DENIED, authorisation.reason)
            elif survivor_of(state) is not None:
                decision = refuse("30307", "merged")
            elif is_restricted(state):
                decision = refuse(ACCESS_DENIED, "restricted")
            else:
                decision = Decision(ACCEPTED)
            await self._audit(transaction, caller, query.ids, query.nhs_number, decision, authorisation, now)
            if not decision.outcome.accepted:
                return StandingOutcome(decision.outcome)
            rows = await transaction.read_standings(query.nhs_number, now)
            permission, relationship = in_force_for_role(rows, authorisation, now)
            return StandingOutcome(
                decision.outcome,
                show_record(permission) if permission else None,
                show_record(relationship) if relationship else None,
                is_registered(state, authorisation.organisation),
            )

        return await self._store.transact(slot_of(query.nhs_number), work)

    async def _audit(
        self,
        transaction: Transaction,
        caller: Caller,
        ids: MessageIds,
        nhs_number: str,
        decision: Decision,
        authorisation: Authorisation,
        now: datetime,
    ) -> None:
        entry = audit_entry(
            ids.interaction,
            decision.outcome,
            nhs_number,
            now,
            caller=caller,
            ids=ids,
            authorisation=authorisation,
            reason=decision.reason,
            details=decision.notes,
        )
        await transaction.append_audit(entry)


def _may_end(row: StandingRow, authorisation: Authorisation) -> bool:
    """Whether a record is of those who ask: their organisation recorded it, or it is its own."""
    own = Holder(HolderKind.ORGANISATION, authorisation.organisation)
    return row.organisation == authorisation.organisation or row.holder == own


def _describe(row: StandingRow) -> dict[str, str]:
    """Return what the audit keeps of a record; what somebody typed is kept with the record. Spec: 35 §7."""
    return {
        "standing": row.id,
        "standing_kind": row.kind.value,
        "standing_holder": f"{row.holder.kind.value} {row.holder.id}",
        "standing_basis": row.basis.value,
        "relationship_type": row.reason,
    }
