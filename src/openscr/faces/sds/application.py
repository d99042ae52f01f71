"""The directory face: searches for Device, Endpoint and PractitionerRole, answered from a directory.

It asks for no login, as SDS itself does not: what it tells is who may be sent what, and where. Of a person it tells the
job role code alone. The header ``apikey`` is let pass.

Spec: 40 §11.2, 60 §13.
"""

from dataclasses import dataclass
from time import perf_counter
from typing import Final
from urllib.parse import quote

import structlog
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.types import Receive, Scope, Send

from openscr.directory.sources import SdsSource, addresses_of
from openscr.errors import DirectoryTimeout, DirectoryUnavailable
from openscr.faces.sds.searches import (
    FHIR_JSON,
    RESOURCES,
    Refused,
    Search,
    bad_request,
    is_one_uuid,
    media_type,
    read_search,
)
from openscr.fhir.sds import Resource, bundle, device, endpoint, outcome, practitioner_role
from openscr.identifiers import LONDON, Clock, UuidFactory
from openscr.metrics import Metrics

BASE: Final = "/spine-directory/FHIR/R4"
CORRELATION: Final = "X-Correlation-ID"

_DISPLAYS: Final = {
    "BAD_REQUEST": "Bad request",
    "NO_RECORD_FOUND": "No record found",
    "NOT_IMPLEMENTED": "Not implemented",
    "MISSING_OR_INVALID_HEADER": "There is a required header missing or invalid",
    "INTERNAL_SERVER_ERROR": "Unexpected internal server error",
}
_log = structlog.get_logger("sds")


@dataclass(frozen=True, slots=True)
class SdsFace:
    """The routes of this face."""

    source: SdsSource
    metrics: Metrics
    clock: Clock
    mint: UuidFactory

    def routes(self) -> list[BaseRoute]:
        """Return the routes to mount on the web listener."""
        return [Mount(BASE, app=self._serve)]

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        request = Request(scope, receive)
        name = request.url.path.removeprefix(f"{BASE}/")
        resource = name if name in RESOURCES else "unknown"
        response = await self._answer(request, resource)
        await response(scope, receive, send)
        self.metrics.request("sds", resource, str(response.status_code), perf_counter() - started)

    async def _answer(self, request: Request, resource: str) -> Response:
        given = request.headers.getlist(CORRELATION)
        headers = {CORRELATION: given[0] if is_one_uuid(given) else self.mint()}
        kind = FHIR_JSON
        try:
            if resource == "unknown":
                raise Refused(404, "not-found", "NO_RECORD_FOUND", f"Searches are for {', '.join(RESOURCES)}.")
            if request.method != "GET":
                headers["Allow"] = "GET"
                raise Refused(405, "not-supported", "NOT_IMPLEMENTED", "The directory can be searched with GET only.")
            kind = media_type(request.headers.getlist("Accept"))
            if given and not is_one_uuid(given):
                raise bad_request(f"The header {CORRELATION} is one UUID.")
            search = read_search(resource, request.scope["query_string"])
            body = await self._search(f"{request.url.scheme}://{request.url.netloc}{BASE}", resource, search)
            return Response(body, 200, headers, media_type=kind)
        except Refused as reason:
            refused = reason
        except DirectoryTimeout:
            refused = Refused(504, "timeout", "INTERNAL_SERVER_ERROR", "The directory did not answer in time.")
        except DirectoryUnavailable:
            refused = Refused(502, "exception", "INTERNAL_SERVER_ERROR", "The directory cannot be asked now.")
        except Exception as error:  # noqa: BLE001
            # Whatever goes wrong here is told as everything else is.
            _log.error(
                "search failed", resource=resource, error=type(error).__name__, correlation_id=headers[CORRELATION]
            )
            refused = Refused(500, "exception", "INTERNAL_SERVER_ERROR", "The search failed.")
        body = outcome(refused.issue, refused.code, _DISPLAYS[refused.code], refused.diagnostics)
        return Response(body, refused.status, headers, media_type=kind)

    async def _search(self, base: str, resource: str, search: Search) -> bytes:
        # The values stand in the link as they are meant, with whatever a URL cannot hold encoded.
        query = "&".join(f"{name}={quote(value, safe='/:|')}" for name, value in search.parameters)
        return bundle(self.mint(), base, f"{base}/{resource}?{query}", await self._find(resource, search))

    async def _find(self, resource: str, search: Search) -> list[Resource]:
        source = self.source
        if resource == "Device":
            systems = await source.systems(
                ods=search.organization,
                interaction=search.interaction,
                party_key=search.party_key,
                manufacturer=search.manufacturer,
            )
            return [device(entry, search.organization) for entry in systems]
        if resource == "Endpoint":
            found = await source.endpoints(
                ods=search.organization, interaction=search.interaction, party_key=search.party_key
            )
            return [endpoint(entry, address) for entry in found for address in await addresses_of(source, entry)]
        job_role = await source.job_role(search.role, self.clock().astimezone(LONDON).date())
        return [practitioner_role(search.role, job_role)] if job_role is not None else []
