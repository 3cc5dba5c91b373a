"""The configuration of a fit, as the YAML files in ``training/configs`` give it."""

from __future__ import annotations

import datetime
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import yaml
from henaw.model.biomarkers import CAUSES, INDEX, NAMES
from henaw.model.configuration import NetworkConfiguration, check_causes, read_configuration
from henaw.model.errors import ConfigurationError


@dataclass(frozen=True, kw_only=True)
class DetectionFloor:
    """An assay that reports its detection limit for everything below it.

    Attributes:
        survey: where it was used.
        biomarker: what it measured.
        limit: the limit, in the panel's unit; a value up to it only means "below it".
    """

    survey: str
    biomarker: str
    limit: float

    def __post_init__(self) -> None:
        problems = []
        if self.biomarker not in INDEX:
            problems.append(f"biomarker must be one of {list(NAMES)}; got {self.biomarker!r}")
        if not 0 < self.limit < math.inf:
            problems.append(f"limit must be finite and > 0; got {self.limit}")
        if problems:
            raise ConfigurationError("detection floor", problems)


@dataclass(frozen=True, kw_only=True)
class TopCode:
    """A survey that gives this age, years, to everyone as old or older."""

    survey: str
    age: float

    def __post_init__(self) -> None:
        if not 18 <= self.age <= 120:
            raise ConfigurationError("top code", [f"age must be 18 to 120 years; got {self.age}"])


@dataclass(frozen=True, kw_only=True)
class Laboratories:
    """How far laboratories differ, from another source than the cohort.

    Attributes:
        standard_deviation: of laboratories' shifts, by biomarker: of the logarithm where the
            biomarker is log-scaled, else in the panel's unit. Used where fewer than two
            surveys of the cohort measured the biomarker.
        source: where the numbers are from.
    """

    standard_deviation: Mapping[str, float]
    source: str

    def __post_init__(self) -> None:
        problems = [
            f"standard_deviation: a biomarker must be one of {list(NAMES)}; got {name!r}"
            for name in self.standard_deviation
            if name not in INDEX
        ]
        problems += [
            f"standard_deviation.{name} must be finite and > 0; got {value}"
            for name, value in self.standard_deviation.items()
            if not 0 < value < math.inf
        ]
        if not self.source.strip():
            problems.append("source must say where the numbers are from; got an empty text")
        if problems:
            raise ConfigurationError("laboratories", problems)


@dataclass(frozen=True, kw_only=True)
class CohortConfiguration:
    """Which people are fitted, and how the table's codes are read.

    Attributes:
        minimum_age: youngest person fitted, years.
        maximum_age: oldest person fitted, years.
        causes: codes of the underlying cause of death, by the cause's name; every other
            code is "other". Without causes the model gives no risks by cause.
        detection_floors: assays with a detection floor that many people are below.
        top_codes: surveys that do not give the oldest ages; those people are left out.
        hold_out: surveys left out of a second fit, on which metrics are reported.
        panel: the biomarkers that are read: those of the network.
        laboratories: how far laboratories differ, for a cohort of one survey.
    """

    minimum_age: float = 20.0
    maximum_age: float = 90.0
    causes: Mapping[str, tuple[int, ...]]
    detection_floors: tuple[DetectionFloor, ...] = ()
    top_codes: tuple[TopCode, ...] = ()
    hold_out: tuple[str, ...] = ()
    panel: tuple[str, ...] = NAMES
    laboratories: Laboratories | None = None

    def __post_init__(self) -> None:
        problems = [f"causes: {problem}" for problem in check_causes(self.cause_names)]
        codes = Counter(code for listed in self.causes.values() for code in listed)
        twice = sorted(code for code, count in codes.items() if count > 1)
        if twice:
            problems.append(f"causes: a code must be under one cause only; got twice: {twice}")
        problems += [
            f"causes.{name} must have at least one code. Leave {name} out for no risk of it"
            for name, listed in self.causes.items()
            if not listed
        ]
        if not 18 <= self.minimum_age < self.maximum_age <= 120:
            problems.append(
                "minimum_age must be at least 18 and below maximum_age, which must be at most 120; "
                f"got minimum_age={self.minimum_age}, maximum_age={self.maximum_age}"
            )
        if problems:
            raise ConfigurationError("cohort", problems)

    @property
    def cause_names(self) -> tuple[str, ...]:
        """The causes in the model's order: those of the shipped model first, then by name."""
        usual = tuple(name for name in CAUSES if name in self.causes)
        return usual + tuple(sorted(set(self.causes) - set(usual)))


@dataclass(frozen=True, kw_only=True)
class FitConfiguration:
    """What is minimised.

    L = L_mortality + age_weight L_age + cause_weight L_cause + elastic_weight R, with
    R = sum of alpha |w| + (1 - alpha) w^2 over weights per standard deviation of their
    feature, in years.

    Attributes:
        follow_up_years: follow-up is cut here; a later death counts as survival.
        age_weight: weight of L_age, the mean squared age gap in years.
        cause_weight: weight of L_cause, the cross-entropy of the cause among deaths.
        elastic_weight: weight of R for the gap.
        elastic_alpha: the share of |w| in R.
        modulation_penalty: factor of R for weights modulated by age and sex.
        tail_penalty: further factor of R for these weights at the splines' outer knots.
        harm_weight: first weight of the penalty for breaking the rule that no harmful value
            looks younger (``henaw.model.graph.harm``). 0: no rules.
        credit_rules: biomarkers with the rule that twice the upper limit must not look
            better than the median.
        steepest_years: most years by which one reporting step inside the reference interval
            may move the gap; less from age 50 on.
        steepness_rules: biomarkers with that rule.
        cause_ridge: weight of w^2 for the causes' weights.
        survey_ridge: weight of w^2 for each survey's own level of the hazard.
        period: year of the baseline hazard that the model has, by a trend over surveys named
            by their years; without it, the baseline is that of the average person fitted.
        method: "lbfgs" uses everyone in each evaluation; "minibatch" first comes near the
            minimum by :class:`LoopConfiguration`, and then does the same. Both end in the
            same minimum.
        iterations: most L-BFGS iterations of the point estimate.
        member_iterations: most L-BFGS iterations of a refit.
    """

    follow_up_years: float = 10.0
    age_weight: float = 0.0
    cause_weight: float = 1.0
    elastic_weight: float = 3e-5
    elastic_alpha: float = 0.1
    modulation_penalty: float = 10.0
    tail_penalty: float = 1.0
    harm_weight: float = 0.01
    credit_rules: tuple[str, ...] = ("ggt", "ast", "alt")
    steepest_years: float = 1.0
    steepness_rules: tuple[str, ...] = ()
    cause_ridge: float = 1e-3
    survey_ridge: float = 1e-3
    period: float | None = None
    method: Literal["lbfgs", "minibatch"] = "lbfgs"
    iterations: int = 400
    member_iterations: int = 200

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be finite and >= 0; got {getattr(self, name)}"
            for name in (
                "age_weight",
                "cause_weight",
                "elastic_weight",
                "modulation_penalty",
                "tail_penalty",
                "harm_weight",
                "steepest_years",
                "cause_ridge",
                "survey_ridge",
            )
            if not 0 <= getattr(self, name) < math.inf
        ]
        if not 0 < self.follow_up_years < math.inf:
            problems.append(f"follow_up_years must be finite and > 0; got {self.follow_up_years}")
        problems += [
            f"{field}: a biomarker must be one of {list(NAMES)}; got {name!r}"
            for field in ("credit_rules", "steepness_rules")
            for name in getattr(self, field)
            if name not in INDEX
        ]
        if self.period is not None and not 1900 <= self.period <= 2100:
            problems.append(f"period must be a year from 1900 to 2100; got {self.period}")
        if not 0 <= self.elastic_alpha <= 1:
            problems.append(f"elastic_alpha must be 0 to 1; got {self.elastic_alpha}")
        problems += [
            f"{name} must be >= 1; got {getattr(self, name)}"
            for name in ("iterations", "member_iterations")
            if getattr(self, name) < 1
        ]
        if problems:
            raise ConfigurationError("fit", problems)


@dataclass(frozen=True, kw_only=True)
class LoopConfiguration:
    """The mini-batches of ``fit.method: minibatch``.

    Attributes:
        batch_size: most people in a step, over all processes.
        accumulation: pieces in which a batch is computed, one after another; doubled
            whenever memory runs out.
        epochs: passes over the people.
        learning_rate: of Adam, at its highest.
        warmup_share: share of the steps in which the learning rate rises from 0; then it
            falls to 0 along a cosine.
        gradient_clip_norm: a longer gradient is shortened to this.
        save_steps: steps between saved states; the end of each epoch is also saved.
        log_steps: steps between records.
        max_history_size: most epochs kept in a saved state's history.
        tensorboard: write records for TensorBoard too.
    """

    batch_size: int = 8192
    accumulation: int = 1
    epochs: int = 10
    learning_rate: float = 0.2
    warmup_share: float = 0.05
    gradient_clip_norm: float = 1.0
    save_steps: int = 200
    log_steps: int = 20
    max_history_size: int = 1000
    tensorboard: bool = False

    def __post_init__(self) -> None:
        problems = [
            f"{name} must be >= 1; got {getattr(self, name)}"
            for name in (
                "batch_size",
                "accumulation",
                "epochs",
                "save_steps",
                "log_steps",
                "max_history_size",
            )
            if getattr(self, name) < 1
        ]
        problems += [
            f"{name} must be finite and > 0; got {getattr(self, name)}"
            for name in ("learning_rate", "gradient_clip_norm")
            if not 0 < getattr(self, name) < math.inf
        ]
        if not 0 <= self.warmup_share <= 0.5:
            problems.append(f"warmup_share must be 0 to 0.5; got {self.warmup_share}")
        if self.accumulation > self.batch_size:
            problems.append(
                f"accumulation must be at most batch_size, {self.batch_size}; "
                f"got {self.accumulation}"
            )
        if problems:
            raise ConfigurationError("loop", problems)


@dataclass(frozen=True, kw_only=True)
class TrainingConfiguration:
    """Everything a fit depends on besides the cohort.

    Attributes:
        name: the model's name, as answers give it.
        version: the model's version, as answers give it.
        date: the model's date, YYYY-MM-DD. It is given, not read from the clock, so that
            the same configuration makes the same bytes.
        training_data: what it is fitted on, for the metadata.
        intended_use: for the metadata.
        seed: of the refits.
        network: the shape; its causes are those of ``cohort``.
        cohort: which people are fitted; its panel is that of ``network``.
        fit: what is minimised.
        loop: how it is minimised in batches.
    """

    name: str
    version: str
    date: str
    training_data: str
    intended_use: str
    seed: int
    network: NetworkConfiguration = field(default_factory=NetworkConfiguration)
    cohort: CohortConfiguration
    fit: FitConfiguration = field(default_factory=FitConfiguration)
    loop: LoopConfiguration = field(default_factory=LoopConfiguration)

    def __post_init__(self) -> None:
        problems = []
        try:
            datetime.date.fromisoformat(self.date)
        except ValueError:
            problems.append(f"date must be YYYY-MM-DD; got {self.date!r}")
        if self.seed < 0:
            problems.append(f"seed must be >= 0; got {self.seed}")
        problems += [
            f"{name} must not be empty"
            for name in ("name", "version", "training_data", "intended_use")
            if not getattr(self, name).strip()
        ]
        problems += [
            f"cohort.detection_floors: {floor.biomarker} is not in network.panel. Leave it out"
            for floor in self.cohort.detection_floors
            if floor.biomarker not in self.network.panel
        ]
        if problems:
            raise ConfigurationError("training", problems)
        # A file names each once: causes under ``cohort``, biomarkers under ``network``.
        object.__setattr__(self, "network", replace(self.network, causes=self.cohort.cause_names))
        object.__setattr__(self, "cohort", replace(self.cohort, panel=self.network.panel))


def read_training_configuration(path: Path) -> TrainingConfiguration:
    """Read and check a YAML file.

    Raises:
        ConfigurationError: the file does not exist, is not YAML, or has wrong entries, which
            are all listed.
    """
    return read_configuration(TrainingConfiguration, read_mapping(path), subject=str(path))


def read_mapping(path: Path) -> Mapping[str, Any]:
    """The content of a YAML file, with any keys.

    Raises:
        ConfigurationError: the file does not exist, cannot be read or is not YAML.
    """
    try:
        mapping: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(
            str(path), ["there is no such file; a YAML file is needed"]
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(str(path), [f"the file is not YAML: {error}"]) from error
    except OSError as error:
        raise ConfigurationError(str(path), [f"the file cannot be read: {error}"]) from error
    return mapping
