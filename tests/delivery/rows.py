"""Rows of the outbox as the service makes them, and a directory that says where they go."""

from datetime import UTC, datetime, timedelta

from openscr.codes import ACS_SET, UPLOAD
from openscr.delivery.answers import ReplyAddress, acknowledgement_row
from openscr.directory.model import Contract, Directory, Endpoint, Party, System
from openscr.spine import Outcome
from openscr.store.interface import OutboxRow
from openscr.testbench.world import HOSPITAL_PARTY, OWN_ASID, OWN_PARTY, PRACTICE_PARTY

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SLOT = 1206


class FakeClock:
    """A clock that goes when it is told to."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """Return the present instant."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


def directory(address: str | None = "memory:", **contract: object) -> Directory:
    """Return a directory in which practice and hospital receive their answers at ``address``; none: nowhere."""
    agreed = Contract("client", **contract)  # type: ignore[arg-type]
    endpoints = [
        Endpoint(party, service, ("MCCI_IN010000UK13",), "S90001A000001", address or "", agreed)
        for party in (PRACTICE_PARTY, HOSPITAL_PARTY)
        for service in ("psis", "lrs")
    ]
    return Directory(
        parties=[Party(OWN_PARTY, "YES", "Spine", own=True), Party(PRACTICE_PARTY, "Y90001", "Practice")],
        systems=[System(OWN_ASID, OWN_PARTY, frozenset()), System("200000000115", PRACTICE_PARTY, frozenset())],
        endpoints=endpoints if address is not None else (),
    )


def an_id(number: int) -> str:
    """Return the UUID that stands for a number."""
    return f"00000000-0000-4000-8000-{number:012X}"


def a_row(
    number: int = 1,
    where: Directory | None = None,
    outcome: Outcome = Outcome(),  # noqa: B008  # frozen
    *,
    interaction: str = UPLOAD,
    now: datetime = NOON,
    party: str = PRACTICE_PARTY,
) -> OutboxRow:
    """Return the answer to the message of a number."""
    address = ReplyAddress(
        slot=SLOT,
        to_party=party,
        service="lrs" if interaction == ACS_SET else "psis",
        interaction=interaction,
        conversation_id="a conversation",
        ref_to_message_id=an_id(number + 10_000).lower(),
        reference=an_id(number + 20_000),
        receiver_asid="200000000115",
        sender_asid=OWN_ASID,
    )
    return acknowledgement_row(address, outcome, where or directory(), an_id(number), now)
