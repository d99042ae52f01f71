"""Where the answer to a reliable message is waited for: nowhere, in the demo's inbox, or at our own callback listener.

Whoever sends asks for an `Expectation` first: an answer may come before the request's own HTTP answer was read.

Spec: 00 §4 ``--callback``, §5; 40 §6.5, §7.3.
"""

import asyncio
from typing import Final, Protocol
from urllib.parse import quote

import msgspec

from openscr.client.connection import Connection, NoAnswer
from openscr.errors import DeliveryError

FIRST_LOOK: Final = 0.02
SLOWEST_LOOK: Final = 0.5
"""Seconds between looks into the demo's inbox: soon at first, then more and more patiently."""

_FROM_NOW_ON: Final = 10**17


class Expectation(Protocol):
    """One message under way, whose answer is waited for."""

    async def came_within(self, seconds: float) -> bool:
        """Wait until the message is known to have arrived, at most ``seconds``; say whether it is."""

    async def answer(self, seconds: float) -> bytes | None:
        """Return the HL7 answer; none when it cannot be seen from here.

        Raises: `DeliveryError` when it has not come within ``seconds``.
        """

    def forget(self) -> None:
        """Wait no longer."""


class Answers(Protocol):
    """A place where answers arrive."""

    late_signals: bool
    """Whether a transport acknowledgement may still come when all attempts are over."""

    async def expect(self, message_id: str, *, again: bool = False) -> Expectation:
        """Begin to wait for the answer to a message that is not sent yet, or, ``again``, may have been sent before."""


class Unseen:
    """No place at all: answers go to an endpoint that is not ours."""

    late_signals = False

    async def expect(self, message_id: str, *, again: bool = False) -> "Unseen":
        """Expect nothing."""
        return self

    async def came_within(self, seconds: float) -> bool:
        """Wait the whole time."""
        await asyncio.sleep(seconds)
        return False

    async def answer(self, seconds: float) -> bytes | None:
        """See nothing."""
        return None

    def forget(self) -> None:
        """There is nothing to forget."""


class _Message(msgspec.Struct):
    ref_to_message_id: str
    payload: str


class _Inbox(msgspec.Struct):
    next: int
    messages: list[_Message]


_read_inbox: Final = msgspec.json.Decoder(_Inbox).decode


class DemoInbox:
    """The inbox of a party at a demo service. Spec: 00 §5."""

    late_signals = False

    def __init__(self, connection: Connection, party_key: str) -> None:
        self._connection = connection
        self._path = f"/demo/inbox/{quote(party_key, safe='')}?since="

    async def exists(self) -> bool:
        """Whether the service has such an inbox: only a demo has."""
        try:
            await self._look(_FROM_NOW_ON)
        except DeliveryError:
            return False
        return True

    async def expect(self, message_id: str, *, again: bool = False) -> "InboxExpectation":
        """Begin to wait for the answer to a message: ``again`` from the oldest one that is kept."""
        following, _ = (0, ()) if again else await self._look(_FROM_NOW_ON)
        return InboxExpectation(self._look, following, message_id)

    async def _look(self, since: int) -> tuple[int, list[tuple[str, str]]]:
        status, body = await self._connection.get(f"{self._path}{since}")
        try:
            if status == 200:
                form = _read_inbox(body)
                return form.next, [(message.ref_to_message_id, message.payload) for message in form.messages]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        raise DeliveryError(f"there is no demo inbox at {self._connection.at} (HTTP {status})")


class _LookUp(Protocol):
    async def __call__(self, since: int, /) -> tuple[int, list[tuple[str, str]]]:
        """Return the number to look after next time, and (RefToMessageId, payload) of what came since."""


class InboxExpectation:
    """One message whose answer will stand in the inbox."""

    def __init__(self, look: _LookUp, since: int, message_id: str) -> None:
        self._look = look
        self._since = since
        self._message_id = message_id.upper()
        self._found: bytes | None = None

    async def came_within(self, seconds: float) -> bool:
        """Look once more at the end: an answer means that the message has arrived."""
        await asyncio.sleep(seconds)
        return await self._find()

    async def answer(self, seconds: float) -> bytes | None:
        """Look again and again."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        pause = FIRST_LOOK
        while not await self._find():
            if loop.time() + pause > end:
                raise DeliveryError(f"no application acknowledgement came within {seconds:g} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, SLOWEST_LOOK)
        return self._found

    async def _find(self) -> bool:
        if self._found is None:
            try:
                self._since, messages = await self._look(self._since)
            except NoAnswer:
                return False
            for reference, payload in messages:
                if reference.upper() == self._message_id:
                    self._found = payload.encode()
        return self._found is not None

    def forget(self) -> None:
        """There is nothing to forget."""
