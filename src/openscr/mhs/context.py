"""What every part of the adaptor is given: built once, by the composition root.

Spec: 50 §14.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from openscr.delivery.carriers import HttpCarrier
from openscr.identifiers import Clock, UuidFactory
from openscr.mhs.audit import AuditTrail
from openscr.mhs.figures import Figures
from openscr.mhs.interactions import Interaction
from openscr.mhs.queue.arrivals import Arrivals
from openscr.mhs.queue.publisher import Publisher
from openscr.mhs.replies import Replies
from openscr.mhs.routing import Router
from openscr.mhs.settings import MhsSettings
from openscr.mhs.store.interface import Store


@dataclass(frozen=True, slots=True)
class AdaptorContext:
    """Settings, and the objects that a running adaptor has one of.

    ``publisher`` is none with the embedded queue. ``carrier`` posts to the Spine, with our certificate.
    """

    settings: MhsSettings
    store: Store
    router: Router
    carrier: HttpCarrier
    interactions: Mapping[str, Interaction]
    publisher: Publisher | None
    replies: Replies
    arrivals: Arrivals
    figures: Figures
    audit: AuditTrail
    clock: Clock
    mint: UuidFactory
