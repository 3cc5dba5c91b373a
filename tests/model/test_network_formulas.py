"""The network's parts against the formulas they stand for, computed another way."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.export.people import People, draw_anywhere, draw_synthetic_people
from henaw.model.biomarkers import INDEX, NAMES, PANEL, SYSTEMS
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import VARIABLES
from henaw.model.network import LINEAR_START, Network
from henaw.model.runtime import Runtime
from henaw.model.tables import (
    SMALLEST_SPREAD,
    list_members,
    list_variance_groups,
    smooth_margin_slope,
)
from henaw.model.transforms import LOG_SCALED, compute_log_distance, compute_safe_ratio
from scipy import integrate, stats

Array = npt.NDArray[np.float64]
RATIO = VARIABLES.index("ast_alt_ratio")


@pytest.fixture(scope="module")
def network(checkpoint: Checkpoint) -> Network:
    return checkpoint.build_network()


@pytest.fixture(scope="module")
def tables(checkpoint: Checkpoint) -> dict[str, Array]:
    return {name: tensor.double().numpy() for name, tensor in checkpoint.tensors.items()}


@pytest.fixture(scope="module")
def people(checkpoint: Checkpoint) -> People:
    return draw_synthetic_people(checkpoint, 300, seed=21)


def interpolate(table: Array, sex: int, age: float) -> Array:
    """A row of a yearly table by NumPy's interpolation, which holds the end values."""
    years = np.arange(20, 86)
    return np.array([np.interp(age, years, column) for column in table[sex].T])


@pytest.mark.parametrize("sex", [0, 1])
@pytest.mark.parametrize(
    "age", [20.0, 20.25, 47.0, 47.5, 84.0, 84.75, 85.0, 18.0, 0.0, 85.5, 120.0]
)
def test_the_reference_is_interpolated_by_year(
    network: Network, tables: dict[str, Array], checkpoint: Checkpoint, age: float, sex: int
) -> None:
    row = network.look_up_reference(torch.tensor([age]), torch.tensor([sex]))
    parts = dict(
        zip(
            ("location", "scale", "weights", "pair_weights", "basis_mean", "interaction_mean"),
            row.split(network.sections, dim=1)[:6],
            strict=True,
        )
    )
    for name, part in parts.items():
        if name.endswith("weights"):
            continue
        expected = interpolate(tables[name], sex, age)
        if name == "basis_mean":
            knots = np.array(checkpoint.network.knots)
            hinges = stats.norm.pdf(knots) - knots * stats.norm.sf(knots)
            expected = expected - np.tile([0.0, *hinges], 10)
        if name == "interaction_mean":
            expected = np.tile(expected, 2)
        np.testing.assert_allclose(part[0].numpy(), expected, rtol=1e-6, atol=1e-6)


def test_adaptive_weights_follow_the_coefficient_of_variation(
    network: Network, tables: dict[str, Array], checkpoint: Checkpoint
) -> None:
    for age, sex in itertools.product(range(20, 86, 5), (0, 1)):
        row = network.look_up_reference(torch.tensor([float(age)]), torch.tensor([sex]))
        seen = torch.cat(row.split(network.sections, dim=1)[2:4], 1)[0].numpy()
        variation = tables["coefficient_of_variation"][sex, age - 20]
        held_back = np.exp(-checkpoint.network.adaptive_lambda * variation)
        expected = 9 * held_back / held_back.sum()
        assert expected.mean() == pytest.approx(1.0)
        np.testing.assert_allclose(seen[:9], expected, rtol=1e-5)
        pairs = [("ast", "alt"), *checkpoint.network.interactions]
        means = [(expected[INDEX[a]] + expected[INDEX[b]]) / 2 for a, b in pairs]
        np.testing.assert_allclose(seen[9:], means + means[1:], rtol=1e-5)
        assert (np.argsort(seen[:9]) == np.argsort(-variation)).all()


def compute_scores(people: People, tables: dict[str, Array]) -> Array:
    """Normal scores of complete rows by NumPy's interpolation of each margin."""
    grid = np.linspace(-3.0, 3.0, tables["margin"].shape[1])
    scores = np.empty((len(people.age), 10))
    for row, (values, age, sex) in enumerate(zip(*people, strict=True)):
        x = np.clip(values.astype(float), [b.minimum for b in PANEL], [b.maximum for b in PANEL])
        x = np.where(LOG_SCALED, np.log(x), x)
        ratio = np.clip(values[INDEX["ast"]] / values[INDEX["alt"]], 0.1, 10.0)
        location = interpolate(tables["location"], int(sex), float(age))
        scale = interpolate(tables["scale"], int(sex), float(age))
        standardised = (np.append(x, np.log(ratio)) - location) / scale
        scores[row] = [np.interp(z, tables["margin"][i], grid) for i, z in enumerate(standardised)]
    return scores


def test_scores_are_the_margins_read_backwards(
    network: Network, tables: dict[str, Array], people: People
) -> None:
    biomarkers, age, sex = map(torch.from_numpy, people)
    location, scale, *_ = network.look_up_reference(age, sex).split(network.sections, dim=1)
    scores, known, _ = network.compute_scores(biomarkers, location, scale)
    assert known.all()
    np.testing.assert_allclose(scores.numpy(), compute_scores(people, tables), atol=2e-4)


def test_imputation_is_the_conditional_gaussian_for_every_pattern(
    network: Network, tables: dict[str, Array]
) -> None:
    """By the inverse of the joint precision, not by regression on the known."""
    scores = np.random.default_rng(22).standard_normal((512, 10))
    correlation = tables["correlation"]
    known = np.array([[not pattern >> i & 1 for i in range(9)] for pattern in range(512)])
    both = known[:, INDEX["ast"]] & known[:, INDEX["alt"]]
    known = np.column_stack([known, both])
    given = np.where(known, scores, 0.0)
    weights, spreads, *_ = network.by_pattern.split(network.pattern_sections, dim=1)
    means = network.impute(torch.from_numpy(scores).float(), weights)
    for row in range(512):
        seen = np.flatnonzero(known[row, :9])
        unknown = np.flatnonzero(~known[row])
        np.testing.assert_allclose(means[row, known[row]], given[row, known[row]], atol=1e-6)
        np.testing.assert_array_equal(spreads[row, known[row]], np.float32(SMALLEST_SPREAD))
        if not len(unknown):
            continue
        joint = np.concatenate([unknown, seen])
        precision = np.linalg.inv(correlation[np.ix_(joint, joint)])
        count = len(unknown)
        covariance = np.linalg.inv(precision[:count, :count])
        mean = -covariance @ precision[:count, count:] @ given[row, seen]
        np.testing.assert_allclose(means[row, unknown], mean, atol=2e-5)
        np.testing.assert_allclose(spreads[row, unknown], np.sqrt(np.diag(covariance)), atol=2e-5)


@pytest.mark.parametrize("mean", [-2.0, 0.0, 0.75, 2.4])
@pytest.mark.parametrize("spread", [0.05, 0.4, 1.0])
def test_the_expected_hinge_is_its_integral(
    network: Network, checkpoint: Checkpoint, mean: float, spread: float
) -> None:
    values, half = network.expand_basis(torch.full((1, 10), mean), torch.full((1, 10), spread))
    values, half = values.unflatten(1, (10, -1)), half.unflatten(1, (10, -1))
    assert (values == values[:, :1]).all()
    assert values[0, 0, 0] == pytest.approx(mean + LINEAR_START)
    normal = stats.norm(mean, spread)
    for j, knot in enumerate(checkpoint.network.knots, start=1):
        integral, _ = integrate.quad(
            lambda x, knot=knot: (x - knot) * normal.pdf(x), knot, max(knot, mean) + 12 * spread
        )
        assert values[0, 0, j].item() == pytest.approx(integral, abs=2e-6)
        assert half[0, 0, j].item() == pytest.approx((mean - knot) / 2)


def test_a_known_score_has_the_plain_hinge(network: Network, checkpoint: Checkpoint) -> None:
    means = torch.linspace(-3, 3, 50).unsqueeze(1).expand(50, 10)
    values, half = network.expand_basis(means, torch.full((50, 10), SMALLEST_SPREAD))
    hinges = (means.unsqueeze(2) - torch.tensor(checkpoint.network.knots)).clamp(min=0)
    torch.testing.assert_close(values.unflatten(1, (10, -1))[:, :, 1:], hinges, atol=2e-6, rtol=0)
    assert (values[:, 0] == means[:, 0] + LINEAR_START).all()
    # Age 60 and the middle of both sexes: the constant block of the weights alone.
    middle = torch.tensor([1.0, 0.0, 0.0]).repeat_interleave(10).expand(50, 30)
    weight = checkpoint.tensors["weight"][:, : network.basis_size]
    reached = (means.unsqueeze(2) >= torch.tensor(checkpoint.network.knots)).float()
    slopes = weight[:, 0] + (reached * weight[:, 1:]).sum(2)
    torch.testing.assert_close(
        network.compute_main_slope(half, middle), slopes, atol=1e-4, rtol=1e-4
    )


def test_log_distance_is_odd_and_logarithmic() -> None:
    z = torch.linspace(-3, 3, 61)
    expected = np.sign(z.numpy()) * np.log1p(np.abs(z.numpy()))
    np.testing.assert_allclose(compute_log_distance(z).numpy(), expected, rtol=1e-6)


def test_contributions_are_the_formula(
    runtime: Runtime, tables: dict[str, Array], people: People, checkpoint: Checkpoint
) -> None:
    """The additive gap of complete rows, written out again in float64 NumPy."""
    outputs = runtime.predict(*people)
    scores = compute_scores(people, tables)
    knots = np.array(checkpoint.network.knots)
    for row, (z, age, sex) in enumerate(zip(scores, people.age.tolist(), people.sex, strict=True)):
        variation = interpolate(tables["coefficient_of_variation"], int(sex), age)
        held_back = np.exp(-checkpoint.network.adaptive_lambda * variation)
        share = 9 * held_back / held_back.sum()
        share = np.append(share, (share[INDEX["ast"]] + share[INDEX["alt"]]) / 2)
        basis = np.column_stack([z, np.maximum(z[:, None] - knots, 0.0)])
        basis -= interpolate(tables["basis_mean"], int(sex), age).reshape(basis.shape)
        basis *= share[:, None]
        design = np.concatenate([basis, basis * (age - 60) / 15, basis * (sex - 0.5)], 1)
        expected = list((design * tables["weight"]).sum(1))
        distance = np.sign(z) * np.log1p(np.abs(z))
        mean = interpolate(tables["interaction_mean"], int(sex), age)
        for i, (a, b) in enumerate(checkpoint.network.interactions):
            product = distance[INDEX[a]] * distance[INDEX[b]] - mean[i]
            both = (share[INDEX[a]] + share[INDEX[b]]) / 2
            expected.append(product * both * tables["interaction_weight"][i])
        # Weights are softmax of yearly tables, interpolated: not quite of interpolated ones.
        np.testing.assert_allclose(outputs["contributions"][row], expected, rtol=0, atol=1e-3)


def test_a_system_is_the_sum_of_its_shares(
    runtime: Runtime, people: People, checkpoint: Checkpoint
) -> None:
    outputs = runtime.predict(*people)
    behind = [(name,) for name in NAMES] + [("ast", "alt"), *checkpoint.network.interactions]
    expected = np.zeros((len(people.age), 4))
    for column, names in enumerate(behind):
        for name in names:
            homes = [s for s, members in enumerate(SYSTEMS.values()) if name in members]
            for home in homes:
                part = outputs["contributions"][:, column] / len(names) / len(homes)
                expected[:, home] += part
    np.testing.assert_allclose(outputs["system_contributions"], expected, atol=2e-5)


def test_ten_year_mortality_is_the_integral_of_the_gompertz_hazard(
    runtime: Runtime, tables: dict[str, Array], people: People
) -> None:
    outputs = runtime.predict(*people)
    for row in range(0, 300, 10):
        c = tables["baseline_intercept"][people.sex[row]]
        b = tables["baseline_slope"][people.sex[row]]
        age = float(outputs["biological_age"][row])
        cumulative, _ = integrate.quad(
            lambda t, c=c, b=b, age=age: np.exp(c + b * (age + t)), 0, 10
        )
        expected = -np.expm1(-cumulative)
        assert outputs["mortality_10y"][row] == pytest.approx(expected, abs=2e-6)


def test_a_year_of_gap_is_a_step_of_log_hazard(tables: dict[str, Array], runtime: Runtime) -> None:
    people = draw_anywhere(2_000, seed=23)
    outputs = runtime.predict(*people)
    moderate = (outputs["mortality_10y"] > 1e-3) & (outputs["mortality_10y"] < 0.9)
    hazard = np.log(-np.log1p(-outputs["mortality_10y"][moderate].astype(float)))
    unknown = runtime.predict(np.full_like(people.biomarkers, np.nan), people.age, people.sex)
    usual = np.log(-np.log1p(-unknown["mortality_10y"][moderate].astype(float)))
    gap = (hazard - usual) / tables["baseline_slope"][people.sex[moderate]]
    usable = unknown["mortality_10y"][moderate] > 1e-3
    assert usable.sum() > 100
    seen = outputs["age_gap"][moderate]
    np.testing.assert_allclose(seen[usable], gap[usable], atol=2e-2)


def test_causes_share_mortality_by_a_softmax(
    network: Network, tables: dict[str, Array], people: People, runtime: Runtime
) -> None:
    features = network.build_features(*map(torch.from_numpy, people))
    centred = features.centred.double().numpy().reshape(len(people.age), -1)
    scaled = (people.age.astype(float) - 60) / 15
    other = np.column_stack([np.ones_like(scaled), scaled, scaled**2, people.sex - 0.5])
    logits = centred @ tables["cause_weight"].T + other @ tables["cause_age_sex"].T
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    outputs = runtime.predict(*people)
    expected = shares[:, :4] * outputs["mortality_10y"][:, None]
    np.testing.assert_allclose(outputs["cause_risk_10y"], expected, atol=1e-5)


def test_slopes_are_the_derivative_of_the_gap(
    network: Network, checkpoint: Checkpoint, people: People
) -> None:
    """The hand-written slope against automatic differentiation by the scores."""
    biomarkers, age, sex = map(torch.from_numpy, people)
    reference = network.look_up_reference(age, sex).split(network.sections, dim=1)
    location, scale, weights, pair_weights, basis_mean, pair_mean, *_ = reference
    scores, known, clipped = network.compute_scores(biomarkers, location, scale)
    means = scores.clone().requires_grad_()
    assert known.all()
    values, _ = network.expand_basis(means, torch.full_like(means, SMALLEST_SPREAD))
    centred = values - network.prior_mean - basis_mean
    weighted = centred * weights.repeat_interleave(network.basis_size, 1)
    one, other = network.multiply_pairs(means)
    pairs = (one * other - pair_mean) * pair_weights
    features = network.build_features(biomarkers, age, sex)
    torch.testing.assert_close(features.weighted, weighted.detach())
    torch.testing.assert_close(features.pairs_twice, pairs.detach())
    parts = network.compute_contributions(features._replace(weighted=weighted, pairs_twice=pairs))
    (exact,) = torch.autograd.grad(parts.contributions.sum(), means)
    ratio = compute_safe_ratio(biomarkers[:, 7], biomarkers[:, 8]).unsqueeze(1)
    _, margin_slope = network.place(torch.cat([clipped, ratio], 1), location, 1.0 / scale)
    steepness = margin_slope / scale
    knots = torch.tensor(checkpoint.network.knots)
    clear = ((scores.unsqueeze(2) - knots).abs() > 1e-3).all(2)
    assert clear.float().mean() > 0.95
    torch.testing.assert_close(
        features.slope[clear], (exact * steepness)[clear], atol=1e-3, rtol=1e-3
    )


def test_margin_slopes_are_straight_between_whole_scores(
    network: Network, checkpoint: Checkpoint, people: People
) -> None:
    biomarkers, age, sex = map(torch.from_numpy, people)
    location, scale, *_ = network.look_up_reference(age, sex).split(network.sections, dim=1)
    scores, _, clipped = network.compute_scores(biomarkers, location, scale)
    ratio = compute_safe_ratio(biomarkers[:, 7], biomarkers[:, 8]).unsqueeze(1)
    _, slopes = network.place(torch.cat([clipped, ratio], 1), location, 1.0 / scale)
    smooth = smooth_margin_slope(
        checkpoint.tensors["margin"].double(), checkpoint.network.score_limit
    )
    for i, row in enumerate(smooth.numpy()):
        expected = np.interp(scores[:, i].numpy(), np.arange(-3, 4), row)
        np.testing.assert_allclose(slopes[:, i].numpy(), expected, rtol=1e-5, atol=1e-5)


def test_the_interval_is_the_normal_quantile_of_the_variances(
    network: Network, people: People, runtime: Runtime
) -> None:
    people = people._replace(biomarkers=people.biomarkers.copy())
    people.biomarkers[::3, INDEX["lymphocyte_pct"]] = np.nan
    features = network.build_features(*map(torch.from_numpy, people))
    variance = network.compute_variance(features, network.compute_contributions(features))
    outputs = runtime.predict(*people)
    half = (outputs["interval"][:, 1] - outputs["interval"][:, 0]) / 2
    np.testing.assert_allclose(half, stats.norm.ppf(0.95) * variance[:, 0].sqrt(), atol=1e-4)


def test_variance_is_capped_by_group_and_at_the_cap_where_a_biomarker_is_missing(
    network: Network, checkpoint: Checkpoint, people: People
) -> None:
    """Written out by group, on top of the variance of each, which has its own tests."""
    biomarkers = people.biomarkers.copy()
    biomarkers[np.random.default_rng(24).random(biomarkers.shape) < 0.1] = np.nan
    features = network.build_features(
        *map(torch.from_numpy, people._replace(biomarkers=biomarkers))
    )
    parts = network.compute_contributions(features)
    by_group = network.compute_group_variance(features, parts).numpy()
    cap = checkpoint.tensors["group_cap"].numpy()
    expected = features.left_open.sum(1).numpy().copy()
    for g, names in enumerate(list_variance_groups(checkpoint.network)):
        missing = np.isnan(biomarkers[:, [INDEX[name] for name in names]]).any(1)
        expected += np.where(missing, cap[g], np.minimum(by_group[:, g], cap[g]))
    seen = network.compute_variance(features, parts)[:, 0].numpy()
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


def test_group_variances_are_those_of_draws_and_refits(
    network: Network, checkpoint: Checkpoint, tables: dict[str, Array], people: People
) -> None:
    features = network.build_features(*map(torch.from_numpy, people))
    seen = network.compute_group_variance(features, network.compute_contributions(features))
    design = features.main.double().numpy()
    pairs = features.pairs.double().numpy()
    years = np.concatenate(
        [
            np.einsum("vnd,bvd->nvb", design, tables["member_weight"] - tables["weight"]),
            pairs[:, :, None]
            * (tables["member_interaction_weight"] - tables["interaction_weight"]).T,
        ],
        axis=1,
    )
    slope = (features.slope * features.unit).double().numpy()
    slope[:, INDEX["ast"]] += slope[:, RATIO]
    slope[:, INDEX["alt"]] -= slope[:, RATIO]
    draws = (slope[:, :9] * tables["within_person_cv"]) ** 2
    for g, names in enumerate(list_variance_groups(checkpoint.network)):
        behind = [members[0] in names for members in list_members(checkpoint.network)]
        expected = (years[:, behind].sum(1) ** 2).mean(1)
        expected += draws[:, [INDEX[name] for name in names]].sum(1)
        np.testing.assert_allclose(seen[:, g].numpy(), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("sex", [0, 1])
@pytest.mark.parametrize("age", [10.0, 20.0, 24.0, 50.0, 77.0, 80.0, 99.0])
def test_missing_variance_is_interpolated_between_its_ages(
    network: Network, tables: dict[str, Array], checkpoint: Checkpoint, age: float, sex: int
) -> None:
    missing = (np.arange(512)[:, None] >> np.arange(9) & 1).astype(bool)
    biomarkers = np.where(missing, np.nan, 20.0).astype(np.float32)
    features = network.build_features(
        torch.from_numpy(biomarkers), torch.full((512,), age), torch.full((512,), sex)
    )
    seen = features.left_open.sum(1)
    nodes = checkpoint.network.variance_ages
    expected = [np.interp(age, nodes, row) for row in tables["missing_variance"][:, sex]]
    np.testing.assert_allclose(seen.numpy(), expected, rtol=1e-5, atol=1e-5)
