"""Synthetic people: drawn from a checkpoint's reference tables, with deaths by its hazard.

They need no row of a real cohort and reveal none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.network import HORIZON_YEARS
from henaw.model.people import People

_CHUNK = 1 << 15


class FollowUp(NamedTuple):
    """Follow-up of people.

    Shape:
        time_years: (n,) float64, years to death or to the end of follow-up
        event: (n,) bool, died
        cause: (n,) int64, place in the network's ``cause_classes``, -1 where alive
    """

    time_years: npt.NDArray[np.float64]
    event: npt.NDArray[np.bool_]
    cause: npt.NDArray[np.int64]


def draw_synthetic_people(checkpoint: Checkpoint, count: int, seed: int) -> People:
    """Draw people from the reference's copula, with ages spread evenly over the fitted range.

    Args:
        checkpoint: the model.
        count: number of people.
        seed: of the draws; the same seed gives the same people.
    """
    generator = np.random.default_rng(seed)
    shape = checkpoint.network
    nine = len(NAMES)
    age = generator.uniform(shape.first_age, shape.last_age, count).astype(np.float32)
    sex = generator.integers(0, 2, count)
    correlation = checkpoint.tensors["correlation"].double().numpy()[:nine, :nine]
    scores = generator.standard_normal((count, nine)) @ np.linalg.cholesky(correlation).T
    network = checkpoint.build_network()
    with torch.inference_mode():
        reference = network.look_up_reference(torch.from_numpy(age), torch.from_numpy(sex))
    grid = np.linspace(-shape.score_limit, shape.score_limit, shape.score_steps + 1)
    margin = checkpoint.tensors["margin"].double().numpy()
    biomarkers = np.empty((count, nine), np.float32)
    for i, skewed in enumerate(LOG_SCALED):
        standardised = np.interp(scores[:, i], grid, margin[i])
        value = reference.location[:, i].numpy() + standardised * reference.scale[:, i].numpy()
        # A rare score at some age may mean a value that no laboratory reports.
        biomarkers[:, i] = np.clip(
            np.exp(value) if skewed else value, PANEL[i].minimum, PANEL[i].maximum
        )
    # The model has no reference for biomarkers that it leaves out.
    biomarkers[:, [name in shape.left_out for name in NAMES]] = np.nan
    return People(biomarkers, age, sex)


def draw_follow_up(
    checkpoint: Checkpoint, people: People, seed: int, *, years: float = HORIZON_YEARS
) -> FollowUp:
    """Draw the time and the cause of death of people by the model.

    The hazard at t years of follow-up is exp(c_sex + b_sex (BA + t)), so that with E
    standard exponential the time of death is ln(1 + b E / hazard(0)) / b. The cause is
    drawn with the model's shares among deaths within 10 years, also for later deaths.

    Args:
        checkpoint: the model.
        people: (n,) people.
        seed: of the draws; the same seed gives the same answer.
        years: end of follow-up, years.

    Returns:
        (n,) times in years, deaths and causes.
    """
    generator = np.random.default_rng([seed, 1])
    biological_age, shares = _answer(checkpoint, people)
    slope = checkpoint.tensors["baseline_slope"].double().numpy()[people.sex]
    intercept = checkpoint.tensors["baseline_intercept"].double().numpy()[people.sex]
    exponential = generator.standard_exponential(len(people.age))
    hazard = np.exp(intercept + slope * biological_age)
    time = np.log1p(slope * exponential / hazard) / slope
    event = time <= years
    place = (generator.random(len(people.age))[:, None] > np.cumsum(shares, axis=1)).sum(1)
    return FollowUp(np.minimum(time, years), event, np.where(event, place, -1))


def _answer(
    checkpoint: Checkpoint, people: People
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Biological age (n,) in years, and the shares of the named causes (n, C)."""
    network = checkpoint.build_network()
    ages = np.empty(len(people.age))
    shares = np.empty((len(people.age), len(checkpoint.network.causes)))
    with torch.inference_mode():
        for start in range(0, len(people.age), _CHUNK):
            rows = slice(start, start + _CHUNK)
            outputs = network.answer(*map(torch.from_numpy, people.select(rows)))
            mortality = outputs.mortality_10y.double()
            ages[rows] = outputs.biological_age.double().numpy()
            risks = outputs.cause_risk_10y.double()
            shares[rows] = (risks / mortality.clamp(min=1e-12).unsqueeze(1)).numpy()
    return ages, shares
