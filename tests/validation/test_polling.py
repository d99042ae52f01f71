"""Uploads of the polling channel: what the service takes there is told as a warning. Spec: 40 §7.6."""

import re

import pytest

from openscr.validation import Severity, validate

from .judging import example
from .test_packaging import resized

POLLED = example("transport", "19-")
BODY = POLLED.partition(b"\r\n\r\n")[2]


def found(data: bytes) -> set[tuple[str, str, str]]:
    """Rule, severity and code of all that is said of the envelope."""
    report = validate(data)
    return {(each.rule, each.severity.value, each.code) for each in report.diagnoses if each.rule.startswith("ebxml")}


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        (rb'MessageHeader eb:version="2.0"', b'MessageHeader eb:version="1.0"', "ebxml-E3"),
        (rb"<eb:DuplicateElimination/>", b"", "ebxml-E4"),
        (rb"<eb:AckRequested[^>]*/>", b"", "ebxml-E5"),
        (rb"<eb:SyncReply[^>]*/>", b"", "ebxml-E6"),
        (rb'(<eb:SyncReply[^>]*eb:version)="2.0"', rb'\1="1"', "ebxml-E7"),
        (rb"schemas.xmlsoap.org/soap/actor/next", b"x", "ebxml-E8"),
        (rb'(<eb:AckRequested[^>]*eb:version)="2.0"', rb'\1="1"', "ebxml-E9"),
        (rb'eb:signed="false"', b'eb:signed="true"', "ebxml-E10"),
        (rb"actor:toPartyMSH", b"actor:x", "ebxml-E11"),
        (rb"<eb:Manifest.*</eb:Manifest>", b"", "ebxml-E13"),
        (rb"<eb:Reference.*</eb:Reference>", b"", "ebxml-E13"),
        (rb'xlink:href="cid:', b'xlink:href="cid-', "ebxml-E14"),
        (rb'xlink:href="cid:', b'xlink:href="cid:other-', "ebxml-E14"),
    ],
)
@pytest.mark.parametrize("base", [POLLED, BODY], ids=["capture", "body"])
def test_what_passes_is_warned_of(base: bytes, old: bytes, new: bytes, rule: str) -> None:
    broken = re.sub(old, new, base, count=1, flags=re.DOTALL)
    assert broken != base
    broken = resized(broken) if base is POLLED else broken
    assert found(broken) == {(rule, "warning", "")}
    assert validate(broken).ok


@pytest.mark.parametrize(
    ("old", "new", "rule", "code"),
    [
        (b"</eb:Manifest>", b'<eb:Reference xlink:href="cid:x"/></eb:Manifest>', "ebxml-E13", "202"),
        (b'<eb:Manifest eb:version="2.0"', b'<eb:Manifest eb:version="1"', "ebxml-E12", "202"),
        (b"<eb:Action>REPC_IN150016SM05", b"<eb:Action>REPC_IN150016UK05", "ebxml-action", "515"),
        (b"services:psis</eb:Service>", b"services:lrs</eb:Service>", "ebxml-action", "515"),
        (b"<eb:CPAId>", b"<eb:CPAId/><eb:CPAId>", "ebxml-E2", "201"),
    ],
)
def test_what_is_refused(old: bytes, new: bytes, rule: str, code: str) -> None:
    """In the acknowledgement that is polled for, but for what transport cannot read at all."""
    assert old in POLLED
    broken = resized(POLLED.replace(old, new, 1))
    assert (rule, "error", code) in found(broken)
    assert {severity for _, severity, _ in found(broken)} == {Severity.ERROR}


def test_the_same_differences_are_refused_on_the_reliable_channel() -> None:
    upload = example("transport", "01-")
    assert ("ebxml-E6", "error", "Inconsistent") in found(resized(re.sub(rb"<eb:SyncReply[^>]*/>", b"", upload)))
