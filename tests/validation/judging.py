"""What the tests of the validator have in common: inputs made from the examples, and findings looked at."""

import re

from lxml import etree

from openscr.codes import HL7_NS
from openscr.validation import Diagnosis, Report, Severity, validate
from openscr.validation.places import PREFIXES
from shared import MESSAGES


def example(folder: str, name: str) -> bytes:
    """Read the one example of a folder whose name begins so."""
    (path,) = sorted((MESSAGES / folder).glob(f"{name}*"))
    return path.read_bytes()


def errors(report: Report) -> list[Diagnosis]:
    """The findings that are errors."""
    return [finding for finding in report.diagnoses if finding.severity is Severity.ERROR]


def rules(report: Report) -> list[str]:
    """The rules of all errors, in order."""
    return [finding.rule for finding in errors(report)]


def only(data: bytes) -> Diagnosis:
    """The one finding about an input."""
    (finding,) = validate(data).diagnoses
    return finding


def at(data: bytes, xpath: str) -> etree._Element:
    """The one element of a document that an XPath of the validator names."""
    spelled = re.sub(r"/(?=[A-Za-z_])(?![\w.-]+:)", "/hl7:", xpath)
    namespaces = {prefix: namespace for namespace, prefix in PREFIXES.items()}
    found = etree.fromstring(data).xpath(spelled, namespaces={**namespaces, "hl7": HL7_NS})
    assert isinstance(found, list)
    assert len(found) == 1, xpath
    assert isinstance(found[0], etree._Element)
    return found[0]
