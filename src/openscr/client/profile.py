"""Who a client is and where its messages go: everything that routing needs, as one small value.

Spec: 00 §5; 35 §9.5; 40 §11.3, DECISION 27.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from openscr.codes import (
    ACKNOWLEDGEMENT,
    ACTOR_TO_PARTY,
    ALERT,
    DOCUMENT_QUERIES,
    EVENT_LIST,
    INITIAL_UPLOAD,
    POLLING_UPLOAD,
    UPLOAD,
    WITHDRAW,
    WITHDRAW_INITIAL,
)
from openscr.directory import demo
from openscr.directory.model import (
    DEFAULT_PERSIST_DURATION,
    DEFAULT_RETRIES,
    DEFAULT_RETRY_INTERVAL,
    Contract,
    Directory,
    display_name,
)
from openscr.errors import ConfigurationError, EndpointUnknown
from openscr.spine import AlertUser, Caller, Person
from openscr.transport.polling import UPLOAD_PATH

RELIABLE: Final = Contract(
    "reliable",
    sync_reply_mode="MSHSignalsOnly",
    ack_requested="always",
    duplicate_elimination="always",
    actor=ACTOR_TO_PARTY,
    retries=DEFAULT_RETRIES,
    retry_interval=DEFAULT_RETRY_INTERVAL,
    persist_duration=DEFAULT_PERSIST_DURATION,
    is_authenticated="transient",
)
"""Contract of uploads and withdrawals where the directory says nothing else. Spec: 40 §6.2, DECISION 11."""


EXPRESS: Final = Contract(
    "express",
    sync_reply_mode="MSHSignalsOnly",
    ack_requested="never",
    duplicate_elimination="never",
    is_authenticated="transient",
)
"""Contract of queries that are answered by a message of its own. Spec: 40 §6.2, DECISION 11."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where the receiver takes an interaction: path below its address, CPA id, and how it wants to be talked to.

    ``service`` is the short name of the service that the interaction belongs to.
    """

    path: str
    cpa_id: str
    contract: Contract = RELIABLE
    service: str = "psis"


_ROUTED: Final = frozenset({"psis", "psisquery", "alerts"})
"""Services whose messages go over ebXML."""

_DEMO_PSIS: Final = Route(demo.RELIABLE_PATH, demo.PSIS_CPA)
_DEMO_QUERIES: Final = Route(demo.QUERY_PATH, demo.QUERY_CPA, EXPRESS, "psisquery")
_DEMO_ALERTS: Final = Route(demo.RELIABLE_PATH, demo.ALERTS_CPA, service="alerts")
_DEMO_POLLING: Final = Route(UPLOAD_PATH, demo.PSIS_CPA)
_DEMO_GP: Final = Person(demo.GP_USER, demo.GP_ROLE_PROFILE, "R8000")
_DEMO_USER: Final = AlertUser(
    demo.GP_USER, demo.GP_NAME, "R8000", demo.GP_ROLE_PROFILE, demo.PRACTICE_ODS, demo.PRACTICE_NAME
)


@dataclass(frozen=True, slots=True)
class Profile:
    """The sending system, the person present, and the receiving Spine.

    ``routes`` are those of ebXML messages by interaction, ``sync_path`` takes all synchronous ones. ``answers_to``
    is the address that the directory holds for this party's acknowledgements, empty when it holds none. An alert tells
    of ``system_name`` and of ``user``, who is the person by name and organisation.
    Spec: 40 §11.3.
    """

    asid: str
    party_key: str
    receiver_asid: str
    receiver_party: str
    routes: Mapping[str, Route] = field(default_factory=dict)
    sync_path: str = "/sync-service"
    person: Person | None = None
    answers_to: str = ""
    system_name: str = ""
    user: AlertUser | None = None

    @classmethod
    def demo(cls, app: str = "app-gp", person: Person | None = _DEMO_GP) -> "Profile":
        """Return an app of the demo world, by default the GP system with Dr Demopractice. Spec: 00 §5, 35 §9.5.

        Raises: `ConfigurationError` for an app that the demo world does not have.
        """
        if app not in demo.APPS:
            raise ConfigurationError(f"the demo world has the apps {', '.join(demo.APPS)}")
        asid, party_key = demo.APPS[app]
        interactions = (INITIAL_UPLOAD, UPLOAD, WITHDRAW_INITIAL, WITHDRAW)
        routes = {
            **dict.fromkeys(interactions, _DEMO_PSIS),
            **dict.fromkeys(DOCUMENT_QUERIES, _DEMO_QUERIES),
            POLLING_UPLOAD: _DEMO_POLLING,
            ALERT: _DEMO_ALERTS,
        }
        return cls(
            asid,
            party_key,
            demo.OWN_ASID,
            demo.OWN_PARTY,
            MappingProxyType(routes),
            person=person,
            answers_to="inbox:",
            system_name=demo.SYSTEM_NAMES[app],
            user=_DEMO_USER if person == _DEMO_GP else None,
        )

    @classmethod
    def of_directory(cls, directory: Directory, app: str, role_profile_id: str | None = None) -> "Profile":
        """Return what a directory says of an app (by name or ASID), and of the person with a role profile.

        Raises: `ConfigurationError` when the directory does not know one of them, or has no own party.
        """
        system = directory.system_of_app(app) or directory.systems.get(app)
        if system is None:
            known = sorted(system.app for system in directory.systems.values() if system.app)
            raise ConfigurationError(f"the directory has no app {app!r}; it has {', '.join(known) or 'none'}")
        receiver = directory.own_party.party_key
        own = [endpoint for endpoint in directory.endpoints if endpoint.party_key == receiver]
        routes = {
            interaction: Route(endpoint.address, endpoint.cpa_id, endpoint.contract, endpoint.service)
            for endpoint in own
            if endpoint.service in _ROUTED
            for interaction in endpoint.interactions
            if endpoint.service != "psisquery" or interaction in DOCUMENT_QUERIES
        }
        sync = directory.endpoint(receiver, "psisquery", EVENT_LIST)
        answers = directory.endpoint(system.party_key, "psis", ACKNOWLEDGEMENT)
        profile = cls(
            system.asid,
            system.party_key,
            directory.own_system.asid,
            receiver,
            MappingProxyType(routes),
            sync.address if sync is not None else "/sync-service",
            answers_to=answers.address if answers is not None else "",
            system_name=system.name,
        )
        if role_profile_id is None:
            return profile
        person, user = _worker(directory, role_profile_id)
        return replace(profile, person=person, user=user)

    @property
    def caller(self) -> Caller:
        """The sender as the verbs of `openscr.spine` want it."""
        return Caller(self.asid, self.party_key, self.person)

    def route(self, interaction: str) -> Route:
        """Return where a reliable message, a polling upload or an express query goes. Raises: `EndpointUnknown`.

        Spec: 40 §11.3.
        """
        route = self.routes.get(interaction)
        if route is None:
            raise EndpointUnknown(f"the directory does not say where {self.receiver_party} takes {interaction}")
        return route


def _worker(directory: Directory, role_profile_id: str) -> tuple[Person, AlertUser]:
    found = directory.role(role_profile_id)
    if found is None:
        raise ConfigurationError(f"the directory has no role profile {role_profile_id!r}")
    user, role = found
    organisation = next((party.name for party in directory.parties.values() if party.ods == role.ods), role.ods)
    described = AlertUser(user.user_id, display_name(user.name), role.job_role, role_profile_id, role.ods, organisation)
    return Person(user.user_id, role_profile_id, role.job_role), described
