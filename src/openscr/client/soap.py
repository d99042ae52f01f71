"""Synchronous requests: one envelope, one answer, again with a new message id where that is safe.

Spec: 20 §2, §9.5, §16; 40 §4, §6.4, §7.1.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from lxml import etree

from openscr.client.connection import Connection, NoAnswer
from openscr.client.refusals import own_words
from openscr.codes import EXTENDED_LIST_ANSWER, QUERY_FAILED, SERVICE_PREFIX
from openscr.errors import AccessRefused, DeliveryError, RetriesExhausted, UnreadableMessage, WireError
from openscr.hl7 import scr_application
from openscr.hl7.acknowledgement import read_outcome
from openscr.hl7.wrapper import local_name
from openscr.spine import ExtendedListOutcome
from openscr.transport.soap import Fault, read_fault
from openscr.transport.wsa import read_answer, write_request
from openscr.transport.xml import read_xml

RETRY_PAUSES: Final = (1.0, 4.0)
"""Seconds before the second and the third try of a query; jitter adds up to a quarter. Spec: 20 §9.5."""

_log = logging.getLogger("openscr.client")

T = TypeVar("T")


class Retriable(DeliveryError):
    """The service could not do it now; a query may be asked again. Spec: 20 §9.5."""

    code = "RETRIABLE"


async def exchange(
    connection: Connection,
    *,
    path: str,
    service: str,
    interaction: str,
    message_id: str,
    receiver_asid: str,
    sender_asid: str,
    body: bytes,
    expected: frozenset[str],
) -> etree._Element:
    """Send one interaction and return the interaction that answers it.

    Raises: `AccessRefused` (fault 300, HTTP 403, certificates), `Retriable`, `DeliveryError` (any other fault or
    status), `WireError` (an answer that cannot be read, or answers another message). Spec: 40 §4.3, §4.4, §7.1.
    """
    action = f"{SERVICE_PREFIX}{service}/{interaction}"
    request = write_request(
        message_id=message_id,
        action=action,
        to=connection.at + path,
        from_address="",
        receiver_asid=receiver_asid,
        sender_asid=sender_asid,
        body=body,
    )
    try:
        status, answer = await connection.post(path, {"SOAPAction": f'"{action}"', "Content-Type": "text/xml"}, request)
    except NoAnswer as error:
        raise Retriable(error.diagnostics) from None
    if status != 200:
        raise _failure(status, answer)
    return _correlated(read_xml(answer, answer=True), expected, message_id)


def _failure(status: int, answer: bytes) -> DeliveryError | AccessRefused:
    fault: Fault | None = None
    try:
        fault = read_fault(read_xml(answer, answer=True)) if answer.strip() else None
    except WireError:
        fault = None
    if fault is not None:
        said = f"SOAP fault {own_words(fault.codes, fault.descriptions)}"
        if "300" in fault.codes:
            return AccessRefused(said)
        return Retriable(said) if fault.retriable else DeliveryError(said)
    if status == 403:
        return AccessRefused("HTTP 403: the certificate belongs to no registered party")
    if status in (502, 503, 504):
        return Retriable(f"HTTP {status}")
    return DeliveryError(f"HTTP {status}: there is no Spine at this address")


def _correlated(root: etree._Element, expected: frozenset[str], message_id: str) -> etree._Element:
    """Return the answering interaction once it is sure that it answers this message. Spec: 20 §16 item 5."""
    answer = read_answer(root, expected)
    _, reference = read_outcome(answer.interaction)
    if reference.upper() != message_id.upper():
        raise UnreadableMessage("the answer refers to another message")
    if answer.relates_to.upper().removeprefix("UUID:") != message_id.upper():
        _log.warning("message %s: the RelatesTo of its answer is not its id", message_id)
    return answer.interaction


def read_extended_list(answer: bytes, nhs_number: str) -> ExtendedListOutcome:
    """Read an extended event list, in its SOAP envelope or as it is; what asks for one is not public. Spec: 20 §11.3.

    Raises: `WireError` for what is none.
    """
    root = read_xml(answer, answer=True)
    if local_name(root) != EXTENDED_LIST_ANSWER:
        root = read_answer(root, frozenset({EXTENDED_LIST_ANSWER, QUERY_FAILED})).interaction
    return scr_application.read_extended_list(root, nhs_number)


async def with_retries(
    ask: Callable[[], Awaitable[T]],
    unavailable: Callable[[T], bool],
    *,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    jitter: Callable[[], float] = random.random,
) -> T:
    """Ask, and ask again while the service is unavailable; ``ask`` makes a new message each time. Spec: 20 §9.5.

    The last outcome is returned though it says unavailable. Raises: `RetriesExhausted`, and what ``ask`` raises.
    """
    for wait in RETRY_PAUSES:
        try:
            outcome = await ask()
        except Retriable as error:
            _log.warning("query not answered, asked again: %s", error.diagnostics)
        else:
            if not unavailable(outcome):
                return outcome
        await pause(wait * (1 + jitter() / 4))
    try:
        return await ask()
    except Retriable as error:
        raise RetriesExhausted(error.diagnostics) from None
