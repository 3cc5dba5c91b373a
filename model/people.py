"""People as the graph takes them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class People(NamedTuple):
    """Inputs of the graph: (n, 9) float32, (n,) float32 years, (n,) int64."""

    biomarkers: npt.NDArray[np.float32]
    age: npt.NDArray[np.float32]
    sex: npt.NDArray[np.int64]

    def select(self, rows: npt.NDArray[np.int64] | slice) -> People:
        """The people at ``rows``."""
        return People(self.biomarkers[rows], self.age[rows], self.sex[rows])
