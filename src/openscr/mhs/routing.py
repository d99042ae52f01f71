"""Where a message goes, whichever way that is found out.

Four methods lead to one look-up of routes: the SDS FHIR API, a route lookup service, SDS over LDAP, a file. What the
first three tell is kept in the process. Addresses of the settings take the place of the directory's; it is asked all
the same, for the names that a message bears.

Spec: 50 §5, §7, F12.
"""

import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol
from urllib.parse import urlsplit
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
from openscr.mhs.settings import MhsSettings
from openscr.mhs.states import Workflow

_RELIABLE: Final = frozenset({Workflow.ASYNC_RELIABLE, Workflow.FORWARD_RELIABLE})
_BARE: Final = frozenset({Workflow.SYNC})
"""Workflows that name systems and no contract."""


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
        exchanged, if not as the table of interactions says. An address of the settings is the route's already.
        Raises: `EndpointUnknown`, `UnreadableRetryInterval`, `DirectoryUnavailable`.
        """

    async def close(self) -> None:
        """Let go of connections."""


@dataclass(frozen=True, slots=True)
class DirectoryRouter:
    """The router of every method. ``ask`` finds a route, ``release`` lets go of what it uses.

    ``addresses`` are used instead of the directory's, by workflow. ``forwards`` is whether what is forwarded may go
    where the directory says; the reference's directories do not say, so that the address must be set.
    """

    ask: LookUp
    release: Callable[[], Awaitable[None]]
    interactions: Mapping[str, Interaction]
    addresses: Mapping[str, str]
    forwards: bool

    async def find(self, ods: str, service_id: str, correlation_id: str, workflow: Workflow | None = None) -> Route:
        """Find a route, as `Router` says."""
        known = self.interactions.get(service_id)
        how = workflow or (known.workflow if known is not None else None)
        route = await self.ask(ods, service_id, correlation_id)
        if not route.asid or (how not in _BARE and not (route.party_key and route.cpa_id)):
            raise EndpointUnknown(f"the directory does not tell ASID, party key and CPA id of {ods} for {service_id}")
        if how in _RELIABLE and route.unreadable_retry_interval:
            raise UnreadableRetryInterval(route.unreadable_retry_interval)
        if how == Workflow.FORWARD_RELIABLE and not (self.forwards or self.addresses[Workflow.FORWARD_RELIABLE]):
            raise EndpointUnknown("forwarded messages need MHS_FORWARD_RELIABLE_ENDPOINT_URL")
        address = self.addresses.get(how or "")
        return replace(route, address=address, fqdn=urlsplit(address).hostname or "") if address else route

    async def close(self) -> None:
        """Let go of connections."""
        await self.release()


def open_router(
    settings: MhsSettings,
    interactions: Mapping[str, Interaction] = INTERACTIONS,
    *,
    lookup_tls: ssl.SSLContext | None = None,
) -> DirectoryRouter:
    """Return the router that the settings ask for; nothing is asked yet.

    ``lookup_tls`` is for the route lookup service, where it has certificates of its own.
    Raises: `ConfigurationError`. Spec: 50 §5, F12.
    """
    ask, release = _method(settings, interactions, lookup_tls)
    return DirectoryRouter(
        ask=ask,
        release=release,
        interactions={row.service_id: row for row in interactions.values()},
        addresses={
            Workflow.SYNC: settings.synchronous_endpoint_url,
            Workflow.ASYNC_EXPRESS: settings.asynchronous_express_endpoint_url,
            Workflow.ASYNC_RELIABLE: settings.asynchronous_reliable_endpoint_url,
            Workflow.FORWARD_RELIABLE: settings.forward_reliable_endpoint_url,
        },
        forwards=settings.outbound_routing_lookup_method in ("STATIC", "LDAP"),
    )


def _method(
    settings: MhsSettings, interactions: Mapping[str, Interaction], lookup_tls: ssl.SSLContext | None
) -> tuple[LookUp, Callable[[], Awaitable[None]]]:
    match settings.outbound_routing_lookup_method:
        case "STATIC":
            return StaticRoutes.read(settings.routes_file).find, _nothing
        case "LDAP":
            client = LdapClient(
                LdapAddress.read(_required(settings, settings.sds_url, "SDS_URL"), settings.sds_ca_file)
            )
            return Routes(_ask_ldap(LdapSource.below(client, settings.sds_search_base))).find, _closing(client)
        case "SDS_API":
            service = JsonService(_required(settings, settings.sds_api_url, "SDS_API_URL"), what="the SDS API")
            key = settings.sds_api_key.get_secret_value() if settings.sds_api_key is not None else ""
            return Routes(_ask_sds_api(service, key)).find, service.close
        case "SPINE_ROUTE_LOOKUP":
            reliable = frozenset(row.service_id for row in interactions.values() if row.workflow in _RELIABLE)
            service = JsonService(
                _required(settings, settings.spine_route_lookup_url, "SPINE_ROUTE_LOOKUP_URL"),
                what="the route lookup service",
                tls=lookup_tls,
                proxy=_proxy(settings),
            )
            return Routes(RouteLookup(service, reliable).find).find, service.close


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


def _closing(client: LdapClient) -> Callable[[], Awaitable[None]]:
    async def close() -> None:
        client.close()

    return close


async def _nothing() -> None:
    """Let go of nothing."""


def _proxy(settings: MhsSettings) -> str:
    host = settings.spine_route_lookup_http_proxy
    return f"http://{host}:{settings.spine_route_lookup_http_proxy_port}" if host else ""


def _required(settings: MhsSettings, value: str, name: str) -> str:
    if not value:
        method = settings.outbound_routing_lookup_method
        raise ConfigurationError(f'Failed to get config ConfigName="{name}": routing by {method} needs MHS_{name}')
    return value
