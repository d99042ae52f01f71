"""Comments and processing instructions say nothing: a message with them is read as the same message without them.

Spec: 40 §6.6; 10 §11.4; 20 §12; 30 §5; 80 §5.2.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from lxml import etree

from openscr.codes import ACS_HAS, ALERT, DOCUMENT_QUERIES, SCR_PERMISSIONS, UPLOADS, WITHDRAWALS
from openscr.hl7.acs import read_consent_message
from openscr.hl7.alert import read_alert_message
from openscr.hl7.document_query import read_document_query
from openscr.hl7.gp_summary import read_summary_message
from openscr.hl7.permission_check import read_permission_message
from openscr.hl7.psis import HeaderFacts, read_query
from openscr.hl7.rules.consent_wrapper import PAYLOADS
from openscr.hl7.scr_application import read_permissions_query
from openscr.hl7.wrapper import read_wrapper
from openscr.spine import Document, Upload
from openscr.transport.xml import read_xml
from shared import MESSAGES

from .test_alert import message as alert_message
from .test_readers import interaction

NOTHING = Document(b"", 0, 0, 0)


def requested(data: bytes) -> object:
    """What a message asks for, whatever it is: the document of an upload, which is kept as it came, left out."""
    root = interaction(data)
    # A message that stands alone is read with its bytes.
    data = etree.tostring(root, with_tail=False)
    root = read_xml(data)
    name, wrapper = etree.QName(root).localname, read_wrapper(root)
    header = HeaderFacts(name, wrapper.receiver_asid, wrapper.sender_asid)
    if name in UPLOADS | WITHDRAWALS:
        request = read_summary_message(root, wrapper, data, name).request
        return replace(request, document=NOTHING, author=b"") if isinstance(request, Upload) else request
    if name == ALERT:
        return read_alert_message(wrapper).request
    if name in DOCUMENT_QUERIES:
        return read_document_query(wrapper, None, name).request
    if name == SCR_PERMISSIONS:
        return read_permissions_query(wrapper, header).request
    if name == ACS_HAS:
        return read_permission_message(wrapper, header).request
    if name in PAYLOADS:
        return read_consent_message(wrapper, name, header).request
    return read_query(wrapper, header).request


def annotated(data: bytes, cut: Callable[[str], int]) -> bytes:
    """Put a comment into every element, and where it has text, into the text; and an instruction behind it."""
    root = read_xml(data)
    for element in list(root.iter("*")):
        text = element.text or ""
        at = cut(text)
        comment = etree.Comment(" a remark ")
        element.text, comment.tail = text[:at], text[at:]
        element.insert(0, comment)
        element.append(etree.ProcessingInstruction("tool", "remark"))
    return etree.tostring(root)


REQUESTS = sorted(
    path
    for folder, names in (("acs", "*.xml"), ("gp-summary", "0*.xml"), ("psis-query", "*request*.xml"))
    for path in (MESSAGES / folder).glob(names)
    if "response" not in path.name and not path.name.startswith(("n", "QUQI"))
)


@pytest.mark.parametrize("path", [*REQUESTS, None], ids=lambda path: path.stem if path else "alert")
@pytest.mark.parametrize("cut", [lambda text: 0, lambda text: len(text) // 2, len], ids=["before", "inside", "behind"])
def test_remarks_change_nothing(path: Path | None, cut: Callable[[str], int]) -> None:
    data = path.read_bytes() if path is not None else alert_message()
    plain = requested(data)
    assert plain is not None
    assert requested(annotated(data, cut)) == plain
