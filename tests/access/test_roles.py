"""In which role a user acts: the six texts, the union-of-roles trap, closed roles. Spec: 35 §4.4, §9.6."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from aiohttp import web

from access.verifying import Verifier, verifying
from identity_provider import (
    CLOSED,
    CLOSED_ROLE,
    GP,
    GP_ROLE,
    NURSE,
    NURSE_OTHER_ROLE,
    NURSE_ROLE,
    RECEPTIONIST_ROLE,
    ROLELESS,
    IdentityProvider,
    role_claim,
)
from openscr.access import refusals
from openscr.access.authentication import ROLES_SECONDS
from openscr.access.matrix import Right, load_matrix
from openscr.access.refusals import Refusal, RequestRefused
from openscr.directory.model import Directory

Both = tuple[IdentityProvider, Verifier]

NURSES_ROLES = [
    role_claim(NURSE_ROLE, org_code="RZZ01", role_code="R8001", activity_codes=["B0370", "B0264"]),
    role_claim(NURSE_OTHER_ROLE, org_code="RZZ01", role_code="R8003", activity_codes=["B0570"]),
]

SIX = {
    "several": "multiple roles found in user info, please check NHSD-Session-URID",
    "none": "no userroles available, please check NHSD-Session-URID is valid",
    "not theirs": "NHSD-Session-URID is invalid",
    "malformed": "nhsid_nrbac_roles is misconfigured/invalid",
    "not in the token": "selected_roleid is missing in your token",
    "no user info": "unable to retrieve user info",
}
"""As 35 §4.4 has them, letter by letter."""


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    """A provider that knows the users of 35 §9.5, and a verifier that trusts it."""
    async with verifying() as (provider, verifier):
        provider.users = {
            GP: {"nhsid_nrbac_roles": [role_claim(GP_ROLE)]},
            NURSE: {"name": "Nina Nurse", "nhsid_nrbac_roles": NURSES_ROLES},
            ROLELESS: {"nhsid_nrbac_roles": []},
            CLOSED: {"nhsid_nrbac_roles": [role_claim(CLOSED_ROLE, org_code="RZZ01")]},
        }
        yield provider, verifier


def told(refusal: Refusal, text: str) -> bool:
    """Whether a refusal is that of a role, with one of the six texts."""
    assert (refusal.status, refusal.issue, refusal.code, refusal.display, refusal.diagnostics) == (
        400,
        "value",
        "INVALID_VALUE",
        "Provided value is invalid",
        SIX[text],
    )
    return True


async def test_the_only_role_needs_no_choosing(both: Both) -> None:
    provider, verifier = both
    session = (await verifier.caller(provider.token())).session
    assert session is not None
    assert session.role.role_profile_id == GP_ROLE


async def test_several_roles_and_none_chosen(both: Both) -> None:
    provider, verifier = both
    assert told(await verifier.refusal(provider.token(NURSE)), "several")


@pytest.mark.parametrize("chosen", ["header", "token", "header over token"])
async def test_a_chosen_role_is_the_active_one_and_no_other_counts(both: Both, chosen: str) -> None:
    """The union of all roles could view; the active one cannot."""
    provider, verifier = both
    selected = {"header": None, "token": NURSE_OTHER_ROLE, "header over token": NURSE_ROLE}[chosen]
    headers = {} if chosen == "token" else {"NHSD_Session_URID": NURSE_OTHER_ROLE}
    session = (await verifier.caller(provider.token(NURSE, selected_roleid=selected), **headers)).session
    assert session is not None
    assert (session.role.role_profile_id, session.role.activities) == (NURSE_OTHER_ROLE, {"B0570"})
    matrix = load_matrix()
    assert not matrix.permits(Right.VIEW, session.role)
    other = (await verifier.caller(provider.token(NURSE), NHSD_Session_URID=NURSE_ROLE)).session
    assert other is not None
    assert matrix.permits(Right.VIEW, other.role)


async def test_one_token_acts_in_the_role_that_each_request_names(both: Both) -> None:
    """What is kept of a token never mixes its roles up."""
    provider, verifier = both
    token = provider.token(NURSE)
    for _ in range(2):
        for role in (NURSE_ROLE, NURSE_OTHER_ROLE):
            session = (await verifier.caller(token, NHSD_Session_URID=role)).session
            assert session is not None
            assert session.role.role_profile_id == role
        assert told(await verifier.refusal(token), "several")
        assert told(await verifier.refusal(token, NHSD_Session_URID=GP_ROLE), "not theirs")
    assert provider.asked["userinfo"] == 1


async def test_no_role_anywhere(both: Both) -> None:
    provider, verifier = both
    assert told(await verifier.refusal(provider.token(ROLELESS)), "none")
    provider.users[ROLELESS] = {}
    assert told(await verifier.refusal(provider.token(ROLELESS)), "none")


@pytest.mark.parametrize("stated", [RECEPTIONIST_ROLE, "555000009999", "", "abc", "5550000003 02", "٥", "1" * 21])
async def test_a_header_that_is_not_one_of_theirs(both: Both, stated: str) -> None:
    provider, verifier = both
    header = stated.encode().decode("latin-1")
    assert told(await verifier.refusal(provider.token(NURSE), NHSD_Session_URID=header), "not theirs")


async def test_two_headers_that_disagree(both: Both) -> None:
    provider, verifier = both
    headers = [
        (b"authorization", f"Bearer {provider.token(NURSE)}".encode()),
        (b"nhsd-session-urid", NURSE_ROLE.encode()),
        (b"nhsd-session-urid", NURSE_OTHER_ROLE.encode()),
    ]
    with pytest.raises(RequestRefused) as refused:
        await verifier.verification.authenticator.authenticate(headers)
    assert told(refused.value.refusal, "not theirs")


async def test_a_selected_role_that_is_not_theirs(both: Both) -> None:
    provider, verifier = both
    assert told(await verifier.refusal(provider.token(NURSE, selected_roleid=GP_ROLE)), "none")


@pytest.mark.parametrize(
    "claim",
    [
        "none",
        {"person_roleid": GP_ROLE},
        [GP_ROLE],
        [role_claim("")],
        [role_claim("not digits")],
        [role_claim(GP_ROLE, person_roleid=int(GP_ROLE))],
        [role_claim(GP_ROLE, org_code=None)],
        [role_claim(GP_ROLE, role_code=["R8000"])],
        [role_claim(GP_ROLE, role_code="Doctor")],
        [role_claim(GP_ROLE, activity_codes="B0370")],
        [role_claim(GP_ROLE, activity_codes=[370])],
        [role_claim(GP_ROLE), role_claim(GP_ROLE, activity_codes=["B0082"])],
        [role_claim("555000000199", role_code="")],
    ],
)
async def test_a_roles_claim_that_cannot_be_read(both: Both, claim: Any) -> None:
    provider, verifier = both
    provider.users[GP] = {"nhsid_nrbac_roles": claim}
    assert told(await verifier.refusal(provider.token()), "malformed")


@pytest.mark.parametrize(
    "answer",
    [web.Response(status=500), web.Response(status=302), web.Response(text="<html/>"), web.Response(text="[]")],
)
async def test_user_info_that_cannot_be_had(both: Both, answer: web.Response) -> None:
    provider, verifier = both
    provider.userinfo_answer = answer
    assert told(await verifier.refusal(provider.token()), "no user info")


async def test_user_info_that_no_longer_takes_the_token(both: Both) -> None:
    provider, verifier = both
    provider.userinfo_answer = web.Response(status=401)
    assert await verifier.refusal(provider.token()) == refusals.TOKEN_INACTIVE


@pytest.mark.parametrize("name", ["sub", "nhsid_useruid"])
@pytest.mark.parametrize("user", [NURSE, [GP], None, int(GP)])
async def test_user_info_of_somebody_else(both: Both, name: str, user: Any) -> None:
    provider, verifier = both
    provider.users[GP] = {"nhsid_nrbac_roles": [role_claim(GP_ROLE)], name: user}
    assert await verifier.refusal(provider.token()) == refusals.TOKEN_OF_ANOTHER


async def test_user_info_of_nobody(both: Both) -> None:
    """An answer that a cache or a proxy has mixed up need not say whose it is."""
    provider, verifier = both
    roles = json.dumps({"nhsid_nrbac_roles": [role_claim(GP_ROLE)]})
    provider.userinfo_answer = web.Response(body=roles.encode())
    assert await verifier.refusal(provider.token()) == refusals.TOKEN_OF_ANOTHER


@pytest.mark.parametrize("name", ["Gita\nlevel=error", "Gita\ud800", "Gita\u202eatiG", "G" * 10_000, 7, ["Gita"]])
async def test_a_name_is_one_bearable_line(both: Both, name: Any) -> None:
    provider, verifier = both
    provider.users[GP] = {"nhsid_nrbac_roles": [role_claim(GP_ROLE)], "name": name}
    session = (await verifier.caller(provider.token())).session
    assert session is not None
    assert session.name.isprintable()
    assert len(session.name.encode()) <= 200


async def test_activities_unknown_and_twice(both: Both) -> None:
    provider, verifier = both
    codes = ["B0370", "B0370", "B9999", "View Summary Health Records", ""]
    provider.users[GP] = {"nhsid_nrbac_roles": [role_claim(GP_ROLE, activity_codes=codes)]}
    session = (await verifier.caller(provider.token())).session
    assert session is not None
    assert session.role.activities == {"B0370", "B9999"}


async def test_a_role_without_a_code_has_that_of_the_directory(both: Both) -> None:
    provider, verifier = both
    provider.users[GP] = {"nhsid_nrbac_roles": [role_claim(GP_ROLE, role_code="")]}
    session = (await verifier.caller(provider.token())).session
    assert session is not None
    assert session.role.job_role.endswith("R8000")


# --- closed roles ---------------------------------------------------------------------------------------------------


async def test_a_closed_role_is_nobodys(both: Both) -> None:
    provider, verifier = both
    assert told(await verifier.refusal(provider.token(CLOSED)), "none")
    refusal = await verifier.refusal(provider.token(CLOSED), NHSD_Session_URID=CLOSED_ROLE)
    assert told(refusal, "not theirs")
    assert refusal.reason == "role_closed"
    assert (await verifier.refusal(provider.token(CLOSED, selected_roleid=CLOSED_ROLE))).reason == "role_closed"


async def test_a_closed_role_is_refused_after_a_separate_login_too(both: Both) -> None:
    provider, verifier = both
    del provider.users[CLOSED]
    refusal = await verifier.refusal(provider.token(CLOSED), NHSD_Session_URID=CLOSED_ROLE)
    assert told(refusal, "not theirs")
    assert refusal.reason == "role_closed"


async def test_a_role_of_somebody_else_in_the_directory(both: Both) -> None:
    """The provider gives the nurse what the directory knows as the GP's: one of them is wrong, so nobody has it."""
    provider, verifier = both
    provider.users[NURSE] = {"nhsid_nrbac_roles": [role_claim(GP_ROLE)]}
    refusal = await verifier.refusal(provider.token(NURSE), NHSD_Session_URID=GP_ROLE)
    assert (refusal.status, refusal.diagnostics) == (400, SIX["not theirs"])


async def test_a_role_that_ends_at_midnight_ends_for_who_is_signed_in(both: Both) -> None:
    provider, verifier = both
    known = verifier.directory.snapshot
    users = [
        replace(user, roles=tuple(replace(role, closed=date(2026, 6, 2)) for role in user.roles))
        for user in known.users.values()
    ]
    verifier.directory.snapshot = Directory(
        parties=known.parties.values(), systems=known.systems.values(), users=users, revision=2
    )
    token = provider.token(exp=provider.clock().timestamp() + 86_400)
    assert (await verifier.caller(token)).session
    # British Summer Time: midnight in London is 23:00 UTC.
    verifier.clock.now = verifier.clock.now.replace(hour=22, minute=59, second=59)
    assert (await verifier.caller(token)).session
    verifier.clock.pass_by(1)
    assert (await verifier.refusal(token)).reason == "role_closed"


async def test_a_user_whom_the_directory_knows_as_inactive(both: Both) -> None:
    provider, verifier = both
    token = provider.token()
    assert (await verifier.caller(token)).session
    known = verifier.directory.snapshot
    users = [replace(user, active=False) for user in known.users.values()]
    verifier.directory.snapshot = Directory(
        parties=known.parties.values(), systems=known.systems.values(), users=users, revision=2
    )
    assert await verifier.refusal(token) == refusals.USER_INACTIVE


# --- separate login -------------------------------------------------------------------------------------------------


async def test_a_user_who_becomes_inactive_while_their_roles_are_asked_for(both: Both) -> None:
    """What the directory said before the provider was asked does not outlive the question."""
    provider, verifier = both
    await verifier.caller(provider.token())
    provider.arrived.clear()
    provider.hold_userinfo = asyncio.Event()
    token = provider.token(auth_time=1)
    request = asyncio.create_task(verifier.refusal(token))
    await provider.arrived.wait()
    known = verifier.directory.snapshot
    verifier.directory.snapshot = Directory(
        parties=known.parties.values(),
        systems=known.systems.values(),
        users=[replace(user, active=user.user_id != GP) for user in known.users.values()],
        revision=2,
    )
    provider.hold_userinfo.set()
    assert await request == refusals.USER_INACTIVE
    assert await verifier.refusal(token) == refusals.USER_INACTIVE


async def test_after_a_separate_login_the_directory_tells_the_role(both: Both) -> None:
    provider, verifier = both
    provider.users = {}
    session = (await verifier.caller(provider.token(), NHSD_Session_URID=GP_ROLE)).session
    assert session is not None
    assert session.role == verifier.directory.snapshot.role(GP_ROLE)[1]  # type: ignore[index]
    assert session.name == "Dr Gita Demopractice"
    session = (await verifier.caller(provider.token(selected_roleid=GP_ROLE))).session
    assert session is not None
    assert session.role.role_profile_id == GP_ROLE


async def test_after_a_separate_login_without_any_role(both: Both) -> None:
    provider, verifier = both
    provider.users = {}
    assert told(await verifier.refusal(provider.token()), "not in the token")
    assert told(await verifier.refusal(provider.token(), NHSD_Session_URID=NURSE_ROLE), "not theirs")
    assert told(await verifier.refusal(provider.token(), NHSD_Session_URID="555000009999"), "not theirs")
    assert told(await verifier.refusal(provider.token(selected_roleid=NURSE_ROLE)), "none")


async def test_a_provider_without_user_info(both: Both) -> None:
    provider, verifier = both
    provider.discovery = {"userinfo_endpoint": ""}
    assert told(await verifier.refusal(provider.token()), "not in the token")
    assert (await verifier.caller(provider.token(), NHSD_Session_URID=GP_ROLE)).session
    assert provider.asked["userinfo"] == 0


# --- how long it is believed ----------------------------------------------------------------------------------------


async def test_many_who_come_with_one_new_token_make_one_request(both: Both) -> None:
    provider, verifier = both
    token = provider.token()
    # The keys are there, and what is known of the token: only its roles are not.
    await verifier.caller(token)
    verifier.clock.pass_by(ROLES_SECONDS)
    callers = await asyncio.gather(*(verifier.caller(token) for _ in range(20)))
    assert all(caller.session for caller in callers)
    assert provider.asked["userinfo"] == 2


async def test_roles_are_believed_for_five_minutes(both: Both) -> None:
    provider, verifier = both
    token = provider.token()
    await verifier.caller(token)
    provider.users[GP] = {"nhsid_nrbac_roles": []}
    verifier.clock.pass_by(ROLES_SECONDS - 1)
    assert (await verifier.caller(token)).session
    assert provider.asked["userinfo"] == 1
    verifier.clock.pass_by(1)
    assert told(await verifier.refusal(token), "none")
