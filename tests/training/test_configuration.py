"""Reading a fit's configuration: every problem in one error."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from henaw.model.biomarkers import NAMES
from henaw.model.configuration import read_configuration
from henaw.model.errors import ConfigurationError
from henaw.training.configuration import (
    CohortConfiguration,
    DetectionFloor,
    FitConfiguration,
    TrainingConfiguration,
    read_training_configuration,
)

SHIPPED = Path(__file__).parents[2] / "training" / "configs" / "nhanes.yaml"
Mapping = Callable[[], dict[str, Any]]


def write(folder: Path, mapping: object) -> Path:
    path = folder / "synthetic.yaml"
    path.write_text(yaml.safe_dump(mapping), encoding="utf-8")
    return path


def test_the_shipped_configuration_reads() -> None:
    configuration = read_training_configuration(SHIPPED)
    assert configuration.network.panel == NAMES
    assert configuration.cohort.hold_out == ("2003-2004",)
    assert configuration.cohort.causes["cardiovascular"] == (1, 5)
    assert configuration.cohort.detection_floors == (
        DetectionFloor(survey="1988-1994", biomarker="crp", limit=2.1),
    )
    assert configuration.fit.elastic_weight == 3e-5


def test_every_problem_is_in_one_error(tmp_path: Path, mapping: Mapping) -> None:
    wrong = mapping()
    wrong["cohrt"] = {}
    wrong["seed"] = "three"
    wrong["date"] = "2026-13-40"
    wrong["network"] |= {
        "input_dim": 8,
        "panel": ["crp", "hba1c", "creatinin", *NAMES[3:]],
        "knotts": [0.0],
    }
    wrong["cohort"]["causes"]["cancer"] = [2, 5]
    wrong["cohort"]["detection_floors"] = [{"survey": "a", "biomarker": "crpp", "limit": -1}]
    wrong["fit"] |= {"iterations": 0, "age_weight": -1}
    with pytest.raises(ConfigurationError) as caught:
        read_training_configuration(write(tmp_path, wrong))
    message = str(caught.value)
    assert caught.value.subject.endswith("synthetic.yaml")
    for expected in (
        "cohrt: unknown key, did you mean cohort?",
        "seed must be int; got 'three'",
        "network.knotts: unknown key, did you mean knots?",
        "input_dim must be 9; got 8",
        "unknown biomarker 'creatinin': did you mean creatinine?",
        "a code must be under one cause only; got twice: [5]",
        "got 'crpp'",
        "limit must be finite and > 0; got -1",
        "iterations must be >= 1; got 0",
        "age_weight must be finite and >= 0; got -1",
    ):
        assert expected in message


def test_missing_keys_are_all_listed(tmp_path: Path, mapping: Mapping) -> None:
    short = mapping()
    del short["name"], short["intended_use"], short["cohort"]["causes"]
    with pytest.raises(ConfigurationError) as caught:
        read_training_configuration(write(tmp_path, short))
    assert set(caught.value.problems) == {
        "name: missing key",
        "intended_use: missing key",
        "cohort.causes: missing key",
    }


def test_what_training_itself_checks_is_listed_together(tmp_path: Path, mapping: Mapping) -> None:
    wrong = mapping() | {"date": "yesterday", "seed": -1, "version": " "}
    with pytest.raises(ConfigurationError) as caught:
        read_training_configuration(write(tmp_path, wrong))
    assert len(caught.value.problems) == 3
    assert "date must be YYYY-MM-DD; got 'yesterday'" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "top level must be a mapping; got None"),
        (b"- 1\n", "top level must be a mapping; got [1]"),
        (b"a: [1\n", "the file is not YAML"),
        (b"a: \xff\xfe\n", "the file is not YAML"),
    ],
    ids=["empty", "list", "broken", "not text"],
)
def test_a_file_that_is_no_mapping_is_refused(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    path = tmp_path / "synthetic.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="1 problem") as caught:
        read_training_configuration(path)
    assert expected in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no such file"):
        read_training_configuration(tmp_path / "absent.yaml")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_training_configuration(tmp_path)


def test_causes_are_named_once_and_answered_by_the_network(mapping: Mapping) -> None:
    own = mapping()
    own["cohort"]["causes"] = {"liver": [4], "cancer": [2, 3], "cardiovascular": [1]}
    read = read_configuration(TrainingConfiguration, own, subject="synthetic")
    assert read.network.causes == ("cardiovascular", "cancer", "liver")
    assert read.network.cause_classes[-1] == "other"
    # A checkpoint's header sorts its keys; the order is the same.
    header = json.loads(json.dumps(dataclasses.asdict(read), sort_keys=True))
    assert read_configuration(TrainingConfiguration, header, subject="header") == read
    none = dataclasses.replace(read, cohort=dataclasses.replace(read.cohort, causes={}))
    assert none.network.causes == ()


def test_a_wrong_cause_says_which_and_why(mapping: Mapping) -> None:
    wrong = mapping()
    wrong["cohort"]["causes"] = {"Liver": [4], "other": [9], "cancer": [], "kidney": ["N18"]}
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(TrainingConfiguration, wrong, subject="synthetic")
    assert caught.value.problems[0] == "cohort.causes.kidney[0] must be int; got 'N18'"
    del wrong["cohort"]["causes"]["kidney"]
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(TrainingConfiguration, wrong, subject="synthetic")
    said = " ".join(caught.value.problems)
    assert "a lower-case letter, then up to 39" in said
    assert "got 'Liver'" in said
    assert "'other' is the name of every cause that is not listed" in said
    assert "causes.cancer must have at least one code" in said


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e-9])
def test_weights_of_the_loss_are_finite_and_not_negative(value: float) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FitConfiguration(cause_ridge=value, survey_ridge=value, follow_up_years=value)
    assert len(caught.value.problems) == 3


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_elastic_alpha_is_a_share(alpha: float) -> None:
    with pytest.raises(ConfigurationError, match="elastic_alpha must be 0 to 1"):
        FitConfiguration(elastic_alpha=alpha)


@pytest.mark.parametrize(("low", "high"), [(10.0, 80.0), (50.0, 50.0), (20.0, 130.0)])
def test_ages_are_a_range_of_adults(low: float, high: float) -> None:
    codes = {"cardiovascular": (1,), "cancer": (2,), "diabetes": (7,), "dementia": (6,)}
    with pytest.raises(ConfigurationError, match="minimum_age must be at least 18 and"):
        CohortConfiguration(minimum_age=low, maximum_age=high, causes=codes)
