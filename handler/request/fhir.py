"""FHIR R4 Bundles: the people in one, and the Bundle that answers it.

The reader and the writer are those of files, :mod:`henaw.intake.fhir` and
:mod:`henaw.intake.fhir_answers`. They are imported by the first request that needs them: most
servers never meet FHIR, and tables cost memory.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from henaw.handler.contract.types import ANSWER_FIELDS
from henaw.handler.errors import InvalidInputError, Problem
from henaw.handler.metadata import Metadata
from henaw.handler.request.instances import Form, People
from henaw.model.biomarkers import NAMES, SEXES
from henaw.model.errors import ScoringError
from henaw.model.reliability import find_reasons
from henaw.model.runtime import Outputs

if TYPE_CHECKING:
    from henaw.intake.fhir import FhirPeople


def read_bundle(tree: Mapping[str, Any]) -> FhirPeople:
    """Read everybody of a Bundle.

    Args:
        tree: the decoded body.

    Raises:
        InvalidInputError: it is not FHIR R4, there is no Patient, or two are one.
    """
    from henaw.intake.fhir import FhirReader

    reader = FhirReader(local={})
    try:
        reader.add(tree)
        return reader.finish()
    except ScoringError as error:
        problems = [Problem(field="entry", code="fhir", message=text) for text in error.problems]
        raise InvalidInputError(problems) from error


def find_scored(found: FhirPeople) -> npt.NDArray[np.bool_]:
    """Return (n,) true where somebody has an age, a sex and a value."""
    problems = found.table.find_problems()
    return np.array([not texts for texts in problems], np.bool_).reshape(len(problems))


def make_people(found: FhirPeople, metadata: Metadata, form: Form) -> People:
    """Return those of FHIR's people who can be scored, as the graph takes them."""
    biomarkers, age, sex = found.table.to_arrays(_describe_reference(metadata))
    scored = find_scored(found)
    return People(
        form=form,
        biomarkers=biomarkers[scored],
        age=age[scored],
        sex=sex[scored],
        participant_ids=(None,) * int(scored.sum()),
        outputs=ANSWER_FIELDS,
        source=found,
    )


def write_bundle(
    people: People, outputs: Outputs, metadata: Metadata, *, sha256: str, lab: str | None
) -> bytes:
    """Return the Bundle that answers one.

    Args:
        people: of :func:`make_people`.
        outputs: the graph's, for them alone.
        metadata: of the model.
        sha256: of the model's file.
        lab: the laboratory whose profile is set; None where none is.
    """
    from henaw.intake.fhir_answers import AnsweringModel, answer_people, make_bundle

    found: FhirPeople = people.source
    scored = find_scored(found)
    rows = np.flatnonzero(scored)
    reasons = find_reasons(
        outputs,
        people.biomarkers,
        people.age,
        critical_limits=metadata.critical_limits,
        fitted_ages=metadata.fitted_ages,
    )
    resources = answer_people(
        found,
        {name: _spread(values, scored) for name, values in outputs.items()},
        {int(rows[row]): found_reasons for row, found_reasons in reasons.items()},
        AnsweringModel(metadata.name, metadata.version, sha256, lab, metadata.cause_names),
    )
    return "".join(make_bundle(resources, found.notes)).encode()


def _spread(values: npt.NDArray[Any], scored: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return outputs for everybody: true or NaN for those who were not scored."""
    fill = True if values.dtype == np.bool_ else math.nan
    spread = np.full((len(scored), *values.shape[1:]), fill, values.dtype)
    spread[scored] = values
    return spread


def _describe_reference(metadata: Metadata) -> dict[str, Any]:
    """Return the medians as the model's sidecar has them."""
    return {
        "age": metadata.reference_ages,
        **{
            sex: dict(zip(NAMES, medians.T, strict=True))
            for sex, medians in zip(SEXES, metadata.reference_medians, strict=True)
        },
    }
