"""What every rule means in plain English, and how to mend a message that breaks it.

One table for all rules; rules that look at the same thing share a row. Spine's own texts are not here: they are literal
in the finding itself.

Spec: 00 §4 ``validate``; 10 §11, §14, §17; 20 §12; 30 §5; 40 §4.2, §5, §10.4.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Remedy:
    """What is wrong when a rule is broken, and how to mend it."""

    wrong: str
    mend: str


def _table(*rows: tuple[str, str, str]) -> dict[str, Remedy]:
    table: dict[str, Remedy] = {}
    for rules, wrong, mend in rows:
        for rule in rules.split():
            if rule in table:
                raise ValueError(f"{rule} has two rows")
            table[rule] = Remedy(wrong, mend)
    return table


_ASID = "1.2.826.0.1285.0.2.0.107"
_ROLE = "1.2.826.0.1285.0.2.0.67"
_USER = "1.2.826.0.1285.0.2.0.65"
_JOB = "1.2.826.0.1285.0.2.1.104"
_NUMBER = "2.16.840.1.113883.2.1.4.1"

REMEDIES: Final = _table(
    # --- the input itself -------------------------------------------------------------------------------------------
    (
        "message",
        "This is no message of the Summary Care Record that OpenSCR knows.",
        "Give it an HL7 interaction such as REPC_IN150016UK05 or QUPC_IN180000UK04, alone, in its SOAP or ebXML "
        "envelope, or as a captured HTTP message.",
    ),
    ("message/empty", "There is nothing in this input.", "Check that the file was written, or the pipe filled."),
    (
        "message/no-xml",
        "This is neither XML, nor a multipart body, nor an HTTP message.",
        "Give the message as it goes over the wire: plain text, not compressed, not a picture of it.",
    ),
    (
        "message/bare",
        "This is the document alone, without the interaction that carries it, so that it cannot be sent as it is.",
        "Put it under ControlActEvent/subject of an interaction such as REPC_IN150016UK05. For a GPSummary, openscr "
        "upload does that.",
    ),
    (
        "message/envelope",
        "The body of this SOAP envelope holds no interaction of the Summary Care Record.",
        "Put exactly one interaction, such as QUPC_IN180000UK04, directly into SOAP:Body.",
    ),
    (
        "message/namespace",
        "The interaction is not in the namespace urn:hl7-org:v3, so that nothing in it is found.",
        'Declare xmlns="urn:hl7-org:v3" on the root element.',
    ),
    (
        "message/not-routed",
        "Spine does not route this interaction: it belongs to a design before the one in use.",
        "Send REPC_IN150015UK05 or REPC_IN150016UK05 with a GPSummary.",
    ),
    ("file", "The input cannot be read.", "Check that it exists, is a regular file, and that you may read it."),
    (
        "file/size",
        "The input is larger than any message may be (5 242 880 bytes).",
        "Send less: Spine refuses the message before it looks at it.",
    ),
    (
        "xml",
        "The document cannot be read as XML.",
        "Write it with an XML library rather than by hand, and check that the file is complete.",
    ),
    (
        "gp-202 wd-202 acs-202",
        "The payload cannot be read as XML, so that nothing else in it was checked. Spine acknowledges the transport "
        "and rejects the message (AR, code 202).",
        "Write it with an XML library: UTF-8, one root element, no DTD, no entities of its own, at most 200 levels.",
    ),
    (
        "coverage",
        "The wrapper was checked. The rules of this interaction's own content are not known to this version.",
        "Nothing needs mending; do not read it as a proof that the content is right.",
    ),
    (
        "answer",
        "Every answer has one acknowledgement, of type AA (accepted), AE (refused) or AR (rejected); this one has "
        "none that can be read.",
        "Write acknowledgement with typeCode AA, AE or AR, and messageRef with the id of the message answered.",
    ),
    (
        "xsd",
        "The message does not fit the published schema. Spine itself does not check uploads and queries against it.",
        "Compare the element with the schema: name, order, attributes, and the codes that are allowed.",
    ),
    (
        "xsd/no-schema",
        "The folder given with --mim has no schema for this interaction, so it was not checked against one.",
        "Add the schema of this name to TightenedSchemas or Schemas, or leave --mim away.",
    ),
    # --- HTTP and MIME ----------------------------------------------------------------------------------------------
    (
        "http",
        "A header of the HTTP message is not as Spine wants it.",
        "Compare the headers with those that Spine asks for.",
    ),
    (
        "http/cut-off",
        "The body is shorter than Content-Length says: the message was cut off. Spine answers HTTP 400 and decides "
        "nothing.",
        "Send or capture the whole body; Content-Length counts bytes, not characters.",
    ),
    (
        "http/length",
        "Content-Length is not the length of the body. This happens when a program adds a line end or changes CRLF "
        "into LF in a captured message.",
        "Capture the message as bytes. If it was really sent so, write the length in bytes of what is sent.",
    ),
    (
        "http/routing",
        "The request names no service and interaction, so Spine cannot route it (SOAP fault 101).",
        'Send the header SOAPAction: "urn:nhs:names:services:<service>/<interaction>", for example '
        "urn:nhs:names:services:psis/REPC_IN150016UK05.",
    ),
    (
        "http/routing-differs",
        "SOAPAction names another interaction than the body holds (SOAP fault 101).",
        "Write the same interaction in SOAPAction, wsa:Action, interactionId and the name of the body's root.",
    ),
    (
        "mime",
        "The multipart body cannot be split into its parts (SOAP fault 201).",
        "Content-Type must be multipart/related with a boundary; each part has its headers, an empty line and its "
        "content, and the boundary stands on lines of its own with two hyphens before it.",
    ),
    # --- SOAP header ------------------------------------------------------------------------------------------------
    (
        "soap-1",
        "The root is not an Envelope of SOAP 1.1, or the envelope cannot be read as XML (SOAP fault 201).",
        "Write Envelope in the namespace http://schemas.xmlsoap.org/soap/envelope/, as well-formed XML in UTF-8.",
    ),
    ("soap-2", "There must be exactly one SOAP:Header.", "Write one Header, before the Body."),
    ("soap-3", "There must be exactly one SOAP:Body with exactly one element in it.", "Put the interaction there."),
    (
        "psis-S0",
        "The envelope is not one Envelope of SOAP 1.1 with one Header and one Body that holds one element, or it "
        "cannot be read as XML (SOAP fault 201).",
        "Write Envelope, Header and Body once each, in the namespace http://schemas.xmlsoap.org/soap/envelope/, and "
        "the interaction directly in the Body.",
    ),
    (
        "soap-4 psis-S1",
        "wsa:MessageID must be there once and be 41 characters long.",
        "Write uuid: and a UUID of 36 characters. Spine takes neither urn:uuid: nor the bare UUID.",
    ),
    (
        "soap-5 psis-S2",
        "wsa:Action must be there once and not be empty.",
        "Write the same text as in SOAPAction: urn:nhs:names:services:<service>/<interaction>.",
    ),
    ("soap-6 psis-S3", "wsa:To must be there once and not be empty.", "Write the address of the service."),
    (
        "soap-7 psis-S4",
        "The header does not say which system is to receive the message.",
        f"Write communicationFunctionRcv/device/id with root {_ASID} and the ASID of Spine as extension, once.",
    ),
    (
        "soap-8 psis-S5",
        "The header does not say which system sends the message.",
        f"Write communicationFunctionSnd/device/id with root {_ASID} and your own ASID as extension, once.",
    ),
    # --- the HL7 wrapper --------------------------------------------------------------------------------------------
    (
        "gp-501 wd-501 soap-9 psis-B1",
        "The message has no id.",
        "Write id directly below the root, once, with a fresh UUID (36 characters, upper case) in its root attribute.",
    ),
    (
        "gp-502 wd-502 soap-10 psis-B2",
        "The message does not say when it was made.",
        "Write creationTime with the time as YYYYMMDDHHMMSS in its value attribute.",
    ),
    (
        "gp-503 wd-503 soap-11 psis-B3",
        "The message does not say which version of the HL7 standard it follows.",
        "Write versionCode with code V3NPfIT4.2.00 (consent: V3NPfIT3.0).",
    ),
    (
        "gp-504 wd-504 soap-12 psis-B4",
        "There must be exactly one ControlActEvent directly below the root.",
        "Write it once; everything that the message says stands in it.",
    ),
    (
        "gp-506 wd-506",
        "The message does not say which system is to receive it.",
        f"Write communicationFunctionRcv/device/id with root {_ASID} and the ASID of Spine as extension.",
    ),
    (
        "gp-507 wd-507",
        "The message does not say which system sends it.",
        f"Write communicationFunctionSnd/device/id with root {_ASID} and your own ASID as extension.",
    ),
    (
        "soap-17 psis-C5",
        "The receiving system in the wrapper is missing, or is another than the one in the SOAP header.",
        f"Write the same ASID (root {_ASID}) in communicationFunctionRcv of the header and of the body.",
    ),
    (
        "soap-18 psis-C6",
        "The sending system in the wrapper is missing, or is another than the one in the SOAP header.",
        f"Write the same ASID (root {_ASID}) in communicationFunctionSnd of the header and of the body.",
    ),
    (
        "gp-508 wd-508 soap-13 psis-B5",
        "ControlActEvent names more than one author.",
        "Leave one author, the person who acts, or none when nobody does. Systems stand in author1.",
    ),
    (
        "gp-509 wd-509 soap-14 psis-B6",
        "ControlActEvent must name its sending system in one author1; a second author1 may name a device.",
        "Write one or two author1.",
    ),
    (
        "gp-515 wd-515 soap-16 psis-C4",
        "The interaction is not named alike everywhere: the name of the root, interactionId and, where there is an "
        "envelope, its action must be the same.",
        "Write interactionId once, with root 2.16.840.1.113883.2.1.3.2.4.12 and the name of the root as extension, and "
        "send it under that action.",
    ),
    ("psis-C1", "There must be exactly one interactionId.", "Write it once, below the root."),
    (
        "psis-C2",
        "interactionId has not the right root, or no extension.",
        "Write root 2.16.840.1.113883.2.1.3.2.4.12 and the name of the interaction as extension.",
    ),
    (
        "psis-C3",
        "interactionId is not the interaction that wsa:Action names after its slash.",
        "Write the same interaction in both.",
    ),
    (
        "psis-B7 soap-15",
        "ControlActEvent must hold exactly one request, and the request must not be empty.",
        "Write query once (consent: crs:setResourcePermissionsRequest or crs:getResourcePermissionsRequest), with its "
        "parameters in it.",
    ),
    (
        "soap-19",
        "The author is not complete: role profile, user and job role must each be there exactly once.",
        f"Write AgentPersonSDS with id (root {_ROLE}), agentPersonSDS/id (root {_USER}) and part/partSDSRole/id (root "
        f"{_JOB}). A message without a person has no author at all.",
    ),
    (
        "gp-C2 psis-A1",
        "The author of the ControlActEvent has no role profile id, or more than one.",
        f"Write AgentPersonSDS/id with root {_ROLE} and the role profile id as extension, once.",
    ),
    (
        "gp-C3 psis-A2",
        "The author of the ControlActEvent has no user id, or more than one.",
        f"Write AgentPersonSDS/agentPersonSDS/id with root {_USER} and the SDS user id as extension, once.",
    ),
    (
        "gp-C4 psis-A3",
        "The author of the ControlActEvent has no job role, or more than one.",
        f"Write AgentPersonSDS/part/partSDSRole/id with root {_JOB} and the job role code as extension, once.",
    ),
    (
        "gp-C1 soap-20 psis-A4",
        "author1 does not say which system the message comes from.",
        f"Write AgentSystemSDS/agentSystemSDS/id with root {_ASID} and your own ASID as extension, once.",
    ),
    (
        "soap-21 psis-A5",
        "The second author1 must have exactly one id, with root and extension.",
        "Complete the id of the device, or leave the second author1 away.",
    ),
    # --- GP summaries -----------------------------------------------------------------------------------------------
    (
        "gp-G1",
        "The message must carry exactly one GPSummary.",
        "Write it once, in the one subject of ControlActEvent, in the namespace urn:hl7-org:v3.",
    ),
    (
        "gp-G2",
        "The summary must have exactly one id, without spaces and of at most 64 characters: the id of the event.",
        "Write GPSummary/id with a fresh UUID in its root attribute.",
    ),
    (
        "gp-G3",
        "The summary must say what it is, exactly once.",
        "Write GPSummary/code with code 196981000000101 (initial summary: 196971000000103).",
    ),
    (
        "gp-G4",
        "The summary must have exactly one status, and the code must be written out although the schema has a default.",
        "Write statusCode with code active.",
    ),
    (
        "gp-G5",
        "The summary must have exactly one time of its own.",
        "Write GPSummary/effectiveTime with the time in its value attribute.",
    ),
    (
        "gp-G6",
        "The summary must name exactly one patient.",
        f"Write recordTarget/patient/id with root {_NUMBER} and the NHS number as extension, once.",
    ),
    (
        "gp-nhs-number wd-nhs-number psis-nhs-number acs-nhs-number",
        "This is no NHS number: one has ten digits, no spaces, and the last digit checks the others (modulus 11).",
        "Take the number from the patient's record again; a digit is wrong, missing, or swapped with its neighbour.",
    ),
    (
        "gp-G7",
        "A summary may replace one earlier summary, not several.",
        "Leave the one replacementOf that names the summary which is current. Spine itself loses both of two silently.",
    ),
    (
        "gp-G8",
        "The summary's author must have exactly one time.",
        "Write GPSummary/author/time with the time in its value attribute.",
    ),
    (
        "gp-G9",
        "The summary's author must be exactly one person or one organisation.",
        "Below the agent of GPSummary/author write one of agentPersonSDS, agentPerson, agentOrganizationSDS and "
        "agentOrganization.",
    ),
    (
        "gp-G10",
        "The authoring organisation has no id that Spine knows, or more than one.",
        "Write agentOrganizationSDS/id with root 1.2.826.0.1285.0.1.10 (ODS code) or 1.2.826.0.1285.0.2.0.109 as root, "
        "and an extension, once.",
    ),
    (
        "gp-G11 wd-W10",
        "The document's author has not one role profile id for its one person.",
        f"Write id with root {_ROLE} and the role profile id as extension in AgentPersonSDS, beside agentPersonSDS.",
    ),
    (
        "gp-G12 wd-W11",
        "The document's author has not one user id for its one person.",
        f"Write id with root {_USER} and the SDS user id as extension in agentPersonSDS.",
    ),
    ("gp-G13", "The author must have exactly one name.", "Write name once in the person or organisation."),
    # --- withdrawals ------------------------------------------------------------------------------------------------
    (
        "wd-W1",
        "The message must carry exactly one MessageWithdrawal.",
        "Write it once, in the one subject of ControlActEvent, in the namespace urn:hl7-org:v3.",
    ),
    (
        "wd-W3",
        "The withdrawal must have exactly one id of its own, without spaces and of at most 64 characters.",
        "Write MessageWithdrawal/id with a fresh UUID in its root attribute.",
    ),
    (
        "wd-W4",
        "The withdrawal must say what is withdrawn, exactly once.",
        "Write MessageWithdrawal/code with the code of the summary: 196981000000101 or, initial, 196971000000103.",
    ),
    (
        "wd-W5",
        "The withdrawal must have exactly one time.",
        "Write MessageWithdrawal/effectiveTime with the time in its value attribute.",
    ),
    (
        "wd-W6",
        "The withdrawal must name exactly one patient.",
        f"Write recordTarget/patient/id with root {_NUMBER} and the NHS number as extension, once.",
    ),
    (
        "wd-W7",
        "The withdrawal must give exactly one coded reason.",
        "Write reason/justifyingReason/code with codeSystem 2.16.840.1.113883.2.1.3.2.4.17.143 and code 01 (sent in "
        "error), 02 (wrong patient) or 03 (incorrect information).",
    ),
    (
        "wd-W8",
        "A withdrawal withdraws one event, not several.",
        "Leave one subject/messageRef/id, and send a withdrawal for each event.",
    ),
    (
        "wd-W9",
        "Exactly one person withdraws a summary.",
        "Write one agentPersonSDS in AgentPersonSDS of MessageWithdrawal/author.",
    ),
    # --- event queries ----------------------------------------------------------------------------------------------
    (
        "psis-Q1",
        "The query must say, with a code from 0 to 5, whether the patient's dissent is overridden.",
        "Write dissentOverride/value with codeSystem 2.16.840.1.113883.2.1.3.2.4.17.60; code 0 is no override.",
    ),
    (
        "psis-Q2",
        "The query must name exactly one patient.",
        f"Write nHSNumber/value with root {_NUMBER} and the NHS number as extension, once.",
    ),
    ("psis-Q3", "dissentOverride and nHSNumber must each be there exactly once.", "Write each once, below query."),
    (
        "psis-strict",
        "An event query must name the event. Spine's rules let this pass, its schema and OpenSCR do not.",
        "Write eventRecord/value with the id of the event in its root attribute.",
    ),
    # --- consent ----------------------------------------------------------------------------------------------------
    ("acs-S1", "There must be exactly one resourceContext.", "Write it once in permissions, with the NHS number."),
    (
        "acs-S2",
        "A change of consent has one or two assertions.",
        "Write an accessControlAssertion for View, for Store, or one for each.",
    ),
    ("acs-S3", "Two assertions say Store.", "Leave one for Store, and write the other for View."),
    ("acs-S4", "Two assertions say View.", "Leave one for View, and write the other for Store."),
    (
        "acs-S5",
        "There is neither exactly one assertion for View nor exactly one for Store.",
        "Write function/context Consent and function/code View or Store.",
    ),
    (
        "acs-S6 acs-G7 acs-H7",
        "resource/Id is another patient than resourceContext.",
        "Write the same NHS number in both places.",
    ),
    ("acs-S7", "There is no assertion at all.", "Write at least one accessControlAssertion in permissions."),
    (
        "acs-S8",
        "View and Store must say the same: Spine keeps one consent for both.",
        "Write the same permission in both assertions, one for View and one for Store.",
    ),
    (
        "acs-S9 acs-G3 acs-H3",
        "resourceContext is not marked as an NHS number.",
        f"Write root {_NUMBER} on resourceContext.",
    ),
    (
        "acs-S10 acs-G4 acs-H4",
        "resourceContext names no patient.",
        "Write the NHS number as extension of resourceContext.",
    ),
    ("acs-S11", "Consent is given for the Summary Care Record only.", "Write resource/type SCR."),
    ("acs-S12", "The function context must be Consent.", "Write function/context Consent."),
    ("acs-S13", "The function must be Store or View.", "Write function/code Store or View."),
    ("acs-S14", "Consent is given to everyone or to nobody.", "Write accessor/type Everyone (Clear needs none)."),
    (
        "acs-S15",
        "Consent is given to everyone or to nobody.",
        "Write accessor/accessorId/name Everyone (Clear needs none).",
    ),
    ("acs-S16", "The assertion does not say what is permitted.", "Write permission Yes, No or Clear."),
    (
        "acs-S17",
        "A request for consent has no subject; one that is there must hold a GPSummary.",
        "Leave subject away.",
    ),
    (
        "acs-permission",
        "This permission is none that Spine knows.",
        "Write Yes, No, or Clear to take the patient's decision back.",
    ),
    ("acs-G1 acs-H1", "There must be exactly one resourceContext.", "Write it once in accessControlQuery."),
    ("acs-G2", "There is more than one queryCriteria.", "Leave one, or none to ask for everything."),
    ("acs-G5 acs-H5", "The NHS number is too short.", "Write ten digits as extension of resourceContext."),
    (
        "acs-G6 acs-H6",
        "The NHS number is too long.",
        "Write ten digits, without spaces, as extension of resourceContext.",
    ),
    ("acs-G8 acs-H10", "function/context must be there exactly once.", "Write function/context Consent, once."),
    ("acs-G9 acs-H12", "resource/type must be there exactly once.", "Write resource/type SCR, once."),
    ("acs-G10 acs-H13", "resource/Id must be there exactly once.", "Write resource/Id with the NHS number, once."),
    ("acs-H2", "Nothing is asked for.", "Write at least one accessControlSet in accessControlQuery."),
    ("acs-H8", "accessor/type must be there exactly once.", "Write accessor/type in each accessControlSet, once."),
    (
        "acs-H9",
        "The accessor is not named.",
        "Write accessor/accessorId with one name, or with Id that has root and extension.",
    ),
    ("acs-H11", "function/code must be there exactly once.", "Write function/code Store or View, once."),
    # --- ebXML ------------------------------------------------------------------------------------------------------
    (
        "ebxml-E1",
        "The envelope is not one Envelope of SOAP 1.1 with one Header and one Body, or it cannot be read as XML (SOAP "
        "fault 201).",
        "Write Envelope, Header and Body once each, in the namespace http://schemas.xmlsoap.org/soap/envelope/.",
    ),
    (
        "ebxml-E2",
        "A field of eb:MessageHeader that must be there exactly once, with a value, is not (SOAP fault 201).",
        "Fill in From/PartyId, To/PartyId, CPAId, ConversationId, Service, Action, MessageData/MessageId and "
        "MessageData/Timestamp, once each.",
    ),
    ("ebxml-E3", "The version of eb:MessageHeader is not 2.0.", 'Write eb:version="2.0" on eb:MessageHeader.'),
    (
        "ebxml-E4",
        "eb:DuplicateElimination does not fit the contract: reliable messages have it, express messages do not.",
        "Uploads, withdrawals, consent and acknowledgements: write it once, last in eb:MessageHeader. Document queries "
        "and their answers: leave it away.",
    ),
    (
        "ebxml-E5",
        "eb:AckRequested does not fit the contract: reliable messages have it, express messages do not.",
        "Uploads, withdrawals, consent and acknowledgements: write it once, after eb:MessageHeader. Document queries "
        "and their answers: leave it away.",
    ),
    (
        "ebxml-E6",
        "eb:SyncReply does not fit the contract: a reliable message has it once, a forwarded one and a signal have "
        "none.",
        "Write eb:SyncReply after eb:AckRequested, or leave it away where the message is forwarded.",
    ),
    ("ebxml-E7", "The version of eb:SyncReply is not 2.0.", 'Write eb:version="2.0" on eb:SyncReply.'),
    (
        "ebxml-E8",
        "The actor of eb:SyncReply is not the next one.",
        'Write soap:actor="http://schemas.xmlsoap.org/soap/actor/next".',
    ),
    ("ebxml-E9", "The version of eb:AckRequested is not 2.0.", 'Write eb:version="2.0" on eb:AckRequested.'),
    ("ebxml-E10", "Spine's acknowledgements are not signed.", 'Write eb:signed="false" on eb:AckRequested.'),
    (
        "ebxml-E11",
        "The actor of eb:AckRequested is not the receiving party.",
        'Write soap:actor="urn:oasis:names:tc:ebxml-msg:actor:toPartyMSH".',
    ),
    ("ebxml-E12", "The version of eb:Manifest is not 2.0.", 'Write eb:version="2.0" on eb:Manifest.'),
    (
        "ebxml-E13",
        "The manifest must refer to exactly one payload.",
        "Write one eb:Reference in the eb:Manifest of the envelope's Body.",
    ),
    (
        "ebxml-E14",
        "The reference of the manifest leads nowhere.",
        'Write xlink:href="cid:" followed by the Content-Id of the payload part, without its angle brackets.',
    ),
    (
        "ebxml-action",
        "eb:Service and eb:Action are not what SOAPAction names.",
        "Write the same service and interaction in both.",
    ),
    (
        "ebxml-ack",
        "This signal acknowledges nothing: it has not exactly one eb:MessageHeader and one eb:Acknowledgment.",
        "Write both once in the Header, with the id of the acknowledged message in eb:RefToMessageId.",
    ),
    # --- what is accepted, though the model says otherwise ----------------------------------------------------------
    (
        "gp-author1-before-author",
        "author1 stands before author. Spine takes it, the schema does not.",
        "Write author first.",
    ),
    (
        "gp-control-act-alrt",
        "The class of ControlActEvent is ALRT, as an old client library writes it.",
        'Write classCode="CACT".',
    ),
    (
        "gp-its-version-missing",
        "The root has no ITSVersion. Spine does not look at it, its tightened schemas ask for it.",
        'Write ITSVersion="XML_1.0" on the root.',
    ),
    (
        "gp-message-id-not-event-id",
        "The message and the summary in it have different ids. Both work; the record is kept under the summary's.",
        "Write the same UUID in the id of the root and in GPSummary/id.",
    ),
    ("gp-lower-case-id", "An id is in lower case. Spine compares without regard to case.", "Write ids in upper case."),
    (
        "gp-presentation-not-html",
        "The text for the reader is not one html element in the namespace xhtml:NPfIT:PresentationText, so that "
        "viewers have no text to show.",
        'Write exactly one <html xmlns="xhtml:NPfIT:PresentationText"> in presentationText/value.',
    ),
    (
        "gp-entries-empty-or-missing",
        "The summary has no coded entries, or a heading without any. It is stored; systems that read codes find none.",
        "Write a pertinentInformation2 with its entries for each heading that has some.",
    ),
    (
        "gp-status-before-time",
        "statusCode stands before effectiveTime. Spine takes it, the schema of this summary does not.",
        "Write effectiveTime first (in an initial summary it is the other way round).",
    ),
    (
        "gp-unknown-element",
        "The summary has an element that its model does not know. It is stored as it is and nobody looks at it.",
        "Check the spelling of its name, and that it stands where it belongs.",
    ),
)
"""The words for each rule; a rule that has several cases has a row for each, as ``rule/case``."""

CAUSES: Final = {
    "": "the XML is not well-formed here.",
    "DOCTYPE": "a document type declaration (DTD) stands here, which Spine does not take.",
    "ENCODING": "the text is not UTF-8, or says that it is something else.",
    "DEPTH": "elements are nested deeper than 200 levels.",
    "ERR_TAG_NAME_MISMATCH": "this end tag does not belong to the element that is open here.",
    "ERR_TAG_NOT_FINISHED": "the document ends while an element is still open.",
    "ERR_GT_REQUIRED": "a tag is not finished: its > is missing.",
    "ERR_LTSLASH_REQUIRED": "an end tag is missing or broken.",
    "ERR_DOCUMENT_EMPTY": "no element begins here.",
    "ERR_DOCUMENT_END": "something follows after the end of the root element.",
    "ERR_UNDECLARED_ENTITY": "an entity is used that XML itself does not know (it knows amp, lt, gt, quot, apos).",
    "ERR_ATTRIBUTE_REDEFINED": "an attribute stands twice in one tag.",
    "ERR_ATTRIBUTE_NOT_STARTED": "the value of an attribute is not in quotation marks.",
    "ERR_ATTRIBUTE_NOT_FINISHED": "the quotation mark at the end of an attribute is missing.",
    "ERR_LT_IN_ATTRIBUTE": "a < stands in the value of an attribute; write &lt;.",
    "ERR_NAME_REQUIRED": "a name is missing, perhaps after a bare & or <; write &amp; or &lt;.",
    "ERR_ENTITYREF_SEMICOL_MISSING": "an entity lacks its semicolon, or a bare & stands in the text; write &amp;.",
    "ERR_INVALID_CHAR": "a character stands here that XML does not allow.",
    "ERR_SPACE_REQUIRED": "a space is missing between two attributes.",
    "ERR_RESERVED_XML_NAME": "the XML declaration does not stand at the very beginning.",
    "NS_ERR_UNDEFINED_NAMESPACE": "a prefix is used that no xmlns attribute declares.",
}
"""What kind of trouble the XML is in, by the parser's name for it."""


def remedy_of(rule: str, variant: str = "") -> Remedy:
    """Return the words for a rule. Raises: `KeyError` for a rule that is none."""
    return REMEDIES[f"{rule}/{variant}" if variant else rule]
