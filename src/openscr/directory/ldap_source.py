"""A real Spine Directory Service as a source of look-ups, beside the own party out of our own directory.

Spec: 40 §11.1; 60 §13; 35 §4.4.
"""

from collections.abc import Sequence
from datetime import date

from openscr.directory.ldap_client import LdapClient, filter_value
from openscr.directory.ldap_entry import LdapEntry, ancestors, id_in
from openscr.directory.sds_reading import close_date, is_active
from openscr.directory.sources import EmbeddedSource, own_first


class LdapSource:
    """Asks SDS over LDAP below ``root`` (``o=nhs``)."""

    def __init__(self, client: LdapClient, root: str) -> None:
        self._client = client
        self._services = f"ou=services,{root}"
        self._people = f"ou=people,{root}"

    @classmethod
    def below(cls, client: LdapClient, services: str) -> "LdapSource":
        """Return a source whose systems and endpoints are below this place, wherever it is. Spec: 40 §11.1."""
        source = cls(client, services.partition(",")[2] or services)
        source._services = services
        return source

    async def systems(
        self, *, ods: str, interaction: str, party_key: str = "", manufacturer: str = ""
    ) -> Sequence[LdapEntry]:
        """Search the systems."""
        organisation = filter_value(ods)
        search = _all_of(
            "(objectClass=nhsAs)",
            f"(|(nhsIDCode={organisation})(nhsAsClient={organisation}))",
            _equals("nhsAsSvcIA", interaction),
            _equals("nhsMHSPartyKey", party_key),
            _equals("nhsMhsManufacturerOrg", manufacturer),
        )
        return own_first(await self._client.search(self._services, search), ods)

    async def endpoints(self, *, ods: str = "", interaction: str = "", party_key: str = "") -> Sequence[LdapEntry]:
        """Search the endpoints."""
        search = _all_of(
            "(objectClass=nhsMhs)",
            _equals("nhsMHSPartyKey", party_key),
            _equals("nhsMhsSvcIA", interaction),
            _equals("nhsIDCode", ods),
        )
        found = await self._client.search(self._services, search)
        return sorted(found, key=lambda entry: (entry.text("nhsMhsSvcIA"), entry.dn))

    async def job_role(self, role_profile_id: str, today: date) -> str | None:
        """Look a role profile up: closed neither itself nor above it, of a person who is active."""
        search = _all_of("(objectClass=nhsOrgPersonRole)", _equals("uniqueIdentifier", role_profile_id))
        for role in await self._client.search(self._people, search):
            entries = [role]
            for place in ancestors(role.dn):
                # The organisation that they work for, and the person.
                if id_in(place, "uid"):
                    entries += await self._client.search(place, "(objectClass=*)", alone=True)
            dates = [closed for entry in entries if (closed := close_date(entry)) is not None]
            if all(map(is_active, entries)) and all(closed > today for closed in dates):
                return role.text("nhsJobRoleCode") or None
        return None


class CombinedSource:
    """SDS, and of the own party what our own directory says: nobody else tells who we are."""

    def __init__(self, own: EmbeddedSource, other: LdapSource) -> None:
        self._own = own
        self._other = other

    async def systems(
        self, *, ods: str, interaction: str, party_key: str = "", manufacturer: str = ""
    ) -> Sequence[LdapEntry]:
        """Search the own systems, then SDS."""
        wanted = {"ods": ods, "interaction": interaction, "party_key": party_key, "manufacturer": manufacturer}
        mine = await self._own.systems(**wanted)
        others = await self._other.systems(**wanted)
        return [*mine, *self._without_own(others)]

    async def endpoints(self, *, ods: str = "", interaction: str = "", party_key: str = "") -> Sequence[LdapEntry]:
        """Search the own endpoints, then SDS."""
        mine = await self._own.endpoints(ods=ods, interaction=interaction, party_key=party_key)
        others = await self._other.endpoints(ods=ods, interaction=interaction, party_key=party_key)
        return [*mine, *self._without_own(others)]

    async def job_role(self, role_profile_id: str, today: date) -> str | None:
        """Look a role profile up in SDS."""
        return await self._other.job_role(role_profile_id, today)

    def _without_own(self, entries: Sequence[LdapEntry]) -> list[LdapEntry]:
        own = self._own.directory.snapshot.own_party.party_key.lower()
        return [entry for entry in entries if entry.text("nhsMHSPartyKey").lower() != own]


def _equals(name: str, value: str) -> str:
    return f"({name}={filter_value(value)})" if value else ""


def _all_of(*parts: str) -> str:
    return f"(&{''.join(parts)})"
