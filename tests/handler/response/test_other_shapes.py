"""A model of other causes of death than the shipped one's, or of fewer biomarkers."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from henaw.cli.main import commands
from henaw.export.export import export_checkpoint
from henaw.handler.metadata import Metadata, load_metadata
from henaw.model.biomarkers import NAMES
from henaw.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from henaw.model.runtime import OnnxRuntime
from henaw.scoring import Henaw

OWN = ("cancer", "heart", "kidney", "liver", "lung")


@pytest.fixture(
    scope="module", params=[(OWN, ()), ((), ("ggt",))], ids=["five causes", "no cause, no ggt"]
)
def shape(request: pytest.FixtureRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the causes, and of the biomarkers that are left out."""
    return request.param


@pytest.fixture(scope="module")
def names(shape: tuple[tuple[str, ...], tuple[str, ...]]) -> tuple[str, ...]:
    return shape[0]


@pytest.fixture(scope="module")
def artifacts(
    shape: tuple[tuple[str, ...], tuple[str, ...]],
    checkpoint: Checkpoint,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """An export of the shipped model with its causes' rows used again under other names."""
    names, left_out = shape
    panel = tuple(name for name in NAMES if name not in left_out)
    rows = [*np.arange(len(names)) % 4, 4]
    shares = {name: checkpoint.tensors[name][rows] for name in ("cause_weight", "cause_age_sex")}
    folder = tmp_path_factory.mktemp("own")
    save_checkpoint(
        dataclasses.replace(
            checkpoint,
            network=dataclasses.replace(checkpoint.network, causes=names, panel=panel),
            tensors=dict(checkpoint.tensors) | shares,
        ),
        folder / "own.safetensors",
    )
    export_checkpoint(folder / "own.safetensors", folder / "export")
    return folder / "export"


@pytest.fixture(scope="module")
def metadata(artifacts: Path) -> Metadata:
    return load_metadata(artifacts / "henaw.json")


@pytest.fixture(scope="module")
def onnx(artifacts: Path) -> OnnxRuntime:
    return OnnxRuntime(artifacts / "henaw.onnx")


def test_the_file_keeps_the_names(artifacts: Path, names: tuple[str, ...]) -> None:
    read = load_checkpoint(artifacts.parent / "own.safetensors")
    assert read.network.causes == names
    assert tuple(Henaw.load(artifacts / "henaw.onnx").description["cause_names"]) == names


def test_the_server_names_the_models_own(
    client: Any, read: Callable[[Any], Any], person: dict[str, Any], names: tuple[str, ...]
) -> None:
    answer = read(client.send(person))
    assert tuple(answer["cause_risk_10y"]) == names
    assert sum(answer["cause_risk_10y"].values()) <= answer["mortality_10y"]
    assert (
        read(client.send({**person, "outputs": ["cause_risk_10y"]}))["cause_risk_10y"]
        == (answer["cause_risk_10y"])
    )


def test_tensors_are_as_wide_as_there_are_causes(
    client: Any, read: Callable[[Any], Any], names: tuple[str, ...]
) -> None:
    body = {
        "inputs": [
            {"name": "biomarkers", "shape": [2, 9], "datatype": "FP32", "data": [20.0] * 18},
            {"name": "age", "shape": [2], "datatype": "FP32", "data": [50, 60]},
            {"name": "sex", "shape": [2], "datatype": "INT64", "data": [0, 1]},
        ],
        "outputs": [{"name": "cause_risk_10y"}],
    }
    outputs = {output["name"]: output for output in read(client.send(body))["outputs"]}
    assert outputs["cause_risk_10y"]["shape"] == [2, len(names)]
    assert len(outputs["cause_risk_10y"]["data"]) == 2 * len(names)


@pytest.mark.filterwarnings("ignore::henaw.InputWarning")
def test_a_table_has_a_column_for_each(artifacts: Path, names: tuple[str, ...]) -> None:
    people = pd.DataFrame({"age": [50.0], "sex": ["male"], "crp": [1.0], "albumin": [43.0]})
    answers = Henaw.load(artifacts / "henaw.onnx").predict(people)
    assert [column for column in answers if column.startswith("cause_risk_10y")] == [
        f"cause_risk_10y_{name}" for name in names
    ]
    assert answers["mortality_10y"].notna().all()


def test_a_value_that_the_model_does_not_use_has_a_warning(
    client: Any,
    read: Callable[[Any], Any],
    person: dict[str, Any],
    shape: tuple[tuple[str, ...], tuple[str, ...]],
) -> None:
    left_out = list(shape[1])
    answer = read(client.send(person))
    told = [warning for warning in answer["warnings"] if warning["code"] == "not_in_model"]
    assert [warning["field"] for warning in told] == left_out == answer["imputed"]
    assert all(warning["message"].endswith("its value is not used") for warning in told)
    assert all(answer["contributions"][name] == 0 for name in left_out)
    without = {name: value for name, value in person["biomarkers"].items() if name not in left_out}
    again = read(client.send({**person, "biomarkers": without}))
    assert again["biological_age"] == answer["biological_age"]
    assert again["interval"] == answer["interval"]
    assert again["warnings"] == []
    explained = read(client.send(person, explain=True))
    listed = [row["name"] for row in explained["biomarkers"]]
    assert listed == [name for name in NAMES if name not in left_out]


def test_a_table_says_once_what_is_not_used(
    artifacts: Path, tmp_path: Path, shape: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    people = pd.DataFrame({"age": [50.0, 60.0], "sex": ["male", "female"], "ggt": [20.0, 30.0]})
    people["crp"] = 1.0
    people.to_csv(tmp_path / "people.csv", index=False)
    paths = [tmp_path / "people.csv", tmp_path / "out.csv", "--model", artifacts / "henaw.onnx"]
    result = CliRunner().invoke(commands, ["score", *map(str, paths)])
    assert result.exit_code == 0, result.output
    assert result.stderr.count("not part of the model, so not used: ggt") == len(shape[1])
