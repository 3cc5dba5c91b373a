"""A token bucket for each client, shared by all workers, and by all hosts that share a Redis.

This module identifies clients, computes costs and writes headers; the buckets are in
:mod:`henaw.handler.throttle.store` and :mod:`henaw.handler.throttle.redis_store`.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from henaw.handler.configuration import Bucket, ThrottleConfiguration
from henaw.handler.throttle.client_keys import ClientKeys
from henaw.handler.throttle.store import (
    SECOND_NS,
    Decision,
    Demand,
    FileStore,
    MemoryStore,
    Store,
    StoreError,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The sender of a request, and its bucket.

    Attributes:
        kind: how it was identified: "keyed", "proxied" or "anonymous".
        digest: its key in the store: SHA-256 of its key or address, which are not kept.
        bucket: its rate and burst.
    """

    kind: str
    digest: bytes
    bucket: Bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """The decision on one request.

    Attributes:
        allowed: whether the request is admitted.
        bucket: the bucket that it draws from.
        remaining: whole tokens left.
        reset_s: seconds until the bucket is full.
        retry_after_s: seconds until the same request would be admitted; 0 if it is.
    """

    allowed: bool
    bucket: Bucket
    remaining: int
    reset_s: int
    retry_after_s: int

    def write_headers(self) -> dict[str, str]:
        """Return the ``RateLimit-*`` headers, and ``Retry-After`` where refused.

        Example:
            >>> bucket = Bucket(rate=10, period_s=60, burst=10)
            >>> refused = Admission(
            ...     allowed=False, bucket=bucket, remaining=0, reset_s=60, retry_after_s=6
            ... )
            >>> refused.write_headers()["Retry-After"]
            '6'
        """
        headers = {
            "RateLimit-Limit": str(self.bucket.burst),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
            "RateLimit-Policy": f"{self.bucket.rate};w={self.bucket.period_s:g}",
        }
        if not self.allowed:
            headers["Retry-After"] = str(self.retry_after_s)
        return headers


class Throttle:
    """Decides which requests are admitted.

    Args:
        configuration: rates, how clients are identified, and the URL of a Redis, if any.
        store: the file with the buckets; None keeps them in this process.
        keys: of clients; None takes those of the configuration.
        report: gets one sentence when a store fails, works again or is recreated.
        clock_ns: nanoseconds since the epoch, the same for all workers.

    Attributes:
        fallbacks: decisions that the next store made because one failed.
    """

    def __init__(
        self,
        configuration: ThrottleConfiguration,
        store: Path | None,
        *,
        keys: ClientKeys | None = None,
        report: Callable[[str], None] = lambda _: None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.fallbacks = 0
        self._configuration = configuration
        self._keys = keys or open_keys(configuration, report)
        self._report = report
        self._clock_ns = clock_ns
        self._last: Store = MemoryStore(clock_ns)
        self._preferred: list[Store] = []
        if configuration.redis is not None:
            # Imported late, because most servers have no Redis.
            from henaw.handler.throttle.redis_store import RedisStore

            self._preferred.append(RedisStore(configuration.redis))
        if store is not None:
            self._preferred.append(FileStore(store, report, clock_ns))
        self._failed_ns: dict[str, int] = {}

    def identify(self, headers: Mapping[str, str]) -> Client:
        """Identify the client by its key, else by the proxy's header, else as anonymous.

        Args:
            headers: the request's, names in lower case.
        """
        configuration = self._configuration
        key = headers.get("x-api-key")
        if key:
            digest = hashlib.sha256(key.encode())
            if self._keys is None or self._keys.knows_digest(digest.hexdigest()):
                return Client(
                    kind="keyed", digest=b"k" + digest.digest(), bucket=configuration.keyed
                )
        proxied = headers.get(configuration.proxy_header) if configuration.proxy_header else None
        if proxied:
            digest = hashlib.sha256(proxied.strip().encode())
            return Client(
                kind="proxied", digest=b"p" + digest.digest(), bucket=configuration.anonymous
            )
        return Client(kind="anonymous", digest=b"a", bucket=configuration.anonymous)

    def find_cost(self, people: float) -> float:
        """Return the tokens that a request for this many people costs, at least one."""
        return max(1.0, people * self._configuration.cost_per_instance)

    def find_most_people(self, client: Client) -> float:
        """Return the most people in one request that a full bucket of the client can pay for."""
        if self._configuration.cost_per_instance == 0:
            return math.inf
        # Division with // is wrong here: 10 // 0.05 is 199.
        return math.floor(client.bucket.burst / self._configuration.cost_per_instance)

    def admit(
        self, client: Client, cost: float = 1.0, *, spent: float = 0.0, gives_back: bool = True
    ) -> Admission:
        """Take ``cost`` tokens from the client's bucket, if it has them.

        Args:
            client: the sender of the request.
            cost: tokens.
            spent: tokens that the same request took before. A retry takes them again.
            gives_back: whether they are given back if the bucket does not have the rest: such a
                refusal changes nothing.
        """
        demand = _make_demand(client, cost)
        decision = (
            Decision(allowed=False, ahead_ns=0)
            if demand.cost_ns > demand.window_ns
            else self._decide([demand])[0]
        )
        if not decision.allowed and spent > 0:
            if gives_back:
                ahead_ns = self._decide([_make_demand(client, -spent)])[0].ahead_ns
                decision = Decision(allowed=False, ahead_ns=max(0, ahead_ns))
            demand = _make_demand(client, cost + spent)
        return _make_admission(client.bucket, demand, decision)

    def admit_all(self, clients: Sequence[Client]) -> list[Admission]:
        """Take one token for each request of a batch, in order; faster than one by one."""
        if not clients:
            return []
        demands = [_make_demand(client, 1.0) for client in clients]
        return [
            _make_admission(client.bucket, demand, decision)
            for client, demand, decision in zip(
                clients, demands, self._decide(demands), strict=True
            )
        ]

    def _decide(self, demands: Sequence[Demand]) -> list[Decision]:
        """Ask the first store that works; a store that failed is skipped for one second."""
        for store in self._preferred:
            failed_ns = self._failed_ns.get(store.name)
            if failed_ns is not None and 0 <= self._clock_ns() - failed_ns < SECOND_NS:
                continue
            try:
                decisions = store.admit(demands)
            except StoreError as error:
                self.fallbacks += len(demands)
                self._failed_ns[store.name] = self._clock_ns()
                if failed_ns is None:
                    self._report(f"throttle: {store.name} failed: {error}; the next store is used")
            else:
                if failed_ns is not None:
                    del self._failed_ns[store.name]
                    self._report(f"throttle: {store.name} is used again")
                return decisions
        return self._last.admit(demands)


def open_keys(
    configuration: ThrottleConfiguration,
    report: Callable[[str], None],
    also: frozenset[str] = frozenset(),
    copy: Path | None = None,
) -> ClientKeys | None:
    """Return the keys that were issued to clients; None where any key is accepted.

    Args:
        configuration: digests of the keys, and a file of more.
        report: gets one sentence when the file was read again.
        also: digests of further keys.
        copy: the file for a copy of the digests.

    Raises:
        ConfigurationError: the file cannot be read, or a line is not a digest.
    """
    if configuration.accepted_keys is None and configuration.accepted_keys_file is None:
        return None
    named = configuration.accepted_keys_file
    path = None if named is None else Path(named)
    fixed = (configuration.accepted_keys or frozenset()) | also
    return ClientKeys(fixed, path, report=report, copy=copy)


def _find_interval_ns(bucket: Bucket) -> int:
    # A whole number, so that a burst is exactly as many intervals as it has tokens.
    return max(1, round(bucket.period_s * SECOND_NS / bucket.rate))


def _make_demand(client: Client, cost: float) -> Demand:
    interval_ns = _find_interval_ns(client.bucket)
    return Demand(client.digest, round(cost * interval_ns), client.bucket.burst * interval_ns)


def _make_admission(bucket: Bucket, demand: Demand, decision: Decision) -> Admission:
    interval_ns = _find_interval_ns(bucket)
    _, cost_ns, window_ns = demand
    ahead_ns = min(decision.ahead_ns, window_ns)
    wait_ns = ahead_ns + cost_ns - window_ns
    return Admission(
        allowed=decision.allowed,
        bucket=bucket,
        remaining=(window_ns - ahead_ns) // interval_ns,
        reset_s=_round_up(ahead_ns),
        retry_after_s=0 if decision.allowed else max(1, _round_up(wait_ns)),
    )


def _round_up(nanoseconds: int) -> int:
    return -(-nanoseconds // SECOND_NS)
