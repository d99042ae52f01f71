"""Every rule, broken one at a time: the validator finds exactly what the reader finds, and says where it is.

The rows are those of `hl7.rules`, which also go through the readers and the real endpoints.
"""

import pytest

from hl7.document_rules import DOCUMENT_RULES, SCRA_RULES
from hl7.mutation import Change, drop, mutated, put, repeat, say, without
from hl7.rules import (
    ACS_HEADER_RULES,
    ACS_WRAPPER_RULES,
    GET_RULES,
    HAS_RULES,
    QUERY_RULES,
    SET_RULES,
    SUMMARY_RULES,
    WRAPPER_RULES,
    Row,
    message,
)
from openscr.transport.wsa import HEADER_RULES
from openscr.validation import Report, validate

from .judging import at, errors, example, rules


def check_places(data: bytes, report: Report) -> None:
    """Every XPath leads to one element, which begins in the line and at the byte that are told."""
    offsets = [finding.offset for finding in report.diagnoses]
    assert offsets == sorted(offsets)
    for finding in report.diagnoses:
        element = at(data, finding.xpath)
        assert finding.line == element.sourceline, finding
        assert data[finding.offset : finding.offset + 1] == b"<"
        name = str(element.tag).rpartition("}")[2].encode()
        assert name in data[finding.offset : finding.offset + len(name) + 20]
        assert finding.wrong
        assert finding.mend


def expected(row: Row) -> list[tuple[str, str, str]]:
    return sorted(row.found)


def found(report: Report) -> list[tuple[str, str, str]]:
    return sorted((finding.rule, finding.key, finding.text) for finding in errors(report))


@pytest.mark.parametrize("row", SUMMARY_RULES, ids=str)
def test_summary_rules(row: Row) -> None:
    data = mutated(message("gp-summary", row.base), row.change)
    report = validate(data)
    assert found(report) == expected(row)
    assert not report.ok
    assert {(f.code, f.code_system) for f in errors(report)} <= {
        (code, "2.16.840.1.113883.2.1.3.2.4.17.33") for code in ("400", "35160")
    }
    check_places(data, report)


@pytest.mark.parametrize("row", WRAPPER_RULES, ids=str)
def test_wrapper_refusals(row: Row) -> None:
    """Wrapper refusals carry their code; no rule behind them is asked. Spec: 00 §4, 10 §14."""
    data = mutated(message("gp-summary", row.base), row.change)
    report = validate(data)
    prefix = "wd" if row.base == "04" else "gp"
    assert sorted(rules(report)) == [f"{prefix}-{code}" for code, _ in row.issues]
    assert sorted((f.code, f.text) for f in errors(report)) == sorted(row.issues)
    assert {f.code_system for f in errors(report)} == {"2.16.840.1.113883.2.1.3.2.4.17.32"}
    assert all(f.key.startswith("ErrorBase1732.") for f in errors(report))
    check_places(data, report)


def header_rules(row: Row, *, query: bool) -> list[str]:
    known = [HEADER_RULES[location] for location in row.location if location in HEADER_RULES]
    return [f"psis-{rule.query_label}" if query else f"soap-{rule.number}" for rule in known]


@pytest.mark.parametrize("row", QUERY_RULES, ids=str)
def test_query_rules(row: Row) -> None:
    data = mutated(message("psis-query", row.base), row.change)
    report = validate(data)
    if not row.location:
        assert found(report) == expected(row)
        assert {f.code for f in errors(report)} == {"35160"}
    else:
        body_too = ["psis-B1"] if row.label in {"B1", "several"} else []
        assert sorted(rules(report)) == sorted(header_rules(row, query=True) + body_too)
    check_places(data, report)


@pytest.mark.parametrize("row", [*DOCUMENT_RULES, *SCRA_RULES], ids=str)
def test_rules_of_documents_and_scr_applications(row: Row) -> None:
    """A bare payload is judged as what comes over ebXML. Spec: 20 §12, 30 §5.4."""
    data = mutated(message("psis-query", row.base), row.change)
    report = validate(data)
    assert found(report) == expected(row)
    assert {f.code for f in errors(report)} == {"35160"}
    check_places(data, report)


@pytest.mark.parametrize("row", [*SET_RULES, *GET_RULES, *HAS_RULES, *ACS_WRAPPER_RULES], ids=str)
def test_consent_rules(row: Row) -> None:
    data = mutated(message("acs", row.base), row.change)
    report = validate(data)
    assert found(report) == expected(row)
    check_places(data, report)


@pytest.mark.parametrize("row", ACS_HEADER_RULES, ids=str)
def test_soap_header_rules(row: Row) -> None:
    data = mutated(message("acs", row.base), row.change)
    report = validate(data)
    assert sorted(rules(report)) == sorted(header_rules(row, query=False))
    assert {(f.code, f.code_system) for f in errors(report)} == {("201", "urn:nhs:names:error:tms")}
    check_places(data, report)


SUMMARY = "h:ControlActEvent/h:subject/h:GPSummary"
AGENT = f"{SUMMARY}/h:author/*[contains(local-name(), 'Agent')]"
ROOT = "/REPC_IN150016UK05"
WITHDRAWAL = "/REPC_IN150018UK02/ControlActEvent/subject/MessageWithdrawal"
SET_BODY = (
    "/SOAP:Envelope/SOAP:Body/hl7:SET_RESOURCE_PERMISSIONS_INUK01/hl7:ControlActEvent/"
    "crs:setResourcePermissionsRequest/crs:permissions"
)


@pytest.mark.parametrize(
    ("folder", "base", "change", "rule", "xpath"),
    [
        ("gp-summary", "02", drop("h:versionCode"), "gp-503", ROOT),
        ("gp-summary", "02", put("h:versionCode", "code", ""), "gp-503", f"{ROOT}/versionCode"),
        ("gp-summary", "02", repeat("h:ControlActEvent"), "gp-504", f"{ROOT}/ControlActEvent[2]"),
        (
            "gp-summary",
            "02",
            drop("h:communicationFunctionSnd/h:device/h:id"),
            "gp-507",
            f"{ROOT}/communicationFunctionSnd/device",
        ),
        (
            "gp-summary",
            "02",
            drop(f"{SUMMARY}/h:statusCode"),
            "gp-G4",
            f"{ROOT}/ControlActEvent/subject/GPSummary",
        ),
        (
            "gp-summary",
            "02",
            repeat(f"{SUMMARY}/h:id"),
            "gp-G2",
            f"{ROOT}/ControlActEvent/subject/GPSummary/id[2]",
        ),
        (
            "gp-summary",
            "02",
            put(f"{SUMMARY}/h:recordTarget/h:patient/h:id", "extension", "9990001031"),
            "gp-nhs-number",
            f"{ROOT}/ControlActEvent/subject/GPSummary/recordTarget/patient/id",
        ),
        (
            "gp-summary",
            "02",
            repeat(f"{SUMMARY}/h:replacementOf"),
            "gp-G7",
            f"{ROOT}/ControlActEvent/subject/GPSummary/replacementOf[2]/priorMessageRef/id",
        ),
        (
            "gp-summary",
            "04",
            drop("h:ControlActEvent/h:subject/h:MessageWithdrawal/h:reason/h:justifyingReason/h:code"),
            "wd-W7",
            f"{WITHDRAWAL}/reason/justifyingReason",
        ),
        (
            "acs",
            "01-",
            say("//crs:accessControlAssertion[2]/crs:permission", "No"),
            "acs-S8",
            f"{SET_BODY}/crs:accessControlAssertion[2]/crs:permission",
        ),
        ("acs", "02-", without("//crs:resourceContext", "root"), "acs-S9", f"{SET_BODY}/crs:resourceContext"),
        (
            "psis-query",
            "QUPC_IN190000UK04_request_soap",
            drop("//h:query/h:eventRecord"),
            "psis-eventRecord",
            "/SOAP:Envelope/SOAP:Body/hl7:QUPC_IN190000UK04/hl7:ControlActEvent/hl7:query",
        ),
        (
            "psis-query",
            "QUPC_IN190000UK04_request_soap",
            drop("/soap:Envelope/soap:Header/wsa:To"),
            "psis-S3",
            "/SOAP:Envelope/SOAP:Header",
        ),
    ],
)
def test_the_place_is_the_element_or_the_parent_of_the_missing_one(
    folder: str, base: str, change: Change, rule: str, xpath: str
) -> None:
    (finding,) = errors(validate(mutated(example(folder, base), change)))
    assert (finding.rule, finding.xpath) == (rule, xpath)
