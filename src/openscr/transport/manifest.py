"""The manifest of an ebXML message: what it says of the parts beside the envelope, and of messages sent on their own.

Spec: 40 §5.3, §6.6; 50 §3.1.
"""

from dataclasses import dataclass
from typing import Final

from lxml import etree

from openscr.codes import EB_NS, HL7EBXML_NS, SOAP_NS, XLINK_NS
from openscr.errors import UnreadableMessage
from openscr.transport.xml import text_of

_BODY: Final = f"{{{SOAP_NS}}}Body"
_MANIFEST: Final = f"{{{EB_NS}}}Manifest"
_DESCRIPTION: Final = f"{{{EB_NS}}}Description"
_PAYLOAD: Final = f"{{{HL7EBXML_NS}}}Payload"
_HREF: Final = f"{{{XLINK_NS}}}href"
_ID: Final = f"{{{EB_NS}}}id"
_LINE_ENDS_AND_TABS: Final = str.maketrans("", "", "\t\r\n")


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """One child of a manifest. ``description`` stands without tabs and line ends, empty when there is none.

    ``is_payload`` tells that it marks the HL7 payload. Spec: 50 §3.1.
    """

    href: str
    document_id: str | None
    description: str
    is_payload: bool

    @property
    def content_id(self) -> str | None:
        """The Content-Id of the part it means, none when it means no part."""
        return self.href[4:] if self.href[:4].lower() == "cid:" else None

    @property
    def external_message_id(self) -> str | None:
        """The id of the message that it means, none when it means no other message."""
        _, mid, message_id = self.href.partition("mid:")
        return message_id if mid and self.content_id is None else None


def read_manifest(root: etree._Element) -> tuple[ManifestEntry, ...]:
    """Read the manifest of an envelope; there are no entries without one.

    Raises: `UnreadableMessage` when an entry has no ``xlink:href``. Spec: 50 §3.1 step 4.
    """
    entries = []
    for body in root.iterchildren(_BODY):
        for manifest in body.iterchildren(_MANIFEST):
            for child in manifest.iterchildren("*"):
                href = child.get(_HREF)
                if href is None:
                    raise UnreadableMessage(
                        "an entry of the manifest has no xlink:href", "/SOAP:Envelope/SOAP:Body/eb:Manifest/*"
                    )
                entries.append(
                    ManifestEntry(
                        href=href.strip(),
                        document_id=child.get(_ID, child.get("id")),
                        description=text_of(child.find(_DESCRIPTION)).translate(_LINE_ENDS_AND_TABS),
                        is_payload=child.find(_PAYLOAD) is not None,
                    )
                )
    return tuple(entries)
