"""Every parameter of every request missing, doubled, overlong, empty, with control characters: refused, never a fault.

`Provider` fails a test whose answer is 500 or more. Spec: 35 §9.6; RFC 6749 §3.1.
"""

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from faces.identity_provider import ASSERTION_TYPE, EXCHANGE, FORM_TOKEN, ID_TOKEN_TYPE, REDIRECT, Provider, provider

SPOILT = ("missing", "empty", "doubled", "overlong", "control", "foreign", "bytes", "spaces")
AUTHORIZATION = {
    "response_type": "code",
    "client_id": "app-gp",
    "redirect_uri": REDIRECT,
    "scope": "openid",
    "state": "s",
    "nonce": "n",
    "code_challenge": "c" * 43,
    "code_challenge_method": "S256",
    "acr_values": "AAL3_ANY",
    "max_age": "300",
    "prompt": "login",
    "login_hint": "555000000101",
}
FORMS = {
    "authorization_code": ("code", "client_id", "client_secret", "redirect_uri", "code_verifier"),
    "refresh_token": ("client_id", "client_secret", "refresh_token"),
    "client_credentials": ("client_assertion_type", "client_assertion"),
    EXCHANGE: ("client_assertion_type", "client_assertion", "subject_token_type", "subject_token"),
}
MUST = {"response_type", "client_id", "redirect_uri"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity")


@pytest.fixture
async def idp(folder: Path) -> AsyncIterator[Provider]:
    async with provider(folder) as running:
        yield running


def spoil(good: dict[str, str], name: str, how: str) -> str:
    """Return parameters as they are sent, one of them spoilt."""
    rest = {other: value for other, value in good.items() if other != name}
    value = good[name]
    spoilt = {
        "missing": "",
        "empty": f"&{name}=",
        "doubled": f"&{urlencode({name: value})}&{urlencode({name: value})}",
        "overlong": f"&{urlencode({name: value + 'x' * 8000})}",
        "control": f"&{urlencode({name: value + chr(0) + chr(10)})}",
        "foreign": f"&{urlencode({name: chr(0x202E) + value + chr(0x1F600)})}",
        "bytes": f"&{name}=%ff%fe%00",
        "spaces": f"&{urlencode({name: f'  {value}  '})}",
    }[how]
    return urlencode(rest) + spoilt


@pytest.mark.parametrize("how", SPOILT)
async def test_an_authorization_request_is_refused_or_goes_on(idp: Provider, how: str) -> None:
    for name in AUTHORIZATION:
        reply = await idp.get(f"/oauth2/authorize?{spoil(AUTHORIZATION, name, how)}")
        posted = await idp.post("/oauth2/authorize", spoil(AUTHORIZATION, name, how))
        assert posted.status == reply.status, name
        unreadable = how in ("doubled", "control", "bytes")
        if unreadable or (name in ("client_id", "redirect_uri")):
            assert reply.status == 400, name
            assert "Location" not in reply.headers
        else:
            assert reply.status == 303, name
            assert reply.location.startswith(("/oauth2/sign-in/", f"{REDIRECT}?error=")), name
        if how in ("missing", "empty") and name in MUST - {"client_id", "redirect_uri"}:
            assert "error" in reply.answer, name


@pytest.mark.parametrize("how", SPOILT)
@pytest.mark.parametrize("grant", FORMS)
async def test_a_token_request_is_refused(idp: Provider, grant: str, how: str) -> None:
    login = await idp.login()
    code = (await idp.sign_in()).answer["code"]
    good = {
        "code": code,
        "client_id": "app-gp",
        "client_secret": idp.secret(),
        "redirect_uri": REDIRECT,
        "code_verifier": "v" * 43,
        "refresh_token": login["refresh_token"],
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": idp.assertion(),
        "subject_token_type": ID_TOKEN_TYPE,
        "subject_token": login["id_token"],
    }
    form = {"grant_type": grant} | {name: good[name] for name in FORMS[grant]}
    for name in form:
        if name == "code_verifier":
            continue  # no challenge was given: the request is refused with one, and good without
        reply = await idp.post("/oauth2/token", spoil(form, name, how))
        assert reply.status in (400, 401), (name, how, reply.text)
        assert set(reply.json) == {"error", "error_description", "message_id"}
        # What was sent is not repeated.
        assert form[name] not in reply.json["error_description"] or name.endswith(("_type", "client_id"))


@pytest.mark.parametrize("how", SPOILT)
async def test_a_sign_in_form_is_refused(idp: Provider, how: str) -> None:
    place = (await idp.get(idp.authorization())).location
    page = await idp.get(place)
    token = page.text.partition(f'name="{FORM_TOKEN}" value="')[2].partition('"')[0]
    good = {FORM_TOKEN: token, "user": "other", "user_id": "555000000601", "method": "smartcard"}
    for name in good:
        reply = await idp.post(place, spoil(good, name, how))
        mended = (name, how) in {("user_id", "spaces"), ("user", "missing"), ("user", "empty")}
        assert reply.status == (303 if mended else 400), (name, how)
        if mended:
            place = (await idp.get(idp.authorization(prompt="login"))).location
            page = await idp.get(place)
            good[FORM_TOKEN] = page.text.partition(f'name="{FORM_TOKEN}" value="')[2].partition('"')[0]


@pytest.mark.parametrize(
    "path", ["/oauth2/authorize", "/oauth2/token", "/oauth2/sign-out", "/oauth2/userinfo", "/saml/token"]
)
@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_other_methods_are_not_known(idp: Provider, path: str, method: str) -> None:
    async with idp.session.request(method, f"{idp.at}{path}", data=b"x") as answer:
        assert answer.status == 405
