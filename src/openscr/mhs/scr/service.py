"""The web service that stands alone, before an MHS somewhere else: ``openscr mhs scr``.

Spec: 50 §12, C8; 00 §4 ``mhs``.
"""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from pydantic import Field, SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from openscr.delivery.carriers import HttpCarrier
from openscr.errors import ConfigurationError
from openscr.identifiers import Clock, UuidFactory, mint_uuid, utc_now
from openscr.mhs.scr.application import ScrReception, scr_routes
from openscr.mhs.scr.sending import RemoteMhs
from openscr.setting_sources import SourcedSettings, Sources, Url

PREFIX: Final = "SCR_"

LARGEST_ANSWER: Final = 16 * 1024 * 1024
PAUSE: Final = 0.1
"""Seconds before an MHS that does not take a connection is tried again."""


class ScrSettings(SourcedSettings):
    """The settings of the web service: the variables of the reference, and ours beside them. Spec: 50 §12."""

    log_level: str = Field("INFO", description="INFO, WARNING, ERROR or CRITICAL")
    mhs_address: Url = Field(description="address of the MHS")
    host: str = Field("127.0.0.1", description="address that we listen on")
    port: int = Field(8083, ge=0, le=65535, description="port that we listen on; the reference's is 80")
    secret_mhs_ca_certs: SecretStr | None = Field(None, description="authorities of the MHS, PEM text")
    secret_mhs_api_key: SecretStr | None = Field(None, description="key that the MHS wants to see")
    asid: str = Field("", description="own ASID, for summaries in our form without from-asid")
    spine_asid: str = Field("", description="ASID of the Spine, for summaries in our form without to-asid")
    timeout: float = Field(300, gt=0, description="seconds that the MHS may take")


def load_scr_settings(flags: dict[str, object] | None = None) -> ScrSettings:
    """Gather the settings: flags by setting name, variables, defaults. Raises: `InvalidSetting`."""
    sources = Sources(ScrSettings, PREFIX, {})
    return sources.build(sources.of_environment() | sources.of_flags(flags or {}))


def scr_application(settings: ScrSettings, *, clock: Clock = utc_now, mint: UuidFactory = mint_uuid) -> Starlette:
    """Return the web service. Raises: `ConfigurationError` when the authorities cannot be used."""
    key = settings.secret_mhs_api_key
    carrier = HttpCarrier(_tls(settings), timeout=settings.timeout, pause=PAUSE, largest_answer=LARGEST_ANSWER)
    mhs = RemoteMhs(
        settings.mhs_address,
        carrier,
        api_key=key.get_secret_value() if key is not None else "",
        receiver_asid=settings.spine_asid,
    )

    @asynccontextmanager
    async def lifespan(_application: Starlette) -> AsyncIterator[None]:
        yield
        await carrier.close()

    reception = ScrReception(mhs, settings.asid, clock, mint)
    routes = [*scr_routes(reception, ("/", "/scr")), Route("/healthcheck", _healthy)]
    return Starlette(routes=routes, lifespan=lifespan)


async def _healthy(_request: Request) -> Response:
    """Answer as the reference's health check does. Spec: 50 §10."""
    return Response(status_code=200, headers={"Content-Type": "text/html; charset=UTF-8"})


def _tls(settings: ScrSettings) -> ssl.SSLContext | None:
    authorities = settings.secret_mhs_ca_certs
    if authorities is None:
        return None
    try:
        context = ssl.create_default_context(cadata=authorities.get_secret_value())
    except (ValueError, OSError):
        raise ConfigurationError("SCR_SECRET_MHS_CA_CERTS is no PEM text of certificates") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
