"""Studies: trials in an SQLite file, so that a search can be stopped and continued.

A file belongs to one set of inputs. The hyperparameters of a trial depend only on the inputs
and on the trials that ended before, so a search that was killed and continued gives the same
result as one that was not. The file contains hyperparameters, counts and scores, and no data
of individuals.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sqlite3
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock, Timeout
from henaw.model.errors import HenawError, StudyError
from henaw.training.search.space import Hyperparameters, SearchSpace
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import SQLAlchemyError

MADE_FROM = "made_from"
SCORES = "scores"
REASON = "reason"
INTERRUPTED = "interrupted: the process that ran it ended"

_LOGGER = logging.getLogger(__name__)
_FIX = "use another study file, or the inputs that this one was made with"


@dataclass(frozen=True)
class Trials:
    """One search in a study file.

    Attributes:
        study: the Optuna study.
        space: what is searched.
    """

    study: optuna.Study
    space: SearchSpace

    def list_done(self) -> list[FrozenTrial]:
        """Trials that ended, in order; failed ones are included, interrupted ones are not."""
        return [
            trial
            for trial in self.study.get_trials(
                deepcopy=False, states=(TrialState.COMPLETE, TrialState.FAIL)
            )
            if trial.user_attrs.get(REASON) != INTERRUPTED
        ]

    def run(
        self,
        count: int,
        evaluate: Callable[[Hyperparameters], tuple[float, Any]],
        *,
        stored: Callable[[], None],
    ) -> None:
        """Run trials until there are ``count``.

        Args:
            count: the number of all trials, including the stored ones.
            evaluate: takes hyperparameters; returns the value to maximise, and details to
                store. If it raises an error of HENAW, the trial fails with that reason.
            stored: called for each trial that was stored before.
        """
        kept = self.list_done()[:count]
        for _ in kept:
            stored()
        name, seed = self.study.study_name, self.space.configuration.seed
        _LOGGER.info("%s: %d of %d trials are stored", name, len(kept), count)
        while (done := len(self.list_done())) < count:
            if done == 0 and not self.study.get_trials(states=(TrialState.WAITING,)):
                self.study.enqueue_trial(self.space.configured)
            # Each trial has its own sampler. A single sampler would repeat its first draws after a
            # search is continued.
            entropy = np.random.SeedSequence([seed, zlib.crc32(name.encode()), done])
            self.study.sampler = optuna.samplers.TPESampler(
                seed=int(entropy.generate_state(1)[0]),
                n_startup_trials=self.space.search.startup_trials,
            )
            trial = self.study.ask()
            hyperparameters = self.space.suggest(trial)
            try:
                value, scores = evaluate(hyperparameters)
            except HenawError as error:
                _LOGGER.warning("%s: trial %d failed: %s", name, done + 1, error)
                trial.set_user_attr(REASON, f"{type(error).__name__}: {error}")
                self.study.tell(trial, state=TrialState.FAIL)
            else:
                trial.set_user_attr(SCORES, scores)
                self.study.tell(trial, value)
                _LOGGER.info(
                    "%s: trial %d of %d: C %.4f by %s",
                    name,
                    done + 1,
                    count,
                    value,
                    hyperparameters,
                )

    def choose_best(self, count: int) -> FrozenTrial:
        """The best of the first ``count`` trials; of equal trials, the first.

        Raises:
            StudyError: all of them failed.
        """
        done = self.list_done()[:count]
        complete = [trial for trial in done if trial.state == TrialState.COMPLETE]
        if not complete:
            reasons = dict.fromkeys(str(trial.user_attrs.get(REASON)) for trial in done)
            raise StudyError(
                f"search {self.study.study_name!r}",
                [f"every trial failed: {reason}" for reason in reasons],
            )
        return max(complete, key=lambda trial: (trial.value, -trial.number))


@dataclass(frozen=True)
class StudyFile:
    """An open study file, used by this process only."""

    path: Path
    made_from: Mapping[str, Any]
    storage: optuna.storages.RDBStorage

    def open_trials(self, name: str, space: SearchSpace) -> Trials:
        """The search of that name: a new one, or the stored one."""
        study = optuna.create_study(
            storage=self.storage, study_name=name, direction="maximize", load_if_exists=True
        )
        if MADE_FROM not in study.user_attrs:
            study.set_user_attr(MADE_FROM, dict(self.made_from))
        self._close_interrupted(study)
        return Trials(study, space)

    def _close_interrupted(self, study: optuna.Study) -> None:
        """Mark trials that a killed process left running as failed."""
        study_id = self.storage.get_study_id_from_name(study.study_name)
        for trial in study.get_trials(states=(TrialState.RUNNING,)):
            trial_id = self.storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
            self.storage.set_trial_user_attr(trial_id, REASON, INTERRUPTED)
            study.tell(trial.number, state=TrialState.FAIL)


@contextlib.contextmanager
def open_study_file(path: Path, made_from: Mapping[str, Any]) -> Iterator[StudyFile]:
    """Open or create a study file, for this process only.

    Args:
        path: the SQLite file.
        made_from: the inputs that its trials depend on, as JSON values.

    Raises:
        StudyError: it is not a study of ``henaw tune``, belongs to other inputs, cannot be
            read or written, or is used by another process.
    """
    if "?" in str(path):
        raise StudyError(
            str(path), ["the path must not contain '?', which SQLite reads as options"]
        )
    inputs = json.loads(json.dumps(made_from))
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise StudyError(str(path), ["another process is using this study"]) from error
    except OSError as error:
        raise StudyError(str(path), [f"the file cannot be written: {error}"]) from error
    try:
        _check_file(path)
        # The progress bar shows what Optuna would log of each study and trial.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        storage = _open_storage(path)
        try:
            _check_inputs(path, storage, inputs)
            yield StudyFile(path, inputs, storage)
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
            raise StudyError(str(path), [f"the file cannot be used: {error}"]) from error
        finally:
            storage.remove_session()
            storage.engine.dispose()
    finally:
        lock.release()


def _open_storage(path: Path) -> optuna.storages.RDBStorage:
    try:
        return optuna.storages.RDBStorage(f"sqlite:///{path}")
    except (SQLAlchemyError, RuntimeError, optuna.exceptions.OptunaError) as error:
        raise StudyError(str(path), [f"the study cannot be opened: {error}"]) from error


def _check_file(path: Path) -> None:
    """Refuse any other SQLite file, before Optuna writes its tables into it."""
    if not path.exists():
        return
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        ) as file:
            tables = {row[0] for row in file.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        raise StudyError(str(path), [f"this is not a study of henaw tune: {error}"]) from error
    if tables and "studies" not in tables:
        raise StudyError(
            str(path),
            [f"this is not a study of henaw tune: its tables are {sorted(tables)}"],
        )


def _check_inputs(
    path: Path, storage: optuna.storages.RDBStorage, made_from: Mapping[str, Any]
) -> None:
    problems: list[str] = []
    for study in optuna.get_all_study_summaries(storage):
        stored = study.user_attrs.get(MADE_FROM)
        if stored is not None:
            problems += _list_differences(stored, made_from)
        elif study.n_trials:
            problems.append(
                f"the file contains a study that henaw tune did not make: {study.study_name!r}"
            )
    if problems:
        *first, last = dict.fromkeys(problems)
        raise StudyError(str(path), [*first, f"{last}; {_FIX}"])


def _list_differences(stored: Any, given: Any, where: str = "") -> list[str]:
    if isinstance(stored, Mapping) and isinstance(given, Mapping):
        return [
            problem
            for key in dict.fromkeys((*stored, *given))
            for problem in _list_differences(
                stored.get(key), given.get(key), f"{where}.{key}" if where else str(key)
            )
        ]
    if stored == given:
        return []
    return [f"{where}: this study was made with {stored!r}; got {given!r}"]
