"""What PostgreSQL's errors mean here: decided by SQLSTATE, never by the name of a constraint or the engine's words.

Invariant: an error that reached us while a transaction was being committed says nothing about its outcome.

Spec: engine.md "What the protocol layer does with it"; 40 §8.
"""

from typing import Final

import asyncpg

from openscr.errors import Conflict, OutcomeUnknown, StoreError, StoreFull, StoreUnavailable
from openscr.store.rows import refused_text

CONNECTION_ERRORS: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    # Where no address of the URL takes writes.
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    # A text that is none.
    UnicodeEncodeError,
)
"""Everything that a connection raises."""

_EXISTS: Final = "23505"
_NO_RECEIPT: Final = "23503"
_REFUSED: Final = {
    "53100": "no space left for the database",
    "25006": "the database takes no writes: it is read-only or a standby",
    "42501": "the store's user lacks rights in the database",
    "54000": "the database has reached one of its limits",
}
_UNAVAILABLE: Final = {
    "57014": "the database did not answer in time",
    "25P03": "the database did not answer in time",
    "25P04": "the database did not answer in time",
    "55P03": "another program holds the rows",
    "40001": "another transaction came first",
    "40P01": "another transaction came first",
    "57P01": "the database server is being stopped",
    "57P02": "the database server is restarting after a fault",
    "57P03": "the database server is starting or stopping",
    "57P05": "the connection to the database was closed",
    "53200": "the database server is out of memory",
    "53300": "the database server takes no more connections",
    "58030": "the disk under the database fails",
    "XX000": "the database server failed",
    "XX001": "the database is damaged",
    "XX002": "an index of the database is damaged",
}
_UNAVAILABLE_CLASSES: Final = {
    "08": "the connection to the database is lost",
    "28": "the database refuses the store's user",
    "3D": "the database is not there",
    "53": "the database server lacks resources",
    "57": "the database server was stopped",
    "58": "the system under the database fails",
    "XX": "the database server failed",
}


def sqlstate_of(error: BaseException) -> str:
    """Return the SQLSTATE of an error, empty when it did not come from the server."""
    return str(getattr(error, "sqlstate", None) or "")


def translate_error(error: BaseException) -> StoreError:
    """Return what an error of a statement or a connection means; nothing is stored."""
    if isinstance(error, UnicodeEncodeError):
        return refused_text()
    state = sqlstate_of(error)
    if state == _EXISTS:
        return Conflict("a row with this key exists already")
    if state == _NO_RECEIPT:
        return StoreError("the row refers to a receipt that does not exist: keep the receipt first")
    if state in _REFUSED:
        return StoreFull(f"{_REFUSED[state]} (SQLSTATE {state})")
    meaning = _UNAVAILABLE.get(state) or _UNAVAILABLE_CLASSES.get(state[:2])
    if meaning is not None:
        return StoreUnavailable(f"{meaning} (SQLSTATE {state})")
    if state:
        return StoreError(f"the database refused a statement (SQLSTATE {state})")
    if isinstance(error, TimeoutError):
        return StoreUnavailable("the database did not answer in time")
    if isinstance(error, asyncpg.DataError):
        # The driver found a value that the column cannot hold; its words would quote it.
        return StoreError("the database cannot keep one of the values")
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return StoreUnavailable("none of the database's addresses takes writes now")
    return StoreUnavailable("the connection to the database is lost")


def translate_commit_error(error: BaseException) -> StoreError:
    """Return what an error at COMMIT means: nobody knows whether it took place."""
    state = sqlstate_of(error)
    reason = f"SQLSTATE {state}" if state else "connection lost"
    return OutcomeUnknown(f"the database failed while a transaction was being committed ({reason})")
