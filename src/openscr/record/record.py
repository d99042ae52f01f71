"""The record service: every verb of `Spine` answered from our own store.

Each request is decided and stored in one transaction of its patient's slot: receipt, raw message, event and status
changes, consent, alert, audit row and outbox row; only then is anything answered. A message that was answered before
gets the same answer again, and is not looked at twice.

Spec: 10 §15, 20 §10.3, 30 §9, 40 §6.5, §8.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from openscr.access.policy import AccessPolicy, Authorisation, Operation
from openscr.codes import ACS_SET, ALERT, POLLING_UPLOAD, UPLOADS, WITHDRAWALS
from openscr.directory.model import CurrentDirectory
from openscr.errors import GENERAL, OutcomeUnknown, StoreUnavailable
from openscr.identifiers import Clock, UuidFactory, has_ten_digits, mint_uuid, slot_of, utc_now
from openscr.record.alert import decide_alert
from openscr.record.audit import audit_entry
from openscr.record.consent import (
    ConsentChanged,
    ConsentSubscriber,
    decide_consent_change,
    decide_consent_query,
    permission_of,
)
from openscr.record.decision import Decision, RecordRules, refuse, survivor_of
from openscr.record.ties import end_permissions
from openscr.record.upload import decide_upload
from openscr.record.views import Views
from openscr.record.withdrawal import decide_withdrawal
from openscr.spine import (
    AckType,
    Alert,
    Caller,
    Consent,
    ConsentChange,
    ConsentOutcome,
    ConsentQuery,
    DocumentListOutcome,
    DocumentListQuery,
    DocumentOutcome,
    DocumentQuery,
    EventListOutcome,
    EventListQuery,
    EventOutcome,
    EventQuery,
    ExtendedListOutcome,
    MessageIds,
    Outcome,
    PermissionQuery,
    PermissionsOutcome,
    ScrPermissionsOutcome,
    ScrPermissionsQuery,
    SubjectAccessOutcome,
    SubjectAccessQuery,
    Upload,
    Withdrawal,
)
from openscr.store.interface import Foreseen, OutboxRow, PollResult, RawMessage, Receipt, Store, Transaction

_log = structlog.get_logger("record")

SUMMARY_INTERACTIONS = UPLOADS | WITHDRAWALS

_REPEATABLE = frozenset({ACS_SET, ALERT})
"""Interactions of which the same content under the same wrapper id is the same request again. Spec: 30 §7.1."""


MOST_MERGERS: Final = 10
"""Numbers that are followed from one that was merged to the one that holds now."""


@dataclass(frozen=True, slots=True)
class Reception:
    """How an updating message arrived, and how it will be answered.

    ``message_id`` is the transport's id. ``signal`` and ``signal_status`` are what the transport answers once all is
    durable; ``reply`` makes the signal from the outcome where the answer travels in the response itself (a SET over
    SOAP). ``answer`` makes the outbox row of the application acknowledgement; both must be pure and quick: they run
    inside the transaction. On the polling channel ``poll`` says how the signal can be fetched; its content is still to
    come. ``digest`` identifies the content of the HL7 payload. ``deviations`` are what transport found remarkable and
    lets pass, ``notes`` fields for the audit. Spec: 40 §6.3, §6.5, §7.6, §8 step 10.
    """

    from_party: str
    message_id: str
    raw: RawMessage
    received_at: datetime
    signal: bytes = b""
    signal_status: int = 202
    digest: bytes = b""
    reply: Callable[[Outcome], bytes] | None = None
    answer: Callable[[Outcome], OutboxRow] | None = None
    poll: PollResult | None = None
    deviations: tuple[str, ...] = ()
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def crossed_id(self) -> str:
        """The id under which the refusal is kept when the other channel has answered a message of this one's id.

        No message can have it for its own: a MessageId has no white space around it.
        """
        return f"{self.message_id} "

    def same_channel(self, known: Receipt) -> bool:
        """Whether a message of this id was answered where this one waits for its answer: only there can it be again."""
        return (known.interaction == POLLING_UPLOAD) == (self.poll is not None)

    async def find_answered(self, transaction: Transaction) -> tuple[Receipt | None, bool]:
        """Return the memory of this very message, and whether its id was first used on the other channel."""
        known = await transaction.find_receipt(self.from_party, self.message_id)
        if known is None or self.same_channel(known):
            return known, False
        return await transaction.find_receipt(self.from_party, self.crossed_id), True


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an updating message: the signal to answer with, and what must now be delivered.

    ``outcome`` is none for a duplicate: it was told before. ``token`` leads a polling client to the signal.
    ``deviations`` is all that was let pass although the model knows it otherwise, for the log; the audit has it too.
    Spec: 10 §11.5, §17; 40 §7.6.
    """

    signal: bytes
    signal_status: int
    outcome: Outcome | None = None
    outbox: OutboxRow | None = None
    deviations: tuple[str, ...] = ()
    token: str = ""

    @property
    def duplicate(self) -> bool:
        """Whether this very message had been answered before."""
        return self.outcome is None


Update = Upload | Withdrawal | ConsentChange | Alert
"""What changes something when it is accepted."""

Decide = Callable[[Transaction], Awaitable[Decision]]


class Record:
    """The record of all patients. Satisfies `openscr.spine.Spine`.

    ``store`` keeps everything; ``directory`` and ``policy`` say who may do what; ``rules`` are the switches.
    ``clock`` and ``mint`` are the present instant and fresh ids.
    ``on_consent`` are told of every consent that was set, once it is durable: none of them can undo it.
    """

    def __init__(
        self,
        store: Store,
        directory: CurrentDirectory,
        policy: AccessPolicy,
        rules: RecordRules,
        *,
        clock: Clock = utc_now,
        mint: UuidFactory = mint_uuid,
        on_consent: Sequence[ConsentSubscriber] = (),
    ) -> None:
        self._views = Views(store, directory, policy, rules, clock=clock, mint=mint)
        self._on_consent = tuple(on_consent)
        self._store = store
        self._directory = directory
        self._policy = policy
        self._rules = rules
        self._clock = clock
        self._mint = mint

    # --- updating messages ------------------------------------------------------------------------------------------

    async def receive(
        self,
        reception: Reception,
        caller: Caller,
        ids: MessageIds,
        request: Update | None,
        *,
        nhs_number: str | None,
        refusal: Outcome | None = None,
    ) -> Received:
        """Decide an updating message once, whatever it is, and store all of it before returning.

        ``refusal`` is the outcome that the message's own faults decide; then ``request`` is none. ``nhs_number`` has
        ten digits and names the slot; without it the From party does. Raises: `StoreError`. Spec: 40 §8 steps 12-14.
        """
        slot = slot_of(nhs_number or reception.from_party)
        now = reception.received_at
        changed: ConsentChanged | None = None

        async def work(transaction: Transaction) -> Received:
            nonlocal changed
            known, crossed = await reception.find_answered(transaction)
            if known is not None:
                return await _answered(transaction, reception, known)
            authorisation: Authorisation | None = None
            repeated: Received | Decision | None
            if crossed:
                # Two messages of one id on two channels: what one of them was answered is none of the other's answers.
                repeated = Decision(Outcome(AckType.ERROR, (GENERAL["401"],)), reason="duplicate_message_id")
            else:
                repeated = await self._find_repeated(transaction, reception, caller, ids, nhs_number, refusal)
            if isinstance(repeated, Received):
                return repeated
            if repeated is not None:
                decision = repeated
            elif request is None or refusal is not None:
                decision = Decision(refusal or Outcome(AckType.REJECTED), reason="invalid")
            else:
                authorisation = self._authorise(request, caller)
                if isinstance(request, Alert):
                    decision = decide_alert(request, authorisation, caller, now, self._mint())
                elif isinstance(request, ConsentChange):
                    patient = await transaction.read_without_events(request.nhs_number)
                    decision = decide_consent_change(request, patient, authorisation, self._rules, caller, now)
                    if decision.consent is not None:
                        changed = ConsentChanged(decision.consent, patient.consent)
                elif isinstance(request, Upload):
                    decision = decide_upload(
                        request,
                        await transaction.read_concerned(request.nhs_number, _concerned(request)),
                        authorisation,
                        self._rules,
                        caller,
                        now,
                        reception.from_party,
                        reception.message_id.upper(),
                    )
                else:
                    state = await transaction.read_concerned(request.nhs_number, _concerned(request))
                    decision = decide_withdrawal(request, state, authorisation, self._rules, now)
            return await self._keep(
                transaction,
                reception,
                caller,
                ids,
                nhs_number,
                request,
                decision,
                authorisation,
                crossed=crossed,
            )

        try:
            foreseen = _foreseen(reception, caller, ids, nhs_number, request)
            received = await self._store.transact(slot, work, foreseen)
        except OutcomeUnknown:
            received = await self._clear_up(slot, reception)
        if changed is not None:
            self._publish(changed)
        return received

    def _publish(self, changed: ConsentChanged) -> None:
        """Tell the subscribers; what one of them makes of it is none of the sender's business. Spec: 30 §9.2."""
        for subscriber in self._on_consent:
            try:
                subscriber(changed)
            except Exception as error:  # noqa: BLE001 the consent is set, whatever becomes of its news
                _log.error("subscriber failed", subject="consent.changed", error=type(error).__name__)

    async def _clear_up(self, slot: int, reception: Reception) -> Received:
        """Find out what became of a commit that broke off: its receipt is there, or nothing is. Spec: 40 §8."""

        async def look(transaction: Transaction) -> Received | None:
            known, _ = await reception.find_answered(transaction)
            return await _answered(transaction, reception, known) if known is not None else None

        found = await self._store.transact(slot, look)
        if found is None:
            raise StoreUnavailable("the transaction was not committed")
        return found

    async def _find_repeated(
        self,
        transaction: Transaction,
        reception: Reception,
        caller: Caller,
        ids: MessageIds,
        nhs_number: str | None,
        refusal: Outcome | None,
    ) -> Received | Decision | None:
        """Look for this patient's messages with the same wrapper id from the same sender. 10 §15 step 1, 30 §7.1."""
        if nhs_number is None or not ids.message_id or (refusal is not None and refusal.ack is AckType.REJECTED):
            return None
        if ids.interaction in _REPEATABLE:
            wanted = {ids.message_id.upper(), ids.transport_id.upper()} - {""}
            for seen in await transaction.find_seen(nhs_number, caller.asid, sorted(wanted)):
                if seen.interaction != ids.interaction:
                    continue
                if seen.digest != reception.digest:
                    return Decision(Outcome(AckType.ERROR, (GENERAL["401"],)), reason="duplicate_message_id")
                # Only what was answered over SOAP can be answered so again; a signal of ebXML is none of its answers.
                if reception.reply is not None and seen.wsa_id is not None:
                    return Received(seen.signal, seen.signal_status)
                if seen.ack == AckType.ACCEPTED:
                    return Decision(Outcome(), reason="repeated")
            return None
        for seen in await transaction.find_seen(nhs_number, caller.asid, [ids.message_id.upper()]):
            if seen.interaction in SUMMARY_INTERACTIONS:
                return Decision(Outcome(AckType.ERROR, (GENERAL["401"],)), reason="duplicate_message_id")
        return None

    def _authorise(self, request: Update, caller: Caller) -> Authorisation:
        directory = self._directory.snapshot
        if isinstance(request, Upload):
            return self._policy.authorise(directory, Operation.UPLOAD, caller)
        if isinstance(request, Withdrawal):
            return self._policy.authorise(directory, Operation.WITHDRAW, caller, payload_author=request.payload_author)
        if isinstance(request, Alert):
            return self._policy.authorise(directory, Operation.RAISE_ALERT, caller)
        return self._policy.authorise(directory, Operation.SET_CONSENT, caller)

    async def _keep(
        self,
        transaction: Transaction,
        reception: Reception,
        caller: Caller,
        ids: MessageIds,
        nhs_number: str | None,
        request: Update | None,
        decision: Decision,
        authorisation: Authorisation | None,
        *,
        crossed: bool,
    ) -> Received:
        """Write everything that the decision means, in the transaction that made it."""
        outcome = decision.outcome
        signal = reception.reply(outcome) if reception.reply is not None else reception.signal
        over_soap = reception.reply is not None and reception.poll is None
        receipt = Receipt(
            from_party=reception.from_party,
            message_id=(reception.crossed_id if crossed else reception.message_id).upper(),
            interaction=ids.interaction,
            received_at=reception.received_at,
            raw=reception.raw,
            signal=signal,
            signal_status=reception.signal_status,
            ack=outcome.ack.value,
            digest=reception.digest,
            nhs_number=nhs_number,
            sender_asid=caller.asid or None,
            wrapper_id=ids.message_id.upper() or None,
            wsa_id=ids.transport_id.upper() or None if over_soap else None,
        )
        await transaction.append_receipt(receipt)
        await self._apply(transaction, decision)
        details = {**decision.notes, **reception.notes}
        if isinstance(request, (Upload, Withdrawal)):
            details["event_id"] = request.event_id
        if isinstance(request, Withdrawal) and request.target:
            details["target"] = request.target
        deviations = reception.deviations
        if isinstance(request, Upload):
            deviations += request.deviations
        if "author" in decision.notes:
            deviations += (decision.notes["author"],)
        if deviations:
            details["deviations"] = " ".join(deviations)
        await transaction.append_audit(
            audit_entry(
                ids.interaction or "unreadable",
                outcome,
                nhs_number,
                reception.received_at,
                caller=caller,
                ids=ids,
                authorisation=authorisation,
                reason=decision.reason,
                details=details,
            )
        )
        row = None
        if reception.answer is not None:
            row = reception.answer(outcome)
            await transaction.append_outbox(row)
        token = await _offer(transaction, reception.poll, signal, reception.received_at) if reception.poll else ""
        return Received(signal, reception.signal_status, outcome, row, deviations, token)

    async def fetch(self, slot: int, token: str) -> PollResult | None:
        """Return the result that a polling client's token leads to, while it has not expired. Raises: `StoreError`.

        Spec: 40 §7.6.
        """

        async def work(transaction: Transaction) -> PollResult | None:
            return await transaction.find_poll_result(token)

        found = await self._store.transact(slot, work)
        return found if found is not None and found.expires_at > self._clock() else None

    async def _apply(self, transaction: Transaction, decision: Decision) -> None:
        if decision.new_event is not None:
            await transaction.append_event(decision.new_event)
        for event in decision.changed_events:
            await transaction.change_event(event)
        if decision.consent is not None:
            await transaction.append_consent(decision.consent)
            if decision.consent.value is Consent.NO:
                await end_permissions(transaction, decision.consent.nhs_number, decision.consent.set_at, "consent")
        if decision.alert is not None:
            await transaction.append_alert(decision.alert)

    async def _receive_locally(self, caller: Caller, request: Update) -> Outcome:
        """Carry out an update that came from a face of ours, without an envelope of its own."""
        payload = request.document.payload if isinstance(request, Upload) else b""
        reception = Reception(
            from_party=caller.party_key,
            message_id=request.ids.transport_id or self._mint(),
            raw=RawMessage(payload, 0, len(payload)),
            received_at=self._clock(),
        )
        received = await self.receive(reception, caller, request.ids, request, nhs_number=request.nhs_number)
        return received.outcome or Outcome(AckType.ERROR, (GENERAL["401"],))

    async def upload(self, caller: Caller, upload: Upload) -> Outcome:
        """Store a summary, or say why not. Spec: 10 §15."""
        return await self._receive_locally(caller, upload)

    async def withdraw(self, caller: Caller, withdrawal: Withdrawal) -> Outcome:
        """Withdraw an event, or say why not. Spec: 10 §15 step 9."""
        return await self._receive_locally(caller, withdrawal)

    async def set_consent(self, caller: Caller, change: ConsentChange) -> Outcome:
        """Set or clear the patient's consent. Spec: 30 §9.2."""
        return await self._receive_locally(caller, change)

    async def raise_alert(self, caller: Caller, alert: Alert) -> Outcome:
        """Keep a privacy alert for the privacy officer, or say why not. Spec: 35 §6.1."""
        return await self._receive_locally(caller, alert)

    # --- viewing ----------------------------------------------------------------------------------------------------

    async def list_events(self, caller: Caller, query: EventListQuery) -> EventListOutcome:
        """List a patient's events in the order of 20 §7.1. Raises: `StoreError`. Spec: 20 §10.3."""
        return await self._views.list_events(caller, query)

    async def retrieve_event(self, caller: Caller, query: EventQuery) -> EventOutcome:
        """Return one event with its document, whatever its status. Raises: `StoreError`. Spec: 20 §7.2, §10.3."""
        return await self._views.retrieve_event(caller, query)

    async def list_documents(
        self,
        caller: Caller,
        query: DocumentListQuery,
        *,
        answer: Callable[[DocumentListOutcome], OutboxRow] | None = None,
    ) -> DocumentListOutcome:
        """List the documents that are wanted; ``answer`` makes the row that delivers the list, in the same transaction.

        Raises: `StoreError`. Spec: 20 §13, 40 §7.2.
        """
        return await self._views.list_documents(caller, query, answer)

    async def retrieve_document(
        self,
        caller: Caller,
        query: DocumentQuery,
        *,
        answer: Callable[[DocumentOutcome], OutboxRow] | None = None,
    ) -> DocumentOutcome:
        """Return one document with its content; ``answer`` as for `list_documents`. Raises: `StoreError`.

        Spec: 20 §13, 40 §7.2.
        """
        return await self._views.retrieve_document(caller, query, answer)

    async def retrieve_record(self, caller: Caller, query: SubjectAccessQuery) -> SubjectAccessOutcome:
        """Return every event with its document, and raise an alert. Raises: `StoreError`. Spec: 20 §10.5."""
        return await self._views.retrieve_record(caller, query)

    async def check_scr_permissions(self, caller: Caller, query: ScrPermissionsQuery) -> ScrPermissionsOutcome:
        """Say whether there is a summary, and what stands in the way of viewing it. Raises: `StoreError`. 20 §11."""
        return await self._views.check_scr_permissions(caller, query)

    async def list_extended(self, caller: Caller, query: EventListQuery) -> ExtendedListOutcome:
        """List a patient's events with their authors' identity; nothing asks for it over the wire. Spec: 20 §11.3."""
        return await self._views.list_extended(caller, query)

    # --- consent ----------------------------------------------------------------------------------------------------

    async def get_consent(self, caller: Caller, query: ConsentQuery) -> ConsentOutcome:
        """Return the stored consent; of a merged number that of its survivor. Raises: `StoreError`. Spec: 30 §9.1."""
        return await self._tell_consent(caller, query.ids, query.nhs_number)

    async def has_permissions(self, caller: Caller, query: PermissionQuery) -> PermissionsOutcome:
        """Say of each set what holds for it, of a merged number for its survivor. Raises: `StoreError`. 30 §5.3."""
        told = await self._tell_consent(caller, query.ids, query.nhs_number)
        permissions = tuple([(asked, permission_of(asked, told.consent)) for asked in query.asked])
        if not told.outcome.accepted:
            permissions = ()
        return PermissionsOutcome(told.outcome, told.nhs_number, permissions, told.superseded)

    async def _tell_consent(self, caller: Caller, ids: MessageIds, nhs_number: str) -> ConsentOutcome:
        now = self._clock()

        async def read(transaction: Transaction, number: str) -> tuple[ConsentOutcome, str | None]:
            authorisation = self._policy.authorise(self._directory.snapshot, Operation.GET_CONSENT, caller)
            state = await transaction.read_without_events(number)
            decision = decide_consent_query(state, authorisation, self._rules)
            await transaction.append_audit(
                audit_entry(
                    ids.interaction,
                    decision.outcome,
                    number,
                    now,
                    caller=caller,
                    ids=ids,
                    authorisation=authorisation,
                    reason=decision.reason,
                    details=decision.notes,
                )
            )
            return ConsentOutcome(decision.outcome, number, state.consent), survivor_of(state)

        asked, superseded = nhs_number, False
        for _ in range(MOST_MERGERS):
            # A survivor is another patient in another slot: a transaction of its own.
            foreseen = Foreseen(asked, events=False)
            answer, survivor = await self._store.transact(slot_of(asked), partial(read, number=asked), foreseen)
            if survivor is None or not answer.outcome.accepted:
                return replace(answer, superseded=superseded)
            asked, superseded = survivor, True
        # The index leads round in a circle: nobody's consent is told for that of nobody.
        outcome = refuse("30307", "merged").outcome
        await self.audit_refusal(caller, ids, outcome, reason="merged_without_end", nhs_number=nhs_number)
        return ConsentOutcome(outcome, nhs_number)

    # --- refusals before any verb -----------------------------------------------------------------------------------

    async def audit_refusal(
        self,
        caller: Caller,
        ids: MessageIds,
        outcome: Outcome,
        *,
        reason: str,
        nhs_number: str | None,
        answer: OutboxRow | None = None,
    ) -> None:
        """Keep that a request was refused before it reached a verb: who tried, and why not. Spec: 35 §7, §9.4.

        ``answer`` delivers the refusal to who does not wait for it; it is in the slot of the number, else of the party.
        """
        now = self._clock()
        known = nhs_number if nhs_number is not None and has_ten_digits(nhs_number) else None
        entry = audit_entry(ids.interaction or "unknown", outcome, known, now, caller=caller, ids=ids, reason=reason)

        async def work(transaction: Transaction) -> None:
            await transaction.append_audit(entry)
            if answer is not None:
                await transaction.append_outbox(answer)

        await self._store.transact(slot_of(known or caller.party_key or caller.certificate or ""), work)


def _foreseen(
    reception: Reception, caller: Caller, ids: MessageIds, nhs_number: str | None, request: Update | None
) -> Foreseen:
    """Return what an updating message will have us ask for."""
    named = _concerned(request) if isinstance(request, (Upload, Withdrawal)) else None
    seen = tuple({ids.message_id.upper(), ids.transport_id.upper()} - {""})
    return Foreseen(nhs_number, reception.from_party, reception.message_id, caller.asid, seen, named is not None, named)


def _concerned(request: Upload | Withdrawal) -> tuple[str, ...]:
    """Return the ids of the events that a decision looks at besides the current one. Spec: 10 §15 steps 7-9."""
    if isinstance(request, Upload):
        return (request.event_id, *request.replaces[:1])
    return (request.target,) if request.target else ()


async def _answered(transaction: Transaction, reception: Reception, known: Receipt) -> Received:
    """Answer a message as it was answered before; a polling client is led to the result of the first time."""
    if reception.poll is None:
        return Received(known.signal, known.signal_status)
    token = await _offer(transaction, reception.poll, known.signal, reception.received_at)
    return Received(known.signal, known.signal_status, token=token)


async def _offer(transaction: Transaction, poll: PollResult, content: bytes, now: datetime) -> str:
    """Let a result be fetched from now on for its full time; return its token, the one that is in force if one is."""
    known = await transaction.poll_result_of(poll.from_party, poll.message_id)
    if known is not None and known.expires_at > now:
        # Who first showed no ASID, and shows one now, will show it when asking as well.
        result = replace(known, expires_at=poll.expires_at, asid=known.asid or poll.asid)
    else:
        result = replace(poll, content=content)
    await transaction.keep_poll_result(result)
    return result.token
