"""The part of the model's sidecar that answers need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from henaw.model.biomarkers import NAMES, SEXES, SYSTEMS
from henaw.model.configuration import TYPICAL_VALUES, check_causes
from henaw.model.errors import ArtifactError
from henaw.model.reliability import CriticalLimits, find_limit_problems


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """The part of the model's sidecar that serving reads.

    Attributes:
        name: the model's name.
        version: the model's version.
        contribution_names: the typical values, biomarkers, then interactions, in the graph's
            order.
        system_names: the systems, in the graph's order.
        cause_names: the causes of death, in the graph's order.
        used_biomarkers: the biomarkers that the model uses; it ignores the values of others.
        fitted_ages: lowest and highest age of the fit, years.
        critical_limits: lowest and highest value that is not critical, by biomarker.
        reference_ages: ages of the reference medians, years, ascending.
        reference_medians: by sex code, (ages, 9) in the panel's units and order.
    """

    name: str
    version: str
    contribution_names: tuple[str, ...]
    system_names: tuple[str, ...]
    cause_names: tuple[str, ...]
    used_biomarkers: tuple[str, ...]
    fitted_ages: tuple[float, float]
    critical_limits: CriticalLimits
    reference_ages: npt.NDArray[np.float64]
    reference_medians: tuple[npt.NDArray[np.float64], ...]


def load_metadata(path: Path) -> Metadata:
    """Read and check a sidecar.

    Raises:
        ArtifactError: lists everything that is missing or disagrees with this code.
    """
    try:
        document = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.MsgspecError) as error:
        raise ArtifactError(path.name, [f"the sidecar must be JSON: {error}"]) from error
    problems = list(_list_problems(document))
    if problems:
        raise ArtifactError(path.name, problems)
    reference = document["reference"]
    return Metadata(
        name=document["name"],
        version=document["version"],
        contribution_names=tuple(document["contribution_names"]),
        system_names=tuple(document["system_names"]),
        cause_names=tuple(document["cause_names"]),
        # An older export does not say, and uses all.
        used_biomarkers=tuple(document.get("used_biomarkers", NAMES)),
        fitted_ages=(float(document["fitted_ages"][0]), float(document["fitted_ages"][1])),
        critical_limits=document["critical_limits"],
        reference_ages=np.array(reference["age"], dtype=np.float64),
        reference_medians=tuple(
            np.array([reference[sex][name] for name in NAMES], dtype=np.float64).T for sex in SEXES
        ),
    )


def _list_problems(document: object) -> Sequence[str]:
    if not isinstance(document, dict):
        return ["the sidecar must be a JSON object"]
    wanted: Mapping[str, type | tuple[type, ...]] = {
        "name": str,
        "version": str,
        "panel": list,
        "contribution_names": list,
        "system_names": list,
        "cause_names": list,
        "fitted_ages": list,
        "critical_limits": dict,
        "reference": dict,
    }
    problems = [
        f"{key} must be a {getattr(kind, '__name__', kind)}"
        for key, kind in wanted.items()
        if not isinstance(document.get(key), kind)
    ]
    if problems:
        return problems
    if tuple(document["system_names"]) != tuple(SYSTEMS):
        seen = ", ".join(map(str, document["system_names"]))
        problems.append(f"system_names must be {', '.join(SYSTEMS)}; got {seen}")
    problems += [
        f"cause_names: {problem}" for problem in check_causes([*map(str, document["cause_names"])])
    ]
    used = document.get("used_biomarkers", NAMES)
    if not isinstance(used, Sequence) or not set(map(str, used)) <= set(NAMES):
        problems.append(f"used_biomarkers must be among {', '.join(NAMES)}; got {used}")
    panel = tuple(row.get("name") for row in document["panel"] if isinstance(row, dict))
    if panel != NAMES:
        problems.append(f"panel must be {', '.join(NAMES)}; got {', '.join(map(str, panel))}")
    first = (TYPICAL_VALUES, *NAMES)
    if tuple(document["contribution_names"][: len(first)]) != first:
        problems.append(f"contribution_names must begin with {', '.join(first)}")
    if len(document["fitted_ages"]) != 2:
        problems.append("fitted_ages must have two numbers, the lowest and the highest")
    problems += find_limit_problems(document["critical_limits"])
    return problems + _list_reference_problems(document["reference"])


def _list_reference_problems(reference: dict[str, Any]) -> list[str]:
    ages = reference.get("age")
    if not isinstance(ages, list) or not ages:
        return ["reference.age must list ages"]
    return [
        f"reference.{sex}.{name} must have {len(ages)} medians"
        for sex in SEXES
        for name in NAMES
        if not isinstance(reference.get(sex), dict)
        or not isinstance(reference[sex].get(name), list)
        or len(reference[sex][name]) != len(ages)
    ]
