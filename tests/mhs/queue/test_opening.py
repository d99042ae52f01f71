"""Which queue the settings name, and where its brokers are."""

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from openscr.errors import ConfigurationError
from openscr.mhs.queue import opening
from openscr.mhs.queue.brokers import read_brokers
from openscr.mhs.queue.opening import BUILT_IN, GROUP, open_queue

from .. import rig

BROKER = {"inbound_queue_brokers": "amqp://127.0.0.1", "inbound_queue_name": "inbound"}


def test_the_embedded_queue_hands_nothing_on() -> None:
    assert open_queue(rig.settings()) is None


@pytest.mark.parametrize("kind", ["amqp10", "amqp091", "webhook"])
async def test_e3_every_plug_in_opens_without_connecting(kind: str) -> None:
    if kind == "amqp10":
        pytest.importorskip("proton", reason="python-qpid-proton is not installed (it has to be compiled)")
    publisher = open_queue(rig.settings(queue=kind, webhook_url="https://supplier.test/inbound", **BROKER))
    assert publisher is not None
    await publisher.close()


def test_a_queue_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigurationError, match="'kafka'; there are amqp091, amqp10, embedded, webhook"):
        open_queue(rig.settings(queue="kafka"))


def test_another_package_brings_a_queue_by_an_entry_point(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = EntryPoint("mine", f"{__name__}:PLUG_IN", GROUP)
    monkeypatch.setattr(opening, "entry_points", lambda group: (mine,) if group == GROUP else ())
    assert open_queue(rig.settings(queue="mine", inbound_queue_name="of mine")) == "of mine"


def PLUG_IN(settings: object) -> object:  # noqa: N802 it is named as a plug-in would be
    return settings.inbound_queue_name  # type: ignore[attr-defined]


@pytest.mark.parametrize(("kind", "package"), [("amqp10", "proton"), ("amqp091", "aio_pika")])
def test_a_plug_in_without_its_library_says_what_to_install(
    kind: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plug_in,) = (each for each in BUILT_IN if each.name == kind)
    for module in list(sys.modules):
        if module.startswith((f"{package}.", f"{plug_in.module}_")) or module == plug_in.module:
            monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=rf"needs the package {package}; install openscr\[{kind}\]"):
        open_queue(rig.settings(queue=kind, **BROKER))


@pytest.mark.parametrize(
    ("brokers", "read"),
    [
        ("amqp://one", [("one", 5672, False, "", "", "")]),
        ("amqp://one:1234", [("one", 1234, False, "", "", "")]),
        ("one:1234", [("one", 1234, False, "", "", "")]),
        ("amqps://one", [("one", 5671, True, "", "", "")]),
        ("amqp://one, amqp://two:2 ,", [("one", 5672, False, "", "", ""), ("two", 2, False, "", "", "")]),
        ("amqp://me:a%2Fb@one/here", [("one", 5672, False, "me", "a/b", "here")]),
        ("amqp://[::1]:7", [("::1", 7, False, "", "", "")]),
    ],
)
def test_brokers_are_a_list_of_addresses(brokers: str, read: list[tuple[object, ...]]) -> None:
    found = read_brokers(rig.settings(inbound_queue_brokers=brokers, inbound_queue_name="inbound"))
    assert [(a.host, a.port, a.tls is not None, a.user, a.password, a.path) for a in found] == read


def test_user_and_password_of_the_settings_win() -> None:
    settings = rig.settings(
        inbound_queue_brokers="amqp://me:mine@one",
        inbound_queue_name="inbound",
        secret_inbound_queue_username="supplier",
        secret_inbound_queue_password="theirs",
    )
    (address,) = read_brokers(settings)
    assert (address.user, address.password) == ("supplier", "theirs")
    assert "theirs" not in repr(address)


@pytest.mark.parametrize(
    "brokers", ["", " , ", "http://one", "amqp://", "amqp://me:secret@one:port", "amqp://me:secret@one:70000"]
)
def test_an_address_that_will_not_do_is_refused_without_repeating_it(brokers: str) -> None:
    with pytest.raises(ConfigurationError, match="inbound_queue_brokers") as error:
        read_brokers(rig.settings(inbound_queue_brokers=brokers, inbound_queue_name="inbound"))
    assert "secret" not in error.value.diagnostics


def test_a_broker_needs_the_name_of_its_queue() -> None:
    with pytest.raises(ConfigurationError, match="inbound_queue_name"):
        read_brokers(rig.settings(inbound_queue_brokers="amqp://one"))


def test_authorities_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    for path in (tmp_path / "ca.pem", tmp_path / "missing.pem"):
        with pytest.raises(ConfigurationError, match="inbound_queue_ca_file"):
            read_brokers(
                rig.settings(
                    inbound_queue_brokers="amqps://one", inbound_queue_name="inbound", inbound_queue_ca_file=path
                )
            )


@pytest.mark.parametrize("url", ["", "ftp://supplier.test/", "https://"])
def test_a_webhook_needs_an_address(url: str) -> None:
    with pytest.raises(Exception, match="webhook_url"):
        open_queue(rig.settings(queue="webhook", webhook_url=url))
