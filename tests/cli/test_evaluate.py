"""``henaw evaluate`` as a process, on synthetic people."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from henaw.model.biomarkers import NAMES
from henaw.model.checkpoint import Checkpoint, load_checkpoint
from henaw.model.errors import CohortError
from henaw.training.cohorts.cohort import read_cohort
from henaw.training.evaluation.scored_people import read_cohort_configuration

PEOPLE = 600


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    """Synthetic people whose deaths follow age and RDW."""
    generator = np.random.default_rng(4)
    age = generator.uniform(20, 84, PEOPLE)
    medians = np.array([1.5, 36, 75, 43, 30, 13, 24, 23, 21])
    values = medians * np.exp(0.1 * generator.standard_normal((PEOPLE, len(NAMES))))
    hazard = np.exp(-10 + 0.09 * age + 8 * np.log(values[:, 5] / 13))
    months = np.ceil(12 * generator.exponential(1 / hazard))
    return pd.DataFrame(
        {
            "participant_id": [f"synthetic-{i}" for i in range(PEOPLE)],
            "age": age,
            "sex": np.arange(PEOPLE) % 2,
            **{name: values[:, i] for i, name in enumerate(NAMES)},
            "death": (months <= 180).astype(float),
            "followup_months": np.minimum(months, 180),
            "ucod_leading": np.where(months <= 180, 1 + np.arange(PEOPLE) % 10, np.nan),
        }
    )


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from henaw.cli.main import main; main()"]
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )


def test_a_report_is_written_without_other_clocks_or_surveys(
    table: pd.DataFrame, shipped_checkpoint_path: Path, tmp_path: Path
):
    cohort = tmp_path / "synthetic.csv"
    table.to_csv(cohort, index=False)
    out = tmp_path / "out"
    done = run(
        "evaluate", shipped_checkpoint_path, "--cohort", cohort, "--out", out, "--draws", 100
    )
    assert done.returncode == 0, done.stderr
    evaluation = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["cohort"]["people"] == PEOPLE
    assert evaluation["clocks"]["phenoage"]["reason"] == "the cohort has no column phenoage"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "the cohort has no column phenoage" in page
    assert "synthetic-" not in page + json.dumps(evaluation)
    c = evaluation["c_index"][0]["c"]["mortality_10y"]
    assert f"C-index, all: {c['value']:.4f}" in done.stdout

    figures = out / "evaluation.json"
    card = tmp_path / "card.md"
    options = ("--unseen", figures, "--reference", figures, "--out", card)
    done = run("card", shipped_checkpoint_path, *options)
    assert done.returncode == 0, done.stderr
    assert f"C-index {c['value']:.3f}" in card.read_text(encoding="utf-8")

    own = tmp_path / "own.safetensors"
    own.write_bytes(shipped_checkpoint_path.read_bytes())
    done = run("card", own, *options, "--embed")
    assert done.returncode == 0, done.stderr
    before, after = load_checkpoint(shipped_checkpoint_path), load_checkpoint(own)
    assert after.metrics["card"]["c_index_10y"]["all"]["value"] == pytest.approx(c["value"], 1e-3)
    assert after.sha256 in card.read_text(encoding="utf-8")
    assert all(after.tensors[name].equal(tensor) for name, tensor in before.tensors.items())


def test_every_problem_of_a_cohort_is_one_message(
    table: pd.DataFrame, shipped_checkpoint_path: Path, tmp_path: Path
):
    cohort = tmp_path / "synthetic.parquet"
    table.drop(columns=["crp", "death"]).to_parquet(cohort)
    done = run("evaluate", shipped_checkpoint_path, "--cohort", cohort, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "2 problems" in done.stderr
    assert "missing column 'crp'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_clock_that_is_no_number_is_refused(
    table: pd.DataFrame, checkpoint: Checkpoint, tmp_path: Path
):
    cohort = tmp_path / "synthetic.csv"
    table.assign(phenoage="young").to_csv(cohort, index=False)
    configuration = read_cohort_configuration(checkpoint)
    with pytest.raises(CohortError, match="phenoage must be numbers; got 'young' in row 0"):
        read_cohort(cohort, configuration, clocks=("phenoage", "kdm"))
    assert read_cohort(cohort, configuration).clocks == {}
