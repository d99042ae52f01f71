"""The interaction out of a synchronous answer: its very bytes, whatever the Spine has wrapped around it.

Spec: 50 §2.1 step 8, F1; 20 §2.4.
"""

import re
from typing import Final

from lxml import etree

from openscr.errors import UnreadableMessage
from openscr.transport.soap import BODY, ENVELOPE
from openscr.transport.xml import element_span, inherited_declarations

DECLARATION: Final = b"<?xml version='1.0' encoding='utf-8'?>\n"
"""First line of what the supplier is given."""

_INTERACTION: Final = re.compile(r"[A-Z][A-Z0-9_]*_IN[0-9]*[A-Z]{2}[0-9]{2}\Z")
"""Names of interactions: ``QUPC_IN200000UK04``, ``GET_RESOURCE_PERMISSIONS_RESPONSE_INUK01``."""


def unwrap(data: bytes, root: etree._Element) -> bytes:
    """Return the one interaction in the body of an envelope, bare or in a wrapper of any name, as a document.

    ``root`` is what was read from ``data``. Raises: `UnreadableMessage` when there is none, or more.
    """
    body = root.find(BODY) if root.tag == ENVELOPE else None
    children = list(body.iterchildren("*")) if body is not None else []
    if len(children) == 1:
        wrapped = list(children[0].iterchildren("*"))
        if len(wrapped) == 1 and _INTERACTION.match(etree.QName(wrapped[0]).localname):
            return _cut_out(data, wrapped[0])
        if {"id", "interactionId"} <= {etree.QName(child).localname for child in wrapped}:
            return _cut_out(data, children[0])
    raise UnreadableMessage("the body does not hold one interaction", "/SOAP:Envelope/SOAP:Body")


def _cut_out(data: bytes, element: etree._Element) -> bytes:
    offset, length, name = element_span(data, element)
    declarations = inherited_declarations(element).replace(b' xmlns=""', b"")
    start = offset + name
    return b"".join((DECLARATION, data[offset:start], declarations, data[start : offset + length]))
