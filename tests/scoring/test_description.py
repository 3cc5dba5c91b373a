"""Files that are no model, and models whose properties are damaged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from henaw.model.errors import ScoringError
from henaw.scoring import Henaw


def test_another_file_is_no_model(
    tmp_path: Path, model_path: Path, shipped_checkpoint_path: Path
) -> None:
    with pytest.raises(ScoringError, match="No such file"):
        Henaw.load(tmp_path / "none.onnx")
    (tmp_path / "x.onnx").write_bytes(b"x")
    with pytest.raises(ScoringError, match="the file is not ONNX, or is damaged"):
        Henaw.load(tmp_path / "x.onnx")
    with pytest.raises(ScoringError, match=r"it is a checkpoint. Make an ONNX file of it with"):
        Henaw.load(shipped_checkpoint_path)
    other = onnx.load(model_path)
    del other.metadata_props[:]
    onnx.save(other, tmp_path / "bare.onnx")
    with pytest.raises(
        ScoringError,
        match=r"lacks the properties name, version, .*\. Is it a file of `henaw export`\?",
    ):
        Henaw.load(tmp_path / "bare.onnx")


DAMAGED = {
    "no JSON": ("reference", lambda _: "{", "'reference' must be an object in JSON"),
    "deep": ("panel", lambda _: "[" * 100_000, "'panel' must be a list in JSON"),
    "another kind": ("fitted_ages", lambda _: "{}", "'fitted_ages' must be a list in JSON"),
    "another panel": ("panel", lambda text: text.replace("rdw", "rbw"), "panel must be crp, "),
    "rows that are numbers": ("panel", lambda _: "[1, 2]", "panel must be crp, .*; got 1, 2"),
    "another protocol": ("protocol", lambda _: "3", "its protocol must be 2; got '3'"),
    "names that are none": (
        "contribution_names",
        lambda _: "[1]",
        "must begin with typical_values",
    ),
    "causes that are none": ("cause_names", lambda _: "[null]", "cause_names must be names"),
    "ages that are none": (
        "fitted_ages",
        lambda _: '["20", 85]',
        "fitted_ages must be two numbers",
    ),
    "no reference": ("reference", lambda _: "{}", r"reference\.age must be a list of ages"),
    "no medians": (
        "reference",
        lambda _: '{"age": [20]}',
        r"reference\.male\.alt must be 1 medians",
    ),
    "no limits": ("critical_limits", lambda _: "{}", r"critical_limits\.crp must be two numbers"),
    "no text": ("version", lambda _: b"\xff\xfe", "properties must be UTF-8"),
    "no profile": ("lab", lambda _: "[]", "laboratory profile cannot be read"),
}


@pytest.mark.parametrize(("key", "damage", "said"), DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_properties_are_named(
    model_path: Path, tmp_path: Path, key: str, damage: Callable[[str], Any], said: str
) -> None:
    file = onnx.load(model_path)
    entry = next((e for e in file.metadata_props if e.key == key), None)
    entry = file.metadata_props.add(key=key) if entry is None else entry
    value = damage(entry.value)
    # A protocol buffer of text takes no other bytes: they are put in afterwards.
    entry.value = "#" * len(value) if isinstance(value, bytes) else value
    content = file.SerializeToString()
    if isinstance(value, bytes):
        marked = b"\x12" + bytes([len(value)])
        content = content.replace(marked + b"#" * len(value), marked + value)
    (tmp_path / "damaged.onnx").write_bytes(content)
    with pytest.raises(ScoringError, match=said) as caught:
        Henaw.load(tmp_path / "damaged.onnx")
    assert str(tmp_path / "damaged.onnx") in str(caught.value)
