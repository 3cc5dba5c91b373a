"""Nested cross-validation: who may choose, what is chosen, and what is written of it."""

import contextlib
import dataclasses
import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import pandas as pd
import pytest
import yaml
from henaw.model.biomarkers import NAMES
from henaw.model.configuration import read_configuration
from henaw.model.errors import CohortError, StudyError
from henaw.training.configuration import TrainingConfiguration, read_training_configuration
from henaw.training.search.crossvalidation import score_fold
from henaw.training.search.space import Range, SearchConfiguration
from henaw.training.search.tuning import (
    FINAL,
    Tuned,
    Tuning,
    locate_report,
    prepare_tuning,
    write_tuned,
)

PEOPLE = 1600
SURVEYS = ("alpha", "beta", "gamma", "sealed")
SEARCH = SearchConfiguration(elastic_weight=Range(low=1e-4, high=0.1, log=True))


class Run(NamedTuple):
    tuning: Tuning
    tuned: Tuned
    study: Path
    told: list[tuple[str, bool]]
    """Each fit, and whether it was run."""


@pytest.fixture(scope="module")
def overpenalised(mapping: Callable[[], dict[str, Any]]) -> TrainingConfiguration:
    """A configuration that a search can improve: its penalty leaves age alone."""
    given = mapping()
    given["network"] = {"knots": [0.0], "score_steps": 4, "members": 2} | {
        "first_age": 46,
        "last_age": 64,
    }
    given["cohort"] |= {"minimum_age": 40, "maximum_age": 70, "hold_out": ["sealed"]}
    # A seed whose second hyperparameters are, in every search, far from the penalty's end.
    given["seed"] = 21
    given["fit"] = {"elastic_weight": 0.1, "harm_weight": 0.0}
    return read_configuration(TrainingConfiguration, given, subject="synthetic")


@pytest.fixture(scope="module")
def people(simulate: Callable[..., Any]) -> pd.DataFrame:
    """Synthetic people; most lack one value, since complete ones cost the most time."""
    cohort, _, _ = simulate(PEOPLE * 66 // 30, seed=71, effects={"crp": 10.0})
    cohort = cohort.select((cohort.age_years >= 40) & (cohort.age_years <= 70))
    biomarkers = cohort.biomarkers.copy()
    rows = np.flatnonzero(np.arange(len(cohort)) % 4)
    biomarkers[rows, 1 + rows % (len(NAMES) - 1)] = np.nan
    return pd.DataFrame(
        {
            "participant_id": [f"participant-{i}" for i in range(len(cohort))],
            "survey": np.array(SURVEYS)[np.arange(len(cohort)) // 4 % 4],
            "age": cohort.age_years,
            "sex": cohort.sex,
            **{name: biomarkers[:, i] for i, name in enumerate(NAMES)},
            "death": cohort.event.astype(np.float64),
            "followup_months": cohort.time_years * 12.0,
            "ucod_leading": np.where(cohort.event, cohort.cause + 1.0, np.nan),
        }
    )


def spoil(people: pd.DataFrame, survey: str) -> pd.DataFrame:
    """The table with other values and other deaths in one survey."""
    rows = people["survey"] == survey
    spoilt = people.copy()
    spoilt.loc[rows, list(NAMES)] = people.loc[rows, list(NAMES)].to_numpy()[::-1]
    spoilt.loc[rows, "followup_months"] = people.loc[rows, "followup_months"].to_numpy()[::-1]
    return spoilt


def run(
    folder: Path, people: pd.DataFrame, configuration: TrainingConfiguration, **options: Any
) -> Run:
    cohort = folder / "synthetic.csv"
    people.to_csv(cohort, index=False)
    tuning = prepare_tuning(configuration, SEARCH, cohort, **({"trials": 2} | options))
    told: list[tuple[str, bool]] = []
    study = folder / "study.db"
    tuned = tuning.run(study, progress=lambda name, took: told.append((name, took is not None)))
    return Run(tuning, tuned, study, told)


@pytest.fixture(scope="module")
def nested(
    people: pd.DataFrame,
    overpenalised: TrainingConfiguration,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    return run(tmp_path_factory.mktemp("nested"), people, overpenalised)


def list_trials(study: Path, name: str) -> list[tuple[Any, ...]]:
    storage = optuna.storages.RDBStorage(f"sqlite:///{study}")
    trials = optuna.load_study(study_name=name, storage=storage).trials
    storage.remove_session()
    storage.engine.dispose()
    return [(trial.params, trial.value, trial.user_attrs) for trial in trials]


def test_it_improves_a_bad_configuration_and_the_outer_loop_says_so(nested: Run) -> None:
    report = nested.tuned.report
    first, chosen = report["trials"][0], report["chosen"]
    assert first["hyperparameters"] == {"elastic_weight": 0.1}
    assert len(report["trials"]) == 2
    assert chosen["value"] == max(trial["value"] for trial in report["trials"])
    assert chosen["value"] > first["value"] + 0.01
    assert (
        nested.tuned.configuration.fit.elastic_weight == chosen["hyperparameters"]["elastic_weight"]
    )
    outer = report["outer"]
    assert [fold["tuned"]["name"] for fold in outer["folds"]] == ["alpha", "beta", "gamma"]
    assert outer["tuned"]["all"] > outer["configured"]["all"] + 0.01


def test_the_outer_loop_scores_what_was_chosen_without_the_survey(nested: Run) -> None:
    tuning = nested.tuning
    fold = nested.tuned.report["outer"]["folds"][1]
    search = tuning.searches[1]
    assert search.outer is not None
    assert fold["hyperparameters"] == {
        "elastic_weight": pytest.approx(
            max(
                (value, params["elastic_weight"])
                for params, value, _ in list_trials(nested.study, "without beta")
            )[1],
            rel=5e-3,
        )
    }
    assert not (search.cohort.survey == "beta").any()
    chosen = tuning.space.apply(fold["hyperparameters"])
    again = score_fold(tuning.cohort, chosen, search.outer)
    assert dataclasses.asdict(again) == fold["tuned"]


def test_every_fit_was_counted_and_told(nested: Run) -> None:
    # Three outer folds: 2 trials on 2 others, and 2 scores; and 2 trials on all 3.
    assert nested.tuning.count_fits() == len(nested.told) == 3 * (2 * 2 + 2) + 2 * 3
    assert all(was_run for _, was_run in nested.told)
    assert nested.tuning.describe_plan() == (
        "24 fits: without alpha, 2 trials of 2 fits and 2 fits that score; without beta, "
        "2 trials of 2 fits and 2 fits that score; without gamma, 2 trials of 2 fits and "
        "2 fits that score; all training people, 2 trials of 3 fits"
    )


def test_a_finished_study_is_read_and_not_run_again(
    nested: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing is left to fit")

    monkeypatch.setattr("henaw.training.search.crossvalidation.fit", refuse)
    told: list[float | None] = []
    again = nested.tuning.run(nested.study, progress=lambda _, took: told.append(took))
    assert again == nested.tuned
    assert told == [None] * nested.tuning.count_fits()


def test_held_out_people_change_nothing(
    nested: Run, people: pd.DataFrame, overpenalised: TrainingConfiguration, tmp_path: Path
) -> None:
    assert not (nested.tuning.cohort.survey == "sealed").any()
    spoilt = run(tmp_path, spoil(people, "sealed"), overpenalised, trials=1, outer=None)
    assert spoilt.tuned.report["trials"][0] == nested.tuned.report["trials"][0]


def test_people_left_out_by_the_outer_loop_do_not_choose(
    nested: Run, people: pd.DataFrame, overpenalised: TrainingConfiguration, tmp_path: Path
) -> None:
    cohort = tmp_path / "synthetic.csv"
    spoil(people, "alpha").to_csv(cohort, index=False)
    tuning = prepare_tuning(overpenalised, SEARCH, cohort, trials=2)
    alone = dataclasses.replace(tuning, searches=tuning.searches[:1])
    report = alone.run(tmp_path / "study.db").report
    stored = list_trials(tmp_path / "study.db", "without alpha")
    assert stored == list_trials(nested.study, "without alpha")[:2]
    # While what they are scored by is theirs.
    assert (
        report["outer"]["folds"][0]["configured"]
        != (nested.tuned.report["outer"]["folds"][0]["configured"])
    )


def test_parts_in_place_of_surveys(
    people: pd.DataFrame, overpenalised: TrainingConfiguration, tmp_path: Path
) -> None:
    done = run(
        tmp_path,
        people.drop(columns="survey"),
        no_hold_out(overpenalised),
        trials=1,
        inner=2,
        outer=2,
    )
    assert [search.name for search in done.tuning.searches] == [
        "without 1 of 2",
        "without 2 of 2",
        FINAL,
    ]
    assert len(done.told) == done.tuning.count_fits() == 2 * (2 + 2) + 2
    assert len(done.tuned.report["outer"]["folds"]) == 2


def no_hold_out(configuration: TrainingConfiguration) -> TrainingConfiguration:
    return dataclasses.replace(
        configuration, cohort=dataclasses.replace(configuration.cohort, hold_out=())
    )


def test_a_survey_to_hold_out_that_is_not_there_is_refused(
    people: pd.DataFrame, overpenalised: TrainingConfiguration, tmp_path: Path
) -> None:
    table = people.assign(survey=people["survey"].replace("sealed", "Sealed"))
    with pytest.raises(CohortError, match=r"'sealed' is not in the cohort.*did you mean 'Sealed'"):
        run(tmp_path, table, overpenalised)
    assert not (tmp_path / "study.db").exists()


def test_two_surveys_are_too_few_for_an_outer_loop(
    people: pd.DataFrame, overpenalised: TrainingConfiguration, tmp_path: Path
) -> None:
    with pytest.raises(CohortError, match="three with an outer loop"):
        run(tmp_path, people[people["survey"] != "gamma"], overpenalised)


def test_a_study_of_another_cohort_or_configuration_is_refused(
    nested: Run, people: pd.DataFrame, overpenalised: TrainingConfiguration, tmp_path: Path
) -> None:
    cohort = tmp_path / "synthetic.csv"
    spoil(people, "alpha").to_csv(cohort, index=False)
    changed = dataclasses.replace(
        overpenalised, seed=9, fit=dataclasses.replace(overpenalised.fit, iterations=401)
    )
    with pytest.raises(StudyError) as caught:
        prepare_tuning(changed, SEARCH, cohort, trials=1, inner=2).run(nested.study)
    problems = caught.value.problems
    assert [problem.partition(":")[0] for problem in problems] == [
        "cohort_sha256",
        "seed",
        "fit.iterations",
        "inner_folds",
    ]


def test_what_is_written_is_complete_and_replaces_nothing(nested: Run, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "chosen.yaml"
    report_path = write_tuned(nested.tuned, path)
    assert report_path == locate_report(path)
    assert read_training_configuration(path) == nested.tuned.configuration
    written = yaml.safe_load(path.read_text(encoding="utf-8"))
    for part in ("network", "cohort", "fit", "loop"):
        fields = dataclasses.fields(getattr(nested.tuned.configuration, part))
        assert set(written[part]) == {field.name for field in fields}
    header = path.read_text(encoding="utf-8").partition("\nname:")[0]
    assert all(line.startswith("#") for line in header.splitlines())
    assert nested.tuning.cohort.digest in header
    assert f"all {nested.tuned.report['outer']['tuned']['all']:.4f}" in header
    assert json.loads(report_path.read_text(encoding="utf-8")) == nested.tuned.report
    before = path.read_bytes()
    with pytest.raises(StudyError, match="already exists"):
        write_tuned(dataclasses.replace(nested.tuned, report={}), path)
    path.unlink()
    with pytest.raises(StudyError, match=r"chosen\.report\.json"):
        write_tuned(nested.tuned, path)
    write_tuned(nested.tuned, path, overwrite=True)
    assert path.read_bytes() == before


def test_nothing_about_a_person_is_in_the_study(nested: Run, people: pd.DataFrame) -> None:
    content = nested.study.read_bytes()
    assert b"participant" not in content
    values = {str(value) for value in people["crp"]}
    with contextlib.closing(sqlite3.connect(nested.study)) as file:
        dump = "\n".join(file.iterdump())
    assert max(map(len, values)) >= 9
    assert not any(value in dump for value in values if len(value) >= 9)
    # Nothing is as long as a list of people would be.
    rows = [line for line in dump.splitlines() if line.startswith("INSERT")]
    assert rows
    assert max(map(len, rows)) < 3 * len(people)
