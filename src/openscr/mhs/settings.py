"""Every setting of the adaptor: the variables of the NHS adaptor with their meaning, and ours beside them.

All are environment variables with the prefix ``MHS_``; a TOML or YAML file may hold them too, in lower case and
without the prefix; variables win.

Spec: 50 §7, C2; the section of every setting stands at it.
"""

import difflib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, SecretStr

from openscr.setting_sources import Given, InvalidSetting, Names, PathName, SourcedSettings, Sources, read_url

FILE: Final = "mhs.toml"
PREFIX: Final = "MHS_"

TABLE_NAMES: Final = {"queue.direct": "queue_direct", "audit.nhs_number": "audit_nhs_number"}
"""Names that the specification gives to settings in a file, and the settings that they mean."""

_OUR_STORE: Final = "this adaptor keeps its states in its own store (MHS_STORE)"
_OUR_CACHE: Final = "routes are kept in the adaptor itself"
_NO_TEST_DATA: Final = "for a test environment use `openscr mhs serve --demo` or MHS_ROUTES_FILE"
WITHOUT_EFFECT: Final[Mapping[str, str]] = {
    "STATE_TABLE_NAME": _OUR_STORE,
    "SYNC_ASYNC_STATE_TABLE_NAME": _OUR_STORE,
    "STATE_STORE_MAX_RETRIES": _OUR_STORE,
    "STATE_STORE_RETRY_DELAY": _OUR_STORE,
    "SYNC_ASYNC_STORE_MAX_RETRIES": _OUR_STORE,
    "SYNC_ASYNC_STORE_RETRY_DELAY": _OUR_STORE,
    "PERSISTENCE_ADAPTOR": _OUR_STORE,
    "DB_ENDPOINT_URL": _OUR_STORE,
    "DB_CA_CERTS": _OUR_STORE,
    "CLOUD_REGION": _OUR_STORE,
    "MAX_RESYNC_RETRIES": "the name of this setting is MHS_RESYNC_RETRIES",
    "LAZY_LDAP": "the directory is always connected to when it is first needed",
    "LDAP_CONNECTION_RETRIES": "the directory is asked again when the next message needs it",
    "SDS_REDIS_CACHE_HOST": _OUR_CACHE,
    "SDS_REDIS_CACHE_PORT": _OUR_CACHE,
    "SDS_REDIS_DISABLE_TLS": _OUR_CACHE,
    "SPINE_ROUTE_LOOKUP_SERVER_PORT": "this adaptor looks up routes itself; there is no such service",
    "LDAP_MOCK_DATA_URL": _NO_TEST_DATA,
    "FAKE_SPINE_URL": _NO_TEST_DATA,
    "AWS_PROFILE": "nothing of this adaptor runs on AWS services",
}
"""Variables of the NHS adaptor that are taken and do nothing, each with why or what to do instead. Spec: 50 §7, C2."""


class MissingSetting(InvalidSetting):
    """A setting that must be there is not. The text is the one that users of the NHS adaptor know. Spec: 50 §7."""

    def __init__(self, name: str, expected: str = "") -> None:
        mend = expected or f"set the variable {PREFIX}{name.upper()}, or {name} in the settings file"
        super().__init__(name, "default", mend)
        self.args = (f'Failed to get config ConfigName="{name.upper()}": {mend}',)


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about the settings that those who run the adaptor are told at its start; ``level`` is a log level."""

    level: int
    text: str


def _url_or_nothing(value: object) -> object:
    return read_url(value) if value else ""


def _upper(value: object) -> object:
    return value.upper() if isinstance(value, str) else value


def _stripped(value: object) -> object:
    # Where secrets are files, a line end comes along.
    return value.strip() if isinstance(value, str) else value


def _word(value: object) -> object:
    value = _stripped(value)
    if isinstance(value, str) and re.fullmatch(r"[!-~]*", value) is None:
        raise ValueError("letters, digits and hyphens, without blanks")
    return value


_Word = Annotated[str, BeforeValidator(_word)]


def _host_alone(value: object) -> object:
    if isinstance(value, str) and (set(value) & set("/@") or any(each.isspace() for each in value)):
        raise ValueError("this is the name or address of a host alone, for example proxy.example")
    return value


_Host = Annotated[str, BeforeValidator(_host_alone)]
_Seconds = Annotated[float, Field(le=31_622_400)]
"""Not longer than a year: longer ones end in no date."""
_Count = Annotated[int, Field(le=10_000)]
_Url = Annotated[str, BeforeValidator(_url_or_nothing)]
_Level = Annotated[Literal["NOTSET", "DEBUG", "INFO", "AUDIT", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]


class MhsSettings(SourcedSettings):
    """The settings of one adaptor. Times are seconds unless a name says otherwise."""

    # --- who we are (50 §7, §8)
    secret_party_key: _Word = Field(min_length=1, description="own party key")
    secret_client_cert: SecretStr | None = Field(None, description="endpoint certificate, PEM text")
    secret_client_key: SecretStr | None = Field(None, description="key of that certificate, PEM text")
    secret_ca_certs: SecretStr | None = Field(None, description="issuing authority, then root, PEM text")
    client_cert_file: PathName | None = Field(None, description="endpoint certificate, a PEM file (F16)")
    client_key_file: PathName | None = Field(None, description="key of that certificate, a PEM file (F16)")
    client_pkcs12_file: PathName | None = Field(None, description="certificate and key in one PKCS#12 file (F16)")
    secret_client_pkcs12_password: SecretStr | None = Field(None, description="the password of that file")
    ca_certs_file: PathName | None = Field(None, description="authorities, a PEM file (F16)")

    # --- where we listen (50 §7, E1)
    host: str = Field("127.0.0.1", description="address that outbound and the health port listen on (F15)")
    inbound_host: str = Field("127.0.0.1", description="address that inbound listens on")
    outbound_server_port: int = Field(8081, ge=0, le=65535, description="port of the REST API (E1)")
    inbound_server_port: int = Field(8444, ge=0, le=65535, description="port that the Spine posts to (E1)")
    inbound_healthcheck_server_port: int = Field(8082, ge=0, le=65535, description="health port of inbound (E1)")
    inbound_use_ssl: bool = Field(True, description="HTTPS with client certificates; false: plain HTTP (50 §3)")
    inbound_allowed_names: Names = Field(
        (),
        description="names of client certificates that inbound takes; none: any that the authorities vouch for (F15)",
    )
    outbound_tls_cert_file: PathName | None = Field(None, description="certificate of the REST API, for HTTPS (F15)")
    outbound_tls_key_file: PathName | None = Field(None, description="key of that certificate (F15)")
    outbound_tls_ca_file: PathName | None = Field(
        None, description="authorities of callers: they need certificates (F15)"
    )
    secret_outbound_api_keys: SecretStr | None = Field(
        None, description="keys that callers may show as Bearer token or apikey header, separated by commas (F15)"
    )

    # --- what we keep (50 §6, E1, E2, F17)
    data: PathName = Field(Path("mhs-data"), description="folder of the store (E1)")
    store: str = Field(
        "",
        description="URL of the store: sqlite:///PATH, or postgresql://USER:PASSWORD@HOST:PORT/DATABASE;"
        " default mhs.db in the data folder (E2)",
    )
    secret_store_key: SecretStr | None = Field(
        None, description="key that bodies are encrypted with at rest: 32 random bytes in base64 (F17)"
    )
    state_retention_days: float = Field(30, gt=0, le=36_525, description="days that states are kept (F17)")

    # --- how we send (50 §2.8, F4, F5, F6, F11, F13)
    outbound_transmission_max_retries: _Count = Field(3, ge=0, description="further attempts after a network error")
    outbound_transmission_retry_delay: int = Field(
        100, ge=0, le=86_400_000, description="milliseconds between those attempts"
    )
    outbound_validate_certificate: bool = Field(True, description="verify the Spine's certificate and host name")
    outbound_http_proxy: _Host = Field("", description="HTTP proxy towards the Spine")
    outbound_http_proxy_port: int = Field(3128, ge=1, le=65535, description="port of that proxy")
    connect_timeout: _Seconds = Field(10, gt=0, description="seconds for a connection (F5)")
    sync_timeout: _Seconds = Field(20, gt=0, description="seconds for a synchronous exchange (F5)")
    async_timeout: _Seconds = Field(60, gt=0, description="seconds for posting an asynchronous message (F5)")
    retry_unsafe: bool = Field(False, description="re-send whatever may have reached the Spine as well (F5)")
    connections_per_host: int = Field(100, ge=1, description="connections kept to one host (F6)")
    spine_request_max_size: int = Field(4_999_600, ge=1, description="bytes of a message to the Spine (F13)")
    send_wait: _Seconds | None = Field(
        None, gt=0, description="seconds that a caller waits for reliable attempts; default till their end (F11)"
    )
    idempotency: Literal["off", "strict"] = Field("off", description="strict: one MessageId is sent once (F4)")
    resync_retries: _Count = Field(20, ge=0, description="looks for the reply of a waiting caller, less one (50 §2.7)")
    resync_interval: _Seconds = Field(1.0, gt=0, description="seconds between those looks")
    resync_initial_delay: _Seconds = Field(0.0, ge=0, description="seconds before the first look")
    late_reply_grace: _Seconds = Field(
        60, gt=0, description="seconds after which a waiting caller that was not answered is taken for gone (F3)"
    )

    # --- where to (50 §5, F12)
    outbound_routing_lookup_method: Literal["SPINE_ROUTE_LOOKUP", "SDS_API", "STATIC", "LDAP"] = Field(
        "SPINE_ROUTE_LOOKUP", description="how routes are looked up"
    )
    spine_org_code: str = Field("YES", min_length=1, description="organisation that messages go to without ods-code")
    sds_api_url: _Url = Field("", description="base address of the SDS FHIR API")
    sds_api_key: Annotated[SecretStr, BeforeValidator(_stripped)] | None = Field(None, description="key for that API")
    spine_route_lookup_url: _Url = Field("", description="address of a route lookup service")
    spine_route_lookup_validate_cert: bool = Field(
        True, description="verify the certificate and host name of that service"
    )
    spine_route_lookup_http_proxy: _Host = Field("", description="HTTP proxy towards that service")
    spine_route_lookup_http_proxy_port: int = Field(3128, ge=1, le=65535, description="port of that proxy")
    secret_spine_route_lookup_client_cert: SecretStr | None = Field(
        None, description="our certificate at that service, PEM text"
    )
    secret_spine_route_lookup_client_key: SecretStr | None = Field(
        None, description="key of that certificate, PEM text"
    )
    secret_spine_route_lookup_ca_certs: SecretStr | None = Field(
        None, description="authorities of that service, PEM text"
    )
    sds_url: str = Field("", description="directory server of the method LDAP, ldap://HOST:PORT or ldaps://HOST:PORT")
    sds_search_base: str = Field(
        "ou=services,o=nhs", min_length=1, description="where services stand in that directory"
    )
    disable_sds_tls: bool = Field(False, description="ask that directory without TLS")
    sds_ca_file: PathName | None = Field(
        None, description="authorities of that directory, a PEM file; default those of the system"
    )
    ldap_connection_timeout_in_seconds: _Seconds = Field(
        5, gt=0, description="seconds for a connection to that directory"
    )
    sds_cache_expiry_time: _Seconds = Field(900, ge=0, description="seconds that a route is fresh (F12)")
    routes_file: PathName = Field(Path("routes.toml"), description="routes of the method STATIC (F12)")
    forward_reliable_endpoint_url: _Url = Field("", description="where forward-reliable messages go")
    synchronous_endpoint_url: _Url = Field("", description="used instead of the directory's address")
    asynchronous_express_endpoint_url: _Url = Field("", description="used instead of the directory's address")
    asynchronous_reliable_endpoint_url: _Url = Field("", description="used instead of the directory's address")
    scr_asid: str = Field("", description="own ASID, for summaries posted to /scr without from-asid (C8)")
    interactions_file: PathName | None = Field(None, description="interactions beside the built-in ones (F2)")

    # --- the supplier's queue (50 §3.4, E3, E4, E5)
    queue: str = Field("embedded", description="which queue: embedded, amqp10, amqp091, webhook or a plug-in's (E3)")
    queue_direct: bool = Field(False, description="hand over to the broker before acknowledging, as the reference (E5)")
    inbound_queue_brokers: str = Field("", description="URLs of the brokers, separated by commas")
    inbound_queue_name: str = Field("", description="name of the queue")
    secret_inbound_queue_username: SecretStr | None = Field(None, description="user at the broker")
    secret_inbound_queue_password: SecretStr | None = Field(None, description="password at the broker")
    inbound_queue_max_retries: _Count = Field(3, ge=0, description="further rounds through the brokers")
    inbound_queue_retry_delay: int = Field(100, ge=0, le=86_400_000, description="milliseconds between those rounds")
    # No more milliseconds than AMQP has room for.
    inbound_queue_message_ttl_in_seconds: int = Field(
        0, ge=0, le=4_294_967, description="life of a queue message, 0: for ever"
    )
    inbound_queue_timeout: _Seconds = Field(
        10, gt=0, description="seconds for a broker to take a message, or to be found"
    )
    inbound_queue_ca_file: PathName | None = Field(
        None, description="authorities of the broker's certificate, a PEM file; default those of the system"
    )
    webhook_url: _Url = Field("", description="where the webhook queue posts (E3)")
    queue_lease: _Seconds = Field(60, gt=0, description="seconds that a message is lent out (E4)")
    queue_deliveries: _Count = Field(10, ge=1, description="times a message is given out before it is dead (E4)")
    inbound_duplicate_window: _Seconds = Field(
        86_400, ge=0, description="seconds that an inbound message is remembered, 0: not at all (F4)"
    )

    # --- logs and audit (50 §9, C7, F22)
    log_level: _Level = Field("INFO", description="least level that is logged")
    log_style: Literal["json", "nhs-mhs"] = Field("json", description="form of the log lines (C7)")
    log_format: str = Field("", description="format of a line with log_style nhs-mhs; default that of 50 §9")
    audit_nhs_number: Literal["hashed", "plain"] = Field("hashed", description="how the audit names a patient (F22)")
    secret_audit_key: SecretStr | None = Field(None, description="key of that hash; default made in the data folder")

    _remarks: tuple[Remark, ...] = PrivateAttr(())

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What is to be said of these settings at the start: nobody is stopped by it."""
        return self._remarks


CERTIFICATE: Final = ("secret_client_cert", "client_cert_file", "client_pkcs12_file")
KEY: Final = ("secret_client_key", "client_key_file", "client_pkcs12_file")
AUTHORITIES: Final = ("secret_ca_certs", "ca_certs_file")
_ONE_OF: Final = (CERTIFICATE, KEY, AUTHORITIES)
"""Settings that say one thing in several ways."""

_NEEDED_BY: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("outbound_routing_lookup_method", "SPINE_ROUTE_LOOKUP"): ("spine_route_lookup_url",),
    ("outbound_routing_lookup_method", "SDS_API"): ("sds_api_url", "sds_api_key"),
    ("outbound_routing_lookup_method", "LDAP"): ("sds_url",),
    ("queue", "amqp10"): ("inbound_queue_brokers", "inbound_queue_name"),
    ("queue", "amqp091"): ("inbound_queue_brokers", "inbound_queue_name"),
    ("queue", "webhook"): ("webhook_url",),
}
"""What must be set when a choice was made."""

_FOLLOWS_FROM: Final = (
    ("queue", "inbound_queue_brokers", "amqp10"),
    ("queue", "webhook_url", "webhook"),
    ("outbound_routing_lookup_method", "spine_route_lookup_url", "SPINE_ROUTE_LOOKUP"),
    ("outbound_routing_lookup_method", "sds_api_url", "SDS_API"),
    ("outbound_routing_lookup_method", "routes_file", "STATIC"),
    ("outbound_routing_lookup_method", "sds_url", "LDAP"),
)
"""Choices that need not be made where another setting makes them; the first of each counts.

The NHS adaptor knows one kind of queue: who names its brokers, and says no more, means that kind.
"""


def load_mhs_settings(
    flags: Mapping[str, object] | None = None, *, config: Path | None = None, runs: bool = True
) -> MhsSettings:
    """Gather the settings: ``flags`` by setting name (``None`` means not given), variables, file, defaults.

    ``config`` is a TOML file, or YAML by its suffix, which must exist; without it ``mhs.toml`` of the current folder is
    read if there is one. What should be said of the settings is in their `MhsSettings.remarks`. Where no adaptor
    ``runs`` with them, nothing is missed: they say where the store is.
    Raises: `InvalidSetting`, of which `MissingSetting` is one. Spec: 50 §7, C2.
    """
    sources = Sources(MhsSettings, PREFIX, TABLE_NAMES)
    given = _laid_over(
        sources.of_file(config or Path(FILE), required=config is not None),
        sources.of_environment(),
        sources.of_flags(flags or {}),
    )
    for name, cause, choice in _FOLLOWS_FROM:
        if name not in given and cause in given:
            given[name] = Given(choice, f"{cause}, {given[cause].source}")
    if not runs:
        return sources.build({"secret_party_key": Given("none", "default")} | given)
    _look_for_missing(given)
    settings = sources.build(given)
    for (name, value), needed in _NEEDED_BY.items():
        missing = next((each for each in needed if each not in given), None)
        if name in given and getattr(settings, name) == value and missing is not None:
            raise MissingSetting(missing, f"{name} {value} needs it: set the variable {PREFIX}{missing.upper()}")
    settings._remarks = tuple(_remarks(settings, given))
    return settings


def _laid_over(*layers: Mapping[str, Given]) -> dict[str, Given]:
    """Return what the layers give, later ones first; of several ways to say one thing the last layer's counts."""
    given: dict[str, Given] = {}
    for layer in layers:
        for ways in _ONE_OF:
            chosen = [name for name in ways if name in layer]
            if len(chosen) > 1:
                text = f"{' and '.join(chosen)} say the same: give one of them"
                raise InvalidSetting(chosen[0], layer[chosen[0]].source, text)
            if chosen:
                given = {name: each for name, each in given.items() if name not in ways}
        given |= layer
    return given


def _look_for_missing(given: Mapping[str, Given]) -> None:
    for ways in (("secret_party_key",), *_ONE_OF):
        if not any(name in given for name in ways):
            others = " or ".join(PREFIX + name.upper() for name in ways)
            raise MissingSetting(ways[0], f"set the variable {others}" if len(ways) > 1 else "")


def _remarks(settings: MhsSettings, given: Mapping[str, Given]) -> Iterator[Remark]:
    known = {name.replace(".", "_") for name in (*MhsSettings.model_fields, *TABLE_NAMES)}
    for variable in sorted(os.environ):
        name = variable.removeprefix(PREFIX)
        if not variable.startswith(PREFIX) or name.lower() in known:
            continue
        if name in WITHOUT_EFFECT:
            yield Remark(logging.WARNING, f"{variable} has no effect: {WITHOUT_EFFECT[name]}")
        else:
            near = difflib.get_close_matches(name.lower(), known, 1)
            hint = f"; {PREFIX}{near[0].upper()} is one" if near else ""
            yield Remark(logging.WARNING, f"{variable} is not a setting of this adaptor{hint}")
    if logging.getLevelNamesMapping().get(settings.log_level, logging.INFO) < logging.INFO:
        text = f"log level {settings.log_level} is for finding faults with synthetic data only"
        yield Remark(logging.CRITICAL, text)
    if "outbound_routing_lookup_method" not in given:
        text = "no way to look up routes is set: MHS_SDS_API_URL, MHS_SPINE_ROUTE_LOOKUP_URL or MHS_ROUTES_FILE"
        yield Remark(logging.WARNING, text)
    if settings.store.startswith(("postgresql:", "postgres:")) and settings.secret_audit_key is None:
        text = (
            "MHS_SECRET_AUDIT_KEY is not set: other adaptors on this store call a patient by other names in the audit,"
            " each by the key in its own data folder"
        )
        if settings.audit_nhs_number == "hashed":
            yield Remark(logging.WARNING, text)
    if not settings.outbound_validate_certificate:
        text = "MHS_OUTBOUND_VALIDATE_CERTIFICATE is off: whoever answers is taken for the Spine"
        yield Remark(logging.WARNING, text)
