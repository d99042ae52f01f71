"""A route lookup service: the third service of the NHS adaptor, which reads SDS over LDAP and tells routes as JSON.

Spec: 50 §5.2.
"""

from collections.abc import Container
from dataclasses import dataclass
from typing import Any

from openscr.directory.json_service import JsonService
from openscr.directory.ldap_entry import LdapEntry
from openscr.directory.routes import Route, route_of
from openscr.errors import DirectoryUnavailable, EndpointUnknown


@dataclass(frozen=True, slots=True)
class RouteLookup:
    """Asks a route lookup service. ``reliable`` are the interactions whose contract is asked for as well.

    Of others it may have none, and then the service fails.
    """

    service: JsonService
    reliable: Container[str]

    async def find(self, ods: str, interaction: str, correlation_id: str) -> Route:
        """Return the route of an organisation for an interaction, with its whole URN.

        Raises: `EndpointUnknown`, `DirectoryUnavailable`.
        """
        members = await self._get("routing", ods, interaction, correlation_id)
        if interaction in self.reliable:
            members = members | await self._get("reliability", ods, interaction, correlation_id)
        entry = LdapEntry.of("", **{name: _texts(value) for name, value in members.items()})
        address = entry.text("nhsMHSEndPoint")
        if not address:
            raise EndpointUnknown(f"the route lookup service has no endpoint of {ods} for {interaction}")
        return route_of(ods, interaction, entry, entry, address)

    async def _get(self, path: str, ods: str, interaction: str, correlation_id: str) -> dict[str, Any]:
        parameters = [("org-code", ods), ("service-id", interaction)]
        answer = await self.service.get(path, parameters, {"Correlation-Id": correlation_id} if correlation_id else {})
        if not isinstance(answer, dict):
            raise DirectoryUnavailable(f"the answer of the route lookup service ({path}) is not an object")
        return answer


def _texts(value: object) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [str(each).strip() for each in values if isinstance(each, str | int) and not isinstance(each, bool)]
