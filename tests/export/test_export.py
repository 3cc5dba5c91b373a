"""The folder of an export, and what a failed export leaves."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from henaw.cli.main import main
from henaw.export import export as module
from henaw.export import graphs
from henaw.export.export import ARTIFACT_NAMES, HARM_PEOPLE, export_checkpoint
from henaw.export.graphs import export_onnx
from henaw.export.harm import LARGEST_FALL_YEARS
from henaw.export.metadata import describe_model, format_properties
from henaw.export.people import People, list_edge_cases
from henaw.model.biomarkers import PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import ArtifactError, CheckpointError, ParityError
from henaw.model.exported.parity import TOLERANCES
from henaw.model.runtime import OUTPUT_NAMES, Outputs


def read_folder(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_folder_contains_the_artifacts_and_nothing_else(artifacts: Path) -> None:
    assert {path.name for path in artifacts.iterdir()} == set(ARTIFACT_NAMES)
    assert [path.name for path in artifacts.parent.iterdir()] == [artifacts.name]
    assert artifacts.stat().st_mode & 0o777 == 0o755
    # The exported program, which no app fetches, has no limit of its own.
    sizes = {path.name: path.stat().st_size for path in artifacts.iterdir()}
    assert sizes.pop("henaw.pt2") < 2_000_000
    assert all(size < 1_000_000 for size in sizes.values())


def test_parity_is_proven_and_covers_the_contract(artifacts: Path) -> None:
    parity = json.loads((artifacts / "parity.json").read_text())
    assert parity["people"] == 10_000 + 512 + len(list_edge_cases()[0])
    assert parity["worst_biological_age_years"] <= 1e-4
    compared = {(c["runtime"], c["against"], c["output"]) for c in parity["comparisons"]}
    for output in OUTPUT_NAMES:
        for other in ("torchscript-cpu", "onnxruntime-cpu"):
            assert (other, "eager", output) in compared
        for name in ("eager", "torchscript-cpu", "onnxruntime-cpu"):
            for batch in ("one by one", "in reverse", "empty batch"):
                assert (f"{name}, {batch}", name, output) in compared
    for c in parity["comparisons"]:
        assert c["tolerance"] == TOLERANCES[c["output"]]
        assert c["worst_absolute"] <= c["tolerance"]


def test_no_harmful_value_looks_younger_and_parity_json_says_so(artifacts: Path) -> None:
    found = json.loads((artifacts / "parity.json").read_text())["harmful_values"]
    assert found["people"] == HARM_PEOPLE
    assert found["least_slope_left"] > -1e-4
    sides = {f"{b.name} {side}" for b in PANEL for side in b.harmful}
    assert set(found["largest_fall_years"]) == sides
    assert all(0 <= fall <= LARGEST_FALL_YEARS for fall in found["largest_fall_years"].values())


def test_the_same_checkpoint_gives_the_same_onnx_bytes(
    checkpoint: Checkpoint, artifacts: Path
) -> None:
    properties = format_properties(describe_model(checkpoint))
    again = export_onnx(checkpoint.build_network(), properties)
    assert again.SerializeToString(deterministic=True) == (artifacts / "henaw.onnx").read_bytes()


def test_the_exported_program_answers_the_golden_people(
    artifacts: Path, golden: tuple[People, Outputs]
) -> None:
    people, expected = golden
    module = torch.export.load(artifacts / "henaw.pt2").module()
    for rows in (slice(None), slice(0, 1), slice(0, 0)):
        chosen = people.select(rows)
        with torch.inference_mode():
            answers = module(*map(torch.from_numpy, chosen))
        for name, answer in zip(OUTPUT_NAMES, answers, strict=True):
            np.testing.assert_allclose(
                answer.numpy().astype(float), expected[name][rows].astype(float), rtol=0, atol=1e-4
            )


@pytest.fixture
def give_onnx(
    monkeypatch: pytest.MonkeyPatch, artifacts: Path
) -> Callable[[Callable[[onnx.ModelProto], None]], None]:
    """Let the ONNX converter of the next export return a changed model."""

    def change(how: Callable[[onnx.ModelProto], None]) -> None:
        model = onnx.load(artifacts / "henaw.onnx")
        how(model)
        program = torch.export.load(artifacts / "henaw.pt2")
        monkeypatch.setattr(module, "export_program", lambda network: program)
        monkeypatch.setattr(module, "export_onnx", lambda network, properties: model)
        monkeypatch.setattr(module, "PARITY_PEOPLE", 400)
        monkeypatch.setattr(module, "HARM_PEOPLE", 50)

    return change


@pytest.fixture
def out(artifacts: Path, tmp_path: Path) -> Path:
    """A folder of an earlier export."""
    return Path(shutil.copytree(artifacts, tmp_path / "out"))


def shift_tables(model: onnx.ModelProto) -> None:
    """Move the reference a little, as an optimiser's wrong rounding might."""
    (table,) = (t for t in model.graph.initializer if t.name.split(".")[-1] == "by_age")
    values = onnx.numpy_helper.to_array(table) + np.float32(1e-3)
    table.CopyFrom(onnx.numpy_helper.from_array(values, table.name))


def test_disagreement_stops_the_command_and_keeps_the_old_folder(
    give_onnx: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    shipped_checkpoint_path: Path,
    out: Path,
) -> None:
    before = read_folder(out)
    give_onnx(shift_tables)
    monkeypatch.setattr(
        sys, "argv", ["henaw", "export", str(shipped_checkpoint_path), "--out", str(out)]
    )
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    message = capsys.readouterr().err
    assert message.startswith("error: parity: ")
    assert "onnxruntime-cpu: biological_age must be within 0.0001 of eager; got " in message
    assert "at biomarkers=[" in message
    assert "torchscript-cpu: " not in message
    assert read_folder(out) == before
    assert list(out.parent.iterdir()) == [out]


def test_disagreement_leaves_no_new_folder(
    give_onnx: Callable[..., None], shipped_checkpoint_path: Path, tmp_path: Path
) -> None:
    give_onnx(shift_tables)
    with pytest.raises(ParityError, match="biological_age must be within"):
        export_checkpoint(shipped_checkpoint_path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_onnx_file_over_its_limits_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, shipped_checkpoint_path: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(graphs, "LARGEST_BYTES", 1_000)
    with pytest.raises(ArtifactError, match="size must be below 1000 bytes; got "):
        export_checkpoint(shipped_checkpoint_path, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_unchanged_onnx_file_replaces_the_old_folder(
    give_onnx: Callable[..., None], artifacts: Path, shipped_checkpoint_path: Path, tmp_path: Path
) -> None:
    """The refusals above are therefore due to what they change."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "henaw.onnx").write_bytes(b"old")
    give_onnx(lambda model: None)
    parity = export_checkpoint(shipped_checkpoint_path, out)
    assert list(tmp_path.iterdir()) == [out]
    written, first = read_folder(out), read_folder(artifacts)
    for name in ("henaw.onnx", "henaw.json", "golden.json"):
        assert written[name] == first[name], name
    assert json.loads(written["parity.json"]) == parity


def test_a_folder_that_cannot_be_replaced_is_put_back(
    give_onnx: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    shipped_checkpoint_path: Path,
    tmp_path: Path,
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "henaw.onnx").write_bytes(b"old")
    give_onnx(lambda model: None)
    rename = Path.rename

    def fail_for_staging(self: Path, target: Path) -> Path:
        if target == out and (self / "parity.json").exists():
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_staging)
    with pytest.raises(OSError, match="Input/output error"):
        export_checkpoint(shipped_checkpoint_path, out)
    assert read_folder(out) == {"henaw.onnx": b"old"}
    assert list(tmp_path.iterdir()) == [out]


def test_a_folder_with_other_files_is_not_replaced(
    shipped_checkpoint_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"it contains thesis\.tex"):
        export_checkpoint(shipped_checkpoint_path, tmp_path)
    with pytest.raises(ArtifactError, match="the output must be a folder; this is a file"):
        export_checkpoint(shipped_checkpoint_path, tmp_path / "thesis.tex")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_bad_checkpoint_stops_the_command_and_leaves_nothing(
    shipped_checkpoint_path: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.safetensors"
    content = bytearray(shipped_checkpoint_path.read_bytes())
    content[-1] ^= 1
    bad.write_bytes(content)
    result = subprocess.run(
        [
            *(sys.executable, "-c", "from henaw.cli.main import main; main()"),
            *("export", str(bad), "--out", str(tmp_path / "deep" / "out")),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert result.stderr.startswith(f"error: {bad}: 1 problem\n")
    assert "the file was damaged" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == [bad]


def test_an_absent_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no such file"):
        export_checkpoint(tmp_path / "none", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
