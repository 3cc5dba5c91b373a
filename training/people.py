"""People as the mini-batch loop needs them: few numbers each, on the device.

A person's features are their centred basis functions times each modulator (1, age, sex).
Kept apart they take a third of the memory and, since
sum_q m_q (b . w_q) is what is wanted, give the gap without ever being multiplied out.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from henaw.model.configuration import MODULATORS, VARIABLES
from henaw.model.network import Network
from henaw.training.cohort import Cohort
from henaw.training.configuration import FitConfiguration
from henaw.training.objective import Objective, Scales, Weights
from henaw.training.settings import (
    describe_cause_settings,
    describe_settings,
    select_followed,
)
from torch import Tensor

_PIECE = 65_536
"""People whose features are computed at once: the network's own temporaries take some
10 kB a person."""


@dataclass(frozen=True, kw_only=True)
class People:
    """Features, follow-up and causes of people.

    Shape:
        basis: (n, V J) float32; modulators: (n, Q) float32; pairs: (n, I) float32
        typical: (n,) float64 years, added to the gap
        age: (n,) float64 years; sex, survey: (n,) int64; time: (n,) float64 years
        event, weight: (n,) float64
        death: (n,) int64, place among the deaths below, -1 for none of known cause
        setting: (n, T) float64
        causes: (d, V J) float32; age_sex: (d, 4) float32; cause: (d,) int64
        cause_setting: (d, T2) float64
    """

    basis: Tensor
    modulators: Tensor
    pairs: Tensor
    typical: Tensor
    age: Tensor
    sex: Tensor
    survey: Tensor
    setting: Tensor
    time: Tensor
    event: Tensor
    weight: Tensor
    death: Tensor
    causes: Tensor
    age_sex: Tensor
    cause_setting: Tensor
    cause: Tensor

    def __len__(self) -> int:
        return len(self.age)

    def select(self, rows: Tensor) -> People:
        """Some of the people, in that order: (m,) int64."""
        death = self.death[rows]
        known = death[death >= 0]
        place = torch.full_like(death, -1)
        place[death >= 0] = torch.arange(len(known))
        chosen = {
            name: getattr(self, name)[rows]
            for name in (field.name for field in fields(self))
            if name not in _OF_DEATHS
        }
        of_deaths = {name: getattr(self, name)[known] for name in _OF_DEATHS}
        return replace(self, **chosen | of_deaths | {"death": place})

    def to(self, device: torch.device) -> People:
        """The same people on another device; ``death``, which lays out batches, stays."""
        moved = {
            field.name: getattr(self, field.name).to(device)
            for field in fields(self)
            if field.name != "death"
        }
        return replace(self, **moved)


_OF_DEATHS = ("causes", "age_sex", "cause_setting", "cause")


def build_people(network: Network, cohort: Cohort, configuration: FitConfiguration) -> People:
    """Compute the features of a cohort and cut its follow-up."""
    follow_up_years = configuration.follow_up_years
    event = cohort.event & (cohort.time_years <= follow_up_years)
    known = torch.from_numpy(event & (cohort.cause >= 0) & select_followed(cohort, follow_up_years))
    columns: dict[str, list[Tensor]] = {"basis": [], "modulators": [], "pairs": []}
    age_sex = []
    age, sex = torch.from_numpy(cohort.age_years), torch.from_numpy(cohort.sex)
    biomarkers = torch.from_numpy(cohort.biomarkers)
    with torch.no_grad():
        for begin in range(0, len(cohort), _PIECE):
            piece = slice(begin, begin + _PIECE)
            features = network.build_features(biomarkers[piece], age[piece], sex[piece])
            main = features.main.unflatten(2, (len(MODULATORS), -1))
            columns["basis"].append(main[:, :, 0].transpose(0, 1).flatten(1))
            ones = torch.ones(len(age[piece]), 1, 1)
            columns["modulators"].append(network.modulate(ones, age[piece], sex[piece])[0])
            columns["pairs"].append(features.pairs)
            dead = known[piece]
            columns.setdefault("causes", []).append(features.centred.flatten(1)[dead])
            age_sex.append(network.build_age_sex(age[piece], sex[piece])[dead])
    death = torch.full((len(cohort),), -1, dtype=torch.int64)
    death[known] = torch.arange(int(known.sum()))
    _, survey = np.unique(cohort.survey, return_inverse=True)
    setting = describe_settings(cohort, configuration.period)
    return People(
        **{name: torch.cat(pieces) for name, pieces in columns.items()},
        typical=torch.zeros(len(cohort), dtype=torch.float64),
        age=age.double(),
        sex=sex,
        survey=torch.from_numpy(survey.astype(np.int64)),
        setting=setting,
        time=torch.from_numpy(np.minimum(cohort.time_years, follow_up_years)),
        event=torch.from_numpy(event).double(),
        weight=torch.ones(len(cohort), dtype=torch.float64),
        death=death,
        age_sex=torch.cat(age_sex),
        cause_setting=describe_cause_settings(cohort, configuration.period, follow_up_years)[known],
        cause=torch.from_numpy(cohort.cause)[known],
    )


def measure_scales(people: People) -> Scales:
    """Standard deviations of the features, multiplied out; float64."""
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
        causes=people.causes.double().std(0),
        surveys=int(people.survey.max()) + 1,
    )


def compute_gap(
    weights: Weights, people: People, rows: Tensor | slice, *, precision: torch.dtype
) -> Tensor:
    """Age gap of some of the people: (m,) float64, years.

    Args:
        weights: in the network's units, float64.
        people: of a cohort.
        rows: which of them.
        precision: of the product; the sums of a few terms after it are float64.
    """
    by_modulator = weights.weight.unflatten(1, (len(MODULATORS), -1)).transpose(1, 2).flatten(0, 1)
    # Autocast takes float32 down to bfloat16 where it is switched on; float64 it leaves.
    product = _take(people.basis, rows).to(precision) @ by_modulator.to(precision)
    pairs = _take(people.pairs, rows).double() @ weights.interaction_weight
    main = (product.double() * _take(people.modulators, rows).double()).sum(1)
    gap: Tensor = main + pairs + _take(people.typical, rows)
    return gap


def compute_likelihood(
    objective: Objective, weights: Weights, people: People, rows: Tensor | slice, gap: Tensor
) -> dict[str, Tensor]:
    """The parts of the loss that are means over people, for some of them."""
    return objective.compute_likelihood(
        weights,
        gap,
        age=_take(people.age, rows),
        sex=_take(people.sex, rows),
        survey=_take(people.survey, rows),
        setting=_take(people.setting, rows),
        time=_take(people.time, rows),
        event=_take(people.event, rows),
        weight=_take(people.weight, rows),
    )


def compute_cause_part(
    objective: Objective, weights: Weights, people: People, deaths: Tensor | slice
) -> dict[str, Tensor]:
    """The part of the loss that is a mean over deaths of known cause, for some of them."""
    return objective.compute_cause_part(
        weights,
        _take(people.causes, deaths).double() / objective.cause_scale,
        _take(people.age_sex, deaths).double(),
        _take(people.cause_setting, deaths),
        _take(people.cause, deaths),
    )


def _take(column: Tensor, rows: Tensor | slice) -> Tensor:
    # Several times as fast as column[rows] on the CPU: whole rows are copied at once.
    return column[rows] if isinstance(rows, slice) else column.index_select(0, rows)
