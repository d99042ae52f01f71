"""A real browser, and an app for it to come from."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from pages.relying_party import RelyingParty, relying_party
from serving import DemoServer, clean_environment

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium. While it runs no other event loop can, so it ends with the module."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed (Debian: chromium)")
    with sync_playwright() as playwright:
        # Tests may run as root in a container, where Chromium's own sandbox does not start.
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield running
        running.close()


@pytest.fixture
def app(demo_server: DemoServer) -> Iterator[RelyingParty]:
    """The app ``app-viewer`` on a port of its own, registered as its operator would register it."""
    with relying_party(demo_server.web) as party:
        command = [sys.executable, "-m", "openscr", "identity", "app", "app-viewer", "--redirect", party.callback]
        told = subprocess.run(
            [*command, "--data", str(demo_server.data), "--json"],
            env=clean_environment(),
            check=True,
            capture_output=True,
        )
        registered = json.loads(told.stdout)
        party.client_id, party.secret = registered["client_id"], registered["client_secret"]
        assert party.callback in registered["redirect_uri"]
        yield party


@pytest.fixture
def context(browser: Browser, app: RelyingParty) -> Iterator[BrowserContext]:
    """A fresh browser profile that must ask nobody but the provider and the app for anything, and report no fault."""
    fresh = browser.new_context(viewport={"width": 1280, "height": 900})
    asked: list[str] = []
    faults: list[str] = []
    fresh.on("request", lambda request: asked.append(request.url))
    fresh.on("weberror", lambda error: faults.append(str(error.error)))
    # A form that was filled in wrongly is answered with 400, and Chromium says so on its console.
    fresh.on("console", lambda said: faults.append(said.text) if "status of 400" not in said.text else None)
    yield fresh
    fresh.close()
    ours = (app.provider, app.callback.removesuffix("callback"))
    assert [address for address in asked if not address.startswith(ours)] == []
    assert faults == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A page of that browser."""
    opened = context.new_page()
    opened.set_default_timeout(20_000)
    return opened
