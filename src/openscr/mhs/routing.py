"""Where a message goes, whichever way that is found out.

Four methods lead to one look-up of routes: the SDS FHIR API, a route lookup service, SDS over LDAP, a file. What the
first three tell is kept in the process. That addresses of the settings take the place of the directory's is not known
here: it is asked all the same, for the names that a message bears.

Spec: 50 §5, §7, F12.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol
from uuid import NAMESPACE_URL, uuid5

from openscr.directory.json_service import JsonService
from openscr.directory.ldap_client import LdapAddress, LdapClient
from openscr.directory.ldap_source import LdapSource
from openscr.directory.route_lookup import RouteLookup
from openscr.directory.routes import LookUp, Route, Routes, look_up
from openscr.directory.sds_api import SdsApi
from openscr.directory.static_routes import StaticRoutes
from openscr.errors import ConfigurationError, EndpointUnknown
from openscr.identifiers import is_uuid
from openscr.mhs.interactions import INTERACTIONS, Interaction
from openscr.mhs.keys import route_lookup_tls
from openscr.mhs.settings import MhsSettings
from openscr.mhs.states import Workflow

_RELIABLE: Final = frozenset({Workflow.ASYNC_RELIABLE, Workflow.FORWARD_RELIABLE})
"""Workflows that a contract matters to."""


class UnreadableRetryInterval(EndpointUnknown):
    """The directory's retry interval is no ISO 8601 duration; ``text`` is what stands there. Spec: 50 §1.4."""

    code = "UNREADABLE_RETRY_INTERVAL"

    def __init__(self, text: str) -> None:
        super().__init__("the directory's retry interval is not an ISO 8601 duration")
        self.text = text


class Router(Protocol):
    """Finds the route of an organisation's messages."""

    async def find(self, ods: str, service_id: str, correlation_id: str, workflow: Workflow | None = None) -> Route:
        """Return where messages go; ``service_id`` is ``urn:nhs:names:services:<service>:<interaction>``.

        ``correlation_id`` is told to the directory in the form that it takes. ``workflow`` is how the message is
        exchanged, if not as the table of interactions says.
        Raises: `EndpointUnknown`, `UnreadableRetryInterval`, `DirectoryUnavailable`.
        """

    async def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, slots=True)
class DirectoryRouter:
    """The router of every method. ``ask`` finds a route, ``release`` lets go of what it uses.

    ``interactions`` are the rows of the table by service id.
    """

    ask: LookUp
    release: Callable[[], Awaitable[None]]
    interactions: Mapping[str, Interaction]

    async def find(self, ods: str, service_id: str, correlation_id: str, workflow: Workflow | None = None) -> Route:
        """Find a route, as `Router` says."""
        known = self.interactions.get(service_id)
        how = workflow or (known.workflow if known is not None else None)
        route = await self.ask(ods, service_id, correlation_id)
        if not (route.asid and route.party_key):
            raise EndpointUnknown(f"the directory does not tell ASID and party key of {ods} for {service_id}")
        if how in _RELIABLE and route.unreadable_retry_interval:
            raise UnreadableRetryInterval(route.unreadable_retry_interval)
        if how == Workflow.SYNC and known is not None and known.also_sync:
            elsewhere = await self.ask(ods, known.also_sync, correlation_id)
            return replace(route, address=elsewhere.address, fqdn=elsewhere.fqdn)
        return route

    async def close(self) -> None:
        """Let go of connections."""
        await self.release()


def open_router(settings: MhsSettings, interactions: Mapping[str, Interaction] = INTERACTIONS) -> DirectoryRouter:
    """Return the router that the settings ask for; nothing is asked yet.

    Without any way to look routes up, none is found. Raises: `ConfigurationError`. Spec: 50 §5, F12.
    """
    ask, release = _method(settings, interactions)
    return DirectoryRouter(ask, release, {row.service_id: row for row in interactions.values()})


def _method(
    settings: MhsSettings, interactions: Mapping[str, Interaction]
) -> tuple[LookUp, Callable[[], Awaitable[None]]]:
    fresh = settings.sds_cache_expiry_time
    match settings.outbound_routing_lookup_method:
        case "STATIC":
            return StaticRoutes.read(settings.routes_file).find, _nothing
        case "LDAP":
            client = LdapClient(_ldap_address(settings), settings.ldap_connection_timeout_in_seconds)
            source = LdapSource.below(client, settings.sds_search_base)
            return Routes(_ask_ldap(source), fresh_seconds=fresh).find, _closing(client)
        case "SDS_API":
            service = JsonService(settings.sds_api_url, what="the SDS API")
            key = settings.sds_api_key.get_secret_value() if settings.sds_api_key is not None else ""
            return Routes(_ask_sds_api(service, key), fresh_seconds=fresh).find, service.close
        case "SPINE_ROUTE_LOOKUP" if settings.spine_route_lookup_url:
            service = JsonService(
                settings.spine_route_lookup_url,
                what="the route lookup service",
                tls=route_lookup_tls(settings),
                proxy=_proxy(settings),
            )
            reliable = frozenset(row.service_id for row in interactions.values() if row.workflow in _RELIABLE)
            return Routes(RouteLookup(service, reliable).find, fresh_seconds=fresh).find, service.close
        case "SPINE_ROUTE_LOOKUP":
            return _unknown, _nothing


def correlation_uuid(correlation_id: str) -> str:
    """Return what SDS is told of a correlation id: itself if it is a UUID, else always the same UUID for it. F12."""
    return correlation_id if is_uuid(correlation_id) else str(uuid5(NAMESPACE_URL, f"urn:openscr:mhs:{correlation_id}"))


def _ask_sds_api(service: JsonService, key: str) -> LookUp:
    async def ask(ods: str, interaction: str, correlation_id: str) -> Route:
        return await look_up(SdsApi(service, key, correlation_uuid(correlation_id)), ods, interaction)

    return ask


def _ask_ldap(source: LdapSource) -> LookUp:
    async def ask(ods: str, interaction: str, _correlation_id: str) -> Route:
        return await look_up(source, ods, interaction)

    return ask


async def _unknown(ods: str, interaction: str, correlation_id: str) -> Route:
    raise EndpointUnknown("no way to look up routes is set")


def _closing(client: LdapClient) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        client.close()

    return close


async def _nothing() -> None:
    """Let go of nothing."""


def _ldap_address(settings: MhsSettings) -> LdapAddress:
    """Return where SDS is: with TLS, unless the address or a setting says otherwise."""
    scheme, _, host = settings.sds_url.rpartition("://")
    plain = settings.disable_sds_tls or scheme.lower() == "ldap"
    if scheme.lower() not in ("", "ldap", "ldaps"):
        raise ConfigurationError("sds_url is ldap://HOST:PORT or ldaps://HOST:PORT")
    return LdapAddress.read(f"{'ldap' if plain else 'ldaps'}://{host}", settings.sds_ca_file)


def _proxy(settings: MhsSettings) -> str:
    host = settings.spine_route_lookup_http_proxy
    return f"http://{host}:{settings.spine_route_lookup_http_proxy_port}" if host else ""
