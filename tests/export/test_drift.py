"""The sidecar's description of the people that a model was fitted on."""

import dataclasses
from typing import Any

import pytest
from henaw.export.drift import describe_drift
from henaw.model.checkpoint import Checkpoint

DISTRIBUTION = {
    "age_edges": [40.0, 50.0, 60.0, 70.0],
    "age_shares": [0.1, 0.2, 0.4, 0.2, 0.1],
    "sex_shares": [0.6, 0.4],
}


def describe(checkpoint: Checkpoint, **training: Any) -> Any:
    return describe_drift(dataclasses.replace(checkpoint, training=training))["people"]


def test_the_shipped_models_people_are_known(checkpoint: Checkpoint) -> None:
    people = describe_drift(checkpoint)["people"]
    for table in people.values():
        assert sum(table["expected"]) == pytest.approx(1.0, abs=1e-3)
    assert len(people["age"]["edges"]) == len(people["age"]["expected"]) - 1


def test_a_checkpoint_describes_the_people_fitted(checkpoint: Checkpoint) -> None:
    people = describe(checkpoint, distribution=DISTRIBUTION, data_sha256="other")
    assert people["age"] == {"edges": [40, 50, 60, 70], "expected": [0.1, 0.2, 0.4, 0.2, 0.1]}
    assert people["sex"] == {"expected": [0.6, 0.4]}


def test_without_a_description_none_is_invented(checkpoint: Checkpoint) -> None:
    assert describe(checkpoint, data_sha256="other") is None
    assert describe(checkpoint) is None
