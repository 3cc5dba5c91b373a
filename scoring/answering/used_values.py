"""Columns of the values that were used from a person's results, beside the answers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from henaw.intake.person_table import DRAWN, NO_RESULT
from henaw.model.biomarkers import NAMES, SEXES
from henaw.scoring.reading.inputs import LIMIT_USED, REASONS, Inputs, write_words

LIMITS = "limits"
"""The column of biomarkers whose value is a limit of the assay, separated by ";"."""

USED: tuple[pa.Field, ...] = (
    pa.field(DRAWN, pa.string()),
    pa.field("age", pa.float32()),
    pa.field("sex", pa.string()),
    *(pa.field(name, pa.float32()) for name in NAMES),
    pa.field(LIMITS, pa.string()),
)
"""The columns; years and the panel's units."""


def tell_used(inputs: Inputs, batch: pa.RecordBatch) -> list[pa.Array]:
    """Return the columns of :data:`USED`."""
    limits = inputs.notes >> LIMIT_USED & ((1 << len(NAMES)) - 1)
    return [
        batch.column(DRAWN),
        pa.array(inputs.age, from_pandas=True),
        write_words(inputs.sex + 1, lambda code: ("", *SEXES)[code]),
        *(pa.array(column, from_pandas=True) for column in inputs.biomarkers.T),
        write_words(limits, lambda bits: ";".join(n for p, n in enumerate(NAMES) if bits >> p & 1)),
    ]


def refuse_empty(inputs: Inputs, batch: pa.RecordBatch) -> Inputs:
    """Set the reason of people without any usable result, who have no day and so no age."""
    undated = pc.is_null(batch.column(DRAWN)).to_numpy(zero_copy_only=False)
    empty = undated & np.isnan(inputs.biomarkers).all(axis=1)
    reason = np.int64(1) << REASONS.index(NO_RESULT)
    return inputs._replace(reasons=np.where(empty, reason, inputs.reasons))
