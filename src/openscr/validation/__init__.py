"""Validators: what is wrong with a message of the Summary Care Record, where, and how to mend it.

    from openscr.validation import validate

    report = validate(Path("upload.http").read_bytes())
    for finding in report.diagnoses:
        print(finding.rule, finding.line, finding.help)

Spec: 00 §4 ``validate``, §6.1; 10 §11.5.
"""

from openscr.validation.examination import unreadable, validate
from openscr.validation.report import Diagnosis, Level, Report, Severity
from openscr.validation.schemas import Schemas

__all__ = ["Diagnosis", "Level", "Report", "Schemas", "Severity", "unreadable", "validate"]
