"""What the interval and ``draw_sd`` are made of, computed another way."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.export.people import People, draw_synthetic_people
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.graph.constants import DRAW_SPREAD
from henaw.model.graph.tables import list_members, list_variance_groups
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.network import FITTED_SCORE, Features, Network
from henaw.model.runtime import Runtime, TorchRuntime
from scipy import stats

Array = npt.NDArray[np.float64]
AST, ALT = INDEX["ast"], INDEX["alt"]


def blank(people: People, share: float, seed: int) -> People:
    hidden = np.random.default_rng(seed).random(people.biomarkers.shape) < share
    biomarkers = np.where(hidden, np.float32(np.nan), people.biomarkers)
    return people._replace(biomarkers=biomarkers)


def build_features(network: Network, people: People) -> Features:
    return network.build_features(*map(torch.from_numpy, people))


def compute_half_width(network: Network, people: People) -> Array:
    answers = TorchRuntime(network, name="eager").predict(*people)
    half: Array = np.diff(answers["interval"].astype(np.float64), axis=1)[:, 0] / 2
    return half


def round_hinge(distance: torch.Tensor) -> torch.Tensor:
    """The hinge's expectation over a repeat draw, DRAW_SPREAD wide."""
    normal = torch.distributions.Normal(0.0, DRAW_SPREAD)
    return distance * normal.cdf(distance) + DRAW_SPREAD**2 * torch.exp(normal.log_prob(distance))


def differentiate(network: Network, people: People) -> Array:
    """Years per transformed value of complete people, by automatic differentiation: (n, V).

    By the scores, times the margins' smoothed slopes; interactions included. The knots are
    rounded off, since a repeat draw feels the slopes to both sides of one.
    """
    features = build_features(network, people)
    row = features.by_age
    biomarkers = torch.from_numpy(people.biomarkers)
    placed = network.place(network.prepare(biomarkers), row.location, 1.0 / row.scale)
    scores = placed.scores.clone().requires_grad_()
    knots = -2.0 * network.half_knots[1 : network.basis_size]
    hinges = round_hinge(scores.unsqueeze(2) - knots)
    values = torch.cat([scores.unsqueeze(2), hinges], 2).flatten(1)
    weighted = values * row.weights.repeat_interleave(network.basis_size, 1)
    one, other = network.multiply_pairs(scores)
    parts = network.compute_contributions(
        features._replace(weighted=weighted, pairs_twice=one * other * row.pair_weights)
    )
    (slope,) = torch.autograd.grad(parts.contributions.sum(), scores)
    per_value: Array = (slope * placed.slopes / row.scale).double().numpy()
    return per_value


def join_ratio(slope: Array, people: People, network: Network) -> Array:
    """AST and ALT move their ratio where they are below its caps."""
    caps = network.ratio_caps.numpy()
    joined = slope[:, :9].copy()
    joined[:, AST] += np.where(people.biomarkers[:, AST] < caps[0], slope[:, 9], 0.0)
    joined[:, ALT] -= np.where(people.biomarkers[:, ALT] < caps[1], slope[:, 9], 0.0)
    return joined


def test_draw_sd_is_what_the_cited_variation_does_to_the_gap(
    network: Network, tables: dict[str, Array], people: People, runtime: Runtime
) -> None:
    slope = differentiate(network, people)
    unit = np.where(LOG_SCALED, 1.0, people.biomarkers)
    draws = join_ratio(slope, people, network) * unit * tables["within_person_cv"]
    expected = np.sqrt((draws**2).sum(1)) * tables["draw_factor"][0]
    seen = runtime.predict(*people)["draw_sd"]
    np.testing.assert_allclose(seen, expected, rtol=2e-3, atol=2e-3)
    assert expected.min() > 0.1


@pytest.mark.parametrize("missing", [0.0, 0.35])
def test_draw_sd_is_the_spread_of_repeat_draws(
    network: Network, tables: dict[str, Array], checkpoint: Checkpoint, missing: float
) -> None:
    """Of the answers to noisy values; where some are missing, also through the imputed ones."""
    people = blank(draw_synthetic_people(checkpoint, 400, seed=22), missing, seed=23)
    repeats, generator = 200, np.random.default_rng(24)
    noise = generator.standard_normal((repeats, 400, 9)) * tables["within_person_cv"]
    drawn = people.biomarkers * np.where(LOG_SCALED, np.exp(noise), 1 + noise)
    eager = TorchRuntime(network, name="eager")
    gaps = eager.predict(
        drawn.reshape(-1, 9).astype(np.float32),
        np.tile(people.age, repeats),
        np.tile(people.sex, repeats),
    )["age_gap"].reshape(repeats, 400)
    spread = gaps.std(0)
    seen = eager.predict(*people)["draw_sd"]
    assert np.median(seen / spread) == pytest.approx(1.0, abs=0.1)
    assert np.corrcoef(seen, spread)[0, 1] > 0.9
    assert ((seen / spread > 0.5) & (seen / spread < 2.0)).mean() > 0.95
    if missing:
        features = build_features(network, people)
        draws = network.compute_draws(features.direct, features)
        direct = draws.square().sum(1).sqrt().numpy() * tables["draw_factor"][0]
        wrong, right = (np.abs(np.log(s / spread)).mean() for s in (direct, seen))
        assert right < 0.9 * wrong


def test_the_interval_is_the_normal_quantile_of_the_variances(
    network: Network, tables: dict[str, Array], people: People, runtime: Runtime
) -> None:
    people = blank(people, 0.1, seed=25)
    features = build_features(network, people)
    variance = network.compute_variance(features, network.compute_contributions(features))
    outputs = runtime.predict(*people)
    half = (outputs["interval"][:, 1] - outputs["interval"][:, 0]) / 2
    factor = stats.norm.ppf(0.95) * tables["interval_factor"][0]
    np.testing.assert_allclose(half, factor * variance[:, 0].sqrt(), atol=1e-4)


def test_draw_sd_is_widened_by_its_own_fitted_factor(
    checkpoint: Checkpoint, people: People
) -> None:
    one, more = (
        TorchRuntime(
            Network(
                checkpoint.network,
                {**checkpoint.tensors, "draw_factor": torch.tensor([factor])},
            ),
            name="eager",
        ).predict(*people)
        for factor in (1.0, 1.3)
    )
    np.testing.assert_allclose(more["draw_sd"], 1.3 * one["draw_sd"], rtol=1e-5)
    np.testing.assert_array_equal(more["interval"], one["interval"])


def test_the_interval_is_widened_by_the_fitted_factor(
    checkpoint: Checkpoint, people: People
) -> None:
    widths = [
        compute_half_width(
            Network(
                checkpoint.network,
                {**checkpoint.tensors, "interval_factor": torch.tensor([factor])},
            ),
            people,
        )
        for factor in (1.0, 1.3)
    ]
    np.testing.assert_allclose(widths[1], 1.3 * widths[0], atol=1e-4)


def test_group_variances_are_those_of_draws_laboratories_and_refits(
    network: Network, checkpoint: Checkpoint, tables: dict[str, Array], people: People
) -> None:
    features = build_features(network, people)
    seen = network.compute_group_variance(features, network.compute_contributions(features))
    design, pairs = features.main.double().numpy(), features.pairs.double().numpy()
    years = np.concatenate(
        [
            np.einsum("vnd,bvd->nvb", design, tables["member_weight"] - tables["weight"]),
            pairs[:, :, None]
            * (tables["member_interaction_weight"] - tables["interaction_weight"]).T,
        ],
        axis=1,
    )
    groups = list_variance_groups(checkpoint.network)
    members = checkpoint.network.members
    offset = tables["member_offset"].reshape(2, -1, len(groups), members)
    joined = join_ratio(differentiate(network, people), people, network)
    unit = np.where(LOG_SCALED, 1.0, people.biomarkers)
    draws = (joined * unit * tables["within_person_cv"]) ** 2
    laboratory = (joined * tables["laboratory_sd"]) ** 2
    ages = np.arange(20, 86)
    for g, names in enumerate(groups):
        behind = [of[0] in names for of in list_members(checkpoint.network)]
        mean = np.array(
            [
                [np.interp(age, ages, column) for column in offset[sex, :, g].T]
                for age, sex in zip(people.age, people.sex, strict=True)
            ]
        )
        expected = ((years[:, behind].sum(1) - mean) ** 2).mean(1)
        columns = [INDEX[name] for name in names]
        expected += draws[:, columns].sum(1) + laboratory[:, columns].sum(1)
        np.testing.assert_allclose(
            seen[:, g].numpy(), expected, rtol=4e-3, atol=1e-4, err_msg=str(names)
        )


def test_variance_is_capped_by_group_and_at_the_cap_where_a_biomarker_is_missing(
    network: Network, checkpoint: Checkpoint, tables: dict[str, Array], people: People
) -> None:
    """Written out by group, on top of the variance of each, which has its own tests."""
    people = blank(people, 0.1, seed=26)
    biomarkers = people.biomarkers.copy()
    biomarkers[::20, INDEX["crp"]] = 450.0
    biomarkers[5::20, INDEX["albumin"]] = 12.0
    features = build_features(network, people._replace(biomarkers=biomarkers))
    parts = network.compute_contributions(features)
    by_group = network.compute_group_variance(features, parts).numpy()
    cap = tables["group_cap"]
    nodes = checkpoint.network.variance_ages
    pattern = np.isnan(biomarkers) @ (1 << np.arange(9))
    expected = np.array(
        [
            np.interp(age, nodes, tables["missing_variance"][p, sex])
            for age, p, sex in zip(people.age, pattern, people.sex, strict=True)
        ]
    )
    for g, names in enumerate(list_variance_groups(checkpoint.network)):
        missing = np.isnan(biomarkers[:, [INDEX[name] for name in names]]).any(1)
        expected += np.where(missing, cap[g], np.minimum(by_group[:, g], cap[g]))
    inside = expected.copy()
    scores = features.unclipped[:, :9].double().numpy()
    beyond = np.maximum(np.abs(scores) - FITTED_SCORE, 0.0)
    expected += (beyond**2).sum(1) * tables["extrapolation_sd"][0] ** 2
    seen = network.compute_variance(features, parts)[:, 0].numpy()
    np.testing.assert_allclose(seen, expected, rtol=1e-4)
    assert (seen > inside + 1.0).sum() > 15


def test_the_fitted_range_ends_at_the_score_of_its_quantile() -> None:
    assert pytest.approx(stats.norm.ppf(0.999)) == FITTED_SCORE


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("crp", (5.0, 150.0, 250.0, 500.0)),
        ("albumin", (40.0, 25.0, 18.0, 12.0)),
        ("creatinine", (80.0, 700.0, 1200.0, 2000.0)),
        ("lymphocyte_pct", (30.0, 80.0, 90.0, 99.0)),
    ],
)
def test_the_interval_grows_beyond_the_fitted_range(
    runtime: Runtime, name: str, values: tuple[float, ...]
) -> None:
    typical = (1.2, 36.0, 80.0, 43.0, 30.0, 13.0, 22.0, 24.0, 20.0)
    rows = np.tile(np.array(typical, np.float32), (4, 1))
    rows[:, INDEX[name]] = values
    outputs = runtime.predict(rows, np.full(4, 50, np.float32), np.ones(4, np.int64))
    width = np.diff(outputs["interval"], axis=1)[:, 0]
    assert outputs["out_of_range"][1:, INDEX[name]].all()
    assert (np.diff(width[1:]) > 0.5).all()


def test_the_spread_between_laboratories_widens_the_interval(
    checkpoint: Checkpoint, people: People
) -> None:
    without = Network(
        checkpoint.network,
        {**checkpoint.tensors, "laboratory_sd": torch.zeros(len(NAMES))},
    )
    halved = Network(
        checkpoint.network,
        {**checkpoint.tensors, "laboratory_sd": checkpoint.tensors["laboratory_sd"] / 2},
    )
    narrow, middle, wide = (
        compute_half_width(network, people)
        for network in (without, halved, checkpoint.build_network())
    )
    assert (narrow <= middle + 1e-5).all()
    assert (middle <= wide + 1e-5).all()
    assert np.median(wide - narrow) > 0.05
    # It is no part of a repeat draw by the same laboratory.
    draws = [
        TorchRuntime(network, name="eager").predict(*people)["draw_sd"]
        for network in (without, checkpoint.build_network())
    ]
    np.testing.assert_array_equal(*draws)


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
    seen = (features.by_age.node_shares * features.by_pattern.variance_at_nodes).sum(1)
    nodes = checkpoint.network.variance_ages
    expected = [np.interp(age, nodes, row) for row in tables["missing_variance"][:, sex]]
    np.testing.assert_allclose(seen.numpy(), expected, rtol=1e-5, atol=1e-5)
