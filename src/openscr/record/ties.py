"""How those who would look stand to a patient: which records hold for whom at an instant.

Spec: 35 §6, §9.4; 20 §10.1; 70 §9.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from openscr.access.policy import Authorisation, Ties
from openscr.standing import SELF_CLAIMED, Holder, HolderKind, StandingKind
from openscr.store.interface import Patient, StandingRow, Transaction


def ties_of(state: Patient, rows: tuple[StandingRow, ...], authorisation: Authorisation, now: datetime) -> Ties:
    """Return how those who were authorised stand to the patient. Spec: 35 §6, 20 §10.1."""
    permission, relationship = in_force_for_role(rows, authorisation, now)
    return Ties(
        relationship=relationship.id if relationship else "",
        permission=permission.id if permission else "",
        registered=is_registered(state, authorisation.organisation),
    )


def is_registered(state: Patient, organisation: str) -> bool:
    """Whether the patient is registered at this practice: a relationship of its own. Spec: 20 §10.1, 80 §3."""
    practice = state.index.demographics.get("practice") if state.index is not None else None
    return bool(organisation) and practice == organisation


def holders_of_role(authorisation: Authorisation) -> frozenset[Holder]:
    """Return everybody whose records count for those who were authorised: role profile and organisation."""
    found = {Holder(HolderKind.ORGANISATION, authorisation.organisation)}
    if authorisation.person is not None:
        found.add(Holder(HolderKind.ROLE_PROFILE, authorisation.person.role_profile_id))
    return frozenset(found)


def in_force_for_role(
    rows: Sequence[StandingRow], authorisation: Authorisation, now: datetime
) -> tuple[StandingRow | None, StandingRow | None]:
    """Return the permission and the relationship in force for those who were authorised. Spec: 70 §9, 35 §6."""
    user_id = authorisation.person.user_id if authorisation.person else None
    return in_force(rows, holders_of_role(authorisation), now, user_id)


def in_force(
    rows: Sequence[StandingRow], holders: frozenset[Holder], now: datetime, user_id: str | None
) -> tuple[StandingRow | None, StandingRow | None]:
    """Return the permission and the relationship in force for these holders; ``user_id`` as in `find_in_force`."""
    permission = find_in_force(rows, StandingKind.PERMISSION, holders, now, user_id)
    return permission, find_in_force(rows, StandingKind.RELATIONSHIP, holders, now, user_id)


def find_in_force(
    rows: Sequence[StandingRow], kind: StandingKind, holders: frozenset[Holder], now: datetime, user_id: str | None
) -> StandingRow | None:
    """Return the newest record that holds for one of these holders, or none.

    A relationship that the user of ``user_id`` gave to all around himself is none of his own. Spec: 35 §6.
    """

    def counts(row: StandingRow) -> bool:
        # Who gives one to everybody around him has given it to himself; without a claim nobody would be alerted.
        to_himself = user_id is not None and row.user_id == user_id and kind is StandingKind.RELATIONSHIP
        return not to_himself or is_claim(row)

    found = (row for row in rows if row.kind is kind and row.holder in holders and row.in_force(now) and counts(row))
    return next(found, None)


def is_claim(row: StandingRow) -> bool:
    """Whether somebody claimed a relationship for himself, which raised an alert. Spec: 35 §6."""
    own = Holder(HolderKind.ROLE_PROFILE, row.role_profile_id or "")
    return row.kind is StandingKind.RELATIONSHIP and (row.reason == SELF_CLAIMED or row.holder == own)


async def end_permissions(transaction: Transaction, nhs_number: str, now: datetime, by: str) -> None:
    """End every permission of a patient, because the patient dissents. Spec: 70 §9 "end"."""
    for row in await transaction.read_standings(nhs_number, now):
        if row.kind is StandingKind.PERMISSION:
            await transaction.end_standing(replace(row, ended_at=now, ended_by=by))
