"""Alerts, the steps of their life, subscriptions and notices: between the rows of the interface and their columns.

As `openscr.store.rows`. Spec: 35 §6.1; 80 §5.3.
"""

from dataclasses import replace

import msgspec

from openscr.errors import StoreError
from openscr.store.alert_records import AlertChange, AlertRow, Notice, Subscription
from openscr.store.rows import (
    Row,
    Values,
    from_microseconds,
    optional_time,
    read_optional_time,
    read_texts,
    to_microseconds,
    write_json,
)


def alert_values(alert: AlertRow) -> Values:
    """Return the columns of a privacy alert."""
    return (
        alert.id,
        alert.nhs_number,
        alert.type,
        alert.reason,
        alert.text,
        to_microseconds(alert.raised_at),
        alert.asid,
        alert.organisation,
        alert.user_id,
        alert.role_profile_id,
        alert.job_role,
        alert.state,
        alert.source,
        write_json(dict(alert.details)),
        alert.version,
    )


def read_alert(row: Row) -> AlertRow:
    """Return a privacy alert. Raises: `StoreError` or `OverflowError` when it is damaged."""
    *columns, details, version = row
    id, nhs_number, type, reason, text, raised_at, *rest = columns
    try:
        known = read_texts(details)
    except msgspec.MsgspecError as error:
        raise StoreError("the stored row is damaged") from error
    alert = AlertRow(id, nhs_number, type, reason, text, from_microseconds(raised_at), *rest)
    return replace(alert, details=known, version=version)


def change_values(change: AlertChange) -> Values:
    """Return the columns of a step in an alert's life."""
    return (
        change.alert_id,
        change.version,
        to_microseconds(change.changed_at),
        change.from_state,
        change.to_state,
        change.note,
        change.user_id,
        change.role_profile_id,
        change.organisation,
    )


def read_change(row: Row) -> AlertChange:
    """Return a step in an alert's life. Raises: `OverflowError` when it is damaged."""
    alert_id, version, changed_at, *rest = row
    return AlertChange(alert_id, version, from_microseconds(changed_at), *rest)


def subscription_values(subscription: Subscription) -> Values:
    """Return the columns of a subscription."""
    return (
        subscription.id,
        subscription.organisation,
        subscription.kind,
        subscription.address,
        subscription.secret,
        " ".join(subscription.types),
        subscription.user_id,
        subscription.role_profile_id,
        to_microseconds(subscription.created_at),
    )


def read_subscription(row: Row) -> Subscription:
    """Return a subscription. Raises: `OverflowError` when it is damaged."""
    id, organisation, kind, address, secret, types, user_id, role_profile_id, created_at = row
    return Subscription(
        id,
        organisation,
        kind,
        address,
        secret,
        tuple(types.split()),
        user_id,
        role_profile_id,
        from_microseconds(created_at),
    )


def notice_values(notice: Notice) -> Values:
    """Return the columns of a notice."""
    return (
        notice.slot,
        notice.alert_id,
        notice.subscription_id,
        notice.organisation,
        notice.type,
        to_microseconds(notice.created_at),
        optional_time(notice.due_at),
        notice.attempts,
        notice.last_error,
    )


def read_notice(row: Row) -> Notice:
    """Return a notice. Raises: `OverflowError` when it is damaged."""
    slot, alert_id, subscription_id, organisation, type, created_at, due_at, attempts, last_error = row
    return Notice(
        slot,
        alert_id,
        subscription_id,
        organisation,
        type,
        from_microseconds(created_at),
        read_optional_time(due_at),
        attempts,
        last_error,
    )
