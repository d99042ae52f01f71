"""The SDS FHIR API as a source of look-ups.

What it tells becomes entries of SDS again, as they come over LDAP, so that there is one way from an entry to a route.

Spec: 40 §11.2; 50 §5.1; 60 §13.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from openscr.directory.json_service import JsonService
from openscr.directory.ldap_entry import LdapEntry
from openscr.errors import DirectoryUnavailable

IDS: Final = "https://fhir.nhs.uk/Id/"
ODS: Final = f"{IDS}ods-organization-code"
INTERACTION: Final = f"{IDS}nhsServiceInteractionId"
PARTY_KEY: Final = f"{IDS}nhsMhsPartyKey"
ROLE: Final = f"{IDS}nhsJobRoleCode"
RELIABILITY: Final = "https://fhir.nhs.uk/StructureDefinition/Extension-SDS-ReliabilityConfiguration"

CORRELATION: Final = "X-Correlation-ID"

_SYSTEM: Final = {"uniqueIdentifier": f"{IDS}nhsSpineASID", "nhsMHSPartyKey": PARTY_KEY}
_ENDPOINT: Final = {
    "uniqueIdentifier": f"{IDS}nhsMHSId",
    "nhsMHSPartyKey": PARTY_KEY,
    "nhsMhsCPAId": f"{IDS}nhsMhsCPAId",
    "nhsMhsFQDN": f"{IDS}nhsMhsFQDN",
}

Parameters = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SdsApi:
    """Asks the SDS FHIR API with a key; ``correlation_id`` is a UUID that its questions bear, if any."""

    service: JsonService
    key: str = ""
    correlation_id: str = ""

    async def systems(
        self, *, ods: str, interaction: str, party_key: str = "", manufacturer: str = ""
    ) -> Sequence[LdapEntry]:
        """Search the systems, in the order of the answer."""
        devices = await self._search(
            "Device",
            ("organization", _token(ODS, ods)),
            ("identifier", _token(INTERACTION, interaction)),
            ("identifier", _token(PARTY_KEY, party_key)),
            ("manufacturing-organization", _token(ODS, manufacturer)),
        )
        return [_entry("nhsAs", _identifiers(device, _SYSTEM)) for device in devices]

    async def endpoints(self, *, ods: str = "", interaction: str = "", party_key: str = "") -> Sequence[LdapEntry]:
        """Search the endpoints, in the order of the answer; each address is an endpoint of its own there.

        The entries do not say which interaction they are for: the API has put the intermediary's address where one is
        between, and nobody shall look for it again. Spec: 40 §11.2.
        """
        found = await self._search(
            "Endpoint",
            ("organization", _token(ODS, ods)),
            ("identifier", _token(INTERACTION, interaction)),
            ("identifier", _token(PARTY_KEY, party_key)),
        )
        return [
            _entry(
                "nhsMhs",
                {"nhsMHSEndPoint": _text(endpoint.get("address"))}
                | _reliability(endpoint)
                | _identifiers(endpoint, _ENDPOINT),
            )
            for endpoint in found
        ]

    async def job_role(self, role_profile_id: str, today: date) -> str | None:
        """Look a role profile up; the API tells of those alone that are open on the day it is asked."""
        roles = await self._search("PractitionerRole", ("user-role-id", _token(ROLE, role_profile_id)))
        codings = (
            [coding for code in _objects(roles[0], "code") for coding in _objects(code, "coding")] if roles else []
        )
        return (_text(codings[0].get("code")) or None) if codings else None

    async def _search(self, resource: str, *parameters: tuple[str, str]) -> list[dict[str, Any]]:
        headers = {"Accept": "application/fhir+json"}
        if self.key:
            headers["apikey"] = self.key
        if self.correlation_id:
            headers[CORRELATION] = self.correlation_id
        answer = await self.service.get(resource, [each for each in parameters if each[1]], headers)
        if not isinstance(answer, dict) or answer.get("resourceType") != "Bundle":
            raise DirectoryUnavailable("the answer of the SDS API is not a Bundle")
        resources = [entry.get("resource") for entry in _objects(answer, "entry")]
        return [each for each in resources if isinstance(each, dict) and each.get("resourceType") == resource]


def _token(system: str, value: str) -> str:
    return f"{system}|{value}" if value else ""


def _text(value: object) -> str:
    """Return a value that should be text, empty when it is none. Numbers are what they look like."""
    if isinstance(value, str):
        return value.strip()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _objects(holder: dict[str, Any], name: str) -> list[dict[str, Any]]:
    found = holder.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _identifiers(resource: dict[str, Any], wanted: dict[str, str]) -> dict[str, str]:
    """Return the first identifier of each system, in any letter case, by the attribute of SDS that it is."""
    found: dict[str, str] = {}
    for identifier in _objects(resource, "identifier"):
        found.setdefault(_text(identifier.get("system")).lower(), _text(identifier.get("value")))
    return {attribute: found.get(system.lower(), "") for attribute, system in wanted.items()}


def _reliability(endpoint: dict[str, Any]) -> dict[str, str]:
    properties: dict[str, str] = {}
    for extension in _objects(endpoint, "extension"):
        if extension.get("url") == RELIABILITY:
            for each in _objects(extension, "extension"):
                value = each["valueInteger"] if "valueInteger" in each else each.get("valueString")
                properties.setdefault(_text(each.get("url")), _text(value))
    return {name: value for name, value in properties.items() if name.startswith("nhsMHS")}


def _entry(kind: str, attributes: dict[str, str]) -> LdapEntry:
    return LdapEntry.of(f"uniqueIdentifier={attributes['uniqueIdentifier']}", objectClass=kind, **attributes)
