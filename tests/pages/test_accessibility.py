"""Every page of the sign-in, judged by axe-core in a real browser, wide and narrow. Spec: 80 §8 (WCAG 2.2 AA)."""

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from pages.relying_party import RelyingParty

RULES = {
    "runOnly": {
        "type": "tag",
        "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }
}


def found_by_axe(page: Page) -> list[tuple[str, Any]]:
    """Return what axe-core finds wrong with a page: the rule, and the elements."""
    # As an evaluation of the browser's own, which the page's policy on scripts does not forbid.
    found = Axe().run(page, options=RULES).response
    assert found["passes"], "axe-core has judged something"
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]


@pytest.mark.parametrize("width", [1280, 320])
def test_axe_finds_nothing_wrong_with_any_page(page: Page, app: RelyingParty, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})

    def judge(name: str) -> None:
        assert found_by_axe(page) == [], name

    page.goto(app.start())
    judge("sign-in")
    page.get_by_label("User id").fill("1")
    page.get_by_role("button", name="Continue").click()
    judge("sign-in with a mistake")
    page.get_by_role("radio", name=re.compile("Nora")).check()
    page.get_by_role("button", name="Continue").click()
    judge("no role")
    page.get_by_role("link", name="Back").click()
    page.get_by_role("radio", name=re.compile("Tamsin")).check()
    page.get_by_role("button", name="Continue").click()
    judge("role")
    page.get_by_role("button", name="Continue").click()
    judge("role with a mistake")
    page.goto(f"{app.provider}/oauth2/sign-out")
    judge("sign out")
    page.get_by_role("button", name="Sign out").click()
    judge("signed out")
    page.goto(f"{app.provider}/oauth2/authorize")
    judge("refused")
    page.goto(f"{app.provider}/oauth2/code?code=abc")
    judge("code")
    page.goto(f"{app.provider}/saml/token")
    page.get_by_role("radio", name=re.compile("Gita")).check()
    page.get_by_role("button", name="Continue").click()
    judge("ticket")


def test_axe_finds_what_is_wrong(page: Page, app: RelyingParty) -> None:
    page.goto(app.start())
    page.evaluate("document.querySelector('label').remove(); document.documentElement.removeAttribute('lang')")
    assert {rule for rule, _ in found_by_axe(page)} >= {"html-has-lang", "label"}
