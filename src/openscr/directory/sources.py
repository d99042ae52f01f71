"""What may be asked of a Spine Directory Service, and the answers out of our own directory.

Whoever looks something up gets entries of SDS, whether they come from our directory or from a real one, so that there
is one way from an entry to what is told of it. Values are compared without letter case, as LDAP does.

Spec: 40 §11.1, §11.2; 60 §13.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Final, Protocol

from openscr.codes import SERVICE_PREFIX
from openscr.directory.ldap_entry import LdapEntry
from openscr.directory.model import CurrentDirectory, Directory
from openscr.directory.sds_writing import write_services

FORWARDED: Final = frozenset(
    "cc ebs ebsepr ebsnpr gp2gp pat itk dis ed op caf adm ooh am mh nd dir".split()  # noqa: SIM905
)
"""Services whose messages go through Spine's intermediary to their receiver. Spec: 40 §11.2."""

RELIABLE_INTERMEDIARY: Final = f"{SERVICE_PREFIX}tms:ReliableIntermediary"
EXPRESS_INTERMEDIARY: Final = f"{SERVICE_PREFIX}tms:ExpressIntermediary"


class SdsSource(Protocol):
    """A directory that can be searched. ``interaction`` is ``urn:nhs:names:services:<service>:<interaction>``.

    Every search raises `DirectoryUnavailable` or `DirectoryTimeout` when the directory cannot be asked.
    """

    async def systems(
        self, *, ods: str, interaction: str, party_key: str = "", manufacturer: str = ""
    ) -> Sequence[LdapEntry]:
        """Return the ``nhsAs`` of an organisation, its own before those that act for it."""

    async def endpoints(self, *, ods: str = "", interaction: str = "", party_key: str = "") -> Sequence[LdapEntry]:
        """Return the ``nhsMhs`` that have all that is given."""

    async def job_role(self, role_profile_id: str, today: date) -> str | None:
        """Return the job role code of a role profile that is open on this day, or none."""


async def addresses_of(source: SdsSource, endpoint: LdapEntry) -> tuple[str, ...]:
    """Return where messages for an endpoint go: what is forwarded goes to Spine's intermediary, if there is one.

    Spec: 40 §7.4, §7.5, §11.2 "Forward-reliable substitution".
    """
    service = endpoint.text("nhsMhsSvcIA").lower().removeprefix(SERVICE_PREFIX).partition(":")[0]
    if service not in FORWARDED:
        return endpoint.texts("nhsMHSEndPoint")
    reliable = "always" in {
        endpoint.text(name).lower() for name in ("nhsMHSAckRequested", "nhsMHSDuplicateElimination")
    }
    found = await source.endpoints(interaction=RELIABLE_INTERMEDIARY if reliable else EXPRESS_INTERMEDIARY)
    return (found[0] if found else endpoint).texts("nhsMHSEndPoint")


def has(entry: LdapEntry, name: str, wanted: str) -> bool:
    """Whether an attribute has this value, in any letter case; everything has what is not asked for."""
    return not wanted or wanted.lower() in {text.lower() for text in entry.texts(name)}


def own_first(entries: Iterable[LdapEntry], ods: str) -> list[LdapEntry]:
    """Return systems in the order in which they are told: those of the organisation first, then by ASID."""
    enabled = (entry for entry in entries if entry.text("openscrEnabled").upper() != "FALSE")
    return sorted(enabled, key=lambda entry: (not has(entry, "nhsIDCode", ods), entry.text("uniqueIdentifier")))


@dataclass
class EmbeddedSource:
    """Our own directory as a source; ``origin`` is the URL below which the own party's paths lie.

    With ``own_only`` it knows the own party alone: the rest is somebody else's to tell.
    """

    directory: CurrentDirectory
    origin: str
    own_only: bool = False
    _known: "tuple[Directory, _Index] | None" = field(default=None, init=False)

    async def systems(
        self, *, ods: str, interaction: str, party_key: str = "", manufacturer: str = ""
    ) -> Sequence[LdapEntry]:
        """Search the systems; disabled ones are not told."""
        found = [
            entry
            for entry in self._index().systems.get(interaction.lower(), ())
            if (has(entry, "nhsIDCode", ods) or has(entry, "nhsAsClient", ods))
            and has(entry, "nhsMHSPartyKey", party_key)
            and has(entry, "nhsMhsManufacturerOrg", manufacturer)
        ]
        return own_first(found, ods)

    async def endpoints(self, *, ods: str = "", interaction: str = "", party_key: str = "") -> Sequence[LdapEntry]:
        """Search the endpoints."""
        index = self._index()
        candidates = index.endpoints.get(interaction.lower(), ()) if interaction else index.all_endpoints
        return [
            entry for entry in candidates if has(entry, "nhsIDCode", ods) and has(entry, "nhsMHSPartyKey", party_key)
        ]

    async def job_role(self, role_profile_id: str, today: date) -> str | None:
        """Look a role profile up, unless somebody else tells of people."""
        found = None if self.own_only else self.directory.snapshot.role(role_profile_id)
        if found is None:
            return None
        user, role = found
        is_open = user.active and not role.has_closed(today)
        return role.job_role if is_open else None

    def _index(self) -> "_Index":
        snapshot = self.directory.snapshot
        if self._known is None or self._known[0] is not snapshot:
            entries = list(write_services(snapshot, self.origin))
            if self.own_only:
                own = snapshot.own_party.party_key
                entries = [entry for entry in entries if has(entry, "nhsMHSPartyKey", own)]
            self._known = (snapshot, _Index(entries))
        return self._known[1]


class _Index:
    """The entries of one snapshot by interaction, which nearly every search names."""

    def __init__(self, entries: Iterable[LdapEntry]) -> None:
        self.systems: dict[str, list[LdapEntry]] = {}
        self.endpoints: dict[str, list[LdapEntry]] = {}
        self.all_endpoints: list[LdapEntry] = []
        for entry in entries:
            for interaction in entry.texts("nhsAsSvcIA"):
                self.systems.setdefault(interaction.lower(), []).append(entry)
            if entry.has_class("nhsMhs"):
                self.endpoints.setdefault(entry.text("nhsMhsSvcIA").lower(), []).append(entry)
                self.all_endpoints.append(entry)
