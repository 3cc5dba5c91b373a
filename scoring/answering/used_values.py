"""Which values of somebody's results were used, as columns beside the answers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from henaw.intake.person_table import DRAWN, NO_RESULT
from henaw.model.biomarkers import NAMES, SEXES
from henaw.scoring.reading.inputs import LIMIT_USED, REASONS, Inputs, write_words

LIMITS = "limits"
"""The column of the biomarkers whose value is a limit of the assay, separated by ";"."""

USED: tuple[pa.Field, ...] = (
    pa.field(DRAWN, pa.string()),
    pa.field("age", pa.float32()),
    pa.field("sex", pa.string()),
    *(pa.field(name, pa.float32()) for name in NAMES),
    pa.field(LIMITS, pa.string()),
)
"""Columns of what was used; years and the panel's units."""


def tell_used(inputs: Inputs, batch: pa.RecordBatch) -> list[pa.Array]:
    """The columns of :data:`USED`."""
    limits = inputs.notes >> LIMIT_USED & ((1 << len(NAMES)) - 1)
    return [
        batch.column(DRAWN),
        pa.array(inputs.age, from_pandas=True),
        write_words(inputs.sex + 1, lambda code: ("", *SEXES)[code]),
        *(pa.array(column, from_pandas=True) for column in inputs.biomarkers.T),
        write_words(limits, lambda bits: ";".join(n for p, n in enumerate(NAMES) if bits >> p & 1)),
    ]


def refuse_empty(inputs: Inputs, batch: pa.RecordBatch) -> Inputs:
    """Say of people without a single usable result just that: on no day have they an age."""
    undated = pc.is_null(batch.column(DRAWN)).to_numpy(zero_copy_only=False)
    empty = undated & np.isnan(inputs.biomarkers).all(axis=1)
    reason = np.int64(1) << REASONS.index(NO_RESULT)
    return inputs._replace(reasons=np.where(empty, reason, inputs.reasons))
