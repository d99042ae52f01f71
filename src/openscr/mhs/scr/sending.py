"""The ways from a summary to the MHS: in this process, or over its REST API.

Spec: 50 §12, C8.
"""

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog
from starlette.datastructures import Headers

from openscr.codes import UPLOAD
from openscr.delivery.carrier import Carrier
from openscr.errors import DirectoryUnavailable, EndpointUnknown
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import JSON, TEXT, XML, Answer, Exchanges, OutboundRequest
from openscr.mhs.interactions import INTERACTIONS, Interaction
from openscr.mhs.outbound.header_values import IDEMPOTENCY, INTERACTION_ID
from openscr.mhs.outbound.idempotency import Idempotency
from openscr.mhs.outbound.recording import RefusalRecord
from openscr.mhs.outbound.refusals import Refusal
from openscr.mhs.states import Workflow

_log = structlog.get_logger("mhs.scr")


@dataclass(frozen=True, slots=True)
class ScrMessage:
    """An upload that waits for the record's answer; ``ods_code`` is empty for the Spine's own, ``caller`` who asked.

    ``digest`` is that of the request it came from; with ``strict`` it is sent once, however often it is asked for.
    """

    interaction: Interaction
    payload: str
    message_id: str
    correlation_id: str
    ods_code: str = ""
    caller: str = ""
    digest: str = ""
    strict: bool = False


class Mhs(Protocol):
    """Sends messages, and waits for their replies."""

    async def receiver(self, interaction: Interaction, ods_code: str, correlation_id: str) -> str:
        """Return the ASID that an interaction is for, empty when that is not known here.

        Raises: `EndpointUnknown`, `DirectoryUnavailable`.
        """

    async def send(self, message: ScrMessage) -> tuple[Answer, bool]:
        """Send, and return what is answered, and whether this is the first time: 200 with the reply.

        Raises: `DeliveryError`; `openscr.mhs.outbound.refusals.Refused` when another message had this id.
        """

    async def answered(self, message: ScrMessage, answer: Answer, *, delivered: bool) -> None:
        """Be told whether whoever waits has been given the answer."""

    async def refused(
        self,
        refusal: Refusal,
        headers: Mapping[str, str],
        arrived: datetime,
        *,
        correlation_id: str,
        message_id: str,
        caller: str,
    ) -> None:
        """Be told that a request was refused before it became a message."""


class LocalMhs:
    """The adaptor of this process. Its own messages are kept and repeated as everybody's are."""

    def __init__(self, context: AdaptorContext, exchanges: Exchanges) -> None:
        self._context = context
        self._exchanges = exchanges
        self._refusals = RefusalRecord(context)
        self._idempotency = Idempotency(context)

    async def receiver(self, interaction: Interaction, ods_code: str, correlation_id: str) -> str:
        """Look the receiver's ASID up."""
        ods = ods_code or self._context.settings.spine_org_code
        return (await self._context.router.find(ods, interaction.service_id, correlation_id)).asid

    async def send(self, message: ScrMessage) -> tuple[Answer, bool]:
        """Send by the interaction's workflow. Spec: 50 F4."""
        request = self._request(message)
        if message.strict or self._context.settings.idempotency == "strict":
            return await self._idempotency.send(request, self._exchanges.send)
        return await self._exchanges.send(request), True

    async def answered(self, message: ScrMessage, answer: Answer, *, delivered: bool) -> None:
        """Tell the workflow."""
        await self._exchanges.answered(self._request(message), answer, delivered=delivered)

    async def refused(
        self,
        refusal: Refusal,
        headers: Mapping[str, str],
        arrived: datetime,
        *,
        correlation_id: str,
        message_id: str,
        caller: str,
    ) -> None:
        """Count it, and write it into the audit. Spec: 50 F18, F22."""
        named = {**headers, INTERACTION_ID: UPLOAD}
        ids = {"correlation_id": correlation_id, "message_id": message_id}
        await self._refusals.keep(refusal, Headers(named), arrived, caller=caller, **ids)

    def _request(self, message: ScrMessage) -> OutboundRequest:
        interaction = self._context.interactions.get(message.interaction.name, message.interaction)
        return OutboundRequest(
            interaction=interaction,
            workflow=Workflow(interaction.workflow),
            wait=True,
            message_id=message.message_id,
            correlation_id=message.correlation_id,
            payload=message.payload,
            received_at=self._context.clock(),
            ods_code=message.ods_code or None,
            digest=message.digest,
            caller=message.caller,
        )


class RemoteMhs:
    """An MHS over its REST API. ``receiver_asid`` is the Spine's, for messages that name no receiver themselves."""

    def __init__(self, address: str, carrier: Carrier, *, api_key: str = "", receiver_asid: str = "") -> None:
        self._address = address
        self._carrier = carrier
        self._api_key = api_key
        self._receiver_asid = receiver_asid

    async def receiver(self, interaction: Interaction, ods_code: str, correlation_id: str) -> str:
        """Return what the settings say."""
        return self._receiver_asid

    async def send(self, message: ScrMessage) -> tuple[Answer, bool]:
        """Post to the MHS and wait."""
        headers = {
            "Content-Type": JSON,
            "Interaction-Id": message.interaction.name,
            "wait-for-response": "true",
            "Message-Id": message.message_id,
            "Correlation-Id": message.correlation_id,
        }
        if message.ods_code:
            headers["ods-code"] = message.ods_code
        if message.strict:
            headers[IDEMPOTENCY] = "strict"
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        answer = await self._carrier.post(self._address, headers, json.dumps({"payload": message.payload}).encode())
        return _answer(answer.status, answer.body), True

    async def answered(self, message: ScrMessage, answer: Answer, *, delivered: bool) -> None:
        """Do nothing: to the MHS, we are who has been answered."""

    async def refused(
        self,
        refusal: Refusal,
        headers: Mapping[str, str],
        arrived: datetime,
        *,
        correlation_id: str,
        message_id: str,
        caller: str,
    ) -> None:
        """Say so in the log: figures and audit are the MHS's."""
        _log.info("refused", status=refusal.status, code=refusal.code)


def interaction_of(name: str) -> Interaction:
    """Return the row of an interaction that summaries are sent with."""
    return INTERACTIONS[name]


def unroutable(error: EndpointUnknown | DirectoryUnavailable) -> Answer:
    """Return what an MHS answers when it cannot tell where a message goes. Spec: 50 §1.4."""
    return Answer(500, f"Error obtaining outbound URL: {error.diagnostics}".encode(), TEXT)


def _answer(status: int, body: bytes) -> Answer:
    document: dict[str, Any] | None = None
    if status >= 400:
        with suppress(ValueError, RecursionError):
            found = json.loads(body)
            document = found if isinstance(found, dict) else None
    return Answer(status, body, XML if status < 400 else TEXT, document)
