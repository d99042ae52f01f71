"""F15: who may call the outbound port."""

import pytest
from pydantic import SecretStr
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from mhs.outbound.posting import BODY, HEADERS, face
from mhs.rig import context
from openscr.access.certificates import ClientCertificate
from openscr.errors import ConfigurationError
from openscr.mhs.outbound.callers import CallerCheck, caller_of
from openscr.mhs.outbound.recording import RefusalRecord

KEYS = SecretStr("key-one, key-twö ,")


@pytest.mark.parametrize(
    "shown",
    [
        {"Authorization": "Bearer key-one"},
        {"authorization": "bearer  key-one"},
        {"apikey": "key-one"},
        {"apikey": "key-twö".encode().decode("latin-1")},
    ],
)
async def test_f15_whoever_shows_a_key_is_let_in(shown: dict[str, str]) -> None:
    async with face(secret_outbound_api_keys=KEYS) as served:
        got = await served.ask("POST", "/", {**HEADERS, **shown, "Content-Length": str(len(BODY))}, BODY)
        assert got.status == 202
        (asked,) = served.exchanges.asked
        assert asked.caller.startswith("key ")
        assert "key-" not in asked.caller, "the key itself is told to nobody"


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"Authorization": "Bearer key-two"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic key-one"},
        {"Authorization": "key-one"},
        {"apikey": ""},
        {"apikey": "key-one, key-two"},
        {"apikey": "KEY-ONE"},
        {"Authorization": "Bearer x", "apikey": "key-one"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/"), ("GET", "/messages"), ("GET", "/openapi.json"), ("GET", "/nowhere")]
)
async def test_f15_nobody_else_gets_anywhere(method: str, path: str, shown: dict[str, str]) -> None:
    async with face(secret_outbound_api_keys=KEYS) as served:
        got = await served.ask(method, path, {**HEADERS, **shown, "Correlation-Id": "C1"})
        assert (got.status, got.text) == (
            401,
            "401: Show one of the adaptor's keys as a Bearer token or in the apikey header",
        )
        assert got.headers["www-authenticate"] == "Bearer"
        assert got.headers["correlation-id"] == "C1"
        assert served.exchanges.asked == []
        (audited,) = [row.entry.content async for row in served.context.store.read_audit()]
        assert (audited["outcome"], audited["correlation_id"]) == ("caller_unknown", "C1")


async def test_f15_health_is_told_to_everybody() -> None:
    async def healthy(_request: object) -> Response:
        return Response()

    async with face(Route("/healthcheck", healthy), secret_outbound_api_keys=KEYS) as served:
        assert (await served.ask("GET", "/healthcheck")).status == 200


async def test_f15_without_keys_nobody_is_asked() -> None:
    async with face() as served:
        assert (await served.post()).status == 202
        assert served.exchanges.asked[0].caller == ""


async def test_f15_who_shows_a_certificate_is_known_by_it() -> None:
    """The listener has verified it, and tells its names."""
    seen: list[str] = []

    async def application(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(caller_of(scope))

    made = context()
    certificate = ClientCertificate("supplier.example.test", (), "0A", made.clock())
    check = CallerCheck(application, made, RefusalRecord(made))

    async def receive() -> Message:
        raise AssertionError

    async def send(_message: Message) -> None:
        raise AssertionError

    await check(
        {"type": "http", "path": "/", "extensions": {"tls": {"client_certificate": certificate}}}, receive, send
    )
    assert seen == ["supplier.example.test 0A"]


def test_f15_a_setting_that_holds_no_key_does_not_open_the_port() -> None:
    adaptor = context(secret_outbound_api_keys=SecretStr(" , "))
    with pytest.raises(ConfigurationError, match="holds no key"):
        CallerCheck(_nobody, adaptor, RefusalRecord(adaptor))


async def _nobody(scope: Scope, receive: Receive, send: Send) -> None:
    raise AssertionError("nobody calls")
