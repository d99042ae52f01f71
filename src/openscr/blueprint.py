"""What follows from the settings alone: limits, rules, and where things are.

Spec: 00 §4 "Configuration".
"""

import structlog

from openscr.access.matrix import load_matrix, with_claim_activity
from openscr.access.pki_revocation import revocation_list
from openscr.access.policy import AccessPolicy
from openscr.admission.work import Bounds
from openscr.codes import SCR_PERMISSIONS, SUBJECT_ACCESS
from openscr.connections import connections_possible
from openscr.directory.ldap_client import LdapAddress, LdapClient
from openscr.errors import ConfigurationError
from openscr.http_protocol import Limits
from openscr.identifiers import Clock, is_loopback
from openscr.record.decision import RecordRules
from openscr.settings import EMBEDDED, TEST_FACES, Settings
from openscr.tls import TlsFiles, TlsRules

_log = structlog.get_logger("service")


def check_settings(settings: Settings) -> None:
    """See that what goes with a test environment alone goes with one. Raises: `ConfigurationError`."""
    if settings.demo and not is_loopback(settings.web.host):
        raise ConfigurationError(
            f"web {settings.web}: with --demo the web listener carries the Spine paths without certificates, "
            "so it must be on loopback (127.0.0.1)"
        )
    if settings.test_environment:
        return
    for name in ("scenario_triggers", "scenario_file"):
        if getattr(settings, name):
            raise ConfigurationError(
                f"setting {name} (from {settings.source(name)}): scenarios are for test environments only; "
                "start with --demo, or take the setting out"
            )
    for name in TEST_FACES:
        if name in settings.faces:
            raise ConfigurationError(
                f"setting faces (from {settings.source('faces')}): {name} is for test environments only; "
                "start with --demo, or take it out"
            )


def policy_of(settings: Settings, clock: Clock) -> AccessPolicy:
    """Return who may do what. Raises: `ConfigurationError`. Spec: 35 §9.3."""
    return AccessPolicy(
        matrix=with_claim_activity(load_matrix(settings.rbac), settings.claim_activity),
        unknown_author=settings.unknown_author,
        require_person_for_query=settings.require_person_for_query,
        trust_system_flags=settings.trust_system_flags,
        override_vocabulary=settings.override_vocabulary,
        enforce_relationship=settings.enforce_relationship,
        enforce_permission=settings.enforce_permission,
        clock=clock,
    )


def rules_of(settings: Settings) -> RecordRules:
    """Return what the record decides by. Spec: 10 §15, 30 §9."""
    return RecordRules(
        open_index=settings.patient_index == "open",
        require_explicit_store_consent=settings.require_explicit_store_consent,
        initial_upload_overwrites=settings.initial_upload_overwrites,
        best_interest_overrides_dissent=settings.best_interest_overrides_dissent,
        override_vocabulary=settings.override_vocabulary,
    )


def bounds_of(settings: Settings) -> Bounds:
    """Return how much the Spine paths take on. Spec: 90 §6.3."""
    return Bounds(
        at_work=settings.requests_at_work,
        waiting=settings.requests_waiting,
        patience=settings.waiting_seconds,
        answer=settings.answer_seconds,
        bodies=settings.body_memory,
        sender_rate=settings.sender_rate,
        sender_burst=settings.sender_burst,
        system_rate=settings.system_rate,
        system_burst=settings.system_burst,
    )


def bounds_of_web(settings: Settings) -> Bounds:
    """Return how much the rest of the web listener takes on; applications have limits of their own (35 §4.4)."""
    return Bounds(
        at_work=settings.requests_at_work,
        waiting=settings.requests_waiting,
        patience=settings.waiting_seconds,
        answer=settings.answer_seconds,
    )


def limits_of(settings: Settings) -> Limits:
    """Return what connections may cost; fewer than the settings say where the system has no room for them."""
    possible = connections_possible(settings.connections, 1 + ("spine" in settings.faces))
    if possible < settings.connections:
        _log.warning("fewer connections than wanted: file descriptors (ulimit -n)", connections=possible)
    return Limits(connections=possible, connections_per_address=settings.connections_per_address)


def ldap_client(settings: Settings) -> LdapClient | None:
    """Return what asks the directory server, if there is one. Raises: `ConfigurationError`."""
    if settings.directory_source == EMBEDDED:
        return None
    return LdapClient(LdapAddress.read(settings.directory_source, settings.directory_ca))


def switched_off(settings: Settings) -> frozenset[str]:
    """Return the interactions that are offered only where an operator has said so. Spec: 20 §10.5, §11."""
    switches = {SUBJECT_ACCESS: settings.subject_access, SCR_PERMISSIONS: settings.scr_application}
    return frozenset(interaction for interaction, on in switches.items() if not on)


def tls_of(settings: Settings) -> tuple[TlsFiles, TlsRules]:
    """Return the TLS files; the list of our own development authority counts from the moment that there is one."""
    crl, own = settings.tls_crl_file, settings.tls_ca.parent == settings.pki
    files = TlsFiles(
        settings.tls_certificate,
        settings.tls_key,
        settings.tls_ca,
        crl or (revocation_list(settings.pki) if own else None),
        crl_may_be_missing=crl is None,
    )
    return files, TlsRules(settings.tls_max_version, settings.legacy_ciphers)
