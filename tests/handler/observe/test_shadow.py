"""Two versions' answers to the same requests, in one file, by real processes."""

import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from henaw.handler.observe import shadow
from henaw.handler.observe.drift import load_drift_reference
from henaw.handler.observe.metrics import Comparison, Metrics
from henaw.handler.observe.shadow import (
    KEPT_S,
    MOST_PEOPLE,
    SHADOW_HEADER,
    AnswerStore,
    ShadowComparison,
    SharedAnswer,
)
from henaw.handler.observe.worker_state import Compared

STABLE, CANDIDATE = "0.1.0", "99.0.0"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def name(number: int) -> str:
    return f"{number:032x}"


def answer(number: int, *ages: float, status: int = 200) -> SharedAnswer:
    return SharedAnswer(name(number), status, np.array(ages, "<f4").tobytes())


def find(folder: Path) -> Path:
    return folder / "made" / "pairs.sqlite3"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def stores(tmp_path: Path, clock: Clock) -> tuple[AnswerStore, AnswerStore]:
    """The stable version's connection and the candidate's."""
    path = find(tmp_path)
    return AnswerStore(path, STABLE, clock), AnswerStore(path, CANDIDATE, clock)


def test_the_second_answer_is_compared_with_the_first(
    stores: tuple[AnswerStore, AnswerStore],
) -> None:
    stable, candidate = stores
    assert stable.match([answer(1, 50.0, 60.0), answer(2, 40.0), answer(3, status=422)]) == []
    seen = candidate.match([answer(1, 50.5, 59.0), answer(2, status=429), answer(3, status=422)])
    assert [(one.other, one.same_status, one.differences.tolist()) for one in seen] == [
        (STABLE, True, [0.5, 1.0]),
        (STABLE, False, []),
        (STABLE, True, []),
    ]
    # In either order.
    assert candidate.match([answer(4, 1.0)]) == []
    assert [one.other for one in stable.match([answer(4, 1.0)])] == [CANDIDATE]


def test_an_answer_is_only_compared_with_another_versions(
    stores: tuple[AnswerStore, AnswerStore],
) -> None:
    stable, candidate = stores
    # nginx asks another server of the same version after the first one has failed.
    assert stable.match([answer(1, 50.0), answer(1, 51.0)]) == []
    assert stable.match([answer(1, 52.0)]) == []
    (seen,) = candidate.match([answer(1, 52.0)])
    assert seen.differences.tolist() == [0.0]


JOIN = """
import sys
from pathlib import Path
from henaw.handler.observe.shadow import SharedAnswer, AnswerStore

store, numbers = AnswerStore(Path(sys.argv[1]), sys.argv[2]), eval(sys.argv[3])
sys.stdin.readline()
answers = [SharedAnswer(f"{number:032x}", 200, b"") for number in numbers]
print(sum(len(store.match(answers[i : i + 7])) for i in range(0, len(answers), 7)))
"""


def test_each_request_is_compared_once_by_any_process(tmp_path: Path) -> None:
    path = tmp_path / "pairs.sqlite3"
    # Two workers of each version, each in its own order.
    parts = [
        (STABLE, "range(0, 400, 2)"),
        (STABLE, "range(1, 400, 2)"),
        (CANDIDATE, "range(399, 199, -1)"),
        (CANDIDATE, "range(200)"),
    ]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", JOIN, str(path), version, numbers],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for version, numbers in parts
    ]
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    assert sum(int(worker.communicate(timeout=60)[0]) for worker in workers) == 400
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM answer").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize("moved_s", [KEPT_S + 1, -KEPT_S - 1])
def test_an_answer_without_a_counterpart_is_erased_from_the_file(
    stores: tuple[AnswerStore, AnswerStore], clock: Clock, tmp_path: Path, moved_s: float
) -> None:
    stable, candidate = stores
    path = find(tmp_path)
    stable.match([answer(1, 50.0)])
    clock.now += KEPT_S - 1
    stable.match([answer(2, 50.0)])
    assert len(candidate.match([answer(1, 50.0)])) == 1
    assert name(2).encode() in path.read_bytes()
    clock.now += moved_s
    assert candidate.match([]) == []
    assert name(2).encode() not in path.read_bytes()
    assert candidate.match([answer(2, 50.0)]) == []


def test_only_the_owner_can_read_the_file(
    stores: tuple[AnswerStore, AnswerStore], tmp_path: Path
) -> None:
    stores[0].match([answer(1, 50.0)])
    for path in (tmp_path / "made", find(tmp_path)):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0


def test_ages_that_are_no_numbers_or_differ_in_count_are_not_compared(
    stores: tuple[AnswerStore, AnswerStore], tmp_path: Path
) -> None:
    stable, candidate = stores
    stable.match([answer(1, np.nan, 50.0), answer(2, 50.0), answer(3, 50.0)])
    with sqlite3.connect(find(tmp_path)) as connection:
        connection.execute("UPDATE answer SET ages = 'text' WHERE pair = ?", (name(3),))
    connection.close()
    seen = candidate.match([answer(1, 50.0, 50.0), answer(2, 50.0, 50.0), answer(3, 50.0)])
    assert [one.differences.tolist() for one in seen] == [[0.0], [], []]


class Side:
    """One server's worker: what it compares, and what it says."""

    def __init__(self, store: AnswerStore, reference: Any) -> None:
        self.metrics = Metrics(reference)
        self.said: list[str] = []
        self.comparison = ShadowComparison(store, self.metrics, self.said.append)

    def ask(self, *numbers: int, age: float = 50.0) -> None:
        for number in numbers:
            self.comparison.take(name(number), 200, np.full(1, age, np.float32))
        self.comparison.compare()

    def read(self) -> dict[str, Compared]:
        return self.metrics.sum_up().compared

    def count(self) -> int:
        return sum(one.same_status + one.other_status for one in self.read().values())


@pytest.fixture
def sides(stores: tuple[AnswerStore, AnswerStore], weights: Path) -> tuple[Side, Side]:
    reference = load_drift_reference(weights / "henaw.json")
    return Side(stores[0], reference), Side(stores[1], reference)


def damage(path: Path) -> Callable[[], None]:
    path.write_bytes(b"not a database at all, but long enough to look like one" * 200)
    return lambda: None


def damage_pages(path: Path) -> Callable[[], None]:
    content = path.read_bytes()
    path.write_bytes(content[:100] + b"\xff" * (len(content) - 100))
    return lambda: None


def put_a_folder(path: Path) -> Callable[[], None]:
    path.unlink()
    path.mkdir()
    return path.rmdir


def lock(path: Path) -> Callable[[], None]:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return connection.close


@pytest.mark.parametrize("harm", [damage, damage_pages, put_a_folder, lock])
def test_a_damaged_file_loses_comparisons_and_is_reported_once(
    sides: tuple[Side, Side],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    harm: Callable[[Path], Callable[[], None]],
) -> None:
    monkeypatch.setattr(shadow, "_BUSY_TIMEOUT_S", 0.05)
    stable, candidate = sides
    stable.ask(1)
    mend = harm(find(tmp_path))
    candidate.ask(1)
    if harm in (put_a_folder, lock):
        candidate.ask(1)
    assert len(candidate.said) == 1
    assert candidate.said[0].startswith("answers are not compared with the other version's: ")
    mend()
    stable.ask(2)
    candidate.ask(2)
    assert (stable.count(), candidate.count(), len(candidate.said)) == (0, 1, 1)


def test_a_full_file_works_again_once_its_answers_have_expired(
    sides: tuple[Side, Side], clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "_LARGEST_PAGES", 16)
    stable, candidate = sides
    for first in range(0, 2000, 100):
        stable.ask(*range(first, first + 100))
    assert len(stable.said) == 1
    assert "full" in stable.said[0]
    assert find(tmp_path).stat().st_size <= 16 * 4096
    clock.now += KEPT_S + 1
    stable.ask(1)
    candidate.ask(1)
    assert candidate.count() == 1


def test_what_waits_is_bounded(sides: tuple[Side, Side]) -> None:
    comparison = sides[0].comparison
    for number in range(25_000):
        comparison.take(name(number), 200, None)
    assert len(comparison._waiting) == 10_000
    comparison.take(name(1), 200, np.zeros(10_000, np.float32))
    assert len(comparison._waiting[-1].ages) == 4 * MOST_PEOPLE


def test_the_thread_compares_by_itself(
    sides: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "_COMPARE_EVERY_S", 0.01)
    stable, candidate = sides
    stable.ask(1)
    candidate.comparison.take(name(1), 200, None)
    candidate.comparison.start()
    for _ in range(500):
        if candidate.count():
            return
        candidate.comparison.join(timeout=0.01)
    pytest.fail("nothing was joined")


def test_comparisons_are_counted_by_the_other_version(weights: Path) -> None:
    metrics = Metrics(load_drift_reference(weights / "henaw.json"))
    for other, same_status, differences in (
        (STABLE, True, [0.0, 0.0001, 0.3, 25.0]),
        (STABLE, False, []),
        (CANDIDATE, True, [0.3]),
    ):
        metrics.count(
            Comparison(other=other, same_status=same_status, differences=np.array(differences))
        )
    compared = metrics.sum_up().compared
    assert {k: (v.same_status, v.other_status) for k, v in compared.items()} == {
        STABLE: (1, 1),
        CANDIDATE: (1, 0),
    }
    difference = compared[STABLE].difference
    assert (difference.bounds[0], difference.bounds[-1]) == (0.0001, 20.0)
    assert (difference.counts[0], difference.counts[-1]) == (2, 1)
    assert difference.counts[difference.bounds.index(0.5)] == 1
    assert difference.sum == pytest.approx(25.3001)


class TestService:
    """The answers that a service hands over, to good and bad requests."""

    @pytest.fixture
    def client(self, make_client: Callable[..., Any], sides: tuple[Side, Side]) -> Any:
        return make_client(shadow=sides[0].comparison)

    def test_every_form_of_answer(
        self,
        client: Any,
        sides: tuple[Side, Side],
        person: dict[str, Any],
        read: Callable[[Any], Any],
    ) -> None:
        waiting = sides[0].comparison._waiting
        headers = {SHADOW_HEADER: name(7)}
        one = client.send(person, headers=headers)
        years = read(one)["biological_age"]
        many = {"instances": [{**person, "age": 30}, person]}
        client.send(many, headers=headers)
        client.send(person, headers=headers, explain=True)
        tensors = {
            "inputs": [
                {"name": "biomarkers", "shape": [1, 9], "datatype": "FP32",
                 "data": [1.2, 35.5, 79.6, 45, 29, 13.1, 22, 24, 20]},
                {"name": "age", "shape": [1], "datatype": "FP32", "data": [54]},
                {"name": "sex", "shape": [1], "datatype": "INT64", "data": [0]},
            ],
            "outputs": [{"name": "mortality_10y"}],
        }  # fmt: skip
        assert client.send(tensors, headers=headers).status == 200
        assert [(one.shared_id, one.status) for one in waiting] == [(name(7), 200)] * 4
        ages = [np.frombuffer(one.ages, "<f4") for one in waiting]
        assert [len(some) for some in ages] == [1, 2, 1, 1]
        for some in ages[:3]:
            assert some[-1] == pytest.approx(years, abs=0.06)

    def test_each_of_a_batch_has_its_own(
        self, client: Any, sides: tuple[Side, Side], person: dict[str, Any]
    ) -> None:
        waiting = sides[0].comparison._waiting
        client.send(
            {**person, "age": 30}, b"{", person, {"age": 7}, headers={SHADOW_HEADER: name(7)}
        )
        assert [one.status for one in waiting] == [200, 400, 200, 422]
        first, none, second, no = (np.frombuffer(one.ages, "<f4") for one in waiting)
        assert (len(none), len(no)) == (0, 0)
        assert second[0] - first[0] > 10

    @pytest.mark.parametrize("header", [None, "", "mine", "A" * 32, "a" * 33, "\ud800" * 32])
    def test_without_nginxs_id_nothing_is_compared(
        self, client: Any, sides: tuple[Side, Side], person: dict[str, Any], header: str | None
    ) -> None:
        headers = {} if header is None else {SHADOW_HEADER: header}
        assert client.send(person, headers=headers).status == 200
        assert not sides[0].comparison._waiting

    def test_without_a_file_the_header_is_ignored(
        self, make_client: Callable[..., Any], person: dict[str, Any]
    ) -> None:
        assert make_client().send(person, headers={SHADOW_HEADER: name(7)}).status == 200
