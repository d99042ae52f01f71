"""OperationOutcome: how a refusal is told in FHIR. Spec: 60 §11, §12.5."""

from typing import Any, Final

import msgspec

ERROR_SYSTEM: Final = "https://fhir.nhs.uk/CodeSystem/Spine-ErrorOrWarningCode"
MEDIA_TYPE: Final = "application/fhir+json"


class _Coding(msgspec.Struct):
    display: str = ""


class _Details(msgspec.Struct):
    coding: list[_Coding] = []
    text: str = ""


class _Issue(msgspec.Struct):
    details: _Details = msgspec.field(default_factory=_Details)


class _OperationOutcome(msgspec.Struct):
    issue: list[_Issue] = []


_DECODER = msgspec.json.Decoder(_OperationOutcome)


def write_outcome(
    issue: str, code: str, display: str, *, severity: str = "error", text: str = "", diagnostics: str | None = None
) -> bytes:
    """Write one issue: its FHIR type, the Spine code with what it says and what else helps.

    ``text`` is for people, where they should read something else than ``display``. Spec: 60 §12.5, §4.2.
    """
    told: dict[str, Any] = {
        "severity": severity,
        "code": issue,
        "details": {
            "coding": [{"system": ERROR_SYSTEM, "version": "1", "code": code, "display": display}],
            "text": text or display,
        },
    }
    if diagnostics:
        told["diagnostics"] = diagnostics
    return msgspec.json.encode({"resourceType": "OperationOutcome", "issue": [told]})


def text_of_outcome(body: bytes) -> str:
    """Return what the first issue of an OperationOutcome says, empty when the body is none. Spec: 60 §8.2."""
    try:
        issues = _DECODER.decode(body).issue
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ""
    details = issues[0].details if issues else _Details()
    return (details.coding[0].display if details.coding else "") or details.text
