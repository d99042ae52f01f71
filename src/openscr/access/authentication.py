"""Who is asking over HTTP: the headers of a request become a `Caller`, or the request is refused.

Order: token → issuer, signature, times, audience, scope, assurance → session not ended → system → how often → role.
What a token says is worked out once and kept, by the token's digest, for as long as it holds; who calls again with it
costs a digest and a few look-ups. Nothing that somebody merely wrote into a header is believed: headers of the API
gateway count only when they come from one, and even then they must agree with the token.

Spec: 35 §4.3, §4.4, §9.1; 60 §3.2, §4.
"""

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from hashlib import sha256
from typing import Final

from openscr.access import refusals
from openscr.access.certificates import ClientCertificate
from openscr.access.introspection import Introspection
from openscr.access.issuers import KEYS_SECONDS, Issuer
from openscr.access.networks import TrustedAddresses
from openscr.access.rate import RateLimit
from openscr.access.refusals import Refusal, RequestRefused
from openscr.access.roles import UserInfo, choose_role, read_userinfo
from openscr.access.sessions import Sessions
from openscr.access.smartcard import SMARTCARD_HEADER, SmartcardBroker
from openscr.access.tokens import (
    LEEWAY,
    LONGEST_TOKEN,
    AccessToken,
    check_access_token,
    check_signature,
    is_jwt,
    read_token,
)
from openscr.directory.model import CurrentDirectory, Directory, Role, System, display_name
from openscr.identifiers import LONDON, Clock
from openscr.spine import Caller, Person, Session

ROLES_SECONDS: Final = 300.0
"""How long we believe what a provider said of a user's roles. Spec: 60 §13."""

OPAQUE_SECONDS: Final = 60.0
"""How long we believe what an issuer said of an opaque token."""

MOST_TOKENS: Final = 10_000

AUTHORIZATION: Final = b"authorization"
ROLE: Final = b"nhsd-session-urid"
_ASID: Final = b"nhsd-asid"
_USER: Final = b"nhsd-identity-uuid"
_PROVIDER: Final = b"nhsd-identity-idp"
_CLIENT_ADDRESS: Final = b"client-ip"
SMARTCARD: Final = SMARTCARD_HEADER.lower().encode()
_READ: Final = frozenset({AUTHORIZATION, SMARTCARD, ROLE, _ASID, _USER, _PROVIDER, _CLIENT_ADDRESS})

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(slots=True)
class _Known:
    """A token that was verified, until when that counts, and what was found out with it since.

    ``info`` is what the provider said of the user; ``told`` until when that counts. ``sessions`` are by stated role.
    """

    token: AccessToken
    until: float
    info: UserInfo | None = None
    told: float = 0.0
    revision: int = -1
    sessions: dict[str | None, Session] = field(default_factory=dict)
    asking: asyncio.Lock = field(default_factory=asyncio.Lock)


class Authenticator:
    """Tells who asks. One for the whole service: it remembers tokens that it has verified."""

    def __init__(
        self,
        issuers: Iterable[Issuer],
        directory: CurrentDirectory,
        sessions: Sessions,
        *,
        audiences: Iterable[str],
        clock: Clock,
        introspection: Introspection | None = None,
        gateways: TrustedAddresses | None = None,
        rate: RateLimit | None = None,
        smartcards: SmartcardBroker | None = None,
    ) -> None:
        self._issuers = {issuer.url: issuer for issuer in issuers}
        self._directory = directory
        self._sessions = sessions
        self._audiences = frozenset(audiences)
        self._clock = clock
        self._introspection = introspection
        self._gateways = gateways or TrustedAddresses()
        self._rate = rate
        self._smartcards = smartcards
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    async def authenticate(
        self, headers: Headers, address: str | None = None, certificate: ClientCertificate | None = None
    ) -> Caller:
        """Return who asks: with a `Session` for a user, without one for an application alone.

        ``headers`` are the request's, names in lower case. Raises: `RequestRefused`. Spec: 35 §9.1.
        """
        caller = Caller("", "", certificate=certificate.identity if certificate else None, address=address)
        from_gateway = address in self._gateways
        try:
            found = _single(headers)
            if from_gateway:
                caller = replace(caller, address=_address(found.get(_CLIENT_ADDRESS)) or address)
            if self._smartcards is not None and SMARTCARD in found and AUTHORIZATION not in found:
                stated = found.get(_ASID) if from_gateway else None
                return await self._by_smartcard(self._smartcards, found[SMARTCARD], stated, caller)
            known, text = await self._verify(found.get(AUTHORIZATION))
            token = known.token
            self._check_session(token)
            if from_gateway:
                _check_gateway(found, token)
            directory = self._directory.snapshot
            caller = replace(caller, person=Person(token.user_id, "", "") if token.user_id else None)
            system = _system(directory, token, found.get(_ASID) if from_gateway else None)
            caller = replace(caller, asid=system.asid, party_key=system.party_key)
            if self._rate is not None:
                self._rate.count(token.client_id)
            if not token.user_id:
                return caller
            session = await self._session(known, text, found.get(ROLE))
            # It may have ended while the provider was asked.
            self._check_session(token)
        except RequestRefused as refused:
            if refused.caller is None:
                refused.caller = caller
            raise
        return replace(caller, person=session.person, session=session)

    def _check_session(self, token: AccessToken) -> None:
        if token.session and self._sessions.has_ended(token.session):
            raise RequestRefused(refusals.SESSION_ENDED)
        if not self._sessions.known():
            raise RequestRefused(refusals.SESSIONS_UNKNOWN)

    # --- the token --------------------------------------------------------------------------------------------------

    async def _verify(self, header: bytes | None) -> tuple[_Known, str]:
        """Return what is known of the token in a header, and the token. Raises: `RequestRefused`."""
        if header is None:
            raise RequestRefused(refusals.TOKEN_MISSING)
        scheme, _, value = header.partition(b" ")
        value = value.strip()
        if scheme.lower() != b"bearer" or not value:
            raise RequestRefused(refusals.TOKEN_MISSING)
        if len(value) > LONGEST_TOKEN or not value.isascii():
            raise RequestRefused(refusals.TOKEN_MALFORMED)
        key, now = sha256(value).digest(), self._clock().timestamp()
        text = value.decode("ascii")
        known = self._known.get(key)
        if known is not None:
            if known.until > now:
                self._known.move_to_end(key)
                return known, text
            del self._known[key]
        if is_jwt(text):
            token = await self._verify_jwt(text)
            # Looked at again when its key is: one that its provider has withdrawn counts no longer than others.
            until = min(token.expires_at + LEEWAY, now + KEYS_SECONDS)
        elif self._introspection is not None:
            token = await self._introspection.ask(text)
            until = min(token.expires_at + LEEWAY, now + OPAQUE_SECONDS)
        else:
            raise RequestRefused(refusals.TOKEN_MALFORMED)
        known = self._known[key] = _Known(token, until)
        while len(self._known) > MOST_TOKENS:
            self._known.popitem(last=False)
        return known, text

    async def _verify_jwt(self, text: str) -> AccessToken:
        unverified = read_token(text)
        issuer = self._issuers.get(unverified.issuer)
        if issuer is None:
            raise RequestRefused(refusals.TOKEN_ISSUER)
        check_signature(unverified, await issuer.key(unverified.key_id))
        return check_access_token(unverified, self._audiences, self._clock().timestamp())

    # --- smartcards -------------------------------------------------------------------------------------------------

    async def _by_smartcard(
        self, broker: SmartcardBroker, header: bytes, stated: bytes | None, caller: Caller
    ) -> Caller:
        """Return the holder of a smartcard. No app stands behind its token: a gateway must tell the system."""
        session = await broker.authenticate(header.decode("latin-1"))
        caller = replace(caller, person=session.person)
        directory, moment = self._directory.snapshot, self._clock()
        try:
            system = directory.systems.get((stated or b"").decode("latin-1"))
            if stated is None:
                raise RequestRefused(refusals.ASID_MISSING)
            if system is None:
                raise RequestRefused(refusals.ASID_UNKNOWN)
            if not system.enabled:
                raise RequestRefused(refusals.ASID_DISABLED)
            caller = replace(caller, asid=system.asid, party_key=system.party_key)
            if self._rate is not None:
                self._rate.count(system.app or system.asid)
            _check_holder(directory, session, moment.astimezone(LONDON).date())
        except RequestRefused as refused:
            refused.caller = caller
            raise
        return replace(caller, session=session)

    # --- the role ---------------------------------------------------------------------------------------------------

    async def _session(self, known: _Known, text: str, header: bytes | None) -> Session:
        """Return the user in the role that is active. Raises: `RequestRefused`. Spec: 35 §4.4."""
        token, moment = known.token, self._clock()
        now = moment.timestamp()
        stated = header.decode("latin-1") if header is not None else None
        if known.told <= now:
            async with known.asking:
                # Whoever was first has asked for all who waited here.
                if known.told <= now:
                    await self._ask_roles(known, text, now)
        # The directory may have changed meanwhile: what counts is what it says now.
        directory = self._directory.snapshot
        if known.revision != directory.revision:
            known.sessions.clear()
            known.revision = directory.revision
        session = known.sessions.get(stated)
        today = moment.astimezone(LONDON).date()
        if session is not None and not session.role.has_closed(today):
            return session
        role = choose_role(
            known.info,
            user_id=token.user_id,
            stated=stated,
            selected=token.selected_role,
            directory=directory,
            today=today,
        )
        session = self._make_session(token, known.info, role, directory)
        if len(known.sessions) < len(known.info.roles if known.info else ()) + 2:
            known.sessions[stated] = session
        return session

    async def _ask_roles(self, known: _Known, text: str, now: float) -> None:
        """Ask the provider for the user's roles. Raises: `RequestRefused`."""
        issuer = self._issuers.get(known.token.issuer)
        document = await issuer.userinfo(text) if issuer is not None else None
        known.info = read_userinfo(document, known.token.user_id) if document is not None else None
        known.told = min(now + ROLES_SECONDS, known.until)
        known.sessions.clear()

    def _make_session(self, token: AccessToken, info: UserInfo | None, role: Role, directory: Directory) -> Session:
        user = directory.users.get(token.user_id)
        if user is not None and not user.active:
            raise RequestRefused(refusals.USER_INACTIVE)
        registered = directory.role(role.role_profile_id)
        if registered is not None:
            # A role that ends at midnight ends for whoever is signed in.
            role = replace(role, closed=registered[1].closed)
        name = (info.name if info else "") or token.name or (display_name(user.name) if user else "")
        return Session(
            user_id=token.user_id,
            name=name,
            role=role,
            assurance_level=token.assurance_level,
            issuer=token.issuer,
            methods=token.methods,
            session_hash=token.session,
        )


def _system(directory: Directory, token: AccessToken, stated: bytes | None) -> System:
    """Return the system of the application. Raises: `RequestRefused`. Spec: 35 §9.1 item 4."""
    system = directory.system_of_app(token.client_id)
    if stated is not None:
        if stated.decode("latin-1") not in directory.systems:
            raise RequestRefused(refusals.ASID_UNKNOWN)
        if system is None or system.asid != stated.decode("latin-1"):
            raise RequestRefused(refusals.ASID_DIFFERS)
    if system is None:
        raise RequestRefused(refusals.ASID_MISSING)
    if not system.enabled:
        raise RequestRefused(refusals.ASID_DISABLED)
    if token.scopes.isdisjoint(system.scopes):
        raise RequestRefused(refusals.ASID_NOT_ENTITLED)
    return system


def _check_holder(directory: Directory, session: Session, today: date) -> None:
    """Hold what a smartcard says to what the directory knows of the user, if anything. Raises: `RequestRefused`."""
    user, found = directory.users.get(session.user_id), directory.role(session.role.role_profile_id)
    if user is not None and not user.active:
        raise RequestRefused(refusals.USER_INACTIVE)
    if found is not None and found[0].user_id != session.user_id:
        raise RequestRefused(refusals.NOT_THEIR_ROLE)
    if found is not None and found[1].has_closed(today):
        raise RequestRefused(refusals.ROLE_CLOSED)


def _check_gateway(found: dict[bytes, bytes], token: AccessToken) -> None:
    """Hold what a gateway says of the user to what the token says. Raises: `RequestRefused`."""
    stated = ((found.get(_USER), token.user_id), (found.get(_PROVIDER), token.issuer))
    if any(header is not None and header.decode("latin-1") != value for header, value in stated):
        raise RequestRefused(refusals.GATEWAY_DIFFERS)


def _single(headers: Headers) -> dict[bytes, bytes]:
    """Return the headers that decide, by name. Raises: `RequestRefused` for two different values of one."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        if name in _READ:
            plain = value.strip()
            if found.setdefault(name, plain) != plain:
                raise RequestRefused(_TWICE[name])
    return found


_TWICE: Final[dict[bytes, Refusal]] = {
    AUTHORIZATION: refusals.TOKEN_MALFORMED,
    SMARTCARD: refusals.smartcard("token_malformed"),
    ROLE: refusals.NOT_THEIR_ROLE,
    _ASID: refusals.ASID_DIFFERS,
    _USER: refusals.GATEWAY_DIFFERS,
    _PROVIDER: refusals.GATEWAY_DIFFERS,
    _CLIENT_ADDRESS: refusals.GATEWAY_DIFFERS,
}


def _address(header: bytes | None) -> str | None:
    """Return the client's address that a gateway tells, if it is one."""
    try:
        return str(ipaddress.ip_address((header or b"").decode("ascii")))
    except ValueError:
        return None
