"""What every page is made of: styles and images of our own, kept by browsers, with nothing in them from elsewhere.

Spec: 00 §7; 80 §8.
"""

import re
from importlib.metadata import version

import pytest
from starlette.applications import Starlette
from starlette.types import Message, Scope

from openscr.pages.rendering import FormError, Pages, page_headers
from openscr.pages.static_files import STYLES, static_address, static_routes


async def fetched(path: str) -> tuple[int, dict[str, str], bytes]:
    """Ask the routes for a file, as a server would."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "root_path": "",
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 1),
    }
    await Starlette(routes=static_routes())(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


async def test_styles_and_what_they_name_are_served_for_good() -> None:
    for name in STYLES:
        status, headers, body = await fetched(static_address(name))
        assert status == 200
        assert headers["content-type"].startswith("text/css")
        assert "immutable" in headers["cache-control"]
        folder = static_address(name).removesuffix(name)
        for image in set(re.findall(r"url\((?!data:)([^)]*)\)", body.decode())):
            assert (await fetched(folder + image))[0] == 200, image


async def test_the_styles_are_those_of_the_templates_and_name_no_other_host() -> None:
    """Each version of the templates belongs to one version of the styles."""
    assert version("nhsuk-frontend-jinja") == "0.10.2"
    assert STYLES[0] == "nhsuk-frontend-10.6.1.min.css"
    for name in STYLES:
        body = (await fetched(static_address(name)))[2].decode()
        assert not re.search(r"https?://(?!www\.w3\.org/)|@import|@font-face|Frutiger", body)


@pytest.mark.parametrize(
    "path", ["nothing.css", "LICENCE-nhsuk-frontend.txt", "../rendering.py", "images/../../rendering.py", ""]
)
async def test_nothing_else_is_served(path: str) -> None:
    folder = static_address(STYLES[0]).removesuffix(STYLES[0])
    assert (await fetched(folder + path))[0] == 404
    assert (await fetched(f"/static/pages/000000000000/{STYLES[0]}"))[0] == 404


def test_an_address_of_a_file_that_is_not_there_is_a_mistake_of_ours() -> None:
    with pytest.raises(KeyError):
        static_address("nothing.css")


def test_a_page_says_whose_it_is_and_what_is_wrong_with_its_form() -> None:
    pages = Pages("openscr.faces.identity", service_name="A <service>", notice="Only a test.")
    plain = pages.render("refused.html", title="A title", values={"why": "Because & so."})
    assert "<title>A title – A &lt;service&gt;</title>" in plain
    assert "Because &amp; so." in plain
    assert "Only a test." in plain
    wrong = pages.render("refused.html", title="A title", errors=[FormError("Enter <x>", "field")])
    assert "<title>Error: A title – A &lt;service&gt;</title>" in wrong
    assert 'href="#field"' in wrong
    assert "Enter &lt;x&gt;" in wrong


def test_forms_may_lead_on_only_to_where_they_are_said_to() -> None:
    assert "form-action 'self';" in page_headers()["Content-Security-Policy"]
    assert (
        "form-action 'self' https://app.test;"
        in page_headers(form_targets=["https://app.test"])["Content-Security-Policy"]
    )
