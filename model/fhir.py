"""Which FHIR R4 Observations are a biomarker of the panel: LOINC codes and UCUM units.

The one mapping: Python reads it here, a web page from the model's sidecar, where
:func:`describe_fhir` puts it. LOINC (https://loinc.org) tells apart what was measured, and
in what; a code of a look-alike is listed with why it is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from henaw.model.biomarkers import PANEL

LOINC_SYSTEMS: tuple[str, ...] = ("http://loinc.org", "urn:oid:2.16.840.1.113883.6.1")
UCUM_SYSTEMS: tuple[str, ...] = ("http://unitsofmeasure.org", "urn:oid:2.16.840.1.113883.6.8")
STATUSES: tuple[str, ...] = ("final", "amended", "corrected")
"""Of an Observation whose value may be used."""

COMPARATORS: Mapping[str, str] = MappingProxyType(
    {"<": "below", "<=": "below", ">": "above", ">=": "above"}
)


@dataclass(frozen=True, kw_only=True)
class Code:
    """A LOINC code that has to do with the panel.

    Attributes:
        biomarker: the panel's name.
        units: the units it may come in, by the panel's spelling; None: all accepted ones.
        refused: why it is not the biomarker; None where it is.
    """

    biomarker: str
    units: tuple[str, ...] | None = None
    refused: str | None = None


_BY_METHOD: Mapping[str, tuple[str, ...]] = {
    "hba1c": ("17856-6", "4549-2"),  # HPLC, electrophoresis
    "albumin": ("61151-7", "61152-5"),  # bromocresol green, purple
    "lymphocyte_pct": ("26478-8", "737-7"),  # no method, manual count
    "rdw": ("30385-9",),  # no method
    "ast": ("30239-8", "88112-8"),  # with and without pyridoxal phosphate
    "alt": ("1743-4", "1744-2"),
}
"""The same quantity by one method; :attr:`Biomarker.loinc` has those of any method."""

_URINE = "it is measured in urine, not in serum or plasma"
_COUNT = "it is a count per volume; lymphocyte_pct is in %, a share of the leukocytes"
_RDW_SD = (
    "RDW-SD (fL) is another measurement than RDW-CV (%) and cannot be converted without the "
    "mean cell volume"
)
_LOOK_ALIKES: Mapping[str, tuple[str, str]] = {
    "2161-8": ("creatinine", _URINE),
    "14683-7": ("creatinine", _URINE),
    "38483-4": ("creatinine", "it is measured in whole blood, not in serum or plasma"),
    "1754-1": ("albumin", _URINE),
    "14957-5": ("albumin", _URINE),
    "731-0": ("lymphocyte_pct", _COUNT),
    "732-8": ("lymphocyte_pct", _COUNT),
    "26474-7": ("lymphocyte_pct", _COUNT),
    "21000-5": ("rdw", _RDW_SD),
    "30384-2": ("rdw", _RDW_SD),
}

CODES: Mapping[str, Code] = MappingProxyType(
    {
        **{
            code: Code(biomarker=biomarker.name)
            for biomarker in PANEL
            for code in (*biomarker.loinc, *_BY_METHOD.get(biomarker.name, ()))
        },
        # In % the IFCC's own figure is a third lower than the NGSP's that % means elsewhere.
        "59261-8": Code(biomarker="hba1c", units=("mmol/mol",)),
        **{
            code: Code(biomarker=name, refused=reason)
            for code, (name, reason) in _LOOK_ALIKES.items()
        },
    }
)

UNIT_SPELLINGS: Mapping[str, str] = MappingProxyType({"1": "fraction", "": "fraction"})
"""Units as UCUM spells them, where the panel's unit is spelled otherwise."""

_ANNOTATION = r"\{[^{}]*\}"


def spell_unit(ucum: str) -> str:
    """Return a UCUM unit as the panel spells it: UCUM's annotations have no meaning.

    Example:
        >>> spell_unit("%{HemoglobinA1C}"), spell_unit("{ratio}"), spell_unit("[IU]/L")
        ('%', 'fraction', '[IU]/L')
    """
    plain = re.sub(_ANNOTATION, "", ucum).strip()
    return UNIT_SPELLINGS.get(plain, plain)


def describe_fhir() -> dict[str, Any]:
    """The mapping as the sidecar holds it."""
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
        "unit_spellings": dict(UNIT_SPELLINGS),
        "unit_annotation": _ANNOTATION,
    }
