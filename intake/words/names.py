"""What the names in a table mean: a biomarker, or a property of a person.

The names of biomarkers are the panel's synonyms. The name of a column may also have the unit.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from henaw.model.biomarkers import INDEX, PANEL, SHARED_SPELLINGS, SPELLINGS
from henaw.model.errors import PanelError
from henaw.model.panel.folding import fold_name, remember

# Names of blood, serum and plasma, in the languages of the synonyms.
BLOOD = (
    *("serum", "plasma", "serum/plasma", "serum or plasma", "serum, plasma or blood", "blood"),
    *("whole blood", "venous blood", "capillary blood", "EDTA", "EDTA blood", "EDTA plasma"),
    *("heparin plasma", "lithium heparin", "li-heparin", "citrate plasma", "SST", "PST"),
    *("ser", "plas", "ser/plas", "ser/plas/bld", "bld", "S", "P", "B"),
    *("Blut", "Vollblut", "EDTA-Blut", "EDTA-Vollblut", "Ven\u00f6ses Blut", "Kapillarblut"),
    *("sang", "sang total", "sang veineux", "s\u00e9rum", "plasma EDTA"),
    *("sangre", "sangre total", "suero", "suero/plasma", "sangue", "sangue intero", "siero"),
    *("bloed", "volbloed", "EDTA-bloed", "veneus bloed"),
    # HL7 table 0070 and SNOMED CT's words for them.
    *("Blood specimen", "Serum specimen", "Plasma specimen", "Venous blood specimen"),
    *("serum or plasma specimen", "specimen from blood"),
)
_SPECIMENS = frozenset(map(fold_name, BLOOD))
# Words that say nothing about what was measured: "Kreatinin im Serum".
FILLING = frozenset(
    {
        *("im", "in", "i", "du", "de", "en", "el", "nel", "level", "test", "value", "is", "ip"),
        *("quantitativ", "quantitative", "quantitatif", "cuantitativa", "quantitativa"),
        *("enzymatisch", "enzymatic", "enzymatique", "enzimatica", "ifcc", "ngsp", "dcct"),
    }
)

PERSON: tuple[str, ...] = (
    *("participant_id", "person_id", "patient_id", "patient", "person", "participant"),
    *("subject_id", "subject", "USUBJID", "subjid", "patid", "pat_id", "patient number"),
    *("patient key", "patient code", "study_id", "record_id", "client_id", "case_id", "person no"),
    *("pseudonym", "pseudo_id", "individual", "person number", "member_id", "empi"),
    *("patientunitstayid", "patientnr", "patient no", "MRN", "medical record number", "SEQN"),
    *("eid", "id"),
    *("Patienten-ID", "Patientennummer", "Patientennr", "Pat-Nr", "Patienten-Nr"),
    *("identifiant patient", "num\u00e9ro patient", "IPP", "NIP", "paciente", "id paciente"),
    *("n\u00famero de paciente", "paziente", "id paziente", "codice paziente", "pati\u00ebnt"),
    *("pati\u00ebntnummer", "pati\u00ebnt-id", "proband", "probanden-id"),
)
AGE: tuple[str, ...] = (
    *("age", "age_years", "age (years)", "age at draw", "age in years", "age_yrs", "age (y)"),
    *("age at test", "age at collection", "age at visit", "age at measurement", "patient age"),
    *("Alter", "Alter (Jahre)", "\u00e2ge", "\u00e2ge (ans)", "edad", "edad (a\u00f1os)"),
    *("et\u00e0", "et\u00e0 (anni)", "leeftijd", "leeftijd (jaar)"),
)
SEX: tuple[str, ...] = (
    *("sex", "gender", "biological sex", "gender_source_value", "Geschlecht", "sexe", "sexo"),
    *("sesso", "geslacht", "patient sex", "patient gender"),
)
FEMALE_WORDS: tuple[str, ...] = (
    *("0", "female", "f"),
    *("woman", "w", "weiblich", "frau", "femme", "f\u00e9minin", "feminin", "mujer"),
    *("femenino", "femmina", "femminile", "donna", "vrouw", "vrouwelijk"),
)
MALE_WORDS: tuple[str, ...] = (
    *("1", "male", "m"),
    *("man", "m\u00e4nnlich", "maennlich", "mann", "homme", "masculin", "hombre", "var\u00f3n"),
    *("varon", "masculino", "maschio", "maschile", "uomo", "mannelijk"),
)
"""Of single letters only f, w and m are here: v is vrouw in one country and varon in another."""


@remember(4096)
def means(spelling: str, names: tuple[str, ...]) -> bool:
    """Whether a spelling is one of some names, in any case and punctuation.

    Example:
        >>> means("Date of Birth", ("date-of-birth",))
        True
    """
    return fold_name(spelling) in {fold_name(name) for name in names}


def find_first(columns: Sequence[str], names: Sequence[str]) -> str | None:
    """Find the column with the earliest of these names; None if no column has any of them."""
    folded = {fold_name(column): column for column in reversed(columns)}
    return next((folded[key] for key in map(fold_name, names) if key in folded), None)


def is_blood(specimen: str) -> bool:
    """Whether a specimen is blood, serum or plasma.

    Example:
        >>> is_blood("EDTA-Vollblut"), is_blood("Urine, 24 h")
        (True, False)
    """
    return fold_name(specimen) in _SPECIMENS


ALL_SPELLINGS: Mapping[str, str] = MappingProxyType({**SHARED_SPELLINGS, **SPELLINGS})
"""Biomarkers by folded name, including names that another quantity has too."""


@remember(65_536)
def find_biomarker(spelling: str, *, with_unit: bool) -> str | None:
    """Find the biomarker that a name means exactly; None for another quantity.

    A specimen in the name must be blood, serum or plasma, and a second name must mean the same.

    Args:
        spelling: the name of a test or of a column.
        with_unit: whether the unit is known, and so tells apart quantities with the same name,
            such as the count and the share of lymphocytes.

    Example:
        >>> find_biomarker("Kreatinin im Serum", with_unit=False)
        'creatinine'
        >>> find_biomarker("AST (SGOT)", with_unit=False)
        'ast'
        >>> find_biomarker("Creatinine, Urine", with_unit=True)
    """
    known = ALL_SPELLINGS if with_unit else SPELLINGS
    whole = known.get(fold_name(spelling))
    if whole is not None:
        return whole
    found = set()
    for part in re.split(r"[,;/|()\[\]:]|\s-\s", spelling):
        words = [word for word in part.split() if fold_name(word) not in FILLING]
        left = " ".join(words)
        if not fold_name(left) or is_blood(left):
            continue
        name = known.get(fold_name(left)) or known.get(
            fold_name(" ".join(word for word in words if len(word) == 1 or not is_blood(word)))
        )
        if name is None:
            return None
        found.add(name)
    return found.pop() if len(found) == 1 else None


class Header(NamedTuple):
    """What the name of a column says.

    Attributes:
        biomarker: the panel's name of the biomarker.
        unit: the unit in the name; None without one.
        problem: why the column cannot be used.
    """

    biomarker: str
    unit: str | None = None
    problem: str | None = None


@remember(4096)
def read_header(column: str) -> Header | None:
    """Read the name of a column; None if it names no biomarker.

    Example:
        >>> read_header("Kreatinin [mg/dl]")
        Header(biomarker='creatinine', unit='mg/dl', problem=None)
        >>> read_header("hba1c_mmol_mol").unit
        'mmol/mol'
        >>> read_header("Lymphocytes").problem
        'another quantity has this name too: write the unit into it, such as "Lymphocytes (%)"'
    """
    whole = SPELLINGS.get(fold_name(column))
    if whole is not None:
        return Header(whole)
    refused = None
    for base, unit in _split_unit(column):
        name = find_biomarker(base, with_unit=True)
        if name is None:
            continue
        try:
            PANEL[INDEX[name]].find_unit(unit)
        except PanelError as error:
            refused = refused or Header(name, problem="; ".join(error.problems))
            continue
        return Header(name, unit)
    plain = find_biomarker(column, with_unit=False)
    if plain is not None:
        return Header(plain)
    shared = find_biomarker(column, with_unit=True)
    if shared is not None:
        return Header(
            shared,
            problem="another quantity has this name too: write the unit into it, such as "
            f'"{column} ({PANEL[INDEX[shared]].unit})"',
        )
    return refused


def _split_unit(column: str) -> list[tuple[str, str]]:
    """Every way to split a unit off the end, or the start, of a column's name."""
    splits = []
    bracket = re.fullmatch(r"(.+?)[\s_]*[(\[{]([^()\[\]{}]+)[)\]}]\s*", column)
    if bracket is not None:
        splits.append((bracket[1], bracket[2]))
    for pattern, order in ((r"(.+?)[\s_]*%", 1), (r"%[\s_]*(?:of\s)?(.+)", 1)):
        match = re.fullmatch(pattern, column.strip())
        if match is not None:
            splits.append((match[order], "%"))
    words = re.split(r"[\s_]+", column.strip())
    for count in range(len(words) - 1, 0, -1):
        base, rest = "_".join(words[:count]), words[count:]
        splits += [(base, "/".join(rest)), (" ".join(words[:count]), " ".join(rest).strip(",;:- "))]
    return splits
