"""The HL7 V3 transmission wrapper: what every interaction carries around its payload, read once and written once.

The reader is lenient: it takes what is there and leaves judging to the rules of each domain. Names are matched by
namespace and local name, never by prefix; the order of elements does not matter to it.

Spec: 10 §2, §3; 20 §3; 30 §3.
"""

from dataclasses import dataclass, field
from typing import cast

from lxml import etree

from openscr.codes import (
    HL7_NS,
    OID_ASID,
    OID_INTERACTION,
    OID_JOB_ROLE,
    OID_ROLE_PROFILE,
    OID_USER,
)
from openscr.errors import Issue
from openscr.spine import Person
from openscr.transport.xml import escape

_Q = f"{{{HL7_NS}}}"
_ID = f"{_Q}id"
_DEVICE = f"{_Q}device"
_AGENT_PERSON = f"{_Q}AgentPersonSDS"
_PERSON_SDS = f"{_Q}agentPersonSDS"
_PART = f"{_Q}part"
_SDS_ROLE = f"{_Q}partSDSRole"
_AGENT_SYSTEM = f"{_Q}AgentSystemSDS"
_SYSTEM_SDS = f"{_Q}agentSystemSDS"

HL7 = _Q
"""Clark notation prefix of the HL7 V3 namespace: ``HL7 + "id"`` is the tag of ``id``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that a message breaks.

    ``rule`` is our id of the rule (``gp-G7``), ``key`` Spine's constant with its label, ``text`` what follows it.
    ``issue`` is what the answer says about it. ``place`` is the element that the rule looked at or, of one that is
    missing, the nearest ancestor that is there; what a person needs to find it is worked out from that when somebody
    asks (`openscr.validation`). Spec: 00 §4, 20 §12.
    """

    rule: str
    key: str
    text: str
    issue: Issue
    place: etree._Element | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Wrapper:
    """The parts of a transmission wrapper; empty strings stand for what is missing.

    ``name`` is that of the root, empty when the root is not HL7's: it is no interaction then, whatever it is called.
    ``interaction`` is the extension of a single ``interactionId``; ``interaction_ids`` counts them. ``control_act`` is
    the single ``ControlActEvent`` (none when there is not exactly one). ``person`` is the author person with whatever
    ids are there. Spec: 10 §2, §3.
    """

    root: etree._Element
    name: str
    message_id: str
    creation_time: str
    version_code: str
    interaction: str
    interaction_root: str
    interaction_ids: int
    receiver_asid: str
    sender_asid: str
    control_acts: int
    control_act: etree._Element | None
    authors: tuple[etree._Element, ...]
    systems: tuple[etree._Element, ...]
    person: Person | None


def local_name(element: etree._Element) -> str:
    """Return the name of an element without its namespace; empty for comments and processing instructions."""
    tag = element.tag
    return tag.rpartition("}")[2] if isinstance(tag, str) else ""


def children(element: etree._Element) -> dict[str, list[etree._Element]]:
    """Return the element children by tag (Clark notation), each list in document order."""
    found: dict[str, list[etree._Element]] = {}
    for each in element.iterchildren("*"):
        tag = cast("str", each.tag)
        known = found.get(tag)
        if known is None:
            found[tag] = [each]
        else:
            known.append(each)
    return found


def attributes_of(parents: list[etree._Element] | None, attribute: str) -> list[str]:
    """Return the values of an attribute on those elements that carry it."""
    return [value for parent in parents or () if (value := parent.get(attribute)) is not None]


def child(parent: etree._Element, tag: str) -> etree._Element | None:
    """Return the first child with this tag; a plain step, which costs a fraction of a path."""
    return next(parent.iterchildren(tag), None)


def descend(parent: etree._Element, *tags: str) -> list[etree._Element]:
    """Return the descendants at the end of this path of tags, in document order."""
    found = [parent]
    for tag in tags:
        found = [element for above in found for element in above.iterchildren(tag)]
    return found


def nearest(parent: etree._Element, *tags: str) -> etree._Element:
    """Return where this path of tags leads, or the last element on the way that is there.

    Of several with one name it is the last: where there is one too many, that one.
    """
    for tag in tags:
        found = list(parent.iterchildren(tag))
        if not found:
            break
        parent = found[-1]
    return parent


def extensions(parent: etree._Element, tag: str, root: str) -> list[str]:
    """Return the extensions of the ``id`` children (or another tag) that have this root."""
    return [value for each in parent.iterchildren(tag) if each.get("root") == root and (value := each.get("extension"))]


def _device_asid(functions: list[etree._Element] | None) -> str:
    for function in functions or ():
        for device in function.iterchildren(_DEVICE):
            found = extensions(device, _ID, OID_ASID)
            if found:
                return found[0]
    return ""


def read_person(author: etree._Element) -> Person | None:
    """Return the person of an ``author`` participation with the ids that are there, or none without an agent person.

    Spec: 20 §3.2.
    """
    agent = child(author, _AGENT_PERSON)
    if agent is None:
        return None
    roles = extensions(agent, _ID, OID_ROLE_PROFILE)
    person = child(agent, _PERSON_SDS)
    users = extensions(person, _ID, OID_USER) if person is not None else []
    jobs: list[str] = []
    part = child(agent, _PART)
    role = child(part, _SDS_ROLE) if part is not None else None
    if role is not None:
        jobs = extensions(role, _ID, OID_JOB_ROLE)
    return Person(users[0] if users else "", roles[0] if roles else "", jobs[0] if jobs else "")


def count_person_ids(author: etree._Element) -> tuple[int, int, int]:
    """Return how many role profile, user and job role ids an ``author`` participation has. Spec: 30 §3.1."""
    return tuple(  # type: ignore[return-value]
        sum(each.get("root") == root for each in descend(author, *path))
        for path, root in (
            ((_AGENT_PERSON, _ID), OID_ROLE_PROFILE),
            ((_AGENT_PERSON, _PERSON_SDS, _ID), OID_USER),
            ((_AGENT_PERSON, _PART, _SDS_ROLE, _ID), OID_JOB_ROLE),
        )
    )


def system_ids(author1: etree._Element) -> list[etree._Element]:
    """Return the ``id`` elements of the system of an ``author1`` participation."""
    return descend(author1, _AGENT_SYSTEM, _SYSTEM_SDS, _ID)


def read_wrapper(root: etree._Element) -> Wrapper:
    """Read the transmission wrapper and the participants of the control act."""
    by_tag = children(root)
    ids = attributes_of(by_tag.get(_ID), "root")
    times = attributes_of(by_tag.get(f"{_Q}creationTime"), "value")
    versions = attributes_of(by_tag.get(f"{_Q}versionCode"), "code")
    interactions = by_tag.get(f"{_Q}interactionId", [])
    acts = by_tag.get(f"{_Q}ControlActEvent", [])
    act = acts[0] if len(acts) == 1 else None
    authors: tuple[etree._Element, ...] = ()
    systems: tuple[etree._Element, ...] = ()
    if act is not None:
        authors = tuple(act.iterchildren(f"{_Q}author"))
        systems = tuple(act.iterchildren(f"{_Q}author1"))
    return Wrapper(
        root=root,
        name=str(root.tag).removeprefix(HL7) if str(root.tag).startswith(HL7) else "",
        message_id=ids[0] if len(ids) == 1 else "",
        creation_time=times[0] if times else "",
        version_code=versions[0] if versions else "",
        interaction=(interactions[0].get("extension") or "") if len(interactions) == 1 else "",
        interaction_root=(interactions[0].get("root") or "") if len(interactions) == 1 else "",
        interaction_ids=len(interactions),
        receiver_asid=_device_asid(by_tag.get(f"{_Q}communicationFunctionRcv")),
        sender_asid=_device_asid(by_tag.get(f"{_Q}communicationFunctionSnd")),
        control_acts=len(acts),
        control_act=act,
        authors=authors,
        systems=systems,
        person=read_person(authors[0]) if authors else None,
    )


# --- writing --------------------------------------------------------------------------------------------------------

_WRAPPER = (
    '<{name}{attributes}><id root="{message_id}"/><creationTime value="{created}"/><versionCode code="{version}"/>'
    f'<interactionId root="{OID_INTERACTION}" extension="{{name}}"/><processingCode code="P"/>'
    '<processingModeCode code="T"/><acceptAckCode code="NE"/>{acknowledgement}'
    '<communicationFunctionRcv typeCode="RCV"><device classCode="DEV" determinerCode="INSTANCE">'
    f'<id root="{OID_ASID}" extension="{{receiver}}"/></device></communicationFunctionRcv>'
    '<communicationFunctionSnd typeCode="SND"><device classCode="DEV" determinerCode="INSTANCE">'
    f'<id root="{OID_ASID}" extension="{{sender}}"/></device></communicationFunctionSnd>'
    '<ControlActEvent classCode="CACT" moodCode="EVN">{person}<author1 typeCode="AUT"><AgentSystemSDS classCode="AGNT">'
    '<agentSystemSDS classCode="DEV" determinerCode="INSTANCE">'
    f'<id root="{OID_ASID}" extension="{{system}}"/></agentSystemSDS></AgentSystemSDS></author1>'
)
_PERSON = (
    '<author typeCode="AUT"><AgentPersonSDS classCode="AGNT">'
    f'<id root="{OID_ROLE_PROFILE}" extension="{{role}}"/>'
    '<agentPersonSDS classCode="PSN" determinerCode="INSTANCE">'
    f'<id root="{OID_USER}" extension="{{user}}"/></agentPersonSDS>'
    '<part typeCode="PART"><partSDSRole classCode="ROL">'
    f'<id root="{OID_JOB_ROLE}" extension="{{job}}"/></partSDSRole></part></AgentPersonSDS></author>'
)


@dataclass(frozen=True, slots=True)
class Heading:
    """What every message that we write has in its wrapper.

    ``created`` is an HL7 time in UK local time; ``receiver`` and ``sender`` are ASIDs, and ``author_system`` is that of
    the control act where it is not the sender's. Spec: 10 §2.
    """

    message_id: str
    created: str
    version_code: str
    receiver: str
    sender: str
    author_system: str = ""


def write_message(
    name: str,
    heading: Heading,
    *payload: bytes,
    acknowledgement: str = "",
    person: Person | None = None,
    attributes: str = "",
    prefix: str = "",
) -> bytes:
    """Write an interaction: the wrapper, the control act's participants, then ``payload`` as it is.

    ``attributes`` is written on the root as it stands; ``acknowledgement`` is the element of an answer. ``prefix`` is
    for the root's namespace declaration, empty inside an envelope that declares the default namespace.
    """
    author = ""
    if person is not None:
        author = _PERSON.format(
            role=escape(person.role_profile_id), user=escape(person.user_id), job=escape(person.job_role)
        )
    head = _WRAPPER.format(
        name=name,
        attributes=prefix + attributes,
        message_id=escape(heading.message_id),
        created=heading.created,
        version=escape(heading.version_code),
        receiver=escape(heading.receiver),
        sender=escape(heading.sender),
        system=escape(heading.author_system or heading.sender),
        acknowledgement=acknowledgement,
        person=author,
    )
    return b"".join((head.encode(), *payload, f"</ControlActEvent></{name}>".encode()))


NAMESPACE = f' xmlns="{HL7_NS}"'
"""Namespace declaration for the root of a message that travels without an envelope that declares it."""


def write_acknowledgement_element(ack: str, reference: str, details: tuple[Issue, ...] = ()) -> str:
    """Write ``acknowledgement``: type, wrapper errors as details, and the id of the acknowledged message. 20 §3.3."""
    written = "".join(
        f'<acknowledgementDetail typeCode="{issue.severity}"><code code="{escape(issue.code)}" '
        f'codeSystem="{issue.system}" displayName="{escape(issue.display)}"/></acknowledgementDetail>'
        for issue in details
    )
    return (
        f'<acknowledgement typeCode="{ack}">{written}<messageRef><id root="{escape(reference)}"/></messageRef>'
        "</acknowledgement>"
    )


def write_reasons(issues: tuple[Issue, ...]) -> str:
    """Write one ``reason`` per issue, in order, each with code, text and qualifier. Spec: 10 §13, 30 §6.2."""
    return "".join(
        '<reason typeCode="RSON"><justifyingDetectedIssueEvent classCode="ALRT" moodCode="EVN">'
        f'<code code="{escape(issue.code)}" codeSystem="{issue.system}" displayName="{escape(issue.display)}">'
        f'<qualifier code="{issue.severity}"/></code></justifyingDetectedIssueEvent></reason>'
        for issue in issues
    )
