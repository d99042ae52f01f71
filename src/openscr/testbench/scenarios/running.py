"""The scenarios that are set in a running service, and which of them a request meets.

Of those that fit, the most specific one takes part: the one with the most conditions; among equals a number counts more
than a sender, a sender more than an interaction, and then the one that was set last. They live in memory: a restart
forgets all but those that the settings name.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from openscr.identifiers import Clock
from openscr.testbench.scenarios.behaviours import BEHAVIOURS
from openscr.testbench.scenarios.facts import Facts, read_facts
from openscr.testbench.scenarios.treatment import Treatment
from openscr.transport.interactions import Channel

_log = structlog.get_logger("scenarios")

MOST: Final = 1000
"""Scenarios that can be set at the same time."""

_MOST_REPEATS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests are meant; empty means all."""

    nhs_number: str = ""
    interactions: tuple[str, ...] = ()
    asid: str = ""

    def fits(self, facts: Facts) -> bool:
        """Whether a request is meant."""
        return (
            (not self.nhs_number or self.nhs_number == facts.nhs_number)
            and (not self.asid or self.asid == facts.asid)
            and (not self.interactions or facts.interaction in self.interactions)
        )

    @property
    def weight(self) -> tuple[int, bool, bool]:
        """How specific this is."""
        conditions = (bool(self.nhs_number), bool(self.asid), bool(self.interactions))
        return sum(conditions), *conditions[:2]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A behaviour with what it was told, for the requests that it is meant for.

    ``times`` is how often it takes part, 0 for always. ``group`` is the named set that it belongs to.
    ``long_qualifier`` writes the qualifiers of its answer in the other form that clients meet. Spec: 20 §9.4.
    """

    name: str
    behaviour: str
    values: Mapping[str, Any]
    match: Match = Match()
    times: int = 0
    group: str = ""
    long_qualifier: bool = False

    def treatment(self, facts: Facts) -> Treatment:
        """Return what is done to a request that it is meant for."""
        treatment = BEHAVIOURS[self.behaviour].treat(self.values, facts)
        return replace(
            treatment,
            scenario=self.name,
            behaviour=self.behaviour,
            rewrite=_with_long_qualifier if self.long_qualifier else treatment.rewrite,
        )


def _with_long_qualifier(body: bytes) -> bytes:
    """Write the qualifiers of an answer in the other form that clients meet. Spec: 20 §9.4."""
    return body.replace(
        b'<qualifier code="ER"/>',
        b'<qualifier inverted="false"><value code="ER" codeSystem="2.16.840.1.113883.2.1.3.2.4.17.104"/></qualifier>',
    )


@dataclass(slots=True)
class Setting:
    """A scenario that is set: its turn among all, how often it has taken part, and when an outage is over."""

    scenario: Scenario
    number: int
    hits: int = 0
    until: datetime | None = None

    def over(self, now: datetime) -> bool:
        """Whether it takes part no more."""
        spent = bool(self.scenario.times) and self.hits >= self.scenario.times
        return spent or (self.until is not None and now >= self.until)


class Scenarios:
    """Every scenario of one service. Satisfies `openscr.faces.spine.interference.Interference`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._settings: list[Setting] = []
        self._count = 0
        # Messages whose answers are to be delivered twice, by their ids, the oldest first.
        self._twice: dict[str, None] = {}

    @property
    def settings(self) -> Sequence[Setting]:
        """Everything that is set, the most specific first."""
        return tuple(self._settings)

    def has_room_for(self, names: Collection[str]) -> bool:
        """Whether scenarios of these names can be set as well."""
        return len({each.scenario.name for each in self._settings} | set(names)) <= MOST

    def put(self, scenario: Scenario) -> Setting:
        """Set a scenario; one of the same name gives way."""
        kept = [each for each in self._settings if each.scenario.name != scenario.name]
        self._count += 1
        until = None
        if scenario.behaviour == "outage":
            until = self._clock() + timedelta(seconds=scenario.values["seconds"])
        setting = Setting(scenario, self._count, until=until)
        self._settings = sorted([*kept, setting], key=lambda each: (each.scenario.match.weight, each.number))[::-1]
        _log.info("scenario set", name=scenario.name, behaviour=scenario.behaviour, times=scenario.times)
        return setting

    def fresh_name(self) -> str:
        """Return a name that no scenario has."""
        names = {each.scenario.name for each in self._settings}
        return next(name for number in range(1, MOST + 2) if (name := f"scenario-{number}") not in names)

    def clear(self, name: str | None = None) -> int:
        """Forget the scenario or the named set ``name``, or everything; return how many scenarios that were."""
        kept = [
            each
            for each in self._settings
            if name is not None and name not in (each.scenario.name, each.scenario.group)
        ]
        cleared = len(self._settings) - len(kept)
        self._settings = kept
        _log.info("scenarios cleared", count=cleared)
        return cleared

    def treat(self, channel: Channel, headers: Mapping[bytes, bytes], body: bytes) -> Treatment | None:
        """Return what is done to a request that has arrived, and count it; none when no scenario is meant for it."""
        if not self._settings:
            return None
        facts = read_facts(channel, headers, body)
        now = self._clock()
        for setting in self._settings:
            scenario = setting.scenario
            if setting.over(now) or facts.channel not in BEHAVIOURS[scenario.behaviour].channels:
                continue
            if scenario.match.fits(facts):
                setting.hits += 1
                treatment = scenario.treatment(facts)
                if treatment.twice and facts.message_id:
                    self._note_twice(facts.message_id.upper())
                return treatment
        return None

    def _note_twice(self, message_id: str) -> None:
        self._twice[message_id] = None
        if len(self._twice) > _MOST_REPEATS:
            del self._twice[next(iter(self._twice))]

    @property
    def awaits_repeats(self) -> bool:
        """Whether there is any message whose answer is to be delivered twice."""
        return bool(self._twice)

    def goes_twice(self, message_id: str) -> bool:
        """Whether the answer to this message is to be delivered once more; asked once, it is so no longer."""
        return self._twice.pop(message_id.upper(), False) is None
