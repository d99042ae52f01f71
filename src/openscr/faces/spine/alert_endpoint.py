"""Privacy alerts as FHIR JSON: an AuditEvent posted, checked, stored; every refusal is an OperationOutcome.

The sender is the ASID that the header shows, else the one in the event; it must be the certificate's and be entitled to
raise alerts. Headers that name a user are held to the directory; without them the user is the one whom the event names,
taken at the sender's word where unknown authors are accepted at all.

Spec: 40 §2, 60 §8.2, §12.5; 35 §6.1, §9.2.
"""

import hashlib
from dataclasses import replace
from enum import StrEnum
from typing import Final

import structlog

from openscr.access.registration import check_sender
from openscr.admission.work import Shed
from openscr.codes import ALERT, ALERT_FHIR
from openscr.directory.model import System
from openscr.errors import AccessRefused, Overloaded, WireError
from openscr.faces.spine.arrival import caller_at
from openscr.faces.spine.context import SpineContext, parties_behind
from openscr.faces.spine.exchange import Handled, Reply, Request
from openscr.fhir.audit_event import AuditEvent, alert_of, check_audit_event, read_audit_event
from openscr.fhir.operation_outcome import MEDIA_TYPE, write_outcome
from openscr.identifiers import has_ten_digits
from openscr.record.record import Reception
from openscr.spine import AckType, MessageIds, Outcome, Person
from openscr.store.interface import RawMessage
from openscr.transport.polling import ASID_HEADER, REQUEST_HEADER, ROLE_HEADER, USER_HEADER

_log = structlog.get_logger("spine.alert")

_MEDIA_TYPES: Final = frozenset({"application/fhir+json", "application/json", "application/json+fhir"})
_ASID, _USER, _ROLE, _REQUEST = (
    name.lower().encode() for name in (ASID_HEADER, USER_HEADER, ROLE_HEADER, REQUEST_HEADER)
)
LONGEST_ID: Final = 64
"""Characters of an id in a header, or of an unregistered ASID, that are kept."""

_NOT_ENTITLED: Final = "The sender's ASID is not authorised for this interaction"


class Failure(StrEnum):
    """Why a request ends before it was looked at, as `refuse_failed` tells it."""

    STRANGER = "stranger"
    TOO_LARGE = "too-large"
    CUT_OFF = "cut-off"
    STORE = "store"
    STORE_FULL = "store-full"
    UNEXPECTED = "unexpected"


_SOON: Final = "1"
"""Seconds after which an alert may be sent again that could not be stored."""

_STORE: Final = (503, "transient", "SERVICE_UNAVAILABLE", "The service cannot store alerts now; send it again")
_FAILURES: Final = {
    Failure.STRANGER: (403, "forbidden", "ACCESS_DENIED", "The certificate belongs to no registered party"),
    Failure.TOO_LARGE: (413, "too-long", "INVALID_VALUE", "The body is larger than {limit} bytes"),
    Failure.CUT_OFF: (400, "value", "INVALID_VALUE", "The body ended before its announced length"),
    Failure.STORE: _STORE,
    Failure.STORE_FULL: _STORE,
    Failure.UNEXPECTED: (500, "exception", "UNKNOWN_ERROR", "Unknown Error"),
}


def refuse(status: int, issue: str, code: str, display: str, *, close: bool = False) -> Reply:
    """Make a refusal with an OperationOutcome. Spec: 60 §12.5."""
    severity = "fatal" if status == 500 else "error"
    return Reply(status, write_outcome(issue, code, display, severity=severity), MEDIA_TYPE.encode(), close=close)


def refuse_failed(failure: Failure, limit: int) -> Reply:
    """Make the answer to a request that ended before it was looked at. Spec: 60 §12.5."""
    status, issue, code, display = _FAILURES[failure]
    broken = failure in (Failure.TOO_LARGE, Failure.CUT_OFF)
    refused = refuse(status, issue, code, display.format(limit=limit), close=broken)
    return replace(refused, headers=(("retry-after", _SOON),)) if status == 503 else refused


def refuse_overloaded(overload: Overloaded) -> Reply:
    """Make the answer to an alert that is not taken on now; 429 if its sender is too fast. Spec: 90 §6.3, 60 §4.2."""
    again = (("retry-after", str(overload.retry_after)),)
    if overload.reason in (Shed.SENDER_RATE, Shed.SYSTEM_RATE):
        return replace(refuse(429, "throttled", "TOO_MANY_REQUESTS", "Too many requests"), headers=again)
    return replace(
        refuse(503, "transient", "SERVICE_UNAVAILABLE", "The service is busy; send the alert again"), headers=again
    )


class AlertEndpoint:
    """Handles the path of alerts in FHIR."""

    def __init__(self, context: SpineContext) -> None:
        self._context = context

    async def handle(self, request: Request) -> Handled:
        """Answer an alert: 200 with an empty body, or an OperationOutcome. Raises: `StoreError`, `Overloaded`."""
        media_type = (request.header(b"content-type") or "").partition(";")[0].strip().lower()
        if media_type not in _MEDIA_TYPES:
            text = f"The content type of an alert is {MEDIA_TYPE}"
            return Handled(ALERT_FHIR, "415", refuse(415, "not-supported", "INVALID_VALUE", text))
        try:
            event = read_audit_event(request.body)
        except WireError as error:
            return _invalid(error.diagnostics, request)
        try:
            system = self._check_sender(event, request)
        except AccessRefused as refused:
            await self._audit(event, request, refused.diagnostics, Outcome(AckType.REJECTED))
            return Handled(ALERT_FHIR, "403", refuse(403, "forbidden", "ASID_CHECK_FAILED", _NOT_ENTITLED))
        self._context.admission.check_system(system.asid)
        failed = check_audit_event(event)
        if failed is not None:
            await self._audit(event, request, "invalid", Outcome(AckType.REJECTED), system)
            return _invalid(failed, request)
        return await self._receive(event, request, system)

    def _check_sender(self, event: AuditEvent, request: Request) -> System:
        """Return the registered system that sends. Raises: `AccessRefused`. Spec: 35 §3.2, §9.1."""
        directory = self._context.directory.snapshot
        parties = parties_behind(directory, request.peer.certificate)
        asid = _asid(event, request)
        return check_sender(directory, asid=asid, service="alerts", interaction=ALERT, parties=parties)

    async def _audit(
        self, event: AuditEvent, request: Request, reason: str, outcome: Outcome, system: System | None = None
    ) -> None:
        asid = _asid(event, request)
        registered = system or self._context.directory.snapshot.systems.get(asid)
        party_key = registered.party_key if registered else ""
        caller = caller_at(request.peer, asid if registered else asid[:LONGEST_ID], party_key, _person(request))
        await self._context.record.audit_refusal(caller, _ids(request), outcome, reason=reason, nhs_number=None)

    async def _receive(self, event: AuditEvent, request: Request, system: System) -> Handled:
        context = self._context
        alert = alert_of(event, _ids(request))
        digest = hashlib.sha256(request.body)
        # One request id with one content is one alert, however often it comes; without an id each is its own.
        key = alert.ids.transport_id or context.mint()
        received = await context.record.receive(
            Reception(
                from_party=system.party_key,
                message_id=f"FHIR {key} {digest.hexdigest()}",
                raw=RawMessage(request.body, 0, len(request.body)),
                received_at=context.clock(),
                signal_status=200,
                digest=digest.digest(),
                reply=_refusal,
            ),
            caller_at(request.peer, system.asid, system.party_key, _person(request)),
            alert.ids,
            alert,
            nhs_number=alert.nhs_number if has_ten_digits(alert.nhs_number) else None,
        )
        outcome = received.outcome.code if received.outcome is not None else "duplicate"
        if received.outcome is None:
            context.metrics.duplicate(ALERT_FHIR)
        if not received.signal:
            return Handled(ALERT_FHIR, outcome, Reply(200, content_type=None))
        return Handled(ALERT_FHIR, outcome, Reply(403, received.signal, MEDIA_TYPE.encode()))


def _refusal(outcome: Outcome) -> bytes:
    """Write what the record says: nothing when the alert is kept."""
    if outcome.accepted:
        return b""
    return write_outcome("forbidden", "ACCESS_DENIED", outcome.issues[-1].display)


def _invalid(text: str, request: Request) -> Handled:
    # The text may name values of the event: it is for the sender alone.
    _log.info("alert refused", reason="invalid", correlation_id=request.correlation_id)
    return Handled(ALERT_FHIR, "400", refuse(400, "value", "INVALID_VALUE", text))


def _asid(event: AuditEvent, request: Request) -> str:
    return (request.header(_ASID) or "").strip() or event.asid


def _person(request: Request) -> Person | None:
    """Return the user whom the headers name. Spec: 35 §9.2."""
    role, user = request.header(_ROLE), request.header(_USER)
    return Person(user[:LONGEST_ID], role[:LONGEST_ID], "") if role and user else None


def _ids(request: Request) -> MessageIds:
    request_id = (request.header(_REQUEST) or "").strip()[:LONGEST_ID]
    return MessageIds("", ALERT_FHIR, request_id, request.correlation_id)
