"""``henaw shadow``: compare the answers of a stable version and its shadow, while both serve.

The servers compare their answers and count the differences; this command adds up the counts in
both monitors. ``henaw compare`` compares two versions on a table instead.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_TIMEOUT_S = 10.0
_SHARES = {"median": 0.5, "p90": 0.9, "p99": 0.99, "largest": 1.0}


def _make_counters() -> defaultdict[str, Counter[str]]:
    return defaultdict(Counter)


@dataclass(kw_only=True)
class Counts:
    """The sums over all monitors.

    Attributes:
        outcomes: compared requests by the two versions, and by outcome.
        differences: people by the two versions, and by the upper bound of their difference in
            biological age, years, cumulative.
        statuses: all requests by version, and by status.
        ages: the ``count`` and the ``sum`` of all biological ages, years, by version.
    """

    outcomes: defaultdict[str, Counter[str]] = field(default_factory=_make_counters)
    differences: defaultdict[str, Counter[str]] = field(default_factory=_make_counters)
    statuses: defaultdict[str, Counter[str]] = field(default_factory=_make_counters)
    ages: defaultdict[tuple[str, str], float] = field(default_factory=lambda: defaultdict(float))


@click.command()
@click.option(
    "--metrics",
    "urls",
    metavar="URL",
    multiple=True,
    required=True,
    help="A server's monitor, such as http://127.0.0.1:8083/metrics. Give it for both servers.",
)
def shadow(urls: Sequence[str]) -> None:
    """Report how much a shadow's answers differ from the stable version's to the same requests.

    The report covers the time since the monitors of the servers started. Each comparison is
    counted by one of the two servers, so the report needs both.
    """
    from prometheus_client.parser import text_string_to_metric_families

    # Without duplicates, so that no server counts twice.
    texts = [_fetch(url) for url in dict.fromkeys(urls)]
    counts = add_up(family for text in texts for family in text_string_to_metric_families(text))
    click.echo("\n".join(write_report(counts)))


def add_up(families: Iterable[Metric]) -> Counts:
    """Return the sums of the metrics of all monitors."""
    counts = Counts()
    for sample in (sample for family in families for sample in family.samples):
        labels, value = sample.labels, sample.value
        version = labels.get("version", "")
        versions = " and ".join(sorted((version, labels.get("other", ""))))
        match sample.name:
            case "henaw_shadow_compared_total":
                counts.outcomes[versions][labels["outcome"]] += int(value)
            case "henaw_shadow_difference_years_bucket":
                counts.differences[versions][labels["le"]] += int(value)
            case "henaw_requests_total":
                counts.statuses[version][labels["status"]] += int(value)
            case "henaw_biological_age_years_count" | "henaw_biological_age_years_sum":
                counts.ages[version, sample.name.rpartition("_")[2]] += value
    return counts


def write_report(counts: Counts) -> Iterator[str]:
    """Yield the lines of the report."""
    if not counts.outcomes:
        yield "no requests compared yet: docs/versions.md says how to compare"
    for versions, outcomes in sorted(counts.outcomes.items()):
        requests, unlike = outcomes.total(), outcomes["other_status"]
        yield f"{versions}: {requests} requests compared"
        yield f"  other status: {unlike} ({unlike / requests:.2%})"
        buckets = {float(bound): n for bound, n in counts.differences[versions].items()}
        people = max(buckets.values(), default=0)
        if people:
            bounds = ", ".join(f"{name} {find_bound(buckets, n)}" for name, n in _SHARES.items())
            yield f"  biological age of {people} people differs by: {bounds}"
    for version, by_status in sorted(counts.statuses.items()):
        statuses = ", ".join(f"{status}: {n}" for status, n in sorted(by_status.items()))
        answered, years = counts.ages[version, "count"], counts.ages[version, "sum"]
        mean = f"{years / answered:.2f} years" if answered else "none answered"
        yield f"{version}: all requests by status: {statuses}; mean biological age: {mean}"


def find_bound(buckets: Mapping[float, int], share: float) -> str:
    """Return the bound below which a share of the people is, in words.

    Args:
        buckets: people by upper bound, years, cumulative; the last bound is infinite.
        share: of the people, above 0.

    Example:
        >>> find_bound({0.5: 3, 1.0: 9, float("inf"): 10}, 0.5)
        'at most 1 years'
        >>> find_bound({0.5: 3, 1.0: 9, float("inf"): 10}, 1.0)
        'over 1 years'
    """
    people = max(buckets.values())
    *finite, last = sorted(buckets)
    bound = next((bound for bound in finite if buckets[bound] >= share * people), last)
    return f"over {finite[-1]:g} years" if bound == last else f"at most {bound:g} years"


def _fetch(url: str) -> str:
    import requests
    from henaw.model.errors import RuntimeUnavailableError

    try:
        response = requests.get(url, timeout=_TIMEOUT_S)
        response.raise_for_status()
    except requests.RequestException as error:
        raise RuntimeUnavailableError(
            f"{url} does not answer ({type(error).__name__}). Is the server running?"
        ) from error
    return response.text
