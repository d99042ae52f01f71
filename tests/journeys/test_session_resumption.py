"""A TLS session that is taken up again: no second full handshake, the same client, and no way around a refusal.

Spec: 35 §3.1, §3.2.
"""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from journeys.handshake import new_rows, only, visit
from journeys.messages import HOSPITAL, PRACTICE
from journeys.runner import Server, client_context, until
from journeys.wire import fault_of, post, soap_of
from openscr.access import pki as authority
from openscr.codes import EVENT_LIST_ANSWER
from openscr.testbench.population import FULL_RECORD

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


async def figures(server: Server) -> dict[str, float]:
    """Return how many handshakes of each kind there were."""
    text = (await post(server.web, "/metrics", b"", (), method="GET")).body.decode()
    lines = [line for line in text.splitlines() if line.startswith("openscr_tls_handshakes_total")]
    return {line.split('"')[1]: float(line.split()[-1]) for line in lines}


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_session_is_taken_up_again_and_its_client_still_known(
    data: Path, start: Callable[..., Server], version: ssl.TLSVersion
) -> None:
    """The certificate counts as in the first handshake: its party's ASID is let in, another's is not."""
    server = start(demo=True)
    tls = only(server.tls(), version)
    first = await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD))
    again = await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD), session=first.session)
    assert (first.resumed, again.resumed) == (False, True)
    soap_of(again.answer, EVENT_LIST_ANSWER)
    async with new_rows(server) as rows:
        other = await visit(server.spine, tls, HOSPITAL.event_list(FULL_RECORD), session=again.session)
        assert other.resumed
        assert fault_of(other.answer).codes == ("300",)
        assert await rows.reasons() == ["wrong_certificate"]
    assert rows.rows[0].content["certificate"].startswith("gp.client.test ")
    assert await figures(server) == {"full": 1.0, "resumed": 2.0}


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_session_does_not_outlive_its_certificate(
    data: Path, start: Callable[..., Server], version: ssl.TLSVersion
) -> None:
    """A full handshake would refuse it, and so is this one refused."""
    folder = data / "pki"
    server = start(demo=True)
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=8)
    authority.issue(folder, "gp.client.test", name="ending", days=1, clock=lambda: ends - timedelta(days=1))
    tls = only(client_context(folder, "ending"), version)
    first = await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD))
    assert (await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD), session=first.session)).resumed

    async def refused() -> bool:
        try:
            await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD), session=first.session)
        except (ssl.SSLError, ConnectionError):
            return True
        return False

    async with new_rows(server) as rows:
        await until(refused)

        async def audited() -> bool:
            return "expired_certificate" in await rows.reasons()

        await until(audited)
    # A certificate may end between the last handshake that went well and its request: then that is refused as well.
    assert {row.content["reason"] for row in rows.rows if row.outcome == "AR"} == {"expired_certificate"}
    assert datetime.now(UTC) >= ends


async def test_a_session_is_not_taken_up_again_under_new_files(data: Path, start: Callable[..., Server]) -> None:
    """Each state of the files has ticket keys of its own: what it would refuse cannot slip through."""
    server = start(demo=True)
    tls = server.tls()
    first = await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD))
    authority.renew(data / "pki", "localhost")

    async def full() -> bool:
        return not (await visit(server.spine, tls, PRACTICE.event_list(FULL_RECORD), session=first.session)).resumed

    await until(full)
