"""Drift: how far recent inputs are from the people that the model was fitted on.

Each value is standardised for age and sex as in the network, so that older clients alone are no
drift. It is then counted in bins that have equal shares of the fitted people. Ages and sexes are
counted as they are. The edges and shares are in the model's sidecar.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from henaw.model.biomarkers import NAMES, PANEL, SEXES
from henaw.model.errors import ArtifactError

INPUTS = (*NAMES, "age", "sex")
"""The inputs that are watched, in the order of the counts."""

_MINIMA = np.array([b.minimum for b in PANEL])
_MAXIMA = np.array([b.maximum for b in PANEL])

_BLOCK = 2_048
"""People that are counted together: their tables stay in the CPU's cache."""


@dataclass(frozen=True, kw_only=True)
class DriftReference:
    """The distribution of the fitted people's values.

    Attributes:
        first_age: the first age of the tables, years; each row is one year.
        log: (9,) bool, which biomarkers are compared by their logarithm.
        location: (2, ages, 9), by sex code.
        scale: (2, ages, 9), by sex code.
        edges: (9, bins - 1), standardised values, ascending.
        expected: shares of the fitted people by bin, the same for each biomarker.
        age_edges: (bins - 1,), years, ascending.
        people: shares of "age" by bin and of "sex" by code; empty where the model has none.
    """

    first_age: float
    log: npt.NDArray[np.bool_]
    location: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    edges: npt.NDArray[np.float64]
    expected: tuple[float, ...]
    age_edges: npt.NDArray[np.float64]
    people: Mapping[str, tuple[float, ...]]

    def find_expected(self) -> dict[str, tuple[float, ...]]:
        """Return the shares by input, without inputs for which the model has none."""
        return {**dict.fromkeys(NAMES, self.expected), **self.people}


def load_drift_reference(sidecar: Path) -> DriftReference:
    """Read ``drift`` in the model's sidecar.

    Raises:
        ArtifactError: it is missing, or the shapes of its tables do not match.
    """
    try:
        drift = msgspec.json.decode(sidecar.read_bytes())["drift"]
        people = drift.get("people") or {}
        reference = DriftReference(
            first_age=float(drift["age"][0]),
            log=np.array(drift["log"], np.bool_),
            location=_stack(drift["location"]),
            scale=_stack(drift["scale"]),
            edges=np.array([drift["edges"][name] for name in NAMES], np.float64),
            expected=tuple(map(float, drift["expected"])),
            age_edges=np.array(people["age"]["edges"] if people else (), np.float64),
            people={
                name: tuple(map(float, people[name]["expected"]))
                for name in (("age", "sex") if people else ())
            },
        )
    except (OSError, msgspec.MsgspecError, LookupError, TypeError, ValueError) as error:
        raise ArtifactError(sidecar.name, [f"it has no drift tables: {error!r}"]) from error
    table = (len(SEXES), len(drift["age"]), len(NAMES))
    shapes = {
        "log": (reference.log.shape, (len(NAMES),)),
        "location": (reference.location.shape, table),
        "scale": (reference.scale.shape, table),
        "edges": (reference.edges.shape, (len(NAMES), len(reference.expected) - 1)),
    }
    if reference.people:
        shapes["people.age.edges"] = (reference.age_edges.shape, (len(reference.expected) - 1,))
        shapes["people.age.expected"] = (
            np.shape(reference.people["age"]),
            (len(reference.expected),),
        )
        shapes["people.sex.expected"] = (np.shape(reference.people["sex"]), (len(SEXES),))
    problems = [
        f"drift.{name} must have the shape {expected}; got {seen}"
        for name, (seen, expected) in shapes.items()
        if seen != expected
    ]
    if not problems and not (reference.scale > 0).all():
        problems.append("drift.scale must be above 0")
    if not problems and not all(
        share > 0 for shares in reference.people.values() for share in shares
    ):
        problems.append("the shares in drift.people must be above 0")
    if problems:
        raise ArtifactError(sidecar.name, problems)
    return reference


def count_bins(
    reference: DriftReference,
    biomarkers: npt.NDArray[np.float32],
    age: npt.NDArray[np.float32],
    sex: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Count people by bin.

    Args:
        reference: the model's.
        biomarkers: (n, 9) float32, the panel's units and order, NaN = missing.
        age: (n,) float32, years.
        sex: (n,) int64, 0 female, 1 male.

    Returns:
        (11, bins): the number of values in each bin, for each of ``INPUTS``; the first two bins
        of sex are its codes.
    """
    counts = np.zeros((len(INPUTS), len(reference.expected)), np.int64)
    for begin in range(0, len(age), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        _add_block(counts, reference, biomarkers[rows], age[rows], sex[rows])
    return counts


def _add_block(
    counts: npt.NDArray[np.int64],
    reference: DriftReference,
    biomarkers: npt.NDArray[np.float32],
    age: npt.NDArray[np.float32],
    sex: npt.NDArray[np.int64],
) -> None:
    ages = reference.location.shape[1]
    position = np.clip(age.astype(np.float64) - reference.first_age, 0.0, ages - 1.0)
    lower = np.minimum(position.astype(np.int64), ages - 2)
    part = (position - lower)[:, np.newaxis]
    location, scale = (
        table[sex, lower] * (1.0 - part) + table[sex, lower + 1] * part
        for table in (reference.location, reference.scale)
    )
    values = np.clip(biomarkers.astype(np.float64), _MINIMA, _MAXIMA)
    values[:, reference.log] = np.log(values[:, reference.log])
    standardised = (values - location) / scale
    bins = len(reference.expected)
    for i, column in enumerate(standardised.T):
        known = column[~np.isnan(column)]
        places = np.searchsorted(reference.edges[i], known, side="right")
        counts[i] += np.bincount(places, minlength=bins)
    places = np.searchsorted(reference.age_edges, age, side="right")
    counts[-2] += np.bincount(places, minlength=bins)
    counts[-1] += np.bincount(sex, minlength=bins)


def compute_stability_index(counts: Sequence[int], expected: Sequence[float]) -> float:
    """Return the population stability index, sum (p - q) ln(p / q) over the bins.

    Half a person is added to each bin, so that the index stays finite for an empty bin. Below 0.1
    it is commonly read as no drift, above 0.2 as drift to investigate (Siddiqi N (2006), Credit
    Risk Scorecards, Wiley).

    Args:
        counts: people by bin.
        expected: shares of the bins in the reference.

    Example:
        >>> compute_stability_index([200, 200, 200, 200, 200], [0.2] * 5)
        0.0
        >>> round(compute_stability_index([100, 150, 200, 250, 300], [0.2] * 5), 2)
        0.13
    """
    total = sum(counts) + 0.5 * len(counts)
    shares = [(count + 0.5) / total for count in counts]
    return math.fsum((p - q) * math.log(p / q) for p, q in zip(shares, expected, strict=True))


def _stack(tables: dict[str, Any]) -> npt.NDArray[np.float64]:
    return np.array([tables[sex] for sex in SEXES], np.float64)
