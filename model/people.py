"""People in the form of the graph's inputs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt


class People(NamedTuple):
    """Inputs of the graph.

    Shape:
        biomarkers: (n, 9) float32, the panel's units, NaN = missing
        age: (n,) float32, years
        sex: (n,) int64, 0 female, 1 male
    """

    biomarkers: npt.NDArray[np.float32]
    age: npt.NDArray[np.float32]
    sex: npt.NDArray[np.int64]

    def select(self, rows: npt.NDArray[np.int64] | slice) -> People:
        """The people at ``rows``."""
        return People(self.biomarkers[rows], self.age[rows], self.sex[rows])
