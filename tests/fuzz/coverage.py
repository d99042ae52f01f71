"""One target under atheris, which ends the process that it runs in: ``python -m tests.fuzz.coverage TARGET ...``.

What follows the name goes to libFuzzer. Half of the inputs are changed by our own mutation, which knows XML.
"""

import random
import sys

import atheris

with atheris.instrument_imports(include=["openscr"]):
    from .mutation import mutated
    from .seeds import seeds
    from .targets import TARGETS


def main() -> None:
    """Fuzz until libFuzzer has enough."""
    program, name, *arguments = sys.argv
    good = seeds(name)

    def mutate(data: bytes, size: int, number: int) -> bytes:
        rng = random.Random(number)
        if rng.random() < 0.5:
            return mutated(data, good, rng)[:size]
        return bytes(atheris.Mutate(data, size))

    atheris.Setup([program, *arguments], TARGETS[name].run, custom_mutator=mutate)
    atheris.Fuzz()


main()
