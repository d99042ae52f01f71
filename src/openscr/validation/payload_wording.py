"""What the rules of HL7 payloads mean in plain English: wrapper, summaries, withdrawals, queries, consent, deviations.

Spec: 10 §11, §14, §17; 20 §12; 30 §5; 40 §10.4.
"""

from typing import Final

_ASID = "1.2.826.0.1285.0.2.0.107"
_ROLE = "1.2.826.0.1285.0.2.0.67"
_USER = "1.2.826.0.1285.0.2.0.65"
_JOB = "1.2.826.0.1285.0.2.1.104"
_NUMBER = "2.16.840.1.113883.2.1.4.1"

WORDING: Final = (
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
"""Rules (those that share a row apart by spaces), what is wrong when one is broken, and how to mend it."""
