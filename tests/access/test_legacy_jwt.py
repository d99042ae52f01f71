"""Unsigned tokens of old Spine clients: off, or over mutual TLS alone. Spec: 35 §4.5."""

from datetime import UTC, datetime
from typing import Any

import pytest

from identity_provider import IdentityProvider, encoded
from openscr.access import refusals
from openscr.access.certificates import ClientCertificate
from openscr.access.legacy_jwt import LegacyToken, read_legacy_token
from openscr.access.refusals import Refusal, RequestRefused

NOW = 1_780_300_000
AUDIENCE = "https://spine.test/scr"
CERTIFICATE = ClientCertificate("gp.client.test", (), "01", datetime(2027, 1, 1, tzinfo=UTC))
SYSTEM = "https://fhir.nhs.uk/Id/accredited-system|200000000115"
USER = "https://fhir.nhs.uk/Id/sds-role-profile-id|555000000102"


def token(**changed: Any) -> str:
    claims = {
        "iss": "https://client.test",
        "sub": "555000000101",
        "aud": AUDIENCE,
        "iat": NOW,
        "exp": NOW + 300,
        "reason_for_request": "directcare",
        "scope": "patient/*.read",
        "requesting_system": SYSTEM,
        "requesting_user": USER,
        "requesting_organization": "https://fhir.nhs.uk/Id/ods-organization-code|Y90001",
    } | changed
    known = {name: value for name, value in claims.items() if value is not None}
    return f"{encoded({'alg': 'none', 'typ': 'JWT'})}.{encoded(known)}."


def read(text: str, certificate: ClientCertificate | None = CERTIFICATE, *, switched_on: bool = True) -> LegacyToken:
    return read_legacy_token(text, NOW, audience=AUDIENCE, certificate=certificate, switched_on=switched_on)


def refusal(text: str, certificate: ClientCertificate | None = CERTIFICATE, *, switched_on: bool = True) -> Refusal:
    with pytest.raises(RequestRefused) as refused:
        read(text, certificate, switched_on=switched_on)
    return refused.value.refusal


def test_what_it_states() -> None:
    stated = LegacyToken("200000000115", "directcare", frozenset({"patient/*.read"}), "555000000102", "Y90001")
    assert read(token()) == stated
    assert read(token(requesting_user=USER.replace("https://fhir.nhs.uk", "http://fhir.nhs.net"))) == stated
    alone = read(token(requesting_user=None, requesting_organization=None))
    assert (alone.role_profile_id, alone.organisation) == ("", "")


def test_it_is_refused_where_it_is_off_and_without_mutual_tls() -> None:
    assert refusal(token(), switched_on=False) == refusals.TOKEN_ALGORITHM
    assert refusal(token(), None) == refusals.TOKEN_ALGORITHM


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"exp": NOW - 61, "iat": NOW - 300}, refusals.TOKEN_EXPIRED),
        ({"exp": NOW + 301}, refusals.TOKEN_CLAIMS),
        ({"exp": None}, refusals.TOKEN_CLAIMS),
        ({"iat": None}, refusals.TOKEN_CLAIMS),
        ({"iat": NOW + 61}, refusals.TOKEN_EARLY),
        ({"aud": "https://elsewhere.test"}, refusals.TOKEN_AUDIENCE),
        ({"reason_for_request": "curiosity"}, refusals.TOKEN_CLAIMS),
        ({"reason_for_request": ["directcare"]}, refusals.TOKEN_CLAIMS),
        ({"scope": None}, refusals.TOKEN_CLAIMS),
        ({"sub": ""}, refusals.TOKEN_CLAIMS),
        ({"requesting_system": None}, refusals.TOKEN_CLAIMS),
        ({"requesting_system": "200000000115"}, refusals.TOKEN_CLAIMS),
        ({"requesting_system": "https://fhir.nhs.uk/Id/other|200000000115"}, refusals.TOKEN_CLAIMS),
        ({"requesting_system": SYSTEM + "|1"}, refusals.TOKEN_CLAIMS),
        ({"requesting_user": "https://fhir.nhs.uk/Id/other|555000000102"}, refusals.TOKEN_CLAIMS),
        ({"requesting_user": USER + "x"}, refusals.TOKEN_CLAIMS),
        ({"requesting_organization": "https://fhir.nhs.uk/Id/other|Y90001"}, refusals.TOKEN_CLAIMS),
    ],
)
def test_what_it_must_state(changed: dict[str, Any], expected: Refusal) -> None:
    assert refusal(token(**changed)) == expected


def test_a_signature_that_nobody_checks_is_not_taken_along() -> None:
    assert refusal(token() + "c2lnbmF0dXJl") == refusals.TOKEN_MALFORMED
    provider = IdentityProvider()
    provider.base = "https://client.test"
    assert refusal(provider.sign({"sub": "x"})) == refusals.TOKEN_MALFORMED
    assert refusal(provider.unsigned({"sub": "x"}, "nOnE")) == refusals.TOKEN_ALGORITHM
