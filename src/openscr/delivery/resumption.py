"""TLS sessions towards others, taken up again: the second connection to a host needs no whole handshake.

What a session does not look at again, the other side's certificate, is for whoever connects to look at.

Spec: 50 F6.
"""

import ssl
from typing import Self


class ResumingContext(ssl.SSLContext):
    """A client's context that stands for another one, with whose sessions it opens connections.

    Of every host it remembers the newest connection and the last session that could be taken up again.
    """

    _context: ssl.SSLContext
    _newest: dict[str | None, ssl.SSLObject]
    _sessions: dict[str | None, ssl.SSLSession]

    def __new__(cls, context: ssl.SSLContext) -> Self:
        """Make a context that has the settings of the one it stands for."""
        made = super().__new__(cls, context.protocol)
        made._context = context
        made._newest = {}
        made._sessions = {}
        return made

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        """Open a connection, with the last session of this host if there is one that still fits."""
        host = server_hostname.decode() if isinstance(server_hostname, bytes) else server_hostname
        session = session or self._last_session(host)
        try:
            opened = self._context.wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        except ValueError:
            # Our own certificate has been changed, and its sessions went with it.
            self._sessions.pop(host, None)
            opened = self._context.wrap_bio(incoming, outgoing, server_side, server_hostname)
        self._newest[host] = opened
        return opened

    def _last_session(self, host: str | None) -> ssl.SSLSession | None:
        """Return the session to take up; tickets come after a handshake, so it is asked for as late as can be."""
        newest = self._newest.get(host)
        if newest is not None and newest.version() is not None:
            session = newest.session
            if session is not None and (session.has_ticket or host not in self._sessions):
                self._sessions[host] = session
        return self._sessions.get(host)
