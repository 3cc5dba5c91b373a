"""How well a laboratory's profile works on surveys that the model was not fitted on.

    python benchmarks/calibrate_left_out.py COHORT FITS [--draws 10] [--people 500]

For each of four surveys of NHANES a model is fitted on the other surveys; the fits are kept in
the folder FITS and read from there the next time. 500 of the left-out survey's people, drawn ten
times, make a profile, and the script takes the median age gap of the survey's other people. Then
the 500 are drawn in several ways among sick or healthy people, and the median gap of everyone in
the survey with that profile is compared with that under the profile of all people. A sample that
``henaw calibrate`` refuses counts as refused.

The samples: ``hazard``, weights exp(k gap) such that the mean gap is 3 (1.5, 5) years above the
survey's; ``died``, people who died within five years mixed with others such that it is 3 years
above; ``hospital``, weighted by high CRP and low albumin, 3 years above; ``anaemia``, by high RDW
and low albumin, 3 years above; ``diabetes``, ``liver`` and ``kidney``, by HbA1c, by the three
enzymes and by creatinine, 1.5, 1.5 and 1 year above; ``young half``, the half with the smaller
gaps; ``well``, weights exp(-k gap), 3 years below; ``low CRP``, weighted by low CRP and HbA1c, 2
years below.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from fit_without_survey import CONFIGURATION, fit_without
from henaw.export.graphs import export_onnx
from henaw.export.metadata import describe_model, format_properties
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from henaw.model.errors import ScoringError
from henaw.model.profile import LabProfile, estimate_shift, set_profile, shrink_shift
from henaw.scoring import Henaw
from henaw.scoring.calibration.laboratory import calibrate_people, transform
from henaw.scoring.reading.inputs import Inputs
from henaw.training.cohorts.cohort import Cohort, read_cohort
from henaw.training.configuration import read_training_configuration
from henaw.training.evaluation.measures.follow_up import (
    accumulate_hazard,
    compute_hazard,
    cut_follow_up,
)
from henaw.training.evaluation.reference_tables import look_up
from henaw.training.metrics import select_evaluated

SURVEYS = ("1999-2000", "2001-2002", "2003-2004", "2015-2016")
SEED = 20
Rows = npt.NDArray[np.int64]
Array = npt.NDArray[np.float64]


class Study:
    """A left-out survey, and the model that was fitted on the other surveys."""

    def __init__(self, survey: str, cohort: Cohort, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.people = cohort.select((cohort.survey == survey) & select_evaluated(cohort))
        network = checkpoint.build_network()
        onnx = export_onnx(network, format_properties(describe_model(checkpoint)))
        self.content = onnx.SerializeToString(deterministic=True)
        self.model = Henaw(self.content)
        self.unbiased = self.calibrate(np.arange(len(self.people)))
        self.gaps = self.answer(self.unbiased)["age_gap"]
        self.scores = self._standardise(self.unbiased)

    def calibrate(self, rows: Rows) -> LabProfile:
        """The profile that `henaw calibrate` makes from these people."""
        return calibrate_people(self._tabulate(rows), model=self.model, name="survey").profile

    def calibrate_plainly(self, rows: Rows) -> LabProfile:
        """A profile with each biomarker's shift estimated alone and shrunk, without checks."""
        values, location, scale = self._place(rows)
        usual, spread = (
            self.checkpoint.tensors[name].double().numpy()
            for name in ("usual_score", "laboratory_sd")
        )
        shift, error = {}, {}
        for name, i in INDEX.items():
            found = estimate_shift(values[:, i], location[:, i], scale[:, i], usual=float(usual[i]))
            shift[name], error[name] = shrink_shift(*found, float(spread[i]))
        return LabProfile(name="plain", shift=shift, standard_error=error)

    def answer(self, profile: LabProfile) -> dict[str, Array]:
        """The model's outputs for everyone in the survey, with a profile."""
        model = Henaw(set_profile(self.content, profile))
        people = self.people
        zeros = np.zeros(len(people), np.int64)
        inputs = Inputs(people.biomarkers, people.age_years, people.sex, zeros, zeros)
        return {name: value.astype(np.float64) for name, value in model.run(inputs).items()}

    def compare_deaths(self, answers: dict[str, Array]) -> float:
        """Observed over expected deaths within ten years, over each person's own follow-up."""
        people = self.people
        hazard = compute_hazard(answers["biological_age"], people.sex, self.checkpoint.tensors)
        years, dead = cut_follow_up(people.time_years, people.event)
        return float(dead.sum() / accumulate_hazard(hazard, years).sum())

    def _tabulate(self, rows: Rows) -> Any:
        import pyarrow as pa

        people = self.people
        columns = {"age": people.age_years[rows], "sex": people.sex[rows]}
        return pa.table(columns | {n: people.biomarkers[rows, i] for n, i in INDEX.items()})

    def _place(self, rows: Rows) -> tuple[Array, Array, Array]:
        """Values of some people, with the reference's location and scale for them."""
        people = self.people
        location, scale = (
            look_up(self.checkpoint, name, people.age_years[rows], people.sex[rows])[
                :, : len(NAMES)
            ]
            for name in ("location", "scale")
        )
        return transform(people.biomarkers[rows]), location, scale

    def _standardise(self, profile: LabProfile) -> Array:
        values, location, scale = self._place(np.arange(len(self.people)))
        shift = np.array([profile.shift.get(name, 0.0) for name in NAMES])
        return np.clip((values - shift - location) / scale, -3.0, 4.0)


def draw_tilted(
    study: Study, score: Array, years: float, people: int, rng: np.random.Generator
) -> Rows:
    """Draw people with weights exp(k score), k such that their mean gap is ``years`` higher."""
    noise = rng.gumbel(size=len(score))
    away = study.gaps - study.gaps.mean()
    sign = np.sign(years)

    def draw(k: float) -> Rows:
        return np.argpartition(-(k * score + noise), people)[:people]

    low, high = 0.0, 8.0
    for _ in range(40):
        middle = (low + high) / 2
        if sign * away[draw(middle)].mean() < abs(years):
            low = middle
        else:
            high = middle
    return draw((low + high) / 2)


def draw_dying(study: Study, years: float, people: int, rng: np.random.Generator) -> Rows:
    """Mix people who died within five years with others; with replacement where too few died."""
    died = study.people.event & (study.people.time_years < 5.0)
    dead, others = np.flatnonzero(died), np.flatnonzero(~died)
    share = min(1.0, years / (study.gaps[dead].mean() - study.gaps[others].mean()))
    count = int(rng.binomial(people, share))
    return np.concatenate(
        [
            rng.choice(dead, count, replace=count > len(dead)),
            rng.choice(others, people - count, replace=False),
        ]
    )


def list_samples(study: Study, people: int) -> dict[str, Callable[[np.random.Generator], Rows]]:
    """The ways to draw the people of a profile, by name."""
    gap = np.clip(study.gaps, -15.0, 40.0) / 7.0
    z = {name: study.scores[:, place] for name, place in INDEX.items()}
    enzymes = (z["ggt"] + z["ast"] + z["alt"]) / 3
    tilted = {
        "hazard, 1.5 years": (gap, 1.5),
        "hazard, 3 years": (gap, 3.0),
        "hazard, 5 years": (gap, 5.0),
        "hospital, 3 years": (z["crp"] - z["albumin"], 3.0),
        "anaemia, 3 years": (z["rdw"] - z["albumin"], 3.0),
        "diabetes, 1.5 years": (z["hba1c"], 1.5),
        "liver, 1.5 years": (enzymes, 1.5),
        "kidney, 1 year": (z["creatinine"], 1.0),
        "well, -3 years": (-gap, -3.0),
        "low CRP, -2 years": (-z["crp"] - z["hba1c"], -2.0),
    }
    young = np.flatnonzero(study.gaps < np.median(study.gaps))
    samples: dict[str, Callable[[np.random.Generator], Rows]] = {
        "everyone": lambda rng: rng.choice(len(study.people), people, replace=False),
        "died, 3 years": lambda rng: draw_dying(study, 3.0, people, rng),
        "young half": lambda rng: rng.choice(young, min(people, len(young)), replace=False),
    }
    for name, (score, years) in tilted.items():
        samples[name] = lambda rng, score=score, years=years: draw_tilted(
            study, score, years, people, rng
        )
    return samples


def load_study(survey: str, cohort: Cohort, folder: Path) -> Study:
    """Read the fit without a survey, or fit it; without the refits that intervals need."""
    path = folder / f"without-{survey}.safetensors"
    if not path.is_file():
        save_checkpoint(fit_without(cohort, survey, members=False), path)
    return Study(survey, cohort, load_checkpoint(path))


def measure_survey(study: Study, draws: int, people: int) -> dict[str, Any]:
    """Median gaps by sample and draw; None where the sample is refused."""
    rng = np.random.default_rng(SEED)
    whole = study.answer(study.unbiased)
    plain_whole = study.answer(study.calibrate_plainly(np.arange(len(study.people))))
    result: dict[str, Any] = {
        "people": len(study.people),
        "raw": float(
            np.median(study.answer(LabProfile(name="none", shift={}, standard_error={}))["age_gap"])
        ),
        "all": float(np.median(whole["age_gap"])),
        "all_plain": float(np.median(plain_whole["age_gap"])),
        "observed_over_expected": study.compare_deaths(whole),
        "samples": {},
        "ordinary": [],
    }
    decades = study.people.age_years // 10 * 10
    for name, draw in list_samples(study, people).items():
        moves, plain_moves = [], []
        for _ in range(draws):
            rows = draw(rng)
            plain = study.answer(study.calibrate_plainly(rows))["age_gap"]
            plain_moves.append(float(np.median(plain)) - result["all_plain"])
            try:
                gaps = study.answer(study.calibrate(rows))["age_gap"]
            except ScoringError:
                moves.append(None)
                gaps = None
            else:
                moves.append(float(np.median(gaps)) - result["all"])
            if name == "everyone":
                rest = np.ones(len(plain), bool)
                rest[rows] = False
                result["ordinary"].append(
                    {
                        "gaps": None if gaps is None else gaps[rest],
                        "plain": plain[rest],
                        "decades": decades[rest],
                    }
                )
        result["samples"][name] = {"moves": moves, "plain_moves": plain_moves}
    return result


def summarise_ordinary(
    results: dict[str, dict[str, Any]], draws: int, which: str
) -> dict[str, Any]:
    """Median gaps of the people who are not in the profile's sample, by draw over all surveys."""
    pooled, worst_decades, by_survey = [], [], {survey: [] for survey in results}
    for draw in range(draws):
        parts = [
            r["ordinary"][draw] for r in results.values() if r["ordinary"][draw][which] is not None
        ]
        gaps = np.concatenate([part[which] for part in parts])
        decades = np.concatenate([part["decades"] for part in parts])
        pooled.append(float(np.median(gaps)))
        medians = [
            np.median(gaps[decades == d]) for d in np.unique(decades) if (decades == d).sum() >= 100
        ]
        worst_decades.append(float(np.max(np.abs(medians))))
        for survey, result in results.items():
            one = result["ordinary"][draw][which]
            if one is not None:
                by_survey[survey].append(float(np.median(one)))
    return {"pooled": pooled, "worst_decade": worst_decades, "by_survey": by_survey}


def show(results: dict[str, dict[str, Any]], ordinary: dict[str, dict[str, Any]]) -> None:
    """Print the tables."""
    print("survey      people   raw  all, plain  all   O/E")
    for survey, r in results.items():
        print(
            f"{survey}  {r['people']:7d} {r['raw']:+6.2f} {r['all_plain']:+10.2f} {r['all']:+6.2f} "
            f"{r['observed_over_expected']:6.3f}"
        )
    for which, found in ordinary.items():
        pooled = np.array(found["pooled"])
        print(
            f"\n{which}: pooled {pooled.min():+.2f} to {pooled.max():+.2f}, below 0.3 in "
            f"{(abs(pooled) < 0.3).mean():.0%} of draws; worst decade "
            f"{max(found['worst_decade']):.2f}"
        )
        for survey, medians in found["by_survey"].items():
            low, high = min(medians), max(medians)
            print(f"  {survey}: mean {np.mean(medians):+.2f}, {low:+.2f} to {high:+.2f}")
    print(
        "\nhow far a sample moves the median gap: mean over surveys, mean of the worst survey, and "
        "for henaw calibrate the worst draw"
    )
    print(f"{'':22}{'plain':>20}{'calibrate':>22}  refused  beyond 0.5 and not refused")
    for name in next(iter(results.values()))["samples"]:
        samples = [r["samples"][name] for r in results.values()]
        plain = [np.mean(s["plain_moves"]) for s in samples]
        kept = [[m for m in s["moves"] if m is not None] for s in samples]
        there = [np.mean(k) for k in kept if k]
        every = [m for s in samples for m in s["moves"]]
        told = [m for m in every if m is not None]
        words = (
            f"{np.mean(there):+.2f} {there[int(np.argmax(np.abs(there)))]:+.2f} "
            f"{max(map(abs, told)):.2f}"
            if told
            else "-"
        )
        print(
            f"{name:22}{np.mean(plain):+8.2f} {plain[int(np.argmax(np.abs(plain)))]:+.2f}"
            f"{words:>28}  {1 - len(told) / len(every):7.0%}  "
            f"{sum(abs(m) > 0.5 for m in told) / len(every):.0%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("cohort", type=Path)
    parser.add_argument("fits", type=Path)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--people", type=int, default=500)
    options = parser.parse_args()
    configuration = read_training_configuration(CONFIGURATION)
    cohort = read_cohort(options.cohort, configuration.cohort)
    options.fits.mkdir(parents=True, exist_ok=True)
    results = {}
    for survey in SURVEYS:
        study = load_study(survey, cohort, options.fits)
        results[survey] = measure_survey(study, options.draws, options.people)
    ordinary = {
        words: summarise_ordinary(results, options.draws, which)
        for words, which in (("plain", "plain"), ("henaw calibrate", "gaps"))
    }
    show(results, ordinary)


if __name__ == "__main__":
    main()
