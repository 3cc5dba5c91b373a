"""Compare hyperparameters by leaving one survey out at a time, inside the training surveys.

    python benchmarks/compare_hyperparameters.py COHORT

The hyperparameters of training/configs/nhanes.yaml were chosen by this table. The held-out
surveys of that file are dropped before anything is fitted. Each row changes one hyperparameter;
each figure is C of mortality_10y for death within 10 years, averaged over the left-out surveys,
weighted by their deaths. `henaw tune` searches all hyperparameters together; this table shows the
effect of each one alone.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
from henaw.training.cohorts.cohort import read_cohort
from henaw.training.configuration import read_training_configuration
from henaw.training.metrics import AGE_BANDS
from henaw.training.search.crossvalidation import average, cross_validate, split

CONFIGURATION = Path(__file__).parents[1] / "training" / "configs" / "nhanes.yaml"

CHANGES: dict[str, dict[str, dict[str, object]]] = {
    "as configured": {},
    "elastic_weight 1e-5": {"fit": {"elastic_weight": 1e-5}},
    "elastic_weight 1e-4": {"fit": {"elastic_weight": 1e-4}},
    "elastic_weight 3e-4": {"fit": {"elastic_weight": 3e-4}},
    "elastic_alpha 0.5": {"fit": {"elastic_alpha": 0.5}},
    "modulation_penalty 30": {"fit": {"modulation_penalty": 30.0}},
    "age_weight 1e-4": {"fit": {"age_weight": 1e-4}},
    "age_weight 5e-4": {"fit": {"age_weight": 5e-4}},
    "adaptive_lambda 0": {"network": {"adaptive_lambda": 0.0}},
    "adaptive_lambda 0.3": {"network": {"adaptive_lambda": 0.3}},
    "adaptive_lambda 1": {"network": {"adaptive_lambda": 1.0}},
    "follow_up_years 15": {"fit": {"follow_up_years": 15.0}},
    "no interactions": {"network": {"interactions": ()}},
    "four more interactions": {
        "network": {
            "interactions": (
                ("crp", "hba1c"),
                ("creatinine", "albumin"),
                ("crp", "albumin"),
                ("albumin", "rdw"),
                ("lymphocyte_pct", "rdw"),
                ("hba1c", "ggt"),
            )
        }
    },
}


def main() -> None:
    configuration = read_training_configuration(CONFIGURATION)
    cohort = read_cohort(Path(sys.argv[1]), configuration.cohort)
    cohort = cohort.select(~np.isin(cohort.survey, configuration.cohort.hold_out))
    folds = split(cohort, "survey")
    print(f"{'hyperparameter':28}" + "".join(f"{band:>9}" for band in AGE_BANDS))
    for name, change in CHANGES.items():
        changed = dataclasses.replace(
            configuration,
            **{
                part: dataclasses.replace(getattr(configuration, part), **values)
                for part, values in change.items()
            },
        )
        row = average(cross_validate(cohort, changed, folds))
        print(f"{name:28}" + "".join(f"{row[band]:9.4f}" for band in AGE_BANDS), flush=True)


if __name__ == "__main__":
    main()
