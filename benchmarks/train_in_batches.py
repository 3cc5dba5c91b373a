"""What the mini-batch loop's speed claims rest on; every figure is made in one run.

    python benchmarks/train_in_batches.py

On synthetic people, on the CPU, each figure the median of several:
- an epoch over 400 000 people of nine biomarkers against a PyTorch DataLoader that
  collates per-row samples (the usual way): the data alone (target: 50 times), then whole
  training epochs, the usual one being ours with its data taken the usual way,
- drawing an epoch of 1 000 000 rows (target: under 50 ms),
- an uncontended lock of the cache (1 ms), the digest of 100 000 rows (100 ms), clipping
  the gradient of a batch (1 ms).
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.checkpoint import load_checkpoint
from henaw.training.cohorts.adjustment import count_adjustments
from henaw.training.cohorts.cohort import Cohort
from henaw.training.cohorts.storage import digest_cohort
from henaw.training.configuration import FitConfiguration, LoopConfiguration
from henaw.training.execution.cache import CacheCounts, hold_lock
from henaw.training.execution.execution import Execution
from henaw.training.minibatches.loop import MiniBatches
from henaw.training.minibatches.sampler import StratifiedSampler, group_ages
from henaw.training.objective.objective import Objective
from henaw.training.objective.survival_data import build_survival_data, measure_scales
from torch.utils.data import DataLoader, Dataset

CHECKPOINT = Path(__file__).parents[1] / "model" / "weights" / "henaw-nhanes.safetensors"
PEOPLE = 400_000
BATCH = 8192


def simulate(count: int) -> Cohort:
    """Synthetic people around the middle of each range; only their number matters here."""
    generator = np.random.default_rng(1)
    middle = np.array([np.sqrt(biomarker.minimum * biomarker.maximum) for biomarker in PANEL])
    values = middle * np.exp(0.2 * generator.standard_normal((count, len(NAMES))))
    age = generator.uniform(20, 85, count).astype(np.float32)
    time_years = generator.uniform(0.1, 15, count)
    event = generator.random(count) < 0.15
    return Cohort(
        biomarkers=values.astype(np.float32),
        age_years=age,
        sex=generator.integers(0, 2, count),
        time_years=time_years,
        event=event,
        cause=np.where(event, generator.integers(0, 5, count), -1),
        survey=np.full(count, "synthetic"),
        digest="synthetic",
        report={},
    )


class PerRow(Dataset[tuple[torch.Tensor, ...]]):
    """A sample a person, as most loops have it."""

    def __init__(self, cohort: Cohort) -> None:
        self.columns = [
            torch.from_numpy(column)
            for column in (cohort.biomarkers, cohort.age_years, cohort.sex, cohort.time_years)
        ] + [torch.from_numpy(cohort.event), torch.arange(len(cohort))]

    def __len__(self) -> int:
        return len(self.columns[0])

    def __getitem__(self, row: int) -> tuple[torch.Tensor, ...]:
        return tuple(column[row] for column in self.columns)


def measure(work: Callable[[], object], times: int) -> float:
    """Median seconds."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def gather(columns: list[torch.Tensor], sampler: StratifiedSampler, epoch: int) -> None:
    for rows in np.split(sampler.draw(epoch), sampler.bounds[1:-1]):
        chosen = torch.from_numpy(rows)
        for column in columns:
            column.index_select(0, chosen)


def main() -> None:
    # One thread for both: the usual loader has one, and figures hold on a busy machine.
    torch.set_num_threads(1)
    cohort = simulate(PEOPLE)
    checkpoint = load_checkpoint(CHECKPOINT)
    people = build_survival_data(checkpoint.build_network(), cohort, FitConfiguration())
    sampler = StratifiedSampler(group_ages(cohort.age_years), BATCH, seed=1)
    loader = DataLoader(PerRow(cohort), batch_size=BATCH, shuffle=True)

    columns = PerRow(cohort).columns
    usual = measure(lambda: [None for _ in loader], 1)
    ours = measure(lambda: gather(columns, sampler, 1), 5)
    print(f"data of an epoch: DataLoader {usual:.2f} s, here {ours:.3f} s, {usual / ours:.0f} x")

    objective = Objective(
        measure_scales(people, count_adjustments(None)), checkpoint.network, FitConfiguration()
    )

    def fit(epochs: int) -> float:
        loop = LoopConfiguration(epochs=epochs)
        batches = MiniBatches(people, objective, loop, Execution(), seed=1, fingerprint="synthetic")
        return measure(batches.solve, 1)

    # The difference of two lengths is epochs alone, without what is done once.
    epoch = (fit(5) - fit(1)) / 4
    print(
        f"whole epoch: {epoch:.2f} s; the same steps fed by the DataLoader "
        f"{epoch + usual - ours:.2f} s, {(epoch + usual - ours) / epoch:.0f} x"
    )

    million = StratifiedSampler(np.arange(1_000_000) % 13, BATCH, seed=1)
    print(f"sampler, 1 000 000 rows: {measure(lambda: million.draw(1), 9) * 1e3:.1f} ms an epoch")
    rows = cohort.select(np.arange(PEOPLE) < 100_000)
    print(f"digest, 100 000 rows: {measure(lambda: digest_cohort(rows), 5) * 1e3:.1f} ms")
    with tempfile.TemporaryDirectory() as folder:
        lock = Path(folder) / "entry.lock"

        def hold() -> None:
            with hold_lock(lock, CacheCounts()):
                pass

        print(f"cache lock: {measure(hold, 200) * 1e3:.3f} ms")
    free = torch.nn.Parameter(torch.zeros(800, dtype=torch.float64))
    free.grad = torch.ones_like(free)
    clip = measure(lambda: torch.nn.utils.clip_grad_norm_([free], 1.0), 200)
    print(f"clipping: {clip * 1e3:.3f} ms a batch")


if __name__ == "__main__":
    main()
