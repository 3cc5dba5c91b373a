import itertools

import numpy as np
import pytest
import torch
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import NetworkConfiguration
from henaw.model.graph.tables import (
    PERCENTILES,
    build_copula_tables,
    build_system_shares,
    list_correlation_problems,
    list_hierarchy_problems,
    list_members,
    list_published_limits,
    list_tensor_shapes,
    list_variance_groups,
    place_limit,
    place_values,
    smooth_margin_slope,
)


def test_the_shipped_interactions_keep_to_the_hierarchy(checkpoint: Checkpoint) -> None:
    weight = checkpoint.tensors["member_weight"].numpy()
    weight = np.concatenate([checkpoint.tensors["weight"].numpy()[None], weight])
    pairs = checkpoint.tensors["member_interaction_weight"].numpy()
    pairs = np.concatenate([checkpoint.tensors["interaction_weight"].numpy()[None], pairs])
    own = np.sqrt((weight[:, :, : checkpoint.network.basis_size] ** 2).sum(2))
    for i, (a, b) in enumerate(checkpoint.network.interactions):
        limit = checkpoint.network.hierarchy * (own[:, INDEX[a]] + own[:, INDEX[b]]) / 2
        assert (np.abs(pairs[:, i]) <= limit * 1.0001 + 1e-6).all()


def test_an_interaction_without_its_biomarkers_breaks_the_hierarchy() -> None:
    shape = NetworkConfiguration()
    tensors = {
        "weight": torch.zeros(list_tensor_shapes(shape)["weight"]),
        "interaction_weight": torch.tensor([0.0, -0.5]),
    }
    tensors["weight"][INDEX["albumin"], 3] = 0.8  # |alpha| 0.8, so the pair may reach 0.4
    (problem,) = list_hierarchy_problems(tensors, shape)
    assert problem == (
        "tensor interaction_weight: creatinine_x_albumin must be at most 0.4; got 0.5"
    )
    tensors["interaction_weight"][1] = 0.4
    assert list_hierarchy_problems(tensors, shape) == []
    tensors["weight"][INDEX["albumin"], 3] = 0.0
    tensors["weight"][INDEX["albumin"], 10] = 9.0  # a modulation is no weight of its own
    assert len(list_hierarchy_problems(tensors, shape)) == 1


def test_a_refit_that_breaks_the_hierarchy_is_found() -> None:
    shape = NetworkConfiguration(members=2)
    shapes = list_tensor_shapes(shape)
    tensors = {"member_weight": torch.ones(shapes["member_weight"])}
    tensors["member_weight"][1] = 0.01
    tensors["member_interaction_weight"] = torch.full((2, 2), 0.5)
    assert len(list_hierarchy_problems(tensors, shape)) == 2


def test_the_shares_of_each_contribution_sum_to_1() -> None:
    shares = build_system_shares(NetworkConfiguration())
    torch.testing.assert_close(shares.sum(1), torch.ones(12))
    # typical_values, the first, belong to no system.
    names = NetworkConfiguration().contribution_names[1:]
    rows = dict(zip(names, shares.tolist(), strict=True))
    assert rows["lymphocyte_pct"] == [0.5, 0.0, 0.0, 0.5]
    assert rows["ast_alt_ratio"] == [0.0, 1.0, 0.0, 0.0]
    assert rows["crp_x_hba1c"] == [0.5, 0.5, 0.0, 0.0]
    assert rows["creatinine_x_albumin"] == [0.0, 0.0, 1.0, 0.0]


def test_contributions_are_named_once_each() -> None:
    shape = NetworkConfiguration()
    assert len(set(shape.contribution_names)) == len(list_members(shape)) + 1 == 13


@pytest.mark.parametrize(
    "interactions",
    [
        (),
        (("crp", "hba1c"), ("creatinine", "albumin")),
        (("crp", "hba1c"), ("hba1c", "ggt"), ("ast", "crp")),
    ],
)
def test_each_biomarker_is_in_one_variance_group(interactions: tuple[tuple[str, str], ...]) -> None:
    shape = NetworkConfiguration(interactions=interactions)
    groups = list_variance_groups(shape)
    assert sorted(itertools.chain(*groups)) == sorted(NAMES)
    for names in list_members(shape):
        assert sum(set(names) <= set(group) for group in groups) == 1
        assert sum(bool(set(names) & set(group)) for group in groups) == 1


def test_uncorrelated_biomarkers_predict_nothing() -> None:
    weights, spreads = build_copula_tables(torch.eye(10))
    for pattern in (0, 1, 0b110000000, 511):
        known = torch.tensor([not pattern >> i & 1 for i in range(9)])
        torch.testing.assert_close(weights[pattern, :9], torch.diag(known.float()))
        assert spreads[pattern, :9].tolist() == (~known).float().tolist()


def test_the_ratio_is_known_only_where_both_enzymes_are() -> None:
    _, spreads = build_copula_tables(torch.eye(10))
    ast, alt = 1 << INDEX["ast"], 1 << INDEX["alt"]
    for pattern in range(512):
        assert bool(spreads[pattern, 9] > 0) == bool(pattern & (ast | alt))


def test_a_straight_margin_has_its_slope_everywhere() -> None:
    margin = torch.linspace(-6.0, 6.0, 25, dtype=torch.float64).repeat(10, 1)
    slopes = smooth_margin_slope(margin, 3.0)
    torch.testing.assert_close(slopes, torch.full((10, 7), 0.5, dtype=torch.float64))


def test_a_missing_value_that_narrows_is_named() -> None:
    table = torch.ones(512, 2, 7)
    assert list_correlation_problems({"missing_variance": table}) == []
    table[1 << INDEX["rdw"], 1, 3] = 0.5
    (problem,) = list_correlation_problems({"missing_variance": table})
    assert "a missing rdw must not narrow the interval" in problem


def test_percentiles_are_symmetric_and_rise() -> None:
    assert all(a < b for a, b in itertools.pairwise(PERCENTILES))
    assert [round(100 - p, 6) for p in reversed(PERCENTILES)] == list(PERCENTILES)
    assert 50.0 in PERCENTILES


def test_unpublished_limits_are_left_to_the_fit() -> None:
    low, high = list_published_limits()
    largest = torch.finfo(torch.float32).max
    for i, biomarker in enumerate(PANEL):
        for seen, limit, none in (
            (float(low[i]), biomarker.critical_low, -largest),
            (float(high[i]), biomarker.critical_high, largest),
        ):
            if limit is None:
                assert seen == none
            elif limit.value is None:
                assert np.isnan(seen)
            else:
                assert seen == limit.value


def test_a_limit_is_placed_by_age_and_sex(checkpoint: Checkpoint) -> None:
    """By NumPy's interpolation of the margin."""
    tables = {name: tensor.double().numpy() for name, tensor in checkpoint.tensors.items()}
    grid = np.linspace(-4, 4, tables["margin"].shape[1])
    for name, side, multiple in (("alt", "high", 1.0), ("albumin", "low", 1.0), ("ggt", "high", 2)):
        scores = place_limit(checkpoint.network, checkpoint.tensors, name, side, multiple)
        assert scores is not None
        i = INDEX[name]
        for sex in (0, 1):
            value = multiple * getattr(PANEL[i].reference, side)[sex]
            value = np.log(value) if PANEL[i].log_scaled else value
            z = (value - tables["location"][sex, :, i]) / tables["scale"][sex, :, i]
            np.testing.assert_allclose(
                scores[sex].numpy(), np.interp(z, tables["margin"][i], grid), atol=1e-6
            )
    assert place_limit(checkpoint.network, checkpoint.tensors, "crp", "low") is None


def test_a_value_beyond_the_margin_is_placed_at_its_end(checkpoint: Checkpoint) -> None:
    for value, score in ((99.0, 4.0), (-99.0, -4.0)):
        values = torch.full((2, checkpoint.network.ages), value).double()
        placed = place_values(checkpoint.network, checkpoint.tensors, INDEX["crp"], values)
        assert placed.unique().tolist() == [score]


@pytest.mark.parametrize("name", ["margin", "gap_percentiles"])
def test_a_table_that_does_not_rise_is_named(checkpoint: Checkpoint, name: str) -> None:
    table = checkpoint.tensors[name].clone()
    assert list_correlation_problems({name: table}) == []
    table[0, ..., 3] = table[0, ..., 2]
    (problem,) = list_correlation_problems({name: table})
    assert problem == f"tensor {name}: each row must increase"


@pytest.mark.parametrize(
    "name", ["missing_variance", "group_cap", "laboratory_sd", "extrapolation_sd"]
)
def test_a_spread_below_0_is_named(checkpoint: Checkpoint, name: str) -> None:
    table = checkpoint.tensors[name].clone()
    table[-1] = -1.0
    assert f"tensor {name}: must be 0 or more everywhere" in list_correlation_problems(
        {name: table}
    )
