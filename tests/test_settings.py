"""Where every setting comes from, and what is said when it cannot be used. Spec: 00 §3, §4 "Configuration", §7."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openscr.setting_sources import InvalidSetting, effective
from openscr.settings import SPEC_NAMES, Address, Settings, load_settings, read_address


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A current folder without openscr.toml and an environment without our variables."""
    monkeypatch.chdir(tmp_path)
    for name in (*Settings.model_fields, *SPEC_NAMES):
        monkeypatch.delenv(f"OPENSCR_{name.replace('.', '_').upper()}", raising=False)


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = load_settings()
    assert str(settings.web) == "127.0.0.1:8080"
    assert str(settings.spine) == "127.0.0.1:8443"
    assert settings.faces == ("spine", "governance", "sds", "operations")
    assert settings.store == "sqlite:///openscr-data/openscr.db"
    assert settings.public_url == "https://127.0.0.1:8443/sync-service"
    assert settings.max_body_bytes == 5_242_880
    assert settings.override_vocabulary == "7.2.02"
    assert settings.tls_ca == Path("openscr-data/pki/ca.pem") == settings.pki / "ca.pem"
    switches = [name for name, field in Settings.model_fields.items() if field.annotation is bool]
    assert len(switches) == 12
    assert not any(getattr(settings, name) for name in switches)


def test_hours_of_organisations_are_shown_as_they_were_given() -> None:
    given = "RZZ01=168,Y90001=1.5"
    settings = load_settings({"organisation_permission_hours": given})
    assert settings.organisation_permission_hours == (("RZZ01", 168.0), ("Y90001", 1.5))
    assert {name: value for name, value, _ in effective(settings)}["organisation_permission_hours"] == given


def test_a_demo_is_open_where_a_live_service_is_closed() -> None:
    demo, live = load_settings({"demo": True}), load_settings()
    assert (demo.patient_index, demo.unknown_author) == ("open", "accept")
    assert (live.patient_index, live.unknown_author) == ("closed", "refuse")
    assert load_settings({"demo": True, "patient_index": "closed"}).patient_index == "closed"


def test_defaults_follow_from_the_settings_they_belong_to(tmp_path: Path) -> None:
    settings = load_settings({"data": tmp_path, "spine": "[::1]:9443"})
    assert settings.store == f"sqlite:///{tmp_path}/openscr.db"
    assert settings.tls_key == tmp_path / "pki" / "localhost.key"
    assert settings.public_url == "https://[::1]:9443/sync-service"


def test_a_flag_beats_the_environment_and_that_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "openscr.toml").write_text(
        'web = "127.0.0.1:1"\nspine = "127.0.0.1:1"\ninbox_size = 7\nfaces = ["operations"]\n'
    )
    monkeypatch.setenv("OPENSCR_WEB", "127.0.0.1:2")
    monkeypatch.setenv("OPENSCR_SPINE", "127.0.0.1:2")
    monkeypatch.setenv("OPENSCR_STORE", "")
    settings = load_settings({"web": "127.0.0.1:3", "inbox_size": None})

    assert (settings.web.port, settings.spine.port, settings.inbox_size) == (3, 2, 7)
    shown = {name: (value, source) for name, value, source in effective(settings)}
    assert list(shown) == list(Settings.model_fields)
    assert shown["web"] == ("127.0.0.1:3", "flag --web")
    assert shown["spine"] == ("127.0.0.1:2", "environment OPENSCR_SPINE")
    assert shown["faces"] == ("operations", "openscr.toml")
    assert shown["store"] == ("sqlite:///openscr-data/openscr.db", "default")
    assert shown["demo"] == ("false", "default")
    assert shown["rbac"] == ("", "default")


def test_the_environment_spells_lists_and_switches_as_people_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSCR_FACES", "operations, spine,operations")
    monkeypatch.setenv("OPENSCR_DEMO", "yes")
    monkeypatch.setenv("OPENSCR_RBAC", "~/rbac.json")
    settings = load_settings()
    assert (settings.faces, settings.demo) == (("operations", "spine"), True)
    assert settings.rbac == Path.home() / "rbac.json"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://scr:secret@db:5432/scr", "postgresql://scr:***@db:5432/scr"),
        ("postgresql://scr:se/cr@et@db/scr", "postgresql://scr:***@db/scr"),
        ("postgresql://db/scr?user=scr&password=secret&ssl=on", "postgresql://db/scr?user=scr&password=***&ssl=on"),
        ("postgresql://scr@db,db2/scr", "postgresql://scr@db,db2/scr"),
        ("sqlite:////srv/openscr.db", "sqlite:////srv/openscr.db"),
        ("records.db", "records.db"),
    ],
)
def test_passwords_are_masked_when_the_settings_are_shown(url: str, shown: str) -> None:
    settings = load_settings({"store": url})
    assert settings.store == url
    assert {name: value for name, value, _ in effective(settings)}["store"] == shown


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("web", "8080", "HOST:PORT"),
        ("web", "127.0.0.1:", "HOST:PORT"),
        ("web", "127.0.0.1:65536", "HOST:PORT"),
        ("web", ":8080", "HOST:PORT"),
        ("spine", "::1:8443", "HOST:PORT"),
        ("faces", "spine,tea", "operations"),
        ("faces", "viewer", "faces are one or more of spine, "),
        ("faces", "spine,fhir", "faces are one or more of spine, "),
        ("faces", ",", "operations"),
        ("faces", 3, "separated by commas"),
        ("store", "mysql://u:secret@h/x", "sqlite:///FILE"),
        ("public_url", "spine.example", "https://"),
        ("public_url", "https://u:secret@h/", "https://"),
        ("data", "", "not empty"),
        ("inbox_size", "many", "integer"),
        ("inbox_size", 0, "greater than or equal to 1"),
        ("demo", "perhaps", "boolean"),
        ("unknown_author", "maybe", "'accept' or 'refuse'"),
        ("override_vocabulary", "6.3.01", "'7.2.02' or '4.2.00'"),
        ("delivery_timeout", 0, "greater than 0"),
        ("tls_max_version", "1.1", "'1.2' or '1.3'"),
        ("colour", "blue", "no such setting"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_source_and_what_is_right(
    name: str, value: object, expected: str
) -> None:
    with pytest.raises(InvalidSetting) as refusal:
        load_settings({name: value})
    assert refusal.value.setting == name
    assert refusal.value.source == f"flag --{name.replace('_', '-')}"
    assert expected in refusal.value.expected
    assert "secret" not in str(refusal.value)


def test_the_source_of_a_wrong_setting_is_the_one_it_came_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENSCR_DEMO", "perhaps")
    with pytest.raises(InvalidSetting, match=r"setting demo \(from environment OPENSCR_DEMO\)"):
        load_settings()
    monkeypatch.delenv("OPENSCR_DEMO")
    (tmp_path / "openscr.toml").write_text("demmo = true\n")
    with pytest.raises(InvalidSetting, match=r"setting demmo \(from openscr.toml\): there is no such"):
        load_settings()


# --- names of the specification ---------------------------------------------------------------------------------------

BY_SPEC_NAME = {
    "author.unknown": ("accept", "accept"),
    "acs.accept_ask_in_set": (True, True),
    "acs.best_interest_overrides_dissent": (True, True),
    "acs.response_payload_ns": ("none", "none"),
    "alerts.type_oid": ("1.2.3", "1.2.3"),
    "alerts.reason_oid": ("2.25.1", "2.25.1"),
    "psis.override_vocabulary": ("4.2.00", "4.2.00"),
    "acf.trust_system_flags": (True, True),
    "lr.enforce": (True, True),
    "lr.claim_activity": ("B0085", ("B0085",)),
    "tls.max": ("1.2", "1.2"),
    "tls.legacy_ciphers": (True, True),
    "tls.crl_file": ("crl.pem", Path("crl.pem")),
    "tls.trusted_proxies": ("10.0.0.4, 10.1.0.0/24", ("10.0.0.4", "10.1.0.0/24")),
}


@pytest.mark.parametrize("spec_name", BY_SPEC_NAME)
def test_a_setting_is_taken_by_the_name_that_the_specification_gives_it(
    spec_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a table of the file, as a dotted name, as a quoted one, and in the environment, which beats the file."""
    name, (value, read) = SPEC_NAMES[spec_name], BY_SPEC_NAME[spec_name]
    table, member = spec_name.split(".")
    for line in (f"[{table}]\n{member} = ", f"{spec_name} = ", f'"{spec_name}" = '):
        (tmp_path / "openscr.toml").write_text(line + json.dumps(value) + "\n")
        settings = load_settings()
        assert getattr(settings, name) == read
        assert settings.source(name) == f"openscr.toml, {spec_name}"
    variable = f"OPENSCR_{table}_{member}".upper()
    (tmp_path / "openscr.toml").write_text(f'{spec_name} = "wrong"\n')
    monkeypatch.setenv(variable, str(value))
    settings = load_settings()
    assert getattr(settings, name) == read
    assert settings.source(name) == f"environment {variable}"
    assert load_settings({name: value}).source(name).startswith("flag ")


def test_one_setting_by_two_names_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "openscr.toml").write_text('unknown_author = "accept"\n[author]\nunknown = "refuse"\n')
    with pytest.raises(InvalidSetting, match=r"unknown_author and author.unknown are one setting"):
        load_settings()
    (tmp_path / "openscr.toml").unlink()
    monkeypatch.setenv("OPENSCR_UNKNOWN_AUTHOR", "accept")
    monkeypatch.setenv("OPENSCR_AUTHOR_UNKNOWN", "refuse")
    with pytest.raises(InvalidSetting, match=r"unknown_author and author.unknown are one setting"):
        load_settings()


@pytest.mark.parametrize("text", ["[author]\nunknwon = 'accept'", "[colours]\nred = 1", "[web]\nport = 80"])
def test_a_table_that_nothing_is_known_of_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "openscr.toml").write_text(text)
    with pytest.raises(InvalidSetting, match=r"setting \w+\.\w+ \(from openscr.toml\): there is no such setting"):
        load_settings()


def test_every_name_of_the_specification_means_a_setting_of_its_own() -> None:
    assert set(SPEC_NAMES.values()) <= set(Settings.model_fields)
    assert len(set(SPEC_NAMES.values())) == len(SPEC_NAMES)
    assert set(BY_SPEC_NAME) == set(SPEC_NAMES)


def test_the_tables_of_settings_are_current() -> None:
    """docs/settings.md and docs/mhs-settings.md are what the settings themselves say."""
    script = Path(__file__).parents[1] / "scripts" / "write_settings.py"
    ended = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_a_file_that_is_named_must_be_there_and_be_toml(tmp_path: Path) -> None:
    with pytest.raises(InvalidSetting, match="no such file"):
        load_settings(config=tmp_path / "none.toml")
    with pytest.raises(InvalidSetting, match="cannot be read"):
        load_settings(config=tmp_path)
    path = tmp_path / "other.toml"
    path.write_text("demo = true\n")
    settings = load_settings(config=path)
    assert (settings.demo, settings.source("demo")) == (True, str(path))
    path.write_text("demo = \n")
    with pytest.raises(InvalidSetting, match="line 1"):
        load_settings(config=path)
    path.write_bytes(b"\xff")
    with pytest.raises(InvalidSetting, match="UTF-8"):
        load_settings(config=path)


def test_every_setting_says_what_it_means() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


@given(st.sampled_from(["127.0.0.1", "localhost", "::1", "10.1.2.3", "spine.example"]), st.integers(0, 65535))
def test_an_address_reads_back_as_written(host: str, port: int) -> None:
    assert read_address(str(Address(host, port))) == Address(host, port)


@given(st.text(max_size=12))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        address = read_address(text)
    except ValueError:
        return
    assert 0 <= address.port <= 65535
    assert address.host
