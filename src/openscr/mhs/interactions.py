"""Which interactions there are, and how each is exchanged: a built-in table, and a user's file on top of it.

Spec: 50 §1.6, F2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from openscr.codes import SERVICE_PREFIX
from openscr.mhs.states import Workflow

FORWARD_EXPRESS: Final = "Forward Express"
"""A workflow that the reference's table names and nobody implements. Spec: 50 §1.6."""


@dataclass(frozen=True, slots=True)
class Interaction:
    """One row. ``service`` is the whole URN; ``workflow`` a `Workflow` or, in a user's table, any text.

    ``waits`` is whether a caller may wait for the reply; none when a user's entry does not say (the reference's
    ``sync_async``). ``also_sync`` lets a caller choose the workflow ``sync`` by a header. Spec: 50 §1.6, F2.
    """

    name: str
    service: str
    workflow: str
    waits: bool | None
    also_sync: bool = False

    @property
    def action(self) -> str:
        """The SOAPAction, which is ``wsa:Action`` as well."""
        return f"{self.service}/{self.name}"

    @property
    def service_id(self) -> str:
        """What SDS calls it."""
        return f"{self.service}:{self.name}"


def _rows(
    service: str, workflow: Workflow, waits: bool, *names: str, also_sync: bool = False
) -> dict[str, Interaction]:
    urn = SERVICE_PREFIX + service
    return {name: Interaction(name, urn, workflow, waits, also_sync) for name in names}


INTERACTIONS: Final[Mapping[str, Interaction]] = {
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
    **_rows("lrs", Workflow.ASYNC_RELIABLE, True, "SET_RESOURCE_PERMISSIONS_INUK01", also_sync=True),
    **_rows("lrsquery", Workflow.ASYNC_EXPRESS, True, "QUPC_IN020000UK17"),
    **_rows("tms", Workflow.ASYNC_RELIABLE, True, "MCCI_IN200001UK02"),
    **_rows("alerts", Workflow.ASYNC_RELIABLE, True, "COMT_IN000001UK01"),
}
"""The built-in table."""
