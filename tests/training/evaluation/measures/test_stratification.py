import numpy as np
import pandas as pd
import pytest
from henaw.training.evaluation.measures.stratification import (
    describe_gap,
    fit_hazard_ratio,
    split_thirds,
    trace_survival,
)
from henaw.training.evaluation.scored_people import ScoredPeople
from lifelines import CoxPHFitter, KaplanMeierFitter


def test_thirds_are_of_one_age_and_sex(scored: ScoredPeople):
    gap, age, sex = scored.output("age_gap"), scored.age_years, scored.people.sex
    third = split_thirds(gap, age, sex)
    sizes = np.bincount(third)
    assert sizes.max() - sizes.min() < 0.02 * len(gap)
    assert np.ptp([age[third == code].mean() for code in range(3)]) < 1.0
    assert gap[third == 0].mean() < gap[third == 1].mean() < gap[third == 2].mean()


def test_survival_is_that_of_lifelines(scored: ScoredPeople):
    gap, age, sex = scored.output("age_gap"), scored.age_years, scored.people.sex
    third = split_thirds(gap, age, sex)
    survival = trace_survival(third, age, scored.time_years, scored.event, 10)
    rows = third == 2
    fitter = KaplanMeierFitter().fit(scored.time_years[rows], scored.event[rows])
    curve = survival["curves"]["accelerated"]
    assert curve["years"] == list(range(11))
    np.testing.assert_allclose(curve["survival"], fitter.predict(range(11)), atol=6e-5)
    assert curve["survival"][-1] < survival["curves"]["slow"]["survival"][-1]
    assert survival["logrank_p"] < 1e-6


def test_a_third_with_few_deaths_hides_all_three(scored: ScoredPeople):
    third = np.arange(len(scored.dead)) % 3
    event = scored.event & (third > 0)
    survival = trace_survival(third, scored.age_years, scored.time_years, event, 10)
    assert survival == {"shown": False, "reason": "a third of the gap has fewer than 10 deaths"}


def test_the_hazard_ratio_is_that_of_a_cox_model_with_age_and_sex(scored: ScoredPeople):
    gap = scored.output("age_gap")
    figures = fit_hazard_ratio(
        gap, scored.age_years, scored.people.sex, scored.cut_years, scored.dead
    )
    table = pd.DataFrame(
        {
            "gap": gap,
            "age": scored.age_years,
            "sex": scored.people.sex,
            "time": scored.cut_years,
            "dead": scored.dead,
        }
    )
    fit = CoxPHFitter().fit(table, "time", "dead")
    expected = np.exp(fit.params_["gap"] * gap.std(ddof=1))
    assert figures["hazard_ratio"]["value"] == pytest.approx(expected, abs=2e-3)
    assert figures["hazard_ratio"]["low"] > 1


def test_the_gap_is_described_by_decade():
    age = np.repeat([25.0, 35.0, 45.0, 55.0], [100, 100, 100, 4])
    gap = np.where(age == 35.0, 2.0, -1.0) + np.tile([-0.5, 0.5], 152)
    described = describe_gap(gap, age)
    # Four people are too few; the smallest decade beside them is withheld too.
    assert len(described["by_decade"]) == 2
    assert {row["ages"] for row in described["by_decade"]} <= {"20-29", "30-39", "40-49"}
    means = {row["ages"]: row["mean"]["value"] for row in described["by_decade"]}
    assert means.get("30-39", 2.0) == 2.0
    assert described["correlation_with_age"]["value"] == pytest.approx(
        np.corrcoef(gap, age)[0, 1], abs=1e-3
    )
