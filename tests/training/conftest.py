"""Synthetic people with a known truth; no row of a real cohort is among them."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import read_configuration
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.network import Network
from henaw.training.cohorts.adjustment import count_adjustments
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import FitConfiguration, LoopConfiguration, TrainingConfiguration
from henaw.training.execution.execution import ALONE, Execution
from henaw.training.minibatches.loop import MiniBatches
from henaw.training.objective.objective import Objective
from henaw.training.objective.survival_data import SurvivalData, build_survival_data, measure_scales

Array = npt.NDArray[np.float64]

CENTRE = (np.log(1.5), np.log(36), np.log(75), 43.0, 30.0, np.log(13), *np.log([24, 23, 21]))
BY_YEAR = (0.008, 0.003, 0.003, -0.05, -0.08, 0.001, 0.004, 0.001, -0.004)
BY_SEX = (-0.2, 0.0, 0.25, 1.0, -1.5, 0.0, 0.4, 0.1, 0.3)
SPREAD = (1.0, 0.15, 0.2, 3.0, 8.0, 0.07, 0.6, 0.3, 0.4)
CORRELATED = {("crp", "albumin"): -0.3, ("ast", "alt"): 0.6, ("ggt", "alt"): 0.4}
INTERCEPT, SLOPE = -10.0, 0.09
CAUSE_CODES = (1, 2, 7, 6, 10)
"""Codes of the four causes and of others in the synthetic tables."""


class Simulated(NamedTuple):
    """A cohort and the truth behind it: normal scores (n, 9), gap (n,) years."""

    cohort: Cohort
    score: Array
    gap: Array


def build_correlation() -> Array:
    correlation = np.eye(len(NAMES))
    for (a, b), value in CORRELATED.items():
        correlation[INDEX[a], INDEX[b]] = correlation[INDEX[b], INDEX[a]] = value
    return correlation


def place(age: Array, sex: npt.NDArray[np.int64]) -> Array:
    """True medians on the network's scale: (n, 9)."""
    from_age = np.outer(age - 50.0, BY_YEAR)
    return np.asarray(np.array(CENTRE) + from_age + np.outer(sex - 0.5, BY_SEX))


def simulate(
    count: int,
    *,
    seed: int,
    missing: float = 0.0,
    effects: dict[str, float] | None = None,
    compute_gap: Callable[[Array], Array] | None = None,
    follow_up_years: float = 15.0,
) -> Simulated:
    """People whose deaths follow a Gompertz hazard of age plus a planted gap, in years."""
    generator = np.random.default_rng(seed)
    age = generator.uniform(20, 86, count)
    sex = generator.integers(0, 2, count)
    score = (
        generator.standard_normal((count, len(NAMES))) @ np.linalg.cholesky(build_correlation()).T
    )
    values = place(age, sex) + score * np.array(SPREAD)
    biomarkers = np.where(LOG_SCALED, np.exp(np.where(LOG_SCALED, values, 0.0)), values)
    biomarkers = np.maximum(biomarkers, 0.1)
    biomarkers[generator.random(biomarkers.shape) < missing] = np.nan
    gap = sum(
        (years * score[:, INDEX[name]] for name, years in (effects or {}).items()),
        start=np.zeros(count),
    )
    if compute_gap is not None:
        gap = gap + compute_gap(score)
    hazard = np.exp(INTERCEPT + SLOPE * (age + gap))
    time = np.log1p(SLOPE * generator.exponential(size=count) / hazard) / SLOPE
    event = time <= follow_up_years
    cause = generator.choice(len(CAUSE_CODES), count, p=(0.35, 0.25, 0.05, 0.05, 0.3))
    cohort = Cohort(
        biomarkers=biomarkers.astype(np.float32),
        age_years=age.astype(np.float32),
        sex=sex,
        time_years=np.minimum(time, follow_up_years),
        event=event,
        cause=np.where(event, cause, -1),
        survey=np.full(count, "synthetic"),
        digest="synthetic",
        report={},
    )
    return Simulated(cohort, score, gap)


def build_table(cohort: Cohort) -> pd.DataFrame:
    """The table that :func:`read_cohort` would read as this cohort."""
    codes = np.array(CAUSE_CODES, np.float64)[cohort.cause]
    return pd.DataFrame(
        {
            "participant_id": [f"synthetic-{i}" for i in range(len(cohort))],
            "survey": cohort.survey,
            "age": cohort.age_years,
            "sex": cohort.sex,
            **{name: cohort.biomarkers[:, i] for i, name in enumerate(NAMES)},
            "death": cohort.event.astype(np.float64),
            "followup_months": cohort.time_years * 12.0,
            "ucod_leading": np.where(cohort.event, codes, np.nan),
            "pregnant": 0.0,
        }
    )


def build_mapping() -> dict[str, Any]:
    """A configuration small enough for a test, as YAML would give it."""
    return {
        "name": "synthetic",
        "version": "0.0.1",
        "date": "2026-01-02",
        "training_data": "Synthetic people.",
        "intended_use": "Tests.",
        "seed": 3,
        "network": {"knots": [-1.0, 0.0, 1.0], "score_steps": 12, "members": 2},
        "cohort": {
            "causes": {"cardiovascular": [1, 5], "cancer": [2], "diabetes": [7], "dementia": [6]}
        },
        "fit": {"elastic_weight": 1e-4, "iterations": 200, "member_iterations": 200},
    }


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Fits this small are slower on more threads, and much slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def mapping() -> Callable[[], dict[str, Any]]:
    """Makes a fresh mapping each time it is called."""
    return build_mapping


@pytest.fixture(scope="session")
def configuration() -> TrainingConfiguration:
    return read_configuration(TrainingConfiguration, build_mapping(), subject="synthetic")


@pytest.fixture(scope="session", name="simulate")
def simulate_fixture() -> Callable[..., Simulated]:
    return simulate


@pytest.fixture(scope="session", name="build_table")
def build_table_fixture() -> Callable[[Cohort], pd.DataFrame]:
    return build_table


@pytest.fixture(scope="session", name="place")
def place_fixture() -> Callable[..., Array]:
    return place


@pytest.fixture
def table() -> pd.DataFrame:
    """Sixty synthetic rows that can all be used."""
    return build_table(simulate(60, seed=1).cohort)


@pytest.fixture(scope="session")
def network(checkpoint: Checkpoint) -> Network:
    """The shipped network: its tables serve where a reference need not be fitted."""
    return checkpoint.build_network()


@pytest.fixture(scope="session")
def synthetic() -> Simulated:
    """People enough for a fit in seconds; some values are missing, and there are surveys."""
    effects = {"crp": 2.0, "rdw": 3.0, "albumin": -2.0}
    made = simulate(3000, seed=31, missing=0.05, effects=effects)
    waves = np.where(np.arange(3000) % 3 == 0, "late", "early")
    return made._replace(cohort=dataclasses.replace(made.cohort, survey=waves))


@pytest.fixture(scope="session")
def people(network: Network, synthetic: Simulated) -> SurvivalData:
    return build_survival_data(network, synthetic.cohort, FitConfiguration())


@pytest.fixture(scope="session")
def make_batches(
    people: SurvivalData, checkpoint: Checkpoint, configuration: TrainingConfiguration
) -> Callable[..., MiniBatches]:
    """Mini-batches of those people, with some of the loop's settings changed."""

    def make(
        *,
        execution: Execution = ALONE,
        crowd: SurvivalData = people,
        fit: FitConfiguration = configuration.fit,
        **settings: Any,
    ) -> MiniBatches:
        usual = {"batch_size": 512, "epochs": 3, "learning_rate": 0.2}
        scales = measure_scales(people, count_adjustments(fit.period))
        return MiniBatches(
            crowd,
            Objective(scales, checkpoint.network, fit),
            LoopConfiguration(**usual | settings),
            execution,
            seed=3,
            fingerprint="synthetic",
        )

    return make
