"""`openscr serve`: what it prints, where its settings come from, how it ends. Spec: 00 §3, §4."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest

from cli.conftest import Run
from serving import DemoServer, clean_environment, serving


def test_one_line_tells_the_addresses_really_used(demo_server: DemoServer) -> None:
    assert demo_server.web.startswith("http://127.0.0.1:")
    assert demo_server.spine.startswith("https://127.0.0.1:")
    with urlopen(f"{demo_server.web}/readyz") as answer:
        assert json.load(answer) == {"ready": True}


def test_logs_are_json_lines_when_nobody_looks(demo_server: DemoServer) -> None:
    urlopen(f"{demo_server.web}/readyz").close()
    for line in demo_server.log.read_text().splitlines():
        assert {"event", "level", "timestamp"} <= set(json.loads(line))


def test_it_starts_again_on_the_data_that_it_left(tmp_path: Path) -> None:
    with serving(tmp_path) as first:
        certificate = first.certificate("gp.client.test")[0].read_bytes()
    with serving(tmp_path) as second:
        assert second.certificate("gp.client.test")[0].read_bytes() == certificate


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_that_comes_before_it_is_ready_ends_it_too(tmp_path: Path, number: signal.Signals) -> None:
    """The log file is written to before the keys are made, so that a signal then falls into the start."""
    command = [sys.executable, "-m", "openscr", "serve", "--demo", "--web", "127.0.0.1:0", "--spine", "127.0.0.1:0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path, env=clean_environment()
    )
    try:
        while not (tmp_path / "openscr-data" / "pki").exists() and process.poll() is None:
            pass
        process.send_signal(number)
        out, err = process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode == 0, err.decode()
    assert out == b"" or out.startswith(b"ready ")


def test_an_address_that_is_taken_is_told(openscr: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        openscr("serve", "--demo", "--web", where).failed(f"web {where}: cannot listen there")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--web", "nowhere"], "setting web (from flag --web): an address is HOST:PORT"),
        (["--store", "mysql://x/y"], "setting store (from flag --store)"),
        (["--faces", "spine,none"], "setting faces (from flag --faces)"),
        (["--config", "missing.toml"], "setting config (from flag --config): there is no such file"),
        (["--log-level", "loud"], "setting log_level (from flag --log-level)"),
        (["--public-url", "here"], "setting public_url (from flag --public-url)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_flag_that_cannot_be_used_is_wrong_usage(openscr: Run, arguments: list[str], said: str) -> None:
    """It exits with 2, as every wrong flag does; the same value from elsewhere is a failure."""
    ended = openscr("serve", *arguments).failed(said, status=2)
    assert len(ended.err.splitlines()) == 1


def test_a_setting_of_the_machine_that_cannot_be_used_is_a_failure(openscr: Run, tmp_path: Path) -> None:
    openscr("serve", OPENSCR_WEB="nowhere").failed("setting web (from environment OPENSCR_WEB)")
    (tmp_path / "openscr.toml").write_text("web = 8080\n")
    openscr("admin", "verify").failed("setting web (from openscr.toml)")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--demo", "--web", "0.0.0.0:0"], "must be on loopback"),
        (["--demo", "--web", "127.x.example:0"], "must be on loopback"),
        (["--store", "postgresql://127.0.0.1:1/x"], "nobody listens"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_used_is_told_in_one_line(openscr: Run, arguments: list[str], said: str) -> None:
    openscr("serve", *arguments).failed(said)


def test_a_data_folder_that_cannot_be_made_is_told(openscr: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    openscr("serve", "--data", "file/data", "--web", "127.0.0.1:0", "--spine", "127.0.0.1:0").failed("file")


def test_show_config_tells_every_setting_and_its_source(openscr: Run, tmp_path: Path) -> None:
    (tmp_path / "openscr.toml").write_text('inbox_size = 7\nstore = "postgresql://u:hidden-one@h/d"\n')
    ended = openscr("serve", "--demo", "--show-config", "--web", "127.0.0.1:1", OPENSCR_SPINE="127.0.0.1:2").done()
    lines = ended.out.splitlines()
    assert "demo = true  (flag --demo)" in lines
    assert "web = 127.0.0.1:1  (flag --web)" in lines
    assert "spine = 127.0.0.1:2  (environment OPENSCR_SPINE)" in lines
    assert "inbox_size = 7  (openscr.toml)" in lines
    assert "log_level = info  (default)" in lines
    assert "hidden-one" not in ended.out
    assert not (tmp_path / "openscr-data").exists()

    form = openscr("serve", "--show-config", "--json").done().json
    assert len(form) == len(lines)
    assert all(set(one) == {"name", "value", "source"} for one in form)
    assert {"name": "inbox_size", "value": "7", "source": "openscr.toml"} in form
