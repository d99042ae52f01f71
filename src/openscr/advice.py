"""What every entry of the catalogue in `openscr.errors` means to the person who meets it, and what to do about it.

Data beside the catalogue: keys are its codes (for ebXML our names of the checks). A test holds that none is missing and
none is too many; ``docs/errors.md`` is written from both.

Spec: 10 §14; 20 §9; 30 §7; 40 §10.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Advice:
    """When an error is answered, and what to do then: one sentence each, in words for an integrator.

    ``again`` says that the request may be repeated automatically, with a fresh message id. Spec: 20 §9.5.
    """

    when: str
    remedy: str
    again: bool = False


_NEVER_SENT: Final = "OpenSCR answers it in scenarios only; the client library reads it from other services."
_NOT_SCR: Final = "It belongs to other services of the Spine; OpenSCR answers it in scenarios only."

GENERAL: Final = {
    "210": Advice(
        "The query was understood, but the patient has no record (30312 follows).",
        "Treat it as an empty result, not as a failure.",
    ),
    "400": Advice(
        "The message breaks a rule of its own form; the reasons that follow say which.",
        "Mend the message and send it with fresh ids; do not repeat it as it is.",
    ),
    "401": Advice(
        "A consent SET reuses the id of an earlier one with other content, or an upload or withdrawal that of an "
        "earlier one in another ebXML message.",
        "Give every new message a fresh UUID; repeat an id only together with the very same bytes.",
    ),
    "410": Advice(
        "The message is well-formed, but contradicts what is stored; the next reason says how.",
        "Ask for the event list, and decide from what it shows.",
    ),
    "420": Advice(
        "Access is refused (30418 follows).",
        "Do not repeat it: check the patient's consent, and the role of the person whom you name.",
    ),
    "430": Advice(
        "A replacement or withdrawal names an event that is not current or of another type, or an initial upload "
        "finds a current summary.",
        "Ask for the event list, and name the event that is Normal there.",
    ),
    "500": Advice(
        "Something went wrong inside the service that no repetition mends.",
        "Report it with the message id and the time; do not repeat it automatically.",
    ),
    "502": Advice(
        _NEVER_SENT,
        "Ask again later with a fresh message id; the client library does so twice.",
        again=True,
    ),
}
"""Advice on `errors.GENERAL`, by code."""

DETAILS: Final = {
    "30112": Advice(_NEVER_SENT, "Report it with the message id; the store of that service failed."),
    "30134": Advice(
        "An upload has the id of an event that the patient has already, or replaces itself.",
        "Give the new summary a fresh UUID as its id.",
    ),
    "30142": Advice(_NEVER_SENT, "Give the new document a fresh UUID as its id."),
    "30307": Advice(
        "The NHS number was merged into another one.",
        "Trace the patient at PDS, and use the surviving number.",
    ),
    "30308": Advice(
        "The event that is asked for, replaced or withdrawn is not in this patient's record.",
        "Take the id from the patient's event list; check that number and event belong together.",
    ),
    "30312": Advice(
        "The patient has no event; for a withdrawal it comes with 410.",
        "For a query show an empty result; for a withdrawal there is nothing to withdraw.",
    ),
    "30317": Advice(_NEVER_SENT, "Ask for the event list to see what is stored; send what is missing with fresh ids."),
    "30318": Advice(_NEVER_SENT, "Report it with the message id; the store of that service failed."),
    "30333": Advice(_NEVER_SENT, "Name an event of this patient's own as the one to be replaced."),
    "30340": Advice(
        "The document is neither a GP Summary nor a GP Initial Summary.",
        "Use one of the two SNOMED CT codes 196981000000101 and 196971000000103 as GPSummary/code.",
    ),
    "30344": Advice(
        "A document query by set id fits more than one document of the patient.",
        "List the patient's documents, and ask for the one that is wanted by its id.",
    ),
    "30361": Advice(_NEVER_SENT, "Take it for 30344, whose text it has."),
    "30402": Advice(
        "The patient has not said yes, and the service asks for that; uploads are told so with the single reason 420.",
        "Record the patient's consent first.",
    ),
    "30418": Advice(
        "Consent, role or registration does not allow it; which of them is in the audit only, for the answer must not "
        "tell whether there is a record.",
        "Check the patient's consent, then the role profile and its activities; with a reason that allows it, use an "
        "override.",
    ),
    "35160": Advice(
        "A mandatory field is missing or not valid; for the NHS number also when the patient index does not know it.",
        "Fill in the field that the text names; an NHS number has ten digits, the last one a check digit.",
    ),
    "35506": Advice(
        "The resource context of a consent message, which holds the NHS number, is missing, repeated or malformed.",
        "Send exactly one resourceContext with the NHS number root and ten digits.",
    ),
    "99701": Advice(
        "A SET has no assertion, or its two assertions disagree.",
        "Send one View and one Store assertion with the same permission.",
    ),
    "99702": Advice(
        "There are too many or too few assertions or criteria; the text says which.",
        "Send one or two assertions, at most one View and one Store.",
    ),
    "99703": Advice(
        "The resource id of an assertion or criterion is not the NHS number of the resource context.",
        "Repeat the same NHS number in resource/Id.",
    ),
    "99704": Advice("The resource type of an assertion is not SCR.", "Write SCR as resource/type."),
    "99705": Advice("The function context of an assertion is not Consent.", "Write Consent as function/context."),
    "99706": Advice("The function code is neither View nor Store.", "Write View or Store as function/code."),
    "99707": Advice(
        "The accessor of an assertion is not Everyone.",
        "Write Everyone as accessor/type and as the name of the accessor id.",
    ),
    "99708": Advice("An assertion has no permission.", "Write Yes, No or Clear."),
    "99709": Advice(_NEVER_SENT, "Fill in the accessor id."),
    "99710": Advice("A criterion of a GET has not exactly one function context.", "Write one function/context."),
    "99711": Advice(_NEVER_SENT, "Fill in the function code."),
    "99712": Advice("A criterion of a GET has not exactly one resource type.", "Write one resource/type: SCR."),
    "99713": Advice("A criterion of a GET has not exactly one resource id.", "Write the NHS number as resource/Id."),
    "99715": Advice(
        "A SET carries a subject that is not one GPSummary.",
        "Leave the subject out, or put exactly one GPSummary into it.",
    ),
    "99716": Advice(
        "The permission is none of Yes, No and Clear.",
        "Use one of these words; to accept Ask too, set accept_ask_in_set.",
    ),
    "99720": Advice(
        "The wrapper of a consent message breaks a rule; the text names its key.",
        "Mend the wrapper element that the key names.",
    ),
}
"""Advice on `errors.DETAILS`, by code."""

WRAPPER: Final = {
    "202": Advice(
        "The payload cannot be read as XML, or the wrapper of a consent message is at fault.",
        "Send well-formed UTF-8 XML without a document type, nested at most 200 levels deep.",
    ),
    "501": Advice("The message has not exactly one id.", "Write one id/@root, a UUID in upper case."),
    "502": Advice("The creation time is missing.", "Write creationTime/@value as YYYYMMDDhhmmss, UK local time."),
    "503": Advice("The version code is missing.", "Write versionCode/@code, for example V3NPfIT4.2.00."),
    "504": Advice("There is not exactly one control act.", "Put one ControlActEvent into the message."),
    "505": Advice(_NEVER_SENT, "Write the interaction id with its root; OpenSCR reports this fault as 515."),
    "506": Advice(
        "The receiver's ASID is missing.",
        "Write the Spine's ASID in communicationFunctionRcv/device/id/@extension.",
    ),
    "507": Advice(
        "The sender's ASID is missing.",
        "Write your ASID in communicationFunctionSnd/device/id/@extension.",
    ),
    "508": Advice("There is more than one author in the control act.", "Name at most one person as author."),
    "509": Advice("There are none or more than two author1 elements.", "Name the sending system as author1."),
    "510": Advice(_NEVER_SENT, "Write the ASID of the sending system as id of author1."),
    "511": Advice(_NEVER_SENT, "Write an ASID as id of the second author1, or leave that author1 out."),
    "512": Advice(_NEVER_SENT, "Put the query into the ControlActEvent."),
    "513": Advice(_NEVER_SENT, "Put a query or a subject into the ControlActEvent."),
    "514": Advice(_NEVER_SENT, "Put one ControlActEvent into the message."),
    "515": Advice(
        "The root element, its interactionId and the ebXML action are not all the same.",
        "Write the same interaction in all three places.",
    ),
    "516": Advice(_NEVER_SENT, "Write the same id in the message and in wsa:MessageID."),
    "517": Advice(_NEVER_SENT, "Write one creationTime."),
    "518": Advice(_NEVER_SENT, "Write one versionCode."),
    "519": Advice(_NEVER_SENT, "Write the same receiver in the message and in the SOAP header."),
    "520": Advice(_NEVER_SENT, "Write the same sender in the message and in the SOAP header."),
    **dict.fromkeys(
        ("521", "522", "523", "524"), Advice(_NOT_SCR, "Look at the address and the interaction of your message.")
    ),
    **dict.fromkeys(map(str, range(525, 536)), Advice(_NOT_SCR, "Send messages one by one: SCR has no batches.")),
    "900": Advice(_NOT_SCR, "Do not repeat it: check the role of the person whom you name."),
    "1000": Advice(_NOT_SCR, "Check the address and the parties of your message; report it if they are right."),
}
"""Advice on `errors.WRAPPER_ERRORS`, by code."""

FAULTS: Final = {
    "101": Advice(
        "The SOAPAction is missing, unknown, of the other channel, or names another interaction than the body.",
        "Send urn:nhs:names:services:<service>/<interaction> as SOAPAction, to the path that takes it.",
    ),
    "200": Advice(
        "The service could not process the message now; nothing of it is stored.",
        "Send the same message again after the retry interval.",
    ),
    "201": Advice(
        "The body is not well-formed, or a rule of the envelope is broken; the location says where. Too large a body "
        "says so in the description.",
        "Mend the element at the location; do not repeat the message as it is.",
    ),
    "206": Advice(_NEVER_SENT, "Send the same message again after the retry interval."),
    "208": Advice(
        "The store refuses to write: it is full or read-only. Nothing of the message is stored.",
        "Send it again later; the operator of the service has to make room.",
    ),
    "300": Advice(
        "The sender's ASID is unknown, not of this certificate's party, or not entitled to the interaction; or the "
        "receiver's is not the service's.",
        "Compare both ASIDs and your certificate with the directory: openscr directory export.",
    ),
}
"""Advice on `errors.FAULTS`, by code."""

EBXML: Final = {
    "soap_action": Advice(
        "Service and Action of the message header are not those of the SOAPAction.",
        "Write the same service and interaction in both.",
    ),
    "header_version": Advice("MessageHeader states another version.", "Write eb:version 2.0."),
    "duplicate_elimination": Advice(
        "DuplicateElimination is missing from a reliable message.", "Put one eb:DuplicateElimination into the header."
    ),
    "ack_requested": Advice(
        "AckRequested is missing from a reliable message.", "Put one eb:AckRequested into the SOAP header."
    ),
    "ack_version": Advice("AckRequested states another version, or none.", "Write eb:version 2.0."),
    "ack_signed": Advice("A signed acknowledgement is asked for, or nothing is said.", "Write eb:signed false."),
    "ack_actor": Advice(
        "AckRequested is addressed to somebody else.", "Write the actor urn:oasis:names:tc:ebxml-msg:actor:toPartyMSH."
    ),
    "sync_reply": Advice("SyncReply is missing from a reliable message.", "Put one eb:SyncReply into the SOAP header."),
    "sync_version": Advice("SyncReply states another version, or none.", "Write eb:version 2.0."),
    "sync_actor": Advice(
        "SyncReply is addressed to somebody else.", "Write the actor http://schemas.xmlsoap.org/soap/actor/next."
    ),
    "manifest_version": Advice("The Manifest states another version.", "Write eb:version 2.0."),
    "manifest_count": Advice("The Manifest has no Reference, or several.", "Write exactly one eb:Reference."),
    "manifest_href": Advice("The href of the Reference has no Content-Id.", "Write cid: and the Content-Id of part 2."),
    "manifest_part": Advice(
        "No MIME part has the Content-Id of the Reference.", "Give part 2 the Content-Id that the href names."
    ),
    "to_party": Advice("The message is for another party.", "Write the party key of the Spine that you send it to."),
    "from_party": Advice(
        "The sending party is not registered.",
        "Check your party key; the operator has to import it into the directory.",
    ),
    "certificate": Advice(
        "The party key is not one of the client certificate's.", "Send with the certificate of the party that you name."
    ),
    "cpa_unknown": Advice("The CPA id is not registered.", "Take the CPA id from the directory."),
    "cpa_coverage": Advice(
        "The CPA does not cover this service and interaction.",
        "Take the CPA id that the directory gives for this interaction.",
    ),
    "expired": Advice(
        "The TimeToLive of the message has passed.", "Check the clocks; send the content again as a new message."
    ),
}
"""Advice on `errors.EBXML_ERRORS`, by our name of the check."""
