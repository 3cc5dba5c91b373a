"""From how many people on a runtime answers faster than another one, by measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from henaw.handler.inference.selfcheck import Golden
from henaw.model.runtime import Runtime

_PASSES = 5
_LEAST_PASSES = 2
"""The first one warms what is slow in a first call."""
_BUDGET_S = 1.0
"""After which no further pass begins."""
_GAIN = 0.9
"""Of the other's time: less of a gain may be noise."""


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """What was measured.

    Attributes:
        people: from how many on the preferred runtime is faster; None where it never is.
        seconds: by number of people, of the fallback and of the preferred runtime.
    """

    people: int | None
    seconds: Mapping[int, tuple[float, float]]


def measure_crossover(
    fallback: Runtime,
    preferred: Runtime,
    golden: Golden,
    sizes: Sequence[int],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Crossover:
    """Time both runtimes on golden people, the best of up to five passes of each.

    The preferred runtime must win at every measured number from the crossover on. Within one
    of its sizes it takes about as long for few people as for many; so both ends are measured.

    Args:
        fallback: answers small batches.
        preferred: answers each number of people as the next of ``sizes`` that holds it.
        golden: who is answered; repeated as needed.
        sizes: people, ascending.
        clock: seconds.
    """
    counts = sorted({1, *(count for size in sizes for count in (size // 4, size, size + 1))})
    people = {
        count: golden.select(np.arange(count, dtype=np.intp) % len(golden.age)) for count in counts
    }
    best = {count: [np.inf, np.inf] for count in counts}
    begun = clock()
    for number in range(_PASSES):
        if number >= _LEAST_PASSES and clock() - begun > _BUDGET_S:
            break
        for count, some in people.items():
            for place, runtime in enumerate((fallback, preferred)):
                before = clock()
                runtime.predict(some.biomarkers, some.age, some.sex)
                best[count][place] = min(best[count][place], clock() - before)
    crossover = None
    for count in reversed(counts):
        cpu, gpu = best[count]
        if gpu > _GAIN * cpu:
            break
        crossover = count
    return Crossover(people=crossover, seconds={n: (cpu, gpu) for n, (cpu, gpu) in best.items()})
