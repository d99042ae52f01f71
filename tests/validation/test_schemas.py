"""The schemas that a user holds: `--mim`. They are read where they lie, and only while they are there.

Spec: 10 §2, §12, §18; 40 §12; corpus VALIDITY.md.
"""

import re
import socket
from pathlib import Path

import pytest

from hl7.mutation import Change, drop, mutated, put, without
from openscr.errors import ConfigurationError
from openscr.validation import Report, Schemas, Severity, validate
from shared import shared

from .judging import errors, example

SUMMARY = "h:ControlActEvent/h:subject/h:GPSummary"


@pytest.fixture(scope="module")
def published() -> Schemas:
    return Schemas(shared("mim"))


def schema_errors(report: Report) -> list[tuple[str, str]]:
    return [(f.xpath, f.text) for f in errors(report) if f.rule == "xsd"]


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        *(("gp-summary", name) for name in ("01", "02", "03", "04", "05", "06", "ack-AE", "ack-AR")),
        *(("psis-query", f"{name}_request_soap") for name in ("QUPC_IN180000UK04", "QUPC_IN190000UK04")),
        ("psis-query", "QUPC_IN180000SM04_request_soap"),
        ("psis-query", "QUPC_IN200000SM04_success_soap"),
        ("psis-query", "QUPC_IN210000UK04_success_soap"),
        ("acs", "01-"),
        ("acs", "06-"),
        ("acs", "11-"),
        ("transport", "01-"),
    ],
)
def test_valid_examples(published: Schemas, folder: str, name: str) -> None:
    report = validate(example(folder, name), published)
    assert report.ok, report.diagnoses
    assert not [finding for finding in report.diagnoses if finding.rule == "xsd"]


def test_the_one_error_that_every_acceptance_has(published: Schemas) -> None:
    data = example("gp-summary", "ack-AA")
    ((xpath, text),) = schema_errors(validate(data, published))
    assert xpath == "/MCCI_IN010000UK13/ControlActEvent/requestSuccessDetail"
    assert text.startswith("Element 'requestSuccessDetail': This element is not expected.")


@pytest.mark.parametrize(
    ("change", "xpath", "words"),
    [
        (put(f"{SUMMARY}/h:recordTarget/h:patient/h:id", "root", "1.2.3"), "/recordTarget/patient/id", "root"),
        (drop(f"{SUMMARY}/h:excerptFrom"), "/pertinentInformation1", "excerptFrom"),
        (put("h:versionCode", "code", "V3NPfIT7.2.02"), "/versionCode", "The value is not an element of the set"),
    ],
)
def test_schema_errors_have_a_line_and_no_content(published: Schemas, change: Change, xpath: str, words: str) -> None:
    data = mutated(example("gp-summary", "02"), change)
    report = validate(data, published)
    found = [finding for finding in errors(report) if finding.rule == "xsd"]
    assert found
    assert found[0].xpath.endswith(xpath)
    assert words in found[0].text
    assert "{urn" not in found[0].text
    name = xpath.rpartition("/")[2].encode()
    assert b"<" + name in data.splitlines()[found[0].line - 1]
    for value in (b"1.2.3", b"V3NPfIT7.2.02", b"9990001030"):
        assert value.decode() not in str(report.form("x"))


ROW = re.compile(r"\| `([^`]+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)


def counted(cell: str) -> int | None:
    """The number of errors in a cell of the table; none where there is no schema."""
    found = re.search(r"\((\d+)\)", cell)
    return None if "no XSD" in cell else int(found.group(1)) if found else 0


@pytest.mark.parametrize(("folder", "column"), [("TightenedSchemas", 0), ("Schemas", 1)])
def test_the_table_of_validity_is_met(folder: str, column: int) -> None:
    """Every message of examples and corpus has as many errors as was measured, document inside and out."""
    schemas = Schemas(shared("mim", folder))
    text = shared("corpus", "VALIDITY.md").read_text("utf-8")
    wanted: dict[Path, int | None] = {}
    for section in text.split("\n## ")[1:]:
        title = section.split("\n")[0]
        base = shared("spec", "examples", *title.split("/")[2:]) if title.startswith("spec") else None
        for name, element, *cells in ROW.findall(section):
            path = (base or shared("corpus")) / name
            # Files without the namespace are another finding; fragments are no messages; SMSP is not spoken yet.
            if "namespace" in element or name.startswith("smsp/"):
                continue
            count = counted(cells[column])
            known = wanted.get(path, 0)
            wanted[path] = None if count is None or known is None else count + known
    assert len(wanted) > 90
    for path, count in wanted.items():
        found = [finding for finding in validate(path.read_bytes(), schemas).diagnoses if finding.rule == "xsd"]
        if count is None:
            assert [finding.severity for finding in found] == [Severity.WARNING], path
        else:
            assert [finding.severity for finding in found] == [Severity.ERROR] * count, (path, found)


def test_its_version_is_asked_for_by_the_tightened_schemas_and_forbidden_by_the_plain_ones(published: Schemas) -> None:
    """Both kinds of sender are judged fairly: the plain schemas get the message without it. Spec: 10 §2."""
    data = example("gp-summary", "02")
    missing = mutated(data, without(".", "ITSVersion"))
    assert [xpath for xpath, _ in schema_errors(validate(missing, published))] == ["/REPC_IN150016UK05"]
    plain = Schemas(shared("mim", "Schemas"))
    assert schema_errors(validate(data, plain)) == []
    assert schema_errors(validate(missing, plain)) == []


def test_polling_uploads_are_checked_as_their_twins(published: Schemas) -> None:
    """There is no schema of that name; author1 before author is its only error. Spec: 40 §12."""
    ((xpath, _),) = schema_errors(validate(example("transport", "19-"), published))
    assert xpath == "/REPC_IN150016SM05/ControlActEvent/author"


def test_an_interaction_without_schema_is_a_warning(published: Schemas) -> None:
    (finding,) = (f for f in validate(example("acs", "14-"), published).diagnoses if f.rule == "xsd")
    assert finding.severity is Severity.WARNING
    assert "no schema" in finding.help


def test_folders_that_hold_no_schemas(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a folder"):
        Schemas(tmp_path / "nothing")
    with pytest.raises(ConfigurationError, match="holds neither"):
        Schemas(tmp_path)


def test_a_broken_schema_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "TightenedSchemas"
    folder.mkdir()
    (folder / "REPC_IN150016UK05.xsd").write_text("<broken", "utf-8")
    with pytest.raises(ConfigurationError, match=r"REPC_IN150016UK05\.xsd is not a usable XML schema"):
        validate(example("gp-summary", "02"), Schemas(tmp_path))


def test_a_schema_never_leads_into_the_network(tmp_path: Path) -> None:
    """An include of an address is an error at once; nobody is called."""
    folder = tmp_path / "Schemas"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/x.xsd"
        (folder / "REPC_IN150016UK05.xsd").write_text(
            '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">'
            f'<xs:include schemaLocation="{address}"/><xs:element name="a"/></xs:schema>',
            "utf-8",
        )
        with pytest.raises(ConfigurationError):
            validate(example("gp-summary", "02"), Schemas(tmp_path))
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_everything_follows_from_the_users_files(tmp_path: Path) -> None:
    """A folder of one's own with one small schema is enough: nothing of the published ones is built in."""
    (tmp_path / "REPC_IN150016UK05.xsd").write_text(
        '<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" targetNamespace="urn:hl7-org:v3">'
        '<xs:element name="other"/></xs:schema>',
        "utf-8",
    )
    ((xpath, text),) = schema_errors(validate(example("gp-summary", "02"), Schemas(tmp_path)))
    assert xpath == "/REPC_IN150016UK05"
    assert "No matching global declaration" in text
