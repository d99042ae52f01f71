"""The Spine paths as one ASGI application: which endpoint takes a path, and what is true of all of them.

Spec: 40 §2, 35 §3.2.
"""

from time import perf_counter

from starlette.types import Receive, Scope, Send

from openscr.faces.spine.context import SpineContext, parties_behind
from openscr.faces.spine.ebxml_endpoint import EbxmlEndpoint
from openscr.faces.spine.exchange import Reply, peer_of, send_reply
from openscr.faces.spine.interactions import EBXML_PATHS, SYNC_PATHS
from openscr.faces.spine.soap_endpoint import SoapEndpoint

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
        if self._mutual_tls:
            certificate = peer_of(scope).certificate
            if certificate is None or not parties_behind(self._context.directory.snapshot, certificate):
                await send_reply(send, Reply(403, content_type=None))
                self._context.metrics.request("spine", "unknown", "403", perf_counter() - started)
                return
        interaction, outcome = await endpoint(scope, receive, send)
        self._context.metrics.request("spine", interaction, outcome, perf_counter() - started)
