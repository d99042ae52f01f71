"""From the setting that names the store to the store.

Spec: 00 §4 ``--store``; engine.md "four levels".
"""

from pathlib import Path

from openscr.errors import ConfigurationError
from openscr.setting_sources import holds_credentials
from openscr.store.copying import Access, Database
from openscr.store.interface import NOBODY, Leasing, Store
from openscr.store.postgres import PostgresStore
from openscr.store.postgres_connection import SCHEMES
from openscr.store.postgres_copying import PostgresCopy
from openscr.store.sqlite import SqliteStore
from openscr.store.sqlite_copying import SqliteCopy

_SCHEME = "sqlite:///"


def open_store(url_or_path: str, *, migrate: bool = True, leasing: Leasing = NOBODY) -> Store:
    """Return the store of a URL or a bare path; `Store.open` is still to be awaited.

    ``leasing`` says who we are for those who send what the outbox holds; others need not say it.
    ``sqlite:///data/openscr.db`` is a path relative to the working folder, ``sqlite:////srv/openscr.db`` an absolute
    one. Raises: `ConfigurationError` when the engine is not one of ours.
    """
    if url_or_path.startswith(SCHEMES):
        return PostgresStore(url_or_path, migrate=migrate, leasing=leasing)
    return SqliteStore(_path_of(url_or_path), migrate=migrate, leasing=leasing)


def whole_store(url_or_path: str, access: Access) -> Database:
    """Return the database of a URL or a bare path, to be read out or filled whole; it is still to be entered.

    Raises: `ConfigurationError` when the engine is not one of ours.
    """
    if url_or_path.startswith(SCHEMES):
        return PostgresCopy(url_or_path, access)
    return SqliteCopy(Path(_path_of(url_or_path)), access)


def _path_of(url_or_path: str) -> str:
    path = url_or_path.removeprefix(_SCHEME)
    if path == url_or_path and "://" in url_or_path:
        raise ConfigurationError(
            f"the store's engine {url_or_path.partition('://')[0]!r} is not supported;"
            " name sqlite:///PATH, the path of a database file, or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    if not path or path == ":memory:" or (path == url_or_path and holds_credentials(path)):
        raise ConfigurationError(
            "the store needs the path of a database file, sqlite:///PATH or PATH,"
            " or postgresql://USER:PASSWORD@HOST:PORT/DATABASE"
        )
    return path
