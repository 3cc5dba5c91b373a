"""What the interval of the reference model covers, on people who do not exist."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.export.people import People, draw_synthetic_people
from henaw.model.biomarkers import NAMES, PANEL, list_total_cv
from henaw.model.checkpoint import Checkpoint
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.network import Network
from henaw.model.runtime import Outputs, TorchRuntime
from henaw.training.cohorts.cohort import Cohort
from henaw.training.reference import tables
from henaw.training.reference.uncertainty import (
    answer_by_refit,
    fit_factors,
    fit_member_offset,
    measure_extrapolation,
    move_laboratory,
)

Array = npt.NDArray[np.float64]

PEOPLE = 8000
NINE_IN_TEN = 1.6448536269514722


@pytest.fixture(scope="module")
def eager(checkpoint: Checkpoint) -> TorchRuntime:
    return TorchRuntime(checkpoint.build_network(), name="eager")


@pytest.fixture(scope="module")
def people(checkpoint: Checkpoint) -> People:
    return draw_synthetic_people(checkpoint, PEOPLE, seed=31)


@pytest.fixture(scope="module")
def repeat(people: People) -> People:
    """The same people drawn again: biology and assay vary as cited."""
    variation = np.array(list_total_cv())
    noise = np.random.default_rng(32).standard_normal(people.biomarkers.shape)
    factor = np.where(
        LOG_SCALED, np.exp(np.sqrt(np.log1p(variation**2)) * noise), 1 + variation * noise
    )
    return People((people.biomarkers * factor).astype(np.float32), people.age, people.sex)


@pytest.fixture(scope="module")
def hidden() -> npt.NDArray[np.bool_]:
    """Three in ten values missing at random."""
    return np.random.default_rng(33).random((PEOPLE, len(NAMES))) < 0.3


def blank(people: People, hidden: npt.NDArray[np.bool_]) -> People:
    return people._replace(
        biomarkers=np.where(hidden, np.float32(np.nan), people.biomarkers).astype(np.float32)
    )


def find_covered(
    answers: Outputs, biological_age: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    low, high = answers["interval"].T
    return np.asarray((biological_age >= low) & (biological_age <= high))


def test_nine_repeat_draws_in_ten_are_within_draw_sd(
    eager: TorchRuntime, people: People, repeat: People
) -> None:
    answers = eager.predict(*people)
    away = np.abs(eager.predict(*repeat)["biological_age"] - answers["biological_age"])
    within = away <= NINE_IN_TEN * answers["draw_sd"]
    assert 0.88 <= within.mean() <= 0.92
    for sex in (0, 1):
        for low in (20, 40, 60):
            rows = (people.sex == sex) & (people.age >= low) & (people.age < low + 25)
            assert 0.85 <= within[rows].mean() <= 0.95


@pytest.fixture(scope="module")
def elsewhere(
    checkpoint: Checkpoint, people: People, repeat: People, as_cohort: Callable[[People], Cohort]
) -> Array:
    """Biological age by another draw, in another laboratory, by one of the refits."""
    generator = np.random.default_rng(34)
    network = checkpoint.build_network()
    values = move_laboratory(
        repeat.biomarkers, checkpoint.tensors["laboratory_sd"].double().numpy(), generator
    )
    refits = checkpoint.network.members
    by_refit = np.stack(
        [answer_by_refit(network, values, as_cohort(people), refit) for refit in range(refits)]
    )
    chosen = generator.integers(0, refits, PEOPLE)
    result: Array = by_refit[chosen, np.arange(PEOPLE)]
    return result


def test_the_interval_holds_nine_repeats_in_ten_of_all_that_it_claims(
    eager: TorchRuntime, people: People, elsewhere: Array
) -> None:
    covered = find_covered(eager.predict(*people), elsewhere)
    assert 0.88 <= covered.mean() <= 0.93
    for sex in (0, 1):
        for low in (20, 40, 60):
            rows = (people.sex == sex) & (people.age >= low) & (people.age < low + 25)
            assert 0.85 <= covered[rows].mean() <= 0.96


def test_the_interval_holds_more_repeats_of_one_laboratory(
    eager: TorchRuntime, people: People, repeat: People
) -> None:
    """Refits and laboratories do not vary here, which the interval allows for."""
    covered = find_covered(eager.predict(*people), eager.predict(*repeat)["biological_age"])
    assert 0.93 <= covered.mean() <= 0.995


def test_a_refit_answers_as_a_network_of_its_weights_would(
    checkpoint: Checkpoint, people: People, as_cohort: Callable[[People], Cohort]
) -> None:
    """But for its middle: the mean difference at each age and sex is left out."""
    some = people.select(slice(0, 400))
    network, refit = checkpoint.build_network(), 3
    seen = answer_by_refit(network, some.biomarkers, as_cohort(some), refit)
    own = Network(
        checkpoint.network,
        {
            **checkpoint.tensors,
            "weight": checkpoint.tensors["member_weight"][refit],
            "interaction_weight": checkpoint.tensors["member_interaction_weight"][refit],
        },
    )
    offset = checkpoint.tensors["member_offset"].unflatten(2, (-1, checkpoint.network.members))
    offset = offset[:, :, :, refit].sum(2).double().numpy()
    ages = np.arange(20, 86)
    middle = [
        np.interp(age, ages, offset[sex]) for age, sex in zip(some.age, some.sex, strict=True)
    ]
    expected = TorchRuntime(own, name="eager").predict(*some)["biological_age"] - np.array(middle)
    np.testing.assert_allclose(seen, expected, atol=1e-3)


def test_a_laboratory_moves_each_persons_values_on_its_scale() -> None:
    generator = np.random.default_rng(35)
    before = np.tile(np.array([b.typical for b in PANEL], np.float32), (20_000, 1))
    spread = np.array([1.5 if not logged else 0.1 for logged in LOG_SCALED])
    after = move_laboratory(before, spread, generator)
    shift = np.where(LOG_SCALED, np.log(after / before), after - before)
    np.testing.assert_allclose(shift.std(0), spread, rtol=0.03)
    np.testing.assert_allclose(shift.mean(0) / spread, 0.0, atol=0.04)


def test_factors_make_up_for_what_slopes_miss(
    checkpoint: Checkpoint,
    people: People,
    monkeypatch: pytest.MonkeyPatch,
    as_cohort: Callable[[People], Cohort],
) -> None:
    monkeypatch.setattr(tables, "MOST_PEOPLE", 800)
    cohort, shape = as_cohort(people), checkpoint.network
    tensors = dict(checkpoint.tensors)
    factors = fit_factors(cohort, shape, tensors, seed=1)
    assert set(factors) == {"interval_factor", "draw_factor"}
    # The same seed gives the same, and what the checkpoint has itself is left out of it.
    other = tensors | {name: torch.tensor([3.0]) for name in factors}
    again = fit_factors(cohort, shape, other, seed=1)
    for name, factor in factors.items():
        assert torch.equal(factor, again[name])
        assert 0.8 < float(factor) < 1.5
        assert float(factor) == pytest.approx(float(tensors[name]), abs=0.1)
    # A variation taken to be a tenth of what repeats have needs ten times as much.
    narrow = fit_factors(
        cohort, shape, tensors | {"within_person_cv": tensors["within_person_cv"] * 0.1}, seed=1
    )
    assert float(narrow["draw_factor"] / factors["draw_factor"]) == pytest.approx(10, rel=1e-3)


def test_extrapolation_is_as_uncertain_as_outer_slopes_are_steep(checkpoint: Checkpoint) -> None:
    weight = checkpoint.tensors["weight"].double().numpy()[:9, : checkpoint.network.basis_size]
    outer = np.concatenate([weight[:, 0], weight.sum(1)])
    seen = measure_extrapolation(checkpoint.network, dict(checkpoint.tensors))
    assert float(seen) == pytest.approx(np.sqrt((outer**2).mean()), rel=1e-5)
    assert float(checkpoint.tensors["extrapolation_sd"]) == pytest.approx(float(seen), rel=1e-4)


def test_what_refits_differ_by_is_0_on_average_at_each_age(
    checkpoint: Checkpoint, people: People, as_cohort: Callable[[People], Cohort]
) -> None:
    tensors = dict(checkpoint.tensors)
    offset = fit_member_offset(as_cohort(people), checkpoint.network, tensors)
    network = Network(checkpoint.network, tensors | {"member_offset": offset})
    features = network.build_features(*map(torch.from_numpy, people))
    refits = network.compute_contributions(features).refits - features.by_age.refit_offset
    for sex in (0, 1):
        for low in (25, 45, 65):
            rows = (people.sex == sex) & (people.age >= low) & (people.age < low + 15)
            mean = refits[torch.from_numpy(rows)].mean(0)
            # Each differs by half a year or so between people.
            assert float(mean.abs().max()) < 0.15


def test_the_interval_of_incomplete_people_holds_what_all_nine_would_say(
    eager: TorchRuntime, people: People, hidden: npt.NDArray[np.bool_]
) -> None:
    # More than nine in ten, since it holds repeat draws, refits and laboratories as well.
    answers = eager.predict(*blank(people, hidden))
    covered = find_covered(answers, eager.predict(*people)["biological_age"])
    count = hidden.sum(1)
    assert 0.93 <= covered.mean() <= 0.998
    for missing in (1, 2, 3, 4, 5):
        assert covered[count == missing].mean() >= 0.9


def test_the_interval_of_incomplete_people_holds_a_complete_repeat(
    eager: TorchRuntime, people: People, elsewhere: Array, hidden: npt.NDArray[np.bool_]
) -> None:
    """Both sources together, which the interval claims to cover."""
    covered = find_covered(eager.predict(*blank(people, hidden)), elsewhere)
    assert 0.9 <= covered.mean() <= 0.985


@pytest.mark.parametrize("name", NAMES)
def test_one_missing_biomarker_leaves_its_interval_honest(
    eager: TorchRuntime, people: People, name: str
) -> None:
    alone = np.zeros((PEOPLE, len(NAMES)), bool)
    alone[:, NAMES.index(name)] = True
    covered = find_covered(
        eager.predict(*blank(people, alone)), eager.predict(*people)["biological_age"]
    )
    assert covered.mean() >= 0.93


def test_imputing_does_not_make_people_older_or_younger(
    eager: TorchRuntime, people: People, hidden: npt.NDArray[np.bool_]
) -> None:
    shift = (
        eager.predict(*blank(people, hidden))["biological_age"]
        - eager.predict(*people)["biological_age"]
    )
    assert abs(float(shift.mean())) < 0.25


def test_the_variation_of_every_biomarker_is_cited(checkpoint: Checkpoint) -> None:
    np.testing.assert_allclose(checkpoint.tensors["within_person_cv"], list_total_cv(), rtol=1e-6)
    for variation in (biomarker.variation for biomarker in PANEL):
        assert variation.analytical >= 0.1 * variation.within_person > 0
        assert variation.total_cv == pytest.approx(
            np.sqrt(variation.within_person**2 + variation.analytical**2) / 100
        )
        assert "doi:" in variation.source or "Carobene" in variation.source
