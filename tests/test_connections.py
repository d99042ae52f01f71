"""Whose connection is served, who makes room, who is told that there is none; and how many the system lets us have."""

import json
import subprocess
import sys

import pytest

from openscr.connections import FEWEST, OTHER_FILES, Connections, Place


class Line:
    """A connection that knows what was done to it."""

    def __init__(self) -> None:
        self.ended = False
        self.looked_at = 0

    def make_room(self) -> None:
        """End."""
        self.ended = True

    def look_at_reading(self) -> None:
        """Be looked at."""
        self.looked_at += 1


def opened(connections: Connections, count: int, address: str = "10.0.0.1", *, in_use: bool = True) -> list[Line]:
    """Open so many connections, each of which is served."""
    lines = [Line() for _ in range(count)]
    for line in lines:
        assert connections.opened(line, address) is Place.SERVED
        if in_use:
            connections.in_use(line)
    return lines


def test_who_is_longest_without_a_request_makes_room() -> None:
    connections = Connections(3)
    first, second, third = opened(connections, 3)
    connections.unused(second)
    connections.unused(first)
    assert connections.opened(Line(), "") is Place.SERVED
    assert (first.ended, second.ended, third.ended) == (False, True, False)
    connections.in_use(first)
    assert len(connections) == 3


def test_with_all_in_use_a_few_are_told_and_the_rest_is_cut_off() -> None:
    told: list[str] = []
    connections = Connections(2, shed=told.append)
    busy = opened(connections, 2)
    places = [connections.opened(Line(), "") for _ in range(10)]
    assert places == [Place.TOLD] * 8 + [Place.CUT_OFF] * 2
    assert told == ["connections"] * 10
    assert not connections.may_arrive("")
    connections.closed(busy[0])
    assert connections.may_arrive("")
    assert connections.opened(Line(), "") is Place.SERVED


def test_handshakes_count_for_their_address_until_they_are_over() -> None:
    connections = Connections(10, 2)
    assert connections.may_arrive("a")
    opened(connections, 1, "a")
    assert not connections.may_arrive("a")
    assert connections.may_arrive("b")
    connections.arrived("a")
    assert connections.may_arrive("a")
    (line,) = opened(connections, 1, "a")
    assert connections.opened(Line(), "a") is Place.TOLD
    connections.closed(line)
    connections.closed(line)
    opened(connections, 1, "a")


def test_an_address_that_many_share_has_no_limit_of_its_own() -> None:
    connections = Connections(10, 1, shared=lambda address: address == "proxy")
    opened(connections, 5, "proxy")
    opened(connections, 1, "client")
    assert connections.opened(Line(), "client") is Place.TOLD


def test_all_are_looked_at() -> None:
    connections = Connections(1)
    (busy,), told = opened(connections, 1), Line()
    connections.opened(told, "")
    connections.look_at_reading()
    assert (busy.looked_at, told.looked_at) == (1, 1)


POSSIBLE = """
import json, resource, sys
from openscr.connections import connections_possible
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(json.dumps([connections_possible(wanted, 2), *resource.getrlimit(resource.RLIMIT_NOFILE)]))
"""


@pytest.mark.parametrize(
    ("soft", "hard", "possible", "after"),
    [(1024, 8000, 1000, 2500 + OTHER_FILES), (256, 1012, 200, 1012), (100, 100, FEWEST, 100), (5000, 5000, 1000, 5000)],
)
def test_descriptors_are_asked_for_and_connections_keep_to_what_there_are(
    soft: int, hard: int, possible: int, after: int
) -> None:
    command = [sys.executable, "-c", POSSIBLE, str(soft), str(hard), "1000"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(ended.stdout) == [possible, after, hard]
