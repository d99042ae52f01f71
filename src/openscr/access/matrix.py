"""The authorisation matrix: which activities an operation needs. The one place that binds B codes to operations.

It is data (``rbac.json`` beside this module), so that a deployment can bring its own. Form ``openscr-rbac/1``::

    "groups":     name → activity codes
    "operations": name → {"needs": [[code or group, …], …], "role": job role code}

An operation is allowed when of every inner list of ``needs`` at least one activity is there, and the job role is
``role`` where one is given. An operation that the matrix does not list is denied.

Spec: 35 §9.3, §5.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, UnsetType

from openscr.directory.model import Role
from openscr.errors import ConfigurationError

_SHIPPED: Final = Path(__file__).with_name("rbac.json")


class Right(StrEnum):
    """The rows of the matrix. Spec: 35 §9.3."""

    VIEW = "view"
    OVERRIDE = "override"
    OVERRIDE_EMERGENCY = "override_emergency"
    EMERGENCY_VIEW = "emergency_view"
    SUBJECT_ACCESS = "subject_access"
    ACTIVITY_REPORT = "activity_report"
    UPLOAD = "upload"
    WITHDRAW = "withdraw"
    SET_CONSENT = "set_consent"
    GET_CONSENT = "get_consent"
    CLAIM_RELATIONSHIP = "claim_relationship"
    ALERTS_RELATIONSHIP = "alerts_relationship"
    ALERTS_ACCESS = "alerts_access"
    AUDIT_READ = "audit_read"
    ENABLE_PRACTICE = "enable_practice"


_REQUIRED: Final = (
    Right.VIEW,
    Right.OVERRIDE,
    Right.OVERRIDE_EMERGENCY,
    Right.EMERGENCY_VIEW,
    Right.UPLOAD,
    Right.WITHDRAW,
    Right.SET_CONSENT,
    Right.GET_CONSENT,
)
_WIDENING: Final = frozenset({"B0082", "B0168"})
"""Activities that widen a view right and never are one. Spec: 35 §9.3."""

_Activity = Annotated[str, Meta(pattern=r"^B[0-9]{4}\Z")]
_ActivityOrGroup = Annotated[str, Meta(pattern=r"^(B[0-9]{4}|[a-z_]+)\Z")]


class _Operation(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    needs: list[Annotated[list[_ActivityOrGroup], Meta(min_length=1)]]
    role: Annotated[str, Meta(pattern=r"^R[0-9]{4}\Z")] | UnsetType = msgspec.UNSET


class _File(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    format: Literal["openscr-rbac/1"]
    operations: dict[str, _Operation]
    groups: dict[Annotated[str, Meta(pattern=r"^[a-z_]+\Z")], list[_Activity]] = {}


@dataclass(frozen=True, slots=True)
class Need:
    """What one operation needs: of every set of ``any_of`` at least one activity; the job role, if one is named."""

    any_of: tuple[frozenset[str], ...]
    job_role: str | None = None


class Matrix:
    """Tells whether a role may do an operation; what is not listed is denied."""

    def __init__(self, needs: Mapping[str, Need]) -> None:
        self.needs: Mapping[str, Need] = MappingProxyType(dict(needs))

    def permits(self, right: Right, role: Role) -> bool:
        """Whether this role, and it alone, carries the right. Spec: 35 §9.3."""
        need = self.needs.get(right)
        if need is None or (need.job_role is not None and job_role_code(role.job_role) != need.job_role):
            return False
        return all(not any_of.isdisjoint(role.activities) for any_of in need.any_of)


def job_role_code(job_role: str) -> str:
    """Return the role code of ``R8000`` or ``S8000:G8000:R8000``: what stands after the last colon. Spec: 35 §9.2."""
    return job_role.rpartition(":")[2]


def with_claim_activity(matrix: Matrix, activities: Iterable[str]) -> Matrix:
    """Return the matrix with other activities for claiming a relationship; the same when there are none. 35 §9.3."""
    wanted = frozenset(activities)
    return Matrix({**matrix.needs, Right.CLAIM_RELATIONSHIP: Need((wanted,))}) if wanted else matrix


def load_matrix(path: Path | None = None) -> Matrix:
    """Return the matrix of a file, or the one that is shipped.

    Raises: `ConfigurationError` for a file that cannot be read, lacks an operation, names one that does not exist, or
    takes an activity for a view right that only widens one. Spec: 35 §9.3.
    """
    source = path or _SHIPPED
    try:
        return read_matrix(source.read_bytes())
    except OSError as error:
        raise ConfigurationError(f"rbac: the file {source} cannot be read: {error.strerror}") from None


def read_matrix(data: bytes) -> Matrix:
    """Return the matrix that a file holds. Raises: `ConfigurationError`. Spec: 35 §9.3."""
    try:
        file = msgspec.json.decode(data, type=_File)
    except msgspec.DecodeError as error:
        raise ConfigurationError(f"rbac: {error}") from None
    unknown = sorted(set(file.operations) - set(Right))
    if unknown:
        raise ConfigurationError(f"rbac: there is no operation {unknown[0]}; there are {', '.join(Right)}")
    missing = [right for right in _REQUIRED if right not in file.operations]
    if missing:
        raise ConfigurationError(f"rbac: operation {missing[0]} is missing")
    needs = {name: _need(name, operation, file.groups) for name, operation in file.operations.items()}
    for right in (Right.VIEW, Right.OVERRIDE, Right.OVERRIDE_EMERGENCY, Right.EMERGENCY_VIEW):
        if all(not any_of.isdisjoint(_WIDENING) for any_of in needs[right].any_of):
            raise ConfigurationError(
                f"rbac: operation {right}: B0082 and B0168 only widen a view right, they give none"
            )
    return Matrix(needs)


def _need(name: str, operation: _Operation, groups: Mapping[str, list[str]]) -> Need:
    """Return what an operation needs, its groups spelled out. Raises: `ConfigurationError`."""
    if not operation.needs and not operation.role:
        raise ConfigurationError(
            f"rbac: /operations/{name} needs nothing, so everybody might do it; name activities or a role"
        )
    any_of = []
    for number, alternatives in enumerate(operation.needs):
        activities: set[str] = set()
        for word in alternatives:
            if not word.startswith("B") and word not in groups:
                raise ConfigurationError(f"rbac: /operations/{name}/needs/{number}: there is no group {word}")
            activities.update(groups.get(word, [word]))
        any_of.append(frozenset(activities))
    return Need(tuple(any_of), operation.role or None)
