"""Signing in with a real browser: from an app to the identity provider and back. Spec: 35 §4.2, §9.5; 80 §8."""

import json
import re
from typing import Any

from joserfc import jws
from playwright.sync_api import Browser, BrowserContext, Page, expect

from pages.relying_party import RelyingParty

BACK = "Back at the app"


def choose_person(page: Page, name: str, method: str = "Smartcard") -> None:
    """Fill in the sign-in page."""
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.get_by_role("radio", name=re.compile(name)).check()
    page.get_by_role("radio", name=method, exact=True).check()
    page.get_by_role("button", name="Continue").click()


def id_token_claims(tokens: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(jws.extract_compact(tokens["id_token"].encode()).payload))


def test_a_nurse_signs_in_chooses_a_role_and_is_known_to_the_app(page: Page, app: RelyingParty) -> None:
    page.goto(app.start())
    expect(page).to_have_title("Sign in – OpenSCR sign-in")
    expect(page.get_by_text("Every person and every patient in it is invented.")).to_be_visible()
    assert "?" not in page.url, "what the app asked does not stay in the address"
    choose_person(page, "Tamsin Tworoles")

    expect(page.get_by_role("heading", level=1)).to_have_text("Choose your role")
    expect(page.get_by_text("You are signed in as Tamsin Tworoles.")).to_be_visible()
    page.get_by_role("radio", name=re.compile("Nurse Access Role")).check()
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(BACK)

    answer = app.answer()
    assert "error" not in answer
    tokens = app.change(answer["code"])
    claims = id_token_claims(tokens)
    assert (claims["sub"], claims["nonce"]) == ("555000000301", "a-nonce")
    assert claims["selected_roleid"] == "555000000302"
    status, known = app.get("/oauth2/userinfo", tokens["access_token"])
    assert (status, known["name"]) == (200, "Tamsin Tworoles")
    assert {role["person_roleid"] for role in known["nhsid_nrbac_roles"]} == {"555000000302", "555000000303"}
    status, session = app.get("/governance/session", tokens["access_token"])
    assert status == 200, session
    assert "555000000302" in str(session)


def test_whoever_cancels_comes_back_without_a_code(page: Page, app: RelyingParty) -> None:
    page.goto(app.start())
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(BACK)
    answer = app.answer()
    assert answer["error"] == "access_denied"
    assert "code" not in answer


def test_whoever_has_no_role_is_told_so_and_goes_back(page: Page, app: RelyingParty) -> None:
    page.goto(app.start())
    choose_person(page, "Nora Norole")
    expect(page.get_by_role("heading", level=1)).to_have_text("You have no role to sign in with")
    page.get_by_role("link", name="Back").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")
    page.go_back()
    page.get_by_role("button", name="Go back to the app").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(BACK)
    assert app.answer()["error"] == "access_denied"


def test_who_is_signed_in_goes_straight_through_until_the_app_wants_a_fresh_sign_in(
    page: Page, app: RelyingParty
) -> None:
    page.goto(app.start())
    choose_person(page, "Gita Demopractice")
    first = id_token_claims(app.change(app.answer()["code"]))
    page.goto(app.start())
    expect(page.get_by_role("heading", level=1)).to_have_text(BACK)
    again = id_token_claims(app.change(app.answer()["code"]))
    assert (again["sid"], again["auth_time"]) == (first["sid"], first["auth_time"])
    page.goto(app.start(max_age="0"))
    choose_person(page, "Gita Demopractice")
    fresh = id_token_claims(app.change(app.answer()["code"]))
    assert fresh["sid"] != first["sid"]

    page.goto(f"{app.provider}/oauth2/sign-out")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("You are signed out")
    page.goto(app.start())
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_mistake_is_explained_and_mended(page: Page, app: RelyingParty) -> None:
    page.goto(app.start(scope="openid"))
    page.get_by_role("button", name="Continue").click()
    expect(page).to_have_title(re.compile("^Error: "))
    summary = page.get_by_role("alert")
    expect(summary).to_contain_text("There is a problem")
    summary.get_by_role("link", name="Choose who you are").click()
    expect(page.get_by_role("radio", name=re.compile("Gita"))).to_be_focused()
    page.get_by_label("User id").fill("555000000999")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("alert")).to_contain_text("Nobody who may sign in has this user id")
    page.get_by_label("User id").fill("555000000201")
    page.get_by_label("User id").press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(BACK)
    assert id_token_claims(app.change(app.answer()["code"]))["sub"] == "555000000201"


def test_the_keyboard_is_enough(page: Page, app: RelyingParty) -> None:
    page.goto(app.start())
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to main content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("radio", name=re.compile("Gita"))).to_be_focused()
    page.keyboard.press("Space")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(BACK)
    assert app.answer()["code"]


def test_the_way_back_in_the_browser_does_not_sign_in_twice(page: Page, app: RelyingParty) -> None:
    page.goto(app.start())
    place = page.url
    choose_person(page, "Gita Demopractice")
    app.answer()
    page.goto(place)
    expect(page.get_by_role("heading", level=1)).to_have_text("You cannot sign in here")
    assert app.answers == []


def test_it_works_without_scripts_and_on_a_narrow_screen(browser: Browser, app: RelyingParty) -> None:
    """At 320 CSS pixels nothing is cut off sideways: WCAG 2.2, 1.4.10."""
    context: BrowserContext = browser.new_context(viewport={"width": 320, "height": 600}, java_script_enabled=False)
    page = context.new_page()
    page.goto(app.start())
    for heading in ("Sign in", "Choose your role"):
        expect(page.get_by_role("heading", level=1)).to_have_text(heading)
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
        page.get_by_role("radio", name=re.compile("Tamsin|Nurse")).check()
        page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(BACK)
    assert app.answer()["code"]
    context.close()


def test_the_official_look_is_there(page: Page, app: RelyingParty) -> None:
    """The styles are applied, the typeface of NHS services is not used, and no text is hard to see."""
    page.goto(app.start())
    button = page.get_by_role("button", name="Continue")
    assert button.evaluate("element => getComputedStyle(element).backgroundColor") == "rgb(0, 127, 59)"
    font = page.locator("body").evaluate("element => getComputedStyle(element).fontFamily")
    assert font == "arial, sans-serif"
    assert page.locator(".nhsuk-header").evaluate("e => getComputedStyle(e).backgroundColor") == "rgb(0, 94, 184)"
    assert page.locator("svg").count() == 0, "no logo"


def test_another_site_cannot_frame_the_page(browser: Browser, app: RelyingParty) -> None:
    context = browser.new_context()
    page = context.new_page()
    page.goto(app.callback)
    app.answers.clear()
    page.evaluate(
        """address => new Promise(loaded => {
            const frame = document.createElement('iframe');
            frame.onload = loaded;
            frame.src = address;
            document.body.append(frame);
        })""",
        app.start(),
    )
    assert page.frames[-1].url.startswith("chrome-error:")
    context.close()
