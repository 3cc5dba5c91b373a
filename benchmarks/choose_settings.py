"""Leave-one-survey-out comparison of settings, inside the training surveys.

The settings of training/configs/nhanes.yaml were chosen by this table. The held-out
surveys of that file are dropped before anything is fitted.

    python benchmarks/choose_settings.py COHORT

Each row is one setting changed; each figure is C for death within 10 years by
mortality_10y, averaged over the surveys left out, weighted by their deaths.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import torch
from henaw.model.network import Network
from henaw.training.cohort import Cohort, read_cohort
from henaw.training.configuration import TrainingConfiguration, read_training_configuration
from henaw.training.fit import fit_tensors
from henaw.training.metrics import AGE_BANDS, compute_c_index, select_evaluated

CONFIGURATION = Path(__file__).parents[1] / "training" / "configs" / "nhanes.yaml"
LEFT_OUT = ("1988-1994", "1999-2000", "2001-2002")
"""Surveys with ten years of follow-up and all nine biomarkers."""

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


def evaluate(cohort: Cohort, configuration: TrainingConfiguration) -> dict[str, float]:
    """Average C by band over the surveys left out in turn."""
    rows, deaths = [], []
    for survey in LEFT_OUT:
        left_out = cohort.survey == survey
        tensors = fit_tensors(cohort.select(~left_out), configuration, members=False)
        people = cohort.select(left_out & select_evaluated(cohort))
        with torch.inference_mode():
            answers = Network(configuration.network, tensors)(
                torch.from_numpy(people.biomarkers),
                torch.from_numpy(people.age_years),
                torch.from_numpy(people.sex),
            )
        rows.append(compute_c_index(answers[3].numpy(), people))
        deaths.append(int((people.event & (people.time_years <= 10)).sum()))
    return {
        band: float(np.average([row[band] for row in rows], weights=deaths)) for band in AGE_BANDS
    }


def main() -> None:
    configuration = read_training_configuration(CONFIGURATION)
    cohort = read_cohort(Path(sys.argv[1]), configuration.cohort)
    cohort = cohort.select(~np.isin(cohort.survey, configuration.cohort.hold_out))
    print(f"{'setting':28}" + "".join(f"{band:>9}" for band in AGE_BANDS))
    for name, change in CHANGES.items():
        changed = dataclasses.replace(
            configuration,
            **{
                part: dataclasses.replace(getattr(configuration, part), **values)
                for part, values in change.items()
            },
        )
        row = evaluate(cohort, changed)
        print(f"{name:28}" + "".join(f"{row[band]:9.4f}" for band in AGE_BANDS), flush=True)


if __name__ == "__main__":
    main()
