"""Smartcards: a token of the legacy security broker becomes a person in a role, by asking the broker.

What it said is believed for a minute, so that a card that is removed ends its session soon. An assertion counts once:
whoever plays one back is refused.

Spec: 35 §4.1, §9.1 item 5.
"""

import re
from collections import OrderedDict
from typing import Final, NamedTuple
from urllib.parse import quote

import structlog
from cryptography import x509

from openscr.access import refusals
from openscr.access.fetching import Fetcher, NoAnswer, check_url
from openscr.access.refusals import RequestRefused
from openscr.access.saml import AssertionRefused, read_role_assertion
from openscr.access.sessions import Remembered
from openscr.access.tokens import digest
from openscr.identifiers import Clock
from openscr.spine import Session

_log = structlog.get_logger("access")

SMARTCARD_HEADER: Final = "SsoToken"
ASSURANCE_LEVEL: Final = 3
"""A smartcard with its passcode is as strong as it gets. Spec: 35 §4.2."""

METHODS: Final = ("N3_SMARTCARD",)
BELIEVED_SECONDS: Final = 60.0
MOST_TOKENS: Final = 10_000
_TOKEN: Final = re.compile(r"[!-~]{8,4096}")


class _Told(NamedTuple):
    session: Session
    until: float


class SmartcardBroker:
    """Asks the broker at ``url``, through ``fetcher``, which trusts the broker's authority and no other.

    ``certificate`` must have signed its assertions, if there is one. ``training`` lets training sessions in.
    """

    def __init__(
        self, url: str, fetcher: Fetcher, clock: Clock, *, certificate: x509.Certificate | None, training: bool
    ) -> None:
        self.url = check_url(url, what="smartcard_url")
        self._fetcher = fetcher
        self._clock = clock
        self._certificate = certificate
        self._training = training
        self._told: OrderedDict[str, _Told] = OrderedDict()
        self._seen = Remembered(MOST_TOKENS * 10)

    async def authenticate(self, token: str) -> Session:
        """Return whose token it is. Raises: `RequestRefused`: 401, or 503 when the broker cannot be asked."""
        if not _TOKEN.fullmatch(token):
            raise RequestRefused(refusals.smartcard("token_malformed"))
        key, now = digest(token), self._clock()
        told = self._told.get(key)
        if told is not None and told.until > now.timestamp():
            self._told.move_to_end(key)
            return told.session
        data = await self._ask(token)
        now = self._clock()
        try:
            assertion = read_role_assertion(data, token, now, certificate=self._certificate, training=self._training)
        except AssertionRefused as refused:
            raise RequestRefused(refusals.smartcard(refused.diagnostics)) from None
        until = assertion.until.timestamp()
        seen = digest(assertion.assertion_id)
        if seen in self._seen:
            raise RequestRefused(refusals.smartcard("replayed"))
        self._seen.add(seen, until + 120.0, now.timestamp())
        session = Session(
            user_id=assertion.user_id,
            name=assertion.name,
            role=assertion.role,
            assurance_level=ASSURANCE_LEVEL,
            issuer=self.url,
            methods=METHODS,
            session_hash=key,
        )
        self._told[key] = _Told(session, min(until, now.timestamp() + BELIEVED_SECONDS))
        while len(self._told) > MOST_TOKENS:
            self._told.popitem(last=False)
        return session

    async def _ask(self, token: str) -> bytes:
        joint = "&" if "?" in self.url else "?"
        try:
            answer = await self._fetcher.get(f"{self.url}{joint}token={quote(token, safe='')}", {"Accept": "text/xml"})
        except NoAnswer as error:
            _log.warning("smartcard broker not asked", cause=error.cause)
            raise RequestRefused(refusals.KEYS_UNAVAILABLE) from None
        if answer.status != 200:
            _log.warning("smartcard broker not asked", cause=f"status {answer.status}")
            unavailable = answer.status >= 500
            raise RequestRefused(refusals.KEYS_UNAVAILABLE if unavailable else refusals.smartcard("broker_refuses"))
        return answer.body
