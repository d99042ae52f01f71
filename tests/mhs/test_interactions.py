"""The table of interactions, and what users add to it. Spec: 50 §1.6, F2."""

import json
from pathlib import Path

import pytest

from openscr.errors import ConfigurationError
from openscr.mhs.interactions import FORWARD_EXPRESS, INTERACTIONS, Interaction, read_interactions
from openscr.mhs.states import Workflow
from openscr.transport.interactions import INTERACTIONS as TAKEN

URN = "urn:nhs:names:services:"

TABLE = """
REPC_IN150016UK05 psis async-reliable true
REPC_IN150015UK05 psis async-reliable true
REPC_IN150017UK02 psis async-reliable false
REPC_IN150018UK02 psis async-reliable false
QUPC_IN160101UK05 psisquery async-express true
QUPC_IN160103UK05 psisquery async-express true
QUPC_IN180000UK04 psisquery sync false
QUPC_IN190000UK04 psisquery sync false
GET_RESOURCE_PERMISSIONS_INUK01 lrsquery sync false
HAS_RESOURCE_PERMISSIONS_INUK01 lrsquery sync false
SET_RESOURCE_PERMISSIONS_INUK01 lrs async-reliable true
GetConsent01 lrsquery sync false
SetConsent01 lrs async-reliable true
QUPC_IN010000UK32 lrsquery sync false
QUPC_IN020000UK17 lrsquery async-express true
REPC_IN010000UK15 lrs async-reliable true
REPC_IN040000UK15 lrs async-reliable true
MCCI_IN200001UK02 tms async-reliable true
COMT_IN000001UK01 alerts async-reliable true
COPC_IN000001UK01 gp2gp forward-reliable false
PRSC_IN080000UK07 ebs forward-reliable true
QUPA_IN040000UK32 pdsquery sync false
MCCI_IN010000UK13 gp2gp forward-reliable false
"""
"""The table of 50 §1.6, what F2 adds, and what the scenarios of 50 §14.4 send."""


@pytest.mark.parametrize("row", TABLE.strip().splitlines())
def test_a_row_of_the_table(row: str) -> None:
    name, service, workflow, waits = row.split()
    found = INTERACTIONS[name]
    assert (found.name, found.service, found.workflow, found.waits) == (
        name,
        f"{URN}{service}",
        workflow,
        waits == "true",
    )
    assert (found.action, found.service_id) == (f"{URN}{service}/{name}", f"{URN}{service}:{name}")


def test_there_are_no_other_rows() -> None:
    assert set(INTERACTIONS) == {row.split()[0] for row in TABLE.strip().splitlines()}


def test_f2_setting_consent_can_be_synchronous() -> None:
    assert [name for name, row in INTERACTIONS.items() if row.also_sync] == ["SET_RESOURCE_PERMISSIONS_INUK01"]


def test_our_own_service_takes_what_the_table_says() -> None:
    """Wherever service and adaptor know the same interaction, the one takes it as the other sends it."""
    shared = 0
    for (service, name), row in TAKEN.items():
        mine = INTERACTIONS.get(name)
        if mine is None or mine.service != f"{URN}{service}":
            continue
        shared += 1
        taken = {Workflow.SYNC: row.soap, Workflow.ASYNC_EXPRESS: row.express, Workflow.ASYNC_RELIABLE: row.reliable}
        assert taken[Workflow(mine.workflow)], name
        assert not mine.also_sync or row.soap
    assert shared >= 12


# --- a user's file --------------------------------------------------------------------------------------------------


def test_without_a_file_the_table_is_the_built_in_one() -> None:
    assert read_interactions(None) is INTERACTIONS


def test_f2_a_table_of_the_reference_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "interactions.json"
    path.write_text(
        json.dumps(
            {
                "PRPA_IN000203UK03": {"service": f"{URN}pds", "workflow": "async-reliable", "sync_async": True},
                "QUPC_IN180000UK04": {"service": "urn:other", "workflow": "sync", "sync_async": False},
                "ODD_IN000001UK01": {"service": f"{URN}odd", "workflow": FORWARD_EXPRESS, "sync_async": False},
                "BARE_IN000001UK01": {"service": f"{URN}bare", "workflow": "unheard-of"},
            }
        )
    )
    table = read_interactions(path)
    assert table["PRPA_IN000203UK03"] == Interaction(
        "PRPA_IN000203UK03", f"{URN}pds", Workflow.ASYNC_RELIABLE, waits=True
    )
    assert table["QUPC_IN180000UK04"].service == "urn:other", "a user's row counts"
    assert table["ODD_IN000001UK01"].workflow == FORWARD_EXPRESS
    assert table["BARE_IN000001UK01"].waits is None, "rows 10 and 11 of 50 §1.3 are told when it is sent"
    assert set(table) == set(INTERACTIONS) | {"PRPA_IN000203UK03", "ODD_IN000001UK01", "BARE_IN000001UK01"}
    assert "PRPA_IN000203UK03" not in INTERACTIONS


def test_f2_the_file_may_be_toml(tmp_path: Path) -> None:
    path = tmp_path / "interactions.toml"
    path.write_text(
        f'[PRPA_IN000203UK03]\nservice = "{URN}pds"\nworkflow = "async-reliable"\nsync_async = true\n'
        f'also_sync = "{URN}pdsquery:QUPA_IN040000UK32"\n'
    )
    assert read_interactions(path)["PRPA_IN000203UK03"].also_sync


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.json", "{", "not right"),
        ("a.json", "[]", "not right"),
        ("a.json", '{"A_B": 7}', "A_B|object"),
        ("a.json", '{"A_B": {"workflow": "sync"}}', "service"),
        ("a.json", '{"A_B": {"service": "", "workflow": "sync"}}', "service"),
        ("a.json", '{"A_B": {"service": "urn:a b", "workflow": "sync"}}', "service"),
        ("a.json", '{"A_B": {"service": "urn:a", "workflow": ""}}', "workflow"),
        ("a.json", '{"A_B": {"service": "urn:a", "workflow": "sync", "sync_async": "yes"}}', "sync_async"),
        ("a.json", '{"A_B": {"service": "urn:a", "workflow": "sync", "wait": true}}', "wait"),
        ("a.json", '{"A B": {"service": "urn:a", "workflow": "sync"}}', "A B"),
        ("a.json", "[" * 100_000, "not right"),
        ("a.toml", "[A", "not right"),
        ("missing.toml", None, "cannot be read"),
    ],
)
def test_a_file_that_is_not_right_is_told_at_once(tmp_path: Path, name: str, text: str | None, told: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigurationError, match=told) as caught:
        read_interactions(path)
    assert name in caught.value.diagnostics


def test_a_file_that_is_no_text_is_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "interactions.json"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="not right"):
        read_interactions(path)
