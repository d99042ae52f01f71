"""Before an upload is sent: it is judged here, so that no faulty summary leaves the practice by mistake.

Spec: 10 §11.5, §16.
"""

from enum import StrEnum
from itertools import islice
from typing import Final

from openscr.codes import UPLOADS
from openscr.errors import NotSent
from openscr.hl7.gp_summary import read_summary_message
from openscr.hl7.strict import check_strict
from openscr.hl7.wrapper import Finding, Wrapper

_SHOWN: Final = 3


class Check(StrEnum):
    """How closely an upload is looked at before it is sent.

    ``spine``: the rules of the record, which would refuse it. ``strict``: these, the whole schema, and that no entry
    points at one that is missing. ``none``: not at all. Spec: 10 §11.5, §16.
    """

    STRICT = "strict"
    SPINE = "spine"
    NONE = "none"


def check_upload(wrapper: Wrapper, payload: bytes, check: Check) -> None:
    """Hold back an upload that has faults at this level; other messages pass.

    ``wrapper`` was read from ``payload``. Raises: `NotSent`, which names the first faults and quotes nothing. 10 §16.
    """
    if check is Check.NONE or wrapper.name not in UPLOADS:
        return
    message = read_summary_message(wrapper.root, wrapper, payload, wrapper.name)
    findings = [*message.rejected, *message.findings]
    if check is Check.STRICT:
        findings += check_strict(wrapper.root, wrapper.name)
    if findings:
        more = f"; and {len(findings) - _SHOWN} more" if len(findings) > _SHOWN else ""
        told = "; ".join(map(_told, islice(findings, _SHOWN)))
        raise NotSent(f"not sent, because it is not valid at level {check}: {told}{more}")


def _told(finding: Finding) -> str:
    line = finding.place.sourceline if finding.place is not None else None
    return f"{finding.rule}{f', line {line}' if line else ''}: {finding.text.rstrip('.')}"
