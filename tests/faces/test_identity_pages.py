"""The sign-in pages as any browser meets them: who may go where, and what cannot be done to a person.

Spec: 35 §4.2, §9.5; 80 §8; RFC 6749 §4.1, §10.
"""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from lxml import html
from yarl import URL

from faces.identity_provider import (
    CLOSED_ROLE,
    FORM_TOKEN,
    GP,
    NO_ROLE,
    NURSE_ROLE,
    OTHER_ROLE,
    RECEPTIONIST,
    REDIRECT,
    TWO_ROLES,
    Provider,
    Reply,
    claims_of,
    provider,
)

KEY = re.compile(r"/oauth2/(sign-in|role)/[A-Za-z0-9_-]{43}\Z")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("identity")


@pytest.fixture
async def idp(folder: Path) -> AsyncIterator[Provider]:
    async with provider(folder) as running:
        yield running


async def begun(idp: Provider, session: aiohttp.ClientSession | None = None, **asked: Any) -> tuple[str, Reply]:
    """Begin a sign-in; return where the page is, and the page."""
    first = await idp.get(idp.authorization(**asked), session)
    assert first.status == 303, first.text
    assert KEY.match(first.location)
    return first.location, await idp.get(first.location, session)


def form_of(page: Reply) -> Any:
    return html.fromstring(page.text).forms[0]


def token_of(page: Reply) -> str:
    return str(form_of(page).fields[FORM_TOKEN])


def filled(page: Reply, person: str = GP, /, **more: str) -> dict[str, str]:
    return {
        FORM_TOKEN: token_of(page),
        "user": "other",
        "user_id": person,
        "method": "smartcard",
        "action": "continue",
    } | more


def problems(page: Reply) -> list[tuple[str, str]]:
    """The words and targets of the error summary."""
    links = html.fromstring(page.text).xpath("//*[contains(@class, 'nhsuk-error-summary')]//a")
    return [(link.text_content().strip(), link.get("href")) for link in links]


# --- requests that are not answered, or with an error ----------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        {"client_id": None},
        {"client_id": "nobody"},
        {"client_id": "../app-gp"},
        {"client_id": "x" * 10_000},
        {"redirect_uri": None},
        {"redirect_uri": "https://elsewhere.test/callback"},
        {"redirect_uri": f"{REDIRECT}/"},
        {"redirect_uri": f"{REDIRECT}?a=b"},
        {"redirect_uri": f"{REDIRECT}#"},
        {"redirect_uri": REDIRECT.upper()},
        {"redirect_uri": f"{REDIRECT}\r\nX-Other: 1"},
        {"redirect_uri": "//127.0.0.1:8000/callback"},
        {"redirect_uri": "javascript:alert(1)"},
    ],
)
async def test_nobody_is_sent_where_the_app_is_not(idp: Provider, asked: dict[str, Any]) -> None:
    reply = await idp.get(idp.authorization(**asked))
    assert reply.status == 400
    assert "Location" not in reply.headers
    assert "You cannot sign in here" in reply.text


REFUSED: dict[str, tuple[str, dict[str, Any]]] = {
    "no response type": ("invalid_request", {"response_type": None}),
    "implicit flow": ("unsupported_response_type", {"response_type": "token"}),
    "hybrid flow": ("unsupported_response_type", {"response_type": "code id_token"}),
    "fragment": ("invalid_request", {"response_mode": "fragment"}),
    "request object": ("request_not_supported", {"request": "a.b.c"}),
    "request address": ("request_not_supported", {"request_uri": "https://elsewhere.test"}),
    "no openid": ("invalid_scope", {"scope": "profile"}),
    "plain PKCE": ("invalid_request", {"code_challenge": "c" * 43, "code_challenge_method": "plain"}),
    "PKCE without a method": ("invalid_request", {"code_challenge": "c" * 43}),
    "PKCE without a challenge": ("invalid_request", {"code_challenge_method": "S256"}),
    "short challenge": ("invalid_request", {"code_challenge": "c" * 42, "code_challenge_method": "S256"}),
    "max_age is no number": ("invalid_request", {"max_age": "-1"}),
    "max_age is too long": ("invalid_request", {"max_age": "9" * 30}),
    "unknown prompt": ("invalid_request", {"prompt": "please"}),
    "contradicting prompts": ("invalid_request", {"prompt": "none login"}),
    "overlong nonce": ("invalid_request", {"nonce": "n" * 3000}),
    "overlong scope": ("invalid_request", {"scope": "openid " + "s" * 3000}),
    "an app without users": ("unauthorized_client", {"client_id": "app-batch"}),
    "nobody is signed in": ("login_required", {"prompt": "none"}),
}


@pytest.mark.parametrize("row", REFUSED)
async def test_an_app_is_told_why_there_is_no_code(idp: Provider, row: str) -> None:
    error, asked = REFUSED[row]
    reply = await idp.get(idp.authorization(**asked))
    assert reply.status == 303
    assert reply.location.startswith(f"{REDIRECT}?")
    assert (reply.answer["error"], reply.answer["state"]) == (error, "a-state")
    assert reply.answer["error_description"]
    assert "code" not in reply.answer


@pytest.mark.parametrize(
    "query",
    [
        "client_id=app-gp&client_id=app-viewer",
        "client_id=app-gp&redirect_uri=http%3A%2F%2F127.0.0.1%3A8000%2Fcallback&state=1&state=2",
        "client_id=app-gp%00",
        "client_id=%ff",
        "state=" + "s" * 20_000,
        "&".join(f"p{number}=1" for number in range(100)),
        "",
        "&=&",
    ],
)
async def test_parameters_that_cannot_be_read_lead_nowhere(idp: Provider, query: str) -> None:
    reply = await idp.get(f"/oauth2/authorize?{query}")
    assert reply.status == 400
    assert "Location" not in reply.headers


async def test_an_overlong_state_is_not_sent_back(idp: Provider) -> None:
    reply = await idp.get(idp.authorization(state="s" * 3000))
    assert reply.answer["error"] == "invalid_request"
    assert "state" not in reply.answer


async def test_a_request_may_be_posted(idp: Provider) -> None:
    form = {"response_type": "code", "client_id": "app-gp", "redirect_uri": REDIRECT, "scope": "openid"}
    assert KEY.match((await idp.post("/oauth2/authorize", form)).location)
    assert (await idp.post("/oauth2/authorize", "{}", **{"Content-Type": "application/json"})).status == 400


# --- the page -------------------------------------------------------------------------------------------------------


async def test_no_address_and_no_title_holds_anything_about_a_person(idp: Provider) -> None:
    place, page = await begun(idp, login_hint=GP, scope="openid selectedrole")
    assert GP not in place
    reply = await idp.post(place, filled(page, TWO_ROLES))
    assert KEY.match(reply.location)
    role_page = await idp.get(reply.location)
    done = await idp.post(reply.location, {FORM_TOKEN: token_of(role_page), "role": NURSE_ROLE})
    assert set(done.answer) == {"code", "state"}
    for seen in (page, role_page):
        assert not re.search(r"<title>[^<]*(5550|Tamsin|Gita)", seen.text)
        assert seen.headers["Referrer-Policy"] == "no-referrer"


async def test_a_page_runs_nothing_fetches_nothing_from_elsewhere_and_is_not_kept(idp: Provider) -> None:
    _, page = await begun(idp)
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' http://127.0.0.1:8000;" in policy
    assert "unsafe" not in policy
    assert "script-src" not in policy
    assert page.headers["Cache-Control"] == "no-store"
    assert page.headers["X-Frame-Options"] == "DENY"
    tree = html.fromstring(page.text)
    assert not tree.xpath("//script | //style | //@style | //@onclick | //iframe")
    assert all(address.startswith("/") for address in tree.xpath("//link/@href | //img/@src"))
    assert not tree.xpath("//a[starts-with(@href, 'http')]")


async def test_cookies_are_out_of_reach_of_scripts_and_other_sites(idp: Provider) -> None:
    first = await idp.get(idp.authorization())
    reply = await idp.post(first.location, filled(await idp.get(first.location)))
    for answer in (first, reply):
        cookie = answer.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=lax" in cookie
        assert "Path=/" in cookie


async def test_everybody_is_listed_with_what_they_can_do(idp: Provider) -> None:
    _, page = await begun(idp)
    form = form_of(page)
    listed = form.xpath(".//input[@name='user']/@value")
    assert listed == [*sorted(idp.directory.snapshot.users), "other"]
    told = html.fromstring(page.text).text_content()
    for words in ("Dr Gita Demopractice", "Demo Practice (Y90001)", "Privacy Officer", "No role", ": closed"):
        assert words in told
    assert "Test environment" in told
    assert "invented" in told


async def test_the_page_is_one_that_a_screen_reader_can_read(idp: Provider) -> None:
    place, page = await begun(idp, scope="openid selectedrole")
    wrong = await idp.post(place, {FORM_TOKEN: token_of(page)})
    role = await idp.get((await idp.post(place, filled(page, TWO_ROLES))).location)
    for seen in (page, wrong, role):
        tree = html.fromstring(seen.text)
        assert tree.get("lang") == "en-GB"
        assert len(tree.xpath("//h1")) == 1
        assert len(tree.xpath("//main")) == 1
        ids = tree.xpath("//@id")
        assert len(ids) == len(set(ids))
        labelled = set(tree.xpath("//label/@for"))
        for field in tree.xpath("//input[@type!='hidden']"):
            assert field.get("id") in labelled
            assert set((field.get("aria-describedby") or "").split()) <= set(ids)
        assert tree.xpath("//body//a")[0].get("href") == "#maincontent"
        assert tree.xpath("count(//fieldset) = count(//fieldset/legend)")


async def test_what_is_wrong_with_the_form_is_told_beside_it_and_above(idp: Provider) -> None:
    place, page = await begun(idp)
    cases: list[tuple[dict[str, str], list[tuple[str, str]]]] = [
        (
            {"user": "", "user_id": "", "method": ""},
            [("Choose who you are", "#user"), ("Choose how you sign in", "#method")],
        ),
        ({"user": "other", "user_id": ""}, [("Enter a user id", "#user_id")]),
        ({"user": "other", "user_id": "999"}, [("Nobody who may sign in has this user id", "#user_id")]),
        ({"user": "555999"}, [("Nobody who may sign in has this user id", "#user")]),
        ({"method": "password-and-hope"}, [("Choose how you sign in", "#method")]),
    ]
    for told, expected in cases:
        wrong = await idp.post(place, filled(page, **told))
        assert wrong.status == 400
        assert problems(wrong) == expected
        tree = html.fromstring(wrong.text)
        assert str(tree.findtext(".//title")).startswith("Error: ")
        assert all(tree.xpath("//*[@id=$target]", target=target[1:]) for _, target in expected)
    assert (await idp.post(place, filled(page, f" {GP[:3]} {GP[3:]} "))).answer["code"], "spaces are typed"


async def test_what_was_typed_is_shown_as_text(idp: Provider) -> None:
    place, page = await begun(idp, login_hint='"><script>alert(1)</script>', state='"><b>')
    wrong = await idp.post(place, filled(page, '"><script>alert(1)</script>'))
    assert "<script" not in wrong.text
    assert "&lt;script&gt;" in wrong.text


# --- what cannot be done to a person ----------------------------------------------------------------------------------


async def test_a_form_of_another_site_signs_nobody_in(idp: Provider) -> None:
    place, page = await begun(idp)
    for token in ("", "x" * 32, "é"):
        refused = await idp.post(place, filled(page) | {FORM_TOKEN: token})
        assert refused.status == 400
        assert "Location" not in refused.headers
    other_place, _ = await begun(idp)
    assert (await idp.post(other_place, filled(page))).status == 400, "the token of another form"
    assert (await idp.post(place, "{}", **{"Content-Type": "text/plain"})).status == 400
    assert (await idp.get(idp.authorization(prompt="none"))).answer["error"] == "login_required"


async def test_a_sign_in_goes_on_only_in_the_browser_that_began_it(idp: Provider) -> None:
    place, page = await begun(idp)
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as other:
        for session in (other, other):
            assert (await idp.get(place, session)).status == 400
            assert (await idp.post(place, filled(page), session)).status == 400
            await begun(idp, session)  # now it has a cookie of its own
    role_place = place.replace("sign-in", "role")
    assert (await idp.get(role_place)).status == 400, "nobody has signed in yet"
    assert (await idp.post(role_place, filled(page))).status == 400


@pytest.mark.parametrize("key", ["x", "x" * 43, "%00", "..%2f..", "é"])
async def test_there_is_nothing_under_other_keys(idp: Provider, key: str) -> None:
    for room in ("sign-in", "role"):
        assert (await idp.get(f"/oauth2/{room}/{key}")).status in (400, 404)


async def test_a_sign_in_is_done_once_and_in_time(idp: Provider) -> None:
    place, page = await begun(idp)
    assert (await idp.post(place, filled(page))).answer["code"]
    assert (await idp.post(place, filled(page))).status == 400
    place, page = await begun(idp, prompt="login")
    idp.clock.pass_(900)
    assert (await idp.post(place, filled(page))).status == 400


async def test_signing_in_gives_the_browser_a_new_key(idp: Provider) -> None:
    """A key that somebody put into the browser before is worth nothing afterwards."""
    port = idp.at.rpartition(":")[2]
    place, page = await begun(idp)
    planted = "planted-by-somebody-else"
    reply = await idp.post(place, filled(page), Cookie=f"openscr-session-{port}={planted}")
    if reply.status != 303:
        # A cookie header of the test replaces the jar's: the browser's own key must be there too.
        jar = {cookie.key: cookie.value for cookie in idp.session.cookie_jar}
        cookies = "; ".join(f"{name}={value}" for name, value in jar.items())
        reply = await idp.post(place, filled(page), Cookie=f"{cookies}; openscr-session-{port}={planted}")
    assert reply.status == 303
    assert planted not in reply.headers["Set-Cookie"]
    assert f"openscr-session-{port}=" in reply.headers["Set-Cookie"]


async def test_a_browser_key_that_was_planted_does_not_lead_on_after_the_sign_in(idp: Provider) -> None:
    """Who has put their own key into somebody's browser, and sends them a request of theirs, gets no code for it."""
    port = idp.at.rpartition(":")[2]
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as attacker:
        place, page = await begun(idp, attacker, scope="openid selectedrole")
        (key,) = [cookie for cookie in attacker.cookie_jar if cookie.key == f"openscr-browser-{port}"]
        idp.session.cookie_jar.update_cookies({key.key: key.value}, URL(idp.at))
        signed_in = await idp.post(place, filled(await idp.get(place), TWO_ROLES))
        assert signed_in.status == 303
        assert (await idp.get(signed_in.location, attacker)).status == 400
        chosen = {FORM_TOKEN: token_of(page), "role": NURSE_ROLE}
        assert (await idp.post(signed_in.location, chosen, attacker)).status == 400
        assert (await idp.get(signed_in.location)).status == 200
        assert (await idp.post(signed_in.location, chosen)).answer["code"]


# --- sessions -------------------------------------------------------------------------------------------------------


async def test_who_is_signed_in_is_not_asked_again_unless_the_request_wants_it(idp: Provider) -> None:
    await idp.sign_in(GP)
    assert (await idp.get(idp.authorization())).answer["code"]
    assert (await idp.get(idp.authorization(prompt="none"))).answer["code"]
    assert (await idp.get(idp.authorization(client_id="app-viewer"))).answer["code"]
    assert (await idp.get(idp.authorization(login_hint=GP))).answer["code"]
    for asked in ({"prompt": "login"}, {"prompt": "select_account"}, {"max_age": "0"}, {"login_hint": RECEPTIONIST}):
        assert KEY.match((await idp.get(idp.authorization(**asked))).location)


async def test_max_age_counts_from_the_sign_in(idp: Provider) -> None:
    first = await idp.login(GP)
    idp.clock.pass_(299)
    assert (await idp.get(idp.authorization(max_age="300", prompt="none"))).answer["code"]
    idp.clock.pass_(1)
    assert (await idp.get(idp.authorization(max_age="300", prompt="none"))).answer["error"] == "login_required"
    second = await idp.login(GP, max_age="300")
    keys = (await idp.get("/realms/cis2-mock/jwks")).json
    times = [claims_of(answer["id_token"], keys)["auth_time"] for answer in (first, second)]
    assert times == [idp.clock.seconds - 300, idp.clock.seconds]


async def test_a_request_for_a_higher_level_asks_for_a_better_way(idp: Provider) -> None:
    await idp.sign_in(GP, method="password")
    assert (await idp.get(idp.authorization())).answer["code"]
    assert (await idp.get(idp.authorization(acr_values="AAL3_ANY", prompt="none"))).answer["error"] == "login_required"
    offered = {
        "AAL3_ANY": ["smartcard", "security-key"],
        "AAL2_OR_AAL3_ANY": ["smartcard", "security-key", "authenticator"],
        "AAL2_ANY": ["authenticator"],
        "AAL1_USERPASS": ["password"],
        "AAL2_ANY AAL3_ANY": ["smartcard", "security-key", "authenticator"],
        "something-else": ["smartcard", "security-key", "authenticator", "password"],
    }
    for asked, methods in offered.items():
        place, page = await begun(idp, acr_values=asked, prompt="login")
        assert form_of(page).xpath(".//input[@name='method']/@value") == methods
    place, page = await begun(idp, acr_values="AAL3_ANY")
    assert problems(await idp.post(place, filled(page, method="password"))) == [("Choose how you sign in", "#method")]


async def test_a_hint_chooses_the_person_and_the_person_confirms(idp: Provider) -> None:
    _, page = await begun(idp, login_hint=RECEPTIONIST)
    assert form_of(page).xpath(".//input[@name='user'][@checked]/@value") == [RECEPTIONIST]
    assert form_of(page).xpath(".//input[@name='user']/@value") == [RECEPTIONIST, "other"]
    _, page = await begun(idp, login_hint="999999999999")
    assert form_of(page).xpath(".//input[@name='user'][@checked]") == []


async def test_whoever_cancels_is_sent_back_without_a_code(idp: Provider) -> None:
    reply = await idp.sign_in(action="cancel")
    assert (reply.answer["error"], reply.answer["state"]) == ("access_denied", "a-state")
    place, page = await begun(idp, scope="openid selectedrole")
    place = (await idp.post(place, filled(page, TWO_ROLES))).location
    page = await idp.get(place)
    assert (await idp.post(place, {FORM_TOKEN: token_of(page), "action": "cancel"})).answer["error"] == "access_denied"
    assert (await idp.post(place, {FORM_TOKEN: token_of(page), "role": NURSE_ROLE})).status == 400


async def test_one_of_several_roles_is_chosen(idp: Provider) -> None:
    place, page = await begun(idp, scope="openid selectedrole")
    place = (await idp.post(place, filled(page, TWO_ROLES))).location
    page = await idp.get(place)
    assert form_of(page).xpath(".//input[@name='role']/@value") == [NURSE_ROLE, OTHER_ROLE]
    for wrong in ({}, {"role": ""}, {"role": "555000000102"}, {"role": TWO_ROLES}):
        refused = await idp.post(place, {FORM_TOKEN: token_of(page)} | wrong)
        assert (refused.status, problems(refused)) == (400, [("Choose a role", "#role")])
    done = await idp.post(place, {FORM_TOKEN: token_of(page), "role": OTHER_ROLE})
    answer = await idp.change(done.answer["code"])
    assert (
        claims_of(answer["id_token"], (await idp.get("/realms/cis2-mock/jwks")).json)["selected_roleid"] == OTHER_ROLE
    )
    silent = await idp.get(idp.authorization(scope="openid selectedrole", prompt="none"))
    assert silent.answer["error"] == "interaction_required"


@pytest.mark.parametrize("user", [NO_ROLE, CLOSED_ROLE])
async def test_without_an_open_role_none_can_be_chosen(idp: Provider, user: str) -> None:
    place, page = await begun(idp, scope="openid selectedrole")
    place = (await idp.post(place, filled(page, user))).location
    page = await idp.get(place)
    assert "You have no role to sign in with" in page.text
    forced = await idp.post(place, {FORM_TOKEN: token_of(page), "role": "555000000702"})
    assert "Location" not in forced.headers
    back = await idp.post(place, {FORM_TOKEN: token_of(page), "action": "cancel"})
    assert back.answer["error"] == "access_denied"
    assert (await idp.sign_in(user)).answer["code"], "who asks for no role gets a code"


async def test_signing_out_ends_the_session_everywhere(idp: Provider) -> None:
    answer = await idp.login(GP)
    page = await idp.get("/oauth2/sign-out")
    assert "Dr Gita Demopractice" in page.text
    for token in ("", "x", "é"):
        assert (await idp.post("/oauth2/sign-out", {FORM_TOKEN: token})).status == 400
    assert (await idp.userinfo(answer["access_token"])).status == 200
    done = await idp.post("/oauth2/sign-out", {FORM_TOKEN: token_of(page)})
    assert "You are signed out" in done.text
    assert len(idp.ended) == 1
    assert (await idp.userinfo(answer["access_token"])).status == 401
    assert "You are signed out" in (await idp.get("/oauth2/sign-out")).text
    assert "You are signed out" in (await idp.post("/oauth2/sign-out", {})).text


async def test_somebody_who_left_the_directory_is_not_signed_in_any_more(idp: Provider) -> None:
    answer = await idp.login(GP)
    snapshot = idp.directory.snapshot
    remaining = [user for user in snapshot.users.values() if user.user_id != GP]
    idp.directory.snapshot = type(snapshot)(users=remaining, systems=snapshot.systems.values(), revision=2)
    assert (await idp.userinfo(answer["access_token"])).status == 401
    assert (await idp.get(idp.authorization(prompt="none"))).answer["error"] == "login_required"


# --- the page that stands in for an app -------------------------------------------------------------------------------


async def test_a_code_can_be_read_off_a_page(idp: Provider) -> None:
    own_page = f"{idp.at}/oauth2/code"
    place, page = await begun(idp, redirect_uri=own_page)
    done = await idp.post(place, filled(page))
    assert done.location.startswith(f"{own_page}?code=")
    shown = html.fromstring((await idp.get(done.location)).text)
    code = shown.xpath("string(//*[@id='code'])")
    assert (await idp.token(**(idp.code_form(code) | {"redirect_uri": own_page}))).status == 200


@pytest.mark.parametrize(
    "query", ["code=%22%3B+rm+-rf+~%3B", "code=a%0ab", "error=%3Cb%3E&error_description=Call+us", ""]
)
async def test_that_page_repeats_nothing_that_is_no_code(idp: Provider, query: str) -> None:
    page = await idp.get(f"/oauth2/code?{query}")
    assert not re.search(r"rm -rf|<b>|Call us", page.text)
