"""Messages as a Spine posts them, and a caller that posts them to the application."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from mhs import rig
from mhs.rig import PARTY_KEY, SPINE_PARTY
from openscr.access.certificates import ClientCertificate
from openscr.codes import ACTOR_TO_PARTY, EB_NS, HL7EBXML_NS, PARTY_TYPE, SOAP_NS, XLINK_NS
from openscr.mhs.context import AdaptorContext
from openscr.mhs.inbound.application import InboundApplication
from openscr.mhs.queue_message import InboundMessage, QueueMessage, read_inbound_message
from openscr.mhs.states import Workflow
from openscr.mhs.store.interface import AuditRow, MessageRow, Transaction

REQUEST_ID = "3F2504E0-4F89-41D3-9A0C-0305E82C3301"
REPLY_ID = "8C7E0F34-1B6A-4F0B-9C9D-6E1A5D3B2203"
CONVERSATION = "7D0F2A11-22F5-4E79-A3B4-9B1E2E1C5D01"
CONTENT_TYPE = (
    'multipart/related; boundary="--=_MIME-Boundary"; charset="UTF-8"; type="text/xml"; '
    'start="<ebXMLHeader@spine.nhs.uk>"'
)
ACTION = "SOAPAction"
PAYLOAD = '<MCCI_IN010000UK13 xmlns="urn:hl7-org:v3"><id root="X"/></MCCI_IN010000UK13>'
ACK_REQUESTED = f'<eb:AckRequested eb:version="2.0" soap:actor="{ACTOR_TO_PARTY}" eb:signed="false"/>'
SIGNALS = "urn:oasis:names:tc:ebxml-msg:service"


def reference(href: str, *, description: str | None = None, id: str = "", payload: bool = False) -> str:
    """One entry of a manifest."""
    described = f'<eb:Description xml:lang="en">{description}</eb:Description>' if description is not None else ""
    marked = '<hl7ebxml:Payload style="HL7" encoding="XML" version="3.0"/>' if payload else ""
    identified = f' eb:id="{id}"' if id else ""
    return f'<eb:Reference xlink:href="{href}"{identified}>{described}{marked}</eb:Reference>'


PAYLOAD_REFERENCE = reference("cid:payload@spine.nhs.uk", description="HL7 payload", payload=True)


def envelope(
    *,
    references: str | None = PAYLOAD_REFERENCE,
    header: str = ACK_REQUESTED,
    content: str = "",
    without: str = "",
    **values: str | None,
) -> str:
    """An ebXML envelope; ``without`` leaves the element of that name out."""
    given: dict[str, str | None] = {
        "From": SPINE_PARTY,
        "To": PARTY_KEY,
        "CPAId": "S20001A000182",
        "ConversationId": CONVERSATION,
        "Service": "urn:nhs:names:services:psis",
        "Action": "MCCI_IN010000UK13",
        "MessageId": REPLY_ID,
        "Timestamp": "2020-01-02T03:04:05Z",
        "RefToMessageId": REQUEST_ID,
        **values,
    }
    fields: dict[str, str] = {}
    for name, value in given.items():
        text = "" if value is None or name == without else f"<eb:{name}>{value}</eb:{name}>"
        if text and name in ("From", "To"):
            text = f'<eb:{name}><eb:PartyId eb:type="{PARTY_TYPE}">{value}</eb:PartyId></eb:{name}>'
        fields[name] = text
    data = f"<eb:MessageData>{fields['MessageId']}{fields['Timestamp']}{fields['RefToMessageId']}</eb:MessageData>"
    listed = "".join(fields[name] for name in ("From", "To", "CPAId", "ConversationId", "Service", "Action"))
    manifest = f'<eb:Manifest eb:version="2.0">{references}</eb:Manifest>' if references is not None else ""
    return (
        f'<soap:Envelope xmlns:soap="{SOAP_NS}" xmlns:eb="{EB_NS}" xmlns:hl7ebxml="{HL7EBXML_NS}" '
        f'xmlns:xlink="{XLINK_NS}"><soap:Header><eb:MessageHeader eb:version="2.0">{listed}{data}</eb:MessageHeader>'
        f"{header}</soap:Header><soap:Body>{manifest}{content}</soap:Body></soap:Envelope>"
    )


@dataclass(frozen=True)
class MimePart:
    """One part, with its headers as they are written."""

    content: bytes
    id: str = ""
    type: str = "text/xml; charset=UTF-8"
    encoding: str = "8bit"


def payload_part(content: str | bytes = PAYLOAD, **changes: str) -> MimePart:
    """The part of the HL7 payload."""
    data = content.encode() if isinstance(content, str) else content
    return MimePart(data, **({"id": "payload@spine.nhs.uk"} | changes))


def header_part(content: str | bytes | None = None, **changes: str) -> MimePart:
    """The part of the envelope."""
    data = envelope() if content is None else content
    return MimePart(data.encode() if isinstance(data, str) else data, **({"id": "ebXMLHeader@spine.nhs.uk"} | changes))


def multipart(*parts: MimePart) -> bytes:
    """Write parts as a Spine does; without any, those of an ordinary reply."""
    chosen: Sequence[MimePart] = parts or (header_part(), payload_part())
    written = []
    for part in chosen:
        identified = f"Content-Id: <{part.id}>\r\n" if part.id else ""
        head = f"{identified}Content-Type: {part.type}\r\nContent-Transfer-Encoding: {part.encoding}\r\n\r\n"
        written.append(b"----=_MIME-Boundary\r\n" + head.encode() + part.content + b"\r\n")
    return b"".join(written) + b"----=_MIME-Boundary--\r\n"


@dataclass(frozen=True)
class Answered:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return self.body.decode()


async def post(
    context: AdaptorContext,
    body: bytes | None = None,
    *,
    content_type: str | None = CONTENT_TYPE,
    certificate: ClientCertificate | None = None,
    method: str = "POST",
    application: InboundApplication | None = None,
    pieces: int = 1,
    **headers: str,
) -> Answered:
    """Post to an application, as the server hands requests to it."""
    data = multipart() if body is None else body
    sent = {"content-length": str(len(data)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    if content_type is not None:
        sent["content-type"] = content_type
    size = max(1, -(-len(data) // pieces))
    chunks = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
    waiting = [
        {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1}
        for index, chunk in enumerate(chunks)
    ]
    came: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: dict[str, object]) -> None:
        came.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": "/any/path",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
        "client": ("127.0.0.1", 1),
        "extensions": {"tls": {"client_certificate": certificate}} if certificate else {},
    }
    await (application or InboundApplication(context))(scope, receive, send)  # type: ignore[arg-type]
    start, end = came
    answered = {name.decode(): value.decode() for name, value in start["headers"]}  # type: ignore[attr-defined]
    return Answered(start["status"], answered, end["body"])  # type: ignore[arg-type]


async def adaptor(**changes: object) -> AdaptorContext:
    """Put an adaptor together whose store is open; ``changes`` as for `rig.context`."""
    made = rig.context(**changes)  # type: ignore[arg-type]
    await made.store.open()
    return made


def acknowledged(answered: Answered) -> bool:
    """Whether the answer is an acknowledgement."""
    return answered.status == 200 and b"<eb:Acknowledgment " in answered.body


async def remember(context: AdaptorContext, **changes: object) -> MessageRow:
    """Keep the state of a message that was sent, as the workflows do."""
    values: dict[str, object] = {
        "message_id": REQUEST_ID,
        "created": context.clock(),
        "workflow": Workflow.ASYNC_RELIABLE,
        "interaction": "REPC_IN150016UK05",
    }
    row = MessageRow(**(values | changes))  # type: ignore[arg-type]

    async def put(transaction: Transaction) -> None:
        await transaction.put_message(row)

    await context.store.transact(put)
    return row


async def queued(context: AdaptorContext) -> list[QueueMessage]:
    """What is on the queue."""
    now: datetime = context.clock()
    return [leased.message for leased in await context.store.lease_queue(now, now, 1000)]


async def only_message(context: AdaptorContext) -> InboundMessage:
    """The one message on the queue, read."""
    (message,) = await queued(context)
    return read_inbound_message(message.body)


async def state(context: AdaptorContext, message_id: str = REQUEST_ID) -> MessageRow:
    """The state of a message."""
    row = await context.store.find_message(message_id)
    assert row is not None
    return row


async def audited(context: AdaptorContext) -> list[AuditRow]:
    """The audit."""
    return [row async for row in context.store.read_audit()]
