"""The landing page of a demo service: what runs, who is in it, how to talk to it, what it answered, what a record is.

Invariants:

* No NHS number stands in any address: records are opened by an opaque key.
* Whatever is shown is escaped, but for the record itself, which comes sanitised (`Presentation.html`); scripts and
  styles come from files only, and the content security policy says so.

Spec: 00 §3.1; 10 §9.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from openscr.identifiers import LONDON

_PACKAGE: Final = "openscr.faces.operations"

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Headers of every page of this face. Spec: 00 §7."""


class Tone(StrEnum):
    """How a state is coloured; its words alone say what it means."""

    CURRENT = "current"
    NOTICE = "notice"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """What runs. Addresses are origins (``http://127.0.0.1:8080``); ``started_at`` is an instant with its zone."""

    version: str
    faces: Sequence[str]
    engine: str
    web_address: str
    spine_address: str
    started_at: datetime


@dataclass(frozen=True, slots=True)
class PatientRow:
    """A demo patient as listed: ``key`` is opaque, ``updated`` when the newest of ``events`` events was stored."""

    key: str
    nhs_number_display: str
    name: str
    state: str
    updated: datetime | None = None
    events: int = 0
    tone: Tone = Tone.CURRENT


class LandingData(Protocol):
    """What the page shows, as it is now."""

    async def facts(self) -> ServiceFacts:
        """Return what runs."""

    async def patients(self) -> Sequence[PatientRow]:
        """Return the demo patients in the order of the list; the first is shown until another is chosen."""

    async def record_html(self, key: str) -> str | None:
        """Return the sanitised presentation text of the patient's current record, or none when there is none."""


@dataclass(frozen=True, slots=True)
class CurlLine:
    """A command to paste into a shell: what it does, what is answered, the line itself."""

    title: str
    answer: str
    command: str


def curl_lines(web_address: str) -> tuple[CurlLine, ...]:
    """Return the commands that upload, list and retrieve: each fetches a fresh body and posts it. Spec: 00 §3.1 (3)."""
    return (
        CurlLine(
            "Upload a summary for a new patient",
            "The transport acknowledgement comes back at once; the application acknowledgement appears in the inbox.",
            _curl(web_address, "upload", "/reliablemessaging/reliablerequest"),
        ),
        CurlLine(
            "List a patient's events",
            "An event list with every version, its status and the patient's permission to view.",
            _curl(web_address, "list", "/sync-service"),
        ),
        CurlLine(
            "Retrieve the current record",
            "The event with its document, exactly as the practice sent it.",
            _curl(web_address, "event", "/sync-service"),
        ),
    )


def _curl(web_address: str, sample: str, path: str) -> str:
    # The sample's own response headers are the headers to send; curl reads them from its standard input.
    return (
        f"d=$(mktemp -d); curl -sD $d/h -o $d/b {web_address}/demo/sample/{sample} && "
        "grep -iE '^(content-type|soapaction):' $d/h | tr -d '\\r' | "
        f"curl -s -H @- --data-binary @$d/b {web_address}{path}; echo"
    )


class LandingPage:
    """Serves ``/`` of a demo service. ``inbox_parties`` are the party keys whose collected messages are shown."""

    def __init__(self, data: LandingData, inbox_parties: Sequence[str] = ()) -> None:
        self._data = data
        self._inbox_parties = tuple(inbox_parties)
        environment = Environment(
            loader=PackageLoader(_PACKAGE),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters.update(uk_time=uk_time, uk_day=uk_day)
        self._template = environment.get_template("landing.html")

    def routes(self) -> list[BaseRoute]:
        """Return the routes to mount on the web listener."""
        return [
            Route("/", self._page),
            Route("/record/{key}", self._page),
            Mount("/static/operations", StaticFiles(packages=[(_PACKAGE, "static")])),
        ]

    async def render(self, key: str | None = None) -> str | None:
        """Return the page with the record of a patient open (the first one's without a key); none: no such patient."""
        facts = await self._data.facts()
        patients = await self._data.patients()
        chosen = next((patient for patient in patients if key is None or patient.key == key), None)
        if chosen is None and key is not None:
            return None
        record = await self._data.record_html(chosen.key) if chosen is not None else None
        return self._template.render(
            facts=facts,
            patients=patients,
            chosen=chosen,
            record=None if record is None else Markup(record),  # noqa: S704  sanitised by `Presentation.html`
            curl_lines=curl_lines(facts.web_address),
            inbox_parties=self._inbox_parties,
        )

    async def _page(self, request: Request) -> Response:
        html = await self.render(request.path_params.get("key"))
        if html is None:
            return PlainTextResponse("There is no such record.\n", status_code=404, headers=HEADERS)
        return HTMLResponse(html, headers=HEADERS)


def uk_time(instant: datetime) -> str:
    """Write an instant for people: ``14 Nov 2026, 10:42`` in UK local time."""
    return f"{uk_day(instant)}, {instant.astimezone(LONDON):%H:%M}"


def uk_day(instant: datetime) -> str:
    """Write the UK day of an instant for people: ``14 Nov 2026``."""
    local = instant.astimezone(LONDON)
    return f"{local.day} {local:%b %Y}"
