"""Cards of CDS Hooks 2.0: the patient's biological age, or why there is none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal

from henaw.handler.contract.interfaces import Card, Cards, CardSource
from henaw.handler.metadata import Metadata
from henaw.handler.request.instances import Instances
from henaw.handler.response.cautions import find_warnings, list_reasons
from henaw.model.biomarkers import PANEL
from henaw.model.runtime import Outputs

if TYPE_CHECKING:
    from henaw.intake.fhir.reader import FhirPeople

Indicator = Literal["info", "warning", "critical"]

_LONGEST_SUMMARY: Final = 139
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()<>#|])")


def write_cards(instances: Instances, outputs: Outputs, metadata: Metadata) -> Cards:
    """Return the cards of the patient: a number and its cautions, or why there is none.

    Args:
        instances: the patient; empty if nothing can be computed.
        outputs: the graph's outputs.
        metadata: the model's metadata.
    """
    found: FhirPeople = instances.source
    notes = found.notes
    if not len(instances):
        texts = [text for texts in found.table.find_problems() for text in texts]
        return _make_card("No biological age: data are missing", texts + notes, metadata)
    reasons = list_reasons(outputs, instances.biomarkers, instances.age, metadata).get(0, [])
    if reasons:
        return _make_card(
            "No biological age: it would not be reliable",
            [reason.message for reason in reasons] + notes,
            metadata,
            indicator="critical" if any(r.code == "critical_value" for r in reasons) else "warning",
        )
    age, percentile = float(outputs["biological_age"][0]), float(outputs["percentile"][0])
    low, high = outputs["interval"][0].tolist()
    gap = float(outputs["age_gap"][0])
    warnings = find_warnings(outputs, instances.biomarkers, instances.age, metadata).get(0, [])
    missing = [b.label for b, is_imputed in zip(PANEL, outputs["imputed"][0], strict=True)
               if is_imputed and b.name in metadata.used_biomarkers]  # fmt: skip
    cautions = [f"{warning.field}: {warning.message}" for warning in warnings]
    if missing:
        cautions.append(
            f"Not measured or not usable, and estimated from the other values: {', '.join(missing)}"
        )
    facts = [
        f"90 % interval: {low:.1f} to {high:.1f} years.",
        f"Age on the day of the newest value: {float(instances.age[0]):.1f} years; difference: "
        f"{gap:+.1f} years.",
        f"Percentile {percentile:.0f}: of 100 people of the same age and sex, {percentile:.0f} "
        "have a lower biological age.",
    ]
    return _make_card(
        f"Biological age {age:.1f} years, percentile {percentile:.0f}",
        facts + cautions + notes,
        metadata,
        indicator="warning" if warnings or notes else "info",
    )


def _make_card(
    summary: str, texts: list[str], metadata: Metadata, *, indicator: Indicator = "info"
) -> Cards:
    lines = [
        *texts,
        f"Model {metadata.name}, version {metadata.version}.",
        "An estimate for research and wellness, not a diagnosis.",
    ]
    card = Card(
        summary=summary[:_LONGEST_SUMMARY],
        indicator=indicator,
        # Text from the client must not be read as Markdown, nor as lines of its own.
        detail="\n".join(f"- {_MARKDOWN.sub(_escape, ' '.join(line.split()))}" for line in lines),
        source=CardSource(f"HENAW {metadata.version}"),
    )
    return Cards([card])


def _escape(match: re.Match[str]) -> str:
    return f"\\{match[0]}"
