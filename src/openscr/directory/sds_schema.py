"""The schema of the Spine Directory Service as far as it is used here: classes, attributes, and what is our own in it.

A class asks for what every entry of ours has: SDS itself asks for more (a host name, an authentication, an
interaction). SDS keeps who asked for and who approved an entry; our directory does not, and writes `NOT_RECORDED`.

Spec: 40 §11.1, 35 §1, §4.1.
"""

from typing import Final, NamedTuple

ROOT: Final = "o=nhs"
SERVICES: Final = f"ou=services,{ROOT}"
PEOPLE: Final = f"ou=people,{ROOT}"
CONTRACTS: Final = f"ou=contracts,{ROOT}"

NOT_RECORDED: Final = "not recorded"
"""What an administrative attribute says that SDS has for each entry and our directory has not."""

_SDS: Final = "1.2.826.0.1285.0.2"
_OWN: Final = "2.25.270581099805190351451216377998888939131"


class Attribute(NamedTuple):
    """An attribute type: its name and object identifier, how often it may stand, and who gave it the identifier."""

    name: str
    oid: str
    single: bool = False


def _numbered(names: str, arc: str, first: int, *, single: bool) -> list[Attribute]:
    return [Attribute(name, f"{arc}.{number}", single) for number, name in enumerate(names.split(), start=first)]


ATTRIBUTES: Final = (
    Attribute("nhsIDCode", "1.2.826.0.1285.0.1.10"),
    *_numbered("nhsMHSPartyKey", f"{_SDS}.1", 82, single=True),
    *_numbered("nhsMHSEndPoint nhsMHSServiceDescription", f"{_SDS}.1", 84, single=False),
    *_numbered("nhsMHSIsAuthenticated", f"{_SDS}.1", 86, single=True),
    *_numbered(
        "nhsMHSPersistDuration nhsMHSRetries nhsMHSRetryInterval nhsMHSSyncReplyMode nhsMHSAckRequested "
        "nhsMHSDuplicateElimination",
        f"{_SDS}.1",
        87,
        single=True,
    ),
    *_numbered("nhsMHSActor", f"{_SDS}.1", 93, single=False),
    *_numbered("nhsJobRoleCode", f"{_SDS}.1", 104, single=True),
    *_numbered("nhsAsACF nhsAsSvcIA", f"{_SDS}.1", 121, single=False),
    *_numbered("nhsMhsSvcIA nhsMhsCPAId", f"{_SDS}.1", 123, single=True),
    *_numbered("nhsAsClient nhsAsCategoryBag", f"{_SDS}.1", 175, single=False),
    *_numbered(
        "nhsRequestorURP nhsDateRequested nhsApproverURP nhsDateApproved nhsDNSApprover nhsDateDNSApproved "
        "nhsProductKey",
        f"{_SDS}.1",
        214,
        single=True,
    ),
    *_numbered(
        "nhsEPInteractionType nhsContractPropertyTemplateKey nhsMhsFQDN nhsMhsIPAddress nhsMhsNetwork nhsMhsSinCode",
        f"{_SDS}.1",
        222,
        single=True,
    ),
    *_numbered("nhsMhsManufacturerOrg", f"{_SDS}.1", 299, single=True),
    # What SDS has under identifiers that the specification does not tell stands under our own.
    *_numbered(
        "nhsMHsSN nhsMHsIN nhsProductName nhsProductVersion nhsOrgCloseDate nhsPersonStatus",
        f"{_OWN}.1",
        1,
        single=True,
    ),
    *_numbered("nhsBusinessFunctionsCodes", f"{_OWN}.1", 7, single=False),
    # What SDS has no attribute for.
    *_numbered(
        "openscrOwn openscrApp openscrSystemUpload openscrBatchConsent openscrSyncWrapper openscrEnabled openscrName "
        "openscrAddress",
        f"{_OWN}.2",
        1,
        single=True,
    ),
    *_numbered("openscrFqdn openscrScope openscrAlias", f"{_OWN}.2", 9, single=False),
)


class ObjectClass(NamedTuple):
    """An object class: what its entries must and may have."""

    name: str
    oid: str
    must: str
    may: str = ""
    kind: str = "STRUCTURAL"


_RELIABILITY: Final = (
    "nhsMHSIsAuthenticated nhsMHSPersistDuration nhsMHSRetries nhsMHSRetryInterval nhsMHSSyncReplyMode "
    "nhsMHSAckRequested nhsMHSDuplicateElimination nhsMHSActor"
)
_RECORDED: Final = "nhsRequestorURP nhsDateRequested nhsApproverURP nhsDateApproved"
_PRODUCT: Final = "nhsProductKey nhsProductName nhsProductVersion nhsMhsManufacturerOrg"

CLASSES: Final = (
    ObjectClass(
        "nhsAs",
        f"{_SDS}.0.107",
        f"uniqueIdentifier nhsIDCode nhsMHSPartyKey {_RECORDED}",
        f"nhsAsSvcIA description nhsAsClient nhsAsCategoryBag nhsAsACF {_PRODUCT}",
    ),
    ObjectClass(
        "nhsMhs",
        f"{_SDS}.0.108",
        "uniqueIdentifier nhsIDCode nhsMHSPartyKey nhsMhsSvcIA nhsMHsSN nhsMHsIN nhsMHSEndPoint nhsMhsCPAId "
        "nhsProductKey nhsDNSApprover nhsDateDNSApproved nhsEPInteractionType nhsContractPropertyTemplateKey "
        f"{_RECORDED}",
        f"nhsMhsFQDN nhsMhsIPAddress nhsMhsNetwork nhsMhsSinCode nhsMHSServiceDescription {_RELIABILITY} {_PRODUCT}",
    ),
    ObjectClass("nhsPerson", f"{_SDS}.0.65", "uid", "cn sn givenName nhsPersonStatus"),
    ObjectClass("nhsOrgPerson", f"{_SDS}.0.66", "uniqueIdentifier", "nhsIDCode nhsOrgCloseDate"),
    ObjectClass(
        "nhsOrgPersonRole",
        f"{_SDS}.0.67",
        "uniqueIdentifier nhsJobRoleCode",
        "nhsIDCode nhsBusinessFunctionsCodes nhsOrgCloseDate nhsPersonStatus",
    ),
    ObjectClass("openscrParty", f"{_OWN}.3.1", "nhsMHSPartyKey nhsIDCode description"),
    ObjectClass("openscrContract", f"{_OWN}.3.2", "cn", _RELIABILITY),
    ObjectClass(
        "openscrExtension",
        f"{_OWN}.3.3",
        "",
        " ".join(attribute.name for attribute in ATTRIBUTES if attribute.name.startswith("openscr")),
        kind="AUXILIARY",
    ),
)


def write_schema() -> str:
    """Write the schema as OpenLDAP reads it; it needs OpenLDAP's own ``core`` and ``cosine``. Spec: 40 §11.1."""
    lines = ["# Spine Directory Service as OpenSCR reads and writes it. Needs core.schema and cosine.schema.", ""]
    for attribute in ATTRIBUTES:
        # Certificates, keys and codes are compared as SDS does, without letter case; what is ours keeps it.
        match = "caseExactMatch" if attribute.name.startswith("openscr") else "caseIgnoreMatch"
        single = " SINGLE-VALUE" if attribute.single else ""
        lines.append(
            f"attributetype ( {attribute.oid} NAME '{attribute.name}' EQUALITY {match} "
            f"SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{single} )"
        )
    for each in CLASSES:
        must = f" MUST ( {' $ '.join(each.must.split())} )" if each.must else ""
        may = f" MAY ( {' $ '.join(each.may.split())} )" if each.may else ""
        lines.append(f"objectclass ( {each.oid} NAME '{each.name}' SUP top {each.kind}{must}{may} )")
    return "\n".join(lines) + "\n"
