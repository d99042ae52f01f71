"""The library's public names, and what is told of them."""

import inspect
import re
import runpy
import sys
from pathlib import Path

import pytest

import openscr.client
from openscr.client import SpineClient
from openscr.spine import Spine
from serving import DemoServer

SCRIPT = Path(__file__).with_name("readme_script.py")


def test_the_documentation_tells_of_every_public_name_and_of_no_other() -> None:
    told = {
        name
        for line in (openscr.client.__doc__ or "").splitlines()
        if line.startswith(("*", "  "))
        for name in re.findall(r"`(\w+)`", line)
    }
    assert told == set(openscr.client.__all__)


@pytest.mark.parametrize("name", openscr.client.__all__)
def test_every_public_name_explains_itself(name: str) -> None:
    thing = getattr(openscr.client, name)
    assert inspect.getdoc(thing)
    for method, value in inspect.getmembers(thing, inspect.isfunction) if inspect.isclass(thing) else ():
        if not method.startswith("_"):
            assert inspect.getdoc(value), f"{name}.{method}"


def test_the_client_has_every_verb_of_a_spine_with_its_arguments() -> None:
    verbs = [name for name, _ in inspect.getmembers(Spine, inspect.isfunction) if not name.startswith("_")]
    assert len(verbs) >= 10
    for verb in verbs:
        ours, theirs = inspect.signature(getattr(SpineClient, verb)), inspect.signature(getattr(Spine, verb))
        assert [ours.parameters[name] for name in theirs.parameters] == list(theirs.parameters.values()), verb
        # What the client knows beyond that, nobody has to say.
        own = [ours.parameters[name] for name in ours.parameters if name not in theirs.parameters]
        assert all(each.kind is each.KEYWORD_ONLY and each.default is not each.empty for each in own), verb


def test_the_readme_script_uploads_and_retrieves_a_summary(
    demo_server: DemoServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), demo_server.web])
    runpy.run_path(str(SCRIPT))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Acknowledgement: AA GP Summary upload successful"
    assert "'NORMAL'" in lines[1]
    assert "General Practice Summary" in lines
