"""The static files of the pages: styles, images, icon; kept by browsers for as long as they are what they were.

Their address holds a digest of all of them, so that a new version is a new address.

Spec: 80 §8.
"""

from hashlib import sha256
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

STYLES: Final = ("nhsuk-frontend-10.6.1.min.css", "pages.css")
"""The style sheets of every page, in order. The first is made by ``scripts/take_styles.py``."""

_TYPES: Final = {".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}


def _read(folder: Traversable, prefix: str = "") -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for each in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if each.is_dir():
            found |= _read(each, f"{prefix}{each.name}/")
        elif any(each.name.endswith(ending) for ending in _TYPES):
            found[f"{prefix}{each.name}"] = each.read_bytes()
    return found


_FILES: Final = _read(resources.files("openscr.pages").joinpath("static"))
_DIGEST: Final = sha256(b"".join(name.encode() + data for name, data in _FILES.items())).hexdigest()[:12]
_PREFIX: Final = f"/static/pages/{_DIGEST}/"


def static_address(name: str) -> str:
    """Return the address of a static file. Raises: `KeyError` when there is none of this name."""
    if name not in _FILES:
        raise KeyError(name)
    return f"{_PREFIX}{name}"


def static_routes() -> list[BaseRoute]:
    """Return the route of the static files, to be mounted once by a service that has pages."""
    return [Route(f"{_PREFIX}{{name:path}}", _serve)]


async def _serve(request: Request) -> Response:
    name = request.path_params["name"]
    data = _FILES.get(name)
    if data is None:
        return PlainTextResponse("There is no such file.\n", status_code=404)
    headers = {"Cache-Control": "public, max-age=31536000, immutable", "X-Content-Type-Options": "nosniff"}
    return Response(data, media_type=_TYPES[name[name.rindex(".") :]], headers=headers)
