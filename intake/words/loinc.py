"""Which FHIR R4 Observations are a biomarker of the panel, by LOINC code.

Python reads the mapping here; a web page reads it from the model's sidecar, where
:func:`describe_fhir` puts it. A LOINC code (https://loinc.org) says what was measured, and in
which specimen. Codes of similar tests are listed with the reason why they are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from henaw.model.biomarkers import PANEL

LOINC_SYSTEMS: tuple[str, ...] = ("http://loinc.org", "urn:oid:2.16.840.1.113883.6.1")
UCUM_SYSTEMS: tuple[str, ...] = ("http://unitsofmeasure.org", "urn:oid:2.16.840.1.113883.6.8")
STATUSES: tuple[str, ...] = ("final", "amended", "corrected")
"""Statuses of an Observation whose value may be used."""

COMPARATORS: Mapping[str, str] = MappingProxyType(
    {"<": "below", "<=": "below", ">": "above", ">=": "above"}
)


@dataclass(frozen=True, kw_only=True)
class Code:
    """A LOINC code of a biomarker, or of a similar test.

    Attributes:
        biomarker: the panel's name.
        units: the units it may have, by the panel's spelling; None for all accepted ones.
        refused: why it is not the biomarker; None for a code of the biomarker.
    """

    biomarker: str
    units: tuple[str, ...] | None = None
    refused: str | None = None


CODES: Mapping[str, Code] = MappingProxyType(
    {
        **{
            code: Code(biomarker=biomarker.name)
            for biomarker in PANEL
            for code in (*biomarker.loinc, *biomarker.loinc_by_method)
        },
        # An IFCC value in % is a third lower than the NGSP value, which % means elsewhere.
        "59261-8": Code(biomarker="hba1c", units=("mmol/mol",)),
        # This fraction has no scale of its own; a value in % is on the NGSP scale.
        "71875-9": Code(biomarker="hba1c", units=("%",)),
        **{
            code: Code(biomarker=biomarker.name, refused=reason)
            for biomarker in PANEL
            for code, reason in biomarker.loinc_refused.items()
        },
    }
)


def describe_fhir() -> dict[str, Any]:
    """Describe the mapping as JSON values, for the sidecar."""
    return {
        "release": "R4",
        "loinc_systems": list(LOINC_SYSTEMS),
        "ucum_systems": list(UCUM_SYSTEMS),
        "statuses": list(STATUSES),
        "comparators": dict(COMPARATORS),
        "codes": {
            number: {key: value for key, value in asdict(code).items() if value is not None}
            for number, code in CODES.items()
        },
    }
