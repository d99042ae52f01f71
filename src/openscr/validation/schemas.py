"""The schemas that a user holds: found in their folders, loaded once, and asked about one interaction.

Spec: 10 §2, §12, §18; 40 §12; 00 §4 ``validate --mim``.
"""

import re
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Final

from lxml import etree

from openscr.codes import (
    EVENT_LIST,
    EVENT_LIST_ANSWER,
    EVENT_LIST_SM,
    EVENT_LIST_SM_ANSWER,
    HL7_NS,
    INITIAL_UPLOAD,
    PAYLOAD_IDS,
    POLLING_UPLOAD,
    UPLOAD,
)
from openscr.errors import ConfigurationError
from openscr.hl7.gp_summary import document_interaction
from openscr.hl7.wrapper import HL7, local_name
from openscr.transport.xml import read_schema
from openscr.validation.places import PREFIXES

TIGHTENED: Final = "TightenedSchemas"
PLAIN: Final = "Schemas"
MAX_ERRORS: Final = 100
"""Schema errors of one message that are told; the rest mostly follows from these."""

TWINS: Final = {POLLING_UPLOAD: UPLOAD, EVENT_LIST_SM: EVENT_LIST, EVENT_LIST_SM_ANSWER: EVENT_LIST_ANSWER}
"""Interactions without a schema of their own, which are their twins but for the name (and ``permissions``). 40 §12."""

_PLACES: Final = ("", "omvt", "mim")
_SUBJECT: Final = re.compile(r"Element '[^']*'(?:, attribute '[^']*')?: (?:\[[^\]]*\] )?")
_VALUE: Final = re.compile(
    r"(?:The value )?'.*'(?= (?:is not accepted by the pattern|is not an element of the set|is not a valid value|"
    r"has a length of|does not match the fixed value|is greater than|is less than))",
    re.DOTALL,
)
_PREFIXED: Final = {uri: "" if uri == HL7_NS else f"{prefix}:" for uri, prefix in PREFIXES.items()}
_NAMESPACE: Final = re.compile(r"\{([^{}]*)\}")


class Schemas:
    """The folder of schemas that ``--mim`` names.

    It holds ``TightenedSchemas``, ``Schemas`` or both, as they are published, or is one of the two. Raises:
    `ConfigurationError` when it holds neither.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise ConfigurationError(f"{folder} is not a folder")
        self._folders = [found for name in (TIGHTENED, PLAIN) if (found := _find(folder, name)) is not None]
        if not self._folders and any(folder.glob("*_IN*.xsd")):
            self._folders = [folder]
        if not self._folders:
            raise ConfigurationError(f"{folder} holds neither {TIGHTENED} nor {PLAIN}, nor any interaction schema")
        self._loaded: dict[Path, etree.XMLSchema] = {}

    def errors(self, interaction: etree._Element) -> list[tuple[etree._Element, str]] | None:
        """Return each schema error with the element that it is about; none when there is no schema for this.

        ``interaction`` may also be a ``GPSummary``, which has a schema of its own. The tightened schemas are the ones
        that Spine's own harness uses, so they are asked first. Values of the message are left out of the texts.
        Raises: `ConfigurationError` when the schema cannot be loaded.
        """
        name = local_name(interaction)
        wanted = _payload_schemas(interaction) if name == "GPSummary" else (TWINS.get(name, name),)
        paths = (folder / f"{stem}.xsd" for folder in self._folders for stem in wanted)
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            return None
        schema = self._loaded.get(path)
        if schema is None:
            schema = self._loaded[path] = read_schema(path)
        copy = deepcopy(interaction)
        originals = dict(zip(copy.iter("*"), interaction.iter("*"), strict=True))
        _adapt(copy, name, plain=path.parent.name == PLAIN)
        tree = etree.ElementTree(copy)
        schema.validate(tree)
        return list(_located(schema, tree, originals, interaction))


def _payload_schemas(document: etree._Element) -> tuple[str, ...]:
    """Return the names of a summary's schema, in both versions of the vocabulary. Spec: 10 §12."""
    payload = PAYLOAD_IDS[document_interaction(document)]
    return f"{payload}_4200", f"{payload}_7202"


def _find(folder: Path, name: str) -> Path | None:
    return next((found for place in _PLACES if (found := folder / place / name).is_dir()), None)


def _adapt(root: etree._Element, name: str, *, plain: bool) -> None:
    """Make of a message what its schema knows. Spec: 10 §2 (ITSVersion), 40 §12 (twins)."""
    twin = TWINS.get(name)
    if twin is not None:
        root.tag = HL7 + twin
        for identifier in root.iterchildren(f"{HL7}interactionId"):
            if identifier.get("extension") == name:
                identifier.set("extension", twin)
        for permissions in list(root.iter(f"{HL7}permissions")):
            parent = permissions.getparent()
            if parent is not None:
                parent.remove(permissions)
    if plain and (twin or name) in {UPLOAD, INITIAL_UPLOAD}:
        root.attrib.pop("ITSVersion", None)


def _located(
    schema: etree.XMLSchema,
    tree: "etree._ElementTree[etree._Element]",
    originals: dict[etree._Element, etree._Element],
    interaction: etree._Element,
) -> Iterator[tuple[etree._Element, str]]:
    errors = list(schema.error_log)[:MAX_ERRORS]
    prefixes = _prefixes(tree.getroot()) if errors else {}
    for error in errors:
        found = tree.xpath(error.path, namespaces=prefixes) if error.path else []
        element = found[0] if isinstance(found, list) and found and isinstance(found[0], etree._Element) else None
        place = originals.get(element, interaction) if element is not None else interaction
        yield place, _readable(error.message)


def _readable(message: str) -> str:
    """Return an error of the schema without the message's own value, and with prefixes instead of namespaces."""
    subject = _SUBJECT.match(message)
    begin = subject.end() if subject is not None else 0
    text = message[:begin] + _VALUE.sub("The value", message[begin:])
    return _NAMESPACE.sub(lambda found: _PREFIXED.get(found.group(1), found.group()), text)


def _prefixes(root: etree._Element) -> dict[str, str]:
    return {
        prefix: uri for element in root.iter("*") for prefix, uri in element.nsmap.items() if prefix is not None and uri
    }
