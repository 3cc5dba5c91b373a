import numpy as np
import pytest
from henaw.export.parity import (
    compare_runtimes,
    describe_parity,
    require_parity,
)
from henaw.export.people import People, draw_anywhere
from henaw.model.errors import ParityError
from henaw.model.exported.parity import TOLERANCES, compare_outputs
from henaw.model.runtime import OUTPUT_NAMES, Outputs, Runtime


@pytest.fixture
def people() -> People:
    return draw_anywhere(20, seed=31)


@pytest.fixture
def outputs(runtimes: dict[str, Runtime], people: People) -> Outputs:
    return runtimes["eager"].predict(*people)


def compare(seen: Outputs, expected: Outputs) -> dict[str, tuple[float, int, bool]]:
    comparisons = compare_outputs(seen, expected, runtime="a", against="b")
    return {c.output: (c.worst_absolute, c.row, c.holds) for c in comparisons}


def change(outputs: Outputs, name: str, row: int, value: float) -> Outputs:
    changed = outputs[name].copy()
    changed[row] = value
    return {**outputs, name: changed}


def test_every_output_has_a_tolerance() -> None:
    assert tuple(TOLERANCES) == OUTPUT_NAMES
    assert TOLERANCES["biological_age"] <= 1e-4


def test_the_same_outputs_agree(outputs: Outputs) -> None:
    assert all(worst == 0 and holds for worst, _, holds in compare(outputs, outputs).values())


def test_a_difference_is_found_where_it_is(outputs: Outputs) -> None:
    for name in ("biological_age", "contributions"):
        changed = change(outputs, name, 7, outputs[name][7] + 1.0)
        worst, row, holds = compare(changed, outputs)[name]
        assert worst == pytest.approx(1.0, abs=1e-4)
        assert row == 7
        assert not holds
        others = {k: v for k, v in compare(changed, outputs).items() if k != name}
        assert all(holds for *_, holds in others.values())


def test_a_difference_at_the_tolerance_holds_and_above_it_does_not(outputs: Outputs) -> None:
    exact = {name: values.astype(np.float64) for name, values in outputs.items()}
    just = change(exact, "mortality_10y", 3, exact["mortality_10y"][3] + 0.99e-5)
    above = change(exact, "mortality_10y", 3, exact["mortality_10y"][3] + 1.01e-5)
    assert compare(just, exact)["mortality_10y"][2]
    assert not compare(above, exact)["mortality_10y"][2]


def test_one_flag_is_a_difference(outputs: Outputs) -> None:
    changed = {**outputs, "imputed": outputs["imputed"].copy()}
    changed["imputed"][5, 2] ^= True
    assert compare(changed, outputs)["imputed"] == (1.0, 5, False)


def test_nan_equals_nan_and_nothing_else(outputs: Outputs) -> None:
    both = change(outputs, "age_gap", 2, np.nan)
    assert compare(both, both)["age_gap"] == (0.0, 0, True)
    for seen, expected in ((both, outputs), (outputs, both)):
        worst, row, holds = compare(seen, expected)["age_gap"]
        assert np.isinf(worst)
        assert (row, holds) == (2, False)


def test_infinities_are_compared_without_a_warning(outputs: Outputs) -> None:
    up, down = (change(outputs, "age_gap", 2, value) for value in (np.inf, -np.inf))
    assert compare(up, up)["age_gap"][2]
    assert compare(up, down)["age_gap"][:2] == (np.inf, 2)


def test_another_shape_is_refused(outputs: Outputs) -> None:
    changed = {**outputs, "interval": outputs["interval"][:, :1]}
    with pytest.raises(ParityError, match=r"interval: shape must be \(20, 2\) as in b; got"):
        compare(changed, outputs)


class Shifting:
    """A runtime whose answer depends on the number of people in a batch."""

    name = "shifting"

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def predict(self, *inputs: np.ndarray) -> Outputs:
        outputs = self._runtime.predict(*inputs)
        return {**outputs, "age_gap": outputs["age_gap"] + (len(inputs[1]) == 1)}


def test_a_runtime_whose_answer_depends_on_the_batch_is_found(
    runtimes: dict[str, Runtime], people: People
) -> None:
    comparisons = compare_runtimes([runtimes["eager"], Shifting(runtimes["eager"])], people)
    broken = [(c.runtime, c.output, round(c.worst_absolute)) for c in comparisons if not c.holds]
    assert broken == [("shifting, one by one", "age_gap", 1)]
    with pytest.raises(ParityError, match=r"shifting, one by one: age_gap must be within 0\.0001"):
        require_parity(comparisons, people)


def test_a_description_has_the_worst_year(runtimes: dict[str, Runtime], people: People) -> None:
    comparisons = compare_runtimes(list(runtimes.values()), people)
    require_parity(comparisons, people)
    described = describe_parity(comparisons, people)
    assert described["people"] == 20
    assert described["worst_biological_age_years"] == max(
        c.worst_absolute for c in comparisons if c.output == "biological_age"
    )
    assert len(described["comparisons"]) == len(comparisons)
