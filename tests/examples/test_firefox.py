"""The main path in Firefox: a report is read, checked and answered."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from henaw.model.runtime import OnnxRuntime

REPORT = Path(__file__).resolve().parents[1] / "reports" / "us.csv"


def test_the_main_path(node: str, site: str, people: Any, onnx: OnnxRuntime) -> None:
    firefox = shutil.which("firefox-esr") or shutil.which("firefox")
    if firefox is None:
        pytest.skip("needs firefox-esr")
    program = Path(__file__).with_name("firefox.mjs")
    done = subprocess.run(
        [node, program, firefox, site, REPORT],
        capture_output=True,
        encoding="utf-8",
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["read"].startswith("9 of 9 values were read")
    expected = json.loads(REPORT.with_name("expected.json").read_text(encoding="utf-8"))
    values = {
        name: (str(value), unit) for name, (value, unit) in expected["us.csv"][0]["values"].items()
    }
    answer = people.predict(onnx, values | {"crp": ("2.4", "mg/L")}, 54, 0)
    assert int(seen["age"]) == pytest.approx(float(answer["biological_age"][0]), abs=0.51)
    assert seen["dots"] == 100
    assert seen["width"]
    assert seen["errors"] == []
