"""Every example of the repository is judged as the specification says. Spec: 10 §18, 20 §14, 30 §8, 40 §12."""

from pathlib import Path

import pytest

from openscr.validation import validate
from shared import MESSAGES, shared

FAULTY = {
    "acs/n1-set-resource-id-mismatch.xml": ["acs-S6"],
    "acs/n2-set-inconsistent-view-store.xml": ["acs-S8"],
    "acs/n3-set-sealing-three-assertions.xml": ["acs-S2", "acs-S11", "acs-S12"],
    "acs/n4-get-short-nhs-number.xml": ["acs-G5"],
    "acs/n5-has-no-access-control-set.xml": ["acs-H2"],
    "acs/n6-set-no-permission-value.xml": ["acs-S16"],
    "directory.json": ["message"],
    "gp-summary/summary.json": ["message"],
    "transport/28-sds-device.json": ["message"],
    "transport/29-sds-endpoint.json": ["message"],
}
"""Examples with errors, by the rules that they break; the last four are no messages."""

WARNED = {
    "transport/01-upload-request.http": ["gp-message-id-not-event-id"],
    "transport/19-polling-upload-request.http": ["gp-author1-before-author", "gp-message-id-not-event-id"],
}

FILES = sorted(
    str(path.relative_to(MESSAGES)) for path in MESSAGES.rglob("*") if path.is_file() and path.name[0] != "."
)


@pytest.mark.parametrize("name", FILES)
def test_example(name: str) -> None:
    report = validate((MESSAGES / name).read_bytes())
    found = [finding.rule for finding in report.diagnoses if finding.rule != "coverage"]
    assert found == FAULTY.get(name, WARNED.get(name, []))
    assert report.ok is (name not in FAULTY)
    assert report.recognised is not name.endswith(".json")


@pytest.mark.parametrize("name", [name for name in FILES if "_IN" in name or "_INUK" in name])
def test_the_interaction_is_the_one_in_the_name(name: str) -> None:
    interaction = validate((MESSAGES / name).read_bytes()).interaction
    assert interaction is not None
    assert interaction in name


@pytest.mark.parametrize(
    ("name", "interaction"),
    [
        ("01", "REPC_IN150016UK05"),
        ("02", "Acknowledgment"),
        ("03", "MCCI_IN010000UK13"),
        ("08", None),
        ("09", "QUQI_IN010000UK14"),
        ("11", "QUPC_IN180000UK04"),
        ("12", "QUPC_IN200000UK04"),
        ("14", None),
        ("18", "MessageError"),
        ("19", "REPC_IN150016SM05"),
        ("21", None),
        ("23", "MCCI_IN010000UK13"),
    ],
)
def test_captures_are_recognised(name: str, interaction: str | None) -> None:
    (path,) = (MESSAGES / "transport").glob(f"{name}-*")
    assert validate(path.read_bytes()).interaction == interaction


def test_what_is_not_checked_is_said() -> None:
    """Queries of a domain that is not ours are read, but their own rules are not known: silence is no proof."""
    (path,) = (MESSAGES / "psis-query").glob("QUPC_IN160101UK05_request_payload*")
    data = path.read_bytes().replace(b"QUPC_IN160101UK05", b"QUPC_IN250000UK02")
    (finding,) = validate(data).diagnoses
    assert (finding.rule, finding.severity) == ("coverage", "warning")


def corpus() -> list[Path]:
    return sorted(path for path in shared("corpus").rglob("*") if path.is_file())


def test_every_file_of_the_corpus_gets_a_report() -> None:
    """Whatever public projects send, nothing is raised, and the answers of Spine are in order."""
    reports = {path: validate(path.read_bytes()) for path in corpus()}
    assert len(reports) > 100
    answers = [
        report
        for path, report in reports.items()
        if path.suffix == ".xml" and {"sandbox", "uat"} & set(path.parts) and report.recognised
    ]
    assert len(answers) >= 8
    assert all(report.ok for report in answers)
