"""The documentation does what it says: its code runs against a real service, its pages agree with the code, its site
builds without a warning and fetches nothing from anywhere.
"""

import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import yaml

import openscr.client
from openscr import advice, errors
from openscr.directory.static_routes import StaticRoutes
from openscr.mhs.interactions import read_interactions
from openscr.mhs.scr.service import ScrSettings
from openscr.mhs.settings import MhsSettings
from serving import clean_environment, serving

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
EXCEPTIONS = {
    name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, errors.OpenSCRError)
}

# --- the site -------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """The links, ids and fetched resources of a built page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.resources: list[str] = []
        self.classes: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.classes |= set(values.get("class", "").split())
        if "id" in values:
            self.ids.add(values["id"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") not in ("canonical", "prev", "next"):
            self.resources.append(values.get("href", ""))
        elif tag in ("script", "img", "iframe", "source", "video", "audio", "embed", "use") and "src" in values:
            self.resources.append(values["src"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The site, built as ``make docs`` does, where every warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return {path: Page(path.read_text("utf-8")) for path in sorted(folder.rglob("*.html"))}


def navigation(entries: Any) -> Iterator[str]:
    """Return the pages that a navigation names."""
    for entry in entries:
        value = next(iter(entry.values())) if isinstance(entry, dict) else entry
        if isinstance(value, str):
            yield value
        else:
            yield from navigation(value)


def configuration() -> dict[str, Any]:
    loaded = yaml.safe_load((ROOT / "mkdocs.yml").read_text("utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def test_every_page_is_in_the_navigation() -> None:
    assert sorted(navigation(configuration()["nav"])) == sorted(path.relative_to(DOCS).as_posix() for path in PAGES)


def test_every_link_leads_somewhere(site: dict[Path, Page]) -> None:
    assert len(site) >= len(PAGES)
    for path, page in site.items():
        if path.name == "404.html":  # its links are those of the root of a server
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path.name}: {link}"
            if parts.fragment and target in site and parts.fragment not in ("__skip", "__toc"):
                assert unquote(parts.fragment) in site[target].ids, f"{path.name}: {link}"


def test_nothing_is_fetched_from_anywhere(site: dict[Path, Page]) -> None:
    for path, page in site.items():
        for resource in page.resources:
            parts = urlsplit(resource)
            assert parts.netloc == "", f"{path.name}: {resource}"
            assert parts.scheme in ("", "data"), f"{path.name}: {resource}"
        # For these the theme's script would load a library from elsewhere.
        assert not page.classes & {"mermaid", "arithmatex"}, path.name
    folder = next(iter(site)).parent
    styles = list(folder.rglob("*.css"))
    assert styles
    for style in styles:
        assert not re.search(r"""(?:url\(|@import)\s*["']?(?:https?:)?//""", style.read_text("utf-8")), style.name


def test_make_builds_the_site_as_the_test_does() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^docs:.*\n\t@.*mkdocs build --strict", makefile, re.MULTILINE)
    assert "build/" in (ROOT / ".gitignore").read_text("utf-8")


# --- what the pages tell of the code --------------------------------------------------------------------------------


def test_the_pages_written_from_the_code_are_current() -> None:
    """Errors, commands, and the tables of the demo world; the settings have a test of their own."""
    script = ROOT / "scripts" / "write_pages.py"
    ended = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


@pytest.mark.parametrize(
    ("catalogue", "told"),
    [
        (errors.GENERAL, advice.GENERAL),
        (errors.DETAILS, advice.DETAILS),
        (errors.WRAPPER_ERRORS, advice.WRAPPER),
        (errors.FAULTS, advice.FAULTS),
        (errors.EBXML_ERRORS, advice.EBXML),
    ],
    ids=["general", "details", "wrapper", "faults", "ebxml"],
)
def test_every_error_says_when_and_what_to_do(catalogue: dict[str, object], told: dict[str, advice.Advice]) -> None:
    assert told.keys() == catalogue.keys()
    for key, each in told.items():
        for sentence in (each.when, each.remedy):
            assert re.fullmatch(r"[A-Z].{5,240}\.", sentence), (key, sentence)


def test_every_exception_says_what_to_do() -> None:
    page = (DOCS / "errors.md").read_text("utf-8").partition("## Exceptions")[2]
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == EXCEPTIONS


def test_the_reference_shows_every_public_name_of_the_client() -> None:
    page = (DOCS / "library" / "client.md").read_text("utf-8")
    assert sorted(re.findall(r"^::: openscr\.client\.(\w+)$", page, re.MULTILINE)) == sorted(openscr.client.__all__)


def test_the_reference_is_in_the_site_with_what_the_code_says_of_itself(site: dict[Path, Page]) -> None:
    found = set().union(*(page.ids for page in site.values()))
    for name in (
        *(f"openscr.client.{name}" for name in openscr.client.__all__),
        "openscr.client.Client.upload_document",
        "openscr.spine.Spine.list_events",
        "openscr.errors.WireError",
        *(f"openscr.errors.{name}" for name in EXCEPTIONS),
        "openscr.advice.Advice",
        "openscr.clinical.Allergy",
        "openscr.clinical.read_json",
        "openscr.hl7.gp_summary.read_summary_message",
        "openscr.hl7.presentation.Presentation.text",
    ):
        assert name in found, name
    client = next(path for path in site if path.name == "client.html").read_text("utf-8")
    assert "Set the patient's consent" in client.replace("&#39;", "'").replace("’", "'")


# --- the code in the pages ------------------------------------------------------------------------------------------

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$\n?(?:\n```text\n(.*?)^```$)?", re.MULTILINE | re.DOTALL)
SERVICE = "http://127.0.0.1:8080"
ADAPTOR = "http://127.0.0.1:8081"
RUN = [path for path in PAGES if re.search(r"^```(?:python|console)$", path.read_text("utf-8"), re.MULTILINE)]


@dataclass(frozen=True)
class Place:
    """Where the commands of a page run: the folder, and real addresses by those that the page tells."""

    home: Path
    addresses: dict[str, str]

    def real(self, code: str) -> str:
        """Return code of a page with the addresses that really answer."""
        for usual, address in self.addresses.items():
            code = code.replace(usual, address)
        return code.replace("Client.demo(", f'Client.demo("{self.addresses[SERVICE]}", ')


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A demo service of the documentation's own, for its stories change patients."""
    home = tmp_path_factory.mktemp("docs")
    (home / "data").mkdir()
    # What the pages call openscr-data, and the examples of the project, lie in the folder where their commands run.
    (home / "openscr-data").symlink_to(home / "data")
    (home / "tests").symlink_to(ROOT / "tests")
    with serving(home) as server:
        yield Place(home, {SERVICE: server.web})


@pytest.fixture(scope="module")
def adaptor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A demo adaptor with its own service, as the page on it starts one."""
    home = tmp_path_factory.mktemp("docs-mhs")
    ports = {f"MHS_{name}_SERVER_PORT": "0" for name in ("OUTBOUND", "INBOUND", "INBOUND_HEALTHCHECK")}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "openscr", "mhs", "serve", "--demo"],
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=home,
            env=clean_environment(OPENSCR_WEB="127.0.0.1:0", OPENSCR_SPINE="127.0.0.1:0", **ports),
            text=True,
        )
    assert process.stdout is not None
    try:
        ready, outbound, _, web, _ = process.stdout.readline().split()
        assert ready == "ready"
        yield Place(home, {ADAPTOR: outbound, SERVICE: web})
    finally:
        process.terminate()
        assert process.wait(30) == 0, (home / "log").read_text()[-2000:]
        process.stdout.close()


def matches(told: str, said: str) -> bool:
    """Whether what was said is what the page tells, where an ellipsis stands for anything within its line."""
    pattern = "\n".join(".*".join(map(re.escape, line.split("…"))) for line in told.splitlines())
    return re.fullmatch(pattern, "\n".join(said.splitlines())) is not None


_AT_PROVIDER = "identity (?:token|assertion|sso-token|rotate|sign-out)"


def run_console(block: str, place: Place) -> None:
    """Run each command that follows a ``$`` in a shell, and compare what it says."""
    program = Path(sys.executable).parent
    path = f"{program}{os.pathsep}{os.environ['PATH']}"
    assert shutil.which("openscr", path=path), "openscr is not installed"
    for step in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, told = step.partition("\n")
        ran = place.real(command)
        # The commands that ask a service take its address; others do not have the option.
        ran = re.sub(
            rf"^openscr (list|get|consent get|upload|scenario \w+|{_AT_PROVIDER})\b",
            rf"openscr \1 --at {place.addresses[SERVICE]}",
            ran,
        )
        ended = subprocess.run(
            ["bash", "-c", ran],
            cwd=place.home,
            env=clean_environment(PATH=path),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        assert matches(told, ended.stdout), f"$ {command}\n{ended.stdout}"


@pytest.mark.parametrize("path", RUN, ids=[path.relative_to(DOCS).as_posix() for path in RUN])
def test_the_code_of_a_page_does_what_the_page_says(
    path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python of a page is one program; the text block after a Python block is what it prints."""
    page = path.read_text("utf-8")
    place: Place = request.getfixturevalue("adaptor" if ADAPTOR in page else "service")
    monkeypatch.chdir(place.home)
    program: dict[str, Any] = {"__name__": "__main__"}
    for language, code, printed in BLOCK.findall(page):
        if language == "console":
            run_console(code, place)
        elif language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(place.real(code), path.name, "exec"), program)  # noqa: S102  our own pages
            assert matches(printed, out.getvalue()), f"{code}\n{out.getvalue()}"


def test_the_files_in_the_adaptors_page_are_taken_as_they_stand(tmp_path: Path) -> None:
    page = (DOCS / "mhs.md").read_text("utf-8")
    (routes,) = [code for language, code, _ in BLOCK.findall(page) if language == "toml"]
    (tmp_path / "routes.toml").write_text(routes)
    StaticRoutes.read(tmp_path / "routes.toml")
    (row,) = re.findall(r"^```text\n(\[PRPA_.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "interactions.toml").write_text(row)
    assert "PRPA_IN000203UK03" in read_interactions(tmp_path / "interactions.toml")


def test_the_adaptors_pages_name_settings_and_addresses_that_there_are() -> None:
    known = {f"MHS_{name.upper()}" for name in MhsSettings.model_fields} | {
        f"SCR_{name.upper()}" for name in ScrSettings.model_fields
    }
    description = ROOT / "src" / "openscr" / "mhs" / "outbound" / "openapi.json"
    paths = [re.sub(r"\{[^}]*\}", "{}", path) for path in json.loads(description.read_text("utf-8"))["paths"]]
    for name in ("mhs.md", "moving-from-the-nhs-adaptor.md"):
        page = (DOCS / name).read_text("utf-8")
        assert set(re.findall(r"\b(?:MHS|SCR)_[A-Z0-9_]*[A-Z0-9]\b(?!_)", page)) - known == {"SCR_GP_SUMMARY_UPLOAD"}
        for path in re.findall(r"`(?:GET|POST) (/[^`?]*)", page):
            assert re.sub(r"\{[^}]*\}", "{}", path) in paths, path


def test_the_adaptors_page_tells_every_setting_of_the_web_service() -> None:
    page = (DOCS / "mhs.md").read_text("utf-8")
    told = set(re.findall(r"`(SCR_[A-Z_]+)`", page))
    assert {f"SCR_{name.upper()}" for name in ScrSettings.model_fields} == told
    for name, field in ScrSettings.model_fields.items():
        if not field.is_required() and field.default not in (None, ""):
            assert re.search(rf"`SCR_{name.upper()}`.*`{field.default}`", page), name


def test_the_pages_that_must_run_do() -> None:
    assert {path.relative_to(DOCS).as_posix() for path in RUN} >= {
        "first-ten-minutes.md",
        "identity.md",
        "life-of-a-record.md",
        "library/index.md",
        "library/hl7.md",
        "mhs.md",
    }


def test_what_make_run_starts_is_what_is_tested() -> None:
    """The first page says ``make run``; the service of the tests is started with the same command."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    assert re.search(r"^run:.*\n\t@exec \S+/openscr serve --demo$", makefile, re.MULTILINE)
    for target in {word for path in PAGES for word in re.findall(r"`make (\w+)", path.read_text("utf-8"))}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
