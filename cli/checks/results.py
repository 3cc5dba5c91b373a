"""What ``henaw doctor`` finds: what was seen, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One thing that was looked at.

    Attributes:
        check: what was looked at.
        status: "ok", "warning" (it serves, but not as it could) or "problem".
        seen: what was seen.
        advice: what to do about it; empty where all is well.
    """

    check: str
    status: Literal["ok", "warning", "problem"]
    seen: str
    advice: str = ""


def note(check: str, seen: str) -> CheckResult:
    """All is well."""
    return CheckResult(check=check, status="ok", seen=seen)


def warn(check: str, seen: str, advice: str) -> CheckResult:
    """It serves, but not as it could."""
    return CheckResult(check=check, status="warning", seen=seen, advice=advice)


def fail(check: str, seen: str, advice: str) -> CheckResult:
    """It does not work."""
    return CheckResult(check=check, status="problem", seen=seen, advice=advice)
