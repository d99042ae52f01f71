"""The directory's entries, and the immutable snapshot that requests look things up in.

A snapshot never changes; a change of the directory makes a new one. Keys: contract name; party key; ASID;
(party key, service, interaction); user id. Services are written short (``psis``), as in `openscr-directory/1`.

Spec: 00 §6.3, 35 §3.2, 40 §6.1, §11.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from types import MappingProxyType
from typing import Final

from openscr.errors import ConfigurationError

DEFAULT_RETRIES: Final = 2
DEFAULT_RETRY_INTERVAL: Final = 60.0
DEFAULT_PERSIST_DURATION: Final = 300.0
"""Reliable messaging where the directory says nothing: attempts after the first, and seconds. Spec: 40 DECISION 11."""


@dataclass(frozen=True, slots=True)
class Contract:
    """How a party wants to be talked to. Durations are seconds; ``None`` means that the property is not set.

    Spec: 40 §6.1.
    """

    name: str
    sync_reply_mode: str | None = None
    ack_requested: str | None = None
    duplicate_elimination: str | None = None
    actor: str | None = None
    retries: int | None = None
    retry_interval: float | None = None
    persist_duration: float | None = None
    is_authenticated: str | None = None


@dataclass(frozen=True, slots=True)
class Party:
    """Who holds certificates: CN or SAN in ``fqdn``. ``own`` marks the service's own party."""

    party_key: str
    ods: str
    name: str
    fqdn: tuple[str, ...] = ()
    own: bool = False


@dataclass(frozen=True, slots=True)
class System:
    """An accredited system: what it may send (``interactions`` as ``service:interaction``).

    ``organisations`` are the ODS codes it acts for (``nhsAsClient``). ``aliases`` are further receiver ASIDs of the
    own system.
    """

    asid: str
    party_key: str
    interactions: frozenset[str]
    name: str = ""
    app: str | None = None
    scopes: tuple[str, ...] = ()
    organisations: tuple[str, ...] = ()
    acf: tuple[str, ...] = ()
    system_upload: bool = True
    batch_consent: bool = False
    sync_wrapper: str | None = None
    enabled: bool = True
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a party receives these interactions. ``address`` is a URL, a path of ours, or ``inbox:``."""

    party_key: str
    service: str
    interactions: tuple[str, ...]
    cpa_id: str
    address: str
    contract: Contract


@dataclass(frozen=True, slots=True)
class Role:
    """A role profile: job role at an organisation, with its activities (B codes)."""

    role_profile_id: str
    job_role: str
    ods: str
    activities: frozenset[str]
    closed: date | None = None

    def has_closed(self, today: date) -> bool:
        """Whether the role has ended, on a day in the United Kingdom: from the day of its closing on. Spec: 35 §9.2."""
        return self.closed is not None and self.closed <= today


@dataclass(frozen=True, slots=True)
class User:
    """A person with role profiles. ``name`` has the form of 00 §6.2."""

    user_id: str
    name: Mapping[str, object] = field(default_factory=dict)
    active: bool = True
    roles: tuple[Role, ...] = ()


def display_name(name: Mapping[str, object]) -> str:
    """Write a person's name of the directory (00 §6.2) in one line."""
    if "text" in name:
        return str(name["text"])
    parts = (name.get(part) for part in ("prefix", "given", "family", "suffix"))
    return " ".join(" ".join(part) if isinstance(part, (list, tuple)) else str(part) for part in parts if part)


class Directory:
    """An immutable snapshot of everything registered, indexed for the questions that requests ask."""

    def __init__(
        self,
        *,
        contracts: Iterable[Contract] = (),
        parties: Iterable[Party] = (),
        systems: Iterable[System] = (),
        endpoints: Iterable[Endpoint] = (),
        users: Iterable[User] = (),
        revision: int = 0,
    ) -> None:
        self.revision = revision
        self.contracts = MappingProxyType({contract.name: contract for contract in contracts})
        self.parties = MappingProxyType({party.party_key: party for party in parties})
        self.systems = MappingProxyType({system.asid: system for system in systems})
        # The first one counts, as it did when they were asked in turn.
        self._system_of_app = {system.app: system for system in reversed(list(self.systems.values())) if system.app}
        self.users = MappingProxyType({user.user_id: user for user in users})
        self.endpoints = tuple(endpoints)
        self._endpoint_of = {
            (endpoint.party_key, endpoint.service, interaction): endpoint
            for endpoint in self.endpoints
            for interaction in endpoint.interactions
        }
        self._role_of = {role.role_profile_id: (user, role) for user in self.users.values() for role in user.roles}
        self._parties_of_name: dict[str, tuple[Party, ...]] = {}
        for party in self.parties.values():
            for name in party.fqdn:
                self._parties_of_name[name.lower()] = (*self._parties_of_name.get(name.lower(), ()), party)
        own = [party for party in self.parties.values() if party.own]
        self._own_party = own[0] if len(own) == 1 else None
        own_systems = [s for s in self.systems.values() if self._own_party and s.party_key == self._own_party.party_key]
        self._own_system = own_systems[0] if own_systems else None
        self.own_asids = frozenset(a for system in own_systems for a in (system.asid, *system.aliases))
        self.cpa_ids = frozenset(endpoint.cpa_id for endpoint in self.endpoints if self._is_own(endpoint.party_key))

    def _is_own(self, party_key: str) -> bool:
        return self._own_party is not None and party_key == self._own_party.party_key

    @property
    def own_party(self) -> Party:
        """The service's own party. Raises: `ConfigurationError` when the directory has not exactly one."""
        if self._own_party is None:
            raise ConfigurationError("the directory must mark exactly one party as own")
        return self._own_party

    @property
    def own_system(self) -> System:
        """The service's main system. Raises: `ConfigurationError` when the own party has none."""
        if self._own_system is None:
            raise ConfigurationError("the directory holds no system of the own party")
        return self._own_system

    def parties_named(self, names: Iterable[str]) -> frozenset[str]:
        """Return the keys of the parties that hold a certificate with one of these names. Spec: 35 §3.2 step 1."""
        return frozenset(p.party_key for name in names for p in self._parties_of_name.get(name.lower(), ()))

    def endpoint(self, party_key: str, service: str, interaction: str) -> Endpoint | None:
        """Return where a party receives an interaction, or none."""
        return self._endpoint_of.get((party_key, service, interaction))

    def role(self, role_profile_id: str) -> tuple[User, Role] | None:
        """Return the user and role of a role profile id, closed or not, or none when it is unknown."""
        return self._role_of.get(role_profile_id)

    def system_of_app(self, app: str) -> System | None:
        """Return the system registered for an app."""
        return self._system_of_app.get(app)

    def systems_of(self, party_key: str) -> tuple[System, ...]:
        """Return the systems of a party."""
        return tuple(system for system in self.systems.values() if system.party_key == party_key)


class CurrentDirectory:
    """Holds the snapshot in force; requests take it once and keep it to their end."""

    def __init__(self, snapshot: Directory) -> None:
        self.snapshot = snapshot
