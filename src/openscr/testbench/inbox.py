"""The demo's collector: what the client systems would have received, and acknowledged, kept in memory.

Spec: 00 §5.
"""

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from openscr.delivery.carrier import HttpAnswer
from openscr.errors import DeliveryError, WireError
from openscr.identifiers import Clock, UuidFactory, ebxml_timestamp, mint_uuid, utc_now
from openscr.transport.ebxml import read_envelope, write_acknowledgment
from openscr.transport.mime import read_multipart
from openscr.transport.xml import read_xml

SCHEME = "inbox"


@dataclass(frozen=True, slots=True)
class InboxMessage:
    """One collected message; ``n`` counts per party from 1. ``payload`` is the HL7 document as text."""

    n: int
    received_at: str
    action: str
    message_id: str
    ref_to_message_id: str
    conversation_id: str
    payload: str


class Inbox:
    """Plays every client system at once: takes a delivered message, keeps it, and acknowledges it.

    The newest ``size`` messages of each party are kept. Satisfies `openscr.delivery.outbox.Carrier`.
    """

    def __init__(self, size: int, *, clock: Clock = utc_now, mint: UuidFactory = mint_uuid) -> None:
        self._size = size
        self._clock = clock
        self._mint = mint
        self._messages: dict[str, deque[InboxMessage]] = {}
        self._counts: dict[str, int] = {}

    async def post(
        self, address: str, headers: Mapping[str, str], body: bytes, names: Collection[str] = ()
    ) -> HttpAnswer:
        """Take a message as its receiver would. Raises: `DeliveryError` when it cannot be read."""
        try:
            multipart = read_multipart(headers.get("Content-Type"), body)
            envelope = read_envelope(read_xml(multipart.root.content(body)))
            part = multipart.part(envelope.payload_content_id or "") or multipart.parts[-1]
            payload = part.content(body).decode("utf-8", "replace")
        except WireError:
            raise DeliveryError("the collector cannot read this message") from None
        now = self._clock()
        party = envelope.to_party
        number = self._counts.get(party, 0) + 1
        self._counts[party] = number
        self._messages.setdefault(party, deque(maxlen=self._size)).append(
            InboxMessage(
                n=number,
                received_at=now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                action=envelope.action,
                message_id=envelope.message_id,
                ref_to_message_id=envelope.ref_to_message_id or "",
                conversation_id=envelope.conversation_id,
                payload=payload,
            )
        )
        signal = write_acknowledgment(
            from_party=party,
            to_party=envelope.from_party,
            cpa_id=envelope.cpa_id,
            conversation_id=envelope.conversation_id,
            message_id=self._mint(),
            timestamp=ebxml_timestamp(now),
            ref_to_message_id=envelope.message_id,
        )
        return HttpAnswer(200, signal)

    def since(self, party_key: str, n: int) -> tuple[int, list[InboxMessage]]:
        """Return the number to ask with next time, and the party's messages after ``n``, oldest first."""
        messages = [message for message in self._messages.get(party_key, ()) if message.n > n]
        return max(self._counts.get(party_key, 0), 0), messages
