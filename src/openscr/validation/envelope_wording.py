"""What the rules of everything around a payload mean in plain English: input, HTTP, MIME, SOAP, ebXML.

Spec: 40 §4.2, §5, §10.3.
"""

from typing import Final

_ASID = "1.2.826.0.1285.0.2.0.107"

WORDING: Final = (
    # --- the input itself -------------------------------------------------------------------------------------------
    (
        "message",
        "This is no message of the Summary Care Record that OpenSCR knows.",
        "Give it an HL7 interaction such as REPC_IN150016UK05 or QUPC_IN180000UK04, alone, in its SOAP or ebXML "
        "envelope, or as a captured HTTP message.",
    ),
    ("message/empty", "There is nothing in this input.", "Check that the file was written, or the pipe filled."),
    (
        "message/no-body",
        "The request has no body, so that it carries no message.",
        "Send the envelope as the body, after an empty line that ends the headers.",
    ),
    (
        "message/no-xml",
        "This is neither XML, nor a multipart body, nor an HTTP message.",
        "Give the message as it goes over the wire: not compressed, not as JSON, not a picture of it.",
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
        "message/wrapped",
        "The interaction is wrapped in another element, as only answers are, so that Spine does not see it (SOAP fault "
        "101).",
        "Put the interaction directly into SOAP:Body.",
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
        "file/folder",
        "The folder cannot be read, so that nothing in it was checked.",
        "Check that it exists, and that you may list and enter it.",
    ),
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
        "coverage/strict",
        "Nothing is published of what this message holds, so there is no model to compare it with.",
        "Nothing needs mending; do not read it as a proof that the content is right.",
    ),
    (
        "gp-strict wd-strict psis-strict acs-strict alert-strict",
        "The model of the messages asks for it; Spine itself does not look so closely.",
        "Write it as the model says. Level spine tells whether Spine would take the message as it is.",
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
        "http/routing-twice",
        "SOAPAction is there twice, with different values, so Spine cannot route the request (SOAP fault 101).",
        "Send the header once.",
    ),
    (
        "http/routing-unknown",
        "Spine knows no such interaction of this service (SOAP fault 101).",
        "Write the service that the interaction belongs to: psis for summaries, psisquery for queries, lrs for setting "
        "consent, lrsquery for asking for it.",
    ),
    (
        "http/routing-path",
        "Spine does not take this interaction at this path (SOAP fault 101).",
        "Post queries to /sync-service, uploads and withdrawals to /reliablemessaging/reliablerequest, polling uploads "
        "to /clinical.",
    ),
    ("http/method", "Spine takes nothing but POST at this path (HTTP 405).", "Send the request with POST."),
    ("http/method-poll", "A result is fetched with GET (HTTP 405).", "Send the request with GET, without a body."),
    (
        "http/path",
        "Spine serves no such path (HTTP 404).",
        "Post queries to /sync-service, uploads and withdrawals to /reliablemessaging/reliablerequest, polling uploads "
        "to /clinical.",
    ),
    (
        "http/media-type",
        "Content-Type does not say that the body is XML (SOAP fault 201).",
        "Send Content-Type: text/xml; charset=utf-8 with a SOAP envelope.",
    ),
    (
        "http/multipart",
        "Content-Type does not say that the body is multipart, as ebXML messages are (SOAP fault 201).",
        "Send the ebXML envelope and the payload as parts of a body with Content-Type: multipart/related, its boundary "
        "named.",
    ),
    (
        "http/media-type-twice",
        "Content-Type is there twice, with different values, so Spine cannot tell what the body is (SOAP fault 201).",
        "Send the header once.",
    ),
    (
        "http/longer",
        "The body is longer than Content-Length says. Spine reads no further than that, and what it reads is not whole "
        "(SOAP fault 201).",
        "Write the length of the whole body; Content-Length counts bytes, not characters.",
    ),
    (
        "http/length-twice",
        "Content-Length is there more than once, which HTTP forbids (HTTP 400).",
        "Send the header once.",
    ),
    (
        "http/length-malformed",
        "Content-Length is not a number that HTTP knows (HTTP 400).",
        "Write the length of the body in bytes with the digits 0 to 9.",
    ),
    (
        "http/length-chunked",
        "Content-Length and Transfer-Encoding stand side by side, which HTTP forbids (HTTP 400).",
        "Leave one of the two away.",
    ),
    (
        "http/chunks",
        "Transfer-Encoding says that the body comes in chunks, and here it does not (HTTP 400). Programs that show a "
        "body without its chunks leave the header there.",
        "Send each chunk with its size in hexadecimal digits and CRLF line ends, and one of size 0 at the end; or take "
        "the header out of the capture.",
    ),
    (
        "http/coding",
        "Transfer-Encoding does not end with chunked, so that nobody knows where the body ends (HTTP 400).",
        "Send the body in chunks, or as it is with its Content-Length.",
    ),
    (
        "http/too-large",
        "The body is larger than any message may be, 5 242 880 bytes (SOAP fault 201).",
        "Send less: Spine refuses the message before it looks at it.",
    ),
    (
        "http/folded",
        "A header goes on in a second line, which HTTP no longer allows (HTTP 400).",
        "Write each header in one line.",
    ),
    (
        "http/asid",
        "The header nhsd-asid names another system than the message does (SOAP fault 300).",
        "Write the same ASID in the header and in communicationFunctionSnd, or leave the header away.",
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
)
"""Rules (those that share a row apart by spaces), what is wrong when one is broken, and how to mend it."""
