"""The few lines that embed the ONNX file answer what the model answers."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from henaw.export.people import People
from henaw.model.runtime import OnnxRuntime, Outputs
from playwright.sync_api import Browser

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
NOTHING_TO_SHOW = "no reliable answer: show no number, see docs/embedding.md"


@pytest.fixture(scope="module")
def expected(artifacts: Path) -> Any:
    """Biological age and its interval of the person whom each example asks about."""
    values = np.array([[1.2, 35.5, 79.6, 45, 29, 13.1, np.nan, 24, 20]], np.float32)
    answer = OnnxRuntime(artifacts / "henaw.onnx").predict(values, np.float32([54]), np.int64([0]))
    # Printed to a tenth. A median such as albumin 45 is where a slope changes: there the last
    # bit of a runtime decides which slope the interval takes.
    return pytest.approx([*answer["biological_age"], *answer["interval"][0]], abs=0.1)


def read_sentence(text: str) -> list[float]:
    match = re.fullmatch(r"biological age ([\d.]+) \(([\d.]+) to ([\d.]+)\) years", text)
    assert match is not None, text
    return [float(number) for number in match.groups()]


def run_program(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True)
    assert not done.stderr
    return done.stdout.strip()


def compare(seen: dict[str, Any], expected: Outputs, tolerance: float) -> None:
    assert set(seen) == set(expected)
    for name, values in expected.items():
        given = np.array([np.nan if v is None else v for v in np.ravel(seen[name])], float)
        np.testing.assert_allclose(given, np.ravel(values).astype(float), atol=tolerance)


def test_python(artifacts: Path, expected: Any) -> None:
    program = EXAMPLES / "python" / "embed.py"
    printed = run_program(sys.executable, program, artifacts / "henaw.onnx")
    assert read_sentence(printed) == expected


@pytest.fixture(scope="session")
def rscript() -> str:
    """R with reticulate, which takes this Python."""
    program = shutil.which("Rscript")
    if program is None:
        pytest.skip("needs R: apt-get install r-base-core")
    for package in ("reticulate", "jsonlite"):
        found = [program, "-e", f"quit(status = !requireNamespace('{package}'))"]
        if subprocess.run(found, capture_output=True, check=False).returncode != 0:
            pytest.skip(f"needs R's package {package}: apt-get install r-cran-{package}")
    return program


def run_r(rscript: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        [rscript, *arguments],
        env={**os.environ, "RETICULATE_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_r(rscript: str, artifacts: Path, expected: Any, tmp_path: Path) -> None:
    for name in ("henaw.R", "embed.R"):
        shutil.copy(EXAMPLES / "r" / name, tmp_path)
    program = tmp_path / "embed.R"
    assert read_sentence(run_r(rscript, program, artifacts / "henaw.onnx")) == expected
    text = program.read_text()
    assert text.count("c(1.2, ") == 1
    program.write_text(text.replace("c(1.2, ", "c(400, "))
    assert run_r(rscript, program, artifacts / "henaw.onnx") == NOTHING_TO_SHOW


def test_golden_people_in_r(rscript: str, artifacts: Path, golden: tuple[People, Outputs]) -> None:
    paths = (EXAMPLES / "r" / "henaw.R", artifacts / "henaw.onnx", artifacts / "golden.json")
    printed = run_r(rscript, Path(__file__).with_name("golden.R"), *paths)
    compare(json.loads(printed), golden[1], 1e-4)


def test_node(node: str, artifacts: Path, expected: Any) -> None:
    program = EXAMPLES / "node" / "embed.mjs"
    assert read_sentence(run_program(node, program, artifacts / "henaw.onnx")) == expected


def test_minimal_page(browser: Browser, site: str, expected: Any) -> None:
    page = browser.new_page()
    page.goto(f"{site}minimal.html")
    page.get_by_text("biological age").wait_for()
    assert read_sentence(page.inner_text("#answer")) == expected
    page.close()


def make_critical(program: Path) -> str:
    """The example's own text, but for a CRP of 400 mg/L."""
    text = program.read_text(encoding="utf-8")
    assert text.count("[1.2, ") == 1
    return text.replace("[1.2, ", "[400, ")


def test_no_example_shows_a_number_that_is_not_reliable(
    node: str, artifacts: Path, tmp_path: Path
) -> None:
    (tmp_path / "node_modules").symlink_to(REPOSITORY / "node_modules")
    for runner, name in ((sys.executable, "python/embed.py"), (node, "node/embed.mjs")):
        program = tmp_path / Path(name).name
        program.write_text(make_critical(EXAMPLES / name), encoding="utf-8")
        assert run_program(runner, program, artifacts / "henaw.onnx") == NOTHING_TO_SHOW


def test_the_minimal_page_shows_no_number_that_is_not_reliable(browser: Browser, site: str) -> None:
    page = browser.new_page()
    body = make_critical(EXAMPLES / "browser" / "minimal.html")
    page.route("**/minimal.html", lambda route: route.fulfill(body=body, content_type="text/html"))
    page.goto(f"{site}minimal.html")
    page.get_by_text("no reliable answer").wait_for()
    assert page.inner_text("#answer") == NOTHING_TO_SHOW
    page.close()


def test_golden_people_in_node(node: str, artifacts: Path, golden: tuple[People, Outputs]) -> None:
    program = Path(__file__).with_name("golden.mjs")
    printed = run_program(node, program, artifacts / "henaw.onnx", artifacts / "golden.json")
    compare(json.loads(printed), golden[1], 1e-4)


def test_golden_people_in_the_browser(
    browser: Browser, site: str, golden: tuple[People, Outputs]
) -> None:
    people, expected = golden
    rows = zip(people.biomarkers.tolist(), people.age.tolist(), people.sex.tolist(), strict=True)
    page = browser.new_page()
    page.goto(site)
    answers = page.evaluate(
        """async (people) => {
            const ort = await import("./vendor/ort.wasm.bundle.min.mjs");
            const { loadModel } = await import("./lib/model.js");
            const file = await (await fetch("henaw.onnx")).arrayBuffer();
            return (await loadModel(ort, new Uint8Array(file)))(people);
        }""",
        [{"biomarkers": row, "age": age, "sex": sex} for row, age, sex in rows],
    )
    page.close()
    compare({name: [answer[name] for answer in answers] for name in expected}, expected, 1e-3)


def test_types_of_the_page_hold(node: str) -> None:
    compiler = REPOSITORY / "node_modules" / "typescript" / "bin" / "tsc"
    assert not run_program(node, compiler, "-p", EXAMPLES / "browser")
    worker = EXAMPLES / "browser" / "tsconfig.worker.json"
    assert not run_program(node, compiler, "-p", worker)


def test_a_report_in_node(node: str) -> None:
    program = EXAMPLES / "node" / "report.mjs"
    report = REPOSITORY / "tests" / "reports" / "two_people.csv"
    weights = REPOSITORY / "model" / "weights"
    assert run_program(node, program, weights, report, "de").splitlines() == [
        "Person A: Ihr Blut gleicht dem einer typischen Frau von 54 Jahren.",
        "Person B: Ihr Blut gleicht dem eines typischen Mannes von 62 Jahren.",
    ]
