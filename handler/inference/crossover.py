"""The measured number of people from which on one runtime is faster than another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from henaw.handler.inference.selfcheck import Golden
from henaw.model.runtime import Runtime

_PASSES = 5
_LEAST_PASSES = 2
"""The first pass is slower: caches are cold."""
_BUDGET_S = 1.0
"""No pass begins after this many seconds."""
_GAIN = 0.9
"""A faster runtime takes at most this share of the other's time; a smaller gain may be noise."""


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """The times of two runtimes, and where they cross.

    Attributes:
        people: the number from which on the preferred runtime is faster; None if it never is.
        seconds: times of the fallback and of the preferred runtime, by number of people.
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
    """Measure both runtimes on golden people; the best of up to five passes counts.

    The preferred runtime must be faster at every measured number from the crossover on. It takes
    about the same time for any number of people within one of its sizes, so both ends of each
    size are measured.

    Args:
        fallback: evaluates small batches.
        preferred: pads each batch to the next of ``sizes``.
        golden: the people; repeated as needed.
        sizes: numbers of people, ascending.
        clock: returns the time in seconds.
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
