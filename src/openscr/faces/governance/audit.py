"""The audit over HTTP: a search that is answered, an export that is streamed; each leaves a row itself.

NHS numbers stand in bodies, never in a URL. Spec: 35 §7, §9.3; 80 §5.3.
"""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response, StreamingResponse

from openscr.access.refusals import RequestRefused
from openscr.faces.governance.exchange import Asked, Endpoint, respond
from openscr.faces.governance.refusals import FORBIDDEN, invalid, refuse
from openscr.identifiers import has_ten_digits
from openscr.record.audit_forms import MEDIA_TYPES, Form, as_values, without_patient, written
from openscr.record.audit_search import EXPORT, SEARCH, AuditQuery, AuditReading, AuditSearch
from openscr.store.interface import AuditRow

_Time = Annotated[datetime, Meta(tz=True)]
_Word = Annotated[str, Meta(max_length=200)]
_CHUNK = 64 * 1024


class _Conditions(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    nhs_number: str | None = None
    user: _Word = ""
    system: _Word = ""
    action: _Word = ""
    correlation_id: _Word = ""
    outcome: Literal["any", "allowed", "refused"] = "any"
    out_of_hours: bool = False
    since: _Time | None = None
    until: _Time | None = None
    patients: bool = False


class _Search(_Conditions, kw_only=True):
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class _Export(_Conditions, kw_only=True):
    format: Literal["csv", "json", "fhir", "fhir-bundle"] = "csv"


class AuditEndpoints:
    """The routes; ``audit`` decides what an officer may read."""

    def __init__(self, audit: AuditSearch) -> None:
        self._audit = audit

    def endpoints(self, prefix: str) -> tuple[Endpoint, ...]:
        """Return the routes under a prefix."""
        return (
            Endpoint("POST", f"{prefix}/audit/search", self.search),
            Endpoint("POST", f"{prefix}/audit/export", self.export),
        )

    async def search(self, asked: Asked) -> Response:
        """Tell rows of the own organisation, the newest first, and whether there are more. Spec: 35 §7."""
        form = asked.read(_Search)
        reading = await self._read(asked, form, SEARCH, newest_first=True)
        if not reading.outcome.accepted:
            return refuse(FORBIDDEN)
        found: list[AuditRow] = []
        async for row in reading.rows:
            found.append(row)
            if len(found) > form.limit:
                break
        shown = [as_values(row if form.patients else without_patient(row)) for row in found[: form.limit]]
        return respond({"rows": shown, "more": len(found) > form.limit})

    async def export(self, asked: Asked) -> Response:
        """Stream rows of the own organisation, the oldest first, in the form that is wanted. Spec: 35 §7."""
        form = asked.read(_Export)
        kind = Form(form.format)
        reading = await self._read(asked, form, EXPORT)
        if not reading.outcome.accepted:
            return refuse(FORBIDDEN)
        lines = written(reading.rows, kind, patients=form.patients)
        headers = {"Content-Disposition": f'attachment; filename="audit.{_ENDINGS[kind]}"'}
        return StreamingResponse(_in_chunks(lines), 200, headers, MEDIA_TYPES[kind])

    async def _read(self, asked: Asked, form: _Conditions, action: str, *, newest_first: bool = False) -> AuditReading:
        number = form.nhs_number.replace(" ", "") if form.nhs_number is not None else None
        if number is not None and not has_ten_digits(number):
            raise RequestRefused(invalid("nhs_number: ten digits are expected"))
        query = AuditQuery(
            nhs_number=number,
            user=form.user,
            system=form.system,
            action=form.action,
            correlation_id=form.correlation_id,
            refused=None if form.outcome == "any" else form.outcome == "refused",
            out_of_hours=form.out_of_hours,
            since=form.since,
            until=form.until,
        )
        details = {"patients": "shown" if form.patients else "masked"}
        return await self._audit.read(
            asked.caller, query, asked.ids, action, newest_first=newest_first, details=details
        )


_ENDINGS = {Form.CSV: "csv", Form.JSON: "jsonl", Form.FHIR: "ndjson", Form.BUNDLE: "json"}


async def _in_chunks(lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """Give lines in pieces that are worth a write each."""
    waiting = bytearray()
    async for line in lines:
        waiting += line.encode()
        if len(waiting) >= _CHUNK:
            yield bytes(waiting)
            waiting.clear()
    yield bytes(waiting)
