"""Every answer that a workflow gives a supplier: literal texts, and the two error documents.

Spec: 50 §1.4, §1.5.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

from openscr.errors import EbxmlError
from openscr.mhs.exchange import TEXT, XML, Answer
from openscr.transport.ebxml import ERROR_CONTEXT
from openscr.transport.soap import Fault, FaultError
from openscr.transport.verdict import AttemptResult

ERROR_MESSAGE: Final = "Error(s) received from Spine. Contact system administrator."
FAULT_KEY: Final = "SOAP_ERROR_HANDLER0002"
EBXML_KEY: Final = "EBXML_ERROR_HANDLER0005"


def _text(status: int, text: str) -> Answer:
    return Answer(status, text.encode(), TEXT)


ACCEPTED: Final = Answer(202)
"""The Spine has the message, or will be sent it until it has."""

NO_SENDER: Final = _text(400, "`from_asid` header field required for sync messages")
NO_ROUTE: Final = _text(500, "Error obtaining outbound URL")
NOT_SERIALISED: Final = _text(500, "Error serialising outbound message")
NOT_PREPARED: Final = _text(500, "Failed message preparation")
NOT_SENT: Final = _text(500, "Error making outbound request")
UNEXPECTED: Final = _text(500, "Didn't get expected response from Spine")
UNREADABLE: Final = _text(500, "Unable to handle response returned from Spine")
NO_REPLY: Final = _text(500, "No async response received from sync-async store")


def too_large(limit: int, size: int) -> Answer:
    """Refuse a message that is larger than the Spine takes; both in bytes. Spec: 50 F13."""
    return _text(400, f"Request to send to Spine is too large. MaxRequestSize={limit} RequestSize={size}")


def unreadable_interval(text: str) -> Answer:
    """Tell that the directory's retry interval is no duration."""
    return _text(500, f"Error when converting retry interval: {text} to seconds")


def no_answer(detail: str) -> Answer:
    """Tell that a synchronous exchange had no answer; ``detail`` says why, and quotes nothing of anybody."""
    return _text(500, f"Error(s) received from Spine: HTTP 599: {detail}")


def passed_on(status: int, body: bytes) -> Answer:
    """Pass on what the Spine has answered."""
    return Answer(status, body, TEXT if status >= 400 else XML)


def fault_document(fault: Fault) -> Answer:
    """Tell a SOAP fault; one without a list of errors is one error itself."""
    errors = fault.errors or (FaultError("", fault.faultcode, "Error", "", fault.faultstring),)
    return _document(500, FAULT_KEY, [_fault_item(error, "soap_fault") for error in errors])


def ebxml_document(errors: Sequence[EbxmlError]) -> Answer:
    """Tell the errors of a MessageError."""
    items = [
        {
            "codeContext": error.context,
            "errorCode": error.code,
            "severity": error.severity,
            "Description": error.description,
            "errorType": "ebxml_error",
        }
        for error in errors
    ]
    return _document(500, EBXML_KEY, items)


FOREIGN_ACKNOWLEDGMENT: Final = EbxmlError(
    "Inconsistent", "The Acknowledgment received refers to another message", ERROR_CONTEXT, "Error"
)
"""What is told instead of an acknowledgement that is not of the message. Spec: 50 F8."""


def no_interaction() -> Answer:
    """Tell that a synchronous answer holds no interaction where one must be. Spec: 50 F1."""
    context, location = "urn:openscr:mhs", "/SOAP:Envelope/SOAP:Body"
    text = "The body of the answer does not hold exactly one HL7 interaction"
    error = FaultError(context, "UnexpectedAnswer", "Error", location, text)
    return _document(502, FAULT_KEY, [_fault_item(error, "unexpected_answer")])


def refused(result: AttemptResult) -> Answer:
    """Tell why a message has not been taken by the Spine, which has answered. Spec: 50 §1.4, F8."""
    if isinstance(result.said, Fault):
        return fault_document(result.said)
    if result.said is not None:
        return ebxml_document(result.said.errors if result.said.kind == "MessageError" else [FOREIGN_ACKNOWLEDGMENT])
    return UNEXPECTED if result.readable else UNREADABLE


def _fault_item(error: FaultError, error_type: str) -> dict[str, str]:
    return {
        "errorCode": error.code,
        "severity": error.severity,
        "location": error.location,
        "description": error.description,
        "codeContext": error.context,
        "errorType": error_type,
    }


def _document(status: int, process_key: str, errors: list[dict[str, str]]) -> Answer:
    document: dict[str, Any] = {"error_message": ERROR_MESSAGE, "process_key": process_key, "errors": errors}
    return Answer(status, json.dumps(document).encode(), TEXT, document)
