"""`openscr scenario` against a running demo service. Spec: 00 §4 ``scenario``."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Run
from client.stories import new_patient
from openscr.cli.scenario import call
from openscr.cli.scenario_run import run
from openscr.errors import ConfigurationError
from openscr.testbench.scenarios.behaviours import BEHAVIOURS
from openscr.testbench.scenarios.sets import SETS
from serving import DemoServer


@pytest.fixture
def at(demo_server: DemoServer) -> Iterator[tuple[str, str]]:
    """The address of the demo service, with no scenario set before and after."""
    asyncio.run(call(demo_server.web, "DELETE"))
    yield "--at", demo_server.web
    asyncio.run(call(demo_server.web, "DELETE"))


def scenarios(at: tuple[str, str]) -> list[dict[str, Any]]:
    """Return what is set."""
    found = asyncio.run(call(at[1], "GET"))["scenarios"]
    assert isinstance(found, list)
    return found


def test_list_tells_what_can_be_set_and_what_is_set(openscr: Run, at: tuple[str, str]) -> None:
    patient = new_patient()
    openscr("scenario", "set", "fault", "code=206", "--nhs", patient, "--times", 2, "--name", "two", *at).done()
    lines = [line.split("\t") for line in openscr("scenario", "list", *at).done().out.splitlines()]
    told = {line[0]: line for line in lines}
    assert set(told) == {*BEHAVIOURS, *SETS, "two"}
    assert told["fault"][1] == "code"
    assert told["no-answer"][1] == "[seconds] [how]"
    assert told["two"] == ["two", "fault", "code=206", patient, "all", "all", "0 of 2"]


def test_set_takes_conditions_values_and_a_name(openscr: Run, at: tuple[str, str]) -> None:
    ended = openscr(
        *("scenario", "set", "error", "code=30308", "fields.event_id=ABC", "--asid", "200000000116", *at),
        *("--interaction", "QUPC_IN180000UK04", "--interaction", "QUPC_IN190000UK04"),
    )
    name = ended.done().out.strip()
    (shown,) = scenarios(at)
    assert shown == {
        "name": name,
        "behaviour": "error",
        "code": "410/30308",
        "fields": {"event_id": "ABC"},
        "answer": "quqi",
        "asid": "200000000116",
        "interaction": ["QUPC_IN180000UK04", "QUPC_IN190000UK04"],
        "hits": 0,
        "over": False,
    }


def test_a_client_command_meets_the_scenario(openscr: Run, at: tuple[str, str]) -> None:
    patient = new_patient()
    openscr("scenario", "set", "error", "code=420/30418", "--nhs", patient, *at).done()
    openscr("list", patient, *at).failed("access denied", "30418")
    openscr("scenario", "clear", *at).done()
    assert openscr("list", patient, *at).done().out == "no record\n"


def test_a_named_set_with_numbers_of_ones_own_and_its_end(openscr: Run, at: tuple[str, str]) -> None:
    patient = new_patient()
    told = openscr("scenario", "set", "--named", "upload-triggers", f"silent={patient}", *at).done().out.splitlines()
    assert told == [f"upload-triggers.{each}" for each in ("no-consent", "merged", "silent")]
    (silent,) = [each for each in scenarios(at) if each["name"] == "upload-triggers.silent"]
    assert silent["nhs_number"] == patient
    assert openscr("scenario", "clear", "upload-triggers", *at).done().out == "3 cleared\n"
    assert openscr("scenario", "clear", *at, "--json").done().json == {"cleared": 0}


def test_a_file_of_scenarios(openscr: Run, at: tuple[str, str], tmp_path: Path) -> None:
    forms = {"scenarios": [{"behaviour": "duplicate", "name": "a"}, {"behaviour": "late", "seconds": 1, "name": "b"}]}
    (tmp_path / "scenarios.json").write_text(json.dumps(forms))
    assert openscr("scenario", "set", "--file", "scenarios.json", *at).done().out == "a\nb\n"
    (tmp_path / "broken.json").write_text("{")
    openscr("scenario", "set", "--file", "broken.json", *at).failed("broken.json: it is not JSON")
    openscr("scenario", "set", "--file", "none.json", *at).failed("none.json")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("fault", "code=999"), "code is one of 101, 200, 201, 206, 208, 300"),
        (("fault",), "fault needs code"),
        (("sulk",), "behaviour is one of"),
        (("delay", "seconds=x"), "seconds is a number of seconds"),
        (("delay", "seconds=1", "--times", "none"), "times is how often"),
        (("--named", "all"), "named is one of"),
    ],
)
def test_what_the_service_does_not_take(
    openscr: Run, at: tuple[str, str], arguments: tuple[str, ...], said: str
) -> None:
    openscr("scenario", "set", *arguments, *at).failed(said)


@pytest.mark.parametrize(
    "arguments",
    [
        ("set",),
        ("set", "fault", "206"),
        ("set", "fault", "code=206", "--file", "x.json"),
        ("set", "--named", "psis-triggers", "--times", "1"),
        ("set", "delay", "seconds=1", "seconds=2"),
        ("set", "error", "code=430", "behaviour=sulk"),
        ("set", "error", "code=430", "times=2"),
        ("set", "error", "code=35160", "fields=x", "fields.field=y"),
        ("clear", ""),
        ("clear", "Not A Name"),
        ("clear", "9990012318"),
        ("run",),
    ],
)
def test_wrong_usage(openscr: Run, at: tuple[str, str], arguments: tuple[str, ...]) -> None:
    openscr("scenario", *arguments, *at).failed(status=2)


def test_clear_of_what_is_not_set(openscr: Run, at: tuple[str, str]) -> None:
    openscr("scenario", "clear", "nothing", *at).failed("no scenario and no set of this name is set")


def test_nobody_answers(openscr: Run) -> None:
    openscr("scenario", "list", "--at", "http://127.0.0.1:9").failed("nothing answers at http://127.0.0.1:9")


def test_a_service_that_is_no_test_environment(openscr: Run, demo_server: DemoServer) -> None:
    """Below another path nothing is served, as at a live service."""
    openscr("scenario", "list", "--at", f"{demo_server.web}/elsewhere").failed("they are for test environments only")


# --- run ------------------------------------------------------------------------------------------------------------

UPLOADED = {"interaction": "REPC_IN150016UK05"}
RUNS: list[dict[str, Any]] = [
    {"behaviour": "error", "code": "410/30307"},
    {"behaviour": "error", "code": "502"},
    {"behaviour": "error", "code": "430", **UPLOADED},
    {"behaviour": "error", "code": "420/30402", "interaction": "REPC_IN150016SM05"},
    {"behaviour": "error", "code": "400/99701", "interaction": "SET_RESOURCE_PERMISSIONS_INUK01"},
    {"behaviour": "error", "code": "99712", "interaction": "GET_RESOURCE_PERMISSIONS_INUK01", "asid": "200000000116"},
    {"behaviour": "error", "code": "410/30308", "answer": "mcci", "interaction": "QUPC_IN190000UK04"},
    {"behaviour": "wrapper-error", "code": "503", **UPLOADED},
    {"behaviour": "fault", "code": "206"},
    {"behaviour": "fault", "code": "300", **UPLOADED},
    {"behaviour": "message-error", "error": ["cpa_unknown", "to_party"]},
    {"behaviour": "message-error", "error": "ValueNotRecognized", "status": 500},
    {"behaviour": "delay", "seconds": 0.5},
    {"behaviour": "late", "seconds": 0.5},
    {"behaviour": "duplicate"},
    {"behaviour": "no-answer", "seconds": 0.1},
    {"behaviour": "no-answer", "how": "empty", **UPLOADED},
    {"behaviour": "drop"},
    {"behaviour": "drop", "where": "middle"},
    {"behaviour": "slow", "bytes_per_second": 5000},
    {"behaviour": "content-type"},
    {"behaviour": "malformed"},
    {"behaviour": "malformed", "how": "html"},
    {"behaviour": "malformed", "how": "empty"},
    {"behaviour": "outage", "seconds": 60},
    {"behaviour": "outage", "seconds": 60, "answer": "fault"},
    {"behaviour": "outage", "seconds": 60, "answer": "drop"},
]


def test_every_behaviour_is_tried() -> None:
    assert {each["behaviour"] for each in RUNS} == set(BEHAVIOURS)


@pytest.mark.parametrize("form", RUNS, ids=lambda form: " ".join(map(str, form.values())))
async def test_run_says_that_a_scenario_does_what_it_says(at: tuple[str, str], form: dict[str, Any]) -> None:
    # Once is enough: nothing is sent again.
    times = {} if form["behaviour"] == "outage" else {"times": 1}
    await call(at[1], "POST", form={**form, "name": "tried", **times})
    tried = await run(at[1], "tried")
    assert tried.wrong == ""
    assert tried.came_back
    (shown,) = (await call(at[1], "GET"))["scenarios"]
    assert shown["hits"] >= 1


def test_run_tells_what_it_saw(openscr: Run, at: tuple[str, str]) -> None:
    openscr("scenario", "set", "fault", "code=206", "--name", "tried", *at).done()
    ended = openscr("scenario", "run", "tried", *at).done()
    sent, came, *_ = ended.out.splitlines()
    assert sent == "sent  QUPC_IN180000UK04 from 200000000115"
    assert came.startswith("came  HTTP 500, ")
    assert ended.err == "It answers as the scenario says.\n"


def test_run_switches_a_trigger_on_for_its_own_time(openscr: Run, at: tuple[str, str]) -> None:
    ended = openscr("scenario", "run", "psis-triggers.410-30307", *at, "--json").done()
    assert (ended.json["ok"], ended.json["ack"], ended.json["codes"]) == (True, "AE", ["410", "30307"])
    assert scenarios(at) == []


@pytest.mark.parametrize("name", [each.name for named in SETS.values() for each in named.scenarios()])
async def test_every_trigger_can_be_tried(at: tuple[str, str], name: str) -> None:
    assert (await run(at[1], name)).wrong == ""


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ({"behaviour": "error", "code": "410/30307"}, "410/30307 should have come"),
        ({"behaviour": "fault", "code": "206"}, "no fault 206 came"),
        ({"behaviour": "drop"}, "HTTP 500 came back whole"),
        ({"behaviour": "content-type"}, "the answer has another Content-Type"),
        ({"behaviour": "outage", "seconds": 9}, "HTTP 503 should have come"),
        ({"behaviour": "message-error", "error": "expired"}, "HTTP 200 should have come"),
        ({"behaviour": "malformed"}, "the answer is whole"),
        ({"behaviour": "delay", "seconds": 5}, "the answer came after"),
        ({"behaviour": "slow", "bytes_per_second": 1}, "the answer came faster"),
    ],
    ids=lambda value: value["behaviour"] if isinstance(value, dict) else None,
)
async def test_run_fails_when_something_else_comes_back(at: tuple[str, str], form: dict[str, Any], said: str) -> None:
    """A more specific scenario is in the way."""
    patient = new_patient()
    await call(
        at[1],
        "POST",
        form={"behaviour": "fault", "code": "208", "nhs_number": patient, "asid": "200000000115"},
    )
    await call(at[1], "POST", form={**form, "nhs_number": patient, "name": "wanted"})
    assert said in (await run(at[1], "wanted")).wrong


def test_run_that_fails_ends_with_1(openscr: Run, at: tuple[str, str]) -> None:
    patient = new_patient()
    openscr("scenario", "set", "fault", "code=208", "--nhs", patient, "--asid", "200000000115", *at).done()
    openscr("scenario", "set", "fault", "code=206", "--nhs", patient, "--name", "wanted", *at).done()
    openscr("scenario", "run", "wanted", *at).failed("wanted: no fault 206 came")


async def test_run_of_what_is_not_there_or_is_over(at: tuple[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="no scenario nothing is set"):
        await run(at[1], "nothing")
    await call(at[1], "POST", form={"behaviour": "fault", "code": "208", "times": 1, "name": "once"})
    await run(at[1], "once")
    with pytest.raises(ConfigurationError, match="once is over"):
        await run(at[1], "once")
    form = {"behaviour": "fault", "code": "208", "interaction": "REPC_IN150018UK02", "name": "withdrawals"}
    await call(at[1], "POST", form=form)
    with pytest.raises(ConfigurationError, match="cannot send"):
        await run(at[1], "withdrawals")
