"""Who may call the REST API of a running adaptor: HTTPS, certificates of callers, keys. Spec: 50 F15, F16."""

import asyncio
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGHUP
from urllib.parse import urlsplit

import aiohttp
import pytest

from journeys.adaptor import Adaptor, beside, launch
from journeys.runner import STOP_SECONDS, Server, until
from openscr.access.pki import issue

Start = Callable[..., Adaptor]


@pytest.fixture
def own(pki: Path, tmp_path: Path) -> Path:
    """A folder with the certificate of the REST API, which may be changed."""
    folder = tmp_path / "own"
    folder.mkdir()
    for name in ("ca.pem", "ca.key", "localhost.pem", "localhost.key"):
        (folder / name).write_bytes((pki / name).read_bytes())
    return folder


@pytest.fixture
def start(demo: Server, own: Path, tmp_path: Path) -> Iterator[Start]:
    started: list[Adaptor] = []

    def begin(**settings: object) -> Adaptor:
        tls = {"outbound_tls_cert_file": own / "localhost.pem", "outbound_tls_key_file": own / "localhost.key"}
        started.append(Adaptor.start(tmp_path / "data", "outbound", **(beside(demo) | tls | settings)))
        return started[-1]

    yield begin
    for each in started:
        assert each.stop() == 0


def trusting(own: Path, *, certificate: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=own / "ca.pem")
    if certificate is not None:
        context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context


async def ask(adaptor: Adaptor, tls: ssl.SSLContext, path: str = "/queue/stats", **headers: str) -> int:
    async with (
        aiohttp.ClientSession() as session,
        session.get(adaptor.outbound + path, ssl=tls, headers=headers) as answer,
    ):
        await answer.read()
        return answer.status


async def shown(adaptor: Adaptor, tls: ssl.SSLContext) -> bytes:
    """Return the certificate that the REST API shows now."""
    address = urlsplit(adaptor.outbound)
    _, writer = await asyncio.open_connection(address.hostname, address.port, ssl=tls)
    certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    await writer.wait_closed()
    return certificate


async def test_f15_the_rest_api_over_https_asks_nobody_for_a_certificate(start: Start, own: Path) -> None:
    adaptor = start()
    assert adaptor.outbound.startswith("https://")
    assert await ask(adaptor, trusting(own)) == 200


async def test_f15_keys_are_asked_for_over_https_too(start: Start, own: Path) -> None:
    adaptor = start(secret_outbound_api_keys="only-one")
    assert await ask(adaptor, trusting(own)) == 401
    assert await ask(adaptor, trusting(own), apikey="only-one") == 200
    assert await ask(adaptor, trusting(own), "/healthcheck") == 200


async def test_f15_with_authorities_every_caller_needs_a_certificate(start: Start, own: Path) -> None:
    adaptor = start(outbound_tls_ca_file=own / "ca.pem")
    with pytest.raises(aiohttp.ClientError):
        await ask(adaptor, trusting(own))
    issue(own, "supplier.example.test")
    known = trusting(own, certificate=own / "supplier.example.test.pem")
    assert await ask(adaptor, known) == 200
    assert await ask(adaptor, known, "/", **{"Interaction-Id": "X"}) == 405


async def test_f16_a_new_certificate_of_the_rest_api_is_taken(start: Start, own: Path) -> None:
    adaptor = start()
    before = await shown(adaptor, trusting(own))
    issue(own, "localhost", dns_names=("127.0.0.1",), usage="server", new_key=True)
    adaptor.process.send_signal(SIGHUP)

    async def taken() -> bool:
        return await shown(adaptor, trusting(own)) != before

    await until(taken)
    (own / "localhost.key").write_text("half of a key")
    adaptor.process.send_signal(SIGHUP)

    async def told() -> bool:
        return "what was in force stays" in adaptor.log.read_text()

    await until(told)
    assert await ask(adaptor, trusting(own)) == 200


@pytest.mark.parametrize("name", ["outbound_tls_ca_file", "outbound_tls_cert_file", "outbound_tls_key_file"])
def test_f15_half_of_https_is_no_plain_http(demo: Server, own: Path, tmp_path: Path, name: str) -> None:
    process, log = launch(tmp_path / "data", "outbound", **beside(demo), **{name: own / "ca.pem"})
    assert process.wait(STOP_SECONDS) != 0
    assert process.stdout is not None
    process.stdout.close()
    assert "needs outbound_tls_cert_file and outbound_tls_key_file" in log.read_text()
