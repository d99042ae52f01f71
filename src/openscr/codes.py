"""Code systems, OIDs, namespaces and interaction ids: the constants of the wire, named once.

Everything here is a fact of the published protocol; nothing here decides anything.

Spec: 40 §1, 10 §6, 20 §3, 30 §4.
"""

from typing import Final

# --- XML namespaces -------------------------------------------------------------------------------------------------
SOAP_NS: Final = "http://schemas.xmlsoap.org/soap/envelope/"
EB_NS: Final = "http://www.oasis-open.org/committees/ebxml-msg/schema/msg-header-2_0.xsd"
XLINK_NS: Final = "http://www.w3.org/1999/xlink"
HL7EBXML_NS: Final = "urn:hl7-org:transport/ebXML/DSTUv1.0"
WSA_NS: Final = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
HL7_NS: Final = "urn:hl7-org:v3"
CRS_NS: Final = "http://national.carerecords.nhs.uk/schema/crs/"
NASP_NS: Final = "http://national.carerecords.nhs.uk/schema/"
XSI_NS: Final = "http://www.w3.org/2001/XMLSchema-instance"
PSIS_NS: Final = "urn:npfit:psisqr"
NPFITLC_NS: Final = "NPFIT:HL7:Localisation"
PRESENTATION_NS: Final = "xhtml:NPfIT:PresentationText"
XML_NS: Final = "http://www.w3.org/XML/1998/namespace"

# --- object identifiers ---------------------------------------------------------------------------------------------
OID_ASID: Final = "1.2.826.0.1285.0.2.0.107"
OID_INTERACTION: Final = "2.16.840.1.113883.2.1.3.2.4.12"
OID_ROLE_PROFILE: Final = "1.2.826.0.1285.0.2.0.67"
OID_USER: Final = "1.2.826.0.1285.0.2.0.65"
OID_JOB_ROLE: Final = "1.2.826.0.1285.0.2.1.104"
OID_NHS_NUMBER: Final = "2.16.840.1.113883.2.1.4.1"
OID_ODS: Final = "1.2.826.0.1285.0.1.10"
OID_ORGANISATION_12: Final = "1.2.826.0.1285.0.2.0.109"
OID_SNOMED: Final = "2.16.840.1.113883.2.1.3.2.4.15"
OID_TEMPLATE: Final = "2.16.840.1.113883.2.1.3.2.4.18.2"
OID_TEXT_CODE: Final = "2.16.840.1.113883.2.1.3.2.4.17.126"
OID_MEDICATION_TEXT: Final = "2.16.840.1.113883.2.1.3.2.4.17.30"
OID_JOB_ROLE_NAME: Final = "2.16.840.1.113883.2.1.3.2.4.17.124"
OID_ORGANISATION_ROLE_NAME: Final = "2.16.840.1.113883.2.1.3.2.4.17.125"
OID_RELATIONSHIP: Final = "2.16.840.1.113883.2.1.3.2.4.16.15"
OID_INTERPRETATION: Final = "2.16.840.1.113883.2.1.3.2.4.16.8"
OID_TMS_ISSUE: Final = "2.16.840.1.113883.2.1.3.2.4.17.32"
OID_PSIS_ISSUE: Final = "2.16.840.1.113883.2.1.3.2.4.17.33"
OID_WARNING: Final = "2.16.840.1.113883.2.1.3.2.4.17.42"
OID_EVENT_STATUS: Final = "2.16.840.1.113883.2.1.3.2.4.17.59"
OID_DISSENT_OVERRIDE: Final = "2.16.840.1.113883.2.1.3.2.4.17.60"
OID_WITHDRAWAL_REASON: Final = "2.16.840.1.113883.2.1.3.2.4.17.143"
OID_QUERY_ACT: Final = "2.16.840.1.113883.2.1.3.2.4.17.177"
OID_DATA_QUALITY: Final = "2.16.840.1.113883.2.1.3.2.4.17.189"
OID_MESSAGE_TYPE: Final = "2.16.840.1.113883.2.1.3.2.4.18.17"

# --- services and interactions --------------------------------------------------------------------------------------
SERVICE_PREFIX: Final = "urn:nhs:names:services:"
SIGNAL_SERVICE: Final = "urn:oasis:names:tc:ebxml-msg:service"
PARTY_TYPE: Final = "urn:nhs:names:partyType:ocs+serviceInstance"
ACTOR_TO_PARTY: Final = "urn:oasis:names:tc:ebxml-msg:actor:toPartyMSH"
ACTOR_NEXT_MSH: Final = "urn:oasis:names:tc:ebxml-msg:actor:nextMSH"
ACTOR_SOAP_NEXT: Final = "http://schemas.xmlsoap.org/soap/actor/next"

INITIAL_UPLOAD: Final = "REPC_IN150015UK05"
UPLOAD: Final = "REPC_IN150016UK05"
POLLING_UPLOAD: Final = "REPC_IN150016SM05"
WITHDRAW_INITIAL: Final = "REPC_IN150017UK02"
WITHDRAW: Final = "REPC_IN150018UK02"
ACKNOWLEDGEMENT: Final = "MCCI_IN010000UK13"
EVENT_LIST: Final = "QUPC_IN180000UK04"
EVENT_LIST_SM: Final = "QUPC_IN180000SM04"
EVENT: Final = "QUPC_IN190000UK04"
EVENT_LIST_ANSWER: Final = "QUPC_IN200000UK04"
EVENT_LIST_SM_ANSWER: Final = "QUPC_IN200000SM04"
EVENT_ANSWER: Final = "QUPC_IN210000UK04"
DOCUMENT_LIST: Final = "QUPC_IN160101UK05"
DOCUMENT_LIST_ALIAS: Final = "QUPC_IN160201UK04"
DOCUMENT_LIST_BY_TYPE: Final = "QUPC_IN160107UK05"
DOCUMENT_LIST_BY_DATE: Final = "QUPC_IN160109UK05"
DOCUMENT: Final = "QUPC_IN160103UK05"
DOCUMENT_ALIAS: Final = "QUPC_IN160202UK04"
SUBJECT_ACCESS: Final = "QUPC_IN120000UK06"
SUBJECT_ACCESS_ANSWER: Final = "QUPC_IN160000UK06"
SCR_PERMISSIONS: Final = "HAS_SCRA_PERMISSIONS_INSM01"
EXTENDED_LIST_ANSWER: Final = "SCRA_EXTENDEDRESPONSE_INSM01"
QUERY_FAILED: Final = "QUQI_IN010000UK14"
ACS_SET: Final = "SET_RESOURCE_PERMISSIONS_INUK01"
ACS_GET: Final = "GET_RESOURCE_PERMISSIONS_INUK01"
ACS_HAS: Final = "HAS_RESOURCE_PERMISSIONS_INUK01"
ACS_GET_ANSWER: Final = "GET_RESOURCE_PERMISSIONS_RESPONSE_INUK01"
ACS_HAS_ANSWER: Final = "HAS_RESOURCE_PERMISSIONS_RESPONSE_INUK01"
ALERT: Final = "COMT_IN000001UK01"
ALERT_FHIR: Final = "AuditEvent"
"""A privacy alert: the interaction, and the FHIR resource that is posted instead. Spec: 40 §3, 60 §8.2."""

UPLOADS: Final = frozenset({INITIAL_UPLOAD, UPLOAD, POLLING_UPLOAD})
WITHDRAWALS: Final = frozenset({WITHDRAW_INITIAL, WITHDRAW})
DOCUMENT_QUERIES: Final = {
    DOCUMENT_LIST: "QUPC_IN160102UK05",
    DOCUMENT_LIST_ALIAS: "QUPC_IN160102UK05",
    DOCUMENT_LIST_BY_TYPE: "QUPC_IN160108UK05",
    DOCUMENT_LIST_BY_DATE: "QUPC_IN160110UK05",
    DOCUMENT: "QUPC_IN160104UK05",
    DOCUMENT_ALIAS: "QUPC_IN160104UK05",
}
"""The document family: each request, and the interaction of its answer. Spec: 20 §1.1."""
DOCUMENT_RETRIEVALS: Final = frozenset({DOCUMENT, DOCUMENT_ALIAS})
"""Requests of the document family that want one document with its content."""

# --- clinical document types (SNOMED CT, 10 §4, §5) -----------------------------------------------------------------
GP_SUMMARY: Final = "196981000000101"
GP_INITIAL_SUMMARY: Final = "196971000000103"
DOCUMENT_TYPES: Final = {
    GP_SUMMARY: "General Practice Summary",
    GP_INITIAL_SUMMARY: "General Practice Initial Summary",
}
PAYLOAD_IDS: Final = {
    INITIAL_UPLOAD: "REPC_MT150002UK05",
    UPLOAD: "REPC_MT150007UK05",
    POLLING_UPLOAD: "REPC_MT150007UK05",
}
"""Message artefact of what each upload brings. Spec: 10 §1, §15 step 12."""

WITHDRAWAL_REASONS: Final = {
    "01": "Sent in error",
    "02": "Sent to wrong patient record",
    "03": "Sent with incorrect information",
}

DISSENT_OVERRIDES: Final = {
    "0": "No override",
    "1": "Access made in the public interest",
    "2": "Access required by statute",
    "3": "Access required by Court Order",
    "4": "Query for update",
    "5": "Override dissent with temporary patient consent",
}
"""Codes of ``dissentOverride`` with their meaning in vocabulary 7.2.02. Spec: 20 §6."""

EVENT_STATUSES: Final = {1: "Normal", 2: "Withdrawn", 3: "Replaced"}
"""Data statuses of events and documents, with the names that answers give them. Spec: 20 §7.1."""

ALERT_TYPES: Final = {"1": "Create LR (Self Claimed)", "2": "Access Alert"}
ALERT_REASONS: Final = {
    "1": "Access made in the public interest",
    "2": "Access required by statute",
    "3": "Access required by Court Order",
    "4": "Self-Claim Emergency Access",
    "5": "Access made in an emergency",
    "6": "Other",
}
FORBIDDEN_ALERTS: Final = frozenset({("1", "5"), ("2", "4"), ("2", "6")})
"""Types and reasons of privacy alerts, and the pairs that there are not. Spec: 80 §5.1."""

LEGAL_OVERRIDES: Final = frozenset("123")
"""Override codes that a legal reason stands behind. Spec: 20 §6."""

CORE_CONTENT: Final = frozenset(
    {
        "AcuteMedication",
        "CurrentRepeatMedication",
        "DiscontinuedRepeatMedication",
        "Allergy",
        "AllergyDE",
        "MedicationAdministration",
    }
)
"""Care record elements of a core summary; any other is additional information. Spec: 10 §11.4."""

VERSION_CODE_3: Final = "V3NPfIT3.0"
"""``versionCode`` of ACS requests, of refusals, and of some answers. Spec: 40 §10.5."""

VERSION_CODE_7: Final = "3NPfIT7.2.02"
"""``versionCode`` of the requests of the document family. Spec: 20 §3.1."""

VERSION_CODE: Final = "V3NPfIT4.2.00"
"""``versionCode`` that our messages carry unless a table says otherwise (10 §1.1)."""

LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
"""What a logout token is about: OpenID Connect Back-Channel Logout 1.0 §2.4."""
LOCAL_REALM: Final = "/realms/cis2-mock"
"""Path of the issuer of the local identity provider, on the web listener. Spec: 35 §9.5."""
