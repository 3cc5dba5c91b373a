"""The comparison as JSON and as Markdown, with HENAW's ratio to the best of the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

OURS = "HENAW"


def write_report(report: dict[str, Any], out: Path) -> str:
    """Add the ratios, write ``report.json`` and ``report.md``, and return the Markdown."""
    servers = report["servers"]
    if OURS in servers and len(servers) > 1:
        report["ratios"] = find_ratios(servers)
    text = _write_markdown(report)
    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    (out / "report.md").write_text(text, encoding="utf-8")
    return text


def find_ratios(servers: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return, by load, HENAW's requests/s and p99 over those of the best other server."""
    ratios = {}
    for load, own in servers[OURS]["loads"].items():
        others = [
            result["loads"][load]
            for name, result in servers.items()
            if name != OURS and load in result["loads"]
        ]
        if others:
            ratios[load] = {
                "requests_s": own["requests_s"] / max(other["requests_s"] for other in others),
                "p99_ms": own["p99_ms"] / min(other["p99_ms"] for other in others),
            }
    return ratios


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
    if "ratios" in report:
        lines += ["", "| load | requests/s, times the best other | p99, times the best other |"]
        lines.append("|---|---:|---:|")
        for load, ratio in report["ratios"].items():
            lines.append(f"| {load} | {ratio['requests_s']:.2f} | {ratio['p99_ms']:.2f} |")
    return "\n".join(lines) + "\n"
