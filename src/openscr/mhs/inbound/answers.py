"""What inbound answers, word for word.

Spec: 50 §3.1, §3.2, §3.3, C6.
"""

from dataclasses import dataclass
from typing import Final

from openscr.codes import SIGNAL_SERVICE
from openscr.errors import OpenSCRError

_TEXT: Final = b"text/plain"
_XML: Final = b"text/xml"

INTERNAL: Final = "Internal Server Error"
METHOD_NOT_ALLOWED: Final = "Method Not Allowed"
EXCEPTION_IN_WORKFLOW: Final = "Exception in workflow"
UNKNOWN_REFERENCE: Final = "Unknown message reference"
NOT_FOR_UNSOLICITED: Final = "Unsolicited messaging not supported for this interaction"
UNKNOWN_INTERACTION: Final = "Unknown interaction ID: "

_PARSING: Final = "Exception during inbound message parsing {}"
NOT_MULTIPART: Final = _PARSING.format("Non-multipart message received")
EBXML_UNDECODABLE: Final = _PARSING.format("Failed to decode ebXML header part of message as text")
PAYLOAD_UNDECODABLE: Final = _PARSING.format("Failed to decode HL7 payload part of message as text")
ELEMENT_MISSING: Final = _PARSING.format("Weren't able to find required element .//{} during parsing of EbXML message")
ACTOR_MISSING: Final = _PARSING.format("Weren't able to find required attribute actor during parsing of EbXML message")

# Ours: the reference never looked.
UNREADABLE_PARTS: Final = _PARSING.format("The parts of the message cannot be told apart: ")
UNUSABLE_ID: Final = _PARSING.format("An id is longer than 256 characters or holds control characters")
UNKNOWN_CALLER: Final = "The client certificate bears none of the names that may call here"
EXPIRED_CALLER: Final = "The client certificate has expired"
NOT_GZIP: Final = "The body is not the gzip that its Content-Encoding says"
UNKNOWN_ENCODING: Final = "Only the content encodings gzip and identity are taken"


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers and body of an answer.

    ``action`` is that of the signal in the body; ``close`` ends the connection.
    """

    status: int
    body: bytes = b""
    content_type: bytes = _XML
    action: str = ""
    close: bool = False

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers as ASGI writes them. Spec: 50 §3.2."""
        headers = [(b"content-length", str(len(self.body)).encode())]
        if self.body or self.status < 400:
            headers.append((b"content-type", self.content_type))
        if self.action:
            headers += [(b"charset", b"UTF-8"), (b"soapaction", f"{SIGNAL_SERVICE}/{self.action}".encode())]
        if self.status == 405:
            headers.append((b"allow", b"POST"))
        if self.close:
            headers.append((b"connection", b"close"))
        return headers


class Refused(OpenSCRError):
    """A message is not taken; ``diagnostics`` is what its sender is told.

    ``reason`` is one of the texts above, fit for a log; ``detail`` is not: it may be the sender's own. Spec: 50 §3.1.
    """

    code = "INBOUND_REFUSED"

    def __init__(self, status: int, reason: str, detail: str = "") -> None:
        super().__init__(reason + detail)
        self.status = status
        self.reason = reason

    @property
    def reply(self) -> Reply:
        """The answer."""
        return refusal(self.status, self.diagnostics)


def refusal(status: int, reason: str) -> Reply:
    """Write the answer to what is not taken. Spec: 50 §3.1."""
    return Reply(status, f"{status}: {reason}".encode(), content_type=_TEXT)


def signal(action: str, body: bytes) -> Reply:
    """Answer with a signal, which is kept and sent again when its message comes again. Spec: 50 §3.2, F4."""
    return Reply(200, body, action=action)


TAKEN: Final = Reply(200)
"""Answer to a signal. Spec: 40 §9."""
TOO_LARGE: Final = Reply(400, close=True)
CUT_OFF: Final = Reply(400, close=True)
"""Empty 400s, after which the connection ends. Spec: 50 §1.3 row 13, 40 §5.1."""
