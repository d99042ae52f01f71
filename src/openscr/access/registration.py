"""Is the calling system who it says it is, and may it send this? Certificate, party, ASID, interaction, CPA.

Why a connection or a forwarded certificate was not taken at all is named here too: one list of causes for the audit.

The steps are those of 35 §3.2. The answer on the wire is the same for every refusal (fault 300); the precise cause is
for the audit.

Spec: 35 §3.2, 40 §8 steps 9 and 10, §10.3.
"""

from enum import StrEnum

from openscr.access.certificates import ClientCertificate
from openscr.codes import SERVICE_PREFIX
from openscr.directory.model import Directory, System
from openscr.errors import AccessRefused


class Cause(StrEnum):
    """Why a caller was refused: the ``diagnostics`` of `AccessRefused`, for the audit. Spec: 35 §3.2."""

    NO_CERTIFICATE = "no_certificate"
    UNTRUSTED_CERTIFICATE = "untrusted_certificate"
    EXPIRED_CERTIFICATE = "expired_certificate"
    EARLY_CERTIFICATE = "certificate_not_yet_valid"
    REVOKED_CERTIFICATE = "revoked_certificate"
    REVOCATION_UNKNOWN = "no_revocation_list_in_force"
    WRONG_USE = "certificate_not_for_clients"
    TLS_VERSION = "tls_version"
    TLS_SUITE = "tls_suite"
    NOT_TLS = "not_tls"
    HANDSHAKE_FAILED = "handshake_failed"
    FORWARDED_BY_STRANGER = "certificate_forwarded_by_stranger"
    NOT_FORWARDED = "certificate_not_forwarded"
    FORWARDED_TWICE = "certificate_forwarded_twice"
    UNREADABLE_CERTIFICATE = "unreadable_certificate"
    UNKNOWN_SENDER = "unknown_sender"
    SENDER_DISABLED = "sender_disabled"
    WRONG_CERTIFICATE = "wrong_certificate"
    INTERACTION_NOT_ENTITLED = "interaction_not_entitled"
    RECEIVER_NOT_OURS = "receiver_not_ours"
    ASID_HEADER_DIFFERS = "asid_header_differs"
    UNKNOWN_PARTY = "unknown_party"
    UNKNOWN_CERTIFICATE = "unknown_certificate"
    PARTY_NOT_OF_CERTIFICATE = "party_not_of_certificate"


def parties_of(directory: Directory, certificate: ClientCertificate) -> frozenset[str]:
    """Return the keys of the parties that hold this certificate: those of its CN, else those of its dNSNames.

    None means that the certificate is good but its name is not registered: HTTP 403. Spec: 35 §3.2 step 1, §3.1.
    """
    by_common_name = directory.parties_named([certificate.common_name] if certificate.common_name else ())
    return by_common_name or directory.parties_named(certificate.dns_names)


def check_sender(
    directory: Directory, *, asid: str, service: str, interaction: str, parties: frozenset[str] | None
) -> System:
    """Return the registered system of a sender ASID that may send this interaction.

    ``parties`` are those that may speak here: the certificate's, or on an ebXML channel the From party alone; ``None``
    on the loopback listener of a demo, where being registered is enough. ``service`` is short or complete.
    Raises: `AccessRefused` whose ``diagnostics`` is a `Cause`. Spec: 35 §3.2 steps 2, 3 and 5.
    """
    system = directory.systems.get(asid)
    if system is None:
        raise AccessRefused(Cause.UNKNOWN_SENDER)
    if parties is not None and system.party_key not in parties:
        raise AccessRefused(Cause.WRONG_CERTIFICATE)
    if not system.enabled:
        raise AccessRefused(Cause.SENDER_DISABLED)
    if f"{service.removeprefix(SERVICE_PREFIX)}:{interaction}" not in system.interactions:
        raise AccessRefused(Cause.INTERACTION_NOT_ENTITLED)
    return system


def check_receiver(directory: Directory, asid: str) -> bool:
    """Whether a receiver ASID is one of ours: a refusal on SOAP, a warning on ebXML. Spec: 35 §3.2 step 4."""
    return asid in directory.own_asids


def check_cpa(directory: Directory, cpa_id: str, service: str, interaction: str) -> str | None:
    """Return the key of `openscr.errors.EBXML_ERRORS` for a CPA id that does not fit, or none.

    ``cpa_unknown``: no contract of ours has this id; ``cpa_coverage``: it does not cover the interaction.
    Raises: `ConfigurationError` when the directory has no own party. Spec: 40 §8 step 9, §10.3.
    """
    if cpa_id not in directory.cpa_ids:
        return "cpa_unknown"
    own = directory.own_party.party_key
    endpoint = directory.endpoint(own, service.removeprefix(SERVICE_PREFIX), interaction)
    return None if endpoint is not None and endpoint.cpa_id == cpa_id else "cpa_coverage"
