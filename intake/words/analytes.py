"""Find the biomarker of a laboratory test by its name, LOINC, OMOP concept or local code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from henaw.intake.words.loinc import CODES
from henaw.intake.words.names import find_biomarker, read_header

OMOP_LOINC: Mapping[str, str] = MappingProxyType(
    {
        "3020460": "1988-5",
        "3010156": "30522-7",
        "3004410": "4548-4",
        "3005673": "17856-6",
        "3016723": "2160-0",
        "3020564": "14682-9",
        "3024561": "1751-7",
        "3037511": "736-9",
        "3019897": "788-0",
        "3026910": "2324-2",
        "3013721": "1920-8",
        "3006923": "1742-6",
        "3017250": "2161-8",
        "3004327": "731-0",
    }
)
"""Standard concepts of the OMOP vocabulary, to the LOINC code of each."""

OMOP_UNITS: Mapping[str, str] = MappingProxyType(
    {
        "8751": "mg/L",
        "8840": "mg/dL",
        "8554": "%",
        "8636": "g/L",
        "8713": "g/dL",
        "8749": "umol/L",
        "8645": "U/L",
        "8923": "IU/L",
    }
)
OMOP_OPERATORS: Mapping[str, str] = MappingProxyType(
    {"4171756": "<", "4171754": "<=", "4172704": ">", "4171755": ">=", "4172703": ""}
)
_LOINC = re.compile(r"(?:LOINC[: ]+|http://loinc\.org[|/])?(\d{1,5}-\d)", re.IGNORECASE)


class Analyte(NamedTuple):
    """What a test is; every field is None for a test outside the panel.

    Attributes:
        biomarker: the panel's name of the biomarker.
        units: the units that its code allows; None for all accepted ones.
        problem: why the test is not used.
        unit: the unit in the test's name.
    """

    biomarker: str | None = None
    units: tuple[str, ...] | None = None
    problem: str | None = None
    unit: str | None = None


def find_analyte(
    test: str, code: str, *, local: Mapping[str, str], is_concept: bool = False
) -> Analyte:
    """Find what a test is. A code has priority over a name, and a local code over both.

    Args:
        test: the test's name, or a code.
        code: the test's code, or "".
        local: biomarkers by local code or name.
        is_concept: whether ``code`` is a concept of OMOP. An unknown concept is then another
            test, whatever its name.

    Example:
        >>> find_analyte("Creatinine", "2160-0", local={}).biomarker
        'creatinine'
        >>> find_analyte("Creatinine", "2161-8", local={}).problem
        'LOINC 2161-8: it is measured in urine, not in serum or plasma'
    """
    for text in (code, test):
        if text in local:
            return Analyte(local[text])
    named, unit = find_biomarker(test, with_unit=True) if test else None, None
    header = read_header(test) if test and named is None else None
    if header is not None and header.problem is None:
        named, unit = header.biomarker, header.unit
    for text in (code, test):
        match = _LOINC.fullmatch(text)
        number = match[1] if match else OMOP_LOINC.get(text) if is_concept else None
        known = None if number is None else CODES.get(number)
        if known is not None:
            if known.refused is not None:
                return Analyte(problem=f"LOINC {number}: {known.refused}")
            return Analyte(known.biomarker, known.units)
        if match or (is_concept and text == code and code not in ("", "0")):
            word = "LOINC" if match else "concept"
            doubt = f"{word} {text} is not known as {named}" if named else None
            return Analyte(problem=doubt)
    if named is None and code:
        named = find_biomarker(code, with_unit=True)
    return Analyte(named, unit=unit)
