"""The model's reference distribution: location and scale of a variable by age and sex."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from henaw.model.checkpoint import Checkpoint
from henaw.training.evaluation.measures.estimates import Array


def look_up(
    checkpoint: Checkpoint, name: str, age_years: npt.ArrayLike, sex: npt.ArrayLike
) -> Array:
    """Interpolate a table of the reference at people's ages; ages are clipped to its range.

    Args:
        checkpoint: the model.
        name: the table: ``location`` or ``scale``.
        age_years: (n,).
        sex: (n,) 0 female, 1 male.

    Returns:
        (n, variables): the biomarkers in the panel's order, then the ratio AST/ALT, on the scale
        on which the network standardises.
    """
    table = checkpoint.tensors[name].double().numpy()
    first, last = checkpoint.network.first_age, checkpoint.network.last_age
    place = np.clip(np.asarray(age_years, np.float64), first, last) - first
    before = np.minimum(np.floor(place).astype(np.int64), table.shape[1] - 2)
    share = (place - before)[:, None]
    rows = table[np.asarray(sex)]
    each = np.arange(len(place))
    found: Array = (1 - share) * rows[each, before] + share * rows[each, before + 1]
    return found
