import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from henaw.export.people import People, draw_synthetic_people
from henaw.handler.drift import (
    DriftReference,
    compute_stability_index,
    count_bins,
    load_drift_reference,
)
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import ArtifactError

QUINTILES = [-0.8416212, -0.2533471, 0.2533471, 0.8416212]
"""Of the standard normal distribution."""


@pytest.fixture(scope="module")
def reference(artifacts: Path) -> DriftReference:
    return load_drift_reference(artifacts / "henaw.json")


@pytest.fixture(scope="module")
def people(checkpoint: Checkpoint) -> People:
    """Drawn from the model's own reference population."""
    return draw_synthetic_people(checkpoint, 20_000, 5)


def test_bins_are_those_of_the_networks_own_scores(
    reference: DriftReference, people: People, checkpoint: Checkpoint
) -> None:
    network = checkpoint.build_network()
    raw, age, sex = map(torch.from_numpy, people)
    location, scale, *_ = network.look_up_reference(age, sex).split(network.sections, dim=1)
    scores = network.compute_scores(raw, location, scale)[0].numpy()
    counts = count_bins(reference, *people)
    for name, i in INDEX.items():
        expected = np.bincount(np.searchsorted(QUINTILES, scores[:, i]), minlength=5)
        # Values on an edge may fall to either side.
        assert np.abs(counts[i] - expected).max() <= 0.002 * len(people.age), name


def index_of(reference: DriftReference, people: People) -> dict[str, float]:
    counts = count_bins(reference, *people)
    return {
        name: compute_stability_index(counts[i].tolist(), reference.expected)
        for name, i in INDEX.items()
    }


def test_the_fitted_people_do_not_drift_whatever_their_age_and_sex(
    reference: DriftReference, people: People
) -> None:
    assert max(index_of(reference, people).values()) < 0.02
    old_women = People(*(values[(people.age > 70) & (people.sex == 0)] for values in people))
    assert max(index_of(reference, old_women).values()) < 0.1


def test_a_wrong_unit_drifts_and_only_that_biomarker(
    reference: DriftReference, people: People
) -> None:
    biomarkers = people.biomarkers.copy()
    biomarkers[:, INDEX["crp"]] /= 10
    biomarkers[:, INDEX["albumin"]] -= 2
    seen = index_of(reference, people._replace(biomarkers=biomarkers))
    drifted = {name for name, value in seen.items() if value > 0.2}
    assert drifted == {"crp", "albumin"}


def test_missing_values_are_left_out_and_ages_beyond_the_tables_are_at_their_ends(
    reference: DriftReference, people: People
) -> None:
    biomarkers = np.full((3, len(NAMES)), np.nan, np.float32)
    biomarkers[1:, INDEX["rdw"]] = people.biomarkers[0, INDEX["rdw"]]
    counts = count_bins(
        reference, biomarkers, np.float32([18, 86, 120]), np.array([0, 1, 1], np.int64)
    )
    assert counts.sum(axis=1).tolist() == [2 * (name == "rdw") for name in NAMES]
    assert counts[INDEX["rdw"]].max() == 2


def test_an_empty_bin_is_a_finite_surprise() -> None:
    assert 2 < compute_stability_index([1000, 0, 0, 0, 0], [0.2] * 5) < 20


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "absent": (lambda d: d.pop("drift"), "expected drift tables"),
    "short": (lambda d: d["drift"]["scale"]["male"].pop(), "expected drift tables"),
    "other bins": (lambda d: d["drift"]["expected"].pop(), r"drift\.edges must have the shape"),
    "no spread": (lambda d: d["drift"]["scale"]["male"][0].__setitem__(0, 0.0), "above 0"),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILT.values(), ids=SPOILT.keys())
def test_tables_that_do_not_fit_are_refused(
    artifacts: Path, tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], said: str
) -> None:
    document = json.loads((artifacts / "henaw.json").read_text())
    spoil(document)
    (tmp_path / "henaw.json").write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=said):
        load_drift_reference(tmp_path / "henaw.json")
