"""The files that ship are what an export of the shipped checkpoint gives: `make weights`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from henaw.model import shipped
from henaw.model.errors import ArtifactError
from henaw.model.exported.digest import DIGEST_KEY, compute_digest
from henaw.model.exported.golden import read_golden
from henaw.model.shipped import GOLDEN_FILE, ONNX_FILE, SIDECAR_FILE, find_shipped
from henaw.scoring import Henaw

MOST_BYTES = 2_000_000


def read_graph(path: Path) -> tuple[bytes, dict[str, np.ndarray], dict[str, Any]]:
    """The graph without properties and numbers, its numbers by name, and its properties."""
    model = onnx.load(path)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    del model.metadata_props[:]
    numbers = {}
    for tensor in model.graph.initializer:
        numbers[tensor.name] = onnx.numpy_helper.to_array(tensor)
        tensor.raw_data = b""
    return model.SerializeToString(deterministic=True), numbers, properties


def test_the_graph_and_its_weights_are_those_of_the_export(artifacts: Path) -> None:
    shipped_graph, shipped_numbers, properties = read_graph(find_shipped(ONNX_FILE))
    graph, numbers, exported = read_graph(artifacts / "henaw.onnx")
    assert shipped_graph == graph, "run `make weights` and commit what it writes"
    for name, values in numbers.items():
        # Another kind of CPU may round the last bit of what is computed once, before export.
        np.testing.assert_allclose(
            shipped_numbers[name], values, rtol=3e-7, atol=1e-12, err_msg=name
        )
    assert properties.keys() == exported.keys()
    assert properties["checkpoint_sha256"] == exported["checkpoint_sha256"]


def test_the_sidecar_is_that_of_the_export(artifacts: Path) -> None:
    folders = (find_shipped(ONNX_FILE).parent, artifacts)
    seen, expected = (
        json.loads((folder / SIDECAR_FILE).read_text(encoding="utf-8")) for folder in folders
    )
    assert seen.pop("reference")["age"] == expected.pop("reference")["age"]
    for changing in ("calibration", "drift"):
        assert seen.pop(changing).keys() == expected.pop(changing).keys()
    # The digests cover numbers that another kind of CPU rounds otherwise, in the last bit.
    for folder, sidecar in zip(folders, (seen, expected), strict=True):
        assert sidecar.pop(DIGEST_KEY) == compute_digest((folder / ONNX_FILE).read_bytes())
    assert seen == expected


def test_the_golden_people_get_their_answers_from_the_shipped_file(artifacts: Path) -> None:
    people, outputs = read_golden(find_shipped(GOLDEN_FILE))
    exported, theirs = read_golden(artifacts / "golden.json")
    for seen, expected in zip(people, exported, strict=True):
        np.testing.assert_array_equal(seen, expected)
    for name, values in outputs.items():
        np.testing.assert_allclose(values, theirs[name], atol=2e-3, err_msg=name)
    assert Henaw().sha256 == Henaw.load(find_shipped(ONNX_FILE)).sha256 == Henaw.load().sha256


def test_it_is_small() -> None:
    folder = find_shipped(ONNX_FILE).parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < MOST_BYTES


def test_an_incomplete_package_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "shipped.py"))
    with pytest.raises(ArtifactError, match=r"henaw\.onnx is missing\. Install henaw again"):
        Henaw()
