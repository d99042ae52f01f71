"""The directory as a file, ``openscr-directory/1``, both ways; and what an import does to the entries in force.

Invariants: an import is all or nothing; what it leaves behind is right as a whole (every named party and contract
exists, exactly one party is the service's own and has a system, no role profile belongs to two users, no app to two
systems); an entry has one key, and endpoints are entries of one interaction each, so that a file may group them as it
likes.

Spec: 00 §6.3, 40 §6.1, 35 §3.2.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from openscr.directory.entries import (
    FORMS,
    ContractForm,
    EndpointForm,
    Form,
    Kind,
    PartyForm,
    SystemForm,
    UserForm,
)
from openscr.directory.model import Contract, Directory, Endpoint
from openscr.errors import ConfigurationError

FORMAT: Final = "openscr-directory/1"

# The lists of the file; `contracts` is an object.
_LISTS: Final[dict[str, Kind]] = {"parties": "party", "systems": "system", "endpoints": "endpoint", "users": "user"}
_DECODERS: Final = {kind: msgspec.json.Decoder(form) for kind, form in FORMS.items()}
_AT = re.compile(r"(?P<text>.*) - at `\$(?P<path>.*)`\Z", re.DOTALL)


class _Entry(NamedTuple):
    kind: str
    key: str
    data: bytes


class DirectoryEntry(_Entry):
    """One entry as the store keeps it: kind, key, canonical JSON (for contracts, without the name).

    ``place`` is the JSON Pointer of where it stood in its file, for messages only: it is no part of the value.
    """

    place: str = ""

    @classmethod
    def of(cls, kind: str, form: Form, key: str, place: str = "") -> "DirectoryEntry":
        """Return the entry of a form."""
        entry = cls(kind, key, msgspec.json.encode(form))
        entry.place = place
        return entry


Row = tuple[str, str, bytes]
"""An entry as it comes from a store: kind, key, JSON."""

_Forms = Sequence[tuple[DirectoryEntry, Form]]


def read_directory(data: bytes) -> list[DirectoryEntry]:
    """Read the entries of a directory file, in its order; each endpoint gives one entry per interaction.

    A file may be a part of a directory: what its entries name outside the file is looked at by `merge`.
    Raises: `ConfigurationError` naming the place as a JSON Pointer. Spec: 00 §6.3.
    """
    document = _read_json(data)
    if not isinstance(document, dict):
        raise _fault("", "the directory is one JSON object")
    if document.get("format") != FORMAT:
        raise _fault("/format", f'the format is "{FORMAT}"')
    for member in document:
        if member not in {"format", "contracts", *_LISTS}:
            raise _fault("", f"unknown member {json.dumps(member)}")
    entries: dict[tuple[str, str], DirectoryEntry] = {}
    for entry in _entries_of(document):
        if (entry.kind, entry.key) in entries:
            raise _fault(entry.place, f"{entry.kind} {entry.key} stands at {entries[entry.kind, entry.key].place} too")
        entries[entry.kind, entry.key] = entry
    return list(entries.values())


def merge(existing: Iterable[Row], new: Iterable[Row], replace: bool) -> list[DirectoryEntry]:
    """Return what the directory holds after an import: an entry replaces the one with the same key.

    With ``replace`` nothing else remains. The result is checked as a whole.
    Raises: `ConfigurationError` naming the place, with nothing to be written. Spec: 00 §6.3.
    """
    merged = {} if replace else {(row[0], row[1]): row for row in existing}
    merged.update({(row[0], row[1]): row for row in new})
    entries = [row if isinstance(row, DirectoryEntry) else DirectoryEntry(*row) for row in merged.values()]
    _check_whole(entries)
    return entries


def build_directory(entries: Iterable[Row], revision: int) -> Directory:
    """Return the snapshot of these entries; the main one of several own systems is the one with the lowest ASID.

    Raises: `ConfigurationError` for an entry that cannot be read, or that names a contract that is not there; for a
    directory without a system of the own party.
    """
    forms: dict[str, dict[str, Any]] = {kind: {} for kind in FORMS}
    # Sorted, so that every process makes the same snapshot whatever the order of its store.
    for kind, key, data in sorted(entries):
        forms[kind][key] = read_entry(kind, key, data)
    contracts = {name: form.contract(name) for name, form in forms["contract"].items()}
    directory = Directory(
        contracts=contracts.values(),
        parties=[form.party() for form in forms["party"].values()],
        systems=[form.system() for form in forms["system"].values()],
        endpoints=list(_group(forms["endpoint"].values(), contracts)),
        users=[form.user() for form in forms["user"].values()],
        revision=revision,
    )
    # Whoever asks for these raises when they are not there: better now than at every request.
    _ = directory.own_party, directory.own_system
    return directory


def write_directory(directory: Directory) -> bytes:
    """Write a directory as `read_directory` takes it: pretty, and always in the same order. Spec: 00 §6.3."""
    endpoints = sorted(directory.endpoints, key=lambda e: (e.party_key, e.service, e.interactions))
    document = {
        "format": FORMAT,
        "contracts": {name: ContractForm.of(directory.contracts[name]) for name in sorted(directory.contracts)},
        "parties": [PartyForm.of(directory.parties[key]) for key in sorted(directory.parties)],
        "systems": [SystemForm.of(directory.systems[asid]) for asid in sorted(directory.systems)],
        "endpoints": [EndpointForm.of(endpoint) for endpoint in endpoints],
        "users": [UserForm.of(directory.users[user_id]) for user_id in sorted(directory.users)],
    }
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


# --- reading --------------------------------------------------------------------------------------------------------


class _Members(dict[str, Any]):
    """A JSON object that remembers a member that stood in it twice."""

    repeated: str | None = None


def _members(pairs: list[tuple[str, Any]]) -> _Members:
    members = _Members(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        members.repeated = next(name for name in names if names.count(name) > 1)
    return members


def _read_json(data: bytes) -> object:
    try:
        document = json.loads(data.decode("utf-8"), object_pairs_hook=_members)
        # Escapes may hold half of a surrogate pair, which no UTF-8 file could and no store takes.
        json.dumps(document, ensure_ascii=False).encode("utf-8")
        repeated = next(_repeated(document, ""), None)
    except UnicodeError:
        raise _fault("", "the file is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _fault("", f"not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _fault("", "the file is nested too deeply") from None
    except ValueError:
        raise _fault("", "not JSON: a number has too many digits") from None
    if repeated is not None:
        raise _fault(repeated, "this member stands twice")
    return document


def _repeated(value: object, place: str) -> Iterator[str]:
    if isinstance(value, _Members):
        if value.repeated is not None:
            yield _pointer(place, value.repeated)
        for name, member in value.items():
            yield from _repeated(member, _pointer(place, name))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _repeated(item, f"{place}/{number}")


def _entries_of(document: dict[str, Any]) -> Iterator[DirectoryEntry]:
    contracts = document.get("contracts", {})
    if not isinstance(contracts, dict):
        raise _fault("/contracts", "contracts is an object of named contracts")
    for name, members in contracts.items():
        place = _pointer("/contracts", name)
        if not name:
            raise _fault(place, "a contract has a name")
        yield DirectoryEntry.of("contract", convert_entry("contract", members, place), name, place)
    for list_name, kind in _LISTS.items():
        items = document.get(list_name, [])
        if not isinstance(items, list):
            raise _fault(f"/{list_name}", f"{list_name} is a list")
        for number, members in enumerate(items):
            place = f"/{list_name}/{number}"
            form = convert_entry(kind, members, place)
            for single in form.each_interaction() if isinstance(form, EndpointForm) else [form]:
                yield DirectoryEntry.of(kind, single, key_of(single), place)


def key_of(form: Form) -> str:
    """Return the key of an entry; an endpoint's is ``party/service/interaction``. Spec: 00 §6.3 "Keys"."""
    if isinstance(form, PartyForm):
        return form.party_key
    if isinstance(form, SystemForm):
        return form.asid
    if isinstance(form, UserForm):
        return form.user_id
    if isinstance(form, EndpointForm):
        return f"{form.party_key}/{form.service}/{form.interactions[0]}"
    raise TypeError("a contract does not hold its own name")


def convert_entry(kind: str, members: object, place: str) -> Form:
    """Return the form of an entry of this kind. Raises: `ConfigurationError` naming the place."""
    try:
        return msgspec.convert(members, FORMS[kind])
    except msgspec.ValidationError as error:
        match = _AT.match(str(error))
        text, path = (match["text"], match["path"]) if match else (str(error), "")
        steps = re.findall(r"\.([^.\[]+)|\[([0-9]+)\]", path)
        raise _fault(place + "".join(f"/{name or number}" for name, number in steps), text) from None


def read_entry(kind: str, key: str, data: bytes) -> Any:
    """Return the form of an entry as a store keeps it. Raises: `ConfigurationError`."""
    try:
        return _DECODERS[kind].decode(data)
    except (KeyError, msgspec.DecodeError) as error:
        raise ConfigurationError(f"the directory's entry {kind} {key} cannot be read: {error}") from None


def _pointer(place: str, member: str) -> str:
    return f"{place}/{member.replace('~', '~0').replace('/', '~1')}"


def _fault(place: str, text: str) -> ConfigurationError:
    return ConfigurationError(f"directory, {place or 'whole file'}: {text}")


# --- the whole ------------------------------------------------------------------------------------------------------


def _check_whole(entries: Sequence[DirectoryEntry]) -> None:
    forms = [(entry, read_entry(entry.kind, entry.key, entry.data)) for entry in entries]
    own = [entry for entry, form in forms if isinstance(form, PartyForm) and form.own]
    if len(own) != 1:
        place = _where(own[-1]) if own else "/parties"
        raise _fault(place, f"exactly one party is the service's own; {len(own)} are marked so")
    if not any(isinstance(form, SystemForm) and form.party_key == own[0].key for _, form in forms):
        raise _fault("/systems", f"there is no system of the own party {own[0].key}: nobody would answer")
    _check_names(forms, own[0].key)
    _check_aliases(forms, own[0].key)
    _check_role_profiles(forms)
    _check_apps(forms)


def _check_names(forms: _Forms, own: str) -> None:
    contracts = {entry.key for entry, form in forms if isinstance(form, ContractForm)}
    parties = {entry.key for entry, form in forms if isinstance(form, PartyForm)}
    for entry, form in forms:
        if isinstance(form, SystemForm | EndpointForm) and form.party_key not in parties:
            raise _fault(f"{_where(entry)}/party_key", f"there is no party {form.party_key}")
        if isinstance(form, EndpointForm):
            if form.contract not in contracts:
                raise _fault(f"{_where(entry)}/contract", f"there is no contract {form.contract}")
            if form.is_path and form.party_key != own:
                raise _fault(f"{_where(entry)}/address", "only the own party's address is a path")


def _check_aliases(forms: _Forms, own: str) -> None:
    taken = {entry.key for entry, form in forms if isinstance(form, SystemForm)}
    for entry, form in forms:
        if not isinstance(form, SystemForm) or not form.aliases:
            continue
        if form.party_key != own:
            raise _fault(f"{_where(entry)}/aliases", "only systems of the own party have aliases")
        for number, alias in enumerate(form.aliases):
            if alias in taken:
                raise _fault(f"{_where(entry)}/aliases/{number}", f"ASID {alias} is registered already")
            taken.add(alias)


def _check_role_profiles(forms: _Forms) -> None:
    taken: set[str] = set()
    for entry, form in forms:
        for number, role in enumerate(form.roles if isinstance(form, UserForm) else ()):
            if role.role_profile_id in taken:
                place = f"{_where(entry)}/roles/{number}/role_profile_id"
                raise _fault(place, f"role profile {role.role_profile_id} is registered already")
            taken.add(role.role_profile_id)


def _check_apps(forms: _Forms) -> None:
    """Refuse an app with two systems: it would have the rights of whichever comes first. Spec: 35 §9.1 item 4."""
    taken: set[str] = set()
    for entry, form in forms:
        if isinstance(form, SystemForm) and form.app:
            if form.app in taken:
                raise _fault(f"{_where(entry)}/app", f"the app {form.app} has a system already")
            taken.add(form.app)


def _where(entry: DirectoryEntry) -> str:
    return entry.place or f"{entry.kind} {entry.key}"


def _group(forms: Iterable[EndpointForm], contracts: dict[str, Contract]) -> Iterator[Endpoint]:
    """Join the entries that differ in their interaction only."""
    groups: dict[tuple[str, str, str, str, str], list[str]] = {}
    for form in forms:
        key = (form.party_key, form.service, form.cpa_id, form.address, form.contract)
        groups.setdefault(key, []).extend(form.interactions)
    for (party_key, service, cpa_id, address, name), interactions in groups.items():
        if name not in contracts:
            raise ConfigurationError(f"the directory holds no contract {name}, which an endpoint of {party_key} names")
        yield Endpoint(party_key, service, tuple(interactions), cpa_id, address, contracts[name])
