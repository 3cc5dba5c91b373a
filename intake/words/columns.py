"""The columns of a table with one result per row."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from henaw.intake.words.names import AGE, PERSON, SEX, find_first, read_header
from henaw.intake.words.ukb_names import parse_column
from henaw.model.biomarkers import PANEL
from henaw.model.panel.folding import fold_name

BIRTH: tuple[str, ...] = (
    *("birth_datetime", "birth date", "date of birth", "birthdate", "DOB", "birthday"),
    *("BRTHDTC", "Geburtsdatum", "Geburtstag", "geb. am", "date de naissance"),
    *("fecha de nacimiento", "data di nascita", "geboortedatum", "Geb.-Datum", "geboren am"),
    *("geb.", "n\u00e9 le", "n\u00e9e le", "n\u00e9(e) le", "nato il", "nata il", "nacido el"),
    *("nacida el", "fecha nac.", "f. nac.", "geboren op", "geb.datum"),
)

PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "person": PERSON,
        "test": (
            *("measurement_source_value", "test", "test_name", "test name", "lab test", "lab_name"),
            *("analyte", "biomarker", "component", "component_name", "parameter"),
            *("test description", "biomarker name", "marker", "marker name", "PARAM", "LBTESTCD"),
            *("LBTEST", "exam", "item", "observation", "observation_name", "measurement", "label"),
            *("name", "description", "long common name", "raw_lab_name", "order_name", "Analyt"),
            *("Untersuchung", "Messgr\u00f6\u00dfe", "Bezeichnung", "Laborwert", "Analyse"),
            *("examen", "libell\u00e9", "param\u00e8tre", "analyse", "prueba", "par\u00e1metro"),
            *("determinaci\u00f3n", "anal\u00edtica", "esame", "analisi", "parametro", "bepaling"),
        ),
        "code": (
            *("loinc", "loinc_code", "loinc code", "lab_loinc", "LBLOINC", "loinc_num", "loincnr"),
            *("measurement_concept_id", "test code", "test_code", "code", "itemid", "analyte_code"),
        ),
        "value": (
            *("value_as_number", "value", "result", "result value", "test result", "LBORRES"),
            *("value_source_value", "valuenum", "numeric value", "result_num", "LBSTRESN"),
            *("LBSTRESC", "value_numeric", "obs_value", "lab_value", "reading", "raw_result"),
            *("AVAL", "labresult", "Wert", "Messwert", "Ergebnis", "Resultat", "r\u00e9sultat"),
            *("valeur", "resultado", "valor", "risultato", "valore", "uitslag", "waarde"),
            *("resultaat",),
        ),
        "comparator": (
            *("operator_concept_id", "comparator", "operator", "value operator", "result_modifier"),
            *("sign", "modifier", "qualifier", "value_prefix", "prefix"),
        ),
        "unit": (
            *("unit_source_value", "unit", "units", "uom", "valueuom", "LBORRESU", "result unit"),
            *("labmeasurenamesystem", "result_units", "unit of measure", "units of measure"),
            *("LBSTRESU", "value_unit", "Einheit", "Ma\u00dfeinheit", "unit\u00e9", "unit\u00e9s"),
            *("unidad", "unidades", "unit\u00e0", "unit\u00e0 di misura", "eenheid"),
        ),
        "unit_concept": ("unit_concept_id",),
        "specimen": (
            *("specimen", "specimen type", "specimen_source", "sample", "sample type", "material"),
            *("fluid", "LBSPEC", "matrix", "system", "Probenmaterial", "Probe", "Probenart"),
            *("Untersuchungsmaterial", "pr\u00e9l\u00e8vement", "nature du pr\u00e9l\u00e8vement"),
            *("\u00e9chantillon", "muestra", "tipo de muestra", "campione", "materiale"),
            *("materiaal",),
        ),
        "time": (
            *("collection date", "collected", "collection datetime", "collection time"),
            *("collected at", "drawn", "draw date", "date drawn", "sample date", "specimen date"),
            *("date of collection", "measurement_datetime", "measurement_date", "charttime"),
            *("LBDTC", "effective", "effective date", "datetime", "date", "date time", "test date"),
            *("lab date", "visit date", "recorded on date", "recorded on", "recorded", "ADTM"),
            *("ADT", "timestamp", "observation date", "result date", "result time", "reported"),
            *("time", "Entnahmedatum", "Abnahmedatum", "Probenentnahme", "Datum", "Messdatum"),
            *("pr\u00e9l\u00e8vement du", "pr\u00e9lev\u00e9 le", "prelievo del", "date collected"),
            *("date de pr\u00e9l\u00e8vement", "date pr\u00e9l\u00e8vement", "fecha"),
            *("fecha de toma", "fecha de extracci\u00f3n", "data", "data prelievo", "afnamedatum"),
            *("datum afname",),
        ),
        "age": AGE,
        "sex": ("gender_concept_id", *SEX),
        "birth": BIRTH,
        "birth_year": (
            *("year_of_birth", "birth year", "YOB", "Geburtsjahr", "ann\u00e9e de naissance"),
            *("a\u00f1o de nacimiento", "anno di nascita", "geboortejaar"),
        ),
        "birth_month": ("month_of_birth", "birth month"),
        "birth_day": ("day_of_birth", "birth day"),
    }
)
"""Names of the column of each part; the first that a table has is used."""

_UNITS_OF = MappingProxyType({"LBSTRESN": "LBSTRESU", "LBSTRESC": "LBSTRESU"})


@functools.cache
def _list_known() -> frozenset[str]:
    nhanes = (variable for biomarker in PANEL for variable, _ in biomarker.nhanes)
    names = (name for part in PARTS.values() for name in part)
    return frozenset(map(fold_name, (*names, *nhanes, "RIDAGEYR", "RIAGENDR")))


def is_known(column: str) -> bool:
    """Whether a column's name is known from any table of people.

    Example:
        >>> is_known("Abnahmedatum"), is_known("hs-CRP (mg/L)"), is_known("Laboratory report of")
        (True, True, False)
    """
    if fold_name(column) in _list_known() or parse_column(column) is not None:
        return True
    return read_header(column) is not None


@dataclass(frozen=True, kw_only=True)
class ResultColumns:
    """The columns of a table with one result per row.

    Attributes:
        parts: column by part, for those of :data:`PARTS` that the table has.
    """

    parts: Mapping[str, str]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read, without repeats."""
        return tuple(dict.fromkeys(self.parts.values()))

    def describe(self, names: Sequence[str]) -> list[str]:
        """Describe what each column was taken for, and which columns are not used."""
        taken = ", ".join(f"{part} {column!r}" for part, column in self.parts.items())
        unused = [repr(name) for name in names if name and name not in self.columns]
        lines = [f"one result per row; columns: {taken}"]
        if unused:
            lines.append(f"columns that are not used: {', '.join(unused)}")
        return lines


def find_result_columns(names: Sequence[str]) -> ResultColumns | None:
    """Find the columns of a table with one result per row; None for another table.

    Example:
        >>> find_result_columns(["Patient", "Test Name", "Result", "Units"]).parts["value"]
        'Result'
        >>> find_result_columns(["age", "sex", "crp"])
    """
    if any(header is not None and header.problem is None for header in map(read_header, names)):
        return None
    found = find_parts(names)
    if "value" not in found or not found.keys() & {"test", "code"}:
        return None
    return ResultColumns(parts=MappingProxyType(found))


def find_parts(names: Sequence[str]) -> dict[str, str]:
    """Find the column of each part; a column is used for one part only."""
    found: dict[str, str] = {}
    left = list(names)
    for part, known in PARTS.items():
        column = find_first(left, known)
        if column is not None:
            found[part] = column
            left.remove(column)
    paired = _UNITS_OF.get(found.get("value", "").upper())
    if paired in names and paired is not None:
        found["unit"] = paired
    return found
