"""In which one role a user acts: the header, else the role chosen at sign-in, else the only role.

The roles are those that the identity provider tells of; for users who signed in elsewhere (separate login) it tells of
none, and the role is looked up in our directory, where it must be theirs. A role that the directory knows as closed, or
as somebody else's, is nobody's.

Spec: 35 §4.2, §4.4; 60 §4.3, §13.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from openscr.access import refusals
from openscr.access.refusals import RequestRefused
from openscr.access.tokens import is_role_id, shown_name
from openscr.directory.model import Directory, Role
from openscr.identifiers import ACTIVITY, JOB_ROLE, ODS_CODE


@dataclass(frozen=True, slots=True)
class UserInfo:
    """What a provider says of a user: name, and roles by role profile id."""

    name: str
    roles: Mapping[str, Role]


def read_userinfo(document: Mapping[str, Any], user_id: str) -> UserInfo:
    """Read the claims of 35 §4.2. Raises: `RequestRefused`: another user's claims, or roles that cannot be read."""
    # The first must be there: claims that are nobody's are not this user's. OpenID Connect Core §5.3.2.
    if document.get("sub") != user_id or document.get("nhsid_useruid", user_id) != user_id:
        raise RequestRefused(refusals.TOKEN_OF_ANOTHER)
    claim = document.get("nhsid_nrbac_roles", [])
    if not isinstance(claim, list):
        raise RequestRefused(refusals.ROLES_MALFORMED)
    roles: dict[str, Role] = {}
    for entry in claim:
        role = _read_role(entry)
        if role.role_profile_id in roles:
            # Two accounts of one role: which of them is true, nobody can say.
            raise RequestRefused(refusals.ROLES_MALFORMED)
        roles[role.role_profile_id] = role
    return UserInfo(shown_name(document.get("name") or document.get("display_name")), roles)


def _read_role(entry: object) -> Role:
    if not isinstance(entry, dict):
        raise RequestRefused(refusals.ROLES_MALFORMED)
    role_id, code, ods = entry.get("person_roleid"), entry.get("role_code", ""), entry.get("org_code")
    codes = entry.get("activity_codes", [])
    readable = (
        isinstance(role_id, str)
        and is_role_id(role_id)
        and isinstance(code, str)
        and (not code or JOB_ROLE.fullmatch(code))
        and isinstance(ods, str)
        and ODS_CODE.fullmatch(ods)
        and isinstance(codes, list)
        and all(isinstance(each, str) for each in codes)
    )
    if not readable:
        raise RequestRefused(refusals.ROLES_MALFORMED)
    return Role(str(role_id), str(code), str(ods), frozenset(each for each in codes if ACTIVITY.fullmatch(each)))


def choose_role(
    info: UserInfo | None, *, user_id: str, stated: str | None, selected: str, directory: Directory, today: date
) -> Role:
    """Return the active role. ``stated`` is the header, ``selected`` the role chosen at sign-in (empty: none).

    ``info`` is none when the provider tells nothing of this user. Raises: `RequestRefused` with one of the texts of
    35 §4.4.
    """
    if stated is not None and not is_role_id(stated):
        raise RequestRefused(refusals.NOT_THEIR_ROLE)
    if info is None:
        return _from_directory(directory, user_id, stated, selected, today)
    if not info.roles:
        raise RequestRefused(refusals.NO_ROLES)
    usable = {name: role for name, role in info.roles.items() if _fits(directory, user_id, name, today)}
    wanted = stated or selected
    if not wanted:
        if not usable:
            raise RequestRefused(refusals.ONLY_ROLES_CLOSED)
        if len(usable) > 1:
            raise RequestRefused(refusals.SEVERAL_ROLES)
        wanted = next(iter(usable))
    if wanted not in info.roles:
        raise RequestRefused(refusals.NOT_THEIR_ROLE if stated else refusals.NO_ROLES)
    if wanted not in usable:
        raise RequestRefused(refusals.ROLE_CLOSED if stated else refusals.ONLY_ROLES_CLOSED)
    return _with_code(usable[wanted], directory)


def _from_directory(directory: Directory, user_id: str, stated: str | None, selected: str, today: date) -> Role:
    wanted = stated or selected
    if not wanted:
        raise RequestRefused(refusals.ROLE_NOT_IN_TOKEN)
    found = directory.role(wanted)
    if found is None or found[0].user_id != user_id:
        raise RequestRefused(refusals.NOT_THEIR_ROLE if stated else refusals.NO_ROLES)
    if found[1].has_closed(today):
        raise RequestRefused(refusals.ROLE_CLOSED if stated else refusals.ONLY_ROLES_CLOSED)
    return found[1]


def _fits(directory: Directory, user_id: str, role_id: str, today: date) -> bool:
    """Whether the directory has nothing against this user acting in this role; it need not know either."""
    found = directory.role(role_id)
    return found is None or (found[0].user_id == user_id and not found[1].has_closed(today))


def _with_code(role: Role, directory: Directory) -> Role:
    """Return the role with its job role; the directory's where the provider gives none. Spec: 35 §4.4, 60 §13."""
    if role.job_role:
        return role
    found = directory.role(role.role_profile_id)
    if found is None or not found[1].job_role:
        raise RequestRefused(refusals.ROLES_MALFORMED)
    return Role(role.role_profile_id, found[1].job_role, role.ods, role.activities)
