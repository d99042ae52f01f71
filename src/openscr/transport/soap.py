"""SOAP 1.1 as Spine binds it to HTTP: the SOAPAction header, the envelope block, and faults.

Messages with their WS-Addressing headers are in `openscr.transport.wsa`.

Spec: 40 §4.1, §4.4, §10.1, §10.5.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from lxml import etree

from openscr.codes import NASP_NS, SERVICE_PREFIX, SOAP_NS
from openscr.errors import FAULTS
from openscr.transport.xml import DECLARATION, escape, outermost, text_of

ENVELOPE: Final = f"{{{SOAP_NS}}}Envelope"
HEADER: Final = f"{{{SOAP_NS}}}Header"
BODY: Final = f"{{{SOAP_NS}}}Body"

ERROR_CONTEXT: Final = "urn:nhs:names:error:tms"
"""``nasp:codeContext`` of our faults. Spec: 40 §4.4 (DECISION 7)."""

_SOAP_ACTION: Final = re.compile(rf"""("?){re.escape(SERVICE_PREFIX)}([^\s"/]+)/([^\s"/]+)\1\Z""")
_WHITE_SPACE: Final = " \t\r\n"


def parse_soap_action(header: str | None) -> tuple[str, str] | None:
    """Return the short service and the interaction that a ``SOAPAction`` header names, with or without quotes.

    None for a header that is missing, empty or has another shape (signals have). Spec: 40 §4.1, §5.2.
    """
    found = _SOAP_ACTION.match((header or "").strip(_WHITE_SPACE))
    return (found.group(2), found.group(3)) if found is not None else None


def write_fault(errors: Sequence[tuple[str, str | None]], description: str | None = None) -> bytes:
    """Write a fault with one error per (code of `errors.FAULTS`, location); no location: the one of the code.

    Fault code and string are those of the first error. ``description`` replaces the text of the codes. Raises:
    `ValueError` when there is no error, `KeyError` for an unknown code. Spec: 40 §4.4, §10.5.
    """
    if not errors:
        raise ValueError("a fault needs at least one error")
    first = FAULTS[errors[0][0]]
    written = "".join(
        f"<nasp:error><nasp:codeContext>{ERROR_CONTEXT}</nasp:codeContext><nasp:errorCode>{code}</nasp:errorCode>"
        "<nasp:severity>Error</nasp:severity>"
        f"<nasp:location>{escape(location or FAULTS[code].location)}</nasp:location>"
        f"<nasp:description>{escape(description or FAULTS[code].description)}</nasp:description></nasp:error>"
        for code, location in errors
    )
    return (
        f'{DECLARATION}<SOAP:Envelope xmlns:SOAP="{SOAP_NS}"><SOAP:Body><SOAP:Fault>'
        f"<faultcode>{first.faultcode}</faultcode><faultstring>{escape(first.faultstring)}</faultstring>"
        f'<detail><nasp:errorList xmlns:nasp="{NASP_NS}">{written}</nasp:errorList></detail>'
        "</SOAP:Fault></SOAP:Body></SOAP:Envelope>"
    ).encode()


@dataclass(frozen=True, slots=True)
class FaultError:
    """One ``nasp:error`` of a fault, what is missing empty. Spec: 40 §4.4."""

    context: str
    code: str
    severity: str
    location: str
    description: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault as received. ``codes`` and ``descriptions`` are those of its errors, in order; what is missing is empty.

    ``errors`` are the same errors, each as a whole. Spec: 40 §4.4.
    """

    faultcode: str
    faultstring: str
    codes: tuple[str, ...] = ()
    descriptions: tuple[str, ...] = ()
    errors: tuple[FaultError, ...] = field(default=(), compare=False)

    @property
    def retriable(self) -> bool:
        """Whether the same message may be sent again: there are codes, and every one says so. Spec: 40 §6.4."""
        return bool(self.codes) and all(code in FAULTS and FAULTS[code].retriable for code in self.codes)


def read_fault(root: etree._Element) -> Fault | None:
    """Read the fault in the body of an envelope; none when there is no fault.

    Whatever is missing or oddly qualified inside it is tolerated. Spec: 40 §4.4.
    """
    if root.tag != ENVELOPE:
        return None
    fault = root.find(f"{BODY}/{{{SOAP_NS}}}Fault")
    if fault is None:
        return None
    return Fault(
        faultcode=text_of(fault.find("{*}faultcode")).strip(_WHITE_SPACE),
        faultstring=text_of(fault.find("{*}faultstring")).strip(_WHITE_SPACE),
        codes=_texts(fault, "errorCode"),
        descriptions=_texts(fault, "description"),
        errors=tuple(FaultError(*(_first_text(error, name) for name in _PARTS)) for error in _errors(fault)),
    )


_PARTS: Final = ("codeContext", "errorCode", "severity", "location", "description")


def _errors(fault: etree._Element) -> Iterator[etree._Element]:
    return (error for detail in fault.iterchildren("{*}detail") for error in outermost(detail, "{*}error"))


def _texts(fault: etree._Element, name: str) -> tuple[str, ...]:
    found = (found for error in _errors(fault) for found in error.iterchildren(f"{{*}}{name}"))
    texts = (text_of(each).strip(_WHITE_SPACE) for each in found)
    return tuple(text for text in texts if text)


def _first_text(error: etree._Element, name: str) -> str:
    return text_of(error.find(f"{{*}}{name}")).strip(_WHITE_SPACE)
