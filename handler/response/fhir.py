"""The FHIR R4 Bundle that answers a Bundle.

:mod:`henaw.intake.fhir.answers` writes it, as it writes files; the first answer in FHIR imports it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from henaw.handler.metadata import Metadata
from henaw.handler.request.fhir import find_scored
from henaw.handler.request.instances import Instances
from henaw.handler.response.cautions import list_reasons
from henaw.model.runtime import Outputs

if TYPE_CHECKING:
    from henaw.intake.fhir.reader import FhirPeople


def write_bundle(
    instances: Instances, outputs: Outputs, metadata: Metadata, *, sha256: str, lab: str | None
) -> bytes:
    """Return the Bundle that answers a request, as JSON.

    Args:
        instances: the result of :func:`henaw.handler.request.fhir.make_instances`.
        outputs: the graph's outputs, for these instances only.
        metadata: the model's metadata.
        sha256: the digest of the model's file.
        lab: the laboratory whose profile is set; None if none is.
    """
    from henaw.intake.fhir.answers import AnsweringModel, answer_people, make_bundle

    found: FhirPeople = instances.source
    scored = find_scored(found)
    rows = np.flatnonzero(scored)
    reasons = list_reasons(outputs, instances.biomarkers, instances.age, metadata)
    resources = answer_people(
        found,
        {name: _spread(values, scored) for name, values in outputs.items()},
        {int(rows[row]): found_reasons for row, found_reasons in reasons.items()},
        AnsweringModel(metadata.name, metadata.version, sha256, lab, metadata.cause_names),
    )
    return "".join(make_bundle(resources, found.notes)).encode()


def _spread(values: npt.NDArray[Any], scored: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Return an output for every patient: true or NaN for those who were not scored."""
    fill = True if values.dtype == np.bool_ else math.nan
    spread = np.full((len(scored), *values.shape[1:]), fill, values.dtype)
    spread[scored] = values
    return spread
