"""A fit in batches as a process of its own, for tests that kill it or start several.

    python fit_batches.py PEOPLE CHECKPOINT WORK OUT
    python fit_batches.py --kill PEOPLE CHECKPOINT WORK OUT

With --kill the fit runs in a child that is killed after ever longer times and started
again until it ends by itself; prints how often it was killed.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import safetensors.torch
from henaw.model.checkpoint import load_checkpoint
from henaw.training.cohorts.adjustment import count_adjustments
from henaw.training.configuration import FitConfiguration, LoopConfiguration
from henaw.training.execution.execution import open_execution
from henaw.training.minibatches.loop import MiniBatches
from henaw.training.objective.objective import Objective
from henaw.training.objective.survival_data import SurvivalData, measure_scales

LOOP = LoopConfiguration(batch_size=256, epochs=6, learning_rate=0.2, save_steps=3, log_steps=1)


def fit(people: str, checkpoint: str, work: str, out: str) -> None:
    with open_execution("cpu", Path(work)) as execution:
        crowd = SurvivalData(**safetensors.torch.load_file(people))
        batches = MiniBatches(
            crowd,
            Objective(
                measure_scales(crowd, count_adjustments(None)),
                load_checkpoint(Path(checkpoint)).network,
                FitConfiguration(),
            ),
            LOOP,
            execution,
            seed=3,
            fingerprint="synthetic",
        )
        free = batches.solve()
        if execution.leads:
            safetensors.torch.save_file({"free": free}, out)


def kill_and_repeat(arguments: list[str]) -> None:
    generator = random.Random(5)
    kills, patience = 0, 0.05
    while True:
        child = os.fork()
        if child == 0:
            fit(*arguments)
            os._exit(0)
        end = time.monotonic() + generator.uniform(0.3, 1.0) * patience
        while time.monotonic() < end:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                print(f"killed {kills}")
                sys.exit(os.waitstatus_to_exitcode(status))
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        kills += 1
        patience *= 1.15


if __name__ == "__main__":
    if sys.argv[1] == "--kill":
        kill_and_repeat(sys.argv[2:])
    else:
        fit(*sys.argv[1:])
