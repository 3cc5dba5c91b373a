"""Typed, frozen configuration, and the one reader that turns mappings into it.

The reader finds every problem of a mapping before it reports any, so that a person corrects
a file once.
"""

from __future__ import annotations

import dataclasses
import difflib
import itertools
import math
import re
import types
import typing
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from henaw.model.biomarkers import CAUSES, INDEX, NAMES, PANEL, check_names
from henaw.model.errors import ConfigurationError, PanelError

T = TypeVar("T")

RATIO = "ast_alt_ratio"
"""The De Ritis ratio: the network's last variable, made of two biomarkers."""

RATIO_PARTS: tuple[int, int] = (INDEX["ast"], INDEX["alt"])
"""Indices of its numerator and its denominator in the panel."""

RATIO_CAPS: tuple[float, ...] = tuple(
    min(limit for limit in PANEL[place].reference.high if limit is not None)
    for place in RATIO_PARTS
)
"""U/L: the ratio is computed from values up to these caps, the lower of the two sexes' upper
reference limits.

Beyond a reference limit the ratio does not change, so that an abnormal value has only its own
effect. Otherwise a rising ALT would lower the ratio, and so look younger.
"""

VARIABLES: tuple[str, ...] = (*NAMES, RATIO)
TYPICAL_VALUES = "typical_values"
"""The contribution of having the median of every known value."""

MODULATORS: tuple[str, ...] = ("constant", "age", "sex")
OTHER_CAUSE = "other"
"""Deaths of a known cause that has no entry of its own."""

CAUSE_NAME = re.compile("[a-z][a-z0-9_]{0,39}")
CAUSE_NAME_RULE = "a lower-case letter, then up to 39 lower-case letters, digits or _"


@dataclass(frozen=True, kw_only=True)
class NetworkConfiguration:
    """The shape of the network: what its tensors depend on.

    Attributes:
        panel: names of the biomarkers that the gap is computed from, in the panel's order. The
            value of a biomarker that is left out is never used.
        input_dim: width of the biomarker input: the whole panel, also where some are left out.
        first_age: first year of age of the reference tables, years.
        last_age: last year of age of the reference tables, years.
        score_limit: normal scores are tabulated from minus this to this. From there to the ends
            of the accepted range they rise by one more.
        score_steps: number of linear pieces of each margin between the limits.
        knots: where the spline of each biomarker may bend, in normal scores.
        interactions: pairs of biomarkers whose product enters the gap.
        imputes_within_limits: biomarkers whose value beyond a reference limit imputes what the
            limit imputes: a diseased liver says nothing about the other values.
        adaptive_lambda: how much less a biomarker counts that varies more among people of one
            age, lambda in w = exp(-lambda CV) / sum exp(-lambda CV).
        hierarchy: C in |beta_interaction| <= C |alpha_individual|.
        members: number of refits in the ensemble, whose spread is part of the interval.
        variance_ages: ages at which the variance left by missing values is tabulated, years.
        causes: names of the causes of death whose risks are answered, in order; may be empty.
    """

    panel: tuple[str, ...] = NAMES
    input_dim: int = len(NAMES)
    first_age: int = 20
    last_age: int = 85
    score_limit: float = 4.0
    score_steps: int = 32
    knots: tuple[float, ...] = (-1.5, -0.75, 0.0, 0.75, 1.5, 2.25)
    interactions: tuple[tuple[str, str], ...] = (("crp", "hba1c"), ("creatinine", "albumin"))
    imputes_within_limits: tuple[str, ...] = ("ggt", "ast", "alt")
    adaptive_lambda: float = 0.1
    hierarchy: float = 1.0
    members: int = 10
    variance_ages: tuple[int, ...] = (20, 30, 40, 50, 60, 70, 80)
    causes: tuple[str, ...] = CAUSES

    def __post_init__(self) -> None:
        problems: list[str] = []
        try:
            check_names(self.panel, subject="panel")
        except PanelError as error:
            problems += [f"panel: {problem}" for problem in error.problems]
        if self.input_dim != len(NAMES):
            problems.append(f"input_dim must be {len(NAMES)}; got {self.input_dim}")
        if self.first_age < 1:
            problems.append(f"first_age must be at least 1; got {self.first_age}")
        if self.last_age - self.first_age < 2:
            problems.append(
                "last_age must be at least 2 years above first_age; got "
                f"first_age={self.first_age}, last_age={self.last_age}"
            )
        if not 1.0 <= self.score_limit <= 5.0:
            problems.append(f"score_limit must be 1 to 5; got {self.score_limit}")
        if not 2 <= self.score_steps <= 200 or self.score_steps % 2:
            problems.append(
                f"score_steps must be an even number of 2 to 200; got {self.score_steps}"
            )
        problems += _check_increasing("knots", self.knots)
        problems += _check_increasing("variance_ages", self.variance_ages, at_least=2)
        for pair in self.interactions:
            problems += [
                f"interactions: unknown biomarker {name!r} in {list(pair)}"
                for name in pair
                if name not in INDEX
            ]
            problems += [
                f"interactions: {name} is not in network.panel; leave {list(pair)} out"
                for name in pair
                if name in INDEX and name not in self.panel
            ]
            if len(set(pair)) != 2:
                problems.append(
                    f"interactions: a pair must be two different names; got {list(pair)}"
                )
        for both, count in Counter(frozenset(pair) for pair in self.interactions).items():
            if count > 1:
                problems.append(
                    f"interactions: {sorted(both)} is listed {count} times; list it once"
                )
        problems += [
            f"imputes_within_limits: unknown biomarker {name!r}"
            for name in self.imputes_within_limits
            if name not in INDEX
        ]
        if not 0 <= self.adaptive_lambda < math.inf:
            problems.append(f"adaptive_lambda must be 0 or more; got {self.adaptive_lambda}")
        if not 0 < self.hierarchy < math.inf:
            problems.append(f"hierarchy must be above 0; got {self.hierarchy}")
        if not 2 <= self.members <= 100:
            problems.append(f"members must be 2 to 100; got {self.members}")
        problems += [f"causes: {problem}" for problem in check_causes(self.causes)]
        if problems:
            raise ConfigurationError("network", problems)

    @property
    def used(self) -> tuple[bool, ...]:
        """Which variables the gap is computed from; the ratio needs both its biomarkers."""
        nine = tuple(name in self.panel for name in NAMES)
        return (*nine, all(nine[place] for place in RATIO_PARTS))

    @property
    def left_out(self) -> tuple[str, ...]:
        """Biomarkers whose values are never used."""
        return tuple(name for name in NAMES if name not in self.panel)

    @property
    def ages(self) -> int:
        """Number of yearly entries in the reference tables."""
        return self.last_age - self.first_age + 1

    @property
    def basis_size(self) -> int:
        """Basis functions of one biomarker before modulation."""
        return 1 + len(self.knots)

    @property
    def cause_classes(self) -> tuple[str, ...]:
        """The classes of a death: the named causes, then all others."""
        return (*self.causes, OTHER_CAUSE)

    @property
    def contribution_names(self) -> tuple[str, ...]:
        """The names of the columns of ``contributions``."""
        return (TYPICAL_VALUES, *VARIABLES, *(f"{a}_x_{b}" for a, b in self.interactions))


def check_causes(names: Sequence[str]) -> list[str]:
    """List what is wrong with the names of causes of death.

    Example:
        >>> check_causes(["cancer", "cancer"])
        ["'cancer' is listed 2 times; list it once"]
    """
    problems = [
        f"a name must be {CAUSE_NAME_RULE}; got {name!r}"
        for name in names
        if not CAUSE_NAME.fullmatch(name)
    ]
    if OTHER_CAUSE in names:
        problems.append(
            f"{OTHER_CAUSE!r} is the name of every cause that is not listed; leave it out"
        )
    return problems + [
        f"{name!r} is listed {count} times; list it once"
        for name, count in Counter(names).items()
        if count > 1
    ]


def _check_increasing(name: str, values: Sequence[float], at_least: int = 1) -> list[str]:
    ordered = all(a < b for a, b in itertools.pairwise(values))
    if len(values) >= at_least and ordered and all(map(math.isfinite, values)):
        return []
    return [f"{name} must be at least {at_least} increasing numbers; got {list(values)}"]


def read_configuration(cls: type[T], mapping: Mapping[str, Any], *, subject: str) -> T:
    """Build a configuration dataclass from a mapping, nested ones included.

    Args:
        cls: the dataclass.
        mapping: keys and values, as YAML or JSON gives them.
        subject: what the mapping is, for the message (a file name).

    Returns:
        The configuration; keys that are not given have their defaults.

    Raises:
        ConfigurationError: with every unknown key, missing key, value of a wrong type and value
            out of range.

    Example:
        >>> read_configuration(NetworkConfiguration, {"members": 20}, subject="network").members
        20
    """
    problems: list[str] = []
    built = _build(cls, mapping, "", problems)
    if problems:
        raise ConfigurationError(subject, problems)
    return typing.cast(T, built)


def _build(cls: Any, mapping: object, path: str, problems: list[str]) -> object:
    if not isinstance(mapping, Mapping):
        where = path.rstrip(".") or "top level"
        problems.append(f"{where} must be a mapping; got {mapping!r}")
        return None
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    before = len(problems)
    for key in mapping:
        if key not in fields:
            near = difflib.get_close_matches(str(key), list(fields), n=1)
            problems.append(
                f"{path}{key}: unknown key" + (f", did you mean {near[0]}?" if near else "")
            )
    # Values of the right type may still break a rule of their class. They are checked together
    # with the defaults, so that one message lists both kinds of problem.
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in mapping:
            count = len(problems)
            value = _convert(hints[name], mapping[name], f"{path}{name}", problems)
            if len(problems) == count:
                values[name] = value
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"{path}{name}: missing key")
    try:
        return cls(**values)
    except ConfigurationError as error:
        problems += [f"{path}{problem}" for problem in error.problems]
    except TypeError:
        if len(problems) == before:
            raise
    return None


def _convert(hint: Any, value: object, path: str, problems: list[str]) -> object:
    origin = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, f"{path}.", problems)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return _convert(inner, value, path, problems)
    if origin is tuple:
        if not isinstance(value, Sequence) or isinstance(value, str):
            problems.append(f"{path} must be a list; got {value!r}")
            return None
        if arguments[-1] is Ellipsis:
            inner_hints = [arguments[0]] * len(value)
        elif len(arguments) == len(value):
            inner_hints = list(arguments)
        else:
            problems.append(f"{path} must have {len(arguments)} entries; got {value!r}")
            return None
        return tuple(
            _convert(inner, item, f"{path}[{i}]", problems)
            for i, (inner, item) in enumerate(zip(inner_hints, value, strict=True))
        )
    if origin is Mapping:
        if not isinstance(value, Mapping):
            problems.append(f"{path} must be a mapping; got {value!r}")
            return None
        return {
            str(key): _convert(arguments[1], item, f"{path}.{key}", problems)
            for key, item in value.items()
        }
    if origin is typing.Literal:
        if value not in arguments:
            problems.append(f"{path} must be one of {list(arguments)}; got {value!r}")
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            problems.append(f"{path} must be a number up to 1.8e308; got a larger one")
            return None
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        problems.append(f"{path} must be {hint.__name__}; got {value!r}")
    return value
