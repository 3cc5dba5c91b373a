"""CDS Hooks 2.0: one service, ``henaw``, for the hook ``patient-view``.

The client sends the Patient and the newest Observations of each biomarker with its call
(prefetch). Nothing is fetched from its FHIR server: an address and a token in a request would
make this server ask wherever a client says. https://cds-hooks.hl7.org/2.0/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal

from henaw.handler.contract.interfaces import Card, Cards, CardSource, HookService, HookServices
from henaw.handler.contract.types import SERVED_NAME
from henaw.handler.errors import PreconditionError, ProblemList
from henaw.handler.metadata import Metadata
from henaw.handler.request.fhir import read_bundle
from henaw.handler.request.instances import People
from henaw.handler.response.answers import find_warnings
from henaw.handler.wording import show_value
from henaw.model.biomarkers import PANEL
from henaw.model.reliability import find_reasons
from henaw.model.runtime import Outputs

if TYPE_CHECKING:
    from henaw.intake.fhir import FhirPeople

Indicator = Literal["info", "warning", "critical"]

HOOK: Final = "patient-view"
_PATIENT: Final = "patient"
_RESULTS: Final = 5
"""Of each biomarker: the newest may be cancelled, or in a unit that says nothing."""

_LONGEST_SUMMARY: Final = 139
_FIELDS: Final = {"hook": str, "hookInstance": str, "context": dict, "prefetch": dict}
_UUID: Final = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_MARKDOWN: Final = re.compile(r"([\\`*_{}\[\]()<>#|])")


def describe_services() -> HookServices:
    """Return the answer of ``GET /cds-services``."""
    return HookServices(
        [
            HookService(
                hook=HOOK,
                id=SERVED_NAME,
                title="HENAW: biological age from nine blood values",
                description="Shows the biological age of the patient, its percentile and its "
                "cautions. An estimate for research and wellness, not a diagnosis.",
                prefetch={
                    _PATIENT: "Patient/{{context.patientId}}",
                    **{
                        biomarker.name: "Observation?patient={{context.patientId}}&code="
                        + ",".join(
                            f"http://loinc.org|{code}"
                            for code in (*biomarker.loinc, *biomarker.loinc_by_method)
                        )
                        + f"&_sort=-date&_count={_RESULTS}"
                        for biomarker in PANEL
                    },
                },
                usage_requirements="Send the prefetched data: this service asks no FHIR server.",
            )
        ]
    )


def read_call(tree: Mapping[str, Any]) -> FhirPeople:
    """Return the patient of a call.

    Args:
        tree: the decoded body.

    Raises:
        InvalidInputError: it is not a call of this service.
        PreconditionError: the data that the service asks for do not come with it.
    """
    problems = ProblemList()
    for name, kind in _FIELDS.items():
        value = tree.get(name)
        if not isinstance(value, kind) and not (name == "prefetch" and value is None):
            expected = "a string" if kind is str else "an object"
            problems.add(None, name, "type", f"{name} must be {expected}; got {show_value(value)}")
    if problems:
        problems.refuse()
    if tree["hook"] != HOOK:
        problems.add(
            None, "hook", "not_allowed", f"hook must be {HOOK}; got {show_value(tree['hook'])}"
        )
    if not _UUID.fullmatch(tree["hookInstance"]):
        problems.add(None, "hookInstance", "not_allowed", "hookInstance must be a UUID")
    number = tree["context"].get("patientId")
    if not isinstance(number, str) or not number:
        problems.add(None, "context.patientId", "type", "patientId must be the id of a Patient")
    if problems:
        problems.refuse()
    prefetch = tree.get("prefetch") or {}
    patient = prefetch.get(_PATIENT)
    if not isinstance(patient, dict) or patient.get("resourceType") != "Patient":
        raise PreconditionError(
            f'prefetch must have the Patient as "{_PATIENT}": this service asks no FHIR server. '
            "GET /cds-services lists all that it needs."
        )
    if all(biomarker.name not in prefetch for biomarker in PANEL):
        raise PreconditionError(
            "prefetch must have the Observations of at least one biomarker, such as "
            f'"{PANEL[0].name}": null where there are none. GET /cds-services lists all.'
        )
    if patient.get("id", number) != number:
        problems.add(
            None, "prefetch.patient", "not_allowed", "its id must be the patientId of the context"
        )
        problems.refuse()
    results = [prefetch[biomarker.name] for biomarker in PANEL if biomarker.name in prefetch]
    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": resource} for resource in ({**patient, "id": number}, *results)],
    }
    found = read_bundle(bundle)
    if len(found.patients) > 1:
        problems.add(None, "prefetch", "not_allowed", "prefetch must be about one Patient")
        problems.refuse()
    return found


def write_cards(people: People, outputs: Outputs, metadata: Metadata) -> Cards:
    """Return the cards of the patient: a number and its cautions, or why there is none.

    Args:
        people: the patient; nobody where nothing can be computed.
        outputs: the graph's.
        metadata: of the model.
    """
    found: FhirPeople = people.source
    notes = list(found.notes[1:])
    if not len(people):
        texts = [text for texts in found.table.find_problems() for text in texts]
        return _make_card("No biological age: data are missing", texts + notes, metadata)
    reasons = find_reasons(
        outputs,
        people.biomarkers,
        people.age,
        critical_limits=metadata.critical_limits,
        fitted_ages=metadata.fitted_ages,
    ).get(0, [])
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
    warnings = find_warnings(outputs, people.biomarkers, people.age, metadata).get(0, [])
    missing = [b.label for b, is_imputed in zip(PANEL, outputs["imputed"][0], strict=True)
               if is_imputed and b.name in metadata.used_biomarkers]  # fmt: skip
    cautions = [f"{warning.field}: {warning.message}" for warning in warnings]
    if missing:
        cautions.append(f"Not known, and estimated from the others: {', '.join(missing)}")
    told = [
        f"90 % interval: {low:.1f} to {high:.1f} years.",
        f"Age on the day of the newest value: {float(people.age[0]):.1f} years; difference: "
        f"{gap:+.1f} years.",
        f"Percentile {percentile:.0f}: of 100 people of the same age and sex, {percentile:.0f} "
        "have a lower biological age.",
    ]
    return _make_card(
        f"Biological age {age:.1f} years, percentile {percentile:.0f}",
        told + cautions + notes,
        metadata,
        indicator="warning" if warnings else "info",
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
        # What a client wrote must not become Markdown.
        detail="\n".join(f"- {_MARKDOWN.sub(_escape, line)}" for line in lines),
        source=CardSource(f"HENAW {metadata.version}"),
    )
    return Cards([card])


def _escape(match: re.Match[str]) -> str:
    return f"\\{match[0]}"
