"""Access tokens against a real provider on loopback: which count, and everything that does not. Spec: 35 §9.1, §9.6."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from access.verifying import Verifier, verifying
from identity_provider import (
    AAL2_SCOPE,
    APP_SCOPE,
    GP,
    GP_ROLE,
    USER_SCOPE,
    IdentityProvider,
    claims_of,
    encoded,
    key,
    role_claim,
)
from openscr.access import refusals
from openscr.access.issuers import KEYS_SECONDS
from openscr.access.refusals import Refusal, RequestRefused
from openscr.directory.model import Directory

Both = tuple[IdentityProvider, Verifier]


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    """A provider that knows the GP, and a verifier that trusts it."""
    async with verifying() as (provider, verifier):
        provider.users[GP] = {"name": "Gita Demopractice", "nhsid_nrbac_roles": [role_claim(GP_ROLE)]}
        yield provider, verifier


async def test_a_user_is_who_the_token_says_in_the_one_role(both: Both) -> None:
    provider, verifier = both
    caller = await verifier.caller(provider.token())
    session = caller.session
    assert session is not None
    assert (caller.asid, caller.party_key) == ("200000000115", "Y90001-0000001")
    assert caller.person == session.person
    assert (session.user_id, session.name, session.assurance_level) == (GP, "Gita Demopractice", 3)
    assert (session.role.role_profile_id, session.role.job_role) == (GP_ROLE, "S8000:G8000:R8000")
    assert session.role.activities == {"B0370", "B0380", "B8029", "B0020", "B0168"}
    assert (session.issuer, session.methods) == (provider.base, ("N3_SMARTCARD",))
    assert f"session-of-{GP}" not in repr(caller)


@pytest.mark.parametrize("signature", ["RS256", "RS512", "PS256", "ES256"])
async def test_the_four_signatures_count(both: Both, signature: str) -> None:
    provider, verifier = both
    provider.published = ["rsa-1", "ec-1"]
    token = provider.sign(provider.claims(), "ec-1" if signature == "ES256" else "rsa-1", alg=signature)
    assert (await verifier.caller(token)).session is not None


async def test_an_application_alone_has_no_session(both: Both) -> None:
    provider, verifier = both
    caller = await verifier.caller(provider.sign(provider.application_claims()))
    assert (caller.asid, caller.person, caller.session) == ("200000000117", None, None)


GOOD: dict[str, Callable[[IdentityProvider], str]] = {
    "typ JWT": lambda provider: provider.sign(provider.claims(), typ="JWT"),
    "no typ": lambda provider: provider.sign(provider.claims(), typ=None),
    "expired within the leeway": lambda provider: provider.token(exp=provider.clock().timestamp() - 59),
    "not before, within the leeway": lambda provider: provider.token(nbf=provider.clock().timestamp() + 59),
    "one audience of several": lambda provider: provider.token(aud=["another", "openscr"]),
    "level as text": lambda provider: provider.token(authentication_assurance_level="3"),
    "level 2 with its scope": lambda p: p.token(authentication_assurance_level=2, scope=AAL2_SCOPE),
    "both kinds of scope": lambda provider: provider.token(scope=f"{APP_SCOPE} {USER_SCOPE}"),
}


@pytest.mark.parametrize("case", GOOD)
async def test_tokens_that_count(both: Both, case: str) -> None:
    provider, verifier = both
    assert (await verifier.caller(GOOD[case](provider))).session is not None


def _twice(provider: IdentityProvider, name: str, value: object) -> bytes:
    """Return a payload in which a claim stands twice, the good one last."""
    text = json.dumps(provider.claims())
    return f'{{"{name}": {json.dumps(value)}, {text[1:]}'.encode()


def _nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


BAD: dict[str, tuple[Callable[[IdentityProvider], str], Refusal]] = {
    "expired": (lambda p: p.token(exp=p.clock().timestamp() - 61), refusals.TOKEN_EXPIRED),
    "no end": (lambda p: p.token(exp=None), refusals.TOKEN_CLAIMS),
    "an end that is text": (lambda p: p.token(exp="tomorrow"), refusals.TOKEN_CLAIMS),
    "an end that is true": (lambda p: p.token(exp=True), refusals.TOKEN_CLAIMS),
    "an endless end": (lambda p: p.sign(json.dumps(p.claims(exp=1e400)).encode()), refusals.TOKEN_MALFORMED),
    "an end of a thousand digits": (lambda p: p.token(exp=10**1000), refusals.TOKEN_CLAIMS),
    "an end of five thousand digits": (
        lambda p: p.sign(json.dumps(p.claims(exp="@")).replace('"@"', "9" * 5000).encode()),
        refusals.TOKEN_MALFORMED,
    ),
    "not before, in the future": (lambda p: p.token(nbf=p.clock().timestamp() + 61), refusals.TOKEN_EARLY),
    "issued in the future": (lambda p: p.token(iat=p.clock().timestamp() + 61), refusals.TOKEN_EARLY),
    "wrong audience": (lambda p: p.token(aud="another"), refusals.TOKEN_AUDIENCE),
    "no audience": (lambda p: p.token(aud=None), refusals.TOKEN_AUDIENCE),
    "an audience that is an object": (lambda p: p.token(aud={"openscr": 1}), refusals.TOKEN_AUDIENCE),
    "alg none": (lambda p: p.unsigned(p.claims()), refusals.TOKEN_ALGORITHM),
    "alg nOnE": (lambda p: p.unsigned(p.claims(), "nOnE"), refusals.TOKEN_ALGORITHM),
    "signed algorithm, no signature": (lambda p: p.unsigned(p.claims(), "RS256"), refusals.TOKEN_SIGNATURE),
    "HS256 with the public key": (lambda p: p.confused(p.claims()), refusals.TOKEN_ALGORITHM),
    "RS384": (lambda p: p.sign(p.claims(), alg="RS384"), refusals.TOKEN_ALGORITHM),
    "wrong kid": (lambda p: p.sign(p.claims(), kid="rsa-9"), refusals.TOKEN_KEY),
    "no kid": (lambda p: p.sign(p.claims(), kid=None), refusals.TOKEN_KEY),
    "another's key under our kid": (lambda p: p.sign(p.claims(), "rsa-2", kid="rsa-1"), refusals.TOKEN_SIGNATURE),
    "a key that it brings itself": (
        lambda p: p.sign(p.claims(), "rsa-2", kid="rsa-1", jwk=key("rsa-2").as_dict(private=False)),
        refusals.TOKEN_MALFORMED,
    ),
    "a place to fetch its key from": (
        lambda p: p.sign(p.claims(), "rsa-2", kid="rsa-1", jku=f"{p.base}/other"),
        refusals.TOKEN_MALFORMED,
    ),
    "an elliptic signature under an RSA key": (
        lambda p: p.sign(p.claims(), "ec-1", kid="rsa-1", alg="ES256"),
        refusals.TOKEN_SIGNATURE,
    ),
    "type of an ID token's encryption": (lambda p: p.sign(p.claims(), typ="JWE"), refusals.TOKEN_TYPE),
    "a logout token": (lambda p: p.logout_token("any"), refusals.TOKEN_TYPE),
    "another issuer": (lambda p: p.token(iss="https://elsewhere.test/realm"), refusals.TOKEN_ISSUER),
    "our issuer with a slash": (lambda p: p.token(iss=p.base + "/"), refusals.TOKEN_ISSUER),
    "no issuer": (lambda p: p.token(iss=None), refusals.TOKEN_ISSUER),
    "an issuer that is a list": (lambda p: p.token(iss=[p.base]), refusals.TOKEN_ISSUER),
    "AAL1": (lambda p: p.token(authentication_assurance_level=1), refusals.ASSURANCE_TOO_LOW),
    "AAL1 as text": (lambda p: p.token(authentication_assurance_level="1"), refusals.ASSURANCE_TOO_LOW),
    "no assurance": (lambda p: p.token(authentication_assurance_level=None), refusals.ASSURANCE_TOO_LOW),
    "assurance that is true": (lambda p: p.token(authentication_assurance_level=True), refusals.ASSURANCE_TOO_LOW),
    "AAL2 with a scope of AAL3": (lambda p: p.token(authentication_assurance_level=2), refusals.ASSURANCE_TOO_LOW),
    "wrong scope": (lambda p: p.token(scope="openid profile"), refusals.TOKEN_SCOPE),
    "a scope that only begins like ours": (lambda p: p.token(scope=USER_SCOPE + "-not"), refusals.TOKEN_SCOPE),
    "AAL1 scope": (
        lambda p: p.token(scope="urn:nhsd:apim:user-nhs-id:aal1:summary-care-record"),
        refusals.TOKEN_SCOPE,
    ),
    "scopes as a list": (lambda p: p.token(scope=[USER_SCOPE]), refusals.TOKEN_SCOPE),
    "no application": (lambda p: p.token(client_id=None), refusals.TOKEN_CLAIMS),
    "no user": (lambda p: p.token(sub=None), refusals.TOKEN_CLAIMS),
    "a user that is no id": (lambda p: p.token(sub="../../etc/passwd"), refusals.TOKEN_CLAIMS),
    "non-ASCII user": (lambda p: p.token(sub="٥٥٥٠٠٠٠٠٠١٠١"), refusals.TOKEN_CLAIMS),  # digits of another script
    "huge": (lambda p: p.token(filler="x" * 20_000), refusals.TOKEN_MALFORMED),
    "nested JSON": (lambda p: p.sign(_nested(2_000)), refusals.TOKEN_MALFORMED),
    "a list of claims": (lambda p: p.sign(b"[1]"), refusals.TOKEN_MALFORMED),
    "no JSON": (lambda p: p.sign(b"\xff\xfe"), refusals.TOKEN_MALFORMED),
    "not a number": (lambda p: p.sign(json.dumps(p.claims(exp=float("nan"))).encode()), refusals.TOKEN_MALFORMED),
    "a claim twice": (lambda p: p.sign(_twice(p, "sub", "555000000401")), refusals.TOKEN_MALFORMED),
    "a header member twice": (
        lambda p: p.token().replace(p.token().split(".")[0], _head_twice()),
        refusals.TOKEN_MALFORMED,
    ),
    "two parts": (lambda p: p.token().rpartition(".")[0], refusals.TOKEN_MALFORMED),
    "five parts": (lambda p: p.token() + ".x.y", refusals.TOKEN_MALFORMED),
    "characters of no token": (lambda p: p.token() + "=", refusals.TOKEN_MALFORMED),
    "non-ASCII": (lambda p: p.token()[:-1] + "é", refusals.TOKEN_MALFORMED),
    "nothing": (lambda p: "", refusals.TOKEN_MISSING),
    "a changed claim": (lambda p: _changed(p.token()), refusals.TOKEN_SIGNATURE),
}


def _head_twice() -> str:
    return base64.urlsafe_b64encode(b'{"alg":"none","alg":"RS256","kid":"rsa-1"}').decode().rstrip("=")


def _changed(token: str) -> str:
    head, _, signature = token.split(".")
    return f"{head}.{encoded(claims_of(token) | {'sub': '555000000401'})}.{signature}"


@pytest.mark.parametrize("case", BAD)
async def test_tokens_that_do_not_count(both: Both, case: str) -> None:
    provider, verifier = both
    make, expected = BAD[case]
    assert await verifier.refusal(make(provider)) == expected
    assert expected.status == 401
    assert expected.challenge.startswith("Bearer")


async def test_there_must_be_one_authorization_header(both: Both) -> None:
    provider, verifier = both
    authenticator = verifier.verification.authenticator
    token = f"Bearer {provider.token()}".encode()
    cases: list[tuple[list[tuple[bytes, bytes]], Refusal]] = [
        ([], refusals.TOKEN_MISSING),
        ([(b"authorization", b"Basic " + token[7:])], refusals.TOKEN_MISSING),
        ([(b"authorization", token), (b"authorization", b"Bearer x.y.z")], refusals.TOKEN_MALFORMED),
    ]
    for headers, expected in cases:
        with pytest.raises(RequestRefused) as refused:
            await authenticator.authenticate(headers, "192.0.2.1")
        assert refused.value.refusal == expected
        assert refused.value.caller is not None
        assert refused.value.caller.address == "192.0.2.1"
    assert await authenticator.authenticate([(b"authorization", token.replace(b"Bearer", b"bEARER"))], None)


async def test_a_token_is_verified_once_and_only_while_it_holds(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    provider, verifier = both
    token = provider.token()
    first = await verifier.caller(token)
    asked = dict(provider.asked)

    def never(*_: Any) -> None:
        raise AssertionError("verified again")

    monkeypatch.setattr("openscr.access.authentication.check_signature", never)
    assert await verifier.caller(token) == first
    assert dict(provider.asked) == asked
    verifier.clock.pass_by(599 + 61)
    monkeypatch.undo()
    assert await verifier.refusal(token) == refusals.TOKEN_EXPIRED


async def test_a_token_of_a_key_that_was_withdrawn_ends_with_the_key(both: Both) -> None:
    """However long it would still hold: its provider may have lost the key."""
    provider, verifier = both
    token = provider.token(exp=int(verifier.clock().timestamp()) + 86_400)
    await verifier.caller(token)
    provider.published = ["rsa-2"]
    verifier.clock.pass_by(KEYS_SECONDS - 1)
    assert (await verifier.caller(token)).session
    verifier.clock.pass_by(1)
    assert await verifier.refusal(token) == refusals.TOKEN_KEY


# --- the system of the application ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"client_id": "app-noasid"}, 400, "MISSING_OR_INVALID_HEADER"),
        ({"client_id": "app-batch"}, 403, "ASID_CHECK_FAILED"),
        ({"client_id": "app-batch", "scope": f"{APP_SCOPE} {USER_SCOPE}"}, 403, "ASID_CHECK_FAILED"),
    ],
)
async def test_applications_without_a_system_for_this(
    both: Both, changed: dict[str, str], status: int, code: str
) -> None:
    provider, verifier = both
    refusal = await verifier.refusal(provider.token(**changed))
    assert (refusal.status, refusal.code) == (status, code)


async def test_a_disabled_system_is_refused_from_the_next_request_on(both: Both) -> None:
    provider, verifier = both
    token = provider.token()
    await verifier.caller(token)
    known = verifier.directory.snapshot
    systems = [replace(system, enabled=system.app != "app-gp") for system in known.systems.values()]
    verifier.directory.snapshot = Directory(
        parties=known.parties.values(), systems=systems, users=known.users.values(), revision=2
    )
    assert await verifier.refusal(token) == refusals.ASID_DISABLED


async def test_applications_that_ask_too_often() -> None:
    async with verifying(rate_per_second=5, rate_per_minute=8) as (provider, verifier):
        token = provider.sign(provider.application_claims())
        for _ in range(5):
            await verifier.caller(token)
        refusal = await verifier.refusal(token)
        assert (refusal.status, refusal.issue, refusal.retry_after) == (429, "throttled", 1)
        other = provider.sign(provider.application_claims("app-gp"))
        assert await verifier.caller(other)
        verifier.clock.pass_by(1)
        for _ in range(3):
            await verifier.caller(token)
        refusal = await verifier.refusal(token)
        assert (refusal.status, refusal.retry_after) == (429, 59)
        verifier.clock.pass_by(59)
        assert await verifier.caller(token)


# --- headers of the API gateway -------------------------------------------------------------------------------------

FORGED = {
    "NHSD_ASID": "200000000116",
    "NHSD_Identity_UUID": "555000000401",
    "NHSD_Identity_IdP": "https://elsewhere.test",
    "client_ip": "203.0.113.9",
}


async def test_forged_gateway_headers_change_nothing(both: Both) -> None:
    provider, verifier = both
    caller = await verifier.caller(provider.token(), **FORGED)
    assert (caller.asid, caller.address) == ("200000000115", "192.0.2.1")
    assert caller.person is not None
    assert caller.person.user_id == GP


async def test_a_gateway_is_believed_what_agrees_with_the_token() -> None:
    async with verifying(trusted_gateways="192.0.2.0/28,::1") as (provider, verifier):
        provider.users[GP] = {"nhsid_nrbac_roles": [role_claim(GP_ROLE)]}
        token = provider.token()
        told = {"NHSD_ASID": "200000000115", "NHSD_Identity_UUID": GP, "NHSD_Identity_IdP": provider.base}
        caller = await verifier.caller(token, **told, client_ip="203.0.113.9")
        assert (caller.asid, caller.address) == ("200000000115", "203.0.113.9")
        assert (await verifier.caller(token, **told, client_ip="nonsense")).address == "192.0.2.1"
        mapped = await verifier.caller(token, "::ffff:192.0.2.1", **told, client_ip="203.0.113.9")
        assert mapped.address == "203.0.113.9"
        stranger = await verifier.caller(token, "::ffff:198.51.100.1", **told, client_ip="203.0.113.9")
        assert stranger.address == "::ffff:198.51.100.1"
        for name, value, expected in (
            ("NHSD_ASID", "200000000116", refusals.ASID_DIFFERS),
            ("NHSD_ASID", "299999999999", refusals.ASID_UNKNOWN),
            ("NHSD_Identity_UUID", "555000000401", refusals.GATEWAY_DIFFERS),
            ("NHSD_Identity_IdP", "https://elsewhere.test", refusals.GATEWAY_DIFFERS),
        ):
            assert await verifier.refusal(token, **(told | {name: value})) == expected
            # From anywhere else the same header is nothing.
            assert await verifier.caller(token, "198.51.100.1", **(told | {name: value}))


# --- opaque tokens --------------------------------------------------------------------------------------------------


async def test_opaque_tokens_are_worth_what_their_issuer_says(tmp_path: Any) -> None:
    secret = tmp_path / "secret"
    secret.write_text("our secret\n")
    async with verifying(introspection_secret_file=secret) as (provider, verifier):
        provider.users[GP] = {"nhsid_nrbac_roles": [role_claim(GP_ROLE)]}
        provider.introspections = {
            "opaque-user": {"active": True} | provider.claims(),
            "opaque-app": {"active": True} | provider.application_claims(),
            "opaque-no-end": {"active": True} | provider.claims(exp=None),
            "opaque-other": {"active": True} | provider.claims(aud="another"),
            "opaque-old": {"active": True} | provider.claims(exp=provider.clock().timestamp() - 61),
            "opaque-truthy": {"active": "true"} | provider.claims(),
        }
        caller = await verifier.caller("opaque-user")
        assert caller.session is not None
        assert caller.session.role.role_profile_id == GP_ROLE
        await verifier.caller("opaque-user")
        assert provider.asked["introspection"] == 1
        verifier.clock.pass_by(61)
        await verifier.caller("opaque-user")
        assert provider.asked["introspection"] == 2
        assert (await verifier.caller("opaque-app")).session is None
        assert (await verifier.caller("opaque-no-end")).session is not None
        assert await verifier.refusal("opaque-other") == refusals.TOKEN_AUDIENCE
        assert await verifier.refusal("opaque-old") == refusals.TOKEN_EXPIRED
        assert await verifier.refusal("opaque-truthy") == refusals.TOKEN_INACTIVE
        assert await verifier.refusal("never-issued") == refusals.TOKEN_INACTIVE


async def test_opaque_tokens_without_anybody_to_ask(both: Both) -> None:
    _, verifier = both
    assert await verifier.refusal("opaque-user") == refusals.TOKEN_MALFORMED
