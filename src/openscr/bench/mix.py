"""What is asked, of whom, in which order: the shares of a load, its repeats, disorder and faults.

Spec: 90 §7.
"""

import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import Final

from openscr.bench.messages import Composer, Message, Operation
from openscr.bench.patients import draw, event_id_of
from openscr.identifiers import mint_uuid

NATIONAL: Final[Mapping[Operation, float]] = MappingProxyType(
    {
        Operation.UPLOAD: 23,
        Operation.CONSENT_GET: 28,
        Operation.LIST: 5,
        Operation.EVENT: 5,
        Operation.CONSENT_HAS: 5,
        Operation.ALERT: 1,
    }
)
"""The mix of T2 and T3 as far as it can be asked of this service over its Spine paths.

The application responses (23) follow the uploads by themselves. Left out, and the rest grows in proportion: permission
to view (6), which is for people who are signed in, SMSP (3) and FHIR (1), which are not built.
"""

REVISION: Final[Mapping[Operation, float]] = MappingProxyType(
    {
        Operation.UPLOAD: 43,
        Operation.CONSENT_GET: 84,
        Operation.LIST: 15,
        Operation.EVENT: 15,
        Operation.CONSENT_HAS: 15,
    }
)
"""T1, every change: three reads to an upload, the reads among themselves as in the national mix."""

_REMEMBERED: Final = 200


@dataclass(frozen=True, slots=True)
class Mix:
    """The shares of the operations, of any sum, and what happens to uploads: a share of them each.

    ``patients`` are chosen with a skew. With ``fresh`` every request is for the next patient from that position on, and
    with ``first`` an upload is the first one of its patient, which events are asked for by.
    """

    shares: Mapping[Operation, float]
    patients: int
    repeats: float = 0.02
    disorder: float = 0.01
    faults: float = 0.005
    fresh: int | None = None
    first: bool = False
    mixed_sizes: bool = True


def alone(operation: Operation, patients: int, *, fresh: int | None = None, mixed_sizes: bool = False) -> Mix:
    """Return the load of one operation and nothing else: no repeats, no disorder, no faults."""
    return Mix({operation: 1.0}, patients, 0.0, 0.0, 0.0, fresh, mixed_sizes=mixed_sizes)


def first_uploads(patients: int, *, mixed_sizes: bool) -> Mix:
    """Return the uploads that give each of the patients a record, as `openscr.bench.loading` would."""
    return Mix({Operation.UPLOAD: 1.0}, patients, 0.0, 0.0, 0.0, 0, first=True, mixed_sizes=mixed_sizes)


class Stream:
    """The requests of a mix, one after the other; the same seed, the same requests."""

    def __init__(self, mix: Mix, composer: Composer, seed: int) -> None:
        self.mix = mix
        self._composer = composer
        self._sent = 0
        self._earlier: deque[Message] = deque(maxlen=_REMEMBERED)
        self._chance = random.Random(seed)  # noqa: S311 a load is not a secret
        self._operations = list(mix.shares)
        self._weights = list(accumulate(mix.shares.values()))

    def next(self) -> Message:
        """Return the next request."""
        chance, mix = self._chance, self.mix
        operation = chance.choices(self._operations, cum_weights=self._weights)[0]
        position = draw(chance, mix.patients) if mix.fresh is None else mix.fresh + self._sent
        self._sent += 1
        if operation is not Operation.UPLOAD:
            return self._composer.other(operation, position, mint_uuid())
        fate = chance.random()
        if fate < mix.repeats and self._earlier:
            return chance.choice(self._earlier)
        fate -= mix.repeats
        older = 0 <= fate < mix.disorder
        broken = 0 <= fate - mix.disorder < mix.faults
        variety = chance.randrange(self._composer.varieties)
        id = event_id_of(position) if mix.first else mint_uuid()
        message = self._composer.upload(position, id, variety=variety, older=older, broken=broken)
        self._earlier.append(message)
        return message
