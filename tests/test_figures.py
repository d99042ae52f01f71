"""Figures of several workers as one. Spec: 00 §3.1."""

from openscr.figures import counted, exposition, figures_of, merged
from openscr.metrics import Metrics


def figure(text: bytes, start: str) -> float:
    """Return the one sample that begins so."""
    (line,) = [line for line in text.decode().splitlines() if line.startswith(f"{start} ")]
    return float(line.rpartition(" ")[2])


def a_worker(requests: int, oldest: float) -> Metrics:
    """Return the figures of a worker that has answered so many requests and sees an outbox of an age."""
    metrics = Metrics()
    for _ in range(requests):
        metrics.request("spine", "REPC_IN150016UK05", "accepted", 0.02)
    metrics.outbox({"open": 7}, oldest)
    metrics.certificate(12.5)
    return metrics


LABELS = '{face="spine",interaction="REPC_IN150016UK05",outcome="accepted"}'
TIMES = '{face="spine",interaction="REPC_IN150016UK05"}'


def test_what_each_has_counted_is_added_up_and_what_all_see_is_told_once() -> None:
    """The first is the one that was asked: its look at the store is the latest."""
    workers = [figures_of(a_worker(requests, oldest).registry) for requests, oldest in ((3, 2.0), (4, 9.0))]
    text = exposition(workers)
    assert figure(text, f"openscr_requests_total{LABELS}") == 7
    assert figure(text, f"openscr_request_seconds_count{TIMES}") == 7
    assert figure(text, 'openscr_outbox_rows{state="open"}') == 7
    assert figure(text, "openscr_outbox_oldest_seconds") == 2
    assert figure(text, "openscr_certificate_days") == 12.5
    begun = [{f.name: f for f in worker}["process_start_time_seconds"].samples[0][2] for worker in workers]
    assert figure(text, "process_start_time_seconds") == min(begun)
    assert text.count(b"# TYPE openscr_requests_total counter") == 1


def test_what_a_worker_had_counted_stays_counted_when_it_ends() -> None:
    """Only that: it has no memory and no connections any more."""
    ended = merged([[], counted(figures_of(a_worker(5, 1.0).registry))])
    ended = merged([ended, counted(figures_of(a_worker(2, 1.0).registry))])
    assert not [family for family in ended if family.kind == "gauge"]
    text = exposition([figures_of(a_worker(1, 3.0).registry), ended])
    assert figure(text, f"openscr_requests_total{LABELS}") == 8
    assert figure(text, "openscr_outbox_oldest_seconds") == 3


def test_one_worker_alone_is_told_as_it_is() -> None:
    """Nothing is added, left out or renamed on the way."""
    own = figures_of(a_worker(2, 1.0).registry)
    assert merged([own]) == own
