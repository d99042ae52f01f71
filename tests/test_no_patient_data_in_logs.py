"""No patient stands in any log or figure of any service that this run has started. Spec: 00 §7.

This module comes late in the order of the run, so that there is something to look at. Run alone, it starts a service
of its own first.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alerts import an_alert, in_fhir
from journeys.conftest import data, pki, start
from journeys.messages import PRACTICE, Post, fresh_patient, get
from journeys.runner import Server
from openscr.identifiers import is_nhs_number
from openscr.spine import AskedPermission, Consent
from openscr.testbench.population import MERGED, population
from openscr.transport.interactions import ALERT_PATH

__all__ = ["data", "pki", "start"]

FHIR = (("Content-Type", "application/fhir+json"), ("nhsd-asid", "200000000115"))
TEN_DIGITS = re.compile(r"(?<![0-9A-Za-z])[0-9]{10}(?![0-9A-Za-z])|(?<![0-9])[0-9]{3} [0-9]{3} [0-9]{4}(?![0-9])")


def numbers_in(text: str) -> set[str]:
    """Return every NHS number that stands in a text, in the forms in which people and programs write them."""
    return {found for found in TEN_DIGITS.findall(text) if is_nhs_number(found.replace(" ", ""))}


@pytest.fixture(scope="session")
def names() -> re.Pattern[str]:
    """The names and postcodes of the demo's patients, as whole words."""
    words = set()
    for patient in population(datetime.now(UTC).date()):
        person = patient.demographics
        words |= {person["name"]["given"], person["name"]["family"], person["address"]["postcode"]}
    return re.compile(rf"\b({'|'.join(sorted(map(re.escape, words)))})\b")


def written_by_services(folder: Path) -> Iterator[tuple[Path, str]]:
    """Return logs and figures of the services whose folders lie in the run's folder."""
    for pattern in ("*.log", "log", "*.metrics"):
        for path in sorted(folder.rglob(pattern)):
            if path.is_file():
                yield path, path.read_text("utf-8", "replace")


async def test_a_service_that_refuses_and_fails_names_no_patient(start: Callable[..., Server]) -> None:
    """Requests of every kind, good and bad ones; what the service then says of itself holds none of their patients."""
    server = await asyncio.to_thread(start, demo=True, log_level="debug")
    number = fresh_patient()
    mail = PRACTICE.upload(number)
    rejected = PRACTICE.upload(number).changed("<creationTime", f"<x{number}", part="payload")
    requests: list[Post] = [
        mail.post(),
        mail.post(),
        rejected.post(),
        PRACTICE.upload(MERGED).post(),
        PRACTICE.upload(number).changed("S20001A000182", number).post(),
        PRACTICE.upload(number).changed("Y90001-0000001", number).post(),
        PRACTICE.upload(number, message_id=number).post(),
        PRACTICE.upload(number).post().with_headers(soapaction=f"urn:nhs:names:services:psis/{number}"),
        PRACTICE.event_list(number),
        PRACTICE.event_list(number).with_headers(nhsd_asid=number),
        PRACTICE.event_list(number).with_headers(content_type=number),
        PRACTICE.event(number, number),
        PRACTICE.set_consent(number, Consent.NO),
        PRACTICE.set_consent(number, Consent.NO, number),
        PRACTICE.get_consent(number),
        PRACTICE.has_permissions(number, AskedPermission("View")),
        PRACTICE.alert_mail(an_alert(number, text=f"about {number}")).post(),
        PRACTICE.alert_mail(an_alert(f"{number}1")).post(),
        Post(json.dumps(in_fhir(an_alert(number))).encode(), FHIR, ALERT_PATH, ""),
        Post(json.dumps(in_fhir(an_alert(number)) | {"type": number, number: ""}).encode(), FHIR, ALERT_PATH, ""),
        Post(f"<{number}>".encode(), PRACTICE.get_consent(number).headers, f"/sync-service?patient={number}", ""),
    ]
    for request in requests:
        assert (await request.to(server.web)).status in (200, 202, 400, 500)
    figures = (await get(server.web, "/metrics")).body.decode()
    assert await asyncio.to_thread(server.stop) == 0
    log = server.log.read_text()
    assert log.count('"answered"') >= 10
    assert all(json.loads(line) for line in log.splitlines())
    for text in (log, figures):
        assert number not in text
        assert numbers_in(text) == set()


def test_no_service_of_this_run_has_named_a_patient(
    tmp_path_factory: pytest.TempPathFactory, names: re.Pattern[str]
) -> None:
    """Every log of every service, and the last figures of each. Spec: 00 §3.1, §7."""
    found = {}
    for path, text in written_by_services(tmp_path_factory.getbasetemp()):
        told = numbers_in(text) | set(names.findall(text))
        if told:
            found[path.name] = len(told)
    assert found == {}


def test_the_search_finds_what_it_looks_for(names: re.Pattern[str]) -> None:
    assert numbers_in("of 9990012318, or 999 001 2318") == {"9990012318", "999 001 2318"}
    assert numbers_in("200000000115 1764e9 12345 9990012319 2026-11-22T14:05:00") == set()
    assert names.search("Mary Sample")
