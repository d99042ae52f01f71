"""Reliable messages: stored before they are sent, and sent until the Spine has them, refuses them, or their time is up.

Invariants: a message is in the store before its first attempt, and leaves it only in the transaction that says what
became of it; all attempts send the same bytes; whatever ends this process, the next one goes on. An attempt is never
the supplier's own call, which may end at any time.

Spec: 50 §2.3, §2.4, F5, F11; 40 §6.3, §6.4.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

import structlog

from openscr.delivery.schedule import Terms, after_failure
from openscr.errors import DeliveryError, EbxmlError, StoreError
from openscr.identifiers import ebxml_timestamp
from openscr.mhs import audit_lines
from openscr.mhs.audit import AuditFacts
from openscr.mhs.context import AdaptorContext
from openscr.mhs.exchange import Answer
from openscr.mhs.queue_message import InboundMessage, QueueMessage, write_inbound_message
from openscr.mhs.replies import Replies
from openscr.mhs.states import OutboundStatus, Workflow
from openscr.mhs.store.interface import MessageRow, SendingRow, SendState, Transaction
from openscr.mhs.workflows.answers import ACCEPTED, NOT_SENT, UNREADABLE, refused
from openscr.mhs.workflows.judging import judge_answer
from openscr.mhs.workflows.message_states import MessageStates, facts_of_row, taken
from openscr.transport.ebxml import Signal, write_message_error
from openscr.transport.verdict import AttemptResult, Verdict

LEASE: Final = timedelta(seconds=5)
"""How long a message is left alone by other processes after one has begun to send it. Whoever is still at it leases it
for longer in good time; should two send it all the same, the Spine eliminates the duplicate."""

_CONCURRENCY: Final = 100
_AT_ONCE: Final = 16
"""Messages under way, and how many are fetched together: each may have some megabytes."""
_POLL: Final = 1.0
"""Seconds between two looks into the store: for what is due, and for what others have learnt of a message."""

_log = structlog.get_logger("mhs.workflows")


class ReliableSender:
    """Sends what the store holds to be sent. ``grace`` is how many seconds attempts under way get at the end."""

    def __init__(self, context: AdaptorContext, states: MessageStates, *, grace: float = 5.0) -> None:
        self._context = context
        self._states = states
        self._grace = grace
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._seen: set[str] = set()
        self._facts: dict[str, AuditFacts] = {}
        self._waiting: Counter[str] = Counter()
        self._outcomes: dict[str, Answer] = {}
        self._settled = Replies()
        self._wake = asyncio.Event()
        self._letting_go = False
        self._scanner: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to send: first of all what an earlier run left behind."""
        self._scanner = asyncio.create_task(self._scan(), name="reliable messages")

    def let_go(self) -> None:
        """Let nobody wait for more than an attempt under way: this process is about to end, the message is stored."""
        self._letting_go = True
        for message_id in self._waiting:
            self._settled.arrived(message_id)

    async def stop(self) -> None:
        """Begin no more attempts, and let those under way end."""
        if self._scanner is not None:
            self._scanner.cancel()
            await asyncio.gather(self._scanner, return_exceptions=True)
            self._scanner = None
        if self._under_way:
            _, late = await asyncio.wait(self._under_way.values(), timeout=self._grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def send(
        self,
        row: SendingRow,
        workflow: Workflow,
        facts: AuditFacts,
        seconds: float,
        also: Callable[[Transaction], Awaitable[None]],
    ) -> Answer | None:
        """Keep a message, begin to send it, and return its outcome, none if that takes longer than ``seconds``.

        ``also`` is done in the transaction that keeps it. Raises: `StoreError`. Spec: 50 F11.
        """
        message_id = row.message_id

        async def keep(transaction: Transaction) -> None:
            await transaction.put_sending(row)
            await also(transaction)

        self._waiting[message_id] += 1
        self._facts[message_id] = facts
        try:
            # Until then it is ours: should this process end, it is due for the next one.
            row = replace(row, next_attempt_at=self._context.clock() + LEASE)
            await self._context.store.transact(keep)
            self._begin(row, self._attempt(row, workflow))
            return await self._settled.wait(
                message_id, lambda: self._outcome(message_id), seconds=seconds, interval=_POLL
            )
        finally:
            self._waiting[message_id] -= 1
            if not self._waiting[message_id]:
                del self._waiting[message_id]
                self._outcomes.pop(message_id, None)
                self._facts.pop(message_id, None)

    async def _outcome(self, message_id: str) -> Answer | None:
        """Return what became of a message: here, or as the store knows it from others."""
        if message_id in self._outcomes or message_id in self._under_way:
            return self._outcomes.get(message_id)
        row = await self._context.store.find_message(message_id)
        if row is None or _is_taken(row):
            return ACCEPTED
        if row.outbound_status is OutboundStatus.NACKD:
            return UNREADABLE
        if row.outbound_status is OutboundStatus.TRANSMISSION_FAILED:
            return NOT_SENT
        return ACCEPTED if self._letting_go else None

    # --- what is under way ------------------------------------------------------------------------------------------

    def _begin(self, row: SendingRow, attempt: Awaitable[None]) -> None:
        task = asyncio.ensure_future(self._recorded(row, attempt))
        self._under_way[row.message_id] = task
        task.add_done_callback(lambda _: self._ended(row.message_id, task))

    def _ended(self, message_id: str, task: asyncio.Task[None]) -> None:
        if self._under_way.get(message_id) is task:
            del self._under_way[message_id]
        self._settled.arrived(message_id)

    async def _recorded(self, row: SendingRow, attempt: Awaitable[None]) -> None:
        try:
            await attempt
        except StoreError as error:
            _log.warning("sending not recorded", message_id=row.message_id, error=error.code)

    async def _scan(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self._hold()
                await self._begin_due()
            except StoreError as error:
                _log.warning("messages to be sent not readable", error=error.code)
            except Exception as error:  # noqa: BLE001 whatever went wrong, what waits must still be sent
                _log.error("looking for messages to be sent failed", error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL):
                    await self._wake.wait()

    async def _hold(self) -> None:
        """Keep the leases of what is under way since the last look."""
        held = self._seen.intersection(self._under_way)
        self._seen = set(self._under_way)
        if held:
            await self._context.store.hold_sendings(sorted(held), self._context.clock() + LEASE)

    async def _begin_due(self) -> None:
        more = True
        while more and len(self._under_way) < _CONCURRENCY:
            now = self._context.clock()
            # Rows under way are open in the store and come again once their lease has ended.
            rows = await self._context.store.lease_sendings(now, now + LEASE, _AT_ONCE)
            for row in rows:
                if row.message_id not in self._under_way:
                    self._begin(row, self._attempt_again(row))
            more = len(rows) == _AT_ONCE

    async def _attempt_again(self, row: SendingRow) -> None:
        """Send a message that was in the store, unless word of it has come meanwhile."""
        message = await self._context.store.find_message(row.message_id)
        if message is None:
            await self._context.store.transact(lambda transaction: transaction.remove_sending(row.message_id))
            return
        workflow = self._workflow_of(message)
        if _is_taken(message):
            await self._end(row, workflow, OutboundStatus.ACKD, "", ACCEPTED)
        elif message.outbound_status is OutboundStatus.NACKD:
            await self._keep_refused(row, message.last_error)
        else:
            if row.attempts:
                self._context.figures.retried(workflow)
            await self._attempt(row, workflow)

    async def _attempt(self, row: SendingRow, workflow: Workflow) -> None:
        started = self._context.clock()
        body = b""
        answered = True
        try:
            answer = await self._context.carrier.post(
                row.address, dict(row.headers), row.body, row.names, timeout=self._context.settings.async_timeout
            )
            body = answer.body
            result = judge_answer(workflow, answer.status, answer.body, row.message_id)
        except DeliveryError as error:
            answered = False
            result = AttemptResult(Verdict.RETRY, error.diagnostics)
        except Exception as error:  # noqa: BLE001 whatever it is, the contract's end must come
            # The error's text could hold anything: only its type is told.
            answered = False
            result = AttemptResult(Verdict.RETRY, f"failed unexpectedly ({type(error).__name__})")
        if result.verdict is Verdict.DELIVERED:
            if result.reason:
                _log.warning("message taken", message_id=row.message_id, reason=result.reason)
            self._context.figures.spine_succeeded()
            try:
                await self._end(row, workflow, OutboundStatus.ACKD, "", ACCEPTED)
            except StoreError:
                # The Spine has it all the same. It stays to be sent, for the record; nobody need wait for that.
                self._tell(row.message_id, ACCEPTED)
                raise
            return
        terms = Terms(row.retries, row.retry_interval, row.persist_duration)
        ended = self._context.clock()
        progress = after_failure(row.attempts, row.first_attempt_at, result.verdict, terms, started, ended)
        tried = replace(
            row,
            attempts=progress.attempts,
            first_attempt_at=progress.first_attempt_at,
            next_attempt_at=progress.next_attempt_at,
            last_error=result.reason,
        )
        _log.warning(
            "message not taken",
            message_id=row.message_id,
            attempt=tried.attempts,
            again=tried.next_attempt_at is not None,
            reason=result.reason,
        )
        if tried.next_attempt_at is not None:
            await self._wait_for_next(row, tried)
            return
        failed = replace(tried, state=SendState.FAILED)
        if answered:
            refusal = body if isinstance(result.said, Signal) and result.said.kind == "MessageError" else b""
            await self._end(failed, workflow, OutboundStatus.NACKD, result.reason, refused(result), refusal)
        else:
            await self._end(failed, workflow, OutboundStatus.TRANSMISSION_FAILED, result.reason, NOT_SENT)

    def _workflow_of(self, message: MessageRow) -> Workflow:
        """Return how a message is exchanged; of one whose caller waited, the table knows it."""
        if message.workflow is not Workflow.SYNC_ASYNC:
            return message.workflow
        interaction = self._context.interactions.get(message.interaction)
        forward = interaction is not None and interaction.workflow == Workflow.FORWARD_RELIABLE
        return Workflow.FORWARD_RELIABLE if forward else Workflow.ASYNC_RELIABLE

    # --- what became of it ------------------------------------------------------------------------------------------

    async def _wait_for_next(self, row: SendingRow, tried: SendingRow) -> None:
        async def work(transaction: Transaction) -> None:
            if await _is_current(transaction, row):
                await transaction.put_sending(tried)
                await transaction.release_sending(row.message_id)
                message = await transaction.find_message(row.message_id)
                if message is not None:
                    await transaction.put_message(replace(message, last_error=tried.last_error))

        await self._context.store.transact(work)
        if tried.next_attempt_at is not None:
            wait = (tried.next_attempt_at - self._context.clock()).total_seconds()
            asyncio.get_running_loop().call_later(max(0.0, wait), self._wake.set)

    async def _keep_refused(self, row: SendingRow, error: str) -> None:
        """Send a message no more that was refused by another way, where that was recorded and told. Spec: 50 F9."""

        async def work(transaction: Transaction) -> None:
            if await _is_current(transaction, row):
                failed = replace(row, state=SendState.FAILED, next_attempt_at=None, last_error=error)
                await transaction.put_sending(failed)
                await transaction.release_sending(row.message_id)

        await self._context.store.transact(work)

    async def _end(
        self,
        row: SendingRow,
        workflow: Workflow,
        status: OutboundStatus,
        error: str,
        outcome: Answer,
        refusal: bytes = b"",
    ) -> None:
        """Keep what became of a message; a supplier who has its answer already hears of a failure by its queue."""
        context = self._context
        message_id = row.message_id
        unheard = status is not OutboundStatus.ACKD and message_id not in self._waiting
        facts = self._facts.get(message_id)
        entry = context.audit.entry(replace(facts, outcome=status)) if facts is not None else None
        now = context.clock()

        async def work(transaction: Transaction) -> bool:
            if not await _is_current(transaction, row):
                return False
            if row.state is SendState.FAILED:
                await transaction.put_sending(row)
                await transaction.release_sending(message_id)
            else:
                await transaction.remove_sending(message_id)
            found = await transaction.find_message(message_id)
            if found is not None:
                acknowledged = status is OutboundStatus.ACKD
                ended = (
                    taken(found, context.settings, now)
                    if acknowledged
                    else found.changed(now, status, last_error=error)
                )
                await transaction.put_message(ended)
                record = entry or context.audit.entry(replace(facts_of_row(found), outcome=status))
                await transaction.append_audit(record)
                if unheard:
                    await transaction.enqueue(self._failure_notice(found, error, refusal))
            return True

        if not await context.store.transact(work):
            return
        if status is OutboundStatus.ACKD:
            audit_lines.outbound_completed(workflow)
        elif unheard:
            context.arrivals.tell()
        self._tell(message_id, outcome)

    def _tell(self, message_id: str, outcome: Answer) -> None:
        """Tell who waits, if anybody does, what became of a message."""
        if message_id in self._waiting:
            self._outcomes[message_id] = outcome

    def _failure_notice(self, message: MessageRow, error: str, refusal: bytes) -> QueueMessage:
        """Return what tells the supplier of a message that it was not taken: a MessageError, the Spine's own or ours.

        Spec: 40 §6.3 step 5; 50 F9.
        """
        context = self._context
        now = context.clock()
        own = context.settings.secret_party_key
        document = refusal or write_message_error(
            from_party=own,
            to_party=own,
            cpa_id="",
            conversation_id=message.correlation_id,
            message_id=context.mint(),
            timestamp=ebxml_timestamp(now),
            ref_to_message_id=message.message_id,
            errors=[EbxmlError("DeliveryFailure", f"The message was not delivered: {error}")],
        )
        body = write_inbound_message(InboundMessage(document.decode("utf-8-sig"), ""))
        return QueueMessage(context.mint(), message.message_id, message.correlation_id, body, now)


def _is_taken(message: MessageRow) -> bool:
    """Whether the receiver has said that it has a message: by an acknowledgement or, as good, by its reply. 40 §6.5."""
    return message.outbound_status is OutboundStatus.ACKD or message.inbound_status is not None


async def _is_current(transaction: Transaction, row: SendingRow) -> bool:
    """Whether what was sent is still what is to be sent: the supplier may have sent another message with its id."""
    current = await transaction.find_sending(row.message_id)
    return current is not None and current.state is SendState.OPEN and current.body == row.body
