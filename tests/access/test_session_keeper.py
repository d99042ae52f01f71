"""Sessions that end at one worker, seen by another on the same store. Spec: 35 §4.2."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from access.verifying import Verifier, verifying
from identity_provider import GP, GP_ROLE, IdentityProvider, role_claim
from openscr.access import refusals
from openscr.errors import StoreError
from openscr.session_keeper import SessionKeeper
from openscr.store.sqlite import SqliteStore

SESSION = f"session-of-{GP}"


class Worker:
    """A worker: its own store, what verifies its callers, and what keeps the two together."""

    def __init__(self, provider: IdentityProvider, verifier: Verifier, store: SqliteStore) -> None:
        self.provider = provider
        self.verifier = verifier
        self.store = store
        self.keeper = SessionKeeper(store, verifier.verification.sessions, look=0.01)


@pytest.fixture
async def workers(tmp_path: Path) -> AsyncIterator[tuple[Worker, Worker]]:
    """Two workers on one store that trust the same provider, for all that a digest tells."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(2):
            provider, verifier = await stack.enter_async_context(verifying())
            provider.users[GP] = {"nhsid_nrbac_roles": [role_claim(GP_ROLE)]}
            store = SqliteStore(tmp_path / "openscr.db")
            await store.open()
            stack.push_async_callback(store.close)
            found.append(Worker(provider, verifier, store))
            await found[-1].keeper.read()
        yield found[0], found[1]


async def end(at: Worker, session: str, issuer: str) -> None:
    """End a session where a provider says so."""
    await at.verifier.verification.sessions.end_everywhere(session, issuer)


async def test_what_ends_at_one_worker_ends_at_all(workers: tuple[Worker, Worker]) -> None:
    """Once it was looked for; a worker that starts later knows it from the start."""
    one, two = workers
    token = two.provider.token()
    await two.verifier.caller(token)
    await end(one, SESSION, two.provider.base)
    following = asyncio.create_task(two.keeper.follow())
    while not two.verifier.verification.sessions._ended._until:  # noqa: ASYNC110 nobody is told
        await asyncio.sleep(0)
    following.cancel()
    assert await two.verifier.refusal(token) == refusals.SESSION_ENDED
    assert (await two.verifier.caller(two.provider.token(sid="another session"))).session


async def test_a_logout_that_is_not_kept_is_not_answered_well(workers: tuple[Worker, Worker]) -> None:
    """The provider comes again with the same token, and is answered when it is kept."""
    one, two = workers
    logout = one.provider.logout_token(SESSION)
    await one.store.close()
    with pytest.raises(StoreError):
        await one.verifier.verification.logout.receive(logout)
    assert await one.verifier.refusal(one.provider.token()) == refusals.SESSION_ENDED, "here it counts at once"
    await one.store.open()
    await one.verifier.verification.logout.receive(logout)
    assert len(await two.store.ended_sessions(datetime.fromtimestamp(0, UTC))) == 1


async def test_who_cannot_look_lets_nobody_in(workers: tuple[Worker, Worker], monkeypatch: pytest.MonkeyPatch) -> None:
    """A session may have ended elsewhere: 503, to be asked again, until the store tells."""
    one, _ = workers
    token = one.provider.token()
    await one.verifier.caller(token)
    monkeypatch.setattr("openscr.session_keeper.STALE", 0.0)
    refusal = await one.verifier.refusal(token)
    assert (refusal, refusal.status, refusal.retry_after) == (refusals.SESSIONS_UNKNOWN, 503, 1)
    monkeypatch.undo()
    await one.keeper.read()
    assert (await one.verifier.caller(token)).session
