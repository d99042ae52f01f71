"""Sessions that end before their tokens do. Spec: 35 §4.2; Back-Channel Logout 1.0 §2.6."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from access.verifying import Verifier, verifying
from identity_provider import GP, GP_ROLE, IdentityProvider, role_claim
from openscr.access import refusals
from openscr.access.refusals import RequestRefused

Both = tuple[IdentityProvider, Verifier]
SESSION = f"session-of-{GP}"


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    """A provider that knows the GP, and a verifier that trusts it."""
    async with verifying() as (provider, verifier):
        provider.users[GP] = {"nhsid_nrbac_roles": [role_claim(GP_ROLE)]}
        yield provider, verifier


async def test_a_session_that_has_ended_takes_its_tokens_along(both: Both) -> None:
    provider, verifier = both
    token, other = provider.token(), provider.token(sid="another session")
    await verifier.caller(token)
    verifier.verification.sessions.end(SESSION, provider.base)
    assert await verifier.refusal(token) == refusals.SESSION_ENDED
    assert await verifier.refusal(provider.token(auth_time=1)) == refusals.SESSION_ENDED
    assert (await verifier.caller(other)).session
    verifier.verification.sessions.end("another session", "https://elsewhere.test")
    assert (await verifier.caller(other)).session


async def test_a_logout_token_ends_a_session(both: Both) -> None:
    provider, verifier = both
    token = provider.token()
    await verifier.caller(token)
    await verifier.verification.logout.receive(provider.logout_token(SESSION))
    assert await verifier.refusal(token) == refusals.SESSION_ENDED


async def test_a_session_that_ends_while_its_roles_are_asked_for(both: Both) -> None:
    """Whoever has signed out is not let in by a request that was under way."""
    provider, verifier = both
    await verifier.caller(provider.token(sid="another session"))
    provider.arrived.clear()
    provider.hold_userinfo = asyncio.Event()
    request = asyncio.create_task(verifier.refusal(provider.token()))
    await provider.arrived.wait()
    verifier.verification.sessions.end(SESSION, provider.base)
    provider.hold_userinfo.set()
    assert await request == refusals.SESSION_ENDED


EVENT = "http://schemas.openid.net/event/backchannel-logout"
BAD: dict[str, Callable[[IdentityProvider], str]] = {
    "another audience": lambda p: p.logout_token(SESSION, aud="app-gp"),
    "another issuer": lambda p: p.logout_token(SESSION, iss="https://elsewhere.test"),
    "another's key": lambda p: p.sign(_claims(p), "rsa-2", kid="rsa-1", typ="logout+jwt"),
    "an unknown key": lambda p: p.logout_token(SESSION, "rsa-2"),
    "unsigned": lambda p: p.unsigned(_claims(p)),
    "the public key as secret": lambda p: p.confused(_claims(p)),
    "an access token": lambda p: p.token(),
    "no event": lambda p: p.logout_token(SESSION, events=None),
    "another event": lambda p: p.logout_token(SESSION, events={"http://schemas.openid.net/event/other": {}}),
    "an event that is text": lambda p: p.logout_token(SESSION, events={EVENT: "yes"}),
    "a nonce, as an ID token has": lambda p: p.logout_token(SESSION, nonce="n"),
    "no session": lambda p: p.logout_token(SESSION, sid=None),
    "a session that is a number": lambda p: p.logout_token(SESSION, sid=1),
    "no id of its own": lambda p: p.logout_token(SESSION, jti=None),
    "no time": lambda p: p.logout_token(SESSION, iat=None),
    "old": lambda p: p.logout_token(SESSION, iat=p.clock().timestamp() - 361),
    "of the future": lambda p: p.logout_token(SESSION, iat=p.clock().timestamp() + 61),
    "expired": lambda p: p.logout_token(SESSION, exp=p.clock().timestamp() - 61),
    "nonsense": lambda p: "nonsense",
    "huge": lambda p: "x" * 100_000,
}


def _claims(provider: IdentityProvider) -> dict[str, object]:
    return {
        "iss": provider.base,
        "aud": "openscr",
        "iat": provider.clock().timestamp(),
        "jti": "1",
        "sid": SESSION,
        "events": {EVENT: {}},
    }


@pytest.mark.parametrize("case", BAD)
async def test_logout_tokens_that_do_not_count(both: Both, case: str) -> None:
    provider, verifier = both
    with pytest.raises(RequestRefused) as refused:
        await verifier.verification.logout.receive(BAD[case](provider))
    assert (refused.value.refusal.status, refused.value.refusal.challenge) == (400, "")
    assert refused.value.refusal.reason.startswith("logout_")
    assert (await verifier.caller(provider.token())).session


async def test_a_logout_token_counts_once(both: Both) -> None:
    provider, verifier = both
    token = provider.logout_token(SESSION)
    await verifier.verification.logout.receive(token)
    with pytest.raises(RequestRefused) as refused:
        await verifier.verification.logout.receive(token)
    assert refused.value.refusal.reason == "logout_token_replayed"


async def test_a_provider_that_cannot_be_asked_ends_nothing(both: Both) -> None:
    provider, verifier = both
    provider.keys_answer = web.Response(status=503)
    with pytest.raises(RequestRefused) as refused:
        await verifier.verification.logout.receive(provider.logout_token(SESSION))
    assert refused.value.refusal.status == 503
