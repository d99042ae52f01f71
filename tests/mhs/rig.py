"""An adaptor's parts put together in the test's own process: a real store, real sockets, a route that is given."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import count

from openscr.delivery.carriers import HttpCarrier
from openscr.directory.model import Contract
from openscr.directory.routes import Route
from openscr.errors import EndpointUnknown
from openscr.identifiers import UuidFactory
from openscr.mhs.audit import AuditTrail
from openscr.mhs.context import AdaptorContext
from openscr.mhs.figures import Figures
from openscr.mhs.interactions import INTERACTIONS, Interaction
from openscr.mhs.queue.arrivals import Arrivals
from openscr.mhs.queue.publisher import Publisher
from openscr.mhs.replies import Replies
from openscr.mhs.settings import MhsSettings
from openscr.mhs.store.interface import Store
from openscr.mhs.store.memory import MemoryStore

PARTY_KEY = "A91545-9199121"
SPINE_PARTY = "YES-0000806"
SPINE_ASID = "227319907548"
CPA_ID = "S20001A000182"
RELIABLE = Contract(
    "reliable",
    sync_reply_mode="MSHSignalsOnly",
    ack_requested="always",
    duplicate_elimination="always",
    retries=2,
    retry_interval=60.0,
    persist_duration=300.0,
)


class TestClock:
    """A clock that stands until it is moved."""

    __test__ = False

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Tell the time."""
        return self.now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


class GivenRoutes:
    """Routes that the test gives: every message goes to one address, unless an error is to be raised."""

    def __init__(self, address: str, contract: Contract = RELIABLE) -> None:
        self.address = address
        self.contract = contract
        self.error: Exception | None = None
        self.asked: list[tuple[str, str, str]] = []

    async def find(self, ods: str, service_id: str, correlation_id: str, workflow: object = None) -> Route:
        """Return the route, as `openscr.mhs.routing.Router` does."""
        self.asked.append((ods, service_id, correlation_id))
        if self.error is not None:
            raise self.error
        if not self.address:
            raise EndpointUnknown("no address given")
        return Route(ods, service_id, SPINE_ASID, SPINE_PARTY, self.address, CPA_ID, "", self.contract)

    async def close(self) -> None:
        """Nothing is open."""


def minting(prefix: str = "A") -> UuidFactory:
    """Return a factory of ids that count."""
    numbers = count(1)
    return lambda: f"{prefix * 8}-0000-4000-8000-{next(numbers):012d}"


def settings(**changes: object) -> MhsSettings:
    """Return settings of an adaptor that needs no certificates."""
    return MhsSettings(**({"secret_party_key": PARTY_KEY, "client_cert_file": "x", "ca_certs_file": "x"} | changes))  # type: ignore[arg-type]


def context(
    address: str = "",
    *,
    store: Store | None = None,
    clock: TestClock | None = None,
    interactions: Mapping[str, Interaction] = INTERACTIONS,
    publisher: Publisher | None = None,
    **changes: object,
) -> AdaptorContext:
    """Put an adaptor together whose messages go to ``address``; ``changes`` are settings."""
    chosen = settings(**changes)
    kept = store or MemoryStore()
    time = clock or TestClock()
    return AdaptorContext(
        settings=chosen,
        store=kept,
        router=GivenRoutes(address),
        carrier=HttpCarrier(None),
        interactions=interactions,
        publisher=publisher,
        replies=Replies(),
        arrivals=Arrivals(),
        figures=Figures(),
        audit=AuditTrail(kept, time),
        clock=time,
        mint=minting(),
    )
