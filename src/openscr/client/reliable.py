"""Reliable messages: built once, sent until acknowledged, refused or given up.

Invariant: every attempt sends the same bytes, so that the receiver can tell a repetition from a new message.

Spec: 40 §5, §6.3, §6.4, §7.3.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from openscr.client.answers import Answers, Expectation
from openscr.client.connection import Connection, NoAnswer
from openscr.client.profile import Route
from openscr.client.refusals import own_words
from openscr.codes import SERVICE_PREFIX
from openscr.errors import AccessRefused, DeliveryError, RetriesExhausted
from openscr.spine import Caller
from openscr.transport.ebxml import Reliability, payload_id_of, write_user_message
from openscr.transport.mime import CLIENT_CONTENT_TYPE, CLIENT_PART_TYPE, HEADER_CONTENT_ID, write_multipart
from openscr.transport.verdict import AttemptResult, Verdict, judge

_log = logging.getLogger("openscr.client")

Monotonic = Callable[[], float]
"""A clock that only goes forward, in seconds."""


@dataclass(frozen=True, slots=True)
class ReliableMessage:
    """A message as it goes over the wire, complete: what every attempt sends. Spec: 40 §6.3 step 1."""

    message_id: str
    route: Route
    soap_action: str
    body: bytes


def write_reliable(
    payload: bytes, *, action: str, caller: Caller, receiver: str, route: Route, message_id: str, timestamp: str
) -> ReliableMessage:
    """Pack an HL7 interaction of the route's service; ``timestamp`` is in the ebXML form. Spec: 40 §5.1, §5.3."""
    return write_packed(
        payload,
        route.service,
        Reliability.RELIABLE,
        action,
        caller,
        receiver,
        route,
        message_id=message_id,
        at=timestamp,
    )


def write_packed(
    payload: bytes,
    short_service: str,
    reliability: Reliability,
    action: str,
    caller: Caller,
    receiver: str,
    route: Route,
    *,
    message_id: str,
    at: str,
) -> ReliableMessage:
    """Pack an HL7 interaction by a pattern; ``at`` is its time in the ebXML form. Spec: 40 §5.1, §5.3."""
    service = f"{SERVICE_PREFIX}{short_service}"
    envelope = write_user_message(
        from_party=caller.party_key,
        to_party=receiver,
        cpa_id=route.cpa_id,
        conversation_id=message_id,
        service=service,
        action=action,
        message_id=message_id,
        timestamp=at,
        ref_to_message_id=None,
        reliability=reliability,
        spine=False,
    )
    parts = ((HEADER_CONTENT_ID, CLIENT_PART_TYPE, envelope), (payload_id_of(message_id), CLIENT_PART_TYPE, payload))
    return ReliableMessage(message_id, route, f"{service}/{action}", write_multipart(parts))


async def deliver(
    connection: Connection,
    message: ReliableMessage,
    answers: Answers,
    expectation: Expectation,
    *,
    monotonic: Monotonic = time.monotonic,
) -> int:
    """Send until the receiver has the message, and return the number of attempts.

    Raises: `AccessRefused` and `DeliveryError` when it refuses the message for good; `RetriesExhausted` when every
    attempt that the contract allows has failed: the message may or may not have arrived. Spec: 40 §6.3, §6.4.
    """
    contract = message.route.contract
    retries = contract.retries if contract.retries is not None else 0
    interval = contract.retry_interval if contract.retry_interval is not None else 0.0
    persist = contract.persist_duration if contract.persist_duration is not None else float("inf")
    headers = {"SOAPAction": f'"{message.soap_action}"', "Content-Type": CLIENT_CONTENT_TYPE}
    first = monotonic()
    attempts = 0
    while True:
        attempts += 1
        result = await _attempt(connection, message, headers)
        if result.verdict is Verdict.DELIVERED:
            if result.reason:
                _log.warning("message %s: %s", message.message_id, result.reason)
            return attempts
        if result.verdict is Verdict.REFUSED:
            raise refused(result)
        _log.warning("message %s, attempt %d: %s", message.message_id, attempts, result.reason)
        more = attempts <= retries and monotonic() + interval < first + persist
        # Once there are no attempts left, an acknowledgement may still come on its own until the contract ends.
        rest = max(0.0, first + persist - monotonic()) if answers.late_signals and persist != float("inf") else 0.0
        if await expectation.came_within(interval if more else rest):
            return attempts
        if not more:
            raise RetriesExhausted(f"not delivered in {attempts} attempts: {result.reason}")


async def _attempt(connection: Connection, message: ReliableMessage, headers: dict[str, str]) -> AttemptResult:
    try:
        status, body = await connection.post(message.route.path, headers, message.body)
    except NoAnswer as error:
        return AttemptResult(Verdict.RETRY, error.diagnostics)
    return judge(status, body, message.message_id)


def refused(result: AttemptResult) -> DeliveryError | AccessRefused:
    """Return the error that tells of a message that was refused for good."""
    said = f"refused: {own_words(result.codes, result.texts) if result.codes else result.reason}"
    if result.reason == "HTTP 403" or {"300", "SecurityFailure"} & set(result.codes):
        return AccessRefused(said)
    return DeliveryError(said)
