"""The directory as entries of the Spine Directory Service: what SDS would hold if all of ours were registered there.

One ``nhsMhs`` for each party and interaction, one ``nhsAs`` for each system, the tree of people; and what SDS has no
attribute for in attributes of our own, whose names begin with ``openscr``. `openscr.directory.sds_reading` takes all of
it back.

Spec: 00 §6.3; 40 §6.1, §11.1; 35 §1.
"""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urljoin, urlsplit

import msgspec

from openscr.codes import SERVICE_PREFIX
from openscr.directory.entries import ContractForm
from openscr.directory.ldap_entry import LdapEntry, write_dn
from openscr.directory.model import Contract, Directory, Endpoint, Party, System, User, display_name
from openscr.directory.sds_schema import CONTRACTS, NOT_RECORDED, PEOPLE, ROOT, SERVICES

_EXTENSION: Final = "openscrExtension"
_RECORDED: Final = dict.fromkeys(
    ("nhsRequestorURP", "nhsDateRequested", "nhsApproverURP", "nhsDateApproved"), NOT_RECORDED
)
_RECORDED_OF_ENDPOINT: Final = dict.fromkeys(("nhsProductKey", "nhsDNSApprover", "nhsDateDNSApproved"), NOT_RECORDED)
CONTRACT_ATTRIBUTES: Final = {
    "sync_reply_mode": "nhsMHSSyncReplyMode",
    "ack_requested": "nhsMHSAckRequested",
    "duplicate_elimination": "nhsMHSDuplicateElimination",
    "actor": "nhsMHSActor",
    "retries": "nhsMHSRetries",
    "retry_interval": "nhsMHSRetryInterval",
    "persist_duration": "nhsMHSPersistDuration",
    "is_authenticated": "nhsMHSIsAuthenticated",
}
"""The properties of a contract by their names in `openscr-directory/1`. Spec: 40 §6.1."""


def write_sds(directory: Directory, origin: str) -> list[LdapEntry]:
    """Return the entries of a directory, each behind the one that it stands under, always in the same order.

    ``origin`` is the URL below which the own party's paths lie. Spec: 40 §11.1.
    """
    return [
        LdapEntry.of(ROOT, objectClass="organization", o="nhs"),
        *(
            LdapEntry.of(dn, objectClass="organizationalUnit", ou=ou)
            for dn, ou in ((SERVICES, "services"), (PEOPLE, "people"), (CONTRACTS, "contracts"))
        ),
        *(_write_contract(directory.contracts[name]) for name in sorted(directory.contracts)),
        *write_services(directory, origin),
        *(entry for key in sorted(directory.users) for entry in write_user(directory.users[key])),
    ]


def write_services(directory: Directory, origin: str) -> Iterator[LdapEntry]:
    """Give the entries of parties, systems and endpoints. Spec: 40 §11.1."""
    for key in sorted(directory.parties):
        yield _write_party(directory.parties[key])
    for asid in sorted(directory.systems):
        system = directory.systems[asid]
        yield _write_system(system, directory.parties[system.party_key])
    for endpoint in sorted(directory.endpoints, key=lambda e: (e.party_key, e.service, e.interactions)):
        for interaction in endpoint.interactions:
            yield _write_endpoint(endpoint, interaction, directory.parties[endpoint.party_key], origin)


def _write_contract(contract: Contract) -> LdapEntry:
    dn = write_dn((("cn", contract.name),)) + f",{CONTRACTS}"
    return LdapEntry.of(dn, objectClass="openscrContract", cn=contract.name, **_contract(contract))


def _contract(contract: Contract) -> dict[str, str]:
    form = msgspec.to_builtins(ContractForm.of(contract))
    return {attribute: str(form[member]) for member, attribute in CONTRACT_ATTRIBUTES.items() if member in form}


def _write_party(party: Party) -> LdapEntry:
    return LdapEntry.of(
        write_dn((("nhsMHSPartyKey", party.party_key),)) + f",{SERVICES}",
        objectClass=("openscrParty", _EXTENSION),
        nhsMHSPartyKey=party.party_key,
        nhsIDCode=party.ods,
        description=party.name,
        openscrFqdn=party.fqdn,
        openscrOwn="TRUE" if party.own else None,
    )


def _write_system(system: System, party: Party) -> LdapEntry:
    return LdapEntry.of(
        write_dn((("uniqueIdentifier", system.asid),)) + f",{SERVICES}",
        objectClass=("nhsAs", _EXTENSION),
        uniqueIdentifier=system.asid,
        nhsIDCode=party.ods,
        nhsMHSPartyKey=system.party_key,
        nhsAsSvcIA=[f"{SERVICE_PREFIX}{interaction}" for interaction in sorted(system.interactions)],
        nhsAsClient=system.organisations,
        nhsAsACF=system.acf,
        description=system.name,
        # Nobody else made the own system; of the others the directory does not know the maker.
        nhsMhsManufacturerOrg=party.ods if party.own else None,
        **_RECORDED,
        openscrApp=system.app,
        openscrScope=system.scopes,
        openscrAlias=system.aliases,
        openscrSystemUpload=None if system.system_upload else "FALSE",
        openscrBatchConsent="TRUE" if system.batch_consent else None,
        openscrSyncWrapper=system.sync_wrapper,
        openscrEnabled=None if system.enabled else "FALSE",
    )


def _write_endpoint(endpoint: Endpoint, interaction: str, party: Party, origin: str) -> LdapEntry:
    service = f"{SERVICE_PREFIX}{endpoint.service}"
    is_path = endpoint.address.startswith("/")
    dn = write_dn((("nhsMHSPartyKey", party.party_key), ("nhsMhsSvcIA", f"{service}:{interaction}")))
    return LdapEntry.of(
        f"{dn},{SERVICES}",
        objectClass=("nhsMhs", _EXTENSION),
        uniqueIdentifier=endpoint.cpa_id,
        nhsIDCode=party.ods,
        nhsMHSPartyKey=party.party_key,
        nhsMhsSvcIA=f"{service}:{interaction}",
        nhsMHsSN=service,
        nhsMHsIN=interaction,
        nhsMHSEndPoint=absolute(endpoint.address, origin),
        nhsMhsCPAId=endpoint.cpa_id,
        nhsMhsFQDN=next(iter(party.fqdn), None),
        nhsContractPropertyTemplateKey=endpoint.contract.name,
        nhsEPInteractionType="HL7",
        **_contract(endpoint.contract),
        **_RECORDED,
        **_RECORDED_OF_ENDPOINT,
        openscrAddress=endpoint.address if is_path else None,
    )


def absolute(address: str, origin: str) -> str:
    """Return where an endpoint is for others: a path of ours lies below the scheme and host of ``origin``."""
    if not address.startswith("/"):
        return address
    parts = urlsplit(origin)
    return urljoin(f"{parts.scheme}://{parts.netloc}/", f"/{address.lstrip('/')}")


def write_user(user: User) -> Iterator[LdapEntry]:
    """Give the entries of a person: the person, each organisation they work for, each role there. Spec: 35 §1.

    Our directory has no id of a person in an organisation: it is written as user id and ODS code.
    """
    person = write_dn((("uid", user.user_id),)) + f",{PEOPLE}"
    yield LdapEntry.of(
        person,
        objectClass=("nhsPerson", _EXTENSION),
        uid=user.user_id,
        cn=display_name(user.name) or None,
        sn=_parts(user, "family"),
        givenName=_parts(user, "given"),
        nhsPersonStatus="1" if user.active else "0",
        openscrName=msgspec.json.encode(dict(user.name)).decode() if user.name else None,
    )
    known: set[str] = set()
    for role in user.roles:
        place = write_dn((("uniqueIdentifier", f"{user.user_id}-{role.ods}"),)) + f",{person}"
        if role.ods not in known:
            known.add(role.ods)
            yield LdapEntry.of(
                place, objectClass="nhsOrgPerson", uniqueIdentifier=f"{user.user_id}-{role.ods}", nhsIDCode=role.ods
            )
        yield LdapEntry.of(
            write_dn((("uniqueIdentifier", role.role_profile_id),)) + f",{place}",
            objectClass="nhsOrgPersonRole",
            uniqueIdentifier=role.role_profile_id,
            nhsJobRoleCode=role.job_role,
            nhsIDCode=role.ods,
            nhsBusinessFunctionsCodes=sorted(role.activities),
            nhsOrgCloseDate=role.closed.isoformat().replace("-", "") if role.closed else None,
            # Who looks a role up does not see its person.
            nhsPersonStatus=None if user.active else "0",
        )


def _parts(user: User, part: str) -> list[str]:
    value = user.name.get(part, ())
    return (
        [value] if isinstance(value, str) else [str(each) for each in value] if isinstance(value, list | tuple) else []
    )
