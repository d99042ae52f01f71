"""Every setting of the adaptor: the variables of the NHS adaptor with their meaning, and ours beside them.

All are environment variables with the prefix ``MHS_``; a TOML or YAML file may hold them too, in lower case and
without the prefix; variables win.

Spec: 50 §7, C2; the section of every setting stands at it.
"""

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

PREFIX: Final = "MHS_"


class MhsSettings(BaseSettings):
    """The settings of one adaptor. Times are seconds unless a name says otherwise."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    # --- who we are (50 §7, §8)
    secret_party_key: str = Field(min_length=1, description="own party key")
    secret_client_cert: SecretStr | None = Field(None, description="endpoint certificate, PEM text")
    secret_client_key: SecretStr | None = Field(None, description="its key, PEM text")
    secret_ca_certs: SecretStr | None = Field(None, description="issuing authority, then root, PEM text")
    client_cert_file: Path | None = Field(None, description="endpoint certificate, a PEM file (F16)")
    client_key_file: Path | None = Field(None, description="its key, a PEM file (F16)")
    client_pkcs12_file: Path | None = Field(None, description="certificate and key in one PKCS#12 file (F16)")
    secret_client_pkcs12_password: SecretStr | None = Field(None, description="the password of that file")
    ca_certs_file: Path | None = Field(None, description="authorities, a PEM file (F16)")

    # --- where we listen (50 §7, E1)
    host: str = Field("127.0.0.1", description="address that outbound and the health port listen on (F15)")
    inbound_host: str = Field("127.0.0.1", description="address that inbound listens on")
    outbound_server_port: int = Field(8081, ge=0, le=65535, description="port of the REST API (E1)")
    inbound_server_port: int = Field(8444, ge=0, le=65535, description="port that the Spine posts to (E1)")
    inbound_healthcheck_server_port: int = Field(8082, ge=0, le=65535, description="health port of inbound (E1)")
    inbound_use_ssl: bool = Field(True, description="HTTPS with client certificates; false: plain HTTP (50 §3)")
    inbound_allowed_names: tuple[str, ...] = Field(
        (),
        description="names of client certificates that inbound takes; none: any that the authorities vouch for (F15)",
    )
    outbound_tls_cert_file: Path | None = Field(None, description="certificate of the REST API, for HTTPS (F15)")
    outbound_tls_key_file: Path | None = Field(None, description="its key (F15)")
    outbound_tls_ca_file: Path | None = Field(None, description="authorities of callers: they need certificates (F15)")
    secret_outbound_api_keys: SecretStr | None = Field(
        None, description="keys that callers may show as Bearer token or apikey header, separated by commas (F15)"
    )

    # --- what we keep (50 §6, E1, E2, F17)
    data: Path = Field(Path("mhs-data"), description="folder of the store (E1)")
    store: str = Field("", description="URL of the store; default a SQLite file in the data folder (E2)")
    secret_store_key: SecretStr | None = Field(None, description="key that bodies are encrypted with at rest (F17)")
    state_retention_days: float = Field(30, gt=0, description="days that states are kept (F17)")

    # --- how we send (50 §2.8, F4, F5, F6, F11, F13)
    outbound_transmission_max_retries: int = Field(3, ge=0, description="further attempts after a network error")
    outbound_transmission_retry_delay: int = Field(100, ge=0, description="milliseconds between them")
    outbound_validate_certificate: bool = Field(True, description="verify the Spine's certificate and host name")
    outbound_http_proxy: str = Field("", description="HTTP proxy towards the Spine")
    outbound_http_proxy_port: int = Field(3128, ge=1, le=65535, description="its port")
    connect_timeout: float = Field(10, gt=0, description="seconds for a connection (F5)")
    sync_timeout: float = Field(20, gt=0, description="seconds for a synchronous exchange (F5)")
    async_timeout: float = Field(60, gt=0, description="seconds for posting an asynchronous message (F5)")
    retry_unsafe: bool = Field(False, description="re-send whatever may have reached the Spine as well (F5)")
    connections_per_host: int = Field(100, ge=1, description="connections kept to one host (F6)")
    spine_request_max_size: int = Field(4_999_600, ge=1, description="bytes of a message to the Spine (F13)")
    send_wait: float | None = Field(
        None, gt=0, description="seconds that a caller waits for reliable attempts; default till their end (F11)"
    )
    idempotency: Literal["off", "strict"] = Field("off", description="strict: one MessageId is sent once (F4)")
    resync_retries: int = Field(20, ge=0, description="looks for the reply of a waiting caller, less one (50 §2.7)")
    resync_interval: float = Field(1.0, gt=0, description="seconds between them")
    resync_initial_delay: float = Field(0.0, ge=0, description="seconds before the first")

    # --- where to (50 §5, F12)
    outbound_routing_lookup_method: Literal["SPINE_ROUTE_LOOKUP", "SDS_API", "STATIC", "LDAP"] = Field(
        "SPINE_ROUTE_LOOKUP", description="how routes are looked up"
    )
    spine_org_code: str = Field("YES", min_length=1, description="organisation that messages go to without ods-code")
    sds_api_url: str = Field("", description="base address of the SDS FHIR API")
    sds_api_key: SecretStr | None = Field(None, description="its key")
    spine_route_lookup_url: str = Field("", description="address of a route lookup service")
    routes_file: Path = Field(Path("routes.toml"), description="routes of the method STATIC (F12)")
    forward_reliable_endpoint_url: str = Field("", description="where forward-reliable messages go")
    synchronous_endpoint_url: str = Field("", description="used instead of the directory's address")
    asynchronous_express_endpoint_url: str = Field("", description="used instead of the directory's address")
    asynchronous_reliable_endpoint_url: str = Field("", description="used instead of the directory's address")
    interactions_file: Path | None = Field(None, description="interactions beside the built-in ones (F2)")

    # --- the supplier's queue (50 §3.4, E3, E4, E5)
    queue: Literal["embedded", "amqp10", "amqp091", "webhook"] = Field("embedded", description="which queue (E3)")
    queue_direct: bool = Field(False, description="hand over to the broker before acknowledging, as the reference (E5)")
    inbound_queue_brokers: str = Field("", description="URLs of the brokers, separated by commas")
    inbound_queue_name: str = Field("", description="name of the queue")
    secret_inbound_queue_username: SecretStr | None = Field(None, description="user at the broker")
    secret_inbound_queue_password: SecretStr | None = Field(None, description="password at the broker")
    inbound_queue_max_retries: int = Field(3, ge=0, description="further rounds through the brokers")
    inbound_queue_retry_delay: int = Field(100, ge=0, description="milliseconds between them")
    inbound_queue_message_ttl_in_seconds: int = Field(0, ge=0, description="life of a queue message, 0: for ever")
    webhook_url: str = Field("", description="where the webhook queue posts (E3)")
    queue_lease: float = Field(60, gt=0, description="seconds that a message is lent out (E4)")
    queue_deliveries: int = Field(10, ge=1, description="times a message is given out before it is dead (E4)")
    inbound_duplicate_window: float = Field(
        86_400, ge=0, description="seconds that an inbound message is remembered, 0: not at all (F4)"
    )

    # --- logs and audit (50 §9, C7, F22)
    log_level: str = Field("INFO", description="DEBUG, INFO, AUDIT, WARNING, ERROR or CRITICAL")
    log_style: Literal["json", "nhs-mhs"] = Field("json", description="form of the log lines (C7)")
    log_format: str = Field("", description="format of a line with log_style nhs-mhs; default that of 50 §9")
    audit_nhs_number: Literal["hashed", "plain"] = Field("hashed", description="how the audit names a patient (F22)")
    secret_audit_key: SecretStr | None = Field(None, description="key of that hash; default made in the data folder")
