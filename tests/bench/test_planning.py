"""What a population needs follows from what messages cost. Spec: 90 §4, §5."""

import msgspec
import pytest

from openscr.bench.figures import Figures, latencies
from openscr.bench.limits import missed
from openscr.bench.messages import Operation
from openscr.bench.planning import (
    DEMAND,
    ENGLAND,
    Cost,
    Costs,
    Wishes,
    costs_form,
    plan,
    predicted_rate,
    read_costs,
)
from openscr.errors import ConfigurationError

UPLOAD = Cost("upload", 2.0, 1.0, 30_000, 5_000, 5_000, 60_000)
READ = Cost("", 0.5, 0.25, 3_000, 4_000, 500, 1_000, 0.2)
COSTS = Costs(
    "PostgreSQL",
    2,
    (UPLOAD, *(msgspec.structs.replace(READ, operation=each.value) for each in Operation if each != "upload")),
)


def test_a_country_at_its_burst() -> None:
    needs = plan(COSTS, Wishes(cores=4, busy=0.5, spare=1, years=0, replicas=3))
    others = sum(rate for operation, rate in DEMAND["burst"].items() if operation is not Operation.UPLOAD)
    assert needs.per_second == 150 + others == 440
    assert needs.service_cores == pytest.approx((150 * 2.0 + others * 0.5) / 1000)
    assert needs.database_cores == pytest.approx((150 * 1.0 + others * 0.25) / 1000)
    # 0.445 busy cores at one half.
    assert (needs.workers, needs.service_machines, needs.database_machines) == (1, 2, 3)
    assert needs.current_bytes == ENGLAND * 5_000
    assert needs.stored_bytes == 3 * needs.current_bytes
    assert needs.in_per_second == 150 * 30_000 + others * 3_000


def test_cores_become_machines() -> None:
    needs = plan(COSTS, Wishes(patients=ENGLAND * 100, cores=4, busy=0.5, spare=2, replicas=3))
    assert needs.workers == 89
    assert needs.service_machines == 23 + 2
    assert needs.database_machines == 12 + 2


def test_ten_years_of_history() -> None:
    """3.8 further versions a year, and the audit of what was looked at."""
    needs = plan(COSTS, Wishes(patients=1000, years=10, replicas=1))
    assert needs.stored_bytes == pytest.approx(1000 * (5_000 + 10 * (3.8 * 5_000 + 4.7 * 500)))


@pytest.mark.parametrize("level", DEMAND)
def test_half_the_patients_need_half(level: str) -> None:
    whole, half = (plan(COSTS, Wishes(patients=n, load=level)) for n in (ENGLAND, ENGLAND // 2))
    assert half.service_cores == pytest.approx(whole.service_cores / 2)
    assert half.written_per_second == pytest.approx(whole.written_per_second / 2)


def test_a_worker_is_one_core_and_the_machine_is_shared() -> None:
    shares = {Operation.LIST: 1.0}
    assert predicted_rate(COSTS, shares, 1) == pytest.approx(2000)
    # Two workers would bear 4,000; service, database and load need 0.95 ms of two cores.
    assert predicted_rate(COSTS, shares, 2) == pytest.approx(2000 / 0.95)


def test_costs_are_kept_for_another_day() -> None:
    assert read_costs(msgspec.json.encode({"costs": costs_form(COSTS), "needs": {}})) == COSTS


@pytest.mark.parametrize("data", [b"", b"[]", b'{"costs": {"engine": "SQLite"}}'])
def test_what_are_no_costs_is_told(data: bytes) -> None:
    with pytest.raises(ConfigurationError, match="this is not what bench plan --json prints"):
        read_costs(data)


def test_costs_that_lack_something_are_told() -> None:
    with pytest.raises(ConfigurationError, match="lack the operation 'upload'"):
        plan(Costs("SQLite", 2, ()), Wishes())


# --- limits ---


def figure(operation: str, p95: float) -> Figures:
    return Figures(operation, None, 10, 1.0, 10.0, latency_ms={"p50": 1.0, "p95": p95, "p99": p95})


def test_limits_are_those_of_the_service_levels_twice_over() -> None:
    kept = [figure("upload", 1000), figure("consent get", 300), figure("event list", 400), figure("mix", 9_999)]
    assert missed(kept, {}, 0) == []
    over = [figure("upload", 1000.1), figure("application response", 10_001)]
    assert missed(over, {"event: HTTP 500": 2}, 3) == [
        "2 errors: event: HTTP 500",
        "3 requests were shed",
        "upload: p95 1000.1 ms, at most 1000 are allowed",
        "application response: p95 10001 ms, at most 10000 are allowed",
    ]


def test_percentiles_are_of_all_values() -> None:
    assert latencies([n / 1000 for n in range(1, 101)]) == {"p50": 51.0, "p95": 96.0, "p99": 100.0}
    assert latencies([]) is None
