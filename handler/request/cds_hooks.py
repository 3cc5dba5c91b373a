"""A call of CDS Hooks 2.0: the service ``henaw`` for the hook ``patient-view``.

The client sends the Patient and the newest Observations of each biomarker with its call
(prefetch). The server fetches nothing: with an address and a token from a request, any client
could make it send requests to any host. https://cds-hooks.hl7.org/2.0/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from henaw.handler.contract.interfaces import HookService, HookServices
from henaw.handler.contract.types import SERVED_NAME
from henaw.handler.errors import PreconditionError, ProblemList
from henaw.handler.request.fhir import read_bundle
from henaw.model.biomarkers import PANEL

if TYPE_CHECKING:
    from henaw.intake.fhir.reader import FhirPeople

HOOK: Final = "patient-view"
_PATIENT: Final = "patient"
_RESULTS: Final = 5
"""How many Observations of each biomarker: the newest may be cancelled or in an unknown unit."""

_FIELDS: Final = {"hook": str, "hookInstance": str, "context": dict, "prefetch": dict}
_UUID: Final = re.compile("[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def describe_services() -> HookServices:
    """Return the answer of ``GET /cds-services``."""
    return HookServices(
        [
            HookService(
                hook=HOOK,
                id=SERVED_NAME,
                title="HENAW: biological age from nine blood values",
                description="Shows the patient's biological age, its percentile and any "
                "warnings. An estimate for research and wellness, not a diagnosis.",
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
                usage_requirements="Send the prefetched data: this service does not query a FHIR "
                "server.",
            )
        ]
    )


def read_call(tree: Mapping[str, Any]) -> FhirPeople:
    """Return the patient of a call.

    Args:
        tree: the decoded body.

    Raises:
        InvalidInputError: the body is not a call of this service.
        PreconditionError: the call lacks the data that the service asks for.
    """
    problems = ProblemList()
    for name, kind in _FIELDS.items():
        value = tree.get(name)
        if not isinstance(value, kind) and not (name == "prefetch" and value is None):
            expected = "a string" if kind is str else "an object"
            problems.add_wrong(None, name, f"{name} must be {expected}", value)
    if problems:
        problems.refuse()
    if tree["hook"] != HOOK:
        problems.add_wrong(None, "hook", f"hook must be {HOOK}", tree["hook"], code="not_allowed")
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
            f'prefetch must contain the Patient as "{_PATIENT}": this service does not query a '
            "FHIR server. GET /cds-services lists what to send."
        )
    if all(biomarker.name not in prefetch for biomarker in PANEL):
        raise PreconditionError(
            "prefetch must contain the Observations of at least one biomarker, such as "
            f'"{PANEL[0].name}", or null for a biomarker without Observations. '
            "GET /cds-services lists what to send."
        )
    if patient.get("id", number) != number:
        problems.add(
            None,
            "prefetch.patient",
            "not_allowed",
            "the Patient must have the id that is in context.patientId",
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
