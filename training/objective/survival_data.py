"""Survival data of a cohort: features, follow-up, and the likelihood of weights.

A person's features are their centred basis functions b times each modulator m_q (1, age,
sex). The gap is sum_q m_q (b . w_q), so basis functions and modulators are kept apart: that
takes a third of the memory, and the products are never stored.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from henaw.model.biomarkers import SEXES
from henaw.model.configuration import MODULATORS, VARIABLES
from henaw.model.network import Network
from henaw.training.cohorts.adjustment import describe_adjustments
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import FitConfiguration
from henaw.training.objective.losses import (
    compute_age_loss,
    compute_cumulative_hazard,
    compute_mortality_loss,
)
from henaw.training.objective.objective import Scales, Weights
from torch import Tensor

_PIECE = 65_536
"""How many people's features are computed together: the network's temporary tensors take about
10 kB a person."""


@dataclass(frozen=True, kw_only=True)
class SurvivalData:
    """Features and follow-up of people.

    The baseline's level is a matrix product with ``levels``, because on CUDA looking up one
    of two sexes is slow to differentiate.

    Shape:
        basis: (n, V J) float32; modulators: (n, Q) float32
        pairs: (n, I) float32, features of the interactions
        typical: (n,) float64 years, added to the gap
        age: (n,) float64 years; time: (n,) float64 years
        levels: (n, 2 + S + T) float64: 1 in the column of the sex and of the survey, then
        the adjustments
        event, weight: (n,) float64
    """

    basis: Tensor
    modulators: Tensor
    pairs: Tensor
    typical: Tensor
    age: Tensor
    levels: Tensor
    time: Tensor
    event: Tensor
    weight: Tensor

    def __len__(self) -> int:
        return len(self.age)

    def select(self, rows: Tensor | slice) -> SurvivalData:
        """The people at ``rows``, (m,) int64 or a slice, in that order."""
        return replace(self, **{name: _take(column, rows) for name, column in self._columns()})

    def to(self, device: torch.device) -> SurvivalData:
        """The same people on another device."""
        return replace(self, **{name: column.to(device) for name, column in self._columns()})

    def weighed(self, weight: Tensor) -> SurvivalData:
        """The same people with other weights: (n,)."""
        return replace(self, weight=weight)

    def _columns(self) -> list[tuple[str, Tensor]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


def build_survival_data(
    network: Network, cohort: Cohort, configuration: FitConfiguration
) -> SurvivalData:
    """Compute the features of a cohort, and cut its follow-up at ``follow_up_years``."""
    follow_up_years = configuration.follow_up_years
    event = cohort.event & (cohort.time_years <= follow_up_years)
    columns: dict[str, list[Tensor]] = {"basis": [], "modulators": [], "pairs": []}
    age, sex = torch.from_numpy(cohort.age_years), torch.from_numpy(cohort.sex)
    biomarkers = torch.from_numpy(cohort.biomarkers)
    with torch.no_grad():
        for begin in range(0, len(cohort), _PIECE):
            piece = slice(begin, begin + _PIECE)
            features = network.build_features(biomarkers[piece], age[piece], sex[piece])
            main = features.main.unflatten(2, (len(MODULATORS), -1))
            columns["basis"].append(main[:, :, 0].transpose(0, 1).flatten(1))
            columns["modulators"].append(features.by_age.modulator_columns)
            columns["pairs"].append(features.pairs)
    surveys, place = np.unique(cohort.survey, return_inverse=True)
    levels = [
        torch.nn.functional.one_hot(sex, len(SEXES)).double(),
        torch.nn.functional.one_hot(torch.from_numpy(place), len(surveys)).double(),
        describe_adjustments(cohort, configuration.period),
    ]
    return SurvivalData(
        **{name: torch.cat(pieces) for name, pieces in columns.items()},
        typical=torch.zeros(len(cohort), dtype=torch.float64),
        age=age.double(),
        levels=torch.cat(levels, dim=1),
        time=torch.from_numpy(np.minimum(cohort.time_years, follow_up_years)),
        event=torch.from_numpy(event).double(),
        weight=torch.ones(len(cohort), dtype=torch.float64),
    )


def measure_scales(people: SurvivalData, adjustments: int) -> Scales:
    """Standard deviations of the features, basis times modulators; float64.

    Args:
        people: the cohort's people.
        adjustments: the number of adjustments, the last columns of ``levels``.
    """
    sums = squares = torch.zeros((), dtype=torch.float64)
    for begin in range(0, len(people), _PIECE):
        basis = people.basis[begin : begin + _PIECE].double()
        modulators = people.modulators[begin : begin + _PIECE].double()
        sums = sums + basis.T @ modulators
        squares = squares + (basis**2).T @ modulators**2
    variance = (squares - sums**2 / len(people)) / (len(people) - 1)
    # (V J, Q) to the order of the network's weights, (V, Q, J).
    by_variable = variance.clamp(min=0).sqrt().unflatten(0, (len(VARIABLES), -1))
    return Scales(
        main=by_variable.transpose(1, 2).flatten(),
        pairs=people.pairs.double().std(0),
        surveys=people.levels.shape[1] - len(SEXES) - adjustments,
    )


def compute_gap(weights: Weights, people: SurvivalData, *, precision: torch.dtype) -> Tensor:
    """Age gap of each person: (n,) float64, years.

    Args:
        weights: in the network's units, float64.
        people: the n people.
        precision: the precision of the matrix product; the few terms after it are added in float64.
    """
    by_modulator = weights.weight.unflatten(1, (len(MODULATORS), -1)).transpose(1, 2).flatten(0, 1)
    product = people.basis.to(precision) @ by_modulator.to(precision)
    pairs = people.pairs.double() @ weights.interaction_weight
    gap: Tensor = (product.double() * people.modulators.double()).sum(1) + pairs + people.typical
    return gap


def compute_likelihood(weights: Weights, people: SurvivalData, gap: Tensor) -> dict[str, Tensor]:
    """Weighted sums over people: the parts of the loss, and the expected deaths.

    Returns:
        ``mortality``, ``age`` (without ``age_weight``) and ``expected`` deaths, scalars.
    """
    slope = people.levels[:, : len(SEXES)] @ weights.slope
    log_hazard = people.levels @ weights.level + slope * (people.age + gap)
    expected = compute_cumulative_hazard(log_hazard, slope, people.time).detach()
    return {
        "mortality": compute_mortality_loss(
            log_hazard, slope, people.time, people.event, people.weight
        ),
        "age": compute_age_loss(gap, people.weight),
        "expected": (people.weight * expected).sum(),
    }


def build_design(weights: Weights, people: SurvivalData) -> tuple[Tensor, Tensor]:
    """Derivatives of each person's log hazard by the weights, and their expected deaths.

    Args:
        weights: where the derivatives are taken.
        people: the n people.

    Returns:
        (n, W) derivatives by :meth:`Weights.flatten`, in the middle of the follow-up, and
        (n,) weighted expected deaths; float64.
    """
    gap = compute_gap(weights, people, precision=torch.float64)
    sexes = people.levels[:, : len(SEXES)]
    slope = sexes @ weights.slope
    log_hazard = people.levels @ weights.level + slope * (people.age + gap)
    expected = compute_cumulative_hazard(log_hazard, slope, people.time)
    main = people.basis.double().unflatten(1, (len(VARIABLES), 1, -1))
    main = main * people.modulators.double()[:, None, :, None]
    by_gap = torch.cat([main.flatten(1), people.pairs.double()], dim=1)
    age_at = people.age + gap + 0.5 * people.time
    design = [by_gap * slope.unsqueeze(1), sexes * age_at.unsqueeze(1), people.levels]
    return torch.cat(design, dim=1), people.weight * expected


def _take(column: Tensor, rows: Tensor | slice) -> Tensor:
    # On the CPU this is several times as fast as column[rows], since it copies whole rows.
    return column[rows] if isinstance(rows, slice) else column.index_select(0, rows)
