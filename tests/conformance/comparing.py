"""Two messages compared: as canonical XML, after what is minted for each answer has been taken out."""

import re
from xml.etree.ElementTree import canonicalize

from lxml import etree

from openscr.codes import EB_NS, HL7_NS, PSIS_NS, WSA_NS
from openscr.transport.xml import read_xml

HL7 = f"{{{HL7_NS}}}"
WSA = f"{{{WSA_NS}}}"
EB = f"{{{EB_NS}}}"
PSIS = f"{{{PSIS_NS}}}"


def without_minted(data: bytes) -> bytes:
    """Return a message of ours with its own id, times and address replaced by fixed words.

    The own id must be the same wherever it stands: HL7 id, ``wsa:MessageID``, ``eb:MessageId``, Content-Id.
    """
    root = read_xml(data)
    _replace_ids(root)
    for tag, attribute in ((f"{HL7}creationTime", "value"), (f"{PSIS}persistenceDate", "value")):
        for element in root.iter(tag):
            assert re.fullmatch(r"[0-9]{14}", element.get(attribute, "")), tag
            element.set(attribute, "TIME")
    for element in root.iter(f"{EB}Timestamp"):
        assert re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z", element.text or "")
        element.text = "TIME"
    for element in root.iter(f"{WSA}From"):
        for address in element.iter(f"{WSA}Address"):
            address.text = "ADDRESS"
    return etree.tostring(root)


def _replace_ids(root: etree._Element) -> None:
    own = {(element.text or "").removeprefix("uuid:") for element in root.iter(f"{WSA}MessageID")}
    own |= {element.text or "" for element in root.iter(f"{EB}MessageId")}
    for acknowledgement in root.iter(f"{HL7}acknowledgement"):
        message = acknowledgement.getparent()
        assert message is not None
        own |= {element.get("root", "") for element in message.findall(f"{HL7}id")}
    assert len(own) <= 1, "an answer has one id of its own"
    for identifier in own:
        assert re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", identifier), identifier
        for element in root.iter():
            if element.text and identifier in element.text:
                element.text = element.text.replace(identifier, "MINTED")
            for name, value in element.items():
                if identifier in value:
                    element.set(name, str(value).replace(identifier, "MINTED"))


def canonical(data: bytes) -> str:
    """Return XML in a form that does not depend on prefixes, attribute order or white space between elements."""
    return canonicalize(data.decode(), strip_text=True, rewrite_prefixes=True)


def same(ours: bytes, theirs: bytes) -> None:
    """Fail unless two answers are equal but for what is minted."""
    assert canonical(without_minted(ours)) == canonical(without_minted(theirs))
