import numpy as np
import pytest
from henaw.model.biomarkers import list_total_cv
from henaw.model.checkpoint import Checkpoint
from henaw.model.runtime import OUTPUT_NAMES
from henaw.training.evaluation.repetition import compute_icc, draw_values, simulate_repeats
from henaw.training.evaluation.scored_people import ScoredPeople


def test_draws_vary_as_published_around_the_given_values():
    values = np.tile(np.float32([1.5, 36, 75, 43, 30, 13, 24, 23, 21]), (200_000, 1))
    drawn = draw_values(values, np.random.default_rng(1)).astype(np.float64)
    np.testing.assert_allclose(drawn.mean(0), values[0], rtol=5e-3)
    np.testing.assert_allclose(drawn.std(0) / drawn.mean(0), list_total_cv(), rtol=0.01)


def test_reliability_is_the_share_of_variance_between_people():
    assert compute_icc(np.array(1.0), np.array(4.0)) == 0.75


def test_repeats_are_simulated_for_everyone(checkpoint: Checkpoint, scored: ScoredPeople):
    figures = simulate_repeats(checkpoint.build_network(), scored.people, seed=1)
    assert figures["people"] == len(scored.people)
    # The interval holds the spread of refits besides that of the draws.
    assert 0.88 < figures["coverage"]["value"] < 1
    # Two draws in one laboratory differ by less than refits and laboratories do.
    assert figures["coverage"]["value"] < figures["coverage_of_next"]["value"] < 1
    assert figures["icc_gap"] < figures["icc_biological_age"] < 1
    assert figures["icc_gap_corrected"] < figures["icc_gap"]
    if "draw_sd" in OUTPUT_NAMES:
        assert 0.87 < figures["coverage_of_draw_sd"]["value"] < 0.93
        assert figures["draw_sd_years"] == pytest.approx(figures["within_person_sd_years"], rel=0.1)
    again = simulate_repeats(checkpoint.build_network(), scored.people, seed=1)
    assert again == figures
    within = figures["within_person_sd_years"] ** 2
    between = scored.output("age_gap").var(ddof=1)
    assert figures["icc_gap_corrected"] == pytest.approx(1 - within / between, abs=2e-3)
