"""The metadata in the ONNX file and in its JSON sidecar."""

from __future__ import annotations

import json
from typing import Any

import torch
from henaw.export.calibration import describe_calibration
from henaw.export.drift import describe_drift
from henaw.intake.words.description import describe_words
from henaw.intake.words.loinc import describe_fhir
from henaw.model.biomarkers import (
    AGE_MAXIMUM_YEARS,
    AGE_MINIMUM_YEARS,
    INDEX,
    NAMES,
    PANEL,
    SEXES,
    SYSTEMS,
    describe_panel,
)
from henaw.model.checkpoint import PROTOCOL, Checkpoint
from henaw.model.graph.tables import PERCENTILES
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.panel.units import COUNT_PER_VOLUME, UNIT_ALIASES, UNIT_ANNOTATION, UNIT_REWRITES
from henaw.model.runtime import INPUT_NAMES, OUTPUT_NAMES

_SHAPES: dict[str, list[str | int]] = {
    "biomarkers": ["n", len(NAMES)],
    "age": ["n"],
    "sex": ["n"],
    "biological_age": ["n"],
    "age_gap": ["n"],
    "interval": ["n", 2],
    "mortality_10y": ["n"],
    "contributions": ["n", "k"],
    "system_contributions": ["n", len(SYSTEMS)],
    "imputed": ["n", len(NAMES)],
    "out_of_range": ["n", len(NAMES)],
    "age_out_of_range": ["n"],
    "percentile": ["n"],
    "draw_sd": ["n"],
    "critical": ["n", len(NAMES)],
    "reliable": ["n"],
}


def describe_model(checkpoint: Checkpoint) -> dict[str, Any]:
    """Everything that an app needs besides the graph; aggregates only.

    ``reference`` contains the median of each biomarker by age and sex, in the panel's units.
    ``units`` converts other units into them by ``(value - offset) * factor``. ``fhir`` says
    which Observations are a biomarker, and ``words`` how tables of people name columns. A
    biomarker that is not in ``used_biomarkers`` is not part of the model: its value is
    ignored, and its median has no meaning.
    """
    causes = checkpoint.network.causes
    shapes = _SHAPES | {"cause_risk_10y": ["n", len(causes)]}
    return {
        "name": checkpoint.name,
        "version": checkpoint.version,
        "protocol": PROTOCOL,
        "date": checkpoint.date,
        "intended_use": checkpoint.intended_use,
        "checkpoint_sha256": checkpoint.sha256,
        "inputs": {name: _SHAPES[name] for name in INPUT_NAMES},
        "outputs": {name: shapes[name] for name in OUTPUT_NAMES},
        "panel": describe_panel(),
        "used_biomarkers": list(checkpoint.network.panel),
        "units": describe_units(),
        "fhir": describe_fhir(),
        "words": describe_words(),
        "sexes": list(SEXES),
        "accepted_ages": [AGE_MINIMUM_YEARS, AGE_MAXIMUM_YEARS],
        "fitted_ages": [checkpoint.network.first_age, checkpoint.network.last_age],
        "fitted_range": _describe_ranges(checkpoint),
        "critical_limits": _describe_critical_limits(checkpoint),
        "contribution_names": list(checkpoint.network.contribution_names),
        "system_names": list(SYSTEMS),
        "systems": {name: list(members) for name, members in SYSTEMS.items()},
        "cause_names": list(causes),
        "interval_level": 0.9,
        "training": {
            key: value for key, value in checkpoint.training.items() if key != "configuration"
        },
        "metrics": checkpoint.metrics,
        "reference": _describe_reference(checkpoint),
        "percentiles": list(PERCENTILES),
        "drift": describe_drift(checkpoint),
        "calibration": describe_calibration(checkpoint),
    }


def format_properties(description: dict[str, Any]) -> dict[str, str]:
    """ONNX metadata properties: text stays text, anything else becomes JSON."""
    return {
        key: value if isinstance(value, str) else json.dumps(value)
        for key, value in description.items()
    }


def describe_units() -> dict[str, Any]:
    """The units of :meth:`Biomarker.find_unit`: conversions, refusals and spellings.

    ``spellings`` maps folded and rewritten spellings to the accepted unit that they mean.
    ``rewrites`` are applied in order; ``$1`` is the first group.
    """
    return {
        "conversions": {
            biomarker.name: {
                name: {"factor": unit.factor, "offset": unit.offset}
                for name in biomarker.units
                for unit in (biomarker.find_unit(name),)
            }
            for biomarker in PANEL
        },
        "refused": {
            biomarker.name: dict(biomarker.refused_units)
            for biomarker in PANEL
            if biomarker.refused_units
        },
        "spellings": {biomarker.name: dict(biomarker.spellings) for biomarker in PANEL},
        "rewrites": [list(rewrite) for rewrite in UNIT_REWRITES],
        "aliases": dict(UNIT_ALIASES),
        "annotation": UNIT_ANNOTATION,
        "count_per_volume": COUNT_PER_VOLUME.pattern,
    }


def _describe_ranges(checkpoint: Checkpoint) -> dict[str, list[float]]:
    low, high = checkpoint.tensors["range_low"], checkpoint.tensors["range_high"]
    return {name: [_round(low[i]), _round(high[i])] for name, i in INDEX.items()}


def _describe_critical_limits(checkpoint: Checkpoint) -> dict[str, list[float | None]]:
    """Lower and upper critical limit, in the panel's units; None without a limit."""
    low, high = checkpoint.tensors["critical_low"], checkpoint.tensors["critical_high"]
    return {
        name: [
            _round(low[i]) if biomarker.critical_low else None,
            _round(high[i]) if biomarker.critical_high else None,
        ]
        for i, (name, biomarker) in enumerate(zip(NAMES, PANEL, strict=True))
    }


def _describe_reference(checkpoint: Checkpoint) -> dict[str, Any]:
    """By sex and year of age: medians, gaps at the percentiles, risks of the typical person.

    The typical person has the gap 0, which is the graph's answer if only age and sex are known.
    """
    location = checkpoint.tensors["location"].double()[:, :, : len(NAMES)]
    medians = torch.where(torch.tensor(LOG_SCALED), torch.exp(location), location)
    ages = list(range(checkpoint.network.first_age, checkpoint.network.last_age + 1))
    gaps = checkpoint.tensors["gap_percentiles"]
    network = checkpoint.build_network()
    reference: dict[str, Any] = {"age": ages}
    for code, sex in enumerate(SEXES):
        with torch.inference_mode():
            typical = network.answer(
                torch.full((len(ages), len(NAMES)), torch.nan),
                torch.tensor(ages, dtype=torch.float32),
                torch.full((len(ages),), code),
            )
        reference[sex] = {
            name: [_round(value) for value in medians[code, :, i]] for name, i in INDEX.items()
        } | {
            "gap_percentiles": [[_round(gap, 3) for gap in row] for row in gaps[code]],
            "mortality_10y": [_round(risk) for risk in typical.mortality_10y],
            "cause_risk_10y": [[_round(r) for r in row] for row in typical.cause_risk_10y],
        }
    return reference


def _round(value: torch.Tensor, digits: int = 4) -> float:
    """Four significant digits: more than laboratories report."""
    return float(f"{float(value):.{digits}g}")
