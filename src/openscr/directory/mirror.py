"""A real SDS in the place of our own directory: read whole, joined with what we say of ourselves, and read again.

Of the own party (its systems, endpoints and contracts) our own directory speaks alone. Of everybody else SDS speaks;
our own directory adds what SDS has no attribute for: the app, scopes and flags of a system, the name of a party, the
activities of a role; and it may disable a system or a user. What only our own directory has does not count.

While the server cannot be asked, what it said last counts. Before it has said anything, the own party stands alone.

Spec: 40 §11.1; 35 §3.2, §9.1.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog
from msgspec import UNSET

from openscr.directory.entries import ContractForm, EndpointForm, PartyForm, SystemForm, UserForm
from openscr.directory.form import DirectoryEntry, Row, build_directory, merge, read_entry
from openscr.directory.ldap_client import LdapClient, filter_value
from openscr.directory.ldap_entry import LdapEntry, id_in
from openscr.directory.model import CurrentDirectory
from openscr.directory.sds_reading import read_sds
from openscr.errors import ConfigurationError, DirectoryUnavailable, StoreError

AGAIN_SECONDS: Final = 5.0
"""How soon the server is asked again after it could not be, or sooner where it is asked more often anyway."""

_AT_A_TIME: Final = 50
"""Values in one filter."""

_log = structlog.get_logger("directory.mirror")


class DirectoryRows(Protocol):
    """Where our own directory is kept."""

    async def directory_revision(self) -> int:
        """Return the number of its present state."""

    async def read_directory(self) -> Sequence[Row]:
        """Return its entries."""


class Mirror:
    """Reads SDS below ``root``; of ``organisations`` alone, by ODS code, if there are any."""

    def __init__(self, client: LdapClient, root: str, organisations: Sequence[str] = ()) -> None:
        self._client = client
        self._services = f"ou=services,{root}"
        self._people = f"ou=people,{root}"
        self._organisations = organisations
        self._remarked: set[str] = set()

    async def read(self) -> list[DirectoryEntry]:
        """Return what SDS holds, as entries of our directory.

        Raises: `DirectoryUnavailable`; `ConfigurationError` when it holds no system at all.
        """
        services = await self._of_organisations(self._services, ("nhsAs", "nhsMhs", "openscrParty"))
        people = await self._of_organisations(self._people, ("nhsOrgPerson", "nhsOrgPersonRole"))
        content = read_sds([*services, *people, *await self._persons(people)], lenient=True)
        # Told once: the same is read again every few minutes.
        for remark in sorted(set(content.remarks) - self._remarked):
            _log.info("left out of the directory", reason=remark)
        self._remarked = set(content.remarks)
        if not any(entry.kind == "system" for entry in content.entries):
            raise ConfigurationError("the directory server holds no system: its base or the organisations are wrong")
        return content.entries

    async def _of_organisations(self, base: str, classes: Iterable[str]) -> list[LdapEntry]:
        kinds = f"(|{''.join(f'(objectClass={name})' for name in classes)})"
        if not self._organisations:
            return await self._client.search(base, kinds, everything=True)
        found: list[LdapEntry] = []
        for at in range(0, len(self._organisations), _AT_A_TIME):
            codes = "".join(f"(nhsIDCode={filter_value(code)})" for code in self._organisations[at : at + _AT_A_TIME])
            found += await self._client.search(base, f"(&{kinds}(|{codes}))", everything=True)
        return found

    async def _persons(self, people: Iterable[LdapEntry]) -> list[LdapEntry]:
        """Return the persons: all of them, or those alone who work for the organisations."""
        if not self._organisations:
            return await self._client.search(self._people, "(objectClass=nhsPerson)", everything=True)
        users = sorted({id_in(entry.dn, "uid") for entry in people})
        found: list[LdapEntry] = []
        for at in range(0, len(users), _AT_A_TIME):
            ids = "".join(f"(uid={filter_value(user)})" for user in users[at : at + _AT_A_TIME])
            found += await self._client.search(self._people, f"(&(objectClass=nhsPerson)(|{ids}))", everything=True)
        return found


class DirectoryKeeper:
    """Keeps the snapshot in force current: from our own directory, and from SDS where there is a mirror."""

    def __init__(
        self, current: CurrentDirectory, rows: DirectoryRows, mirror: Mirror | None, refresh_seconds: float
    ) -> None:
        self._current = current
        self._rows = rows
        self._mirror = mirror
        self._refresh_seconds = refresh_seconds
        self._mirrored: list[DirectoryEntry] | None = None

    @property
    def complete(self) -> bool:
        """Whether everybody is known who should be: SDS, where it speaks, has been read at least once."""
        return self._mirror is None or self._mirrored is not None

    async def read(self) -> None:
        """Read our own directory, if it has changed. Raises: `StoreError`, `ConfigurationError`."""
        revision = await self._rows.directory_revision()
        if revision != self._current.snapshot.revision:
            await self._build(revision)

    async def read_mirror(self) -> bool:
        """Read SDS; return whether that worked. Raises: `StoreError`."""
        if self._mirror is None:
            return True
        try:
            mirrored = await self._mirror.read()
            before = self._mirrored
            self._check_not_emptied(before or (), mirrored)
            self._mirrored = mirrored
            try:
                await self._build(await self._rows.directory_revision())
            except ConfigurationError:
                self._mirrored = before
                raise
        except (DirectoryUnavailable, ConfigurationError) as error:
            _log.error("directory server not read", error=error.code, reason=error.diagnostics, complete=self.complete)
            return False
        return True

    @staticmethod
    def _check_not_emptied(before: Iterable[DirectoryEntry], now: Iterable[DirectoryEntry]) -> None:
        """Hold that no kind of entry is gone altogether. Raises: `ConfigurationError`.

        A server that is being filled anew answers with nothing. Believed, that would make every person an unknown one,
        whose closed role nobody knows any more. If it is meant, a restart of the service takes it.
        """
        gone = sorted({entry.kind for entry in before} - {entry.kind for entry in now})
        if gone:
            raise ConfigurationError(
                f"the directory server holds no {' and no '.join(gone)} any more: it is not believed"
            )

    async def follow_mirror(self) -> None:
        """Read SDS again and again, until cancelled."""
        worked = self.complete
        while self._mirror is not None:
            await asyncio.sleep(self._refresh_seconds if worked else min(AGAIN_SECONDS, self._refresh_seconds))
            try:
                worked = await self.read_mirror()
            except StoreError as error:
                _log.warning("directory not refreshed", error=error.code)
                worked = False

    async def _build(self, revision: int) -> None:
        rows = await self._rows.read_directory()
        if self._mirror is not None:
            rows = join(rows, self._mirrored or ())
        self._current.snapshot = build_directory(rows, revision)


def join(ours: Sequence[Row], mirrored: Iterable[DirectoryEntry]) -> list[DirectoryEntry]:
    """Return our own party with everybody of SDS. Raises: `ConfigurationError` when that is no whole directory."""
    known = {(kind, key): read_entry(kind, key, data) for kind, key, data in ours}
    own = next((form.party_key for form in known.values() if isinstance(form, PartyForm) and form.own), "")
    kept = [
        DirectoryEntry(*row)
        for row in ours
        if isinstance(form := known[row[0], row[1]], ContractForm)
        or (isinstance(form, PartyForm | SystemForm | EndpointForm) and form.party_key == own)
    ]
    taken = {
        asid
        for form in known.values()
        if isinstance(form, SystemForm) and form.party_key == own
        for asid in (form.asid, *form.aliases)
    }
    roles: set[str] = set()
    for entry in mirrored:
        form = read_entry(entry.kind, entry.key, entry.data)
        # Who we are, and who bears our numbers, is not for others to say.
        if getattr(form, "party_key", "").lower() == own.lower() or getattr(form, "asid", None) in taken:
            continue
        if isinstance(form, EndpointForm) and form.is_path:
            continue
        added = _with_ours(form, known.get((entry.kind, entry.key)))
        if isinstance(added, UserForm):
            free = tuple(role for role in added.roles if role.role_profile_id not in roles)
            roles |= {role.role_profile_id for role in free}
            added = msgspec.structs.replace(added, roles=free)
        kept.append(DirectoryEntry.of(entry.kind, added, entry.key, entry.place))
    return merge([], kept, replace=True)


def _with_ours(form: Any, ours: Any) -> Any:
    """Return an entry of SDS with what SDS has no attribute for out of our own entry of the same key."""
    if isinstance(form, PartyForm):
        form = msgspec.structs.replace(form, own=False)
        return msgspec.structs.replace(form, name=ours.name) if ours is not None and form.name == form.ods else form
    if isinstance(form, SystemForm):
        form = msgspec.structs.replace(form, aliases=())
        if ours is None:
            return form
        return msgspec.structs.replace(
            form,
            app=ours.app if form.app is UNSET else form.app,
            scopes=form.scopes or ours.scopes,
            flags=ours.flags if form.flags is UNSET else form.flags,
            enabled=form.enabled and ours.enabled,
        )
    if isinstance(form, UserForm) and ours is not None:
        activities = {role.role_profile_id: role.activities for role in ours.roles}
        roles = tuple(
            msgspec.structs.replace(role, activities=role.activities or activities.get(role.role_profile_id, ()))
            for role in form.roles
        )
        return msgspec.structs.replace(form, roles=roles, active=form.active and ours.active)
    return form
