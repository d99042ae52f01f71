"""Which interactions there are, and how each is exchanged: a built-in table, and a user's file on top of it.

Spec: 50 §1.6, F2.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from openscr.codes import SERVICE_PREFIX
from openscr.errors import ConfigurationError
from openscr.mhs.states import Workflow

FORWARD_EXPRESS: Final = "Forward Express"
"""A workflow that the reference's table names and nobody implements. Spec: 50 §1.6."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """One row. ``service`` is the whole URN; ``workflow`` a `Workflow` or, in a user's table, any text.

    ``waits`` is whether a caller may wait for the reply; none when a user's entry does not say (the reference's
    ``sync_async``). ``also_sync`` lets a caller choose the workflow ``sync`` by a header: it names, as SDS does, the
    interaction whose endpoint takes this one synchronously, because SDS tells one endpoint of each. Spec: 50 §1.6, F2.
    """

    name: str
    service: str
    workflow: str
    waits: bool | None
    also_sync: str = ""

    @property
    def action(self) -> str:
        """The SOAPAction, which is ``wsa:Action`` as well."""
        return f"{self.service}/{self.name}"

    @property
    def service_id(self) -> str:
        """What SDS calls it."""
        return f"{self.service}:{self.name}"


def _rows(service: str, workflow: Workflow, waits: bool, *names: str, also_sync: str = "") -> dict[str, Interaction]:
    urn = SERVICE_PREFIX + service
    return {name: Interaction(name, urn, workflow, waits, also_sync) for name in names}


_ACS_SYNC: Final = f"{SERVICE_PREFIX}lrsquery:GET_RESOURCE_PERMISSIONS_INUK01"

INTERACTIONS: Final[dict[str, Interaction]] = {
    **_rows("psis", Workflow.ASYNC_RELIABLE, True, "REPC_IN150015UK05", "REPC_IN150016UK05"),
    **_rows("psis", Workflow.ASYNC_RELIABLE, False, "REPC_IN150017UK02", "REPC_IN150018UK02"),
    **_rows("psisquery", Workflow.ASYNC_EXPRESS, True, "QUPC_IN160101UK05", "QUPC_IN160103UK05"),
    **_rows("psisquery", Workflow.SYNC, False, "QUPC_IN180000UK04", "QUPC_IN190000UK04"),
    **_rows(
        "lrsquery",
        Workflow.SYNC,
        False,
        "GET_RESOURCE_PERMISSIONS_INUK01",
        "HAS_RESOURCE_PERMISSIONS_INUK01",
        "GetConsent01",
        "QUPC_IN010000UK32",
    ),
    **_rows("lrs", Workflow.ASYNC_RELIABLE, True, "SetConsent01", "REPC_IN010000UK15", "REPC_IN040000UK15"),
    **_rows("lrs", Workflow.ASYNC_RELIABLE, True, "SET_RESOURCE_PERMISSIONS_INUK01", also_sync=_ACS_SYNC),
    **_rows("lrsquery", Workflow.ASYNC_EXPRESS, True, "QUPC_IN020000UK17"),
    **_rows("tms", Workflow.ASYNC_RELIABLE, True, "MCCI_IN200001UK02"),
    **_rows("alerts", Workflow.ASYNC_RELIABLE, True, "COMT_IN000001UK01"),
    **_rows("pdsquery", Workflow.SYNC, False, "QUPA_IN040000UK32"),
    **_rows("ebs", Workflow.FORWARD_RELIABLE, True, "PRSC_IN080000UK07"),
    # Messages between practices: whoever takes them is not asked before.
    **_rows("gp2gp", Workflow.FORWARD_RELIABLE, False, "COPC_IN000001UK01", "MCCI_IN010000UK13"),
}
"""The built-in table: what a Summary Care Record needs, and what the reference's own scenarios send."""


class _Row(msgspec.Struct, forbid_unknown_fields=True):
    """An entry of a user's file, in the form of the reference's table."""

    service: Annotated[str, Meta(pattern=r"^[!-~]+\Z")]
    workflow: Annotated[str, Meta(min_length=1)]
    sync_async: bool | None = None
    also_sync: str = ""


_NAME: Final = re.compile(r"[A-Za-z0-9_]+\Z", re.ASCII)


def read_interactions(path: Path | None) -> Mapping[str, Interaction]:
    """Return the built-in table, and on top of it the entries of a file: TOML, or JSON by its name.

    An entry has the form of the reference's ``interactions.json``, so that a table that somebody has extended can be
    given as it is: ``service`` (its whole URN), ``workflow``, ``sync_async``, and ``also_sync`` of ours.
    Raises: `ConfigurationError`. Spec: 50 §1.6, F2.
    """
    if path is None:
        return INTERACTIONS
    try:
        text = path.read_text("utf-8")
        entries: Any = json.loads(text) if path.suffix.lower() == ".json" else tomllib.loads(text)
        rows = msgspec.convert(entries, dict[str, _Row])
    except OSError as error:
        raise ConfigurationError(f"the file of interactions {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"the file of interactions {path} is not right: {error}") from None
    for name in rows:
        if not _NAME.match(name):
            raise ConfigurationError(f"the file of interactions {path}: {name!r} is no interaction id")
    return INTERACTIONS | {
        name: Interaction(name, row.service, row.workflow, row.sync_async, row.also_sync) for name, row in rows.items()
    }
