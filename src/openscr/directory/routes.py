"""Where a message goes: the system and the endpoint of an organisation for an interaction, looked up in SDS and kept.

Spec: 40 §11.1, §11.2 "Client resolution order", §11.3; 50 F12.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

import structlog

from openscr.codes import SERVICE_PREFIX
from openscr.directory.model import Contract
from openscr.directory.sds_reading import contract_of
from openscr.directory.sources import SdsSource, addresses_of
from openscr.errors import ConfigurationError, DirectoryUnavailable, EndpointUnknown

FRESH_SECONDS: Final = 900.0
ABSENT_SECONDS: Final = 30.0
STALE_SECONDS: Final = 86_400.0
"""How long an answer counts: found, not found, and found before when the directory cannot be asked. Spec: 50 F12."""

_log = structlog.get_logger("directory.routes")


@dataclass(frozen=True, slots=True)
class Route:
    """Where messages of an interaction go, and what they name. ``asid`` is the receiver's. Spec: 40 §11.3."""

    ods: str
    interaction: str
    asid: str
    party_key: str
    address: str
    cpa_id: str
    fqdn: str
    contract: Contract


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
    endpoint = endpoints[0]
    try:
        contract = contract_of(endpoint)
    except (ConfigurationError, ValueError) as error:
        raise EndpointUnknown(f"the contract of {party_key} for {interaction} cannot be read: {error}") from None
    return Route(
        ods=ods,
        interaction=full,
        asid=system.text("uniqueIdentifier"),
        party_key=party_key,
        address=addresses[0],
        cpa_id=endpoint.text("nhsMhsCPAId"),
        fqdn=endpoint.text("nhsMhsFQDN"),
        contract=contract,
    )


@dataclass(slots=True)
class _Kept:
    at: float
    route: Route | EndpointUnknown


class Routes:
    """Look-ups kept by organisation and interaction; one question at a time for each."""

    def __init__(self, source: SdsSource, *, time: Callable[[], float] = monotonic) -> None:
        self._source = source
        self._time = time
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._asking: dict[tuple[str, str], asyncio.Lock] = {}

    async def find(self, ods: str, interaction: str) -> Route:
        """Return a route, out of what is kept while that counts.

        Raises: `EndpointUnknown`, `DirectoryUnavailable` when nothing is kept that could be used instead.
        """
        key = (ods.lower(), interaction)
        lock = self._asking.setdefault(key, asyncio.Lock())
        async with lock:
            kept = self._kept.get(key)
            age = self._time() - kept.at if kept is not None else 0.0
            if kept is not None and age < (FRESH_SECONDS if isinstance(kept.route, Route) else ABSENT_SECONDS):
                return _given(kept.route)
            try:
                found: Route | EndpointUnknown = await look_up(self._source, ods, interaction)
            except EndpointUnknown as error:
                found = error
            except DirectoryUnavailable:
                if kept is None or not isinstance(kept.route, Route) or age >= STALE_SECONDS:
                    raise
                _log.warning("directory not asked, an older answer counts", ods=ods, age_seconds=round(age))
                return kept.route
            self._kept[key] = _Kept(self._time(), found)
        return _given(found)


def _given(route: Route | EndpointUnknown) -> Route:
    if isinstance(route, EndpointUnknown):
        raise EndpointUnknown(route.diagnostics)
    return route
