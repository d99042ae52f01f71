"""Writing a clinical summary as a GP Summary: schema-valid, ids in place, text and codes from the same model.

Spec: 10 §4-§9, §16; 00 §6.2.
"""

from dataclasses import replace
from typing import Any, Final, cast

from lxml import etree

from openscr.clinical.completion import complete
from openscr.clinical.headings import HEADINGS
from openscr.clinical.lacks import check_summary
from openscr.clinical.narrative import Narrative, narrate
from openscr.clinical.participants import SdsPerson
from openscr.clinical.summary import Presentation, Summary
from openscr.clinical.values import Time
from openscr.codes import HL7_NS, PRESENTATION_NS
from openscr.errors import UnsafeXml, UnwritableSummary
from openscr.hl7.datatypes import NotWritable
from openscr.hl7.shapes import write_shape
from openscr.hl7.summary_shapes import HEADING_CODES, INITIAL, UPDATE, CodedHeading, SummaryParts
from openscr.identifiers import UuidFactory
from openscr.spine import Person
from openscr.transport.xml import escape, read_xml

_HTML: Final = f"{{{PRESENTATION_NS}}}html"


def write_summary(summary: Summary) -> bytes:
    """Return the ``GPSummary`` element of a completed summary with its text, self-contained, in UTF-8.

    Raises: `UnwritableSummary`. Spec: 10 §4, §5, §8.
    """
    lacks = check_summary(summary)
    if lacks:
        raise UnwritableSummary("; ".join(f"{lack.place} {lack.what}" for lack in lacks))
    if summary.presentation is None:
        raise UnwritableSummary("/presentation is missing; compose the summary first")
    _check_html(summary.presentation.html)
    created = cast("Time", summary.created)
    parts = SummaryParts(
        event_id=cast("str", summary.event_id),
        created=created,
        author=summary.author,
        patient=summary.patient,
        status=summary.status,
        presentation=summary.presentation,
        headings=tuple(_headings(summary)),
        replaces=summary.replaces,
    )
    try:
        written = write_shape(parts, INITIAL if summary.initial else UPDATE, created)
    except NotWritable as error:
        raise UnwritableSummary(str(error)) from error
    return written.replace("<GPSummary", f'<GPSummary xmlns="{HL7_NS}"', 1).encode()


def compose(summary: Summary, mint: UuidFactory, now: Any, narrative: Narrative | None = None) -> Summary:
    """Return the summary completed, with its text: what is coded is printed.

    ``mint`` gives the ids that are left out, ``now`` is the time of creation unless the summary has one. A presentation
    that the summary brings stays as it is. Raises: `UnwritableSummary`. Spec: 10 §9.1, §16.
    """
    summary = complete(summary, mint, now)
    if summary.presentation is not None:
        return summary
    html = write_html(narrative or narrate(summary))
    return replace(summary, presentation=Presentation(html, id=mint().upper(), created=summary.created))


def person_of(summary: Summary) -> Person | None:
    """Return the author as the person of the control act, when the summary knows the job role. Spec: 00 §6.2."""
    author = summary.author
    if isinstance(author, SdsPerson) and author.job_role:
        return Person(author.user_id, author.role_profile_id, author.job_role)
    return None


def _headings(summary: Summary) -> list[CodedHeading]:
    found = []
    for heading in HEADINGS:
        if entries := summary.under(heading.member):
            found.append(CodedHeading(code=HEADING_CODES[heading.member], entries=entries))
    return found


def _check_html(html: str) -> None:
    """Make sure that the text is one ``html`` element: it is inserted as it is. Spec: 00 §6.2 ``presentation``."""
    if not html.startswith("<") or html.startswith(("<?", "<!")):
        raise UnwritableSummary("/presentation/html must begin with its html element, without an XML declaration")
    try:
        root = read_xml(html.encode())
    except UnsafeXml as error:
        raise UnwritableSummary("/presentation/html is not well-formed XML") from error
    if (
        root.tag != _HTML
        or isinstance(root.getprevious(), etree._Element)
        or isinstance(root.getnext(), etree._Element)
    ):
        raise UnwritableSummary(f"/presentation/html must be one html element of the namespace {PRESENTATION_NS}")


# --- the text -------------------------------------------------------------------------------------------------------


def write_html(narrative: Narrative) -> str:
    """Return the ``html`` element of a narrative: headings, sentences, tables. Spec: 10 §9."""
    body = [f"<h2>{escape(narrative.title)}</h2>"]
    body += [f"<h3>{escape(sentence)}</h3>" for sentence in narrative.opening]
    for section in narrative.sections:
        body.append(f"<h2>{escape(section.heading)}</h2>")
        if not section.rows:
            body.append(f"<h3>{escape(section.nothing_held)}</h3>")
            continue
        head = "".join(f"<th>{escape(column)}</th>" for column in section.columns)
        rows = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in section.rows)
        body.append(f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>")
    return f'<html xmlns="{PRESENTATION_NS}"><head/><body>{"".join(body)}</body></html>'


def _cell(text: str) -> str:
    return f"<td>{escape(text)}</td>" if text else "<td/>"
