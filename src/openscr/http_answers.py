"""Reading what others answer over HTTP, within a limit: nobody's server decides how much memory we use.

Spec: 00 §7 "security"; 40 §6.6.
"""

import aiohttp


class AnswerTooLarge(Exception):
    """An answer has more bytes than are read; the connection is closed. Whoever asks says so in words of its own."""


async def read_within(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the body of an answer, decompressed, of ``most`` bytes at most. Raises: `AnswerTooLarge`."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            response.close()
            raise AnswerTooLarge
    return bytes(body)
