"""What both Spine endpoints work with, built once by the composition root.

Spec: 40 §8.
"""

from dataclasses import dataclass, field

from openscr.access.certificates import ClientCertificate
from openscr.access.registration import parties_of
from openscr.access.smartcard import SmartcardBroker
from openscr.admission.work import Admission
from openscr.delivery.outbox import Outbox
from openscr.directory.model import CurrentDirectory, Directory
from openscr.faces.spine.exchange import Reply
from openscr.faces.spine.interference import Interference
from openscr.identifiers import Clock, UuidFactory, mint_uuid, utc_now
from openscr.metrics import Metrics
from openscr.record.record import Record
from openscr.transport.soap import write_fault


@dataclass(frozen=True, slots=True)
class SpineContext:
    """The parts of the service that the Spine paths use. ``public_url`` is ``wsa:From`` of our answers.

    ``switched_off`` are interactions that this service does not offer, though it knows them.
    ``accept_ask_in_set`` takes ``Ask`` in a SET for ``Clear``; without ``namespace_of_permissions`` the payload of GET
    and HAS answers is in no namespace. Spec: 30 §4.3.
    ``interference`` is none but in a test environment. ``smartcards`` verifies smartcard tokens that come with SOAP
    requests; without it they are not looked at. ``admission`` says how much is taken on at once.
    """

    record: Record
    outbox: Outbox
    directory: CurrentDirectory
    metrics: Metrics
    public_url: str
    max_body_bytes: int
    accept_ask_in_set: bool = False
    switched_off: frozenset[str] = frozenset()
    namespace_of_permissions: bool = True
    clock: Clock = field(default=utc_now)
    mint: UuidFactory = field(default=mint_uuid)
    interference: Interference | None = None
    smartcards: SmartcardBroker | None = None
    admission: Admission = field(default_factory=Admission)


def fault(code: str, *locations: str, description: str | None = None, close: bool = False) -> Reply:
    """Make a SOAP fault: one error per location, or a single one without. Spec: 40 §10.5."""
    errors: list[tuple[str, str | None]] = [(code, location) for location in locations]
    return Reply(500, write_fault(errors or [(code, None)], description), close=close)


def too_large(limit: int) -> Reply:
    """Make the fault of a body over the limit; the connection is not used again. Spec: 40 §6.6."""
    text = f"The message exceeds the maximum size of {limit} bytes"
    return fault("201", description=text, close=True)


def parties_behind(directory: Directory, certificate: ClientCertificate | None) -> frozenset[str] | None:
    """Return the parties of a certificate; none means the demo listener, where nobody shows one. Spec: 35 §3.2."""
    return None if certificate is None else parties_of(directory, certificate)
