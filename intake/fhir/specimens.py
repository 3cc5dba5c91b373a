"""The specimens of FHIR data: what an Observation was measured in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from henaw.intake.fhir.patients import read_text
from henaw.intake.words.names import is_blood
from henaw.model.panel.folding import fold_name

_CODES: Mapping[str, str] = MappingProxyType(
    {
        # SNOMED CT.
        **dict.fromkeys(("119297000", "258580003", "122555007", "122554006"), "blood"),
        **dict.fromkeys(("445295009", "446131002", "122552005", "122560006"), "blood"),
        **dict.fromkeys(("119364003", "122592007", "119361006", "119362004"), "serum"),
        **dict.fromkeys(("122575003", "122567006", "276833005", "258574006"), "urine"),
        # HL7 table 0487.
        **dict.fromkeys(("BLD", "BLDV", "BLDC", "BLDA", "WB", "BLOOD"), "blood"),
        **dict.fromkeys(("SER", "PLAS", "PLASMA", "SERPLAS", "PLB", "SERUM"), "serum"),
        **dict.fromkeys(("UR", "URINE", "URC", "URT", "USPEC"), "urine"),
    }
)
_LONGEST = 200
"""Characters of a name or label. A longer one is not read, so it is not taken for blood."""

_NOT_BLOOD = re.compile(
    "urin|harn|orina|cerebrospinal|liquor|csf|stool|feces|faeces|stuhl|saliva|speichel|sputum"
    "|dialys|dialis|pleura|ascit|peritone|synovia|semen|sperma|swab|amniotic"
)


def name_specimen(concept: object) -> str:
    """Name the type of a specimen; "" for blood, and for a type that is not given.

    Example:
        >>> name_specimen({"coding": [{"code": "122575003"}]})
        'urine'
        >>> name_specimen({"text": "Serum"})
        ''
    """
    if not isinstance(concept, Mapping):
        return ""
    names = [read_text(concept.get("text"))]
    codings = concept.get("coding")
    for coding in codings if isinstance(codings, list) else []:
        if isinstance(coding, Mapping):
            code = read_text(coding.get("code")) or ""
            names += [read_text(coding.get("display")), _CODES.get(code, code)]
    given = [name[:_LONGEST] for name in names if name]
    return "" if any(map(is_blood, given)) else next(iter(given), "")


def name_label(label: object) -> str:
    """Name a specimen of which only the label is known, if the label says that it is not blood.

    Example:
        >>> name_label("24 h urine"), name_label("Tube 7")
        ('24 h urine', '')
    """
    text: Any = read_text(label)
    if not text:
        return ""
    if len(text) > _LONGEST:
        return f"{text[:_LONGEST]}..."
    return text if _NOT_BLOOD.search(fold_name(text)) else ""
