import numpy as np
import pytest
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.reliability import (
    CODES,
    WORDS,
    CriticalLimits,
    Reason,
    count_codes,
    find_codes,
    find_limit_problems,
    find_reasons,
    list_codes,
)
from henaw.model.runtime import Outputs

LIMITS: CriticalLimits = {
    **dict.fromkeys(NAMES, (None, None)),
    "crp": (None, 300.0),
    "albumin": (20.0, None),
    "lymphocyte_pct": (6.0, 72.0),
}


def make_outputs(count: int, **changes: object) -> Outputs:
    """The flags of people who are not reliable for no other reason."""
    none = np.zeros((count, len(NAMES)), np.bool_)
    outputs = {
        "reliable": np.zeros(count, np.bool_),
        "critical": none.copy(),
        "age_out_of_range": np.zeros(count, np.bool_),
        "imputed": none.copy(),
    }
    return {**outputs, **{name: np.asarray(value) for name, value in changes.items()}}


def describe(outputs: Outputs, values: dict[str, float], age: float = 50.0) -> list[Reason]:
    row = np.full((1, len(NAMES)), 20.0, np.float32)
    for name, value in values.items():
        row[0, INDEX[name]] = value
    ages = np.array([age], np.float32)
    reasons = find_reasons(outputs, row, ages, critical_limits=LIMITS, fitted_ages=(20.0, 85.0))
    return reasons.get(0, [])


def flag(*names: str) -> list[list[bool]]:
    return [[name in names for name in NAMES]]


def test_every_code_has_words() -> None:
    assert tuple(WORDS) == CODES


def test_reliable_people_have_no_code() -> None:
    outputs = make_outputs(2, reliable=[True, True], age_out_of_range=[True, False])
    assert find_codes(outputs).tolist() == [0, 0]
    assert describe(make_outputs(1, reliable=[True]), {}) == []


def test_people_with_several_reasons_are_counted_at_each() -> None:
    outputs = make_outputs(
        5,
        reliable=[False, False, False, False, True],
        critical=flag("crp") + flag("alt") + 3 * flag(),
        age_out_of_range=[True, False, False, False, False],
        imputed=2 * flag() + flag(*NAMES) + 2 * flag(*NAMES[1:]),
    )
    codes = find_codes(outputs)
    assert [list_codes(code) for code in codes.tolist()] == [
        ("critical_value", "age_outside_fitted"),
        ("critical_value",),
        ("nothing_known",),
        ("unlike_fitted",),
        (),
    ]
    assert count_codes(codes) == {
        "critical_value": 2,
        "age_outside_fitted": 1,
        "nothing_known": 1,
        "unlike_fitted": 1,
    }


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("crp", 350.0, "C-reactive protein 350 mg/L is above 300 mg/L."),
        ("albumin", 18.0, "Albumin 18 g/L is below 20 g/L."),
        ("lymphocyte_pct", 5.5, "Lymphocyte percentage 5.5 % is below 6 %."),
        ("lymphocyte_pct", 80.0, "Lymphocyte percentage 80 % is above 72 %."),
        # Rounded, a limit may lie on the other side of the value that the graph flagged.
        ("lymphocyte_pct", 6.001, "Lymphocyte percentage 6.001 % is below 6 %."),
    ],
)
def test_a_critical_value_is_described_with_its_limit_and_what_to_do(
    name: str, value: float, said: str
) -> None:
    (reason,) = describe(make_outputs(1, critical=flag(name)), {name: value})
    assert (reason.code, reason.field) == ("critical_value", name)
    assert reason.message.startswith(said)
    assert "needs a doctor, not a calculator" in reason.message


def test_every_critical_value_is_described() -> None:
    outputs = make_outputs(1, critical=flag("crp", "albumin"), age_out_of_range=[True])
    reasons = describe(outputs, {"crp": 350.0, "albumin": 18.0}, age=90.0)
    assert [reason.field for reason in reasons] == ["crp", "albumin", "age"]
    assert reasons[2].message.startswith("Age 90 is outside 20 to 85 years")


def test_nothing_known_and_unlike_are_described() -> None:
    (reason,) = describe(make_outputs(1, imputed=flag(*NAMES)), {})
    assert (reason.code, reason.field) == ("nothing_known", "biomarkers")
    (reason,) = describe(make_outputs(1), {})
    assert (reason.code, reason.field) == ("unlike_fitted", "biomarkers")


@pytest.mark.parametrize("pair", [None, [1.0], [1.0, 2.0, 3.0], ["1", None], "12"])
def test_limits_of_the_wrong_form_are_named(pair: object) -> None:
    assert find_limit_problems({**{name: [None, 1] for name in NAMES}}) == []
    assert find_limit_problems({**{name: [None, 1] for name in NAMES}, "alt": pair}) == [
        "critical_limits.alt must be two numbers, or null where there is no limit"
    ]
