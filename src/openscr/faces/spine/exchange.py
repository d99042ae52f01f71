"""One HTTP exchange on a Spine path: the request read within limits, the answer sent, who is at the other end.

Spec: 40 §2, §4.1, §5.1, §6.6; 35 §3.2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.types import Message, Receive, Scope, Send

from openscr.access.certificates import ClientCertificate
from openscr.admission.work import Bodies
from openscr.faces.spine.interference import Treatment
from openscr.spine import Outcome

TEXT_XML = b"text/xml"


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers and body of an answer. ``close`` ends the connection after it; ``headers`` are further ones."""

    status: int
    body: bytes = b""
    content_type: bytes | None = TEXT_XML
    soap_action: str | None = None
    close: bool = False
    allow: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end: certificate (none on the loopback demo listener) and network address."""

    certificate: ClientCertificate | None
    address: str | None


@dataclass(frozen=True, slots=True)
class Request:
    """A request whose body has arrived whole. ``headers`` are by lower-case name.

    ``treatment`` is what a scenario wants done to it; there is none on a live service.
    """

    headers: Mapping[bytes, bytes]
    body: bytes
    peer: Peer
    correlation_id: str
    treatment: Treatment | None = None

    @property
    def refusal(self) -> Outcome | None:
        """The outcome that a scenario wants answered in place of the record's."""
        return self.treatment.refusal if self.treatment is not None else None

    def header(self, name: bytes) -> str | None:
        """Return a header as text, or none when it is missing."""
        value = self.headers.get(name)
        return value.decode("latin-1") if value is not None else None


@dataclass(frozen=True, slots=True)
class Handled:
    """A request that has its answer: the reply, what metrics and logs call it, and how a scenario has it sent."""

    interaction: str
    outcome: str
    reply: Reply
    treatment: Treatment | None = None


class BodyTooLarge(Exception):
    """The body is over the limit; the rest of it was not read."""


class BodyCutOff(Exception):
    """The body ended before its announced length."""


def peer_of(scope: Scope) -> Peer:
    """Return what the connection says of the client."""
    tls = (scope.get("extensions") or {}).get("tls") or {}
    client = scope.get("client")
    return Peer(tls.get("client_certificate"), client[0] if client else None)


async def read_body(headers: Mapping[bytes, bytes], receive: Receive, limit: int, room: Bodies) -> bytes:
    """Read the body; over ``limit`` bytes is decided from its announced length or while reading. Spec: 40 §6.6.

    ``room`` is what it takes its place in; whoever gets a body must give that back.
    Raises: `BodyTooLarge`, `BodyCutOff`, `Overloaded`.
    """
    announced = headers.get(b"content-length")
    if announced is not None and announced.isdigit() and int(announced) > limit:
        raise BodyTooLarge
    message = await receive()
    if message["type"] == "http.disconnect":
        raise BodyCutOff
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False):
        room.take(len(body))
        return body
    collected = bytearray()
    try:
        while True:
            room.take(len(body), len(collected))
            collected += body
            if len(collected) > limit:
                raise BodyTooLarge
            if not message.get("more_body", False):
                return bytes(collected)
            message = await receive()
            if message["type"] == "http.disconnect":
                raise BodyCutOff
            body = message.get("body", b"")
    except BaseException:
        room.give_back(len(collected))
        raise


def write_head(reply: Reply) -> Message:
    """Return status and headers of an answer: exactly those of 40 §10.5."""
    headers: list[tuple[bytes, bytes]] = [(b"content-length", str(len(reply.body)).encode())]
    if reply.content_type is not None:
        headers.append((b"content-type", reply.content_type))
    if reply.soap_action is not None:
        headers.append((b"soapaction", reply.soap_action.encode("latin-1")))
    if reply.allow is not None:
        headers.append((b"allow", reply.allow.encode("latin-1")))
    headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    if reply.close:
        headers.append((b"connection", b"close"))
    return {"type": "http.response.start", "status": reply.status, "headers": headers}


async def send_reply(send: Send, reply: Reply) -> None:
    """Send an answer."""
    await send(write_head(reply))
    await send({"type": "http.response.body", "body": reply.body})
