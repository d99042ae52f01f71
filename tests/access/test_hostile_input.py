"""Whatever comes in is refused in the words that we have for it, and never breaks anything else. Spec: 35 §9.6."""

import base64
import contextlib
import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from access.verifying import demo_world
from identity_provider import GP, IdentityProvider
from openscr.access.fetching import NoAnswer
from openscr.access.issuers import read_keys
from openscr.access.legacy_jwt import read_legacy_token
from openscr.access.refusals import RequestRefused
from openscr.access.roles import choose_role, read_userinfo
from openscr.access.saml import AssertionRefused, read_role_assertion
from openscr.access.tokens import ALGORITHMS, UnverifiedToken, check_access_token, read_token
from smartcard_broker import NAMES, Clock, SmartcardBroker

NOW = Clock().now
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
PROVIDER = IdentityProvider(Clock())
PROVIDER.base = "https://am.nhs.test"
CLAIMS = sorted(PROVIDER.claims(selected_roleid="1"))


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


@given(st.text() | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*", fullmatch=True))
def test_any_text_as_a_token(text: str) -> None:
    with pytest.raises(RequestRefused):
        read_token(text)
    with pytest.raises(RequestRefused):
        read_legacy_token(text, 0.0, audience="x", certificate=None, switched_on=True)


@given(JSON, JSON)
def test_any_json_as_header_and_claims(header: Any, claims: Any) -> None:
    with contextlib.suppress(RequestRefused):
        token = read_token(f"{part(header)}.{part(claims)}.c2ln")
        assert token.algorithm in ALGORITHMS


@given(st.sampled_from(CLAIMS), JSON)
def test_any_value_of_any_claim(name: str, value: Any) -> None:
    claims = PROVIDER.claims(selected_roleid="555000000102") | {name: value}
    token = UnverifiedToken("", "RS256", "", "at+jwt", claims)
    assert isinstance(token.issuer, str)
    with contextlib.suppress(RequestRefused):
        read = check_access_token(token, ("openscr",), NOW.timestamp())
        assert read.user_id.isdigit()


@given(st.sampled_from(["person_roleid", "org_code", "role_code", "activity_codes"]), JSON)
def test_any_value_in_a_role(name: str, value: Any) -> None:
    entry = {"person_roleid": "555000000102", "org_code": "Y90001", "role_code": "R8000", "activity_codes": ["B0370"]}
    with contextlib.suppress(RequestRefused):
        info = read_userinfo({"nhsid_nrbac_roles": [entry | {name: value}]}, GP)
        role = choose_role(info, user_id=GP, stated=None, selected="", directory=demo_world(), today=date(2026, 6, 1))
        assert role.role_profile_id.isdigit()


@given(JSON)
def test_any_user_info(document: Any) -> None:
    with contextlib.suppress(RequestRefused):
        read_userinfo(document if isinstance(document, dict) else {"nhsid_nrbac_roles": document}, GP)


@given(JSON, st.sampled_from(["kty", "kid", "use", "n", "e", "crv", "x", "y", "alg"]))
def test_any_key_set(value: Any, name: str) -> None:
    for kind in ({"kty": "RSA", "n": "A" * 342, "e": "AQAB"}, {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}):
        with contextlib.suppress(NoAnswer):
            read_keys({"keys": [{"kid": "1", **kind, name: value}]})
    with contextlib.suppress(NoAnswer):
        read_keys(value if isinstance(value, dict) else {"keys": value})


@given(st.binary(max_size=200))
def test_any_bytes_as_an_assertion(data: bytes) -> None:
    with pytest.raises(AssertionRefused):
        read_role_assertion(data, "token", NOW, certificate=None, training=True)


@given(st.data())
def test_any_piece_of_an_assertion_left_out_or_changed(data: st.DataObject) -> None:
    """Whatever goes missing: the person is the same one, or nobody."""
    response = SmartcardBroker(Clock()).response("token-of-the-gp")
    elements = list(response.iter())
    element = data.draw(st.sampled_from(elements[1:]))
    if data.draw(st.booleans()):
        parent = element.getparent()
        assert parent is not None
        parent.remove(element)
    elif element.attrib:
        element.set(
            data.draw(st.sampled_from(sorted(map(str, element.attrib)))), data.draw(st.text("aZ09:/-", max_size=9))
        )
    with contextlib.suppress(AssertionRefused):
        read = read_role_assertion(etree.tostring(response), "token-of-the-gp", NOW, certificate=None, training=False)
        assert (read.user_id, read.role.role_profile_id) == (GP, "555000000102")
        assert response.find("a:Assertion", NAMES) is not None
