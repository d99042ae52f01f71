"""What is accepted although the model says otherwise, in plain English.

Spec: 10 §17.
"""

from typing import Final

WORDING: Final = (
    (
        "gp-author1-before-author",
        "author1 stands before author. Spine takes it, the schema does not.",
        "Write author first.",
    ),
    (
        "gp-control-act-alrt",
        "The class of ControlActEvent is ALRT, as an old client library writes it.",
        'Write classCode="CACT".',
    ),
    (
        "gp-its-version-missing",
        "The root has no ITSVersion. Spine does not look at it, its tightened schemas ask for it.",
        'Write ITSVersion="XML_1.0" on the root.',
    ),
    (
        "gp-message-id-not-event-id",
        "The message and the summary in it have different ids. Both work; the record is kept under the summary's.",
        "Write the same UUID in the id of the root and in GPSummary/id.",
    ),
    ("gp-lower-case-id", "An id is in lower case. Spine compares without regard to case.", "Write ids in upper case."),
    (
        "gp-presentation-not-html",
        "The text for the reader is not one html element in the namespace xhtml:NPfIT:PresentationText, so that "
        "viewers have no text to show.",
        'Write exactly one <html xmlns="xhtml:NPfIT:PresentationText"> in presentationText/value.',
    ),
    (
        "gp-entries-empty-or-missing",
        "The summary has no coded entries, or a heading without any. It is stored; systems that read codes find none.",
        "Write a pertinentInformation2 with its entries for each heading that has some.",
    ),
    (
        "gp-status-before-time",
        "statusCode stands before effectiveTime. Spine takes it, the schema of this summary does not.",
        "Write effectiveTime first (in an initial summary it is the other way round).",
    ),
    (
        "gp-unknown-element",
        "The summary has an element that its model does not know. It is stored as it is and nobody looks at it.",
        "Check the spelling of its name, and that it stands where it belongs.",
    ),
)
"""Deviations (those that share a row apart by spaces), what is remarkable, and how to write it as the model says."""
