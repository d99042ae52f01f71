"""Every error of the product: the tree of exceptions, and the catalogue of what Spine says.

::

    OpenSCRError            .code  .diagnostics
    ├── WireError           malformed MIME, SOAP, ebXML, XML; never quotes the payload
    │   ├── UnsafeXml  ├── MalformedMultipart (└── NotMultipart)  └── UnreadableMessage
    ├── SummaryError        ├── MistakenForm  ├── UnwritableSummary  ├── NotSent  └── NoSummary
    ├── AccessRefused       certificate or registration: who calls is not who may call
    ├── StoreError          ├── StoreUnavailable (└── StoreFull)  ├── OutcomeUnknown  └── Conflict
    ├── DeliveryError       ├── EndpointUnknown  ├── NotConnected  └── RetriesExhausted
    ├── DirectoryUnavailable  └── DirectoryTimeout
    ├── Overloaded          a request that is not taken on now; the same one is welcome later
    └── ConfigurationError  which setting, where it came from, what would be right

What the record or a rule refuses is not an exception: it is an `Issue` in an outcome, and all of them are reported.

Spec: 10 §14; 20 §9; 30 §7; 40 §10.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from openscr.codes import OID_PSIS_ISSUE, OID_TMS_ISSUE, OID_WARNING


class OpenSCRError(Exception):
    """Root of every error that the product raises on purpose.

    ``code`` is stable and may be logged; ``diagnostics`` says what a person can do next. Neither ever holds an NHS
    number, a name or clinical text.
    """

    code = "OPENSCR"

    def __init__(self, diagnostics: str) -> None:
        super().__init__(diagnostics)
        self.diagnostics = diagnostics


class WireError(OpenSCRError):
    """A message cannot be read as what it claims to be. ``location`` is the XPath of the element, if there is one."""

    code = "WIRE"

    def __init__(self, diagnostics: str, location: str | None = None) -> None:
        super().__init__(diagnostics)
        self.location = location


class UnsafeXml(WireError):
    """XML that the locked parser refuses: not well-formed, with a DTD, too deep, not UTF-8.

    ``offset`` is the byte at which the trouble shows, or ``line`` and ``column`` (both from 1) are where the parser
    stopped; ``cause`` is the parser's own name for the kind of trouble, which quotes nothing of the document.
    """

    code = "UNSAFE_XML"

    def __init__(
        self,
        diagnostics: str,
        *,
        offset: int | None = None,
        line: int | None = None,
        column: int | None = None,
        cause: str = "",
    ) -> None:
        super().__init__(diagnostics)
        self.offset = offset
        self.line = line
        self.column = column
        self.cause = cause


class MalformedMultipart(WireError):
    """A body that is not the ``multipart/related`` it announces."""

    code = "MALFORMED_MULTIPART"


class NotMultipart(MalformedMultipart):
    """A body that is no multipart at all: another media type, no usable boundary, or no part between them."""

    code = "NOT_MULTIPART"


class UnreadableMessage(WireError):
    """Well-formed XML that is not the message expected here."""

    code = "UNREADABLE_MESSAGE"


class SummaryError(OpenSCRError):
    """A GP Summary cannot be read from, or made into, what is wanted."""

    code = "SUMMARY"


@dataclass(frozen=True, slots=True)
class FormMistake:
    """One mistake in the JSON form of a summary: its place as a JSON Pointer, and what is wrong there."""

    pointer: str
    text: str


class MistakenForm(SummaryError):
    """A text is not a summary in the JSON form; ``mistakes`` says where and why. Spec: 00 §6.2."""

    code = "MISTAKEN_FORM"

    def __init__(self, mistakes: Sequence[FormMistake]) -> None:
        super().__init__("; ".join(f"{each.pointer or '/'}: {each.text}" for each in mistakes))
        self.mistakes = tuple(mistakes)


class UnwritableSummary(SummaryError):
    """A summary lacks something that a GP Summary must have; says where, as JSON Pointers. Spec: 10 §16."""

    code = "UNWRITABLE_SUMMARY"


class NotSent(SummaryError):
    """A message breaks the rules of its form, and was held back before it was sent. Spec: 10 §16."""

    code = "NOT_SENT"


class NoSummary(SummaryError):
    """The XML holds no GP Summary, or more than one."""

    code = "NO_SUMMARY"


class AccessRefused(OpenSCRError):
    """The caller is not registered, not who the certificate says, or not entitled."""

    code = "ACCESS_REFUSED"


class StoreError(OpenSCRError):
    """The store could not do what was asked."""

    code = "STORE"


class StoreUnavailable(StoreError):
    """The store does not answer or refuses writes; the same request may succeed later."""

    code = "STORE_UNAVAILABLE"


class StoreFull(StoreUnavailable):
    """The store refuses writes: no space, read-only, no rights. Reading may still work."""

    code = "STORE_FULL"


class OutcomeUnknown(StoreError):
    """The connection was lost at commit: look the receipt up before saying anything."""

    code = "OUTCOME_UNKNOWN"


class Conflict(StoreError):
    """A row with this key exists already."""

    code = "CONFLICT"


class DeliveryError(OpenSCRError):
    """A message could not be handed to its receiver."""

    code = "DELIVERY"


class EndpointUnknown(DeliveryError):
    """The directory holds no endpoint of this party for this interaction."""

    code = "ENDPOINT_UNKNOWN"


class NotConnected(DeliveryError):
    """There was no connection to the receiver, or not to the right one: nothing of the message has left. 50 F5."""

    code = "NOT_CONNECTED"


class RetriesExhausted(DeliveryError):
    """Every attempt that the contract allows has failed."""

    code = "RETRIES_EXHAUSTED"


class DirectoryUnavailable(OpenSCRError):
    """The directory server cannot be reached, or does not answer as one; the same question may succeed later."""

    code = "DIRECTORY_UNAVAILABLE"


class DirectoryTimeout(DirectoryUnavailable):
    """The directory server did not answer in time."""

    code = "DIRECTORY_TIMEOUT"


class Overloaded(OpenSCRError):
    """A request that is not taken on now, because of others or of too many before it; nothing was done of it.

    ``reason`` is a short constant for figures; ``retry_after`` are the seconds after which it may come again.
    """

    code = "OVERLOADED"

    def __init__(self, reason: str, retry_after: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class ConfigurationError(OpenSCRError):
    """A setting, a file or a folder is not usable; the text says which, and what would be right."""

    code = "CONFIGURATION"


# --- HL7 issues -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Issue:
    """One coded reason in an HL7 answer.

    ``severity`` is the qualifier code ``ER`` (error) or ``WG`` (warning). Spec: 20 §3.3.
    """

    code: str
    display: str
    severity: str = "ER"
    system: str = OID_PSIS_ISSUE


GENERAL: Final = {
    "210": Issue("210", "Success with Warning", "WG"),
    "400": Issue("400", "Invalid Request"),
    "401": Issue("401", "Duplicate Message ID"),
    "410": Issue("410", "Logical inconsistency"),
    # The two spaces stand in the original. Spec: 20 §9.3.
    "420": Issue(
        "420", "Business condition related to access control  which prevents the action being performed by PSIS"
    ),
    "430": Issue("430", "Invalid Update"),
    "500": Issue("500", "System Error- no retry"),
    "502": Issue("502", "Service Not Available"),
}
"""General categories: the first reason of every refusal. Spec: 20 §9.3."""


@dataclass(frozen=True, slots=True)
class Detail:
    """A specific code: its text (with ``{}`` fields filled at run time) and the general category that precedes it."""

    code: str
    general: str
    text: str


MERGED_LONG_TEXT: Final = (
    "PQR-99 - The requested NHS Number has been merged. PSIS currently records the merged NHS Number as "
    "## {survivor} ##. The caller is strongly recommended to verify the validity of this NHS Number using the PDS.  "
)

NO_EXPLICIT_CONSENT: Final = Issue(
    "420", "30402 - PQR-02 - No explicit Service User Consent exists for Sharing of this record "
)
"""The refusal of the test harness for a patient without recorded consent, a single issue. Spec: 10 §14."""

SUPERSEDED: Final = Issue(
    "24",
    "NHS Number supplied as a parameter has been superseded and superseding NHS Number returned",
    "WG",
    OID_WARNING,
)
"""Warning of a GET or HAS for a merged number. Spec: 30 §6.1."""

DETAILS: Final = {
    detail.code: detail
    for detail in (
        Detail("30112", "410", "[PSIS-30112] - Event operation '{operation}' failed. Details: '{details}'"),
        Detail("30134", "410", "[PSIS-30134] - Duplicate event with eventId {event_id} and nhsNumber {nhs_number}."),
        Detail(
            "30142", "410", "[PSIS-30142] - Duplicate document with docId {document_id} and nhsNumber {nhs_number}."
        ),
        Detail("30307", "410", "[PSIS-30307] - The NHS Number has been merged."),
        Detail(
            "30308", "410", "[PSIS-30308] - The Case status is Normal but the Event id '{event_id}' does not exist."
        ),
        Detail("30312", "210", "[PSIS-30312] - Case Instance not found. {nhs_number}"),
        Detail("30317", "410", "[PSIS-30317] - Unique constraint violated. '{constraint}'"),
        Detail("30318", "410", "[PSIS-30318] - '{operation}' - database error was '{details}'"),
        Detail(
            "30333",
            "410",
            "[PSIS-30333] - Document Set Mismatch - Source Doc Set ({source}) does not match Target Doc Set({target}).",
        ),
        Detail("30340", "410", "[PSIS-30340] - CSMP Pattern Not Found for Event ({event_id})."),
        Detail(
            "30344",
            "410",
            "[PSIS-30344] - More than one document satisfied the query criteria for supplied SetID [{set_id}]",
        ),
        Detail(
            "30361",
            "410",
            "[PSIS-30361] - More than one document satisfied the query criteria for supplied SetID [{set_id}]",
        ),
        Detail(
            "30402",
            "420",
            "[PSIS-30402] - PQR-02 - No explicit Service User Consent exists for Sharing of this record",
        ),
        Detail("30418", "420", "[PSIS-30418] - ACF does not permit access to resource"),
        Detail("35160", "400", "[PSIS-35160] - Invalid input message. Mandatory field {field} is missing or incorrect"),
        Detail(
            "35506",
            "400",
            "[ACS-35506] - Invalid input message. Mandatory field Resource Ctx missing or incorrect.",
        ),
        Detail("99701", "400", "[ACS-99701] - Mandatory data missing: {parameter}"),
        Detail("99702", "400", "[ACS-99702] - Invalid number of access control assertions: {parameter}"),
        Detail("99703", "400", "[ACS-99703] - Function context, resource context and resource id do not agree"),
        Detail("99704", "400", "[ACS-99704] - Function context {context} not valid with resource type {type}"),
        Detail("99705", "400", "[ACS-99705] - Invalid function context"),
        Detail("99706", "400", "[ACS-99706] - Invalid function code"),
        Detail("99707", "400", "[ACS-99707] - Invalid accessor type"),
        Detail("99708", "400", "[ACS-99708] - Permission missing in set request"),
        Detail("99709", "400", "[ACS-99709] - Accessor id missing"),
        Detail("99710", "400", "[ACS-99710] - Function context missing"),
        Detail("99711", "400", "[ACS-99711] - Function code missing"),
        Detail("99712", "400", "[ACS-99712] - Resource type missing"),
        Detail("99713", "400", "[ACS-99713] - Resource id missing"),
        Detail("99715", "400", "[ACS-99715] - Invalid document data"),
        Detail("99716", "400", "[ACS-99716] - Invalid permission value {value}"),
        Detail("99720", "400", "[ACS-99720] - HL7 wrapper invalid: {key}"),
    )
}
"""Specific codes: the second and further reasons. Spec: 10 §14, 20 §9.4, 30 §7."""


def detail_issue(code: str, **fields: str) -> Issue:
    """Return the issue of a specific code, its text filled in, with the severity of its general category."""
    detail = DETAILS[code]
    return Issue(code, detail.text.format(**fields), GENERAL[detail.general].severity)


def refusal(code: str, **fields: str) -> tuple[Issue, Issue]:
    """Return the general and the specific issue of a refusal, in the order that clients rely on. Spec: 20 §8."""
    return GENERAL[DETAILS[code].general], detail_issue(code, **fields)


# --- wrapper errors (acknowledgementDetail) -------------------------------------------------------------------------

_ID = "hl7:{interactionId}"
_ACT = f"{_ID}/hl7:ControlActEvent"
_BAD = "is missing, empty or invalid"
_DEVICE = "hl7:device/hl7:id"
_ONE = "is not [1..1], or is"

WRAPPER_ERRORS: Final = {
    code: Issue(code, text, "ER", OID_TMS_ISSUE)
    for code, text in (
        ("202", "HL7 Validation Error"),
        ("501", f"{_ID}/hl7:id/@root {_BAD}"),
        ("502", f"{_ID}/hl7:creationTime/@value {_BAD}"),
        ("503", f"{_ID}/hl7:versionCode/@code {_BAD}"),
        ("504", f"{_ID}/hl7:ControlAct {_BAD}"),
        ("505", f"{_ID}/hl7:interactionId[@root='2.16.840.1.113883.2.1.3.2.4.12']/@extension {_BAD}"),
        ("506", f"{_ID}/hl7:communicationFunctionRcv/{_DEVICE}/@extension {_BAD}"),
        ("507", f"{_ID}/hl7:communicationFunctionSnd/{_DEVICE}/@extension {_BAD}"),
        ("508", f"{_ACT}/hl7:author {_BAD}"),
        ("509", f"{_ACT}/hl7:author1 has cardinality [1..2] - minOccurs=1, maxOccurs=2"),
        (
            "510",
            f"{_ACT}/hl7:author1/hl7:AgentSystemSDS/hl7:agentSystemSDS/hl7:id[@root='1.2.826.0.1285.0.2.0.107'] {_BAD}",
        ),
        ("511", f"If present {_ACT}/hl7:author1[2]/hl7:AgentSystemSDS/hl7:agentSystemSDS/hl7:id is empty or invalid"),
        ("512", f"{_ACT}/hl7:query {_BAD}"),
        ("513", f"{_ACT}[1]/hl7:query or {_ACT}[1]/hl7:subject is missing or empty"),
        ("514", f"{_ACT} {_BAD}"),
        (
            "515",
            f"{_ID} {_ONE} inconsistent with the SOAP:Header, or is inconsistent with the HL7 wrapper element name",
        ),
        ("516", f"{_ID}/hl7:id element {_ONE} inconsistent with the SOAP:Header"),
        ("517", f"{_ID}/hl7:creationTime element is not [1..1] or is empty"),
        ("518", f"{_ID}/hl7:versionCode is not [1..1] or is empty"),
        *(
            (
                code,
                f"{_ID}/hl7:communicationFunction{way}/{_DEVICE}[@root='2.16.840.1.113883.2.1.3.2.4.10'] {_ONE} "
                "inconsistent with the SOAP:Header",
            )
            for code, way in (("519", "Rcv"), ("520", "Snd"))
        ),
        ("521", f"pdsTraceQuery {_ONE} empty"),
        ("522", f"pdsRetrievalQuery {_ONE} empty"),
        ("523", f"pdsConfirmNHSNumberQuery {_ONE} empty"),
        ("524", f"{_ID}/hl7:ControlActRequest/hl7:lRConfirmationRequest {_ONE} empty"),
        ("525", "Batch: there are no items"),
        ("526", "Batch: manifest count and payload count differ"),
        ("527", "Batch: sequence number is invalid"),
        ("528", "Batch: ids are duplicated"),
        ("529", "Batch: manifest and items differ"),
        ("530", "Batch: access control violation"),
        ("531", "Batch: payloadId is empty"),
        ("532", "Batch: messageId is empty"),
        ("533", "Batch: interactions and items differ"),
        ("534", "Batch: an item cannot be batched"),
        ("535", "Batch Item Processing Failed"),
        ("900", "Access Control Violation"),
        ("1000", "Unknown routing failure"),
    )
}
"""Errors of the HL7 transmission wrapper; braces belong to the text, that of 525-534 is ours. Spec: 40 §10.4."""


# --- SOAP faults ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FaultCode:
    """One row of the table of SOAP faults that we emit. Spec: 40 §10.5."""

    code: str
    faultcode: str
    faultstring: str
    description: str
    location: str = "Not Supported"
    retriable: bool = False


FAULTS: Final = {
    fault.code: fault
    for fault in (
        FaultCode(
            "101",
            "SOAP:Client",
            "The service/interaction is not supported for the requested URI",
            "The service/interaction is not supported for the requested URI",
            "HTTP Header - SOAPAction",
        ),
        FaultCode(
            "200",
            "SOAP:Server",
            "Application Exception",
            "System failure to process message - default",
            retriable=True,
        ),
        FaultCode("201", "SOAP:Client", "Application Exception", "The message is not well formed"),
        FaultCode("206", "SOAP:Server", "Application Exception", "Routing/Delivery failure", retriable=True),
        FaultCode("208", "SOAP:Server", "Application Exception", "Failure storing message", retriable=True),
        FaultCode(
            "300",
            "SOAP:Client",
            "Application Exception",
            "The sender or receiver's ASID is not authorised for this interaction",
        ),
    )
}
"""SOAP faults by numeric code. Spec: 40 §10.1, §10.5."""


# --- ebXML errors ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EbxmlError:
    """One ``eb:Error`` of a MessageError signal: ebMS error code and description.

    ``context`` and ``severity`` are those of an error that was received; they make no two errors different.
    Spec: 40 §5.5, §10.2, §10.3.
    """

    code: str
    description: str
    context: str = field(default="", compare=False)
    severity: str = field(default="", compare=False)


EBXML_ERRORS: Final = {
    "soap_action": EbxmlError("Inconsistent", "eb:Service and eb:Action inconsistent with SOAPAction"),
    "header_version": EbxmlError("ValueNotRecognized", "eb:MessageHeader version must be 2.0"),
    "duplicate_elimination": EbxmlError("Inconsistent", "eb:DuplicateElimination inconsistent with contract"),
    "ack_requested": EbxmlError("Inconsistent", "eb:AckRequested inconsistent with contract"),
    "ack_version": EbxmlError("ValueNotRecognized", "eb:AckRequested version must be 2.0"),
    "ack_signed": EbxmlError("NotSupported", "eb:AckRequested signed must be false"),
    "ack_actor": EbxmlError("ValueNotRecognized", "eb:AckRequested actor is not the one of the contract"),
    "sync_reply": EbxmlError("Inconsistent", "eb:SyncReply inconsistent with contract"),
    "sync_version": EbxmlError("ValueNotRecognized", "eb:SyncReply version must be 2.0"),
    "sync_actor": EbxmlError("ValueNotRecognized", "eb:SyncReply actor is not the one of the contract"),
    "manifest_version": EbxmlError("MimeProblem", "eb:Manifest version must be 2.0"),
    "manifest_count": EbxmlError("MimeProblem", "exactly one eb:Reference is required"),
    "manifest_href": EbxmlError("MimeProblem", "eb:Reference href is not valid"),
    "manifest_part": EbxmlError("MimeProblem", "eb:Reference href names no part"),
    "to_party": EbxmlError("ValueNotRecognized", "501314:Invalid To Party Type attribute"),
    "from_party": EbxmlError("ValueNotRecognized", "402005:An error occurred while finding the defined contract"),
    "certificate": EbxmlError("SecurityFailure", "From party does not belong to the client certificate"),
    "cpa_unknown": EbxmlError("ValueNotRecognized", "501319:Unknown eb:CPAId"),
    "cpa_coverage": EbxmlError("ValueNotRecognized", "402005:An error occurred while finding the defined contract"),
    "expired": EbxmlError("TimeToLiveExpired", "Message Time To Live Expired"),
}
"""ebXML errors by our name of the check, in the order in which they are reported. Spec: 40 §10.3."""
