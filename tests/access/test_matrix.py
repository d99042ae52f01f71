"""The authorisation matrix as data. Spec: 35 §9.3."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.access.matrix import Matrix, Right, load_matrix, read_matrix
from openscr.directory.model import Role
from openscr.errors import ConfigurationError

VIEW = {
    "B0370", "B0360", "B0380", "B8028", "B8029", "B0264",
    "B0064", "B0072", "B0790", "B0800", "B1690", "B1691", "B1693", "B1694",
}  # fmt: skip
PERFORM = {"B0380", "B8028", "B8029"}
CODES = sorted(VIEW | {"B0082", "B0168", "B0020", "B0015", "B0016", "B0062", "B0570"})

# The rows of the table as conditions on a set of activities and a job role.
ROWS: dict[Right, Callable[[set[str], str], object]] = {
    Right.VIEW: lambda has, role: has & VIEW,
    Right.OVERRIDE: lambda has, role: has & VIEW and "B0082" in has,
    Right.OVERRIDE_EMERGENCY: lambda has, role: has & VIEW and "B0168" in has,
    Right.EMERGENCY_VIEW: lambda has, role: has & VIEW and "B0168" in has,
    Right.SUBJECT_ACCESS: lambda has, role: "B0082" in has,
    Right.ACTIVITY_REPORT: lambda has, role: role == "R0001" and has & {"B0015", "B0016"},
    Right.UPLOAD: lambda has, role: has & PERFORM,
    Right.WITHDRAW: lambda has, role: "B8029" in has,
    Right.SET_CONSENT: lambda has, role: "B0020" in has and has & PERFORM,
    Right.GET_CONSENT: lambda has, role: has & (VIEW | {"B0020"}),
    Right.CLAIM_RELATIONSHIP: lambda has, role: has & VIEW,
    Right.ALERTS_RELATIONSHIP: lambda has, role: role == "R0001" and "B0016" in has,
    Right.ALERTS_ACCESS: lambda has, role: role == "R0001" and "B0015" in has,
    Right.AUDIT_READ: lambda has, role: role == "R0001",
    Right.ENABLE_PRACTICE: lambda has, role: "B0062" in has,
}

SHIPPED = load_matrix()
SHIPPED_FILE = json.loads((Path(__file__).parents[2] / "src/openscr/access/rbac.json").read_bytes())


@given(st.sets(st.sampled_from(CODES), max_size=6), st.sampled_from(["R8000", "R0001", "S8002:G8003:R0001"]))
def test_every_row_of_the_shipped_matrix_allows_what_the_table_allows_and_nothing_else(
    activities: set[str], job_role: str
) -> None:
    role = Role("555000000102", job_role, "Y90001", frozenset(activities))
    assert set(ROWS) == set(Right)
    for right, condition in ROWS.items():
        assert SHIPPED.permits(right, role) == bool(condition(activities, job_role.rpartition(":")[2])), right


def test_unknown_activities_give_nothing() -> None:
    role = Role("1", "R8000", "Y90001", frozenset({"B9999", "everything"}))
    assert not any(SHIPPED.permits(right, role) for right in Right)


def test_an_operation_that_is_not_listed_is_denied() -> None:
    role = Role("1", "R0001", "Y90001", frozenset(CODES))
    assert not any(Matrix({}).permits(right, role) for right in Right)


def test_a_deployment_brings_its_own_matrix(tmp_path: Path) -> None:
    document = copy.deepcopy(SHIPPED_FILE)
    document["groups"]["view"] = ["B0264"]
    document["operations"]["withdraw"]["role"] = "R8000"
    path = tmp_path / "rbac.json"
    path.write_text(json.dumps(document))
    matrix = load_matrix(path)
    assert not matrix.permits(Right.VIEW, Role("1", "R8000", "Y", frozenset({"B0370"})))
    assert matrix.permits(Right.WITHDRAW, Role("1", "S8000:G8000:R8000", "Y", frozenset({"B8029"})))
    assert not matrix.permits(Right.WITHDRAW, Role("1", "R8001", "Y", frozenset({"B8029"})))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d.update(format="x"), "format"),
        (lambda d: d.update(more={}), "more"),
        (lambda d: d["operations"].pop("withdraw"), "withdraw is missing"),
        (lambda d: d["operations"].update({"fly": {"needs": []}}), "no operation fly"),
        (lambda d: d["operations"].update({"upload": {}}), "needs"),
        (lambda d: d["operations"].update({"upload": {"needs": [[]]}}), "length"),
        (lambda d: d["operations"].update({"upload": {"needs": [["B38"]]}}), "regex"),
        (lambda d: d["operations"].update({"upload": {"needs": [["send"]]}}), "no group send"),
        (lambda d: d["operations"].update({"upload": {"needs": [], "role": "GP"}}), "regex"),
        (lambda d: d["groups"].update({"view": ["B0370", "R8000"]}), "regex"),
        (lambda d: d["groups"]["view"].append("B0168"), "only widen"),
        (lambda d: d["operations"].update({"view": {"needs": []}}), "/operations/view needs nothing"),
        (lambda d: d["operations"].update({"set_consent": {"needs": []}}), "everybody might do it"),
        (lambda d: d["operations"]["audit_read"].pop("role"), "/operations/audit_read needs nothing"),
        (lambda d: d["operations"].update({"override": {"needs": [["B0082"]]}}), "only widen"),
    ],
)
def test_a_matrix_that_cannot_be_meant_is_refused(change: Callable[[dict[str, Any]], object], text: str) -> None:
    document = copy.deepcopy(SHIPPED_FILE)
    change(document)
    with pytest.raises(ConfigurationError, match=text):
        read_matrix(json.dumps(document).encode())


@given(st.binary(max_size=100))
def test_bytes_that_are_no_matrix_are_refused(data: bytes) -> None:
    with pytest.raises(ConfigurationError, match="rbac"):
        read_matrix(data)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_matrix(tmp_path / "none.json")
