"""Scenarios without a service: what of the catalogue they can say, which one takes part, what is read of a request."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from openscr.codes import ACS_SET, ALERT_FHIR, EVENT_LIST, POLLING_UPLOAD, UPLOAD, UPLOADS
from openscr.delivery.carrier import HttpAnswer
from openscr.errors import DETAILS, EBXML_ERRORS, FAULTS, GENERAL, WRAPPER_ERRORS, DeliveryError
from openscr.spine import AckType
from openscr.testbench.scenarios.facts import Facts, read_facts
from openscr.testbench.scenarios.form import MistakenScenario, read_scenarios, read_set_scenario, setting_form
from openscr.testbench.scenarios.repeating import RepeatingCarrier
from openscr.testbench.scenarios.running import MOST, Scenario, Scenarios
from openscr.testbench.scenarios.sets import SETS
from openscr.testbench.scenarios.treatment import Treatment
from openscr.transport.ebxml import Reliability, write_user_message
from openscr.transport.interactions import INTERACTIONS, Channel
from openscr.transport.mime import SPINE_CONTENT_TYPE, write_multipart

NUMBER = "9990012318"
QUERY = Facts(Channel.SOAP, EVENT_LIST, NUMBER, "200000000115")
UPLOADED = Facts(Channel.EBXML, UPLOAD, NUMBER, "200000000115", "ID")


def scenario(**form: Any) -> Scenario:
    """Read one scenario."""
    ((_, (found,)),) = read_scenarios(form, lambda: "fresh")
    return found


def treated(facts: Facts, **form: Any) -> Treatment:
    """Return what a scenario does to a request."""
    return scenario(**form).treatment(facts)


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


# --- the catalogue --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["\ud800", "a\udfff", "\x00", "\x1b[2J", "\x7f", "\x9b1m", "\ufffe", "\uffff", "a\nb"])
def test_words_of_a_text_are_words_that_can_be_sent(text: str) -> None:
    """A half of a surrogate pair cannot be written at all; neither XML nor a terminal takes control characters."""
    with pytest.raises(MistakenScenario):
        scenario(behaviour="error", code="35160", fields={"field": text})


@pytest.mark.parametrize("times", [int(NUMBER), 10**4000, 0, -1, True, 1.5, "x", "9" * 5000], ids=lambda v: str(v)[:11])
def test_times_has_no_room_for_an_nhs_number(times: object) -> None:
    """It is told in logs."""
    with pytest.raises(MistakenScenario, match="times is how often"):
        scenario(behaviour="delay", seconds=1, times=times)


def test_a_number_of_very_many_digits_is_refused_in_our_own_words() -> None:
    with pytest.raises(MistakenScenario, match="bytes_per_second is a whole number from 1 to 1000000"):
        scenario(behaviour="slow", bytes_per_second="9" * 5000)


@pytest.mark.parametrize("code", GENERAL)
def test_every_general_category(code: str) -> None:
    refusal = treated(QUERY, behaviour="error", code=code).refusal
    assert refusal is not None
    assert refusal.issues == (GENERAL[code],)
    assert refusal.ack is (AckType.REJECTED if code == "502" else AckType.ERROR)


@pytest.mark.parametrize("facts", [QUERY, UPLOADED, Facts(Channel.SOAP, ACS_SET, NUMBER)], ids=lambda f: f.interaction)
@pytest.mark.parametrize("code", DETAILS)
def test_every_specific_code_in_every_domain(facts: Facts, code: str) -> None:
    refusal = treated(facts, behaviour="error", code=code).refusal
    assert refusal is not None
    general = DETAILS[code].general
    assert refusal.issues[0].code == general
    assert {issue.severity for issue in refusal.issues} == {GENERAL[general].severity}
    if code == "30402" and facts is UPLOADED:
        assert [issue.display[:5] for issue in refusal.issues] == ["30402"]
    else:
        assert [issue.code for issue in refusal.issues] == [general, code]
    assert not any("{" in issue.display for issue in refusal.issues)


@pytest.mark.parametrize("code", WRAPPER_ERRORS)
def test_every_wrapper_error(code: str) -> None:
    refusal = treated(UPLOADED, behaviour="wrapper-error", code=code).refusal
    assert refusal is not None
    assert (refusal.ack, refusal.issues) == (AckType.REJECTED, (WRAPPER_ERRORS[code],))
    consent = treated(Facts(Channel.SOAP, ACS_SET), behaviour="wrapper-error", code=code).refusal
    assert consent is not None
    assert [issue.code for issue in consent.issues] == [code, "400", "99720"]


def test_every_fault_and_ebxml_error() -> None:
    assert [treated(QUERY, behaviour="fault", code=code).fault for code in FAULTS] == list(FAULTS)
    for key in EBXML_ERRORS:
        assert treated(UPLOADED, behaviour="message-error", error=key).message_errors == (key,)


def test_a_merged_number_is_told_in_the_form_of_the_interaction() -> None:
    for interaction in UPLOADS:
        refusal = treated(Facts(Channel.EBXML, interaction, NUMBER), behaviour="error", code="30307").refusal
        assert refusal is not None
        assert refusal.issues[1].display.startswith("[PSIS-30307] - PQR-99 - ")
    refusal = treated(QUERY, behaviour="error", code="30307").refusal
    assert refusal is not None
    assert refusal.issues[1].display == "[PSIS-30307] - The NHS Number has been merged."


def test_words_of_a_text_are_given_or_the_request_s_own_or_placeholders() -> None:
    def text(**fields: str) -> str:
        refusal = treated(QUERY, behaviour="error", code="30134", fields=fields).refusal
        assert refusal is not None
        return refusal.issues[1].display

    assert text() == f"[PSIS-30134] - Duplicate event with eventId x and nhsNumber {NUMBER}."
    assert text(event_id="E", nhs_number="N") == "[PSIS-30134] - Duplicate event with eventId E and nhsNumber N."


def test_nothing_is_acknowledged_that_is_not_processed() -> None:
    """What is not processed is refused or not answered; what is processed keeps the answer that it got."""
    forms: list[dict[str, Any]] = [
        {"behaviour": "error", "code": "430"},
        {"behaviour": "wrapper-error", "code": "501"},
        {"behaviour": "fault", "code": "200"},
        {"behaviour": "message-error", "error": "expired"},
        {"behaviour": "no-answer"},
        {"behaviour": "no-answer", "how": "empty"},
        {"behaviour": "drop"},
        *({"behaviour": "outage", "seconds": 1, "answer": answer} for answer in ("503", "fault", "drop")),
    ]
    for form in forms:
        found = treated(UPLOADED, **form)
        assert not found.processed, form
        assert found.refusal is None or not found.refusal.accepted
    for form in (
        {"behaviour": "delay", "seconds": 1},
        {"behaviour": "late", "seconds": 1},
        {"behaviour": "duplicate"},
        {"behaviour": "drop", "processed": True},
        {"behaviour": "drop", "where": "middle"},
        {"behaviour": "slow"},
        {"behaviour": "content-type"},
        {"behaviour": "malformed"},
    ):
        assert treated(UPLOADED, **form).processed, form


# --- which one ------------------------------------------------------------------------------------------------------


def query(number: str = NUMBER, asid: str = "200000000115") -> bytes:
    """Return as much of a query as scenarios look at."""
    return (
        '<a xmlns="urn:hl7-org:v3"><communicationFunctionSnd><device><id root="1.2.826.0.1285.0.2.0.107" '
        f'extension="{asid}"/></device></communicationFunctionSnd>'
        f'<value root="2.16.840.1.113883.2.1.4.1" extension="{number}"/></a>'
    ).encode()


HEADERS = {b"soapaction": f'"urn:nhs:names:services:psisquery/{EVENT_LIST}"'.encode()}


@pytest.mark.parametrize("how", ["close", "empty"])
def test_an_alert_in_fhir_is_not_told_that_it_is_kept(how: str) -> None:
    """Any 2xx says so there: what is not kept gets no answer at all. Spec: 60 §12.5."""
    treatment = treated(Facts(Channel.FHIR, ALERT_FHIR), behaviour="no-answer", how=how)
    assert (treatment.silent, treatment.drop, treatment.status, treatment.processed) == (True, "before", 0, False)


def test_an_outage_ends_and_times_are_used_up() -> None:
    clock = Clock()
    scenarios = Scenarios(clock)
    scenarios.put(scenario(behaviour="outage", seconds=10))
    assert scenarios.treat(Channel.SOAP, HEADERS, query()) is not None
    clock.now += timedelta(seconds=10)
    assert scenarios.treat(Channel.SOAP, HEADERS, query()) is None
    scenarios.put(scenario(behaviour="fault", code="206", times=1, name="once"))
    assert scenarios.treat(Channel.SOAP, HEADERS, query()) is not None
    assert scenarios.treat(Channel.SOAP, HEADERS, query()) is None


def test_of_equals_the_one_that_was_set_last() -> None:
    scenarios = Scenarios(Clock())
    for name in ("first", "second"):
        scenarios.put(scenario(behaviour="fault", code="206", nhs_number=NUMBER, name=name))
    found = scenarios.treat(Channel.SOAP, HEADERS, query())
    assert found is not None
    assert found.scenario == "second"


def test_a_behaviour_that_a_channel_does_not_have_leaves_it_alone() -> None:
    scenarios = Scenarios(Clock())
    scenarios.put(scenario(behaviour="message-error", error="expired"))
    scenarios.put(scenario(behaviour="duplicate", nhs_number=NUMBER, name="other"))
    assert scenarios.treat(Channel.SOAP, HEADERS, query()) is None
    assert [setting.hits for setting in scenarios.settings] == [0, 0]


@pytest.mark.parametrize("body", [b"", b"<", b"\xff", b'<a root="2.16.840.1.113883.2.1.4.1"/>'])
@pytest.mark.parametrize("channel", Channel)
def test_a_request_that_cannot_be_read_has_no_facts(channel: Channel, body: bytes) -> None:
    found = read_facts(channel, {b"soapaction": b"nonsense"}, body)
    assert found == Facts(channel, ALERT_FHIR if channel is Channel.FHIR else "")


def test_facts_of_a_query() -> None:
    assert read_facts(Channel.SOAP, HEADERS, query()) == QUERY


def test_there_is_an_end_to_scenarios() -> None:
    scenarios = Scenarios(Clock())
    for number in range(MOST):
        scenarios.put(scenario(behaviour="duplicate", name=f"n{number}"))
    assert scenarios.has_room_for(["n0"])
    assert not scenarios.has_room_for(["another"])
    assert scenarios.fresh_name() == "scenario-1"


# --- forms ----------------------------------------------------------------------------------------------------------


def test_every_scenario_of_every_set_comes_back_from_its_form() -> None:
    scenarios = Scenarios(Clock())
    for named in SETS.values():
        for each in named.scenarios():
            shown = setting_form(scenarios.put(each), Clock()())
            assert read_set_scenario(shown) == each


@pytest.mark.parametrize("interaction", [name for _, name in INTERACTIONS])
def test_a_scenario_can_be_meant_for_every_interaction(interaction: str) -> None:
    found = scenario(behaviour="delay", seconds=1, interaction=interaction)
    assert found.match.interactions == (interaction,)


def test_a_mistake_never_repeats_a_number() -> None:
    for form in (
        {"behaviour": "delay", "seconds": 1, "nhs_number": "9990012319"},
        {"behaviour": "9990012319"},
        {"behaviour": "delay", "seconds": "9990012319"},
        {"behaviour": "delay", "seconds": 1, "9990012319": ""},
        {"named": "9990012319"},
    ):
        with pytest.raises(MistakenScenario) as caught:
            read_scenarios(form, lambda: "fresh")
        assert "9990012319" not in caught.value.diagnostics


# --- twice ----------------------------------------------------------------------------------------------------------


class Net:
    """A carrier that notes what it carries, and loses everything after the first."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    async def post(self, address: str, headers: Any, body: bytes, names: Any = ()) -> HttpAnswer:
        self.sent.append(body)
        if len(self.sent) > 1:
            raise DeliveryError("lost")
        return HttpAnswer(200, b"first")


async def test_a_second_delivery_that_fails_changes_nothing() -> None:
    net, scenarios = Net(), Scenarios(Clock())
    scenarios.put(scenario(behaviour="duplicate"))
    carrier = RepeatingCarrier(net, scenarios)
    envelope = write_user_message(
        from_party="A",
        to_party="B",
        cpa_id="C",
        conversation_id="D",
        service="S",
        action=POLLING_UPLOAD,
        message_id="ANSWER",
        timestamp="2026-01-01T00:00:00Z",
        ref_to_message_id="QUESTION",
        reliability=Reliability.RELIABLE,
        spine=True,
    )
    body = write_multipart((("a@b", "text/xml", envelope), ("ANSWER@spine.nhs.uk", "application/xml", b"<a/>")))
    headers = {"Content-Type": SPINE_CONTENT_TYPE}
    question = envelope.replace(b"ANSWER", b"question").replace(b"QUESTION", b"NONE")
    asked = write_multipart((("a@b", "text/xml", question), ("question@spine.nhs.uk", "application/xml", b"<a/>")))
    scenarios.treat(Channel.EBXML, {b"content-type": SPINE_CONTENT_TYPE.encode()}, asked)
    assert (await carrier.post("x:", headers, body)).body == b"first"
    assert net.sent == [body, body]
    net.sent.clear()
    await carrier.post("x:", headers, body)
    assert net.sent == [body]
    net.sent.clear()
    await carrier.post("x:", {}, b"no message")
    assert net.sent == [b"no message"]
