"""``henaw train`` as a person types it, on synthetic people."""

import json
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
from henaw.model.checkpoint import load_checkpoint

PEOPLE, COMPLETE = 1600, 160
TYPICAL = np.array([1.5, 36.0, 75.0, 43.0, 30.0, 13.0, 24.0, 23.0, 21.0])
RUN = "from henaw.cli.main import main; main()"
DIE_AT_THE_LAST_STEP = (
    "import os, signal; os.replace = lambda *_: os.kill(os.getpid(), signal.SIGKILL); " + RUN
)


class Inputs(NamedTuple):
    configuration: Path
    cohort: Path


def build_table() -> pd.DataFrame:
    """Synthetic people; most lack one value, since complete ones cost the most time."""
    generator = np.random.default_rng(51)
    age = generator.uniform(20, 86, PEOPLE).round(1)
    spread = np.exp(0.14 * generator.standard_normal((PEOPLE, len(NAMES))))
    biomarkers = TYPICAL * spread
    rows = np.arange(COMPLETE, PEOPLE)
    biomarkers[rows, rows % len(NAMES)] = np.nan
    hazard = np.exp(-10 + 0.09 * age) * spread[:, 0] ** 4
    time = np.log1p(0.09 * generator.exponential(size=PEOPLE) / hazard) / 0.09
    dead = time < 15
    return pd.DataFrame(
        {
            "participant_id": [f"synthetic-{i}" for i in range(PEOPLE)],
            "survey": np.where(np.arange(PEOPLE) % 4 == 0, "late", "early"),
            "age": age,
            "sex": generator.integers(0, 2, PEOPLE),
            **{name: biomarkers[:, i].round(3) for i, name in enumerate(NAMES)},
            "death": dead.astype(int),
            "followup_months": (np.minimum(time, 15) * 12).round(),
            "ucod_leading": np.where(dead, generator.choice([1, 2, 6, 7, 10], PEOPLE), np.nan),
        }
    )


def build_mapping() -> dict[str, object]:
    return {
        "name": "synthetic",
        "version": "0.0.1",
        "date": "2026-01-02",
        "training_data": "Synthetic people.",
        "intended_use": "Tests.",
        "seed": 3,
        "network": {"knots": [0.0], "score_steps": 8, "members": 2},
        "cohort": {
            "causes": {"cardiovascular": [1], "cancer": [2], "diabetes": [7], "dementia": [6]},
            "hold_out": ["late"],
        },
        "fit": {"iterations": 400, "member_iterations": 200},
    }


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    folder = tmp_path_factory.mktemp("inputs")
    files = Inputs(folder / "synthetic.yaml", folder / "synthetic.csv")
    files.configuration.write_text(yaml.safe_dump(build_mapping()), encoding="utf-8")
    build_table().to_csv(files.cohort, index=False)
    return files


def list_command(inputs: Inputs, out: Path, program: str = RUN) -> list[str]:
    files = ["--config", str(inputs.configuration), "--cohort", str(inputs.cohort)]
    return [sys.executable, "-c", program, "train", *files, "--out", str(out)]


def run(inputs: Inputs, out: Path, program: str = RUN) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        list_command(inputs, out, program),
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


@pytest.fixture(scope="module")
def trained(
    inputs: Inputs, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    out = tmp_path_factory.mktemp("trained") / "new folder" / "synthetic.safetensors"
    return out, run(inputs, out)


def test_it_writes_a_sound_checkpoint_and_says_how_good_it_is(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    out, done = trained
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    checkpoint = load_checkpoint(out)
    assert checkpoint.name == "synthetic"
    assert checkpoint.training["people"] == PEOPLE
    assert checkpoint.training["complete"] == COMPLETE
    for shares in ("age_shares", "sex_shares"):
        assert sum(checkpoint.training["distribution"][shares]) == pytest.approx(1.0, abs=1e-3)
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{out}: {out.stat().st_size} bytes, {PEOPLE} people, ")
    assert [line.split(": ")[0] for line in lines[1:]] == [
        "C-index, held out, mortality_10y",
        "C-index, held out, biological_age",
        "C-index, held out, age",
    ]
    recorded = checkpoint.metrics["held_out"]["c_index"]["mortality_10y"]["all"]
    assert f"all {recorded:.4f}" in lines[1]
    assert recorded > 0.7
    assert "8/8" in done.stderr  # the progress bar reached its end
    # And it said where the solver was before the first point estimate ended.
    before = done.stderr[: done.stderr.index(" 2/8 ")]
    assert re.search(r" 1/8 .*, loss \d", before)
    assert sorted(os.listdir(out.parent)) == ["synthetic.run.json", out.name]
    ran = json.loads((out.parent / "synthetic.run.json").read_text())
    assert ran["checkpoint_sha256"] == checkpoint.sha256
    assert ran["out_of_memory"] == checkpoint.training["fit"]["out_of_memory"] == 0
    assert list(ran["done_after_s"])[:2] == ["cohort read", "reference"]
    assert sorted(ran["done_after_s"].values()) == list(ran["done_after_s"].values())


def test_the_same_inputs_give_the_same_bytes(
    trained: tuple[Path, subprocess.CompletedProcess[str]], inputs: Inputs, tmp_path: Path
) -> None:
    again = tmp_path / "again.safetensors"
    assert run(inputs, again).returncode == 0
    assert again.read_bytes() == trained[0].read_bytes()


def test_a_wrong_configuration_is_one_message_and_writes_nothing(
    inputs: Inputs, tmp_path: Path
) -> None:
    wrong = build_mapping() | {"seeed": 1, "network": {"input_dim": 8}, "fit": {"iterations": 0}}
    del wrong["version"]
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump(wrong), encoding="utf-8")
    out = tmp_path / "out" / "synthetic.safetensors"
    done = run(inputs._replace(configuration=path), out)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {path}: 4 problems")
    for expected in (
        "seeed: unknown key, did you mean seed?",
        "version: missing key",
        "input_dim must be 9; got 8",
        "iterations must be >= 1; got 0",
    ):
        assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert not out.parent.exists()


def test_a_wrong_cohort_is_one_message_and_writes_no_checkpoint(
    inputs: Inputs, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.csv"
    build_table().drop(columns=["rdw", "ast"]).to_csv(path, index=False)
    out = tmp_path / "synthetic.safetensors"
    done = run(inputs._replace(cohort=path), out)
    assert done.returncode == 1
    assert "missing column 'rdw'" in done.stderr
    assert "missing column 'ast'" in done.stderr
    assert "Traceback" not in done.stderr
    assert "step" not in done.stderr  # no progress bar before the message
    assert not out.exists()


def test_a_cohort_that_is_not_there_is_named_before_anything_is_loaded(
    inputs: Inputs, tmp_path: Path
) -> None:
    # As where only what serving needs is installed.
    program = "import sys; sys.modules['pandas'] = None; " + RUN
    done = run(inputs._replace(cohort=tmp_path / "none.csv"), tmp_path / "out", program)
    assert done.returncode == 2
    assert f"File '{tmp_path / 'none.csv'}' does not exist" in done.stderr


def test_a_fit_that_does_not_reach_its_minimum_is_one_message_and_writes_no_checkpoint(
    inputs: Inputs, tmp_path: Path
) -> None:
    hasty = build_mapping() | {"fit": {"iterations": 3, "member_iterations": 200}}
    path, out = tmp_path / "hasty.yaml", tmp_path / "out" / "synthetic.safetensors"
    path.write_text(yaml.safe_dump(hasty), encoding="utf-8")
    done = run(inputs._replace(configuration=path), out)
    assert done.returncode == 1
    assert "error: " in done.stderr
    assert "Raise fit.iterations" in done.stderr
    assert "Traceback" not in done.stderr
    assert os.listdir(out.parent) == []


def test_a_place_that_cannot_be_written_to_is_refused_before_the_fit(
    inputs: Inputs, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    done = run(inputs, tmp_path / "file" / "synthetic.safetensors")
    assert done.returncode == 2
    assert "the folder must be writable" in done.stderr
    assert "step" not in done.stderr  # no progress bar: nothing was fitted


def test_killed_while_fitting_it_leaves_nothing(inputs: Inputs, tmp_path: Path) -> None:
    out = tmp_path / "out" / "synthetic.safetensors"
    with subprocess.Popen(
        list_command(inputs, out), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        shown = b""
        while b" 1/8 " not in shown and (more := process.stderr.read(1)):
            shown += more
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, shown.decode()
    assert os.listdir(out.parent) == []


def test_a_kill_while_writing_leaves_the_old_file(inputs: Inputs, tmp_path: Path) -> None:
    out = tmp_path / "synthetic.safetensors"
    out.write_bytes(b"the checkpoint of before")
    done = run(inputs, out, DIE_AT_THE_LAST_STEP)
    assert done.returncode == -signal.SIGKILL
    assert out.read_bytes() == b"the checkpoint of before"
    assert [path.name for path in tmp_path.glob("*.safetensors")] == [out.name]
    assert all(name.startswith(".") for name in os.listdir(tmp_path) if name != out.name)
