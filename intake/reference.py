"""The distribution of the fitted people's values, by age and sex."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.biomarkers import NAMES, PANEL, SEXES
from henaw.model.errors import ScoringError
from henaw.model.shipped import SIDECAR_FILE, find_shipped

Array = npt.NDArray[np.float64]

LOGGED = np.array([biomarker.log_scaled for biomarker in PANEL])


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The fitted people, as the ONNX file describes them.

    A standardised value is (x - location) / scale, where x is the value or its logarithm, and
    location and scale are those of people of the same age and sex.

    Shape:
        ages: (a,) years; location, scale: (2, a, 9) by sex and age
        scores: (k,) normal scores; margin: (9, k) standardised values there
        correlation: (9, 9) of the normal scores
        usual_score, laboratory_sd: (9,)
    """

    ages: Array
    location: Array
    scale: Array
    scores: Array
    margin: Array
    correlation: Array
    usual_score: Array
    laboratory_sd: Array

    @property
    def shares(self) -> Array:
        """Shares of the fitted people below each of the scores: (k,)."""
        return np.array([0.5 * math.erfc(-score / math.sqrt(2.0)) for score in self.scores])

    def look_up(self, age: npt.NDArray[Any], sex: npt.NDArray[np.int64]) -> tuple[Array, Array]:
        """Location and scale at each person's age and sex: (n, 9) each."""
        tables = np.empty((2, len(age), len(NAMES)))
        for table, by_sex in zip(tables, (self.location, self.scale), strict=True):
            for code in range(len(SEXES)):
                rows = sex == code
                for place in range(len(NAMES)):
                    table[rows, place] = np.interp(age[rows], self.ages, by_sex[code, :, place])
        return tables[0], tables[1]


def transform(biomarkers: npt.NDArray[np.float32]) -> Array:
    """Transform raw values (n, 9): logarithms where the biomarker is log-scaled; NaN = missing."""
    raw = np.where(np.isfinite(biomarkers), biomarkers, np.nan).astype(np.float64)
    return np.where(LOGGED, np.log(raw), raw)


def read_reference(description: Mapping[str, Any]) -> Reference:
    """Read the fitted people from a model's properties.

    Raises:
        ScoringError: the properties are missing.
        LookupError, TypeError, ValueError: the properties are damaged.
    """
    absent = [key for key in ("drift", "calibration") if key not in description]
    if absent:
        raise ScoringError(
            "model",
            [f"it has no property {key!r}. Export it again" for key in absent],
        )

    def by_sex(table: dict[str, Any]) -> Array:
        return np.array([table[sex] for sex in SEXES], np.float64)

    def by_name(row: dict[str, Any]) -> Array:
        return np.array([row[name] for name in NAMES], np.float64)

    drift, known = (json.loads(description[key]) for key in ("drift", "calibration"))
    return Reference(
        ages=np.array(drift["age"], np.float64),
        location=by_sex(drift["location"]),
        scale=by_sex(drift["scale"]),
        scores=np.array(known["scores"], np.float64),
        margin=by_name(known["margin"]),
        correlation=np.array(known["correlation"], np.float64),
        usual_score=by_name(known["usual_score"]),
        laboratory_sd=by_name(known["laboratory_sd"]),
    )


def read_shipped_reference() -> Reference:
    """Read the people that the shipped model was fitted on."""
    sidecar = json.loads(find_shipped(SIDECAR_FILE).read_text(encoding="utf-8"))
    return read_reference({key: json.dumps(sidecar[key]) for key in ("drift", "calibration")})
