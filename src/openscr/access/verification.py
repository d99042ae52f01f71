"""All that verifies people over HTTP, built from the settings: one object of each kind for the whole service.

Spec: 35 §4, §9.1.
"""

import ssl
from collections.abc import Iterable
from pathlib import Path

from cryptography import x509

from openscr.access.authentication import Authenticator
from openscr.access.fetching import Fetcher
from openscr.access.introspection import Introspection
from openscr.access.issuers import Issuer
from openscr.access.networks import TrustedAddresses
from openscr.access.rate import RateLimit
from openscr.access.sessions import LogoutReceiver, Sessions
from openscr.access.smartcard import SmartcardBroker
from openscr.directory.model import CurrentDirectory
from openscr.errors import ConfigurationError
from openscr.identifiers import Clock
from openscr.settings import Settings


class Verification:
    """Who vouches for people, and what they are asked with. ``close`` lets go of the connections.

    ``issuers`` are the URLs of the providers whose tokens count, ``broker`` that of the smartcards' role assertions, if
    smartcards count at all. Raises: `ConfigurationError`.
    """

    def __init__(
        self,
        settings: Settings,
        issuers: Iterable[str],
        directory: CurrentDirectory,
        clock: Clock,
        *,
        broker: str | None = None,
    ) -> None:
        def now() -> float:
            return clock().timestamp()

        self._fetcher = Fetcher(tls=_trusting(settings.token_ca, "token_ca"))
        self.issuers = tuple(Issuer(url, self._fetcher, now) for url in dict.fromkeys(issuers))
        self.sessions = Sessions(now)
        introspection = None
        if settings.introspection_url is not None:
            introspection = Introspection(
                settings.introspection_url,
                self._fetcher,
                now,
                client_id=settings.introspection_client,
                secret=_secret(settings.introspection_secret_file),
                audiences=settings.token_audience,
            )
        self._broker_fetcher = Fetcher(tls=_trusting(settings.smartcard_ca, "smartcard_ca"))
        self.smartcards: SmartcardBroker | None = None
        if broker is not None:
            self.smartcards = SmartcardBroker(
                broker,
                self._broker_fetcher,
                clock,
                certificate=_certificate(settings.saml_certificate),
                training=settings.test_environment,
            )
        self.authenticator = Authenticator(
            self.issuers,
            directory,
            self.sessions,
            audiences=settings.token_audience,
            clock=clock,
            introspection=introspection,
            gateways=TrustedAddresses(settings.trusted_gateways),
            smartcards=self.smartcards,
            rate=RateLimit(now, per_second=settings.rate_per_second, per_minute=settings.rate_per_minute),
        )
        self.logout = LogoutReceiver(self.issuers, settings.logout_audience, self.sessions, now)

    async def close(self) -> None:
        """Let go of all connections."""
        await self._fetcher.close()
        await self._broker_fetcher.close()


def _trusting(authorities: Path | None, setting: str) -> ssl.SSLContext | None:
    """Return what trusts the authorities of a file; none for those of the operating system."""
    if authorities is None:
        return None
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError:
        raise ConfigurationError(f"{setting} {authorities}: the file holds no certificates that can be read") from None


def _certificate(path: Path | None) -> x509.Certificate | None:
    if path is None:
        return None
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError):
        raise ConfigurationError(f"saml_certificate {path}: the file holds no certificate that can be read") from None


def _secret(path: Path | None) -> str:
    if path is None:
        raise ConfigurationError("introspection_url needs introspection_secret_file: our secret for that place")
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        raise ConfigurationError(f"introspection_secret_file {path}: the file cannot be read") from None
