"""From a checkpoint to a folder of artifacts, written completely or not at all."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from henaw.export.golden import choose_golden_people, format_golden
from henaw.export.graphs import export_onnx, export_program, export_torchscript
from henaw.export.harm import check_rules, require_no_credit
from henaw.export.metadata import describe_model, format_properties
from henaw.export.parity import compare_runtimes, describe_parity, require_parity
from henaw.export.people import (
    blank_every_pattern,
    draw_anywhere,
    draw_synthetic_people,
    join_people,
    list_edge_cases,
)
from henaw.model.checkpoint import load_checkpoint
from henaw.model.errors import ArtifactError
from henaw.model.exported.digest import DIGEST_KEY, compute_digest
from henaw.model.runtime import OnnxRuntime, Runtime, TorchRuntime

ARTIFACT_NAMES: tuple[str, ...] = (
    "henaw.onnx",
    "henaw.json",
    "henaw.torchscript.pt",
    "henaw.pt2",
    "golden.json",
    "parity.json",
)
PARITY_PEOPLE = 10_000
PARITY_SEED = 1
HARM_PEOPLE = 1000


def export_checkpoint(source: Path, out: Path) -> dict[str, Any]:
    """Write every artifact of a checkpoint into a folder, and prove that they agree.

    The folder contains :data:`ARTIFACT_NAMES`; ``henaw.json`` is the ONNX file's sidecar. The
    folder is created, or replaced, only after all checks have passed.

    Args:
        source: the checkpoint.
        out: the folder.

    Returns:
        The content of ``parity.json``.

    Raises:
        CheckpointError: the checkpoint is not valid.
        ArtifactError: the ONNX file exceeds its limits, a harmful value looks younger than a
            less harmful one, or the folder contains other files, which would be lost.
        ParityError: the runtimes disagree.
    """
    _require_replaceable(out)
    checkpoint = load_checkpoint(source)
    least = check_rules(checkpoint)
    network = checkpoint.build_network()
    description = describe_model(checkpoint)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    try:
        program = export_program(network)
        torch.export.save(program, staging / "henaw.pt2")
        export_torchscript(network, staging / "henaw.torchscript.pt")
        model = export_onnx(network, format_properties(description))
        content = model.SerializeToString(deterministic=True)
        (staging / "henaw.onnx").write_bytes(content)
        description[DIGEST_KEY] = compute_digest(content)
        (staging / "henaw.json").write_text(json.dumps(description, indent=1), encoding="utf-8")

        eager = TorchRuntime(network, name="eager")
        runtimes: list[Runtime] = [
            eager,
            TorchRuntime.load_torchscript(staging / "henaw.torchscript.pt"),
            OnnxRuntime(staging / "henaw.onnx"),
        ]
        synthetic = draw_synthetic_people(checkpoint, PARITY_PEOPLE // 2, PARITY_SEED)
        people = join_people(
            list_edge_cases()[1],
            blank_every_pattern(synthetic),
            synthetic,
            draw_anywhere(PARITY_PEOPLE // 2, PARITY_SEED),
        )
        comparisons = compare_runtimes(runtimes, people)
        require_parity(comparisons, people)
        parity = describe_parity(comparisons, people)
        parity["harmful_values"] = {
            "least_slope_left": round(least, 5),
            **require_no_credit(runtimes[-1], synthetic.select(slice(0, HARM_PEOPLE))),
        }
        (staging / "parity.json").write_text(json.dumps(parity, indent=1), encoding="utf-8")
        golden = format_golden(choose_golden_people(checkpoint), eager)
        (staging / "golden.json").write_text(golden, encoding="utf-8")
        staging.chmod(0o755)
        _replace_folder(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return parity


def _require_replaceable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise ArtifactError(str(out), ["the output must be a folder; this is a file"])
    names = {path.name for path in out.iterdir()} if out.exists() else set()
    others = ", ".join(sorted(names - {*ARTIFACT_NAMES})[:5])
    if others:
        raise ArtifactError(
            str(out),
            [f"the output must be a new folder, or one of an earlier export; it contains {others}"],
        )


def _replace_folder(staging: Path, out: Path) -> None:
    """Rename ``staging`` to ``out``; the old folder is kept until that has succeeded."""
    before = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.before."))
    try:
        if out.exists():
            out.rename(before / out.name)
        try:
            staging.rename(out)
        except OSError:
            if (before / out.name).exists():
                (before / out.name).rename(out)
            raise
    finally:
        shutil.rmtree(before, ignore_errors=True)
