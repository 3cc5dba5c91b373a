"""What the README shows is what the shipped model does."""

import contextlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from henaw.model.biomarkers import NAMES, PANEL, SEXES
from henaw.model.runtime import OnnxRuntime

REPOSITORY = Path(__file__).resolve().parents[2]
README = REPOSITORY / "README.md"
SHIPPED = REPOSITORY / "model" / "weights"


def read_block(language: str) -> str:
    match = re.search(rf"```{language}\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert match is not None
    return match[1]


def run_program(program: str) -> str:
    """Run an example as pasted, and return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "README.md", "exec"), {})
    return printed.getvalue().strip()


def test_first_example_prints_what_is_shown() -> None:
    assert run_program(read_block("python")) == read_block("text").strip()


def test_embedding_example_prints_what_is_said() -> None:
    text = README.read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[1]
    printed = run_program(program.replace("build/exported", SHIPPED.as_posix()))
    assert f"That prints `{printed}`" in text


def test_request_answers_what_is_shown() -> None:
    text = README.read_text(encoding="utf-8")
    request = json.loads(re.search(r"-d '(.*?)'\n```", text, re.DOTALL)[1])  # type: ignore[index]
    values = []
    for biomarker in PANEL:
        value = request["biomarkers"][biomarker.name]
        if isinstance(value, dict):
            value = biomarker.find_unit(value["unit"]).to_si(value["value"])
        values.append(value)
    outputs = OnnxRuntime(SHIPPED / "henaw.onnx").predict(
        np.array([values], np.float32),
        np.array([request["age"]], np.float32),
        np.array([SEXES.index(request["sex"])], np.int64),
    )
    answer = json.loads(read_block("json"))
    assert answer["biological_age"] == pytest.approx(outputs["biological_age"][0], abs=1e-3)
    assert answer["interval"] == pytest.approx(outputs["interval"][0], abs=1e-3)
    assert answer["mortality_10y"] == pytest.approx(outputs["mortality_10y"][0], abs=1e-5)
    assert list(answer["contributions"].values()) == pytest.approx(
        outputs["contributions"][0], abs=1e-3
    )
    assert list(answer["systems"].values()) == pytest.approx(
        outputs["system_contributions"][0], abs=1e-3
    )


def test_table_of_the_panel_is_the_panel() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*?) - (.*?) \|", README.read_text(), re.MULTILINE)
    assert [row[0] for row in rows] == list(NAMES)
    for (_, unit, low, high), biomarker in zip(rows, PANEL, strict=True):
        assert unit.split(" (")[0] == biomarker.unit
        assert (float(low), float(high)) == (biomarker.minimum, biomarker.maximum)
