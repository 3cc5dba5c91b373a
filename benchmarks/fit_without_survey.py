"""Fit a checkpoint without one survey, so that `henaw evaluate` on that survey is unbiased.

    python benchmarks/fit_without_survey.py COHORT SURVEY OUT.safetensors
    henaw evaluate OUT.safetensors --cohort COHORT --surveys SURVEY --out DIR

The configuration is training/configs/nhanes.yaml, whose hyperparameters were chosen inside the
training surveys (benchmarks/compare_hyperparameters.py). The shipped checkpoint is fitted on every
survey, so figures for one survey are measured with the checkpoint that this script writes.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from henaw.model.checkpoint import Checkpoint, save_checkpoint
from henaw.training.cohorts.adjustment import move_period
from henaw.training.cohorts.cohort import Cohort, read_cohort
from henaw.training.configuration import read_training_configuration
from henaw.training.fit import fit

CONFIGURATION = Path(__file__).parents[1] / "training" / "configs" / "nhanes.yaml"


def main() -> None:
    cohort_path, survey, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    cohort = read_cohort(cohort_path, read_training_configuration(CONFIGURATION).cohort)
    if survey not in cohort.survey:
        raise SystemExit(f"survey must be one of {sorted(set(cohort.survey))}; got {survey}")
    save_checkpoint(fit_without(cohort, survey), out)


def fit_without(cohort: Cohort, survey: str, *, members: bool = True) -> Checkpoint:
    """Fit on all other surveys, with the baseline of the left-out survey's years.

    Args:
        cohort: everyone.
        survey: to leave out.
        members: also fit the refits that the interval needs.
    """
    configuration = move_period(read_training_configuration(CONFIGURATION), [survey])
    seen = cohort.select(cohort.survey != survey)
    fitted = fit(
        seen, configuration, members=members, progress=lambda step: print(step, flush=True)
    )
    return Checkpoint(
        name=f"{configuration.name}-without-{survey}",
        version=configuration.version,
        date=configuration.date,
        intended_use=configuration.intended_use,
        network=configuration.network,
        tensors=fitted.tensors,
        training={
            "data": f"{configuration.training_data} Without {survey}.",
            "data_sha256": cohort.digest,
            "left_out": [survey],
            "people": len(seen),
            "complete": int(seen.complete.sum()),
            "deaths": int(seen.event.sum()),
            "ages": [float(seen.age_years.min()), float(seen.age_years.max())],
            "configuration": dataclasses.asdict(configuration),
        },
        metrics={},
    )


if __name__ == "__main__":
    main()
