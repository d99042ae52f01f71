"""AuditEvent as a privacy alert: read, judged in the order of the published checks, and written.

Spec: 60 §8.2, §12.5; 80 §5.1.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from openscr.codes import ALERT_FHIR, ALERT_REASONS, ALERT_TYPES, FORBIDDEN_ALERTS
from openscr.fhir.resource import NotFhir, read_resource
from openscr.spine import Alert, AlertUser, CodedValue, MessageIds

TYPE_SYSTEM: Final = "https://fhir.nhs.uk/CodeSystem/SCR-AlertType"
REASON_SYSTEM: Final = "https://fhir.nhs.uk/CodeSystem/SCR-AlertReason"
NOTIFICATION_URL: Final = "https://fhir.nhs.uk/StructureDefinition/Extension-SCR-NotificationMessage"
NHS_NUMBER_SYSTEM: Final = "https://fhir.nhs.uk/Id/nhs-number"
ODS_SYSTEM: Final = "https://fhir.nhs.uk/Id/ods-organization-code"
USER_SYSTEM: Final = "https://fhir.nhs.uk/Id/sds-user-id"
ASID_SYSTEM: Final = "https://fhir.nhs.uk/Id/nhsSpineASID"
AGENT_SYSTEMS: Final = (NHS_NUMBER_SYSTEM, ODS_SYSTEM, USER_SYSTEM)
"""The three agents of an alert, in the order in which they are looked for."""


class _Form(msgspec.Struct, rename="camel"):
    """Part of a resource; what it has beside these elements is let pass."""


class Identifier(_Form):
    """FHIR Identifier."""

    system: str | None = None
    value: str | None = None


class Reference(_Form):
    """FHIR Reference, by identifier."""

    identifier: Identifier | None = None


class Coding(_Form):
    """FHIR Coding."""

    system: str | None = None
    code: str | None = None
    display: str | None = None


class Concept(_Form):
    """FHIR CodeableConcept."""

    coding: list[Coding] | None = None
    text: str | None = None


class Extension(_Form):
    """An extension with a text."""

    url: str | None = None
    value_string: str | None = None


class Agent(_Form):
    """Who or what took part."""

    who: Reference | None = None
    requestor: bool | None = None
    role: list[Concept] | None = None

    def value(self, system: str) -> str:
        """Return the identifier of this system, empty when the agent has another or none."""
        identifier = self.who.identifier if self.who is not None else None
        return (identifier.value or "") if identifier is not None and identifier.system == system else ""


class Source(_Form):
    """The system that raised the alert."""

    observer: Reference | None = None


class Entity(_Form):
    """What the alert is known by."""

    what: Reference | None = None


class AuditEvent(_Form):
    """The elements of an AuditEvent that an alert has. Spec: 60 §8.2."""

    id: str | None = None
    extension: list[Extension] | None = None
    type: Coding | None = None
    subtype: list[Coding] | None = None
    recorded: str | None = None
    outcome_desc: str | None = None
    agent: list[Agent] | None = None
    source: Source | None = None
    entity: list[Entity] | None = None

    def agents(self, system: str) -> list[Agent]:
        """Return the agents with a value of this system."""
        return [agent for agent in self.agent or () if agent.value(system)]

    @property
    def asid(self) -> str:
        """The ASID of the observer, empty when there is none. Spec: 60 §8.2."""
        observer = self.source.observer if self.source is not None else None
        identifier = observer.identifier if observer is not None else None
        return (identifier.value or "") if identifier is not None and identifier.system == ASID_SYSTEM else ""


def read_audit_event(body: bytes) -> AuditEvent:
    """Read the JSON of an AuditEvent. Raises: `NotFhir`, which is the first of the checks. Spec: 60 §8.2."""
    document = read_resource(body, ALERT_FHIR)
    try:
        return msgspec.convert(document, AuditEvent)
    except msgspec.ValidationError as error:
        # Types and element names, never values.
        raise NotFhir(str(error)) from None


def check_audit_event(event: AuditEvent) -> str | None:
    """Return the text of the first check that an AuditEvent fails, or none. Spec: 60 §8.2."""
    return next(_failures(event), None)


def _failures(event: AuditEvent) -> Iterator[str]:
    if not event.id:
        yield "'id' element is missing"
    notifications = [each for each in event.extension or () if each.url == NOTIFICATION_URL]
    if len(notifications) != 1:
        yield f"Expecting exactly one 'extension' element with URL: '{NOTIFICATION_URL}'"
    elif not notifications[0].value_string:
        yield f"'valueString' for 'extension' '{NOTIFICATION_URL}' is missing"
    kind = event.type or Coding()
    if kind.system != TYPE_SYSTEM:
        yield f"'Type' element for '{TYPE_SYSTEM}' system missing"
    if kind.code not in ALERT_TYPES:
        yield "Invalid or missing value in field 'type.code'. Supported values are: 1, 2"
    if not kind.display:
        yield "Missing value 'type.display'"
    subtypes = event.subtype or []
    if len(subtypes) != 1:
        yield "Expecting exactly one 'subtype' element"
    else:
        yield from _failures_of_reason(subtypes[0], kind)
    if not event.recorded:
        yield "'recorded' element missing"
    if len(event.entity or ()) != 1:
        yield "Expecting exactly one 'entity' element"
    if not _reference(event):
        yield "Invalid or missing value in field 'entity.what.identifier.value'"
    yield from _failures_of_agents(event)


def _failures_of_reason(reason: Coding, kind: Coding) -> Iterator[str]:
    if reason.system != REASON_SYSTEM:
        yield f"Invalid or missing value in field 'subtype.system'. Supported value is: {REASON_SYSTEM}"
    if reason.code not in ALERT_REASONS:
        yield "Invalid or missing value in field 'subtype.code'. Supported values are: 1, 2, 3, 4, 5, 6"
    if not reason.display:
        yield "Missing value 'subtype.display'"
    if (kind.code, reason.code) in FORBIDDEN_ALERTS:
        yield f"Invalid combination of alert type '{kind.code}' and alert subtype '{reason.code}'."


def _failures_of_agents(event: AuditEvent) -> Iterator[str]:
    for system in AGENT_SYSTEMS:
        count = len(event.agents(system))
        entry = f"'agent' entry with 'who.identifier.system' '{system}' and non-empty 'value'"
        if count == 0:
            yield f"Missing {entry}"
        elif count > 1:
            yield f"Expecting exactly one {entry}"
    for system in AGENT_SYSTEMS:
        if any(agent.requestor is not False for agent in event.agents(system)):
            yield (f"Missing or unsupported 'requestor' value for 'agent' with 'who.identifier.system' '{system}'")
    roles = [role for agent in event.agents(USER_SYSTEM) for role in agent.role or ()]
    if not roles:
        yield f"Expecting at least one 'role' for 'agent' entry with system {USER_SYSTEM}"
    elif not all(role.text or role.coding for role in roles):
        yield f"Expecting at least one non empty 'role' for 'agent' entry with system {USER_SYSTEM}"


def _reference(event: AuditEvent) -> str:
    what = event.entity[0].what if event.entity else None
    return (what.identifier.value or "") if what is not None and what.identifier is not None else ""


def alert_of(event: AuditEvent, ids: MessageIds) -> Alert:
    """Return the alert that an AuditEvent is which has passed every check. Spec: 60 §8.2, 80 §5.1."""
    kind, reason = event.type or Coding(), (event.subtype or [Coding()])[0]
    (patient,), (organisation,), (user,) = (event.agents(system) for system in AGENT_SYSTEMS)
    role = (user.role or [Concept()])[0]
    coding = (role.coding or [Coding()])[0]
    carried = {
        "audit_event/id": event.id or "",
        "source/asid": event.asid,
        "user/role/code": coding.code or "",
        "user/role/system": coding.system or "",
    }
    notification = next(each for each in event.extension or () if each.url == NOTIFICATION_URL)
    return Alert(
        ids=ids,
        nhs_number=patient.value(NHS_NUMBER_SYSTEM),
        type=CodedValue(kind.code or "", kind.system or "", kind.display or ""),
        reason=CodedValue(reason.code or "", reason.system or "", reason.display or ""),
        occurred_at=event.recorded or "",
        user=AlertUser(
            user_id=user.value(USER_SYSTEM),
            role=role.text or coding.display or coding.code or "",
            organisation=organisation.value(ODS_SYSTEM),
        ),
        text=event.outcome_desc or "",
        notification=notification.value_string or "",
        reference=_reference(event),
        carried={name: value for name, value in carried.items() if value},
    )


def write_audit_event(alert: Alert, asid: str) -> bytes:
    """Write an alert as an AuditEvent; type and reason are the codes of 80 §5.1, with their names. Spec: 60 §8.2."""
    user = alert.user
    document: dict[str, Any] = {
        "resourceType": ALERT_FHIR,
        "id": alert.reference,
        "extension": [{"url": NOTIFICATION_URL, "valueString": alert.notification}],
        "type": {"system": TYPE_SYSTEM, "code": alert.type.code, "display": alert.type.display},
        "subtype": [{"system": REASON_SYSTEM, "code": alert.reason.code, "display": alert.reason.display}],
        "recorded": alert.occurred_at,
        "agent": [
            _agent(NHS_NUMBER_SYSTEM, alert.nhs_number),
            _agent(ODS_SYSTEM, user.organisation),
            _agent(USER_SYSTEM, user.user_id, user.role),
        ],
        "source": {"observer": {"identifier": {"system": ASID_SYSTEM, "value": asid}}},
        "entity": [{"what": {"identifier": {"value": alert.reference}}}],
    }
    if alert.text:
        document["outcomeDesc"] = alert.text
    return msgspec.json.encode(document)


def _agent(system: str, value: str, role: str = "") -> dict[str, Any]:
    agent: dict[str, Any] = {"who": {"identifier": {"system": system, "value": value}}, "requestor": False}
    if role:
        agent["role"] = [{"text": role}]
    return agent
