"""A model without some biomarkers, from fit to export; synthetic people."""

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from henaw.export.export import export_checkpoint
from henaw.handler.metadata import load_metadata
from henaw.model.biomarkers import INDEX, NAMES
from henaw.model.checkpoint import Checkpoint, load_checkpoint
from henaw.model.configuration import RATIO, VARIABLES, read_configuration
from henaw.model.runtime import OnnxRuntime, Outputs
from henaw.scoring import Henaw
from henaw.training.cohorts.cohort import Cohort
from henaw.training.configuration import TrainingConfiguration
from henaw.training.reference.reference import fit_reference
from henaw.training.train import train

LEFT_OUT = ("ggt", "ast")
PLACES = [INDEX[name] for name in LEFT_OUT]
UNUSED = [VARIABLES.index(name) for name in (*LEFT_OUT, RATIO)]
PANEL = tuple(name for name in NAMES if name not in LEFT_OUT)


class Fitted(NamedTuple):
    """A fit without two biomarkers, and its export."""

    checkpoint: Checkpoint
    exported: Path


def write_table(cohort: Cohort, path: Path) -> None:
    """The cohort without the columns that are left out, and without causes of death."""
    table = pd.DataFrame(cohort.biomarkers, columns=list(NAMES)).drop(columns=list(LEFT_OUT))
    table = table.assign(
        participant_id=np.arange(len(cohort)),
        age=cohort.age_years,
        sex=cohort.sex,
        death=cohort.event.astype(float),
        followup_months=cohort.time_years * 12.0,
        survey=cohort.survey,
    )
    table.to_parquet(path)


@pytest.fixture(scope="module")
def asked(mapping: Any) -> TrainingConfiguration:
    wanted = mapping()
    wanted["network"] |= {"panel": list(PANEL)}
    wanted["fit"] |= {"steepness_rules": ["albumin", "ast"]}
    return read_configuration(TrainingConfiguration, wanted, subject="synthetic")


@pytest.fixture(scope="module")
def fitted(
    tmp_path_factory: pytest.TempPathFactory, asked: TrainingConfiguration, synthetic: Any
) -> Fitted:
    folder = tmp_path_factory.mktemp("left_out")
    write_table(synthetic.cohort, folder / "cohort.parquet")
    train(asked, folder / "cohort.parquet", folder / "model.safetensors")
    export_checkpoint(folder / "model.safetensors", folder / "export")
    return Fitted(load_checkpoint(folder / "model.safetensors"), folder / "export")


@pytest.fixture(scope="module")
def answers(fitted: Fitted, synthetic: Any) -> tuple[Outputs, Outputs]:
    """The same people with other values of what is left out, by the ONNX file."""
    runtime = OnnxRuntime(fitted.exported / "henaw.onnx")
    cohort = synthetic.cohort
    changed = cohort.biomarkers.copy()
    changed[:, PLACES] = 900.0
    return tuple(  # type: ignore[return-value]
        runtime.predict(values, cohort.age_years, cohort.sex)
        for values in (cohort.biomarkers, changed)
    )


def test_its_value_changes_no_answer(answers: tuple[Outputs, Outputs]) -> None:
    one, other = answers
    for name, values in one.items():
        np.testing.assert_array_equal(values, other[name], err_msg=name)
    assert one["imputed"][:, PLACES].all()
    assert not one["critical"][:, PLACES].any()
    assert not one["out_of_range"][:, PLACES].any()
    contributions = one["contributions"]
    assert not contributions[:, [1 + variable for variable in UNUSED]].any()
    assert (contributions[:, 1 + INDEX["crp"]] != 0).all()


def test_no_answer_is_less_certain_or_more_distant_for_it(
    answers: tuple[Outputs, Outputs], synthetic: Any
) -> None:
    outputs, cohort = answers[0], synthetic.cohort.take(PANEL)
    width = np.diff(outputs["interval"].astype(np.float64), axis=1)[:, 0]
    assert np.isfinite(width).all()
    assert np.median(width[cohort.complete]) < np.median(width[~cohort.complete])
    inside = cohort.complete & ~outputs["age_out_of_range"]
    assert outputs["reliable"][inside].mean() > 0.97
    ages = (cohort.age_years > 30) & (cohort.age_years < 80)
    for sex in (0, 1):
        rows = cohort.complete & ages & (cohort.sex == sex)
        assert abs(np.median(outputs["age_gap"][rows])) < 0.35
    assert outputs["cause_risk_10y"].shape == (len(cohort), 0)


def test_what_is_left_out_has_neutral_tables_and_no_weight(fitted: Fitted) -> None:
    tensors = fitted.checkpoint.tensors
    for name in ("weight", "member_weight"):
        # The solver's rounding is all that there is.
        assert tensors[name][..., UNUSED, :].abs().max() < 1e-6
    correlation = tensors["correlation"]
    torch.testing.assert_close(correlation[UNUSED], torch.eye(len(VARIABLES))[UNUSED])
    used = [INDEX[name] for name in PANEL]
    assert correlation[used][:, used].abs().sum() > len(used) + 0.5
    assert fitted.checkpoint.network.panel == PANEL


def test_the_tables_of_the_others_are_those_of_a_fit_with_all(
    asked: TrainingConfiguration, configuration: TrainingConfiguration, synthetic: Any
) -> None:
    whole, _ = fit_reference(synthetic.cohort, configuration.network)
    some, people = fit_reference(synthetic.cohort.take(PANEL), asked.network)
    used = [INDEX[name] for name in PANEL]
    for name in ("location", "scale"):
        torch.testing.assert_close(some[name][..., used], whole[name][..., used], atol=2e-3, rtol=0)
    assert np.isnan(people.biomarkers[:, PLACES]).all()
    assert all(set(of) == set(PANEL) for of in people.shifts.values())


def test_who_reads_the_export_is_told(fitted: Fitted) -> None:
    sidecar = json.loads((fitted.exported / "henaw.json").read_text())
    assert sidecar["used_biomarkers"] == list(PANEL)
    assert load_metadata(fitted.exported / "henaw.json").used_biomarkers == PANEL
    assert Henaw.load(fitted.exported / "henaw.onnx").left_out == LEFT_OUT
