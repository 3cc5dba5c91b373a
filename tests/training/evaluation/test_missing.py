import dataclasses
import math

import numpy as np
import pytest
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint
from henaw.training.evaluation.missing import look_up_medians, measure_missing
from henaw.training.evaluation.reference_tables import look_up
from henaw.training.evaluation.scored_people import ScoredPeople, score_people
from lifelines.utils import concordance_index


def test_each_biomarker_is_blanked_and_compared(checkpoint: Checkpoint, scored: ScoredPeople):
    rows = measure_missing(checkpoint, scored, draws=100, seed=1)
    assert tuple(row["biomarker"] for row in rows) == NAMES
    blanked = scored.people.biomarkers.copy()
    blanked[:, INDEX["rdw"]] = np.nan
    without_rdw = dataclasses.replace(scored.people, biomarkers=blanked)
    blank = score_people(checkpoint, without_rdw)
    risk, gap = blank.output("mortality_10y"), blank.output("age_gap")

    def compute_c(score):
        return concordance_index(scored.cut_years, -score, scored.dead)

    row = rows[INDEX["rdw"]]
    full = compute_c(scored.output("mortality_10y"))
    assert row["c_imputed"] == pytest.approx(compute_c(risk), abs=6e-5)
    assert row["loss"]["value"] == pytest.approx(full - compute_c(risk), abs=6e-5)
    error = np.sqrt(np.mean((gap - scored.output("age_gap")) ** 2))
    assert row["error_imputed"] == pytest.approx(error, abs=2e-3)
    # The synthetic hazard rests on RDW more than on anything else.
    assert row["loss"]["low"] > 0
    assert row["gain"]["value"] == pytest.approx(row["c_imputed"] - row["c_median"], abs=2e-4)


def test_tables_are_interpolated_and_end_at_their_ends(checkpoint: Checkpoint):
    first, last = checkpoint.network.first_age, checkpoint.network.last_age
    table = checkpoint.tensors["scale"].double().numpy()[1]
    ages = np.array([first - 2.0, first + 20.25, last, last + 7.0])
    found = look_up(checkpoint, "scale", ages, np.ones(4, np.int64))
    np.testing.assert_allclose(found[0], table[0])
    np.testing.assert_allclose(found[1], 0.75 * table[20] + 0.25 * table[21])
    np.testing.assert_allclose(found[2:], np.stack([table[-1], table[-1]]))


def test_medians_are_those_of_the_reference(checkpoint: Checkpoint):
    location = checkpoint.tensors["location"]
    age = np.array([50, 50], np.float32)
    medians = look_up_medians(checkpoint, age, np.array([0, 1]))
    row = 50 - checkpoint.network.first_age
    for sex in (0, 1):
        tabulated = location[sex, row]
        assert medians[sex, INDEX["albumin"]] == pytest.approx(float(tabulated[INDEX["albumin"]]))
        rdw = math.exp(tabulated[INDEX["rdw"]])
        assert medians[sex, INDEX["rdw"]] == pytest.approx(rdw, rel=1e-5)
