"""Token buckets: a burst, then the rate; each sender has its own, and there are not too many of them."""

from openscr.admission.buckets import TokenBuckets


class Clock:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_and_then_the_rate() -> None:
    clock = Clock()
    buckets = TokenBuckets(0.5, 3, now=clock)
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 2, 2]
    clock.now += 1
    assert buckets.take("a") == 1
    clock.now += 1
    assert [buckets.take("a"), buckets.take("a")] == [0, 2]
    clock.now += 3600
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 2], "no more than a burst is saved up"


def test_over_time_a_sender_gets_its_rate_however_often_it_asks() -> None:
    clock = Clock()
    buckets = TokenBuckets(10, 1, now=clock)
    taken = 0
    for _ in range(10_000):
        clock.now += 0.001
        taken += not buckets.take("a")
    assert 99 <= taken <= 101


def test_each_sender_has_a_bucket_of_its_own() -> None:
    buckets = TokenBuckets(1, 1, now=Clock())
    assert [buckets.take(sender) for sender in ("a", "a", "b", "b", "a")] == [0, 1, 0, 1, 1]


def test_a_burst_is_twice_the_rate_unless_it_is_given() -> None:
    buckets = TokenBuckets(2, now=Clock())
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 0, 1]


def test_no_rate_is_no_limit() -> None:
    buckets = TokenBuckets(0, now=Clock())
    assert not any(buckets.take("a") for _ in range(1000))


def test_who_has_asked_longest_ago_is_forgotten_first() -> None:
    buckets = TokenBuckets(1, 1, most=2, now=Clock())
    for sender in ("a", "b", "c"):
        assert buckets.take(sender) == 0
    assert buckets.take("b")
    assert buckets.take("a") == 0
