"""A check that a copy of the ONNX file answers on this machine as it did at its export."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from henaw.model.errors import ScoringError
from henaw.model.exported.golden import read_golden
from henaw.model.exported.parity import Parity, compare_outputs
from henaw.model.people import People
from henaw.model.runtime import Outputs
from henaw.model.shipped import GOLDEN_FILE, SIDECAR_FILE, find_shipped
from henaw.scoring.henaw import Henaw
from henaw.scoring.reading.inputs import Inputs

_FORMATS = {"TF32": 10, "bfloat16": 7}
"""Bits of the mantissa of shorter formats; float32 has 23."""


@dataclass(frozen=True, kw_only=True)
class FileCheck:
    """The result of a check.

    Attributes:
        model: the model's name and version.
        device: the device that ran it: cpu or cuda:N.
        golden: the file of golden people.
        people: number of golden people.
        comparisons: the largest difference of each output from the answers at the export.
        rounded_years: by format, how far a biological age moves if the values are rounded to
            that format before the model reads them.
    """

    model: str
    device: str
    golden: Path
    people: int
    comparisons: tuple[Parity, ...]
    rounded_years: dict[str, float]

    @property
    def holds(self) -> bool:
        """Whether every difference is within its tolerance."""
        return all(comparison.holds for comparison in self.comparisons)


def check_file(path: Path, *, golden: Path | None = None, device: str = "cpu") -> FileCheck:
    """Run the golden people through a file.

    Args:
        path: the ONNX file.
        golden: golden people of its export; None is golden.json beside the file or, for the
            shipped model, the shipped one.
        device: auto, cpu, cuda or cuda:N.

    Raises:
        ScoringError: the file is no ONNX file of HENAW, was changed or contains a laboratory's
            profile, or it has no golden people.
        ArtifactError: the golden people cannot be read.
        ParityError: an answer has a different shape.
    """
    model = Henaw.load(path, device=device)
    if model.lab is not None:
        raise ScoringError(
            str(path),
            [
                f"it contains the profile of {model.lab}, which changes every answer. Check the "
                "file without the profile"
            ],
        )
    golden = _find_golden(path, model) if golden is None else golden
    people, expected = read_golden(golden)
    answers = _run(model, people)
    return FileCheck(
        model=model.name,
        device=model.device,
        golden=golden,
        people=len(people.age),
        comparisons=tuple(
            compare_outputs(answers, expected, runtime=model.device, against=golden.name)
        ),
        rounded_years={
            name: _find_shift(model, people, answers, bits) for name, bits in _FORMATS.items()
        },
    )


def _find_golden(path: Path, model: Henaw) -> Path:
    beside = path.parent / GOLDEN_FILE
    if beside.is_file():
        return beside
    shipped = json.loads(find_shipped(SIDECAR_FILE).read_text(encoding="utf-8"))
    if shipped["checkpoint_sha256"] == model.description["checkpoint_sha256"]:
        return find_shipped(GOLDEN_FILE)
    raise ScoringError(
        str(path),
        [
            f"there is no {beside}, and this is not the shipped model. Name the {GOLDEN_FILE} "
            "of its export by --golden"
        ],
    )


def _run(model: Henaw, people: People) -> Outputs:
    nothing = np.zeros(len(people.age), np.int64)
    return model.run(Inputs(people.biomarkers, people.age, people.sex, nothing, nothing))


def _find_shift(model: Henaw, people: People, answers: Outputs, bits: int) -> float:
    """Return the largest move of a reliable biological age by rounded values, in years."""
    rounded = people._replace(biomarkers=round_mantissa(people.biomarkers, bits))
    moved = _run(model, rounded)["biological_age"] - answers["biological_age"]
    return float(np.abs(moved[answers["reliable"]]).max(initial=0.0))


def round_mantissa(values: npt.NDArray[np.float32], bits: int) -> npt.NDArray[np.float32]:
    """Round float32 numbers to fewer bits of mantissa; NaN and infinities stay.

    Example:
        >>> round_mantissa(np.array([79.6, np.nan], np.float32), 7).tolist()
        [79.5, nan]
    """
    mantissa, exponent = np.frexp(values)
    scale = np.float32(2 ** (bits + 1))
    with np.errstate(over="ignore"):  # as in hardware, the largest numbers become infinite
        rounded: npt.NDArray[np.float32] = np.ldexp(np.round(mantissa * scale) / scale, exponent)
    return rounded
