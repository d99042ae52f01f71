"""Who stands how to a patient, from the sign-in to the record: a real provider, real tokens, real queries.

Spec: 35 §6, §9.4; 70 §9; 80 §4; 20 §10.1.
"""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest
from lxml import etree

from journeys.messages import HOSPITAL, PRACTICE, Client, answer_to, fresh_patient
from journeys.runner import Server, command
from journeys.wire import Answer, post, signal_of, soap_of
from openscr.codes import ACKNOWLEDGEMENT, EVENT_LIST_ANSWER, QUERY_FAILED
from openscr.hl7.acknowledgement import read_acknowledgement
from openscr.hl7.psis import read_event_list_answer
from openscr.identifiers import mint_uuid
from openscr.spine import Consent, DissentOverride, Person

NURSE = "555000000302"
LEGAL = Client(HOSPITAL.party_key, HOSPITAL.asid, Person("555000000501", "555000000502", "R8000"))
WARD = Client(HOSPITAL.party_key, HOSPITAL.asid, Person("555000000301", NURSE, "R8001"))


class Staff:
    """Somebody signed in at a service, who asks its governance face."""

    def __init__(self, server: Server, token: str) -> None:
        self._server = server
        self._token = token

    @classmethod
    async def signed_in(cls, server: Server, app: str, user: str, *more: str) -> "Staff":
        """Sign in over the provider's own pages."""
        printed = await command(
            server.data, "identity", "token", "--at", server.web, "--as", app, "--user", user, *more
        )
        assert len(printed.splitlines()) == 1, printed
        return cls(server, printed.strip())

    async def ask(self, path: str, **form: Any) -> Answer:
        """Post a form."""
        headers = (("Authorization", f"Bearer {self._token}"), ("Content-Type", "application/json"))
        return await post(self._server.web, f"/governance/{path}", json.dumps(form).encode(), headers)


def codes_of(answer: Answer) -> list[str]:
    """The codes of an OperationOutcome."""
    issues = json.loads(answer.body)["issue"]
    return [issue["details"]["coding"][0]["code"] for issue in issues]


async def seen(server: Server, client: Client, number: str, override: DissentOverride = DissentOverride()) -> bool:  # noqa: B008 frozen
    """Whether a query for the list is answered with events; else it has the one answer to refusals of access."""
    answer = await client.event_list(number, override).to(server.web)
    soap = soap_of(answer, EVENT_LIST_ANSWER, QUERY_FAILED)
    if etree.QName(soap.interaction).localname == EVENT_LIST_ANSWER:
        return bool(read_event_list_answer(soap.interaction, number).events)
    assert b"30418" in answer.body
    return False


@pytest.fixture
def strict(start: Callable[..., Server]) -> Server:
    """A demo service that asks for both records before it shows anything."""
    return start(demo=True, enforce_relationship=True, enforce_permission=True, rate_per_second=0, rate_per_minute=0)


async def uploaded(server: Server) -> str:
    """A fresh patient with a summary."""
    number = fresh_patient()
    mail = PRACTICE.upload(number)
    assert signal_of(await mail.post().to(server.web)).kind == "Acknowledgment"
    assert (await answer_to(server.web, mail.message_id)).outcome.accepted
    return number


async def alerts(server: Server) -> list[tuple[str, str, str]]:
    """Type, reason and user of every alert."""
    rows = json.loads(await command(server.data, "admin", "alerts", "--json"))
    return [(row["type"], row["reason"], row["user"]) for row in rows]


async def test_a_nurse_claims_asks_and_looks(strict: Server) -> None:
    """Nothing is shown before both records are there; a dissent ends the permission; the audit and the alert remain."""
    number = await uploaded(strict)
    nurse = await Staff.signed_in(strict, "app-viewer", NURSE)
    assert not await seen(strict, WARD, number)

    claim = await nurse.ask("relationships", nhs_number=number, alert_reason="6", text="on the ward")
    assert claim.status == 201, claim.body
    assert json.loads(claim.body)["claimed"]
    assert not await seen(strict, WARD, number)

    one = mint_uuid()
    for status in (201, 200):
        permission = await nurse.ask("permissions", id=one, nhs_number=f"{number[:3]} {number[3:]}", hours=1)
        assert permission.status == status, permission.body
        assert json.loads(permission.body)["id"] == one
    assert await seen(strict, WARD, number)
    assert await alerts(strict) == [("1", "6", "555000000301")]

    told = json.loads((await nurse.ask("standing", nhs_number=number)).body)
    assert told["permission"]["id"] == one
    assert told["relationship"]["claimed"]
    assert not told["registered"]

    assert (await nurse.ask("standing/end", nhs_number=number, id=one)).status == 204
    assert not await seen(strict, WARD, number)
    assert (await nurse.ask("permissions", nhs_number=number, scope="organisation")).status == 201
    assert await seen(strict, WARD, number)

    answer = soap_of(await PRACTICE.set_consent(number, Consent.NO).to(strict.web), ACKNOWLEDGEMENT)
    assert read_acknowledgement(answer.interaction).outcome.accepted
    told = json.loads((await nurse.ask("standing", nhs_number=number)).body)
    assert told["permission"] is None
    denied = await nurse.ask("permissions", nhs_number=number)
    assert (denied.status, codes_of(denied)) == (403, ["ACCESS_DENIED"])
    assert not await seen(strict, WARD, number)


async def test_an_emergency_and_a_legal_reason(strict: Server) -> None:
    """Each stands for a permission, with its alert; each needs its right. Spec: 80 §4."""
    number = await uploaded(strict)
    nurse = await Staff.signed_in(strict, "app-viewer", NURSE)
    lawyer = await Staff.signed_in(strict, "app-viewer", "555000000502")
    doctor = await Staff.signed_in(strict, "app-gp", "555000000102")
    emergency = {"nhs_number": number, "basis": "emergency", "text": "unconscious after a fall"}
    assert (await nurse.ask("permissions", **emergency)).status == 403
    assert (await doctor.ask("permissions", **emergency)).status == 201
    for staff in (lawyer, doctor):
        assert (await staff.ask("relationships", nhs_number=number, alert_reason="4")).status == 201
    assert await seen(strict, PRACTICE, number)
    assert not await seen(strict, LEGAL, number)
    assert await seen(strict, LEGAL, number, DissentOverride("2", "by statute"))
    expected = [("2", "5", "555000000101"), ("1", "4", "555000000501"), ("1", "4", "555000000101")]
    assert await alerts(strict) == [*expected, ("2", "2", "555000000501")]


FAULTY_FORMS: Final[tuple[tuple[str, dict[str, Any], str, str], ...]] = (
    ("permissions", {"nhs_number": "9990000019"}, "INVALID_NHS_NUMBER", "NHS number invalid"),
    ("permissions", {"nhs_number": "9990000018", "hours": 0}, "INVALID_VALUE", "between 1 and 8760 hours"),
    (
        "permissions",
        {"nhs_number": "9990000018", "basis": "emergency", "text": "short"},
        "INVALID_VALUE",
        "at least",
    ),
    ("permissions", {"nhs_number": "9990000018", "who": "me"}, "INVALID_VALUE", "unknown field"),
    ("permissions", {"nhs_number": 9990000018}, "INVALID_VALUE", "Expected `str`"),
    ("permissions", {"nhs_number": "9990000018", "starts_at": "2026-01-01T10:00:00"}, "INVALID_VALUE", "timezone"),
    ("permissions", {}, "INVALID_VALUE", "nhs_number"),
    ("relationships", {"nhs_number": "9990000018", "alert_reason": "5"}, "INVALID_VALUE", "reason 1, 2, 3, 4 or 6"),
    ("relationships", {"nhs_number": "9990000018", "holder": {"kind": "user", "id": "1"}}, "INVALID_VALUE", "kind"),
    ("standing/end", {"nhs_number": "9990000018", "id": "1"}, "INVALID_VALUE", "id"),
    ("standing/end", {"nhs_number": "9990000018", "id": mint_uuid()}, "INVALID_VALUE", "30308"),
)


async def test_what_is_wrong_with_a_form_is_said(strict: Server) -> None:
    """400, with what to mend, and never with a number that was sent."""
    nurse = await Staff.signed_in(strict, "app-viewer", NURSE)
    for path, form, code, words in FAULTY_FORMS:
        answer = await nurse.ask(path, **form)
        assert answer.status == 400, answer.body
        assert codes_of(answer) == [code], form
        assert words in answer.body.decode(), form
        assert b"999000001" not in answer.body


async def test_only_signed_in_people_are_answered(strict: Server) -> None:
    """No token, an application's token, a weak sign-in, a role without any right."""
    nobody = Staff(strict, "nothing")
    printed = await command(strict.data, "identity", "token", "--at", strict.web, "--as", "app-batch")
    batch = Staff(strict, printed.strip())
    weak = await Staff.signed_in(strict, "app-viewer", NURSE, "--level", "1")
    porter = await Staff.signed_in(strict, "app-viewer", "555000000303")
    number = fresh_patient()
    for staff, status in ((nobody, 401), (batch, 401), (weak, 401), (porter, 403)):
        for path in ("permissions", "relationships", "standing"):
            answer = await staff.ask(path, nhs_number=number)
            assert answer.status == status, answer.body
            assert number.encode() not in answer.body
