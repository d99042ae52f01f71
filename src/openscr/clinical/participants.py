"""Who took part: the author of a summary, and the authors, informants and performers of its entries.

Spec: 00 §6.2 "participant", 10 §4.1, §5, §8.1.
"""

from dataclasses import dataclass, field

from openscr.clinical.values import Address, Coded, Identifier, Interval, Name, Telecom, Time
from openscr.codes import OID_JOB_ROLE_NAME, OID_ORGANISATION_ROLE_NAME, OID_RELATIONSHIP


@dataclass(frozen=True, slots=True, kw_only=True)
class Participant:
    """What all kinds share: when they took part, and how (``mode``; ``type_code`` for other participants).

    Spec: 10 §8.1.
    """

    time: Time | Interval | None = None
    mode: str | None = None
    type_code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SdsPerson(Participant):
    """A healthcare worker of the national directory. ``job_role`` matters for the author of the summary alone.

    Spec: 10 §4.1 ``AgentPersonSDS``.
    """

    role_profile_id: str
    user_id: str
    name: Name
    job_role: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SdsOrganisation(Participant):
    """An organisation with an ODS code, or with a twelve-digit id. Spec: 10 §5 ``AgentOrgSDS``."""

    ods: str
    name: Name


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation(Participant):
    """An organisation by its role and address, and another one that it acts for. Behind a person it has no ``role``.

    ``address`` is where it acts, ``own_address`` that of the organisation itself.

    ``organisation_type`` is a code such as ``001``, General Medical Practice. Spec: 10 §5 ``AgentOrg``, Appendix B, C.
    """

    name: Name
    role: Coded | None = field(default=None, metadata={"system": OID_ORGANISATION_ROLE_NAME, "required": True})
    address: Address | None = field(default=None, metadata={"required": True})
    organisation_type: str | None = field(default=None, metadata={"required": True})
    telecom: tuple[Telecom, ...] = ()
    description: str | None = None
    own_address: Address | None = None
    represented: "SdsOrganisation | Organisation | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RepresentedPerson:
    """A person in whose place another one acted; ``user_id`` when the directory knows them. Spec: 10 §4.1."""

    name: Name
    user_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Person(Participant):
    """A person by job role and address. ``organisation`` is for whom they act, which may be another person.

    Spec: 10 §4.1 ``AgentPerson``, Appendix A.
    """

    name: Name
    job_role: Coded = field(metadata={"system": OID_JOB_ROLE_NAME})
    address: Address | None = field(default=None, metadata={"required": True})
    telecom: tuple[Telecom, ...] = ()
    organisation: SdsOrganisation | Organisation | RepresentedPerson | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NonAgent(Participant):
    """A person who does not act for an organisation: the patient, a relative, a carer. Spec: 10 §8.1, Appendix D."""

    relationship: Coded = field(metadata={"system": OID_RELATIONSHIP})
    name: Name | None = None
    id: Identifier | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceDetails:
    """A device: known to the directory by ``sds_id``, or described. Spec: 10 §8.1 ``AgentDevice``."""

    sds_id: str | None = None
    id: Identifier | None = None
    code: str | None = None
    name: str | None = None
    description: str | None = None
    model: str | None = None
    software: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOrganisation:
    """The organisation that a device works for: known by ``sds_id``, or described. Spec: 10 §8.1."""

    sds_id: str | None = None
    id: Identifier | None = None
    code: str | None = None
    name: Name | None = None
    description: str | None = None
    telecom: Telecom | None = None
    address: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Device(Participant):
    """A device that observed or recorded. Spec: 10 §8.1 ``AgentDevice``."""

    device: DeviceDetails | None = field(default=None, metadata={"required": True})
    organisation: DeviceOrganisation | None = field(default=None, metadata={"required": True})
    id: Identifier | None = None
    code: Coded | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place that no organisation stands behind: a patient's home, the roadside. Spec: 10 §8.1."""

    code: Coded
    address: Address | None = None
    name: str | None = None
    telecom: Telecom | None = None


Agent = SdsPerson | Person
"""Who may author most entries. Spec: 10 §8.1 PART-P."""

AgentOrNonAgent = SdsPerson | Person | NonAgent
"""Spec: 10 §8.1 PART-PN."""

AgentOrDevice = SdsPerson | Person | Device
"""Spec: 10 §8.1 PART-PD."""

AnyParticipant = SdsPerson | Person | Device | NonAgent
"""Spec: 10 §8.1 PART-PDN."""
