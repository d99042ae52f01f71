"""Officers are told of alerts by real servers; by those that refuse, keep silent, lie or are away as well.

Spec: 80 §5.1, §5.3; 35 §6.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import structlog
from prometheus_client import generate_latest

from journeys.officers import Webhook, mailbox, webhook
from journeys.runner import until
from openscr.access.pki import create_authority, issue
from openscr.delivery import notification_senders
from openscr.delivery.carriers import HttpCarrier
from openscr.delivery.notification_senders import (
    MailSender,
    MailServer,
    WebhookSender,
    read_mail_server,
    sign,
    write_mail,
)
from openscr.delivery.notifications import GIVEN_UP_AFTER, LONGEST_PAUSE, Notifier, Sender, pause_after
from openscr.errors import ConfigurationError, DeliveryError
from openscr.metrics import Metrics
from openscr.store.alert_records import Notice, Subscription
from openscr.store.interface import Store
from openscr.store.opening import open_store
from store.samples import PATIENT, an_alert, an_id, append

NOON = datetime(2026, 5, 5, 12, 0, tzinfo=UTC)


class Office:
    """A store with alerts, those who are told, and a clock that the test moves."""

    def __init__(self, store: Store, hook: Webhook) -> None:
        self.store = store
        self.hook = hook
        self.now = NOON
        self.metrics = Metrics()
        self.webhooks = WebhookSender(HttpCarrier(None, timeout=5), self.clock)
        self.notifier = self.open({})

    def clock(self) -> datetime:
        """What time it is."""
        return self.now

    def open(self, senders: dict[str, Sender]) -> Notifier:
        """Put another notifier in the place of the present one, as a restart does."""
        self.notifier = Notifier(self.store, {"webhook": self.webhooks, **senders}, self.metrics, clock=self.clock)
        return self.notifier

    async def subscribe(self, number: int, address: str, kind: str = "webhook", types: tuple[str, ...] = ("1",)) -> str:
        """Let somebody of the alerts' organisation be told; return the id."""
        id = an_id(number)
        made = Subscription(id, "B99901", kind, address, "secret", types, "U", "R", NOON)
        await self.store.write_subscription(made)
        return id

    async def sweep(self) -> list[Notice]:
        """Look twice: what is shared out at the first look is sent at the second. Return what is left."""
        for _ in range(2):
            await self.notifier.sweep()
            await self.notifier.idle()
        return await self.store.read_notices()


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    """An office without subscriptions."""
    store = open_store(str(tmp_path / "openscr.db"))
    await store.open()
    async with webhook() as hook:
        opened = Office(store, hook)
        yield opened
        await opened.notifier.stop()
        await opened.webhooks.close()
    await store.close()


def alerts_of(hook: Webhook) -> list[str]:
    """The references that a web server was told, in order."""
    return [body.decode().partition('"alert":"')[2].rstrip('"}') for _, body in hook.posted]


async def test_everybody_who_has_subscribed_is_told_once(office: Office) -> None:
    """Of the own organisation, of the types that the officer may handle, and of nothing a second time."""
    await office.subscribe(900, office.hook.url)
    await office.subscribe(901, office.hook.url, types=("2",))
    stranger = Subscription(an_id(902), "B99902", "webhook", office.hook.url, "s", ("1",), "U", "R", NOON)
    await office.store.write_subscription(stranger)
    await append(office.store, [an_alert(1), an_alert(2)])
    assert await office.sweep() == []
    assert await office.sweep() == []
    assert sorted(alerts_of(office.hook)) == [an_id(1), an_id(2)]
    for headers, body in office.hook.posted:
        assert PATIENT.encode() not in body
        at = int(headers["OpenSCR-Signature"].split(",")[0].removeprefix("t="))
        assert headers["OpenSCR-Signature"] == sign("secret", at, body) == sign("secret", int(NOON.timestamp()), body)
        assert not {"Authorization", "User-Agent"} & set(headers)
    figures = generate_latest(office.metrics.registry).decode()
    assert 'openscr_notices_total{channel="webhook",outcome="sent"} 2.0' in figures


async def test_without_subscriptions_nothing_is_kept(office: Office) -> None:
    """Who subscribes later is not told of what was before."""
    await append(office.store, [an_alert(1)])
    assert await office.sweep() == []
    await office.subscribe(900, office.hook.url)
    assert await office.sweep() == []
    assert office.hook.posted == []


@pytest.mark.parametrize("status", [301, 307, 400, 404, 410, 500, 503])
async def test_who_refuses_is_asked_again_ever_more_rarely(office: Office, status: int) -> None:
    """Redirections are not followed; after three days it is given up, and stays for the operator to see."""
    await office.subscribe(900, office.hook.url)
    office.hook.status = status
    await append(office.store, [an_alert(1)])
    pauses = []
    while (left := await office.sweep())[0].due_at is not None:
        (notice,) = left
        assert notice.due_at is not None
        assert notice.last_error == f"HTTP {status}"
        pauses.append(notice.due_at - office.now)
        assert await office.sweep() == left
        office.now = notice.due_at
    assert pauses == [pause_after(n) for n in range(1, len(pauses) + 1)]
    assert pauses[0] == timedelta(seconds=30)
    assert pauses[-1] == LONGEST_PAUSE == max(pauses)
    assert office.now - left[0].created_at >= GIVEN_UP_AFTER
    assert office.hook.refused == len(pauses) + 1
    office.hook.status = 200
    office.now += timedelta(days=1)
    assert await office.sweep() == left
    assert office.hook.posted == []


async def test_one_that_is_refused_stands_in_the_way_of_none(office: Office) -> None:
    """New ones come first when it is time again."""
    await office.subscribe(900, office.hook.url)
    office.hook.status = 503
    await append(office.store, [an_alert(1), an_alert(2), an_alert(3)])
    left = await office.sweep()
    assert office.hook.refused == 1
    assert sorted(notice.attempts for notice in left) == [0, 0, 1]
    assert {notice.due_at for notice in left} == {office.now + timedelta(seconds=30)}
    office.hook.status = 200
    office.now += timedelta(seconds=30)
    assert await office.sweep() == []
    assert len(office.hook.posted) == 3
    failed = next(notice.alert_id for notice in left if notice.attempts)
    assert alerts_of(office.hook)[-1] == failed


async def test_who_keeps_silent_holds_up_nobody(office: Office) -> None:
    """The others are told meanwhile; when the service stops, it does not wait either."""
    async with webhook() as silent:
        silent.silent = asyncio.Event()
        await office.subscribe(900, silent.url)
        await office.subscribe(901, office.hook.url)
        await append(office.store, [an_alert(number) for number in range(1, 120)])
        office.notifier.start()
        await until(has_told(office, an_id(901)))
        before = monotonic()
        await office.notifier.stop()
        assert monotonic() - before < 5
        left = await office.store.read_notices()
        assert {notice.subscription_id for notice in left} == {an_id(900)}
        assert (len(left), len(office.hook.posted)) == (119, 119)
        silent.silent.set()
    # Now nobody is there at all.
    await office.webhooks.close()
    office.webhooks = WebhookSender(HttpCarrier(None, timeout=0.2, connect_timeout=0.2), office.clock)
    office.open({})
    (first, *_) = sorted(await office.sweep(), key=lambda notice: -notice.attempts)
    assert (first.attempts, first.last_error) == (1, "no connection")


def has_told(office: Office, subscription: str) -> Callable[[], Awaitable[bool]]:
    """Return what asks whether a subscriber was told of everything."""

    async def told() -> bool:
        waiting = {notice.subscription_id for notice in await office.store.read_notices()}
        return waiting.isdisjoint({"", subscription})

    return told


async def test_a_subscription_that_ends_takes_its_notices_along(office: Office) -> None:
    """Nothing is sent to an address that nobody wants any more."""
    id = await office.subscribe(900, office.hook.url)
    office.hook.status = 503
    await append(office.store, [an_alert(1)])
    await office.sweep()
    await office.store.remove_subscription(id)
    office.hook.status = 200
    office.now += timedelta(hours=2)
    assert await office.sweep() == []
    assert office.hook.posted == []


async def test_nothing_of_an_address_or_an_alert_is_logged(office: Office) -> None:
    """Which subscription, and what went wrong."""
    await office.subscribe(900, office.hook.url)
    await office.subscribe(901, "officer@nhs.test", "email")
    office.hook.status = 503
    await append(office.store, [an_alert(1)])
    with structlog.testing.capture_logs() as logs:
        await office.sweep()
    told = {(log["event"], log["subscription"], log["error"]) for log in logs}
    assert told == {
        ("notice not sent", an_id(900), "HTTP 503"),
        ("notice not sent", an_id(901), "this service cannot send there"),
    }
    for secret in (office.hook.url, "officer@nhs.test", an_id(1), PATIENT, "secret"):
        assert secret not in str(logs)


# --- mail -----------------------------------------------------------------------------------------------------------

LETTER = Subscription(an_id(900), "B99901", "email", "officer@nhs.test", "", ("1",), "U", "R", NOON)


def sender(port: int, tls: ssl.SSLContext | None = None, timeout: float = 5, **server: object) -> MailSender:
    """Return what sends mails to a port of this machine."""
    starts_tls = server.pop("starts_tls", None)
    place = MailServer("localhost" if tls else "127.0.0.1", port, **server)  # type: ignore[arg-type]
    return MailSender(
        place,
        "openscr@nhs.test",
        tls or ssl.create_default_context(),
        clock=lambda: NOON,
        timeout=timeout,
        starts_tls=starts_tls,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A mail server's certificate, its key, and the authority."""
    folder = tmp_path_factory.mktemp("mail") / "pki"
    create_authority(folder)
    issue(folder, "localhost", dns_names=["127.0.0.1"], usage="both")
    return folder / "localhost.pem", folder / "localhost.key", folder / "ca.pem"


async def test_a_mail_is_handed_over(office: Office) -> None:
    """The reference, and that there is something to do: nothing else. The same notice has the same id."""
    async with mailbox() as box:
        office.open({"email": sender(box.port)})
        await office.subscribe(900, "officer@nhs.test", "email")
        await append(office.store, [an_alert(1)])
        assert await office.sweep() == []
    (mail,) = box.mails
    assert mail["To"] == "officer@nhs.test"
    assert mail["Message-ID"] == write_mail("openscr@nhs.test", LETTER, an_id(1), office.now)["Message-ID"]
    assert an_id(1) in mail.as_string()
    for secret in (PATIENT, "B99901", "Synthetic", "emergency", "900000000301"):
        assert secret not in mail.as_string()


async def test_a_mail_goes_over_tls(certificate: tuple[Path, Path, Path]) -> None:
    """STARTTLS with a certificate that is trusted; with another nothing is said, and without it neither."""
    pem, key, authority = certificate
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(pem, key)
    trusting = ssl.create_default_context(cafile=authority)
    async with mailbox(tls_context=server_side, require_starttls=True) as box:
        await sender(box.port, trusting, starts_tls=True).send(LETTER, an_id(1))
        assert box.secure == [True]
        with pytest.raises(DeliveryError, match="certificate is not trusted"):
            await sender(box.port, ssl.create_default_context(), starts_tls=True).send(LETTER, an_id(1))
        with pytest.raises(DeliveryError, match="SMTP 530"):
            await sender(box.port).send(LETTER, an_id(1))
        assert len(box.mails) == 1
    async with mailbox() as box:
        with pytest.raises(DeliveryError, match="no connection"):
            await sender(box.port, trusting, starts_tls=True).send(LETTER, an_id(1))
        assert box.mails == []


async def test_a_mail_server_that_never_ends_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It greets line by line, for ever: when the time is over its connection ends, and the thread with it."""
    monkeypatch.setattr(notification_senders, "LONGEST", 0.3)
    left = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gone = asyncio.create_task(reader.read())
        while not gone.done():
            writer.write(b"220-wait\r\n")
            await asyncio.wait([gone], timeout=0.02)
        writer.close()
        left.set()

    listener = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with listener:
        with pytest.raises(DeliveryError, match="no answer in time"):
            await sender(listener.sockets[0].getsockname()[1]).send(LETTER, an_id(1))
        await asyncio.wait_for(left.wait(), 20)


async def test_a_mail_server_that_refuses() -> None:
    """Codes are told, texts are not: they might repeat the address."""
    async with mailbox() as box:
        box.refusal = "550 officer@nhs.test is nobody"
        with pytest.raises(DeliveryError) as refused:
            await sender(box.port).send(LETTER, an_id(1))
        assert refused.value.diagnostics == "the mail server does not take this recipient"
        with pytest.raises(DeliveryError, match=r"SMTP|no connection"):
            await sender(box.port, user="u", password="p").send(LETTER, an_id(1))
        assert box.mails == []


async def test_a_mail_server_that_is_away_or_keeps_silent() -> None:
    """Neither is waited for longer than a while."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(DeliveryError, match="no answer in time"):
        await sender(port, timeout=0.2).send(LETTER, an_id(1))
    server.close()
    await server.wait_closed()
    with pytest.raises(DeliveryError, match="no connection"):
        await sender(port).send(LETTER, an_id(1))


def test_the_address_of_a_mail_server() -> None:
    """What stands in the setting ``smtp``; what is wrong with it is told without repeating a password."""
    assert read_mail_server("smtp://mail.test") == MailServer("mail.test", 587)
    assert read_mail_server("smtps://u%40x:p%2Fw@mail.test") == MailServer("mail.test", 465, True, "u@x", "p/w")
    assert read_mail_server("smtp://mail.test:25").starts_tls
    assert not read_mail_server("smtp://127.0.0.1:25").starts_tls
    assert not read_mail_server("smtps://mail.test").starts_tls
    for wrong in ("http://x", "smtp://", "smtp://u:secret@h:port"):
        with pytest.raises(ConfigurationError) as refused:
            read_mail_server(wrong)
        assert "secret" not in refused.value.diagnostics


async def test_of_all_workers_one_tells(office: Office) -> None:
    """The others look at nothing; when it is their turn they do, within a moment."""
    await office.subscribe(900, office.hook.url)
    leader = [False]
    waiting = Notifier(
        office.store, {"webhook": office.webhooks}, office.metrics, clock=office.clock, leads=lambda: leader[0]
    )
    swept = asyncio.Event()
    due_notices = office.store.due_notices

    async def looked(*arguments: Any, **named: Any) -> list[Notice]:
        swept.set()
        return await due_notices(*arguments, **named)

    office.store.due_notices = looked  # type: ignore[method-assign]
    await append(office.store, [an_alert(1)])
    waiting.start()
    assert await office.sweep() == []
    assert alerts_of(office.hook) == [an_id(1)]
    swept.clear()
    await asyncio.sleep(0)
    assert not swept.is_set()
    leader[0] = True
    await swept.wait()
    await waiting.stop()
