"""Privacy alerts over HTTP: search, open, change, and who is told of new ones.

A list masks patients and leaves out what users wrote; an opened alert tells both. An alert that the officer may not
handle is answered like one that does not exist.

Spec: 80 §5.3; 35 §6, §9.3.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from starlette.responses import Response

from openscr.access.refusals import RequestRefused
from openscr.codes import ALERT_REASONS, ALERT_TYPES
from openscr.faces.governance.exchange import Asked, Endpoint, respond
from openscr.faces.governance.refusals import FORBIDDEN, invalid, refuse
from openscr.record.alerts import (
    LARGEST_PAGE,
    Alerts,
    AlertSearch,
    AlertState,
    AlertStep,
    AlertStepped,
    StepResult,
    mistakes,
)
from openscr.record.audit_forms import masked
from openscr.record.subscriptions import Channel, Subscriptions
from openscr.store.alert_records import AlertChange, AlertRow, Subscription

_Time = Annotated[datetime, Meta(tz=True)]
_Id = Annotated[str, Meta(min_length=1, max_length=64)]
_State = Literal["new", "under-investigation", "closed"]
_CONDITIONS: Final = (
    "A list is asked for by status (new, under-investigation, closed) and type (1, 2), several with commas between, "
    "since and until (2026-11-22T14:30:00Z), page (from 1) and size (to 500)"
)
_STATUS: Final = {StepResult.DENIED: 403, StepResult.CONFLICT: 409, StepResult.NOT_POSSIBLE: 409}


class _Search(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    status: list[_State] = []
    type: list[Literal["1", "2"]] = []
    since: _Time | None = None
    until: _Time | None = None
    page: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    size: Annotated[int, Meta(ge=1, le=LARGEST_PAGE)] = 10


class _Change(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    version: int
    status: _State
    note: str = ""


class _Step(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    id: _Id
    version: int


class _Changes(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    alerts: list[_Step]
    status: _State
    note: str = ""


class _Subscribe(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    channel: Literal["webhook", "email"]
    address: Annotated[str, Meta(min_length=1, max_length=500)]


class AlertEndpoints:
    """The routes; ``alerts`` and ``subscriptions`` decide, keep and audit."""

    def __init__(self, alerts: Alerts, subscriptions: Subscriptions) -> None:
        self._alerts = alerts
        self._subscriptions = subscriptions

    def endpoints(self, prefix: str) -> tuple[Endpoint, ...]:
        """Return the routes under a prefix; fixed paths come before those with an id."""
        place = f"{prefix}/alerts"
        return (
            Endpoint("GET", place, self.listing),
            Endpoint("POST", f"{place}/search", self.search),
            Endpoint("POST", f"{place}/change", self.change_several),
            Endpoint("GET", f"{place}/subscriptions", self.subscriptions),
            Endpoint("POST", f"{place}/subscriptions", self.subscribe),
            Endpoint("DELETE", f"{place}/subscriptions/{{id}}", self.unsubscribe),
            Endpoint("GET", f"{place}/{{id}}", self.open),
            Endpoint("POST", f"{place}/{{id}}", self.change),
        )

    async def listing(self, asked: Asked) -> Response:
        """Tell a page of alerts by conditions after the path: ``?status=new&type=2&page=1&size=10``. Spec: 80 §5.3."""
        said: dict[str, Any] = dict(asked.query)
        for name in ("status", "type"):
            if name in said:
                said[name] = said[name].split(",")
        try:
            return await self._search(asked, msgspec.convert(said, _Search, strict=False))
        except msgspec.ValidationError:
            # What the library says repeats what was written there.
            raise RequestRefused(invalid(_CONDITIONS)) from None

    async def search(self, asked: Asked) -> Response:
        """Tell a page of alerts by conditions in the body. Spec: 80 §5.3."""
        return await self._search(asked, asked.read(_Search))

    async def _search(self, asked: Asked, form: _Search) -> Response:
        states = tuple(AlertState(each) for each in form.status)
        wanted = AlertSearch(states, tuple(form.type), form.since, form.until, form.page, form.size)
        page = await self._alerts.search(asked.caller, asked.ids, wanted)
        if not page.outcome.accepted:
            return refuse(FORBIDDEN)
        listed = [_listed(alert) for alert in page.alerts]
        return respond({"alerts": listed, "total": page.total, "unclosed": page.unclosed, "page": form.page})

    async def open(self, asked: Asked) -> Response:
        """Tell one alert with the steps of its life. Spec: 80 §5.3."""
        opened = await self._alerts.open(asked.caller, asked.ids, asked.path["id"])
        if opened.alert is None:
            return refuse(FORBIDDEN)
        return respond({**_shown(opened.alert), "history": [_changed(each) for each in opened.changes]})

    async def change(self, asked: Asked) -> Response:
        """Take one alert to another state: 409 when somebody was faster, or it does not lead there. Spec: 80 §5.3."""
        form = asked.read(_Change)
        steps = [AlertStep(asked.path["id"], form.version)]
        (stepped,) = await self._change(asked, steps, form.status, form.note)
        if stepped.result is StepResult.DENIED:
            return refuse(FORBIDDEN)
        return respond(_stepped(stepped), _STATUS.get(stepped.result, 200))

    async def change_several(self, asked: Asked) -> Response:
        """Take several alerts to another state, and tell of each how that ended. Spec: 80 §5.3."""
        form = asked.read(_Changes)
        steps = [AlertStep(each.id, each.version) for each in form.alerts]
        stepped = await self._change(asked, steps, form.status, form.note)
        return respond({"alerts": [_stepped(each) for each in stepped]})

    async def _change(self, asked: Asked, steps: list[AlertStep], to: str, note: str) -> tuple[AlertStepped, ...]:
        said = mistakes(steps, AlertState(to), note)
        if said:
            raise RequestRefused(invalid("; ".join(said)))
        return await self._alerts.change(asked.caller, asked.ids, steps, AlertState(to), note)

    async def subscriptions(self, asked: Asked) -> Response:
        """Tell who is told of the organisation's alerts; secrets are not told again."""
        told = await self._subscriptions.list(asked.caller, asked.ids)
        if not told.outcome.accepted:
            return refuse(FORBIDDEN)
        return respond({"subscriptions": [_subscription(each) for each in told.subscriptions]})

    async def subscribe(self, asked: Asked) -> Response:
        """Register an address that is told of new alerts: 201; a webhook's secret is told now and never again."""
        form = asked.read(_Subscribe)
        channel = Channel(form.channel)
        fault = self._subscriptions.reachable.fault(channel, form.address)
        if fault:
            raise RequestRefused(invalid(fault))
        told = await self._subscriptions.subscribe(asked.caller, asked.ids, channel, form.address)
        if not told.outcome.accepted:
            return refuse(FORBIDDEN)
        (made,) = told.subscriptions
        secret = {"secret": made.secret} if made.secret else {}
        return respond({**_subscription(made), **secret}, 201)

    async def unsubscribe(self, asked: Asked) -> Response:
        """Forget an address of the organisation: 204."""
        told = await self._subscriptions.remove(asked.caller, asked.ids, asked.path["id"])
        return Response(status_code=204) if told.outcome.accepted else refuse(FORBIDDEN)


def _listed(alert: AlertRow) -> dict[str, Any]:
    return {
        "id": alert.id,
        "raised_at": alert.raised_at,
        "status": alert.state,
        "version": alert.version,
        "type": alert.type,
        "type_display": ALERT_TYPES.get(alert.type, ""),
        "reason": alert.reason,
        "reason_display": ALERT_REASONS.get(alert.reason, ""),
        "user": alert.user_id or alert.details.get("user/id", ""),
        "organisation": alert.organisation,
        "source": alert.source,
        "patient": masked(alert.nhs_number),
    }


def _shown(alert: AlertRow) -> dict[str, Any]:
    return {
        **_listed(alert),
        "patient": alert.nhs_number,
        "role_profile": alert.role_profile_id or "",
        "job_role": alert.job_role or "",
        "system": alert.asid,
        "text": alert.text,
        "details": dict(alert.details),
    }


def _changed(change: AlertChange) -> dict[str, Any]:
    return {
        "version": change.version,
        "changed_at": change.changed_at,
        "from": change.from_state,
        "to": change.to_state,
        "note": change.note,
        "user": change.user_id,
        "role_profile": change.role_profile_id,
    }


def _stepped(stepped: AlertStepped) -> Mapping[str, Any]:
    alert = stepped.alert
    now = {"status": alert.state, "version": alert.version} if alert is not None else {}
    return {"id": stepped.alert_id, "result": stepped.result.value, **now}


def _subscription(subscription: Subscription) -> dict[str, Any]:
    return {
        "id": subscription.id,
        "organisation": subscription.organisation,
        "channel": subscription.kind,
        "address": subscription.address,
        "types": subscription.types,
        "user": subscription.user_id,
        "created_at": subscription.created_at,
    }
