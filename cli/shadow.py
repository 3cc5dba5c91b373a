"""``henaw shadow``: how far a shadow's answers are from the stable version's, as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

_TIMEOUT_S = 10.0


@dataclass(kw_only=True)
class Pair:
    """What two versions' monitors say of their answers to the same requests.

    Attributes:
        outcomes: requests by outcome, ``same_status`` or ``other_status``.
        buckets: people by the upper bound of their difference, years, cumulative.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    buckets: Counter[float] = field(default_factory=Counter)


@dataclass(kw_only=True)
class Outcomes:
    """What one version answered, to all requests.

    Attributes:
        statuses: requests by status.
        people: whose biological age was answered.
        years: the sum of these ages.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    people: float = 0.0
    years: float = 0.0


@click.command()
@click.option(
    "--metrics",
    "urls",
    metavar="URL",
    multiple=True,
    required=True,
    help="A server's monitor, such as http://127.0.0.1:8083/metrics; give both servers'.",
)
def shadow(urls: Sequence[str]) -> None:
    """Say how far a shadow's answers are from the stable version's to the same requests.

    Of what was counted since the servers' monitors started. Each pair is counted by one of
    both servers, so a report of one alone is of a part of them.
    """
    from prometheus_client.parser import text_string_to_metric_families

    # One that is given twice is counted once.
    texts = [_fetch(url) for url in dict.fromkeys(urls)]
    pairs, versions = sum_up(
        family for text in texts for family in text_string_to_metric_families(text)
    )
    click.echo("\n".join(write_report(pairs, versions)))


def sum_up(
    families: Iterable[Metric],
) -> tuple[dict[tuple[str, str], Pair], dict[str, Outcomes]]:
    """Add up the metrics of all monitors.

    Returns:
        By two versions in order of their names, whichever of both counted; and by version.
    """
    pairs: dict[tuple[str, str], Pair] = {}
    versions: dict[str, Outcomes] = {}
    for sample in (sample for family in families for sample in family.samples):
        labels, value = sample.labels, sample.value
        if sample.name.startswith("henaw_shadow_"):
            first, second = sorted((labels["version"], labels["other"]))
            pair = pairs.setdefault((first, second), Pair())
            if sample.name == "henaw_shadow_compared_total":
                pair.outcomes[labels["outcome"]] += int(value)
            elif sample.name == "henaw_shadow_difference_years_bucket":
                pair.buckets[float(labels["le"])] += int(value)
        elif sample.name == "henaw_requests_total":
            statuses = versions.setdefault(labels["version"], Outcomes()).statuses
            statuses[labels["status"]] += int(value)
        elif sample.name == "henaw_biological_age_years_count":
            versions.setdefault(labels["version"], Outcomes()).people += value
        elif sample.name == "henaw_biological_age_years_sum":
            versions.setdefault(labels["version"], Outcomes()).years += value
    return pairs, versions


def write_report(
    pairs: Mapping[tuple[str, str], Pair], versions: Mapping[str, Outcomes]
) -> list[str]:
    """Return the report's lines."""
    lines = []
    if not pairs:
        lines.append("no pairs compared yet: docs/versions.md says what pairs them")
    for (first, second), pair in sorted(pairs.items()):
        unlike = pair.outcomes["other_status"]
        lines.append(f"{first} and {second}: {pair.outcomes.total()} pairs compared")
        lines.append(f"  other status: {unlike} ({unlike / pair.outcomes.total():.2%})")
        people = max(pair.buckets.values(), default=0)
        if people:
            shares = {"median": 0.5, "p90": 0.9, "p99": 0.99, "largest": 1.0}
            bounds = ", ".join(
                f"{name} {_say(find_bound(pair.buckets, share))}" for name, share in shares.items()
            )
            lines.append(f"  biological age of {people} people differs by: {bounds}")
    for version, seen in sorted(versions.items()):
        statuses = ", ".join(f"{status}: {n}" for status, n in sorted(seen.statuses.items()))
        mean = f"{seen.years / seen.people:.2f} years" if seen.people else "none answered"
        lines.append(
            f"{version}: all requests by status: {statuses or 'none'}; mean biological age: {mean}"
        )
    return lines


def find_bound(buckets: Mapping[float, int], share: float) -> tuple[float, bool]:
    """Return the bound below which a share of the people is, and whether it is one.

    Args:
        buckets: people by upper bound, cumulative, the last bound infinite.
        share: of the people, above 0.

    Example:
        >>> find_bound({0.5: 3, 1.0: 9, float("inf"): 10}, 0.5)
        (1.0, True)
        >>> find_bound({0.5: 3, 1.0: 9, float("inf"): 10}, 1.0)
        (1.0, False)
    """
    people = max(buckets.values())
    bounds = sorted(buckets)
    bound = next(bound for bound in bounds if buckets[bound] >= share * people)
    return (bound, True) if bound < bounds[-1] else (bounds[-2], False)


def _say(bound: tuple[float, bool]) -> str:
    years, is_above = bound
    return f"{'at most' if is_above else 'over'} {years:g} years"


def _fetch(url: str) -> str:
    import requests
    from henaw.model.errors import RuntimeUnavailableError

    try:
        response = requests.get(url, timeout=_TIMEOUT_S)
        response.raise_for_status()
    except requests.RequestException as error:
        raise RuntimeUnavailableError(
            f"expected metrics at {url}, however: {type(error).__name__}: does the server run?"
        ) from error
    return response.text
