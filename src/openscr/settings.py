"""Every setting of the service: its meaning, its default, and where its value came from.

A flag beats the environment (``OPENSCR_…``), that beats ``openscr.toml``, that beats the default. A default may follow
from other settings: a demo service is open where a live one is closed. A setting that the specification names is taken
by that name too (`SPEC_NAMES`).

Spec: 00 §3, §4 "Configuration", §7; the section of every setting stands at it.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field

from openscr.setting_sources import (
    Names,
    PathName,
    SourcedSettings,
    Sources,
    Url,
    holds_credentials,
    read_names,
    read_url,
)

T = TypeVar("T")

FILE: Final = "openscr.toml"
PREFIX: Final = "OPENSCR_"
FACES: Final = ("spine", "identity", "governance", "sds", "operations")
"""Faces that can run: those that are built, and no others. Spec: 00 §3."""

EMBEDDED: Final = "embedded"
"""The source of a directory that is our own. Spec: 40 §11.1."""

TEST_FACES: Final = ("identity",)
"""Faces that are for test environments only. Spec: 35 §9.5."""

SPEC_NAMES: Final = {
    "author.unknown": "unknown_author",
    "acs.accept_ask_in_set": "accept_ask_in_set",
    "acs.response_payload_ns": "permissions_namespace",
    "alerts.type_oid": "alert_type_oid",
    "alerts.reason_oid": "alert_reason_oid",
    "acs.best_interest_overrides_dissent": "best_interest_overrides_dissent",
    "psis.override_vocabulary": "override_vocabulary",
    "lr.enforce": "enforce_relationship",
    "lr.claim_activity": "claim_activity",
    "acf.trust_system_flags": "trust_system_flags",
    "tls.max": "tls_max_version",
    "tls.legacy_ciphers": "legacy_ciphers",
    "tls.crl_file": "tls_crl_file",
    "tls.trusted_proxies": "trusted_proxies",
}
"""Names of the specification and the settings that they mean.

In the file ``author.unknown`` is ``unknown`` in the table ``[author]``, in the environment ``OPENSCR_AUTHOR_UNKNOWN``.
"""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a listener listens; port 0 picks a free port. IPv6 addresses are written in brackets. Spec: 00 §3."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return ``HOST:PORT``."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def read_address(text: object) -> Address:
    """Read ``HOST:PORT``. Raises: `ValueError`. Spec: 00 §4 ``serve``."""
    if isinstance(text, Address):
        return text
    host, colon, port = str(text).rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    plain = host[1:-1] if bracketed else host
    good_port = port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535
    if not colon or not plain or not good_port or (":" in plain and not bracketed):
        raise ValueError("an address is HOST:PORT, for example 127.0.0.1:8080")
    return Address(plain, int(port))


def _read_faces(value: object) -> object:
    faces = read_names(value)
    if not faces or not set(faces) <= set(FACES):
        raise ValueError(f"faces are one or more of {', '.join(FACES)}")
    return faces


def _read_activities(value: object) -> object:
    activities = read_names(value)
    if not all(re.fullmatch(r"B[0-9]{4}", activity) for activity in activities):
        raise ValueError("activities are B codes such as B0370, separated by commas")
    return activities


def _read_hours(value: object) -> object:
    pairs = [name.partition("=") for name in read_names(value)]
    try:
        found = tuple((ods.strip(), float(hours)) for ods, _, hours in pairs)
    except ValueError:
        found = (("", 0.0),)
    if not all(ods and 1 <= hours <= 8760 for ods, hours in found):
        raise ValueError("hours are ODS=HOURS between 1 and 8760, such as RZZ01=168, separated by commas")
    return found


def _read_store(value: object) -> object:
    if isinstance(value, str) and value:
        scheme, separator, _ = value.partition("://")
        if scheme in {"sqlite", "postgresql", "postgres"} if separator else not holds_credentials(value):
            return value
    raise ValueError("a store is a file, sqlite:///FILE, or postgresql://USER:PASSWORD@HOST:PORT/DATABASE")


def _read_directory_source(value: object) -> object:
    if isinstance(value, str) and (value == EMBEDDED or _LDAP_URL.fullmatch(value)):
        return value
    raise ValueError("a directory is embedded, ldap://HOST:PORT or ldaps://HOST:PORT")


def _read_networks(value: object) -> object:
    names = read_names(value)
    for name in names:
        try:
            everybody = ipaddress.ip_network(name).prefixlen == 0
        except ValueError:
            raise ValueError("this is a list of IP addresses and networks, such as 10.0.0.4,10.1.0.0/24") from None
        if everybody:
            raise ValueError("a network of every address would trust everybody; name those that are meant")
    return names


def _read_urls(value: object) -> object:
    return tuple(read_url(name) for name in read_names(value))


def _read_smtp(value: object) -> object:
    parts = urlsplit(value) if isinstance(value, str) else None
    if parts and parts.scheme in {"smtp", "smtps"} and parts.hostname and parts.path in ("", "/"):
        return value
    raise ValueError("a mail server is smtp://HOST:PORT or smtps://USER:PASSWORD@HOST:PORT")


_MAIL_ADDRESS: Final = r"^[^@\s<>\x00-\x1f]+@[A-Za-z0-9.-]+$"


def _read_oid(value: object) -> object:
    if isinstance(value, str) and _OID.fullmatch(value):
        return value
    raise ValueError("an OID is numbers with dots between them, such as 2.16.840.1")


_LDAP_URL: Final = re.compile(r"ldaps?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?/?", re.ASCII)
_OID: Final = re.compile(r"[0-2](?:\.(?:0|[1-9][0-9]*))+")
_Oid = Annotated[str, BeforeValidator(_read_oid)]
_Listener = Annotated[Address, BeforeValidator(read_address)]
_Networks = Annotated[tuple[str, ...], BeforeValidator(_read_networks)]
_Urls = Annotated[tuple[str, ...], BeforeValidator(_read_urls)]


def default_public_url(spine: Address) -> str:
    """Return the address that answers name as ours: that of the spine listener, with its port. Spec: 40 §10.5."""
    return f"https://{spine}/sync-service"


def _from(name: str, derive: Callable[[Any], T]) -> Callable[[dict[str, Any]], T]:
    """Return a default that follows from the setting ``name``, which is declared earlier."""
    return lambda values: derive(values[name])


class Settings(SourcedSettings):
    """The effective settings; made by `load_settings`, never changed. Durations are seconds, sizes bytes."""

    demo: bool = Field(False, description="run the demo world (00 §5)")
    data: PathName = Field(Path("openscr-data"), description="the data folder: database, keys, certificates")
    store: Annotated[str, BeforeValidator(_read_store)] = Field(
        default_factory=_from("data", lambda data: f"sqlite:///{data / 'openscr.db'}"),
        description="URL of the store, or a file; default SQLite in the data folder",
    )
    web: _Listener = Field(Address("127.0.0.1", 8080), description="web listener, HOST:PORT (00 §3)")
    spine: _Listener = Field(Address("127.0.0.1", 8443), description="spine listener, HOST:PORT (00 §3)")
    faces: Annotated[tuple[str, ...], BeforeValidator(_read_faces)] = Field(
        default_factory=_from("demo", lambda demo: tuple(face for face in FACES if demo or face not in TEST_FACES)),
        description="the faces that run, separated by commas (00 §3); default all, but identity in a demo only",
    )
    public_url: Url = Field(
        default_factory=_from("spine", default_public_url),
        description="what answers name as our own address (40 §10.5); default https://<spine>/sync-service",
    )
    workers: int = Field(1, ge=1, le=64, description="worker processes that share the listeners (00 §4)")
    outbox_age_limit: float = Field(
        3600.0,
        ge=0,
        le=604_800,
        description="seconds that the oldest message may wait to be delivered before /healthcheck says DOWN; 0: any",
    )
    certificate_warning_days: float = Field(
        30.0, ge=0, le=3650, description="days before its end from which the log tells of our certificate"
    )
    clock_limit: float = Field(
        30.0, gt=0, le=86_400, description="seconds that our clock may differ from the store's before /readyz says 503"
    )
    drain_seconds: float = Field(
        20.0,
        ge=0.1,
        le=600,
        description="how long a worker that is replaced still answers on connections that idle (SIGUSR2)",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="auto writes for people on a terminal and JSON lines elsewhere"
    )
    max_body_bytes: int = Field(5_242_880, ge=1024, le=1 << 30, description="largest request on Spine paths (00 §7)")

    requests_at_work: int = Field(32, ge=4, le=4096, description="requests that a process works on at once (90 §6.3)")
    requests_waiting: int = Field(
        512, ge=0, le=65_536, description="queries, and messages, that may wait for that; more are told to come again"
    )
    waiting_seconds: float = Field(2.0, gt=0, le=60, description="how long they may wait before they are told so")
    answer_seconds: float = Field(
        4.5,
        gt=0,
        le=60,
        description="after how long a request of the Spine paths or /governance is answered in any case (90 §6.2)",
    )
    body_memory: int = Field(
        268_435_456, ge=1 << 20, le=1 << 36, description="bytes of request bodies that a process holds at once"
    )
    sender_rate: float = Field(
        0.0, ge=0, le=100_000, description="requests a second of one client certificate on the Spine paths; 0: any"
    )
    sender_burst: float = Field(
        0.0, ge=0, le=1_000_000, description="requests of it at once before that counts; 0: twice the rate"
    )
    system_rate: float = Field(
        0.0, ge=0, le=100_000, description="requests a second of one ASID on the Spine paths; 0: any number"
    )
    system_burst: float = Field(0.0, ge=0, le=1_000_000, description="requests of it at once; 0: twice the rate")
    connections: int = Field(2048, ge=8, le=65_536, description="connections of a listener; more are refused")
    connections_per_address: int = Field(
        512,
        ge=0,
        le=65_536,
        description="of these, connections of one address that is no trusted proxy and not our own; 0: any",
    )

    patient_index: Literal["open", "closed"] = Field(
        default_factory=_from("demo", lambda demo: "open" if demo else "closed"),
        description="whether a number must be listed (10 §15 step 3); default open in a demo, else closed",
    )
    unknown_author: Literal["accept", "refuse"] = Field(
        default_factory=_from("demo", lambda demo: "accept" if demo else "refuse"),
        description="role profiles that the directory does not know (35 §9.2); default accept in a demo, else refuse",
    )
    subject_access: bool = Field(False, description="answer subject access queries (20 §10.5)")
    scr_application: bool = Field(False, description="answer HAS_SCRA_PERMISSIONS of SCR applications (20 §11)")
    require_person_for_query: bool = Field(False, description="refuse queries without a person (35 §9.2)")
    require_explicit_store_consent: bool = Field(False, description="refuse uploads while consent is Ask (30 §9)")
    initial_upload_overwrites: bool = Field(False, description="an initial upload replaces a summary (10 §15 step 6)")
    accept_ask_in_set: bool = Field(False, description="read permission Ask in SET as Clear (30 §4.3)")
    permissions_namespace: Literal["crs", "none"] = Field(
        "crs", description="XML namespace of the payload of GET and HAS answers (30 §4.3)"
    )
    best_interest_overrides_dissent: bool = Field(False, description="codes 4 and 5 of MIM 4.2.00 beat a No (30 §9)")
    override_vocabulary: Literal["7.2.02", "4.2.00"] = Field(
        "7.2.02", description="MIM version that gives the override codes their meaning (30 §9)"
    )
    alert_type_oid: _Oid | None = Field(None, description="code system of the type of alerts that are sent (80 §5.2)")
    alert_reason_oid: _Oid | None = Field(
        None, description="code system of the reason of alerts that are sent (80 §5.2)"
    )
    trust_system_flags: bool = Field(False, description="systems with RBAC check activities themselves (35 §3.3)")
    enforce_relationship: bool = Field(
        False, description="show a record only to those with a legitimate relationship on record (35 §8, §9.4)"
    )
    enforce_permission: bool = Field(
        False, description="show a record only to those with a permission to view on record (35 §6, 20 §10.1)"
    )
    claim_activity: Annotated[tuple[str, ...], BeforeValidator(_read_activities)] = Field(
        (), description="activities (B codes) of which one lets claim a relationship (35 §9.3); default any view right"
    )
    organisation_permission_hours: Annotated[tuple[tuple[str, float], ...], BeforeValidator(_read_hours)] = Field(
        (), description="ODS=HOURS, separated by commas: how long a permission for its staff holds; default 24 (70 §9)"
    )
    rbac: PathName | None = Field(
        None, description="file with the authorisation matrix (35 §9.3); default the shipped one"
    )

    directory_source: Annotated[str, BeforeValidator(_read_directory_source)] = Field(
        "embedded",
        description="whose directory counts: embedded, or a real SDS as ldap://HOST:PORT or ldaps://HOST:PORT",
    )
    directory_base: str = Field(
        "o=nhs", min_length=1, description="what ou=services and ou=people stand below (40 §11.1)"
    )
    directory_ca: PathName | None = Field(
        None, description="authorities whose certificates a directory server may have; default the system's"
    )
    directory_organisations: Names = Field(
        (), description="ODS codes that are taken from the directory server, separated by commas; default all"
    )
    directory_refresh: float = Field(
        300.0, ge=1, le=86_400, description="seconds between readings of the directory server"
    )

    tls_certificate: PathName = Field(
        default_factory=_from("data", lambda data: data / "pki" / "localhost.pem"),
        description="certificate of the spine listener; default in the data folder",
    )
    tls_key: PathName = Field(
        default_factory=_from("data", lambda data: data / "pki" / "localhost.key"),
        description="key of that certificate; default in the data folder",
    )
    tls_ca: PathName = Field(
        default_factory=_from("data", lambda data: data / "pki" / "ca.pem"),
        description="authorities whose client certificates are let in; default in the data folder",
    )
    tls_crl_file: PathName | None = Field(
        None, description="revocation lists, checked when set (35 §3.1); default that of the development authority"
    )
    tls_max_version: Literal["1.2", "1.3"] = Field("1.3", description="highest TLS version (35 §3.1)")
    legacy_ciphers: bool = Field(False, description="allow the CBC suites of 35 §3.1 too")
    trusted_proxies: _Networks = Field(
        (), description="addresses or networks of proxies that forward client certificates (35 §3.1)"
    )

    token_issuers: _Urls = Field(
        (), description="identity providers whose access tokens count (35 §9.1); default in a demo its own provider"
    )
    token_audience: Names = Field(("openscr",), description="whom access tokens must be meant for (35 §9.1)")
    logout_audience: Names = Field(("openscr",), description="whom logout tokens must be meant for (35 §4.2)")
    token_ca: PathName | None = Field(
        None, description="authorities of identity providers; default those of the operating system"
    )
    introspection_url: Url | None = Field(None, description="where opaque tokens are looked up (RFC 7662, 35 §9.1)")
    introspection_client: str = Field("openscr", min_length=1, description="who we are at that place")
    introspection_secret_file: PathName | None = Field(None, description="file with our secret for that place")
    trusted_gateways: _Networks = Field(
        (), description="addresses of API gateways whose NHSD-… headers count (35 §4.4), separated by commas"
    )
    rate_per_second: int = Field(
        default_factory=_from("demo", lambda demo: 0 if demo else 5),
        ge=0,
        description="requests with tokens of one application in a second (35 §4.4); default 0, any number, in a demo",
    )
    rate_per_minute: int = Field(
        default_factory=_from("demo", lambda demo: 0 if demo else 300),
        ge=0,
        description="the same in a minute (35 §4.4); default 0, any number, in a demo",
    )
    smartcard_url: Url | None = Field(
        None,
        description="role assertions of the Spine Security Broker, https://…/saml/RoleAssertion (35 §4.1); "
        "default in a demo its own provider",
    )
    smartcard_ca: PathName | None = Field(
        None, description="authorities of that broker; default those of the operating system"
    )
    saml_certificate: PathName | None = Field(
        None, description="certificate that must have signed role assertions; default: none need be signed (35 §4.1)"
    )

    delivery_timeout: float = Field(30.0, gt=0, le=600, description="seconds for one attempt to deliver")
    delivery_connect_timeout: float = Field(5.0, gt=0, le=600, description="seconds for the connection of an attempt")
    delivery_concurrency: int = Field(16, ge=1, le=1024, description="attempts at the same time")
    webhook_hosts: Names = Field((), description="hosts that notices of alerts may be posted to (80 §5.3)")
    smtp: Annotated[str, BeforeValidator(_read_smtp)] | None = Field(
        None,
        description="mail server for notices of alerts: smtp://HOST:PORT (STARTTLS) or smtps://HOST:PORT (80 §5.3)",
    )
    smtp_from: str = Field("openscr@localhost", pattern=_MAIL_ADDRESS, description="whom those mails are from")
    smtp_ca: PathName | None = Field(
        None, description="authorities that the mail server's certificate is judged by; default the machine's"
    )
    inbox_size: int = Field(1000, ge=1, le=1_000_000, description="messages kept in each demo inbox (00 §5)")

    scenario_triggers: Names = Field(
        (), description="named sets of scenarios that are on from the start, separated by commas; with --demo only"
    )
    scenario_file: PathName | None = Field(
        None, description="file with scenarios (JSON) that are on from the start; with --demo only"
    )

    @property
    def test_environment(self) -> bool:
        """Whether this is a test environment: everything in it is synthetic, and it may misbehave when told to.

        There is one kind: the demo world. Whatever is for test environments only asks this. Spec: 00 §3.1, §5; 35 §9.5.
        """
        return self.demo

    @property
    def pki(self) -> Path:
        """The folder of the development certificates. Spec: 00 §4."""
        return self.data / "pki"

    @property
    def identity(self) -> Path:
        """The folder of what the local identity provider knows of its apps. Spec: 35 §9.5."""
        return self.data / "identity"

    def make_data_folder(self) -> None:
        """Make the data folder, if there is none, for its owner alone: patients' data and keys will lie in it.

        A folder that is there keeps the rights that somebody gave it. Raises: `OSError`.
        """
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)


def load_settings(flags: Mapping[str, object] | None = None, *, config: Path | None = None) -> Settings:
    """Gather the settings: ``flags`` by setting name (``None`` means not given), environment, file, defaults.

    ``config`` is the file of ``--config``, which must exist; without it ``openscr.toml`` of the current folder is read
    if there is one. Raises: `InvalidSetting`. Spec: 00 §4 "Configuration".
    """
    sources = Sources(Settings, PREFIX, SPEC_NAMES)
    file = sources.of_file(config or Path(FILE), required=config is not None)
    return sources.build(file | sources.of_environment() | sources.of_flags(flags or {}))
