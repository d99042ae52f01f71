"""What the governance face says of bodies that it cannot read: nothing that was sent. Spec: 35 §7, 60 §11."""

import json
from typing import Any, Literal

import msgspec
import pytest

from openscr.access.refusals import RequestRefused
from openscr.directory.model import Role
from openscr.faces.governance.exchange import JSON, Asked
from openscr.spine import Caller, MessageIds, Session

NUMBER = "9990000018"


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    """A member with members."""

    kind: Literal["one", "other"]


class Form(msgspec.Struct, forbid_unknown_fields=True):
    """A body."""

    nhs_number: str
    scope: Literal["me", "organisation"] = "me"
    inner: Inner | None = None


def asked(body: bytes) -> Asked:
    """A request with a body."""
    session = Session(
        "555000000101", "", Role("555000000102", "R8000", "Y90001", frozenset()), 3, "https://issuer.test"
    )
    return Asked(Caller("", ""), session, MessageIds("", "POST /governance/test"), body, JSON, {}, {})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"nhs_number": "", "scope": NUMBER}, "Invalid enum value - at `$.scope`"),
        ({"nhs_number": "", "scope": f"{NUMBER}' - at `$.{NUMBER}"}, "Invalid enum value - at `$.scope`"),
        ({"nhs_number": "", "inner": {"kind": NUMBER}}, "Invalid enum value - at `$.inner.kind`"),
        ({"nhs_number": "", NUMBER: 1}, "Object contains unknown field"),
        ({"nhs_number": "", f"a - at {NUMBER}": 1}, "Object contains unknown field"),
        ({"nhs_number": 9990000018}, "Expected `str`, got `int` - at `$.nhs_number`"),
        ({}, "Object missing required field `nhs_number`"),
    ],
)
def test_what_is_wrong_is_told_without_what_was_sent(body: dict[str, Any], words: str) -> None:
    """A number in the wrong place does not come back in an error, which clients write into their logs."""
    with pytest.raises(RequestRefused) as refused:
        asked(json.dumps(body).encode()).read(Form)
    assert refused.value.refusal.diagnostics == words
    assert NUMBER not in repr(refused.value.refusal)
