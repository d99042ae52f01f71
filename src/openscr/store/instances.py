"""Who else runs on a store: what must be known before its schema changes.

Spec: 90 §6.1 "rolling upgrades"; engine.md "Workers".
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from openscr.errors import ConfigurationError
from openscr.store.interface import Instance, Leasing

SILENCE: Final = 30.0
"""Seconds without a word of its own after which a worker process is taken for dead."""

RELEASED_AT_A_TIME: Final = 2000
"""Rows of the outbox that are given back with one statement: a dead worker may have left hours of them."""


def running_elsewhere(instances: Iterable[Instance], leasing: Leasing, now: datetime) -> list[Instance]:
    """Return the worker processes of other places that were heard of lately; ``now`` by the store's clock.

    Those of our own place are gone: two services never share one.
    """
    since = now - timedelta(seconds=SILENCE)
    ours = leasing.place
    return [each for each in instances if each.seen_at > since and not (ours and each.holder.startswith(ours))]


def check_alone(
    instances: Iterable[Instance], leasing: Leasing, now: datetime, *, found: str | None, needed: str
) -> None:
    """See that nobody works with the schema that is about to change from ``found`` to ``needed``.

    Raises: `ConfigurationError`: a program must not find tables that it does not know, in the middle of its work.
    """
    others = running_elsewhere(instances, leasing, now)
    if others:
        programs = ", ".join(sorted({each.program for each in others}))
        raise ConfigurationError(
            f"the store has schema {found}, this program needs {needed}, and {len(others)} worker"
            f" {'process runs' if len(others) == 1 else 'processes run'} on it (version {programs}); stop"
            f" {'it' if len(others) == 1 else 'them'} first, or wait {SILENCE:.0f} s if"
            f" {'it has' if len(others) == 1 else 'they have'} ended; nothing was changed"
        )
