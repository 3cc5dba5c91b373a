"""``henaw tune`` as a person types it, killed and started again, on synthetic people."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml
from henaw.model.biomarkers import NAMES
from henaw.training.configuration import read_training_configuration

PEOPLE = 1200
TYPICAL = np.array([1.5, 36.0, 75.0, 43.0, 30.0, 13.0, 24.0, 23.0, 21.0])
RUN = "from henaw.cli.main import main; main()"
FITS = 2 * 3  # trials x surveys


class Inputs(NamedTuple):
    configuration: Path
    cohort: Path
    search: Path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("inputs")
    generator = np.random.default_rng(91)
    age = generator.uniform(40, 71, PEOPLE).round(1)
    spread = np.exp(0.14 * generator.standard_normal((PEOPLE, len(NAMES))))
    biomarkers = TYPICAL * spread
    # Complete people cost the most time, so most lack one value.
    rows = np.flatnonzero(np.arange(PEOPLE) % 4)
    biomarkers[rows, rows % len(NAMES)] = np.nan
    hazard = np.exp(-9 + 0.09 * age) * spread[:, 0] ** 4
    time = np.log1p(0.09 * generator.exponential(size=PEOPLE) / hazard) / 0.09
    dead = time < 15
    table = pd.DataFrame(
        {
            "participant_id": [f"synthetic-{i}" for i in range(PEOPLE)],
            "survey": np.array(["alpha", "beta", "gamma"])[np.arange(PEOPLE) // 4 % 3],
            "age": age,
            "sex": generator.integers(0, 2, PEOPLE),
            **{name: biomarkers[:, i].round(3) for i, name in enumerate(NAMES)},
            "death": dead.astype(int),
            "followup_months": np.minimum(time, 15) * 12,
            "ucod_leading": np.where(dead, generator.choice([1, 2, 6, 7, 10], PEOPLE), np.nan),
        }
    )
    mapping = {
        "name": "synthetic",
        "version": "0.0.1",
        "date": "2026-01-02",
        "training_data": "Synthetic people.",
        "intended_use": "Tests.",
        "seed": 3,
        "network": {
            "knots": [0.0],
            "score_steps": 4,
            "members": 2,
            "first_age": 46,
            "last_age": 64,
        },
        "cohort": {
            "causes": {"cardiovascular": [1], "cancer": [2], "diabetes": [7], "dementia": [6]}
        },
        "fit": {"iterations": 400, "harm_weight": 0.0},
    }
    search = {"elastic_alpha": {"low": 0.0, "high": 1.0}, "follow_up_years": [10, 12]}
    files = Inputs(folder / "synthetic.yaml", folder / "synthetic.csv", folder / "search.yaml")
    files.configuration.write_text(yaml.safe_dump(mapping), encoding="utf-8")
    files.search.write_text(yaml.safe_dump(search), encoding="utf-8")
    table.to_csv(files.cohort, index=False)
    return files


def list_command(inputs: Inputs, folder: Path, *options: str) -> list[str]:
    files = ["--config", str(inputs.configuration), "--cohort", str(inputs.cohort)]
    study = ["--study", str(folder / "study.db"), "--search", str(inputs.search)]
    small = ["--trials", "2", "--outer", "none"]
    return [sys.executable, "-c", RUN, "tune", *files, *study, *small, *options]


def run(inputs: Inputs, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list_command(inputs, folder, *options),
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


@pytest.fixture(scope="module")
def tuned(
    inputs: Inputs, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    folder = tmp_path_factory.mktemp("tuned")
    return folder, run(inputs, folder)


def test_it_writes_a_configuration_that_can_be_trained_and_says_how_good_it_is(
    tuned: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = tuned
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert f"{FITS}/{FITS}" in done.stderr  # the progress bar reached its end
    plan = f"{FITS} fits: all training people, 2 trials of 3 fits"
    assert done.stderr.splitlines()[0] == plan
    # One forecast, after the first fit.
    said = re.findall(r"The first fit took [\d.]+ s\. The remaining (\d+) take about ", done.stderr)
    assert said == [str(FITS - 1)]
    chosen = read_training_configuration(folder / "study.yaml")
    assert chosen.name == "synthetic"
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "C-index, inner loop, as configured",
        "C-index, inner loop, chosen",
        "elastic_alpha",
        "follow_up_years",
        str(folder / "study.yaml"),
    ]
    assert lines[2] == f"elastic_alpha: {chosen.fit.elastic_alpha}"


def test_killed_and_started_again_it_ends_with_the_same_bytes(
    tuned: tuple[Path, subprocess.CompletedProcess[str]], inputs: Inputs, tmp_path: Path
) -> None:
    with subprocess.Popen(
        list_command(inputs, tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    ) as process:
        assert process.stderr is not None
        shown = b""
        # In the middle of the second trial.
        while f" 4/{FITS} ".encode() not in shown and (more := process.stderr.read(1)):
            shown += more
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, shown.decode()
    assert not (tmp_path / "study.yaml").exists()
    done = run(inputs, tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("study.yaml", "study.report.json"):
        assert (tmp_path / name).read_bytes() == (tuned[0] / name).read_bytes()


def test_an_existing_file_is_replaced_only_on_request(
    tuned: tuple[Path, subprocess.CompletedProcess[str]], inputs: Inputs
) -> None:
    folder = tuned[0]
    before = (folder / "study.yaml").read_bytes()
    done = run(inputs, folder)
    assert done.returncode == 1
    assert "already exists" in done.stderr
    assert "fit" not in done.stderr.replace("fitted", "")  # no progress bar: nothing was begun
    shipped = run(inputs, folder, "--out", str(inputs.configuration))
    assert shipped.returncode == 1
    assert str(inputs.configuration) in shipped.stderr
    again = run(inputs, folder, "--overwrite")
    assert again.returncode == 0, again.stderr
    assert (folder / "study.yaml").read_bytes() == before


def test_a_study_of_another_configuration_is_one_message(
    tuned: tuple[Path, subprocess.CompletedProcess[str]], inputs: Inputs, tmp_path: Path
) -> None:
    changed = tmp_path / "changed.yaml"
    text = inputs.configuration.read_text(encoding="utf-8")
    changed.write_text(text.replace("iterations: 400", "iterations: 401"), encoding="utf-8")
    done = run(
        inputs._replace(configuration=changed), tuned[0], "--out", str(tmp_path / "out.yaml")
    )
    assert done.returncode == 1
    assert f"error: {tuned[0] / 'study.db'}: 1 problem" in done.stderr
    assert "fit.iterations: this study was made with 400; got 401" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.yaml").exists()


@pytest.mark.parametrize("options", [("--folds", "1"), ("--folds", "none"), ("--outer", "some")])
def test_folds_that_are_none_are_refused(
    inputs: Inputs, tmp_path: Path, options: tuple[str, str]
) -> None:
    done = run(inputs, tmp_path, *options)
    assert done.returncode == 2
    assert f"or a number from 2; got '{options[1]}'" in done.stderr
    assert os.listdir(tmp_path) == []
