import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from henaw.export.people import People, draw_synthetic_people
from henaw.handler.observe.drift import (
    INPUTS,
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
def reference(weights: Path) -> DriftReference:
    return load_drift_reference(weights / "henaw.json")


@pytest.fixture(scope="module")
def people(checkpoint: Checkpoint) -> People:
    """Drawn from the model's own reference population."""
    return draw_synthetic_people(checkpoint, 20_000, 5)


def test_bins_are_those_of_the_networks_own_scores(
    reference: DriftReference, people: People, checkpoint: Checkpoint
) -> None:
    network = checkpoint.build_network()
    raw, age, sex = map(torch.from_numpy, people)
    row = network.look_up_reference(age, sex)
    scores = network.compute_scores(raw, row.location, row.scale)[0].numpy()
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


def test_ages_and_sexes_are_counted_as_they_are(reference: DriftReference) -> None:
    age = np.float32([18, 30, 30.9, 31, 53, 65.5, 66, 120])
    sex = np.array([0, 1, 1, 1, 0, 1, 1, 1], np.int64)
    counts = count_bins(reference, np.full((8, 9), np.nan, np.float32), age, sex)
    assert counts[INPUTS.index("age")].tolist() == [3, 1, 1, 1, 2]
    assert counts[INPUTS.index("sex")].tolist() == [2, 6, 0, 0, 0]


def test_another_clientele_drifts_in_age_and_sex(reference: DriftReference) -> None:
    """The fitted people do not drift; old people, and only men, do."""
    generator = np.random.default_rng(7)
    n = 20_000
    fifth = generator.choice(5, n, p=reference.people["age"])
    age = np.array([25, 35, 50, 60, 75], np.float32)[fifth]
    sex = generator.choice(2, n, p=reference.people["sex"])
    nothing = np.full((n, 9), np.nan, np.float32)

    def measure(age: Any, sex: Any) -> tuple[float, float]:
        counts = count_bins(reference, nothing[: len(age)], age, sex)
        by_age = compute_stability_index(counts[-2].tolist(), reference.people["age"])
        return by_age, compute_stability_index(counts[-1][:2].tolist(), reference.people["sex"])

    assert max(measure(age, sex)) < 0.01
    assert min(measure(age[age > 55], np.ones_like(sex[age > 55]))) > 0.2


def test_a_model_without_the_fitted_peoples_ages_is_served(
    weights: Path, tmp_path: Path, people: People
) -> None:
    document = json.loads((weights / "henaw.json").read_text())
    document["drift"]["people"] = None
    (tmp_path / "henaw.json").write_text(json.dumps(document))
    reference = load_drift_reference(tmp_path / "henaw.json")
    assert reference.find_expected().keys() == set(NAMES)
    assert count_bins(reference, *people).shape == (11, 5)


def test_missing_values_are_left_out_and_ages_beyond_the_tables_are_at_their_ends(
    reference: DriftReference, people: People
) -> None:
    biomarkers = np.full((3, len(NAMES)), np.nan, np.float32)
    biomarkers[1:, INDEX["rdw"]] = people.biomarkers[0, INDEX["rdw"]]
    counts = count_bins(
        reference, biomarkers, np.float32([18, 86, 120]), np.array([0, 1, 1], np.int64)
    )
    assert counts.sum(axis=1).tolist() == [2 * (name == "rdw") for name in NAMES] + [3, 3]
    assert counts[INDEX["rdw"]].max() == 2


def test_the_index_is_finite_for_an_empty_bin() -> None:
    assert 2 < compute_stability_index([1000, 0, 0, 0, 0], [0.2] * 5) < 20


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "absent": (lambda d: d.pop("drift"), "it has no drift tables"),
    "short": (lambda d: d["drift"]["scale"]["male"].pop(), "it has no drift tables"),
    "other bins": (lambda d: d["drift"]["expected"].pop(), r"drift\.edges must have the shape"),
    "no share": (lambda d: d["drift"]["people"]["sex"]["expected"].__setitem__(0, 0.0), "above 0"),
    "one sex": (lambda d: d["drift"]["people"]["sex"]["expected"].pop(), r"people\.sex\.expected"),
    "other ages": (lambda d: d["drift"]["people"]["age"]["edges"].pop(), r"people\.age\.edges"),
    "no sex": (lambda d: d["drift"]["people"].pop("sex"), "drift tables"),
    "no spread": (lambda d: d["drift"]["scale"]["male"][0].__setitem__(0, 0.0), "above 0"),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILT.values(), ids=SPOILT.keys())
def test_tables_that_do_not_fit_are_refused(
    weights: Path, tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], said: str
) -> None:
    document = json.loads((weights / "henaw.json").read_text())
    spoil(document)
    (tmp_path / "henaw.json").write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=said):
        load_drift_reference(tmp_path / "henaw.json")
