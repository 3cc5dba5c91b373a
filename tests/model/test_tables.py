import itertools

import numpy as np
import pytest
import torch
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import NetworkConfiguration
from henaw.model.tables import (
    build_copula_tables,
    build_system_shares,
    list_correlation_problems,
    list_hierarchy_problems,
    list_members,
    list_tensor_shapes,
    list_variance_groups,
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
        "tensor interaction_weight: creatinine_x_albumin must be at most 0.4, however: 0.5"
    )
    tensors["interaction_weight"][1] = 0.4
    assert list_hierarchy_problems(tensors, shape) == []
    tensors["weight"][INDEX["albumin"], 3] = 0.0
    tensors["weight"][INDEX["albumin"], 10] = 9.0  # a modulation is no weight of its own
    assert len(list_hierarchy_problems(tensors, shape)) == 1


def test_members_that_break_the_hierarchy_are_found_though_the_mean_keeps_it() -> None:
    shape = NetworkConfiguration(members=2)
    shapes = list_tensor_shapes(shape)
    tensors = {"member_weight": torch.ones(shapes["member_weight"])}
    tensors["member_weight"][1] = 0.01
    tensors["member_interaction_weight"] = torch.full((2, 2), 0.5)
    assert len(list_hierarchy_problems(tensors, shape)) == 2


def test_each_contribution_is_shared_among_systems_whole() -> None:
    shares = build_system_shares(NetworkConfiguration())
    torch.testing.assert_close(shares.sum(1), torch.ones(12))
    rows = dict(zip(NetworkConfiguration().contribution_names, shares.tolist(), strict=True))
    assert rows["lymphocyte_pct"] == [0.5, 0.0, 0.0, 0.5]
    assert rows["ast_alt_ratio"] == [0.0, 1.0, 0.0, 0.0]
    assert rows["crp_x_hba1c"] == [0.5, 0.5, 0.0, 0.0]
    assert rows["creatinine_x_albumin"] == [0.0, 0.0, 1.0, 0.0]


def test_contributions_are_named_once_each() -> None:
    shape = NetworkConfiguration()
    assert len(set(shape.contribution_names)) == len(list_members(shape)) == 12


@pytest.mark.parametrize(
    "interactions",
    [
        (),
        (("crp", "hba1c"), ("creatinine", "albumin")),
        (("crp", "hba1c"), ("hba1c", "ggt"), ("ast", "crp")),
    ],
)
def test_variance_groups_part_the_panel(interactions: tuple[tuple[str, str], ...]) -> None:
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
    assert "a missing rdw must never narrow the interval" in problem
