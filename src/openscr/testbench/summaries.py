"""GP Summaries for demonstrations and tests, written from plain values.

One `Summary` gives both halves of the document, so that text and codes always agree: what is coded is printed. The XML
is valid against the published schemas. Times, ids and authors are arguments: the same values give the same bytes.

Spec: 10 §4-§9, §16; 80 §2.
"""

from collections.abc import Iterator
from datetime import date
from typing import Final

from openscr.codes import (
    DOCUMENT_TYPES,
    HL7_NS,
    OID_NHS_NUMBER,
    OID_ODS,
    OID_ROLE_PROFILE,
    OID_SNOMED,
    OID_TEMPLATE,
    OID_USER,
    PRESENTATION_NS,
)
from openscr.identifiers import UuidFactory, hl7_timestamp
from openscr.testbench.content import (
    Allergy,
    BloodPressure,
    Coded,
    Content,
    Entry,
    Medication,
    Pointer,
    Quantity,
    Section,
    Summary,
    section_of,
)
from openscr.testbench.markup import element, empty, text
from openscr.testbench.narrative import narrative

_TEXT_CODES: Final = "2.16.840.1.113883.2.1.3.2.4.17.126"
_DOSE_CODES: Final = "2.16.840.1.113883.2.1.3.2.4.17.30"
_RELATIONSHIPS: Final = "2.16.840.1.113883.2.1.3.2.4.16.15"


def compose(summary: Summary, mint: UuidFactory) -> bytes:
    """Return the ``GPSummary`` element of a summary, self-contained, in UTF-8; ``mint`` gives every id but its own.

    Spec: 10 §4, §5, §16.
    """
    time = empty("effectiveTime", value=hl7_timestamp(summary.created))
    author_time = empty("time", value=hl7_timestamp(summary.created))
    root_type = element("pertinentRootCREType", _coded("code", _DOCUMENTATION), classCode="CATEGORY", moodCode="EVN")
    patient = element("patient", _id(summary.nhs_number, OID_NHS_NUMBER), classCode="PAT")
    written = [
        _uuid(summary.event_id),
        _coded("code", Coded(summary.type, DOCUMENT_TYPES[summary.type])),
        *((time, _status("active")) if summary.author else (_status("active"), time)),
        element("author", author_time, _agent(summary), typeCode="AUT", contextControlCode="OP"),
        _presentation(summary, mint()),
        element("pertinentInformation1", _template("pertinentInformation1", separable=True), root_type, **_PERTINENT),
    ]
    if summary.author:
        written += _coded_sections(summary, mint)
    written.append(element("recordTarget", patient, typeCode="RCT"))
    if summary.author and summary.replaces:
        prior = element("priorMessageRef", _uuid(summary.replaces), classCode="COMPOSITION", moodCode="EVN")
        written.append(element("replacementOf", prior, typeCode="RPLC"))
    return element("GPSummary", *written, xmlns=HL7_NS, classCode="COMPOSITION", moodCode="EVN").encode()


def _agent(summary: Summary) -> str:
    """Return who the author is: the person of an update, the organisation of an initial summary."""
    author = summary.author
    if author is None:
        ids = (_id(summary.practice.ods, OID_ODS), text("name", summary.practice.name))
        agent = element("agentOrganizationSDS", *ids, classCode="ORG", determinerCode="INSTANCE")
        return element("UKCT_MT160017UK01.AgentOrgSDS", agent, classCode="AGNT")
    parts = (("prefix", author.prefix), ("given", author.given), ("family", author.family))
    name = element("name", *(text(part, words) for part, words in parts if words))
    person = element("agentPersonSDS", _id(author.user_id, OID_USER), name, classCode="PSN", determinerCode="INSTANCE")
    profile = _id(author.role_profile_id, OID_ROLE_PROFILE)
    return element("UKCT_MT160018UK01.AgentPersonSDS", profile, person, classCode="AGNT")


# --- the text -------------------------------------------------------------------------------------------------------


def _presentation(summary: Summary, id: str) -> str:
    """Return the block that carries the printed text. Spec: 10 §4.2."""
    html = element("html", "<head/>", element("body", *narrative(summary)), xmlns=PRESENTATION_NS)
    presentation = _observation(
        "presentationText",
        element("value", html, mediaType="text/plain"),
        _uuid(id),
        _coded("code", Coded("PresentationText", "Presentation Text"), _TEXT_CODES),
        _status("completed"),
        empty("effectiveTime", value=hl7_timestamp(summary.created)),
    )
    within = {"inversionInd": "false", "negationInd": "false"}
    documentation = element(
        "UKCT_MT144051UK01.CareProfessionalDocumentationCRE",
        _coded("code", _DOCUMENTATION),
        element("component", _template("component"), presentation, typeCode="COMP", **within),
        classCode="CATEGORY",
        moodCode="EVN",
    )
    template = _template("excerptFrom", family="CSAT")
    return element("excerptFrom", template, documentation, typeCode="XCRPT", contextConductionInd="true", **within)


# --- the codes ------------------------------------------------------------------------------------------------------


def _coded_sections(summary: Summary, mint: UuidFactory) -> Iterator[str]:
    """Iterate over one ``pertinentInformation2`` per heading code that has entries. Spec: 10 §4.4, §16."""
    ids = {entry: mint() for entry in summary.content}
    headings: dict[str, tuple[str, list[str]]] = {}
    for section in Section:
        entries = headings.setdefault(section.code, (section.display, []))[1]
        entries += [_entry(entry, ids, mint) for entry in summary.content if section_of(entry) is section]
        if section is Section.PREFERENCES and summary.refused_on is not None:
            time = empty("effectiveTime", value=_time(summary.refused_on))
            entries.append(_observation("UKCT_MT144056UK01.Refusal", _uuid(mint()), _coded("code", _REFUSAL), time))
    for code, (display, entries) in headings.items():
        if entries:
            components = (
                element("component", _template("component"), entry, typeCode="COMP", contextConductionInd="true")
                for entry in entries
            )
            heading = _coded("code", Coded(code, display))
            yield element(
                "pertinentInformation2",
                _template("pertinentInformation1", separable=True),
                element("pertinentCREType", heading, *components, classCode="CATEGORY", moodCode="EVN"),
                **_PERTINENT,
            )


def _entry(entry: Content, ids: dict[Content, str], mint: UuidFactory) -> str:
    """Return the CRE element of an entry, its children in the order of the schema. Spec: 10 §8.5."""
    id = _uuid(ids[entry])
    since = element("effectiveTime", empty("low", value=_time(entry.on)))
    match entry:
        case Allergy():
            opening = (id, _coded("code", entry.code), _status("completed"), since)
            return _observation("UKCT_MT144053UK02.Allergy", *opening, _support(entry.note))
        case Medication():
            return _medication(entry, ids)
        case BloodPressure():
            return _blood_pressure(entry, id, mint)
        case Pointer(section=Section.PROBLEMS):
            opening = (id, _coded("code", _PROBLEM_NODE), _status("active"), since)
            about = _reference("pertinentInformation", "sourceOf", entry.about, ids, "PERT")
            return element("UKCT_MT144038UK02.Problem", *opening, about, classCode="CNOD", moodCode="EVN")
        case Pointer():
            opening = (id, _coded("code", _RISK_TO_PATIENT), _status("normal"), since)
            about = _reference("pertinentInformation1", "sourceOf1", entry.about, ids, "PERT")
            return _observation("UKCT_MT144054UK01.RiskToPatient", *opening, about)
        case Entry():
            name, kind, status = _ELEMENTS[entry.section]
            measured = entry.quantity
            return element(
                name,
                _typed_value(measured) if measured else "",
                id,
                _coded("code", entry.code),
                _status(status),
                since,
                _reference_range(measured) if measured and measured.low and measured.high else "",
                _AT_THE_PRACTICE if entry.section is Section.CARE_EVENTS else "",
                _support(entry.note),
                _TO_THE_PATIENT if entry.section is Section.ADVICE else "",
                classCode=kind,
                moodCode="EVN",
            )


def _medication(entry: Medication, ids: dict[Content, str]) -> str:
    kind, code, status = _MEDICATION_KINDS[entry.section]
    low, until = empty("low", value=_time(entry.on)), entry.until if entry.section is Section.DISCONTINUED else None
    high = empty("high", value=_time(until)) if until else ""
    acute = entry.section is Section.ACUTE
    quantity = element(
        "quantity",
        element("translation", text("originalText", entry.unit), value=entry.quantity),
        value=entry.quantity,
        unit="1",
    )
    dose = (text("value", entry.dose), _coded("code", Coded("DI", "Dose Instructions"), _DOSE_CODES))
    supply = (quantity, _coded("code", Coded("246205007", "Quantity")))
    material = element(
        "manufacturedManufacturedMaterial", _coded("code", entry.product), classCode="MMAT", determinerCode="KIND"
    )
    return element(
        f"UKCT_MT144040UK01.{kind}",
        _uuid(ids[entry]),
        _coded("code", code),
        _status(status),
        empty("effectiveTime", value=_time(entry.on)) if acute else element("effectiveTime", low, high),
        element(
            "pertinentInformation1",
            _SEPARABLE,
            _observation("pertinentDosageInstructions", *dose),
            typeCode="PERT",
            contextConductionInd="true",
        ),
        element(
            "component",
            _SEPARABLE,
            element("medicationQuantity", *supply, classCode="SPLY", moodCode="RQO"),
            typeCode="COMP",
        ),
        element(
            "consumable",
            element("manufacturedProduct", material, classCode="MANU"),
            typeCode="CSM",
            contextControlCode="OP",
        ),
        _reference("reason", "sourceOf1", entry.reason, ids, "RSON") if entry.reason else "",
        classCode="SBADM",
        moodCode="RQO",
    )


def _blood_pressure(entry: BloodPressure, id: str, mint: UuidFactory) -> str:
    time = empty("effectiveTime", value=_time(entry.on))
    components = (
        element(
            component,
            _template("component"),
            _observation(
                name, empty("value", value=str(value), unit="mm[Hg]"), _uuid(mint()), _coded("code", code), time
            ),
            typeCode="COMP",
            inversionInd="false",
            negationInd="false",
        )
        for component, name, value, code in (
            ("component1", "diastolicPressure", entry.diastolic, Coded("271650006", "Diastolic blood pressure")),
            ("component2", "systolicPressure", entry.systolic, Coded("271649006", "Systolic blood pressure")),
        )
    )
    opening = (id, _coded("code", Coded("75367002", "Blood pressure")), _status("completed"), time)
    return element("UKCT_MT144043UK02.BloodPressure", *opening, *components, classCode="BATTERY", moodCode="EVN")


def _typed_value(measured: Quantity) -> str:
    schema = {"xmlns:xsi": "http://www.w3.org/2001/XMLSchema-instance", "xsi:type": "PQ"}
    return empty("value", **schema, value=measured.value, unit=measured.unit)


def _reference_range(measured: Quantity) -> str:
    low = empty("low", value=measured.low, unit=measured.unit)
    high = empty("high", value=measured.high, unit=measured.unit)
    value = element("referenceReferenceValue", element("value", low, high), classCode="OBS", moodCode="EVN.CRT")
    return element("referenceRange", _SEPARABLE, value, typeCode="REFV", contextConductionInd="true")


def _support(note: str) -> str:
    if not note:
        return ""
    code = _coded("code", Coded("SupportingText", "Supporting Text"), _TEXT_CODES)
    info = _observation("pertinentSupportingInfo", text("value", note), code)
    return element("pertinentInformation", _SEPARABLE, info, typeCode="PERT", contextConductionInd="true")


def _reference(name: str, template: str, target: Entry | Allergy, ids: dict[Content, str], kind: str) -> str:
    to = "AllergiesAndAdverseReactionsIdent" if isinstance(target, Allergy) else "Diagnosis"
    pointed = _observation(to, _uuid(ids[target]))
    return element(name, _template(template), pointed, typeCode=kind, inversionInd="false", negationInd="false")


def _observation(name: str, *children: str) -> str:
    return element(name, *children, classCode="OBS", moodCode="EVN")


def _coded(name: str, code: Coded, system: str = OID_SNOMED) -> str:
    return empty(name, code=code.code, codeSystem=system, displayName=code.display)


def _status(code: str) -> str:
    return empty("statusCode", code=code)


def _uuid(root: str) -> str:
    return empty("id", root=root)


def _id(extension: str, root: str) -> str:
    return empty("id", root=root, extension=extension)


def _template(name: str, *, family: str = "CSAB", separable: bool = False) -> str:
    """Return the ``templateId`` of a relationship and the ``seperatableInd`` that follows it, spelled so."""
    template = empty("templateId", root=OID_TEMPLATE, extension=f"{family}_RM-NPfITUK10.{name}")
    return template + empty("seperatableInd", value="true" if separable else "false")


def _time(day: date) -> str:
    return f"{day:%Y%m%d}"


_SEPARABLE: Final = empty("seperatableInd", value="false")
_PERTINENT: Final = {
    "typeCode": "PERT",
    "inversionInd": "false",
    "contextConductionInd": "true",
    "negationInd": "false",
}
_DOCUMENTATION: Final = Coded("163171000000105", "Care Professional Documentation")
_REFUSAL: Final = Coded("416308001", "refused consent for upload to national shared electronic record")
_PROBLEM_NODE: Final = Coded("181301000000103", "Abstract problem node")
_RISK_TO_PATIENT: Final = Coded("222701000000104", "Risk to patient")
_MEDICATION_KINDS: Final = {
    Section.ACUTE: ("AcuteMedication", Coded("222671000000103", "Acute medication"), "completed"),
    Section.REPEAT: ("CurrentRepeatMedication", Coded("222681000000101", "Repeat medication"), "active"),
    Section.DISCONTINUED: (
        "DiscontinuedRepeatMedication",
        Coded("222691000000104", "Discontinued repeat medication"),
        "completed",
    ),
}
_ELEMENTS: Final = {
    Section.CARE_EVENTS: ("UKCT_MT144037UK01.CareEvent", "ENC", "completed"),
    Section.PREFERENCES: ("UKCT_MT144046UK01.PersonalPreference", "OBS", "normal"),
    Section.DIAGNOSES: ("UKCT_MT144042UK01.Diagnosis", "OBS", "normal"),
    Section.CIRCUMSTANCES: ("UKCT_MT144036UK01.SocialOrPersonalCircumstance", "OBS", "normal"),
    Section.SERVICES: ("UKCT_MT144047UK01.Service", "PCPR", "normal"),
    Section.LIFESTYLE: ("UKCT_MT144036UK01.LifeStyle", "OBS", "normal"),
    Section.FAMILY_HISTORY: ("UKCT_MT144044UK01.FamilyHistory", "OBS", "normal"),
    Section.TREATMENTS: ("UKCT_MT144055UK01.Treatment", "PROC", "normal"),
    Section.ADMINISTRATION: ("UKCT_MT144050UK01.AdministrativeProcedure", "ACT", "normal"),
    Section.OBSERVATIONS: ("UKCT_MT144043UK02.Finding", "OBS", "completed"),
    Section.RESULTS: ("UKCT_MT144043UK02.Finding", "OBS", "completed"),
    Section.INVESTIGATIONS: ("UKCT_MT144045UK01.Investigation", "PROC", "normal"),
    Section.ADVICE: ("UKCT_MT144049UK01.ProvisionOfAdviceAndInformation", "INFRM", "normal"),
}
"""Element name, class code and status of the entries of a section. Spec: 10 §8.5."""

_AT_THE_PRACTICE: Final = element(
    "location1",
    element(
        "dedicatedServiceDeliveryLocation",
        _coded("code", Coded("264358009", "General practice premises")),
        classCode="DSDLOC",
    ),
    typeCode="LOC",
    contextControlCode="OP",
)
_TO_THE_PATIENT: Final = element(
    "receiver",
    element("nonAgentRole", _coded("code", Coded("21", "Self"), _RELATIONSHIPS), classCode="ROL"),
    typeCode="RCV",
    contextControlCode="OP",
)
