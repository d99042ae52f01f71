"""The HTTP call with which test suites set scenarios: ``/demo/scenarios``, on test environments only.

* ``GET`` shows what can be set and what is set.
* ``POST`` sets what its JSON body says: 201 with what is set now, 400 with one line about what is wrong.
* ``DELETE`` clears everything; ``DELETE /demo/scenarios/<name>`` one scenario, or all of a named set.

NHS numbers stand in bodies alone, never in an address. A body must be announced as JSON: a page of another site could
otherwise post here from a browser on this machine.

Spec: 00 §4 ``scenario``, §7.
"""

import json
from dataclasses import dataclass
from typing import Any, Final, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from openscr.errors import OpenSCRError

PATH: Final = "/demo/scenarios"
LARGEST_BODY: Final = 1_048_576


class ScenarioSwitches(Protocol):
    """The scenarios of the running service."""

    def shown(self) -> dict[str, Any]:
        """Return what can be set, and what is set."""

    async def set(self, form: object) -> list[dict[str, Any]]:
        """Set what a form says, and return it. Raises: `OpenSCRError` that says what is wrong with the form."""

    def clear(self, name: str | None) -> int:
        """Clear one scenario, one set or everything; return how many scenarios that were."""


@dataclass(frozen=True, slots=True)
class ScenarioFace:
    """The routes of this face."""

    switches: ScenarioSwitches

    def routes(self) -> list[BaseRoute]:
        """Return the routes to mount on the web listener of a test environment."""
        return [
            Route(PATH, self._show, methods=["GET"]),
            Route(PATH, self._set, methods=["POST"]),
            Route(PATH, self._clear, methods=["DELETE"]),
            Route(f"{PATH}/{{name}}", self._clear, methods=["DELETE"]),
        ]

    async def _show(self, _request: Request) -> Response:
        return JSONResponse(self.switches.shown())

    async def _set(self, request: Request) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if media_type != "application/json":
            return _wrong("send the scenario as JSON, with Content-Type: application/json", 415)
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > LARGEST_BODY:
                return _wrong(f"a body has at most {LARGEST_BODY} bytes", 413)
        try:
            form = json.loads(bytes(body))
        except (ValueError, RecursionError):
            return _wrong("the body is not JSON")
        try:
            return JSONResponse({"scenarios": await self.switches.set(form)}, status_code=201)
        except OpenSCRError as error:
            return _wrong(error.diagnostics)

    async def _clear(self, request: Request) -> Response:
        name = request.path_params.get("name")
        cleared = self.switches.clear(name)
        if name is not None and not cleared:
            return _wrong("no scenario and no set of this name is set", 404)
        return JSONResponse({"cleared": cleared})


def _wrong(text: str, status: int = 400) -> Response:
    return JSONResponse({"error": text}, status_code=status)
