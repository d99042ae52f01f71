"""``openscr identity``: tokens for those who have no browser at hand. Spec: 00 §4; 35 §4.3, §9.5."""

import json
import stat
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from joserfc import jws
from joserfc.jwk import RSAKey

from cli.conftest import Run
from serving import DemoServer

AAL3 = "urn:nhsd:apim:user-nhs-id:aal3:summary-care-record"
LEVEL3 = "urn:nhsd:apim:app:level3:summary-care-record"


def at(server: DemoServer) -> tuple[str, ...]:
    return ("--at", server.web, "--data", str(server.data))


def claims_of(token: str) -> dict[str, Any]:
    return dict(json.loads(jws.extract_compact(token.strip().encode()).payload))


def get(address: str, **headers: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as answer:
        return json.load(answer)


def test_an_app_is_told_what_it_needs(openscr: Run, demo_server: DemoServer) -> None:
    told = openscr("identity", "app", "app-gp", "--data", demo_server.data, "--json").done().json
    assert told["client_id"] == "app-gp"
    assert len(told["client_secret"]) >= 24
    assert {AAL3, LEVEL3} <= set(told["scope"])
    key = Path(told["private_key"])
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert told["kid"]
    again = openscr("identity", "app", "app-gp", "--data", demo_server.data).done()
    assert told["client_secret"] in again.out
    assert told["client_secret"] not in demo_server.log.read_text()
    listed = openscr("identity", "apps", "--data", demo_server.data, "--json").done().json
    assert [each["client_id"] for each in listed] == ["app-batch", "app-gp", "app-noasid", "app-viewer"]


def test_a_token_for_a_person_an_app_and_by_exchange(openscr: Run, demo_server: DemoServer) -> None:
    token = openscr("identity", "token", "--as", "app-gp", "--user", "555000000102", *at(demo_server)).done().out
    claims = claims_of(token)
    assert (claims["sub"], claims["selected_roleid"]) == ("555000000101", "555000000102")
    told = get(f"{demo_server.web}/oauth2/userinfo", Authorization=f"Bearer {token.strip()}")
    assert told["name"] == "Dr Gita Demopractice"

    by_user = openscr("identity", "token", "--user", "555000000301", "--level", "2", *at(demo_server)).done().out
    assert "selected_roleid" not in claims_of(by_user)
    assert claims_of(by_user)["authentication_assurance_level"] == 2

    whole = openscr("identity", "token", "--as", "app-batch", *at(demo_server), "--json").done().json
    assert (whole["expires_in"], whole["scope"]) == ("599", LEVEL3)

    exchanged = openscr("identity", "token", "--user", "555000000102", "--exchange", *at(demo_server), "--json").done()
    assert exchanged.json["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"
    assert claims_of(exchanged.json["access_token"])["scope"] == AAL3


def test_what_cannot_be_had_is_said_in_a_line(openscr: Run, demo_server: DemoServer, tmp_path: Path) -> None:
    token = ("identity", "token")
    openscr(*token, "--as", "nobody", *at(demo_server)).failed("app-viewer", status=2)
    openscr(*token, "--user", "12", *at(demo_server)).failed("role profile or a user id", status=2)
    openscr(*token, "--level", "4", *at(demo_server)).failed(status=2)
    openscr(*token, "--as", "app-viewer", *at(demo_server)).failed("no scope for itself")
    openscr(*token, "--as", "app-noasid", *at(demo_server)).failed("register one")
    openscr(*token, "--as", "app-batch", "--user", "555000000102", *at(demo_server)).failed("no scope for users")
    openscr(*token, "--user", "555000000702", *at(demo_server)).failed("sign-in refused")
    other = openscr(*token, "--user", "555000000102", "--at", demo_server.web, "--data", tmp_path / "other")
    other.failed("--data", "401")
    openscr(*token, "--at", "http://127.0.0.1:9").failed("nothing answers")
    openscr("identity", "app", "app-gp", "--redirect", "http://elsewhere.test/x", "--data", demo_server.data).failed(
        "https"
    )
    (tmp_path / "key").write_text("no key")
    openscr("identity", "app", "app-gp", "--public-key", tmp_path / "key", "--data", demo_server.data).failed("RSA key")


@pytest.mark.parametrize("form", ["jwk", "set", "pem"])
def test_a_key_of_ones_own_is_registered(openscr: Run, tmp_path: Path, form: str) -> None:
    """Also for an app that has none; of a private key only the public half is kept."""
    key = RSAKey.generate_key(2048, auto_kid=True)
    private = key.as_dict(private=True)
    written = {
        "jwk": json.dumps(private),
        "set": json.dumps({"keys": [key.as_dict(private=False)]}),
        "pem": key.as_pem(private=False).decode(),
    }[form]
    (tmp_path / "key").write_text(written)
    data = tmp_path / "data"
    told = openscr("identity", "app", "app-noasid", "--public-key", "key", "--data", data, "--json").done().json
    assert (told["kid"], told["private_key"]) == ([key.kid], "")
    assert str(private["d"]) not in (data / "identity" / "app-noasid.json").read_text()


def test_a_short_key_is_not_registered(openscr: Run, tmp_path: Path) -> None:
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024).public_key()  # noqa: S505
    pem = short.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "key").write_bytes(pem)
    openscr("identity", "app", "app-gp", "--public-key", "key").failed("2048 bits")


def test_a_smartcard_has_a_ticket(openscr: Run, demo_server: DemoServer) -> None:
    ticket = openscr("identity", "sso-token", "--user", "555000000303", *at(demo_server)).done().out.strip()
    address = f"{demo_server.web}/saml/RoleAssertion?token={quote(ticket)}"
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert b"<saml:AttributeValue>555000000303</saml:AttributeValue>" in answer.read()
    openscr("identity", "sso-token", "--user", "555000000601", *at(demo_server)).failed("no open role")
    openscr("identity", "sso-token", *at(demo_server)).failed("whose smartcard", status=2)


def test_keys_are_rotated(openscr: Run, demo_server: DemoServer) -> None:
    def kids() -> list[str]:
        keys = get(f"{demo_server.web}/realms/cis2-mock/jwks")["keys"]
        return [key["kid"] for key in keys]

    before = kids()
    new = openscr("identity", "rotate", "--at", demo_server.web).done().out.strip()
    assert kids() == [new, *before]
    assert openscr("identity", "rotate", "--at", demo_server.web, "--overlap", "0", "--json").done().json["kid"] != new
    assert new not in kids()
    openscr("identity", "rotate", "--at", demo_server.web, "--overlap", "-1").failed("overlap_seconds")


def test_a_person_is_signed_out_and_their_tokens_count_no_more(openscr: Run, demo_server: DemoServer) -> None:
    token = openscr("identity", "token", "--user", "555000000402", *at(demo_server)).done().out.strip()
    address = f"{demo_server.web}/governance/session"
    assert get(address, Authorization=f"Bearer {token}")
    told = openscr("identity", "sign-out", "--user", "555000000401", *at(demo_server), "--json").done().json
    assert told["ended"] >= 1
    for path in ("/governance/session", "/oauth2/userinfo"):
        with pytest.raises(urllib.error.HTTPError) as refused:
            get(f"{demo_server.web}{path}", Authorization=f"Bearer {token}")
        assert refused.value.code == 401
        refused.value.close()
    openscr("identity", "sign-out", *at(demo_server)).failed("whose sessions", status=2)


def test_only_test_environments_have_a_provider(openscr: Run, tmp_path: Path) -> None:
    openscr("serve", "--faces", "spine,operations,identity", "--web", "127.0.0.1:0", "--data", "live").failed(
        "identity is for test environments only", "--demo", "flag --faces"
    )
    assert not (tmp_path / "live").exists()
