"""Where the shared specification, schemas and corpora are: material that tests read in place and never copy."""

import os
from functools import cache
from pathlib import Path

import pytest
from lxml import etree

PROJECT = Path(__file__).resolve().parent.parent
MESSAGES = PROJECT / "tests" / "messages"


def shared(*parts: str) -> Path:
    """Return a path of the shared material; skip the test that asks when it is not there.

    The environment variable ``OPENSCR_SHARED`` names the folder; without it, it lies beside the project.
    """
    folder = Path(os.environ.get("OPENSCR_SHARED") or PROJECT.parent / "shared")
    path = folder.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"shared material {'/'.join(parts)} is not on this machine (OPENSCR_SHARED)")
    return path


@cache
def _schema(path: Path) -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(path))


def schema(folder: str, name: str) -> etree.XMLSchema:
    """Return a published schema, for example ``schema("TightenedSchemas", "REPC_IN150016UK05")``."""
    return _schema(shared("mim", folder, f"{name}.xsd"))


def summary_schemas(payload: str) -> tuple[etree.XMLSchema, ...]:
    """Return the two published schemas of a bare ``GPSummary``, by payload id (``REPC_MT150007UK05``)."""
    return schema("TightenedSchemas", f"{payload}_4200"), schema("Schemas", f"{payload}_7202")
