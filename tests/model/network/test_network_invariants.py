"""What holds for any person, on the reference model that ships."""

import random

import numpy as np
import numpy.typing as npt
import pytest
from henaw.export.people import (
    People,
    draw_anywhere,
    draw_synthetic_people,
    join_people,
    list_edge_cases,
)
from henaw.model.biomarkers import PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.runtime import OUTPUT_NAMES, Outputs, Runtime
from hypothesis import example, given, settings
from hypothesis import strategies as st

FITTED = 3.0
"""Scores that are inside the fitted range, which ends at 3.09."""
MARGIN_TABLES = ("location", "scale", "margin")
MASKS = ((np.arange(512)[:, None] >> np.arange(9)) & 1).astype(bool)

any_number = st.floats(width=32) | st.sampled_from([0.0, -0.0, 1e-42, -1.0, 1e-6, 1e9, 3e38])
plausible = st.tuples(
    *(
        st.floats(biomarker.minimum, biomarker.maximum) | st.just(np.nan) | any_number
        for biomarker in PANEL
    )
)
ages = st.floats(18, 120) | st.integers(18, 120).map(float) | st.floats(-10, 1000)
one_person = st.tuples(plausible, ages, st.integers(0, 1))
some_people = st.lists(one_person, min_size=1, max_size=4)
Drawn = list[tuple[tuple[float, ...], float, int]]

ALL_MISSING = ((np.nan,) * 9, 50.0, 0)
NO_ENZYMES = ((1.0, 36.0, 80.0, 43.0, 30.0, 13.0, 22.0, 0.0, 0.0), 85.0, 1)
together = settings(max_examples=60, deadline=None, derandomize=True)


def build_people(drawn: Drawn) -> People:
    biomarkers, age, sex = zip(*drawn, strict=True)
    return People(
        np.array(biomarkers, np.float32), np.array(age, np.float32), np.array(sex, np.int64)
    )


def get_width(outputs: Outputs) -> npt.NDArray[np.float64]:
    interval = outputs["interval"].astype(np.float64)
    width: npt.NDArray[np.float64] = interval[:, 1] - interval[:, 0]
    return width


@pytest.fixture(scope="module")
def eager(runtimes: dict[str, Runtime]) -> Runtime:
    return runtimes["eager"]


@pytest.fixture(scope="module")
def crowd(checkpoint: Checkpoint) -> People:
    """Likely people, unlikely people and the edge cases with an age and a sex."""
    edges = list_edge_cases()[1]
    valid = np.flatnonzero(np.isfinite(edges.age) & np.isin(edges.sex, (0, 1)))
    return join_people(
        draw_synthetic_people(checkpoint, 5_000, 11), draw_anywhere(5_000, 12), edges.select(valid)
    )


def check_sums(outputs: Outputs) -> None:
    gap = outputs["age_gap"].astype(np.float64)
    contributions = outputs["contributions"].astype(np.float64)
    np.testing.assert_allclose(contributions.sum(1), gap, rtol=0, atol=1e-4)
    # typical_values, the first, belong to no system.
    systems = outputs["system_contributions"].astype(np.float64).sum(1)
    np.testing.assert_allclose(systems + contributions[:, 0], gap, rtol=0, atol=1e-4)


def check_answers(people: People, outputs: Outputs) -> None:
    check_sums(outputs)
    np.testing.assert_allclose(
        outputs["biological_age"], people.age + outputs["age_gap"], rtol=0, atol=1e-4
    )
    lower, upper = outputs["interval"].T
    assert (lower < outputs["biological_age"]).all()
    assert (outputs["biological_age"] < upper).all()
    mortality, causes = outputs["mortality_10y"], outputs["cause_risk_10y"]
    assert ((mortality >= 0) & (mortality < 1)).all()
    assert ((outputs["percentile"] >= 0) & (outputs["percentile"] <= 100)).all()
    assert (outputs["draw_sd"] >= 0).all()
    unreliable = outputs["critical"].any(1) | outputs["age_out_of_range"]
    assert not outputs["reliable"][unreliable | outputs["imputed"].all(1)].any()
    assert ((causes >= 0) & (causes <= 1)).all()
    assert (causes.astype(np.float64).sum(1) <= mortality.astype(np.float64) + 1e-7).all()


def test_answers_are_consistent_for_many_people(runtime: Runtime, crowd: People) -> None:
    check_answers(crowd, runtime.predict(*crowd))


@given(drawn=some_people)
@example(drawn=[ALL_MISSING])
@example(drawn=[NO_ENZYMES])
@together
def test_answers_are_consistent_for_any_person(eager: Runtime, drawn: Drawn) -> None:
    people = build_people(drawn)
    check_answers(people, eager.predict(*people))


@given(drawn=some_people, company=some_people)
@example(drawn=[NO_ENZYMES], company=[ALL_MISSING])
@together
def test_an_answer_does_not_depend_on_the_other_people(
    eager: Runtime, drawn: Drawn, company: Drawn
) -> None:
    alone = eager.predict(*build_people(drawn))
    among = eager.predict(*build_people([*company, *drawn]))
    for name in OUTPUT_NAMES:
        seen = among[name][len(company) :].astype(float)
        np.testing.assert_allclose(seen, alone[name].astype(float), rtol=1e-5, atol=5e-5)


@given(drawn=some_people, shuffle=st.randoms(use_true_random=False))
@together
def test_an_answer_does_not_depend_on_the_order(
    eager: Runtime, drawn: Drawn, shuffle: random.Random
) -> None:
    order = list(range(len(drawn)))
    shuffle.shuffle(order)
    straight = eager.predict(*build_people(drawn))
    permuted = eager.predict(*build_people([drawn[i] for i in order]))
    for name in OUTPUT_NAMES:
        expected = straight[name][order].astype(float)
        np.testing.assert_allclose(permuted[name].astype(float), expected, rtol=1e-5, atol=5e-5)


def read_margins(
    checkpoint: Checkpoint, scores: npt.ArrayLike, age: float, sex: int
) -> list[float]:
    """Raw values that have these scores among people of that age and sex."""
    tables = {name: checkpoint.tensors[name].double().numpy() for name in MARGIN_TABLES}
    grid = np.linspace(-4.0, 4.0, tables["margin"].shape[1])
    years = np.arange(20, 86)
    values = []
    for i, score in enumerate(np.asarray(scores)):
        location, scale = (
            np.interp(age, years, tables[name][sex, :, i]) for name in ("location", "scale")
        )
        value = location + scale * np.interp(score, grid, tables["margin"][i])
        values.append(float(np.exp(value) if LOG_SCALED[i] else value))
    return values


@given(
    drawn=st.tuples(st.tuples(*([st.floats(-FITTED, FITTED)] * 9)), ages, st.integers(0, 1)),
    already=st.sets(st.integers(0, 8), max_size=4),
    missing=st.sets(st.integers(0, 8), min_size=1),
)
@together
def test_a_missing_value_never_narrows_the_interval(
    eager: Runtime,
    checkpoint: Checkpoint,
    drawn: tuple[tuple[float, ...], float, int],
    already: set[int],
    missing: set[int],
) -> None:
    """Within the fitted range: a value outside of it may widen the interval by itself."""
    scores, age, sex = drawn
    values = read_margins(checkpoint, scores, age, sex)
    values = [np.nan if i in already else value for i, value in enumerate(values)]
    person = (tuple(values), age, sex)
    less = tuple(np.nan if i in missing else value for i, value in enumerate(values))
    outputs = eager.predict(*build_people([person, (less, age, sex)]))
    more_known, less_known = get_width(outputs)
    assert less_known >= more_known - 1e-6 * max(100.0, abs(age))


def test_no_missing_value_narrows_the_interval_of_anyone(
    runtime: Runtime, checkpoint: Checkpoint
) -> None:
    """60 people x 512 patterns x each further biomarker, at the ends of age too."""
    generator = np.random.default_rng(13)
    age = generator.uniform(18, 100, 60).astype(np.float32)
    age[::6], age[1::6] = 20.0, 85.0
    sex = generator.integers(0, 2, 60)
    scores = np.clip(2.0 * generator.standard_normal((60, 9)), -FITTED, FITTED)
    values = [read_margins(checkpoint, *person) for person in zip(scores, age, sex, strict=True)]
    patterns = np.arange(512)
    rows = np.where(MASKS, np.nan, np.array(values)[:, None, :]).astype(np.float32)
    outputs = runtime.predict(rows.reshape(-1, 9), np.repeat(age, 512), np.repeat(sex, 512))
    width = get_width(outputs).reshape(60, 512)
    narrower = [(width[:, patterns | (1 << bit)] - width[:, patterns]).min(1) for bit in range(9)]
    # A float32 of 100 years is 8e-6 wide; the two ends round apart.
    assert np.min(narrower) >= -4e-5
    assert (np.max(width, 1) > np.min(width, 1) + 1.0).all()


@given(person=one_person)
@together
def test_age_moves_the_answer_without_a_jump(
    eager: Runtime, person: tuple[tuple[float, ...], float, int]
) -> None:
    values, age, sex = person
    near = [(values, float(np.float32(age)) + step, sex) for step in (-1e-3, 0.0, 1e-3)]
    outputs = eager.predict(*build_people(near))
    assert np.abs(np.diff(outputs["age_gap"])).max() < 0.05
    assert np.abs(np.diff(get_width(outputs))).max() < 0.05
    assert np.abs(np.diff(outputs["mortality_10y"])).max() < 1e-2


@given(person=one_person)
@together
def test_biological_age_is_the_age_at_which_the_average_has_this_hazard(
    eager: Runtime, person: tuple[tuple[float, ...], float, int]
) -> None:
    """Without any known value the biological age is the age."""
    sex = person[2]
    outputs = eager.predict(*build_people([person]))
    average = eager.predict(
        *build_people([((np.nan,) * 9, float(outputs["biological_age"][0]), sex)])
    )
    assert average["mortality_10y"][0] == pytest.approx(outputs["mortality_10y"][0], abs=1e-6)


def test_mortality_rises_with_biological_age(runtime: Runtime, crowd: People) -> None:
    outputs = runtime.predict(*crowd)
    for sex in (0, 1):
        rows = np.flatnonzero(crowd.sex == sex)
        rows = rows[np.argsort(outputs["biological_age"][rows], kind="stable")]
        assert (np.diff(outputs["mortality_10y"][rows]) >= -1e-6).all()
