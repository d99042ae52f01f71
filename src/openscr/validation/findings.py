"""The findings about one input while they are gathered: each gets its place and its words, then all get their order.

Spec: 00 §4 ``validate --json``; 10 §14; 40 §10.
"""

from bisect import bisect_right
from collections.abc import Iterable
from operator import itemgetter
from typing import Final

from lxml import etree

from openscr.codes import OID_TMS_ISSUE
from openscr.errors import EBXML_ERRORS, FAULTS, UnsafeXml
from openscr.hl7.wrapper import Finding
from openscr.transport.ebxml import ERROR_CONTEXT as EBXML_SYSTEM
from openscr.transport.soap import ERROR_CONTEXT as FAULT_SYSTEM
from openscr.validation.places import Document, Lines
from openscr.validation.remedies import CAUSES, remedy_of
from openscr.validation.report import Diagnosis, Severity

__all__ = ["EBXML_SYSTEM", "FAULT_SYSTEM", "Findings"]

_NOT_WELL_FORMED: Final = "ErrorBaseTms.MESSAGE_NOT_WELL_FORMED"
_UNREADABLE: Final = {
    "gp": ("gp-202", "ErrorBase1732.HL7_VALIDATION_ERROR", "202", OID_TMS_ISSUE),
    "wd": ("wd-202", "ErrorBase1732.HL7_VALIDATION_ERROR", "202", OID_TMS_ISSUE),
    "acs": ("acs-202", "ErrorBase1732.HL7_VALIDATION_ERROR", "202", OID_TMS_ISSUE),
    "psis": ("psis-S0", _NOT_WELL_FORMED, "201", FAULT_SYSTEM),
    "soap": ("soap-1", _NOT_WELL_FORMED, "201", FAULT_SYSTEM),
    "ebxml": ("ebxml-E1", _NOT_WELL_FORMED, "201", FAULT_SYSTEM),
}
"""What an unreadable document is called and answered with, by family. Spec: 10 §14, 30 §6.1, 40 §10.3."""

_TEXTS: Final = {"202": "HL7 Validation Error", "201": FAULTS["201"].description}


class Findings:
    """Gathers findings about the input that ``lines`` belongs to."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._found: list[Diagnosis] = []
        self._pieces: tuple[tuple[int, int], ...] = ()

    def relocate(self, pieces: tuple[tuple[int, int], ...]) -> None:
        """Say where in the input everything stands from now on: from which offset on, and where that is really."""
        self._pieces = pieces

    def _place(self, offset: int) -> int:
        at = bisect_right(self._pieces, offset, key=itemgetter(0))
        if at == 0:
            return offset
        begin, place = self._pieces[at - 1]
        return place + offset - begin

    def note(
        self,
        rule: str,
        offset: int,
        *,
        severity: Severity = Severity.ERROR,
        key: str = "",
        code: str = "",
        system: str = "",
        text: str = "",
        xpath: str = "",
        variant: str = "",
        about: str = "",
    ) -> None:
        """Add a finding at a byte of the input.

        ``variant`` chooses among the remedies of a rule that has several; ``about`` goes before its words.
        """
        remedy = remedy_of(rule, variant)
        wrong = f"{about} {remedy.wrong}" if about else remedy.wrong
        offset = self._place(offset)
        line = self._lines.line_of(offset)
        self._found.append(
            Diagnosis(rule, severity, key, code, system, text, xpath, line, offset, wrong.strip(), remedy.mend)
        )

    def note_at(
        self,
        rule: str,
        document: Document,
        element: etree._Element,
        *,
        severity: Severity = Severity.ERROR,
        key: str = "",
        code: str = "",
        system: str = "",
        text: str = "",
        about: str = "",
        variant: str = "",
    ) -> None:
        """Add a finding at an element."""
        self.note(
            rule,
            document.offset(element),
            severity=severity,
            key=key,
            code=code,
            system=system,
            text=text,
            xpath=document.xpath(element),
            about=about,
            variant=variant,
        )

    def add(
        self, document: Document, interaction: etree._Element, findings: Iterable[Finding], *, fault: str = ""
    ) -> None:
        """Add what a reader found, with the code that the answer would carry, or that of the ``fault`` in its place."""
        for finding in findings:
            self.note_at(
                finding.rule,
                document,
                finding.place if finding.place is not None else interaction,
                key=finding.key,
                code=fault or finding.issue.code,
                system=FAULT_SYSTEM if fault else finding.issue.system,
                text=finding.text,
            )

    def add_strict(self, document: Document, findings: Iterable[Finding]) -> None:
        """Add what level strict found, where no rule has said already that something is wrong. Spec: 00 §4."""
        told = {diagnosis.xpath for diagnosis in self._found if diagnosis.severity is Severity.ERROR}
        for finding in findings:
            place = finding.place if finding.place is not None else document.root
            if document.xpath(place) not in told:
                self.note_at(finding.rule, document, place, about=finding.text)

    def note_manifest_part(self, document: Document, *, polling: bool) -> None:
        """Add that the manifest names a part which is not there; polling takes the second. Spec: 40 §7.6, §10.3."""
        error = EBXML_ERRORS["manifest_part"]
        self.note_at(
            "ebxml-E14",
            document,
            document.resolve("/SOAP:Envelope/SOAP:Body/eb:Manifest/eb:Reference"),
            severity=Severity.WARNING if polling else Severity.ERROR,
            key="ErrorBaseTms.INVALID_MANIFEST_REFERENCE[manfiest.referenceInvalid]",
            code="" if polling else error.code,
            system="" if polling else EBXML_SYSTEM,
            text="" if polling else error.description,
        )

    def note_unreadable(
        self, error: UnsafeXml, family: str, lines: Lines, start: int, *, verbatim: bool = True
    ) -> None:
        """Add that a document is not XML that Spine reads, with line and column; ``lines`` are the document's own."""
        rule, key, code, system = _UNREADABLE.get(family, ("xml", "", "", ""))
        inside = error.offset
        if inside is None:
            inside = lines.offset_of(error.line or 1, error.column or 1)
        offset = start + inside if verbatim else start
        line = self._lines.line_of(self._place(offset))
        column = self._place(offset) - (self._lines.span(line) or (0, 0))[0] + 1
        where = f"Line {line}, column {column}: " if verbatim else ""
        about = f"{where}{CAUSES.get(error.cause, CAUSES[''])}"
        text = _TEXTS.get(code, "XML is not well-formed")
        self.note(rule, offset, key=key, code=code, system=system, text=text, about=about)

    def in_order(self) -> tuple[Diagnosis, ...]:
        """Return the findings by their places; of one place in the order in which they were found."""
        return tuple(sorted(self._found, key=lambda diagnosis: diagnosis.offset))
