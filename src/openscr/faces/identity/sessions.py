"""Who is signed in, and what was given out in their name: one end for all of it.

A `SignIn` is a person who has signed in once; everything that follows from it (codes, tokens, smartcard tickets) names
its ``sid``. When it ends, all of that is worth nothing, and whoever listens is told.

Spec: 35 §4.2 "Back-channel logout", §9.5.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from openscr.faces.identity.people import METHODS, Method, acr_of
from openscr.faces.identity.shelf import Shelf

SIGN_IN_LIFE: Final = 43_199.0
"""Seconds that a sign-in lasts, as long as the refresh tokens that may come of it. Spec: 35 §4.3."""

CODE_LIFE: Final = 60.0
SSO_TOKEN_LIFE: Final = 3_600.0

SessionEnded = Callable[[str], None]
"""Is told the ``sid`` of a session that has ended."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """A person who has signed in: when (seconds since the epoch), how, under which ``sid``."""

    sid: str
    user_id: str
    method: Method
    auth_time: int

    @property
    def level(self) -> int:
        """The authentication assurance level."""
        return self.method.level

    @property
    def acr(self) -> str:
        """The authentication context class."""
        return acr_of(self.method.level)


@dataclass(frozen=True, slots=True)
class Code:
    """An authorization code: for whom, for which request."""

    client_id: str
    redirect_uri: str
    sign_in: SignIn
    scopes: tuple[str, ...]
    nonce: str | None
    challenge: str | None
    selected_role: str | None


@dataclass(slots=True)
class Grant:
    """What an app was given for a sign-in (none: for itself); refreshed so often, until so many seconds.

    ``combined`` tells a login by code from a token exchange. ``scopes`` are those of the sign-in.
    """

    client_id: str
    sign_in: SignIn | None
    combined: bool
    scopes: tuple[str, ...]
    selected_role: str | None = None
    refresh_until: float = 0.0
    refresh_count: int = 0


@dataclass(frozen=True, slots=True)
class SsoToken:
    """A smartcard's ticket: the session, and the role that is active in it. Spec: 35 §4.1."""

    sign_in: SignIn
    role_profile_id: str


@dataclass
class Sessions:
    """Everything that lives as long as a sign-in. ``now`` gives seconds since the epoch, ``ended`` is told each end."""

    now: Callable[[], float]
    ended: SessionEnded
    _sign_ins: Shelf[SignIn] = field(init=False)
    _browsers: Shelf[str] = field(init=False)
    codes: Shelf[Code] = field(init=False)
    used_codes: Shelf[str] = field(init=False)
    tokens: Shelf[Grant] = field(init=False)
    refresh_tokens: Shelf[Grant] = field(init=False)
    used_refresh_tokens: Shelf[Grant] = field(init=False)
    sso_tokens: Shelf[SsoToken] = field(init=False)

    def __post_init__(self) -> None:
        self._sign_ins = Shelf(self.now)
        self._browsers = Shelf(self.now)
        self.codes = Shelf(self.now)
        self.used_codes = Shelf(self.now)
        self.tokens = Shelf(self.now, most=100_000)
        self.refresh_tokens = Shelf(self.now)
        self.used_refresh_tokens = Shelf(self.now)
        self.sso_tokens = Shelf(self.now)

    def sign_in(self, user_id: str, method: str, sid: str) -> tuple[SignIn, str]:
        """Sign a person in; return the sign-in, and the key by which the browser shows that it is theirs."""
        made = SignIn(sid, user_id, METHODS[method], int(self.now()))
        self._sign_ins.put(made, SIGN_IN_LIFE, sid)
        return made, self._browsers.put(sid, SIGN_IN_LIFE)

    def of_browser(self, key: str | None) -> SignIn | None:
        """Return who is signed in in a browser."""
        return self.get(self._browsers.get(key))

    def get(self, sid: str | None) -> SignIn | None:
        """Return a sign-in that has not ended."""
        return self._sign_ins.get(sid)

    def alive(self, grant: Grant) -> bool:
        """Whether what was granted still counts."""
        return grant.sign_in is None or self.get(grant.sign_in.sid) is not None

    def end(self, sid: str) -> bool:
        """End a sign-in and tell of it; return whether there was one."""
        if self._sign_ins.take(sid) is None:
            return False
        self.ended(sid)
        return True

    def of_user(self, user_id: str) -> list[SignIn]:
        """Return the sign-ins of a person that have not ended."""
        return [each for each in self._sign_ins.values() if each.user_id == user_id]
