"""Time and exactness of the throttle's decisions, beside other libraries.

    pip install pyrate-limiter throttled-py limits; python benchmarks/decide_throttle.py

Four processes ask as fast as they can for tokens of one client, who has 2 000: the script prints
the time of a decision alone and beside three other processes, and how many requests passed. Of the
libraries, only pyrate-limiter has an embedded store (SQLite) that processes can share; limits and
throttled-py are compared over Redis, where there is a redis-server.
"""

from __future__ import annotations

import multiprocessing
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from henaw.handler.configuration import Bucket, ThrottleConfiguration
from henaw.handler.throttle.throttle import Throttle

BURST = 2_000
PROCESSES = 4
ASKED = 1_000
PERIOD_S = 36_000
Admit = Callable[[], bool]


def by_henaw(folder: str, url: str | None = None) -> Admit:
    bucket = Bucket(rate=BURST, period_s=PERIOD_S, burst=BURST)
    configuration = ThrottleConfiguration(anonymous=bucket, redis=url)
    throttle = Throttle(configuration, Path(folder) / "throttle.sqlite3")
    client = throttle.identify({})
    return lambda: throttle.admit(client).allowed


def by_henaw_over_redis(folder: str) -> Admit:
    return by_henaw(folder, f"unix://{folder}/redis.sock")


def by_pyrate_sqlite(folder: str, *, locked: bool = False) -> Admit:
    from pyrate_limiter import Limiter, Rate, SQLiteBucket

    rates = [Rate(BURST, PERIOD_S * 1000)]
    path = f"{folder}/pyrate.sqlite3"
    bucket = SQLiteBucket.init_from_file(rates, db_path=path, use_file_lock=locked)
    limiter = Limiter(bucket)
    return lambda: bool(limiter.try_acquire("client", blocking=False))


def by_pyrate_sqlite_locked(folder: str) -> Admit:
    return by_pyrate_sqlite(folder, locked=True)


def by_pyrate_over_redis(folder: str) -> Admit:
    import redis
    from pyrate_limiter import GCRA, Limiter, Rate, RedisStateStore, StateBucket

    store = RedisStateStore(redis.Redis.from_url(f"unix://{folder}/redis.sock"), "client")
    limiter = Limiter(StateBucket([Rate(BURST, PERIOD_S * 1000)], GCRA(), store))
    return lambda: bool(limiter.try_acquire("client", blocking=False))


def by_throttled_over_redis(folder: str) -> Admit:
    from throttled import RateLimiterType, Throttled, rate_limiter, store

    quota = rate_limiter.per_duration(timedelta(seconds=PERIOD_S), BURST, BURST)
    redis = store.RedisStore(server=f"unix://{folder}/redis.sock")
    throttle = Throttled(key="client", using=RateLimiterType.GCRA.value, quota=quota, store=redis)
    return lambda: not throttle.limit().limited


def by_limits_over_redis(folder: str) -> Admit:
    from limits import RateLimitItemPerSecond, storage, strategies

    limiter = strategies.MovingWindowRateLimiter(
        storage.storage_from_string(f"redis+unix://{folder}/redis.sock")
    )
    item = RateLimitItemPerSecond(BURST, PERIOD_S)
    return lambda: limiter.hit(item, "client")


def ask(
    make: Callable[[str], Admit], folder: str, barrier: object, times: int
) -> tuple[int, list[float]]:
    admit = make(folder)
    barrier.wait()  # type: ignore[attr-defined]
    seconds, allowed = [], 0
    for _ in range(times):
        began = time.perf_counter()
        allowed += admit()
        seconds.append(time.perf_counter() - began)
    return allowed, seconds


def measure(make: Callable[[str], Admit]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        redis = None
        if make.__name__.endswith("redis"):
            if shutil.which("redis-server") is None:
                print(f"{make.__name__}: no redis-server")
                return
            command = ["redis-server", "--port", "0", "--unixsocket", f"{folder}/redis.sock"]
            redis = subprocess.Popen([*command, "--save", ""], stdout=subprocess.DEVNULL)
            time.sleep(1)
        try:
            with multiprocessing.Manager() as manager, multiprocessing.Pool(PROCESSES) as pool:
                arguments = (make, folder, manager.Barrier(PROCESSES), ASKED)
                asked = [pool.apply_async(ask, arguments) for _ in range(PROCESSES)]
                results = [one.get(300) for one in asked]
                alone = pool.apply(ask, (make, folder, manager.Barrier(1), ASKED))[1]
        except Exception as error:
            print(f"{make.__name__}: failed with {type(error).__name__}: {error}")
            return
        finally:
            if redis is not None:
                redis.kill()
                redis.wait()
    together = sorted(second for _, seconds in results for second in seconds)
    print(
        f"{make.__name__}: {sum(allowed for allowed, _ in results)} of {BURST} allowed; "
        f"{statistics.median(alone) * 1e6:.0f} us alone, with {PROCESSES} processes "
        f"{statistics.median(together) * 1e6:.0f} us, p99 "
        f"{together[int(0.99 * len(together))] * 1e6:.0f} us"
    )


def main() -> None:
    for make in (
        by_henaw,
        by_pyrate_sqlite,
        by_pyrate_sqlite_locked,
        by_henaw_over_redis,
        by_pyrate_over_redis,
        by_throttled_over_redis,
        by_limits_over_redis,
    ):
        measure(make)


if __name__ == "__main__":
    main()
