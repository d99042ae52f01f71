"""Summaries as JSON, in both forms; every number is of the 999 range."""

import json
from typing import Any

from shared import MESSAGES

PATIENT = "9990000018"
EVENT = "A7E43F20-8A5C-4A1C-9A7D-0F7C7B1C9F01"
PRIOR = "C7E43F20-8A5C-4A1C-9A7D-0F7C7B1C9F03"
SENDER = "200000000101"
RECEIVER = "227319907548"
TEXT = "<h2>Summary</h2><table><tr><td>No known allergies &amp; nothing else</td></tr></table>"


def _id(extension: str) -> dict[str, Any]:
    return {"id": {"extension": extension}}


def example_form(patient: str = PATIENT, event: str = EVENT, *replaced: str, **changes: Any) -> dict[str, Any]:
    """The form of the NHS example library. Spec: 50 §12."""
    person = {**_id("055888118514"), "agentPersonSDS": _id("979603625513")}
    form: dict[str, Any] = {
        "Id": event,
        "creationTime": "20261123101500",
        "versionCode": "V3NPfIT3.0",
        "communicationFunctionRcv": {"device": _id(RECEIVER)},
        "communicationFunctionSnd": {"device": _id(SENDER)},
        "controlActEvent": {
            "author1": {"agentSystemSDS": _id(SENDER)},
            "author": {"AgentPersonSDS": {**person, "part": {"partSDSRole": _id("R0260")}}},
            "subject": {
                "GPSummary": {
                    "id": {"root": event},
                    "effectiveTime": "20261123101500",
                    "author": {
                        "time": "20261123101500",
                        "AgentPersonSDS": {
                            **_id("055888118514"),
                            "agentPersonSDS": {**_id("979603625513"), "name": "<family>Demopractice</family>"},
                        },
                    },
                    "excerptForm": {
                        "CareDocs": {
                            "presentationText": {
                                "value": TEXT,
                                "id": {"root": "B7E43F20-8A5C-4A1C-9A7D-0F7C7B1C9F02"},
                                "effectiveTime": {"value": "20261123101500"},
                            }
                        }
                    },
                    "recordTarget": {"patient": _id(patient)},
                    "replacementOf": [{"priorMessageRef": {"id": {"root": each}}} for each in replaced],
                }
            },
        },
    }
    return form | changes


def at(form: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Return the object that holds what stands at a path, and its name there."""
    *parents, name = path.split(".")
    for part in parents:
        form = form[part]
    return form, name


def plain_form(patient: str = PATIENT, **changes: Any) -> dict[str, Any]:
    """Our own form: the worked example, for another patient and with ids of its own."""
    form: dict[str, Any] = json.loads((MESSAGES / "gp-summary" / "summary.json").read_text("utf-8"))
    for name in ("event_id", "message_id", "replaces", "presentation", "created"):
        form.pop(name, None)
    return form | {"patient": {"nhs_number": patient}} | changes
