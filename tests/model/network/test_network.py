"""The graph contract: every row of its edge-case table, in every runtime."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.export.people import draw_anywhere, draw_synthetic_people, list_edge_cases
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.configuration import RATIO_CAPS
from henaw.model.graph.transforms import compute_safe_ratio
from henaw.model.runtime import OUTPUT_NAMES, Outputs, Runtime

TYPICAL = (1.2, 36.0, 80.0, 43.0, 30.0, 13.0, 22.0, 24.0, 20.0)
FLAGS = ("imputed", "out_of_range", "age_out_of_range", "critical", "reliable")
NUMBERS = tuple(name for name in OUTPUT_NAMES if name not in FLAGS)
COLUMNS = {"interval": 2, "cause_risk_10y": 4, "contributions": 13, "system_contributions": 4} | {
    "imputed": 9,
    "out_of_range": 9,
    "critical": 9,
}
TYPICAL_VALUES = 0
FIRST = 1
"""Place of the first biomarker among the contributions."""
RATIO = FIRST + 9
AST_CAP, ALT_CAP = RATIO_CAPS
MASKS = ((np.arange(512)[:, None] >> np.arange(9)) & 1).astype(bool)


def ask(
    runtime: Runtime,
    rows: Sequence[Sequence[float]] | npt.NDArray[np.float32],
    age: float | npt.NDArray[np.float32] = 50.0,
    sex: int | npt.NDArray[np.int64] = 0,
) -> Outputs:
    biomarkers = np.asarray(rows, np.float32).reshape(-1, 9)
    count = len(biomarkers)
    return runtime.predict(
        biomarkers,
        np.broadcast_to(np.asarray(age, np.float32), count).copy(),
        np.broadcast_to(np.asarray(sex, np.int64), count).copy(),
    )


def vary(**values: float) -> list[float]:
    return [values.get(name, typical) for name, typical in zip(NAMES, TYPICAL, strict=True)]


def assert_same(
    seen: Mapping[str, npt.NDArray[np.float32]], expected: Mapping[str, npt.NDArray[np.float32]]
) -> None:
    for name in NUMBERS:
        np.testing.assert_allclose(seen[name], expected[name], rtol=0, atol=1e-4, err_msg=name)
    for name in FLAGS:
        np.testing.assert_array_equal(seen[name], expected[name], err_msg=name)


def assert_finite(outputs: Outputs) -> None:
    for name in NUMBERS:
        assert np.isfinite(outputs[name]).all(), name


def take(outputs: Outputs, rows: npt.NDArray[np.int64] | slice) -> Outputs:
    return {name: values[rows] for name, values in outputs.items()}


@pytest.mark.parametrize("sex", [0, 1])
def test_any_subset_may_be_missing(runtime: Runtime, sex: int) -> None:
    rows = np.where(MASKS, np.nan, np.array(TYPICAL))
    outputs = ask(runtime, rows, 63.0, sex)
    assert_finite(outputs)
    np.testing.assert_array_equal(outputs["imputed"], MASKS)
    assert not outputs["out_of_range"].any()


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_an_infinite_value_is_a_missing_one(runtime: Runtime, infinity: float) -> None:
    infinite = ask(runtime, np.where(MASKS, infinity, np.array(TYPICAL)))
    missing = ask(runtime, np.where(MASKS, np.nan, np.array(TYPICAL)))
    for name in OUTPUT_NAMES:
        np.testing.assert_array_equal(infinite[name], missing[name], err_msg=name)


@pytest.mark.parametrize(
    ("ast", "alt", "ratio"),
    [
        (24.0, 0.0, 1.0),
        (0.0, 20.0, 0.1),
        (0.0, 0.0, 1.0),
        (24.0, 1e-42, 1.0),
        (1e-42, 1e-42, 1.0),
        (1e-42, 20.0, 0.1),
        (24.0, -2.0, 1.0),
        (-3.0, 20.0, 0.1),
        (-3.0, -2.0, 1.0),
        (24.0, 1e-7, 1.0),
        (24.0, 1.1e-6, 10.0),
        (1e9, 20.0, AST_CAP / 20.0),
        (20.0, 1e9, 20.0 / ALT_CAP),
        (3e38, 1e-5, 10.0),
    ],
)
def test_the_ratio_is_safe_and_its_values_are_clipped(
    runtime: Runtime, ast: float, alt: float, ratio: float
) -> None:
    outputs = ask(runtime, [vary(ast=ast, alt=alt)])
    assert_finite(outputs)
    assert not outputs["imputed"].any()
    flagged = {NAMES[i] for i in np.flatnonzero(outputs["out_of_range"][0])}
    assert flagged == {n for n, v in (("ast", ast), ("alt", alt)) if not 1.0 < v < 1000.0}
    usual = 10.0 if ratio < 1 else 2.0
    like = ask(runtime, [vary(ast=usual * ratio, alt=usual)])
    clipped = ask(runtime, [vary(ast=min(max(ast, 1.0), 1e4), alt=min(max(alt, 1.0), 1e4))])
    for column, expected in (
        (RATIO, like),
        (FIRST + INDEX["ast"], clipped),
        (FIRST + INDEX["alt"], clipped),
    ):
        assert outputs["contributions"][0, column] == pytest.approx(
            expected["contributions"][0, column], abs=1e-4
        )


@pytest.mark.parametrize("sex", [0, 1])
def test_beyond_its_cap_a_value_no_longer_moves_the_ratio(runtime: Runtime, sex: int) -> None:
    for name, cap in (("ast", AST_CAP), ("alt", ALT_CAP)):
        values = cap * np.array([0.5, 0.9, 1.0, 1.1, 3.0, 100.0])
        rows = [vary(**{name: float(value)}) for value in values]
        ratio = ask(runtime, rows, 50.0, sex)["contributions"][:, RATIO]
        assert np.abs(ratio[:2] - ratio[2]).min() > 0.01
        np.testing.assert_allclose(ratio[2:], ratio[2], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("value", [1e9, 3e38, 1e-9, 0.0, -1.0, -3e38])
def test_a_value_far_outside_counts_as_the_end_of_the_accepted_range(
    runtime: Runtime, name: str, value: float
) -> None:
    biomarker = PANEL[INDEX[name]]
    end = biomarker.maximum if value > 1 else biomarker.minimum
    outputs = ask(runtime, [vary(**{name: value}), vary(**{name: end})])
    assert_finite(outputs)
    assert outputs["out_of_range"][:, INDEX[name]].all()
    assert outputs["out_of_range"].sum() == 2
    # The ratio is of the values as they are, each up to its cap.
    own = [i for i in range(FIRST + 12) if name not in ("ast", "alt") or i != RATIO]
    np.testing.assert_allclose(
        outputs["contributions"][0, own], outputs["contributions"][1, own], atol=1e-4
    )


def test_the_gap_is_bounded(runtime: Runtime) -> None:
    people = draw_anywhere(20_000, seed=3)
    outputs = runtime.predict(*people)
    assert_finite(outputs)
    assert np.abs(outputs["age_gap"]).max() < 150
    assert outputs["interval"].max() < 500


@pytest.mark.parametrize(
    ("age", "sex"),
    [
        (np.nan, 0),
        (np.inf, 0),
        (-np.inf, 1),
        (50.0, 2),
        (50.0, -1),
        (50.0, 2**40),
        (np.nan, -(2**62)),
    ],
)
def test_a_wrong_age_or_sex_answers_nan_for_its_row_alone(
    runtime: Runtime, age: float, sex: int
) -> None:
    rows = [TYPICAL] * 3
    outputs = ask(
        runtime, rows, np.array([50.0, age, 70.0], np.float32), np.array([0, sex, 1], np.int64)
    )
    for name in NUMBERS:
        assert np.isnan(outputs[name][1]).all(), name
    assert not outputs["imputed"].any()
    assert outputs["reliable"].tolist() == [True, False, True]
    alone = ask(runtime, [TYPICAL] * 2, np.array([50.0, 70.0], np.float32), np.array([0, 1]))
    assert_same(take(outputs, np.array([0, 2])), alone)


def test_no_people_give_empty_answers_of_the_right_shapes(runtime: Runtime) -> None:
    outputs = ask(runtime, np.zeros((0, 9), np.float32))
    assert tuple(outputs) == OUTPUT_NAMES
    for name, values in outputs.items():
        assert values.shape == ((0, COLUMNS[name]) if name in COLUMNS else (0,)), name
        assert values.dtype == (np.bool_ if name in FLAGS else np.float32), name


def test_shapes_and_types(runtime: Runtime) -> None:
    for name, values in ask(runtime, [TYPICAL] * 3).items():
        assert values.shape == ((3, COLUMNS[name]) if name in COLUMNS else (3,)), name
        assert values.dtype == (np.bool_ if name in FLAGS else np.float32), name


def test_one_and_a_hundred_thousand_answer_alike(runtime: Runtime) -> None:
    people = draw_anywhere(100_000, seed=4)
    together = runtime.predict(*people)
    for row in (0, 1, 2, 17, 4_095, 4_096, 65_535, 65_536, 99_998, 99_999):
        alone = runtime.predict(*people.select(slice(row, row + 1)))
        assert_same(alone, take(together, slice(row, row + 1)))


def test_a_permuted_batch_answers_alike(runtime: Runtime) -> None:
    people = draw_anywhere(2_000, seed=5)
    order = np.random.default_rng(5).permutation(2_000)
    assert_same(runtime.predict(*people.select(order)), take(runtime.predict(*people), order))


def test_runtimes_agree_on_every_edge_case(runtimes: dict[str, Runtime]) -> None:
    names, people = list_edge_cases()
    eager = runtimes["eager"].predict(*people)
    for other in ("torchscript", "onnx"):
        assert_same(runtimes[other].predict(*people), eager)
    assert len(names) == len(people.age)


def test_nothing_known_answers_age_exactly_with_the_widest_interval(
    runtime: Runtime, checkpoint: Checkpoint
) -> None:
    ages = np.linspace(18, 110, 93).astype(np.float32)
    for sex in (0, 1):
        unknown = ask(runtime, np.full((93, 9), np.nan), ages, sex)
        # The runtimes may compute one and the same number by other operations.
        exact = 0.0 if runtime.name == "eager" else 2e-5
        np.testing.assert_allclose(unknown["biological_age"], ages, rtol=0, atol=exact)
        np.testing.assert_allclose(unknown["age_gap"], 0.0, atol=exact)
        np.testing.assert_allclose(unknown["contributions"], 0.0, atol=exact)
        np.testing.assert_array_equal(unknown["draw_sd"], 0.0)
        assert not unknown["reliable"].any()
        width = unknown["interval"][:, 1] - unknown["interval"][:, 0]
        low, high = (checkpoint.tensors[name].numpy() for name in ("range_low", "range_high"))
        likely = draw_synthetic_people(checkpoint, 93, seed=6).biomarkers
        known = ask(runtime, np.clip(likely, 1.5 * low, 0.6 * high), ages, sex)
        assert (known["interval"][:, 1] - known["interval"][:, 0] <= width + 1e-4).all()


def test_ages_are_flagged_outside_the_fitted_ones(runtime: Runtime) -> None:
    ages = [np.nextafter(np.float32(20), 0), 20.0, 20.5, 85.0, np.nextafter(np.float32(85), 99)]
    outputs = ask(runtime, [TYPICAL] * 5, np.array(ages, np.float32))
    assert outputs["age_out_of_range"].tolist() == [True, False, False, False, True]


@pytest.mark.parametrize("name", NAMES)
def test_values_are_flagged_exactly_outside_the_stored_range(
    runtime: Runtime, checkpoint: Checkpoint, name: str
) -> None:
    low = checkpoint.tensors["range_low"].numpy()[INDEX[name]]
    high = checkpoint.tensors["range_high"].numpy()[INDEX[name]]
    values = [np.nextafter(low, np.float32(0)), low, high, np.nextafter(high, np.float32(1e9))]
    outputs = ask(runtime, [vary(**{name: float(value)}) for value in values])
    assert outputs["out_of_range"][:, INDEX[name]].tolist() == [True, False, False, True]
    assert outputs["out_of_range"].sum() == 2


@pytest.mark.parametrize(
    ("ast", "alt", "expected"),
    [
        (30.0, 20.0, 1.5),
        (0.0, 0.0, 1.0),
        (30.0, 0.0, 1.0),
        (30.0, 9.9e-7, 1.0),
        (30.0, 1e-6, 10.0),
        (0.0, 30.0, 0.1),
        (-5.0, 30.0, 0.1),
        (30.0, -5.0, 1.0),
        (1e30, 1.0, 10.0),
        (float("nan"), 20.0, 1.0),
        (20.0, float("nan"), 1.0),
        (float("inf"), 20.0, 1.0),
        (20.0, float("inf"), 1.0),
        (float("inf"), float("inf"), 1.0),
        (1e-42, 1e-42, 1.0),
    ],
)
def test_safe_ratio_and_its_gradient(ast: float, alt: float, expected: float) -> None:
    inputs = [torch.tensor([value], requires_grad=True) for value in (ast, alt)]
    ratio = compute_safe_ratio(*inputs)
    ratio.sum().backward()
    assert ratio.item() == pytest.approx(expected)
    for value in inputs:
        assert value.grad is not None
        assert torch.isfinite(value.grad).all()


def test_the_gradient_of_the_ratio_is_that_of_a_quotient() -> None:
    ast = torch.tensor([30.0], dtype=torch.float64, requires_grad=True)
    alt = torch.tensor([20.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(compute_safe_ratio, (ast, alt))


def test_gradients_through_the_whole_network_are_finite(checkpoint: Checkpoint) -> None:
    _, edges = list_edge_cases()
    rows = np.concatenate(
        [
            np.array([vary(ast=0.0, alt=0.0), vary(ast=0.0), vary(alt=0.0)], np.float32),
            np.where(MASKS, np.nan, np.array(TYPICAL)).astype(np.float32),
            edges.biomarkers,
        ]
    )
    others = len(rows) - len(edges.age)
    biomarkers = torch.from_numpy(rows).requires_grad_()
    age = torch.from_numpy(np.concatenate([np.full(others, 50, np.float32), edges.age]))
    sex = torch.from_numpy(np.concatenate([np.ones(others, np.int64), edges.sex]))
    usable = torch.isfinite(age) & ((sex == 0) | (sex == 1))  # the others answer NaN
    known = torch.isfinite(biomarkers).any(1)
    answers = checkpoint.build_network()(biomarkers, age.requires_grad_(), sex)
    for name, answer in zip(OUTPUT_NAMES, answers, strict=True):
        if name not in FLAGS:
            gradients = torch.autograd.grad(answer.sum(), [biomarkers, age], retain_graph=True)
            # A standard deviation of 0 has no gradient: nothing known, nothing can vary.
            rows_used = usable & known if name == "draw_sd" else usable
            assert all(torch.isfinite(gradient[rows_used]).all() for gradient in gradients), name
    # A value that does matter has a gradient at all.
    (slope,) = torch.autograd.grad(answers[0][others], biomarkers)
    assert (slope[others] != 0).sum() >= 7


def test_largest_finite_values_are_clipped_not_missing(runtime: Runtime) -> None:
    largest = np.full((1, len(NAMES)), np.finfo(np.float32).max, np.float32)
    answers = runtime.predict(largest, np.array([50.0], np.float32), np.array([0], np.int64))
    assert not answers["imputed"].any()
    assert answers["out_of_range"].all()
    assert np.isfinite(answers["biological_age"]).all()


def test_no_death_is_certain(runtime: Runtime) -> None:
    """For the most extreme values and ages."""
    worst = vary(crp=500.0, hba1c=200.0, creatinine=2000.0, albumin=10.0, lymphocyte_pct=0.1)
    worst = [1e4 if name in ("ast", "alt") else v for name, v in zip(NAMES, worst, strict=True)]
    worst[INDEX["rdw"]], worst[INDEX["ggt"]] = 40.0, 5000.0
    outputs = ask(runtime, [worst] * 4, np.array([20.0, 60.0, 85.0, 120.0], np.float32), 1)
    assert outputs["mortality_10y"][2] > 0.9
    assert (outputs["mortality_10y"] < 1.0).all()
    assert outputs["mortality_10y"].max() <= 0.999 + 1e-6
    assert (outputs["cause_risk_10y"].sum(1) <= outputs["mortality_10y"]).all()
