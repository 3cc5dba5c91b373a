import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from henaw.handler.assembly import assemble_service
from henaw.handler.configuration import HandlerConfiguration
from henaw.handler.exchange import Request
from henaw.handler.inference.selfcheck import check_runtimes, list_differences, load_golden
from henaw.handler.metadata import load_metadata
from henaw.handler.observe.request_log import RequestLog
from henaw.handler.service import Service
from henaw.model.errors import ArtifactError, ParityError
from henaw.model.runtime import OnnxRuntime, Outputs


def assemble(folder: Path) -> Service:
    log = RequestLog(io.BytesIO())
    return assemble_service(folder, HandlerConfiguration(), store=None, states=None, log=log)


@pytest.fixture
def copied(unpacked: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(unpacked, tmp_path / "archive"))


def test_the_shipped_archive_serves(unpacked: Path, person: dict[str, Any]) -> None:
    request = Request(
        body=json.dumps(person).encode(),
        headers={"content-type": "application/json"},
        request_id="r",
    )
    assert assemble(unpacked).answer([request])[0].status == 200


@pytest.mark.parametrize(
    "name",
    [
        "henaw.onnx",
        "henaw.torchscript.pt",
        "henaw.json",
        "golden.json",
        "torchserve_entry.py",
        "henaw/handler/service.py",
    ],
)
@pytest.mark.parametrize("change", ["changed", "missing"])
def test_a_changed_or_missing_file_is_refused_by_name(copied: Path, name: str, change: str) -> None:
    if change == "missing":
        (copied / name).unlink()
    else:
        content = bytearray((copied / name).read_bytes())
        content[len(content) // 2] ^= 1
        (copied / name).write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        assemble(copied)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"{name} ")


@pytest.mark.parametrize(
    "name",
    [
        "henaw/handler/added.py",
        "msgspec.py",
        "sitecustomize.py",
        "numpy/__init__.py",
        "henaw/handler/service.cpython-311-x86_64-linux-gnu.so",
        "henaw/handler/__pycache__/service.cpython-311.pyc",
        "__pycache__/msgspec.cpython-311.pyc",
        "MAR-INF/added.py",
        ".hidden",
    ],
)
def test_a_file_that_was_added_is_refused_by_name(copied: Path, name: str) -> None:
    (copied / name).parent.mkdir(exist_ok=True)
    (copied / name).write_text("")
    with pytest.raises(ArtifactError) as caught:
        assemble(copied)
    assert caught.value.problems == (f"{name} is not part of the archive",)


def test_a_link_that_was_added_is_refused(copied: Path, tmp_path: Path) -> None:
    (copied / "msgspec").symlink_to(tmp_path, target_is_directory=True)
    with pytest.raises(ArtifactError, match=r"msgspec is not part"):
        assemble(copied)


def test_an_archive_without_digests_is_refused(copied: Path) -> None:
    (copied / "digests.json").unlink()
    with pytest.raises(ArtifactError, match=r"digests\.json"):
        assemble(copied)


class Shifted:
    """A runtime that is wrong in one number."""

    name = "shifted"

    def __init__(self, inner: OnnxRuntime, name: str, row: int, by: float) -> None:
        self.inner, self.output, self.row, self.by = inner, name, row, by

    def predict(self, biomarkers: Any, age: Any, sex: Any) -> Outputs:
        outputs = self.inner.predict(biomarkers, age, sex)
        outputs[self.output] = outputs[self.output] + np.zeros(1, outputs[self.output].dtype)
        outputs[self.output][self.row] += self.by
        return outputs


def test_the_exported_runtimes_agree(runtimes: Any, artifacts: Path) -> None:
    check_runtimes(runtimes.values(), load_golden(artifacts / "golden.json"))


@pytest.mark.parametrize(
    ("output", "by"),
    [("biological_age", 1e-3), ("biological_age", np.nan), ("mortality_10y", 1e-3),
     ("contributions", -0.01), ("interval", np.inf)],
)  # fmt: skip
def test_a_runtime_that_differs_is_named(
    onnx: OnnxRuntime, weights: Path, output: str, by: float
) -> None:
    golden = load_golden(weights / "golden.json")
    with pytest.raises(ParityError) as caught:
        check_runtimes([onnx, Shifted(onnx, output, 150, by)], golden)
    assert len(caught.value.problems) == 1
    assert caught.value.problems[0].startswith(f"shifted: {output} must be within 0.0001")
    assert "(150" in caught.value.problems[0]


@pytest.mark.parametrize(("output", "by"), [("biological_age", 5e-5), ("percentile", 5e-3)])
def test_a_difference_below_the_tolerance_does_not_count(
    onnx: OnnxRuntime, weights: Path, output: str, by: float
) -> None:
    golden = load_golden(weights / "golden.json")
    assert list_differences(Shifted(onnx, output, 150, by), golden) == []


def test_a_percentile_has_a_tolerance_of_its_own(onnx: OnnxRuntime, weights: Path) -> None:
    golden = load_golden(weights / "golden.json")
    (said,) = list_differences(Shifted(onnx, "percentile", 150, 0.05), golden)
    assert said.startswith("shifted: percentile must be within 0.01 of the stored answers")


def test_a_missing_output_is_named(onnx: OnnxRuntime, weights: Path) -> None:
    class Partial:
        name = "partial"

        def predict(self, biomarkers: Any, age: Any, sex: Any) -> Outputs:
            outputs = onnx.predict(biomarkers, age, sex)
            del outputs["interval"]
            return outputs

    golden = load_golden(weights / "golden.json")
    assert list_differences(Partial(), golden) == [
        "partial: interval must have the shape (200, 2); got none"
    ]


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    return lambda document: document.pop(key)


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no version": (drop("version"), "version"),
    "no reference": (drop("reference"), "reference"),
    "other causes": (lambda d: d["cause_names"].append("Liver 1"), "cause_names: a name must be"),
    "other panel": (lambda d: d["panel"].pop(), "panel must be"),
    "short medians": (lambda d: d["reference"]["male"]["crp"].pop(), r"reference\.male\.crp"),
    "no limits": (drop("critical_limits"), "critical_limits"),
    "half a limit": (lambda d: d["critical_limits"]["crp"].pop(), r"critical_limits\.crp"),
    "limits in words": (lambda d: d["critical_limits"].update(alt=["a", 1]), "limits.alt must"),
    "no typical values": (lambda d: d["contribution_names"].pop(0), "begin with typical_values"),
    "no medians": (lambda d: d["reference"]["female"].pop("alt"), r"reference\.female\.alt"),
}


@pytest.mark.parametrize(("spoil", "said"), SPOILT.values(), ids=SPOILT.keys())
def test_a_sidecar_that_disagrees_is_refused(
    weights: Path, tmp_path: Path, spoil: Callable[[dict[str, Any]], Any], said: str
) -> None:
    document = json.loads((weights / "henaw.json").read_text())
    spoil(document)
    (tmp_path / "henaw.json").write_text(json.dumps(document))
    with pytest.raises(ArtifactError, match=said):
        load_metadata(tmp_path / "henaw.json")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"inputs": {}}', '{"inputs": {}, "outputs": 7}'])
def test_what_is_not_a_golden_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "golden.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"golden\.json"):
        load_golden(tmp_path / "golden.json")
