"""A privacy alert of the demo's GP, in HL7's words and in FHIR's."""

import json
from dataclasses import replace
from typing import Any

from openscr.codes import ALERT, ALERT_REASONS, ALERT_TYPES
from openscr.fhir.audit_event import REASON_SYSTEM, TYPE_SYSTEM, write_audit_event
from openscr.spine import Alert, AlertUser, CodedValue, MessageIds
from openscr.testbench.alerts import REASON_OID, TYPE_OID

REFERENCE = "1C03CF4F-D404-4D76-B192-4F81727059F6"
USER = AlertUser("555000000101", "Dr Gita Demopractice", "R8000", "555000000102", "Y90001", "Demo Practice")


def an_alert(nhs_number: str, kind: str = "2", reason: str = "5", *, text: str = "Found unconscious") -> Alert:
    """Return an alert, by default of an access made in an emergency."""
    return Alert(
        ids=MessageIds("", ALERT),
        nhs_number=nhs_number,
        type=CodedValue(kind, TYPE_OID, ALERT_TYPES[kind]),
        reason=CodedValue(reason, REASON_OID, ALERT_REASONS[reason]),
        occurred_at="20261122143000",
        user=USER,
        system_name="Demo GP system",
        text=text,
        notification=f"Alert: Permission to view override {REFERENCE}",
        reference=REFERENCE,
    )


def in_fhir(alert: Alert, asid: str = "200000000115") -> dict[str, Any]:
    """Return it as an AuditEvent."""
    alert = replace(
        alert,
        type=replace(alert.type, system=TYPE_SYSTEM),
        reason=replace(alert.reason, system=REASON_SYSTEM),
        occurred_at="2026-11-22T14:30:00+00:00",
    )
    found: dict[str, Any] = json.loads(write_audit_event(alert, asid))
    return found
