"""From the settings to the store; engines of others come by entry points.

A package that brings an engine names it in the entry-point group `openscr.mhs.stores`: its name is the scheme of the
URL in ``MHS_STORE``, what it points to is an `Opening`.

Spec: 50 E1, E2.
"""

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final

from openscr.errors import ConfigurationError
from openscr.mhs.settings import MhsSettings
from openscr.mhs.store.encryption import read_key
from openscr.mhs.store.interface import Store
from openscr.mhs.store.memory import MemoryStore
from openscr.mhs.store.postgres import PostgresMhsStore
from openscr.mhs.store.sqlite import SqliteMhsStore

Opening = Callable[[str, MhsSettings], Store]
"""Takes the whole URL and the settings; gives a store that is still to be opened. Raises: `ConfigurationError`."""

GROUP: Final = "openscr.mhs.stores"

_FILE: Final = "mhs.db"
_SQLITE: Final = "sqlite:///"
_POSTGRESQL: Final = ("postgresql", "postgres")


def file_of(settings: MhsSettings) -> Path | None:
    """Return the database file of a store that is one, there or not; none of a store of another engine."""
    if not settings.store:
        return settings.data / _FILE
    return Path(settings.store.removeprefix(_SQLITE)) if settings.store.startswith(_SQLITE) else None


def open_sqlite(url: str, settings: MhsSettings) -> Store:
    """Return the store of a URL ``sqlite:///PATH``, by default of the file in the data folder, which is made."""
    path = url.removeprefix(_SQLITE)
    if not url:
        folder = settings.data
        try:
            # Patients' data: nobody but its owner looks into it.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(f"the data folder {folder} cannot be made: {error.strerror}") from error
        path = str(folder / _FILE)
    elif path == url or not path or path == ":memory:":
        raise ConfigurationError("MHS_STORE needs the path of a database file: sqlite:///PATH")
    return SqliteMhsStore(Path(path), read_key(settings.secret_store_key))


def open_postgresql(url: str, settings: MhsSettings) -> Store:
    """Return the store of a URL ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE``, whose database must exist."""
    return PostgresMhsStore(url, read_key(settings.secret_store_key))


def open_memory(url: str, settings: MhsSettings) -> Store:
    """Return an empty store in memory, of a URL ``memory:``."""
    return MemoryStore()


BUILT_IN: Final[dict[str, Opening]] = {
    "sqlite": open_sqlite,
    **dict.fromkeys(_POSTGRESQL, open_postgresql),
    "memory": open_memory,
}


def open_store(settings: MhsSettings) -> Store:
    """Return the store that the settings name; `Store.open` is still to be awaited. Raises: `ConfigurationError`."""
    scheme = settings.store.partition(":")[0] if settings.store else "sqlite"
    opening = BUILT_IN.get(scheme) or _plug_in(scheme)
    return opening(settings.store, settings)


def open_existing(settings: MhsSettings) -> Store:
    """Return the store that the settings name, for who only looks: opening it makes nothing.

    Raises: `ConfigurationError` when there is none.
    """
    file = file_of(settings)
    if file is not None and not file.exists():
        raise ConfigurationError(f"there is no store of an adaptor at {file}")
    if settings.store.partition(":")[0] in _POSTGRESQL:
        return PostgresMhsStore(settings.store, read_key(settings.secret_store_key), migrate=False)
    return open_store(settings)


def _plug_in(scheme: str) -> Opening:
    found = entry_points(group=GROUP)
    known = sorted({*BUILT_IN, *found.names})
    if scheme not in found.names:
        raise ConfigurationError(
            f"MHS_STORE names the engine {scheme!r}, which is not installed; there are: {', '.join(known)}"
            " (the default is sqlite:///PATH)"
        )
    try:
        opening: Opening = found[scheme].load()
    except Exception as error:
        raise ConfigurationError(
            f"the engine {scheme!r} of the adaptor's store cannot be loaded ({type(error).__name__}); install it again"
        ) from error
    return opening
