"""The one module that decides whether a caller may do what it asks: author, role, activity, relationship.

Invariants: whatever is not allowed here is denied; the activities of the active role count and of no other; a person is
in the result only when the directory or an identity provider vouches for it. Nothing here looks at consent or at what
data exist: a stranger learns nothing of either. The order is that of 35 §9.4: the first step that fails is the reason.

Spec: 35 §9.2, §9.3, §9.4; 20 §6, §10.2; 30 §9.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, Literal
from unicodedata import normalize

from openscr.access.matrix import Matrix, Right, job_role_code
from openscr.codes import DISSENT_OVERRIDES, LEGAL_OVERRIDES
from openscr.directory.model import Directory, Role, System, display_name
from openscr.identifiers import LONDON, Clock, utc_now
from openscr.spine import Caller, DissentOverride, Person, Session


class Operation(StrEnum):
    """What a caller asks for, as far as rights go. Spec: 35 §9.3."""

    UPLOAD = "upload"
    WITHDRAW = "withdraw"
    VIEW = "view"
    SUBJECT_ACCESS = "subject_access"
    SET_CONSENT = "set_consent"
    GET_CONSENT = "get_consent"
    RAISE_ALERT = "raise_alert"
    RECORD_PERMISSION = "record_permission"
    EMERGENCY_ACCESS = "emergency_access"
    CLAIM_RELATIONSHIP = "claim_relationship"
    HANDLE_RELATIONSHIP_ALERTS = "handle_relationship_alerts"
    HANDLE_ACCESS_ALERTS = "handle_access_alerts"
    READ_AUDIT = "read_audit"
    ACTIVITY_REPORT = "activity_report"


class Reason(StrEnum):
    """The first step that failed, or what is remarkable about an allowed request; for the audit. Spec: 35 §9.4."""

    NONE = ""
    SYSTEM_UNKNOWN = "system_unknown"
    SYSTEM_DISABLED = "system_disabled"
    AUTHOR_MISSING = "author_missing"
    AUTHOR_UNKNOWN = "author_unknown"
    AUTHOR_UNVERIFIED = "author_unverified"
    """Allowed, as a request of the system: the directory does not know the person."""
    AUTHOR_MISMATCH = "author_mismatch"
    USER_INACTIVE = "user_inactive"
    ROLE_CLOSED = "role_closed"
    ORGANISATION_MISMATCH = "organisation_mismatch"
    ACTIVITY_MISSING = "activity_missing"
    OVERRIDE_ACTIVITY_MISSING = "override_activity_missing"
    OVERRIDE_UNKNOWN = "override_unknown"
    ASSURANCE_TOO_LOW = "assurance_too_low"
    """The person is signed in, but not strongly enough. Spec: 35 §9.1 step 3."""
    OWN_ALERT = "own_alert"
    """The alert was caused by whoever would handle it. Spec: 35 §6."""
    RELATIONSHIP_MISSING = "relationship_missing"
    PERMISSION_MISSING = "permission_missing"


_LOOKS: Final = frozenset({Operation.VIEW, Operation.SUBJECT_ACCESS})
"""Operations that a dissent may stand in the way of."""

_LEFT_TO_SYSTEMS: Final = frozenset(
    {Operation.UPLOAD, Operation.WITHDRAW, Operation.VIEW, Operation.SET_CONSENT, Operation.GET_CONSENT}
)
"""Operations whose activities a system with ``RBAC`` may have checked itself, where that is trusted. Spec: 35 §3.3."""

LEAST_ASSURANCE: Final = 2
"""Weakest sign-in that counts (AAL). Spec: 35 §9.1 step 3."""

AUTHOR_MISMATCHES: Final = frozenset(
    {Reason.AUTHOR_MISMATCH, Reason.USER_INACTIVE, Reason.ROLE_CLOSED, Reason.ORGANISATION_MISMATCH}
)
"""Reasons that a known role profile does not fit: together they are ``author_mismatch``. Spec: 35 §9.2."""


@dataclass(frozen=True, slots=True)
class Authorisation:
    """The decision. A refusal is 420 + 30418 on the wire, whatever its reason.

    ``person`` is the verified person only, with the job role of the directory when the message names none.
    ``organisation`` is the ODS code of the active role, else of the system's party, else empty. ``display_name`` is the
    verified person's name, for the audit.
    """

    allowed: bool
    reason: str
    person: Person | None = None
    organisation: str = ""
    system: System | None = None
    display_name: str = ""


@dataclass(frozen=True, slots=True)
class Ties:
    """How those who would look stand to a patient, as the records say at this instant.

    ``relationship`` and ``permission`` are the ids of the records in force, empty when there is none; ``registered``
    says that the patient is registered where they work: a relationship, and no permission needed. Spec: 20 §10.1.
    """

    relationship: str = ""
    permission: str = ""
    registered: bool = False


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether somebody with the right to look may look at this patient. Spec: 35 §9.4.

    ``alert`` is the alert reason of an access that went past a missing permission, empty when there was none.
    """

    reason: str = Reason.NONE
    alert: str = ""

    @property
    def allowed(self) -> bool:
        """Whether nothing stands in the way."""
        return not self.reason


@dataclass(frozen=True, slots=True)
class _Author:
    """A person who is vouched for, acting in one role."""

    person: Person
    role: Role
    name: str


_ACTIVITY: Final = {
    Operation.UPLOAD: Right.UPLOAD,
    Operation.WITHDRAW: Right.WITHDRAW,
    Operation.VIEW: Right.VIEW,
    Operation.SUBJECT_ACCESS: Right.SUBJECT_ACCESS,
    Operation.SET_CONSENT: Right.SET_CONSENT,
    Operation.GET_CONSENT: Right.GET_CONSENT,
    Operation.RECORD_PERMISSION: Right.VIEW,
    Operation.EMERGENCY_ACCESS: Right.EMERGENCY_VIEW,
    Operation.CLAIM_RELATIONSHIP: Right.CLAIM_RELATIONSHIP,
    Operation.HANDLE_RELATIONSHIP_ALERTS: Right.ALERTS_RELATIONSHIP,
    Operation.HANDLE_ACCESS_ALERTS: Right.ALERTS_ACCESS,
    Operation.READ_AUDIT: Right.AUDIT_READ,
    Operation.ACTIVITY_REPORT: Right.ACTIVITY_REPORT,
}


_ADMITTED: Final = Admission()


class AccessPolicy:
    """Decides by the directory, the matrix, and the switches of a deployment.

    ``unknown_author`` says whether a role profile that the directory does not know makes the request one of the system
    (``accept``) or a refused one. ``require_person_for_query`` refuses views without a person. ``trust_system_flags``
    leaves the activity check to systems that carry ``RBAC``, but for subject access; their author is checked all the
    same. Under ``override_vocabulary`` ``4.2.00`` code 4 is an override like 5; else it is asked like 0, for whether it
    overrides anything depends on who owns the record. ``enforce_relationship`` and ``enforce_permission`` ask for
    records of a legitimate relationship, and of a permission to view, before anything is shown.
    Spec: 35 §9.2, §3.3, §6, §8; 30 §9.
    """

    def __init__(
        self,
        *,
        matrix: Matrix,
        unknown_author: Literal["accept", "refuse"],
        require_person_for_query: bool = False,
        trust_system_flags: bool = False,
        override_vocabulary: Literal["7.2.02", "4.2.00"] = "7.2.02",
        enforce_relationship: bool = False,
        enforce_permission: bool = False,
        clock: Clock = utc_now,
    ) -> None:
        self._matrix = matrix
        self._accepts_unknown_author = unknown_author == "accept"
        self._require_person_for_query = require_person_for_query
        self._trust_system_flags = trust_system_flags
        self._enforce_relationship = enforce_relationship
        self._enforce_permission = enforce_permission
        self._consent_given_now = frozenset({"5"} if override_vocabulary == "7.2.02" else ())
        self._plain_queries = frozenset({"0"} if override_vocabulary == "4.2.00" else {"0", "4"})
        self._clock = clock

    def authorise(
        self,
        directory: Directory,
        operation: Operation,
        caller: Caller,
        *,
        override: DissentOverride = DissentOverride(),  # noqa: B008  # frozen
        payload_author: Person | None = None,
    ) -> Authorisation:
        """Decide whether ``caller`` may do ``operation``.

        ``override`` matters for views only, ``payload_author`` for withdrawals whose ControlActEvent names nobody.
        Spec: 35 §9.2, §9.4.
        """
        system = directory.systems.get(caller.asid)
        if system is None:
            return Authorisation(False, Reason.SYSTEM_UNKNOWN)
        party = directory.parties.get(system.party_key)
        organisation = party.ods if party else ""
        if not system.enabled:
            return Authorisation(False, Reason.SYSTEM_DISABLED, organisation=organisation, system=system)
        if operation in _LOOKS and override.code not in DISSENT_OVERRIDES:
            return Authorisation(False, Reason.OVERRIDE_UNKNOWN, organisation=organisation, system=system)

        organisations = system.organisations or (organisation,)
        if caller.session is not None:
            session = caller.session
            author = self._recognise(directory, session, caller.person, organisations)
            if isinstance(author, Reason):
                return Authorisation(False, author, organisation=organisation, system=system)
            return self._judge(operation, system, author, override)

        person = caller.person
        if person is None and operation is Operation.WITHDRAW:
            person = payload_author
        if person is None:
            refused = self._check_system(operation, system, override)
            return Authorisation(not refused, refused, organisation=organisation, system=system)

        author = self._identify(directory, person, organisations)
        if author is Reason.AUTHOR_UNKNOWN and self._may_be_unknown(operation, override):
            allowed = not self._check_system(operation, system, override)
            reason = Reason.AUTHOR_UNVERIFIED if allowed else Reason.AUTHOR_UNKNOWN
            return Authorisation(allowed, reason, organisation=organisation, system=system)
        if isinstance(author, Reason):
            return Authorisation(False, author, organisation=organisation, system=system)

        return self._judge(operation, system, author, override)

    def authorise_alert(
        self, directory: Directory, caller: Caller, kind: str, organisation: str, named: Collection[str]
    ) -> Authorisation:
        """Decide whether ``caller`` may receive and handle an alert of a type (``kind``) and an organisation.

        ``named`` are the ids of every user and role profile that the alert names: nobody handles what he has caused, in
        whatever role. Spec: 35 §6, §9.3; 80 §5.3.
        """
        operation = Operation.HANDLE_RELATIONSHIP_ALERTS if kind == "1" else Operation.HANDLE_ACCESS_ALERTS
        decided = self.authorise(directory, operation, caller)
        person = decided.person
        if not decided.allowed:
            return decided
        if person is None:
            return replace(decided, allowed=False, reason=Reason.AUTHOR_MISSING)
        if not organisation or decided.organisation != organisation:
            return replace(decided, allowed=False, reason=Reason.ORGANISATION_MISMATCH)
        # Clients spell ids in their own ways: neither letter case nor what stands between letters counts.
        spelled = {*named, *map(_bare, named)}
        roles = [known[0].user_id for each in spelled if (known := directory.role(each)) is not None]
        if not {_bare(person.user_id), _bare(person.role_profile_id)}.isdisjoint(map(_bare, (*spelled, *roles))):
            return replace(decided, allowed=False, reason=Reason.OWN_ALERT)
        return decided

    def admit(self, authorisation: Authorisation, override: DissentOverride, ties: Ties) -> Admission:
        """Decide whether who may look at records may look at this patient's: relationship, then permission.

        A legal reason stands for a permission and raises an alert, and so does an emergency, which is recorded as a
        permission of its own; code 5 says that the patient agrees now. Nothing stands for a relationship: who has none
        claims it, which raises an alert too. Spec: 35 §9.4, §6; 20 §10.1; 80 §3.
        """
        if ties.registered:
            return _ADMITTED
        if self._enforce_relationship and not ties.relationship and not self._leaves_relationships(authorisation):
            return Admission(Reason.RELATIONSHIP_MISSING)
        if self._enforce_permission and not ties.permission and override.code not in self._consent_given_now:
            if override.code not in LEGAL_OVERRIDES:
                return Admission(Reason.PERMISSION_MISSING)
            return Admission(alert=override.code)
        return _ADMITTED

    def _leaves_relationships(self, authorisation: Authorisation) -> bool:
        """Whether relationships are left to the system, which was accredited for that. Spec: 35 §3.3."""
        return self._trust_system_flags and authorisation.system is not None and "DOLR" in authorisation.system.acf

    def _judge(self, operation: Operation, system: System, author: _Author, override: DissentOverride) -> Authorisation:
        refused = self._check_activity(operation, system, author.role, override)
        return Authorisation(not refused, refused, author.person, author.role.ods, system, author.name)

    def _recognise(
        self, directory: Directory, session: Session, stated: Person | None, organisations: Iterable[str]
    ) -> _Author | Reason:
        """Return the person of a session in its active role, or the first thing that does not fit.

        The provider vouches for who it is and what the role carries. What the directory knows better still counts: a
        role that was closed, a user who left. Spec: 35 §9.1 step 3, §9.2.
        """
        if session.assurance_level < LEAST_ASSURANCE:
            return Reason.ASSURANCE_TOO_LOW
        role = session.role
        known = directory.role(role.role_profile_id)
        if known is not None and known[0].user_id != session.user_id:
            return Reason.AUTHOR_MISMATCH
        if any(self._has_closed(each) for each in (role, *((known[1],) if known else ()))):
            return Reason.ROLE_CLOSED
        user = known[0] if known else directory.users.get(session.user_id)
        if user is not None and not user.active:
            return Reason.USER_INACTIVE
        if stated is not None and not _same_person(stated, session.person):
            return Reason.AUTHOR_MISMATCH
        if role.ods not in organisations:
            return Reason.ORGANISATION_MISMATCH
        return _Author(session.person, role, session.name)

    def _has_closed(self, role: Role) -> bool:
        # What day it is costs more to find out than all that is known of the role, and few roles end.
        return role.closed is not None and role.has_closed(self._clock().astimezone(LONDON).date())

    def _identify(self, directory: Directory, person: Person, organisations: Iterable[str]) -> _Author | Reason:
        """Return the author in its role, or the first thing that does not fit. Spec: 35 §9.2."""
        found = directory.role(person.role_profile_id)
        if found is None:
            return Reason.AUTHOR_UNKNOWN
        user, role = found
        if self._has_closed(role):
            return Reason.ROLE_CLOSED
        if user.user_id != person.user_id:
            return Reason.AUTHOR_MISMATCH
        if not user.active:
            return Reason.USER_INACTIVE
        if not person.job_role:
            # The author inside a withdrawal has no job role to compare. Spec: 10 §10.
            person = replace(person, job_role=role.job_role)
        elif job_role_code(person.job_role) != job_role_code(role.job_role):
            return Reason.AUTHOR_MISMATCH
        if role.ods not in organisations:
            return Reason.ORGANISATION_MISMATCH
        return _Author(person, role, display_name(user.name))

    def _may_be_unknown(self, operation: Operation, override: DissentOverride) -> bool:
        """Whether a request of an unknown person may count as one of its system. Spec: 35 §9.2."""
        if operation is Operation.VIEW:
            return self._accepts_unknown_author and override.code in self._plain_queries
        return self._accepts_unknown_author and operation in {Operation.UPLOAD, Operation.GET_CONSENT}

    def _check_system(self, operation: Operation, system: System, override: DissentOverride) -> Reason:
        """Return why a request without a person is refused, or `Reason.NONE`. Spec: 35 §9.2."""
        allowed = False
        if operation is Operation.UPLOAD:
            allowed = system.system_upload
        elif operation is Operation.SET_CONSENT:
            allowed = system.batch_consent
        elif operation is Operation.VIEW:
            allowed = not self._require_person_for_query and override.code in self._plain_queries
        elif operation is Operation.GET_CONSENT:
            allowed = True
        elif operation is Operation.RAISE_ALERT:
            # Over HL7 nobody comes without an author; a FHIR alert names its user, whom nothing here vouches for.
            allowed = self._accepts_unknown_author
        return Reason.NONE if allowed else Reason.AUTHOR_MISSING

    def _check_activity(self, operation: Operation, system: System, role: Role, override: DissentOverride) -> Reason:
        """Return why the active role is not enough, or `Reason.NONE`. Spec: 35 §9.3, §3.3."""
        if self._trust_system_flags and "RBAC" in system.acf and operation in _LEFT_TO_SYSTEMS:
            return Reason.NONE
        if operation is Operation.RAISE_ALERT:
            # A duty of whoever has looked, not a right: no activity stands for it. Spec: 30 §9, 35 §9.3.
            return Reason.NONE
        if not self._matrix.permits(_ACTIVITY[operation], role):
            return Reason.ACTIVITY_MISSING
        if operation in _LOOKS and override.code in LEGAL_OVERRIDES and not self._may_override(role, override):
            return Reason.OVERRIDE_ACTIVITY_MISSING
        return Reason.NONE

    def _may_override(self, role: Role, override: DissentOverride) -> bool:
        """Whether the role may pass over a dissent for a legal reason, or in an emergency. Spec: 20 §6, 35 §9.3."""
        if self._matrix.permits(Right.OVERRIDE, role):
            return True
        emergency = override.code == "1" and bool(override.text.strip())
        return emergency and self._matrix.permits(Right.OVERRIDE_EMERGENCY, role)


def _bare(id: str) -> str:
    """Return an id to compare with another spelling of it: its letters and digits, in small letters."""
    return "".join(each for each in normalize("NFKC", id).casefold() if each.isalnum())


def _same_person(stated: Person, verified: Person) -> bool:
    """Whether a message names the person who is signed in, in the role that is active."""
    same_role = not stated.job_role or job_role_code(stated.job_role) == job_role_code(verified.job_role)
    return same_role and (stated.user_id, stated.role_profile_id) == (verified.user_id, verified.role_profile_id)
