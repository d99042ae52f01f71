"""The provider's own keys: RSA, made when the service runs, rotated on demand, never written anywhere.

After a rotation the old key stays published for as long as a token that it has signed may live, so that verifiers see
both; then it is gone.

Spec: 35 §9.5; RFC 7517.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from openscr.identifiers import Clock

ALGORITHM: Final = "RS256"
OVERLAP: Final = 3660.0
"""Seconds that a retired key is published: the life of an ID token, and a minute for clocks that differ."""

CLOCK_SKEW: Final = 60
"""Seconds that clocks may differ. Spec: 35 §9.1."""

_ACCEPTED: Final = ("RS256",)


@dataclass(frozen=True, slots=True)
class _Retired:
    key: RSAKey
    until: float


class SigningKeys:
    """The key that signs, and those that were it a while ago."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._current: RSAKey | None = None
        self._certificate: x509.Certificate | None = None
        self._retired: list[_Retired] = []
        self._making = asyncio.Lock()

    async def ready(self) -> RSAKey:
        """Return the key that signs; it is made when it is first wanted."""
        async with self._making:
            if self._current is None:
                self._current = await asyncio.to_thread(new_key)
            return self._current

    async def rotate(self, overlap: float = OVERLAP) -> str:
        """Sign with a new key from now on; the old one is published for ``overlap`` seconds more. Return the new id."""
        old = await self.ready()
        made = await asyncio.to_thread(new_key)
        now = self._clock().timestamp()
        self._retired = [each for each in self._retired if now < each.until]
        if overlap > 0:
            self._retired.append(_Retired(old, now + overlap))
        self._current, self._certificate = made, None
        return str(made.kid)

    async def published(self) -> dict[str, Any]:
        """Return the public keys as a JWK set, the one that signs first."""
        parameters = {"use": "sig", "alg": ALGORITHM}
        return {"keys": [key.as_dict(private=False, **parameters) for key in await self._keys()]}

    async def _keys(self) -> list[RSAKey]:
        current = await self.ready()
        now = self._clock().timestamp()
        return [current, *(each.key for each in self._retired if now < each.until)]

    async def sign(self, claims: dict[str, Any], kind: str) -> str:
        """Return claims as a signed token whose header ``typ`` is ``kind``."""
        key = await self.ready()
        header = {"alg": ALGORITHM, "typ": kind, "kid": str(key.kid)}
        return jwt.encode(header, claims, key, algorithms=[ALGORITHM])

    async def verified(self, token: str, kid: object) -> dict[str, Any] | None:
        """Return the claims of a token that a published key with this id has signed; none when none has."""
        key = next((each for each in await self._keys() if each.kid == kid), None)
        if key is None:
            return None
        try:
            return dict(jwt.decode(token, key, algorithms=_ACCEPTED).claims)
        except (JoseError, ValueError):
            return None

    async def knows(self, kid: object) -> bool:
        """Whether a published key has this id."""
        return any(each.kid == kid for each in await self._keys())

    async def certificate(self) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
        """Return the key that signs and a certificate that it has signed itself: what signed XML carries."""
        key = (await self.ready()).private_key
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("the signing key is an RSA key")
        if self._certificate is None:
            self._certificate = _self_signed(key, self._clock())
        return key, self._certificate


def new_key() -> RSAKey:
    """Make an RSA key whose id is its thumbprint (RFC 7638)."""
    return RSAKey.generate_key(2048, auto_kid=True)


def _self_signed(key: rsa.RSAPrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "OpenSCR local identity provider")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
        .sign(key, hashes.SHA256())
    )
