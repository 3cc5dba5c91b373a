"""The rules of harmful values against the network itself, read step by step."""

import dataclasses
import itertools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.model.biomarkers import INDEX, NAMES, PANEL, SEXES
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import RATIO_PARTS
from henaw.model.graph.harm import (
    CREDIT_MULTIPLE,
    LEAST_TAIL_SLOPE,
    OLDER_FROM,
    OLDER_SHARE,
    HarmRules,
    build_credit_rules,
    build_missing_rules,
    build_slope_rules,
    build_steepness_rules,
)
from henaw.model.graph.tables import place_limit
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.network import Network
from torch import Tensor

Array = npt.NDArray[np.float64]
STEP = 0.02
AGES = (20, 54, 85)
SIDES = [(b.name, side) for b in PANEL for side in sorted(b.harmful)]


class Weights(NamedTuple):
    """Random weights."""

    main: Tensor
    pairs: Tensor


@pytest.fixture(scope="module")
def rules(checkpoint: Checkpoint) -> HarmRules:
    return build_slope_rules(checkpoint.network, checkpoint.tensors)


def draw_weights(checkpoint: Checkpoint, seed: int) -> Weights:
    """Around the shipped ones, so that some of the rules hold and some do not."""
    generator = torch.Generator().manual_seed(seed)
    weight = checkpoint.tensors["weight"]
    noise = torch.randn(weight.shape, generator=generator)
    noise[:, checkpoint.network.basis_size :] *= 0.3
    pairs = torch.randn(len(checkpoint.network.interactions), generator=generator)
    return Weights(weight + 0.7 * noise, 0.5 * pairs)


def build(checkpoint: Checkpoint, weights: Weights) -> Network:
    changed = {"weight": weights.main, "interaction_weight": weights.pairs}
    return Network(checkpoint.network, {**checkpoint.tensors, **changed})


def read_margin(checkpoint: Checkpoint, name: str, scores: Array, age: int, sex: int) -> Array:
    """Raw values of scores at one age and sex."""
    i, tensors = INDEX[name], checkpoint.tensors
    grid = np.linspace(-4.0, 4.0, tensors["margin"].shape[1])
    standardised = np.interp(scores, grid, tensors["margin"][i].double().numpy())
    place = age - checkpoint.network.first_age
    value = float(tensors["location"][sex, place, i]) + standardised * float(
        tensors["scale"][sex, place, i]
    )
    return np.exp(value) if LOG_SCALED[i] else value


def find_limit(checkpoint: Checkpoint, harmful: tuple[str, str], age: int, sex: int) -> float:
    """The score of the reference limit."""
    limits = place_limit(checkpoint.network, checkpoint.tensors, *harmful)
    assert limits is not None
    return float(limits[sex, age - checkpoint.network.first_age])


def list_partners(checkpoint: Checkpoint, name: str) -> list[str]:
    partners = {other for pair in checkpoint.network.interactions if name in pair for other in pair}
    if INDEX[name] in RATIO_PARTS:
        partners |= {"ast", "alt"}
    return sorted(partners - {name})


def scan(
    checkpoint: Checkpoint, network: Network, harmful: tuple[str, str], age: int, sex: int
) -> float:
    """The smallest slope of the whole effect beyond the limit, worse being positive.

    Years per score, over all that interacts with the biomarker at its extremes.
    """
    name, side = harmful
    biomarker, sign = PANEL[INDEX[name]], 1.0 if side == "high" else -1.0
    limit = find_limit(checkpoint, harmful, age, sex)
    scores = sign * np.arange(sign * limit + 1e-3, 4.0, STEP)
    values = read_margin(checkpoint, name, scores, age, sex)
    values = values[(values > biomarker.minimum) & (values < biomarker.maximum)]
    partners = list_partners(checkpoint, name)
    ends = [
        (PANEL[INDEX[p]].minimum, PANEL[INDEX[p]].typical, PANEL[INDEX[p]].maximum)
        for p in partners
    ]
    worst = np.inf
    for extremes in itertools.product(*ends):
        rows = np.tile(np.array([b.typical for b in PANEL]), (len(values), 1))
        rows[:, INDEX[name]] = values
        for partner, value in zip(partners, extremes, strict=True):
            rows[:, INDEX[partner]] = value
        biomarkers = torch.from_numpy(rows.astype(np.float32))
        with torch.inference_mode():
            answers = network.answer(
                biomarkers, torch.full((len(rows),), float(age)), torch.full((len(rows),), sex)
            )
        slopes = np.diff(answers.age_gap.double().numpy()) / STEP
        worst = min(worst, float(slopes.min()))
    return worst


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize(("name", "side"), SIDES)
def test_the_least_slope_of_the_network_is_what_the_rules_say(
    checkpoint: Checkpoint, rules: HarmRules, name: str, side: str, seed: int
) -> None:
    """So a network keeps the rules where, and only where, no worse value looks younger."""
    weights = draw_weights(checkpoint, seed)
    network = build(checkpoint, weights)
    main, pairs = weights.main.double(), weights.pairs.double()
    left = dataclasses.replace(rules, least=torch.zeros_like(rules.least)).measure(main, pairs)
    for sex, age in itertools.product((0, 1), AGES):
        rows = [
            row
            for row, told in enumerate(rules.names)
            if told.startswith(f"{name} {side}, {SEXES[sex]}, ") and told.endswith(f" age {age}")
        ]
        assert rows
        # The piece that the limit is in may be narrower than a step, and so not be seen.
        limit = find_limit(checkpoint, (name, side), age, sex)
        to_knot = min(
            knot - limit if side == "high" else limit - knot
            for knot in (*checkpoint.network.knots, np.inf if side == "high" else -np.inf)
            if (knot > limit if side == "high" else knot < limit)
        )
        whole = rows if to_knot > 2 * STEP else rows[1:] if side == "high" else rows[:-1]
        least = float(left[rows].min())
        most = float(left[whole].min())
        seen = scan(checkpoint, network, (name, side), age, sex)
        # The rules take a partner to be 5 scores out; where its range ends, it need not be.
        spare = float((rules.pair[rows] @ pairs.abs()).max()) * 0.25
        assert least - 0.03 <= seen <= most + spare + 0.03, (sex, age)


def test_random_weights_break_some_rules_and_keep_others(
    checkpoint: Checkpoint, rules: HarmRules
) -> None:
    """So that the comparison above is of both."""
    for seed in (1, 2):
        weights = draw_weights(checkpoint, seed)
        left = rules.measure(weights.main.double(), weights.pairs.double())
        assert 0.1 < float((left < 0).double().mean()) < 0.9


def test_the_shipped_weights_and_every_refit_keep_the_rules(
    checkpoint: Checkpoint, rules: HarmRules
) -> None:
    tensors = {name: tensor.double() for name, tensor in checkpoint.tensors.items()}
    fits = [(tensors["weight"], tensors["interaction_weight"])]
    fits += zip(tensors["member_weight"], tensors["member_interaction_weight"], strict=True)
    for number, (weight, pairs) in enumerate(fits):
        left = rules.measure(weight, pairs)
        assert float(left.min()) > -1e-4, (number, rules.names[int(left.argmin())])


def test_every_harmful_side_has_rules_at_every_age_for_both_sexes(
    checkpoint: Checkpoint, rules: HarmRules
) -> None:
    for (name, side), sex, age in itertools.product(SIDES, SEXES, range(20, 86)):
        assert any(
            told.startswith(f"{name} {side}, {sex}, ") and told.endswith(f" age {age}")
            for told in rules.names
        )
    assert len(set(rules.names)) == len(rules.names)
    rows = rules.list_rows()
    assert sorted(itertools.chain(*rows.values())) == list(range(len(rules.names)))
    assert set(rows) == {told.rsplit(", age ", 1)[0] for told in rules.names}


def test_the_outermost_piece_must_rise(rules: HarmRules) -> None:
    for told, least in zip(rules.names, rules.least.tolist(), strict=True):
        piece = told.split("piece ")[1].split(",")[0]
        outermost = piece == ("7" if " high, " in told else "1")
        assert least == pytest.approx(LEAST_TAIL_SLOPE if outermost else 0.0), told


def test_rules_are_joined_and_chosen_whole(rules: HarmRules) -> None:
    some = rules.select([3, 0])
    assert some.names == (rules.names[3], rules.names[0])
    assert torch.equal(some.main, rules.main[[3, 0]])
    both = some.join(rules)
    assert both.names == some.names + rules.names
    assert both.groups == some.groups + rules.groups
    weight, pairs = torch.ones(10, 21).double(), torch.ones(2).double()
    left = torch.cat([some.measure(weight, pairs), rules.measure(weight, pairs)])
    torch.testing.assert_close(both.measure(weight, pairs), left)


def compute_gaps(
    checkpoint: Checkpoint, network: Network, rows: Array, age: int, sex: int
) -> Array:
    with torch.inference_mode():
        answers = network.answer(
            torch.from_numpy(rows.astype(np.float32)),
            torch.full((len(rows),), float(age)),
            torch.full((len(rows),), sex),
        )
    gaps: Array = answers.age_gap.double().numpy()
    return gaps


def list_medians(checkpoint: Checkpoint, age: int, sex: int) -> Array:
    location = checkpoint.tensors["location"][sex, age - checkpoint.network.first_age, :9]
    values = location.double().numpy()
    return np.where(LOG_SCALED, np.exp(np.where(LOG_SCALED, values, 0.0)), values)


@pytest.mark.parametrize("name", ["ggt", "ast", "alt"])
def test_a_credit_rule_is_the_change_from_the_median_to_twice_the_limit(
    checkpoint: Checkpoint, name: str
) -> None:
    """By the network's own gaps, all other values at the median."""
    rules = build_credit_rules(checkpoint.network, checkpoint.tensors, (name,))
    weights = draw_weights(checkpoint, 5)
    network = build(checkpoint, Weights(weights.main, torch.zeros(2)))
    left = rules.measure(weights.main.double(), torch.zeros(2).double())
    for sex, age in itertools.product((0, 1), AGES):
        high = PANEL[INDEX[name]].reference.high[sex]
        assert high is not None
        rows = np.tile(list_medians(checkpoint, age, sex), (2, 1))
        rows[1, INDEX[name]] = CREDIT_MULTIPLE * high
        change = np.diff(compute_gaps(checkpoint, network, rows, age, sex))[0]
        row = rules.names.index(f"{name} at 2 times its limit, {SEXES[sex]}, age {age}")
        assert float(left[row]) == pytest.approx(change, abs=2e-2)


@pytest.mark.parametrize("name", ["alt", "albumin", "hba1c"])
def test_a_steepness_rule_is_what_one_reporting_step_may_do(
    checkpoint: Checkpoint, name: str
) -> None:
    """By the network's own gaps, at the lower end of the reference interval and the upper."""
    rules = build_steepness_rules(checkpoint.network, checkpoint.tensors, {name: 1.5})
    weights = draw_weights(checkpoint, 7)
    network = build(checkpoint, Weights(weights.main, torch.zeros(2)))
    left = rules.measure(weights.main.double(), torch.zeros(2).double())
    biomarker = PANEL[INDEX[name]]
    for sex, age in itertools.product((0, 1), AGES):
        low, high = biomarker.reference.low[sex], biomarker.reference.high[sex]
        assert low is not None
        assert high is not None
        for start in (low, high - biomarker.reporting_step):
            rows = np.tile(list_medians(checkpoint, age, sex), (2, 1))
            rows[:, INDEX[name]] = [start, start + biomarker.reporting_step]
            change = np.diff(compute_gaps(checkpoint, network, rows, age, sex))[0]
            allowed = 1.5 * (OLDER_SHARE if age >= OLDER_FROM else 1.0)
            for direction, expected in (("up", allowed - change), ("down", allowed + change)):
                (row,) = [
                    row
                    for row, told in enumerate(rules.names)
                    if told.startswith(f"{name} {direction} from {start:.3g}, {SEXES[sex]}, ")
                    and told.endswith(f" age {age}")
                ]
                assert float(left[row]) == pytest.approx(expected, abs=2e-2)


def test_the_shipped_weights_give_no_credit_where_that_was_asked_for(
    checkpoint: Checkpoint,
) -> None:
    asked = checkpoint.training["configuration"]["fit"]["credit_rules"]
    assert set(asked) <= {"ggt", "ast", "alt"}
    rules = build_credit_rules(checkpoint.network, checkpoint.tensors, tuple(asked))
    left = rules.measure(
        checkpoint.tensors["weight"].double(), checkpoint.tensors["interaction_weight"].double()
    )
    assert float(left.min()) > -1e-3


@pytest.mark.parametrize(("name", "absent"), [("crp", "albumin"), ("rdw", "crp"), ("albumin", "*")])
def test_a_missing_rule_is_the_slope_where_other_values_are_imputed(
    checkpoint: Checkpoint, name: str, absent: str
) -> None:
    """Finite differences of the network at the start of each piece, others at the median."""
    rules = build_missing_rules(checkpoint.network, checkpoint.tensors)
    side = next(iter(PANEL[INDEX[name]].harmful))
    weights = draw_weights(checkpoint, 6)
    network = build(checkpoint, Weights(weights.main, torch.zeros(2)))
    left = rules.measure(weights.main.double(), torch.zeros(2).double())
    sign = 1.0 if side == "high" else -1.0
    edges = [-np.inf, *checkpoint.network.knots, np.inf]
    age, compared = 53, 0
    for sex in (0, 1):
        limit = find_limit(checkpoint, (name, side), age, sex)
        medians = list_medians(checkpoint, age, sex)
        for number, (start, end) in enumerate(itertools.pairwise(edges)):
            nearest = max(start, limit) if side == "high" else min(end, limit)
            if (side == "high" and end <= limit) or (side == "low" and start >= limit):
                continue
            if absent != "*" and abs(nearest) > 2.5:
                continue
            rows = np.tile(medians, (2, 1))
            scores = nearest + sign * np.array([0.01, 0.03])
            rows[:, INDEX[name]] = read_margin(checkpoint, name, scores, age, sex)
            if absent == "*":
                rows[:, [i for i in range(9) if i != INDEX[name]]] = np.nan
            else:
                rows[:, INDEX[absent]] = np.nan
            slope = np.diff(compute_gaps(checkpoint, network, rows, age, sex))[0] / 0.02
            without = "all others" if absent == "*" else absent
            told = f"{name} {side}, {SEXES[sex]}, piece {number + 1}, {without} missing, age {age}"
            found = [float(x) for x, n in zip(left, rules.names, strict=True) if n == told]
            # One rule for each place that the other values may put the imputed one at.
            assert found
            assert min(found) - 0.1 <= slope <= max(found) + 0.1, told
            compared += 1
    assert compared >= 2


def test_the_shipped_weights_keep_the_rules_with_missing_values(checkpoint: Checkpoint) -> None:
    rules = build_missing_rules(checkpoint.network, checkpoint.tensors)
    left = rules.measure(
        checkpoint.tensors["weight"].double(), checkpoint.tensors["interaction_weight"].double()
    )
    assert float(left.min()) > -1e-3, rules.names[int(left.argmin())]


def test_what_imputes_within_limits_has_no_missing_rules(checkpoint: Checkpoint) -> None:
    rules = build_missing_rules(checkpoint.network, checkpoint.tensors)
    assert {told.split(" ")[0] for told in rules.names} == set(NAMES) - set(
        checkpoint.network.imputes_within_limits
    )
