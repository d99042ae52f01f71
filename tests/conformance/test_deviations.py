"""What real senders do otherwise than the model: accepted, stored untouched, and told once in log and audit.

Spec: 10 §17.
"""

from dataclasses import dataclass
from pathlib import Path

import pytest
from lxml import etree
from structlog.testing import capture_logs

from hl7.mutation import Change, add, both, drop, empty, mutated, put, rename, say, without
from hl7.rules import message
from openscr.identifiers import mint_uuid
from openscr.transport.xml import read_xml

from .harness import Harness, running

PATIENT = "9990001030"
ACT = "h:ControlActEvent"
DOCUMENT = f"{ACT}/h:subject/h:GPSummary"
VALUE = f"{DOCUMENT}/h:excerptFrom/*/h:component/h:presentationText/h:value"
WRAPPER_ID = "6D68C00C-7135-5BF6-8ADB-278528C9F62D"


def system_first(root: etree._Element) -> None:
    """Put ``author1`` before ``author``."""
    act = root.find("{*}ControlActEvent")
    assert act is not None
    system = act.find("{*}author1")
    assert system is not None
    act.insert(0, system)


def status_first(root: etree._Element) -> None:
    """Swap effective time and status."""
    document = root.find("{*}ControlActEvent/{*}subject/{*}GPSummary")
    assert document is not None
    status = document.find("{*}statusCode")
    assert status is not None
    document.insert(2, status)


def lower_case(root: etree._Element) -> None:
    """Write the message's ids in lower case."""
    for path in ("{*}id", "{*}ControlActEvent/{*}subject/{*}GPSummary/{*}id"):
        element = root.find(path)
        assert element is not None
        element.set("root", WRAPPER_ID.lower())


def heading_outside_html(root: etree._Element) -> None:
    """Put a heading in the HL7 namespace where the html should be."""
    both(empty(VALUE), add(VALUE, "<h1>General Practice Summary</h1>"))(root)


@dataclass(frozen=True)
class Row:
    """A row of the table: how to deviate, and the names that log and audit must give it."""

    name: str
    change: Change
    told: str

    def __str__(self) -> str:
        return self.name


STRANGER = both(
    put(f"{ACT}/h:author/h:AgentPersonSDS/h:id", "extension", "055888118514"),
    put(f"{ACT}/h:author//h:agentPersonSDS/h:id", "extension", "979603625513"),
    put(f"{ACT}/h:author//h:partSDSRole/h:id", "extension", "R0260"),
)

ROWS = (
    Row("author1 before author", system_first, "author1_before_author"),
    Row("presentation not html", heading_outside_html, "presentation_not_html"),
    Row("presentation empty", empty(VALUE), "presentation_not_html"),
    Row(
        "receiver not ours",
        put("h:communicationFunctionRcv//h:id", "extension", "227319907548"),
        "receiver_not_ours",
    ),
    Row(
        "party key as receiver",
        put("h:communicationFunctionRcv//h:id", "extension", "YES-0000806"),
        "receiver_not_ours",
    ),
    Row("fixed author", STRANGER, "author_unverified"),
    Row("message id not event id", put("h:id", "root", mint_uuid()), "message_id_not_event_id"),
    Row("lower-case ids", lower_case, "lower_case_id"),
    Row("no ITSVersion", without(".", "ITSVersion"), "its_version_missing"),
    Row("no entries", drop(f"{DOCUMENT}/h:pertinentInformation2"), "entries_empty_or_missing"),
    Row("empty entries", empty(f"{DOCUMENT}/h:pertinentInformation2"), "entries_empty_or_missing"),
    Row("ALRT", put(ACT, "classCode", "ALRT"), "control_act_alrt"),
    Row("status before time", status_first, "status_before_time"),
    Row(
        "pertinentInformation", rename(f"{DOCUMENT}/h:pertinentInformation1", "pertinentInformation"), "unknown_element"
    ),
    Row(
        "several",
        both(system_first, put(ACT, "classCode", "ALRT"), STRANGER, drop(f"{DOCUMENT}/h:pertinentInformation2")),
        "author1_before_author control_act_alrt entries_empty_or_missing author_unverified",
    ),
)

SILENT = (
    # Forms that are as good as the model's: nobody needs to be told.
    Row("job role with area", put(f"{ACT}/h:author//h:partSDSRole/h:id", "extension", "S8000:G8000:R8000"), ""),
    # What stands inside the entries is not read on this path.
    Row("quantity as text", say(f"{DOCUMENT}/h:pertinentInformation2//h:code", "text"), ""),
    Row(
        "CSAB template", put(f"{DOCUMENT}/h:excerptFrom/h:templateId", "extension", "CSAB_RM-NPfITUK10.excerptFrom"), ""
    ),
    Row(
        "Diagnosis CON",
        put(f"{DOCUMENT}/h:pertinentInformation2/h:pertinentCREType/h:component/*[3]", "classCode", "CON"),
        "",
    ),
)


@pytest.mark.parametrize("row", [*ROWS, *SILENT], ids=str)
async def test_deviation(service: Harness, row: Row) -> None:
    """The upload is accepted, its bytes are kept, and what is remarkable is told once in log and audit."""
    _, initial = await service.deliver(message("gp-summary", "01"))
    assert initial.outcome.accepted
    payload = mutated(message("gp-summary", "02"), row.change)
    with capture_logs() as logs:
        _, acknowledgement = await service.deliver(payload)
    assert acknowledgement.outcome.accepted, acknowledgement.outcome
    wrapper_id = read_xml(payload).find("{*}id")
    assert wrapper_id is not None
    assert acknowledgement.reference == wrapper_id.get("root")
    entry = (await service.audit(nhs_number=PATIENT))[-1]
    assert entry.content.get("deviations", "") == row.told
    warnings = [log for log in logs if log["log_level"] == "warning"]
    assert [log["deviations"] for log in warnings] == ([row.told] if row.told else [])
    assert PATIENT not in str(logs)


async def test_faithful_upload_is_silent(service: Harness) -> None:
    """Messages as the model wants them leave no warning."""
    for name in ("01", "02", "03", "05", "06"):
        with capture_logs() as logs:
            _, acknowledgement = await service.deliver(message("gp-summary", name))
        assert acknowledgement.outcome.accepted
        assert [log for log in logs if log["log_level"] == "warning"] == []
    assert all("deviations" not in entry.content for entry in await service.audit())


async def test_unknown_author_where_refused(tmp_path: Path) -> None:
    """A live service refuses an upload of a person that nobody knows. Spec: 35 §9.2."""
    async with running(tmp_path, unknown_author="refuse") as service:
        await service.deliver(message("gp-summary", "01"))
        _, acknowledgement = await service.deliver(mutated(message("gp-summary", "02"), STRANGER))
        assert [issue.code for issue in acknowledgement.outcome.issues] == ["420", "30418"]
        entry = (await service.audit(nhs_number=PATIENT))[-1]
        assert entry.content["reason"] == "author_unknown"


async def test_a_query_for_another_environment_is_answered_and_told(service: Harness) -> None:
    """A published client's query carries a party key where the ASID should be: it passes, and the log says so.

    Spec: 20 §15.5, 40 §8 step 10.
    """
    base = message("psis-query", "QUPC_IN160101UK05_request_payload")
    for change, told in (
        (put("h:communicationFunctionRcv//h:id", "extension", "YES-0000806"), ["receiver_not_ours"]),
        (put("h:creationTime", "value", "20260302120000"), []),
    ):
        with capture_logs() as logs:
            delivery = await service.express(mutated(base, change), interaction="QUPC_IN160101UK05")
        assert delivery.envelope.action in ("QUQI_IN010000UK14", "QUPC_IN160102UK05")
        assert [log["deviations"] for log in logs if log["event"] == "deviations"] == told
