"""Cohorts and references come from the cache as they were made."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from henaw.model.errors import CohortError
from henaw.training.cohorts.cohort import Cohort, read_cohort
from henaw.training.cohorts.storage import digest_cohort, fetch_cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.execution import cache as module
from henaw.training.execution.cache import Cache
from henaw.training.reference.reference import fetch_reference, fit_reference


def test_the_shifts_of_surveys_are_kept_with_the_reference(
    tmp_path: Path,
    simulate: Callable[..., tuple[Cohort, object, object]],
    configuration: TrainingConfiguration,
) -> None:
    """They are provenance of a checkpoint, whether its reference was kept or tabulated."""
    cohort, _, _ = simulate(4000, seed=9)
    cohort = dataclasses.replace(cohort, survey=np.where(np.arange(4000) % 2, "a", "b"))
    kept = []
    for _ in range(2):
        _, people = fetch_reference(Cache(tmp_path), cohort, configuration.network, ())
        kept.append(people.shifts)
    assert set(kept[0]) == {"a", "b"}
    assert any(shift != 0 for shift in kept[0]["a"].values())
    assert kept[0] == kept[1]


def assert_same_cohort(a: Cohort, b: Cohort) -> None:
    for item in dataclasses.fields(Cohort):
        left, right = getattr(a, item.name), getattr(b, item.name)
        if isinstance(right, np.ndarray):
            np.testing.assert_array_equal(left, right)
            assert left.dtype.kind == right.dtype.kind
        else:
            assert left == right


def test_a_cohort_is_read_from_its_table_once(
    tmp_path: Path, table: pd.DataFrame, configuration: TrainingConfiguration
) -> None:
    path = tmp_path / "synthetic.parquet"
    table["survey"] = np.where(np.arange(len(table)) % 2 == 0, "längst", "b")
    table.to_parquet(path)
    expected = read_cohort(path, configuration.cohort)
    for hits in (0, 1):
        cache = Cache(tmp_path / "cache")
        assert_same_cohort(fetch_cohort(cache, path, configuration.cohort), expected)
        assert cache.counts.hits == hits
    table.iloc[:40].to_parquet(path)
    cache = Cache(tmp_path / "cache")
    assert len(fetch_cohort(cache, path, configuration.cohort)) == 40
    assert cache.counts.stale == 1


def test_a_missing_table_is_the_readers_error(
    tmp_path: Path, configuration: TrainingConfiguration
) -> None:
    with pytest.raises(CohortError, match="there is no such file"):
        fetch_cohort(Cache(tmp_path / "cache"), tmp_path / "no.csv", configuration.cohort)


def test_changed_code_replaces_entries(
    tmp_path: Path,
    table: pd.DataFrame,
    configuration: TrainingConfiguration,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "synthetic.parquet"
    table.to_parquet(path)
    fetch_cohort(Cache(tmp_path / "cache"), path, configuration.cohort)
    monkeypatch.setattr(module, "FORMAT", module.FORMAT + 1)
    cache = Cache(tmp_path / "cache")
    fetch_cohort(cache, path, configuration.cohort)
    assert cache.counts.stale == 1


def test_a_reference_is_kept_with_its_people(
    tmp_path: Path,
    synthetic: tuple[Cohort, object, object],
    configuration: TrainingConfiguration,
) -> None:
    cohort, shape = synthetic[0], configuration.network
    expected, placed = fit_reference(cohort, shape)
    fetch_reference(Cache(tmp_path), cohort, shape)
    cache = Cache(tmp_path)
    tensors, kept = fetch_reference(cache, cohort, shape)
    assert cache.counts.hits == 1
    assert set(tensors) == set(expected)
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)
    assert_same_cohort(kept, placed)


def test_a_cohorts_digest_sees_every_value(synthetic: tuple[Cohort, object, object]) -> None:
    cohort = synthetic[0]
    digest = digest_cohort(cohort)
    assert digest == digest_cohort(dataclasses.replace(cohort))
    age = cohort.age_years.copy()
    age[7] += 1
    sex = cohort.sex.copy()
    sex[-1] = 1 - sex[-1]
    for changed in (
        {"age_years": age},
        {"sex": sex},
        {"survey": np.where(cohort.survey == "late", "later", cohort.survey)},
        {"report": {"rows": 1}},
    ):
        assert digest_cohort(dataclasses.replace(cohort, **changed)) != digest
