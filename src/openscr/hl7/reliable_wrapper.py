"""The rules that Spine holds against the wrapper of every asynchronous message, and the codes it refuses with.

Spec: 10 §14, 40 §10.4.
"""

from typing import Final

from openscr.codes import WITHDRAWALS
from openscr.errors import WRAPPER_ERRORS
from openscr.hl7.wrapper import HL7, Finding, Wrapper, nearest

_ID: Final = f"{HL7}id"
_ACT: Final = f"{HL7}ControlActEvent"
_WRAPPER_KEYS: Final = {
    "501": "INVALID_ID",
    "502": "INVALID_CREATION_TIME",
    "503": "INVALID_VERSION_CODE",
    "504": "INVALID_CONTROL_ACT",
    "506": "INVALID_COMM_FUNC_RCV",
    "507": "INVALID_COMM_FUNC_SND",
    "508": "CONTROL_ACT_AUTHOR_INVALID",
    "509": "CONTROL_ACT_AUTHOR_INVALID_CARDINALITY",
    "515": "INCONSISTENT_HL7_INTERACTION_ID",
}
_WRAPPER_PATHS: Final = {
    "501": (_ID,),
    "502": (f"{HL7}creationTime",),
    "503": (f"{HL7}versionCode",),
    "504": (_ACT,),
    "506": (f"{HL7}communicationFunctionRcv", f"{HL7}device", _ID),
    "507": (f"{HL7}communicationFunctionSnd", f"{HL7}device", _ID),
    "508": (_ACT, f"{HL7}author"),
    "509": (_ACT, f"{HL7}author1"),
    "515": (f"{HL7}interactionId",),
}


def check_wrapper(wrapper: Wrapper, interaction: str) -> tuple[Finding, ...]:
    """Return what is wrong with the wrapper of an asynchronous message, in the order of the codes.

    Spec: 10 §14, 40 §10.4.
    """
    failed = []
    if not wrapper.message_id:
        failed.append("501")
    if not wrapper.creation_time:
        failed.append("502")
    if not wrapper.version_code:
        failed.append("503")
    if wrapper.control_act is None:
        failed.append("504")
    if not wrapper.receiver_asid:
        failed.append("506")
    if not wrapper.sender_asid:
        failed.append("507")
    if wrapper.control_act is not None:
        if len(wrapper.authors) > 1:
            failed.append("508")
        if not 1 <= len(wrapper.systems) <= 2:
            failed.append("509")
    if wrapper.interaction_ids != 1 or not wrapper.name == wrapper.interaction == interaction:
        failed.append("515")
    return tuple(_wrapper_finding(wrapper, interaction, code) for code in failed)


def _wrapper_finding(wrapper: Wrapper, interaction: str, code: str) -> Finding:
    issue = WRAPPER_ERRORS[code]
    place = nearest(wrapper.root, *_WRAPPER_PATHS[code])
    if code == "515" and wrapper.interaction == interaction:
        place = wrapper.root
    return Finding(
        f"{prefix_of(interaction)}-{code}", f"ErrorBase1732.{_WRAPPER_KEYS[code]}", issue.display, issue, place
    )


def prefix_of(interaction: str) -> str:
    """Return what our ids of the rules of an interaction begin with. Spec: 00 §4, 10 §11."""
    return "wd" if interaction in WITHDRAWALS else "gp"
