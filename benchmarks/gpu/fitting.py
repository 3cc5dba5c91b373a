"""Benchmarks of `henaw train`: a mini-batch epoch, an evaluation, a fit, and its accuracy."""

from __future__ import annotations

import dataclasses
import os
import time
from functools import partial
from pathlib import Path

import numpy as np
from henaw.model.checkpoint import load_checkpoint
from henaw.model.network import Network
from henaw.model.synthetic import draw_follow_up, draw_synthetic_people
from henaw.training.cohorts.cohort import Cohort, read_cohort
from henaw.training.configuration import TrainingConfiguration, read_training_configuration
from henaw.training.execution.execution import Execution
from henaw.training.fit import build_rules, fit
from henaw.training.minibatches.loop import MiniBatches
from henaw.training.objective.survival_data import build_survival_data
from henaw.training.reference.reference import fit_reference
from henaw.training.solvers.problem import FitProblem
from henaw.training.train import evaluate_held_out
from measuring import Meter

REPOSITORY = Path(__file__).parents[2]
CHECKPOINT = REPOSITORY / "model" / "weights" / "henaw-nhanes.safetensors"
CONFIGURATION = REPOSITORY / "training" / "configs" / "nhanes.yaml"
FULL_BATCH = (47_050, 500_000)
EPOCH_PEOPLE = 500_000
_EPOCHS = 4


def fit_synthetic(meter: Meter, people: int | None) -> None:
    """Time an evaluation and a whole fit of synthetic people."""
    configuration = _configure()
    for count in sorted({min(size, people or size) for size in FULL_BATCH}):
        cohort = _draw(count)
        problem, _ = _build_problem(cohort, configuration, meter)
        meter.repeat(
            "full-batch evaluation",
            partial(problem.evaluate, problem.objective.start()),
            people=count,
        )
        del problem
        began = time.perf_counter()
        steps: dict[str, float] = {}

        def note(step: str, steps: dict[str, float] = steps, began: float = began) -> None:
            steps[step] = round(time.perf_counter() - began, 2)

        with meter.watch() as seen:
            # A rehearsal stops at the point estimate: refits of few people take just as long.
            fitted = fit(
                cohort,
                configuration,
                members=people is None,
                progress=note,
                execution=_execute(meter),
            )
        meter.tell("whole fit", people=count, done_after_s=steps, **seen)
        meter.tell("its searches", people=count, record=dict(fitted.record))


def run_epochs(meter: Meter, people: int | None) -> None:
    """Time epochs with batches of 8 192: the difference of two runs leaves out the set-up."""
    configuration = _configure()
    count = people or EPOCH_PEOPLE
    problem, everyone = _build_problem(_draw(count), configuration, meter)

    def run(epochs: int) -> None:
        MiniBatches(
            everyone,
            problem.objective,
            dataclasses.replace(configuration.loop, epochs=epochs),
            _execute(meter),
            seed=1,
            fingerprint="synthetic",
        ).solve()

    run(1)
    seconds = {}
    for epochs in (1, 1 + _EPOCHS):
        with meter.watch() as seen:
            run(epochs)
        seconds[epochs] = seen["seconds"]
    meter.tell(
        "mini-batch epoch",
        people=count,
        batch=configuration.loop.batch_size,
        epoch_s=(seconds[1 + _EPOCHS] - seconds[1]) / _EPOCHS,
        **seen,
    )


def measure_held_out(meter: Meter, people: int | None) -> None:
    """C-index on the held-out survey, by both methods; needs the cohort."""
    named = os.environ.get("HENAW_COHORT")
    path = Path(named) if named else REPOSITORY.parent / "shared/data/nhanes_development.parquet"
    if not path.is_file():
        meter.tell("held-out C", missing="the cohort: set HENAW_COHORT to its Parquet file")
        return
    configuration = _configure()
    cohort = read_cohort(path, configuration.cohort)
    if people is not None:
        kept = np.random.default_rng(1).permutation(len(cohort)) < people
        cohort = cohort.select(kept)
    for method in ("lbfgs", "minibatch"):
        chosen = dataclasses.replace(
            configuration, fit=dataclasses.replace(configuration.fit, method=method)
        )
        with meter.watch() as seen:
            found = evaluate_held_out(
                cohort, chosen, progress=lambda _: None, execution=_execute(meter)
            )
        meter.tell(
            "held-out C",
            method=method,
            c=found["c_index"]["mortality_10y"],
            deaths=[found["deaths_10y"], found["expected_deaths_10y"]],
            **seen,
        )


def _configure() -> TrainingConfiguration:
    return read_training_configuration(CONFIGURATION)


def _execute(meter: Meter) -> Execution:
    return Execution(device=meter.device)


def _draw(count: int) -> Cohort:
    """People of the shipped model, in two surveys."""
    checkpoint = load_checkpoint(CHECKPOINT)
    people = draw_synthetic_people(checkpoint, count, 1)
    follow_up = draw_follow_up(checkpoint, people, 1)
    return Cohort(
        biomarkers=people.biomarkers,
        age_years=people.age,
        sex=people.sex,
        time_years=follow_up.time_years,
        event=follow_up.event,
        cause=follow_up.cause,
        survey=np.where(np.arange(count) % 2, "2001-2002", "2011-2012"),
        digest="synthetic",
        report={},
    )


def _build_problem(
    cohort: Cohort, configuration: TrainingConfiguration, meter: Meter
) -> tuple[FitProblem, object]:
    shape = configuration.network
    tensors, cohort = fit_reference(cohort, shape, ())
    people = build_survival_data(Network(shape, tensors), cohort, configuration.fit)
    rules = build_rules(configuration, tensors)
    return FitProblem(people, shape, configuration.fit, rules, _execute(meter)), people
