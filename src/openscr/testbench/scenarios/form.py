"""Scenarios as JSON: what a test suite posts, and what it is shown.

::

    {"behaviour": "error", "code": "410/30307", "nhs_number": "9990012318", "interaction": "QUPC_IN180000UK04",
     "asid": "200000000115", "times": 2, "name": "merged-twice"}
    {"named": "upload-triggers", "numbers": {"silent": "9990012334"}}
    {"scenarios": [...]}

Only ``behaviour`` (or ``named``) must be there; the other members are conditions, or what the behaviour can be told.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from openscr.codes import ALERT_FHIR
from openscr.errors import OpenSCRError
from openscr.identifiers import is_nhs_number
from openscr.testbench.scenarios.behaviours import BEHAVIOURS
from openscr.testbench.scenarios.running import MOST, Match, Scenario, Setting
from openscr.testbench.scenarios.sets import SETS, NamedSet
from openscr.transport.interactions import INTERACTIONS

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}\Z")
_PATIENT: Final = re.compile(r"[0-9]{10}")
_ASID: Final = re.compile(r"[0-9]{12}\Z")
_INTERACTION_NAMES: Final = frozenset({*(name for _, name in INTERACTIONS), ALERT_FHIR})
_MOST_TIMES: Final = 1_000_000
"""It stands in logs, so that it must not have room for an NHS number."""

_CONDITIONS: Final = ("name", "behaviour", "nhs_number", "interaction", "asid", "times")


class MistakenScenario(OpenSCRError):
    """What was posted is no scenario; the text says why, and never repeats an NHS number."""

    code = "MISTAKEN_SCENARIO"


Switched = tuple[NamedSet | None, tuple[Scenario, ...]]
"""A named set, or none, and the scenarios that are to be set."""


def read_scenarios(form: object, fresh_name: Callable[[], str]) -> list[Switched]:
    """Return what a posted form sets, all of it or nothing. Raises: `MistakenScenario`."""
    if not isinstance(form, dict):
        raise MistakenScenario('send one JSON object: a scenario, a named set, or {"scenarios": [...]}')
    if "scenarios" in form:
        return _read_many(form, fresh_name)
    if "named" in form:
        return [_read_named(form)]
    return [(None, (_read_one(form, fresh_name()),))]


def _read_many(form: Mapping[str, Any], fresh_name: Callable[[], str]) -> list[Switched]:
    members = form["scenarios"]
    if set(form) != {"scenarios"} or not isinstance(members, list) or not 0 < len(members) <= MOST:
        raise MistakenScenario(f"scenarios is a list of 1 to {MOST} scenarios, and stands alone")
    found: list[Switched] = []
    base = fresh_name()
    for number, member in enumerate(members, 1):
        if not isinstance(member, dict):
            raise MistakenScenario(f"scenario {number} of the list is no JSON object")
        try:
            found.append(_read_named(member) if "named" in member else (None, (_read_one(member, f"{base}.{number}"),)))
        except MistakenScenario as error:
            raise MistakenScenario(f"scenario {number} of the list: {error.diagnostics}") from None
    return found


def _read_named(form: Mapping[str, Any]) -> Switched:
    named = SETS.get(form["named"]) if isinstance(form["named"], str) else None
    if named is None:
        raise MistakenScenario(f"named is one of {', '.join(SETS)}")
    _refuse_unknown(form, ("named", "numbers"))
    numbers = form.get("numbers", {})
    if not isinstance(numbers, dict) or not set(numbers) <= set(named.numbers):
        known = f"has the members {', '.join(named.numbers)}" if named.numbers else f"is not for {named.name}"
        raise MistakenScenario(f"numbers {known}")
    chosen = {name: _nhs_number(number, f"numbers: {name}") for name, number in numbers.items()}
    return named, named.scenarios(chosen)


def _read_one(form: Mapping[str, Any], fresh_name: str) -> Scenario:
    behaviour = BEHAVIOURS.get(form["behaviour"]) if isinstance(form.get("behaviour"), str) else None
    if behaviour is None:
        raise MistakenScenario(f"behaviour is one of {', '.join(BEHAVIOURS)}")
    _refuse_unknown(form, (*_CONDITIONS, *(each.name for each in behaviour.parameters)))
    values = {}
    for parameter in behaviour.parameters:
        if parameter.name not in form and parameter.default is not None:
            values[parameter.name] = parameter.default
            continue
        if parameter.name not in form:
            raise MistakenScenario(f"{behaviour.name} needs {parameter.name}: {parameter.meaning}")
        try:
            values[parameter.name] = parameter.read(form[parameter.name])
        except ValueError as error:
            raise MistakenScenario(f"{parameter.name} {error}") from None
    name = form.get("name", fresh_name)
    if not isinstance(name, str) or not _NAME.match(name) or _PATIENT.search(name):
        raise MistakenScenario(
            "name has at most 64 small letters, digits, dots and hyphens, and no NHS number: names stand in logs"
        )
    return Scenario(name, behaviour.name, values, _match(form), _times(form))


def _match(form: Mapping[str, Any]) -> Match:
    number = _nhs_number(form["nhs_number"], "nhs_number") if "nhs_number" in form else ""
    asid = form.get("asid", "")
    if "asid" in form and not (isinstance(asid, str) and _ASID.match(asid)):
        raise MistakenScenario("asid has twelve digits")
    wanted = form.get("interaction", [])
    names = [wanted] if isinstance(wanted, str) else wanted
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MistakenScenario("interaction is the name of an interaction, or a list of them")
    if ("interaction" in form and not names) or not set(names) <= _INTERACTION_NAMES:
        raise MistakenScenario(f"interaction is one or more of {', '.join(sorted(_INTERACTION_NAMES))}")
    return Match(number, tuple(names), asid)


def _times(form: Mapping[str, Any]) -> int:
    times = form.get("times", 0)
    if isinstance(times, str) and times.isascii() and times.isdigit() and len(times) < 8:
        times = int(times)
    least = 1 if "times" in form else 0
    if isinstance(times, bool) or not isinstance(times, int) or not least <= times <= _MOST_TIMES:
        raise MistakenScenario(
            f"times is how often it takes part: 1 or more, {_MOST_TIMES} at most; leave it out for always"
        )
    return times


def _nhs_number(value: object, name: str) -> str:
    number = value.replace(" ", "") if isinstance(value, str) else ""
    if not is_nhs_number(number):
        raise MistakenScenario(f"{name} has ten digits, the last of them a check digit")
    return number


def _refuse_unknown(form: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if not set(form) <= set(known):
        # What nobody knows is not repeated either: it might be a number in the wrong place.
        raise MistakenScenario(f"there is a member that is unknown here; known are {', '.join(known)}")


# --- what is shown --------------------------------------------------------------------------------------------------


def setting_form(setting: Setting, now: datetime) -> dict[str, Any]:
    """Return a scenario that is set, with what has become of it so far."""
    scenario = setting.scenario
    match = scenario.match
    values = {name: value for name, value in scenario.values.items() if name != "issues" and value not in ({}, ())}
    if issues := scenario.values.get("issues"):
        values["code"] = "/".join(issue.code for issue in issues)
    form: dict[str, Any] = {"name": scenario.name, "behaviour": scenario.behaviour, **values}
    conditions = {"nhs_number": match.nhs_number, "asid": match.asid, "interaction": list(match.interactions)}
    form |= {name: value for name, value in conditions.items() if value}
    if scenario.times:
        form["times"] = scenario.times
    if scenario.group:
        form["set"] = scenario.group
    return {**form, "hits": setting.hits, "over": setting.over(now)}


def read_set_scenario(form: Mapping[str, Any]) -> Scenario:
    """Return the scenario that `setting_form` shows. Raises: `MistakenScenario`."""
    if "set" in form and form["set"] in SETS:
        member = next((each for each in SETS[form["set"]].scenarios() if each.name == form["name"]), None)
        if member is not None:
            return replace(member, match=replace(member.match, nhs_number=form["nhs_number"]))
    return _read_one({name: form[name] for name in form if name not in ("hits", "over", "set")}, "")


def catalogue_form() -> dict[str, Any]:
    """Return what can be set: behaviours with what they can be told, and named sets."""
    return {
        "behaviours": [
            {
                "name": each.name,
                "effect": each.effect,
                "processed": each.processed,
                "channels": sorted(each.channels),
                "parameters": [
                    {"name": p.name, "meaning": p.meaning, "required": p.default is None, "default": p.default}
                    for p in each.parameters
                ],
            }
            for each in BEHAVIOURS.values()
        ],
        "sets": [{"name": each.name, "about": each.about, "numbers": dict(each.numbers)} for each in SETS.values()],
    }
