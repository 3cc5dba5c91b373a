"""Write the comparison as JSON and Markdown, with HENAW's ratios to FastAPI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PAIRS = {"HENAW": "FastAPI, 1 process", "HENAW, 2 processes": "FastAPI, 2 processes"}


def write_report(report: dict[str, Any], out: Path) -> str:
    """Add the ratios, write ``report.json`` and ``report.md``, and return the Markdown."""
    servers = report["servers"]
    report["ratios"] = {
        ours: find_ratios(servers[ours], servers[theirs])
        for ours, theirs in PAIRS.items()
        if ours in servers and theirs in servers
    }
    text = _write_markdown(report)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (out / "report.md").write_text(text, encoding="utf-8")
    return text


def find_ratios(ours: dict[str, Any], theirs: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return HENAW's figures over the other server's, by load."""
    return {
        load: {
            figure: own[figure] / theirs["loads"][load][figure]
            for figure in ("requests_s", "p50_ms", "p99_ms")
        }
        for load, own in ours["loads"].items()
        if load in theirs["loads"]
    }


def _write_markdown(report: dict[str, Any]) -> str:
    lines = [
        f"{report['cores']} cores, load generator included.",
        "",
        "| load | server | requests/s | people/s | p50, ms | p99, ms | failed |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    loads = dict.fromkeys(load for s in report["servers"].values() for load in s["loads"])
    for load in loads:
        for server, result in report["servers"].items():
            seen = result["loads"].get(load)
            if seen is not None:
                lines.append(
                    f"| {load} | {server} | {seen['requests_s']:.0f} | {seen['people_s']:.0f}"
                    f" | {seen['p50_ms']:.2f} | {seen['p99_ms']:.2f} | {seen['failed']:.0f} |"
                )
    lines += ["", "| server | first answer after, s | largest process, MB |", "|---|---:|---:|"]
    for server, result in report["servers"].items():
        lines.append(f"| {server} | {result['start_s']:.1f} | {result['memory_mb']:.0f} |")
    for ours, ratios in report["ratios"].items():
        lines += ["", f"| {ours} over {PAIRS[ours]} | requests/s | p50 | p99 |"]
        lines.append("|---|---:|---:|---:|")
        for load, ratio in ratios.items():
            figures = " | ".join(f"{ratio[f]:.2f}" for f in ("requests_s", "p50_ms", "p99_ms"))
            lines.append(f"| {load} | {figures} |")
    return "\n".join(lines) + "\n"
