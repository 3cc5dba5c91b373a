"""Seconds, and what the device did meanwhile."""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

_SAMPLING_S = 0.2
_LEAST_RUNS = 3
_MOST_RUNS = 2_000


class Meter:
    """Measures work on a device, and appends each result to a file as a line of JSON.

    Args:
        device: where the work is done.
        results: the file.
        seconds: how long work is repeated; nvidia-smi averages over up to a second.
    """

    def __init__(self, device: str, results: Path, seconds: float) -> None:
        self.device = torch.device(device)
        self.results = results
        self.seconds = seconds

    @property
    def on_cuda(self) -> bool:
        """Whether there is a GPU to watch."""
        return self.device.type == "cuda"

    def tell(self, name: str, **seen: Any) -> None:
        """Append one result."""
        with self.results.open("a") as file:
            file.write(json.dumps({"name": name, **seen}) + "\n")
        print(f"  {name}: {json.dumps(seen)}", flush=True)

    def repeat(self, name: str, work: Callable[[], Any], **more: Any) -> None:
        """Repeat work; report the seconds of the first call, and the others' median and best."""
        began = time.perf_counter()
        work()
        self._wait()
        first = time.perf_counter() - began
        runs: list[float] = []
        with self.watch() as seen:
            until = time.perf_counter() + self.seconds
            while len(runs) < _LEAST_RUNS or time.perf_counter() < until:
                began = time.perf_counter()
                work()
                self._wait()
                runs.append(time.perf_counter() - began)
                if len(runs) >= _MOST_RUNS and not self.on_cuda:
                    break
        del seen["seconds"]
        median, best = statistics.median(runs), min(runs)
        self.tell(name, **more, first_s=first, median_s=median, best_s=best, runs=len(runs), **seen)

    @contextmanager
    def watch(self) -> Iterator[dict[str, Any]]:
        """Fill a dictionary with seconds and, on CUDA, peak memory and utilisation."""
        seen: dict[str, Any] = {}
        if self.on_cuda:
            self._wait()
            torch.cuda.reset_peak_memory_stats(self.device)
        with _sample_utilisation(self.device) as samples:
            began = time.perf_counter()
            yield seen
            self._wait()
            seen["seconds"] = time.perf_counter() - began
        if self.on_cuda:
            seen["peak_memory_mb"] = round(torch.cuda.max_memory_allocated(self.device) / 2**20)
            seen["busy_percent"] = round(statistics.mean(samples)) if samples else None

    def _wait(self) -> None:
        if self.on_cuda:
            torch.cuda.synchronize(self.device)


@contextmanager
def _sample_utilisation(device: torch.device) -> Iterator[list[float]]:
    """Utilisation in percent by nvidia-smi while the block runs; nothing on the CPU."""
    samples: list[float] = []
    program = shutil.which("nvidia-smi")
    if device.type != "cuda" or program is None:
        yield samples
        return
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    query = [
        *(program, "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"),
        f"--id={uuid if uuid.startswith('GPU-') else f'GPU-{uuid}'}",
    ]
    stopped = threading.Event()

    def sample() -> None:
        while not stopped.wait(_SAMPLING_S):
            said = subprocess.run(query, capture_output=True, text=True, check=False).stdout
            if said.strip().isdecimal():
                samples.append(float(said))

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield samples
    finally:
        stopped.set()
        thread.join()
