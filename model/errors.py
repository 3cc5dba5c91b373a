"""Every error HENAW raises on purpose.

HenawError
├── ProblemListError
│   ├── PanelError          (ValueError)
│   ├── ConfigurationError  (ValueError)
│   ├── CohortError         (ValueError)
│   ├── ScoringError        (ValueError)
│   ├── StudyError          (ValueError)
│   ├── ProfileError        (ValueError)
│   ├── CheckpointError     (ValueError)
│   ├── ParityError         (RuntimeError)
│   ├── ArtifactError       (RuntimeError)
│   └── DownloadError       (RuntimeError)
├── FitError                (RuntimeError)
└── RuntimeUnavailableError (RuntimeError)
"""

from __future__ import annotations

from collections.abc import Iterable


class HenawError(Exception):
    """Something HENAW checked did not hold."""


class ProblemListError(HenawError):
    """Several things did not hold; the message lists all of them.

    Args:
        subject: what was checked, as the reader knows it (a file, a request).
        problems: one sentence each: what was expected, then what was seen.
    """

    def __init__(self, subject: str, problems: Iterable[str]) -> None:
        self.subject = subject
        self.problems = tuple(problems)
        count = len(self.problems)
        head = f"{subject}: {count} problem{'' if count == 1 else 's'}"
        super().__init__("\n  - ".join([head, *self.problems]))


class PanelError(ProblemListError, ValueError):
    """Biomarker names, units or dimensions differ from the panel."""


class ConfigurationError(ProblemListError, ValueError):
    """A configuration has wrong, missing or unknown entries."""


class CohortError(ProblemListError, ValueError):
    """A cohort table cannot be used as it is."""


class ScoringError(ProblemListError, ValueError):
    """People cannot be scored: their table, Bundle or model cannot be used as it is."""


class StudyError(ProblemListError, ValueError):
    """A stored study cannot be used, or belongs to other inputs."""


class ProfileError(ProblemListError, ValueError):
    """A laboratory's profile cannot be estimated, read or used."""


class CheckpointError(ProblemListError, ValueError):
    """A checkpoint is damaged, of another protocol, or inconsistent with itself."""


class FitError(HenawError, RuntimeError):
    """A fit stopped because its loss or its weights were not finite."""


class ParityError(ProblemListError, RuntimeError):
    """Two runtimes give different answers for the same people."""


class ArtifactError(ProblemListError, RuntimeError):
    """An exported file or archive is incomplete or was changed."""


class DownloadError(ProblemListError, RuntimeError):
    """A public file cannot be fetched, or is not what was fetched before."""


class RuntimeUnavailableError(HenawError, RuntimeError):
    """A runtime was asked for that this machine cannot provide."""
