"""What holds for every command. Spec: 00 §4."""

import subprocess
import sys

import click
import pytest
import typer

from cli.conftest import Run
from openscr import __version__
from openscr.cli.application import app
from serving import DemoServer, clean_environment

ROOT = typer.main.get_command(app)


def commands(group: object, *path: str) -> list[tuple[str, ...]]:
    """Return the words of every command."""
    found = getattr(group, "commands", None)
    return [path] if not found else [w for name, one in found.items() for w in commands(one, *path, name)]


COMMANDS = commands(ROOT)


def command_of(words: tuple[str, ...]) -> click.Command:
    found: object = ROOT
    for word in words:
        found = found.commands[word]  # type: ignore[attr-defined]
    return found  # type: ignore[return-value]


def test_these_are_the_commands_of_this_release() -> None:
    assert {" ".join(words) for words in COMMANDS} == {
        "serve",
        "demo",
        "upload",
        "validate",
        "withdraw",
        "list",
        "get",
        "consent get",
        "consent set",
        "scenario list",
        "scenario set",
        "scenario clear",
        "scenario run",
        "consent has",
        "alert",
        "pki crl",
        "pki issue",
        "pki renew",
        "pki revoke",
        "pki show",
        "directory show",
        "directory import",
        "directory export",
        "bench cost",
        "bench load",
        "bench mix",
        "bench plan",
        "mhs serve",
        "mhs outbound",
        "mhs inbound",
        "mhs scr",
        "mhs audit",
        "mhs verify",
        "identity apps",
        "identity app",
        "identity token",
        "identity assertion",
        "identity sso-token",
        "identity rotate",
        "identity sign-out",
        "directory lookup",
        "patients import",
        "patients make",
        "admin migrate",
        "admin backup",
        "admin restore",
        "admin verify",
        "admin alerts list",
        "admin alerts show",
        "admin alerts change",
        "admin alerts subscribe",
        "admin alerts subscriptions",
        "admin alerts unsubscribe",
        "admin audit search",
        "admin audit export",
        "admin audit report",
        "admin audit checkpoint",
        "admin consent-history",
        "admin outbox list",
        "admin outbox resend",
    }


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_explains_itself_with_an_example(words: tuple[str, ...]) -> None:
    command = command_of(words)
    assert command.help
    assert (command.epilog or "").startswith(f"Example:  openscr {' '.join(words)}")
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{words} {parameter.name}"


CLIENT_OPTIONS = {"--at", "--as", "--directory", "--user", "--cert", "--key", "--ca", "--callback", "--json", "-v"}


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[0] in {"upload", "withdraw", "list", "get", "consent"}])
def test_every_client_command_has_the_common_options(words: tuple[str, ...]) -> None:
    options = {name for parameter in command_of(words).params for name in parameter.opts}
    assert options >= CLIENT_OPTIONS


@pytest.mark.parametrize("words", [w for w in COMMANDS if w[0] in {"directory", "patients", "admin"}], ids=" ".join)
def test_every_command_on_the_store_takes_the_options_of_serve(words: tuple[str, ...]) -> None:
    options = {name for parameter in command_of(words).params for name in parameter.opts}
    assert options >= {"--data", "--store"}


def test_the_name_alone_prints_a_short_overview(openscr: Run) -> None:
    ended = openscr().done()
    assert len(ended.out.splitlines()) < 20
    assert "openscr serve --demo" in ended.out


def test_the_version_is_told(openscr: Run) -> None:
    assert openscr("--version").done().out == f"openscr {__version__}\n"


def test_help_is_printed(openscr: Run) -> None:
    assert "Example:  openscr list 9990012318" in openscr("list", "--help").done().out
    assert "consent" in openscr("--help").done().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["list"],
        ["list", "--at"],
        ["get", "9990012318", "--format", "pdf"],
        ["get", "9990012318", "--event", "no-uuid"],
        ["withdraw", "9990012318", "6D68C00C-7135-5BF6-8ADB-278528C9F62D", "--reason", "04"],
        ["withdraw", "9990012318", "6D68C00C-7135-5BF6-8ADB-278528C9F62D", "--reason", "01"],
        ["consent", "set", "9990012318", "maybe"],
        ["list", "9990012318", "--override", "6"],
        ["list", "9990012318", "--override-text", "why"],
        ["list", "9990012318", "--cert", "a.pem"],
        ["list", "9990012318", "--cert", "a.pem", "--key", "a.key", "--ca", "ca.pem"],
        ["list", "9990012318", "--at", "somewhere"],
        ["list", "9990012318", "--callback", "here"],
        ["demo", "--cert", "a.pem"],
        ["admin", "outbox", "resend"],
        ["admin", "outbox", "resend", "X", "--failed"],
        ["admin", "outbox", "list", "--state", "lost"],
        ["serve", "--json"],
        ["upload", ""],
        ["upload", "a.xml", ""],
        ["validate", ""],
        ["directory", "import", ""],
        ["patients", "import", ""],
        ["upload", "a.xml", "--pattern", "loud"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_two(openscr: Run, arguments: list[str]) -> None:
    ended = openscr(*arguments).failed(status=2)
    assert "Value error" not in ended.err


def test_a_number_that_is_none_is_not_repeated(openscr: Run) -> None:
    """It may be somebody's number with a slip in it."""
    ended = openscr("list", "99900123180").failed("ten digits", status=2)
    assert "99900123180" not in ended.out + ended.err


def test_the_overview_does_not_wait_for_a_service() -> None:
    """What a command does not need is not imported before it runs."""
    heavy = {"aiohttp", "lxml", "starlette", "uvicorn", "sqlite3", "cryptography", "alembic", "pydantic", "rich"}
    check = f"import sys, openscr.cli.application; print(*{heavy!r}.intersection(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == []


LOGGING = """
import structlog
from openscr.cli.application import app, main
from openscr.cli.console import say

@app.command()
def token():
    log = structlog.get_logger("store")
    log.info("looked")
    log.warning("there is something to know", setting="off")
    say("the answer")

main()
"""


def test_nothing_but_the_answer_stands_where_a_program_reads_it() -> None:
    """A token with a line of a log before it makes a request that no server can read."""
    ended = subprocess.run([sys.executable, "-c", LOGGING, "token"], capture_output=True, text=True, check=True)
    assert ended.stdout == "the answer\n"
    (line,) = ended.stderr.splitlines()
    assert "there is something to know" in line
    assert "setting=off" in line


def test_whoever_stops_reading_gets_no_complaint(demo_server: DemoServer) -> None:
    """As ``openscr get … | head -1`` does."""
    command = [sys.executable, "-m", "openscr", "get", "9990012318", "--at", demo_server.web, "--format", "xml"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=clean_environment())
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    said = process.stderr.read()
    process.stderr.close()
    assert process.wait() in (0, 1)
    assert said == b""
