"""Keys of identity providers: fetched late, kept ten minutes, looked for again; and when there are none.

Spec: 35 §9.1.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from access.verifying import Verifier, verifying
from identity_provider import GP, GP_ROLE, IdentityProvider, key, role_claim
from openscr.access import refusals
from openscr.access.fetching import LARGEST_ANSWER, check_url
from openscr.access.issuers import KEYS_SECONDS, UNKNOWN_KEY_SECONDS
from openscr.errors import ConfigurationError

Both = tuple[IdentityProvider, Verifier]


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    """A provider that knows the GP, and a verifier that trusts it."""
    async with verifying() as (provider, verifier):
        provider.users[GP] = {"nhsid_nrbac_roles": [role_claim(GP_ROLE)]}
        yield provider, verifier


async def test_nothing_is_fetched_before_it_is_needed_and_then_kept(both: Both) -> None:
    provider, verifier = both
    assert not provider.asked
    await verifier.caller(provider.token())
    await verifier.caller(provider.token(auth_time=1))
    assert (provider.asked["discovery"], provider.asked["keys"]) == (1, 1)
    verifier.clock.pass_by(KEYS_SECONDS + 1)
    await verifier.caller(provider.token())
    assert (provider.asked["discovery"], provider.asked["keys"]) == (2, 2)


async def test_a_new_key_is_fetched_and_an_old_one_ends(both: Both) -> None:
    provider, verifier = both
    await verifier.caller(provider.token())
    verifier.clock.pass_by(UNKNOWN_KEY_SECONDS + 1)
    provider.published = ["rsa-1", "rsa-2"]
    assert (await verifier.caller(provider.sign(provider.claims(), "rsa-2"))).session
    provider.published = ["rsa-2"]
    assert (await verifier.caller(provider.token())).session
    verifier.clock.pass_by(KEYS_SECONDS + 1)
    assert await verifier.refusal(provider.token()) == refusals.TOKEN_KEY


async def test_a_new_key_is_known_at_once_however_young_the_others_are(both: Both) -> None:
    """The first search for a key is not rationed by the ordinary fetch of the keys before it."""
    provider, verifier = both
    await verifier.caller(provider.token())
    provider.published = ["rsa-1", "rsa-2"]
    assert (await verifier.caller(provider.sign(provider.claims(), "rsa-2"))).session
    assert provider.asked["keys"] == 2


async def test_an_unknown_key_is_looked_for_once_a_minute(both: Both) -> None:
    provider, verifier = both
    await verifier.caller(provider.token())
    verifier.clock.pass_by(UNKNOWN_KEY_SECONDS + 1)
    for number in range(20):
        assert await verifier.refusal(provider.sign(provider.claims(), kid=f"made-up-{number}")) == refusals.TOKEN_KEY
    assert provider.asked["keys"] == 2
    verifier.clock.pass_by(UNKNOWN_KEY_SECONDS + 1)
    await verifier.refusal(provider.sign(provider.claims(), kid="made-up"))
    assert provider.asked["keys"] == 3


async def test_many_who_wait_for_keys_make_one_request(both: Both) -> None:
    provider, verifier = both
    provider.hold = asyncio.Event()
    waiting = [asyncio.create_task(verifier.caller(provider.token(auth_time=number))) for number in range(20)]
    await provider.arrived.wait()
    provider.hold.set()
    assert all(caller.session for caller in await asyncio.gather(*waiting))
    assert provider.asked["keys"] == 1


async def test_one_who_gives_up_does_not_take_the_others_along(both: Both) -> None:
    provider, verifier = both
    provider.hold = asyncio.Event()
    first = asyncio.create_task(verifier.caller(provider.token()))
    second = asyncio.create_task(verifier.caller(provider.token(auth_time=2)))
    await provider.arrived.wait()
    first.cancel()
    provider.hold.set()
    assert (await second).session


DOWN: dict[str, Any] = {
    "503": web.Response(status=503, text="down"),
    "401": web.Response(status=401, text="who are you"),
    "a page": web.Response(text="<html>welcome</html>"),
    "a list": web.Response(text="[]"),
    "no keys member": web.Response(text="{}"),
    "keys that are text": web.Response(text='{"keys": "none"}'),
    "keys twice": web.Response(text='{"keys": [], "keys": []}'),
    "too many keys": web.Response(text=json.dumps({"keys": [{"kty": "oct", "kid": str(n)} for n in range(65)]})),
    "too large": web.Response(text=" " * (LARGEST_ANSWER + 1) + "{}"),
    "redirected": web.Response(status=302),
}


@pytest.mark.parametrize("case", DOWN)
async def test_without_keys_nobody_is_let_in(both: Both, case: str) -> None:
    provider, verifier = both
    provider.keys_answer = DOWN[case]
    refusal = await verifier.refusal(provider.token())
    assert refusal == refusals.KEYS_UNAVAILABLE
    assert (refusal.status, refusal.issue) == (503, "transient")
    # It is left alone for a moment, and asked again then.
    asked = provider.asked["keys"]
    assert await verifier.refusal(provider.token()) == refusals.KEYS_UNAVAILABLE
    assert provider.asked["keys"] == asked
    provider.keys_answer = None
    verifier.clock.pass_by(3)
    assert (await verifier.caller(provider.token())).session


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://elsewhere.test"},
        {"jwks_uri": 7},
        {"jwks_uri": "http://elsewhere.test/jwks"},
        {"jwks_uri": "file:///etc/passwd"},
        {"userinfo_endpoint": "ftp://127.0.0.1/userinfo"},
    ],
)
async def test_a_discovery_that_says_something_else(both: Both, discovery: dict[str, Any]) -> None:
    provider, verifier = both
    provider.discovery = discovery
    assert await verifier.refusal(provider.token()) == refusals.KEYS_UNAVAILABLE
    assert provider.asked["keys"] == 0


async def test_a_provider_that_is_gone_or_silent(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys of the last ten minutes hold till their end; then nobody is let in."""
    provider, verifier = both
    await verifier.caller(provider.token())
    provider.keys_answer = DOWN["503"]
    verifier.clock.pass_by(UNKNOWN_KEY_SECONDS + 1)
    assert await verifier.refusal(provider.sign(provider.claims(), kid="new")) == refusals.KEYS_UNAVAILABLE
    assert (await verifier.caller(provider.token())).session
    verifier.clock.pass_by(KEYS_SECONDS)
    assert await verifier.refusal(provider.token()) == refusals.KEYS_UNAVAILABLE


async def test_an_answer_that_never_comes() -> None:
    async with verifying() as (provider, verifier):
        fetcher = verifier.verification._fetcher
        fetcher._timeout = type(fetcher._timeout)(total=0.05)
        provider.hold = asyncio.Event()
        assert await verifier.refusal(provider.token()) == refusals.KEYS_UNAVAILABLE
        provider.hold.set()


async def test_keys_of_other_kinds_are_passed_over(both: Both) -> None:
    """A short key, one for encryption, one without a name, one that cannot be read: none of them verifies anything."""
    provider, verifier = both
    numbers = rsa.generate_private_key(65537, 1024).public_key().public_numbers()  # noqa: S505 it is the point
    modulus = base64.urlsafe_b64encode(numbers.n.to_bytes(128, "big")).decode().rstrip("=")
    public = key("rsa-1").as_dict(private=False)
    keys = [
        {"kty": "RSA", "kid": "short", "n": modulus, "e": "AQAB"},
        public | {"use": "enc"},
        {name: value for name, value in public.items() if name != "kid"},
        {"kty": "RSA", "kid": "broken", "n": "?", "e": "AQAB"},
        {"kty": "oct", "kid": "rsa-1", "k": "c2VjcmV0"},
        "nonsense",
    ]
    provider.keys_answer = web.Response(text=json.dumps({"keys": keys}))
    for name in ("rsa-1", "short", "broken"):
        assert await verifier.refusal(provider.sign(provider.claims(), kid=name)) == refusals.TOKEN_KEY


async def test_a_key_that_is_for_another_algorithm(both: Both) -> None:
    provider, verifier = both
    public = key("rsa-1").as_dict(private=False) | {"alg": "RS512"}
    provider.keys_answer = web.Response(text=json.dumps({"keys": [public]}))
    assert await verifier.refusal(provider.token()) == refusals.TOKEN_SIGNATURE
    assert (await verifier.caller(provider.sign(provider.claims(), alg="RS512"))).session


@pytest.mark.parametrize(
    "url",
    [
        "http://am.nhs.test/realm",
        "ftp://127.0.0.1/",
        "https://user:secret@am.nhs.test/",
        "nonsense",
        "https://a:b/",
        "",
    ],
)
def test_places_that_are_not_asked(url: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        check_url(url, what="token_issuers")
    assert "secret" not in refused.value.diagnostics


def test_a_provider_elsewhere_cannot_send_us_to_our_own_machine() -> None:
    assert check_url("http://127.0.0.1:1/keys", what="jwks_uri")
    with pytest.raises(ConfigurationError, match="on this machine"):
        check_url("https://127.0.0.1:1/keys", what="jwks_uri", near=False)
