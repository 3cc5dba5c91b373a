"""The stored study: the same trials whatever happens to the process, and refusals."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from henaw.model.errors import FitError, StudyError
from henaw.training.configuration import TrainingConfiguration
from henaw.training.search.space import Hyperparameters, Range, SearchConfiguration, SearchSpace
from henaw.training.search.study import INTERRUPTED, REASON, open_study_file
from optuna.trial import TrialState

MADE_FROM = {"cohort_sha256": "abc", "fit": {"elastic_weight": 0.1, "ages": [1, 2]}}
SEARCH = SearchConfiguration(
    elastic_weight=Range(low=1e-6, high=1e-2, log=True),
    elastic_alpha=Range(low=0.0, high=1.0),
    follow_up_years=(8.0, 15.0),
    startup_trials=4,
)
Inputs = dict[str, Any]
SEARCHER = """
import os, signal, sys
from pathlib import Path
from henaw.model.configuration import read_configuration
from henaw.model.errors import FitError
from henaw.training.configuration import TrainingConfiguration
from henaw.training.search.space import SearchConfiguration, SearchSpace
from henaw.training.search.study import open_study_file
import json

path, inputs, deadly = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
space = SearchSpace(
    read_configuration(SearchConfiguration, inputs["search"], subject="search"),
    read_configuration(TrainingConfiguration, inputs["configuration"], subject="synthetic"),
)
calls = 0

def evaluate(hyperparameters):
    global calls
    calls += 1
    if calls == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
    alpha = hyperparameters["elastic_alpha"]
    if alpha > 0.9:
        raise FitError("alpha above 0.9")
    return -((alpha - 0.4) ** 2), {"seen": alpha}

with open_study_file(path, inputs["made_from"]) as file:
    file.open_trials("search", space).run(12, evaluate, stored=lambda: print("stored"))
"""


@pytest.fixture(scope="module")
def space(configuration: TrainingConfiguration) -> SearchSpace:
    return SearchSpace(SEARCH, configuration)


def evaluate(hyperparameters: Hyperparameters) -> tuple[float, Any]:
    if hyperparameters["elastic_alpha"] > 0.9:
        raise FitError("alpha above 0.9")
    return -((hyperparameters["elastic_alpha"] - 0.4) ** 2), {
        "seen": hyperparameters["elastic_alpha"]
    }


def search(
    path: Path,
    space: SearchSpace,
    count: int,
    *,
    name: str = "search",
    evaluate: Callable[[Hyperparameters], tuple[float, Any]] = evaluate,
) -> list[tuple[Any, ...]]:
    """What was tried and came of it, in order; numbers and times are left out."""
    with open_study_file(path, MADE_FROM) as file:
        trials = file.open_trials(name, space)
        trials.run(count, evaluate, stored=lambda: None)
        return [
            (trial.params, trial.state, trial.value, trial.user_attrs)
            for trial in trials.list_done()
        ]


@pytest.fixture(scope="module")
def uninterrupted(
    space: SearchSpace, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[Any, ...]]:
    return search(tmp_path_factory.mktemp("study") / "study.db", space, 12)


def test_the_configured_settings_are_tried_first(
    uninterrupted: list[tuple[Any, ...]], space: SearchSpace
) -> None:
    assert uninterrupted[0][0] == space.configured
    assert len(uninterrupted) == 12
    assert len({json.dumps(params) for params, *_ in uninterrupted}) == 12


def test_what_is_tried_depends_on_the_seed_and_the_name_alone(
    uninterrupted: list[tuple[Any, ...]], space: SearchSpace, tmp_path: Path
) -> None:
    assert search(tmp_path / "again.db", space, 12) == uninterrupted
    other = search(tmp_path / "again.db", space, 3, name="other")
    assert other[0] == uninterrupted[0]
    assert other[1][0] != uninterrupted[1][0]


def test_earlier_trials_guide_later_ones(
    uninterrupted: list[tuple[Any, ...]], space: SearchSpace, tmp_path: Path
) -> None:
    def inverted(hyperparameters: Hyperparameters) -> tuple[float, Any]:
        value, kept = evaluate(hyperparameters)
        return -value, kept

    other = search(tmp_path / "study.db", space, 12, evaluate=inverted)
    even = [params for params, *_ in uninterrupted][:4]
    assert [params for params, *_ in other][:4] == even
    assert [params for params, *_ in other] != [params for params, *_ in uninterrupted]


def test_more_trials_later_are_as_if_asked_for_at_once(
    uninterrupted: list[tuple[Any, ...]], space: SearchSpace, tmp_path: Path
) -> None:
    for count in (1, 5, 12, 3):
        done = search(tmp_path / "study.db", space, count)
    assert done == uninterrupted


def test_killed_again_and_again_it_ends_as_if_it_had_not_been(
    uninterrupted: list[tuple[Any, ...]],
    space: SearchSpace,
    mapping: Callable[[], Inputs],
    tmp_path: Path,
) -> None:
    path = tmp_path / "a folder" / "study.db"
    inputs = {
        "search": {
            "elastic_weight": {"low": 1e-6, "high": 1e-2, "log": True},
            "elastic_alpha": {"low": 0.0, "high": 1.0},
            "follow_up_years": [8.0, 15.0],
            "startup_trials": 4,
        },
        "configuration": mapping(),
        "made_from": MADE_FROM,
    }
    # Killed in the first trial, in the next but one, and then somewhere in its middle.
    for deadly in (1, 2, 6):
        done = subprocess.run(
            [sys.executable, "-c", SEARCHER, str(path), json.dumps(inputs), str(deadly)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
    assert search(path, space, 12) == uninterrupted
    with open_study_file(path, MADE_FROM) as file:
        everything = file.open_trials("search", space).study.trials
    interrupted = [trial for trial in everything if trial.user_attrs.get(REASON) == INTERRUPTED]
    assert len(interrupted) == 3
    assert all(trial.state == TrialState.FAIL for trial in interrupted)


def test_a_failed_trial_keeps_its_reason_and_the_search_goes_on(
    space: SearchSpace, tmp_path: Path
) -> None:
    calls: list[Hyperparameters] = []

    def fail_twice(hyperparameters: Hyperparameters) -> tuple[float, Any]:
        calls.append(hyperparameters)
        if len(calls) in (1, 3):
            raise FitError(f"call {len(calls)}")
        return float(len(calls)), {}

    done = search(tmp_path / "study.db", space, 4, evaluate=fail_twice)
    assert [state.name for _, state, *_ in done] == ["FAIL", "COMPLETE", "FAIL", "COMPLETE"]
    assert [kept.get(REASON) for *_, kept in done] == [
        "FitError: call 1",
        None,
        "FitError: call 3",
        None,
    ]
    with open_study_file(tmp_path / "study.db", MADE_FROM) as file:
        trials = file.open_trials("search", space)
        assert trials.choose_best(4).value == 4.0
        assert trials.choose_best(3).value == 2.0
        with pytest.raises(StudyError, match="every trial failed: FitError: call 1"):
            trials.choose_best(1)


def test_of_equals_the_first_is_chosen(space: SearchSpace, tmp_path: Path) -> None:
    search(tmp_path / "study.db", space, 3, evaluate=lambda _: (0.5, {}))
    with open_study_file(tmp_path / "study.db", MADE_FROM) as file:
        assert file.open_trials("search", space).choose_best(3).number == 0


def test_an_error_that_is_not_ours_is_not_taken_for_a_failed_trial(
    space: SearchSpace, tmp_path: Path
) -> None:
    def mistake(_: Hyperparameters) -> tuple[float, Any]:
        raise KeyError("a mistake")

    with pytest.raises(KeyError, match="a mistake"):
        search(tmp_path / "study.db", space, 2, evaluate=mistake)
    # Once the mistake is fixed, the trial is run again.
    assert len(search(tmp_path / "study.db", space, 2)) == 2


def test_a_study_of_other_inputs_is_refused_with_all_that_differs(
    space: SearchSpace, tmp_path: Path
) -> None:
    path = tmp_path / "study.db"
    search(path, space, 1)
    other = {"cohort_sha256": "xyz", "fit": {"elastic_weight": 0.2, "ages": (1, 2)}, "seed": 1}
    with pytest.raises(StudyError) as caught, open_study_file(path, other):
        pass
    assert len(caught.value.problems) == 3
    message = str(caught.value)
    assert "cohort_sha256: this study was made with 'abc'; got 'xyz'" in message
    assert "fit.elastic_weight: this study was made with 0.1; got 0.2" in message
    assert "seed: this study was made with None; got 1; use another study" in message
    assert len(search(path, space, 2)) == 2


@pytest.mark.parametrize("content", [b"not a database, but long enough to be taken for one" * 9])
def test_a_file_that_is_no_study_is_refused_and_left_as_it_was(
    content: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "study.db"
    path.write_bytes(content)
    with (
        pytest.raises(StudyError, match="not a study of henaw tune"),
        open_study_file(path, MADE_FROM),
    ):
        pass
    assert path.read_bytes() == content


def test_a_database_of_something_else_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE letters (text TEXT)")
    before = path.read_bytes()
    with (
        pytest.raises(StudyError, match=r"its tables are \['letters'\]"),
        open_study_file(path, MADE_FROM),
    ):
        pass
    assert path.read_bytes() == before


def test_a_study_of_another_program_is_refused(space: SearchSpace, tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    search(path, space, 1)
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("DELETE FROM study_user_attributes")
        file.commit()
    with (
        pytest.raises(StudyError, match="a study that henaw tune did not make: 'search'"),
        open_study_file(path, MADE_FROM),
    ):
        pass


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for path in (tmp_path / "file" / "study.db", tmp_path / "what?" / "study.db"):
        with pytest.raises(StudyError), open_study_file(path, MADE_FROM):
            pass
    assert os.listdir(tmp_path) == ["file"]


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    with (
        open_study_file(path, MADE_FROM),
        pytest.raises(StudyError, match="another process is using this study"),
        open_study_file(path, MADE_FROM),
    ):
        pass
    with open_study_file(path, MADE_FROM):
        pass
