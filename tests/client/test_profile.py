"""Who sends, and where messages go. Spec: 00 §5, 35 §9.5, 40 §11.3."""

import pytest

from openscr.client import Profile
from openscr.codes import ACS_SET, INITIAL_UPLOAD, UPLOAD, WITHDRAW, WITHDRAW_INITIAL
from openscr.directory.form import build_directory, read_directory
from openscr.directory.model import Directory
from openscr.errors import ConfigurationError, EndpointUnknown
from openscr.spine import Caller, Person
from openscr.testbench.world import demo_directory
from shared import MESSAGES


@pytest.fixture(scope="module")
def directory() -> Directory:
    return build_directory(read_directory(demo_directory()), 1)


@pytest.mark.parametrize("app", ["app-gp", "app-viewer", "app-batch"])
def test_the_demo_profile_says_what_the_demo_directory_says(directory: Directory, app: str) -> None:
    built_in, registered = Profile.demo(app, None), Profile.of_directory(directory, app)
    assert built_in.caller == registered.caller
    assert (built_in.receiver_asid, built_in.receiver_party) == (registered.receiver_asid, registered.receiver_party)
    assert (built_in.sync_path, built_in.answers_to) == (registered.sync_path, registered.answers_to)
    for interaction in (INITIAL_UPLOAD, UPLOAD, WITHDRAW_INITIAL, WITHDRAW):
        assert built_in.route(interaction) == registered.route(interaction)


def test_the_demo_is_the_gp_system_with_the_gp(directory: Directory) -> None:
    registered = Profile.of_directory(directory, "app-gp", "555000000102")
    assert Profile.demo().person == registered.person == Person("555000000101", "555000000102", "R8000")


def test_a_directory_of_ones_own_is_followed() -> None:
    directory = build_directory(read_directory((MESSAGES / "directory.json").read_bytes()), 1)
    profile = Profile.of_directory(directory, "example-gp", "100000000110")
    assert profile.caller == Caller(
        "200000000101", "Z99999-200101", Person("100000000101", "100000000110", profile.caller.person.job_role)
    )
    assert profile.answers_to == "http://127.0.0.1:18400/z99999/psis"
    assert Profile.of_directory(directory, "200000000101").asid == "200000000101"


def test_what_the_directory_does_not_know_is_told(directory: Directory) -> None:
    with pytest.raises(ConfigurationError, match="it has app-batch, app-gp, app-viewer"):
        Profile.of_directory(directory, "app-none")
    with pytest.raises(ConfigurationError, match="no role profile"):
        Profile.of_directory(directory, "app-gp", "555000009999")
    with pytest.raises(ConfigurationError, match="apps"):
        Profile.demo("app-none")
    with pytest.raises(EndpointUnknown):
        Profile.demo().route(ACS_SET)
