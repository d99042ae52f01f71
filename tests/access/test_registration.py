"""Certificate → party → ASID → interaction, and CPA ids. Spec: 35 §3.2; 40 §8 steps 9, 10."""

from datetime import UTC, datetime

import pytest

from openscr.access.certificates import ClientCertificate
from openscr.access.registration import Cause, check_cpa, check_receiver, check_sender, parties_of
from openscr.directory.model import Directory
from openscr.errors import EBXML_ERRORS, AccessRefused

QUERY = {"service": "psisquery", "interaction": "QUPC_IN180000UK04"}
UPLOAD = {"service": "psis", "interaction": "REPC_IN150016UK05"}
GP = frozenset({"Y90001-0000001"})


def certificate(common_name: str | None, *dns_names: str) -> ClientCertificate:
    return ClientCertificate(common_name, dns_names, "1", datetime(2030, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("certificate", "parties"),
    [
        (certificate("gp.client.test"), {"Y90001-0000001", "Y90001-0000002"}),
        (certificate("VIEWER.client.test"), {"RZZ01-0000001"}),
        (certificate(None, "unheard.test", "other.client.test"), {"RZZ01-0000001"}),
        (certificate("unheard.test", "other.client.test"), {"RZZ01-0000001"}),
        (certificate("gp.client.test", "other.client.test"), {"Y90001-0000001", "Y90001-0000002"}),
        (certificate("unknown.client.test"), set()),
        (certificate(None), set()),
    ],
)
def test_the_common_name_tells_the_parties_and_else_the_alternative_names(
    directory: Directory, certificate: ClientCertificate, parties: set[str]
) -> None:
    assert parties_of(directory, certificate) == parties


def test_a_registered_sender_with_its_certificate_may_send_what_it_is_entitled_to(directory: Directory) -> None:
    system = check_sender(directory, asid="200000000115", parties=GP, **UPLOAD)
    assert system is directory.systems["200000000115"]
    complete = {**UPLOAD, "service": "urn:nhs:names:services:psis"}
    assert check_sender(directory, asid="200000000115", parties=GP, **complete) is system


def test_on_the_loopback_listener_of_a_demo_being_registered_is_enough(directory: Directory) -> None:
    assert check_sender(directory, asid="200000000116", parties=None, **QUERY).party_key == "RZZ01-0000001"


@pytest.mark.parametrize(
    ("asid", "parties", "message", "cause"),
    [
        ("200000000000", GP, QUERY, Cause.UNKNOWN_SENDER),
        ("200000000000", None, QUERY, Cause.UNKNOWN_SENDER),
        ("", None, QUERY, Cause.UNKNOWN_SENDER),
        ("200000000999", None, QUERY, Cause.UNKNOWN_SENDER),
        ("200000000116", GP, QUERY, Cause.WRONG_CERTIFICATE),
        ("200000000115", frozenset(), QUERY, Cause.WRONG_CERTIFICATE),
        ("200000000118", GP, QUERY, Cause.SENDER_DISABLED),
        ("200000000118", None, QUERY, Cause.SENDER_DISABLED),
        ("200000000116", None, UPLOAD, Cause.INTERACTION_NOT_ENTITLED),
        ("200000000115", GP, {**QUERY, "service": "psis"}, Cause.INTERACTION_NOT_ENTITLED),
    ],
)
def test_each_refusal_has_its_precise_cause(
    directory: Directory, asid: str, parties: frozenset[str] | None, message: dict[str, str], cause: Cause
) -> None:
    with pytest.raises(AccessRefused) as refusal:
        check_sender(directory, asid=asid, parties=parties, **message)
    assert refusal.value.diagnostics == cause


def test_receivers_are_ours_by_asid_or_alias(directory: Directory) -> None:
    assert check_receiver(directory, "200000000100")
    assert check_receiver(directory, "200000000999")
    assert not check_receiver(directory, "200000000115")


@pytest.mark.parametrize(
    ("cpa_id", "message", "key"),
    [
        ("S20001A000182", UPLOAD, None),
        ("S20001A000182", {**UPLOAD, "service": "urn:nhs:names:services:psis"}, None),
        ("S20001A000168", UPLOAD, "cpa_coverage"),
        ("S20001A000182", {**UPLOAD, "interaction": "REPC_IN150018UK02"}, "cpa_coverage"),
        ("S90001A000001", UPLOAD, "cpa_unknown"),
        ("", UPLOAD, "cpa_unknown"),
    ],
)
def test_a_cpa_id_is_ours_and_covers_the_interaction(
    directory: Directory, cpa_id: str, message: dict[str, str], key: str | None
) -> None:
    assert check_cpa(directory, cpa_id, **message) == key
    assert key is None or key in EBXML_ERRORS
