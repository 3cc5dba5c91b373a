"""The network's parts against the formulas they stand for, computed another way."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.export.people import People, draw_anywhere
from henaw.model.biomarkers import INDEX, NAMES, PANEL, SYSTEMS
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import RATIO_CAPS, VARIABLES
from henaw.model.graph.constants import DRAW_SPREAD
from henaw.model.graph.tables import SMALLEST_SPREAD, smooth_margin_slope
from henaw.model.graph.transforms import LOG_SCALED, compute_log_distance
from henaw.model.network import LINEAR_START, Network
from henaw.model.runtime import Runtime
from scipy import integrate, stats

Array = npt.NDArray[np.float64]
RATIO = VARIABLES.index("ast_alt_ratio")


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
    for name in ("location", "scale"):
        expected = interpolate(tables[name], sex, age)
        np.testing.assert_allclose(getattr(row, name)[0], expected, rtol=1e-6, atol=1e-6)
    typical = interpolate(tables["typical"][:, :, None], sex, age)
    np.testing.assert_allclose(row.typical[0], typical, rtol=1e-6, atol=1e-6)
    percentiles = interpolate(tables["gap_percentiles"], sex, age)
    np.testing.assert_allclose(row.percentile_start[0], percentiles[:-1], atol=1e-5)
    np.testing.assert_allclose(row.percentile_width[0], np.diff(percentiles), atol=1e-5)


def test_adaptive_weights_follow_the_coefficient_of_variation(
    network: Network, tables: dict[str, Array], checkpoint: Checkpoint
) -> None:
    for age, sex in itertools.product(range(20, 86, 5), (0, 1)):
        row = network.look_up_reference(torch.tensor([float(age)]), torch.tensor([sex]))
        seen = torch.cat([row.weights, row.pair_weights], 1)[0].numpy()
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
    grid = np.linspace(-4.0, 4.0, tables["margin"].shape[1])
    scores = np.empty((len(people.age), 10))
    for row, (values, age, sex) in enumerate(zip(*people, strict=True)):
        x = np.clip(values.astype(float), [b.minimum for b in PANEL], [b.maximum for b in PANEL])
        x = np.where(LOG_SCALED, np.log(x), x)
        capped = np.minimum(values[[INDEX["ast"], INDEX["alt"]]].astype(float), RATIO_CAPS)
        ratio = np.clip(capped[0] / capped[1], 0.1, 10.0)
        location = interpolate(tables["location"], int(sex), float(age))
        scale = interpolate(tables["scale"], int(sex), float(age))
        standardised = (np.append(x, np.log(ratio)) - location) / scale
        scores[row] = [np.interp(z, tables["margin"][i], grid) for i, z in enumerate(standardised)]
    return scores


def test_scores_are_the_margins_read_backwards(
    network: Network, tables: dict[str, Array], people: People
) -> None:
    biomarkers, age, sex = map(torch.from_numpy, people)
    row = network.look_up_reference(age, sex)
    scores, known = network.compute_scores(biomarkers, row.location, row.scale)
    assert known.all()
    expected = compute_scores(people, tables)
    assert np.abs(expected).max() < 4.0
    np.testing.assert_allclose(scores.numpy(), expected, atol=2e-4)


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
    weights, spreads, *_ = network.by_pattern.split(network.widths.pattern_row, dim=1)
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
    # The slope is that over the reach of a repeat draw.
    distance = means.unsqueeze(2) - torch.tensor(checkpoint.network.knots)
    reached = torch.special.ndtr(distance / DRAW_SPREAD)
    slopes = weight[:, 0] + (reached * weight[:, 1:]).sum(2)
    torch.testing.assert_close(
        network.compute_main_slope(half, torch.full((50, 10), DRAW_SPREAD), middle),
        slopes,
        atol=1e-4,
        rtol=1e-4,
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
    grid = np.linspace(-4.0, 4.0, tables["margin"].shape[1])
    median = np.array([np.interp(0.0, margin, grid) for margin in tables["margin"]])

    def expand(z: Array) -> Array:
        return np.column_stack([z, np.maximum(z[:, None] - knots, 0.0)])

    for row, (z, age, sex) in enumerate(zip(scores, people.age.tolist(), people.sex, strict=True)):
        variation = interpolate(tables["coefficient_of_variation"], int(sex), age)
        held_back = np.exp(-checkpoint.network.adaptive_lambda * variation)
        share = 9 * held_back / held_back.sum()
        share = np.append(share, (share[INDEX["ast"]] + share[INDEX["alt"]]) / 2)
        basis = (expand(z) - expand(median)) * share[:, None]
        design = np.concatenate([basis, basis * (age - 60) / 15, basis * (sex - 0.5)], 1)
        typical = interpolate(tables["typical"][:, :, None], int(sex), age)
        expected = [*typical, *(design * tables["weight"]).sum(1)]
        distance = np.sign(z) * np.log1p(np.abs(z))
        for i, (a, b) in enumerate(checkpoint.network.interactions):
            both = (share[INDEX[a]] + share[INDEX[b]]) / 2
            product = distance[INDEX[a]] * distance[INDEX[b]] * both
            expected.append(product * tables["interaction_weight"][i])
        # Weights are softmax of yearly tables, interpolated: not quite of interpolated ones.
        np.testing.assert_allclose(outputs["contributions"][row], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("sex", [0, 1])
def test_contributions_are_0_at_the_medians(
    runtime: Runtime, tables: dict[str, Array], sex: int
) -> None:
    """Of each age, between two years, and beyond the fitted ones; the ratio's is the medians'."""
    ages = np.concatenate([np.arange(18, 93), np.arange(20, 85) + 0.5])
    location = np.array([interpolate(tables["location"], sex, age) for age in ages])
    medians = np.where(LOG_SCALED, np.exp(location[:, :9]), location[:, :9])
    outputs = runtime.predict(
        medians.astype(np.float32), ages.astype(np.float32), np.full(len(ages), sex)
    )
    np.testing.assert_allclose(outputs["contributions"][:, 1:], 0.0, atol=5e-4)
    np.testing.assert_allclose(outputs["system_contributions"], 0.0, atol=1e-3)
    typical = np.array([interpolate(tables["typical"][:, :, None], sex, age)[0] for age in ages])
    np.testing.assert_allclose(outputs["contributions"][:, 0], typical, atol=1e-4)
    np.testing.assert_allclose(outputs["age_gap"], typical, atol=1e-3)
    # Those who have nothing but medians are healthier than the typical person.
    assert typical.max() < -1.0


def test_the_ratio_is_at_its_middle_where_its_two_are(tables: dict[str, Array]) -> None:
    ast, alt = (
        np.minimum(tables["location"][:, :, INDEX[name]], np.log(cap))
        for name, cap in zip(("ast", "alt"), RATIO_CAPS, strict=True)
    )
    expected = np.clip(ast - alt, np.log(0.1), np.log(10.0))
    np.testing.assert_allclose(tables["location"][:, :, RATIO], expected, atol=1e-6)


@pytest.mark.parametrize("sex", [0, 1])
@pytest.mark.parametrize("age", [10.0, 20.0, 24.0, 50.0, 77.0, 80.0, 99.0])
def test_typical_values_depend_on_what_is_known(
    runtime: Runtime, tables: dict[str, Array], checkpoint: Checkpoint, age: float, sex: int
) -> None:
    missing = (np.arange(512)[:, None] >> np.arange(9) & 1).astype(bool)
    biomarkers = np.where(missing, np.nan, 20.0).astype(np.float32)
    outputs = runtime.predict(
        biomarkers, np.full(512, age, np.float32), np.full(512, sex, np.int64)
    )
    nodes = checkpoint.network.variance_ages
    expected = np.array([np.interp(age, nodes, row) for row in tables["typical_missing"][:, sex]])
    expected[:-1] += interpolate(tables["typical"][:, :, None], sex, age)[0]
    assert expected[-1] == 0.0
    np.testing.assert_allclose(outputs["contributions"][:, 0], expected, atol=2e-5)
    assert np.abs(expected).max() > 1.0


def test_a_system_is_the_sum_of_its_shares(
    runtime: Runtime, people: People, checkpoint: Checkpoint
) -> None:
    outputs = runtime.predict(*people)
    behind = [(name,) for name in NAMES] + [("ast", "alt"), *checkpoint.network.interactions]
    expected = np.zeros((len(people.age), 4))
    for column, names in enumerate(behind, start=1):  # typical_values belong to none
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


def test_margin_slopes_are_straight_between_whole_scores(
    network: Network, checkpoint: Checkpoint, people: People
) -> None:
    biomarkers, age, sex = map(torch.from_numpy, people)
    row = network.look_up_reference(age, sex)
    placed = network.place(network.prepare(biomarkers), row.location, 1.0 / row.scale)
    smooth = smooth_margin_slope(
        checkpoint.tensors["margin"].double(), checkpoint.network.score_limit
    )
    for i, slopes in enumerate(smooth.numpy()):
        expected = np.interp(placed.scores[:, i].numpy(), np.arange(-3, 4), slopes)
        np.testing.assert_allclose(placed.slopes[:, i].numpy(), expected, rtol=1e-4, atol=1e-4)


def test_scores_rise_strictly_up_to_the_ends_of_what_is_accepted(
    network: Network, checkpoint: Checkpoint
) -> None:
    """Beyond the tabulated quantiles too, so that a worse value never looks as good."""
    limit = checkpoint.network.score_limit
    for i, biomarker in enumerate(PANEL):
        values = np.geomspace(biomarker.minimum, biomarker.maximum, 400)
        biomarkers = np.full((400, 9), 20.0, np.float32)
        biomarkers[:, i] = values
        for age, sex in itertools.product((20.0, 46.5, 85.0), (0, 1)):
            row = network.look_up_reference(torch.full((400,), age), torch.full((400,), sex))
            placed = network.place(
                network.prepare(torch.from_numpy(biomarkers)), row.location, 1.0 / row.scale
            )
            scores, unclipped = placed.scores[:, i].double(), placed.unclipped[:, i].double()
            assert (scores.diff() > 0).all(), (biomarker.name, age, sex)
            assert (unclipped.diff() > 0).all(), (biomarker.name, age, sex)
            # The score of the effects rises by 1 in all; the unclipped score is not limited.
            assert scores.abs().max() <= limit + 1.0 + 1e-5
            inside = scores.abs() <= limit
            assert inside.any()
            torch.testing.assert_close(scores[inside], unclipped[inside], atol=1e-4, rtol=0)


def test_the_furthest_accepted_value_at_any_age_has_the_furthest_score(
    network: Network, checkpoint: Checkpoint
) -> None:
    ages = torch.arange(20, 86).float().repeat(2)
    sex = torch.tensor([0, 1]).repeat_interleave(66)
    row = network.look_up_reference(ages, sex)
    furthest = []
    for end in ("minimum", "maximum"):
        ends = torch.tensor([[getattr(b, end) for b in PANEL]]).expand(132, 9)
        placed = network.place(network.prepare(ends), row.location, 1.0 / row.scale)
        furthest.append(placed.scores[:, :9])
    beyond = checkpoint.network.score_limit + 1.0
    assert (furthest[0] >= -beyond - 1e-4).all()
    assert (furthest[1] <= beyond + 1e-4).all()
    margin = checkpoint.tensors["margin"]
    for i, biomarker in enumerate(PANEL):
        ends = torch.tensor([biomarker.minimum, biomarker.maximum])
        ends = torch.log(ends) if biomarker.log_scaled else ends
        low = ((ends[0] - row.location[:, i]) / row.scale[:, i]).min()
        high = ((ends[1] - row.location[:, i]) / row.scale[:, i]).max()
        # Where the range ends close to the last quantile the score need not get there.
        if low < margin[i, 0] - 1:
            assert furthest[0][:, i].min() == pytest.approx(-beyond, abs=1e-3)
        if high > margin[i, -1] + 1:
            assert furthest[1][:, i].max() == pytest.approx(beyond, abs=1e-3)


@pytest.mark.parametrize("name", ["ggt", "ast", "alt"])
@pytest.mark.parametrize("sex", [0, 1])
def test_beyond_its_limit_a_liver_value_imputes_what_the_limit_does(
    runtime: Runtime, network: Network, name: str, sex: int
) -> None:
    """A sick liver says nothing of the other values; within the limit it does."""
    limit = PANEL[INDEX[name]].reference.high[sex]
    assert limit is not None
    values = limit * np.array([0.4, 0.9999, 1.0001, 2.0, 20.0, 100.0])
    rows = np.full((6, 9), np.nan, np.float32)
    rows[:, INDEX[name]] = values
    outputs = runtime.predict(rows, np.full(6, 50, np.float32), np.full(6, sex, np.int64))
    others = [1 + i for i in range(10) if i != INDEX[name]]
    imputed = outputs["contributions"][:, others]
    assert np.abs(imputed[2:] - imputed[2]).max() < 1e-5
    np.testing.assert_allclose(imputed[1], imputed[2], atol=1e-3)
    assert np.abs(imputed[0] - imputed[2]).max() > 0.05
    own = outputs["contributions"][:, 1 + INDEX[name]]
    assert (np.diff(own[2:]) > 0).all()


def test_another_biomarker_imputes_as_far_as_its_values_go(runtime: Runtime) -> None:
    rows = np.full((3, 9), np.nan, np.float32)
    rows[:, INDEX["crp"]] = [5.0, 50.0, 400.0]
    outputs = runtime.predict(rows, np.full(3, 50, np.float32), np.zeros(3, np.int64))
    assert (np.abs(np.diff(outputs["contributions"][:, 1 + INDEX["albumin"]])) > 0.01).all()
