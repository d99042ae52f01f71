"""Where a message goes: the system and the endpoint of an organisation for an interaction, looked up in SDS and kept.

Spec: 40 §11.1, §11.2 "Client resolution order", §11.3; 50 F12.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

import structlog

from openscr.codes import SERVICE_PREFIX
from openscr.directory.durations import read_duration
from openscr.directory.ldap_entry import LdapEntry
from openscr.directory.model import Contract
from openscr.directory.sds_reading import contract_of
from openscr.directory.sources import SdsSource, addresses_of
from openscr.errors import ConfigurationError, DirectoryUnavailable, EndpointUnknown

FRESH_SECONDS: Final = 900.0
ABSENT_SECONDS: Final = 30.0
STALE_SECONDS: Final = 86_400.0
"""How long an answer counts: found, not found, and found before when the directory cannot be asked. Spec: 50 F12."""

MOST_KEPT: Final = 10_000
"""Answers that are kept; beyond them the one that was not asked for longest is forgotten."""

_log = structlog.get_logger("directory.routes")

LookUp = Callable[[str, str, str], Awaitable["Route"]]
"""Asks a directory for organisation and interaction; the last is the id that the question is told under.

Raises: `EndpointUnknown`, `DirectoryUnavailable`.
"""


@dataclass(frozen=True, slots=True)
class Route:
    """Where messages of an interaction go, and what they name. ``asid`` is the receiver's. Spec: 40 §11.3.

    ``unreadable_retry_interval`` is what the directory has where a duration should stand; the contract has none then.
    """

    ods: str
    interaction: str
    asid: str
    party_key: str
    address: str
    cpa_id: str
    fqdn: str
    contract: Contract
    unreadable_retry_interval: str = ""


async def look_up(source: SdsSource, ods: str, interaction: str) -> Route:
    """Find the system of an organisation, then its endpoint; ``interaction`` is ``<service>:<interaction>``.

    Of several the first counts, and that is logged.
    Raises: `EndpointUnknown`, `DirectoryUnavailable`. Spec: 40 §11.2.
    """
    full = f"{SERVICE_PREFIX}{interaction.removeprefix(SERVICE_PREFIX)}"
    systems = await source.systems(ods=ods, interaction=full)
    if not systems:
        raise EndpointUnknown(f"the directory has no system of {ods} for {interaction}")
    system = systems[0]
    party_key = system.text("nhsMHSPartyKey")
    endpoints = await source.endpoints(interaction=full, party_key=party_key)
    addresses = await addresses_of(source, endpoints[0]) if endpoints else ()
    if not addresses:
        raise EndpointUnknown(f"the directory has no endpoint of {party_key} for {interaction}")
    for name, found in (("systems", systems), ("endpoints", endpoints), ("addresses", addresses)):
        if len(found) > 1:
            _log.warning("several found, the first counts", of=name, count=len(found), ods=ods, interaction=interaction)
    return route_of(ods, full, system, endpoints[0], addresses[0])


def route_of(ods: str, interaction: str, system: LdapEntry, endpoint: LdapEntry, address: str) -> Route:
    """Return the route that a system and its endpoint give. Raises: `EndpointUnknown`. Spec: 40 §11.3."""
    party_key = system.text("nhsMHSPartyKey")
    try:
        contract, unreadable = _contract(endpoint)
    except (ConfigurationError, ValueError) as error:
        raise EndpointUnknown(f"the contract of {party_key} for {interaction} cannot be read: {error}") from None
    return Route(
        ods=ods,
        interaction=interaction,
        asid=system.text("uniqueIdentifier"),
        party_key=party_key,
        address=address,
        cpa_id=endpoint.text("nhsMhsCPAId"),
        fqdn=endpoint.text("nhsMhsFQDN"),
        contract=contract,
        unreadable_retry_interval=unreadable,
    )


def _contract(endpoint: LdapEntry) -> tuple[Contract, str]:
    """Return the contract of an endpoint, and its retry interval if that cannot be read.

    How long a message is remembered is the receiver's to keep: what makes no sense there stops no message.
    Raises: `ConfigurationError`, `ValueError`.
    """
    try:
        return contract_of(endpoint), ""
    except (ConfigurationError, ValueError) as error:
        first = error
    dropped = {"nhsmhspersistduration"}
    unreadable = ""
    interval = endpoint.text("nhsMHSRetryInterval").strip()
    try:
        if interval:
            read_duration(interval)
    except ValueError:
        unreadable = interval
        dropped.add("nhsmhsretryinterval")
    kept = [(name, values) for name, values in endpoint.attributes.items() if name.lower() not in dropped]
    contract = contract_of(LdapEntry(endpoint.dn, kept, endpoint.place))
    if not unreadable:
        _log.warning("persist duration left out", endpoint=endpoint.text("nhsMhsCPAId"), reason=str(first))
    return contract, unreadable


@dataclass(slots=True)
class _Kept:
    """An answer, when it came, and until when it is not worth asking again."""

    at: float
    route: Route | EndpointUnknown
    until: float


class Routes:
    """Look-ups kept by organisation and interaction; one question at a time for each, whose answer all get.

    ``fresh_seconds`` is how long a route counts before the directory is asked again.
    """

    def __init__(
        self, ask: LookUp, *, fresh_seconds: float = FRESH_SECONDS, time: Callable[[], float] = monotonic
    ) -> None:
        self._ask = ask
        self._fresh = fresh_seconds
        self._time = time
        self._kept: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
        self._asking: dict[tuple[str, str], asyncio.Task[Route | EndpointUnknown]] = {}

    async def find(self, ods: str, interaction: str, correlation_id: str = "") -> Route:
        """Return a route, out of what is kept while that counts.

        Raises: `EndpointUnknown`, `DirectoryUnavailable` when nothing is kept that could be used instead.
        """
        key = (ods.lower(), interaction)
        kept = self._kept.get(key)
        if kept is not None and self._time() < kept.until:
            self._kept.move_to_end(key)
            return _given(kept.route)
        asking = self._asking.get(key)
        if asking is None:
            asking = asyncio.create_task(self._look(key, ods, interaction, correlation_id))
            self._asking[key] = asking
            asking.add_done_callback(lambda done: self._asked(key, done))
        # Whoever gives up waiting must not end the question of the others.
        return _given(await asyncio.shield(asking))

    async def _look(
        self, key: tuple[str, str], ods: str, interaction: str, correlation_id: str
    ) -> Route | EndpointUnknown:
        kept = self._kept.get(key)
        try:
            found: Route | EndpointUnknown = await self._ask(ods, interaction, correlation_id)
        except EndpointUnknown as error:
            found = error
        except DirectoryUnavailable:
            now = self._time()
            if kept is None or not isinstance(kept.route, Route) or now - kept.at >= STALE_SECONDS:
                raise
            _log.warning("directory not asked, an older answer counts", ods=ods, age_seconds=round(now - kept.at))
            kept.until = min(now + ABSENT_SECONDS, kept.at + STALE_SECONDS)
            return kept.route
        now = self._time()
        self._kept[key] = _Kept(now, found, now + (self._fresh if isinstance(found, Route) else ABSENT_SECONDS))
        self._kept.move_to_end(key)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return found

    def _asked(self, key: tuple[str, str], done: "asyncio.Task[Route | EndpointUnknown]") -> None:
        del self._asking[key]
        if not done.cancelled():
            # Looked at, so that nobody complains when all who asked have gone.
            done.exception()


def _given(route: Route | EndpointUnknown) -> Route:
    if isinstance(route, EndpointUnknown):
        raise EndpointUnknown(route.diagnostics)
    return route
