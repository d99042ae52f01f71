"""What a decision is: an outcome, the changes that it makes to one patient's record, and what the audit says of it.

Decisions are pure: they look at one patient's state and at nothing else, and they write nothing. Everything that a
decision changes is stored in the transaction that decided.

Spec: 10 §15, 40 §8.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from openscr.errors import GENERAL, Issue, refusal
from openscr.spine import AckType, Outcome
from openscr.store.alert_records import AlertRow
from openscr.store.interface import ConsentRow, EventRow, Patient


@dataclass(frozen=True, slots=True)
class RecordRules:
    """Switches of the record's behaviour; the defaults are those of the specification.

    ``open_index``: every valid number that is not listed otherwise is a known patient. Spec: 10 §15, 30 §9.
    """

    open_index: bool = False
    require_explicit_store_consent: bool = False
    initial_upload_overwrites: bool = False
    best_interest_overrides_dissent: bool = False
    override_vocabulary: str = "7.2.02"


@dataclass(frozen=True, slots=True)
class Decision:
    """The outcome of a request, and everything that must be stored with it.

    ``reason`` names the first failing step for the audit, never for the caller. ``notes`` are audit fields and
    warnings by name.
    """

    outcome: Outcome
    new_event: EventRow | None = None
    changed_events: tuple[EventRow, ...] = ()
    consent: ConsentRow | None = None
    alert: AlertRow | None = None
    reason: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)


ACCEPTED = Outcome()


def refuse(code: str, reason: str, **fields: str) -> Decision:
    """Refuse with a specific code behind its general category. Spec: 20 §8, §9.3."""
    return Decision(Outcome(AckType.ERROR, refusal(code, **fields)), reason=reason)


def refuse_general(code: str, reason: str) -> Decision:
    """Refuse with a general category alone. Spec: 10 §14."""
    return Decision(Outcome(AckType.ERROR, (GENERAL[code],)), reason=reason)


def refuse_with(reason: str, *issues: Issue) -> Decision:
    """Refuse with exactly these issues."""
    return Decision(Outcome(AckType.ERROR, issues), reason=reason)


ACCESS_DENIED = "30418"
"""The one answer to every refusal of access: it never says whether there is a record. Spec: 20 §8.1, 35 §9.4."""


def is_known(state: Patient, rules: RecordRules) -> bool:
    """Whether the number belongs to a patient that the index knows. Spec: 10 §15 step 3."""
    return state.index is not None or rules.open_index


def survivor_of(state: Patient) -> str | None:
    """Return the surviving number when this one has been merged."""
    return state.index.survivor if state.index is not None and state.index.status == "merged" else None


def is_restricted(state: Patient) -> bool:
    """Whether the patient is sensitive or the number invalidated: nothing may be shared."""
    return state.index is not None and state.index.status == "restricted"
