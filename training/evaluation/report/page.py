"""Write an evaluation as one self-contained HTML page, and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from henaw.model.checkpoint import write_whole
from henaw.training.evaluation.report.figures import draw_figures
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

TEMPLATES = Path(__file__).parent / "templates"


def format_figure(figure: dict[str, float], digits: int = 3) -> str:
    """A figure with its interval.

    Example:
        >>> format_figure({"value": 0.87019, "low": 0.85, "high": 0.9})
        '0.870 (0.850 to 0.900)'
    """
    # The format option z, which drops the sign of a rounded zero, needs Python 3.11.
    value, low, high = (
        f"{round(figure[key], digits) + 0.0:.{digits}f}" for key in ("value", "low", "high")
    )
    return f"{value} ({low} to {high})".replace("-", "\u2212")


def format_points(figure: dict[str, float]) -> str:
    """A difference of risks with its interval, in percentage points.

    Example:
        >>> format_points({"value": 0.0123, "low": 0.01, "high": 0.02})
        '1.23 (1.00 to 2.00)'
    """
    return format_figure({key: 100 * value for key, value in figure.items()}, 2)


def format_count(count: int | None) -> str:
    """A number of people with its digits in groups of three, or ``withheld``.

    Example:
        >>> format_count(12345), format_count(None)
        ('12 345', 'withheld')
    """
    return "withheld" if count is None else f"{count:,}".replace(",", " ")


def format_signed(value: float, digits: int = 2) -> str:
    """A difference with its sign; the minus is U+2212.

    Example:
        >>> format_signed(0.5)
        '+0.50'
    """
    return f"{round(value, digits) + 0.0:+.{digits}f}".replace("-", "\u2212")


def build_environment() -> Environment:
    """Load the templates, with filters for the report's numbers."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "figure": format_figure,
        "count": format_count,
        "points": format_points,
        "signed": format_signed,
        "percent": lambda share, digits=1: f"{100 * share:.{digits}f} %",
    }
    return environment


def render_report(evaluation: dict[str, Any]) -> str:
    """Write the page, with its figures inside; it loads nothing from elsewhere."""
    template = build_environment().get_template("report.html.jinja")
    return template.render(e=evaluation, figures=draw_figures(evaluation))


def write_report(evaluation: dict[str, Any], out: Path) -> tuple[Path, Path]:
    """Write ``report.html`` and ``evaluation.json`` into a folder; return their paths."""
    page, figures = out / "report.html", out / "evaluation.json"
    text = json.dumps(evaluation, indent=1, allow_nan=False)
    write_whole(page, render_report(evaluation).encode())
    write_whole(figures, text.encode())
    return page, figures
