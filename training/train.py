"""From a configuration and a cohort to a checkpoint file."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from henaw.model.checkpoint import Checkpoint, save_checkpoint
from henaw.model.errors import CohortError
from henaw.model.files import write_whole
from henaw.model.network import Network
from henaw.model.runtime import OUTPUT_NAMES
from henaw.training.cohorts.adjustment import move_period
from henaw.training.cohorts.cohort import Cohort
from henaw.training.cohorts.storage import fetch_cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.execution.cache import Cache
from henaw.training.execution.execution import ALONE, Execution
from henaw.training.fit import count_steps, fit
from henaw.training.metrics import compute_c_index, select_evaluated
from henaw.training.reference.harmonisation import estimate_profiles, take_profiles_off
from henaw.training.requirements import adapt_to_cohort
from torch import Tensor

Progress = Callable[[str], None]


def train(
    configuration: TrainingConfiguration,
    cohort_path: Path,
    out: Path,
    *,
    progress: Progress = lambda _: None,
    execution: Execution = ALONE,
) -> Checkpoint:
    """Fit a model on everyone and save it, with metrics on the surveys held out.

    The metrics are those of another fit by the same configuration, without these surveys.

    The same fit gives the same checkpoint, to the last bit. The time of each step and the
    counts of the cache differ between runs, so they are in a file beside the checkpoint,
    ``NAME.run.json``.

    Args:
        configuration: the fit.
        cohort_path: Parquet or CSV.
        out: the checkpoint to write; only the leading process writes it.
        progress: called with the name of each step as it ends.
        execution: where it runs.

    Raises:
        CohortError: the cohort cannot be used.
        FitError: the loss or a weight is not finite, or the minimum was not reached.
    """
    began = time.monotonic()
    seconds: dict[str, float] = {}

    def note(step: str) -> None:
        # The fit without the surveys held out reports the same steps first.
        name = step if step not in seconds else f"{step}, everyone"
        seconds[name] = round(time.monotonic() - began, 2)
        progress(step)

    cache = None if execution.work is None else Cache(execution.work / "cache")
    cohort = fetch_cohort(cache, cohort_path, configuration.cohort)
    seconds["cohort read"] = round(time.monotonic() - began, 2)
    configuration, cohort = adapt_to_cohort(configuration, cohort)
    metrics = {}
    if configuration.cohort.hold_out:
        metrics["held_out"] = evaluate_held_out(
            cohort, configuration, progress=note, execution=execution, cache=cache
        )
    fitted = fit(cohort, configuration, progress=note, execution=execution, cache=cache)
    checkpoint = Checkpoint(
        name=configuration.name,
        version=configuration.version,
        date=configuration.date,
        intended_use=configuration.intended_use,
        network=configuration.network,
        tensors=fitted.tensors,
        training={
            "data": configuration.training_data,
            "data_sha256": cohort.digest,
            "people": len(cohort),
            "complete": int(cohort.complete.sum()),
            "deaths": int(cohort.event.sum()),
            "ages": [float(cohort.age_years.min()), float(cohort.age_years.max())],
            "distribution": _describe_people(cohort),
            "read": cohort.report,
            "harmonised": {survey: dict(shifts) for survey, shifts in fitted.shifts.items()},
            "fit": dict(fitted.record),
            "configuration": dataclasses.asdict(configuration),
        },
        metrics=metrics,
    )
    if execution.leads:
        save_checkpoint(checkpoint, out)
        run = {
            "checkpoint_sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
            "device": fitted.record["device"],
            "processes": fitted.record["processes"],
            "out_of_memory": fitted.record["out_of_memory"],
            "done_after_s": seconds,
            **({} if cache is None else cache.counts.describe()),
        }
        write_whole(out.with_suffix(".run.json"), json.dumps(run, indent=1).encode())
    return checkpoint


def _describe_people(cohort: Cohort) -> dict[str, list[float]]:
    """Ages and sexes of the people fitted, with which a server compares its requests."""
    edges = np.quantile(cohort.age_years.astype(np.float64), (0.2, 0.4, 0.6, 0.8))
    bins = np.searchsorted(edges, cohort.age_years, side="right")
    return {
        "age_edges": edges.tolist(),
        # Ages in whole years do not fall into equal fifths.
        "age_shares": (np.bincount(bins, minlength=5) / len(cohort)).round(4).tolist(),
        "sex_shares": (np.bincount(cohort.sex, minlength=2) / len(cohort)).round(4).tolist(),
    }


def count_train_steps(configuration: TrainingConfiguration) -> int:
    """How often :func:`train` reports progress."""
    return count_steps(configuration) + (3 if configuration.cohort.hold_out else 0)


def evaluate_held_out(
    cohort: Cohort,
    configuration: TrainingConfiguration,
    *,
    progress: Progress,
    execution: Execution = ALONE,
    cache: Cache | None = None,
) -> dict[str, Any]:
    """Metrics on the surveys held out, of a model fitted without them.

    Each survey's profile, estimated from its people's values only, is subtracted first; the
    metrics without that are under ``without_profile``.

    Raises:
        CohortError: a survey held out is not in the cohort, or they are all of it.
    """
    surveys = configuration.cohort.hold_out
    absent = sorted(set(surveys) - set(cohort.survey))
    held_out = np.isin(cohort.survey, surveys)
    if absent or held_out.all():
        raise CohortError(
            "hold_out",
            [
                f"cohort.hold_out must name some, but not all, of the surveys "
                f"{sorted(set(map(str, cohort.survey)))}; got {list(surveys)}"
            ],
        )
    tensors = fit(
        cohort.select(~held_out),
        move_period(configuration, surveys),
        members=False,
        progress=progress,
        execution=execution,
        cache=cache,
    ).tensors
    people = cohort.select(held_out & select_evaluated(cohort))
    measured = predict(people, configuration, tensors)
    # Each survey is a laboratory of its own.
    profiles = estimate_profiles(people, configuration.network, tensors)
    people = take_profiles_off(people, profiles)
    answers = predict(people, configuration, tensors)
    risk = answers["mortality_10y"].numpy()
    measured_risk = measured["mortality_10y"].numpy()
    dead = people.event & (people.time_years <= 10)
    result = {
        "surveys": list(surveys),
        "people": len(people),
        "deaths_10y": int(dead.sum()),
        "expected_deaths_10y": round(float(risk.sum()), 1),
        "median_gap_years": round(float(answers["age_gap"].median()), 2),
        "c_index": {
            "mortality_10y": compute_c_index(risk, people),
            "biological_age": compute_c_index(answers["biological_age"].numpy(), people),
            "age": compute_c_index(people.age_years, people),
        },
        "without_profile": {
            "expected_deaths_10y": round(float(measured_risk.sum()), 1),
            "median_gap_years": round(float(measured["age_gap"].median()), 2),
            "c_index": {"mortality_10y": compute_c_index(measured_risk, people)},
        },
    }
    progress("held-out metrics")
    return result


def predict(
    people: Cohort, configuration: TrainingConfiguration, tensors: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Answers of a fit for a cohort, by output name."""
    network = Network(configuration.network, tensors)
    with torch.inference_mode():
        answers = network(*people.take_inputs())
    return dict(zip(OUTPUT_NAMES, answers, strict=True))
