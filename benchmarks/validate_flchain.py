"""An external validation: residents of Olmsted County, Minnesota, aged 50 and over.

    python benchmarks/validate_flchain.py [CHECKPOINT]

The data set ``flchain`` (scikit-survival ships it; 7 874 people examined 1995 to 2003, with
their deaths) has age, sex and one of the nine biomarkers: creatinine, from one laboratory, in
mg/dL with one decimal. The model imputes the other eight. It was fitted on none of these people.

The script prints Harrell's C of the model and of age and sex (a Cox model fitted on these
people themselves), observed over expected deaths by Kaplan-Meier at ten years and over each
person's own follow-up, and the slope of the log hazard: once with creatinine as the laboratory
reports it and once with its shift taken off. The shift is estimated from values, ages and sexes
alone, without the deaths; it is what a laboratory's profile contains.

Sources: Kyle RA et al. (2006), N Engl J Med 354:1362-1369; Dispenzieri A et al. (2012), Mayo
Clin Proc 87:517-523 (the people).
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.checkpoint import Checkpoint, load_checkpoint
from henaw.model.profile import estimate_shift
from henaw.training.cohorts.cohort import SHORTEST_FOLLOW_UP_YEARS, Cohort
from henaw.training.evaluation.comparison import fit_age_sex
from henaw.training.evaluation.measures.calibration import describe_ratio, observe_risk
from henaw.training.evaluation.measures.discrimination import estimate_c
from henaw.training.evaluation.measures.follow_up import compute_hazard_slope, describe_deaths
from henaw.training.evaluation.reference_tables import look_up
from henaw.training.evaluation.report.page import format_figure
from henaw.training.evaluation.scored_people import ScoredPeople, score_people
from henaw.training.metrics import HORIZON_YEARS, OLDEST_EVALUATED_YEARS

SHIPPED = Path(__file__).parents[1] / "model" / "weights" / "henaw-nhanes.safetensors"
CREATININE = INDEX["creatinine"]
DAYS_PER_YEAR = 365.25
DRAWS = 1000
SEED = 1


def read_flchain() -> Cohort:
    """The people, with eight biomarkers missing.

    Raises:
        ModuleNotFoundError: scikit-survival is not installed.
    """
    from sksurv.datasets import load_flchain

    table, outcome = load_flchain()
    creatinine = table["creatinine"].to_numpy(np.float64)
    biomarkers = np.full((len(table), len(NAMES)), np.nan, np.float32)
    biomarkers[:, CREATININE] = creatinine * PANEL[CREATININE].other_units["mg/dL"].factor
    years = outcome["futime"].astype(np.float64) / DAYS_PER_YEAR
    dead = outcome["death"].astype(bool)
    return Cohort(
        biomarkers=biomarkers,
        age_years=table["age"].to_numpy(np.float32),
        sex=(table["sex"] == "M").to_numpy(np.int64),
        time_years=np.maximum(years, SHORTEST_FOLLOW_UP_YEARS),
        event=dead,
        cause=np.full(len(table), -1),
        survey=np.full(len(table), "flchain"),
        digest="",
        report={"rows": len(table)},
    )


def compare_creatinine(checkpoint: Checkpoint, people: Cohort) -> tuple[float, float]:
    """Shift of the laboratory's creatinine and its standard error, in log units.

    Each value is compared with the reference's median and spread of that age and sex, ages
    within the reference only.
    """
    first, last = checkpoint.network.first_age, checkpoint.network.last_age
    known = np.isfinite(people.biomarkers[:, CREATININE])
    known &= (people.age_years >= first) & (people.age_years <= last)
    location, scale = (
        look_up(checkpoint, name, people.age_years[known], people.sex[known])[:, CREATININE]
        for name in ("location", "scale")
    )
    values = np.log(people.biomarkers[known, CREATININE].astype(np.float64))
    return estimate_shift(values, location, scale)


def take_off(people: Cohort, shift: float) -> Cohort:
    """The same people with a shift taken off their creatinine."""
    values = people.biomarkers.copy()
    values[:, CREATININE] *= np.float32(np.exp(-shift))
    return replace(people, biomarkers=values)


def measure(people: ScoredPeople) -> dict[str, Any]:
    """C, of the model and of age and sex, and calibration."""
    risk = people.output("mortality_10y")
    scores = {"model": risk, "age_sex": fit_age_sex(people)}
    c, gains = estimate_c(scores, people.cut_years, people.dead, draws=DRAWS, seed=SEED)
    observed = observe_risk(people.time_years, people.event, HORIZON_YEARS)
    slope = compute_hazard_slope(people.hazard, people.cut_years, people.dead)
    return {
        "people": len(people),
        "deaths": int(people.dead.sum()),
        "c_model": c["model"].describe(),
        "c_age_sex": c["age_sex"].describe(),
        "gain": gains["age_sex"].describe(),
        "kaplan_meier": describe_ratio(observed, float(risk.mean()), len(people)),
        "own_follow_up": describe_deaths(people.hazard, people.time_years, people.event),
        "slope": slope.describe(3),
        "median_gap": float(np.median(people.output("age_gap"))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkpoint", nargs="?", type=Path, default=SHIPPED)
    checkpoint, people = load_checkpoint(parser.parse_args().checkpoint), read_flchain()
    shift, error = compare_creatinine(checkpoint, people)
    known = np.isfinite(people.biomarkers[:, CREATININE])
    percent, low, high = 100.0 * np.expm1(shift + error * np.array([0.0, -1.96, 1.96]))
    print(
        f"creatinine of {known.sum()} people reads {percent:.1f} % ({low:.1f} to {high:.1f}) above "
        "the reference"
    )
    young = people.age_years <= OLDEST_EVALUATED_YEARS
    groups = {
        "all": np.ones(len(people), bool),
        "creatinine known": known,
        f"creatinine known, at most {OLDEST_EVALUATED_YEARS:g} years": known & young,
    }
    scored = {
        "as given": score_people(checkpoint, people),
        "shift taken off": score_people(checkpoint, take_off(people, shift)),
    }
    for group, rows in groups.items():
        for values, everyone in scored.items():
            row = measure(everyone.select(rows))
            at_horizon, own = row["kaplan_meier"]["ratio"], row["own_follow_up"]["ratio"]
            print(
                f"{group}, creatinine {values}: {row['people']} people, {row['deaths']} deaths; "
                f"C {row['c_model']['value']:.4f}, by age and sex {row['c_age_sex']['value']:.4f}, "
                f"gain {format_figure(row['gain'], 4)}; O/E {at_horizon['value']:.3f} at 10 years, "
                f"{format_figure(own)} by own follow-up; slope {format_figure(row['slope'])}; "
                f"median gap {row['median_gap']:+.2f} years"
            )


if __name__ == "__main__":
    main()
