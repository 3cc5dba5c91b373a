"""Options that several subcommands share."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

import click

PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)

LOCAL_CONFIGURATION = Path("serve_config/local")
"""Default server configuration: the one in this folder, else the installed one."""

ARCHIVE = Path("model_store/henaw.mar")
"""What TorchServe serves by default."""
SHIPPED = Path("model/weights")
"""What the native engine serves by default: the one in this folder, else the installed one."""


def find_installed(path: Path) -> Path:
    """Find a file or folder of the repository: in this folder, else installed."""
    if path.exists():
        return path
    package = importlib.resources.files(f"henaw.{path.parts[0]}")
    return Path(str(package.joinpath(*path.parts[1:])))


engine_option = click.option(
    "--engine",
    type=click.Choice(("native", "torchserve")),
    default="native",
    envvar="HENAW_ENGINE",
    help="native needs neither torch nor Java; torchserve runs TorchServe with the archive.",
)
server_config_option = click.option(
    "--config",
    "configuration",
    type=FOLDER,
    default=lambda: find_installed(LOCAL_CONFIGURATION),
    show_default=f"{LOCAL_CONFIGURATION}, or the installed one",
    help="Folder with handler.yaml and, for torchserve, config.properties and log4j2.xml.",
)
model_option = click.option(
    "--model",
    "model_path",
    type=PATH,
    help="ONNX file of `henaw export`. Default: the shipped model.",
)
config_option = click.option(
    "--config",
    "config_path",
    type=PATH,
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
    "--device", default="auto", help="auto, cpu, cuda or cuda:N; auto takes CUDA if there is one."
)
run_option = click.option(
    "--run",
    "run",
    type=FOLDER,
    default=Path("run"),
    envvar="HENAW_RUN",
    help="The server's folder: its pid, logs, throttle store and temporary files.",
)
columns_option = click.option(
    "--columns",
    "map_path",
    type=PATH,
    help="YAML file that names the columns and their units, as for `henaw data table`.",
)
visit_option = click.option(
    "--visit",
    type=click.IntRange(min=0),
    help="UK Biobank instance. Default: the first in the table.",
)
