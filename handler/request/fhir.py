"""FHIR R4 Bundles: the patients in one.

:mod:`henaw.intake.fhir` reads them, as it reads files. The first request in FHIR imports it: most
servers never meet FHIR, and its tables cost memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from henaw.handler.contract.types import ANSWER_FIELDS
from henaw.handler.errors import InvalidInputError, Problem
from henaw.handler.metadata import Metadata
from henaw.handler.request.instances import Form, Instances
from henaw.model.biomarkers import NAMES, SEXES
from henaw.model.errors import ScoringError

if TYPE_CHECKING:
    from henaw.intake.fhir.reader import FhirPeople


def read_bundle(tree: Mapping[str, Any]) -> FhirPeople:
    """Read the patients of a Bundle.

    Args:
        tree: the decoded body.

    Raises:
        InvalidInputError: the body is not FHIR R4, has no Patient, or has one Patient twice.
    """
    from henaw.intake.fhir.reader import FhirReader

    reader = FhirReader(local={})
    try:
        reader.add(tree)
        return reader.finish()
    except ScoringError as error:
        problems = [Problem(field="entry", code="fhir", message=text) for text in error.problems]
        raise InvalidInputError(problems) from error


def find_scored(found: FhirPeople) -> npt.NDArray[np.bool_]:
    """Return (n,) bool, true where a patient has an age, a sex and at least one value."""
    problems = found.table.find_problems()
    return np.array([not texts for texts in problems], np.bool_).reshape(len(problems))


def make_instances(found: FhirPeople, metadata: Metadata, form: Form) -> Instances:
    """Return the patients who can be scored, as the graph takes them."""
    biomarkers, age, sex = found.table.to_arrays(_describe_reference(metadata))
    scored = find_scored(found)
    found = found._replace(notes=found.notes + found.table.describe_limits(biomarkers))
    return Instances(
        form=form,
        biomarkers=biomarkers[scored],
        age=age[scored],
        sex=sex[scored],
        participant_ids=(None,) * int(scored.sum()),
        outputs=ANSWER_FIELDS,
        source=found,
    )


def _describe_reference(metadata: Metadata) -> dict[str, Any]:
    """Return the reference medians in the form of the model's sidecar."""
    return {
        "age": metadata.reference_ages,
        **{
            sex: dict(zip(NAMES, medians.T, strict=True))
            for sex, medians in zip(SEXES, metadata.reference_medians, strict=True)
        },
    }
