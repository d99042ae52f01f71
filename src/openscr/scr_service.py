"""The web service for summaries alone, before an adaptor somewhere else: ``openscr mhs scr``.

Spec: 50 §12, C8; 00 §4 ``mhs``.
"""

from contextlib import AsyncExitStack

from openscr.adaptor import STOP_GRACE, SUPPLIERS
from openscr.listeners import Listener, bind
from openscr.mhs.scr.service import ScrSettings, scr_application
from openscr.settings import Address


class ScrService:
    """The web service for summaries alone, before an adaptor somewhere else. Spec: 50 §12, C8."""

    def __init__(self, settings: ScrSettings) -> None:
        self._settings = settings
        self._open = AsyncExitStack()
        self._listener: Listener | None = None

    async def start(self) -> None:
        """Accept requests. Raises: `ConfigurationError`."""
        application = scr_application(self._settings)
        listener = bind(Address(self._settings.host, self._settings.port), "port")
        await self._open.enter_async_context(application.router.lifespan_context(application))
        self._listener = Listener(application, listener, tls=None, grace=STOP_GRACE, limits=SUPPLIERS)
        await self._listener.start()

    async def stop(self) -> None:
        """Finish what is under way."""
        if self._listener is not None:
            self._listener.stop_accepting()
            await self._listener.stopped()
        await self._open.aclose()

    def look_at_tls_files(self) -> None:
        """Nothing here changes while it runs."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Its address."""
        return (self._listener.url,) if self._listener is not None else ()
