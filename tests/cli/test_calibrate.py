"""``henaw calibrate`` and ``henaw score --lab`` as commands."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result
from henaw.cli.main import commands
from henaw.export.people import draw_synthetic_people
from henaw.model.biomarkers import NAMES, PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import ProfileError, ScoringError
from henaw.model.profile import read_profile


@pytest.fixture(scope="module")
def source(checkpoint: Checkpoint, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 people of a laboratory whose RDW reads 6 % high."""
    people = draw_synthetic_people(checkpoint, 600, seed=5)
    low, high = (np.array([getattr(b, end) for b in PANEL]) for end in ("minimum", "maximum"))
    table = pd.DataFrame(np.clip(people.biomarkers, low, high), columns=list(NAMES))
    table["rdw"] *= 1.06
    path = tmp_path_factory.mktemp("lab") / "people.csv"
    table.assign(age=people.age, sex=people.sex).to_csv(path, index=False)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(commands, list(map(str, arguments)))


def test_the_profile_is_written_printed_and_used(
    source: Path, weights: Path, tmp_path: Path
) -> None:
    model, out, changed = weights / "henaw.onnx", tmp_path / "north.json", tmp_path / "n.onnx"
    figure = tmp_path / "north.png"
    result = run(
        *("calibrate", source, "--out", out, "--model", model),
        *("--export", changed, "--figure", figure),
    )
    assert result.exit_code == 0, result.output
    assert "north: " in result.stdout
    assert "rdw: reads 0." in result.stdout
    assert "% high (+-0.0" in result.stdout
    profile = read_profile(out)
    assert profile.name == "north"
    assert profile.shift["rdw"] == pytest.approx(np.log(1.06), abs=0.015)
    assert figure.stat().st_size > 10_000
    assert changed.stat().st_size > model.stat().st_size

    outputs = ("--outputs", "biological_age,mortality_10y")
    by_lab, by_export = tmp_path / "a.csv", tmp_path / "b.csv"
    scored = run("score", source, by_lab, "--model", model, "--lab", out, *outputs)
    assert "with the profile of north" in scored.stderr
    run("score", source, by_export, "--model", changed, *outputs)
    assert by_lab.read_bytes() == by_export.read_bytes()
    assert set(pd.read_csv(by_lab)["lab"].dropna()) == {"north"}


def test_the_level_of_a_country_is_printed_and_stored(
    source: Path, weights: Path, tmp_path: Path
) -> None:
    table = tmp_path / "it.csv"
    rows = [
        f"{age},{sex},{min(1.0, 3e-5 * np.exp(0.1 * age)):.8f}"
        for sex in ("female", "male")
        for age in range(101)
    ]
    table.write_text("\n".join(["age,sex,qx", *rows]))
    out = tmp_path / "lab.json"
    result = run(
        *("calibrate", source, "--out", out, "--model", weights / "henaw.onnx"),
        *("--name", "Pisa", "--life-table", table),
    )
    assert result.exit_code == 0, result.output
    assert "female: the hazard is multiplied by" in result.stdout
    content = json.loads(out.read_text())
    assert content["name"] == "Pisa"
    assert content["life_table"] == "it.csv"
    assert set(content["level"]) == {"female", "male"}


def test_nothing_is_written_of_what_is_refused(source: Path, weights: Path, tmp_path: Path) -> None:
    few = tmp_path / "few.csv"
    pd.read_csv(source).head(120).to_csv(few, index=False)
    out = tmp_path / "lab.json"
    result = run("calibrate", few, "--out", out, "--model", weights / "henaw.onnx")
    assert isinstance(result.exception, ScoringError)
    assert "a profile needs at least 200 people" in str(result.exception)
    wrong = run(
        *("calibrate", source, "--out", out, "--model", weights / "henaw.onnx"),
        *("--figure", tmp_path / "lab.svg"),
    )
    assert "end in .png or .html" in str(wrong.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["few.csv"]


def test_a_profile_of_another_model_is_refused(source: Path, weights: Path, tmp_path: Path) -> None:
    model, out = weights / "henaw.onnx", tmp_path / "lab.json"
    run("calibrate", source, "--out", out, "--model", model)
    content = json.loads(out.read_text()) | {"model": "c" * 64}
    out.write_text(json.dumps(content))
    result = run("score", source, tmp_path / "o.csv", "--model", model, "--lab", out)
    assert isinstance(result.exception, ProfileError)
    assert "made for the model cccccccccccc" in str(result.exception)
    assert not (tmp_path / "o.csv").exists()


def test_torch_is_not_needed(source: Path, weights: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import sys; sys.modules['torch'] = None\nfrom henaw.cli.main import main; main()"
    arguments = ["calibrate", source, "--out", tmp_path / "l.json", "--model"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments), str(weights / "henaw.onnx")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "l.json").exists()
