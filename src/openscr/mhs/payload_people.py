"""Whom a payload names: its author, and the patient whom it is about. Read for the audit, and for nothing else.

Spec: 50 F22; 20 §3.2.
"""

import asyncio
from dataclasses import dataclass
from typing import Final

from lxml import etree

from openscr.codes import OID_NHS_NUMBER
from openscr.errors import WireError
from openscr.hl7.wrapper import HL7, descend, read_person
from openscr.identifiers import is_nhs_number
from openscr.transport.xml import read_xml

_ACT: Final = f"{HL7}ControlActEvent"
_AUTHOR: Final = f"{HL7}author"

_NUMBERS: Final = etree.XPath(f'//@extension[../@root = "{OID_NHS_NUMBER}"]')

_ASIDE: Final = 262_144
"""Bytes of a payload that is looked into on a thread of its own: it takes some milliseconds."""


@dataclass(frozen=True, slots=True)
class People:
    """Ids of the person who sends, and the patient's number; each is empty when the payload does not say it."""

    user_id: str = ""
    role_profile_id: str = ""
    job_role: str = ""
    nhs_number: str = ""


NOBODY: Final = People()


async def people_in(payload: bytes) -> People:
    """Return whom a payload names, as `read_people` does; nobody else waits for it."""
    if not payload:
        return NOBODY
    return await asyncio.to_thread(read_people, payload) if len(payload) >= _ASIDE else read_people(payload)


def read_people(payload: bytes) -> People:
    """Read whom a payload names; `NOBODY` when it is no XML that we read. Nothing is raised."""
    try:
        root = read_xml(payload)
    except WireError:
        return NOBODY
    number = _number_in(root)
    for author in descend(root, _ACT, _AUTHOR):
        person = read_person(author)
        if person is not None:
            return People(person.user_id, person.role_profile_id, person.job_role, number)
    return People(nhs_number=number)


def _number_in(root: etree._Element) -> str:
    """Return the first NHS number of a message: it is that of the patient whom the message is about."""
    for extension in _NUMBERS(root):
        number = str(extension).replace(" ", "")
        if is_nhs_number(number):
            return number
    return ""
