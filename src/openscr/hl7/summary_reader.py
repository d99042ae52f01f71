"""Reading a GP Summary into the clinical model: from any real summary, leniently, with a report of what was not taken.

Spec: 10 §4-§9, §17; 00 §6.2.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

from lxml import etree

from openscr.clinical.entries import Entry
from openscr.clinical.headings import HEADING_BY_CODE, MEDICATION, MEDICATION_LISTS
from openscr.clinical.participants import Organisation, SdsOrganisation, SdsPerson
from openscr.clinical.summary import Medications, Patient, Summary
from openscr.clinical.values import Name
from openscr.codes import GP_INITIAL_SUMMARY, INITIAL_UPLOAD, UPLOAD
from openscr.errors import NoSummary
from openscr.hl7.datatypes import Remark, Remarks
from openscr.hl7.shapes import read_shape
from openscr.hl7.summary_shapes import INITIAL, UPDATE, CodedHeading, SummaryParts
from openscr.hl7.wrapper import HL7, local_name, read_person
from openscr.transport.xml import read_xml


@dataclass(frozen=True, slots=True)
class SummaryReading:
    """A summary that was read, and remarks on all that the model does not say, in document order. Spec: 10 §17."""

    summary: Summary
    remarks: tuple[Remark, ...]

    @property
    def lost(self) -> tuple[Remark, ...]:
        """The remarks on what was said and is not in the summary."""
        return tuple(remark for remark in self.remarks if remark.lost)


def read_summary(xml: bytes) -> SummaryReading:
    """Read the GP Summary of an upload, of a query's answer or by itself. Raises: `UnsafeXml`, `NoSummary`. 10 §4."""
    return read_summary_element(read_xml(xml))


def read_summary_element(root: etree._Element) -> SummaryReading:
    """Read the one ``GPSummary`` in a tree, with what its wrapper says of it. Raises: `NoSummary`."""
    found = [each for each in root.iter(_DOCUMENT) if next(each.iterancestors(_DOCUMENT), None) is None]
    if len(found) != 1:
        raise NoSummary(f"the XML holds {len(found)} elements GPSummary, not one")
    document = found[0]
    code = next((each.get("code") for each in document.iterchildren(f"{HL7}code")), None)
    initial = code == GP_INITIAL_SUMMARY
    remarks = Remarks()
    parts: SummaryParts = read_shape(document, INITIAL if initial else UPDATE, remarks)
    wrapper = _wrapper_of(document)
    author: Any = parts.author or SdsPerson(role_profile_id="", user_id="", name=Name())
    if isinstance(author, SdsOrganisation | Organisation) is not initial:
        remarks.add("differs", document, "author")
    if isinstance(author, SdsPerson) and wrapper is not None and (job_role := _job_role(wrapper, author)):
        author = replace(author, job_role=job_role)
    summary = Summary(
        patient=parts.patient or Patient(""),
        author=author,
        interaction=_interaction(wrapper) or (INITIAL_UPLOAD if initial else UPLOAD),
        event_id=parts.event_id or None,
        message_id=_message_id(wrapper) or parts.event_id or None,
        replaces=parts.replaces,
        status=parts.status or "active",
        created=parts.created or None,  # type: ignore[arg-type]
        presentation=parts.presentation,
        **_under_headings(parts.headings, document, remarks),
    )
    return SummaryReading(summary, tuple(remarks.made))


_DOCUMENT: Final = f"{HL7}GPSummary"


def _wrapper_of(document: etree._Element) -> etree._Element | None:
    """Return the root of the upload around a document, if there is one."""
    root = document.getroottree().getroot()
    return root if local_name(root).startswith("REPC_IN") else None


def _interaction(wrapper: etree._Element | None) -> str | None:
    return None if wrapper is None else local_name(wrapper)


def _message_id(wrapper: etree._Element | None) -> str | None:
    if wrapper is None:
        return None
    return next((value.upper() for each in wrapper.iterchildren(f"{HL7}id") if (value := each.get("root"))), None)


def _job_role(wrapper: etree._Element, author: SdsPerson) -> str | None:
    """Return the job role that the control act gives this same author. Spec: 00 §6.2 ``author``."""
    for each in wrapper.iterfind(f"{HL7}ControlActEvent/{HL7}author"):
        person = read_person(each)
        if person is not None and (person.user_id, person.role_profile_id) == (author.user_id, author.role_profile_id):
            return person.job_role or None
    return None


_NO_PLACE: Final = "heading"


def _under_headings(headings: tuple[CodedHeading, ...], document: etree._Element, remarks: Remarks) -> dict[str, Any]:
    """Return the entries by the member of their heading. The code of a heading counts, not its words. 10 §7."""
    under: dict[str, list[Entry]] = {}
    lists: dict[str, list[Entry]] = {}
    for read in headings:
        heading = HEADING_BY_CODE.get(read.code.code)
        if heading is None:
            remarks.add("unknown", document, _NO_PLACE)
            continue
        if read.code.display != heading.display:
            remarks.add("differs", document, f"displayName of {heading.member}")
        entries = read.entries
        if heading.code == MEDICATION:
            for entry in entries:
                member = _MEDICATION_LIST_OF.get(type(entry).__name__, "acute")
                lists.setdefault(member, []).append(entry)
        else:
            under.setdefault(heading.member, []).extend(entries)
    found: dict[str, Any] = {member: tuple(entries) for member, entries in under.items()}
    if lists:
        found["medications"] = Medications(**{member: tuple(entries) for member, entries in lists.items()})
    return found


_MEDICATION_LIST_OF: Final = {name: member for member, name in MEDICATION_LISTS.items()}
