"""One model from every solver, device and number of processes, on real people.

The whole command runs, on the shipped settings but for fewer refits, on the surveys
before 2003-2004 and in 2015-2016; judged by its answers for 2003-2004, which it did not see.
"""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from henaw.model.checkpoint import Checkpoint, load_checkpoint
from henaw.training.cohorts.cohort import Cohort, read_cohort
from henaw.training.configuration import TrainingConfiguration, read_training_configuration
from henaw.training.metrics import HORIZON_YEARS, compute_c_index
from henaw.training.train import predict

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = REPOSITORY / "training" / "configs" / "nhanes.yaml"
FITTED = ("1988-1994", "1999-2000", "2001-2002", "2015-2016")
UNSEEN = "2003-2004"
# As modules: on a machine with a GPU, HENAW may not be installed.
HENAW = (sys.executable, "-m", "henaw.cli")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")
TWO = (*TORCHRUN, "--nproc-per-node", "2", "-m", "henaw.cli")
Train = Callable[..., Checkpoint]


@pytest.fixture(scope="module")
def train(cohort_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    folder = tmp_path_factory.mktemp("optimum")
    table = pd.read_parquet(cohort_path)
    table[table["survey"].isin(FITTED)].to_parquet(folder / "fitted.parquet")
    mapping = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    mapping["network"]["members"] = 2
    mapping["cohort"]["hold_out"] = []
    mapping["cohort"]["top_codes"] = [
        code for code in mapping["cohort"]["top_codes"] if code["survey"] in FITTED
    ]

    def run(name: str, *launch: str, device: str = "cpu", **settings: Any) -> Checkpoint:
        (folder / f"{name}.yaml").write_text(
            yaml.safe_dump({**mapping, "fit": {**mapping["fit"], **settings}}), encoding="utf-8"
        )
        command = [*(launch or HENAW), "train", "--device", device]
        for option, path in {
            "--config": folder / f"{name}.yaml",
            "--cohort": folder / "fitted.parquet",
            "--out": folder / f"{name}.safetensors",
        }.items():
            command += [option, str(path)]
        # Two processes have a core each.
        threads = 1 if launch else len(os.sched_getaffinity(0))
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr
        return load_checkpoint(folder / f"{name}.safetensors")

    return run


@pytest.fixture(scope="module")
def configuration() -> TrainingConfiguration:
    return read_training_configuration(SHIPPED)


@pytest.fixture(scope="module")
def unseen(cohort_path: Path, configuration: TrainingConfiguration) -> Cohort:
    cohort = read_cohort(cohort_path, configuration.cohort)
    return cohort.select((cohort.survey == UNSEEN) & cohort.complete)


@pytest.fixture(scope="module")
def expected(train: Train) -> Checkpoint:
    """By one process on the CPU, L-BFGS from nothing."""
    return train("alone")


def compare(found: Checkpoint, expected: Checkpoint, unseen: Cohort) -> None:
    """The answers of two models are one model's."""
    configuration = read_training_configuration(SHIPPED)
    there, here = (
        predict(unseen, replace_shape(configuration, of), of.tensors) for of in (found, expected)
    )
    torch.testing.assert_close(there["biological_age"], here["biological_age"], rtol=0, atol=1e-3)
    torch.testing.assert_close(there["contributions"], here["contributions"], rtol=0, atol=1e-3)
    torch.testing.assert_close(there["interval"], here["interval"], rtol=0, atol=1e-2)
    torch.testing.assert_close(there["mortality_10y"], here["mortality_10y"], rtol=0, atol=1e-4)
    c_there, c_here = (
        compute_c_index(risk["mortality_10y"].double().numpy(), unseen)["all"]
        for risk in (there, here)
    )
    assert c_there == pytest.approx(c_here, abs=1e-4)
    dead = unseen.event & (unseen.time_years <= HORIZON_YEARS)
    ratios = [dead.sum() / float(risk["mortality_10y"].sum()) for risk in (there, here)]
    assert ratios[0] == pytest.approx(ratios[1], abs=1e-3)


def replace_shape(
    configuration: TrainingConfiguration, checkpoint: Checkpoint
) -> TrainingConfiguration:
    return dataclasses.replace(configuration, network=checkpoint.network)


def test_it_orders_people_it_never_saw(
    expected: Checkpoint, unseen: Cohort, configuration: TrainingConfiguration
) -> None:
    answers = predict(unseen, replace_shape(configuration, expected), expected.tensors)
    c_index = compute_c_index(answers["mortality_10y"].double().numpy(), unseen)
    assert c_index["all"] > 0.865
    how = expected.training["fit"]
    assert how["observed_over_expected"] == pytest.approx(1.0, abs=0.01)
    # Of the turns of each, the last must have come to an end.
    last = {search["name"].split(",")[0]: search["stopped"] for search in how["searches"]}
    assert set(last.values()) == {"flat"}


def test_mini_batches_give_the_same_model(
    train: Train, expected: Checkpoint, unseen: Cohort
) -> None:
    compare(train("batches", method="minibatch"), expected, unseen)


def test_two_processes_give_the_same_model(
    train: Train, expected: Checkpoint, unseen: Cohort
) -> None:
    found = train("two", *TWO)
    assert found.training["fit"]["processes"] == 2
    compare(found, expected, unseen)


@pytest.mark.gpu
@pytest.mark.parametrize("method", ["lbfgs", "minibatch"])
def test_a_gpu_gives_the_same_model(
    train: Train, expected: Checkpoint, unseen: Cohort, method: str
) -> None:
    found = train(f"gpu-{method}", device="cuda", method=method)
    assert found.training["fit"]["device"].startswith("cuda")
    compare(found, expected, unseen)
