"""Reading the audit: who may, what of it, and that reading leaves a row itself before anything is given.

Invariants: an officer reads the rows of the organisation of the active role and no others; who works on the machine
itself reads all of them; what is read is never more than a page in memory.

Spec: 35 §7, §9.3 "audit read"; 80 §5.3 "report".
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time
from typing import Final

from openscr.access.policy import AccessPolicy, Operation, Reason
from openscr.directory.model import CurrentDirectory
from openscr.errors import refusal
from openscr.identifiers import LONDON, Clock, slot_of
from openscr.record.audit import audit_entry
from openscr.record.decision import ACCEPTED, ACCESS_DENIED
from openscr.spine import AckType, Caller, MessageIds, Outcome
from openscr.store.interface import AuditEntry, AuditPeriod, AuditRow, Store, Transaction

SEARCH: Final = "audit search"
EXPORT: Final = "audit export"
REPORT: Final = "audit report"
"""What reading the audit is called in the audit."""

FIRST_HOUR: Final = time(8)
LAST_HOUR: Final = time(18)
_SATURDAY: Final = 5


@dataclass(frozen=True, slots=True)
class LocalOperator:
    """Who works on the machine of the store: a local auditor. ``name`` is that of the machine's user. Spec: 35 §9.3."""

    name: str


Reader = Caller | LocalOperator
"""Who reads: a person with a session or known to the directory, or a local auditor."""


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which rows are wanted: every condition that is given must hold.

    ``user`` is a user id or a role profile id, ``system`` an ASID, ``action`` an interaction or what a command is
    called. ``refused`` wants refusals, or all but those. ``until`` is no longer part of the period. Spec: 80 §5.3.
    """

    nhs_number: str | None = None
    user: str = ""
    organisation: str = ""
    system: str = ""
    action: str = ""
    correlation_id: str = ""
    refused: bool | None = None
    out_of_hours: bool = False
    since: datetime | None = None
    until: datetime | None = None

    def matches(self, entry: AuditEntry) -> bool:
        """Whether an entry of the period and of the patient fulfils every other condition."""
        content = entry.content
        return (
            (not self.user or self.user in (content.get("user_id"), content.get("role_profile_id")))
            and (not self.organisation or content.get("organisation") == self.organisation)
            and (not self.system or content.get("asid") == self.system)
            and (not self.action or self.action in (entry.action, content.get("interaction")))
            and (not self.correlation_id or content.get("correlation_id") == self.correlation_id)
            and (self.refused is None or self.refused is (entry.outcome != AckType.ACCEPTED))
            and (not self.out_of_hours or is_out_of_hours(entry.occurred_at))
        )

    @property
    def criteria(self) -> dict[str, str]:
        """The conditions in words for the audit; the patient has a column of its own."""
        given = {
            "user": self.user,
            "organisation": self.organisation,
            "system": self.system,
            "action": self.action,
            "correlation_id": self.correlation_id,
            "refused": "" if self.refused is None else str(self.refused).lower(),
            "out_of_hours": "true" if self.out_of_hours else "",
            "since": self.since.isoformat() if self.since else "",
            "until": self.until.isoformat() if self.until else "",
        }
        return {f"criteria/{name}": value for name, value in given.items() if value}


def is_out_of_hours(instant: datetime) -> bool:
    """Whether something happened at a weekend, or before 8 or from 18 o'clock on, in UK local time. Spec: 80 §5.3."""
    local = instant.astimezone(LONDON)
    return local.weekday() >= _SATURDAY or not FIRST_HOUR <= local.time() < LAST_HOUR


@dataclass(frozen=True, slots=True)
class AuditReading:
    """The rows that somebody may read, one after the other; none behind a refusal."""

    outcome: Outcome
    rows: AsyncIterator[AuditRow]


class AuditSearch:
    """The audit, as far as somebody may read it."""

    def __init__(self, store: Store, directory: CurrentDirectory, policy: AccessPolicy, clock: Clock) -> None:
        self._store = store
        self._directory = directory
        self._policy = policy
        self._clock = clock

    async def read(
        self,
        reader: Reader,
        query: AuditQuery,
        ids: MessageIds,
        action: str,
        *,
        newest_first: bool = False,
        details: Mapping[str, str] | None = None,
    ) -> AuditReading:
        """Return the rows that are wanted, oldest first unless said otherwise; ``action`` says what for.

        That somebody reads stands in the audit before the first row is given; so does a refusal. What is written from
        now on is not among the rows. Raises: `StoreError`, also while rows are read. Spec: 35 §7.
        """
        now = self._clock()
        said = {**query.criteria, **(details or {})}
        if isinstance(reader, LocalOperator):
            outcome, scope = ACCEPTED, ""
            content = {"interaction": ids.interaction, "operator": reader.name, **said}
            entry = AuditEntry(now, action, outcome.ack.value, query.nhs_number, content)
            place = reader.name
        else:
            authorisation = self._policy.authorise(self._directory.snapshot, Operation.READ_AUDIT, reader)
            scope, reason = authorisation.organisation, authorisation.reason
            allowed = authorisation.allowed and authorisation.person is not None and bool(scope)
            if allowed and query.organisation not in ("", scope):
                allowed, reason = False, Reason.ORGANISATION_MISMATCH
            outcome = ACCEPTED if allowed else Outcome(AckType.ERROR, refusal(ACCESS_DENIED))
            entry = audit_entry(
                action,
                outcome,
                query.nhs_number,
                now,
                caller=reader,
                ids=ids,
                authorisation=authorisation,
                reason=reason,
                details=said,
            )
            place = reader.party_key

        async def work(transaction: Transaction) -> None:
            await transaction.append_audit(entry)

        await self._store.transact(slot_of(query.nhs_number or place), work)
        if not outcome.accepted:
            return AuditReading(outcome, _nothing())
        wanted = replace(query, organisation=scope or query.organisation)
        until = now if query.until is None else min(now, query.until)
        period = AuditPeriod(query.since, until, query.nhs_number)
        return AuditReading(outcome, self._rows(period, wanted, newest_first=newest_first))

    async def _rows(self, period: AuditPeriod, wanted: AuditQuery, *, newest_first: bool) -> AsyncIterator[AuditRow]:
        async for row in self._store.search_audit(period, newest_first=newest_first):
            if wanted.matches(row.entry):
                yield row


async def _nothing() -> AsyncIterator[AuditRow]:
    none: tuple[AuditRow, ...] = ()
    for row in none:
        yield row
