"""A Spine for the benchmarks of the adaptor: takes everything, and answers as its path says. Prints its address.

    python -m benchmarks.mhs_spine

``/sync`` gives an answer of 10 kB in its wrapper; ``/taken`` acknowledges; ``/reply/SECONDS/INBOUND`` (an address, URL
encoded) acknowledges and posts a reply there after that time. Its own CPU is never counted.
"""

import asyncio
import re
from urllib.parse import unquote

import aiohttp
from aiohttp import web

from openscr.identifiers import ebxml_timestamp, mint_uuid, utc_now
from openscr.transport.ebxml import Reliability, payload_id_of, write_acknowledgment, write_user_message
from openscr.transport.mime import (
    HEADER_CONTENT_ID,
    SPINE_CONTENT_TYPE,
    SPINE_HEADER_TYPE,
    SPINE_PAYLOAD_TYPE,
    write_multipart,
)
from openscr.transport.wsa import write_response

SPINE, SUPPLIER, CPA = "YES-0000806", "Y90001-0000001", "S20001A000182"

_MESSAGE_ID = re.compile(rb"<eb:MessageId>([^<]+)</eb:MessageId>")
_CONVERSATION = re.compile(rb"<eb:ConversationId>([^<]+)</eb:ConversationId>")
_REPLY = b'<MCCI_IN010000UK13 xmlns="urn:hl7-org:v3">' + b"<a>0123456789</a>" * 80 + b"</MCCI_IN010000UK13>"
_LIST = (
    b'<psis:eventListQueryResponse><QUPC_IN200000UK04 xmlns="urn:hl7-org:v3"><id root="A"/>'
    + b'<event code="x">0123456789</event>' * 270
    + b"</QUPC_IN200000UK04></psis:eventListQueryResponse>"
)


class Spine:
    """The application."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._replies: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        app = web.Application(client_max_size=200_000_000)
        app.router.add_post("/sync", self._sync)
        app.router.add_post("/taken", self._taken)
        app.router.add_post("/reply/{seconds}/{inbound:.*}", self._taken)
        return app

    async def _sync(self, request: web.Request) -> web.Response:
        await request.read()
        body = write_response(
            message_id=mint_uuid(),
            action="urn:nhs:names:services:psisquery/QUPC_IN200000UK04",
            to="",
            from_address="",
            receiver_asid="200000000115",
            sender_asid="200000000100",
            relates_to="uuid:A",
            body=_LIST,
        )
        return web.Response(body=body, content_type="text/xml")

    async def _taken(self, request: web.Request) -> web.Response:
        body = await request.read()
        message_id, conversation_id = (_found(pattern, body) for pattern in (_MESSAGE_ID, _CONVERSATION))
        if "inbound" in request.match_info:
            reply = self._reply(message_id, conversation_id, request.match_info)
            task = asyncio.create_task(reply)
            self._replies.add(task)
            task.add_done_callback(self._replies.discard)
        signal = write_acknowledgment(
            from_party=SPINE,
            to_party=SUPPLIER,
            cpa_id=CPA,
            conversation_id=conversation_id,
            message_id=mint_uuid(),
            timestamp=ebxml_timestamp(utc_now()),
            ref_to_message_id=message_id,
        )
        return web.Response(status=202, body=signal, content_type="text/xml")

    async def _reply(self, message_id: str, conversation_id: str, where: "aiohttp.web.UrlMappingMatchInfo") -> None:
        await asyncio.sleep(float(where["seconds"]))
        own = mint_uuid()
        envelope = write_user_message(
            from_party=SPINE,
            to_party=SUPPLIER,
            cpa_id=CPA,
            conversation_id=conversation_id,
            service="urn:nhs:names:services:psis",
            action="MCCI_IN010000UK13",
            message_id=own,
            timestamp=ebxml_timestamp(utc_now()),
            ref_to_message_id=message_id,
            reliability=Reliability.RELIABLE,
            spine=True,
        )
        parts = ((HEADER_CONTENT_ID, SPINE_HEADER_TYPE, envelope), (payload_id_of(own), SPINE_PAYLOAD_TYPE, _REPLY))
        if self._session is None:
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        headers = {"Content-Type": SPINE_CONTENT_TYPE, "SOAPAction": "urn:nhs:names:services:psis/MCCI_IN010000UK13"}
        async with self._session.post(
            unquote(where["inbound"]), data=write_multipart(parts), headers=headers
        ) as answer:
            if answer.status != 200:
                raise SystemExit(f"the adaptor answered a reply with {answer.status}")


def _found(pattern: re.Pattern[bytes], body: bytes) -> str:
    match = pattern.search(body)
    return match.group(1).decode() if match is not None else ""


async def _main() -> None:
    runner = web.AppRunner(Spine().application(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(f"ready http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_main())
