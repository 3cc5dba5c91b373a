"""The crossover of simulated devices, on a simulated clock."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from henaw.handler.inference.crossover import Crossover, measure_crossover
from henaw.handler.inference.selfcheck import Golden
from henaw.model.runtime import Outputs

SIZES = (64, 1024, 8192)
GOLDEN = Golden(
    biomarkers=np.zeros((7, 9), np.float32),
    age=np.arange(7, dtype=np.float32),
    sex=np.zeros(7, np.int64),
    outputs={},
)
Cost = Callable[[int], float]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Timed:
    """Takes ``cost`` seconds a call, and more in the first calls of each number of people."""

    name = "timed"

    def __init__(self, clock: Clock, cost: Cost, *, slow_calls: int = 0) -> None:
        self.clock, self.cost, self.slow_calls = clock, cost, slow_calls
        self.calls: dict[int, int] = {}

    def predict(self, biomarkers: Any, age: Any, sex: Any) -> Outputs:
        people = len(age)
        assert len(biomarkers) == len(sex) == people
        self.calls[people] = self.calls.get(people, 0) + 1
        self.clock.now_s += self.cost(people)
        self.clock.now_s += 0.05 * (self.calls[people] <= self.slow_calls)
        return {}


def cpu(people: int) -> float:
    return 70e-6 + 6e-6 * people


def gpu(people: int) -> float:
    """By the size that holds them, and the copies."""
    whole, rest = divmod(people, 8192)
    cost = {64: 0.33e-3, 1024: 0.40e-3, 8192: 0.66e-3}
    last = next(cost[size] for size in SIZES if rest <= size) if rest else 0.0
    return whole * cost[8192] + last


def measure(cpu: Cost, gpu: Cost, *, slow_calls: int = 0) -> tuple[Crossover, Timed]:
    clock = Clock()
    slow = Timed(clock, gpu, slow_calls=slow_calls)
    fast = Timed(clock, cpu)
    return measure_crossover(fast, slow, GOLDEN, SIZES, clock=clock), slow


def test_from_the_crossover_on_the_gpu_is_never_slower() -> None:
    crossover, _ = measure(cpu, gpu)
    assert crossover.people == 64
    assert all(gpu(people) < cpu(people) for people in range(64, 20_000))
    assert crossover.seconds[1] == pytest.approx((cpu(1), gpu(1)))
    assert sorted(crossover.seconds) == [1, 16, 64, 65, 256, 1024, 1025, 2048, 8192, 8193]


def test_a_size_that_loses_at_its_smallest_batch_is_not_used_for_it() -> None:
    def steep(people: int) -> float:
        return {0.33e-3: 0.3e-3, 0.40e-3: 0.7e-3}.get(gpu(people), gpu(people))

    # 64 people are faster on it, 65 are not: the crossover is above both.
    assert steep(64) < 0.9 * cpu(64)
    assert measure(cpu, steep)[0].people == 256


def test_a_gpu_that_is_never_faster_has_no_crossover() -> None:
    assert measure(cpu, lambda people: cpu(people) * 0.95)[0].people is None
    # Even if it is faster in the middle.
    assert measure(cpu, lambda n: 1e-6 if n < 8193 else 1.0)[0].people is None


def test_slow_first_calls_do_not_count() -> None:
    assert measure(cpu, gpu, slow_calls=1)[0].people == 64


def test_measuring_ends_after_its_budget() -> None:
    crossover, device = measure(lambda n: cpu(n) * 20, lambda n: gpu(n) * 20)
    assert (crossover.people, set(device.calls.values())) == (64, {2})
    assert set(measure(cpu, gpu)[1].calls.values()) == {5}
