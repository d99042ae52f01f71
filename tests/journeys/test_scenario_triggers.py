"""The trigger numbers of the published simulators, row by row as the tables have them.

The tables stand here once more, written from the specification and not from our own data. Spec: 20 §9.4; 70 §14;
10 §14, §15.
"""

import json
from collections.abc import AsyncIterator

import pytest

from journeys.messages import PRACTICE, Post, answer_to, collected, fresh_patient, get
from journeys.runner import Server
from journeys.test_scenarios import JSON, PATH, clear, shown
from journeys.wire import Ended, connected, fault_of, post, signal_of, soap_of
from openscr.codes import ACKNOWLEDGEMENT, EVENT_LIST, EVENT_LIST_ANSWER, EVENT_LIST_SM, QUERY_FAILED
from openscr.hl7.acknowledgement import read_outcome
from openscr.hl7.wrapper import HL7
from openscr.identifiers import is_nhs_number, mint_uuid

PSIS = "2.16.840.1.113883.2.1.3.2.4.17.33"
SET_ID = "More than one document satisfied the query criteria for supplied SetID [x]"
GENERAL = {
    "400": "Invalid Request",
    "401": "Duplicate Message ID",
    "410": "Logical inconsistency",
    "430": "Invalid Update",
    "500": "System Error- no retry",
    "502": "Service Not Available",
}
EVENT_LISTS = [
    ("9160183411", "AE", "400", "", ""),
    ("9051327617", "AE", "401", "", ""),
    ("9513987272", "AE", "410", "30112", "Event operation 'x' failed. Details: 'y'"),
    ("9120582366", "AE", "410", "30134", "Duplicate event with eventId x and nhsNumber 9120582366."),
    ("9882944736", "AE", "410", "30142", "Duplicate document with docId x and nhsNumber 9882944736."),
    ("9942495894", "AE", "410", "30307", "The NHS Number has been merged."),
    ("9759113120", "AE", "410", "30308", "The Case status is Normal but the Event id 'x' does not exist."),
    ("9233774856", "AE", "410", "30317", "Unique constraint violated. 'x'"),
    ("9723571064", "AE", "410", "30318", "'x' - database error was 'y'"),
    (
        "9886043431",
        "AE",
        "410",
        "30333",
        "Document Set Mismatch - Source Doc Set (x) does not match Target Doc Set(y).",
    ),
    ("9553094910", "AE", "410", "30340", "CSMP Pattern Not Found for Event (x)."),
    ("9384482226", "AE", "410", "30344", SET_ID),
    ("9089908897", "AE", "410", "30361", SET_ID),
    ("9466868047", "AE", "430", "", ""),
    ("9356577838", "AE", "500", "", ""),
    ("9760147033", "AR", "502", "", ""),
]
MERGED_LONG = (
    "30307 - PQR-99 - The requested NHS Number has been merged. PSIS currently records the merged NHS Number as "
    "## 0000000000 ##. The caller is strongly recommended to verify the validity of this NHS Number using the PDS.  "
)


@pytest.fixture
async def web(demo: Server) -> AsyncIterator[str]:
    """The demo service, with no scenario set before and after."""
    await clear(demo.web)
    yield demo.web
    await clear(demo.web)


async def switch_on(web: str, name: str, **numbers: str) -> None:
    """Switch a named set on."""
    form = {"named": name, **({"numbers": numbers} if numbers else {})}
    answer = await post(web, PATH, json.dumps(form).encode(), JSON)
    assert answer.status == 201, answer.body


@pytest.mark.parametrize("interaction", [EVENT_LIST, EVENT_LIST_SM])
async def test_every_number_of_the_simulator_of_event_lists(web: str, interaction: str) -> None:
    await switch_on(web, "psis-triggers")
    for number, ack, general, specific, text in EVENT_LISTS:
        answer = soap_of(await PRACTICE.event_list(number, interaction=interaction).to(web), QUERY_FAILED)
        outcome, _ = read_outcome(answer.interaction)
        expected = [(general, GENERAL[general], "ER", PSIS)]
        if specific:
            expected.append((specific, f"[PSIS-{specific}] - {text}", "ER", PSIS))
        said = [(issue.code, issue.display, issue.severity, issue.system) for issue in outcome.issues]
        assert (outcome.ack.value, said) == (ack, expected), number
    assert [each["hits"] for each in (await shown(web))["scenarios"]] == [1] * len(EVENT_LISTS)


async def test_other_messages_about_these_patients_are_answered_as_ever(web: str) -> None:
    await switch_on(web, "psis-triggers")
    outcome, _ = read_outcome(
        soap_of(await PRACTICE.event("9160183411", mint_uuid()).to(web), QUERY_FAILED).interaction
    )
    assert [issue.code for issue in outcome.issues] == ["210", "30312"]


async def test_without_the_set_these_patients_have_no_record(web: str) -> None:
    for number, *_ in EVENT_LISTS:
        outcome, _ = read_outcome(soap_of(await PRACTICE.event_list(number).to(web), QUERY_FAILED).interaction)
        assert [issue.code for issue in outcome.issues] == ["210", "30312"]


async def test_the_mini_service_simulator(web: str) -> None:
    await switch_on(web, "mini-service-triggers")
    for listed, refused, acknowledged, failed in (
        ("9449310580", "9454201085", "9449310106", "9454202103"),
        ("9449310645", "9444459993", "9346424613", "9454202111"),
    ):
        answers = soap_of(await PRACTICE.event_list(listed).to(web), EVENT_LIST_ANSWER)
        assert list(answers.interaction.iter("{urn:npfit:psisqr}eventID"))

        def ask(number: str, *, document: bool = listed == "9449310645") -> Post:
            return PRACTICE.event(number, mint_uuid()) if document else PRACTICE.event_list(number)

        fault = fault_of(await ask(refused).to(web))
        assert fault.codes == ("101",)
        assert fault.descriptions == ("The service/interaction is not supported for the requested URI",)
        negative = soap_of(await ask(acknowledged).to(web), ACKNOWLEDGEMENT).interaction
        outcome, _ = read_outcome(negative)
        assert [(issue.code, issue.display, issue.system) for issue in outcome.issues] == [
            ("5000", "Unable to process message", "2.16.840.1.113883.2.1.3.2.4.16.34")
        ]
        query = soap_of(await ask(failed).to(web), QUERY_FAILED).interaction
        outcome, _ = read_outcome(query)
        assert outcome.ack.value == "AE"
        assert [(issue.code, issue.display, issue.severity, issue.system) for issue in outcome.issues] == [
            ("1", "No match to a service user record", "ER", "2.16.840.1.113883.2.1.3.2.4.17.42")
        ]
        (qualifier,) = query.iter(f"{HL7}qualifier")
        (value,) = qualifier
        assert dict(qualifier.attrib) == {"inverted": "false"}
        assert dict(value.attrib) == {"code": "ER", "codeSystem": "2.16.840.1.113883.2.1.3.2.4.17.104"}


async def test_the_upload_harness(web: str) -> None:
    no_consent, merged, silent = fresh_patient(), fresh_patient(), fresh_patient()
    await switch_on(web, "upload-triggers", no_consent=no_consent, merged=merged, silent=silent)
    for number, code, text in (
        (no_consent, "420", "30402 - PQR-02 - No explicit Service User Consent exists for Sharing of this record "),
        (merged, "410", MERGED_LONG),
    ):
        message = PRACTICE.upload(number).post()
        answer = await message.to(web)
        assert (answer.status, signal_of(answer).kind) == (202, "Acknowledgment")
        outcome = (await answer_to(web, message.message_id)).outcome
        assert (outcome.ack.value, [(each.code, each.display, each.system) for each in outcome.issues]) == (
            "AE",
            [(code, text, PSIS)],
        )
        (delivered,) = await collected(web, message.message_id)
        assert delivered["action"] == ACKNOWLEDGEMENT
    message = PRACTICE.upload(silent).post()
    for _ in range(2):
        async with connected(web) as connection:
            with pytest.raises(Ended):
                await connection.exchange(message.raw())
    await clear(web, "upload-triggers")
    assert signal_of(await message.to(web)).kind == "Acknowledgment"


async def test_the_upload_harness_has_numbers_of_its_own(web: str) -> None:
    await switch_on(web, "upload-triggers")
    numbers = [each["nhs_number"] for each in (await shown(web))["scenarios"]]
    assert len(set(numbers)) == 3
    assert all(number.startswith("999") and is_nhs_number(number) for number in numbers)


async def test_clearing_a_set_leaves_the_others(web: str) -> None:
    await switch_on(web, "psis-triggers")
    await switch_on(web, "upload-triggers")
    await post(web, PATH, b'{"behaviour": "duplicate", "name": "mine"}', JSON)
    assert json.loads((await clear(web, "psis-triggers")).body) == {"cleared": 16}
    names = {each["name"] for each in json.loads((await get(web, PATH)).body)["scenarios"]}
    assert names == {"mine", "upload-triggers.no-consent", "upload-triggers.merged", "upload-triggers.silent"}
