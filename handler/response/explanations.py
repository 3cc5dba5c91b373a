"""Answers of ``/explanations/henaw``: every contribution beside the reference median."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from henaw.handler.contract.types import (
    ExplainedBiomarker,
    ExplainedInteraction,
    Explanation,
    Model,
)
from henaw.handler.metadata import Metadata
from henaw.handler.request.instances import Instances
from henaw.handler.response.answers import round_output
from henaw.handler.response.cautions import find_warnings, find_withheld
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.runtime import Outputs


def find_medians(
    metadata: Metadata, age: npt.NDArray[np.float32], sex: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Return (n, 9) reference medians for ages (years) and sexes, in the panel's units.

    They are linear between the years of the reference, and constant beyond its ends.
    """
    medians = np.empty((len(age), len(NAMES)))
    for code, table in enumerate(metadata.reference_medians):
        rows = sex == code
        for place, column in enumerate(table.T):
            medians[rows, place] = np.interp(age[rows], metadata.reference_ages, column)
    return medians


def write_explanations(
    outputs: Outputs, instances: Instances, metadata: Metadata, model: Model
) -> Iterator[Explanation]:
    """Yield one explanation for each person, ready to be encoded.

    Args:
        outputs: the graph's outputs, for these instances only and in their order.
        instances: the request's instances.
        metadata: names of the outputs, and the reference medians.
        model: name, version and runtime of the model that answered.
    """
    warnings = find_warnings(outputs, instances.biomarkers, instances.age, metadata)
    withheld = find_withheld(outputs, instances.biomarkers, instances.age, metadata)
    rounded = {
        name: round_output(outputs, name)
        for name in (
            *("biological_age", "age_gap", "percentile", "draw_sd"),
            *("contributions", "system_contributions"),
        )
    }
    medians = find_medians(metadata, instances.age, instances.sex).tolist()
    values_given = instances.biomarkers.tolist()
    imputed, out_of_range = outputs["imputed"].tolist(), outputs["out_of_range"].tolist()
    beyond = 1 + len(NAMES)
    for row, participant_id in enumerate(instances.participant_ids):
        is_answered = row not in withheld or instances.answer_unreliable
        answered = {name: values[row] if is_answered else None for name, values in rounded.items()}
        years = answered["contributions"] or [None] * len(metadata.contribution_names)
        typical, values, interactions = years[0], years[1:beyond], years[beyond:]
        systems = answered["system_contributions"]
        yield Explanation(
            participant_id=participant_id,
            biological_age=answered["biological_age"],
            age_gap=answered["age_gap"],
            percentile=answered["percentile"],
            draw_sd=answered["draw_sd"],
            typical_values=typical,
            biomarkers=[
                ExplainedBiomarker(
                    name=biomarker.name,
                    label=biomarker.label,
                    unit=biomarker.unit,
                    value=None if missing else float(f"{value:.7g}"),
                    reference_median=float(f"{median:.4g}"),
                    contribution=contribution,
                    imputed=missing,
                    outside_reference=outside,
                )
                for biomarker, value, median, contribution, missing, outside in zip(
                    PANEL,
                    values_given[row],
                    medians[row],
                    values,
                    imputed[row],
                    out_of_range[row],
                    strict=True,
                )
                if biomarker.name in metadata.used_biomarkers
            ],
            interactions=[
                ExplainedInteraction(name=name, contribution=contribution)
                for name, contribution in zip(
                    metadata.contribution_names[beyond:], interactions, strict=True
                )
            ],
            systems=systems and dict(zip(metadata.system_names, systems, strict=True)),
            reliable=row not in withheld,
            withheld=withheld.get(row, []),
            warnings=warnings.get(row, []),
            model=model,
        )
