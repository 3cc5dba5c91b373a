"""A tenth biomarker is one entry of the panel, a configuration and a fit: nothing else.

The entry is put into a copy of the package, so that its fit, export and answers run in
processes of their own, on a subsample of the development cohort.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import yaml
from henaw.model.biomarkers import NAMES, SYSTEMS
from henaw.model.panel.units import fold_unit

REPOSITORY = Path(__file__).resolve().parents[2]
SERVE = Path(__file__).with_name("serve_tenth_biomarker.py")
PACKAGES = ("model", "intake", "training", "export", "handler", "scoring", "cli")
PEOPLE = 5_000
ENTRY = """
    Biomarker(
        name="mcv",
        label="Mean corpuscular volume",
        unit="fL",
        minimum=40.0,
        maximum=160.0,
        reporting_step=0.1,
        log_scaled=False,
        systems=("hematology",),
        reference=ReferenceInterval(
            low=(80.0, 80.0), high=(100.0, 100.0), source="80 to 100 fL, for this test"
        ),
        critical_low=None,
        critical_high=CriticalLimit(value=None, source=_NONE_PUBLISHED),
        harmful=frozenset({"high"}),
        variation=Variation(within_person=1.0, analytical=0.8, source="for this test"),
        ukb_field=30040,
        nhanes=(("LBXMCVSI", "fL"),),
        loinc=("787-2",),
        synonyms=("MCV", "Mean cell volume"),
        unit_spellings={"femtoliters": "fL"},
    ),
"""
PERSON: dict[str, Any] = {
    "age": 54,
    "sex": "female",
    "biomarkers": {
        "crp": 1.2,
        "hba1c": {"value": 5.4, "unit": "%"},
        "creatinine": 79.6,
        "albumin": 45,
        "lymphocyte_pct": 29,
        "rdw": 13.1,
        "ggt": 22,
        "ast": 24,
        "alt": 20,
        "mcv": {"value": 101, "unit": "femtoliters"},
    },
}


class Tenth(NamedTuple):
    """What the package with ten biomarkers made."""

    root: Path
    exported: Path
    table: pd.DataFrame

    def run(self, *arguments: str | Path) -> str:
        """Run Python on the package with ten biomarkers; return its standard output."""
        return run(self.root, *arguments)


def run(root: Path, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"PYTHONPATH": str(root)},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write_package(root: Path) -> None:
    """A copy of the package, with one more entry at the end of the panel."""
    for name in PACKAGES:
        shutil.copytree(
            REPOSITORY / name,
            root / "henaw" / name,
            ignore=shutil.ignore_patterns("__pycache__", "weights"),
        )
    # With an __init__, it hides the installed package.
    for path in (REPOSITORY / "api").glob("*.py"):
        shutil.copyfile(path, root / "henaw" / path.name)
    panel = root / "henaw" / "model" / "panel" / "table.py"
    text = panel.read_text(encoding="utf-8")
    end = "\n)\n"
    assert text.endswith(end)
    panel.write_text(text.removesuffix(end) + ENTRY.rstrip() + end, encoding="utf-8")


def write_configuration(path: Path) -> None:
    """The shipped configuration with the tenth biomarker, few steps and fewer rules."""
    shipped = REPOSITORY / "training" / "configs" / "nhanes.yaml"
    mapping = yaml.safe_load(shipped.read_text(encoding="utf-8"))
    mapping["name"] = "henaw-ten"
    mapping["network"] |= {"panel": [*NAMES, "mcv"], "input_dim": 10, "members": 2}
    mapping["network"] |= {"knots": [-1.0, 0.0, 1.0], "score_steps": 16}
    mapping["cohort"].pop("hold_out", None)
    mapping["fit"] |= {"iterations": 200, "member_iterations": 200}
    mapping["fit"] |= {"credit_rules": [], "steepness_rules": [], "elastic_weight": 1e-3}
    path.write_text(yaml.safe_dump(mapping), encoding="utf-8")


COMMAND = "from henaw.cli.main import main; main()"


@pytest.fixture(scope="module")
def tenth(cohort_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Tenth:
    table = pd.read_parquet(cohort_path)
    if "mcv" not in table:
        pytest.skip(f"{cohort_path} has no column mcv: this cohort was built without it")
    root = tmp_path_factory.mktemp("ten")
    write_package(root)
    write_configuration(root / "ten.yaml")
    table = table.sample(PEOPLE, random_state=1).reset_index(drop=True)
    table.to_parquet(root / "cohort.parquet")
    checkpoint, exported = root / "henaw-ten.safetensors", root / "exported"
    train = ("train", "--config", root / "ten.yaml", "--cohort", root / "cohort.parquet")
    run(root, "-c", COMMAND, *train, "--out", checkpoint)
    run(root, "-c", COMMAND, "export", checkpoint, "--out", exported)
    return Tenth(root, exported, table)


@pytest.fixture(scope="module")
def served(tenth: Tenth) -> dict[str, Any]:
    without = {
        **PERSON,
        "biomarkers": {k: v for k, v in PERSON["biomarkers"].items() if k != "mcv"},
    }
    wrong = {**PERSON, "biomarkers": {"mcv": {"value": 90, "unit": "pg"}}}
    answered: dict[str, Any] = json.loads(
        tenth.run(SERVE, tenth.exported, json.dumps([PERSON, without, wrong]))
    )
    assert answered["package"].startswith(str(tenth.root))
    return answered


def test_every_list_has_ten(tenth: Tenth, served: dict[str, Any]) -> None:
    assert served["names"] == [*NAMES, "mcv"]
    assert served["systems"]["hematology"] == [*SYSTEMS["hematology"], "mcv"]
    assert served["suggestion"] == "mcv"
    assert served["ukb_field"] == 30040
    assert served["nhanes"] == ["crp", "mcv"]
    sidecar = json.loads((tenth.exported / "henaw.json").read_text(encoding="utf-8"))
    assert sidecar["inputs"]["biomarkers"] == ["n", 10]
    assert sidecar["panel"][-1]["name"] == "mcv"
    assert "mcv" in sidecar["contribution_names"]
    assert sidecar["units"]["spellings"]["mcv"][fold_unit("femtoliters")] == "fL"
    assert 85 < sidecar["reference"]["female"]["mcv"][30] < 95


def test_an_answer_has_the_tenth_biomarker(served: dict[str, Any]) -> None:
    known, without, wrong = served["answers"]
    assert known["status"] == without["status"] == 200, served["answers"]
    assert known["contributions"]["mcv"] != 0
    assert known["imputed"] == []
    assert without["imputed"] == ["mcv"]
    assert known["biological_age"] != without["biological_age"]
    assert wrong["status"] == 422
    assert "fL" in json.dumps(wrong)
    assert "'pg'" in json.dumps(wrong)


def test_tables_are_scored(tenth: Tenth) -> None:
    people = tenth.table[["age", "sex", *NAMES, "mcv"]].head(200)
    people.to_csv(tenth.root / "people.csv", index=False)
    arguments = ("score", "people.csv", "scored.csv", "--model")
    tenth.run("-c", COMMAND, *arguments, tenth.exported / "henaw.onnx")
    scored = pd.read_csv(tenth.root / "scored.csv")
    assert scored["contribution_mcv"].notna().sum() > 100
    assert np.isfinite(scored["biological_age"]).sum() > 100
