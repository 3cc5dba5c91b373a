"""Compare HENAW's server with FastAPI serving the same ONNX file with the same validation.

    python benchmarks/serve [--out build/bench-serve] [--seconds 4] [--only TEXT]

wrk sends the load from the same machine. Each server runs alone and is warmed up first; figures
are medians of five rounds. Only ratios within one run are comparable.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from load import Load, press, write_loads
from report import write_report
from servers import (
    CHECKPOINT,
    REPOSITORY,
    Start,
    export_shipped,
    make_environment,
    make_peers,
    serve_henaw,
)

_ROUNDS = 5
_WARM_UP_S = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "bench-serve")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--only", default="", help="only servers with one of these prefixes")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        parser.error("wrk is not on the path: apt-get install wrk")

    python = make_environment(REPOSITORY / "build" / "bench-venv")
    with tempfile.TemporaryDirectory(prefix="henaw-bench-") as name:
        folder = Path(name)
        exported, archive = export_shipped(folder)
        loads = write_loads(folder, CHECKPOINT)
        starts: dict[str, Start] = {
            "HENAW": partial(serve_henaw, archive),
            "HENAW, 2 processes": partial(serve_henaw, archive, workers=2),
            "HENAW on TorchServe": partial(serve_henaw, archive, engine="torchserve"),
            **make_peers(python, exported),
        }
        results = {}
        for number, (server, start) in enumerate(starts.items()):
            if server.startswith(tuple(arguments.only.split(",")) if arguments.only else ""):
                own = folder / str(number)
                own.mkdir()
                results[server] = measure(server, start, own, loads, arguments.seconds)
    report = {"cores": len(os.sched_getaffinity(0)), "servers": results}
    print(write_report(report, arguments.out))


def measure(
    server: str, start: Start, folder: Path, loads: list[Load], seconds: float
) -> dict[str, Any]:
    """Start one server, warm it up, and send it every load that it supports."""
    print(f"{server} ...", flush=True)
    # Only HENAW supports the Open Inference Protocol here.
    is_ours = server.startswith("HENAW")
    loads = [load for load in loads if is_ours or not load.name.startswith("arrays")]
    with start(folder) as running:
        press(running.url, loads[2], _WARM_UP_S)
        rounds = [
            {load.name: press(running.url, load, seconds) for load in loads} for _ in range(_ROUNDS)
        ]
        seen = {
            load.name: {
                figure: statistics.median(one[load.name][figure] for one in rounds)
                for figure in rounds[0][load.name]
            }
            for load in loads
        }
        return {"start_s": running.start_s, "memory_mb": running.memory_mb, "loads": seen}


if __name__ == "__main__":
    main()
