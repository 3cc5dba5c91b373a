"""Answers of two versions about the same people, and how far they differ."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from henaw.intake.tables.layout import Layout
from henaw.model.errors import ScoringError
from henaw.scoring.henaw import Henaw
from henaw.scoring.reading.inputs import check_units
from henaw.scoring.reading.sources import Source

BOUNDS_YEARS = (0.1, 1.0, 3.0)
"""The report has the share of people whose biological age differs by more than each."""


def compare_models(
    stable: Henaw, candidate: Henaw, source: Source, layout: Layout
) -> dict[str, Any]:
    """Score a table by both versions; 64 bytes of memory per person.

    Returns:
        Aggregates only: ``stable`` and ``candidate`` (name and SHA-256), ``people``, ``refused``
        (people that both refuse), ``flagged_by_one`` (people with a value or an age that only one
        version reports as outside its range), ``reliable_by_one`` (people whose answer only one
        version calls reliable), ``causes_of_one`` (causes of death that only one version answers;
        they are not compared), ``outputs`` by name (years or probabilities: both means, and the
        difference, candidate minus stable) and ``share_beyond_years``.

    Raises:
        ScoringError: the table cannot be read, or none of its people can be scored.
    """
    named = [model.description["cause_names"] for model in (stable, candidate)]
    causes = [name for name in named[0] if name in named[1]]
    places = [[of.index(name) for name in causes] for of in named]
    people = 0
    flagged_by_one = reliable_by_one = 0
    answered: list[npt.NDArray[np.float32]] = []
    for _, batch in source.read_chunks(layout, ()):
        if batch is None:
            continue
        people += batch.num_rows
        inputs = stable.read(batch, layout)
        check_units(inputs, layout)
        inputs = inputs.select(np.flatnonzero(inputs.reasons == 0))
        answers = [model.run(inputs) for model in (stable, candidate)]
        flags = [np.column_stack([one["out_of_range"], one["age_out_of_range"]]) for one in answers]
        flagged_by_one += int((flags[0] != flags[1]).any(axis=1).sum())
        reliable_by_one += int((answers[0]["reliable"] != answers[1]["reliable"]).sum())
        answered.append(
            np.stack(
                [
                    np.column_stack(
                        [
                            one["biological_age"],
                            np.diff(one["interval"], axis=1),
                            one["mortality_10y"],
                            one["cause_risk_10y"][:, own],
                        ]
                    )
                    for one, own in zip(answers, places, strict=True)
                ]
            )
        )
    scored = sum(both.shape[1] for both in answered)
    if not scored:
        raise ScoringError("table", [f"none of its {people} people can be scored"])
    before, after = np.concatenate(answered, axis=1).astype(np.float64)
    difference = after - before
    size = np.abs(difference)
    names = ("biological_age", "interval_width", "mortality_10y", *causes)
    return {
        "stable": {"name": stable.name, "sha256": stable.sha256},
        "candidate": {"name": candidate.name, "sha256": candidate.sha256},
        "people": people,
        "refused": people - scored,
        "flagged_by_one": flagged_by_one,
        "reliable_by_one": reliable_by_one,
        "causes_of_one": sorted(set(named[0]) ^ set(named[1])),
        "outputs": {
            name: {
                "stable_mean": before[:, column].mean(),
                "candidate_mean": after[:, column].mean(),
                "mean_difference": difference[:, column].mean(),
                "mean_absolute": size[:, column].mean(),
                "p99_absolute": np.quantile(size[:, column], 0.99),
                "max_absolute": size[:, column].max(),
            }
            for column, name in enumerate(names)
        },
        "share_beyond_years": {f"{b:g}": (size[:, 0] > b).mean() for b in BOUNDS_YEARS},
    }
