"""The way over HTTP on real sockets: what is known to be unsent, what is tried again, what is kept. Spec: 50 F5, F6."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from mhs.stub_spine import Received, Reply, StubSpine, answer, break_off, held, silence
from openscr.access import pki
from openscr.delivery.carrier import HttpAnswer
from openscr.delivery.carriers import HttpCarrier
from openscr.errors import DeliveryError, NotConnected
from openscr.tls import CurrentContext, TlsFiles, caller_tls, client_tls, server_tls

OK = answer(200, b"ok")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("pki")
    pki.make_demo_certificates(made)
    return made


def files(folder: Path, name: str = "localhost") -> TlsFiles:
    return TlsFiles(folder / f"{name}.pem", folder / f"{name}.key", folder / "ca.pem")


@asynccontextmanager
async def carrier(tls: ssl.SSLContext | None = None, **settings: object) -> AsyncIterator[HttpCarrier]:
    given: dict[str, object] = {"pause": 0.001, "timeout": 30.0} | settings
    made = HttpCarrier(tls, **given)  # type: ignore[arg-type]
    try:
        yield made
    finally:
        await made.close()


@contextmanager
def nothing_was_sent(about: str) -> Iterator[None]:
    with pytest.raises(NotConnected, match=about):
        yield


@contextmanager
def nobody_knows(about: str) -> Iterator[None]:
    with pytest.raises(DeliveryError, match=about) as raised:
        yield
    assert not isinstance(raised.value, NotConnected)


async def test_an_answer_has_its_headers_in_lower_case() -> None:
    async with StubSpine(lambda _: Reply(202, b"x", headers=(("SOAPAction", "A"),))) as spine, carrier() as http:
        told = await http.post(spine.url, {}, b"")
    assert (told.status, told.body) == (202, b"x")
    assert told.headers == {"content-type": "text/xml", "soapaction": "A", "content-length": "1"}


async def test_what_is_known_to_be_unsent(folder: Path) -> None:
    """No connection, no trust, no URL: the message cannot have arrived."""
    async with StubSpine(OK) as gone:
        closed = gone.url
    async with carrier() as http:
        with nothing_was_sent("no connection"):
            await http.post(closed, {}, b"")
        for address in ("spine", "//spine/", "ftp://spine/", "http://spine..test/", f"http://{'s' * 64}.test/"):
            with nothing_was_sent("no URL"):
                await http.post(address, {}, b"")
    async with StubSpine(OK, tls=server_tls(files(folder))) as spine:
        async with carrier(ssl.create_default_context()) as http:
            with nothing_was_sent("certificate is not trusted"):
                await http.post(spine.url, {}, b"")
        async with carrier(client_tls(files(folder))) as http:
            with nothing_was_sent("names another"):
                await http.post(spine.url, {}, b"", ["spine.example"])
        assert spine.received == []


async def test_what_may_have_arrived() -> None:
    async with StubSpine(silence, break_off) as spine, carrier(timeout=0.1) as http:
        with nobody_knows("no answer in time"):
            await http.post(spine.url, {}, b"")
        with nobody_knows("broke off"):
            await http.post(spine.url, {}, b"")
    async with StubSpine(answer(200, b"x" * 100)) as spine, carrier(largest_answer=99) as http:
        with nobody_knows("too large"):
            await http.post(spine.url, {}, b"")


async def test_only_connections_are_tried_again() -> None:
    """As often as it is said; what may have arrived only for those who want that."""
    async with StubSpine(break_off, break_off, OK) as spine, carrier(tries=4) as http:
        with nobody_knows("broke off"):
            await http.post(spine.url, {}, b"1")
        assert (await http.post(spine.url, {}, b"2", unsafe=True)).body == b"ok"
        assert [each.body for each in spine.received] == [b"1", b"2", b"2"]


async def test_the_number_of_tries_is_that_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    async with StubSpine(OK) as gone:
        closed = gone.url
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async with carrier(tries=6, pause=0.25) as http:
        monkeypatch.setattr("openscr.delivery.carriers.asyncio.sleep", pause)
        with nothing_was_sent("no connection"):
            await http.post(closed, {}, b"")
    assert pauses == [0.25] * 5


async def test_f5_each_exchange_has_its_own_time() -> None:
    """The carrier's own holds for those who say nothing."""
    async with StubSpine(answer(200, b"late", delay=0.3)) as spine, carrier(timeout=0.05) as http:
        with nobody_knows("no answer in time"):
            await http.post(spine.url, {}, b"")
        assert (await http.post(spine.url, {}, b"", timeout=30)).body == b"late"


async def test_f6_connections_are_kept_and_bounded_for_each_host() -> None:
    """Ten at once over two connections, and the next ten over the same ones."""
    let_go = asyncio.Event()
    async with StubSpine(held(OK, let_go)) as spine, carrier(connections=0, per_host=2) as http:
        calls = [asyncio.create_task(http.post(spine.url, {}, b"")) for _ in range(10)]
        await spine.after(2)
        assert len(spine.received) == 2
        let_go.set()
        assert {each.status for each in await asyncio.gather(*calls)} == {200}
        assert spine.connections == 2
        await asyncio.gather(*(http.post(spine.url, {}, b"") for _ in range(10)))
        assert (spine.connections, len(spine.received)) == (2, 20)


async def test_f6_more_than_ten_go_at_once() -> None:
    """The reference's limit is none of ours. Spec: 50 L6."""
    let_go = asyncio.Event()
    async with StubSpine(held(OK, let_go)) as spine, carrier(connections=0, per_host=100) as http:
        calls = [asyncio.create_task(http.post(spine.url, {}, b"")) for _ in range(100)]
        assert len(await spine.after(100)) == 100
        let_go.set()
        await asyncio.gather(*calls)


def closing(_: Received) -> Reply:
    return Reply(200, b"ok", headers=(("Connection", "close"),))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("make", [client_tls, caller_tls])
async def test_f6_tls_sessions_are_taken_up_again(
    folder: Path, version: ssl.TLSVersion, make: Callable[[TlsFiles], ssl.SSLContext]
) -> None:
    """Connection after connection, with no whole handshake but the first."""
    server = server_tls(files(folder))
    server.maximum_version = version
    async with (
        StubSpine(closing, tls=server) as spine,
        carrier(make(files(folder, "gp.client.test")), resumes=True) as http,
    ):
        for _ in range(4):
            assert (await http.post(spine.url, {}, b"")).status == 200
        assert (spine.connections, spine.resumed) == (4, 3)


async def test_f6_sessions_end_with_the_certificate_that_they_were_made_with(folder: Path) -> None:
    """Ours has been renewed: the next connection is made with the new one."""
    current = CurrentContext(client_tls(files(folder, "gp.client.test")))
    async with (
        StubSpine(closing, tls=server_tls(files(folder))) as spine,
        carrier(current, resumes=True) as http,
    ):
        for _ in range(2):
            await http.post(spine.url, {}, b"")
        current.current = client_tls(files(folder, "gp.client.test"))
        for _ in range(2):
            await http.post(spine.url, {}, b"")
        assert (spine.connections, spine.resumed) == (4, 2)


async def test_f6_without_it_every_handshake_is_whole(folder: Path) -> None:
    async with (
        StubSpine(closing, tls=server_tls(files(folder))) as spine,
        carrier(client_tls(files(folder, "gp.client.test"))) as http,
    ):
        for _ in range(3):
            await http.post(spine.url, {}, b"")
        assert spine.resumed == 0


class Proxy:
    """An HTTP proxy: makes tunnels, or refuses them, and passes on what is not for a tunnel."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.asked: list[str] = []
        self._refuses = refuses
        self._server: asyncio.Server | None = None
        self._tunnels: dict[asyncio.Task[None], list[asyncio.StreamWriter]] = {}

    async def __aenter__(self) -> "Proxy":
        """Listen."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Listen no more, and end every tunnel."""
        assert self._server is not None
        self._server.close()
        for tunnel in self._tunnels:
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)
        for writer in (writer for writers in self._tunnels.values() for writer in writers):
            writer.close()
            await asyncio.gather(writer.wait_closed(), return_exceptions=True)

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tunnel = asyncio.current_task()
        assert tunnel is not None
        ends = self._tunnels[tunnel] = [writer]
        head = await reader.readuntil(b"\r\n\r\n")
        self.asked.append(head.split(b"\r\n")[0].decode())
        if self._refuses:
            writer.write(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
            return
        host, _, port = self.asked[-1].split(" ")[1].rpartition(":")
        away_reader, away_writer = await asyncio.open_connection(host, int(port))
        ends.append(away_writer)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(_pass_on(reader, away_writer), _pass_on(away_reader, writer))


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65_536):
        writer.write(data)


async def test_messages_go_through_a_proxy(folder: Path) -> None:
    """By a tunnel: it sees where they go, and nothing of them. Spec: 50 §2.8."""
    async with StubSpine(closing, tls=server_tls(files(folder))) as spine, Proxy() as proxy:
        async with carrier(client_tls(files(folder, "gp.client.test")), proxy=proxy.url) as http:
            told = await http.post(spine.url, {}, b"secret", ["localhost"])
        assert told.body == b"ok"
        assert proxy.asked == [f"CONNECT 127.0.0.1:{spine.port} HTTP/1.1"]


async def test_a_proxy_that_makes_no_tunnel_has_sent_nothing(folder: Path) -> None:
    async with StubSpine(OK, tls=server_tls(files(folder))) as spine, Proxy(refuses=True) as proxy:
        async with carrier(client_tls(files(folder, "gp.client.test")), proxy=proxy.url) as http:
            with nothing_was_sent("proxy"):
                await http.post(spine.url, {}, b"secret")
        assert spine.received == []


def test_an_answer_without_headers_has_none() -> None:
    assert HttpAnswer(200, b"").headers == {}
