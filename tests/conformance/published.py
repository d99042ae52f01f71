"""The published rules as the specification tabulates them, read from its tables: label, key, text.

Spec: 10 §11; 20 §12; 30 §5; 40 §4.2, §5.6.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """One rule of the specification. ``text`` is none where the table does not give one literal text."""

    rule: str
    key: str
    text: str | None


_CODE = re.compile(r"`([^`]*)`")
_LABEL = re.compile(r"[A-Z]?\d+")


def _section(path: Path, heading: str) -> Iterator[list[str]]:
    """The rows of all tables under a heading, cells stripped; a bar in a cell is written with a backslash."""
    level = heading.partition(" ")[0]
    inside = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and len(line.partition(" ")[0]) <= len(level):
            inside = line.startswith(heading)
        elif inside and line.startswith("|") and not re.match(r"\|[-| ]+\|$", line):
            yield [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def labels_in(cell: str) -> list[str]:
    """Expand ``W3–W5``, ``W10, W11``, ``7/8`` and ``1–3``; nothing for what is no label."""
    found: list[str] = []
    for part in re.split(r"[,/] ?", cell):
        first, _, last = part.partition("–")
        if not _LABEL.fullmatch(first) or (last and not _LABEL.fullmatch(last)):
            return []
        letter, number = first.rstrip("0123456789"), int(re.sub(r"\D", "", first))
        end = int(re.sub(r"\D", "", last)) if last else number
        found += [f"{letter}{n}" for n in range(number, end + 1)]
    return found


def summary_rules(spec: Path) -> Iterator[Published]:
    """Rules C, G and W. Spec: 10 §11.1-§11.3."""
    path = spec / "10-gp-summary.md"
    for label, *_, fault in _section(path, "### 11.1"):
        for each in labels_in(label):
            key, text = _CODE.findall(fault)
            yield Published(f"gp-{each}", f"ErrorBase1733.{key.removeprefix('ErrorBase1733.')}", text)
    for heading, prefix in (("### 11.2", "gp"), ("### 11.3", "wd")):
        for label, *_, fault in _section(path, heading):
            labels = labels_in(label)
            texts = _CODE.findall(fault)
            for each in labels:
                text = texts[0] if len(labels) == 1 and len(texts) == 1 else None
                yield Published(f"{prefix}-{each}", "ErrorBase1733.INVALID_DOCUMENT_DATA", text)


def query_rules(spec: Path) -> Iterator[Published]:
    """Rules S, B, C, A, Q, F and P. Spec: 20 §12."""
    path = spec / "20-psis-query.md"
    key = ""
    for label, *rest in _section(path, "## 12."):
        for each in labels_in(label):
            written = rest[1].replace("\\|", "|")
            named = re.match(r"(TMS|1732|1733)\.([A-Z0-9_…]+)", written)
            if named is not None and "…" not in named[2]:
                base = "ErrorBaseTms" if named[1] == "TMS" else f"ErrorBase{named[1]}"
                key = f"{base}.{named[2]}"
            elif named is not None:
                key = "ErrorBase1733.MANDATORY_FILTER_PARAMETER_MISSING"
            suffixes = [code for code in _CODE.findall(written) if code.startswith("[") and "…" not in code]
            yield Published(f"psis-{each}", key + (suffixes[0] if len(suffixes) == 1 else ""), None)


def consent_rules(spec: Path) -> Iterator[Published]:
    """Rules S, G and H. Spec: 30 §5.1-§5.3."""
    path = spec / "30-acs.md"
    for heading in ("### 5.1", "### 5.2", "### 5.3"):
        for row in _section(path, heading):
            for each in labels_in(row[0]):
                if len(row) < 4 or not row[2]:
                    yield Published(f"acs-{each}", "", None)
                    continue
                texts = [code for code in _CODE.findall(row[3]) if code]
                text = texts[0] if texts else ""
                yield Published(f"acs-{each}", row[2].replace("K.", "ErrorBase1712."), text)
    # The rows of the fourth table have no labels: they are counted. The second table there is of the answer.
    asked = [row for row in _section(path, "### 5.4") if row[1:2] != ["Rule"]]
    asked = asked[: next(index for index, row in enumerate(asked) if row[0] == "Element")]
    for number, (_, rule) in enumerate(asked, start=1):
        # That there may be any number of something is nothing that a message can break.
        if not rule.startswith("0..n"):
            yield Published(f"acs-P{number}", "ErrorBase1733.MANDATORY_FIELD_MISSING", None)


def header_rules(spec: Path) -> Iterator[Published]:
    """Rules 1-21 of synchronous requests. Spec: 40 §4.2."""
    for row in _section(spec / "40-transport.md", "### 4.2"):
        if len(row) != 3:
            continue
        labels = labels_in(row[0])
        keys = [code for code in _CODE.findall(row[2]) if not code.startswith("[")]
        for index, each in enumerate(labels):
            key = keys[min(index, len(keys) - 1)]
            yield Published(f"soap-{each}", "" if "…" in key else key, None)


def ebxml_rules(spec: Path) -> Iterator[Published]:
    """Rules E1-E14. Spec: 40 §5.6."""
    for row in _section(spec / "40-transport.md", "### 5.6"):
        for each in labels_in(row[0]) if len(row) == 3 else []:
            yield Published(f"ebxml-{each}", _CODE.findall(row[2])[0].partition("[")[0], None)


def published_rules(spec: Path) -> tuple[Published, ...]:
    """Every rule of every table."""
    return (
        *summary_rules(spec),
        *query_rules(spec),
        *consent_rules(spec),
        *header_rules(spec),
        *ebxml_rules(spec),
    )
