"""The cache returns what was stored, or builds it again, whatever happens in between."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from henaw.model.errors import CohortError
from henaw.training.execution.cache import Cache, Entry

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


def test_any_changed_byte_is_detected_and_the_entry_rebuilt(tmp_path: Path) -> None:
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
        raise CohortError("synthetic", ["no people"])

    with pytest.raises(CohortError):
        Cache(tmp_path).fetch("a", MADE_FROM, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]
    Cache(tmp_path).fetch("a", MADE_FROM, build)


def test_a_killed_writer_leaves_no_lock_and_no_files(tmp_path: Path) -> None:
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
