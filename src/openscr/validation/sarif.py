"""Reports as SARIF 2.1.0, the form in which code hosts and editors take findings of a checker.

One run; every rule that was broken is described once, with its words; a finding has its line and the XPath as logical
location. Nothing of a message's content is in it, but the two words that rule S11 of consent quotes, as Spine does.

Spec: 00 §4 ``validate``, ``validate --json`` for what a finding says.
"""

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import quote

from openscr.validation.report import Diagnosis, Report, Severity

SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS: Final = {Severity.ERROR: "error", Severity.WARNING: "warning"}


def sarif_log(reports: Iterable[tuple[str, Report]], version: str) -> dict[str, Any]:
    """Return the SARIF log of these reports, each with the name of its input; ``version`` is that of the product."""
    rules: dict[str, dict[str, Any]] = {}
    results: list[dict[str, Any]] = []
    artifacts: list[dict[str, Any]] = []
    for index, (name, report) in enumerate(reports):
        artifacts.append({"location": {"uri": _uri(name)}, "properties": _facts(report)})
        for diagnosis in report.diagnoses:
            rule = rules.setdefault(diagnosis.rule, _rule(diagnosis, len(rules)))
            results.append(_result(diagnosis, rule["index"], name, index))
    described = [{key: value for key, value in rule.items() if key != "index"} for rule in rules.values()]
    driver = {"name": "openscr validate", "semanticVersion": version, "rules": described}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "artifacts": artifacts,
        "results": results,
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _uri(name: str) -> str:
    """Return the name of an input as a URI reference, relative where the name is."""
    return quote("stdin" if name == "-" else name, safe="/:")


def _facts(report: Report) -> dict[str, Any]:
    return {"interaction": report.interaction, "level": report.level.value, "ok": report.ok}


def _rule(diagnosis: Diagnosis, index: int) -> dict[str, Any]:
    properties = {"key": diagnosis.key} if diagnosis.key else {}
    return {
        "index": index,
        "id": diagnosis.rule,
        "shortDescription": {"text": diagnosis.wrong},
        "help": {"text": diagnosis.mend or diagnosis.wrong},
        "defaultConfiguration": {"level": _LEVELS[diagnosis.severity]},
        "properties": properties,
    }


def _result(diagnosis: Diagnosis, rule: int, name: str, artifact: int) -> dict[str, Any]:
    location: dict[str, Any] = {
        "physicalLocation": {
            "artifactLocation": {"uri": _uri(name), "index": artifact},
            "region": {"startLine": diagnosis.line, "byteOffset": diagnosis.offset},
        }
    }
    if diagnosis.xpath:
        location["logicalLocations"] = [{"fullyQualifiedName": diagnosis.xpath, "kind": "element"}]
    said = {"key": diagnosis.key, "code": diagnosis.code, "codeSystem": diagnosis.code_system, "text": diagnosis.text}
    return {
        "ruleId": diagnosis.rule,
        "ruleIndex": rule,
        "level": _LEVELS[diagnosis.severity],
        "message": {"text": diagnosis.help},
        "locations": [location],
        "properties": {key: value for key, value in said.items() if value},
    }
