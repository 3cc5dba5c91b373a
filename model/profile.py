"""A laboratory's profile: how far its values are from those of the fitted people.

Assays differ between laboratories and years. A shift needs no follow-up: each value is compared
with those of people of the same age and sex, and the shift is what brings the mean of these
clipped scores to 0.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.model.biomarkers import INDEX, NAMES, PANEL, SEXES
from henaw.model.errors import ProfileError

Array = npt.NDArray[np.float64]

LEVEL_SIZE = 4
"""Number of weights of a level of mortality: 1, age, sex and their product."""
PROFILE_SHAPES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "lab_shift": (len(NAMES),),
        "lab_standard_error": (len(NAMES),),
        "lab_level": (LEVEL_SIZE, 1),
    }
)
"""The profile's tensors in the graph and their shapes, float32."""
PROFILE_TENSORS: tuple[str, ...] = tuple(PROFILE_SHAPES)
FORMAT = "henaw-lab-profile-1"
LARGEST_LEVEL = 2.0
"""Of the logarithm of a hazard. Beyond it a life table does not have deaths per year."""
LARGEST_SHIFT = 1.5
"""Of a logarithm. Beyond it the values are in another unit, not from another laboratory."""
METADATA_KEY = "lab"
"""Name of the property of an ONNX file that describes its profile."""
_RAW_DATA = b"\x4a"
_NAME = b"\x42"
_METADATA_PROPS = b"\x72"
_CHECKPOINT = rb"checkpoint_sha256\x12\x40([0-9a-f]{64})"
"""The checkpoint's digest in the metadata: the key, and the field of its value."""

CLIP_SCORE = 2.0
"""Scores are clipped to plus or minus this, so that sick people do not move the shift."""
VARIANCE_OF_SHIFT = 1.1
"""Variance of the mean of clipped scores times the number of people: 1 / efficiency."""
_STEPS = 50
_CLOSE = 1e-7


def estimate_shift(
    values: Array, location: Array, scale: Array, *, usual: float = 0.0
) -> tuple[float, float]:
    """Estimate the shift of one biomarker in some people: the Huber estimate of location.

    Args:
        values: (n,) on the biomarker's scale (its logarithm, or its unit), all known.
        location: (n,) median of people of that age and sex, on the same scale.
        scale: (n,) their robust standard deviation.
        usual: mean of the clipped scores of the fitted people; not 0 where they are skewed.

    Returns:
        The shift and its standard error, on the same scale.

    Source:
        Huber PJ (1964), Ann Math Stat 35:73-101.

    Example:
        >>> away = np.array([-1.0, 0.0, 1.0, 30.0])
        >>> round(estimate_shift(away + 5.0, np.zeros(4), np.ones(4))[0], 2)
        5.67
    """
    distance = values - location
    shift = float(np.median(distance))
    for _ in range(_STEPS):
        scores = (distance - shift) / scale
        inside = np.abs(scores) < CLIP_SCORE
        slope = float((inside / scale).sum())
        if slope == 0.0:
            break
        step = float((np.clip(scores, -CLIP_SCORE, CLIP_SCORE) - usual).sum()) / slope
        shift += step
        if abs(step) < _CLOSE:
            break
    return shift, float(np.sqrt(VARIANCE_OF_SHIFT / len(values)) / np.mean(1.0 / scale))


def shrink_shift(shift: float, standard_error: float, spread: float) -> tuple[float, float]:
    """Shrink a shift towards 0, the more the less precise it is.

    With a normal prior of standard deviation ``spread`` and the share
    k = spread^2 / (spread^2 + standard_error^2), the posterior mean is k shift and the posterior
    standard deviation sqrt(k) standard_error.

    Args:
        shift: the estimate.
        standard_error: of the estimate.
        spread: standard deviation of the shift between laboratories.

    Returns:
        The posterior mean and standard deviation.

    Example:
        >>> shrink_shift(1.0, 1.0, 1.0)
        (0.5, 0.7071067811865476)
    """
    kept = spread**2 / (spread**2 + standard_error**2)
    return shift * kept, float(np.sqrt(kept) * standard_error)


@dataclass(frozen=True, kw_only=True)
class LabProfile:
    """How far a laboratory's values are from those of the fitted people.

    Attributes:
        name: of the laboratory, as answers give it.
        shift: by biomarker, subtracted from each value: of the logarithm where the biomarker is
            log-scaled, else in the panel's unit. A biomarker without an entry is not shifted.
        standard_error: by biomarker, on the same scale. Without an entry it is not known, and
            the spread between surveys is used.
        people: number of people that each shift was estimated from.
        model: SHA-256 of the checkpoint that it was estimated with.
        level: by sex, the logarithm of the ratio of the hazard of the laboratory's country to
            that of the fitted people, at 60 years of age, and its change in 15 years. None: the
            hazards are equal.
        life_table: the life table that the level was made from.

    Example:
        >>> LabProfile(name="north", shift={"rdw": 0.02}, standard_error={"rdw": 0.003}).name
        'north'
    """

    name: str
    shift: Mapping[str, float]
    standard_error: Mapping[str, float]
    people: Mapping[str, int] | None = None
    model: str = ""
    level: Mapping[str, Sequence[float]] | None = None
    life_table: str | None = None

    def __post_init__(self) -> None:
        problems = _check_level(self.level)
        if not 1 <= len(self.name) <= 64 or not self.name.isprintable():
            problems.append(f"name must be 1 to 64 printable characters; got {self.name!r}")
        for part in ("shift", "standard_error"):
            for name, value in getattr(self, part).items():
                if name not in INDEX:
                    problems.append(f"{part}: unknown biomarker {name!r}")
                elif isinstance(value, bool) or not isinstance(value, (int, float)):
                    problems.append(f"{part}: {name} must be a number; got {value!r}")
                elif not math.isfinite(value) or (part == "standard_error" and value <= 0):
                    least = " above 0" if part == "standard_error" else ""
                    problems.append(f"{part}: {name} must be a finite number{least}; got {value}")
                elif (
                    part == "shift" and PANEL[INDEX[name]].log_scaled and abs(value) > LARGEST_SHIFT
                ):
                    problems.append(
                        f"shift: {name} must be -{LARGEST_SHIFT} to {LARGEST_SHIFT} (of the "
                        f"logarithm); got {value}. Are its values in another unit?"
                    )
        if problems:
            raise ProfileError("laboratory profile", problems)

    @property
    def digest(self) -> str:
        """SHA-256 of its tensors."""
        return hashlib.sha256(b"".join(array.tobytes() for array in self.arrays)).hexdigest()

    @property
    def arrays(self) -> tuple[npt.NDArray[np.float32], ...]:
        """Shifts, standard errors and level, in the shapes of ``PROFILE_SHAPES``; 0 if unknown."""
        by_sex = self.level or dict.fromkeys(SEXES, (0.0, 0.0))
        level = np.array([by_sex[sex] for sex in SEXES], np.float64)
        # Sex is -0.5 or 0.5 in the graph, so the weights are the mean of both and the difference.
        weights = np.concatenate([level.mean(0), level[1] - level[0]])
        return (
            np.array([self.shift.get(name, 0.0) for name in NAMES], np.float32),
            np.array([self.standard_error.get(name, 0.0) for name in NAMES], np.float32),
            weights.astype(np.float32).reshape(LEVEL_SIZE, 1),
        )

    def describe(self) -> dict[str, Any]:
        """The content of its file."""
        return {"format": FORMAT, **asdict(self), "sha256": self.digest}

    def require_model(self, checkpoint_sha256: str) -> None:
        """Check that it was made for a model; a profile without a model's digest suits all.

        Raises:
            ProfileError: it was made for another model.
        """
        if self.model not in ("", checkpoint_sha256):
            raise ProfileError(
                f"laboratory profile {self.name}",
                [
                    f"it was made for the model {self.model[:12]}; this is "
                    f"{checkpoint_sha256[:12]}. Run henaw calibrate with this model"
                ],
            )


def _check_level(level: object) -> list[str]:
    """List what is wrong with a level of mortality."""
    if level is None:
        return []
    expected = (
        f"level must be, for {' and '.join(SEXES)}, two numbers between -{LARGEST_LEVEL:g} and "
        f"{LARGEST_LEVEL:g}; got {level!r}"
    )
    if not isinstance(level, Mapping) or set(level) != set(SEXES):
        return [expected]
    pairs = list(level.values())
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        return [expected]
    numbers = [number for pair in pairs for number in pair]
    is_valid = all(
        isinstance(number, (int, float))
        and not isinstance(number, bool)
        and abs(number) <= LARGEST_LEVEL
        for number in numbers
    )
    return [] if is_valid else [expected]


def read_profile(source: Path | Mapping[str, Any]) -> LabProfile:
    """Read a profile from its JSON file, or from the content of such a file.

    Raises:
        ProfileError: it cannot be read or is not a profile; every problem is listed.
    """
    subject = str(source) if isinstance(source, Path) else "laboratory profile"
    content: Any = source
    if isinstance(source, Path):
        try:
            content = json.loads(source.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ProfileError(subject, ["there is no such file"]) from error
        except (OSError, ValueError, RecursionError) as error:
            raise ProfileError(subject, [f"the file cannot be read as JSON: {error}"]) from error
    if not isinstance(content, Mapping) or content.get("format") != FORMAT:
        raise ProfileError(
            subject, ["this is not a laboratory profile; `henaw calibrate` makes one"]
        )
    known = {"name": str, "shift": dict, "standard_error": dict, "model": str}
    problems = [
        f"{key} must be {'text' if kind is str else 'an object'}; got {content.get(key)!r}"
        for key, kind in known.items()
        if not isinstance(content.get(key), kind)
    ]
    if problems:
        raise ProfileError(subject, problems)
    people, life_table = content.get("people"), content.get("life_table")
    profile = LabProfile(
        **{key: content[key] for key in known},
        people=people if isinstance(people, dict) else None,
        level=content.get("level"),
        life_table=life_table if isinstance(life_table, str) else None,
    )
    if content.get("sha256") != profile.digest:
        raise ProfileError(subject, ["its numbers differ from its digest. Was it changed by hand?"])
    return profile


def set_profile(model: bytes, profile: LabProfile) -> bytes:
    """Put a profile into an ONNX file's bytes, and its description into the metadata.

    Args:
        model: the file as exported.
        profile: the laboratory's.

    Raises:
        ProfileError: the file has no tensors of a profile, has a profile already, or is of
            another model than the profile.
    """
    made_from = re.search(_CHECKPOINT, model, re.DOTALL)
    if made_from is not None:
        profile.require_model(made_from.group(1).decode())
    if _encode_field(b"\x0a", METADATA_KEY.encode()) + b"\x12" in model:
        raise ProfileError("ONNX file", ["it has a laboratory profile already"])
    changed = model
    for name, array in zip(PROFILE_TENSORS, profile.arrays, strict=True):
        values = array.astype("<f4").tobytes()
        start = find_tensor(changed, name)
        changed = changed[:start] + values + changed[start + len(values) :]
    text = json.dumps(profile.describe()).encode()
    entry = _encode_field(b"\x0a", METADATA_KEY.encode()) + _encode_field(b"\x12", text)
    # The fields of a message may be in any order, so the new property goes to the end.
    return changed + _encode_field(_METADATA_PROPS, entry)


def find_tensor(model: bytes, name: str) -> int:
    """Find where the values of a tensor of the profile begin in an ONNX file's bytes.

    Raises:
        ProfileError: the tensor is missing, or is there twice.
    """
    # An initializer's name (field 8 of TensorProto) is followed by its bytes (field 9).
    size = 4 * math.prod(PROFILE_SHAPES[name])
    head = _encode_field(_NAME, name.encode()) + _RAW_DATA + bytes([size])
    place = model.find(head)
    if place < 0 or model.find(head, place + 1) >= 0:
        raise ProfileError("ONNX file", [f"it has no tensor {name}. Is it a model of HENAW?"])
    return place + len(head)


def _encode_field(tag: bytes, content: bytes) -> bytes:
    """Encode a length-delimited field of a protocol buffer."""
    length, size = len(content), bytearray()
    while length >= 0x80:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return tag + bytes([*size, length]) + content
