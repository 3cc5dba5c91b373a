"""A checkpoint fitted without one survey, so that `henaw evaluate` can be honest about it.

    python benchmarks/fit_without_survey.py COHORT SURVEY OUT.safetensors
    henaw evaluate OUT.safetensors --cohort COHORT --surveys SURVEY --out DIR

The configuration is training/configs/nhanes.yaml, whose settings were chosen inside the
other surveys (benchmarks/choose_settings.py). The shipped checkpoint is fitted on every
survey; what is measured on a survey is measured on the checkpoint that this writes.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from henaw.model.checkpoint import Checkpoint, save_checkpoint
from henaw.training.cohort import read_cohort
from henaw.training.configuration import read_training_configuration
from henaw.training.fit import fit_tensors
from henaw.training.settings import move_period

CONFIGURATION = Path(__file__).parents[1] / "training" / "configs" / "nhanes.yaml"


def main() -> None:
    cohort_path, survey, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    configuration = read_training_configuration(CONFIGURATION)
    cohort = read_cohort(cohort_path, configuration.cohort)
    left_out = cohort.survey == survey
    if not left_out.any():
        raise SystemExit(f"expected one of {sorted(set(cohort.survey))}, however: {survey}")
    seen = cohort.select(~left_out)
    configuration = move_period(configuration, [survey])
    tensors = fit_tensors(seen, configuration, progress=lambda step: print(step, flush=True))
    checkpoint = Checkpoint(
        name=f"{configuration.name}-without-{survey}",
        version=configuration.version,
        date=configuration.date,
        intended_use=configuration.intended_use,
        network=configuration.network,
        tensors=tensors,
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
    save_checkpoint(checkpoint, out)


if __name__ == "__main__":
    main()
