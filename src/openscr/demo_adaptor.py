"""The adaptor with a Spine of its own: nothing to set up, everything in it synthetic.

The service runs as ``openscr serve --demo`` does, in a folder below the adaptor's. The adaptor handles the messages of
the demo practice: what the service has to tell that practice comes to the adaptor instead of the service's own inbox.

Spec: 50 E1; 00 §5.
"""

import json
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from openscr.adaptor import Adaptor
from openscr.codes import EVENT, EVENT_LIST, UPLOAD
from openscr.directory.demo import GP_ASID, PRACTICE_PARTY
from openscr.directory.form import merge, read_directory
from openscr.mhs.scr.application import local_reception
from openscr.mhs.settings import MhsSettings, load_mhs_settings
from openscr.service import Service
from openscr.settings import load_settings
from openscr.testbench.world import demo_directory
from openscr.transport.mime import read_multipart
from openscr.transport.soap import BODY
from openscr.transport.xml import read_xml, write_element

CERTIFICATE: Final = "gp.client.test"
"""The practice's certificate in the demo world."""

DATA: Final = Path("mhs-data")

_SDS: Final = "/spine-directory/FHIR/R4"
_SAMPLES: Final = {"upload": UPLOAD, "list": EVENT_LIST, "event": EVENT}


class DemoAdaptor:
    """A demo service and an adaptor beside it, in one process. `start` it, then `stop` it; both may be awaited once."""

    def __init__(self, data: Path | None = None) -> None:
        self._data = data or DATA
        spine = load_settings({"demo": True, "data": self._data / "spine"})
        self.service = Service(spine)
        self.adaptor: Adaptor | None = None

    async def start(self) -> None:
        """Start the service, then the adaptor; tell the one where the other listens. Raises as they do."""
        await self.service.start()
        try:
            self.adaptor = Adaptor(self._settings(), summaries=local_reception, more_routes=self._samples())
            await self.adaptor.start()
            await self._register(self.adaptor.inbound_url)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop both, the adaptor first: what the service cannot deliver any more it delivers next time."""
        if self.adaptor is not None:
            await self.adaptor.stop()
        await self.service.stop()

    def look_at_tls_files(self) -> None:
        """Take changed certificates now."""
        self.service.look_at_tls_files()
        if self.adaptor is not None:
            self.adaptor.look_at_tls_files()

    @property
    def urls(self) -> tuple[str, ...]:
        """The addresses of the adaptor, then those of the service."""
        adaptor = self.adaptor.urls if self.adaptor is not None else ()
        return (*adaptor, *self.service.urls)

    def _settings(self) -> MhsSettings:
        pki = self.service.settings.pki
        return load_mhs_settings(
            {
                "data": self._data,
                "secret_party_key": PRACTICE_PARTY,
                "client_cert_file": pki / f"{CERTIFICATE}.pem",
                "client_key_file": pki / f"{CERTIFICATE}.key",
                "ca_certs_file": pki / "ca.pem",
                "outbound_routing_lookup_method": "SDS_API",
                "sds_api_url": f"{self.service.urls[0]}{_SDS}",
                "sds_api_key": "demo",
                "scr_asid": GP_ASID,
            }
        )

    async def _register(self, address: str) -> None:
        """Have the practice's answers sent to the adaptor."""
        world: dict[str, Any] = json.loads(demo_directory())
        endpoints = [
            endpoint | {"address": address}
            for endpoint in world["endpoints"]
            if endpoint["party_key"] == PRACTICE_PARTY
        ]
        changed = json.dumps(world | {"endpoints": endpoints}).encode()
        store = self.service.store
        await store.write_directory(merge(await store.read_directory(), read_directory(changed), False), replace=True)
        await self.service.keeper.read()

    # --- bodies to post ---------------------------------------------------------------------------------------------

    def _samples(self) -> list[BaseRoute]:
        return [Route("/demo/sample/{kind}", self._sample)]

    async def _sample(self, request: Request) -> Response:
        """Give a body for ``POST /`` of the practice's GP system, with fresh ids; its headers say what it is."""
        kind = request.path_params["kind"]
        if kind not in _SAMPLES or self.service.demo is None:
            return JSONResponse({"error": f"the samples are {', '.join(_SAMPLES)}"}, status_code=404)
        sample = await self.service.demo.sample(kind)
        headers = {"Interaction-Id": _SAMPLES[kind], "from-asid": GP_ASID}
        return JSONResponse({"payload": _payload_of(sample.content_type, sample.body)}, headers=headers)


def _payload_of(content_type: str, body: bytes) -> str:
    """Return the HL7 interaction of a request, out of its multipart body or its SOAP envelope."""
    if content_type.startswith("multipart/"):
        return read_multipart(content_type, body).parts[1].content(body).decode()
    (interaction,) = read_xml(body).iterfind(f"{BODY}/*")
    return write_element(interaction).decode()
