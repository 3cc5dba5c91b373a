"""The model card: a checkpoint's header and its evaluations, by the items of TRIPOD+AI.

Item numbers are those of Collins GS et al. (2024), BMJ 385:e078378.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from henaw.model.biomarkers import PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.errors import CohortError
from henaw.training.evaluation.evaluation import FORMAT
from henaw.training.evaluation.measures.estimates import Array, Estimate
from henaw.training.evaluation.measures.follow_up import compare_deaths
from henaw.training.evaluation.report.page import build_environment

Json = dict[str, Any]


def read_evaluation(path: Path) -> Json:
    """Read what ``henaw evaluate`` wrote.

    Raises:
        CohortError: the file does not exist, or is not an evaluation of this format.
    """
    try:
        evaluation = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CohortError(
            str(path), ["there is no such file; write it with `henaw evaluate`"]
        ) from error
    except (OSError, ValueError) as error:
        raise CohortError(str(path), [f"the file is not JSON: {error}"]) from error
    if not isinstance(evaluation, dict) or evaluation.get("henaw_evaluation") != FORMAT:
        raise CohortError(
            str(path),
            [f"the file is not an evaluation of format {FORMAT}; write it with `henaw evaluate`"],
        )
    return evaluation


def check_unseen(checkpoint: Checkpoint, unseen: Sequence[Json]) -> None:
    """Refuse evaluations on people of the fit, or of another model.

    Raises:
        CohortError: listing each such evaluation.
    """
    problems = []
    for evaluation in unseen:
        name = evaluation["model"]["name"]
        surveys = ", ".join(evaluation["cohort"]["surveys"])
        if evaluation["cohort"]["seen"] == "yes":
            problems.append(
                f"{surveys}: {name} was fitted on these people; fit a model without them and "
                "evaluate that one"
            )
        if not name.startswith(checkpoint.name):
            problems.append(
                f"{surveys}: the evaluation must be of {checkpoint.name}, or of a fit by its "
                f"configuration; got {name}"
            )
    main = unseen[0]
    if not main["calibration"]["shown"]:
        problems.append(
            f"{', '.join(main['cohort']['surveys'])}: the first evaluation must have follow-up to "
            f"the horizon; got: {main['calibration']['reason']}"
        )
    if problems:
        raise CohortError("model card", problems)


def find_group(rows: Sequence[Json], group: str) -> Json:
    """The row of a group, by the group's name."""
    return next(row for row in rows if row["group"] == group)


def pool_surveys(unseen: Sequence[Json]) -> Json:
    """Average C, its gains and the slopes over surveys, each weighted by its deaths.

    Surveys have different people, so the variance of the average is the sum of the surveys'
    variances times their squared weights. O/E by own follow-up is that of all deaths together; by
    Kaplan-Meier it is an average over the surveys that were followed to the horizon.
    """
    deaths = np.array([evaluation["cohort"]["deaths"] for evaluation in unseen], np.float64)
    followed = np.array([evaluation["calibration"]["shown"] for evaluation in unseen])

    def average(figures: Sequence[Json], of: Array = deaths) -> Json:
        weights = of / of.sum()
        value = float(sum(w * figure["value"] for w, figure in zip(weights, figures, strict=True)))
        halves = [0.5 * (figure["high"] - figure["low"]) for figure in figures]
        half = float(np.sqrt(np.square(weights * halves).sum()))
        return Estimate(value=value, low=value - half, high=value + half).describe()

    pooled: Json = {"deaths": int(deaths.sum()), "c": {}, "phenoage": {}}
    clocks = [evaluation["clocks"]["phenoage"] for evaluation in unseen]
    for group in ("all", "20-49", "40-69", "65+", "women", "men"):
        rows = [find_group(evaluation["c_index"], group) for evaluation in unseen]
        if all(row["shown"] for row in rows):
            pooled["c"][group] = average([row["c"]["mortality_10y"] for row in rows])
        if all(clock["shown"] for clock in clocks):
            gains = [find_group(clock["groups"], group) for clock in clocks]
            if all(row["shown"] for row in gains):
                pooled["phenoage"][group] = average([row["gain"]["phenoage"] for row in gains])
    own = [evaluation["follow_up"]["groups"][0] for evaluation in unseen]
    pooled["ratio"] = compare_deaths(
        sum(row["observed"] for row in own), sum(row["expected"] for row in own)
    ).describe(3)
    pooled["slope"] = average([row["slope"] for row in own])
    if followed.any():
        long = [evaluation for evaluation in unseen if evaluation["calibration"]["shown"]]
        pooled["kaplan_meier"] = average(
            [evaluation["calibration"]["all_causes"]["overall"]["ratio"] for evaluation in long],
            deaths[followed],
        )
    return pooled


def summarise_card(unseen: Json) -> Json:
    """The card's main figures, for a checkpoint's ``metrics`` and an exported file's metadata."""
    calibration, own = unseen["calibration"], unseen["follow_up"]["groups"][0]
    card: Json = {
        "evaluated_on": {key: unseen["cohort"][key] for key in ("surveys", "people", "deaths")},
        "c_index_10y": {
            row["group"]: row["c"]["mortality_10y"]
            for row in unseen["c_index"]
            if row["shown"] and row["group"] in ("all", "20-49", "40-69", "65+", "women", "men")
        },
        "hazard_ratio_per_sd": unseen["hazard_ratio"][0].get("hazard_ratio"),
        "mean_gap_years": unseen["gap"]["mean"],
        "observed_over_expected_own_follow_up": own["ratio"],
        "hazard_slope": own["slope"],
        "card": "docs/model-card.md",
        "reporting": "TRIPOD+AI",
    }
    if calibration["shown"]:
        card["observed_over_expected"] = calibration["all_causes"]["overall"]["ratio"]
        card["calibration_slope"] = calibration["all_causes"]["slope"]
        card["ipa"] = unseen["prediction_error"]["ipa"]["mortality_10y"]
        card["ici"] = unseen["smoothed"]["ici"]
    return card


def render_card(checkpoint: Checkpoint, unseen: Sequence[Json], reference: Json) -> str:
    """Write the card as Markdown.

    Args:
        checkpoint: the shipped model.
        unseen: evaluations on people who were left out of the fit; the first is the main one.
        reference: an evaluation of the shipped model on the people of its reference, for the
            centre of the gap.

    Raises:
        CohortError: an evaluation is on people of the fit, or of another model.
    """
    check_unseen(checkpoint, unseen)
    template = build_environment().get_template("model-card.md.jinja")
    return template.render(
        model=checkpoint,
        training=checkpoint.training,
        configuration=checkpoint.training.get("configuration", {}),
        main=unseen[0],
        unseen=unseen,
        followed=[evaluation for evaluation in unseen if evaluation["calibration"]["shown"]],
        pooled=pool_surveys(unseen),
        reference=reference,
        interactions=dict(
            zip(
                (" x ".join(pair) for pair in checkpoint.network.interactions),
                checkpoint.tensors["interaction_weight"].tolist(),
                strict=True,
            )
        ),
        parameters=sum(tensor.numel() for tensor in checkpoint.tensors.values()),
        panel=PANEL,
        find_group=find_group,
    )
