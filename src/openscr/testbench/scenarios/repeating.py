"""A carrier that delivers some messages twice, as a network with a stutter would. Spec: 40 §6.5."""

from collections.abc import Collection, Mapping

import structlog

from openscr.delivery.carrier import Carrier, HttpAnswer
from openscr.errors import DeliveryError, WireError
from openscr.testbench.scenarios.running import Scenarios
from openscr.transport.ebxml import read_envelope
from openscr.transport.mime import read_multipart
from openscr.transport.xml import read_xml

_log = structlog.get_logger("scenarios")


class RepeatingCarrier:
    """Another carrier, with the scenarios asked after every delivery. Satisfies `Carrier`."""

    def __init__(self, carrier: Carrier, scenarios: Scenarios) -> None:
        self._carrier = carrier
        self._scenarios = scenarios

    async def post(
        self, address: str, headers: Mapping[str, str], body: bytes, names: Collection[str] = ()
    ) -> HttpAnswer:
        """Deliver; deliver the same bytes again where a scenario wants that. Raises: `DeliveryError`."""
        answer = await self._carrier.post(address, headers, body, names)
        if not self._scenarios.awaits_repeats:
            return answer
        message_id = _answered_message(headers, body)
        if message_id and self._scenarios.goes_twice(message_id):
            try:
                await self._carrier.post(address, headers, body, names)
            except DeliveryError:
                _log.info("the second delivery failed")
        return answer


def _answered_message(headers: Mapping[str, str], body: bytes) -> str:
    """Return the id of the message that a delivery answers, empty when it cannot be read."""
    try:
        multipart = read_multipart(headers.get("Content-Type"), body)
        return read_envelope(read_xml(multipart.root.content(body))).ref_to_message_id or ""
    except WireError:
        return ""
