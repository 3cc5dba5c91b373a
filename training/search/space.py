"""Which hyperparameters of a fit a search may change, and within which limits."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from henaw.model.configuration import read_configuration
from henaw.model.errors import ConfigurationError
from henaw.training.configuration import TrainingConfiguration, read_mapping
from henaw.training.metrics import AGE_BANDS

Hyperparameters = Mapping[str, Any]
"""Values by name, from the configuration's ``fit`` or ``network``."""

RANGES: dict[str, str] = {
    "elastic_weight": "fit",
    "elastic_alpha": "fit",
    "modulation_penalty": "fit",
    "age_weight": "fit",
    "survey_ridge": "fit",
    "adaptive_lambda": "network",
    "hierarchy": "network",
}
"""Hyperparameters searched between two numbers, and their part of the configuration."""
LISTS: dict[str, str] = {
    "follow_up_years": "fit",
    "knots": "network",
    "interactions": "network",
}
"""Hyperparameters chosen from a list, and their part of the configuration."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """Numbers from low to high.

    Attributes:
        low: the least value.
        high: the greatest value.
        log: draw uniformly in the logarithm.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        problems = []
        if not -math.inf < self.low < self.high < math.inf:
            problems.append(
                f"low must be below high, both finite; got low={self.low}, high={self.high}"
            )
        if self.log and not self.low > 0:
            problems.append(f"low must be > 0 where log is true; got {self.low}")
        if problems:
            raise ConfigurationError("range", problems)


@dataclass(frozen=True, kw_only=True)
class SearchConfiguration:
    """What a search may change; a hyperparameter that it does not name stays as configured.

    Attributes:
        elastic_weight: the range of ``fit.elastic_weight``.
        elastic_alpha: the range of ``fit.elastic_alpha``.
        modulation_penalty: the range of ``fit.modulation_penalty``.
        age_weight: the range of ``fit.age_weight``.
        survey_ridge: the range of ``fit.survey_ridge``.
        adaptive_lambda: the range of ``network.adaptive_lambda``.
        hierarchy: the range of ``network.hierarchy``.
        follow_up_years: values of ``fit.follow_up_years`` to try besides the configured one.
        knots: lists for ``network.knots`` to try besides the configured one.
        interactions: lists for ``network.interactions`` to try besides the configured one.
        bands: age bands; the mean of their C is maximised.
        surveys: the surveys that are left out in turn; if empty, all with deaths and with
            complete people followed for 10 years.
        startup_trials: trials drawn at random before the results of earlier trials are used.
    """

    elastic_weight: Range | None = None
    elastic_alpha: Range | None = None
    modulation_penalty: Range | None = None
    age_weight: Range | None = None
    survey_ridge: Range | None = None
    adaptive_lambda: Range | None = None
    hierarchy: Range | None = None
    follow_up_years: tuple[float, ...] = ()
    knots: tuple[tuple[float, ...], ...] = ()
    interactions: tuple[tuple[tuple[str, str], ...], ...] = ()
    bands: tuple[str, ...] = ("all",)
    surveys: tuple[str, ...] = ()
    startup_trials: int = 10

    def __post_init__(self) -> None:
        problems = []
        if not any(getattr(self, name) for name in (*RANGES, *LISTS)):
            problems.append(f"a search must name at least one of {[*RANGES, *LISTS]}; got none")
        unknown = [band for band in self.bands if band not in AGE_BANDS]
        if unknown or not self.bands or len(set(self.bands)) < len(self.bands):
            problems.append(
                f"bands must be some of {list(AGE_BANDS)}, each once; got {list(self.bands)}"
            )
        if len(set(self.surveys)) < len(self.surveys):
            problems.append(f"surveys must be named once each; got {list(self.surveys)}")
        if self.startup_trials < 1:
            problems.append(f"startup_trials must be >= 1; got {self.startup_trials}")
        if problems:
            raise ConfigurationError("search", problems)


DEFAULT_SEARCH = SearchConfiguration(
    elastic_weight=Range(low=1e-6, high=1e-3, log=True),
    elastic_alpha=Range(low=0.0, high=1.0),
    modulation_penalty=Range(low=1.0, high=100.0, log=True),
    age_weight=Range(low=0.0, high=5e-4),
    survey_ridge=Range(low=1e-4, high=1e-1, log=True),
    adaptive_lambda=Range(low=0.0, high=1.0),
    hierarchy=Range(low=0.1, high=10.0, log=True),
    follow_up_years=(8.0, 10.0, 15.0),
    interactions=(
        (),
        (("crp", "hba1c"), ("creatinine", "albumin")),
        (
            ("crp", "hba1c"),
            ("creatinine", "albumin"),
            ("crp", "albumin"),
            ("albumin", "rdw"),
            ("lymphocyte_pct", "rdw"),
            ("hba1c", "ggt"),
        ),
    ),
)
"""What ``henaw tune`` searches without ``--search``."""


def read_search_configuration(path: Path) -> SearchConfiguration:
    """Read and check a YAML file.

    Raises:
        ConfigurationError: the file does not exist, is not YAML, or has wrong entries, which
            are all listed.
    """
    return read_configuration(SearchConfiguration, read_mapping(path), subject=str(path))


@dataclass(frozen=True)
class SearchSpace:
    """A search around one configuration.

    Raises:
        ConfigurationError: a configured value is outside its range, or the search contains
            values that a configuration must not have; all are listed.
    """

    search: SearchConfiguration
    configuration: TrainingConfiguration

    def __post_init__(self) -> None:
        problems = [
            f"surveys: {survey!r} is held out by the configuration; leave it out of the search"
            for survey in self.search.surveys
            if survey in self.configuration.cohort.hold_out
        ]
        for name, span in self._ranges():
            now = self._configured(name)
            if not span.low <= now <= span.high:
                problems.append(
                    f"{name}: the range must contain the configured value, {now:g}; "
                    f"got {span.low:g} to {span.high:g}"
                )
            problems += self._check(name, (span.low, span.high))
        for name, options in self._lists():
            problems += self._check(name, options)
        if problems:
            raise ConfigurationError("search", problems)

    @property
    def configured(self) -> dict[str, Any]:
        """The configured hyperparameters, in the form of a trial's parameters."""
        return {name: self._configured(name) for name, _ in self._ranges()} | {
            name: _encode(self._configured(name)) for name, _ in self._lists()
        }

    def suggest(self, trial: optuna.Trial) -> Hyperparameters:
        """Draw all hyperparameters of the search for a trial."""
        for name, span in self._ranges():
            trial.suggest_float(name, span.low, span.high, log=span.log)
        for name, options in self._lists():
            trial.suggest_categorical(name, [_encode(option) for option in options])
        return self.read_hyperparameters(trial.params)

    def read_hyperparameters(self, parameters: Mapping[str, Any]) -> Hyperparameters:
        """The hyperparameters of a trial's parameters.

        Drawn numbers are rounded to three digits; more would only look precise.
        """
        hyperparameters: dict[str, Any] = {}
        for name, span in self._ranges():
            value = parameters[name]
            if value != self._configured(name):
                value = min(max(float(f"{value:.3g}"), span.low), span.high)
            hyperparameters[name] = value
        for name, _ in self._lists():
            hyperparameters[name] = _freeze(json.loads(parameters[name]))
        return hyperparameters

    def apply(self, hyperparameters: Hyperparameters) -> TrainingConfiguration:
        """The configuration with these hyperparameters.

        Raises:
            ConfigurationError: they are not valid together.
        """
        parts = {}
        for part in ("network", "fit"):
            own = {n: v for n, v in hyperparameters.items() if (RANGES | LISTS)[n] == part}
            parts[part] = dataclasses.replace(getattr(self.configuration, part), **own)
        return dataclasses.replace(self.configuration, **parts)

    def _ranges(self) -> Iterable[tuple[str, Range]]:
        for name in RANGES:
            if getattr(self.search, name) is not None:
                yield name, getattr(self.search, name)

    def _lists(self) -> Iterable[tuple[str, tuple[Any, ...]]]:
        """Hyperparameters with their options, the configured one first."""
        for name in LISTS:
            if options := getattr(self.search, name):
                yield name, tuple(dict.fromkeys((self._configured(name), *options)))

    def _configured(self, name: str) -> Any:
        return getattr(getattr(self.configuration, (RANGES | LISTS)[name]), name)

    def _check(self, name: str, values: Iterable[Any]) -> list[str]:
        problems = [problem for value in values for problem in self._list_problems({name: value})]
        return list(dict.fromkeys(problems))

    def _list_problems(self, hyperparameters: Hyperparameters) -> tuple[str, ...]:
        try:
            self.apply(hyperparameters)
        except ConfigurationError as error:
            return error.problems
        return ()


def _encode(value: Any) -> str:
    """JSON text, because a study cannot store lists."""
    return json.dumps(value)


def _freeze(value: Any) -> Any:
    return tuple(map(_freeze, value)) if isinstance(value, list) else value
