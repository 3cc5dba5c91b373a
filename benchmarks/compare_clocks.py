"""HENAW against PhenoAge and boosted trees on people none of them was fitted on.

    pip install xgboost
    python benchmarks/compare_clocks.py COHORT

Fits HENAW and a gradient-boosted Cox model (5 seeds averaged, same inputs, settings by
leave-one-survey-out inside the training surveys) without the held-out surveys of
training/configs/nhanes.yaml, then reports C for death within 10 years on those surveys
with paired bootstrap intervals of the difference to HENAW (1 000 draws, seed 1).
HENAW has the held-out survey's own laboratory profile taken off, estimated from values,
age and sex alone; what it does without is there too. PhenoAge is the cohort's
``phenoage`` column (published coefficients; other inputs).
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from henaw.model.biomarkers import NAMES
from henaw.training.cohorts.cohort import Cohort, read_cohort, read_table
from henaw.training.configuration import read_training_configuration
from henaw.training.fit import fit
from henaw.training.metrics import select_evaluated
from henaw.training.reference.harmonisation import estimate_profiles, take_profiles_off
from henaw.training.train import predict
from lifelines.utils import concordance_index

Array = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_]
CONFIGURATION = Path(__file__).parents[1] / "training" / "configs" / "nhanes.yaml"
TUNED_ON = ("1988-1994", "1999-2000", "2001-2002")
SEEDS = range(5)
DRAWS = 1000
HORIZON_YEARS = 10.0


def build_inputs(cohort: Cohort) -> Array:
    """The same inputs: nine biomarkers, age and sex; trees take missing values."""
    return np.column_stack([cohort.biomarkers, cohort.age_years, cohort.sex]).astype(np.float64)


def fit_trees(
    cohort: Cohort, settings: dict[str, float], rounds: int, seed: int
) -> xgboost.Booster:
    event = cohort.event & (cohort.time_years <= HORIZON_YEARS)
    time = np.minimum(cohort.time_years, HORIZON_YEARS)
    # xgboost marks a censored time by its sign.
    data = xgboost.DMatrix(build_inputs(cohort), np.where(event, time, -time))
    parameters = {
        "objective": "survival:cox",
        "tree_method": "hist",
        "subsample": 0.7,
        "colsample_bynode": 0.7,
        "seed": seed,
        "nthread": 2,
        **settings,
    }
    return xgboost.train(parameters, data, rounds)


def score_trees(cohort: Cohort, boosters: list[xgboost.Booster]) -> Array:
    data = xgboost.DMatrix(build_inputs(cohort))
    scores: Array = np.mean([b.predict(data, output_margin=True) for b in boosters], axis=0)
    return scores


def compute_c(score: Array, cohort: Cohort, rows: Rows | npt.NDArray[np.int64]) -> float:
    event = cohort.event & (cohort.time_years <= HORIZON_YEARS)
    time = np.minimum(cohort.time_years, HORIZON_YEARS)
    return float(concordance_index(time[rows], -score[rows], event[rows]))


def choose_settings(cohort: Cohort) -> tuple[dict[str, float], int]:
    """Leave one survey out; the best average C over all ages."""
    results = []
    for depth, weight, rounds in itertools.product((2, 3, 4), (20, 100), (150, 300)):
        settings = {"max_depth": depth, "min_child_weight": weight, "eta": 0.05}
        figures = []
        for survey in TUNED_ON:
            left_out = cohort.survey == survey
            booster = fit_trees(cohort.select(~left_out), settings, rounds, 0)
            people = cohort.select(left_out & select_evaluated(cohort))
            everyone = np.ones(len(people), bool)
            figures.append(compute_c(score_trees(people, [booster]), people, everyone))
        results.append((float(np.mean(figures)), settings, rounds))
    best = max(results, key=lambda result: result[0])
    print(f"trees: {best[1]}, {best[2]} rounds, left-out C {best[0]:.4f}", flush=True)
    return best[1], best[2]


def main() -> None:
    path = Path(sys.argv[1])
    configuration = read_training_configuration(CONFIGURATION)
    cohort = read_cohort(path, configuration.cohort)
    held_out = np.isin(cohort.survey, configuration.cohort.hold_out)
    seen = cohort.select(~held_out)
    people = cohort.select(held_out & select_evaluated(cohort))

    settings, rounds = choose_settings(seen)
    boosters = [fit_trees(seen, settings, rounds, seed) for seed in SEEDS]
    tensors = fit(seen, configuration, members=False).tensors
    profiles = estimate_profiles(people, configuration.network, tensors)
    answers = predict(take_profiles_off(people, profiles), configuration, tensors)
    measured = predict(people, configuration, tensors)
    scores: dict[str, Array] = {
        "HENAW, mortality_10y": answers["mortality_10y"].double().numpy(),
        "HENAW, biological_age": answers["biological_age"].double().numpy(),
        "HENAW, without profile": measured["mortality_10y"].double().numpy(),
        "boosted trees, 5 seeds": score_trees(people, boosters),
        "PhenoAge": find_phenoage(read_table(path), people, configuration.cohort.hold_out),
        "age": people.age_years.astype(np.float64),
    }
    report(scores, people)


def find_phenoage(table: pd.DataFrame, people: Cohort, surveys: tuple[str, ...]) -> Array:
    """The column for ``people``, matched on everything the cohort keeps of a person."""
    table = table[table["survey"].isin(surveys)]
    keys = ["age", "sex", *NAMES]
    wanted = pd.DataFrame(
        np.column_stack([people.age_years, people.sex, people.biomarkers]), columns=keys
    ).astype("float32")
    known = table[[*keys, "phenoage"]].astype("float32").drop_duplicates(keys)
    column: Array = wanted.merge(known, how="left", on=keys)["phenoage"].to_numpy(np.float64)
    if np.isnan(column).any():
        raise SystemExit(f"phenoage is empty for {int(np.isnan(column).sum())} people")
    return column


def report(scores: dict[str, Array], people: Cohort) -> None:
    age, sex = people.age_years, people.sex
    groups: dict[str, Rows] = {
        "all": age > 0,
        "20-49": age < 50,
        "40-69": (age >= 40) & (age < 70),
        "65+": age >= 65,
        "women": sex == 0,
        "men": sex == 1,
    }
    first = next(iter(scores))
    generator = np.random.default_rng(1)
    for group, rows in groups.items():
        indices = np.flatnonzero(rows)
        draws = [generator.choice(indices, len(indices)) for _ in range(DRAWS)]
        base = [compute_c(scores[first], people, draw) for draw in draws]
        deaths = int((people.event & (people.time_years <= HORIZON_YEARS))[rows].sum())
        print(f"{group}: {len(indices)} people, {deaths} deaths")
        for name, score in scores.items():
            line = f"  {name:24}{compute_c(score, people, rows):.4f}"
            if name != first:
                drawn = np.array([compute_c(score, people, draw) for draw in draws])
                low, high = np.quantile(np.array(base) - drawn, [0.025, 0.975])
                line += f"   {first} is higher by {low:+.4f} to {high:+.4f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
