"""``import henaw``: what it offers, and that it costs nothing until it is used."""

import importlib.metadata
import subprocess
import sys

import henaw
import pandas as pd
import pytest
from henaw import model
from henaw.model import errors

PERSON = {"age": 54, "sex": "female", "crp": (0.12, "mg/dL"), "albumin": 45}


def test_every_name_is_there() -> None:
    for name in henaw.__all__:
        assert getattr(henaw, name) is not None
    assert set(henaw.__all__) <= set(dir(henaw))
    assert henaw.__version__ == importlib.metadata.version("henaw")
    with pytest.raises(AttributeError, match="module 'henaw' has no attribute 'Henau'"):
        _ = henaw.Henau  # type: ignore[attr-defined]


def test_every_error_is_there() -> None:
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.HenawError)
    }
    assert {name for name in henaw.__all__ if name.endswith("Error")} == defined
    assert henaw.ScoringError is errors.ScoringError


def test_folders_are_packages_of_it() -> None:
    assert henaw.__file__ is not None
    assert model.__name__ == "henaw.model"


def test_it_answers_by_the_shipped_model() -> None:
    answer = henaw.predict(PERSON)
    assert answer == henaw.Henaw().predict(PERSON) == henaw.Henaw.load().predict(PERSON)
    assert answer.biological_age is not None
    frame = pd.DataFrame([PERSON | {"crp": 1.2}])
    with pytest.warns(henaw.InputWarning, match="imputed for all: hba1c"):
        assert henaw.predict(frame)["biological_age"].tolist() == [answer.biological_age]
    wrong = [PERSON | {"albumin": value} for value in (4.4, 4.6)]
    with pytest.raises(henaw.ScoringError, match="may be in g/dL"):
        henaw.predict(wrong)
    with pytest.warns(henaw.InputWarning, match="may be in g/dL"):
        assert henaw.predict(wrong, accept=["albumin"])[0].reason is not None
    assert henaw.predict([PERSON]) == [answer]
    assert henaw.explain(PERSON)[1]["name"] == "crp"


def test_importing_it_imports_nothing_heavy() -> None:
    program = """
import sys, henaw
heavy = {"numpy", "pyarrow", "onnxruntime", "torch", "henaw.scoring"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", program], check=True)
