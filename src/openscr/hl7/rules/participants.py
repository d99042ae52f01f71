"""What the rules of several domains say about the same things: paths to people and systems, and their words.

Spec: 10 §2, §3; 20 §3; 30 §3.
"""

from typing import Final

from openscr.codes import OID_ASID, OID_INTERACTION, OID_JOB_ROLE, OID_NHS_NUMBER, OID_ROLE_PROFILE, OID_USER
from openscr.hl7.rules.book import Words

ACT: Final = "h:ControlActEvent"
PERSON: Final = "h:AgentPersonSDS"
SYSTEM: Final = "h:AgentSystemSDS"

ROLE_PROFILE_PLACE: Final = "h:id"
USER_PLACE: Final = "h:agentPersonSDS/h:id"
JOB_ROLE_PLACE: Final = "h:part/h:partSDSRole/h:id"
SYSTEM_PLACE: Final = "h:agentSystemSDS/h:id"
"""Where the ids of an ``AgentPersonSDS`` and of an ``AgentSystemSDS`` stand, seen from there."""

ROLE_PROFILE_ID: Final = f"{ROLE_PROFILE_PLACE}[@root='{OID_ROLE_PROFILE}']"
USER_ID: Final = f"{USER_PLACE}[@root='{OID_USER}']"
JOB_ROLE_ID: Final = f"{JOB_ROLE_PLACE}[@root='{OID_JOB_ROLE}']"
SYSTEM_ID: Final = f"{SYSTEM_PLACE}[@root='{OID_ASID}']"
FILLED: Final = "[string-length(@extension) > 0]"

RECEIVER: Final = f"h:communicationFunctionRcv/h:device/h:id[@root='{OID_ASID}']{FILLED}"
SENDER: Final = f"h:communicationFunctionSnd/h:device/h:id[@root='{OID_ASID}']{FILLED}"
RECEIVER_PLACE: Final = "h:communicationFunctionRcv/h:device/h:id"
SENDER_PLACE: Final = "h:communicationFunctionSnd/h:device/h:id"
"""The ASIDs of the wrapper, seen from the root."""

RECEIVER_AGREES: Final = f"{RECEIVER} and string({RECEIVER}/@extension) = $receiver"
SENDER_AGREES: Final = f"{SENDER} and string({SENDER}/@extension) = $sender"
"""They are the ASIDs of the SOAP header."""

HAS_ID: Final = "count(h:id/@root) = 1 and string-length(h:id/@root) > 0"
HAS_CREATION_TIME: Final = "string-length(h:creationTime/@value) > 0"
HAS_VERSION: Final = "string-length(h:versionCode/@code) > 0"
AT_MOST_ONE_AUTHOR: Final = f"count({ACT}) != 1 or count({ACT}/h:author) <= 1"
ONE_OR_TWO_SYSTEMS: Final = f"count({ACT}) = 1 and count({ACT}/h:author1) >= 1 and count({ACT}/h:author1) <= 2"
FIRST_SYSTEM: Final = f"not({ACT}/h:author1) or {ACT}/h:author1[1]/{SYSTEM}/{SYSTEM_ID}{FILLED}"
"""What every wrapper is asked, under the label of its domain."""

SECOND_SYSTEM_PLACE: Final = f"{ACT}/h:author1[2]/{SYSTEM}/{SYSTEM_PLACE}"
SECOND_SYSTEM: Final = (
    f"count({ACT}) != 1 or count({ACT}/h:author1) != 2 or (count({SECOND_SYSTEM_PLACE}) = 1 and "
    f"{SECOND_SYSTEM_PLACE}{FILLED}[string-length(@root) > 0])"
)
"""The second ``author1``, which is there or not, has exactly one id with root and extension."""

IS_HL7: Final = "namespace-uri() = 'urn:hl7-org:v3'"

NO_ID: Final = Words(
    "The message has no id.",
    "Write id directly below the root, once, with a fresh UUID (36 characters, upper case) in its root attribute.",
)
NO_CREATION_TIME: Final = Words(
    "The message does not say when it was made.",
    "Write creationTime with the time as YYYYMMDDHHMMSS in its value attribute.",
)
NO_VERSION: Final = Words(
    "The message does not say which version of the HL7 standard it follows.",
    "Write versionCode with code V3NPfIT4.2.00 (consent: V3NPfIT3.0).",
)
ONE_CONTROL_ACT: Final = Words(
    "There must be exactly one ControlActEvent directly below the root.",
    "Write it once; everything that the message says stands in it.",
)
NO_RECEIVER: Final = Words(
    "The message does not say which system is to receive it.",
    f"Write communicationFunctionRcv/device/id with root {OID_ASID} and the ASID of Spine as extension.",
)
NO_SENDER: Final = Words(
    "The message does not say which system sends it.",
    f"Write communicationFunctionSnd/device/id with root {OID_ASID} and your own ASID as extension.",
)
OTHER_RECEIVER: Final = Words(
    "The receiving system in the wrapper is missing, or is another than the one in the SOAP header.",
    f"Write the same ASID (root {OID_ASID}) in communicationFunctionRcv of the header and of the body.",
)
OTHER_SENDER: Final = Words(
    "The sending system in the wrapper is missing, or is another than the one in the SOAP header.",
    f"Write the same ASID (root {OID_ASID}) in communicationFunctionSnd of the header and of the body.",
)
TWO_AUTHORS: Final = Words(
    "ControlActEvent names more than one author.",
    "Leave one author, the person who acts, or none when nobody does. Systems stand in author1.",
)
SYSTEMS: Final = Words(
    "ControlActEvent must name its sending system in one author1; a second author1 may name a device.",
    "Write one or two author1.",
)
INTERACTION: Final = Words(
    "The interaction is not named alike everywhere: the name of the root, interactionId and, where there is an "
    "envelope, its action must be the same.",
    f"Write interactionId once, with root {OID_INTERACTION} and the name of the root as extension, and "
    "send it under that action.",
)
NO_REQUEST: Final = Words(
    "ControlActEvent must hold exactly one request, and the request must not be empty.",
    "Write query once (consent: crs:setResourcePermissionsRequest or crs:getResourcePermissionsRequest), with its "
    "parameters in it.",
)
INCOMPLETE_AUTHOR: Final = Words(
    "The author is not complete: role profile, user and job role must each be there exactly once.",
    f"Write AgentPersonSDS with id (root {OID_ROLE_PROFILE}), agentPersonSDS/id (root {OID_USER}) and "
    f"part/partSDSRole/id (root {OID_JOB_ROLE}). A message without a person has no author at all.",
)
NO_ROLE_PROFILE: Final = Words(
    "The author of the ControlActEvent has no role profile id, or more than one.",
    f"Write AgentPersonSDS/id with root {OID_ROLE_PROFILE} and the role profile id as extension, once.",
)
NO_USER: Final = Words(
    "The author of the ControlActEvent has no user id, or more than one.",
    f"Write AgentPersonSDS/agentPersonSDS/id with root {OID_USER} and the SDS user id as extension, once.",
)
NO_JOB_ROLE: Final = Words(
    "The author of the ControlActEvent has no job role, or more than one.",
    f"Write AgentPersonSDS/part/partSDSRole/id with root {OID_JOB_ROLE} and the job role code as extension, once.",
)
NO_SYSTEM: Final = Words(
    "author1 does not say which system the message comes from.",
    f"Write AgentSystemSDS/agentSystemSDS/id with root {OID_ASID} and your own ASID as extension, once.",
)
NO_DEVICE: Final = Words(
    "The second author1 must have exactly one id, with root and extension.",
    "Complete the id of the device, or leave the second author1 away.",
)
NOT_AN_NHS_NUMBER: Final = Words(
    "This is no NHS number: one has ten digits, no spaces, and the last digit checks the others (modulus 11).",
    "Take the number from the patient's record again; a digit is wrong, missing, or swapped with its neighbour.",
)
PATIENT: Final = f"with root {OID_NHS_NUMBER} and the NHS number as extension, once."
"""How a patient is written, wherever that is."""
