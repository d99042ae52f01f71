"""Permission to view and legitimate relationship over HTTP: record, claim, end, ask.

NHS numbers stand in bodies, never in a URL. The ``id`` of a request is its idempotency key: the same request again is
answered with the same record. Times are ISO 8601 with a zone.

Spec: 35 §6; 70 §6.3, §6.4, §9; 80 §4.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from openscr.access.refusals import Refusal, RequestRefused
from openscr.faces.governance.exchange import Asked, Endpoint, respond
from openscr.faces.governance.refusals import FORBIDDEN, invalid, refuse
from openscr.identifiers import Clock, UuidFactory, is_nhs_number
from openscr.spine import MessageIds, Outcome
from openscr.standing import (
    EXPRESS_CONSENT,
    SELF_CLAIMED,
    Basis,
    Holder,
    HolderKind,
    PermissionRequest,
    RecordedOutcome,
    RelationshipRequest,
    StandingEnd,
    StandingQuery,
    StandingRecord,
    Standings,
    mistakes,
)

_Id = Annotated[str, Meta(pattern=r"^[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}\Z")]
_Time = Annotated[datetime, Meta(tz=True)]
_HolderId = Annotated[str, Meta(pattern=r"^[0-9A-Z]{3,12}\Z")]

INVALID_NUMBER: Final = Refusal(400, "value", "INVALID_NHS_NUMBER", "NHS number invalid", "invalid_nhs_number")


class _Patient(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    nhs_number: str


class _Permission(_Patient, kw_only=True):
    id: _Id | None = None
    scope: Literal["me", "organisation"] = "me"
    basis: Literal["asked", "emergency"] = "asked"
    reason: str = EXPRESS_CONSENT
    text: str = ""
    starts_at: _Time | None = None
    hours: float | None = None


class _Holder(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    kind: Literal["role_profile", "organisation", "workgroup"]
    id: _HolderId


class _Relationship(_Patient, kw_only=True):
    id: _Id | None = None
    holder: _Holder | None = None
    reason: str = SELF_CLAIMED
    alert_reason: str = "6"
    text: str = ""
    starts_at: _Time | None = None
    hours: float | None = None


class _End(_Patient, kw_only=True):
    id: _Id


class StandingEndpoints:
    """The routes; ``standings`` keeps the records."""

    def __init__(self, standings: Standings, clock: Clock, mint: UuidFactory) -> None:
        self._standings = standings
        self._clock = clock
        self._mint = mint

    def endpoints(self, prefix: str) -> tuple[Endpoint, ...]:
        """Return the routes under a prefix."""
        return (
            Endpoint("POST", f"{prefix}/permissions", self.permit),
            Endpoint("POST", f"{prefix}/relationships", self.relate),
            Endpoint("POST", f"{prefix}/standing", self.standing),
            Endpoint("POST", f"{prefix}/standing/end", self.end),
        )

    async def permit(self, asked: Asked) -> Response:
        """Record a permission to view: 201, or 200 when it was there before. Spec: 70 §6.4, 80 §4."""
        form = asked.read(_Permission)
        scope = HolderKind.ORGANISATION if form.scope == "organisation" else HolderKind.ROLE_PROFILE
        request = PermissionRequest(
            self._ids(asked, form.id),
            _number(form),
            scope,
            Basis(form.basis),
            form.reason,
            form.text,
            form.starts_at,
            form.hours,
        )
        self._check(request)
        return _recorded(await self._standings.record_permission(asked.caller, request))

    async def relate(self, asked: Asked) -> Response:
        """Record a legitimate relationship; without a holder it is claimed, and an alert raised. Spec: 35 §6."""
        form = asked.read(_Relationship)
        holder = Holder(HolderKind(form.holder.kind), form.holder.id) if form.holder else None
        request = RelationshipRequest(
            self._ids(asked, form.id),
            _number(form),
            holder,
            form.reason,
            form.alert_reason,
            form.text,
            form.starts_at,
            form.hours,
        )
        self._check(request)
        return _recorded(await self._standings.record_relationship(asked.caller, request))

    async def standing(self, asked: Asked) -> Response:
        """Tell what is in force between the acting role and a patient. Spec: 70 §6.3."""
        found = await self._standings.standing(asked.caller, StandingQuery(asked.ids, _number(asked.read(_Patient))))
        return _refused(found.outcome) or respond(
            {
                "permission": _shown(found.permission),
                "relationship": _shown(found.relationship),
                "registered": found.registered,
            }
        )

    async def end(self, asked: Asked) -> Response:
        """End a permission or a relationship before its time: 204."""
        form = asked.read(_End)
        outcome = await self._standings.end(asked.caller, StandingEnd(asked.ids, _number(form), form.id))
        return _refused(outcome) or Response(status_code=204)

    def _ids(self, asked: Asked, id: str | None) -> MessageIds:
        return replace(asked.ids, message_id=(id or self._mint()).upper())

    def _check(self, request: PermissionRequest | RelationshipRequest) -> None:
        said = mistakes(request, self._clock())
        if said:
            raise RequestRefused(invalid("; ".join(said)))


def _number(form: _Patient) -> str:
    number = form.nhs_number.replace(" ", "")
    if not is_nhs_number(number):
        raise RequestRefused(INVALID_NUMBER)
    return number


def _refused(outcome: Outcome) -> Response | None:
    """Return the answer to what the record refused, and has audited already; none when it accepted. 60 §11.1."""
    if outcome.accepted:
        return None
    if outcome.issues and outcome.issues[0].code == "420":
        return refuse(FORBIDDEN)
    return refuse(invalid(";".join(f"Code: {issue.code}, Display: {issue.display}" for issue in outcome.issues)))


def _recorded(told: RecordedOutcome) -> Response:
    return _refused(told.outcome) or respond(_shown(told.record), 200 if told.repeated else 201)


def _shown(record: StandingRecord | None) -> Mapping[str, Any] | None:
    if record is None:
        return None
    return {
        "id": record.id,
        "kind": record.kind.value,
        "holder": {"kind": record.holder.kind.value, "id": record.holder.id},
        "reason": record.reason,
        "starts_at": record.starts_at,
        "ends_at": record.ends_at,
        "emergency": record.emergency,
        "claimed": record.claimed,
    }
