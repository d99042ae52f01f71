"""The form of the NHS example library, and the message that becomes of it. Spec: 50 §12, S5."""

import copy
from typing import Any

import pytest

from mhs.scr.forms import EVENT, PATIENT, PRIOR, RECEIVER, SENDER, TEXT, at, example_form
from openscr.hl7.gp_summary import read_summary_message
from openscr.hl7.presend import Check, check_upload
from openscr.hl7.presentation import read_presentation
from openscr.hl7.wrapper import read_wrapper
from openscr.mhs.scr.answers import Refused
from openscr.mhs.scr.example_form import write_example
from openscr.spine import Upload
from openscr.transport.xml import read_xml
from openscr.validation.examination import validate
from openscr.validation.report import Level

GP = "controlActEvent.subject.GPSummary"
TEXT_AT = f"{GP}.excerptForm.CareDocs.presentationText.value"
NAME_AT = f"{GP}.author.AgentPersonSDS.agentPersonSDS.name"

KEYS = (
    "Id",
    "creationTime",
    "versionCode",
    "communicationFunctionRcv.device.id.extension",
    "communicationFunctionSnd.device.id.extension",
    "controlActEvent.author1.agentSystemSDS.id.extension",
    "controlActEvent.author.AgentPersonSDS.id.extension",
    "controlActEvent.author.AgentPersonSDS.agentPersonSDS.id.extension",
    "controlActEvent.author.AgentPersonSDS.part.partSDSRole.id.extension",
    f"{GP}.id.root",
    f"{GP}.effectiveTime",
    f"{GP}.author.time",
    f"{GP}.author.AgentPersonSDS.id.extension",
    f"{GP}.author.AgentPersonSDS.agentPersonSDS.id.extension",
    NAME_AT,
    TEXT_AT,
    f"{GP}.excerptForm.CareDocs.presentationText.id.root",
    f"{GP}.excerptForm.CareDocs.presentationText.effectiveTime.value",
    f"{GP}.recordTarget.patient.id.extension",
    f"{GP}.replacementOf",
)
"""Every key of the form, in the order of 50 §12."""


def with_value(path: str, value: Any) -> dict[str, Any]:
    form = copy.deepcopy(example_form())
    holder, name = at(form, path)
    holder[name] = value
    return form


def refusal(form: object) -> str:
    with pytest.raises(Refused) as caught:
        write_example(form)
    assert caught.value.answer.status == 400
    error = caught.value.answer.document["error"]
    assert isinstance(error, str)
    assert error.startswith("Error whilst generating message: ")
    return error.removeprefix("Error whilst generating message: ")


def test_s5_our_own_service_takes_the_message_at_level_spine() -> None:
    payload = write_example(example_form())
    report = validate(payload, level=Level.SPINE)
    assert report.interaction == "REPC_IN150016UK05"
    assert report.ok, [each.text for each in report.diagnoses]
    wrapper = read_wrapper(read_xml(payload))
    check_upload(wrapper, payload, Check.SPINE)
    # The form has no coded entries; that is all that our message does otherwise than the model.
    read = read_summary_message(wrapper.root, wrapper, payload, wrapper.name)
    assert not read.rejected
    assert not read.findings
    assert isinstance(read.request, Upload)
    assert read.request.deviations == ("entries_empty_or_missing",)
    (refused,) = validate(payload, level=Level.STRICT).diagnoses
    assert "pertinentInformation2" in refused.wrong


def test_every_value_stands_where_it_belongs() -> None:
    form = example_form(PATIENT, EVENT, PRIOR)
    for number, path in enumerate(KEYS[3:9]):
        holder, name = at(form, path)
        holder[name] = f"99{number:010d}"
    form["Id"] = "00000000-0000-4000-8000-00000000000a"
    root = read_xml(write_example(form))
    hl7 = {"h": "urn:hl7-org:v3"}

    def value(path: str) -> list[str]:
        return [str(each) for each in root.xpath(path, namespaces=hl7)]

    assert value("h:id/@root") == ["00000000-0000-4000-8000-00000000000a"]
    assert value("h:creationTime/@value") == ["20261123101500"]
    assert value("h:versionCode/@code") == ["V3NPfIT3.0"]
    assert value("h:communicationFunctionRcv//h:id/@extension") == ["990000000000"]
    assert value("h:communicationFunctionSnd//h:id/@extension") == ["990000000001"]
    act = "h:ControlActEvent"
    assert value(f"{act}/h:author1//h:id/@extension") == ["990000000002"]
    assert value(f"{act}/h:author//h:id[@root='1.2.826.0.1285.0.2.0.67']/@extension") == ["990000000003"]
    assert value(f"{act}/h:author//h:id[@root='1.2.826.0.1285.0.2.0.65']/@extension") == ["990000000004"]
    assert value(f"{act}/h:author//h:id[@root='1.2.826.0.1285.0.2.1.104']/@extension") == ["990000000005"]
    summary = f"{act}/h:subject/h:GPSummary"
    assert value(f"{summary}/h:id/@root") == [EVENT]
    assert value(f"{summary}/h:recordTarget//h:id/@extension") == [PATIENT]
    assert value(f"{summary}/h:replacementOf/h:priorMessageRef/h:id/@root") == [PRIOR]
    assert value(f"{summary}/h:author//h:name/h:family/text()") == ["Demopractice"]
    # XSD order, and no heading without entries. Spec: 10 §3, §4.4.
    names = [str(each.tag).rpartition("}")[2] for each in root.find(f"{act}", hl7)]  # type: ignore[union-attr]
    assert names == ["author", "author1", "subject"]
    assert value(f"{summary}/h:pertinentInformation2") == []


@pytest.mark.parametrize(
    "markup",
    [
        TEXT,
        f'<html xmlns="xhtml:NPfIT:PresentationText"><head/><body>{TEXT}</body></html>',
        f'  <html xmlns="xhtml:NPfIT:PresentationText"><head/><body>{TEXT}</body></html>\n',
    ],
)
def test_the_text_can_be_shown_whatever_stood_around_it(markup: str) -> None:
    """The library puts it into the message bare, and viewers have nothing to show. Spec: 10 §17."""
    payload = write_example(with_value(TEXT_AT, markup))
    root = read_xml(payload)
    (value,) = root.iter("{urn:hl7-org:v3}value")
    (html,) = value
    assert html.tag == "{xhtml:NPfIT:PresentationText}html"
    assert payload.count(b"<html") == 1
    shown = read_presentation(payload)
    assert shown.conforming
    assert "No known allergies & nothing else" in shown.text()


# --- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
def test_row_12_a_missing_key_is_told_with_the_literal_text(key: str) -> None:
    form = copy.deepcopy(example_form())
    path = key.removesuffix(".value") if key.endswith("effectiveTime.value") else key
    holder, name = at(form, path)
    del holder[name]
    assert refusal(form) == f"Failed to find key:{key} when generating message from template file:16UK05"


def test_row_12_the_first_missing_key_is_told() -> None:
    for form in ({}, [], "text", None, 7):
        assert refusal(form) == "Failed to find key:Id when generating message from template file:16UK05"
    bare = {"Id": EVENT, "creationTime": "20261123", "versionCode": "3", "communicationFunctionRcv": {}}
    assert "Failed to find key:communicationFunctionRcv.device.id.extension when" in refusal(bare)
    form = example_form(PATIENT, EVENT, PRIOR)
    form["controlActEvent"]["subject"]["GPSummary"]["replacementOf"] = [{"priorMessageRef": {}}]
    assert "Failed to find key:priorMessageRef.id.root when" in refusal(form)


@pytest.mark.parametrize("key", [key for key in KEYS if not key.endswith(".value")][:-1])
@pytest.mark.parametrize("value", [None, [], {}, True, 1.5, "", "  "])
def test_what_is_no_text_is_refused(key: str, value: Any) -> None:
    assert refusal(with_value(key, value)).startswith(key)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        (TEXT_AT, "<h1>", "is not well-formed XML"),
        (TEXT_AT, "</body></html><html>", "is not well-formed XML"),
        (TEXT_AT, '<!DOCTYPE x [<!ENTITY a "b">]><h1>&a;</h1>', "is not well-formed XML"),
        (TEXT_AT, "<p>\x00</p>", "is not well-formed XML"),
        (NAME_AT, "</name><name>", "is not well-formed XML"),
        (NAME_AT, "<nickname>X</nickname>", "is no name: it has prefix, given, family and suffix, or is text alone"),
        (NAME_AT, "<!-- -->", "is no name: it has prefix, given, family and suffix, or is text alone"),
        ("creationTime", "yesterday", "is not a time: write it like 2021-03-12, 2025-11-11T10:30:45 or 20210312"),
        (f"{GP}.effectiveTime", "23/11/2026", "is not a time"),
    ],
)
def test_a_value_that_no_message_can_hold_is_refused(key: str, value: str, told: str) -> None:
    error = refusal(with_value(key, value))
    assert error.startswith(f"{key} {told}")
    assert value not in error


def test_a_summary_that_cannot_be_sent_is_refused_without_a_word_of_it() -> None:
    error = refusal(example_form("9990000019"))
    assert "/patient/nhs_number must be ten digits that pass modulus 11" in error
    assert "9990000019" not in error


def test_a_summary_replaces_one_at_most() -> None:
    error = refusal(example_form(PATIENT, EVENT, PRIOR, EVENT))
    assert error == f"{GP}.replacementOf names 2 summaries; a summary replaces one at most"


@pytest.mark.parametrize("key", KEYS[:-1])
def test_f23_no_value_becomes_part_of_the_message(key: str) -> None:
    """Markup in a value stays what it is: text of an attribute, or refused."""
    form = with_value(key.removesuffix(".value") if key != TEXT_AT else key, '"/><evil a="')
    try:
        payload = write_example(form)
    except Refused:
        return
    assert read_xml(payload).find(".//{*}evil") is None


def test_values_may_be_numbers() -> None:
    form = with_value("communicationFunctionSnd.device.id.extension", int(SENDER))
    holder, name = at(form, "communicationFunctionRcv.device.id.extension")
    holder[name] = int(RECEIVER)
    assert write_example(form) == write_example(example_form())
