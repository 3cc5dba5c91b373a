"""The configurations that ship, from a synthetic extract to a model that answers."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from henaw.cli.main import commands
from henaw.intake.preflight import InputWarning
from henaw.model.biomarkers import CAUSES, NAMES
from henaw.model.checkpoint import load_checkpoint
from henaw.model.configuration import read_configuration
from henaw.scoring import Henaw
from henaw.training.configuration import TrainingConfiguration, read_mapping
from henaw.training.train import train

CONFIGS = Path(__file__).parents[2] / "training" / "configs"


def run(*arguments: Any) -> str:
    result = CliRunner().invoke(commands, [*map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def read_small(name: str) -> TrainingConfiguration:
    """A shipped configuration, of as small a network as there is."""
    mapping = json.loads(json.dumps(read_mapping(CONFIGS / name)))
    mapping["network"] |= {"knots": [-1.0, 0.0, 1.5], "score_steps": 12, "members": 2}
    return read_configuration(TrainingConfiguration, mapping, subject=name)


def build_ukb_cohort(shipped: Path, folder: Path, count: int = 3500) -> Path:
    extract, out = folder / "synthetic-ukb.csv", folder / "ukb.parquet"
    run("simulate", "--layout", "ukb", "--n", count, "--model", shipped, "--out", extract)
    run("data", "ukb", extract, "--out", out)
    return out


def build_one_survey(shipped: Path, folder: Path) -> Path:
    out = folder / "synthetic.parquet"
    run("simulate", "--n", 3500, "--model", shipped, "--out", out)
    return out


def test_an_extract_reads_back_as_it_was_drawn(
    shipped_checkpoint_path: Path, tmp_path: Path
) -> None:
    out = build_ukb_cohort(shipped_checkpoint_path, tmp_path, 6000)
    drawn = pd.read_csv(tmp_path / "synthetic-ukb.csv", dtype={"40000-0.0": str})
    table = pd.read_parquet(out)
    assert len(table) == len(drawn) == 6000
    report = json.loads((tmp_path / "synthetic-ukb.report.json").read_text())
    assert report["synthetic"]
    assert (table["death"] == 1).sum() == report["deaths"] == drawn["40000-0.0"].notna().sum() > 500
    for name, field in {"crp": 30710, "hba1c": 30750, "alt": 30620}.items():
        np.testing.assert_allclose(table[name], drawn[f"{field}-0.0"])
    np.testing.assert_array_equal(table["sex"], drawn["31-0.0"])
    np.testing.assert_array_equal(table["age"], drawn["21003-0.0"])
    assert set(table["ucod_leading"].dropna()) == {1, 2, 6, 7, 10}
    assert drawn["synthetic"].all()


def test_an_extract_has_a_name_and_an_end(shipped_checkpoint_path: Path, tmp_path: Path) -> None:
    asked = ["simulate", "--layout", "ukb", "--n", "9", "--model", str(shipped_checkpoint_path)]
    for more, said in (
        (["--out", str(tmp_path / "synthetic.parquet")], "must end in .csv"),
        (["--out", str(tmp_path / "extract.csv")], "the file name must contain 'synthetic'"),
        (["--out", str(tmp_path / "synthetic.csv"), "--follow-up-years", "5"], "ends on one day"),
    ):
        result = CliRunner().invoke(commands, asked + more)
        assert result.exit_code != 0
        assert said in result.output + str(result.exception)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "build", "ages"),
    [("ukb.yaml", build_ukb_cohort, [40, 70]), ("one-survey.yaml", build_one_survey, [20, 85])],
)
def test_it_fits_exports_and_answers(
    shipped_checkpoint_path: Path,
    tmp_path: Path,
    name: str,
    build: Any,
    ages: list[int],
) -> None:
    cohort = build(shipped_checkpoint_path, tmp_path)
    configuration = read_small(name)
    train(configuration, cohort, tmp_path / "model.safetensors")
    checkpoint = load_checkpoint(tmp_path / "model.safetensors")
    given = configuration.cohort.laboratories
    assert given is not None
    np.testing.assert_allclose(
        checkpoint.tensors["laboratory_sd"], [given.standard_deviation[n] for n in NAMES], rtol=1e-6
    )
    run("export", tmp_path / "model.safetensors", "--out", tmp_path / "export")
    model = Henaw.load(tmp_path / "export" / "henaw.onnx")
    assert model.description["fitted_ages"] == ages
    people = pd.DataFrame({"age": [50.0, 50.0], "sex": ["male", "male"], "crp": [0.5, 20.0]})
    with pytest.warns(InputWarning, match="no column, so imputed for all: hba1c"):
        answers = model.predict(people)
    assert answers["biological_age"][0] < answers["biological_age"][1]
    assert answers[[f"cause_risk_10y_{cause}" for cause in CAUSES]].notna().all(axis=None)
