import numpy as np
import pandas as pd
import pytest
from henaw.training.evaluation.measures.stratification import (
    describe_gap,
    fit_hazard_ratio,
    split_thirds,
    trace_survival,
)
from henaw.training.evaluation.scored_people import Evaluated
from lifelines import CoxPHFitter, KaplanMeierFitter


def test_thirds_are_of_one_age_and_sex(evaluated: Evaluated):
    gap, age, sex = evaluated.score("age_gap"), evaluated.age_years, evaluated.people.sex
    third = split_thirds(gap, age, sex)
    sizes = np.bincount(third)
    assert sizes.max() - sizes.min() < 0.02 * len(gap)
    assert np.ptp([age[third == code].mean() for code in range(3)]) < 1.0
    assert gap[third == 0].mean() < gap[third == 1].mean() < gap[third == 2].mean()


def test_survival_is_that_of_lifelines(evaluated: Evaluated):
    gap, age, sex = evaluated.score("age_gap"), evaluated.age_years, evaluated.people.sex
    third = split_thirds(gap, age, sex)
    survival = trace_survival(third, age, evaluated.time_years, evaluated.event, 10)
    rows = third == 2
    fitter = KaplanMeierFitter().fit(evaluated.time_years[rows], evaluated.event[rows])
    curve = survival["curves"]["accelerated"]
    assert curve["years"] == list(range(11))
    np.testing.assert_allclose(curve["survival"], fitter.predict(range(11)), atol=6e-5)
    assert curve["survival"][-1] < survival["curves"]["slow"]["survival"][-1]
    assert survival["logrank_p"] < 1e-6


def test_a_third_with_few_deaths_hides_all_three(evaluated: Evaluated):
    third = np.arange(len(evaluated.dead)) % 3
    event = evaluated.event & (third > 0)
    survival = trace_survival(third, evaluated.age_years, evaluated.time_years, event, 10)
    assert survival == {"shown": False, "reason": "a third of the gap has fewer than 10 deaths"}


def test_the_hazard_ratio_is_that_of_a_cox_model_with_age_and_sex(evaluated: Evaluated):
    gap = evaluated.score("age_gap")
    figures = fit_hazard_ratio(
        gap, evaluated.age_years, evaluated.people.sex, evaluated.cut_years, evaluated.dead
    )
    table = pd.DataFrame(
        {
            "gap": gap,
            "age": evaluated.age_years,
            "sex": evaluated.people.sex,
            "time": evaluated.cut_years,
            "dead": evaluated.dead,
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
