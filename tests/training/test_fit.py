"""The fit on synthetic people whose hazard is known."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.model.biomarkers import INDEX
from henaw.model.errors import CohortError, FitError
from henaw.model.network import Network
from henaw.training import fit as module
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.fit import Fit, build_rules, count_steps, draw_surveys, fit
from henaw.training.objective.survival_data import build_survival_data
from henaw.training.reference import harmonisation, tables
from henaw.training.train import predict
from torch import Tensor

Array = npt.NDArray[np.float64]
Simulate = Callable[..., tuple[Cohort, Array, Array]]
EFFECTS = {"crp": 4.0, "albumin": -3.0}
"""Years per standard deviation."""
INTERCEPT, SLOPE = -10.0, 0.09
"""Of the simulation's baseline."""


class Fitted(NamedTuple):
    whole: Fit
    cohort: Cohort
    score: Array
    gap: Array
    tensors: dict[str, Tensor]
    answers: dict[str, Tensor]
    steps: list[str]


@pytest.fixture(scope="module", autouse=True)
def few_complete_people() -> object:
    """The 512 patterns are tried on fewer people, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tables, "MOST_PEOPLE", 150)
        yield


@pytest.fixture(scope="module")
def fitted(simulate: Simulate, configuration: TrainingConfiguration) -> Fitted:
    cohort, score, gap = simulate(8000, seed=21, missing=0.1, effects=EFFECTS)
    steps: list[str] = []
    whole = fit(cohort, configuration, progress=steps.append)
    answers = predict(cohort, configuration, whole.tensors)
    return Fitted(whole, cohort, score, gap, whole.tensors, answers, steps)


def test_the_baseline_is_the_simulated_one(fitted: Fitted) -> None:
    slope = fitted.tensors["baseline_slope"].double()
    # Some 800 deaths of each sex, mostly near 70: the slope is good to about 0.003, the
    # level at 70 to 0.04.
    assert slope.tolist() == pytest.approx([SLOPE, SLOPE], abs=0.009)
    at_seventy = fitted.tensors["baseline_intercept"].double() + 70 * slope
    assert at_seventy.tolist() == pytest.approx([INTERCEPT + 70 * SLOPE] * 2, abs=0.14)


def test_planted_effects_are_found_with_sign_and_size(
    fitted: Fitted, configuration: TrainingConfiguration
) -> None:
    contributions = fitted.answers["contributions"].double().numpy()
    names = configuration.network.contribution_names
    for name, years in {**EFFECTS, "rdw": 0.0, "ggt": 0.0, "hba1c": 0.0}.items():
        known = ~np.isnan(fitted.cohort.biomarkers[:, INDEX[name]])
        slope = np.polyfit(
            fitted.score[known, INDEX[name]], contributions[known, names.index(name)], 1
        )[0]
        # The elastic net draws the planted ones somewhat to 0.
        assert slope == pytest.approx(years, abs=0.9)


def test_the_gap_is_the_simulated_one(fitted: Fitted) -> None:
    complete = fitted.cohort.complete
    gap = fitted.answers["age_gap"].double().numpy()[complete]
    assert np.corrcoef(gap, fitted.gap[complete])[0, 1] > 0.9
    assert np.std(gap - fitted.gap[complete]) < 2.0


def test_risks_are_calibrated_on_other_people(
    fitted: Fitted, simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    others, _, _ = simulate(6000, seed=22, missing=0.1, effects=EFFECTS)
    answers = predict(others, configuration, fitted.tensors)
    dead = others.event & (others.time_years <= 10)
    expected = answers["mortality_10y"].double().numpy()
    old = others.age_years >= 60
    for rows in (others.sex == 0, others.sex == 1, old, ~old):
        deaths = dead[rows].sum()
        assert expected[rows].sum() == pytest.approx(deaths, abs=4 * np.sqrt(deaths))
    assert expected.sum() == pytest.approx(dead.sum(), rel=0.1)
    causes = answers["cause_risk_10y"].double().numpy().sum(0)
    for code, risk in enumerate(causes):
        deaths = (dead & (others.cause == code)).sum()
        assert risk == pytest.approx(deaths, abs=4 * np.sqrt(deaths))


def test_half_of_the_people_of_an_age_and_sex_are_older_and_half_younger(fitted: Fitted) -> None:
    gap = fitted.answers["age_gap"].double().numpy()
    cohort = fitted.cohort
    for sex in (0, 1):
        for low in (25, 45, 65):
            rows = (cohort.sex == sex) & (cohort.age_years >= low) & (cohort.age_years < low + 15)
            some = gap[rows & cohort.complete]
            # A median of so many people is good to a standard error of 1.25 s / sqrt(n).
            assert abs(np.median(some)) < 4 * 1.25 * some.std() / np.sqrt(len(some)) + 0.1
    assert abs(np.median(gap[cohort.complete])) < 0.1


def test_those_who_have_nothing_but_medians_differ_from_the_typical_person(fitted: Fitted) -> None:
    """By what the curvature of effects makes; a linear truth has hardly any."""
    typical = fitted.tensors["typical"]
    assert typical.abs().max() < 2.0
    assert typical.abs().max() > 0.0


def test_no_harmful_value_looks_younger(
    fitted: Fitted, configuration: TrainingConfiguration
) -> None:
    rules = build_rules(configuration, fitted.tensors)
    assert rules is not None
    fits = [(fitted.tensors["weight"], fitted.tensors["interaction_weight"])]
    fits += zip(
        fitted.tensors["member_weight"], fitted.tensors["member_interaction_weight"], strict=True
    )
    assert len(fits) == 3
    for weight, pairs in fits:
        assert float(rules.measure(weight.double(), pairs.double()).min()) > -1e-5


def test_every_step_is_reported(fitted: Fitted, configuration: TrainingConfiguration) -> None:
    assert len(fitted.steps) == count_steps(configuration)
    assert fitted.steps[0] == "reference"
    assert fitted.steps[-1] == "interval"


def test_a_missing_biomarker_never_takes_variance_away(fitted: Fitted) -> None:
    table = fitted.tensors["missing_variance"]
    patterns = torch.arange(len(table))
    assert not table[0].any()
    assert table[-1].min() > 1.0
    for bit in range(9):
        without = patterns[(patterns >> bit & 1) == 0]
        assert (table[without | (1 << bit)] >= table[without]).all()


def test_the_same_seed_gives_the_same_tensors_and_another_changes_the_members_only(
    simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    cohort, _, _ = simulate(2500, seed=23, effects=EFFECTS)
    quick = dataclasses.replace(configuration.fit, iterations=100, member_iterations=200)
    settings = dataclasses.replace(configuration, fit=quick)
    first, second = (fit(cohort, settings).tensors for _ in range(2))
    other = fit(cohort, dataclasses.replace(settings, seed=4)).tensors
    assert set(first) == set(second) == set(other)
    assert all(torch.equal(first[name], second[name]) for name in first)
    changed = {name for name in first if not torch.equal(first[name], other[name])}
    assert {"member_weight", "member_interaction_weight"} <= changed
    # What holds the refits' spread may follow it.
    assert changed <= {
        "member_weight",
        "member_interaction_weight",
        "member_offset",
        "group_cap",
        "interval_factor",
        "draw_factor",
    }


def test_an_interaction_stays_within_the_hierarchy(
    simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    # Only the product of CRP and HbA1c matters: unbound, its weight would be large and
    # those of its two biomarkers nothing.
    def compute_gap(score: Array) -> Array:
        return 5.0 * score[:, INDEX["crp"]] * score[:, INDEX["hba1c"]]

    cohort, _, _ = simulate(4000, seed=24, compute_gap=compute_gap)
    basis = configuration.network.basis_size
    sizes = []
    for constant in (0.2, 50.0):
        shape = dataclasses.replace(configuration.network, hierarchy=constant)
        # A product alone would make a high CRP look younger where HbA1c is low.
        free = dataclasses.replace(configuration.fit, harm_weight=0.0)
        settings = dataclasses.replace(configuration, network=shape, fit=free)
        tensors = fit(cohort, settings, members=False).tensors
        own = tensors["weight"][[INDEX["crp"], INDEX["hba1c"]], :basis].norm(dim=1).mean()
        size = float(tensors["interaction_weight"][0])
        assert abs(size) <= constant * float(own) * (1 + 1e-5)
        sizes.append(size / (constant * float(own)))
    assert sizes[0] > 0.95
    assert sizes[1] < 0.9


def test_a_surveys_own_level_stays_out_of_the_gap(
    simulate: Simulate, configuration: TrainingConfiguration, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Harmonised, the surveys would not differ in CRP at all.
    monkeypatch.setattr(harmonisation, "FEWEST_FOR_SHIFT", 10**9)
    # The second survey has e times the hazard, and twice the CRP by its assay's drift
    # only among those who do not die of it: without a level of its own that would be
    # read as an effect of CRP, which has none here.
    calm, _, _ = simulate(3000, seed=25)
    deadly, _, _ = simulate(3000, seed=26, compute_gap=lambda score: np.full(len(score), 11.0))
    drifted = deadly.biomarkers.copy()
    drifted[:, INDEX["crp"]] *= 2.0
    joined = dataclasses.replace(
        calm,
        **{
            name: np.concatenate([getattr(calm, name), values])
            for name, values in {
                **{
                    name: getattr(deadly, name)
                    for name in ("age_years", "sex", "time_years", "event", "cause")
                },
                "biomarkers": drifted,
                "survey": np.full(3000, "deadly"),
            }.items()
        },
    )
    slopes = []
    for surveys in (joined.survey, np.full(6000, "all")):
        cohort = dataclasses.replace(joined, survey=surveys)
        tensors = fit(cohort, configuration, members=False).tensors
        crp = predict(cohort, configuration, tensors)["contributions"]
        crp = crp[:, configuration.network.contribution_names.index("crp")]
        log_crp = np.log(cohort.biomarkers[:, INDEX["crp"]])
        slopes.append(np.polyfit(log_crp, crp.double().numpy(), 1)[0])
    assert abs(slopes[0]) < 0.8
    assert slopes[1] > 2 * abs(slopes[0])


def test_follow_up_is_cut_and_later_deaths_count_as_survival(
    fitted: Fitted, configuration: TrainingConfiguration
) -> None:
    cohort = fitted.cohort
    people = build_survival_data(
        Network(configuration.network, fitted.tensors), cohort, configuration.fit
    )
    later = cohort.event & (cohort.time_years > 10)
    assert later.any()
    assert float(people.time.max()) == 10.0
    assert not people.event[torch.from_numpy(later)].any()
    assert int(people.event.sum()) == int((cohort.event & ~later).sum())


def test_a_loss_that_is_not_finite_stops_the_fit(
    fitted: Fitted, configuration: TrainingConfiguration
) -> None:
    time = fitted.cohort.time_years.copy()
    time[0] = np.nan
    broken = dataclasses.replace(fitted.cohort, time_years=time)
    with pytest.raises(FitError, match="the loss or a parameter is not finite: mortality=nan"):
        fit(broken, configuration, members=False)


def test_a_cohort_that_nothing_can_be_learnt_from_is_refused_before_the_fit(
    fitted: Fitted, configuration: TrainingConfiguration
) -> None:
    cohort = fitted.cohort
    women = cohort.sex == 0
    blank = cohort.biomarkers.copy()
    blank[women, 0] = np.nan
    empty = dataclasses.replace(
        cohort,
        event=cohort.event & women,
        cause=np.full(len(cohort), -1),
        biomarkers=blank,
    )
    with pytest.raises(CohortError) as caught:
        fit(empty, configuration)
    assert set(caught.value.problems) == {
        "no male person died within 10 years; a fit needs such deaths",
        "no female person has every biomarker of the panel; a fit needs such people",
        "deaths with a known cause must be at least 2; got 0. For a model without risks by cause, "
        "leave cohort.causes empty",
    }


def test_ages_without_complete_people_take_the_variance_of_the_nearest(
    simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    cohort, _, _ = simulate(4000, seed=27, effects=EFFECTS)
    middle = cohort.select((cohort.age_years >= 45) & (cohort.age_years < 66))
    settings = dataclasses.replace(
        configuration,
        network=dataclasses.replace(configuration.network, first_age=45, last_age=65),
        fit=dataclasses.replace(configuration.fit, iterations=100, member_iterations=200),
    )
    table = fit(middle, settings).tensors["missing_variance"]
    assert torch.isfinite(table).all()
    # Tabulated at 20, 30, .. 80: no one is near 20, 30 or 80.
    assert torch.equal(table[..., 0], table[..., 2])
    assert torch.equal(table[..., 1], table[..., 2])
    assert torch.equal(table[..., 6], table[..., 5])
    assert not torch.equal(table[..., 2], table[..., 4])


CONTRARY = {"alt": -5.0, "hba1c": -3.0, "albumin": 2.0}
"""Years per standard deviation: what harms looks younger."""


def test_what_people_say_against_the_rules_is_not_followed_beyond_the_limits(
    simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    cohort, _, _ = simulate(4000, seed=28, effects=CONTRARY)
    free = dataclasses.replace(
        configuration, fit=dataclasses.replace(configuration.fit, harm_weight=0.0)
    )
    tensors = fit(cohort, configuration, members=False).tensors
    unbound = fit(cohort, free, members=False).tensors
    rules = build_rules(configuration, tensors)
    assert rules is not None
    assert build_rules(free, tensors) is None
    bound_left, free_left = (
        rules.measure(of["weight"].double(), of["interaction_weight"].double())
        for of in (tensors, unbound)
    )
    assert float(bound_left.min()) > -1e-5
    broken = [name for name, left in zip(rules.names, free_left, strict=True) if left < -1.0]
    assert {name.split()[0] for name in broken} >= set(CONTRARY)
    # Within the limits ALT is still read as these people have it.
    column = configuration.network.contribution_names.index("alt")
    alt = predict(cohort, configuration, tensors)["contributions"][:, column].double().numpy()
    values = np.log(cohort.biomarkers[:, INDEX["alt"]])
    inside = (values < np.log(30)) & (values > np.log(10))
    assert np.polyfit(values[inside], alt[inside], 1)[0] < -2.0


def test_a_fit_that_breaks_rules_says_which_and_what_to_do(
    simulate: Simulate, configuration: TrainingConfiguration, monkeypatch: pytest.MonkeyPatch
) -> None:
    cohort, _, _ = simulate(4000, seed=28, effects=CONTRARY)
    monkeypatch.setattr(module, "MOST_TURNS", 1)
    with pytest.raises(FitError) as caught:
        fit(cohort, configuration, members=False)
    message = str(caught.value)
    assert message.startswith("after 1 turns the typical years still changed by ")
    assert " is broken by " in message
    assert "Raise fit.iterations" in message


def test_the_parts_of_the_loss_are_told(
    fitted: Fitted, simulate: Simulate, configuration: TrainingConfiguration
) -> None:
    loss = fitted.whole.record["loss"]
    assert set(loss) == {"mortality", "age", "elastic", "survey", "harm"}
    assert np.isfinite(list(loss.values())).all()


def test_a_refit_draws_as_many_surveys_as_there_are() -> None:
    generator = np.random.default_rng(1)
    drawn = np.array([draw_surveys(generator, 7) for _ in range(500)])
    assert (drawn.sum(1) == 7).all()
    np.testing.assert_allclose(drawn.mean(0), 1.0, atol=0.15)
    # Without replacement each would be there once.
    assert (drawn == 0).mean() == pytest.approx((6 / 7) ** 7, abs=0.03)


def test_refits_vary_which_surveys_they_are_of(
    simulate: Simulate, configuration: TrainingConfiguration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If CRP has an effect in one survey only, refits differ by more than chance."""
    for room, name in (
        (module.uncertainty, "missing_variance"),
        (module.typical, "typical_missing"),
    ):
        monkeypatch.setattr(room, f"fit_{name}", lambda c, s, t, *_, name=name: t[name])
    calm, _, _ = simulate(1500, seed=29)
    strong, _, _ = simulate(1500, seed=30, effects={"crp": 10.0})
    arrays = ("biomarkers", "age_years", "sex", "time_years", "event", "cause")
    joined = dataclasses.replace(
        calm,
        **{name: np.concatenate([getattr(calm, name), getattr(strong, name)]) for name in arrays},
    )
    quick = dataclasses.replace(
        configuration,
        network=dataclasses.replace(configuration.network, members=6),
        fit=dataclasses.replace(configuration.fit, iterations=100, member_iterations=200),
    )
    spreads = []
    for survey in (np.repeat(["calm", "strong"], 1500), np.full(3000, "all")):
        tensors = fit(dataclasses.replace(joined, survey=survey), quick).tensors
        spreads.append(float(tensors["member_weight"][:, INDEX["crp"], 0].std()))
    assert spreads[0] > 2 * spreads[1]
