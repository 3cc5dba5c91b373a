"""The cache gives what was put in or makes it anew, whatever happens in between."""

import dataclasses
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from henaw.model.errors import CohortError
from henaw.training.cohorts.cohort import Cohort, read_cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.execution import cache as module
from henaw.training.execution.cache import (
    Cache,
    Entry,
    digest_cohort,
    fetch_cohort,
    fetch_reference,
)
from henaw.training.reference.reference import fit_reference

MADE_FROM = {"version": 1}
DIE_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
import numpy as np
from henaw.training.execution.cache import Cache, Entry
os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
Cache(Path(sys.argv[1])).fetch("a", {"version": 1}, lambda: Entry(arrays={"x": np.ones(3)}))
"""


def count_builds() -> tuple[list[int], Callable[[], Entry]]:
    builds: list[int] = []

    def build() -> Entry:
        builds.append(1)
        return Entry(
            arrays={
                "values": np.random.default_rng(1).random((50, 9)),
                "flags": np.array([True, False]),
                "none": np.zeros((0, 9), np.float32),
            },
            values={"report": {"rows": 50}, "names": ["a", "b"]},
        )

    return builds, build


def test_an_entry_is_built_once_and_read_as_built(tmp_path: Path) -> None:
    builds, build = count_builds()
    first = Cache(tmp_path).fetch("a", MADE_FROM, build)
    cache = Cache(tmp_path)
    again = cache.fetch("a", MADE_FROM, build)
    assert len(builds) == 1
    assert (cache.counts.hits, cache.counts.misses) == (1, 0)
    assert again.values == first.values
    assert set(again.arrays) == set(first.arrays)
    for name, array in first.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array)
        assert again.arrays[name].dtype == array.dtype
        assert again.arrays[name].flags.writeable


def test_any_byte_changed_is_noticed_and_mended(tmp_path: Path) -> None:
    builds, build = count_builds()
    Cache(tmp_path).fetch("a", MADE_FROM, build)
    path = tmp_path / "a.cached"
    sound = path.read_bytes()
    places = [0, 31, 32, 40, 200, len(sound) // 2, len(sound) - 1]
    for count, place in enumerate(places):
        changed = bytearray(sound)
        changed[place] ^= 1
        path.write_bytes(changed)
        cache = Cache(tmp_path)
        cache.fetch("a", MADE_FROM, build)
        assert len(builds) == count + 2
        assert cache.counts.damaged == 1
        assert path.read_bytes() == sound
    for cut in (b"", sound[:20], sound[:-1]):
        path.write_bytes(cut)
        Cache(tmp_path).fetch("a", MADE_FROM, build)
        assert path.read_bytes() == sound


def test_what_was_made_from_something_else_is_replaced(tmp_path: Path) -> None:
    builds, build = count_builds()
    cache = Cache(tmp_path)
    for version in (1, 2, 2, 1):
        cache.fetch("a", {"version": version}, build)
    assert len(builds) == 3
    assert cache.counts.stale == 2
    assert len(list(tmp_path.glob("*.cached"))) == 1


def test_only_its_owner_reads_an_entry(tmp_path: Path) -> None:
    _, build = count_builds()
    folder = tmp_path / "cache"
    before = os.umask(0)
    try:
        Cache(folder).fetch("a", MADE_FROM, build)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_failed_build_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    _, build = count_builds()

    def fail() -> Entry:
        raise CohortError("synthetic", ["expected people, however: none"])

    with pytest.raises(CohortError):
        Cache(tmp_path).fetch("a", MADE_FROM, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]
    Cache(tmp_path).fetch("a", MADE_FROM, build)


def test_a_killed_writer_leaves_no_lock_and_no_rubbish(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", DIE_WHILE_WRITING, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert any(path.name.startswith(".a.cached.") for path in tmp_path.iterdir())
    _, build = count_builds()
    cache = Cache(tmp_path)
    cache.fetch("a", MADE_FROM, build)
    assert cache.counts.lock_waits == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.cached", "a.lock"]


def test_many_processes_and_sudden_deaths(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("hammer_cache.py")), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    killed = int(done.stdout.split()[1])
    assert killed >= 4, done.stdout
    assert done.stdout.endswith("wrong 0\n")
    _, build = count_builds()
    for entry in range(3):
        Cache(tmp_path).fetch(f"entry-{entry}", MADE_FROM, build)
    assert not list(tmp_path.glob(".*"))


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


def test_a_table_that_is_not_there_is_the_readers_error(
    tmp_path: Path, configuration: TrainingConfiguration
) -> None:
    with pytest.raises(CohortError, match="found none"):
        fetch_cohort(Cache(tmp_path / "cache"), tmp_path / "no.csv", configuration.cohort)


def test_changed_code_makes_entries_anew(
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
