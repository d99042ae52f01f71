"""Identity providers that we trust: where they keep their keys, the keys themselves, and what they say of a user.

Nothing is fetched before it is needed. Keys are kept for ten minutes; one that is not among them is looked for once a
minute at most, so that nobody can make us ask as often as they like. Many requests that need the same answer wait for
one. When the provider cannot be asked, nothing is let through but what the keys of the last ten minutes vouch for.

Spec: 35 §4.2, §9.1; 60 §13.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import structlog
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey

from openscr.access import refusals
from openscr.access.fetching import Fetched, Fetcher, NoAnswer, check_url
from openscr.access.refusals import RequestRefused
from openscr.access.tokens import PublicKey, read_json_object
from openscr.errors import ConfigurationError
from openscr.identifiers import is_loopback

_log = structlog.get_logger("access")

KEYS_SECONDS: Final = 600.0
"""How long keys are believed. Spec: 35 §9.1."""

UNKNOWN_KEY_SECONDS: Final = 60.0
"""How long nobody makes us look again for a key that is not there. Spec: 35 §9.1."""

FAILURE_SECONDS: Final = 2.0
"""How long a provider is left alone after it could not be asked."""

MOST_KEYS: Final = 64
SMALLEST_RSA_KEY: Final = 2048

Seconds = Callable[[], float]
"""Gives the present instant in seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says of itself: where its keys are, and where it tells of users (empty: nowhere)."""

    keys_url: str
    userinfo_url: str


class Issuer:
    """One provider, known by the exact ``url`` that its tokens name."""

    def __init__(self, url: str, fetcher: Fetcher, now: Seconds) -> None:
        self.url = check_url(url, what="token_issuers")
        self._near = is_loopback(urlsplit(url).hostname or "")
        self._fetcher = fetcher
        self._now = now
        self._metadata: Metadata | None = None
        self._keys: dict[str, PublicKey] = {}
        self._keys_until = 0.0
        self._look_again = 0.0
        self._ask_again = 0.0
        self._asking = asyncio.Lock()

    async def key(self, key_id: str) -> PublicKey:
        """Return the key of this name. Raises: `RequestRefused`: 401 for an unknown one, 503 if nobody can say."""
        if not key_id:
            raise RequestRefused(refusals.TOKEN_KEY)
        known = self._known(key_id)
        if known is not None:
            return known
        async with self._asking:
            # Whoever was first has asked for all who waited here.
            known = self._known(key_id)
            if known is not None:
                return known
            now = self._now()
            if now < self._ask_again:
                raise RequestRefused(refusals.KEYS_UNAVAILABLE)
            looked = now < self._keys_until
            if looked and now < self._look_again:
                raise RequestRefused(refusals.TOKEN_KEY)
            await self._fetch_keys(now)
            if looked:
                # Only a search for a key that the known ones lack is rationed: a key that is new is known at once.
                self._look_again = now + UNKNOWN_KEY_SECONDS
        known = self._known(key_id)
        if known is None:
            raise RequestRefused(refusals.TOKEN_KEY)
        return known

    def _known(self, key_id: str) -> PublicKey | None:
        return self._keys.get(key_id) if self._now() < self._keys_until else None

    async def _fetch_keys(self, now: float) -> None:
        """Ask for the keys; those that we have stay in force if that fails. Raises: `RequestRefused`."""
        try:
            metadata = await self._discover()
            answer = await self._fetcher.get(metadata.keys_url, {"Accept": "application/json"})
            keys = read_keys(_json_of(answer))
        except NoAnswer as error:
            self._ask_again = self._now() + FAILURE_SECONDS
            _log.warning("keys of the identity provider not fetched", issuer=self.url, cause=error.cause)
            raise RequestRefused(refusals.KEYS_UNAVAILABLE) from None
        self._keys, self._keys_until = keys, now + KEYS_SECONDS

    async def _discover(self) -> Metadata:
        """Return what the provider says of itself, asked anew whenever the keys are. Raises: `NoAnswer`."""
        answer = await self._fetcher.get(
            f"{self.url.rstrip('/')}/.well-known/openid-configuration", {"Accept": "application/json"}
        )
        document = _json_of(answer)
        if document.get("issuer") != self.url:
            raise NoAnswer("its discovery names another issuer")
        keys, userinfo = document.get("jwks_uri"), document.get("userinfo_endpoint", "")
        if not isinstance(keys, str) or not isinstance(userinfo, str):
            raise NoAnswer("its discovery cannot be read")
        try:
            check_url(keys, what="jwks_uri", near=self._near)
            if userinfo:
                check_url(userinfo, what="userinfo_endpoint", near=self._near)
        except ConfigurationError as error:
            raise NoAnswer(error.diagnostics) from None
        self._metadata = Metadata(keys, userinfo)
        return self._metadata

    async def userinfo(self, token: str) -> Mapping[str, Any] | None:
        """Return what the provider says of the user of a verified token; none when it tells nothing of such users.

        That is so after a separate login. Raises: `RequestRefused`. Spec: 35 §4.3, §4.4; 60 §13.
        """
        try:
            metadata = self._metadata or await self._discover()
            if not metadata.userinfo_url:
                return None
            answer = await self._fetcher.get(
                metadata.userinfo_url, {"Authorization": f"Bearer {token}", "Accept": "application/json"}
            )
            if answer.status == 400:
                return None
            if answer.status == 401:
                raise RequestRefused(refusals.TOKEN_INACTIVE)
            return _json_of(answer)
        except NoAnswer as error:
            _log.warning("user info not retrieved", issuer=self.url, cause=error.cause)
            raise RequestRefused(refusals.USERINFO_FAILED) from None


def read_keys(document: Mapping[str, Any]) -> dict[str, PublicKey]:
    """Return the keys of a key set that can verify signatures, by name; all others are passed over.

    Raises: `NoAnswer` when the document is no key set. Spec: RFC 7517 §5.
    """
    members = document.get("keys")
    if not isinstance(members, list) or len(members) > MOST_KEYS:
        raise NoAnswer("its key set cannot be read")
    keys: dict[str, PublicKey] = {}
    for member in members:
        if not isinstance(member, dict) or member.get("use", "sig") != "sig":
            continue
        name = member.get("kid")
        key = _read_key(member)
        if isinstance(name, str) and name and key is not None:
            keys.setdefault(name, key)
    return keys


def _read_key(member: dict[str, Any]) -> PublicKey | None:
    try:
        # A modulus that is too short is not even loaded: the library would complain aloud.
        if member.get("kty") == "RSA" and len(member["n"]) * 6 >= SMALLEST_RSA_KEY:
            key = RSAKey.import_key({name: member[name] for name in ("kty", "n", "e", "alg", "use") if name in member})
            return key if key.public_key.key_size >= SMALLEST_RSA_KEY else None
        if member.get("kty") == "EC" and member.get("crv") == "P-256":
            return ECKey.import_key(
                {name: member[name] for name in ("kty", "crv", "x", "y", "alg", "use") if name in member}
            )
    except (JoseError, ValueError, TypeError, KeyError):
        return None
    return None


def _json_of(answer: Fetched) -> dict[str, Any]:
    if answer.status != 200:
        raise NoAnswer(f"status {answer.status}")
    try:
        return read_json_object(answer.body)
    except ValueError:
        raise NoAnswer("not a JSON object") from None
