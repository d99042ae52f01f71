"""Sessions that have ended before their tokens have: their tokens count no more.

A provider ends a session in this process (`Sessions.end`), or tells us with a logout token (`LogoutReceiver`). Of
several workers one is told: it keeps that in the store before it answers, where the others look every second.

Spec: 35 §4.2 (back-channel logout); OpenID Connect Back-Channel Logout 1.0 §2.4-§2.8.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from openscr.access import refusals
from openscr.access.issuers import Issuer, Seconds
from openscr.access.refusals import Refusal, RequestRefused
from openscr.access.tokens import (
    LEEWAY,
    LONGEST_TOKEN,
    check_audience,
    check_signature,
    digest,
    read_seconds,
    read_token,
    session_digest,
)
from openscr.codes import LOGOUT_EVENT

ENDED_SECONDS: Final = 43_200.0 + 600.0
"""How long an ended session is remembered: as long as anything it was given may be renewed, and then used."""

LOGOUT_SECONDS: Final = 300.0
"""How old a logout token may be."""

MOST_ENDED: Final = 200_000
_TYPES: Final = frozenset({"jwt", "logout+jwt", "application/logout+jwt"})


class Remembered:
    """Names that are remembered until a time, the oldest forgotten first when there are too many."""

    def __init__(self, most: int) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()
        self._most = most

    def add(self, name: str, until: float, now: float) -> None:
        """Remember a name."""
        while self._until and (len(self._until) >= self._most or next(iter(self._until.values())) < now):
            self._until.popitem(last=False)
        self._until[name] = until

    def __contains__(self, name: str) -> bool:
        return name in self._until


Keep = Callable[[str], Awaitable[None]]
"""Keeps for all workers that a session, named by its digest, has ended. Raises: `StoreError` when it could not."""


class Sessions:
    """Which sessions have ended. Their ids are kept as digests only.

    ``keep`` tells other workers, ``known`` says whether we have been told lately by them; a worker without colleagues
    has neither.
    """

    def __init__(self, now: Seconds) -> None:
        self._now = now
        self._ended = Remembered(MOST_ENDED)
        self.keep: Keep | None = None
        self.known: Callable[[], bool] = lambda: True

    async def end_everywhere(self, session_id: str, issuer: str) -> None:
        """End a session for every worker. Raises: `StoreError` when the others could not be told."""
        self.end(session_id, issuer)
        if self.keep is not None:
            await self.keep(session_digest(issuer, session_id))

    def note(self, session: str, until: float) -> None:
        """Take note that a session, named by its digest, has ended; it is remembered until then."""
        self._ended.add(session, until, self._now())

    def end(self, session_id: str, issuer: str) -> None:
        """End a session of an issuer: its tokens are refused from now on."""
        now = self._now()
        self._ended.add(session_digest(issuer, session_id), now + ENDED_SECONDS, now)

    def has_ended(self, session: str) -> bool:
        """Whether a session, named by its digest, has ended."""
        return session in self._ended


class LogoutReceiver:
    """Ends sessions when their provider says so with a token that it has signed."""

    def __init__(
        self, issuers: Collection[Issuer], audiences: Collection[str], sessions: Sessions, now: Seconds
    ) -> None:
        self._issuers = {issuer.url: issuer for issuer in issuers}
        self._audiences = frozenset(audiences)
        self._sessions = sessions
        self._now = now
        self._seen = Remembered(MOST_ENDED)

    async def receive(self, text: str) -> str:
        """End the session that a logout token names; return its digest.

        Raises: `RequestRefused`: 400 for a token that does not count, 503 when its issuer cannot be asked;
        `StoreError` when other workers could not be told.
        """
        try:
            return await self._receive(text)
        except RequestRefused as refused:
            if refused.refusal.status == 503:
                raise
            raise RequestRefused(_unusable(refused.refusal.reason)) from None

    async def _receive(self, text: str) -> str:
        if len(text) > LONGEST_TOKEN:
            raise RequestRefused(refusals.TOKEN_MALFORMED)
        token = read_token(text)
        if token.type not in _TYPES:
            raise RequestRefused(refusals.TOKEN_TYPE)
        issuer = self._issuers.get(token.issuer)
        if issuer is None:
            raise RequestRefused(refusals.TOKEN_ISSUER)
        check_signature(token, await issuer.key(token.key_id))
        claims, now = token.claims, self._now()
        check_audience(claims, self._audiences)
        issued, expires = read_seconds(claims.get("iat")), read_seconds(claims.get("exp", now))
        if issued is None or expires is None:
            raise RequestRefused(refusals.TOKEN_CLAIMS)
        if not now - LOGOUT_SECONDS - LEEWAY <= issued <= now + LEEWAY or expires <= now - LEEWAY:
            raise RequestRefused(refusals.TOKEN_EXPIRED)
        events, session_id, token_id = claims.get("events"), claims.get("sid"), claims.get("jti")
        told = isinstance(events, dict) and isinstance(events.get(LOGOUT_EVENT), dict) and "nonce" not in claims
        named = isinstance(session_id, str) and session_id and isinstance(token_id, str) and token_id
        if not told or not named:
            raise RequestRefused(refusals.TOKEN_CLAIMS)
        seen = digest(f"{issuer.url}\n{token_id}")
        if seen in self._seen:
            raise RequestRefused(refusals.TOKEN_REPLAYED)
        # Only then: a provider that was not answered well may come with the same token again.
        await self._sessions.end_everywhere(str(session_id), issuer.url)
        self._seen.add(seen, now + LOGOUT_SECONDS + 2 * LEEWAY, now)
        return session_digest(issuer.url, str(session_id))


def _unusable(reason: str) -> Refusal:
    return Refusal(400, "invalid", "INVALID_VALUE", "The logout token is not valid", f"logout_{reason}")
