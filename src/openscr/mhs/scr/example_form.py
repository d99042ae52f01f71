"""The form of the NHS example library: JSON of the shape of the message, every key required.

The library writes a message that no schema allows; we write the same content as the specification has it: the authors
in their order, the text inside an ``html`` element, so that viewers have something to show, no heading without entries.

Spec: 50 §12, S5; 10 §2-§4, §17.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

from openscr.clinical import Summary
from openscr.clinical.participants import SdsPerson
from openscr.clinical.summary import Patient, Presentation
from openscr.clinical.values import Name, Time
from openscr.codes import HL7_NS, PRESENTATION_NS, UPLOAD
from openscr.errors import UnsafeXml, UnwritableSummary
from openscr.hl7.datatypes import Remarks
from openscr.hl7.gp_summary import write_upload
from openscr.hl7.names_and_addresses import NAME
from openscr.hl7.summary_writer import write_summary
from openscr.hl7.wrapper import Heading
from openscr.mhs.scr.answers import missing_key, unusable
from openscr.spine import Person
from openscr.transport.xml import read_xml

_ACT: Final = "controlActEvent"
_AUTHOR: Final = f"{_ACT}.author.AgentPersonSDS"
_SUMMARY: Final = f"{_ACT}.subject.GPSummary"
_TEXT: Final = f"{_SUMMARY}.excerptForm.CareDocs.presentationText"
_WRITER: Final = f"{_SUMMARY}.author.AgentPersonSDS"

_KEYS: Final = (
    "Id",
    "creationTime",
    "versionCode",
    "communicationFunctionRcv.device.id.extension",
    "communicationFunctionSnd.device.id.extension",
    f"{_ACT}.author1.agentSystemSDS.id.extension",
    f"{_AUTHOR}.id.extension",
    f"{_AUTHOR}.agentPersonSDS.id.extension",
    f"{_AUTHOR}.part.partSDSRole.id.extension",
    f"{_SUMMARY}.id.root",
    f"{_SUMMARY}.effectiveTime",
    f"{_SUMMARY}.author.time",
    f"{_WRITER}.id.extension",
    f"{_WRITER}.agentPersonSDS.id.extension",
    f"{_WRITER}.agentPersonSDS.name",
    f"{_TEXT}.value",
    f"{_TEXT}.id.root",
    f"{_TEXT}.effectiveTime.value",
    f"{_SUMMARY}.recordTarget.patient.id.extension",
)
"""The keys in the order of the message, in which the first that is missing is told."""

_REPLACES: Final = f"{_SUMMARY}.replacementOf"
_HTML: Final = f"{{{PRESENTATION_NS}}}html"

T = TypeVar("T")


def write_example(form: object) -> bytes:
    """Write the upload that a form describes. Raises: `Refused`, whose text quotes no value."""
    values = {key: _text_at(form, key) for key in _KEYS}
    replaced = _replaced(form)
    created = _made(f"{_SUMMARY}.effectiveTime", Time, values)
    summary = Summary(
        patient=Patient(values[f"{_SUMMARY}.recordTarget.patient.id.extension"]),
        author=SdsPerson(
            role_profile_id=values[f"{_WRITER}.id.extension"],
            user_id=values[f"{_WRITER}.agentPersonSDS.id.extension"],
            name=_made(f"{_WRITER}.agentPersonSDS.name", _read_name, values),
            time=_made(f"{_SUMMARY}.author.time", Time, values),
        ),
        event_id=values[f"{_SUMMARY}.id.root"],
        replaces=replaced,
        created=created,
        presentation=Presentation(
            html=_made(f"{_TEXT}.value", _read_text, values),
            id=values[f"{_TEXT}.id.root"],
            created=_made(f"{_TEXT}.effectiveTime.value", Time, values),
        ),
    )
    try:
        document = write_summary(summary)
    except UnwritableSummary as error:
        raise unusable(f"the summary {error.diagnostics}") from None
    heading = Heading(
        message_id=values["Id"],
        created=_made("creationTime", Time, values),
        version_code=values["versionCode"],
        receiver=values["communicationFunctionRcv.device.id.extension"],
        sender=values["communicationFunctionSnd.device.id.extension"],
        author_system=values[f"{_ACT}.author1.agentSystemSDS.id.extension"],
    )
    person = Person(
        user_id=values[f"{_AUTHOR}.agentPersonSDS.id.extension"],
        role_profile_id=values[f"{_AUTHOR}.id.extension"],
        job_role=values[f"{_AUTHOR}.part.partSDSRole.id.extension"],
    )
    return write_upload(UPLOAD, heading, document, person)


def _at(form: object, key: str) -> Any:
    """Return what stands at a key. Raises: `Refused` when nothing does."""
    found: Any = form
    for part in key.split("."):
        if part == "value" and isinstance(found, str | int):
            break
        if not isinstance(found, dict) or part not in found:
            raise missing_key(key)
        found = found[part]
    return found


def _text_at(form: object, key: str) -> str:
    found = _at(form, key)
    # Times stand in it both ways: as they are, and with their value inside.
    if isinstance(found, dict) and "value" in found:
        found = found["value"]
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise unusable(f"{key} is not text")
    text = str(found).strip()
    if not text:
        raise unusable(f"{key} is empty")
    return text


def _replaced(form: object) -> str | None:
    """Return the id of the summary that this one replaces, if it replaces one."""
    entries = _at(form, _REPLACES)
    if not isinstance(entries, list):
        entries = [entries] if entries else []
    if len(entries) > 1:
        raise unusable(f"{_REPLACES} names {len(entries)} summaries; a summary replaces one at most")
    return _text_at(entries[0], "priorMessageRef.id.root") if entries else None


def _made(key: str, make: Callable[[str], T], values: dict[str, str]) -> T:
    try:
        return make(values[key])
    except UnsafeXml:
        raise unusable(f"{key} is not well-formed XML") from None
    except ValueError as error:
        raise unusable(f"{key} is {error}") from None


def _read_name(markup: str) -> Name:
    remarks = Remarks()
    name = NAME.read(read_xml(f'<name xmlns="{HL7_NS}">{markup}</name>'.encode()), remarks)
    if name is None or any(remark.lost for remark in remarks.made):
        raise ValueError("no name: it has prefix, given, family and suffix, or is text alone")
    return name


def _read_text(markup: str) -> str:
    """Return the text as one ``html`` element of its namespace, whatever stood around it."""
    wrapped = f'<html xmlns="{PRESENTATION_NS}"><head/><body>{markup}</body></html>'
    if len(body := read_xml(wrapped.encode())[1]) == 1 and body[0].tag == _HTML and not (body.text or "").strip():
        return markup.strip()
    return wrapped
