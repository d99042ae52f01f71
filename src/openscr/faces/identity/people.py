"""What the provider tells of a person: claims, roles with their national names, and how one may sign in.

Names are for people to read; programs use the codes. An activity or role that has no name here is told by its code.

Spec: 35 §4.1, §4.2, §5, §9.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from openscr.directory.model import Directory, Role, User, display_name

SMARTCARD: Final = "N3_SMARTCARD"


@dataclass(frozen=True, slots=True)
class Method:
    """A way to sign in: its name in forms, words for people, ``amr``, assurance level (AAL)."""

    name: str
    words: str
    hint: str
    amr: str
    level: int


METHODS: Final = {
    method.name: method
    for method in (
        Method("smartcard", "Smartcard", "AAL3", SMARTCARD, 3),
        Method("security-key", "Security key or passkey", "AAL3, a modern alternative", "FIDO2", 3),
        Method("authenticator", "Password and authenticator app", "AAL2, a modern alternative", "TOTP", 2),
        Method("password", "Password only", "AAL1, too weak to see a record", "PASSWORD", 1),
    )
}
"""The ways to sign in, the usual one first. Nobody is asked for a card or a password: everybody is invented."""

_LEVELS_OF_ACR: Final = {
    "AAL3_ANY": frozenset({3}),
    "AAL2_OR_AAL3_ANY": frozenset({2, 3}),
    "AAL2_ANY": frozenset({2}),
    "AAL1_USERPASS": frozenset({1}),
}


def acr_of(level: int) -> str:
    """Return the ``acr`` of a sign-in at an assurance level."""
    return "AAL1_USERPASS" if level == 1 else f"AAL{level}_ANY"


def levels_of(acr_values: str) -> frozenset[int]:
    """Return the assurance levels that ``acr_values`` asks for: all, when it names none that we know."""
    named = [_LEVELS_OF_ACR[value] for value in acr_values.split() if value in _LEVELS_OF_ACR]
    return frozenset().union(*named) if named else frozenset({1, 2, 3})


@dataclass(frozen=True, slots=True)
class JobRole:
    """A national job role: its code in full, and what it is called."""

    code: str
    staff_group: str
    sub_group: str
    name: str


_CLINICAL: Final = ("Clinical", "Clinical Provision")
_JOB_ROLES: Final = {
    role.code.rpartition(":")[2]: role
    for role in (
        JobRole("S8000:G8000:R8000", *_CLINICAL, "Clinical Practitioner Access Role"),
        JobRole("S8000:G8000:R8001", *_CLINICAL, "Nurse Access Role"),
        JobRole("S8000:G8000:R8003", *_CLINICAL, "Health Professional Access Role"),
        JobRole("S8001:G8002:R8008", "Admin and Clerical", "Support", "Admin/Clinical Support Access Role"),
        JobRole("S8002:G8003:R0001", "Admin and Clerical", "Management", "Privacy Officer"),
        JobRole("S0080:G0450:R5080", "Admin and Clerical", "Registration Authority", "Registration Authority Manager"),
    )
}  # fmt: skip

_ACTIVITIES: Final = {
    "B0370": "View Summary Health Records",
    "B0360": "View Detailed Health Records",
    "B0380": "Perform Detailed Health Record",
    "B8029": "Manage Detailed Health Records",
    "B0020": "Change Spine Sharing Consent",
    "B0168": "Emergency Access",
    "B0082": "Legal Override of Consent",
    "B0264": "Access SCR Application",
    "B0015": "Receive Emergency View Alerts",
    "B0016": "Receive Self Claimed LR Alerts",
    "B0017": "Receive SAR Refused Alerts",
    "B0011": "View System Logs and Reports",
    "B0062": "Switch GP Summary On or Off",
    "B0090": "Manage Workgroup Membership",
    "B0100": "Manage Workgroups",
    "B1611": "Access Sensitive Flagged Records",
}


def job_role(code: str) -> JobRole:
    """Return the national role of a code, written in full or from its last colon on."""
    return _JOB_ROLES.get(code.rpartition(":")[2]) or JobRole(code, "", "", code)


def activity_name(code: str) -> str:
    """Return what an activity is called."""
    return _ACTIVITIES.get(code, code)


def organisation_name(directory: Directory, ods: str) -> str:
    """Return what an organisation is called: the name of a party of it, else its code."""
    return next((party.name for party in directory.parties.values() if party.ods == ods), ods)


def open_roles(user: User, today: date) -> tuple[Role, ...]:
    """Return the roles that a user may act in."""
    return tuple(role for role in user.roles if not role.has_closed(today))


def name_of(user: User) -> str:
    """Return a user's name for people: the id when the directory has no name."""
    return display_name(user.name) or user.user_id


# --- claims ---------------------------------------------------------------------------------------------------------


def userinfo_claims(directory: Directory, user: User, scopes: Sequence[str], today: date) -> dict[str, Any]:
    """Return what userinfo tells: always who it is, the rest as far as ``scopes`` asks for it. Spec: 35 §4.2."""
    name, roles = user.name, open_roles(user, today)
    family, given = _joined(name.get("family")), _joined(name.get("given"))
    first, _, middle = given.partition(" ")
    claims: dict[str, Any] = {"sub": user.user_id, "nhsid_useruid": user.user_id}
    if "profile" in scopes:
        claims |= {
            "uid": user.user_id,
            "name": name_of(user),
            "display_name": name_of(user),
            "given_name": first,
            "family_name": family,
            "middle_names": middle,
            "initials": "".join(word[0] for word in given.split()),
            "title": _joined(name.get("prefix")),
            "idassurancelevel": "3",
        }
    if "email" in scopes:
        claims["email"] = f"{user.user_id}@people.test"
    organisations = list(dict.fromkeys(role.ods for role in roles))
    memberships = [
        {"person_orgid": _person_in(user, ods), "org_name": organisation_name(directory, ods), "org_code": ods}
        for ods in organisations
    ]
    if "nhsperson" in scopes:
        claims["nhsid_org_memberships"] = memberships
    if "organisationalmemberships" in scopes:
        claims["nhsid_org_roles"] = memberships
    if "associatedorgs" in scopes:
        claims["nhsid_user_orgs"] = [
            {"org_name": organisation_name(directory, ods), "org_code": ods} for ods in organisations
        ]
    if "nationalrbacaccess" in scopes:
        claims["nhsid_nrbac_roles"] = [_role_claims(user, role) for role in roles]
    return {claim: value for claim, value in claims.items() if value not in ("", None)}


def _role_claims(user: User, role: Role) -> dict[str, Any]:
    national, codes = job_role(role.job_role), sorted(role.activities)
    parts = (national.staff_group, national.sub_group, national.name)
    return {
        "person_orgid": _person_in(user, role.ods),
        "person_roleid": role.role_profile_id,
        "org_code": role.ods,
        "role_name": ":".join(f'"{part}"' for part in parts if part),
        "role_code": national.code,
        "activities": [activity_name(code) for code in codes],
        "activity_codes": codes,
    }


def _person_in(user: User, ods: str) -> str:
    """Return the id of a person in an organisation: made up, but always the same 12 digits.

    The directory does not keep it. It continues the ids of the user, behind those of the roles.
    """
    organisations = list(dict.fromkeys(role.ods for role in user.roles))
    number = int(user.user_id) if user.user_id.isdigit() else 0
    return f"{number + 90 + organisations.index(ods):012d}"


def _joined(part: object) -> str:
    return " ".join(map(str, part)) if isinstance(part, list | tuple) else str(part or "")


# --- words for pages ------------------------------------------------------------------------------------------------


def person_words(directory: Directory, user: User, today: date) -> dict[str, Any]:
    """Return what a page says of a person: id, name, and the words of each role."""
    roles = [role_words(directory, role, today) for role in user.roles]
    return {"id": user.user_id, "name": name_of(user), "roles": roles}


def role_words(directory: Directory, role: Role, today: date) -> dict[str, Any]:
    """Return what a page says of a role."""
    return {
        "id": role.role_profile_id,
        "name": job_role(role.job_role).name,
        "organisation": organisation_name(directory, role.ods),
        "ods": role.ods,
        "activities": ", ".join(activity_name(code) for code in sorted(role.activities)),
        "closed": role.has_closed(today),
    }
