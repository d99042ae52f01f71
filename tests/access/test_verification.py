"""Settings that cannot be used are told when the service starts, and by name. Spec: 00 §4 "Configuration"."""

from pathlib import Path
from typing import Any

import pytest

from access.verifying import demo_world
from openscr.access.verification import Verification
from openscr.directory.model import CurrentDirectory
from openscr.errors import ConfigurationError
from openscr.identifiers import utc_now
from openscr.setting_sources import InvalidSetting
from openscr.settings import load_settings


def verification(issuers: tuple[str, ...] = (), broker: str | None = None, **settings: Any) -> Verification:
    directory = CurrentDirectory(demo_world())
    return Verification(load_settings(settings), issuers, directory, utc_now, broker=broker)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"issuers": ("http://am.nhs.test/realm",)}, "token_issuers"),
        ({"broker": "http://broker.nhs.test/saml/RoleAssertion"}, "smartcard_url"),
        ({"token_ca": "nowhere.pem"}, "token_ca"),
        ({"smartcard_ca": "nowhere.pem"}, "smartcard_ca"),
        ({"broker": "https://broker.test/", "saml_certificate": "nowhere.pem"}, "saml_certificate"),
        ({"introspection_url": "https://am.test/introspect"}, "introspection_secret_file"),
        (
            {"introspection_url": "https://am.test/introspect", "introspection_secret_file": "nowhere"},
            "introspection_secret_file",
        ),
        (
            {"introspection_url": "http://am.test/introspect", "introspection_secret_file": __file__},
            "introspection_url",
        ),
    ],
)
def test_what_cannot_be_used_is_named(settings: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        verification(**settings)


def test_a_file_that_is_no_certificate(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("-----BEGIN CERTIFICATE-----\nsecret words\n-----END CERTIFICATE-----\n")
    for settings in ({"token_ca": nonsense}, {"broker": "https://broker.test/", "saml_certificate": nonsense}):
        with pytest.raises(ConfigurationError) as refused:
            verification(**settings)
        assert "secret words" not in refused.value.diagnostics


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("trusted_gateways", "gateway.test"),
        ("trusted_gateways", "10.0.0.0/33"),
        ("token_issuers", "am.nhs.test"),
        ("token_issuers", "https://user:password@am.nhs.test"),
        ("smartcard_url", "broker"),
        ("rate_per_minute", -1),
    ],
)
def test_values_that_mean_nothing(name: str, value: object) -> None:
    with pytest.raises(InvalidSetting) as refused:
        load_settings({name: value})
    assert refused.value.setting == name
    assert "password" not in str(refused.value)


def test_a_live_service_trusts_nobody_whom_nobody_named() -> None:
    settings = load_settings()
    assert (settings.token_issuers, settings.trusted_gateways, settings.smartcard_url) == ((), (), None)
    assert (settings.rate_per_second, settings.rate_per_minute) == (5, 300)
    assert verification().smartcards is None
