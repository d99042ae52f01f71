"""The Spine paths as one ASGI application: which endpoint takes a path, and what is true of all of them.

Spec: 40 §2, 35 §3.2.
"""

from time import perf_counter

import structlog
from starlette.types import Receive, Scope, Send

from openscr.errors import StoreError, StoreFull
from openscr.faces.spine.context import SpineContext, fault, parties_behind, too_large
from openscr.faces.spine.ebxml_endpoint import EbxmlEndpoint
from openscr.faces.spine.exchange import (
    BodyCutOff,
    BodyTooLarge,
    Handled,
    Reply,
    Request,
    peer_of,
    read_body,
    send_reply,
)
from openscr.faces.spine.interactions import EBXML_PATHS, SYNC_PATHS
from openscr.faces.spine.soap_endpoint import SoapEndpoint

_log = structlog.get_logger("spine")

PATHS = SYNC_PATHS | EBXML_PATHS


class SpineApplication:
    """ASGI application of the Spine paths.

    ``mutual_tls`` demands a certificate of a registered party; without it (the loopback listener of a demo) the ASID in
    the message is all that identifies the sender. Spec: 00 §3.
    """

    def __init__(self, context: SpineContext, *, mutual_tls: bool) -> None:
        self._context = context
        self._mutual_tls = mutual_tls
        soap, ebxml = SoapEndpoint(context), EbxmlEndpoint(context)
        self._endpoints: dict[str, SoapEndpoint | EbxmlEndpoint] = {
            **dict.fromkeys(SYNC_PATHS, soap),
            **dict.fromkeys(EBXML_PATHS, ebxml),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route one request by its path."""
        endpoint = self._endpoints.get(scope["path"])
        if endpoint is None:
            await send_reply(send, Reply(404, content_type=None))
            return
        if scope["method"] != "POST":
            await send_reply(send, Reply(405, content_type=None, allow="POST"))
            return
        started = perf_counter()
        handled = await self._handle(endpoint, scope, receive)
        await send_reply(send, handled.reply)
        self._context.metrics.request("spine", handled.interaction, handled.outcome, perf_counter() - started)

    async def _handle(self, endpoint: SoapEndpoint | EbxmlEndpoint, scope: Scope, receive: Receive) -> Handled:
        """Read the body and let the endpoint answer; whatever goes wrong becomes an answer here."""
        context = self._context
        peer = peer_of(scope)
        if self._mutual_tls and not (peer.certificate and parties_behind(context.directory.snapshot, peer.certificate)):
            return Handled("unknown", "403", Reply(403, content_type=None))
        headers = dict(scope["headers"])
        try:
            body = await read_body(headers, receive, context.max_body_bytes)
        except BodyTooLarge:
            return Handled("unknown", "fault-201", too_large(context.max_body_bytes))
        except BodyCutOff:
            return Handled("unknown", "cut-off", Reply(400, content_type=None, close=True))
        correlation_id = context.mint()
        try:
            handled = await endpoint.handle(Request(headers, body, peer, correlation_id))
        except StoreError as error:
            _log.error("store failed", error=error.code, correlation_id=correlation_id)
            code = "208" if isinstance(error, StoreFull) else "200"
            handled = Handled("unknown", f"fault-{code}", fault(code))
        except Exception as error:  # noqa: BLE001 the one place where nothing may escape
            # Nothing is stored, and the sender may retry. The error's own text could hold patient data.
            _log.error("request failed", error=type(error).__name__, correlation_id=correlation_id)
            handled = Handled("unknown", "fault-200", fault("200"))
        _log.info("answered", interaction=handled.interaction, outcome=handled.outcome, correlation_id=correlation_id)
        return handled
