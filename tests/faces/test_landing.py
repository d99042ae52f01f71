"""The landing page shows the demo world, harmlessly, and its curl lines work when pasted."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from openscr.faces.operations.landing import (
    HEADERS,
    LandingPage,
    PatientRow,
    ServiceFacts,
    Tone,
    curl_lines,
    uk_day,
    uk_time,
)

STARTED = datetime(2026, 7, 1, 8, 5, tzinfo=UTC)
PARTIES = ("Y90001-0000001", "RZZ01-0000001")
PATIENTS = (
    PatientRow("k1", "999 001 2318", "Mary <b>Sample</b>", "Summary with additional information", STARTED, 3),
    PatientRow("k/2", "999 001 2334", "Dorothy Dummond", "No record", tone=Tone.NONE),
)


class World:
    """A demo world of two patients, of whom one has a record."""

    def __init__(self, patients: Sequence[PatientRow] = PATIENTS) -> None:
        self._patients = patients

    async def facts(self) -> ServiceFacts:
        return ServiceFacts(
            "1.2.3", ("spine", "operations"), "SQLite", "http://127.0.0.1:8080", "https://127.0.0.1:8443", STARTED
        )

    async def patients(self) -> Sequence[PatientRow]:
        return self._patients

    async def record_html(self, key: str) -> str | None:
        return '<h2 id="scr-Title">General Practice Summary</h2>' if key == "k1" else None


class Outline(HTMLParser):
    """The elements of a page, in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]


async def fetch(path: str, world: World | None = None) -> tuple[int, dict[str, str], str]:
    app = Starlette(routes=LandingPage(world or World(), PARTIES).routes())
    sent: list[dict] = []

    async def receive() -> dict:
        await asyncio.Event().wait()  # the client stays
        return {}

    async def send(message: dict) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "root_path": ""}
    await app(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]).decode()


async def test_the_page_shows_what_runs_who_is_there_and_one_record():
    status, headers, html = await fetch("/")
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    for shown in ("1.2.3", "spine, operations", "SQLite", "http://127.0.0.1:8080", "https://127.0.0.1:8443"):
        assert shown in html
    assert "1 Jul 2026, 09:05" in html
    assert "Mary &lt;b&gt;Sample&lt;/b&gt;" in html
    assert "3 versions" in html
    assert '<h2 id="scr-Title">General Practice Summary</h2>' in html
    assert 'data-parties="Y90001-0000001 RZZ01-0000001"' in html


async def test_a_patient_is_opened_by_key_and_no_address_holds_a_number():
    _, _, html = await fetch("/record/k1")
    links = [a["href"] for a in Outline(html).all("a", "link", "form") if a.get("href")]
    assert "/record/k1#record" in links
    assert not [link for link in links if re.search(r"[0-9]{10}|999[ %+-]?[0-9]{3}", link or "")]
    status, _, _ = await fetch("/record/unknown")
    assert status == 404


async def test_a_patient_without_a_record_says_so():
    html = await LandingPage(World()).render("k/2")
    assert html is not None
    assert "There is no current summary to show: no record." in html
    assert "General Practice Summary" not in html


async def test_a_world_without_patients_still_has_a_page():
    status, _, html = await fetch("/", World(()))
    assert status == 200
    assert "being prepared" in html


async def test_nothing_in_the_page_runs_but_our_own_files():
    _, headers, html = await fetch("/")
    assert headers["content-security-policy"] == HEADERS["Content-Security-Policy"]
    assert "unsafe" not in headers["content-security-policy"]
    outline = Outline(html)
    assert not outline.all("style", "iframe", "form")
    assert all((script.get("src") or "").startswith("/static/operations/") for script in outline.all("script"))
    assert not [a for _, a in outline.elements if any(name == "style" or name.startswith("on") for name in a)]
    assert not re.search(r"https?://(?!127\.0\.0\.1)", html)


async def test_every_static_file_that_the_page_names_is_served():
    _, _, html = await fetch("/")
    named = [a.get("src") or a.get("href") or "" for a in Outline(html).all("script", "link")]
    assert len(named) == 3
    for path in named:
        status, _, _ = await fetch(path)
        assert status == 200, path


async def test_the_page_can_be_read_without_eyes_or_mouse():
    _, _, html = await fetch("/")
    outline = Outline(html)
    tags = [tag for tag, _ in outline.elements]
    assert [tags.count(tag) for tag in ("header", "main", "footer", "h1")] == [1, 1, 1, 1]
    assert outline.all("html")[0]["lang"] == "en-GB"
    assert outline.all("a")[0]["href"] == "#main"
    assert tags.count("caption") == tags.count("table")
    ids = [a["id"] for _, a in outline.elements if "id" in a]
    assert len(ids) == len(set(ids))
    labels = {label for _, a in outline.elements for label in (a.get("aria-labelledby") or "").split()}
    assert labels <= set(ids)
    assert {(a.get("href") or "")[1:] for a in outline.all("a") if (a.get("href") or "").startswith("#")} <= set(ids)
    # What scrolls can be reached by keyboard and says what it is.
    for _, attributes in outline.elements:
        if "scroll" in (attributes.get("class") or "").split():
            assert attributes.get("tabindex") == "0"
            assert attributes.get("role") == "region"


async def test_the_script_writes_text_only():
    _, _, script = await fetch("/static/operations/landing.js")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)


def test_times_are_those_of_the_uk():
    assert uk_time(datetime(2026, 1, 5, 0, 30, tzinfo=UTC)) == "5 Jan 2026, 00:30"
    assert uk_day(datetime(2026, 6, 30, 23, 30, tzinfo=UTC)) == "1 Jul 2026"


# --- curl -----------------------------------------------------------------------------------------------------------

CONTENT_TYPE = 'multipart/related; boundary="--=b"; type="text/xml"; start="<a@b>"'
ACTION = '"urn:nhs:names:services:psis/REPC_IN150016UK05"'
BODY = b"----=b\r\nContent-Type: text/xml\r\n\r\n<a/>\n\x00\xff--\r\n"


@asynccontextmanager
async def listening() -> AsyncIterator[str]:
    async def sample(request: Request) -> Response:
        return Response(BODY, headers={"Content-Type": CONTENT_TYPE, "SOAPAction": ACTION})

    async def post(request: Request) -> Response:
        same = await request.body() == BODY
        names = ("content-type", "soapaction")
        return JSONResponse([request.url.path, same, *(request.headers.get(name) for name in names)])

    routes = [Route("/demo/sample/{kind}", sample)]
    routes += [Route(path, post, methods=["POST"]) for path in ("/sync-service", "/reliablemessaging/reliablerequest")]
    config = uvicorn.Config(Starlette(routes=routes), port=0, log_level="error", lifespan="off")
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        await server.shutdown()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_the_lines_post_what_they_fetched_with_its_headers():
    async with listening() as address:
        lines = curl_lines(address)
        assert len(lines) == 3
        answers = []
        for line in lines:
            assert "\n" not in line.command
            shell = await asyncio.create_subprocess_exec("sh", "-c", line.command, stdout=asyncio.subprocess.PIPE)
            answers.append((await shell.communicate())[0].decode().strip())
    expected = [f'true,"{CONTENT_TYPE}","{ACTION}"'.replace('"', "") for _ in lines]
    plain = [answer.replace("\\", "").replace('"', "") for answer in answers]
    assert plain == [
        f"[{path},{rest}]"
        for path, rest in zip(
            ("/reliablemessaging/reliablerequest", "/sync-service", "/sync-service"), expected, strict=True
        )
    ]
