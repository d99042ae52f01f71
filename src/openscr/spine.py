"""The one protocol `Spine`: what a Summary Care Record service does, whoever does it.

`openscr.record` answers these verbs from our own store; `openscr.client` answers them by asking a remote Spine over
HL7 V3. Faces are written against this module alone, so they run on either.

Requests are what a reader of messages extracts (typed, frozen); outcomes are what a writer of messages needs. A refusal
is an outcome with issues, not an exception. Exceptions mean that nothing can be said about the outcome.

Spec: 10 §15, 20 §7-§10, 30 §5-§9, 35 §9.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Protocol

from openscr.directory.model import Role
from openscr.errors import Issue


class Consent(StrEnum):
    """The patient's one consent value; `ASK` is what holds while nothing is stored. Spec: 30 §8.1."""

    YES = "Yes"
    NO = "No"
    ASK = "Ask"


class EventStatus(IntEnum):
    """PSIS data status of a stored event. Spec: 20 §7.1."""

    NORMAL = 1
    WITHDRAWN = 2
    REPLACED = 3


class AckType(StrEnum):
    """Type of an application acknowledgement. Spec: 20 §3.3."""

    ACCEPTED = "AA"
    ERROR = "AE"
    REJECTED = "AR"


# --- who asks -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Person:
    """The healthcare worker that a message names: SDS user id, role profile id, job role code. Spec: 35 §1."""

    user_id: str
    role_profile_id: str
    job_role: str


@dataclass(frozen=True, slots=True)
class Session:
    """A person whom an identity provider has authenticated, in the one role that is active. Spec: 35 §4.2, §9.1.

    ``name`` is for display and the audit. ``role`` carries the activities of this role and of no other.
    ``assurance_level`` is 1 to 3 (AAL), ``methods`` the ``amr`` of the sign-in, ``issuer`` who vouches.
    ``session_hash`` is a digest of the session's id: the id itself is kept nowhere.
    """

    user_id: str
    name: str
    role: Role
    assurance_level: int
    issuer: str
    methods: tuple[str, ...] = ()
    session_hash: str = ""

    @property
    def person(self) -> Person:
        """The same person in the words of a message."""
        return Person(self.user_id, self.role.role_profile_id, self.role.job_role)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request: the accredited system, and the person that it says is present.

    ``session`` is there when an identity provider vouches for the person; then it counts, and ``person`` says the same.
    ``certificate`` is the name in the client certificate (none on the loopback demo listener), ``address`` the network
    address of the peer; both are for the audit only.
    """

    asid: str
    party_key: str
    person: Person | None = None
    certificate: str | None = None
    address: str | None = None
    session: Session | None = None


@dataclass(frozen=True, slots=True)
class MessageIds:
    """The ids of one request, as received: HL7 wrapper id, transport id, interaction, our correlation id.

    ``transport_id`` is the ``eb:MessageId`` or the UUID of ``wsa:MessageID``.
    """

    message_id: str
    interaction: str
    transport_id: str = ""
    correlation_id: str = ""


# --- requests -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Document:
    """A clinical document inside the message that brought it: the bytes are never copied or changed.

    ``payload[offset:offset + length]`` is the document element. ``declarations`` are the namespace declarations and
    ``xml:`` attributes of its ancestors: inserted after the element name they make the element self-contained.
    Spec: 20 §7.2.
    """

    payload: bytes
    offset: int
    length: int
    name_length: int
    """Bytes of ``<`` and the element name: where ``declarations`` are inserted."""
    declarations: bytes = b""

    def standalone(self) -> bytes:
        """Return the document as an element that means the same wherever it is put."""
        return splice_document(
            self.payload[self.offset : self.offset + self.length], self.name_length, self.declarations
        )


def splice_document(element: bytes, name_length: int, declarations: bytes) -> bytes:
    """Insert ``declarations`` after the element name of ``element``. Spec: 20 §7.2."""
    return element[:name_length] + declarations + element[name_length:]


@dataclass(frozen=True, slots=True)
class Upload:
    """A GP Summary to be stored: the metadata that the rules and the store need, and the document itself.

    ``event_id`` is upper case. ``replaces`` holds every ``replacementOf`` target. ``content`` are the local names of
    the care record elements found, ``dissent`` the triggers of ``dissentToStore``. ``author`` is the document's author
    participation as self-contained XML. ``metadata`` are the other reported values of 10 §11.4 by their report name.
    ``nullified`` is true for ``statusCode`` ``nullified``. ``deviations`` name the known ways in which real senders
    differ from the model, for log and audit: they refuse nothing. Spec: 10 §11.4, §15, §17.
    """

    ids: MessageIds
    nhs_number: str
    event_id: str
    event_type: str
    effective_time: str
    document: Document
    author: bytes
    nullified: bool = False
    replaces: tuple[str, ...] = ()
    content: frozenset[str] = frozenset()
    dissent: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    deviations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A request to withdraw one event. ``payload_author`` is the person named inside the withdrawal. Spec: 10 §10."""

    ids: MessageIds
    nhs_number: str
    event_id: str
    event_type: str
    effective_time: str
    target: str | None
    reason: str
    reason_text: str = "Not Provided in message"
    payload_author: Person | None = None


@dataclass(frozen=True, slots=True)
class DissentOverride:
    """Why a recorded dissent should be passed over: a code 0-5 and the justification. Spec: 20 §6."""

    code: str = "0"
    text: str = ""


@dataclass(frozen=True, slots=True)
class EventListQuery:
    """Ask for the metadata of all events of a patient.

    ``current_only`` (SM04) means that a patient without a Normal event has no results. Spec: 20 §7.1.
    """

    ids: MessageIds
    nhs_number: str
    override: DissentOverride = DissentOverride()
    current_only: bool = False


@dataclass(frozen=True, slots=True)
class EventQuery:
    """Ask for one event with its document. Spec: 20 §5."""

    ids: MessageIds
    nhs_number: str
    event_id: str
    override: DissentOverride = DissentOverride()


@dataclass(frozen=True, slots=True)
class CodedValue:
    """A code in its code system (OID or URL). What it is called, ``display``, tells no two codes apart."""

    code: str
    system: str = ""
    display: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Two HL7 times of any precision, both ends included: a part of a time means all of it. Spec: 20 §4.4."""

    low: str
    high: str


@dataclass(frozen=True, slots=True)
class DocumentFilter:
    """Which documents are wanted: of those that are given, every condition must hold; none given wants all.

    ``document_type`` is the type of the document, ``cre_type`` a heading that it must have, ``date`` when it took
    effect, ``set_id`` its set. Spec: 20 §4.4.
    """

    document_type: CodedValue | None = None
    cre_type: CodedValue | None = None
    date: TimeRange | None = None
    set_id: str | None = None


@dataclass(frozen=True, slots=True)
class DocumentListQuery:
    """Ask for the metadata of a patient's documents. Spec: 20 §4."""

    ids: MessageIds
    nhs_number: str
    override: DissentOverride = DissentOverride()
    wanted: DocumentFilter = DocumentFilter()


@dataclass(frozen=True, slots=True)
class DocumentQuery:
    """Ask for one document with its content: by its id or, when that is empty, by its set. Spec: 20 §4."""

    ids: MessageIds
    nhs_number: str
    document_id: str = ""
    set_id: str = ""
    override: DissentOverride = DissentOverride()


@dataclass(frozen=True, slots=True)
class SubjectAccessQuery:
    """Ask for all that is held of a patient: every event with its document. Spec: 20 §5, §10.5."""

    ids: MessageIds
    nhs_number: str
    override: DissentOverride = DissentOverride()


@dataclass(frozen=True, slots=True)
class ScrPermissionsQuery:
    """Ask, as an SCR application does, whether there is a summary and what stands in the way of viewing it.

    ``asker`` is a role profile id; who would look is either the ``role_profile`` (with ``workgroups``) or the
    ``workgroup``, the other is empty. Spec: 20 §11.1, 30 §5.4.
    """

    ids: MessageIds
    nhs_number: str
    asker: str
    role_profile: str = ""
    workgroups: tuple[str, ...] = ()
    workgroup: str = ""


@dataclass(frozen=True, slots=True)
class ConsentChange:
    """Set the patient's consent; `Consent.ASK` clears what is stored. Spec: 30 §5.1."""

    ids: MessageIds
    nhs_number: str
    value: Consent


@dataclass(frozen=True, slots=True)
class ConsentCriteria:
    """Which assertions a consent query wants back: function codes (``View``, ``Store``) and resource types."""

    codes: tuple[str, ...] = ("Store", "View")
    scr_wanted: bool = True


@dataclass(frozen=True, slots=True)
class ConsentQuery:
    """Ask for the stored consent. Spec: 30 §5.2."""

    ids: MessageIds
    nhs_number: str
    criteria: ConsentCriteria = ConsentCriteria()


@dataclass(frozen=True, slots=True)
class Accessor:
    """Who would make use of a permission: everyone, or one user by id (``root`` and ``extension``). Spec: 30 §4.1."""

    type: str = "Everyone"
    name: str = "Everyone"
    root: str = ""
    extension: str = ""


@dataclass(frozen=True, slots=True)
class AskedPermission:
    """One access control set of a HAS: a function (``View``, ``Store``) on a resource, and who would use it.

    ``resource_id`` is empty for the patient's own number. Spec: 30 §4.1.
    """

    code: str
    accessor: Accessor = Accessor()
    resource_type: str = "SCR"
    context: str = "Consent"
    resource_id: str = ""


@dataclass(frozen=True, slots=True)
class PermissionQuery:
    """Ask whether accessors hold permissions, set by set. Spec: 30 §5.3."""

    ids: MessageIds
    nhs_number: str
    asked: tuple[AskedPermission, ...]


@dataclass(frozen=True, slots=True)
class AlertUser:
    """The healthcare worker whose access an alert tells of, as the alert names them. ``role`` is text."""

    user_id: str
    name: str = ""
    role: str = ""
    role_profile_id: str = ""
    organisation: str = ""
    organisation_name: str = ""


@dataclass(frozen=True, slots=True)
class Alert:
    """A privacy alert: who looked at whose record, on what ground, without the relationship or permission it needs.

    ``occurred_at`` is an HL7 or FHIR time as sent. ``text`` is the user's reason in their own words, ``notification``
    what the privacy officer is told by, ``reference`` the sender's id of the alert. ``carried`` is all else that the
    message said, by name. Spec: 35 §6.1, 80 §5.
    """

    ids: MessageIds
    nhs_number: str
    type: CodedValue
    reason: CodedValue
    occurred_at: str
    user: AlertUser
    system_name: str = ""
    text: str = ""
    notification: str = ""
    reference: str = ""
    carried: Mapping[str, str] = field(default_factory=dict)


# --- outcomes -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was decided: acknowledgement type and, unless all is well, every issue in the order of the wire."""

    ack: AckType = AckType.ACCEPTED
    issues: tuple[Issue, ...] = ()

    @property
    def accepted(self) -> bool:
        """Whether the request was carried out."""
        return self.ack is AckType.ACCEPTED

    @property
    def code(self) -> str:
        """The most specific code, for audit and metrics: ``AA``, or ``420/30418``."""
        return "/".join(dict.fromkeys(issue.code for issue in self.issues[:2])) or self.ack.value


@dataclass(frozen=True, slots=True)
class Event:
    """One stored event as a list shows it.

    ``payload_id`` is the message artefact of the interaction that brought it (``REPC_MT150007UK05``). ``stored_at`` is
    the instant of persistence; ``author`` the document's author participation as self-contained XML,
    empty when there is none. Spec: 20 §7.1.
    """

    event_id: str
    event_type: str
    payload_id: str
    status: EventStatus
    stored_at: datetime
    withdrawing_event_id: str | None = None
    author: bytes = b""


@dataclass(frozen=True, slots=True)
class EventListOutcome:
    """Answer to an event list query: events in the order of 20 §7.1 and the consent in force, or a refusal."""

    outcome: Outcome
    nhs_number: str
    events: tuple[Event, ...] = ()
    consent: Consent = Consent.ASK


@dataclass(frozen=True, slots=True)
class EventOutcome:
    """Answer to an event query: the event and its document (self-contained XML), or a refusal."""

    outcome: Outcome
    nhs_number: str
    event: Event | None = None
    document: bytes = b""


@dataclass(frozen=True, slots=True)
class DocumentAuthor:
    """Who wrote a document, as its metadata says; what is not known is empty.

    ``name`` are the parts of a structured name in order (``("family", "Penrose")``), or a single part without a label.
    ``organisation`` is an ODS code. Spec: 20 §13.
    """

    user_id: str = ""
    role_profile_id: str = ""
    job_role: CodedValue | None = None
    job_role_name: str = ""
    name: tuple[tuple[str, str], ...] = ()
    organisation: str = ""
    organisation_name: str = ""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """The metadata of one document as a document list shows it.

    ``event_id``, ``event_type``, ``status`` and ``stored_at`` are those of the event that brought it; ``size`` is in
    bytes, ``effective_time`` an HL7 time as stored. Spec: 20 §13.
    """

    event_id: str
    event_type: str
    payload_id: str
    status: EventStatus
    stored_at: datetime
    effective_time: str
    size: int
    title: str = ""
    replaced_by: str | None = None
    withdrawn_by: str | None = None
    set_id: str | None = None
    author: DocumentAuthor = DocumentAuthor()


@dataclass(frozen=True, slots=True)
class DocumentListOutcome:
    """Answer to a document list query: documents, the newest first, or a refusal.

    An accepted answer without documents says that nothing of this patient's record is what was wanted. Spec: 20 §8.
    """

    outcome: Outcome
    nhs_number: str
    documents: tuple[StoredDocument, ...] = ()


@dataclass(frozen=True, slots=True)
class DocumentOutcome:
    """Answer to a document query: its metadata and its content (self-contained XML), or a refusal.

    An accepted answer without a document says that the set has none. Spec: 20 §8, §13.
    """

    outcome: Outcome
    nhs_number: str
    document: StoredDocument | None = None
    content: bytes = b""


@dataclass(frozen=True, slots=True)
class SubjectAccessOutcome:
    """Answer to a subject access query: every event with its document (self-contained XML), or a refusal."""

    outcome: Outcome
    nhs_number: str
    events: tuple[tuple[Event, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class EventAuthor:
    """Who made an event, as an SCR application is told; what is not known is empty. Spec: 20 §11.2, §11.3."""

    time: str = ""
    user_id: str = ""
    role_profile_id: str = ""
    job_role: str = ""
    family_name: str = ""
    asid: str = ""


@dataclass(frozen=True, slots=True)
class ListedEvent:
    """An event with its author's identity; the author participation of ``event`` itself is left out."""

    event: Event
    author: EventAuthor = EventAuthor()


@dataclass(frozen=True, slots=True)
class PermissionToView:
    """Whether the patient has been asked; times are HL7 times, empty when not applicable. Spec: 20 §11.2."""

    exists: bool = False
    claimed: bool = False
    referred: bool = False
    start: str = ""
    end: str = ""
    author: str = ""
    assessor_id: str = ""
    assessor_group: str = ""


@dataclass(frozen=True, slots=True)
class LegitimateRelationship:
    """Whether those who would look are involved in the patient's care. Spec: 20 §11.2."""

    exists: bool = False
    claimed: bool = False
    referred: bool = False
    start: str = ""
    end: str = ""
    reason: str = ""
    staff: str = ""


@dataclass(frozen=True, slots=True)
class ScrPermissionsOutcome:
    """Answer to an SCR application: current events, consent, permission to view, relationship, or a refusal.

    ``store`` and ``view`` are one value at our own service. Spec: 20 §11.2.
    """

    outcome: Outcome
    nhs_number: str
    events: tuple[ListedEvent, ...] = ()
    store: Consent = Consent.ASK
    view: Consent = Consent.ASK
    permission: PermissionToView = PermissionToView()
    relationship: LegitimateRelationship = LegitimateRelationship()
    protection_order: bool = False


@dataclass(frozen=True, slots=True)
class ExtendedListOutcome:
    """The event list with the full identity of the authors, or a refusal. Spec: 20 §11.3."""

    outcome: Outcome
    nhs_number: str
    events: tuple[ListedEvent, ...] = ()
    protection_order: bool = False


@dataclass(frozen=True, slots=True)
class ConsentOutcome:
    """Answer to a consent query; ``superseded`` says that the value belongs to the surviving number. Spec: 30 §6."""

    outcome: Outcome
    nhs_number: str
    consent: Consent = Consent.ASK
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class PermissionsOutcome:
    """Answer to a permission query: each set that was asked with what holds for it, in order. Spec: 30 §4.2, §6."""

    outcome: Outcome
    nhs_number: str
    permissions: tuple[tuple[AskedPermission, Consent], ...] = ()
    superseded: bool = False


class Spine(Protocol):
    """A Summary Care Record service, ours or a remote one."""

    async def upload(self, caller: Caller, upload: Upload) -> Outcome:
        """Store a summary, or say why not. Spec: 10 §15."""

    async def withdraw(self, caller: Caller, withdrawal: Withdrawal) -> Outcome:
        """Withdraw an event, or say why not. Spec: 10 §15 step 9."""

    async def list_events(self, caller: Caller, query: EventListQuery) -> EventListOutcome:
        """List a patient's events. Spec: 20 §7.1."""

    async def retrieve_event(self, caller: Caller, query: EventQuery) -> EventOutcome:
        """Return one event with its document. Spec: 20 §7.2."""

    async def list_documents(self, caller: Caller, query: DocumentListQuery) -> DocumentListOutcome:
        """List the documents of a patient that are wanted. Spec: 20 §4, §13."""

    async def retrieve_document(self, caller: Caller, query: DocumentQuery) -> DocumentOutcome:
        """Return one document with its content. Spec: 20 §4, §13."""

    async def retrieve_record(self, caller: Caller, query: SubjectAccessQuery) -> SubjectAccessOutcome:
        """Return every event with its document, for the person whose record it is. Spec: 20 §7.2, §10.5."""

    async def check_scr_permissions(self, caller: Caller, query: ScrPermissionsQuery) -> ScrPermissionsOutcome:
        """Say whether there is a summary, and what stands in the way of viewing it. Spec: 20 §11."""

    async def set_consent(self, caller: Caller, change: ConsentChange) -> Outcome:
        """Set or clear the patient's consent. Spec: 30 §9.2."""

    async def get_consent(self, caller: Caller, query: ConsentQuery) -> ConsentOutcome:
        """Return the stored consent. Spec: 30 §5.2."""

    async def has_permissions(self, caller: Caller, query: PermissionQuery) -> PermissionsOutcome:
        """Say of each set that was asked what holds for it, Ask included. Spec: 30 §5.3."""

    async def raise_alert(self, caller: Caller, alert: Alert) -> Outcome:
        """Keep a privacy alert for the privacy officer, or say why not. Spec: 35 §6.1."""
