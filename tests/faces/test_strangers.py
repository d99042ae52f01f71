"""Who is turned away is audited, but nobody fills the store by being turned away."""

import asyncio
from pathlib import Path

from structlog.testing import capture_logs

from conformance.harness import Harness, running
from openscr.access.registration import Cause
from openscr.faces.spine.exchange import Peer
from openscr.faces.spine.strangers import HANDSHAKES_A_MINUTE, REFUSED_A_MINUTE, Strangers
from openscr.identifiers import slot_of


async def audited(service: Harness) -> list[str]:
    """Return the reasons of the audit rows of those who are nobody."""
    return [row.entry.content.get("reason", "") async for row in service.store.read_audit(slot_of(""))]


async def test_of_each_kind_so_many_are_audited_in_a_minute_and_the_log_says_when_that_is_over(tmp_path: Path) -> None:
    async with running(tmp_path, examples=False) as service:
        strangers = Strangers(service.record)
        with capture_logs() as logs:
            stranger, unknown, expired = Peer(None, "127.0.0.1"), Cause.UNKNOWN_CERTIFICATE, Cause.EXPIRED_CERTIFICATE
            await asyncio.gather(*(strangers.turned_away(stranger, unknown) for _ in range(REFUSED_A_MINUTE + 3)))
            for _ in range(HANDSHAKES_A_MINUTE + 3):
                await strangers.failed_handshake(expired, "127.0.0.1")
        assert [log["audited"] for log in logs] == [REFUSED_A_MINUTE, HANDSHAKES_A_MINUTE]
        rows = await audited(service)
        assert rows.count(Cause.UNKNOWN_CERTIFICATE) == REFUSED_A_MINUTE
        assert rows.count(Cause.EXPIRED_CERTIFICATE) == HANDSHAKES_A_MINUTE
