"""`openscr scenario`: what a test environment does to its answers, listed, set, cleared and tried.

Spec: 00 §4 ``scenario``; 20 §9.4; 10 §15; 50 §14.4.
"""

import asyncio
import json
import logging
from pathlib import Path
from typing import Annotated, Any

import typer

from openscr.cli.console import fail, note, say, say_json, say_table
from openscr.cli.console import verbose as is_verbose
from openscr.cli.options import DEMO, At, Json, Verbose, reach, show_exchange

commands = typer.Typer(help="How a demo service answers badly, late or not at all.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A scenario, as openscr scenario list names it.")]

_NOT_TOLD = frozenset(
    {"behaviour", "named", "scenarios", "numbers", "nhs_number", "interaction", "asid", "times", "name", "fields"}
)
"""Members of a scenario that NAME=VALUE does not set: something else would take the place of what was asked for."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(commands, name="scenario")


@commands.command("list", epilog="Example:  openscr scenario list")
def list_scenarios(at: At = DEMO, as_json: Json = False, verbose: Verbose = False) -> None:
    """List what can be set, and what is set.

    Of the scenarios that fit a request the most specific one takes part; they are listed in that order.
    """
    shown = asyncio.run(call(at, "GET"))
    if as_json:
        say_json(shown)
        return
    say_table(
        ("behaviour", "told by", "effect"),
        (
            (
                each["name"],
                " ".join(p["name"] if p["required"] else f"[{p['name']}]" for p in each["parameters"]),
                each["effect"],
            )
            for each in shown["behaviours"]
        ),
        title="What can be set",
    )
    say_table(
        ("set", "numbers", "about"),
        ((each["name"], " ".join(each["numbers"]), each["about"]) for each in shown["sets"]),
        title="Named sets",
    )
    _say_set(shown["scenarios"])


@commands.command("set", epilog="Example:  openscr scenario set fault code=206 --nhs 9990012334 --times 2")
def set_scenario(
    behaviour: Annotated[
        str | None, typer.Argument(metavar="[BEHAVIOUR]", help="What is done, as openscr scenario list names it.")
    ] = None,
    values: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="What the behaviour is told, or a set.")
    ] = None,
    nhs_number: Annotated[
        str | None, typer.Option("--nhs", metavar="NHS", help="Only messages about this patient.")
    ] = None,
    interaction: Annotated[
        list[str] | None,
        typer.Option("--interaction", metavar="NAME", help="Only this interaction; may be given again."),
    ] = None,
    asid: Annotated[str | None, typer.Option("--asid", metavar="ASID", help="Only this sender.")] = None,
    times: Annotated[
        str | None, typer.Option("--times", metavar="N", help="Only the next N times; default always.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What it is called; default a fresh name.")
    ] = None,
    named: Annotated[
        str | None, typer.Option("--named", metavar="SET", help="A named set of trigger numbers instead.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Scenarios from a JSON file instead.")
    ] = None,
    at: At = DEMO,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Set a scenario: what is done to the answers to which requests.

    Without conditions it is done to all of them. A named set takes the numbers to be used as NAME=NHS, for example
    silent=9990012334.
    """
    conditions = {"nhs_number": nhs_number, "asid": asid, "times": times, "name": name}
    given = {key: value for key, value in conditions.items() if value is not None}
    if interaction:
        given["interaction"] = interaction  # type: ignore[assignment]
    ways = [way for way in (behaviour if named is None else None, named, file) if way is not None]
    if len(ways) != 1 or ((named or file) and given):
        raise typer.BadParameter("give one of: a behaviour with its conditions, --named SET, --file FILE")
    form: Any
    if file is not None:
        form = _read(file)
    elif named is not None:
        # With --named all the words are numbers.
        words = [*([behaviour] if behaviour else []), *(values or [])]
        form = {"named": named, **({"numbers": _pairs(words)} if words else {})}
    else:
        told = _pairs(values or [])
        if wrong := _NOT_TOLD & told.keys():
            raise typer.BadParameter(f"{', '.join(sorted(wrong))}: conditions are options, words of texts fields.NAME=")
        fields = {key.removeprefix("fields."): told.pop(key) for key in list(told) if key.startswith("fields.")}
        form = {"behaviour": behaviour, **told, **({"fields": fields} if fields else {}), **given}
    answer = asyncio.run(call(at, "POST", form=form))
    if as_json:
        say_json(answer)
        return
    for each in answer["scenarios"]:
        say(each["name"])


@commands.command("clear", epilog="Example:  openscr scenario clear")
def clear_scenarios(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A scenario or a named set; default everything.")
    ] = None,
    at: At = DEMO,
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Clear everything that is set, or one scenario, or one named set."""
    if name == "":
        # A variable of a shell that is empty does not mean everything.
        raise typer.BadParameter("the name is empty; leave it out to clear everything")
    answer = asyncio.run(call(at, "DELETE", name=name or ""))
    if as_json:
        say_json(answer)
    else:
        say(f"{answer['cleared']} cleared")


@commands.command("run", epilog="Example:  openscr scenario run psis-triggers.410-30307")
def run_scenario(name: Name, at: At = DEMO, as_json: Json = False, verbose: Verbose = False) -> None:
    """Send a message that a scenario is meant for, and show what comes back.

    A trigger of a named set is switched on for the time of the run. Exits with 0 only if the answer is what the
    scenario says.
    """
    from openscr.cli.scenario_run import run

    # What the library warns of is what the scenario is for.
    logging.basicConfig(format="%(message)s", level=logging.INFO if is_verbose() else logging.CRITICAL)
    tried = asyncio.run(run(at, name))
    if as_json:
        say_json(tried.form)
    else:
        say(f"sent  {tried.interaction} from {tried.asid}")
        for line in tried.came_back:
            say(f"came  {line}")
    if tried.wrong:
        fail(f"{name}: {tried.wrong}")
    if not as_json:
        note("It answers as the scenario says.")


def _say_set(scenarios: list[dict[str, Any]]) -> None:
    told = ("name", "behaviour", "nhs_number", "asid", "interaction", "times", "hits", "over", "set")
    say_table(
        ("name", "behaviour", "told", "patient", "interaction", "sender", "part taken"),
        (
            (
                each["name"],
                each["behaviour"],
                " ".join(f"{key}={_word(value)}" for key, value in each.items() if key not in told),
                each.get("nhs_number", "all"),
                " ".join(each.get("interaction", ["all"])),
                each.get("asid", "all"),
                f"{each['hits']}{' of ' + str(each['times']) if 'times' in each else ''}"
                f"{', over' if each['over'] else ''}",
            )
            for each in scenarios
        ),
        title="What is set" if scenarios else "Nothing is set",
    )


def _word(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _pairs(words: list[str]) -> dict[str, Any]:
    pairs = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise typer.BadParameter("what a behaviour is told is written NAME=VALUE, for example code=206")
        if key in pairs:
            raise typer.BadParameter(f"{key} is given twice")
        pairs[key] = value
    return pairs


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        fail(f"{file}: it is not JSON")


async def call(at: str, method: str, *, name: str = "", form: object = None) -> dict[str, Any]:
    """Ask the service about its scenarios. Raises: `DeliveryError`; `ConfigurationError` when it says no."""
    from openscr.client.connection import Connection
    from openscr.errors import ConfigurationError, DeliveryError
    from openscr.faces.operations.scenarios import PATH

    await reach(at)
    path = f"{PATH}/{_segment(name)}" if name else PATH
    headers = {"Content-Type": "application/json"} if form is not None else {}
    body = json.dumps(form).encode() if form is not None else b""
    async with Connection(at, observer=show_exchange) as connection:
        reply = await connection.exchange(method, path, headers, body)
    try:
        answer = json.loads(reply.body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise DeliveryError(f"{at} has no scenarios: they are for test environments only (openscr serve --demo)")
    if reply.status not in (200, 201):
        raise ConfigurationError(str(answer.get("error", f"HTTP {reply.status}")))
    return answer


def _segment(name: str) -> str:
    """Return a name as part of an address. A number of ten digits is no name: it does not go into an address."""
    import re

    if not re.fullmatch(r"[a-z0-9.-]{1,64}", name) or re.search(r"[0-9]{10}", name):
        raise typer.BadParameter("a name has at most 64 small letters, digits, dots and hyphens, and no NHS number")
    return name
