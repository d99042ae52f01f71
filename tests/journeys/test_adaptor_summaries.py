"""Summaries posted as JSON to an adaptor beside our own service: stored, listed, refused. Spec: 50 §12, C8, S5."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from journeys.adaptor import Adaptor, Supplier, Told
from journeys.messages import PRACTICE, fresh_patient
from journeys.runner import STOP_SECONDS, Server
from mhs.scr.forms import at, example_form, plain_form
from openscr.client import SpineClient
from openscr.codes import EVENT, EVENT_LIST
from openscr.hl7.presentation import presentation_of
from openscr.identifiers import mint_uuid
from openscr.spine import EventListQuery, EventQuery, MessageIds

NAMED = {"interaction-name": "SCR_GP_SUMMARY_UPLOAD"}


def practice_form(patient: str, event: str, *replaced: str) -> dict[str, Any]:
    """The form of the example library, from the demo practice."""
    form = example_form(patient, event, *replaced)
    for path in ("communicationFunctionSnd.device", "controlActEvent.author1.agentSystemSDS"):
        holder, name = at(form, path)
        holder[name] = {"id": {"extension": PRACTICE.asid}}
    return form


async def post(supplier: Supplier, form: dict[str, Any], **headers: str) -> tuple[Told, dict[str, Any]]:
    told = await supplier.ask("POST", "/scr", json.dumps(form), **headers)
    assert told.headers["content-type"] == "application/json", told.text
    document: dict[str, Any] = json.loads(told.body)
    return told, document


async def event_ids(spine: Server, patient: str) -> list[str]:
    async with SpineClient(spine.web) as client:
        listed = await client.list_events(
            client.profile.caller, EventListQuery(MessageIds(mint_uuid(), EVENT_LIST), patient)
        )
    return [event.event_id for event in listed.events]


async def test_s5_the_example_form_is_stored_and_can_be_read(spine: Server, supplier: Supplier) -> None:
    patient, event = fresh_patient(), mint_uuid().upper()
    told, document = await post(supplier, practice_form(patient, event), **NAMED)
    assert told.status == 200, told.text
    assert document["messageDetail"] == "GP Summary upload successful"
    assert document["messageRef"].upper() == event
    assert await event_ids(spine, patient) == [event]
    async with SpineClient(spine.web) as client:
        got = await client.retrieve_event(
            client.profile.caller, EventQuery(MessageIds(mint_uuid(), EVENT), patient, event)
        )
    assert got.document is not None
    assert "No known allergies & nothing else" in presentation_of(got.document).text()


async def test_what_the_record_refuses_is_told_with_its_reasons(supplier: Supplier) -> None:
    patient = fresh_patient()
    form = practice_form(patient, mint_uuid().upper(), mint_uuid().upper())
    told, document = await post(supplier, form, **NAMED)
    assert told.status == 200, "the reference says so"
    assert document["error"] == "Failed to parse all the necessary elements from xml returned from MHS"
    assert document["acknowledgement"] == "AE"
    assert [issue["code"] for issue in document["issues"]] == ["410", "30308"]


async def test_our_own_form_is_composed_stored_and_replaced(spine: Server, supplier: Supplier) -> None:
    patient = fresh_patient()
    told, first = await post(supplier, plain_form(patient), **{"from-asid": PRACTICE.asid})
    assert told.status == 200, told.text
    assert first["acknowledgement"] == "AA"
    told, second = await post(supplier, plain_form(patient, replaces=first["event_id"]), **{"from-asid": PRACTICE.asid})
    assert told.status == 200, told.text
    assert set(await event_ids(spine, patient)) == {first["event_id"], second["event_id"]}
    # Once more the same: what is replaced is no longer current.
    told, third = await post(supplier, plain_form(patient, replaces=first["event_id"]), **{"from-asid": PRACTICE.asid})
    assert (told.status, third["acknowledgement"]) == (422, "AE")
    assert third["issues"][0]["code"] == "430"


async def test_the_state_of_such_a_message_can_be_asked_for(supplier: Supplier) -> None:
    told, _ = await post(supplier, practice_form(fresh_patient(), mint_uuid().upper()), **NAMED)
    state = json.loads((await supplier.ask("GET", f"/messages/{told.headers['message-id']}")).body)
    assert state["WORKFLOW"] == "sync-async"


async def test_c8_the_web_service_stands_before_an_adaptor(adaptor: Adaptor, spine: Server, tmp_path: Path) -> None:
    """``openscr mhs scr`` with the variables of the reference."""
    process, log = launch_scr(tmp_path, SCR_MHS_ADDRESS=adaptor.outbound, SCR_PORT="0", SCR_LOG_LEVEL="INFO")
    assert process.stdout is not None
    try:
        ready, url = process.stdout.readline().split()
        assert ready == "ready"
        patient, event = fresh_patient(), mint_uuid().upper()
        async with Supplier(replace(adaptor, outbound=url)) as system:
            told = await system.ask("POST", "/", json.dumps(practice_form(patient, event)), **NAMED)
            assert (told.status, json.loads(told.body)["messageDetail"]) == (200, "GP Summary upload successful")
            assert (await system.ask("GET", "/healthcheck")).status == 200
        assert await event_ids(spine, patient) == [event]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(STOP_SECONDS) == 0
        process.stdout.close()
    assert patient.encode() not in log.read_bytes()


def launch_scr(folder: Path, **variables: str) -> "tuple[subprocess.Popen[str], Path]":
    log = folder / "scr.log"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SCR_", "MHS_"))}
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "openscr", "mhs", "scr"],
            stdout=subprocess.PIPE,
            stderr=errors,
            stdin=subprocess.DEVNULL,
            cwd=folder,
            env=environment | variables,
            text=True,
        )
    return process, log
