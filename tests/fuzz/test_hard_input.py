"""Nothing makes a reader raise anything but its own errors, do more than its share of work, or take more than its share
of memory. ``make fuzz`` runs the same targets for as long as you like.
"""

import os
import random
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openscr.codes import CRS_NS, EB_NS, HL7_NS, NASP_NS, PRESENTATION_NS, PSIS_NS, SOAP_NS, WSA_NS
from openscr.errors import UnsafeXml
from openscr.transport.xml import MAX_ATTRIBUTES, MAX_NAMESPACES, read_xml

from . import __main__ as driver
from .growth import SHAPES
from .mutation import mutated
from .seeds import CORPUS, corpus, seeds
from .targets import TARGETS, Target

ROOT = Path(__file__).parents[2]
KEPT = [(name, path) for name in TARGETS for path in corpus(name)]
GROWING = [(name, shape) for name, shapes in SHAPES.items() for shape in shapes]


@pytest.mark.parametrize(("name", "path"), KEPT, ids=[f"{name}-{path.stem}" for name, path in KEPT])
def test_what_was_found_once_is_not_found_again(name: str, path: Path) -> None:
    TARGETS[name].run(path.read_bytes())


def test_every_kept_input_belongs_to_a_target() -> None:
    assert {path.parent.name for path in CORPUS.rglob("*.*")} <= TARGETS.keys()
    assert SHAPES.keys() == TARGETS.keys()


@pytest.mark.parametrize("name", TARGETS)
def test_good_messages_pass(name: str) -> None:
    for data in seeds(name):
        TARGETS[name].run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_good_messages_gone_bad(name: str) -> None:
    """A few hundred mutations, always the same."""
    rng = random.Random(2026)
    inputs = seeds(name)
    for _ in range(300):
        TARGETS[name].run(mutated(rng.choice(inputs), inputs, rng))


# --- made from nothing ----------------------------------------------------------------------------------------------

NAMESPACES = {
    "s": SOAP_NS,
    "eb": EB_NS,
    "w": WSA_NS,
    "h": HL7_NS,
    "c": CRS_NS,
    "p": PSIS_NS,
    "n": NASP_NS,
    "x": PRESENTATION_NS,
}
WORDS = """
    s:Header s:Body s:Fault detail n:errorList n:error n:errorCode faultcode n:description
    eb:MessageHeader eb:From eb:PartyId eb:MessageData eb:MessageId eb:Timestamp eb:Manifest
    eb:Acknowledgment eb:ErrorList eb:Error eb:RefToMessageId eb:AckRequested w:MessageID w:Action
    h:ControlActEvent h:author h:author1 h:AgentSystemSDS h:agentSystemSDS h:subject h:GPSummary
    h:id h:code h:value h:query h:nHSNumber h:acknowledgement h:recordTarget h:patient h:reason
    h:presentationText x:html x:table x:thead x:tr x:td x:th x:ul x:li x:pre x:a x:p x:script x:h2
    c:permissions c:accessControlAssertion c:resourceContext c:permission c:function p:event p:author
    p:eventStatus p:persistenceDate p:hl7Data h:QUPC_IN200000UK04 h:MCCI_IN010000UK13 é:é
"""
NAMES = st.sampled_from(WORDS.split())
ROOTS = st.sampled_from(["s:Envelope", "h:MCCI_IN010000UK13", "h:REPC_IN150016UK05", "h:GPSummary"])
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["root", "extension", "code", "codeSystem", "value", "typeCode", "rowspan", "colspan", "id"]),
    st.sampled_from(["", "1", "99", "AA", "ER", "2.16.840.1.113883.2.1.4.1", "9990000026", "20250101000000", "#a"]),
    max_size=3,
)
TEXTS = st.sampled_from(["", " ", "text", "Yes", "uuid:", "&lt;", "<!-- c -->", "<?p i?>", "<![CDATA[<a>]]>", "é"])


def _written(name: str, attributes: dict[str, str], text: str, content: list[str]) -> str:
    values = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f"<{name}{values}>{text}{''.join(content)}</{name}>"


ELEMENTS = st.recursive(
    st.builds(_written, NAMES, ATTRIBUTES, TEXTS, st.just([])),
    lambda inner: st.builds(_written, NAMES, ATTRIBUTES, TEXTS, st.lists(inner, max_size=4)),
    max_leaves=20,
)


@st.composite
def documents(draw: st.DrawFn) -> bytes:
    """Documents of the vocabulary that the readers look for, in any order and nesting."""
    root = draw(ROOTS)
    declared = "".join(f' xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items()) + ' xmlns:é="urn:x"'
    return f"<{root}{declared}>{''.join(draw(st.lists(ELEMENTS, max_size=5)))}</{root}>".encode()


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.one_of(documents(), st.binary(max_size=200)))
@settings(max_examples=150, derandomize=True, database=None)
def test_documents_made_of_the_words_of_the_field(name: str, data: bytes) -> None:
    TARGETS[name].run(data)


# --- work and memory ------------------------------------------------------------------------------------------------


def steps(name: str, data: bytes) -> int:
    """Count the byte-code instructions that a target runs: the same on every machine."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        TARGETS[name].run(data)
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize(("name", "shape"), GROWING)
def test_twice_as_much_is_twice_the_work(name: str, shape: str) -> None:
    build = SHAPES[name][shape]
    TARGETS[name].run(build(50))  # what is made once is made before
    small, large = steps(name, build(100)), steps(name, build(400))
    assert large <= 4.4 * small, (small, large)


@pytest.mark.parametrize(("name", "shape"), GROWING)
def test_memory_is_a_multiple_of_the_input(name: str, shape: str) -> None:
    """What Python holds at most while it reads; the parsed tree itself lies outside and is bounded by its parser."""
    build = SHAPES[name][shape]
    per_unit = max((len(build(64)) - len(build(32))) // 32, 1)
    data = build(40_000 // per_unit)
    TARGETS[name].run(data)
    tracemalloc.start()
    try:
        TARGETS[name].run(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= MEMORY * len(data), f"{peak / len(data):.0f} bytes for each of the input"


MEMORY = 200
"""Bytes for each byte of the input, of which the smallest Python object takes 28 or more."""


def test_namespaces_in_force_are_limited() -> None:
    def declaring(number: int) -> bytes:
        return ("<r " + " ".join(f'xmlns:a{i}="u"' for i in range(number)) + "><b/></r>").encode()

    read_xml(declaring(MAX_NAMESPACES))
    with pytest.raises(UnsafeXml, match=f"more than {MAX_NAMESPACES} namespace declarations"):
        read_xml(declaring(MAX_NAMESPACES + 1))
    # One after the other they may be as many as they like.
    read_xml(b"<r>" + b'<a xmlns:b="u"/>' * (2 * MAX_NAMESPACES) + b"</r>")


def test_attributes_of_an_element_are_limited() -> None:
    def having(number: int) -> bytes:
        return ("<r><b " + " ".join(f'a{i}=">"' for i in range(number)) + "/></r>").encode()

    read_xml(having(MAX_ATTRIBUTES))
    with pytest.raises(UnsafeXml, match=f"more than {MAX_ATTRIBUTES} attributes in one element"):
        read_xml(having(MAX_ATTRIBUTES + 1))
    # In all they may be as many as they like, and a text may look like them.
    read_xml(b"<r>" + b'<a b="u"/>' * (2 * MAX_ATTRIBUTES) + b"</r>")
    read_xml(b"<r>" + b' a=""' * (2 * MAX_ATTRIBUTES) + b"</r>")


# --- the driver of the long run -------------------------------------------------------------------------------------


def test_the_long_run_runs(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--plain", "--seconds", "1", "inbox"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert re.fullmatch(r"inbox: [1-9][0-9]* inputs in 1 s, 0 failures \(mutation, seed 1\)\n", ended.stdout), ended
    assert ended.returncode == 0


def test_the_long_run_keeps_what_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(data: bytes) -> None:
        raise ValueError(data)

    monkeypatch.chdir(tmp_path)
    driver.FOUND.mkdir(parents=True)
    monkeypatch.setitem(driver.TARGETS, "inbox", Target(fail, ()))
    assert driver.fails("inbox", b"bad")
    (kept,) = driver.FOUND.iterdir()
    assert kept.read_bytes() == b"bad"
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    assert not driver.fails("inbox", b"bad")
