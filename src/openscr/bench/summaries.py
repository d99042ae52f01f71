"""The summaries of a measurement: the reference message, and a corpus with the sizes of the synthetic population.

Spec: 90 §4.1, §6.4, §7.
"""

import math
import re
from functools import cache
from importlib import resources
from statistics import NormalDist
from typing import Final

from openscr.bench.templates import EFFECTIVE, MESSAGE, NUMBER
from openscr.testbench.made_population import made_population
from openscr.testbench.stories import StepKind

MEDIAN: Final = 9_000
MOST_BELOW: Final = 120_000
LARGEST: Final = 400_000
"""Bytes of the records: log-normal, half below the first, 95 % below the second, none above the third. Spec: 90 §7."""

VARIETIES: Final = 100
"""Documents of the corpus: one for every hundredth of the distribution."""

_POOL: Final = 120
"""Patients of the synthetic population that the corpus is chosen from."""

_NUMBER: Final = re.compile(rb'(root="2\.16\.840\.1\.113883\.2\.1\.4\.1" extension=")\d{10}')
_EVENT: Final = re.compile(rb'(<id root=")[0-9A-Fa-f-]{36}')
_REPLACED: Final = re.compile(rb"<replacementOf.*?</replacementOf>", re.S)
_TIME: Final = re.compile(rb'(<effectiveTime value=")\d{14}(?:[+-]\d{4})?')


def reference_document() -> bytes:
    """Return the core summary of about 17 kB that figures "per upload" are for, with places to be filled. 90 §6.4."""
    text = resources.files("openscr.bench").joinpath("reference.xml").read_bytes()
    document = text[text.index(b"<GPSummary") : text.index(b"</GPSummary>") + len(b"</GPSummary>")]
    return _with_places(document.replace(b"<GPSummary", b'<GPSummary xmlns="urn:hl7-org:v3"', 1))


@cache
def corpus(varieties: int = VARIETIES) -> tuple[bytes, ...]:
    """Return synthetic summaries of which each is as likely as any other, with places to be filled, smallest first."""
    pool = sorted(
        (
            step.document
            for patient in made_population(_POOL, 7)
            for step in patient.steps[-1:]
            if step.kind is StepKind.UPLOAD and len(step.document) <= LARGEST
        ),
        key=len,
    )
    bell = NormalDist(math.log(MEDIAN), math.log(MOST_BELOW / MEDIAN) / NormalDist().inv_cdf(0.95))
    sizes = [min(LARGEST, math.exp(bell.inv_cdf((index + 0.5) / varieties))) for index in range(varieties)]
    return tuple(_with_places(min(pool, key=lambda document: abs(len(document) - size))) for size in sizes)


def documents_of(*, mixed: bool) -> tuple[bytes, ...]:
    """Return what is uploaded: summaries of all sizes, or the reference alone."""
    return corpus() if mixed else (reference_document(),)


def _with_places(document: bytes) -> bytes:
    # Whom it replaces would be somebody else's.
    document = _REPLACED.sub(b"", document)
    document = _NUMBER.sub(rb"\g<1>" + NUMBER, document)
    document = _EVENT.sub(rb"\g<1>" + MESSAGE, document, count=1)
    return _TIME.sub(rb"\g<1>" + EFFECTIVE, document, count=1)
