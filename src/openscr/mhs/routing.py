"""Where a message goes, whichever way that is found out.

Spec: 50 §5, F12.
"""

from typing import Protocol

from openscr.directory.routes import Route
from openscr.errors import EndpointUnknown


class UnreadableRetryInterval(EndpointUnknown):
    """The directory's retry interval is no ISO 8601 duration; ``text`` is what stands there. Spec: 50 §1.4."""

    code = "UNREADABLE_RETRY_INTERVAL"

    def __init__(self, text: str) -> None:
        super().__init__("the directory's retry interval is not an ISO 8601 duration")
        self.text = text


class Router(Protocol):
    """Finds the route of an organisation's messages."""

    async def find(self, ods: str, service_id: str, correlation_id: str) -> Route:
        """Return where messages go; ``service_id`` is ``urn:nhs:names:services:<service>:<interaction>``.

        ``correlation_id`` is told to the directory in the form that it takes.
        Raises: `EndpointUnknown`, `UnreadableRetryInterval`, `DirectoryUnavailable`.
        """

    async def close(self) -> None:
        """Let go of connections."""
