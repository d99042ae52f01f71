"""Setting and clearing scenarios in a running demo service, and what its settings switch on from the start."""

import asyncio
import json
from pathlib import Path
from typing import Any

from openscr.errors import ConfigurationError
from openscr.identifiers import Clock
from openscr.testbench.demo import Demo
from openscr.testbench.scenarios.form import MistakenScenario, catalogue_form, read_scenarios, setting_form
from openscr.testbench.scenarios.running import Scenarios
from openscr.testbench.scenarios.sets import SETS


class Switches:
    """Satisfies `openscr.faces.operations.scenarios.ScenarioSwitches`. Sets that need patients bring them along."""

    def __init__(self, scenarios: Scenarios, demo: Demo, clock: Clock) -> None:
        self._scenarios = scenarios
        self._demo = demo
        self._clock = clock

    def shown(self) -> dict[str, Any]:
        """Return what can be set, and what is set, the most specific first."""
        now = self._clock()
        return {**catalogue_form(), "scenarios": [setting_form(each, now) for each in self._scenarios.settings]}

    async def set(self, form: object) -> list[dict[str, Any]]:
        """Set what a form says. Raises: `MistakenScenario`; nothing is set then."""
        switched = read_scenarios(form, self._scenarios.fresh_name)
        names = {scenario.name for _, scenarios in switched for scenario in scenarios}
        if not self._scenarios.has_room_for(names):
            raise MistakenScenario("too many scenarios are set; clear some of them")
        for named, _ in switched:
            for number in named.patients if named is not None else ():
                await self._demo.bring(number)
        now = self._clock()
        return [setting_form(self._scenarios.put(scenario), now) for _, scenarios in switched for scenario in scenarios]

    def clear(self, name: str | None) -> int:
        """Clear a scenario, a named set or everything; return how many scenarios that were."""
        return self._scenarios.clear(name)

    async def switch_on(self, triggers: tuple[str, ...], file: Path | None) -> None:
        """Set what the settings name. Raises: `ConfigurationError`."""
        for name in triggers:
            if name not in SETS:
                raise ConfigurationError(f"scenario_triggers are one or more of {', '.join(SETS)}")
            await self.set({"named": name})
        if file is None:
            return
        try:
            form = json.loads(await asyncio.to_thread(file.read_bytes))
        except OSError as error:
            raise ConfigurationError(f"scenario_file {file}: cannot be read ({error.strerror})") from None
        except (ValueError, RecursionError):
            raise ConfigurationError(f"scenario_file {file}: it is not JSON") from None
        try:
            await self.set(form)
        except MistakenScenario as error:
            raise ConfigurationError(f"scenario_file {file}: {error.diagnostics}") from None
