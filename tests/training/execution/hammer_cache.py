"""Sixteen processes on one cache; some are killed while they build, write or wait.

    python hammer_cache.py FOLDER

Each reads entries over and over, some of them damaged or outdated on purpose, and exits
with 1 if an array is not the one its name asks for. Prints how many were killed.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
from henaw.training.execution.cache import Cache, Entry

PROCESSES, KILLED, ENTRIES, ROUNDS = 16, 8, 3, 25
SIZE = 20_000


def make_array(entry: int, version: int) -> np.ndarray:
    return np.random.default_rng((entry, version)).random(SIZE)


def hammer(folder: Path, seed: int) -> int:
    generator = random.Random(seed)
    cache = Cache(folder)
    for _ in range(ROUNDS):
        entry, version = generator.randrange(ENTRIES), generator.randrange(2)

        def build(entry: int = entry, version: int = version) -> Entry:
            time.sleep(0.002)
            return Entry(arrays={"values": make_array(entry, version)})

        found = cache.fetch(f"entry-{entry}", {"version": version}, build)
        if not np.array_equal(found.arrays["values"], make_array(entry, version)):
            return 1
        if generator.random() < 0.1:
            damage(folder / f"entry-{entry}.cached", generator)
    return 0


def damage(path: Path, generator: random.Random) -> None:
    """Flip a byte in place, as a failing disk would."""
    try:
        with path.open("r+b") as file:
            file.seek(generator.randrange(path.stat().st_size))
            file.write(bytes([generator.randrange(256)]))
    except FileNotFoundError:
        return


def main() -> None:
    folder = Path(sys.argv[1])
    children = []
    for seed in range(PROCESSES):
        child = os.fork()
        if child == 0:
            os._exit(hammer(folder, seed))
        children.append(child)
    generator = random.Random(77)
    for child in children[:KILLED]:
        time.sleep(generator.uniform(0.0, 0.06))
        os.kill(child, signal.SIGKILL)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    killed = sum(os.WIFSIGNALED(status) for status in statuses)
    wrong = [status for status in statuses if os.WIFEXITED(status) and os.WEXITSTATUS(status)]
    print(f"killed {killed} wrong {len(wrong)}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
