import numpy as np
import pytest
import torch
from henaw.model.biomarkers import CAUSES, NAMES, PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.people import People
from henaw.model.runtime import Outputs, TorchRuntime
from henaw.model.synthetic import FollowUp, draw_follow_up, draw_synthetic_people
from scipy.stats import kstest

COUNT = 40_000


@pytest.fixture(scope="module")
def people(checkpoint: Checkpoint) -> People:
    return draw_synthetic_people(checkpoint, COUNT, 5)


@pytest.fixture(scope="module")
def answers(checkpoint: Checkpoint, people: People) -> Outputs:
    return TorchRuntime(checkpoint.build_network(), name="eager").predict(*people)


@pytest.fixture(scope="module")
def follow_up(checkpoint: Checkpoint, people: People) -> FollowUp:
    return draw_follow_up(checkpoint, people, 5)


@pytest.fixture(scope="module")
def scores(checkpoint: Checkpoint, people: People) -> np.ndarray:
    """Normal scores that the network gives the drawn people: (n, 9)."""
    network = checkpoint.build_network()
    age, sex = torch.from_numpy(people.age), torch.from_numpy(people.sex)
    row = network.look_up_reference(age, sex)
    biomarkers = torch.from_numpy(people.biomarkers)
    values, _ = network.compute_scores(biomarkers, row.location, row.scale)
    return values[:, : len(NAMES)].double().numpy()


@pytest.mark.parametrize("sex", [0, 1])
@pytest.mark.parametrize("ages", [(20, 35), (35, 50), (50, 65), (65, 86)])
def test_each_biomarker_is_as_usual_at_each_age_and_sex(
    people: People, scores: np.ndarray, sex: int, ages: tuple[int, int]
) -> None:
    rows = (people.sex == sex) & (people.age >= ages[0]) & (people.age < ages[1])
    assert rows.sum() > 3000
    assert np.abs(scores[rows].mean(0)).max() < 0.06
    assert np.abs(scores[rows].std(0) - 1).max() < 0.06


def test_biomarkers_are_correlated_as_in_the_reference(
    checkpoint: Checkpoint, scores: np.ndarray
) -> None:
    expected = checkpoint.tensors["correlation"][: len(NAMES), : len(NAMES)].numpy()
    assert np.abs(expected - np.eye(len(NAMES))).max() > 0.3
    assert np.abs(np.corrcoef(scores.T) - expected).max() < 0.03


def test_no_value_is_outside_what_is_accepted(people: People) -> None:
    for values, biomarker in zip(people.biomarkers.T, PANEL, strict=True):
        assert biomarker.minimum <= values.min() < values.max() <= biomarker.maximum


def test_deaths_are_as_many_as_the_model_expects(
    people: People, answers: Outputs, follow_up: FollowUp
) -> None:
    risk = answers["mortality_10y"].astype(np.float64)
    groups = np.digitize(risk, np.quantile(risk, np.linspace(0.1, 0.9, 9)))
    for group in range(10):
        rows = groups == group
        spread = np.sqrt((risk[rows] * (1 - risk[rows])).sum())
        assert abs(follow_up.event[rows].sum() - risk[rows].sum()) < 4 * spread
    assert (follow_up.time_years[~follow_up.event] == 10).all()
    assert (follow_up.time_years[follow_up.event] <= 10).all()


def test_times_of_death_follow_the_gompertz_hazard(
    checkpoint: Checkpoint, people: People, answers: Outputs
) -> None:
    """The cumulative hazard at death is standard exponential."""
    drawn = draw_follow_up(checkpoint, people, 6, years=1000)
    assert drawn.event.all()
    slope = checkpoint.tensors["baseline_slope"].double().numpy()[people.sex]
    intercept = checkpoint.tensors["baseline_intercept"].double().numpy()[people.sex]
    start = np.exp(intercept + slope * answers["biological_age"])
    cumulative = start * np.expm1(slope * drawn.time_years) / slope
    assert kstest(cumulative, "expon").pvalue > 1e-3


def test_causes_are_shared_as_the_model_says(answers: Outputs, follow_up: FollowUp) -> None:
    dead = follow_up.event
    shares = answers["cause_risk_10y"][dead] / answers["mortality_10y"][dead, None]
    shares = np.column_stack([shares, 1 - shares.sum(1)]).astype(np.float64)
    for place in range(len(CAUSES) + 1):
        spread = np.sqrt((shares[:, place] * (1 - shares[:, place])).sum())
        seen = (follow_up.cause[dead] == place).sum()
        assert abs(seen - shares[:, place].sum()) < 4 * spread
    assert (follow_up.cause[~dead] == -1).all()


def test_the_same_seed_gives_the_same_people(checkpoint: Checkpoint) -> None:
    first, again, other = (draw_synthetic_people(checkpoint, 50, seed) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first.biomarkers != other.biomarkers).all()
    drawn = [draw_follow_up(checkpoint, first, seed).time_years for seed in (1, 1, 2)]
    assert (drawn[0] == drawn[1]).all()
    assert (drawn[0] != drawn[2]).any()


def test_chunks_of_people_give_the_same_answers(
    checkpoint: Checkpoint, people: People, answers: Outputs
) -> None:
    """Answers are computed in chunks; the joins must not show."""
    from henaw.model import synthetic

    ages, shares = synthetic._answer(checkpoint, people)
    assert np.abs(ages - answers["biological_age"]).max() < 1e-4
    assert shares.shape == (COUNT, len(CAUSES))
    assert synthetic._CHUNK < COUNT
