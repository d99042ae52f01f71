"""The directory face on a source that fails: what went wrong is told in FHIR, and nothing leaks. Spec: 40 §11.2."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from prometheus_client import generate_latest
from starlette.applications import Starlette

from openscr.directory.sds_api import ODS, PARTY_KEY, ROLE
from openscr.errors import DirectoryTimeout, DirectoryUnavailable
from openscr.faces.sds.application import BASE, SdsFace
from openscr.identifiers import mint_uuid
from openscr.metrics import Metrics

UUID = "9D0F6A52-8C1B-4E37-A2D4-6F5B3C2E1001"


class Failing:
    """A source that raises an error whatever it is asked."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def systems(self, **_wanted: str) -> Any:
        raise self._error

    async def endpoints(self, **_wanted: str) -> Any:
        raise self._error

    async def job_role(self, *_wanted: Any) -> Any:
        raise self._error


async def ask(error: Exception, resource: str, query: str) -> tuple[int, dict[str, str], dict[str, Any], Metrics]:
    metrics = Metrics()
    face = SdsFace(Failing(error), metrics, lambda: datetime(2026, 11, 22, tzinfo=UTC), mint_uuid)
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {
        "type": "http",
        "method": "GET",
        "path": f"{BASE}/{resource}",
        "query_string": query.encode(),
        "headers": [(b"x-correlation-id", UUID.encode()), (b"host", b"sds.test")],
        "scheme": "http",
        "server": ("sds.test", 80),
        "root_path": "",
    }
    await Starlette(routes=face.routes())(scope, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, json.loads(sent[1]["body"]), metrics


@pytest.mark.parametrize(
    ("error", "status", "issue"),
    [
        (RuntimeError("secret text"), 500, "exception"),
        (ValueError("secret text"), 500, "exception"),
        (DirectoryUnavailable("secret text"), 502, "exception"),
        (DirectoryTimeout("secret text"), 504, "timeout"),
    ],
)
@pytest.mark.parametrize(
    ("resource", "query"),
    [
        ("Endpoint", f"organization={ODS}|YES&identifier={PARTY_KEY}|YES-0000806"),
        ("PractitionerRole", f"user-role-id={ROLE}|555000000102"),
    ],
)
async def test_a_source_that_fails_is_told_as_an_operation_outcome(
    error: Exception, status: int, issue: str, resource: str, query: str, capfd: pytest.CaptureFixture[str]
) -> None:
    answered, headers, document, metrics = await ask(error, resource, query)
    assert answered == status
    assert headers["x-correlation-id"] == UUID
    assert headers["content-type"] == "application/fhir+json"
    assert document["issue"][0]["code"] == issue
    assert document["issue"][0]["details"]["coding"][0]["code"] == "INTERNAL_SERVER_ERROR"
    printed = capfd.readouterr()
    for text in (json.dumps(document), printed.out, printed.err):
        assert "secret" not in text
        assert "555000000102" not in text
    assert f'interaction="{resource}",outcome="{status}"' in generate_latest(metrics.registry).decode()
