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
├── RuntimeUnavailableError (RuntimeError)
├── RequestError            (ValueError)    henaw.handler
│   ├── MalformedRequestError
│   ├── UnauthorizedError
│   ├── SlowRequestError
│   ├── LongPathError
│   ├── LargeHeadersError
│   ├── TransferCodingError
│   ├── MalformedBodyError
│   ├── NotFoundError
│   ├── MethodNotAllowedError
│   ├── PreconditionError
│   ├── TooLargeError
│   ├── UnsupportedMediaError
│   ├── InvalidInputError
│   ├── ThrottledError
│   └── OverloadedError
├── StoreError              (RuntimeError)  henaw.handler
├── EngineError             (RuntimeError)  henaw.handler
├── WorkerError             (RuntimeError)  henaw.handler
├── NoWorkerError           (RuntimeError)  henaw.handler
└── ServerError             (RuntimeError)  henaw.cli

The errors without a folder are defined here, and ``henaw`` exports them. The others are
defined in the folder that is named. They end a request or a command, and no other folder
catches them.
"""

from __future__ import annotations

from collections.abc import Iterable


class HenawError(Exception):
    """HENAW cannot do what was asked, for a reason that it checked."""


class ProblemListError(HenawError):
    """Something has one or more problems, and the message lists all of them.

    Args:
        subject: what was checked, as the reader knows it (a file, a request).
        problems: one sentence each: what is required, then what was given.

    Example:
        >>> print(ProblemListError("study.yaml", ["members must be 2 to 100; got 1"]))
        study.yaml: 1 problem
          - members must be 2 to 100; got 1
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
    """People cannot be scored, because their table, Bundle or model cannot be used as it is."""


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
    """A public file cannot be fetched, or differs from the one fetched before."""


class RuntimeUnavailableError(HenawError, RuntimeError):
    """This machine cannot provide the runtime that was asked for."""
