"""Tokens of the local identity provider: every flow, and every refusal with its text. Spec: 35 §4.2, §4.3, §9.5."""

import asyncio
import base64
import hmac
import json
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from joserfc import jws, jwt
from joserfc.jwk import RSAKey

from faces.identity_provider import (
    ASSERTION_TYPE,
    EXCHANGE,
    GP,
    GP_ROLE,
    ID_TOKEN_TYPE,
    NO_ROLE,
    NURSE_ROLE,
    TWO_ROLES,
    Provider,
    claims_of,
    provider,
)
from openscr.directory.model import Directory
from openscr.faces.identity.apps import read_public_keys
from openscr.faces.identity.tokens import challenge_of, half_hash

AAL2 = "urn:nhsd:apim:user-nhs-id:aal2:summary-care-record"
AAL3 = "urn:nhsd:apim:user-nhs-id:aal3:summary-care-record"
LEVEL3 = "urn:nhsd:apim:app:level3:summary-care-record"
Row = Callable[[Provider], dict[str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the apps know; keys take a while to make."""
    return tmp_path_factory.mktemp("identity")


@pytest.fixture
async def idp(folder: Path) -> AsyncIterator[Provider]:
    async with provider(folder) as running:
        yield running


def of_numbers(answer: Any) -> dict[str, Any]:
    return {name: answer.get(name) for name in ("expires_in", "refresh_token_expires_in", "refresh_count")}


# --- what is published ----------------------------------------------------------------------------------------------


async def test_discovery_and_keys_have_the_path_of_the_realm(idp: Provider) -> None:
    realm = f"{idp.at}/realms/cis2-mock"
    told = (await idp.get("/realms/cis2-mock/.well-known/openid-configuration")).json
    assert told["issuer"] == realm
    assert told["jwks_uri"] == f"{realm}/jwks"
    for name in ("authorization", "token", "userinfo"):
        path = {"authorization": "authorize"}.get(name, name)
        assert told[f"{name}_endpoint"] == f"{idp.at}/oauth2/{path}"
    assert told["code_challenge_methods_supported"] == ["S256"]
    (key,) = (await idp.get("/realms/cis2-mock/jwks")).json["keys"]
    assert (key["kty"], key["use"], key["alg"]) == ("RSA", "sig", "RS256")
    assert not {"d", "p", "q", "dp", "dq", "qi"} & key.keys()


@pytest.mark.parametrize("path", ["/oauth2/_ping", "/oauth2/_status"])
async def test_it_says_that_it_is_there(idp: Provider, path: str) -> None:
    assert "version" in (await idp.get(path)).json


# --- combined login -------------------------------------------------------------------------------------------------


async def test_a_code_is_changed_for_tokens(idp: Provider) -> None:
    reply = await idp.sign_in(nonce="a-nonce")
    assert reply.answer["state"] == "a-state"
    code = reply.answer["code"]
    answer = await idp.change(code)
    assert answer["token_type"] == "Bearer"
    assert of_numbers(answer) == {
        "expires_in": "599",
        "refresh_token_expires_in": "43199",
        "refresh_count": "0",
    }
    keys = (await idp.get("/realms/cis2-mock/jwks")).json
    identity, access = claims_of(answer["id_token"], keys), claims_of(answer["access_token"], keys)
    now, issuer = idp.clock.seconds, f"{idp.at}/realms/cis2-mock"
    assert {name: identity[name] for name in ("iss", "sub", "aud", "azp", "nonce", "acr", "amr")} == {
        "iss": issuer,
        "sub": GP,
        "aud": "app-gp",
        "azp": "app-gp",
        "nonce": "a-nonce",
        "acr": "AAL3_ANY",
        "amr": ["N3_SMARTCARD"],
    }
    assert identity["authentication_assurance_level"] == "3"
    assert identity["at_hash"] == half_hash(answer["access_token"])
    assert identity["c_hash"] == half_hash(code)
    assert (identity["auth_time"], identity["iat"], identity["exp"]) == (now, now, now + 3600)
    assert identity["sid"] == access["sid"]
    assert {name: access[name] for name in ("iss", "sub", "aud", "client_id", "iat", "nbf", "exp")} == {
        "iss": issuer,
        "sub": GP,
        "aud": "openscr",
        "client_id": "app-gp",
        "iat": now,
        "nbf": now,
        "exp": now + 599,
    }
    assert set(access["scope"].split()) == {"openid", "profile", "nationalrbacaccess", AAL3}
    assert access["authentication_assurance_level"] == 3
    assert "nhsid_nrbac_roles" not in access
    assert "selected_roleid" not in access
    assert jws.extract_compact(answer["access_token"].encode()).headers()["typ"] == "at+jwt"


@pytest.mark.parametrize(
    ("method", "level", "acr", "amr", "scope"),
    [
        ("smartcard", 3, "AAL3_ANY", "N3_SMARTCARD", {AAL3}),
        ("security-key", 3, "AAL3_ANY", "FIDO2", {AAL3}),
        ("authenticator", 2, "AAL2_ANY", "TOTP", {AAL2}),
        ("password", 1, "AAL1_USERPASS", "PASSWORD", set()),
    ],
)
async def test_the_way_of_signing_in_is_the_assurance_level_and_that_the_scope(
    idp: Provider, method: str, level: int, acr: str, amr: str, scope: set[str]
) -> None:
    answer = await idp.login(method=method)
    access = claims_of(answer["access_token"], (await idp.get("/realms/cis2-mock/jwks")).json)
    assert (access["authentication_assurance_level"], access["acr"], access["amr"]) == (level, acr, [amr])
    assert {each for each in access["scope"].split() if each.startswith("urn:")} == scope


async def test_userinfo_tells_what_the_scopes_ask_for(idp: Provider) -> None:
    everything = "openid profile email nhsperson associatedorgs nationalrbacaccess organisationalmemberships"
    told = (await idp.userinfo((await idp.login(TWO_ROLES, scope=everything))["access_token"])).json
    assert (told["sub"], told["nhsid_useruid"], told["uid"]) == (TWO_ROLES,) * 3
    assert (told["name"], told["given_name"], told["family_name"]) == ("Tamsin Tworoles", "Tamsin", "Tworoles")
    first, second = told["nhsid_nrbac_roles"]
    assert first == {
        "person_orgid": first["person_orgid"],
        "person_roleid": NURSE_ROLE,
        "org_code": "RZZ01",
        "role_name": '"Clinical":"Clinical Provision":"Nurse Access Role"',
        "role_code": "S8000:G8000:R8001",
        "activities": ["Access SCR Application", "View Summary Health Records"],
        "activity_codes": ["B0264", "B0370"],
    }
    assert first["person_orgid"] == second["person_orgid"]
    assert len(first["person_orgid"]) == 12
    assert [each["org_code"] for each in told["nhsid_user_orgs"]] == ["RZZ01"]
    assert told["nhsid_org_memberships"] == told["nhsid_org_roles"]
    assert told["email"].endswith(".test")

    bare = (await idp.userinfo((await idp.login(scope="openid", prompt="login"))["access_token"])).json
    assert bare == {"sub": GP, "nhsid_useruid": GP}


async def test_roles_that_are_closed_are_not_told_and_nobody_has_all(idp: Provider) -> None:
    for user in (NO_ROLE, "555000000701"):
        told = (await idp.userinfo((await idp.login(user, prompt="login"))["access_token"])).json
        assert told["nhsid_nrbac_roles"] == []


async def test_a_role_ends_at_midnight_in_the_united_kingdom(idp: Provider) -> None:
    """An hour before midnight UTC it is the next day there in summer, for the provider as for who decides."""
    user = idp.directory.snapshot.users[GP]
    (role,) = user.roles
    known = idp.directory.snapshot
    idp.directory.snapshot = Directory(
        parties=known.parties.values(),
        systems=known.systems.values(),
        users=[replace(user, roles=(replace(role, closed=date(2026, 7, 2)),))],
    )
    for now, roles in ((datetime(2026, 7, 1, 22, 59, tzinfo=UTC), 1), (datetime(2026, 7, 1, 23, 1, tzinfo=UTC), 0)):
        idp.clock.now = now
        told = (await idp.userinfo((await idp.login(GP, prompt="login"))["access_token"])).json
        assert len(told["nhsid_nrbac_roles"]) == roles


async def test_a_chosen_role_stands_in_the_tokens(idp: Provider) -> None:
    answer = await idp.login(TWO_ROLES, role=NURSE_ROLE, scope="openid selectedrole")
    keys = (await idp.get("/realms/cis2-mock/jwks")).json
    for name in ("id_token", "access_token"):
        assert claims_of(answer[name], keys)["selected_roleid"] == NURSE_ROLE
    only = await idp.login(GP, scope="openid selectedrole", prompt="login")
    assert claims_of(only["id_token"], keys)["selected_roleid"] == GP_ROLE


async def test_pkce_binds_the_code_to_who_asked(idp: Provider) -> None:
    verifier = "v" * 64
    asked = {"code_challenge": challenge_of(verifier), "code_challenge_method": "S256"}
    assert challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk") == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    code = (await idp.sign_in(**asked)).answer["code"]
    assert (await idp.change(code, code_verifier=verifier))["access_token"]
    for given in ({}, {"code_verifier": "w" * 64}):
        code = (await idp.sign_in(**asked)).answer["code"]
        assert (await idp.token(**idp.code_form(code), **given)).json["error"] == "invalid_grant"
    code = (await idp.sign_in()).answer["code"]
    assert (await idp.token(**idp.code_form(code), code_verifier=verifier)).json["error"] == "invalid_grant"


async def test_a_code_that_comes_back_ends_what_came_of_it(idp: Provider) -> None:
    code = (await idp.sign_in()).answer["code"]
    first = await idp.change(code)
    sid = claims_of(first["access_token"], (await idp.get("/realms/cis2-mock/jwks")).json)["sid"]
    assert (await idp.userinfo(first["access_token"])).status == 200
    again = await idp.token(**idp.code_form(code))
    assert (again.status, again.json["error"]) == (400, "invalid_grant")
    assert idp.ended == [sid]
    assert (await idp.userinfo(first["access_token"])).status == 401
    refreshed = await idp.token(**refresh_form(idp, first["refresh_token"]))
    assert refreshed.json["error"] == "invalid_grant"


@pytest.mark.parametrize(
    "spoilt",
    [
        {"redirect_uri": "http://127.0.0.1:8000/callback/"},
        {"redirect_uri": ""},
        {"code": "x" * 43},
    ],
)
async def test_a_code_is_worth_nothing_elsewhere(idp: Provider, spoilt: dict[str, str]) -> None:
    code = (await idp.sign_in()).answer["code"]
    assert (await idp.token(**(idp.code_form(code) | spoilt))).json["error"] == "invalid_grant"


async def test_a_code_is_worth_nothing_to_another_app_or_after_a_minute(idp: Provider) -> None:
    code = (await idp.sign_in()).answer["code"]
    assert (await idp.token(**idp.code_form(code, "app-viewer"))).json["error"] == "invalid_grant"
    code = (await idp.sign_in()).answer["code"]
    idp.clock.pass_(60)
    late = await idp.token(**idp.code_form(code))
    assert (late.status, late.json["error"]) == (400, "invalid_grant")
    assert idp.ended == []


@pytest.mark.parametrize(
    "spoilt",
    [
        {"client_secret": "wrong"},
        {"client_secret": ""},
        {"client_id": "nobody"},
        {"client_id": "../app-gp"},
        {"client_id": "app-viewer"},
        {"client_id": ""},
    ],
)
async def test_an_app_that_does_not_know_its_secret_gets_nothing(idp: Provider, spoilt: dict[str, str]) -> None:
    code = (await idp.sign_in()).answer["code"]
    refused = await idp.token(**(idp.code_form(code) | spoilt))
    assert (refused.status, refused.json["error"]) == (401, "invalid_client")
    assert (await idp.change(code))["access_token"], "a refused app has not used the code up"


# --- refresh --------------------------------------------------------------------------------------------------------


def refresh_form(idp: Provider, token: str, app: str = "app-gp") -> dict[str, str]:
    return {
        "grant_type": "refresh_token",
        "client_id": app,
        "client_secret": idp.secret(app),
        "refresh_token": token,
    }


async def test_refreshing_counts_and_does_not_extend(idp: Provider) -> None:
    answer = await idp.login()
    for count in (1, 2):
        idp.clock.pass_(600)
        answer = (await idp.token(**refresh_form(idp, answer["refresh_token"]))).json
        assert of_numbers(answer) == {
            "expires_in": "599",
            "refresh_token_expires_in": str(43199 - count * 600),
            "refresh_count": str(count),
        }
        assert (await idp.userinfo(answer["access_token"])).status == 200


async def test_the_refresh_period_ends(idp: Provider) -> None:
    answer = await idp.login()
    idp.clock.pass_(43199)
    refused = await idp.token(**refresh_form(idp, answer["refresh_token"]))
    assert (refused.status, refused.json["error"]) == (401, "invalid_grant")
    assert refused.json["error_description"] == "refresh token refresh period has expired"


async def test_a_refresh_token_is_used_once(idp: Provider) -> None:
    answer = await idp.login()
    second = (await idp.token(**refresh_form(idp, answer["refresh_token"]))).json
    stolen = await idp.token(**refresh_form(idp, answer["refresh_token"]))
    assert (stolen.status, stolen.json["error"]) == (401, "invalid_grant")
    assert len(idp.ended) == 1
    assert (await idp.token(**refresh_form(idp, second["refresh_token"]))).status == 401
    assert (await idp.userinfo(second["access_token"])).status == 401


async def test_a_refresh_token_is_worth_nothing_to_another_app(idp: Provider) -> None:
    answer = await idp.login()
    assert (await idp.token(**refresh_form(idp, answer["refresh_token"], "app-viewer"))).status == 401
    assert (await idp.token(**refresh_form(idp, "x"))).status == 401
    missing = await idp.token(**(refresh_form(idp, "") | {"refresh_token": ""}))
    assert missing.status == 400
    assert (await idp.token(**refresh_form(idp, answer["refresh_token"]))).status == 200


# --- client credentials, and what is said of assertions --------------------------------------------------------------


async def test_an_app_gets_a_token_for_itself(idp: Provider) -> None:
    answer = (await idp.application_token("app-batch")).json
    assert set(answer) == {"access_token", "expires_in", "token_type", "scope"}
    assert (answer["expires_in"], answer["scope"]) == ("599", LEVEL3)
    claims = claims_of(answer["access_token"], (await idp.get("/realms/cis2-mock/jwks")).json)
    assert (claims["sub"], claims["client_id"]) == ("app-batch", "app-batch")
    assert not {"sid", "acr", "amr", "authentication_assurance_level"} & claims.keys()
    refused = await idp.userinfo(answer["access_token"])
    assert (refused.status, refused.json["error"]) == (400, "invalid_request")


def other_key() -> RSAKey:
    return RSAKey.generate_key(2048, auto_kid=True)


BAD_ASSERTIONS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "no kid": (400, "Missing 'kid' header in client_assertion JWT", {"header": {"kid": None}}),
    "wrong kid": (
        401,
        "Invalid 'kid' header in client_assertion JWT - no matching public key",
        {"header": {"kid": "another"}},
    ),
    "no typ": (400, "Invalid 'typ' header in client_assertion JWT - must be 'JWT'", {"header": {"typ": None}}),
    "wrong typ": (400, "Invalid 'typ' header in client_assertion JWT - must be 'JWT'", {"header": {"typ": "at+jwt"}}),
    "wrong alg": (
        400,
        "Invalid 'alg' header in client_assertion JWT - unsupported JWT algorithm - must be 'RS512'",
        {"header": {"alg": "RS256"}},
    ),
    "no iss": (400, "Missing or non-matching 'iss'/'sub' claims in client_assertion JWT", {"claims": {"iss": None}}),
    "no sub": (400, "Missing or non-matching 'iss'/'sub' claims in client_assertion JWT", {"claims": {"sub": None}}),
    "iss is not sub": (
        400,
        "Missing or non-matching 'iss'/'sub' claims in client_assertion JWT",
        {"claims": {"sub": "app-batch"}},
    ),
    "iss is no text": (
        400,
        "Missing or non-matching 'iss'/'sub' claims in client_assertion JWT",
        {"claims": {"iss": ["app-gp"], "sub": ["app-gp"]}},
    ),
    "unknown app": (
        401,
        "Invalid 'iss'/'sub' claims in client_assertion JWT",
        {"claims": {"iss": "nobody", "sub": "nobody"}},
    ),
    "no jti": (400, "Missing 'jti' claim in client_assertion JWT", {"claims": {"jti": None}}),
    "jti is no text": (
        400,
        "Invalid 'jti' claim in client_assertion JWT - must be a unique string value such as a GUID",
        {"claims": {"jti": 7}},
    ),
    "jti is empty": (
        400,
        "Invalid 'jti' claim in client_assertion JWT - must be a unique string value such as a GUID",
        {"claims": {"jti": ""}},
    ),
    "no aud": (401, "Missing or invalid 'aud' claim in client_assertion JWT", {"claims": {"aud": None}}),
    "wrong aud": (
        401,
        "Missing or invalid 'aud' claim in client_assertion JWT",
        {"claims": {"aud": "https://api.service.nhs.uk/oauth2/token"}},
    ),
    "no exp": (400, "Missing 'exp' claim in client_assertion JWT", {"claims": {"exp": None}}),
    "exp is no number": (
        400,
        "Invalid 'exp' claim in client_assertion JWT - must be an integer",
        {"claims": {"exp": "soon"}},
    ),
    "exp is a truth": (
        400,
        "Invalid 'exp' claim in client_assertion JWT - must be an integer",
        {"claims": {"exp": True}},
    ),
    "expired": (400, "Invalid 'exp' claim in client_assertion JWT - JWT has expired", {"claims": {"exp": 0}}),
    "too long": (
        400,
        "Invalid 'exp' claim in client_assertion JWT - more than 5 minutes in future",
        {"claims": {"exp": 311}},
    ),
}


@pytest.mark.parametrize("row", BAD_ASSERTIONS)
async def test_what_is_wrong_with_an_assertion_is_told_in_the_words_of_the_platform(idp: Provider, row: str) -> None:
    status, text, parts = BAD_ASSERTIONS[row]
    if isinstance(parts.get("claims", {}).get("exp"), int) and parts["claims"]["exp"] is not True:
        parts = {"claims": {"exp": idp.clock.seconds + parts["claims"]["exp"]}}
    reply = await idp.application_token(**parts)
    assert (reply.status, reply.json["error"], reply.json["error_description"]) == (status, "invalid_request", text)
    assert set(reply.json) == {"error", "error_description", "message_id"}
    assert uuid.UUID(reply.json["message_id"])
    assert reply.headers["Cache-Control"] == "no-store"


async def test_an_assertion_may_last_ten_seconds_more_than_five_minutes(idp: Provider) -> None:
    assert (await idp.application_token(claims={"exp": idp.clock.seconds + 310})).status == 200


async def test_an_assertion_is_taken_once(idp: Provider) -> None:
    form = {"grant_type": "client_credentials", **idp.asserted()}
    assert (await idp.token(**form)).status == 200
    idp.clock.pass_(299)
    replayed = await idp.token(**form)
    assert replayed.status == 400
    assert replayed.json["error_description"] == "Non-unique 'jti' claim in client_assertion JWT"
    idp.clock.pass_(1)
    assert "expired" in (await idp.token(**form)).json["error_description"]


async def test_an_assertion_of_another_key_is_refused(idp: Provider) -> None:
    reply = await idp.application_token(key=other_key(), header={"kid": idp.key().kid})
    assert (reply.status, reply.json["error"]) == (401, "public_key error")
    assert reply.json["error_description"] == "JWT signature verification failed"


async def test_an_app_without_a_public_key_is_told_to_register_one(idp: Provider) -> None:
    reply = await idp.token(
        grant_type="client_credentials",
        client_assertion_type=ASSERTION_TYPE,
        client_assertion=idp.assertion("app-noasid", key=other_key()),
    )
    assert (reply.status, reply.json["error"]) == (403, "public_key error")
    assert reply.json["error_description"] == (
        "You need to register a public key to use this authentication method - please contact support to configure"
    )


async def test_a_key_that_is_registered_while_the_service_runs_counts_at_once(idp: Provider, tmp_path: Path) -> None:
    mine = other_key()
    app = idp.apps.find(idp.directory.snapshot, "app-batch")
    assert app is not None
    assert (await idp.application_token("app-batch", key=mine)).status == 401
    idp.apps.register_keys(app, read_public_keys(json.dumps(mine.as_dict(private=False)).encode()))
    assert (await idp.application_token("app-batch", key=mine)).status == 200
    assert (await idp.application_token("app-batch")).status == 200, "the first key still counts"


def unsigned(idp: Provider) -> str:
    """An assertion with ``alg`` none, which no library writes willingly."""
    _, claims, _ = idp.assertion().split(".")
    forged = jws.extract_compact(idp.assertion().encode()).headers() | {"alg": "none"}
    return f"{_b64(forged)}.{claims}."


def _b64(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


async def test_the_token_does_not_choose_the_algorithm(idp: Provider) -> None:
    """``none``, and HMAC with the public key as its secret. Spec: RFC 8725 §2.1."""
    head = _b64({"alg": "HS256", "typ": "JWT", "kid": idp.key().kid})
    signed = f"{head}.{idp.assertion().split('.')[1]}"
    digest = hmac.digest(idp.key().as_pem(private=False), signed.encode(), "sha256")
    confused = f"{signed}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"
    for forged in (unsigned(idp), confused):
        reply = await idp.token(
            grant_type="client_credentials", client_assertion_type=ASSERTION_TYPE, client_assertion=forged
        )
        assert reply.status == 400
        assert "'alg' header" in reply.json["error_description"]
        exchanged = await idp.token(
            grant_type=EXCHANGE, subject_token_type=ID_TOKEN_TYPE, subject_token=forged, **idp.asserted()
        )
        assert exchanged.status == 400
        assert "'alg' header" in exchanged.json["error_description"]


async def test_an_app_gets_no_token_that_it_has_no_scope_for(idp: Provider) -> None:
    assert (await idp.application_token("app-viewer")).json["error"] == "unauthorized_client"
    identity = (await idp.login(app="app-viewer"))["id_token"]
    assert identity
    refused = await idp.sign_in(client_id="app-batch")
    assert refused.answer["error"] == "unauthorized_client"


# --- token exchange -------------------------------------------------------------------------------------------------


def exchange_form(idp: Provider, subject: str, **more: str) -> dict[str, str]:
    form = {"grant_type": EXCHANGE, "subject_token_type": ID_TOKEN_TYPE, "subject_token": subject}
    return form | idp.asserted() | more


async def test_an_id_token_is_exchanged(idp: Provider) -> None:
    login = await idp.login()
    reply = await idp.token(**exchange_form(idp, login["id_token"]))
    answer = reply.json
    assert of_numbers(answer) == {"expires_in": "599", "refresh_token_expires_in": "43199", "refresh_count": "0"}
    assert answer["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert answer["scope"] == AAL3
    keys = (await idp.get("/realms/cis2-mock/jwks")).json
    assert claims_of(answer["access_token"], keys)["sid"] == claims_of(login["id_token"], keys)["sid"]
    refused = await idp.userinfo(answer["access_token"])
    assert (refused.status, refused.json["error"]) == (400, "invalid_request")
    assert (await idp.token(**refresh_form(idp, answer["refresh_token"]))).json["refresh_count"] == "1"


async def spoilt_subject(idp: Provider, header: Any = None, claims: Any = None) -> str:
    """An ID token of the provider's own key, with some of its members replaced or (``None``) left out."""
    token = (await idp.login())["id_token"]
    key = await idp.face.keys.ready()
    parts = jws.extract_compact(token.encode())
    full_header = parts.headers() | (header or {})
    full_claims = json.loads(parts.payload) | (claims or {})
    return jwt.encode(
        {n: v for n, v in full_header.items() if v is not None},
        {n: v for n, v in full_claims.items() if v is not None},
        key,
        algorithms=[full_header["alg"]],
        default_type=None,
    )


BAD_SUBJECTS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "no iss": (400, "Missing or non-matching 'iss' claim in subject_token JWT", {"claims": {"iss": None}}),
    "foreign iss": (
        400,
        "Missing or non-matching 'iss' claim in subject_token JWT",
        {"claims": {"iss": "https://am.nhsidentity.spineservices.nhs.uk"}},
    ),
    "no exp": (400, "Missing 'exp' claim in subject_token JWT", {"claims": {"exp": None}}),
    "expired": (400, "Invalid 'exp' claim in subject_token JWT - JWT has expired", {"claims": {"exp": 1}}),
    "no aud": (400, "Missing 'aud' claim in subject_token JWT", {"claims": {"aud": None}}),
    "of another app": (
        400,
        "Invalid 'aud' claim in subject_token JWT - it was issued to another app",
        {"claims": {"aud": "app-viewer"}},
    ),
    "no kid": (400, "Missing 'kid' header in subject_token JWT", {"header": {"kid": None}}),
    "wrong kid": (
        401,
        "Invalid 'kid' header in subject_token JWT - no matching public key",
        {"header": {"kid": "another"}},
    ),
    "an access token": (
        400,
        "Invalid 'typ' header in subject_token JWT - must be 'JWT'",
        {"header": {"typ": "at+jwt"}},
    ),
    "unknown session": (400, "The session of the subject_token has ended", {"claims": {"sid": "another"}}),
}


@pytest.mark.parametrize("row", BAD_SUBJECTS)
async def test_what_is_wrong_with_a_subject_token_is_told(idp: Provider, row: str) -> None:
    status, text, parts = BAD_SUBJECTS[row]
    reply = await idp.token(**exchange_form(idp, await spoilt_subject(idp, **parts)))
    assert (reply.status, reply.json["error_description"]) == (status, text)


async def test_a_subject_token_that_somebody_changed_is_refused(idp: Provider) -> None:
    header, claims, signature = (await idp.login())["id_token"].split(".")
    changed = _b64(json.loads(jws.extract_compact(f"{header}.{claims}.{signature}".encode()).payload) | {"sub": "x"})
    reply = await idp.token(**exchange_form(idp, f"{header}.{changed}.{signature}"))
    assert (reply.status, reply.json["error"]) == (401, "public_key error")
    assert reply.json["error_description"] == "JWT signature verification failed"


FORMS: dict[str, tuple[int, str, str, Row]] = {
    "no grant type": (400, "invalid_request", "grant_type is missing", lambda _: {"client_id": "app-gp"}),
    "foreign grant type": (
        400,
        "unsupported_grant_type",
        "grant_type is invalid",
        lambda _: {"grant_type": "password"},
    ),
    "no assertion type": (
        400,
        "invalid_request",
        f"Missing or invalid client_assertion_type - must be '{ASSERTION_TYPE}'",
        lambda idp: {"grant_type": "client_credentials", "client_assertion": idp.assertion()},
    ),
    "wrong assertion type": (
        400,
        "invalid_request",
        f"Missing or invalid client_assertion_type - must be '{ASSERTION_TYPE}'",
        lambda idp: {"grant_type": "client_credentials", **idp.asserted(), "client_assertion_type": "jwt"},
    ),
    "no assertion": (
        400,
        "invalid_request",
        "Missing client_assertion",
        lambda _: {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE},
    ),
    "no JWT": (
        400,
        "invalid_request",
        "Malformed JWT in client_assertion",
        lambda _: {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": "a.b",
        },
    ),
    "no subject token type": (
        400,
        "invalid_request",
        f"missing or invalid subject_token_type - must be '{ID_TOKEN_TYPE}'",
        lambda idp: {"grant_type": EXCHANGE, "subject_token": "x", **idp.asserted()},
    ),
    "no subject token": (
        400,
        "invalid_request",
        "Missing subject_token",
        lambda idp: {"grant_type": EXCHANGE, "subject_token_type": ID_TOKEN_TYPE, **idp.asserted()},
    ),
    "subject token is no JWT": (
        400,
        "invalid_request",
        "Malformed JWT in subject_token",
        lambda idp: exchange_form(idp, "not.a.jwt"),
    ),
}


@pytest.mark.parametrize("row", FORMS)
async def test_what_is_wrong_with_a_form_is_told_in_the_words_of_the_platform(idp: Provider, row: str) -> None:
    status, error, text, form = FORMS[row]
    reply = await idp.post("/oauth2/token", form(idp))
    assert (reply.status, reply.json["error"], reply.json["error_description"]) == (status, error, text)


async def test_tokens_are_asked_for_with_forms_only(idp: Provider) -> None:
    reply = await idp.post("/oauth2/token", "{}", **{"Content-Type": "application/json"})
    assert reply.status == 415
    assert reply.json["error_description"] == "Content-Type header must be application/x-www-form-urlencoded"
    assert (await idp.get("/oauth2/token")).status == 405


@pytest.mark.parametrize(
    "body",
    [
        "",
        "&&&",
        "grant_type",
        "grant_type=client_credentials&grant_type=client_credentials",
        "grant_type=%00",
        "grant_type=%ff%fe",
        "grant_type=client_credentials%0d%0aX: y",
        "=" * 1000,
        "&".join(f"a{number}=1" for number in range(100)),
        "client_assertion=" + "A" * 60_000,
        "grant_type=client_credentials&client_assertion_type=" + ASSERTION_TYPE + "&client_assertion=" + "." * 60_000,
        urlencode({"grant_type": "authorization_code", "client_id": "\u202e", "client_secret": "é", "code": "\u0000"}),
        urlencode({"grant_type": "refresh_token", "client_id": "a" * 60_000, "client_secret": "b"}),
    ],
)
async def test_nonsense_is_refused(idp: Provider, body: str) -> None:
    reply = await idp.post("/oauth2/token", body)
    assert reply.status in (400, 401)
    assert set(reply.json) == {"error", "error_description", "message_id"}


async def test_a_body_has_a_bound(idp: Provider) -> None:
    assert (await idp.post("/oauth2/token", "a=" + "b" * 70_000)).status == 413


@pytest.mark.parametrize(
    "token",
    [
        f"{_b64({'alg': 'RS512', 'typ': 'JWT', 'kid': 'k'})}.{'e30'}.",
        f"{_b64({'alg': 'RS512', 'typ': 'JWT', 'kid': 7})}.{_b64({'iss': 'app-gp', 'sub': 'app-gp'})}.AA",
        f"{_b64({'alg': 'RS512', 'typ': 'JWT', 'kid': 'k', 'crit': ['x']})}.{_b64({})}.AA",
        f"{_b64({'alg': 'RS512', 'typ': 'JWT', 'kid': 'k', 'b64': False, 'crit': ['b64']})}.xx.AA",
        f"{_b64(['alg'])}.{_b64({})}.AA",
        f"{_b64({'alg': 'RS512'})}.{_b64(7)}.AA",
        f"{'[' * 400}.{_b64({})}.AA",
        "a.b.c.d.e",
        "é.é.é",
    ],
)
async def test_tokens_that_are_none_are_refused(idp: Provider, token: str) -> None:
    reply = await idp.token(
        grant_type="client_credentials", client_assertion_type=ASSERTION_TYPE, client_assertion=token
    )
    assert reply.status in (400, 401)
    subject = await idp.token(**exchange_form(idp, token))
    assert subject.status in (400, 401)


# --- access tokens, logout, keys ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", "Basic abc", "Bearer a.b.c", "Bearer " + "x" * 3000, "bearer \xe9"]
)
async def test_userinfo_wants_a_token(idp: Provider, header: str) -> None:
    reply = await idp.get("/oauth2/userinfo", **({"Authorization": header} if header else {}))
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


async def test_only_access_tokens_are_access_tokens_and_for_ten_minutes(idp: Provider) -> None:
    answer = await idp.login()
    assert (await idp.userinfo(answer["id_token"])).status == 401
    assert (await idp.userinfo(answer["refresh_token"])).status == 401
    idp.clock.pass_(599 + 59)
    assert (await idp.userinfo(answer["access_token"])).status == 200, "clocks may differ by a minute"
    idp.clock.pass_(1)
    assert (await idp.userinfo(answer["access_token"])).status == 401


async def test_a_logout_token_ends_the_session(idp: Provider) -> None:
    answer = await idp.login()
    sid = claims_of(answer["access_token"], (await idp.get("/realms/cis2-mock/jwks")).json)["sid"]
    (token,) = (await idp.post_json("/realms/cis2-mock/logout-tokens", {"user": GP})).json["logout_tokens"]
    assert (await idp.post("/oauth2/backchannel-logout", {"logout_token": token})).status == 200
    assert idp.ended == [sid]
    assert (await idp.userinfo(answer["access_token"])).status == 401
    assert (await idp.token(**refresh_form(idp, answer["refresh_token"]))).status == 401
    assert (await idp.token(**exchange_form(idp, answer["id_token"]))).json["error"] == "invalid_grant"
    silent = await idp.get(idp.authorization(prompt="none"))
    assert silent.answer["error"] == "login_required"
    assert (await idp.post("/oauth2/backchannel-logout", {"logout_token": token})).status == 200
    assert idp.ended == [sid], "it ends once"


async def test_only_logout_tokens_end_sessions(idp: Provider) -> None:
    answer = await idp.login()
    (token,) = (await idp.post_json("/realms/cis2-mock/logout-tokens", {"user": GP})).json["logout_tokens"]
    claims = json.loads(jws.extract_compact(token.encode()).payload)
    foreign = jwt.encode({"alg": "RS256", "kid": "x", "typ": "logout+jwt"}, claims, other_key(), algorithms=["RS256"])
    own = await idp.face.keys.sign(claims | {"nonce": "n"}, "logout+jwt")
    eventless = await idp.face.keys.sign(claims | {"events": {}}, "logout+jwt")
    for bad in ("", "x", foreign, own, eventless, answer["id_token"], answer["access_token"]):
        assert (await idp.post("/oauth2/backchannel-logout", {"logout_token": bad})).status == 400
    idp.clock.pass_(121)
    assert (await idp.post("/oauth2/backchannel-logout", {"logout_token": token})).status == 400
    assert idp.ended == []
    assert (await idp.userinfo(answer["access_token"])).status == 200


async def test_keys_are_rotated_with_an_overlap(idp: Provider) -> None:
    answer = await idp.login()
    old = (await idp.get("/realms/cis2-mock/jwks")).json
    rotated = await idp.post_json("/realms/cis2-mock/keys", {"overlap_seconds": 120})
    both = (await idp.get("/realms/cis2-mock/jwks")).json
    assert [key["kid"] for key in both["keys"]] == [rotated.json["kid"], old["keys"][0]["kid"]]
    assert (await idp.userinfo(answer["access_token"])).status == 200
    newer = (await idp.login())["access_token"]
    assert jws.extract_compact(newer.encode()).headers()["kid"] == rotated.json["kid"]
    idp.clock.pass_(120)
    assert [k["kid"] for k in (await idp.get("/realms/cis2-mock/jwks")).json["keys"]] == [rotated.json["kid"]]
    assert (await idp.userinfo(answer["access_token"])).status == 401
    assert (await idp.userinfo(newer)).status == 200


@pytest.mark.parametrize("overlap", [-1, 86_401, "1", True, [1]])
async def test_a_rotation_wants_a_number_of_seconds(idp: Provider, overlap: Any) -> None:
    assert (await idp.post_json("/realms/cis2-mock/keys", {"overlap_seconds": overlap})).status == 400


async def test_a_page_of_another_site_cannot_rotate_keys(idp: Provider) -> None:
    assert (await idp.post("/realms/cis2-mock/keys", "{}")).status == 415
    assert (await idp.post_json("/realms/cis2-mock/keys", [])).status == 400


async def test_two_first_looks_at_an_app_see_the_same_secret(tmp_path: Path) -> None:
    async with provider(tmp_path / "fresh") as idp:
        found = await asyncio.gather(*(asyncio.to_thread(idp.secret) for _ in range(4)))
        assert len(set(found)) == 1
        assert (idp.apps.folder / "app-gp.json").stat().st_mode & 0o077 == 0
        assert idp.apps.key_file("app-gp").stat().st_mode & 0o077 == 0
        assert (await idp.application_token()).status == 200


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"client_secret": "x", "redirect_uris": [], "keys": [{}]}'])
async def test_a_damaged_file_of_an_app_is_no_fault_of_whoever_asks(tmp_path: Path, damage: str) -> None:
    async with provider(tmp_path / "damaged") as idp:
        form = {"grant_type": "client_credentials", **idp.asserted()}
        path = idp.apps.folder / "app-gp.json"
        path.write_text(damage)
        statuses = []
        for request in (idp.unchecked("POST", "/oauth2/token", form), idp.unchecked("GET", idp.authorization())):
            status, text = await request
            statuses.append(status)
            assert str(path) not in text
        assert statuses == [503, 400]
        path.unlink()
        assert (await idp.application_token()).status == 200, "it gets a new secret"
