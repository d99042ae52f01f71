"""The entries of ``openscr-directory/1``: their members, what each may hold, and what they become in a `Directory`.

An entry is checked by itself here; what it takes to be right among the others is for `openscr.directory.form`.
Errors of this module are `ValueError` and `msgspec.ValidationError` (which is one); they name no place.

Spec: 00 §6.2, §6.3; 40 §6.1.
"""

import re
from datetime import date
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import UNSET, Meta, UnsetType

from openscr.codes import ACTOR_NEXT_MSH, ACTOR_TO_PARTY
from openscr.directory.durations import read_duration, write_duration
from openscr.directory.model import Contract, Endpoint, Party, Role, System, User
from openscr.identifiers import is_loopback

Kind = Literal["contract", "party", "system", "endpoint", "user"]

Text = Annotated[str, Meta(min_length=1)]
_Word = Annotated[str, Meta(pattern=r"^[^\s/]+\Z")]
_Service = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+\Z")]
_Interaction = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_]+\Z")]
_Entitlement = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]+:[A-Za-z0-9_]+\Z")]
_Asid = Annotated[str, Meta(pattern=r"^[0-9]{1,12}\Z")]
_ElementName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*\Z")]
_NameParts = Text | list[Text] | UnsetType

# Compared without regard to letter case, and kept as the file spells them. Spec: 40 §6.1.
_WORDS: Final = {
    "sync_reply_mode": ("MSHSignalsOnly", "signalsOnly", "signalsAndResponse", "responseOnly", "never", "None"),
    "ack_requested": ("always", "never", "perMessage"),
    "duplicate_elimination": ("always", "never", "perMessage"),
    "actor": (ACTOR_TO_PARTY, ACTOR_NEXT_MSH),
    "is_authenticated": ("transient", "none"),
}

INBOX: Final = "inbox:"
"""Address of the demo collector of a party. Spec: 00 §6.3."""


class _Form(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Members of one JSON object of the form; a member that is not named in it is an error."""


class PersonName(_Form):
    """A person's name: its parts, each a string or a list of strings, or ``text`` alone. Spec: 00 §6.2."""

    prefix: _NameParts = UNSET
    given: _NameParts = UNSET
    family: _NameParts = UNSET
    suffix: _NameParts = UNSET
    text: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        # An empty list is the same as no member. Spec: 00 §6.2.
        parts = any(part for part in (self.prefix, self.given, self.family, self.suffix))
        if parts == (self.text is not UNSET):
            raise ValueError("a name has either parts (prefix, given, family, suffix) or text alone")


class ContractForm(_Form):
    """Properties of a contract; a member left out is a property that is not set. Spec: 00 §6.3, 40 §6.1."""

    sync_reply_mode: Text | UnsetType = UNSET
    ack_requested: Text | UnsetType = UNSET
    duplicate_elimination: Text | UnsetType = UNSET
    actor: Text | UnsetType = UNSET
    retries: Annotated[int, Meta(ge=0, le=1000)] | UnsetType = UNSET
    retry_interval: Text | UnsetType = UNSET
    persist_duration: Text | UnsetType = UNSET
    is_authenticated: Text | UnsetType = UNSET

    def __post_init__(self) -> None:
        for member, words in _WORDS.items():
            value = getattr(self, member)
            if value is not UNSET and value.lower() not in {word.lower() for word in words}:
                raise ValueError(f"{member} is one of {', '.join(words)}")
        interval = _seconds("retry_interval", self.retry_interval)
        persist = _seconds("persist_duration", self.persist_duration)
        if interval is None or persist is None or self.retries is UNSET:
            return
        if persist < (self.retries + 1) * interval:
            raise ValueError("persist_duration is at least (retries + 1) times retry_interval")

    def contract(self, name: str) -> Contract:
        """Return the contract as requests use it, durations in seconds."""
        return Contract(
            name=name,
            sync_reply_mode=self.sync_reply_mode or None,
            ack_requested=self.ack_requested or None,
            duplicate_elimination=self.duplicate_elimination or None,
            actor=self.actor or None,
            retries=None if self.retries is UNSET else self.retries,
            retry_interval=_seconds("retry_interval", self.retry_interval),
            persist_duration=_seconds("persist_duration", self.persist_duration),
            is_authenticated=self.is_authenticated or None,
        )

    @classmethod
    def of(cls, contract: Contract) -> "ContractForm":
        """Return the form of a contract."""
        interval, persist = contract.retry_interval, contract.persist_duration
        return cls(
            sync_reply_mode=contract.sync_reply_mode or UNSET,
            ack_requested=contract.ack_requested or UNSET,
            duplicate_elimination=contract.duplicate_elimination or UNSET,
            actor=contract.actor or UNSET,
            retries=UNSET if contract.retries is None else contract.retries,
            retry_interval=UNSET if interval is None else write_duration(interval),
            persist_duration=UNSET if persist is None else write_duration(persist),
            is_authenticated=contract.is_authenticated or UNSET,
        )


class PartyForm(_Form):
    """A party. Spec: 00 §6.3."""

    party_key: _Word
    ods: _Word
    name: Text
    fqdn: tuple[_Word, ...] = ()
    own: bool = False

    def party(self) -> Party:
        """Return the party as requests look it up."""
        return Party(self.party_key, self.ods, self.name, self.fqdn, self.own)

    @classmethod
    def of(cls, party: Party) -> "PartyForm":
        """Return the form of a party."""
        return cls(party_key=party.party_key, ods=party.ods, name=party.name, fqdn=party.fqdn, own=party.own)


class FlagsForm(_Form):
    """What a system may do without a person, and the wrapper it wants. Spec: 00 §6.3, 35 §9.2, 20 §2.4."""

    system_upload: bool = True
    batch_consent: bool = False
    sync_wrapper: _ElementName | UnsetType = UNSET


class SystemForm(_Form):
    """An accredited system. Spec: 00 §6.3."""

    asid: _Asid
    party_key: _Word
    interactions: tuple[_Entitlement, ...]
    name: str = ""
    app: Text | UnsetType = UNSET
    scopes: tuple[Text, ...] = ()
    organisations: tuple[_Word, ...] = ()
    acf: tuple[Text, ...] = ()
    flags: FlagsForm | UnsetType = UNSET
    enabled: bool = True
    aliases: tuple[Text, ...] = ()

    def __post_init__(self) -> None:
        self.interactions = tuple(sorted(set(self.interactions)))
        if self.flags == FlagsForm():
            self.flags = UNSET

    def system(self) -> System:
        """Return the system as requests look it up."""
        flags = FlagsForm() if self.flags is UNSET else self.flags
        return System(
            asid=self.asid,
            party_key=self.party_key,
            interactions=frozenset(self.interactions),
            name=self.name,
            app=self.app or None,
            scopes=self.scopes,
            organisations=self.organisations,
            acf=self.acf,
            system_upload=flags.system_upload,
            batch_consent=flags.batch_consent,
            sync_wrapper=flags.sync_wrapper or None,
            enabled=self.enabled,
            aliases=self.aliases,
        )

    @classmethod
    def of(cls, system: System) -> "SystemForm":
        """Return the form of a system."""
        return cls(
            asid=system.asid,
            party_key=system.party_key,
            interactions=tuple(system.interactions),
            name=system.name,
            app=system.app or UNSET,
            scopes=system.scopes,
            organisations=system.organisations,
            acf=system.acf,
            flags=FlagsForm(
                system_upload=system.system_upload,
                batch_consent=system.batch_consent,
                sync_wrapper=system.sync_wrapper or UNSET,
            ),
            enabled=system.enabled,
            aliases=system.aliases,
        )


class EndpointForm(_Form):
    """Where a party receives some interactions of a service. Spec: 00 §6.3."""

    party_key: _Word
    service: _Service
    interactions: Annotated[tuple[_Interaction, ...], Meta(min_length=1)]
    cpa_id: Text
    address: Text
    contract: Text

    def __post_init__(self) -> None:
        _check_address(self.address)

    @property
    def is_path(self) -> bool:
        """Whether the address is a path of ours, below the origin of the service's public address."""
        return self.address.startswith("/")

    def each_interaction(self) -> "list[EndpointForm]":
        """Return one form for each interaction: the directory keys endpoints that way."""
        return [msgspec.structs.replace(self, interactions=(interaction,)) for interaction in self.interactions]

    @classmethod
    def of(cls, endpoint: Endpoint) -> "EndpointForm":
        """Return the form of an endpoint."""
        return cls(
            party_key=endpoint.party_key,
            service=endpoint.service,
            interactions=endpoint.interactions,
            cpa_id=endpoint.cpa_id,
            address=endpoint.address,
            contract=endpoint.contract.name,
        )


class RoleForm(_Form):
    """A role profile of a user. Spec: 00 §6.3."""

    role_profile_id: _Word
    job_role: _Word
    ods: _Word
    activities: tuple[Text, ...]
    closed: date | UnsetType = UNSET

    def __post_init__(self) -> None:
        self.activities = tuple(sorted(set(self.activities)))

    def role(self) -> Role:
        """Return the role as decisions use it."""
        closed = None if self.closed is UNSET else self.closed
        return Role(self.role_profile_id, self.job_role, self.ods, frozenset(self.activities), closed)

    @classmethod
    def of(cls, role: Role) -> "RoleForm":
        """Return the form of a role."""
        return cls(
            role_profile_id=role.role_profile_id,
            job_role=role.job_role,
            ods=role.ods,
            activities=tuple(role.activities),
            closed=role.closed or UNSET,
        )


class UserForm(_Form):
    """A person with role profiles. Spec: 00 §6.3."""

    user_id: _Word
    roles: tuple[RoleForm, ...]
    name: PersonName | UnsetType = UNSET
    active: bool = True

    def user(self) -> User:
        """Return the user as decisions use it."""
        name = {} if self.name is UNSET else msgspec.to_builtins(self.name)
        return User(self.user_id, name, self.active, tuple(role.role() for role in self.roles))

    @classmethod
    def of(cls, user: User) -> "UserForm":
        """Return the form of a user. Raises: `msgspec.ValidationError` for a name that has not the form of 00 §6.2."""
        return cls(
            user_id=user.user_id,
            roles=tuple(RoleForm.of(role) for role in user.roles),
            name=msgspec.convert(dict(user.name), PersonName) if user.name else UNSET,
            active=user.active,
        )


Form = ContractForm | PartyForm | SystemForm | EndpointForm | UserForm

FORMS: Final[dict[str, type[Form]]] = {
    "contract": ContractForm,
    "party": PartyForm,
    "system": SystemForm,
    "endpoint": EndpointForm,
    "user": UserForm,
}


def _seconds(member: str, duration: str | UnsetType) -> float | None:
    if duration is UNSET:
        return None
    try:
        return read_duration(duration)
    except ValueError as error:
        raise ValueError(f"{member}: {error}") from None


def _check_address(address: str) -> None:
    if address == INBOX or re.match(r"/[!-~]*\Z", address):
        return
    try:
        parts = urlsplit(address)
        known = parts.scheme in {"http", "https"} and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        known = False
    if not known or not re.match(r"[!-~]+\Z", address):
        raise ValueError("address is an http or https URL, a path that begins with / (own party), or inbox:")
    if parts.username is not None or parts.fragment:
        raise ValueError("address holds neither user and password nor a fragment")
    if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
        raise ValueError("address with http: is allowed on loopback only; use https:")
