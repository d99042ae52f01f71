"""Log lines as a process writes them: JSON, or those that tools for the NHS adaptor read. Spec: 50 §9, C7, L28."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from openscr.mhs.logs import NhsMhsLines, configure_mhs_logs
from openscr.mhs.settings import MhsSettings
from openscr.setting_sources import InvalidSetting
from serving import clean_environment

HEAD = """
import logging, structlog
from openscr.mhs import audit_lines
from openscr.mhs.logs import configure_mhs_logs, log_audit
from openscr.mhs.settings import load_mhs_settings
from openscr.mhs.states import Workflow
log = structlog.get_logger("mhs.inbound")
other = structlog.get_logger("relay")
configure_mhs_logs(load_mhs_settings())
"""


def run(program: str, **variables: str) -> tuple[list[str], list[str]]:
    """Run a program that logs; return the lines of its standard output and standard error."""
    given = {f"MHS_{name}": value for name, value in variables.items()}
    enough = dict.fromkeys(("SECRET_PARTY_KEY", "SECRET_CLIENT_CERT", "SECRET_CLIENT_KEY", "SECRET_CA_CERTS"), "x")
    done = subprocess.run(
        [sys.executable, "-c", HEAD + program],
        env=clean_environment(**{f"MHS_{name}": value for name, value in enough.items()}, MHS_ROUTES_FILE="r", **given),
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )
    return done.stdout.splitlines(), done.stderr.splitlines()


IDS = """
with structlog.contextvars.bound_contextvars(
    interaction_id="I", message_id="M", correlation_id="C", inbound_message_id="N"
):
    log.info("message taken", status=200, from_party="YES-0000806", reason="of no\\nconcern")
other.warning("alone")
"""


def test_c7_json_lines_hold_the_ids_of_the_exchange() -> None:
    out, err = run(IDS)
    taken, alone = map(json.loads, err)
    assert out == []
    del taken["timestamp"], alone["timestamp"]
    assert taken == {
        "event": "message taken",
        "level": "info",
        "interaction_id": "I",
        "message_id": "M",
        "correlation_id": "C",
        "inbound_message_id": "N",
        "status": 200,
        "from_party": "YES-0000806",
        "reason": "of no\nconcern",
    }
    assert alone == {"event": "alone", "level": "warning"}


def test_c7_lines_of_the_nhs_adaptor_have_its_form() -> None:
    before = datetime.now(UTC)
    out, err = run(IDS, LOG_STYLE="nhs-mhs")
    assert err == []
    first, second = out
    found = re.fullmatch(
        r"\[([0-9-]{10}T[0-9:]{8}\.[0-9]{6})Z\] \| INFO \| ([0-9]+) \| I \| M \| C \| N \| inbound\.inbound \| "
        r'message taken Status=200 FromParty=YES-0000806 Reason="of no\\nconcern"',
        first,
    )
    assert found is not None, first
    assert abs(datetime.fromisoformat(f"{found[1]}+00:00") - before) < timedelta(minutes=1)
    assert second.endswith(" |  |  |  |  | outbound.relay | alone"), second
    assert " | WARNING | " in second


def test_c7_the_format_of_a_line_may_be_given() -> None:
    out, _ = run(IDS, LOG_STYLE="nhs-mhs", LOG_FORMAT="%(levelname)s %(correlation_id)s <%(message)s>")
    assert out[1] == "WARNING  <alone>"
    assert out[0].startswith("INFO C <message taken")


LEVELS = """
log.debug("debug"); log.info("info"); log_audit("inbound", "audit"); log.warning("warning"); log.error("error")
log.critical("critical")
"""
ORDER = ["debug", "info", "audit", "warning", "error", "critical"]


@pytest.mark.parametrize("style", ["json", "nhs-mhs"])
@pytest.mark.parametrize("least", ORDER)
def test_c7_audit_is_a_level_between_info_and_warning(least: str, style: str) -> None:
    out, err = run(LEVELS, LOG_LEVEL=least.upper(), LOG_STYLE=style)
    if style == "json":
        logged = [(line["event"], line["level"]) for line in map(json.loads, err)]
    else:
        logged = [(line.split(" | ")[8], line.split(" | ")[1].lower()) for line in out]
    wanted = [(level, level) for level in ORDER[ORDER.index(least) :]]
    warned = ("log level DEBUG is for finding faults with synthetic data only", "critical")
    assert logged == ([warned] if least == "debug" else []) + wanted


LINES: list[tuple[str, str]] = [
    ("outbound_invoked(Workflow.SYNC)", "Outbound Synchronous workflow invoked."),
    (
        "outbound_completed(Workflow.SYNC)",
        "Outbound Synchronous workflow completed. Message sent to Spine and "
        "Acknowledgment=MessageStatus.OUTBOUND_SYNC_MESSAGE_RESPONSE_RECEIVED received.",
    ),
    ("outbound_invoked(Workflow.ASYNC_EXPRESS)", "WorkflowName=async-express outbound workflow invoked."),
    ("outbound_invoked(Workflow.ASYNC_RELIABLE)", "Outbound WorkflowName=async-reliable workflow invoked."),
    ("outbound_invoked(Workflow.FORWARD_RELIABLE)", "Outbound WorkflowName=forward-reliable workflow invoked."),
    *(
        (
            f"outbound_completed(Workflow.{name.upper().replace('-', '_')})",
            f"WorkflowName={name} outbound workflow invoked. Message sent to Spine and "
            "Acknowledgment=MessageStatus.OUTBOUND_MESSAGE_ACKD received.",
        )
        for name in ("async-express", "async-reliable", "forward-reliable")
    ),
    (
        "inbound_invoked(Workflow.ASYNC_EXPRESS)",
        "WorkflowName=async-express inbound workflow invoked. Message received from spine",
    ),
    (
        "inbound_completed(Workflow.ASYNC_EXPRESS)",
        "WorkflowName=async-express inbound workflow completed. Message placed on queue, returning "
        "Acknowledgement=MessageStatus.INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED to spine",
    ),
    ("unsolicited_invoked()", "Unsolicited inbound WorkflowName=forward-reliable workflow invoked."),
    (
        "unsolicited_completed()",
        "WorkflowName=forward-reliable workflow invoked for inbound unsolicited request. Attempted to place message "
        "onto inbound queue with Acknowledgement=MessageStatus.UNSOLICITED_INBOUND_RESPONSE_SUCCESSFULLY_PROCESSED.",
    ),
]


def test_c7_audit_lines_have_the_texts_that_people_know() -> None:
    program = "".join(f"audit_lines.{call}\n" for call, _ in LINES)
    out, _ = run(program, LOG_STYLE="nhs-mhs", LOG_FORMAT="%(levelname)s %(levelno)s %(name)s %(message)s")
    assert out == [f"AUDIT 25 {'outbound' if 'outbound_' in call else 'inbound'}.audit {text}" for call, text in LINES]


def test_l28_debug_lines_of_libraries_are_not_written_at_any_level() -> None:
    program = 'logging.getLogger("aiohttp.client").debug("a body of 5 MB"); logging.getLogger("x").info("another")\n'
    _, err = run(program + 'logging.getLogger("x").warning("heard")', LOG_LEVEL="NOTSET")
    assert [json.loads(line)["event"] for line in err][1:] == ["heard"]


def test_c7_lines_of_libraries_bear_their_names() -> None:
    program = 'logging.getLogger("aiohttp.server").warning("heard")'
    out, _ = run(program, LOG_STYLE="nhs-mhs", LOG_FORMAT="%(levelname)s %(name)s %(message)s")
    assert out == ["WARNING outbound.aiohttp.server heard"]


def test_c2_what_is_to_be_said_of_the_settings_is_logged_at_the_start() -> None:
    _, err = run("", TEA="x", DB_ENDPOINT_URL="x")
    lines = [json.loads(line) for line in err]
    assert [(line["level"], line["event"].split()[0]) for line in lines] == [
        ("warning", "MHS_DB_ENDPOINT_URL"),
        ("warning", "MHS_TEA"),
    ]


@pytest.mark.parametrize("format", ["%(colour)s", "%(message", "no field at all"])
def test_a_format_that_is_none_is_refused(format: str) -> None:
    settings = MhsSettings(secret_party_key="P", log_style="nhs-mhs", log_format=format)
    with pytest.raises(InvalidSetting, match="log_format"):
        configure_mhs_logs(settings)


@pytest.mark.parametrize("value", ["a\nb", "a\r\nb", "a\x85b", "a\u2028b", "a\x1b[31mb"])
def test_no_value_makes_a_line_of_its_own(value: str) -> None:
    lines = NhsMhsLines("%(interaction_id)s %(message)s", "outbound")
    event: dict[str, Any] = {"event": value, "level": "info", "interaction_id": value, "field": value}
    (line,) = lines(None, "info", event).decode().splitlines()
    assert line.isprintable()
    assert line.startswith("a\\")
