"""Reports as SARIF 2.1.0: what the form requires, and that nothing of a message is in it. Spec: 00 §4."""

import json
from pathlib import Path

import pytest

from openscr.validation import Level, Report, validate
from openscr.validation.sarif import sarif_log
from shared import MESSAGES

FAULTY = sorted((MESSAGES / "acs").glob("n?-*.xml"))


def reports() -> list[tuple[str, Report]]:
    return [(path.name, validate(path.read_bytes())) for path in FAULTY]


def test_every_finding_is_a_result_that_leads_to_its_rule_and_its_line() -> None:
    """SARIF 2.1.0 §3.27, §3.49: ruleIndex is the place of the rule in the driver."""
    log = sarif_log(reports(), "1.2.3")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["semanticVersion"]) == ("openscr validate", "1.2.3")
    assert len({rule["id"] for rule in driver["rules"]}) == len(driver["rules"])
    diagnoses = [(name, diagnosis) for name, report in reports() for diagnosis in report.diagnoses]
    assert len(run["results"]) == len(diagnoses) > 6
    for result, (name, diagnosis) in zip(run["results"], diagnoses, strict=True):
        assert result["ruleId"] == diagnosis.rule == driver["rules"][result["ruleIndex"]]["id"]
        assert result["level"] in ("error", "warning")
        assert result["message"]["text"] == diagnosis.help
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert physical["artifactLocation"]["uri"] == name
        assert run["artifacts"][physical["artifactLocation"]["index"]]["location"]["uri"] == name
        assert physical["region"] == {"startLine": diagnosis.line, "byteOffset": diagnosis.offset}
        assert location["logicalLocations"][0]["fullyQualifiedName"] == diagnosis.xpath
        assert result["properties"]["key"] == diagnosis.key
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["help"]["text"]


def test_no_findings_are_an_empty_run() -> None:
    """Code hosts take an empty run as "all mended"; results must be there."""
    (run,) = sarif_log([], "1")["runs"]
    assert run["results"] == run["artifacts"] == run["tool"]["driver"]["rules"] == []


@pytest.mark.parametrize("path", FAULTY, ids=lambda path: path.stem)
def test_nothing_of_the_message_is_in_it(path: Path) -> None:
    text = json.dumps(sarif_log([("input.xml", validate(path.read_bytes(), level=Level.STRICT))], "1"))
    assert "999001" not in text


def test_the_level_is_told() -> None:
    summary = next((MESSAGES / "gp-summary").glob("02*")).read_bytes()
    (run,) = sarif_log([("-", validate(summary, level=Level.STRICT))], "1")["runs"]
    (artifact,) = run["artifacts"]
    assert artifact["location"]["uri"] == "stdin"
    assert artifact["properties"] == {"interaction": "REPC_IN150016UK05", "level": "strict", "ok": True}
