"""Options that several subcommands share."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import click

LOCAL_CONFIGURATION = Path("serve_config/local")
"""Server configuration that is taken where none is named: of this folder, else the installed."""

ARCHIVE = Path("model_store/henaw.mar")
"""What TorchServe serves where nothing else is named."""
SHIPPED = Path("model/weights")
"""What the native engine serves where nothing else is named: of this folder, else installed."""


def find_installed(path: Path) -> Path:
    """A file or folder of the repository: the one here, else the installed one."""
    if path.exists():
        return path
    package = importlib.resources.files(f"henaw.{path.parts[0]}")
    return Path(str(package.joinpath(*path.parts[1:])))


config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    required=True,
    help="YAML configuration, such as training/configs/nhanes.yaml.",
)
cohort_option = click.option(
    "--cohort",
    "cohort_path",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="Parquet or CSV table of participants.",
)
device_option = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda or cuda:N; auto is CUDA where there is one.",
)
run_option = click.option(
    "--run",
    "run",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("run"),
    envvar="HENAW_RUN",
    show_default=True,
    help="Folder for its pid, logs, throttle store and temporary files.",
)
columns_option = click.option(
    "--columns",
    "map_path",
    type=click.Path(path_type=Path),
    help="YAML file that says which column holds what, in which unit; as `henaw data table`.",
)
visit_option = click.option(
    "--visit", type=click.IntRange(min=0), help="UK Biobank instance. Default: the first there is."
)
