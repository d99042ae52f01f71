"""The shapes of those who take part: persons, organisations, devices, and participations of entries and summaries.

Spec: 10 §4.1, §5, §8.1.
"""

from typing import Final

from openscr.clinical import participants as clinical
from openscr.codes import OID_ASID, OID_ROLE_PROFILE, OID_USER
from openscr.hl7.datatypes import (
    CODE,
    CODED_TEXT,
    CODED_VALUE,
    DATA,
    II,
    JOB_ROLE,
    ODS,
    ODS_OF_ANY_FORM,
    OID_IF_KNOWN,
    ORGANISATION_ROLE,
    ORGANISATION_TYPE,
    ORGANISATION_TYPE_IF_KNOWN,
    PLACE_NAME,
    RELATIONSHIP,
    TEXT,
    CodeOnly,
    Datatype,
    Extension,
)
from openscr.hl7.names_and_addresses import ADDRESS, NAME, ORGANISATION_NAME, TELECOM
from openscr.hl7.shapes import Beyond, Choice, Content, Latitude, Leaf, Node, Shape, Sub, Within

_AGENT: Final = {"classCode": "AGNT"}
_PERSON: Final = {"classCode": "PSN", "determinerCode": "INSTANCE"}
_ORGANISATION: Final = {"classCode": "ORG", "determinerCode": "INSTANCE"}
_DEVICE: Final = {"classCode": "DEV", "determinerCode": "INSTANCE"}
_NAME: Final = Leaf("name", "name", NAME)
_TITLE_OF: Final = Leaf("name", "name", ORGANISATION_NAME)
_SDS_ORGANISATION: Final = Content(Leaf("id", "ods", ODS), _TITLE_OF)

SDS_PERSON: Final = Shape(
    "UKCT_MT160018UK01.AgentPersonSDS",
    _AGENT,
    Content(
        Leaf("id", "role_profile_id", Extension(OID_ROLE_PROFILE)),
        Within("agentPersonSDS", _PERSON, Content(Leaf("id", "user_id", Extension(OID_USER)), _NAME)),
    ),
    of=clinical.SdsPerson,
)
SDS_ORGANISATION: Final = Shape(
    "UKCT_MT160017UK01.AgentOrgSDS",
    _AGENT,
    Content(Within("agentOrganizationSDS", _ORGANISATION, _SDS_ORGANISATION)),
    of=clinical.SdsOrganisation,
)
_EMPLOYER_SDS: Final = Shape(
    "representedOrganizationSDS", _ORGANISATION, _SDS_ORGANISATION, of=clinical.SdsOrganisation
)


def _organisation_behind(*, code_required: bool) -> Shape:
    """Return an organisation that another participant acts for."""
    return Shape(
        "representedOrganization",
        _ORGANISATION,
        Content(
            Leaf("addr", "address", ADDRESS, required=False),
            Leaf(
                "code",
                "organisation_type",
                ORGANISATION_TYPE if code_required else ORGANISATION_TYPE_IF_KNOWN,
                required=code_required,
            ),
            _TITLE_OF,
            Leaf("desc", "description", TEXT, required=False),
        ),
        of=clinical.Organisation,
    )


_EMPLOYER: Final = _organisation_behind(code_required=False)
_REPRESENTED_SDS: Final = Shape(
    "representedPersonSDS",
    _PERSON,
    Content(Leaf("id", "user_id", Extension(OID_USER)), _NAME),
    of=clinical.RepresentedPerson,
    when=("user_id", True),
)
_REPRESENTED: Final = Shape(
    "representedPerson", _PERSON, Content(_NAME), of=clinical.RepresentedPerson, when=("user_id", False)
)
ORGANISATION: Final = Shape(
    "UKCT_MT160017UK01.AgentOrg",
    _AGENT,
    Content(
        Leaf("code", "role", ORGANISATION_ROLE),
        Leaf("addr", "address", ADDRESS),
        Leaf("telecom", "telecom", TELECOM, required=False, many=True),
        Within(
            "agentOrganization",
            _ORGANISATION,
            Content(
                Leaf("addr", "own_address", ADDRESS, required=False),
                Leaf("code", "organisation_type", ORGANISATION_TYPE),
                _TITLE_OF,
                Leaf("desc", "description", TEXT, required=False),
            ),
        ),
        Sub("represented", _EMPLOYER_SDS, others=(_organisation_behind(code_required=True),)),
    ),
    of=clinical.Organisation,
)
PERSON: Final = Shape(
    "UKCT_MT160018UK01.AgentPerson",
    _AGENT,
    Content(
        Leaf("code", "job_role", JOB_ROLE),
        Leaf("addr", "address", ADDRESS),
        Leaf("telecom", "telecom", TELECOM, required=False, many=True),
        Within("agentPerson", _PERSON, Content(_NAME)),
        Sub("organisation", _EMPLOYER, others=(_EMPLOYER_SDS, _REPRESENTED, _REPRESENTED_SDS)),
    ),
    of=clinical.Person,
)


def _non_agent(name: str) -> Shape:
    return Shape(
        name,
        {"classCode": "ROL"},
        Content(
            Leaf("id", "id", OID_IF_KNOWN, required=False),
            Leaf("code", "relationship", RELATIONSHIP),
            Within("playingNonAgentPerson", _PERSON, Content(_NAME), required=False),
        ),
        of=clinical.NonAgent,
    )


NON_AGENT: Final = _non_agent("participantNonAgentRole")
NON_AGENT_ROLE: Final = _non_agent("nonAgentRole")
"""The same under the name that it has as a receiver and as the author of a letter. Spec: 10 §8.1."""

_OLD_FORM: Final = Latitude(legacy=True)
_SDS_ID: Final = Leaf("id", "sds_id", Extension(OID_ASID, open=True))
_II: Final = Leaf("id", "id", II, required=False)
_CODE_ONLY: Final = Leaf("code", "code", CODE, required=False)
_TITLE: Final = Leaf("name", "name", TEXT, required=False)
_DESCRIPTION: Final = Leaf("desc", "description", TEXT, required=False)
_DEVICE_SDS: Final = Shape(
    "agentDeviceSDS", _DEVICE, Content(_SDS_ID), of=clinical.DeviceDetails, when=("sds_id", True), latitude=_OLD_FORM
)
_DESCRIBED_DEVICE: Final = Shape(
    "agentDevice",
    _DEVICE,
    Content(
        _II,
        _CODE_ONLY,
        _TITLE,
        _DESCRIPTION,
        Leaf("manufacturerModelName", "model", CODED_TEXT, required=False),
        Leaf("softwareName", "software", CODED_TEXT, required=False),
    ),
    of=clinical.DeviceDetails,
    when=("sds_id", False),
    latitude=_OLD_FORM,
)
_DEVICE_OWNER_SDS: Final = Shape(
    "representedOrganizationSDS",
    _ORGANISATION,
    Content(Leaf("id", "sds_id", ODS_OF_ANY_FORM)),
    of=clinical.DeviceOrganisation,
    when=("sds_id", True),
    latitude=_OLD_FORM,
)
_DEVICE_OWNER: Final = Shape(
    "representedOrganization",
    _ORGANISATION,
    Content(
        _II,
        _CODE_ONLY,
        Leaf("name", "name", ORGANISATION_NAME, required=False),
        _DESCRIPTION,
        Leaf("telecom", "telecom", TELECOM, required=False),
        Leaf("addr", "address", ADDRESS, required=False),
    ),
    of=clinical.DeviceOrganisation,
    when=("sds_id", False),
    latitude=_OLD_FORM,
)
DEVICE: Final = Shape(
    "UKCT_MT120601UK02.AgentDevice",
    _AGENT,
    Content(
        _II,
        Leaf("code", "code", CODED_VALUE, required=False),
        Sub("device", _DEVICE_SDS, others=(_DESCRIBED_DEVICE,), required=True),
        Sub("organisation", _DEVICE_OWNER_SDS, others=(_DEVICE_OWNER,), required=True),
    ),
    of=clinical.Device,
    latitude=Latitude(
        legacy=True,
        spare=frozenset({"agentDeviceSDS", "agentDevice", "representedOrganizationSDS", "representedOrganization"}),
    ),
)
PLACE: Final = Shape(
    "participantIncidentalLocation",
    {"classCode": "ISDLOC"},
    Content(
        Leaf("code", "code", CODED_VALUE),
        Within(
            "location",
            {"classCode": "PLC", "determinerCode": "INSTANCE"},
            Content(
                Leaf("addr", "address", ADDRESS, required=False),
                Beyond("positionText", DATA),
                Beyond("gpsText", TEXT),
                Leaf("name", "name", PLACE_NAME, required=False),
                Leaf("telecom", "telecom", TELECOM, required=False),
            ),
            required=False,
        ),
    ),
    of=clinical.Place,
)


def participation(
    name: str,
    type_code: str | None,
    agents: tuple[Shape, ...],
    time: Datatype | None,
    *,
    time_required: bool = True,
    mode: bool = False,
    right: tuple[Shape, ...] = (),
) -> Shape:
    """Return the shape of a participation: its time, its mode where it has one, and one of ``agents``.

    Without a type code the participant says it. A required time that is not given is that of the summary. Where only
    some of the agents are ``right``, the others are read all the same. 10 §8.1.
    """
    nodes: list[Node] = []
    if time is not None:
        nodes.append(Leaf("time", "time", time, required=time_required, defaults_to_created=True))
    if mode:
        nodes.append(Leaf("modeCode", "mode", CodeOnly(), required=False))
    return Shape(
        name,
        {"contextControlCode": "OP", **({"typeCode": type_code} if type_code else {})},
        Content(*nodes, Choice(agents, right=right)),
        bound={} if type_code else {"typeCode": "type_code"},
    )
