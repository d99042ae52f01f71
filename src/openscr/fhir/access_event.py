"""AuditEvent as a row of the audit in FHIR R4, for other programs to read.

Spec: 35 §7; 60 §8.2 has the alerts, which are AuditEvents too.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from openscr.fhir.audit_event import ASID_SYSTEM, NHS_NUMBER_SYSTEM, ODS_SYSTEM, USER_SYSTEM

DICOM: Final = "http://dicom.nema.org/resources/ontology/DCM"
ENTITY_TYPE: Final = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
OBJECT_ROLE: Final = "http://terminology.hl7.org/CodeSystem/object-role"
INTERACTION_SYSTEM: Final = "https://fhir.nhs.uk/CodeSystem/message-event"

_INTERACTION: Final = re.compile(r"[A-Z]+(?:_[A-Z0-9]+)+")
_PATIENT_RECORD: Final = {"system": DICOM, "code": "110110", "display": "Patient Record"}
_AUDIT_USED: Final = {"system": DICOM, "code": "110101", "display": "Audit Log Used"}
_DONE, _REFUSED = "0", "4"
_IP_ADDRESS: Final = "2"
_TOLD_ELSEWHERE: Final = frozenset(
    {"user_id", "role_profile_id", "job_role", "display_name", "organisation", "asid", "address", "interaction",
     "event_id", "reason"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Access:
    """What a row of the audit says: its place, when, what, how it ended, about whom, and all else by name.

    With ``sequence`` 0 its place is not told.
    """

    slot: int
    sequence: int
    occurred_at: datetime
    action: str
    accepted: bool
    nhs_number: str | None
    content: Mapping[str, str]


def access_event(access: Access) -> dict[str, Any]:
    """Return an access or refusal as an AuditEvent of R4. Spec: 35 §7."""
    content = access.content
    of_the_audit = access.action.startswith("audit ")
    event: dict[str, Any] = {
        "resourceType": "AuditEvent",
        **({"id": f"{access.slot}-{access.sequence}"} if access.sequence else {}),
        "type": _AUDIT_USED if of_the_audit else _PATIENT_RECORD,
        "subtype": [_what_was_asked(access.action)],
        "recorded": access.occurred_at.isoformat(),
        "outcome": _DONE if access.accepted else _REFUSED,
        "agent": _agents(content),
        "source": {"observer": {"display": "OpenSCR"}},
    }
    if content.get("reason"):
        event["outcomeDesc"] = content["reason"]
    entities = _entities(access)
    if entities:
        event["entity"] = entities
    return event


def _what_was_asked(action: str) -> dict[str, str]:
    """Return the interaction of a message in its code system; routes and commands of ours are in none."""
    coding = {"code": " ".join(action.split()) or "unknown"}
    return {"system": INTERACTION_SYSTEM, **coding} if _INTERACTION.fullmatch(action) else coding


def _agents(content: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the person, the system, the organisation: who asked is the person, else the system."""
    agents: list[dict[str, Any]] = []
    user = content.get("user_id") or content.get("operator", "")
    network = {"address": content["address"], "type": _IP_ADDRESS} if content.get("address") else None
    if user:
        known = "user_id" in content
        who = _identifier(USER_SYSTEM, user) if known else {"display": user}
        person: dict[str, Any] = {"who": who, "requestor": False}
        if content.get("display_name"):
            person["name"] = content["display_name"]
        if content.get("role_profile_id"):
            person["altId"] = content["role_profile_id"]
        if content.get("job_role"):
            person["role"] = [{"text": content["job_role"]}]
        agents.append(person)
    if content.get("asid"):
        agents.append({"who": _identifier(ASID_SYSTEM, content["asid"]), "requestor": False})
    if content.get("organisation"):
        agents.append({"who": _identifier(ODS_SYSTEM, content["organisation"]), "requestor": False})
    if not agents:
        agents.append({"who": {"display": content.get("certificate") or "unknown"}, "requestor": False})
    # The first of them asked: the person, else the system, else all that is known.
    agents[0]["requestor"] = True
    if network is not None:
        agents[0]["network"] = network
    return agents


def _entities(access: Access) -> list[dict[str, Any]]:
    entities: list[dict[str, Any]] = []
    if access.nhs_number:
        entities.append(
            {
                "what": _identifier(NHS_NUMBER_SYSTEM, access.nhs_number),
                "type": {"system": ENTITY_TYPE, "code": "1", "display": "Person"},
                "role": {"system": OBJECT_ROLE, "code": "1", "display": "Patient"},
            }
        )
    rest = [
        {"type": name, "valueString": value}
        for name, value in sorted(access.content.items())
        if value and name not in _TOLD_ELSEWHERE
    ]
    event_id = access.content.get("event_id")
    if event_id or rest:
        entity: dict[str, Any] = {"type": {"system": ENTITY_TYPE, "code": "2", "display": "System Object"}}
        if event_id:
            entity["what"] = {"identifier": {"system": "urn:ietf:rfc:3986", "value": f"urn:uuid:{event_id.lower()}"}}
            entity["role"] = {"system": OBJECT_ROLE, "code": "3", "display": "Report"}
        if rest:
            entity["detail"] = rest
        entities.append(entity)
    return entities


def _identifier(system: str, value: str) -> dict[str, Any]:
    return {"identifier": {"system": system, "value": value}}
