"""The result of one check of ``henaw doctor``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """The result of one check.

    Attributes:
        check: the name of the check.
        status: "ok", "warning" (the server works, but not as well as it could) or "problem".
        seen: what was found.
        advice: what to do; empty if the status is "ok".
    """

    check: str
    status: Literal["ok", "warning", "problem"]
    seen: str
    advice: str = ""


def note(check: str, seen: str) -> CheckResult:
    """Return a result with the status "ok"."""
    return CheckResult(check=check, status="ok", seen=seen)


def warn(check: str, seen: str, advice: str) -> CheckResult:
    """Return a result with the status "warning"."""
    return CheckResult(check=check, status="warning", seen=seen, advice=advice)


def fail(check: str, seen: str, advice: str) -> CheckResult:
    """Return a result with the status "problem"."""
    return CheckResult(check=check, status="problem", seen=seen, advice=advice)
