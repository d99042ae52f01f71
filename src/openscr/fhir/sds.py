"""What the Spine Directory Service tells, as FHIR: Device, Endpoint, PractitionerRole, the Bundle around them, errors.

Spec: 40 §11.2, 60 §13.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import msgspec

from openscr.directory.ldap_entry import LdapEntry
from openscr.directory.sds_api import IDS, INTERACTION, ODS, PARTY_KEY, RELIABILITY

JOB_ROLE: Final = "https://fhir.nhs.uk/CodeSystem/NHSDigital-SDS-JobRoleCode"
ERRORS: Final = "https://fhir.nhs.uk/STU3/ValueSet/Spine-ErrorOrWarningCode-1"
_STRUCTURES: Final = "https://fhir.nhs.uk/StructureDefinition/Extension-SDS-"
_TERMINOLOGY: Final = "http://terminology.hl7.org/CodeSystem/"

_RELIABILITY: Final = (
    "nhsMHSSyncReplyMode",
    "nhsMHSRetryInterval",
    "nhsMHSRetries",
    "nhsMHSPersistDuration",
    "nhsMHSDuplicateElimination",
    "nhsMHSAckRequested",
    "nhsMHSActor",
)

Resource = dict[str, Any]


def device(entry: LdapEntry, ods: str) -> Resource:
    """Return an accredited system as a Device, owned by the organisation ``ods`` if it acts for it. Spec: 40 §11.2."""
    clients = entry.texts("nhsAsClient") or entry.texts("nhsIDCode")
    owner = next((client for client in clients if client.lower() == ods.lower()), clients[0] if clients else ods)
    extension = [
        *(_reference("ManufacturingOrganisation", ODS, code) for code in entry.texts("nhsMhsManufacturerOrg")[:1]),
        *(_reference("NhsServiceInteractionId", INTERACTION, each) for each in entry.texts("nhsAsSvcIA")),
    ]
    return {
        "resourceType": "Device",
        "id": _id_of(f"Device {entry.dn}"),
        "identifier": [
            _identifier(f"{IDS}nhsSpineASID", entry.text("uniqueIdentifier")),
            _identifier(PARTY_KEY, entry.text("nhsMHSPartyKey")),
        ],
        "extension": extension,
        "owner": {"identifier": _identifier(ODS, owner)},
    }


def endpoint(entry: LdapEntry, address: str) -> Resource:
    """Return an endpoint with one of its addresses. Spec: 40 §11.2."""
    identifiers = (
        (f"{IDS}nhsMhsFQDN", entry.text("nhsMhsFQDN")),
        (PARTY_KEY, entry.text("nhsMHSPartyKey")),
        (f"{IDS}nhsMhsCPAId", entry.text("nhsMhsCPAId")),
        (f"{IDS}nhsMHSId", entry.text("uniqueIdentifier")),
    )
    reliability = [property_ for name in _RELIABILITY for property_ in _property(entry, name)]
    extension = [{"url": RELIABILITY, "extension": reliability}] if reliability else []
    return {
        "resourceType": "Endpoint",
        "id": _id_of(f"Endpoint {entry.dn} {address}"),
        "status": "active",
        "connectionType": {
            "system": f"{_TERMINOLOGY}endpoint-connection-type",
            "code": "hl7-fhir-msg",
            "display": "HL7 FHIR Messaging",
        },
        "payloadType": [
            {"coding": [{"system": f"{_TERMINOLOGY}endpoint-payload-type", "code": "any", "display": "Any"}]}
        ],
        "address": address,
        "managingOrganization": {"identifier": _identifier(ODS, entry.text("nhsIDCode"))},
        "identifier": [_identifier(system, value) for system, value in identifiers if value],
        "extension": [*extension, _reference("NhsServiceInteractionId", INTERACTION, entry.text("nhsMhsSvcIA"))],
    }


def practitioner_role(role_profile_id: str, job_role: str) -> Resource:
    """Return a role: its job role code, and nothing about the person. Spec: 60 §13."""
    return {
        "resourceType": "PractitionerRole",
        "id": _id_of(f"PractitionerRole {role_profile_id}"),
        "code": [{"coding": [{"system": JOB_ROLE, "code": job_role}]}],
    }


def bundle(identifier: str, base: str, self_link: str, resources: Sequence[Resource]) -> bytes:
    """Write the answer to a search; ``base`` is the URL that the resource types stand below. Spec: 40 §11.2."""
    return msgspec.json.encode(
        {
            "resourceType": "Bundle",
            "id": identifier,
            "type": "searchset",
            "total": len(resources),
            "link": [{"relation": "self", "url": self_link}],
            "entry": [
                {
                    "fullUrl": f"{base}/{resource['resourceType']}/{resource['id']}",
                    "resource": resource,
                    "search": {"mode": "match"},
                }
                for resource in resources
            ],
        }
    )


def outcome(issue: str, code: str, display: str, diagnostics: str) -> bytes:
    """Write a refusal with the codes of SDS. Spec: 40 §11.2."""
    return msgspec.json.encode(
        {
            "resourceType": "OperationOutcome",
            "issue": [
                {
                    "severity": "error",
                    "code": issue,
                    "details": {"coding": [{"system": ERRORS, "code": code, "display": display}]},
                    "diagnostics": diagnostics,
                }
            ],
        }
    )


def _identifier(system: str, value: str) -> dict[str, str]:
    return {"system": system, "value": value}


def _reference(name: str, system: str, value: str) -> Resource:
    return {"url": f"{_STRUCTURES}{name}", "valueReference": {"identifier": _identifier(system, value)}}


def _property(entry: LdapEntry, name: str) -> Iterable[Resource]:
    value = entry.text(name)
    if name == "nhsMHSRetries" and value:
        # A directory that has no number there says nothing that a client could use.
        return [{"url": name, "valueInteger": int(value)}] if value.isascii() and value.isdigit() else []
    return [{"url": name, "valueString": value}] if value else []


def _id_of(name: str) -> str:
    """Return the id of a resource: a UUID that stays the same as long as the entry has its name."""
    return str(uuid5(NAMESPACE_URL, f"urn:openscr:sds:{name}")).upper()
