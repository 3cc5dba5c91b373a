"""The buckets of several hosts: in Redis.

They are the buckets of :mod:`henaw.handler.throttle.store`, but stored as the time until each is
full, and when that was: a Lua number is exact in nanoseconds only over some hundred days. Redis
runs one script at a time and by its own clock, so hosts need neither a lock nor the same time.

Libraries made for this take whole tokens only, and a person in a bulk request costs a part of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import redis
from henaw.handler.throttle.store import Decision, Demand, StoreError
from henaw.model.errors import ConfigurationError
from redis.backoff import NoBackoff
from redis.retry import Retry

_ADMIT: Final = """
local cost, window = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now_us = time[1] * 1000000 + time[2]
local held = redis.call('HMGET', KEYS[1], 'at_us', 'ahead_ns')
local passed_us = now_us - (tonumber(held[1]) or now_us)
local left = (tonumber(held[2]) or 0) - math.max(0, passed_us) * 1000
local ahead = math.min(window, math.max(0, left))
-- The clock was set back: the bucket would stay as it is until that time comes again.
if passed_us < -5000000 then
    ahead = 0
end
if ahead + cost > window then
    return {0, ahead}
end
ahead = math.max(0, ahead + cost)
redis.call('HSET', KEYS[1], 'at_us', string.format('%.0f', now_us),
           'ahead_ns', string.format('%.0f', ahead))
redis.call('PEXPIRE', KEYS[1], math.ceil(ahead / 1000000) + 1000)
return {1, ahead}
"""
_PREFIX: Final = b"henaw:throttle:"
_TIMEOUT_S: Final = 0.1
"""A Redis that is slower than this slows every request; the file is faster."""
_PATIENCE_S: Final = 0.25
"""Also for the host's name, which no other timeout limits."""


class RedisStore:
    """Buckets of all servers that use the same Redis.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://``. It may contain a password, so no
            message repeats it.
    """

    name = "Redis"

    def __init__(self, url: str) -> None:
        try:
            client = redis.Redis.from_url(
                url,
                socket_timeout=_TIMEOUT_S,
                socket_connect_timeout=_TIMEOUT_S,
                # One retry, because Redis closes connections that are idle.
                retry=Retry(NoBackoff(), 1),
            )
            # It makes no connection before the first request, so options are not checked.
            client.connection_pool.make_connection()
        except (ValueError, TypeError):
            # The cause has parts of the URL.
            raise ConfigurationError(
                "handler.yaml",
                [
                    "throttle.redis is not the address of a Redis. In a password, write / as %2F, "
                    "# as %23, ? as %3F and @ as %40"
                ],
            ) from None
        self._client = client
        self._script: Any = client.register_script(_ADMIT)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="henaw-redis")
        self._asked: Future[list[Any]] | None = None

    def admit(self, demands: Sequence[Demand]) -> list[Decision]:
        """Decide, as :class:`henaw.handler.throttle.store.Store` says."""
        if self._asked is not None and not self._asked.done():
            raise StoreError("TimeoutError")
        asked = self._asked = self._thread.submit(self._ask, demands)
        try:
            answers = asked.result(_PATIENCE_S)
            return [Decision(allowed=bool(one), ahead_ns=int(ahead)) for one, ahead in answers]
        # Another kind of error is no reason to answer nobody.
        except Exception as error:
            # The message may name hosts; the URL is not in it.
            raise StoreError(type(error).__name__) from error

    def _ask(self, demands: Sequence[Demand]) -> list[Any]:
        if len(demands) == 1:
            return [self._run(demands[0], self._client)]
        # Each script still runs alone, but one answer has all results.
        with self._client.pipeline(transaction=False) as pipeline:
            for demand in demands:
                self._run(demand, pipeline)
            answers: list[Any] = pipeline.execute()
        return answers

    def _run(self, demand: Demand, client: redis.Redis) -> Any:
        keys, args = [_PREFIX + demand.client], [demand.cost_ns, demand.window_ns]
        return self._script(keys=keys, args=args, client=client)
