"""Write what the documentation tells of the code: errors, commands, rules, and the tables of three more pages.

Those are docs/demo-world.md, docs/scenarios.md and docs/identity.md. Run ``python scripts/write_pages.py`` after a
change of the catalogue, a command, a rule, the demo world, the scenarios or the ways to sign in; with ``--check``
nothing is written, and the exit status says whether the pages are current.
"""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterable
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Any

from typer.main import get_command

from openscr import advice, errors
from openscr.cli.application import app
from openscr.codes import UPLOAD
from openscr.directory.form import build_directory, read_directory
from openscr.faces.identity.apps import SCOPES_WITHOUT_SYSTEM, AppRegister
from openscr.faces.identity.people import METHODS, acr_of, job_role, name_of
from openscr.testbench.population import CORE_ONLY, NAMED_NUMBERS, TURNS, demo_numbers, population
from openscr.testbench.scenarios.behaviours import BEHAVIOURS, Behaviour
from openscr.testbench.scenarios.running import Scenario
from openscr.testbench.scenarios.sets import SETS
from openscr.testbench.stories import State
from openscr.testbench.world import demo_directory
from openscr.transport.interactions import Channel

sys.path.insert(0, str(Path(__file__).resolve().parent))

from rule_page import rule_page

DOCS = Path(__file__).resolve().parents[1] / "docs"
TODAY = date(2026, 11, 22)
"""What the demo population is drawn for here; nothing that the page tells depends on it."""


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def text(words: str) -> str:
    """Return words for a cell, with nothing in them that Markdown would take for its own."""
    return re.sub(r"([|\[\]_*{}])", r"\\\1", words).replace("<", "&lt;").replace(">", "&gt;")


def code(words: str) -> str:
    """Return words of the wire for a cell."""
    return f"`{words}`"


# --- errors ---------------------------------------------------------------------------------------------------------

ERRORS = """\
# Errors and what to do

Everything that OpenSCR answers when it does not do what was asked, and what its library raises. This page is written
from the catalogue in `openscr.errors` and the advice in `openscr.advice`.

Where to look:

| you got | it is | section |
| --- | --- | --- |
| HTTP 500 with a SOAP `Fault` | refused before anybody looked at the content | [SOAP faults](#soap-faults) |
| HTTP 200 with an ebXML `MessageError` | the ebXML envelope breaks the rules | [ebXML errors](#ebxml-errors) |
| HTTP 400 without a body, or a closed connection | the HTTP request was cut off | – |
| an answer of type `AR` | the HL7 wrapper is at fault | [Wrapper errors](#wrapper-errors) |
| an answer of type `AE` with `reason` | the content is at fault, or the record says no | [Reasons](#reasons) |
| a Python exception | nothing can be said about the outcome | [Exceptions](#exceptions) |

In a refusal the first reason is a general one and the next ones say more. Read the codes; the texts may change. All
faults of a message are reported at once.

*Again* says whether the request may be repeated automatically: the same message where it is a reliable one, with a
fresh message id where it is a query. *Scenario* is how a demo service is made to answer it: `openscr scenario set` and
these words, see [Scenarios](scenarios.md).
"""

EXCEPTIONS = {
    "OpenSCRError": "Catch this one to catch them all; ``diagnostics`` says what happened.",
    "WireError": "Keep the bytes and look at them: what came is not what it claims to be.",
    "UnsafeXml": "Send well-formed UTF-8 XML without a document type.",
    "MalformedMultipart": "Check boundary, part headers and transfer encoding.",
    "NotMultipart": "Send ``multipart/related`` with a boundary, and at least one part between two of them.",
    "UnreadableMessage": "Check that the message is the interaction that is expected there.",
    "SummaryError": "Look at the summary itself; nothing was sent.",
    "NoSummary": "Give one XML document that holds one GPSummary with an id and an author.",
    "UnwritableSummary": "Fill in, or take out, the member that the text names.",
    "NotSent": "Mend what the text names, `openscr validate --level strict` tells all of it; or check less (`Check`).",
    "MistakenForm": "Mend every place in `mistakes`; each is a JSON Pointer into your file.",
    "AccessRefused": "Check certificate, party key and ASID against the directory.",
    "StoreError": "Look at the log of the service; `openscr admin verify` tells whether the store is intact.",
    "StoreUnavailable": "Try again later.",
    "StoreFull": "Make room on the disk, or give the service the right to write; reading still works.",
    "OutcomeUnknown": "Send the same message again with the same id: it is done once.",
    "Conflict": "Nothing: the row was there already.",
    "DeliveryError": "Check that the address answers; for a message that asks for an acknowledgement try again.",
    "DirectoryUnavailable": "See whether the directory server runs; what it said last counts meanwhile.",
    "DirectoryTimeout": "The directory server is slow or overloaded; it is asked again by itself.",
    "Overloaded": "Send it again a little later; when it comes often, `openscr_shed_total` says which limit it is.",
    "EndpointUnknown": "Register an endpoint of that party for that interaction: `openscr directory import`.",
    "NotConnected": "Check address, certificates and proxy; nothing was sent, so send it again.",
    "RetriesExhausted": "When the receiver is back, `openscr admin outbox` shows and re-sends what waits.",
    "ConfigurationError": "Do what the text says; it names the setting and where it came from.",
}


def again(retriable: bool) -> str:
    """Return whether a request may be repeated, in a word."""
    return "yes" if retriable else "no"


def reasons() -> str:
    """Return the sections of HL7 reasons: general categories, then specific codes."""
    general = (
        (
            code(i.code),
            code(i.display),
            i.severity,
            again(advice.GENERAL[i.code].again),
            text(advice.GENERAL[i.code].when),
            text(advice.GENERAL[i.code].remedy),
            code(f"error code={i.code}"),
        )
        for i in errors.GENERAL.values()
    )
    details = (
        (
            code(d.code),
            code(d.general),
            code(d.text),
            again(advice.GENERAL[d.general].again),
            text(advice.DETAILS[d.code].when),
            text(advice.DETAILS[d.code].remedy),
            code(f"error code={d.general}/{d.code}"),
        )
        for d in errors.DETAILS.values()
    )
    return (
        f"\n## Reasons\n\nCode system `{errors.GENERAL['400'].system}` (PSIS and ACS issues), in "
        "`justifyingDetectedIssueEvent/code`. The qualifier is `ER` (error) or `WG` (warning).\n\n"
        "### General categories\n\n"
        + table(("code", "text", "qualifier", "again", "when", "what to do", "scenario"), general)
        + "\n### Specific codes\n\nWords in braces are filled in. Codes that begin with 997 are OpenSCR's own.\n\n"
        + table(("code", "after", "text", "again", "when", "what to do", "scenario"), details)
        + "\nBeside these, a rule of an upload or withdrawal that has no number of its own is told as a second reason "
        "`400`, with the words of the rule as its text. A merged number is also told in the long form of uploads:\n\n"
        + f"> {text(errors.MERGED_LONG_TEXT.strip())}\n\n"
        + "and a GET for a merged number is answered for the survivor, with the warning "
        + f"`{errors.SUPERSEDED.code}` of code system `{errors.SUPERSEDED.system}`:\n\n"
        + f"> {text(errors.SUPERSEDED.display)}\n\n"
        + "With the setting `require_explicit_store_consent` an upload for a patient without recorded consent is "
        + f"refused with the single reason `{errors.NO_EXPLICIT_CONSENT.code}`:\n\n"
        + f"> {text(errors.NO_EXPLICIT_CONSENT.display.strip())}\n"
    )


def wire() -> str:
    """Return the sections of wrapper errors, faults and ebXML errors."""
    wrapper = (
        (
            code(i.code),
            code(i.display),
            again(advice.WRAPPER[i.code].again),
            text(advice.WRAPPER[i.code].when),
            text(advice.WRAPPER[i.code].remedy),
            code(f"wrapper-error code={i.code}"),
        )
        for i in errors.WRAPPER_ERRORS.values()
    )
    faults = (
        (
            code(f.code),
            f.faultcode,
            code(f.description),
            code(f.location),
            again(f.retriable),
            text(advice.FAULTS[f.code].when),
            text(advice.FAULTS[f.code].remedy),
            code(f"fault code={f.code}"),
        )
        for f in errors.FAULTS.values()
    )
    ebxml = (
        (
            code(e.code),
            code(e.description),
            again(advice.EBXML[key].again),
            text(advice.EBXML[key].when),
            text(advice.EBXML[key].remedy),
            code(f"message-error error={key}"),
        )
        for key, e in errors.EBXML_ERRORS.items()
    )
    return (
        f"\n## Wrapper errors\n\nCode system `{errors.WRAPPER_ERRORS['202'].system}`, in `acknowledgementDetail/code`. "
        "The braces are part of the text.\n\n"
        + table(("code", "text", "again", "when", "what to do", "scenario"), wrapper)
        + "\n## SOAP faults\n\nHTTP 500; the codes stand in `detail/errorList/error/errorCode`.\n\n"
        + table(("code", "fault code", "text", "location", "again", "when", "what to do", "scenario"), faults)
        + "\n## ebXML errors\n\nHTTP 200 with a `MessageError`; every failed check is one `eb:Error`. The message is "
        "not stored.\n\n" + table(("error code", "text", "again", "when", "what to do", "scenario"), ebxml)
    )


def exceptions() -> str:
    """Return the section of what the library raises."""
    rows = (
        (code(name), text((inspect.getdoc(getattr(errors, name)) or "").partition("\n\n")[0].replace("\n", " ")), told)
        for name, told in EXCEPTIONS.items()
    )
    return "\n## Exceptions\n\n" + table(("exception", "meaning", "what to do"), rows)


def errors_page() -> str:
    """Return docs/errors.md."""
    return ERRORS + reasons() + wire() + exceptions()


# --- commands -------------------------------------------------------------------------------------------------------

COMMANDS = """\
# Commands

`openscr COMMAND --help` says the same in your terminal. Commands that ask a service exit with 0 when it did what was
asked, with 1 when it refused or did not answer, with 2 for a command line that cannot be.
"""


def commands_page() -> str:
    """Return docs/commands.md."""
    return COMMANDS + "".join(_command("openscr", get_command(app)))


def _command(path: str, command: Any) -> Iterable[str]:
    if getattr(command, "commands", None):
        for name, each in command.commands.items():
            yield from _command(f"{path} {name}", each)
        return
    told = re.sub(r"\[/?bold\]", "", inspect.cleandoc(command.help or ""))
    yield f"\n## {path}\n\n{text(told)}\n"
    if command.epilog:
        yield f"\n```text\n{command.epilog.removeprefix('Example:').strip()}\n```\n"
    rows = []
    for parameter in command.params:
        if parameter.name == "help":
            continue
        argument = parameter.param_type_name == "argument"
        metavar = "" if getattr(parameter, "is_flag", False) else parameter.metavar or _kind(parameter)
        flags = [*parameter.opts, *parameter.secondary_opts]
        shown = metavar if argument else f"{', '.join(flags)} {metavar}".strip()
        default = parameter.default
        plain = isinstance(default, (str, int)) and not isinstance(default, bool) and default != ""
        value = getattr(default, "value", default)
        rows.append((code(shown), text(getattr(parameter, "help", None) or ""), code(str(value)) if plain else ""))
    if rows:
        yield "\n" + table(("", "meaning", "default"), rows)


def _kind(parameter: Any) -> str:
    annotation = parameter.type_descriptor.annotation
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "|".join(str(each.value) for each in annotation)
    return str(getattr(annotation, "__name__", "VALUE")).upper()


# --- the demo world -------------------------------------------------------------------------------------------------


def demo_tables() -> dict[str, str]:
    """Return the tables of docs/demo-world.md by name."""
    world = json.loads(demo_directory())
    people = {user["user_id"]: user for user in world["users"]}
    patients = {patient.nhs_number: patient for patient in population(TODAY)}
    numbers = [number for number in demo_numbers() if number not in NAMED_NUMBERS]
    by_state: dict[State, list[str]] = {state: [] for state in list(State)[:TURNS]}
    for position, number in enumerate(numbers):
        by_state[State(position % TURNS)].append(number)
    return {
        "systems": table(
            ("app", "ASID", "party key", "what it is", "interactions"),
            (
                (
                    code(system.get("app", "–")),
                    code(system["asid"]),
                    code(system["party_key"]),
                    system["name"],
                    str(len(system["interactions"])),
                )
                for system in world["systems"]
            ),
        ),
        "endpoints": table(
            ("party", "service", "CPA id", "where"),
            (
                (code(e["party_key"]), code(e["service"]), code(e["cpa_id"]), code(e["address"]))
                for e in world["endpoints"]
            ),
        ),
        "people": table(
            ("name", "user id", "role profile", "job role", "organisation", "activities"),
            (
                (
                    " ".join(user["name"].get(part, "") for part in ("prefix", "given", "family")).strip(),
                    code(user_id),
                    code(role["role_profile_id"]) if role else "none",
                    code(role["job_role"]) if role else "",
                    code(role["ods"]) if role else "",
                    (", ".join(role["activities"]) + (f"; closed {role['closed']}" if "closed" in role else ""))
                    if role
                    else "",
                )
                for user_id, user in people.items()
                for role in user["roles"] or [None]
            ),
        ),
        "patients": table(
            ("NHS number", "what is stored"),
            ((code(number), _story(patients[number])) for number in NAMED_NUMBERS),
        ),
        "population": table(
            ("state", "NHS numbers"),
            ((STATES[state], " ".join(map(code, found))) for state, found in by_state.items()),
        ),
    }


# --- the identity provider ------------------------------------------------------------------------------------------


def identity_tables() -> dict[str, str]:
    """Return the tables of docs/identity.md by name."""
    directory = build_directory(read_directory(demo_directory()), 0)
    systems = {system.app: system for system in directory.systems.values() if system.app}
    return {
        "people": table(
            ("user id", "name", "role profile", "role", "activities"),
            (
                (
                    code(user.user_id),
                    name_of(user),
                    code(role.role_profile_id) if role else "none",
                    f"{job_role(role.job_role).name}, {role.ods}" if role else "",
                    f"closed on {role.closed}"
                    if role and role.closed
                    else ", ".join(sorted(role.activities if role else ())),
                )
                for user in directory.users.values()
                for role in user.roles or [None]
            ),
        ),
        "apps": table(
            ("app", "ASID", "may have"),
            (
                (
                    code(app),
                    code(systems[app].asid) if app in systems else "none",
                    " ".join(map(code, systems[app].scopes if app in systems else SCOPES_WITHOUT_SYSTEM)),
                )
                for app in AppRegister.names(directory)
            ),
        ),
        "methods": table(
            ("way to sign in", "`--level`", "`acr`", "`amr`"),
            ((each.words, str(each.level), code(acr_of(each.level)), code(each.amr)) for each in METHODS.values()),
        ),
    }


STATES = {
    State.CORE: "core summary",
    State.ADDITIONAL: "summary with additional information",
    State.INITIAL_ONLY: "initial summary only",
    State.NO_SIGNIFICANT_DATA: "no significant data",
    State.WITHDRAWN: "withdrawn",
    State.SECTION_EMPTY: "a section is empty",
    State.SECTION_ABSENT: "a section is absent",
    State.OPTED_OUT: "opted out: blank summary, consent No",
    State.NEWLY_REGISTERED: "newly registered",
    State.OLD: "older than 90 days",
}

_STEPS = {
    "initial": "initial summary",
    "upload": "summary",
    "withdraw": "withdrawal",
    "index-merged": "merged",
}


def _story(patient: Any) -> str:
    steps = [
        f"consent {step.consent.value}"
        if step.consent is not None
        else f"merged into `{step.survivor}`"
        if step.survivor
        else _STEPS[step.kind.value]
        for step in patient.steps
    ]
    told = ", then ".join(steps) or "nothing"
    return f"{told} (core record only)" if patient.nhs_number == CORE_ONLY else told


# --- scenarios ------------------------------------------------------------------------------------------------------


def scenario_tables() -> dict[str, str]:
    """Return the tables of docs/scenarios.md by name."""
    return {
        "behaviours": table(
            ("behaviour", "what the client sees", "is the message processed?", "where"),
            (
                (code(each.name), text_with_code(each.effect), text_with_code(each.processed), _channels(each))
                for each in BEHAVIOURS.values()
            ),
        ),
        "parameters": table(
            ("behaviour", "is told", "meaning", "default"),
            (
                (code(each.name), code(p.name), text(p.meaning), _default(p.default))
                for each in BEHAVIOURS.values()
                for p in each.parameters
            ),
        ),
        "triggers": table(
            ("scenario", "NHS number", "message", "answer"),
            (
                (
                    code(each.name),
                    code(each.match.nhs_number),
                    " ".join(map(code, each.match.interactions)),
                    _answer(each),
                )
                for named in SETS.values()
                for each in named.scenarios()
            ),
        ),
    }


def text_with_code(words: str) -> str:
    """Return words for a cell in which words of the wire are marked already."""
    return words.replace("|", "\\|")


def _channels(behaviour: Behaviour) -> str:
    return "everywhere" if behaviour.channels == frozenset(Channel) else ", ".join(sorted(behaviour.channels))


def _default(value: object) -> str:
    if value is None:
        return "must be said"
    return code(json.dumps(value) if isinstance(value, bool) else str(value)) if value != {} else "none"


def _answer(scenario: Scenario) -> str:
    if scenario.behaviour == "fault":
        return f"SOAP fault {code(scenario.values['code'])}"
    if scenario.behaviour != "error":
        return "no transport acknowledgement: the connection closes"
    issues = scenario.values.get("issues")
    codes = "/".join(issue.code for issue in issues) if issues else scenario.values["code"]
    form = "MCCI" if scenario.values.get("answer") == "mcci" or scenario.match.interactions == (UPLOAD,) else "QUQI"
    return f"{form} {'AR' if codes == '502' else 'AE'} {code(codes)}"


# --- pages with tables ----------------------------------------------------------------------------------------------


def page_with_tables(path: Path, tables: dict[str, str]) -> str:
    """Return a page with its tables written anew, each after its mark."""
    page = path.read_text("utf-8")
    for name, rows in tables.items():
        mark = f"<!-- table: {name} -->"
        before, found, after = page.partition(f"{mark}\n")
        if not found:
            raise SystemExit(f"{path.name} has no {mark}")
        rest = after.lstrip("\n")
        while rest.startswith("|"):
            rest = rest.partition("\n")[2]
        page = f"{before}{found}\n{rows}\n" + rest.lstrip("\n")
    return page


def main() -> int:
    """Write the pages, or compare them. Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    demo, scenarios, identity = (DOCS / f"{name}.md" for name in ("demo-world", "scenarios", "identity"))
    pages = {
        DOCS / "errors.md": errors_page(),
        DOCS / "commands.md": commands_page(),
        DOCS / "rules.md": rule_page(table, text),
        demo: page_with_tables(demo, demo_tables()),
        scenarios: page_with_tables(scenarios, scenario_tables()),
        identity: page_with_tables(identity, identity_tables()),
    }
    stale = [path for path, page in pages.items() if not path.is_file() or path.read_text("utf-8") != page]
    for path in stale:
        if check:
            print(f"{path.name} is not current: run python scripts/write_pages.py", file=sys.stderr)
        else:
            path.write_text(pages[path], "utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
