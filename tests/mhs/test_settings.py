"""Settings of the adaptor: names of the NHS adaptor, files, flags, and what is said of them. Spec: 50 §7, C2."""

import logging
import os
import re
from pathlib import Path

import pytest

import openscr
from openscr.mhs.settings import WITHOUT_EFFECT, MhsSettings, MissingSetting, load_mhs_settings
from openscr.setting_sources import InvalidSetting, effective

ENOUGH = {
    "MHS_SECRET_PARTY_KEY": "YES-0000806",
    "MHS_SECRET_CLIENT_CERT": "certificate",
    "MHS_SECRET_CLIENT_KEY": "key",
    "MHS_SECRET_CA_CERTS": "authorities",
}


@pytest.fixture(autouse=True)
def enough_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A current folder without a file, and an environment with what must be there alone."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MHS_")]:
        monkeypatch.delenv(name)
    for name, value in ENOUGH.items():
        monkeypatch.setenv(name, value)


def texts(settings: MhsSettings) -> list[str]:
    return [remark.text for remark in settings.remarks]


def test_a6_a_party_key_and_certificates_are_enough() -> None:
    settings = load_mhs_settings()
    assert settings.secret_party_key == "YES-0000806"
    assert (settings.host, settings.outbound_server_port) == ("127.0.0.1", 8081)
    assert (settings.inbound_host, settings.inbound_server_port) == ("127.0.0.1", 8444)
    assert settings.inbound_healthcheck_server_port == 8082
    assert (settings.queue, settings.outbound_routing_lookup_method) == ("embedded", "SPINE_ROUTE_LOOKUP")
    assert settings.source("queue") == "default"


REFERENCE = {
    # The variables of 50 §7 that have an effect, with another value than their default.
    "LOG_LEVEL": ("AUDIT", "log_level", "AUDIT"),
    "LOG_FORMAT": ("%(message)s", "log_format", "%(message)s"),
    "OUTBOUND_SERVER_PORT": ("80", "outbound_server_port", 80),
    "OUTBOUND_TRANSMISSION_MAX_RETRIES": ("1", "outbound_transmission_max_retries", 1),
    "OUTBOUND_TRANSMISSION_RETRY_DELAY": ("250", "outbound_transmission_retry_delay", 250),
    "OUTBOUND_VALIDATE_CERTIFICATE": ("False", "outbound_validate_certificate", False),
    "OUTBOUND_HTTP_PROXY": ("proxy", "outbound_http_proxy", "proxy"),
    "OUTBOUND_HTTP_PROXY_PORT": ("8888", "outbound_http_proxy_port", 8888),
    "SPINE_ROUTE_LOOKUP_URL": ("https://routes.test", "spine_route_lookup_url", "https://routes.test"),
    "SPINE_ROUTE_LOOKUP_VALIDATE_CERT": ("False", "spine_route_lookup_validate_cert", False),
    "SPINE_ROUTE_LOOKUP_HTTP_PROXY": ("proxy", "spine_route_lookup_http_proxy", "proxy"),
    "SPINE_ROUTE_LOOKUP_HTTP_PROXY_PORT": ("1", "spine_route_lookup_http_proxy_port", 1),
    "SPINE_ORG_CODE": ("RZZ", "spine_org_code", "RZZ"),
    "SPINE_REQUEST_MAX_SIZE": ("1000", "spine_request_max_size", 1000),
    "FORWARD_RELIABLE_ENDPOINT_URL": ("https://spine.test/f", "forward_reliable_endpoint_url", "https://spine.test/f"),
    "SYNCHRONOUS_ENDPOINT_URL": ("https://spine.test/s", "synchronous_endpoint_url", "https://spine.test/s"),
    "ASYNCHRONOUS_EXPRESS_ENDPOINT_URL": ("http://s.test", "asynchronous_express_endpoint_url", "http://s.test"),
    "ASYNCHRONOUS_RELIABLE_ENDPOINT_URL": ("http://s.test", "asynchronous_reliable_endpoint_url", "http://s.test"),
    "RESYNC_RETRIES": ("2", "resync_retries", 2),
    "RESYNC_INTERVAL": ("0.5", "resync_interval", 0.5),
    "RESYNC_INITIAL_DELAY": ("0.1", "resync_initial_delay", 0.1),
    "INBOUND_SERVER_PORT": ("443", "inbound_server_port", 443),
    "INBOUND_HEALTHCHECK_SERVER_PORT": ("80", "inbound_healthcheck_server_port", 80),
    "INBOUND_USE_SSL": ("False", "inbound_use_ssl", False),
    "INBOUND_QUEUE_MAX_RETRIES": ("1", "inbound_queue_max_retries", 1),
    "INBOUND_QUEUE_RETRY_DELAY": ("5", "inbound_queue_retry_delay", 5),
    "INBOUND_QUEUE_MESSAGE_TTL_IN_SECONDS": ("60", "inbound_queue_message_ttl_in_seconds", 60),
    "SDS_URL": ("ldaps://sds.test", "sds_url", "ldaps://sds.test"),
    "SDS_SEARCH_BASE": ("ou=x", "sds_search_base", "ou=x"),
    "DISABLE_SDS_TLS": ("True", "disable_sds_tls", True),
    "LDAP_CONNECTION_TIMEOUT_IN_SECONDS": ("1", "ldap_connection_timeout_in_seconds", 1),
    "SDS_CACHE_EXPIRY_TIME": ("60", "sds_cache_expiry_time", 60),
}


@pytest.mark.parametrize("variable", REFERENCE)
def test_c2_variables_of_the_nhs_adaptor_keep_their_meaning(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, name, value = REFERENCE[variable]
    monkeypatch.setenv(f"MHS_{variable}", text)
    settings = load_mhs_settings()
    assert getattr(settings, name) == value
    assert getattr(settings, name) != MhsSettings.model_fields[name].default
    assert settings.source(name) == f"environment MHS_{variable}"
    assert not [text for text in texts(settings) if f"MHS_{variable} " in text and "VALIDATE" not in variable]


@pytest.mark.parametrize("variable", WITHOUT_EFFECT)
def test_c2_a_variable_that_does_nothing_here_is_said_so(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"MHS_{variable}", "anything")
    said = [remark for remark in load_mhs_settings().remarks if f"MHS_{variable} has no effect: " in remark.text]
    assert [remark.level for remark in said] == [logging.WARNING]


def test_c2_an_unknown_variable_is_one_warning_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHS_OUTBOUND_SERVER_PROT", "hidden-value")
    monkeypatch.setenv("MHS_TEA", "hidden-value")
    settings = load_mhs_settings({"routes_file": "routes.toml"})
    assert settings.outbound_server_port == 8081
    assert texts(settings) == [
        "MHS_OUTBOUND_SERVER_PROT is not a setting of this adaptor; MHS_OUTBOUND_SERVER_PORT is one",
        "MHS_TEA is not a setting of this adaptor",
    ]


@pytest.mark.parametrize("variable", ENOUGH)
def test_what_must_be_set_is_missed_with_the_text_that_people_know(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable)
    with pytest.raises(MissingSetting) as refusal:
        load_mhs_settings()
    assert f'Failed to get config ConfigName="{variable.removeprefix("MHS_")}"' in str(refusal.value)
    assert variable in refusal.value.expected
    assert not refusal.value.wrong_usage


@pytest.mark.parametrize(
    ("choice", "missing"),
    [
        ({"outbound_routing_lookup_method": "SPINE_ROUTE_LOOKUP"}, "SPINE_ROUTE_LOOKUP_URL"),
        ({"outbound_routing_lookup_method": "SDS_API"}, "SDS_API_URL"),
        ({"outbound_routing_lookup_method": "SDS_API", "sds_api_url": "https://sds.test"}, "SDS_API_KEY"),
        ({"outbound_routing_lookup_method": "LDAP"}, "SDS_URL"),
        ({"queue": "amqp10"}, "INBOUND_QUEUE_BROKERS"),
        ({"queue": "amqp091", "inbound_queue_brokers": "amqp://broker.test"}, "INBOUND_QUEUE_NAME"),
        ({"inbound_queue_brokers": "amqp://broker.test"}, "INBOUND_QUEUE_NAME"),
        ({"queue": "webhook"}, "WEBHOOK_URL"),
    ],
)
def test_a_choice_misses_what_it_needs(choice: dict[str, str], missing: str) -> None:
    with pytest.raises(MissingSetting, match=f'^Failed to get config ConfigName="{missing}"'):
        load_mhs_settings(choice)


def test_c2_who_names_brokers_and_no_kind_of_queue_means_that_of_the_nhs_adaptor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MHS_INBOUND_QUEUE_BROKERS", "amqps://broker.test:5671")
    monkeypatch.setenv("MHS_INBOUND_QUEUE_NAME", "inbound")
    settings = load_mhs_settings()
    assert settings.queue == "amqp10"
    assert settings.source("queue") == "inbound_queue_brokers, environment MHS_INBOUND_QUEUE_BROKERS"
    assert load_mhs_settings({"queue": "embedded"}).queue == "embedded"


@pytest.mark.parametrize(
    ("name", "value", "method"),
    [
        ("sds_api_url", "https://sds.test", "SDS_API"),
        ("spine_route_lookup_url", "https://routes.test", "SPINE_ROUTE_LOOKUP"),
        ("routes_file", "routes.toml", "STATIC"),
        ("sds_url", "ldap://sds.test", "LDAP"),
    ],
)
def test_the_way_of_looking_up_routes_follows_from_where(name: str, value: str, method: str) -> None:
    assert load_mhs_settings({name: value, "sds_api_key": "k"}).outbound_routing_lookup_method == method


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("mhs.toml", 'host = "0.0.0.0"\nresync_retries = 5\nqueue_deliveries = 4\n[queue]\ndirect = true\n'),
        ("mhs.yaml", "host: 0.0.0.0\nresync_retries: 5\nqueue_deliveries: 4\nqueue:\n  direct: true\n"),
    ],
)
def test_c2_a_flag_beats_a_variable_and_that_the_file(
    file: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / file).write_text(text)
    monkeypatch.setenv("MHS_RESYNC_RETRIES", "6")
    monkeypatch.setenv("MHS_QUEUE_DELIVERIES", "7")
    settings = load_mhs_settings({"queue_deliveries": 8}, config=Path(file))
    assert (settings.host, settings.resync_retries, settings.queue_deliveries) == ("0.0.0.0", 6, 8)  # noqa: S104
    assert settings.queue_direct
    assert settings.source("host") == file
    assert settings.source("queue_direct") == f"{file}, queue.direct"
    assert settings.source("resync_retries") == "environment MHS_RESYNC_RETRIES"
    assert settings.source("queue_deliveries") == "flag --queue-deliveries"


def test_a_file_in_the_current_folder_is_read_without_being_named(tmp_path: Path) -> None:
    (tmp_path / "mhs.toml").write_text("inbound_server_port = 9999\n")
    assert load_mhs_settings().inbound_server_port == 9999


@pytest.mark.parametrize(
    ("file", "content", "expected"),
    [
        ("bad.toml", "host = hidden-value", "not TOML"),
        ("bad.yaml", "host: [hidden-value", "not YAML, line 1"),
        ("bad.yaml", "- hidden-value", "not a mapping"),
        ("bad.yaml", "1: hidden-value", "not a mapping"),
        ("bad.toml", 'tea = "hidden-value"', "there is no such setting"),
        ("bad.toml", "[queue]\ndeliveries = 3", "there is no such setting"),
        ("bad.yaml", 'queue_deliveries: "hidden-value"', "valid integer"),
        ("bad.yaml", "queue_direct: true\nqueue:\n  direct: true", "are one setting"),
        ("bad.yaml", b"host: \xff", "not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_without_a_word_of_it(
    file: str, content: str | bytes, expected: str, tmp_path: Path
) -> None:
    (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidSetting, match=expected) as refusal:
        load_mhs_settings(config=Path(file))
    assert "hidden-value" not in str(refusal.value)
    assert refusal.value.source.startswith(file)


def test_a_yaml_file_may_hold_nothing_yet(tmp_path: Path) -> None:
    for text in ("# to be filled in\n", "queue:\nsds_api_url:\n"):
        (tmp_path / "mhs.yml").write_text(text)
        assert load_mhs_settings(config=Path("mhs.yml")).source("queue") == "default"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("outbound_server_port", 65536, "less than or equal to 65535"),
        ("inbound_use_ssl", "perhaps", "boolean"),
        ("outbound_routing_lookup_method", "sds", "'SDS_API'"),
        ("log_level", "LOUD", "'AUDIT'"),
        ("webhook_url", "broker.test", "https://"),
        ("webhook_url", "https://u:hidden-value@h/", "https://"),
        ("async_timeout", 0, "greater than 0"),
        ("colour", "hidden-value", "no such setting"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_source(name: str, value: object, expected: str) -> None:
    with pytest.raises(InvalidSetting, match=expected) as refusal:
        load_mhs_settings({name: value})
    assert (refusal.value.setting, refusal.value.source) == (name, f"flag --{name.replace('_', '-')}")
    assert "hidden-value" not in str(refusal.value)


def test_a_flag_with_a_file_takes_the_place_of_a_variable_with_text() -> None:
    files = {"client_cert_file": "c.pem", "client_key_file": "c.key", "ca_certs_file": "ca.pem"}
    settings = load_mhs_settings(files)
    assert (settings.client_cert_file, settings.secret_client_cert) == (Path("c.pem"), None)
    assert (settings.client_key_file, settings.secret_client_key) == (Path("c.key"), None)
    assert (settings.ca_certs_file, settings.secret_ca_certs) == (Path("ca.pem"), None)
    bundle = load_mhs_settings({"client_pkcs12_file": "c.p12"})
    assert (bundle.client_pkcs12_file, bundle.secret_client_cert, bundle.secret_client_key) == (
        Path("c.p12"),
        None,
        None,
    )


def test_a_certificate_given_twice_in_one_place_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHS_CLIENT_CERT_FILE", "c.pem")
    with pytest.raises(InvalidSetting, match="secret_client_cert and client_cert_file say the same"):
        load_mhs_settings()


def test_a_bundle_whose_certificate_is_replaced_leaves_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mhs.toml").write_text('client_pkcs12_file = "c.p12"\n')
    monkeypatch.delenv("MHS_SECRET_CLIENT_KEY")
    with pytest.raises(MissingSetting, match="SECRET_CLIENT_KEY"):
        load_mhs_settings()


@pytest.mark.parametrize("level", ["DEBUG", "notset"])
def test_a_level_below_info_is_warned_of(level: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHS_LOG_LEVEL", level)
    (said,) = [remark for remark in load_mhs_settings().remarks if "log level" in remark.text]
    assert said.level == logging.CRITICAL
    assert level.upper() in said.text


def test_every_setting_is_read_by_some_part() -> None:
    """A setting that nothing reads would be a promise that nobody keeps."""
    sources = Path(openscr.__file__).parent
    text = "".join(path.read_text() for path in [*(sources / "mhs").rglob("*.py"), sources / "adaptor.py"])
    assert [name for name in MhsSettings.model_fields if not re.search(rf"\.{name}\b", text)] == []


def test_secrets_are_masked_when_the_settings_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "hidden-value"
    for name, field in MhsSettings.model_fields.items():
        if "SecretStr" in str(field.annotation) and "pkcs12" not in name:
            monkeypatch.setenv(f"MHS_{name.upper()}", secret)
    brokers = f"amqp://user:{secret}@a.test,amqp://user:{secret}@b.test"
    settings = load_mhs_settings({"inbound_queue_brokers": brokers, "inbound_queue_name": "q"})
    shown = {name: value for name, value, _ in effective(settings)}
    assert set(shown) == set(MhsSettings.model_fields)
    assert secret not in str(shown)
    assert "b.test" in shown["inbound_queue_brokers"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("a.test", "a.test"),
        ("amqp://a.test:5672/spine", "amqp://a.test:5672/spine"),
        ("amqp://user:hidden@a.test,amqp://user:hidden:@b.test", "amqp://user:***@b.test"),
        ("user:hidden@a.test", "user:***@a.test"),
        ("user:hidden@a.test,b.test:5672", "user:***@a.test,b.test:5672"),
        ("amqp://a.test,user:hidden@b.test", "amqp://a.test,user:***@b.test"),
    ],
)
def test_an_address_is_shown_without_its_password(given: str, shown: str) -> None:
    settings = load_mhs_settings({"inbound_queue_brokers": given, "inbound_queue_name": "q"})
    assert {name: value for name, value, _ in effective(settings)}["inbound_queue_brokers"] == shown


@pytest.mark.parametrize("value", ["inf", "nan", "1e300", "9" * 25, "-1"])
def test_a_number_that_no_time_and_no_count_can_be_is_refused_at_the_start(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise it would be every message that fails over it."""
    numbers = [
        name for name, field in MhsSettings.model_fields.items() if re.search("float|int", str(field.annotation))
    ]
    large_is_fine = {"connections_per_host", "spine_request_max_size"}
    for name in numbers:
        if name in large_is_fine and value == "9" * 25:
            continue
        monkeypatch.setenv(f"MHS_{name.upper()}", value)
        with pytest.raises(InvalidSetting, match=name):
            load_mhs_settings()
        monkeypatch.delenv(f"MHS_{name.upper()}")


@pytest.mark.parametrize(
    ("variable", "name"), [("MHS_SECRET_PARTY_KEY", "secret_party_key"), ("MHS_SDS_API_KEY", "sds_api_key")]
)
def test_the_line_end_of_a_file_that_held_a_secret_is_no_part_of_it(
    variable: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With it no message would be for us, and no directory be asked."""
    monkeypatch.setenv(variable, "A91545-9199121\n")
    value = getattr(load_mhs_settings(), name)
    assert (value if isinstance(value, str) else value.get_secret_value()) == "A91545-9199121"


def test_a_party_key_holds_nothing_that_no_message_could_bear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MHS_SECRET_PARTY_KEY", "A91545\n9199121")
    with pytest.raises(InvalidSetting, match="without blanks") as refused:
        load_mhs_settings()
    assert "9199121" not in str(refused.value)


@pytest.mark.parametrize("name", ["outbound_http_proxy", "spine_route_lookup_http_proxy"])
@pytest.mark.parametrize("value", ["http://proxy", "user:hidden@proxy", "proxy/", "pro xy"])
def test_a_proxy_is_a_host_alone(value: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would be every message that cannot be sent."""
    monkeypatch.setenv(f"MHS_{name.upper()}", value)
    with pytest.raises(InvalidSetting, match="host alone") as refused:
        load_mhs_settings()
    assert "hidden" not in str(refused.value)
