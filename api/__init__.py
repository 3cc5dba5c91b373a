"""HENAW: biological age from nine routine blood values, age and sex.

    import henaw

    answer = henaw.predict({"age": 54, "sex": "female", "crp": (0.12, "mg/dL"), "albumin": 45})
    answers = henaw.predict(frame)        # pandas, polars, pyarrow, DuckDB, structured arrays
    model = henaw.Henaw()                 # the shipped model, to keep
    model = henaw.Henaw.load("mine.onnx") # a file of `henaw export`

Every error is a :class:`HenawError`; every warning about people's values is an
:class:`InputWarning`. Heavy packages are imported when they are first used.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from henaw.intake.preflight import InputWarning
    from henaw.intake.tables.layout import BiomarkerColumn, Layout, SexColumn
    from henaw.model.errors import (
        ArtifactError,
        CheckpointError,
        CohortError,
        ConfigurationError,
        DownloadError,
        FitError,
        HenawError,
        PanelError,
        ParityError,
        ProblemListError,
        ProfileError,
        RuntimeUnavailableError,
        ScoringError,
        StudyError,
    )
    from henaw.model.profile import LabProfile
    from henaw.scoring.answering.person_answer import PersonAnswer
    from henaw.scoring.calibration import calibrate
    from henaw.scoring.henaw import Henaw
    from henaw.shipped import explain, predict

    __version__: str

__all__ = [
    "ArtifactError",
    "BiomarkerColumn",
    "CheckpointError",
    "CohortError",
    "ConfigurationError",
    "DownloadError",
    "FitError",
    "Henaw",
    "HenawError",
    "InputWarning",
    "LabProfile",
    "Layout",
    "PanelError",
    "ParityError",
    "PersonAnswer",
    "ProblemListError",
    "ProfileError",
    "RuntimeUnavailableError",
    "ScoringError",
    "SexColumn",
    "StudyError",
    "__version__",
    "calibrate",
    "explain",
    "predict",
]

_OTHER_MODULES: Mapping[str, str] = MappingProxyType(
    {
        "BiomarkerColumn": "henaw.intake.tables.layout",
        "Henaw": "henaw.scoring.henaw",
        "InputWarning": "henaw.intake.preflight",
        "LabProfile": "henaw.model.profile",
        "Layout": "henaw.intake.tables.layout",
        "PersonAnswer": "henaw.scoring.answering.person_answer",
        "SexColumn": "henaw.intake.tables.layout",
        "calibrate": "henaw.scoring.calibration",
        "explain": "henaw.shipped",
        "predict": "henaw.shipped",
    }
)
"""The module of each name; errors are in ``henaw.model.errors``."""


def __getattr__(name: str) -> Any:
    """Import a name at its first use (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'henaw' has no attribute {name!r}")
    if name == "__version__":
        from henaw.model.distribution import read_version

        value: Any = read_version()
    else:
        module = importlib.import_module(_OTHER_MODULES.get(name, "henaw.model.errors"))
        value = getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
