"""The properties of an ONNX file, which are checked before it scores anything."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from henaw.model.biomarkers import NAMES, SEXES
from henaw.model.errors import ArtifactError, ScoringError
from henaw.model.exported.digest import DIGEST_KEY, check_content, read_properties
from henaw.model.profile import METADATA_KEY, read_profile
from henaw.model.reliability import find_limit_problems
from henaw.model.runtime import INPUT_NAMES, OUTPUT_NAMES, PROTOCOL, OnnxRuntime

_PARSED: Mapping[str, type] = {
    "inputs": dict,
    "outputs": dict,
    "panel": list,
    "contribution_names": list,
    "cause_names": list,
    "used_biomarkers": list,
    "reference": dict,
    "fitted_ages": list,
    "critical_limits": dict,
}
"""Properties in JSON that scoring reads, and their types."""


def open_model(content: bytes, source: str, *, device: str = "cpu") -> OnnxRuntime:
    """Open an ONNX file whose content was checked; messages call it ``source``.

    Raises:
        ScoringError: this ONNX Runtime cannot open it.
        ConfigurationError: there is no such device.
    """
    try:
        return OnnxRuntime(content, device=device)
    except Exception as error:
        # onnxruntime's own errors share no public base class.
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        raise ScoringError(source, [f"this onnxruntime cannot open it: {error}"]) from error


def read_description(content: bytes, source: str) -> dict[str, Any]:
    """Read the properties of a file and check that it is a model of this panel.

    Raises:
        ScoringError: it is no ONNX file, a property is missing or damaged, or the model has
            another protocol or panel.
    """
    # A safetensors file begins with 8 bytes, the length of its header, which is JSON.
    if content[8:9] == b"{":
        raise ScoringError(
            source, ["it is a checkpoint. Make an ONNX file of it with `henaw export`"]
        )
    try:
        properties = read_properties(content)
    except ArtifactError as error:
        raise ScoringError(source, error.problems) from error
    missing = [key for key in ("name", "version", "protocol", *_PARSED) if key not in properties]
    if missing:
        raise ScoringError(
            source,
            [f"it lacks the properties {', '.join(missing)}. Is it a file of `henaw export`?"],
        )
    if properties["protocol"] != str(PROTOCOL):
        raise ScoringError(
            source,
            [
                f"its protocol must be {PROTOCOL}; got {properties['protocol'][:20]!r}. Export the "
                "model again with this version of henaw, or install the version that exported it"
            ],
        )
    parsed = {key: _parse(properties[key]) for key in _PARSED}
    description = {**properties, **parsed}
    problems = [
        f"its property {key!r} must be {'a list' if kind is list else 'an object'} in JSON"
        for key, kind in _PARSED.items()
        if not isinstance(parsed[key], kind)
    ] or [
        *_find_name_problems(description),
        *_find_number_problems(description),
        *find_limit_problems(description["critical_limits"]),
    ]
    if problems:
        raise ScoringError(source, [*problems, "if the file is damaged, export the model again"])
    return description


@contextmanager
def explain_damage(*properties: str) -> Iterator[None]:
    """Raise what damaged properties cause, which are parsed on demand, as a ScoringError."""
    try:
        yield
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise ScoringError(
            "model",
            [
                f"its properties {' and '.join(properties)} cannot be read: "
                f"{type(error).__name__}: {error}. Export it again"
            ],
        ) from error


def read_lab(description: Mapping[str, Any], source: str) -> str | None:
    """Return the laboratory whose profile the file contains; None if it contains none.

    Raises:
        ScoringError: the profile is damaged.
    """
    text = description.get(METADATA_KEY)
    if text is None:
        return None
    try:
        return read_profile(json.loads(text)).name
    except (ValueError, RecursionError) as error:
        raise ScoringError(source, [f"its laboratory profile cannot be read: {error}"]) from error


def require_content(content: bytes, description: Mapping[str, Any], source: str) -> None:
    """Check that the file is as exported, apart from a laboratory's profile.

    Raises:
        ScoringError: it was changed.
    """
    try:
        check_content(content, description)
    except ArtifactError as error:
        raise ScoringError(source, error.problems) from error


def require_sidecar(path: Path, description: Mapping[str, Any]) -> None:
    """Check that the sidecar beside an ONNX file, if there is one, is of the same export.

    Raises:
        ScoringError: it is of another export.
    """
    sidecar = path.with_suffix(".json")
    try:
        said = json.loads(sidecar.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return
    expected = said.get(DIGEST_KEY) if isinstance(said, dict) else None
    if expected is not None and expected != description[DIGEST_KEY]:
        raise ScoringError(
            str(path),
            [
                f"its content has the SHA-256 {description[DIGEST_KEY]}, but its sidecar "
                f"{sidecar.name} describes {expected}. Put both files of one export together"
            ],
        )


def _parse(text: str) -> Any:
    """Parse JSON; None if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _find_name_problems(description: Mapping[str, Any]) -> Iterator[str]:
    expected: dict[str, Sequence[str]] = {
        "inputs": INPUT_NAMES,
        "outputs": OUTPUT_NAMES,
        "panel": NAMES,
    }
    for key, names in expected.items():
        seen = [row.get("name") if isinstance(row, dict) else row for row in description[key]]
        if seen != list(names):
            yield f"{key} must be {', '.join(names)}; got {', '.join(map(str, seen))}"
    for key in ("contribution_names", "cause_names", "used_biomarkers"):
        if not all(isinstance(name, str) for name in description[key]):
            yield f"{key} must be names; got {description[key]}"
    if description["contribution_names"][: len(NAMES) + 1] != ["typical_values", *NAMES]:
        yield f"contribution_names must begin with typical_values, {', '.join(NAMES)}"


def _find_number_problems(description: Mapping[str, Any]) -> Iterator[str]:
    if not _are_numbers(description["fitted_ages"], 2):
        yield f"fitted_ages must be two numbers; got {description['fitted_ages']}"
    reference = description["reference"]
    ages = reference.get("age")
    if not isinstance(ages, list) or not _are_numbers(ages):
        yield "reference.age must be a list of ages"
        return
    for sex in SEXES:
        medians = reference.get(sex)
        for name in NAMES:
            values = medians.get(name) if isinstance(medians, dict) else None
            if not _are_numbers(values, len(ages)):
                yield f"reference.{sex}.{name} must be {len(ages)} medians"


def _are_numbers(values: Any, count: int | None = None) -> bool:
    return (
        isinstance(values, list)
        and count in (None, len(values))
        and all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    )
