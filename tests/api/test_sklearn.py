"""The transformer keeps to scikit-learn's own contract, and answers as the model does."""

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import henaw
import numpy as np
import pandas as pd
import polars as pl
import pytest
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ScoringError
from henaw.scoring.reading.frames import ARRAY_COLUMNS
from numpy.typing import NDArray

pytest.importorskip("sklearn", reason="needs scikit-learn: pip install 'henaw[sklearn]'")

from henaw.sklearn import HenawTransformer
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks

# Everybody here lacks most values, which is said.
pytestmark = pytest.mark.filterwarnings("ignore::henaw.InputWarning")

LOWEST = np.array([20, 0, 0.5, 25, 50, 35, 20, 12, 10, 15, 10])
HIGHEST = np.array([80, 1.99, 10, 60, 110, 48, 40, 16, 60, 50, 50])
PEOPLE = pd.DataFrame(
    {
        "age": [54, 61, 94, 12],
        "sex": ["female", "male", "male", "female"],
        "crp": [1.2, None, 2.0, 1.0],
        "albumin": [45.0, 38.0, 41.0, 45.0],
    }
)


def make_people(numbers: NDArray[Any]) -> NDArray[Any]:
    """What a check made up as ages, sexes and values that people may have."""
    if numbers.ndim != 2 or numbers.dtype.kind not in "fiu" or not numbers.size:
        return numbers
    wide = np.resize(numbers.T.astype(float), (len(ARRAY_COLUMNS), len(numbers))).T
    shares = 1 / (1 + np.exp(-3 * wide / (np.abs(wide).max() + 1)))
    people = LOWEST + (HIGHEST - LOWEST) * shares
    people[:, 1] = np.floor(people[:, 1])
    return people.astype(numbers.dtype)


def test_scikit_learns_own_checks_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """On people: the checks' own numbers have any count of columns, and no sex."""
    adapt: Callable[..., Any] = estimator_checks._enforce_estimator_tags_X
    monkeypatch.setattr(
        estimator_checks,
        "_enforce_estimator_tags_X",
        lambda *arguments, **named: make_people(np.asarray(adapt(*arguments, **named))),
    )
    found = estimator_checks.check_estimator(HenawTransformer(), on_fail=None, on_skip=None)
    failed = {one["check_name"]: one["exception"] for one in found if one["status"] == "failed"}
    assert not failed
    assert sum(one["status"] == "passed" for one in found) > 35


def test_it_answers_as_the_model_does() -> None:
    transformer = HenawTransformer(outputs=["interval", "biological_age", "critical"]).fit(PEOPLE)
    seen = transformer.transform(PEOPLE)
    names = transformer.get_feature_names_out().tolist()
    assert names[:3] == ["biological_age", "interval_low", "interval_high"]
    assert names[3:] == [f"critical_{name}" for name in NAMES]
    expected = henaw.Henaw().predict(PEOPLE)
    for name, column in zip(names, seen.T, strict=True):
        np.testing.assert_array_equal(column, expected[name].astype(float), err_msg=name)
    assert np.isnan(seen[2:, 0]).all()  # withheld, and not scored
    kept = HenawTransformer(unreliable="keep").fit(PEOPLE).transform(PEOPLE)
    assert np.isnan(kept[:, 0]).tolist() == [False, False, False, True]


@pytest.mark.parametrize("kind", [pl.from_pandas, lambda frame: pl.from_pandas(frame).to_arrow()])
def test_any_table_is_taken(kind: Callable[[pd.DataFrame], Any]) -> None:
    transformer = HenawTransformer().fit(PEOPLE)
    expected = transformer.transform(PEOPLE)
    np.testing.assert_array_equal(transformer.transform(kind(PEOPLE)), expected)
    fitted = HenawTransformer().fit(kind(PEOPLE))
    np.testing.assert_array_equal(fitted.transform(PEOPLE), expected)


def test_tables_come_out_where_they_are_asked_for() -> None:
    transformer = HenawTransformer().set_output(transform="pandas")
    table = transformer.fit_transform(PEOPLE.set_index(pd.Index(list("abcd"))))
    assert table.index.tolist() == list("abcd")
    assert table.columns.tolist() == transformer.get_feature_names_out().tolist()
    assert isinstance(transformer.set_output(transform="polars").transform(PEOPLE), pl.DataFrame)


def test_it_is_a_step_of_a_pipeline_that_travels() -> None:
    people = pd.concat([PEOPLE.iloc[:2]] * 30, ignore_index=True)
    people["age"] = np.linspace(30, 70, len(people))
    died = (people["age"] > 50).to_numpy()
    pipeline = make_pipeline(
        ColumnTransformer([("henaw", HenawTransformer(), list(PEOPLE.columns))]),
        make_union(SimpleImputer(), SimpleImputer(strategy="median")),
        StandardScaler(),
        LogisticRegression(),
    )
    assert cross_val_score(pipeline, people, died, cv=3, error_score="raise").min() > 0.7
    copy = pickle.loads(pickle.dumps(clone(pipeline).fit(people, died)))
    assert copy.predict(people).tolist() == pipeline.fit(people, died).predict(people).tolist()


def test_parameters_are_set_and_cloned(tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(henaw.Henaw().content)
    for model in (path, henaw.Henaw(threads=2)):
        transformer = clone(HenawTransformer(model)).set_params(outputs=["percentile"])
        assert transformer.fit_transform(PEOPLE).shape == (4, 1)
        assert transformer.model_.sha256 == henaw.Henaw().sha256


def test_what_cannot_be_scored_is_refused() -> None:
    with pytest.raises(ScoringError, match="no column 'age'"):
        HenawTransformer().fit(PEOPLE[["crp", "albumin"]])
    with pytest.raises(ScoringError, match="outputs"):
        HenawTransformer(outputs=["ages"]).fit(PEOPLE)
    with pytest.raises(ValueError, match="feature names"):
        HenawTransformer().fit(PEOPLE).transform(PEOPLE.rename(columns={"crp": "hba1c"}))


def test_without_scikit_learn_it_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import henaw\n"
        "try: import henaw.sklearn\n"
        "except henaw.RuntimeUnavailableError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert "pip install 'henaw[sklearn]'" in done.stdout, done.stderr
