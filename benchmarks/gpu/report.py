"""Write the report of a run: JSON for programs, Markdown for readers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_TIMES = ("seconds", "first_s", "median_s", "best_s", "epoch_s")


def write_report(report: Mapping[str, Any], folder: Path) -> Path:
    """Write ``report.json`` and ``report.md``; return the path of the latter."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"report.json": json.dumps(report, indent=1), "report.md": format_report(report)}
    for name, text in texts.items():
        beside = folder / f".{name}"
        beside.write_text(text + "\n", encoding="utf-8")
        beside.replace(folder / name)
    return folder / "report.md"


def format_report(report: Mapping[str, Any]) -> str:
    """The report as Markdown."""
    lines = [f"# HENAW on {report['device']}", ""]
    if report["rehearsal"]:
        lines += ["A rehearsal on the CPU: nothing here was measured on a GPU.", ""]
    lines += [f"- {name}: {value}" for name, value in report["versions"].items()]
    lines += [f"- GPU: {gpu}" for gpu in report["gpus"]]
    if report["missing"]:
        lines.append(f"- missing packages: {', '.join(report['missing'])}")
    for name, part in report["parts"].items():
        lines += ["", f"## {name}", "", f"{part['outcome']}, {part['seconds']:.0f} s", ""]
        lines += [_format_result(result) for result in part["results"]]
        if not part["outcome"].startswith("done"):
            lines += ["", "```", part["said"], "```"]
    return "\n".join(lines)


def _format_result(result: Mapping[str, Any]) -> str:
    told = [
        f"{key.removesuffix('_s').replace('_', ' ')} {_format_seconds(value)}"
        if key in _TIMES
        else f"{key.replace('_', ' ')} {value}"
        for key, value in result.items()
        if key != "name"
    ]
    return f"- **{result['name']}**: {', '.join(told)}"


def _format_seconds(seconds: float) -> str:
    return f"{seconds:.2f} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"
