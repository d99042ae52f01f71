"""What becomes of an answer when its receiver does not take it: kept, sent again with the same bytes, or given up.

Spec: 40 §6.3, §6.4.
"""

import asyncio
from datetime import timedelta

import pytest

from hl7.rules import message
from openscr.identifiers import utc_now
from openscr.store.interface import OutboxRow, OutboxState

from .clients import PATIENCE, Behaviour
from .harness import Harness


async def attempted(service: Harness, times: int = 1) -> OutboxRow:
    """Wait until the one row of the outbox has had its attempts. Reading the store gives way to the delivery."""
    async with asyncio.timeout(PATIENCE):
        while True:
            rows = await service.store.list_outbox()
            if rows and rows[0].attempts >= times:
                return rows[0]


async def emptied(service: Harness) -> None:
    """Wait until nothing is left to send."""
    async with asyncio.timeout(PATIENCE):
        while await service.store.list_outbox():
            pass


async def wait_an_interval(service: Harness) -> None:
    """Let the contract's interval pass: the service's clock goes on, the test does not wait."""
    service.clock.now = (service.clock.now or utc_now()) + timedelta(seconds=61)


@pytest.mark.parametrize(
    "behaviour",
    [None, Behaviour.SERVER_ERROR, Behaviour.RETRIABLE_FAULT, Behaviour.NONSENSE, Behaviour.EMPTY],
)
async def test_sent_again_with_the_same_bytes(service: Harness, behaviour: Behaviour | None) -> None:
    """A receiver that is down, fails or says nothing of use gets the same message again after the interval."""
    if behaviour is None:
        await service.clients.go_down()
    else:
        service.clients.behaviour = behaviour
    answer, message_id = await service.send(message("gp-summary", "03"))
    assert answer.status == 202
    row = await attempted(service)
    assert row.state is OutboxState.OPEN
    assert row.ref_to_message_id == message_id
    if behaviour is None:
        await service.clients.come_up()
    service.clients.behaviour = Behaviour.ACKNOWLEDGE
    await wait_an_interval(service)
    await emptied(service)
    assert {delivery.body for delivery in service.clients.deliveries} == {row.body}
    assert len(service.clients.deliveries) == (1 if behaviour is None else 2)


async def test_given_up_after_the_retries(service: Harness) -> None:
    """After Retries further attempts the row has failed; it stays for the operator."""
    service.clients.behaviour = Behaviour.SERVER_ERROR
    await service.send(message("gp-summary", "03"))
    for times in (1, 2, 3):
        row = await attempted(service, times)
        await wait_an_interval(service)
    assert row.state is OutboxState.FAILED
    assert len(service.clients.deliveries) == 3


async def test_refused_for_good(service: Harness) -> None:
    """A MessageError ends the attempts at once."""
    service.clients.behaviour = Behaviour.MESSAGE_ERROR
    await service.send(message("gp-summary", "03"))
    row = await attempted(service)
    assert row.state is OutboxState.FAILED
    assert "Unknown" in row.last_error


async def test_slow_receiver_delays_nobody(service: Harness) -> None:
    """While one receiver thinks, other messages are taken and queries answered; its row waits for it."""
    service.clients.behaviour = Behaviour.SLOW
    _, message_id = await service.send(message("gp-summary", "03"))
    await service.clients.answer_to(message_id)
    assert len(await service.store.list_outbox()) == 1
    service.clients.behaviour = Behaviour.ACKNOWLEDGE
    _, acknowledgement = await service.deliver(message("gp-summary", "06"))
    assert acknowledgement.outcome.accepted
    service.clients.released.set()
    await emptied(service)
