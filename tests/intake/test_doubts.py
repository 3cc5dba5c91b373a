"""Values in another unit, and values of real and of sick people that are not."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from henaw.intake.doubts import Doubt, find_doubts
from henaw.intake.reference import Reference, read_reference
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.shipped import SIDECAR_FILE, find_shipped
from henaw.model.synthetic import draw_synthetic_people

Values = npt.NDArray[np.float64]
UNITS = {biomarker.name: biomarker.unit for biomarker in PANEL}


@pytest.fixture(scope="module")
def reference() -> Reference:
    sidecar = json.loads(find_shipped(SIDECAR_FILE).read_text())
    return read_reference({key: json.dumps(sidecar[key]) for key in ("drift", "calibration")})


@pytest.fixture(scope="module")
def healthy(checkpoint: Checkpoint) -> pd.DataFrame:
    """People like the fitted ones."""
    people = draw_synthetic_people(checkpoint, 3000, seed=11)
    table = pd.DataFrame(people.biomarkers, columns=list(NAMES)).astype(float)
    return table.assign(age=people.age, sex=people.sex)


def doubt(
    people: pd.DataFrame, reference: Reference, units: dict[str, str] = UNITS
) -> dict[str, Doubt]:
    return find_doubts(
        people[list(NAMES)].to_numpy(np.float32),
        people["age"].to_numpy(np.float32),
        people["sex"].to_numpy(np.int64),
        reference,
        units,
    )


@pytest.mark.parametrize(
    ("written", "what", "fewest"),
    [
        (("lymphocyte_pct", "%", lambda v: v / 100), "fractions", 2),
        (("lymphocyte_pct", "%", lambda v: v * 0.068), "a count in 10*9/L", 2),
        (("lymphocyte_pct", "%", lambda v: v * 68), "a count per microlitre", 2),
        (("rdw", "%", lambda v: v * 3.1), "RDW-SD in fL", 2),
        (("rdw", "%", lambda v: v / 100), "fractions", 2),
        (("crp", "mg/L", lambda v: v / 10), "in mg/dL", 50),
        (("crp", "mg/dL", lambda v: v), "in mg/L", 50),
        (("albumin", "g/L", lambda v: v / 10), "in g/dL", 1),
        (("albumin", "g/dL", lambda v: v), "in g/L", 1),
        (("albumin", "g/L", lambda v: v * 100), "in mg/dL", 1),
        (("creatinine", "umol/L", lambda v: v / 88.42), "in mg/dL", 1),
        (("creatinine", "umol/L", lambda v: v / 1000), "in mmol/L", 1),
        (("creatinine", "umol/L", lambda v: v / 8.842), "in mg/L", 2),
        (("creatinine", "mg/dL", lambda v: v), "in umol/L", 1),
        (("hba1c", "mmol/mol", lambda v: v * 0.09148 + 2.152), "in %", 1),
        (("hba1c", "%", lambda v: v), "in mmol/mol", 2),
        (
            ("hba1c", "mmol/mol", lambda v: (v * 0.09148 + 2.152) * 28.7 - 46.7),
            "average glucose",
            50,
        ),
        (("ggt", "U/L", lambda v: v / 60), "in ukat/L", 2),
        (("alt", "U/L", lambda v: v / 0.06), "in nkat/L", 50),
    ],
)
def test_another_unit_is_named(
    healthy: pd.DataFrame,
    reference: Reference,
    written: tuple[str, str, Callable[[Values], Values]],
    what: str,
    fewest: int,
) -> None:
    name, stated, write = written
    unit = PANEL[INDEX[name]].find_unit(stated)
    raw = write(healthy[name].to_numpy())
    wrong = healthy.assign(**{name: (raw - unit.offset) * unit.factor})
    for count in {fewest, 50, 2000}:
        some = wrong.iloc[100 : 100 + count]
        found = doubt(some, reference, {name: stated})
        assert what in found[name].what
        assert found[name].is_whole
    right = doubt(healthy.iloc[:2000], reference).get(name)
    assert right is None or not right.is_whole


def test_one_value_is_doubted_only_if_it_is_very_rare(reference: Reference) -> None:
    woman = pd.DataFrame(
        [
            {"age": 54, "sex": 0, "crp": 0.12, "hba1c": 35.5, "creatinine": 79.6, "albumin": 45}
            | {"lymphocyte_pct": 29, "rdw": 13.1, "ggt": 22, "ast": 24, "alt": 20}
        ]
    )
    assert doubt(woman, reference) == {}
    ((name, found),) = doubt(woman.assign(lymphocyte_pct=0.29), reference).items()
    assert (name, found.what, found.is_whole) == ("lymphocyte_pct", "fractions", True)
    assert found.converted == pytest.approx(29)
    # Who is gravely ill may have it.
    assert doubt(woman.assign(lymphocyte_pct=2.5), reference)
    assert not doubt(woman.assign(lymphocyte_pct=2.5, crp=240, albumin=22), reference)


def test_a_tenth_of_the_values_in_another_unit_is_found(
    healthy: pd.DataFrame, reference: Reference
) -> None:
    mixed = healthy.iloc[:500].copy()
    mixed.loc[mixed.index[::10], "lymphocyte_pct"] /= 100
    found = doubt(mixed, reference)["lymphocyte_pct"]
    assert found.is_whole
    assert 30 <= found.values <= 50
    mixed = healthy.iloc[:500].copy()
    mixed.loc[mixed.index[7], "lymphocyte_pct"] = 0.3
    assert not doubt(mixed, reference)["lymphocyte_pct"].is_whole


def count_stops(people: pd.DataFrame, reference: Reference, size: int, times: int) -> int:
    rng = np.random.default_rng(size)
    stops = 0
    for _ in range(times):
        some = people.iloc[rng.integers(len(people), size=size)]
        stops += any(found.is_whole for found in doubt(some, reference).values())
    return stops


def test_real_people_are_not_doubted(cohort_path: Path, reference: Reference) -> None:
    cohort = pd.read_parquet(cohort_path)
    for survey, people in cohort.groupby("survey"):
        stops = [name for name, found in doubt(people[:4096], reference).items() if found.is_whole]
        assert not stops, survey
    for size, times in ((1, 300), (5, 100), (50, 40), (500, 10)):
        assert count_stops(cohort, reference, size, times) == 0


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_sick_people_are_not_doubted(
    healthy: pd.DataFrame, reference: Reference, share: float
) -> None:
    rng = np.random.default_rng(5)
    count = len(healthy)

    def spread(median: float, sd: float, low: float, high: float) -> Values:
        return np.exp(rng.normal(np.log(median), sd, count)).clip(low, high)

    sick = {
        "crp": spread(90, 0.9, 0.1, 500),
        "hba1c": rng.normal(55, 20, count).clip(22, 180),
        "creatinine": spread(150, 0.8, 25, 1900),
        "albumin": rng.normal(27, 5, count).clip(11, 45),
        "lymphocyte_pct": spread(8, 0.6, 0.5, 60),
        "rdw": rng.normal(16.5, 2.5, count).clip(11.5, 32),
        "ggt": spread(110, 1.1, 5, 4900),
        "ast": spread(90, 1.1, 5, 4900),
        "alt": spread(70, 1.1, 5, 4900),
    }
    is_sick = rng.random(count) < share
    people = healthy.assign(
        **{name: np.where(is_sick, values, healthy[name]) for name, values in sick.items()}
    )
    for size, times in ((50, 30), (500, 6)):
        assert count_stops(people, reference, size, times) == 0
    assert count_stops(people, reference, 1, 150) <= 2


@pytest.mark.parametrize(
    ("name", "stated", "spread"),
    [
        ("creatinine", "umol/L", (650, 0.4)),  # dialysis
        ("creatinine", "mg/dL", (7.4, 0.4)),
        ("alt", "U/L", (600, 0.9)),  # hepatitis
        ("ggt", "U/L", (300, 0.9)),
        ("crp", "mg/L", (90, 0.9)),  # intensive care
        ("crp", "mg/dL", (6, 1.2)),
        ("lymphocyte_pct", "%", (7, 0.6)),
        ("hba1c", "mmol/mol", (75, 0.3)),  # a diabetes clinic
    ],
)
def test_the_patients_of_one_clinic_are_not_doubted(
    healthy: pd.DataFrame, reference: Reference, name: str, stated: str, spread: tuple[float, float]
) -> None:
    rng = np.random.default_rng(3)
    biomarker = PANEL[INDEX[name]]
    unit = biomarker.find_unit(stated)
    for count in (2, 50, 2000):
        raw = np.exp(rng.normal(np.log(spread[0]), spread[1], count))
        values = ((raw - unit.offset) * unit.factor).clip(biomarker.minimum, biomarker.maximum)
        people = healthy.iloc[:count].assign(**{name: values})
        found = doubt(people, reference, {name: stated}).get(name)
        assert found is None or not found.is_whole
