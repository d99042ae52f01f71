"""Opaque tokens: only their issuer can say what they are worth, so it is asked (RFC 7662).

Spec: 35 §9.1.
"""

from base64 import b64encode
from collections.abc import Collection

import structlog

from openscr.access import refusals
from openscr.access.fetching import Fetcher, NoAnswer, check_url
from openscr.access.issuers import Seconds
from openscr.access.refusals import RequestRefused
from openscr.access.tokens import LEEWAY, AccessToken, check_audience, check_times, read_claims, read_json_object

_log = structlog.get_logger("access")


class Introspection:
    """Asks ``url`` what a token is worth, as the client ``client_id`` with its ``secret``.

    An answer without an audience is taken for ours: it was given to us. One that names an audience must name ours.
    """

    def __init__(
        self, url: str, fetcher: Fetcher, now: Seconds, *, client_id: str, secret: str, audiences: Collection[str]
    ) -> None:
        self._url = check_url(url, what="introspection_url")
        self._fetcher = fetcher
        self._now = now
        credentials = b64encode(f"{client_id}:{secret}".encode()).decode()
        self._headers = {"Authorization": f"Basic {credentials}", "Accept": "application/json"}
        self._audiences = frozenset(audiences)

    async def ask(self, token: str) -> AccessToken:
        """Return what a token says that is in force.

        Raises: `RequestRefused`: 401 for any other token, 503 when nobody can say.
        """
        try:
            answer = await self._fetcher.post(
                self._url, {"token": token, "token_type_hint": "access_token"}, self._headers
            )
            if answer.status != 200:
                raise NoAnswer(f"status {answer.status}")
            claims = read_json_object(answer.body)
        except (NoAnswer, ValueError) as error:
            cause = error.cause if isinstance(error, NoAnswer) else "not a JSON object"
            _log.warning("token not introspected", cause=cause)
            raise RequestRefused(refusals.KEYS_UNAVAILABLE) from None
        if claims.get("active") is not True:
            raise RequestRefused(refusals.TOKEN_INACTIVE)
        now = self._now()
        expires_at = check_times(claims, now) if "exp" in claims else now - LEEWAY
        if "aud" in claims:
            check_audience(claims, self._audiences)
        issuer = claims.get("iss")
        return read_claims(claims, issuer if isinstance(issuer, str) else self._url, expires_at)
