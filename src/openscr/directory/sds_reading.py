"""Entries of the Spine Directory Service as entries of our directory: systems, endpoints with their contracts, people.

Real SDS data has more than we use and less than `openscr.directory.sds_writing` adds: a party is then what its systems
and endpoints say of it, and a contract gets a name from what it says. What belongs to services that no message of ours
is for, and a second value where one is wanted, is left out with a remark.

Spec: 00 §6.3; 40 §6.1, §11.1; 35 §1, §4.1.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from typing import Any, Final

import msgspec

from openscr.codes import SERVICE_PREFIX
from openscr.directory.entries import ContractForm
from openscr.directory.form import DirectoryEntry, convert_entry, key_of
from openscr.directory.ldap_entry import Dn, LdapEntry, id_in, read_dn
from openscr.directory.model import Contract
from openscr.directory.sds_writing import CONTRACT_ATTRIBUTES
from openscr.errors import ConfigurationError

_INTERACTION: Final = re.compile(
    rf"{re.escape(SERVICE_PREFIX)}([A-Za-z0-9_-]+):([A-Za-z0-9_]+)\Z", re.ASCII | re.IGNORECASE
)
_DATE: Final = re.compile(r"([0-9]{4})-?([0-9]{2})-?([0-9]{2})(?:[0-9T:.]*Z?)\Z", re.ASCII)

Refused = Callable[[ConfigurationError], None]
"""What is to be done with an entry that cannot be used: raise the error, or note it and go on."""


@dataclass(slots=True)
class SdsContent:
    """What SDS entries mean: entries of our directory, and remarks on what was left out."""

    entries: list[DirectoryEntry] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def read_sds(entries: Iterable[LdapEntry], *, lenient: bool = False) -> SdsContent:
    """Read SDS entries, in any order; those of other classes are passed over.

    ``lenient`` leaves out an entry that cannot be used, with a remark; else it is an error.
    Raises: `ConfigurationError` naming the entry. Spec: 40 §11.1.
    """
    reading = _Reading(lenient)
    by_class: dict[str, list[LdapEntry]] = {name: [] for name in _CLASSES}
    for entry in entries:
        for name, members in by_class.items():
            if entry.has_class(name):
                members.append(entry)
    for name, read in _CLASSES.items():
        for entry in by_class[name]:
            reading.attempt(read, entry)
    return reading.finish()


class _Reading:
    """One reading: what has been found, by key."""

    def __init__(self, lenient: bool) -> None:
        self._lenient = lenient
        self._found: dict[tuple[str, str], DirectoryEntry] = {}
        self._parties: dict[str, dict[str, Any]] = {}
        self._party_places: dict[str, str] = {}
        self._users: dict[str, dict[str, Any]] = {}
        self._user_places: dict[str, str] = {}
        self._organisations: dict[Dn, tuple[str, date | None]] = {}
        self.remarks: list[str] = []

    def attempt(self, read: "Callable[[_Reading, LdapEntry], None]", entry: LdapEntry) -> None:
        """Read one entry."""
        try:
            read(self, entry)
        except ValueError as error:
            self._refuse(_fault(entry.place or entry.dn, str(error)))
        except ConfigurationError as error:
            self._refuse(error)

    def _refuse(self, error: ConfigurationError) -> None:
        if not self._lenient:
            raise error
        self.remarks.append(error.diagnostics)

    def remark(self, entry: LdapEntry, text: str) -> None:
        """Note something that was left out."""
        self.remarks.append(f"directory, {entry.place or entry.dn}: {text}")

    def _add(self, kind: str, members: Mapping[str, Any], place: str, name: str = "") -> None:
        form = convert_entry(kind, members, place)
        key = name or key_of(form)
        made = DirectoryEntry.of(kind, form, key, place)
        before = self._found.setdefault((kind, key), made)
        if before != made:
            self.remarks.append(f"directory, {place}: {kind} {key} stands at {before.place} too, and that one counts")

    # --- one class each ---------------------------------------------------------------------------------------------

    def contract(self, entry: LdapEntry) -> None:
        """Read one of our own contracts."""
        self._add("contract", _contract(entry), entry.place or entry.dn, _required(entry, "cn"))

    def party(self, entry: LdapEntry) -> None:
        """Read one of our own parties."""
        key = _required(entry, "nhsMHSPartyKey")
        self._party_places.setdefault(key, entry.place or entry.dn)
        self._parties[key] = {
            "party_key": key,
            "ods": _required(entry, "nhsIDCode"),
            "name": _required(entry, "description"),
            "fqdn": entry.texts("openscrFqdn"),
            "own": _switch(entry, "openscrOwn", default=False),
            "told": True,
        }

    def system(self, entry: LdapEntry) -> None:
        """Read an accredited system."""
        interactions = []
        for text in entry.texts("nhsAsSvcIA"):
            match = _INTERACTION.match(text.strip())
            if match is None:
                self.remark(entry, "an interaction that is none of Spine's messages is left out")
            else:
                interactions.append(":".join(match.groups()))
        members = {
            "asid": _required(entry, "uniqueIdentifier"),
            "party_key": _required(entry, "nhsMHSPartyKey"),
            "interactions": interactions,
            "name": entry.text("description"),
            "app": entry.text("openscrApp"),
            "scopes": entry.texts("openscrScope"),
            "organisations": entry.texts("nhsAsClient"),
            "acf": entry.texts("nhsAsACF"),
            "aliases": entry.texts("openscrAlias"),
            "enabled": _switch(entry, "openscrEnabled", default=True),
            "flags": {
                "system_upload": _switch(entry, "openscrSystemUpload", default=True),
                "batch_consent": _switch(entry, "openscrBatchConsent", default=False),
                **_given(sync_wrapper=entry.text("openscrSyncWrapper")),
            },
        }
        self._add("system", {k: v for k, v in members.items() if v != ""}, entry.place or entry.dn)
        self._mention(entry, None)

    def endpoint(self, entry: LdapEntry) -> None:
        """Read an endpoint, and the contract in it."""
        match = _INTERACTION.match(_required(entry, "nhsMhsSvcIA"))
        if match is None:
            self.remark(entry, "an endpoint for an interaction that is none of Spine's messages is left out")
            return
        addresses = entry.texts("nhsMHSEndPoint")
        if len(addresses) > 1:
            self.remark(entry, f"it has {len(addresses)} addresses, and the first counts")
        service, interaction = match.groups()
        members = {
            "party_key": _required(entry, "nhsMHSPartyKey"),
            "service": service,
            "interactions": [interaction],
            "cpa_id": _required(entry, "nhsMhsCPAId"),
            "address": entry.text("openscrAddress") or _required(entry, "nhsMHSEndPoint"),
            "contract": self._contract_of(entry),
        }
        self._add("endpoint", members, entry.place or entry.dn)
        self._mention(entry, entry.text("nhsMhsFQDN").strip() or None)

    def _contract_of(self, entry: LdapEntry) -> str:
        """Return the name of the contract that an endpoint states: one of ours that says the same, or a new one."""
        place = entry.place or entry.dn
        form = convert_entry("contract", _contract(entry), place)
        named = entry.text("nhsContractPropertyTemplateKey").strip()
        ours = self._found.get(("contract", named))
        if ours is not None and ours.data == msgspec.json.encode(form):
            return named
        # Named by what it says: the same whenever it is read, and never another one of the same name.
        name = f"sds-{named or 'contract'}-{sha256(msgspec.json.encode(form)).hexdigest()[:8]}"
        self._found.setdefault(("contract", name), DirectoryEntry.of("contract", form, name, place))
        return name

    def _mention(self, entry: LdapEntry, fqdn: str | None) -> None:
        """Note what a system or endpoint says of its party, unless the party is told by an entry of its own."""
        key = _required(entry, "nhsMHSPartyKey")
        ods = _required(entry, "nhsIDCode")
        self._party_places.setdefault(key, entry.place or entry.dn)
        party = self._parties.setdefault(key, {"party_key": key, "ods": ods, "name": ods, "fqdn": {}, "told": False})
        if fqdn and not party["told"]:
            party["fqdn"].setdefault(fqdn.lower(), fqdn)

    def person(self, entry: LdapEntry) -> None:
        """Read a person."""
        user_id = _required(entry, "uid")
        if self._users.get(user_id.lower(), {}).get("told"):
            self.remark(
                entry, f"user {user_id} stands at {self._user_places[user_id.lower()]} too, and that one counts"
            )
            return
        self._user_places[user_id.lower()] = entry.place or entry.dn
        self._users[user_id.lower()] = {
            "user_id": user_id,
            "active": is_active(entry),
            "roles": [],
            "told": True,
            **_given(name=_name(entry)),
        }

    def person_of_organisation(self, entry: LdapEntry) -> None:
        """Read where a person works, and when they left: that closes every role there."""
        self._organisations[read_dn(entry.dn)] = (entry.text("nhsIDCode").strip(), close_date(entry))

    def role(self, entry: LdapEntry) -> None:
        """Read a role profile; whose it is stands in its name."""
        user_id = id_in(entry.dn, "uid")
        if not user_id:
            raise ValueError("the name of a role profile says whose it is (uid)")
        ods, left = self._organisations.get(read_dn(entry.dn)[1:], ("", None))
        dates = [each for each in (close_date(entry), left) if each is not None]
        role = {
            "role_profile_id": _required(entry, "uniqueIdentifier"),
            "job_role": _required(entry, "nhsJobRoleCode"),
            "ods": ods if ods and not entry.text("nhsIDCode") else _required(entry, "nhsIDCode"),
            "activities": entry.texts("nhsBusinessFunctionsCodes"),
            **_given(closed=min(dates).isoformat() if dates else None),
        }
        # Read alone first, so that one role that cannot be used takes no other with it.
        convert_entry("user", {"user_id": user_id, "roles": [role]}, entry.place or entry.dn)
        self._user_places.setdefault(user_id.lower(), entry.place or entry.dn)
        user = self._users.setdefault(user_id.lower(), {"user_id": user_id, "roles": [], "told": False})
        user["roles"].append(role)

    def finish(self) -> SdsContent:
        """Return everything, parties and users whole now."""
        for kind, found, places in (
            ("party", self._parties, self._party_places),
            ("user", self._users, self._user_places),
        ):
            for key, members in found.items():
                shown = {name: value for name, value in members.items() if name != "told"}
                if isinstance(shown.get("fqdn"), dict):
                    shown["fqdn"] = list(shown["fqdn"].values())
                try:
                    self._add(kind, shown, places[key])
                except ConfigurationError as error:
                    self._refuse(error)
        return SdsContent(list(self._found.values()), self.remarks)


# The order matters: contracts and parties that are told come before those who name them, people before their roles.
_CLASSES: Final[dict[str, Callable[[_Reading, LdapEntry], None]]] = {
    "openscrContract": _Reading.contract,
    "openscrParty": _Reading.party,
    "nhsAs": _Reading.system,
    "nhsMhs": _Reading.endpoint,
    "nhsPerson": _Reading.person,
    "nhsOrgPerson": _Reading.person_of_organisation,
    "nhsOrgPersonRole": _Reading.role,
}


def _required(entry: LdapEntry, name: str) -> str:
    text = entry.text(name).strip() if name != "description" else entry.text(name)
    if not text:
        raise ValueError(f"it has no {name}")
    return text


def _given(**members: Any) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value not in (None, "")}


def _switch(entry: LdapEntry, name: str, *, default: bool) -> bool:
    text = entry.text(name).upper()
    if text not in ("", "TRUE", "FALSE"):
        raise ValueError(f"{name} is TRUE or FALSE")
    return default if not text else text == "TRUE"


def contract_of(entry: LdapEntry) -> Contract:
    """Return the contract that an endpoint states. Raises: `ConfigurationError`, `ValueError`. Spec: 40 §6.1."""
    name = entry.text("nhsContractPropertyTemplateKey").strip() or "sds"
    form = convert_entry("contract", _contract(entry), entry.place or entry.dn)
    if not isinstance(form, ContractForm):
        raise TypeError("a contract has the form of a contract")
    return form.contract(name)


def _contract(entry: LdapEntry) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for member, attribute in CONTRACT_ATTRIBUTES.items():
        text = entry.text(attribute).strip()
        if text and member == "retries":
            if not re.fullmatch(r"[0-9]{1,4}", text, re.ASCII):
                raise ValueError(f"{attribute} is a number")
            members[member] = int(text)
        elif text:
            members[member] = text
    # Written again, so that a duration has one form.
    form = convert_entry("contract", members, entry.place or entry.dn)
    if not isinstance(form, ContractForm):
        raise TypeError("a contract has the form of a contract")
    return dict(msgspec.to_builtins(ContractForm.of(form.contract("any"))))


def is_active(entry: LdapEntry) -> bool:
    """Whether a person, or what stands below one, is not said to be inactive. Spec: 35 §4.1."""
    return entry.text("nhsPersonStatus").strip() in ("", "1")


def close_date(entry: LdapEntry) -> date | None:
    """Return the day on which a role or a person in an organisation ends, or none. Raises: `ValueError`."""
    text = entry.text("nhsOrgCloseDate").strip()
    if not text:
        return None
    match = _DATE.match(text)
    try:
        if match is not None:
            return date(*(int(each) for each in match.groups()))
    except ValueError:
        pass
    raise ValueError("nhsOrgCloseDate is a date such as 20260131")


def _name(entry: LdapEntry) -> Any:
    """Return the name of a person as 00 §6.2 has it, or none."""
    if entry.text("openscrName"):
        try:
            return msgspec.json.decode(entry.text("openscrName"))
        except (msgspec.DecodeError, UnicodeError):
            raise ValueError("openscrName is the name as JSON") from None
    if entry.text("sn"):
        return {"family": entry.text("sn"), **_given(given=list(entry.texts("givenName")) or None)}
    return {"text": entry.text("cn")} if entry.text("cn") else None


def _fault(place: str, text: str) -> ConfigurationError:
    return ConfigurationError(f"directory, {place}: {text}")
