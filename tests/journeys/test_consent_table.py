"""Consent and operation, cell by cell, against a real service over its own transports. Spec: 30 §9.

The rows of FHIR (`POST /Bundle`) and SMSP (`getSCRStatus`) belong to faces that are not built yet. That "Emergency
view" of Ask and Yes is a plain query with an alert of its own is 00 §8; past a No it is code 1 with its reason.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from alerts import an_alert, in_fhir
from journeys.messages import HOSPITAL, PRACTICE, Client, Mail, Post, answer_to, codes_of, fresh_patient
from journeys.runner import Server, stored
from journeys.test_alerts import ASID, GP_HEADERS, posted
from journeys.wire import signal_of, soap_of
from openscr.codes import (
    ACKNOWLEDGEMENT,
    ACS_GET_ANSWER,
    ACS_HAS_ANSWER,
    EVENT_ANSWER,
    EVENT_LIST_ANSWER,
    EVENT_LIST_SM,
    EVENT_LIST_SM_ANSWER,
    QUERY_FAILED,
)
from openscr.hl7.acknowledgement import read_outcome
from openscr.hl7.acs import read_get_answer
from openscr.hl7.permission_check import read_has_answer
from openscr.hl7.psis import read_event_list_answer
from openscr.spine import AskedPermission, Consent, DissentOverride, Person
from openscr.testbench.world import HOSPITAL_PARTY

CONSENTS = (Consent.ASK, Consent.YES, Consent.NO)
NURSE = Client(HOSPITAL_PARTY, "200000000116", Person("555000000301", "555000000302", "R8001"))

AA, DENIED, NOT_EXPLICIT = "AA", "420/30418", "420"
Alerted = tuple[str, str] | None


@dataclass
class Patient:
    """A patient with a current summary of the practice; ``events`` counts those that a list must show."""

    server: Server
    number: str
    event_id: str = ""
    told: str = ""
    """What an answer said of the consent itself, where it says it."""

    async def reliably(self, mail: Mail) -> str:
        """Send a message; return type or codes of its acknowledgement."""
        assert signal_of(await mail.post().to(self.server.web)).kind == "Acknowledgment"
        ack, codes = codes_of(await answer_to(self.server.web, mail.message_id))
        assert (ack == "AA") == (not codes)
        return "/".join(codes) or ack

    async def asked(self, post: Post, *answers: str) -> str:
        """Send a query; return type or codes of its answer."""
        answer = soap_of(await post.to(self.server.web), *answers, QUERY_FAILED, ACKNOWLEDGEMENT).interaction
        outcome, _ = read_outcome(answer)
        if outcome.accepted and EVENT_LIST_SM_ANSWER in answers:
            self.told = read_event_list_answer(answer, self.number).consent.value
            assert len(answer.findall(".//{*}accessControlAssertion")) == 2
        if outcome.accepted and ACS_GET_ANSWER in answers:
            self.told = read_get_answer(answer, self.number).consent.value
            assert len(answer.findall(".//{*}accessControlAssertion")) == (0 if self.told == "Ask" else 2)
        if outcome.accepted and ACS_HAS_ANSWER in answers:
            (self.told,) = {value.value for _, value in read_has_answer(answer, self.number).permissions}
        if outcome.accepted and {EVENT_LIST_ANSWER, EVENT_LIST_SM_ANSWER} & set(answers):
            assert [event.event_id for event in read_event_list_answer(answer, self.number).events] == [self.event_id]
        if outcome.accepted and EVENT_ANSWER in answers:
            assert self.event_id.encode() in (await post.to(self.server.web)).body
        return "/".join(issue.code for issue in outcome.issues) or outcome.ack.value


Operation = Callable[[Patient], Awaitable[str]]


def listing(client: Client, code: str, text: str = "", interaction: str = "QUPC_IN180000UK04") -> Operation:
    override = DissentOverride(code, text)
    answer = EVENT_LIST_SM_ANSWER if interaction == EVENT_LIST_SM else EVENT_LIST_ANSWER
    return lambda patient: patient.asked(client.event_list(patient.number, override, interaction), answer)


def retrieving(client: Client, code: str, text: str = "") -> Operation:
    override = DissentOverride(code, text)
    return lambda patient: patient.asked(client.event(patient.number, patient.event_id, override), EVENT_ANSWER)


def setting(value: Consent, *, soap: bool) -> Operation:
    if soap:
        return lambda patient: patient.asked(PRACTICE.set_consent(patient.number, value))
    return lambda patient: patient.reliably(PRACTICE.consent_mail(patient.number, value))


async def posting(patient: Patient) -> str:
    """Raise an alert in FHIR."""
    answer = await posted(patient.server, in_fhir(an_alert(patient.number)), ASID, *GP_HEADERS)
    return AA if (answer.status, answer.body) == (200, b"") else str(answer.status)


def having(patient: Patient) -> Awaitable[str]:
    post = PRACTICE.has_permissions(patient.number, AskedPermission("Store"), AskedPermission("View"))
    return patient.asked(post, ACS_HAS_ANSWER)


TABLE: dict[str, tuple[Operation, str, str, str]] = {
    # operation: Ask, Yes, No
    "upload": (lambda p: p.reliably(PRACTICE.upload(p.number, p.event_id)), AA, AA, DENIED),
    "upload of a dissent": (lambda p: p.reliably(PRACTICE.dissent(p.number, p.event_id)), AA, AA, AA),
    "withdraw": (lambda p: p.reliably(PRACTICE.withdrawal(p.number, p.event_id)), AA, AA, AA),
    "list": (listing(PRACTICE, "0"), AA, AA, DENIED),
    "list with permissions": (listing(PRACTICE, "0", interaction=EVENT_LIST_SM), AA, AA, DENIED),
    "list, public interest": (listing(HOSPITAL, "1"), AA, AA, AA),
    "list, statute": (listing(HOSPITAL, "2"), AA, AA, AA),
    "list, court order": (listing(HOSPITAL, "3", "by order"), AA, AA, AA),
    "list with permissions, statute": (listing(HOSPITAL, "2", interaction=EVENT_LIST_SM), AA, AA, AA),
    "list for update, own practice": (listing(PRACTICE, "4", interaction=EVENT_LIST_SM), AA, AA, AA),
    "list for update, others": (listing(NURSE, "4"), AA, AA, DENIED),
    "list, temporary consent": (listing(NURSE, "5", "asked in person"), AA, AA, AA),
    "list, emergency": (listing(PRACTICE, "1", "unconscious"), AA, AA, AA),
    "list, emergency without a reason": (listing(PRACTICE, "1"), DENIED, DENIED, DENIED),
    "retrieve": (retrieving(PRACTICE, "0"), AA, AA, DENIED),
    "retrieve, public interest": (retrieving(HOSPITAL, "1"), AA, AA, AA),
    "retrieve, court order": (retrieving(HOSPITAL, "3"), AA, AA, AA),
    "retrieve for update, own practice": (retrieving(PRACTICE, "4"), AA, AA, AA),
    "retrieve for update, others": (retrieving(NURSE, "4"), AA, AA, DENIED),
    "retrieve, temporary consent": (retrieving(NURSE, "5"), AA, AA, AA),
    "retrieve, emergency": (retrieving(PRACTICE, "1", "unconscious"), AA, AA, AA),
    "GET": (lambda p: p.asked(PRACTICE.get_consent(p.number), ACS_GET_ANSWER), AA, AA, AA),
    "HAS": (having, AA, AA, AA),
    "SET Yes": (setting(Consent.YES, soap=True), AA, AA, AA),
    "SET No": (setting(Consent.NO, soap=False), AA, AA, AA),
    "SET Clear": (setting(Consent.ASK, soap=False), AA, AA, AA),
    "alert": (lambda p: p.reliably(PRACTICE.alert_mail(an_alert(p.number))), AA, AA, AA),
    "alert in FHIR": (posting, AA, AA, AA),
}
ALERTED: dict[str, tuple[Alerted, Alerted, Alerted]] = {
    "list, public interest": (None, None, ("2", "1")),
    "list, statute": (None, None, ("2", "2")),
    "list, court order": (None, None, ("2", "3")),
    "list with permissions, statute": (None, None, ("2", "2")),
    "list, temporary consent": (None, None, ("2", "override-5")),
    "list, emergency": (None, None, ("2", "1")),
    "retrieve, public interest": (None, None, ("2", "1")),
    "retrieve, court order": (None, None, ("2", "3")),
    "retrieve, temporary consent": (None, None, ("2", "override-5")),
    "retrieve, emergency": (None, None, ("2", "1")),
    "alert": (("2", "5"), ("2", "5"), ("2", "5")),
    "alert in FHIR": (("2", "5"), ("2", "5"), ("2", "5")),
}
TELLING = {"list with permissions", "list with permissions, statute", "list for update, own practice", "GET", "HAS"}
"""Operations whose answer says what the consent is."""


async def settled(server: Server, consent: Consent) -> Patient:
    """Return a patient with a summary and this consent: a No that became a Yes, under which the summary came."""
    patient = Patient(server, fresh_patient())
    assert await setting(Consent.NO, soap=True)(patient) == AA
    assert await setting(Consent.YES, soap=False)(patient) == AA
    mail = PRACTICE.upload(patient.number)
    patient.event_id = mail.event_id
    assert await patient.reliably(mail) == AA
    if consent is not Consent.YES:
        assert await setting(consent, soap=True)(patient) == AA
    return patient


async def alerts_of(server: Server, number: str) -> list[tuple[str, str]]:
    async with stored(server.data) as store:
        return [(row.type, row.reason) for row in await store.read_alerts() if row.nhs_number == number]


@pytest.mark.parametrize("consent", CONSENTS)
@pytest.mark.parametrize("operation", TABLE)
async def test_cell(demo: Server, operation: str, consent: Consent) -> None:
    """What is answered, what the answer tells of the consent, and which alert is raised."""
    column = CONSENTS.index(consent)
    do, *expected = TABLE[operation]
    patient = await settled(demo, consent)
    assert await do(patient) == expected[column]
    told = consent.value if operation in TELLING and expected[column] == AA else ""
    assert patient.told == told
    alerted = ALERTED.get(operation, (None, None, None))[column]
    # A document is fetched once more to be looked at: each look past a dissent has its alert.
    looks = 2 if operation.startswith("retrieve") else 1
    assert await alerts_of(demo, patient.number) == ([alerted] * looks if alerted is not None else [])


async def test_a_store_that_wants_explicit_consent(start: Callable[..., Server]) -> None:
    """The row of uploads with `require_explicit_store_consent`: 30402 while nothing was said."""
    server = await asyncio.to_thread(start, demo=True, require_explicit_store_consent=True)
    for consent, expected in ((Consent.ASK, NOT_EXPLICIT), (Consent.YES, AA), (Consent.NO, DENIED)):
        patient = await settled(server, consent)
        assert await patient.reliably(PRACTICE.upload(patient.number, patient.event_id)) == expected
        assert await patient.reliably(PRACTICE.dissent(patient.number, patient.event_id)) == (
            AA if expected != AA else "430"
        )


@pytest.mark.parametrize("beats", [False, True])
async def test_the_old_meaning_of_codes_4_and_5(start: Callable[..., Server], beats: bool) -> None:
    """The row of best interests: an alert always, past a No only where the switch says so."""
    server = await asyncio.to_thread(
        start, demo=True, psis_override_vocabulary="4.2.00", acs_best_interest_overrides_dissent=beats
    )
    for code in ("4", "5"):
        for consent in CONSENTS:
            patient = await settled(server, consent)
            expected = DENIED if consent is Consent.NO and not beats else AA
            assert await listing(NURSE, code, "lacks capacity")(patient) == expected
            assert await alerts_of(server, patient.number) == ([("2", "5")] if expected == AA else [])


async def test_no_and_no_record_is_no(demo: Server) -> None:
    """Consent is looked at before the question whether there is a record."""
    patient = Patient(demo, fresh_patient())
    assert await listing(PRACTICE, "0")(patient) == "210/30312"
    assert await setting(Consent.NO, soap=False)(patient) == AA
    assert await listing(PRACTICE, "0")(patient) == DENIED
    assert await setting(Consent.ASK, soap=False)(patient) == AA
    assert await listing(PRACTICE, "0")(patient) == "210/30312"
