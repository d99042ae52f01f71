"""Routes out of a file, for those who know theirs and ask no directory.

Spec: 50 F12.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from openscr.codes import SERVICE_PREFIX
from openscr.directory.entries import ContractForm
from openscr.directory.routes import Route
from openscr.errors import ConfigurationError, EndpointUnknown

EVERY: Final = "*"

_INTERACTION: Final = re.compile(r"[A-Za-z0-9_-]+:(?:[A-Za-z0-9_]+|\*)\Z", re.ASCII)
_Text = Annotated[str, Meta(pattern=r"^[!-~]+\Z")]


class _RouteForm(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """One ``[[route]]``: what it is for, and where that goes."""

    interactions: Annotated[list[str], Meta(min_length=1)]
    address: _Text
    party_key: _Text
    asid: _Text
    cpa_id: _Text
    ods: _Text = EVERY
    fqdn: str = ""
    contract: ContractForm = msgspec.field(default_factory=ContractForm)

    def __post_init__(self) -> None:
        for each in self.interactions:
            if not _INTERACTION.match(each.removeprefix(SERVICE_PREFIX)):
                raise ValueError(f"an interaction is written SERVICE:INTERACTION or SERVICE:*, not {each}")
        parts = urlsplit(self.address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("address is a URL such as https://spine.example/reliablemessaging/reliablerequest")

    def fits(self, ods: str, service: str, name: str) -> bool:
        """Whether this is the way of an organisation's interaction."""
        written = {each.removeprefix(SERVICE_PREFIX) for each in self.interactions}
        return self.ods.lower() in (EVERY, ods.lower()) and not written.isdisjoint(
            {f"{service}:{name}", f"{service}:{EVERY}"}
        )


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """The whole file."""

    route: Annotated[list[_RouteForm], Meta(min_length=1)]


class StaticRoutes:
    """The routes of a file; of several that fit the first counts."""

    def __init__(self, routes: Iterable[_RouteForm]) -> None:
        self._routes = tuple(routes)

    @classmethod
    def read(cls, path: Path) -> "StaticRoutes":
        """Read a TOML file. Raises: `ConfigurationError`."""
        try:
            return cls(msgspec.toml.decode(path.read_bytes(), type=_File).route)
        except OSError as error:
            raise ConfigurationError(f"the file of routes {path} cannot be read: {error.strerror}") from None
        except (msgspec.DecodeError, ValueError) as error:
            raise ConfigurationError(f"the file of routes {path} is not right: {error}") from None

    async def find(self, ods: str, interaction: str, correlation_id: str) -> Route:
        """Return the route of an organisation for an interaction, with its whole URN. Raises: `EndpointUnknown`."""
        service, _, name = interaction.removeprefix(SERVICE_PREFIX).partition(":")
        for form in self._routes:
            if form.fits(ods, service, name):
                return Route(
                    ods=ods,
                    interaction=interaction,
                    asid=form.asid,
                    party_key=form.party_key,
                    address=form.address,
                    cpa_id=form.cpa_id,
                    fqdn=form.fqdn or urlsplit(form.address).hostname or "",
                    contract=form.contract.contract("routes"),
                )
        raise EndpointUnknown(f"the file of routes has none of {ods} for {interaction}")
