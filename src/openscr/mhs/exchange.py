"""What a supplier asks for, and what it is answered: values between the REST API and the workflows.

Spec: 50 §1, §2.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol

from openscr.mhs.interactions import Interaction
from openscr.mhs.states import Workflow

XML: Final = "text/xml"
TEXT: Final = "text/plain"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A part that is sent beside the payload, as given: base64 text when ``is_base64``. Spec: 50 §1.2."""

    content_type: str
    payload: str
    is_base64: bool
    description: str
    document_id: str | None = None


@dataclass(frozen=True, slots=True)
class ExternalReference:
    """A manifest entry for a message that is sent on its own. Spec: 50 §1.2."""

    message_id: str
    description: str
    document_id: str | None = None


@dataclass(frozen=True, slots=True)
class OutboundRequest:
    """One message that a supplier wants sent; everything has been checked, ids are given or minted.

    ``workflow`` is how it is exchanged, never ``sync-async``: that is an asynchronous one with ``wait``. ``whole``
    asks for the reply as the JSON of 50 §3.4 instead of its bare payload (F21); ``respond_async`` not to wait for a
    reliable message's attempts (F11). ``digest`` is that of 50 F4; ``caller`` who was authenticated, if anybody.
    Spec: 50 §1.1, §1.2.
    """

    interaction: Interaction
    workflow: Workflow
    wait: bool
    message_id: str
    correlation_id: str
    payload: str
    received_at: datetime
    from_asid: str | None = None
    ods_code: str | None = None
    attachments: tuple[Attachment, ...] = ()
    external_attachments: tuple[ExternalReference, ...] = ()
    whole: bool = False
    respond_async: bool = False
    digest: str = ""
    caller: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a workflow answers: status, body and media type as in 50 §1.4.

    ``document`` is the error document of 50 §1.5 when the body is one, so that a problem document can carry it.
    ``replied`` is whether the Spine's reply is what is told: who was told it need not find it on the queue.
    """

    status: int
    body: bytes = b""
    content_type: str = XML
    document: dict[str, Any] | None = None
    replied: bool = field(default=False, compare=False)


class Exchanges(Protocol):
    """Sends messages by their workflow."""

    async def send(self, request: OutboundRequest) -> Answer:
        """Exchange a message, and return what the supplier is answered.

        The state says by then that it was: whoever asks for it as soon as it has its answer finds it so.
        """

    async def answered(self, request: OutboundRequest, answer: Answer, *, delivered: bool) -> None:
        """Be told that the supplier has been sent its answer, or could not be.

        A reply that reached nobody goes to the queue. Spec: 50 §2.1 step 9, §2.7, F3.
        """
