"""The demo world's systems and persons as far as access looks at them. Spec: 00 §5, 35 §9.5."""

from datetime import date

import pytest

from openscr.directory.model import Contract, Directory, Endpoint, Party, Role, System, User

ALL = frozenset(
    f"{service}:{interaction}"
    for service, interaction in [
        ("psis", "REPC_IN150016UK05"),
        ("psisquery", "QUPC_IN180000UK04"),
        ("lrs", "SET_RESOURCE_PERMISSIONS_INUK01"),
    ]
)


def role(role_profile_id: str, job_role: str, ods: str, activities: str, closed: date | None = None) -> Role:
    return Role(role_profile_id, job_role, ods, frozenset(activities.split()), closed)


@pytest.fixture(scope="session")
def directory() -> Directory:
    reliable = Contract("reliable")
    both = ("Y90001", "RZZ01")
    return Directory(
        contracts=[reliable],
        parties=[
            Party("YES-0000806", "YES", "Spine", ("localhost",), own=True),
            Party("Y90001-0000001", "Y90001", "Practice", ("gp.client.test",)),
            Party("Y90001-0000002", "Y90001", "Practice's second", ("gp.client.test",)),
            Party("RZZ01-0000001", "RZZ01", "Hospital", ("Viewer.Client.Test", "other.client.test")),
        ],
        systems=[
            System("200000000100", "YES-0000806", ALL, aliases=("200000000999",)),
            System("200000000115", "Y90001-0000001", ALL, organisations=both, acf=("CNST", "RBAC")),
            System("200000000116", "RZZ01-0000001", frozenset({"psisquery:QUPC_IN180000UK04"}), organisations=both),
            System("200000000117", "Y90001-0000001", ALL, system_upload=False, batch_consent=True),
            System("200000000118", "Y90001-0000001", ALL, enabled=False),
        ],
        endpoints=[
            Endpoint("YES-0000806", "psis", ("REPC_IN150016UK05",), "S20001A000182", "/reliable", reliable),
            Endpoint("YES-0000806", "psisquery", ("QUPC_IN180000UK04",), "S20001A000168", "/sync-service", reliable),
            Endpoint("Y90001-0000001", "psis", ("MCCI_IN010000UK13",), "S90001A000001", "inbox:", reliable),
        ],
        users=[
            User("555000000101", roles=(role("555000000102", "R8000", "Y90001", "B0370 B0380 B8029 B0020 B0168"),)),
            User("555000000201", roles=(role("555000000202", "R8008", "Y90001", "B0370 B0360"),)),
            User(
                "555000000301",
                roles=(
                    role("555000000302", "R8001", "RZZ01", "B0370 B0264"),
                    role("555000000303", "R8003", "RZZ01", "B0570"),
                ),
            ),
            User("555000000401", roles=(role("555000000402", "S8002:G8003:R0001", "RZZ01", "B0015 B0016"),)),
            User("555000000501", roles=(role("555000000502", "R8000", "RZZ01", "B0370 B0082"),)),
            User("555000000701", roles=(role("555000000702", "R8000", "RZZ01", "B0370", date(2026, 3, 1)),)),
            User("555000000801", active=False, roles=(role("555000000802", "R8000", "RZZ01", "B0370"),)),
            User("555000000901", roles=(role("555000000902", "R8000", "X99999", "B0370"),)),
            User("555000000911", roles=(role("555000000912", "R8000", "Y90001", "B0082 B0168 B0020"),)),
        ],
    )
