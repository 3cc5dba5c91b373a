"""Choosing hyperparameters by nested cross-validation.

The inner loop chooses: it tries hyperparameters by leaving out one survey at a time, and takes
those with the best mean C. That C is too high, because it is the best of many. An outer loop
therefore leaves each survey out of a whole search, and scores the search's choice on that survey.
The hyperparameters returned are chosen on everyone; the outer loop measures how good such a
choice is. The surveys that the configuration holds out are dropped first.

Source:
    Cawley GC, Talbot NLC (2010), J Mach Learn Res 11:2079-2107.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from henaw.model.distribution import read_version
from henaw.model.errors import CohortError, StudyError
from henaw.model.files import write_whole
from henaw.training.cohorts.cohort import Cohort, read_cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.execution.execution import ALONE, Execution
from henaw.training.requirements import adapt_to_cohort
from henaw.training.search.crossvalidation import (
    Fold,
    Folds,
    FoldScore,
    average,
    cross_validate,
    score_fold,
    split,
)
from henaw.training.search.space import Hyperparameters, SearchConfiguration, SearchSpace
from henaw.training.search.study import REASON, SCORES, StudyFile, Trials, open_study_file
from optuna.trial import FrozenTrial, TrialState

Progress = Callable[[str, float | None], None]
"""Called with the name of a fit and its seconds, or None if it was not run."""

_LOGGER = logging.getLogger(__name__)

OUTER = "outer"
"""The study's attribute with the scores of its choice on the people left out."""
FINAL = "all training people"


@dataclass(frozen=True, kw_only=True)
class Search:
    """One inner loop.

    Attributes:
        name: the name of its study.
        cohort: the people it chooses on.
        folds: the parts of these people that are left out in turn.
        outer: the outer fold, which is not in ``cohort``; None if ``cohort`` has
            all training people.
    """

    name: str
    cohort: Cohort
    folds: tuple[Fold, ...]
    outer: Fold | None = None


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """The result of tuning.

    Attributes:
        configuration: the original configuration with the chosen hyperparameters.
        report: aggregates only: each trial's hyperparameters and scores, and the outer loop.
    """

    configuration: TrainingConfiguration
    report: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The plan of tuning, checked and counted before it begins.

    Attributes:
        space: the hyperparameters to search.
        cohort: the training people, without the surveys held out.
        inner: how the inner loop leaves people out.
        trials: trials of each inner loop, the configured hyperparameters first.
        searches: the inner loops; the last one uses everyone.
    """

    space: SearchSpace
    cohort: Cohort
    inner: Folds
    trials: int
    searches: tuple[Search, ...]

    def count_fits(self) -> int:
        """How often :meth:`run` reports progress."""
        return sum(
            self.trials * len(search.folds) + (0 if search.outer is None else 2)
            for search in self.searches
        )

    def describe_plan(self) -> str:
        """The fits of :meth:`run`, in words."""
        parts = []
        for search in self.searches:
            trials = "1 trial" if self.trials == 1 else f"{self.trials} trials"
            fits = f"{search.name}, {trials} of {len(search.folds)} fits"
            parts.append(fits + ("" if search.outer is None else " and 2 fits that score"))
        return f"{self.count_fits()} fits: {'; '.join(parts)}"

    def describe_inputs(self) -> dict[str, Any]:
        """The inputs that a trial's result depends on, as a study stores them."""
        configuration = self.space.configuration
        return {
            "henaw": read_version(),
            "cohort_sha256": self.cohort.digest,
            "seed": configuration.seed,
            **{
                part: dataclasses.asdict(getattr(configuration, part))
                for part in ("network", "cohort", "fit", "loop")
            },
            "search": dataclasses.asdict(self.space.search),
            "inner_folds": self.inner,
        }

    def run(
        self,
        study: Path,
        *,
        progress: Progress = lambda _, __: None,
        execution: Execution = ALONE,
    ) -> Tuned:
        """Run the trials that the study does not contain yet.

        Args:
            study: the SQLite file of trials, new or to be continued.
            progress: called when a fit ends or is found in the study.
            execution: where the fits run.

        Raises:
            StudyError: the file belongs to other inputs or cannot be used, or every
                trial of a search failed.
            CohortError: the people without an outer fold cannot be fitted with the chosen
                hyperparameters.
            FitError: such a fit fails.
        """
        outer = []
        with open_study_file(study, self.describe_inputs()) as file:
            for search in self.searches:
                trials = self._try(search, file, progress, execution)
                best = trials.choose_best(self.trials)
                if search.outer is not None:
                    outer.append(self._score_outer(search.outer, trials, best, progress, execution))
            return self._conclude(trials, best, outer)

    def _try(
        self, search: Search, file: StudyFile, progress: Progress, execution: Execution
    ) -> Trials:
        trials = file.open_trials(search.name, self.space)
        bands = self.space.search.bands

        def evaluate(hyperparameters: Hyperparameters) -> tuple[float, Any]:
            ended, began = 0, time.monotonic()

            def advance(fold: str) -> None:
                nonlocal ended, began
                ended += 1
                took, began = time.monotonic() - began, time.monotonic()
                _report(progress, f"{search.name}, without {fold}", took)

            try:
                scores = cross_validate(
                    search.cohort,
                    self.space.apply(hyperparameters),
                    search.folds,
                    progress=advance,
                    execution=execution,
                )
            finally:
                for fold in search.folds[ended:]:
                    progress(f"{search.name}, without {fold.name}, not run", None)
            mean = average(scores)
            absent = [band for band in bands if band not in mean]
            if absent:
                raise CohortError(
                    search.name,
                    [f"in some fold no two people can be compared in the age bands {absent}"],
                )
            value = float(np.mean([mean[band] for band in bands]))
            return value, {
                "c_index": mean,
                "folds": [dataclasses.asdict(score) for score in scores],
            }

        def skip() -> None:
            for fold in search.folds:
                progress(f"{search.name}, without {fold.name}, stored", None)

        trials.run(self.trials, evaluate, stored=skip)
        return trials

    def _score_outer(
        self,
        fold: Fold,
        trials: Trials,
        best: FrozenTrial,
        progress: Progress,
        execution: Execution,
    ) -> dict[str, Any]:
        """Score the chosen and the configured hyperparameters on the outer fold."""
        hyperparameters = dict(self.space.read_hyperparameters(best.params))
        plain = json.loads(json.dumps(hyperparameters))
        kept: dict[str, Any] | None = trials.study.user_attrs.get(OUTER)
        names = [f"{fold.name} by hyperparameters chosen without it", f"{fold.name} as configured"]
        # With more trials than before, the choice may have changed.
        if kept is not None and kept["hyperparameters"] == plain:
            for name in names:
                progress(f"{name}, stored", None)
            return kept
        scores: list[FoldScore] = []
        chosen = self.space.apply(hyperparameters)
        for name, tried in zip(names, (chosen, self.space.configuration), strict=True):
            if scores and tried == chosen:
                scores *= 2
                progress(f"{name}, the same", None)
                continue
            began = time.monotonic()
            scores.append(score_fold(self.cohort, tried, fold, execution=execution))
            _report(progress, name, time.monotonic() - began)
        tuned, configured = scores
        kept = {
            "hyperparameters": plain,
            "tuned": dataclasses.asdict(tuned),
            "configured": dataclasses.asdict(configured),
        }
        trials.study.set_user_attr(OUTER, kept)
        return kept

    def _conclude(
        self, trials: Trials, best: FrozenTrial, outer: Sequence[Mapping[str, Any]]
    ) -> Tuned:
        configuration = self.space.configuration
        done = trials.list_done()[: self.trials]
        report: dict[str, Any] = {
            "made_from": trials.study.user_attrs["made_from"],
            "held_out": list(configuration.cohort.hold_out),
            "people": len(self.cohort),
            "trials": [self._describe_trial(trial) for trial in done],
            "chosen": self._describe_trial(best),
            "outer": None,
        }
        if outer:
            report["outer"] = {
                "folds": list(outer),
                **{
                    which: average([FoldScore(**fold[which]) for fold in outer])
                    for which in ("tuned", "configured")
                },
            }
        hyperparameters = self.space.read_hyperparameters(best.params)
        return Tuned(configuration=self.space.apply(hyperparameters), report=report)

    def _describe_trial(self, trial: FrozenTrial) -> dict[str, Any]:
        described = {"hyperparameters": dict(self.space.read_hyperparameters(trial.params))}
        if trial.state == TrialState.FAIL:
            return described | {"failed": trial.user_attrs.get(REASON)}
        return described | {"value": trial.value, **trial.user_attrs[SCORES]}


def _report(progress: Progress, name: str, seconds: float) -> None:
    _LOGGER.info("%s: fitted and scored in %.1f s", name, seconds)
    progress(name, seconds)


def prepare_tuning(
    configuration: TrainingConfiguration,
    search: SearchConfiguration,
    cohort_path: Path,
    *,
    trials: int,
    inner: Folds = "survey",
    outer: Folds | None = "survey",
) -> Tuning:
    """Read the cohort and plan every search.

    Args:
        configuration: the original one; the surveys that it holds out are dropped.
        search: what may change.
        cohort_path: Parquet or CSV.
        trials: trials of each inner loop, including the one of the configured hyperparameters.
        inner: how the inner loop leaves people out.
        outer: how the outer loop leaves people out; None for no outer loop.

    Raises:
        ConfigurationError: the search does not fit the configuration.
        CohortError: the cohort cannot be used, or cannot be split into these folds.
    """
    configuration, cohort = adapt_to_cohort(
        configuration, read_cohort(cohort_path, configuration.cohort)
    )
    space = SearchSpace(search, configuration)
    cohort = cohort.select(~np.isin(cohort.survey, configuration.cohort.hold_out))
    seed, surveys = configuration.seed, search.surveys
    searches = []
    for fold in () if outer is None else split(cohort, outer, surveys=surveys, seed=seed):
        rest = cohort.select(~fold.left_out)
        others = tuple(survey for survey in surveys if survey != fold.name)
        name = f"without {fold.name}" if outer == "survey" else f"without {fold.name} of {outer}"
        folds = split(rest, inner, surveys=others, seed=seed)
        searches.append(Search(name=name, cohort=rest, folds=folds, outer=fold))
    folds = split(cohort, inner, surveys=surveys, seed=seed)
    searches.append(Search(name=FINAL, cohort=cohort, folds=folds))
    return Tuning(space=space, cohort=cohort, inner=inner, trials=trials, searches=tuple(searches))


def write_tuned(tuned: Tuned, path: Path, *, overwrite: bool = False) -> Path:
    """Write the chosen configuration as YAML and, beside it, the report as JSON.

    Args:
        tuned: the result.
        path: the configuration's path.
        overwrite: replace existing files.

    Returns:
        The path of the report.

    Raises:
        StudyError: a file exists and must not be replaced.
    """
    report_path = locate_report(path)
    check_free(path, overwrite=overwrite)
    text = json.dumps(tuned.report, indent=1, allow_nan=False) + "\n"
    # The configuration is written last, so that it never exists without its report.
    write_whole(report_path, text.encode())
    write_whole(path, describe_configuration(tuned).encode())
    return report_path


def locate_report(path: Path) -> Path:
    """The path of the report that belongs to a configuration's file."""
    return path.with_suffix(".report.json")


def check_free(path: Path, *, overwrite: bool) -> None:
    """Refuse a path if a file there must not be replaced.

    Raises:
        StudyError: the configuration or its report exists, and ``overwrite`` is false.
    """
    taken = [str(file) for file in (path, locate_report(path)) if file.exists()]
    if taken and not overwrite:
        raise StudyError(
            str(path),
            [f"{file} already exists. Name another file, or use --overwrite" for file in taken],
        )


def describe_configuration(tuned: Tuned) -> str:
    """A complete configuration as YAML; comments say how it was chosen."""
    report = tuned.report
    chosen, inputs = report["chosen"], report["made_from"]
    lines = [
        f"Hyperparameters that henaw tune chose from {len(report['trials'])} trials, by",
        f"cross-validation on {report['people']} people of the cohort with SHA-256",
        f"{inputs['cohort_sha256']},",
        f"held out: {', '.join(report['held_out']) or 'no survey'}.",
        f"C for death within 10 years, left-out people of the inner loop: "
        f"{_format_bands(chosen['c_index'])}.",
    ]
    if report["outer"] is not None:
        lines.append(
            f"C of such a choice, left-out people of the outer loop: "
            f"{_format_bands(report['outer']['tuned'])}."
        )
    lines.append("Name, version and date are still those of the first configuration.")
    mapping = json.loads(json.dumps(dataclasses.asdict(tuned.configuration)))
    body = yaml.safe_dump(mapping, sort_keys=False, allow_unicode=True, width=88)
    return "".join(f"# {line}\n" for line in lines) + body


def _format_bands(bands: Mapping[str, float]) -> str:
    return ", ".join(f"{band} {value:.4f}" for band, value in bands.items())
