"""An adaptor's workflows in the test's own process, with a stub Spine at the other end of a real socket."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from mhs.rig import RELIABLE, GivenRoutes
from mhs.stub_spine import PATIENCE, Received, StubSpine
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import Answer, OutboundRequest
from openscr.mhs.interactions import INTERACTIONS, Interaction
from openscr.mhs.states import Workflow
from openscr.mhs.store.interface import MessageRow
from openscr.mhs.workflows import Workflows

EXPRESS = INTERACTIONS["QUPC_IN160101UK05"]
UPLOAD = INTERACTIONS["REPC_IN150016UK05"]
FORWARD = Interaction("COPC_IN000001UK01", "urn:nhs:names:services:gp2gp", Workflow.FORWARD_RELIABLE, False)
QUERY = INTERACTIONS["QUPC_IN180000UK04"]
INTERACTIONS_WITH_FORWARD = {**INTERACTIONS, FORWARD.name: FORWARD}

SHORTLY = replace(RELIABLE, retry_interval=0.01)
"""A contract whose attempts follow each other at once."""
ONCE = replace(RELIABLE, retries=0)
"""A contract that allows no second attempt."""

PAYLOAD = '<REPC_IN150016UK05 xmlns="urn:hl7-org:v3"><id root="X"/>caf\u00e9</REPC_IN150016UK05>'
MESSAGE_ID = "9E6B9F4C-7C7D-4C5F-8A3B-1E6C6D0C8F10"
CORRELATION_ID = "5C4D2C21-3A4F-4B7C-9B7C-0D2E7F3A9B11"


@dataclass
class Adaptor:
    """The workflows of an adaptor, its stub Spine, and what they share."""

    workflows: Workflows
    context: AdaptorContext
    routes: GivenRoutes
    spine: StubSpine

    def request(self, interaction: Interaction, *, wait: bool = False, **changes: Any) -> OutboundRequest:
        """Return what the REST face would hand over."""
        given: dict[str, Any] = {
            "interaction": interaction,
            "workflow": Workflow(interaction.workflow),
            "wait": wait,
            "message_id": MESSAGE_ID,
            "correlation_id": CORRELATION_ID,
            "payload": PAYLOAD,
            "received_at": self.context.clock(),
            "from_asid": "200000000115" if interaction.workflow == Workflow.SYNC else None,
        }
        return OutboundRequest(**(given | changes))

    async def send(self, interaction: Interaction, **changes: Any) -> Answer:
        """Exchange a message and have the supplier be answered."""
        request = self.request(interaction, **changes)
        answer = await self.workflows.send(request)
        await self.workflows.answered(request, answer, delivered=True)
        return answer

    async def sent(self, interaction: Interaction, **changes: Any) -> Received:
        """Exchange a message and return what the Spine was posted."""
        await self.send(interaction, **changes)
        (received,) = self.spine.received
        return received

    async def row(self, message_id: str = MESSAGE_ID) -> MessageRow:
        """Return the state of a message."""
        row = await self.context.store.find_message(message_id)
        assert row is not None
        return row

    async def statuses(self, message_id: str = MESSAGE_ID) -> list[str]:
        """Return the states that a message has had."""
        return [str(change.status) for change in (await self.row(message_id)).history]

    async def reaches(self, status: str, message_id: str = MESSAGE_ID) -> None:
        """Wait until a message has a state."""

        async def has_it() -> bool:
            row = await self.context.store.find_message(message_id)
            return row is not None and row.outbound_status == status

        await until(has_it)

    async def outcomes(self) -> list[str]:
        """Return the outcomes in the audit."""
        return [row.entry.content["outcome"] async for row in self.context.store.read_audit()]

    async def queued(self) -> list[tuple[dict[str, str], bytes]]:
        """Return properties and bodies of what is on the queue."""
        now = self.context.clock()
        leased = await self.context.store.lease_queue(now, now, 100)
        return [(each.message.properties, each.message.body) for each in leased]


StartAdaptor = Callable[..., Awaitable[Adaptor]]


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until the answer is yes, and let everything else go on meanwhile."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 what is awaited is in a store
            await asyncio.sleep(0.001)
