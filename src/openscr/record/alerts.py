"""The life of privacy alerts: officers search, open and change them; each look and each change is audited.

new → under investigation → closed. Notes may be added while an alert is under investigation, a note is required to
close it, and nothing follows a closed one. Every step is kept.

Invariants: an officer meets the alerts of the own organisation only, of the types that the active role may handle, and
none that he has caused himself; one that may not be handled is answered like one that is not there. Of two officers who
change the same alert at once, the second is told.

Spec: 35 §6, §9.3; 80 §5.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from openscr.access.policy import AccessPolicy, Authorisation, Operation
from openscr.directory.model import CurrentDirectory
from openscr.errors import Conflict, refusal
from openscr.identifiers import Clock, slot_of
from openscr.record.audit import audit_entry
from openscr.record.decision import ACCEPTED, ACCESS_DENIED
from openscr.record.settling import transact_until_known
from openscr.spine import AckType, Caller, MessageIds, Outcome
from openscr.store.alert_evidence import CHANGE_DIGEST, change_digest
from openscr.store.alert_records import AlertChange, AlertRow
from openscr.store.interface import Store, Transaction

LARGEST_PAGE: Final = 500
MOST_AT_ONCE: Final = 500
LONGEST_NOTE: Final = 4000
"""Alerts on a page, alerts processed together, characters of a note: at most."""


class AlertState(StrEnum):
    """Where an alert stands. Spec: 80 §5.3 DECISION."""

    NEW = "new"
    UNDER_INVESTIGATION = "under-investigation"
    CLOSED = "closed"


_NEXT: Final = {
    AlertState.NEW: {AlertState.UNDER_INVESTIGATION},
    AlertState.UNDER_INVESTIGATION: {AlertState.UNDER_INVESTIGATION, AlertState.CLOSED},
    AlertState.CLOSED: set[AlertState](),
}


_NAMING: Final = frozenset({"user/id", "user/role_profile_id", "author/id/extension"})
"""Details in which a message names its user or the role, whatever it calls the code system."""


class StepResult(StrEnum):
    """How the change of one alert ended."""

    CHANGED = "changed"
    DENIED = "denied"
    """There is no such alert for this officer."""
    CONFLICT = "conflict"
    """Somebody else has changed it since it was read."""
    NOT_POSSIBLE = "not-possible"
    """Its state does not lead there."""


@dataclass(frozen=True, slots=True)
class AlertSearch:
    """Which alerts are wanted; empty conditions want all. ``page`` counts from 1. Spec: 80 §5.3."""

    states: tuple[AlertState, ...] = ()
    types: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    page: int = 1
    size: int = 10


@dataclass(frozen=True, slots=True)
class AlertPage:
    """A page of alerts, the newest first; ``total`` of the search, and how many of the officer's are not closed."""

    outcome: Outcome
    alerts: tuple[AlertRow, ...] = ()
    total: int = 0
    unclosed: int = 0


@dataclass(frozen=True, slots=True)
class OpenedAlert:
    """One alert with every step of its life, or a refusal."""

    outcome: Outcome
    alert: AlertRow | None = None
    changes: tuple[AlertChange, ...] = ()


@dataclass(frozen=True, slots=True)
class AlertStep:
    """Which alert to change, and the version that the officer has seen."""

    alert_id: str
    version: int


@dataclass(frozen=True, slots=True)
class AlertStepped:
    """How the change of one alert ended; ``alert`` as it is now, none where it was denied."""

    alert_id: str
    result: StepResult
    alert: AlertRow | None = None


def named_in(alert: AlertRow) -> frozenset[str]:
    """Return the ids of every user and role profile that an alert names, sender and subject alike. Spec: 35 §6."""
    named = (
        alert.user_id,
        alert.role_profile_id,
        *(value for name, value in alert.details.items() if name in _NAMING),
    )
    return frozenset(value.strip() for value in named if value and value.strip())


class Alerts:
    """The privacy alerts of all organisations, for their officers."""

    def __init__(self, store: Store, directory: CurrentDirectory, policy: AccessPolicy, clock: Clock) -> None:
        self._store = store
        self._directory = directory
        self._policy = policy
        self._clock = clock

    # --- looking ----------------------------------------------------------------------------------------------------

    async def search(
        self, caller: Caller, ids: MessageIds, wanted: AlertSearch, details: Mapping[str, str] | None = None
    ) -> AlertPage:
        """Return a page of what an officer may handle, the newest first. Raises: `StoreError`. Spec: 80 §5.3."""
        directory = self._directory.snapshot
        operations = {"1": Operation.HANDLE_RELATIONSHIP_ALERTS, "2": Operation.HANDLE_ACCESS_ALERTS}
        decided = {kind: self._policy.authorise(directory, each, caller) for kind, each in operations.items()}
        kinds = {kind for kind, each in decided.items() if each.allowed and each.person is not None}
        authorisation = decided["1"] if "1" in kinds else decided["2"]
        outcome = ACCEPTED if kinds else _denied()
        said = {
            "criteria/states": " ".join(wanted.states),
            "criteria/types": " ".join(wanted.types),
            "criteria/since": wanted.since.isoformat() if wanted.since else "",
            "criteria/until": wanted.until.isoformat() if wanted.until else "",
            **(details or {}),
        }
        await self._audit("alert list", outcome, caller, ids, authorisation, said)
        if not kinds:
            return AlertPage(outcome)
        mine = [
            alert
            for alert in await self._store.read_alerts(authorisation.organisation)
            if self._authorise(alert, caller).allowed
        ]
        found = [alert for alert in mine if _wanted(alert, wanted)][::-1]
        first = (wanted.page - 1) * wanted.size
        page = tuple(found[first : first + wanted.size])
        unclosed = sum(alert.state != AlertState.CLOSED for alert in mine)
        return AlertPage(outcome, page, len(found), unclosed)

    async def open(
        self, caller: Caller, ids: MessageIds, alert_id: str, details: Mapping[str, str] | None = None
    ) -> OpenedAlert:
        """Return one alert with its history; the look stands in its patient's audit. Raises: `StoreError`."""
        slot = await self._store.slot_of_alert(alert_id)
        if slot is None:
            await self._audit_unknown("alert view", caller, ids, alert_id, details)
            return OpenedAlert(_denied())

        async def work(transaction: Transaction) -> OpenedAlert | None:
            alert = await _present(transaction, alert_id)
            authorisation = self._authorise(alert, caller)
            if authorisation.organisation != alert.organisation:
                return None
            outcome = ACCEPTED if authorisation.allowed else _denied()
            said = {"alert": alert_id, **(details or {})}
            await self._keep(transaction, "alert view", outcome, caller, ids, authorisation, said, alert)
            if not authorisation.allowed:
                return OpenedAlert(outcome)
            return OpenedAlert(outcome, alert, await transaction.alert_changes(alert_id))

        opened = await self._store.transact(slot, work)
        if opened is None:
            await self._audit_unknown("alert view", caller, ids, alert_id, details)
            return OpenedAlert(_denied())
        return opened

    # --- changing ---------------------------------------------------------------------------------------------------

    async def change(
        self,
        caller: Caller,
        ids: MessageIds,
        steps: Sequence[AlertStep],
        to: AlertState,
        note: str,
        details: Mapping[str, str] | None = None,
    ) -> tuple[AlertStepped, ...]:
        """Take alerts to a state, each on its own: one that cannot be changed hinders none of the others.

        `mistakes` says what a request must not look like. Raises: `StoreError`. Spec: 80 §5.3.
        """
        return tuple([await self._step(caller, ids, step, to, note.strip(), details or {}) for step in steps])

    async def _step(
        self, caller: Caller, ids: MessageIds, step: AlertStep, to: AlertState, note: str, details: Mapping[str, str]
    ) -> AlertStepped:
        slot = await self._store.slot_of_alert(step.alert_id)
        if slot is None:
            await self._audit_unknown("alert change", caller, ids, step.alert_id, details)
            return AlertStepped(step.alert_id, StepResult.DENIED)

        now = self._clock()

        async def work(transaction: Transaction) -> AlertStepped | None:
            alert = await _present(transaction, step.alert_id)
            authorisation = self._authorise(alert, caller)
            if authorisation.organisation != alert.organisation:
                return None
            person = authorisation.person
            if person is not None and alert.version == step.version + 1:
                last = (await transaction.alert_changes(alert.id))[-1]
                if (last.changed_at, last.user_id, last.to_state) == (now, person.user_id, to.value):
                    # It is our own step, whose commit was broken off when it had taken place.
                    return AlertStepped(alert.id, StepResult.CHANGED, alert)
            result = _judge(alert, step, to, authorisation)
            said = {"alert": alert.id, "alert_state": alert.state, "alert_new_state": to.value, **details}
            if result is StepResult.CHANGED and person is not None:
                change = AlertChange(
                    alert.id,
                    alert.version + 1,
                    now,
                    alert.state,
                    to.value,
                    note,
                    person.user_id,
                    person.role_profile_id,
                    authorisation.organisation,
                )
                await transaction.change_alert(change)
                # The note's own words may tell of the patient; the digest shows whether all is still the same.
                said[CHANGE_DIGEST] = change_digest(change)
            outcome = ACCEPTED if result is StepResult.CHANGED else _denied()
            reason = "" if result in (StepResult.CHANGED, StepResult.DENIED) else result.value
            await self._keep(
                transaction, "alert change", outcome, caller, ids, authorisation, said, alert, reason=reason
            )
            if result is StepResult.DENIED:
                return AlertStepped(alert.id, result)
            return AlertStepped(alert.id, result, await transaction.find_alert(alert.id))

        try:
            stepped = await transact_until_known(self._store, slot, work)
        except Conflict:
            return AlertStepped(step.alert_id, StepResult.CONFLICT)
        if stepped is None:
            await self._audit_unknown("alert change", caller, ids, step.alert_id, details)
            return AlertStepped(step.alert_id, StepResult.DENIED)
        return stepped

    # --- deciding and keeping ---------------------------------------------------------------------------------------

    def _authorise(self, alert: AlertRow, caller: Caller) -> Authorisation:
        directory = self._directory.snapshot
        return self._policy.authorise_alert(directory, caller, alert.type, alert.organisation, named_in(alert))

    async def _keep(
        self,
        transaction: Transaction,
        action: str,
        outcome: Outcome,
        caller: Caller,
        ids: MessageIds,
        authorisation: Authorisation,
        details: Mapping[str, str],
        alert: AlertRow | None,
        *,
        reason: str = "",
    ) -> None:
        entry = audit_entry(
            action,
            outcome,
            alert.nhs_number if alert is not None else None,
            self._clock(),
            caller=caller,
            ids=ids,
            authorisation=authorisation,
            reason=reason or authorisation.reason,
            details=details,
        )
        await transaction.append_audit(entry)

    async def _audit(
        self,
        action: str,
        outcome: Outcome,
        caller: Caller,
        ids: MessageIds,
        authorisation: Authorisation,
        details: Mapping[str, str],
        *,
        reason: str = "",
    ) -> None:
        async def work(transaction: Transaction) -> None:
            await self._keep(transaction, action, outcome, caller, ids, authorisation, details, None, reason=reason)

        await self._store.transact(slot_of(caller.party_key), work)

    async def _audit_unknown(
        self, action: str, caller: Caller, ids: MessageIds, alert_id: str, details: Mapping[str, str] | None
    ) -> None:
        """Keep that somebody has reached for an alert that is not there, or is not of the own organisation.

        Both leave the same row, without a patient: officers read the rows of their organisation.
        """
        authorisation = self._policy.authorise(self._directory.snapshot, Operation.HANDLE_ACCESS_ALERTS, caller)
        said = {"alert": alert_id[:64], **(details or {})}
        await self._audit(action, _denied(), caller, ids, authorisation, said, reason="alert_unknown")


def mistakes(steps: Sequence[AlertStep], to: AlertState, note: str) -> tuple[str, ...]:
    """Return what is wrong with a request to change alerts, in words for its sender. Spec: 80 §5.3."""
    said = []
    if not steps:
        said.append("Name at least one alert")
    if len(steps) > MOST_AT_ONCE:
        said.append(f"At most {MOST_AT_ONCE} alerts can be changed together")
    if len({step.alert_id for step in steps}) != len(steps):
        said.append("An alert is named twice")
    if to is AlertState.NEW:
        said.append("An alert does not become new again")
    # Blanks come in many forms, some of them without any width.
    if to is AlertState.CLOSED and not any(map(str.isalnum, note)):
        said.append("A note is required to close an alert")
    if len(note) > LONGEST_NOTE:
        said.append(f"A note has at most {LONGEST_NOTE} characters")
    return tuple(said)


def _judge(alert: AlertRow, step: AlertStep, to: AlertState, authorisation: Authorisation) -> StepResult:
    if not authorisation.allowed:
        return StepResult.DENIED
    if alert.version != step.version:
        return StepResult.CONFLICT
    if alert.state not in tuple(AlertState) or to not in _NEXT[AlertState(alert.state)]:
        return StepResult.NOT_POSSIBLE
    return StepResult.CHANGED


def _wanted(alert: AlertRow, search: AlertSearch) -> bool:
    return (
        (not search.states or alert.state in search.states)
        and (not search.types or alert.type in search.types)
        and (search.since is None or search.since <= alert.raised_at)
        and (search.until is None or alert.raised_at < search.until)
    )


async def _present(transaction: Transaction, alert_id: str) -> AlertRow:
    alert = await transaction.find_alert(alert_id)
    if alert is None:
        raise Conflict("the alert is no longer in the store")
    return alert


def _denied() -> Outcome:
    return Outcome(AckType.ERROR, refusal(ACCESS_DENIED))
