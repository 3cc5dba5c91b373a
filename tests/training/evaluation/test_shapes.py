import numpy as np
import pytest
import torch
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import RATIO, VARIABLES
from henaw.model.runtime import OUTPUT_NAMES
from henaw.training.evaluation.shapes import summarise_contributions, trace_shapes


def test_a_curve_is_what_the_model_answers(checkpoint: Checkpoint):
    shapes = {shape["name"]: shape for shape in trace_shapes(checkpoint)}
    assert tuple(shapes) == VARIABLES
    assert all(len(shape["curves"]) == 6 for shape in shapes.values())
    curve = next(
        curve
        for curve in shapes["creatinine"]["curves"]
        if (curve["sex"], curve["age"]) == ("male", 55.0)
    )
    rows = torch.full((len(curve["values"]), len(NAMES)), torch.nan)
    rows[:, INDEX["creatinine"]] = torch.tensor(curve["values"])
    people = torch.full((len(rows),), 55.0), torch.ones(len(rows), dtype=torch.int64)
    answers = dict(zip(OUTPUT_NAMES, checkpoint.build_network()(rows, *people), strict=True))
    column = checkpoint.network.contribution_names.index("creatinine")
    np.testing.assert_allclose(curve["years"], answers["contributions"][:, column], atol=2e-4)
    assert min(curve["values"]) < curve["median"] < max(curve["values"])


def test_the_ratio_has_a_curve_of_its_own(checkpoint: Checkpoint):
    shape = next(shape for shape in trace_shapes(checkpoint) if shape["name"] == RATIO)
    years = np.array(shape["curves"][0]["years"])
    assert np.ptp(years) > 1
    assert shape["unit"] == ""


def test_contributions_are_summed_up():
    row = summarise_contributions(np.array([[-1.0], [3.0]]), ("crp",))[0]
    assert row["name"] == "crp"
    assert (row["mean_size"], row["mean"]) == (2.0, 1.0)
    assert row["standard_deviation"] == pytest.approx(np.sqrt(8), abs=1e-3)
