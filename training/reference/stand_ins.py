"""Values that stand in for biomarkers which the model does not use.

All nine biomarkers have a place in every table. While the reference is tabulated, usual
values stand in for the unused ones. Afterwards nothing of these values is left.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.configuration import NetworkConfiguration
from henaw.model.graph.tables import list_published_limits
from henaw.training.cohorts.cohort import Cohort
from torch import Tensor


def add_stand_ins(cohort: Cohort, configuration: NetworkConfiguration) -> Cohort:
    """Give everyone usual values of the unused biomarkers."""
    biomarkers = cohort.biomarkers.copy()
    # Evenly over the normal distribution, in an order unlike that of any other value.
    share = (np.arange(len(cohort)) * (math.sqrt(5.0) - 1.0) / 2.0 + 0.5) % 1.0
    scores = torch.special.ndtri(torch.from_numpy(share.clip(1e-6, 1.0 - 1e-6))).numpy()
    for name in configuration.left_out:
        biomarkers[:, INDEX[name]] = PANEL[INDEX[name]].typical * np.exp(0.1 * scores)
    return replace(cohort, biomarkers=biomarkers)


def remove_stand_ins(
    cohort: Cohort, tensors: dict[str, Tensor], configuration: NetworkConfiguration
) -> Cohort:
    """Remove them from the cohort, and put neutral values in their place in ``tensors``."""
    _neutralise(tensors, configuration)
    shifts = {
        survey: {name: shift for name, shift in of.items() if name in configuration.panel}
        for survey, of in cohort.shifts.items()
    }
    return replace(cohort.take(configuration.panel), shifts=shifts)


def _neutralise(tensors: dict[str, Tensor], configuration: NetworkConfiguration) -> None:
    limit = configuration.score_limit
    unused = [variable for variable, used in enumerate(configuration.used) if not used]
    for variable in unused:
        tensors["scale"][:, :, variable] = 1.0
        tensors["margin"][variable] = torch.linspace(-limit, limit, configuration.score_steps + 1)
        tensors["correlation"][variable] = tensors["correlation"][:, variable] = 0.0
        tensors["correlation"][variable, variable] = 1.0
    used = torch.tensor([INDEX[name] for name in configuration.panel])
    tensors["location"][:, :, len(NAMES)] *= float(configuration.used[-1])
    for name in configuration.left_out:
        place, biomarker = INDEX[name], PANEL[INDEX[name]]
        typical = np.log(biomarker.typical) if biomarker.log_scaled else biomarker.typical
        tensors["location"][:, :, place] = float(typical)
        tensors["usual_score"][place] = 0.0
        # The weights sum to nine over all biomarkers; this one gets a ninth of that.
        variation = tensors["coefficient_of_variation"]
        variation[:, :, place] = variation[:, :, used].mean(2)
        for side, end in (("low", biomarker.minimum), ("high", biomarker.maximum)):
            tensors[f"range_{side}"][place] = end
            published = list_published_limits()[side == "high"][place]
            tensors[f"critical_{side}"][place] = torch.where(published.isnan(), end, published)
