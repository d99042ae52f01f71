"""The one place where a test environment steps between a request and its answer.

A live service has no `Interference`; nothing here is looked at then. What a `Treatment` may do:

* in place of the endpoint: a SOAP fault, a bare status, no answer at all; nothing is processed;
* inside the endpoint, with its own writers: an HL7 refusal, ebXML errors, an acknowledgement that comes late;
* to the answer that the endpoint has given: hold it back, change it, send it slowly, break it off.

Spec: 40 §6.4; 50 §14.4; 10 §15.
"""

from collections.abc import Mapping
from typing import Literal, Protocol

from openscr.spine import Outcome
from openscr.transport.interactions import Channel

SCENARIO = "scenario"
"""What metrics, logs and the audit call a request with which a scenario has interfered."""


class Treatment(Protocol):
    """What is done to one request and its answer. Durations are seconds; what is empty or zero is not done."""

    @property
    def scenario(self) -> str:
        """The name of the scenario, for log and audit."""

    @property
    def behaviour(self) -> str:
        """The kind of behaviour, for log and audit."""

    @property
    def fault(self) -> str:
        """Code of the SOAP fault that is answered in place of everything else."""

    @property
    def status(self) -> int:
        """Status of the bare HTTP answer that is given in place of everything else."""

    @property
    def silent(self) -> bool:
        """Whether nobody looks at the request, because no answer to it is sent."""

    @property
    def processed(self) -> bool:
        """Whether the message is decided and stored as it would be without the scenario."""

    @property
    def refusal(self) -> Outcome | None:
        """The outcome that is answered in place of the record's."""

    @property
    def by_acknowledgement(self) -> bool:
        """Whether a query is refused with ``MCCI_IN010000UK13`` instead of ``QUQI_IN010000UK14``. Spec: 20 §4."""

    @property
    def message_errors(self) -> tuple[str, ...]:
        """Keys of `openscr.errors.EBXML_ERRORS` to answer with."""

    @property
    def late(self) -> float:
        """How long after the transport's answer the application acknowledgement goes out or can be fetched."""

    @property
    def hold(self) -> float:
        """How long the answer waits before its first byte, or the connection before its end."""

    @property
    def bytes_per_second(self) -> int:
        """How fast the answer's body goes out."""

    @property
    def drop(self) -> Literal["", "before", "middle"]:
        """Where the connection ends: before the answer, or in the middle of it."""

    @property
    def answer_status(self) -> int:
        """The HTTP status of the answer instead of its own."""

    @property
    def content_type(self) -> str:
        """The ``Content-Type`` of the answer instead of its own."""

    def edit(self, body: bytes) -> bytes:
        """Return the body of the answer as it is really sent."""


class Interference(Protocol):
    """Decides what is done to a request. Implemented outside the faces, for test environments only."""

    def treat(self, channel: Channel, headers: Mapping[bytes, bytes], body: bytes) -> Treatment | None:
        """Return what is done to a request that has arrived, or none."""
