"""A verifier of the demo world, with a clock that tests set."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from identity_provider import Clock, IdentityProvider, bearer
from openscr.access.refusals import Refusal, RequestRefused
from openscr.access.verification import Verification
from openscr.directory.form import build_directory, merge, read_directory
from openscr.directory.model import CurrentDirectory, Directory
from openscr.settings import load_settings
from openscr.spine import Caller
from openscr.testbench.world import demo_directory


def demo_world(revision: int = 1, data: bytes | None = None) -> Directory:
    """Return the directory of the demo world, or of a file."""
    return build_directory(merge([], read_directory(data or demo_directory()), replace=True), revision)


class Verifier:
    """What verifies callers in a test."""

    def __init__(self, provider: IdentityProvider, clock: Clock, **settings: Any) -> None:
        self.directory = CurrentDirectory(demo_world())
        self.clock = clock
        self.verification = Verification(
            load_settings({"rate_per_second": 0, "rate_per_minute": 0} | settings),
            [provider.base],
            self.directory,
            clock,
        )

    async def caller(self, token: str, address: str = "192.0.2.1", **headers: str) -> Caller:
        """Return who calls with a token."""
        return await self.verification.authenticator.authenticate(bearer(token, **headers), address)

    async def refusal(self, token: str, address: str = "192.0.2.1", **headers: str) -> Refusal:
        """Return why a token is refused."""
        try:
            caller = await self.caller(token, address, **headers)
        except RequestRefused as refused:
            return refused.refusal
        raise AssertionError(f"accepted: {caller}")


@asynccontextmanager
async def verifying(**settings: Any) -> AsyncIterator[tuple[IdentityProvider, Verifier]]:
    """Run a provider and a verifier that trusts it."""
    clock = Clock()
    async with IdentityProvider(clock) as provider:
        if "introspection_secret_file" in settings:
            settings["introspection_url"] = f"{provider.base}/introspect"
        verifier = Verifier(provider, clock, **settings)
        try:
            yield provider, verifier
        finally:
            await verifier.verification.close()
