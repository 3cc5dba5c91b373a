"""Rules on a network's weights for harmful values.

Beyond a reference limit in a harmful direction, a worse value must never look younger,
whatever the other values are, at every fitted age and for either sex. The effect of a
biomarker is a straight line between two knots of its spline. So the rule is one inequality
for each piece, age and sex, and checking all of them proves the rule:

    direction * slope of the piece - worst slope of its interactions >= least

The ratio AST/ALT is not in these rules: it is constant where AST or ALT is beyond a limit.
A second kind of rule is about level instead of slope: an enzyme at twice its upper limit
must not look younger than the median value of people of that age and sex.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from henaw.model.biomarkers import INDEX, NAMES, PANEL, SEXES
from henaw.model.configuration import (
    MODULATORS,
    RATIO,
    RATIO_CAPS,
    RATIO_PARTS,
    VARIABLES,
    NetworkConfiguration,
)
from henaw.model.graph.constants import (
    AGE_CENTRE_YEARS,
    AGE_SCALE_YEARS,
    HIGHEST_RATIO,
    LOWEST_RATIO,
    RISE_BEYOND,
)
from henaw.model.graph.tables import (
    SMALLEST_SPREAD,
    build_copula_tables,
    compute_adaptive_weights,
    place_limit,
    place_values,
)
from torch import Tensor

LEAST_TAIL_SLOPE = 0.3
"""Least slope beyond the outermost knot in a harmful direction, in years per score."""
CREDIT_MULTIPLE = 2.0
OLDER_FROM, OLDER_SHARE = 50, 0.8
"""From this age on, a reporting step may move the gap by only this share of its limit."""
_STEEPNESS_SHARES = (0.0, 0.1, 0.25, 0.5, 0.75, 1.0)
"""Where in the reference interval the steepness is limited."""
_OTHERS_MOVE = (-1.0, 0.0, 1.0)
"""How far other known values may move the expected score of a missing one."""


@dataclass(frozen=True, kw_only=True)
class HarmRules:
    """Inequalities ``main @ weight - pair @ |interaction_weight| >= least``.

    Shape:
        main: (R, V Q J) of the flattened weights; pair: (R, I); least: (R,)

    Attributes:
        names: of each rule, for messages.
        groups: the names without the age; the rules of a group differ only in age.
    """

    main: Tensor
    pair: Tensor
    least: Tensor
    names: tuple[str, ...]
    groups: tuple[str, ...]

    def select(self, rows: list[int]) -> HarmRules:
        """Some of the rules."""
        return HarmRules(
            main=self.main[rows],
            pair=self.pair[rows],
            least=self.least[rows],
            names=tuple(self.names[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows),
        )

    def list_rows(self) -> dict[str, list[int]]:
        """The rows of each group, by rising age."""
        rows: dict[str, list[int]] = {}
        for row, group in enumerate(self.groups):
            rows.setdefault(group, []).append(row)
        return rows

    def measure(self, weight: Tensor, interaction_weight: Tensor) -> Tensor:
        """The slack of each inequality, below 0 if it is broken: (R,) years.

        Shape:
            weight: (V, Q J); interaction_weight: (I,)
        """
        slack: Tensor = (
            self.main @ weight.flatten() - self.pair @ interaction_weight.abs() - self.least
        )
        return slack

    def join(self, other: HarmRules) -> HarmRules:
        """Both sets of rules."""
        return HarmRules(
            main=torch.cat([self.main, other.main]),
            pair=torch.cat([self.pair, other.pair]),
            least=torch.cat([self.least, other.least]),
            names=self.names + other.names,
            groups=self.groups + other.groups,
        )


class _Reference:
    """Scores of raw values at every fitted age, by sex; float64."""

    def __init__(self, configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]) -> None:
        self.configuration = configuration
        self.tensors = tensors
        self.location = tensors["location"].double()
        self.scale = tensors["scale"].double()
        self.margin = tensors["margin"].double()
        years = torch.arange(configuration.first_age, configuration.last_age + 1).double()
        self.age = (years - AGE_CENTRE_YEARS) / AGE_SCALE_YEARS
        variation = tensors["coefficient_of_variation"].double()
        self.weights = compute_adaptive_weights(variation, configuration)
        limit = configuration.score_limit
        self.scores = torch.linspace(-limit, limit, self.margin.shape[1], dtype=torch.float64)

    def modulate(self, code: int, place: int) -> Tensor:
        """The constant, age and sex terms at one sex and age: (Q,)."""
        return torch.stack([torch.tensor(1.0), self.age[place], torch.tensor(code - 0.5)]).double()

    def write_row(self, variable: int, code: int, place: int, basis: Tensor) -> Tensor:
        """Row of a rule on one variable's weighted, modulated basis functions: (J,) to (V Q J,)."""
        block = self.modulate(code, place).unsqueeze(1) * basis
        row = torch.zeros(len(VARIABLES), block.numel(), dtype=torch.float64)
        row[variable] = block.flatten() * self.weights[code, place, variable]
        return row.flatten()

    def expect_slopes(self, mean: float, spread: float) -> Tensor:
        """Expected slopes of the basis functions if the score has a normal error: (J,)."""
        knots = torch.tensor(self.configuration.knots).double()
        hinges = torch.special.ndtr((mean - knots) / max(spread, SMALLEST_SPREAD))
        return torch.cat([torch.ones(1).double(), hinges])

    def expand(self, scores: Tensor) -> Tensor:
        """Basis functions of scores: (...) to (..., J)."""
        knots = torch.tensor(self.configuration.knots).double()
        hinges = (scores.unsqueeze(-1) - knots).clamp(min=0.0)
        return torch.cat([scores.unsqueeze(-1), hinges], -1)


class _Piece(NamedTuple):
    """A piece of a biomarker's spline that has harmful values, at one age and sex.

    Attributes:
        name: the biomarker.
        sign: 1 if higher is worse, -1 if lower is worse.
        code: the sex; place: the index of the age.
        number: the number of the piece, counted from the lowest.
        nearest, furthest: scores between which values are harmful, the better one first.
        tail: whether this is the outermost piece.
    """

    name: str
    sign: float
    code: int
    place: int
    number: int
    nearest: float
    furthest: float
    tail: bool

    @property
    def group(self) -> str:
        side = "high" if self.sign > 0 else "low"
        return f"{self.name} {side}, {SEXES[self.code]}, piece {self.number + 1}"


def _list_pieces(reference: _Reference, places: Sequence[int]) -> Iterator[_Piece]:
    edges = [-math.inf, *reference.configuration.knots, math.inf]
    for name in reference.configuration.panel:
        for side in sorted(PANEL[INDEX[name]].harmful):
            limits = place_limit(reference.configuration, reference.tensors, name, side)
            if limits is None:
                continue
            outermost = len(edges) - 2 if side == "high" else 0
            for code, place in itertools.product(range(len(SEXES)), places):
                score = float(limits[code, place])
                for number, (start, end) in enumerate(itertools.pairwise(edges)):
                    if side == "high" and end > score:
                        nearest, furthest = max(start, score), end
                    elif side == "low" and start < score:
                        nearest, furthest = min(end, score), start
                    else:
                        continue
                    yield _Piece(
                        name=name,
                        sign=1.0 if side == "high" else -1.0,
                        code=code,
                        place=place,
                        number=number,
                        nearest=nearest,
                        furthest=furthest,
                        tail=number == outermost,
                    )


def _write_slope(reference: _Reference, piece: _Piece) -> Tensor:
    """Row of the slope of a biomarker's own effect, positive towards worse: (V Q J,)."""
    steps = torch.zeros(reference.configuration.basis_size).double()
    steps[: piece.number + 1] = piece.sign
    return reference.write_row(INDEX[piece.name], piece.code, piece.place, steps)


def _measure_pairs(
    reference: _Reference, piece: _Piece, missing: Sequence[str] = ()
) -> list[float]:
    """The worst slope of each interaction per unit of weight, over all values of its partner.

    The slope of an interaction is h'(z) h(partner), and h' falls with |z|.
    """
    configuration = reference.configuration
    low, high = sorted((piece.nearest, piece.furthest))
    slope = math.log1p(configuration.score_limit + RISE_BEYOND) / (1.0 + max(low, -high, 0.0))
    weights = reference.weights[piece.code, piece.place, len(VARIABLES) :]
    return [
        slope * float(weights[i]) if piece.name in members and not {*members} & {*missing} else 0.0
        for i, members in enumerate(configuration.interactions)
    ]


def build_slope_rules(
    configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]
) -> HarmRules:
    """Rules that a worse value never looks younger if all nine are known, at every age.

    Args:
        configuration: the shape.
        tensors: with the reference tables.
    """
    reference = _Reference(configuration, tensors)
    pieces = list(_list_pieces(reference, range(len(reference.age))))
    return _stack(
        configuration,
        [_write_slope(reference, piece) for piece in pieces],
        pair=[_measure_pairs(reference, piece) for piece in pieces],
        least=[LEAST_TAIL_SLOPE if piece.tail else 0.0 for piece in pieces],
        names=[f"{piece.group}, age {configuration.first_age + piece.place}" for piece in pieces],
        groups=[piece.group for piece in pieces],
    )


def build_missing_rules(
    configuration: NetworkConfiguration, tensors: Mapping[str, Tensor]
) -> HarmRules:
    """The same rules if one other value or all others are missing, at three ages.

    A missing value is imputed from the known ones, so a worse value also moves the imputed ones.
    Biomarkers that impute only within their limits do not. The expected score of a missing value
    is varied over the usual range, because other known values move it too.

    Args:
        configuration: the shape.
        tensors: with the reference tables and the copula.
    """
    reference = _Reference(configuration, tensors)
    copula, spreads = (table.double() for table in build_copula_tables(tensors["correlation"]))
    main, pair, names = [], [], []
    ages = (0, len(reference.age) // 2, len(reference.age) - 1)
    for piece in _list_pieces(reference, ages):
        if piece.name in configuration.imputes_within_limits:
            continue
        own = INDEX[piece.name]
        others = [i for i, used in enumerate(configuration.used[: len(NAMES)]) if used and i != own]
        score = max(min(piece.nearest, configuration.score_limit), -configuration.score_limit)
        for absent in (*([i] for i in others), others):
            pattern = sum(1 << i for i in absent)
            ratio = configuration.used[-1] and {*absent} & {*RATIO_PARTS}
            imputed = [*absent, *([VARIABLES.index(RATIO)] if ratio else [])]
            alone = len(absent) > 1
            usual = []
            for i in imputed:
                mean = float(copula[pattern, i, own]) * score
                # The other known values hardly move an imputed ratio.
                moves = not alone and i < len(NAMES)
                usual.append([mean + other for other in _OTHERS_MOVE] if moves else [mean])
            for means in itertools.product(*usual):
                row = _write_slope(reference, piece)
                for i, mean in zip(imputed, means, strict=True):
                    slopes = reference.expect_slopes(mean, float(spreads[pattern, i]))
                    moved = piece.sign * float(copula[pattern, i, own])
                    row = row + reference.write_row(i, piece.code, piece.place, moved * slopes)
                main.append(row)
                pair.append(_measure_pairs(reference, piece, [NAMES[i] for i in absent]))
                without = "all others" if alone else NAMES[absent[0]]
                names.append(
                    f"{piece.group}, {without} missing, age {configuration.first_age + piece.place}"
                )
    return _stack(configuration, main, pair=pair, names=names, groups=names)


def build_credit_rules(
    configuration: NetworkConfiguration, tensors: Mapping[str, Tensor], credited: Sequence[str]
) -> HarmRules:
    """Rules that twice the upper limit of a biomarker is not better than its median.

    All other values are those of the median; the ratio AST/ALT changes with its parts.

    Args:
        configuration: the shape.
        tensors: with the reference tables.
        credited: the biomarkers; one that is not in the model has no rule.
    """
    reference = _Reference(configuration, tensors)
    main, names, groups = [], [], []
    for name in credited:
        if name not in configuration.panel:
            continue
        scores = place_limit(
            reference.configuration, reference.tensors, name, "high", CREDIT_MULTIPLE
        )
        if scores is None:
            continue
        changes = reference.expand(scores) - reference.expand(torch.zeros(1).double())
        ratios = _change_ratio(reference, name)
        for code, place in itertools.product(range(len(SEXES)), range(len(reference.age))):
            main.append(
                reference.write_row(INDEX[name], code, place, changes[code, place])
                + reference.write_row(VARIABLES.index(RATIO), code, place, ratios[code, place])
            )
            groups.append(f"{name} at {CREDIT_MULTIPLE:g} times its limit, {SEXES[code]}")
            names.append(f"{groups[-1]}, age {configuration.first_age + place}")
    return _stack(configuration, main, names=names, groups=groups)


def build_steepness_rules(
    configuration: NetworkConfiguration,
    tensors: Mapping[str, Tensor],
    steepest: Mapping[str, float],
) -> HarmRules:
    """Rules on how far one reporting step inside the reference interval may move the gap.

    All other values are those of the median; the ratio AST/ALT changes with its parts. From
    :data:`OLDER_FROM` on, :data:`OLDER_SHARE` of the limit is allowed.

    Args:
        configuration: the shape.
        tensors: with the reference tables.
        steepest: years by biomarker; one that is not in the model has no rule.
    """
    reference = _Reference(configuration, tensors)
    main, least, names, groups = [], [], [], []
    for name, limit in steepest.items():
        if name not in configuration.panel:
            continue
        biomarker = PANEL[INDEX[name]]
        for code, share in itertools.product(range(len(SEXES)), _STEEPNESS_SHARES):
            low, high = biomarker.reference.low[code], biomarker.reference.high[code]
            if low is None or high is None:
                continue
            start = low + share * (high - biomarker.reporting_step - low)
            ends = [
                torch.full((2, len(reference.age)), value).double()
                for value in (start, start + biomarker.reporting_step)
            ]
            logged = [torch.log(end) if biomarker.log_scaled else end for end in ends]
            before, after = (
                reference.expand(
                    place_values(reference.configuration, reference.tensors, INDEX[name], value)
                )
                for value in logged
            )
            ratio = _read_ratio(reference, name, logged[1]) - _read_ratio(
                reference, name, logged[0]
            )
            for place, sign in itertools.product(range(len(reference.age)), (1.0, -1.0)):
                age = configuration.first_age + place
                main.append(
                    sign
                    * reference.write_row(INDEX[name], code, place, (after - before)[code, place])
                    + sign
                    * reference.write_row(VARIABLES.index(RATIO), code, place, ratio[code, place])
                )
                least.append(-limit * (OLDER_SHARE if age >= OLDER_FROM else 1.0))
                direction = "up" if sign < 0 else "down"
                groups.append(f"{name} {direction} from {start:.3g}, {SEXES[code]}, {least[-1]:g}")
                names.append(f"{groups[-1]}, age {age}")
    return _stack(configuration, main, least=least, names=names, groups=groups)


def _change_ratio(reference: _Reference, name: str) -> Tensor:
    """Change of the ratio's basis as one part goes from its median beyond its cap: (2, ages, J)."""
    own = reference.location[:, :, INDEX[name]]
    beyond = torch.full_like(own, math.log(max(RATIO_CAPS)))
    return _read_ratio(reference, name, beyond) - _read_ratio(reference, name, own)


def _read_ratio(reference: _Reference, name: str, values: Tensor) -> Tensor:
    """Basis of the ratio if one biomarker has these logarithms and the other its median.

    Shape:
        values: (2, ages); result: (2, ages, J), 0 for a biomarker outside the ratio, or if the
        ratio is not in the model
    """
    variable = VARIABLES.index(RATIO)
    if INDEX[name] not in RATIO_PARTS or not reference.configuration.used[-1]:
        return torch.zeros_like(reference.expand(values))
    numerator, denominator = (
        (values if place == INDEX[name] else reference.location[:, :, place]).clamp(
            max=math.log(cap)
        )
        for place, cap in zip(RATIO_PARTS, RATIO_CAPS, strict=True)
    )
    ratio = (numerator - denominator).clamp(math.log(LOWEST_RATIO), math.log(HIGHEST_RATIO))
    return reference.expand(
        place_values(reference.configuration, reference.tensors, variable, ratio)
    )


def _stack(
    configuration: NetworkConfiguration,
    main: list[Tensor],
    *,
    names: list[str],
    groups: list[str],
    pair: list[list[float]] | None = None,
    least: list[float] | None = None,
) -> HarmRules:
    """Rules from their rows; by default without interactions, and with a least of 0."""
    rows, pairs = len(main), len(configuration.interactions)
    width = len(VARIABLES) * len(MODULATORS) * configuration.basis_size
    return HarmRules(
        main=torch.stack(main) if main else torch.zeros(0, width).double(),
        pair=torch.tensor(pair or [[0.0] * pairs] * rows).double().reshape(rows, pairs),
        least=torch.tensor(least or [0.0] * rows).double(),
        names=tuple(names),
        groups=tuple(groups),
    )
