"""Tables with one result per row, each with a trait of real exports.

The sources are public reports of the same trait, the contents our own.
"""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from henaw.intake.words.local_codes import read_local_codes
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ConfigurationError, ScoringError
from henaw.scoring.reading.sources import open_source

Read = Callable[..., tuple[list[dict[str, Any]], list[str]]]

HEAD = "patient_id,age,sex,test,value,unit,date"


def find_values(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The known values of the one person."""
    (row,) = rows
    return {name: row[name] for name in NAMES if row[name] is not None}


TRAITS: dict[str, tuple[str, dict[str, float]]] = {
    "a laboratory's names": (
        f"{HEAD}\na,54,F,C-Reactive Protein Cardiac,1.2,mg/L,2024-03-01\n"
        'a,54,F,"C-Reactive Protein, Cardiac",1.4,mg/L,2024-03-02\n',
        {"crp": 1.4},
    ),
    "German": (
        "Patienten-ID;Geschlecht;Geburtsdatum;Untersuchung;Ergebnis;Einheit;Entnahmedatum\n"
        "1;w;01.03.1970;Kreatinin;0,9;mg/dl;01.03.2024\n"
        "1;w;01.03.1970;GOT (ASAT);24;U/l;01.03.2024\n"
        "1;w;01.03.1970;Gamma-GT;22;U/l;01.03.2024\n"
        "1;w;01.03.1970;Lymphozyten;29;%;01.03.2024\n",
        {"creatinine": 79.578, "ast": 24, "ggt": 22, "lymphocyte_pct": 29},
    ),
    "French": (
        "patient;\u00e2ge;sexe;examen;r\u00e9sultat;unit\u00e9;date de pr\u00e9l\u00e8vement\n"
        "1;54;femme;CRP ultrasensible;1,2;mg/l;01/03/2024\n"
        "1;54;femme;Cr\u00e9atinine;80;\u00b5mol/l;01/03/2024\n"
        "1;54;femme;TGO;24;UI/L;01/03/2024\n",
        {"crp": 1.2, "creatinine": 80, "ast": 24},
    ),
    "Spanish": (
        "paciente;edad;sexo;prueba;resultado;unidades;fecha\n"
        "1;54;mujer;Creatinina;0,9;mg/dL;2024-03-01\n"
        "1;54;mujer;Hemoglobina glicosilada;5,4;%;2024-03-01\n"
        "1;54;mujer;PCR;1,2;mg/L;2024-03-01\n",
        {"creatinine": 79.578, "hba1c": 35.505, "crp": 1.2},
    ),
    "Italian": (
        "paziente;et\u00e0;sesso;esame;risultato;unit\u00e0;data prelievo\n"
        "1;54;femmina;Creatinina;0,9;mg/dL;2024-03-01\n"
        "1;54;femmina;Linfociti;29;%;2024-03-01\n"
        "1;54;femmina;Emoglobina glicata;36;mmol/mol;2024-03-01\n",
        {"creatinine": 79.578, "lymphocyte_pct": 29, "hba1c": 36},
    ),
    "Dutch": (
        "pati\u00ebnt;leeftijd;geslacht;bepaling;uitslag;eenheid;afnamedatum\n"
        "1;54;vrouw;Kreatinine;80;umol/l;2024-03-01\n"
        "1;54;vrouw;Lymfocyten;29;%;2024-03-01\n"
        "1;54;vrouw;Albumine;45;g/l;2024-03-01\n",
        {"creatinine": 80, "lymphocyte_pct": 29, "albumin": 45},
    ),
    "LOINC codes beside local names": (
        "patid,age,sex,raw_lab_name,lab_loinc,result_num,result_unit,specimen_date\n"
        "a,54,F,XYZ 17,2160-0,0.9,mg/dL,2024-03-01\n",
        {"creatinine": 79.578},
    ),
    "LOINC codes as tests": (
        f"{HEAD}\na,54,F,30522-7,1.2,mg/L,2024-03-01\na,54,F,LOINC:77140-2,80,umol/L,2024-03-01\n",
        {"crp": 1.2, "creatinine": 80},
    ),
    # A code counts before a name: this one is of urine.
    "a code that contradicts the name": (
        "patid,age,sex,test,loinc,value,unit,date\na,54,F,Creatinine,2161-8,9,mg/dL,2024-03-05\n"
        "a,54,F,Creatinine,2160-0,0.9,mg/dL,2024-03-01\n",
        {"creatinine": 79.578},
    ),
    "a code of something else": (
        "patid,age,sex,test,loinc,value,unit,date\na,54,F,Creatinine,99999-9,0.8,mg/dL,2024-03-05\n"
        "a,54,F,ALT,1742-6,20,U/L,2024-03-01\n",
        {"alt": 20},
    ),
    # https://github.com/RConsortium/pharma-skills/issues/149
    "CDISC LB": (
        "USUBJID,AGE,SEX,LBTESTCD,LBORRES,LBORRESU,LBSPEC,LBDTC\n"
        "01-1,54,F,CREAT,0.9,mg/dL,SERUM,2024-03-01T08:15\n"
        "01-1,54,F,LYMLE,29,%,BLOOD,2024-03-01T08:15\n"
        "01-1,54,F,CREAT,90,mg/dL,URINE,2024-03-02T08:15\n",
        {"creatinine": 79.578, "lymphocyte_pct": 29},
    ),
    # https://github.com/pharmaverse/admiralmetabolic/pull/110
    "CDISC LB in standard units": (
        "USUBJID,AGE,SEX,LBTESTCD,LBSTRESN,LBSTRESU,LBDTC\n01-1,54,F,HBA1CHGB,5.4,%,2024-03-01\n",
        {"hba1c": 35.505},
    ),
    # https://github.com/MIT-LCP/mimic-code/issues/232
    "MIMIC with its labels": (
        "subject_id,gender,anchor_age,age,itemid,label,fluid,charttime,value,valuenum,valueuom\n"
        "1,F,54,54,50912,Creatinine,Blood,2124-03-01 06:00:00,0.9,0.9,mg/dL\n"
        "1,F,54,54,50912,Creatinine,Blood,2014-03-01 06:00:00,0.9,0.9,mg/dL\n"
        "1,F,54,54,51082,Creatinine,Urine,2014-03-02 06:00:00,90,90,mg/dL\n",
        {"creatinine": 79.578},
    ),
    # https://github.com/fastenhealth/fasten-onprem/issues/441
    "a unit in the cell": (
        "patient_id,age,sex,test,value,date\na,54,F,Albumin,4.5 g/dL,2024-03-01\n",
        {"albumin": 45},
    ),
    "a flag behind the value": (
        f"{HEAD}\na,54,F,RDW,15.4 H,%,2024-03-01\na,54,F,ALT,20*,U/L,2024-03-01\n",
        {"rdw": 15.4, "alt": 20},
    ),
    # https://github.com/MIT-LCP/mimic-code/issues/1922
    "units that differ from row to row": (
        f"{HEAD}\na,54,F,CRP,0.12,mg/dL,2024-03-02\na,54,F,CRP,1.3,mg/L,2024-03-01\n",
        {"crp": 1.2},
    ),
    # https://github.com/MIT-LCP/mimic-code/issues/769
    "a value without a unit": (
        f"{HEAD}\na,54,F,Creatinine,80,,2024-03-02\na,54,F,Albumin,45,g/L,2024-03-02\n",
        {"albumin": 45},
    ),
    "the only unit there is need not be told": (
        f"{HEAD}\na,54,F,RDW,13.1,,2024-03-01\n",
        {"rdw": 13.1},
    ),
    "a count is no share": (
        f"{HEAD}\na,54,F,Lymphocytes,1.9,10*9/L,2024-03-02\na,54,F,Lymphocytes,29,%,2024-03-01\n",
        {"lymphocyte_pct": 29},
    ),
    "RDW-SD is no RDW-CV": (
        f"{HEAD}\na,54,F,RDW,42,fL,2024-03-02\na,54,F,RDW,13.1,%,2024-03-01\n",
        {"rdw": 13.1},
    ),
    "a ratio is neither of its parts": (
        f"{HEAD}\na,54,F,Albumin/Creatinine ratio,3,mg/mmol,2024-03-02\n"
        "a,54,F,ALT,20,U/L,2024-03-01\n",
        {"alt": 20},
    ),
    "names that begin alike": (
        f"{HEAD}\na,54,F,Creatinine clearance,90,mL/min,2024-03-02\n"
        "a,54,F,Creatinine kinase,90,U/L,2024-03-02\na,54,F,ALT,20,U/L,2024-03-01\n",
        {"alt": 20},
    ),
    "the newest usable one": (
        f"{HEAD}\na,54,F,AST,haemolysed,U/L,2024-03-05\na,54,F,AST,24,U/L,2024-03-01\n"
        "a,54,F,AST,26,U/L,2024-02-01\n",
        {"ast": 24},
    ),
    "a number before a limit of the same draw": (
        f"{HEAD}\na,54,F,CRP,<5,mg/L,2024-03-01\na,54,F,hs-CRP,1.2,mg/L,2024-03-01\n",
        {"crp": 1.2},
    ),
    "years before the draw": (
        f"{HEAD}\na,54,F,AST,24,U/L,2024-03-01\na,54,F,ALT,20,U/L,2021-03-01\n",
        {"ast": 24},
    ),
    "a time of day": (
        f"{HEAD}\na,54,F,AST,24,U/L,2024-03-01 08:15\na,54,F,AST,26,U/L,2024-03-01 16:30\n",
        {"ast": 26},
    ),
    # https://github.com/dateutil/dateutil/issues/1224
    "points between day, month and year": (
        f"{HEAD}\na,54,F,AST,24,U/L,12.07.2022\na,54,F,AST,26,U/L,13.06.2022\n",
        {"ast": 24},
    ),
    # https://github.com/dateutil/dateutil/issues/1103
    "one date that shows the order": (
        f"{HEAD}\na,54,F,AST,24,U/L,16/04/2021\na,54,F,AST,26,U/L,05/03/2021\n",
        {"ast": 24},
    ),
    # https://github.com/araddon/dateparse/issues/139
    "names of months": (
        f"{HEAD}\na,54,F,AST,24,U/L,15-Mar-2021\na,54,F,AST,26,U/L,1 Feb 2021\n",
        {"ast": 24},
    ),
    "AM and PM": (
        f"{HEAD}\na,54,F,AST,24,U/L,3/15/2021 1:05 PM\na,54,F,AST,26,U/L,3/15/2021 9:30 AM\n",
        {"ast": 24},
    ),
    "a date that is none": (
        f"{HEAD}\na,54,F,AST,24,U/L,unknown date\na,54,F,AST,26,U/L,2021-02-01\n",
        {"ast": 26},
    ),
    "no date at all": ("patient_id,age,sex,test,value,unit\na,54,F,AST,24,U/L\n", {"ast": 24}),
    "a comparator of its own": (
        "patient_id,age,sex,test,comparator,value,unit,date\na,54,F,AST,=,24,U/L,2024-03-01\n",
        {"ast": 24},
    ),
    "age and sex as tests": (
        "patient_id,test,value,unit,date\na,Age,54,years,\na,Sex,F,,\na,AST,24,U/L,2024-03-01\n",
        {"ast": 24},
    ),
    "title rows before it": (
        f"Cumulative report\nPrinted 2024-03-09\n\n{HEAD}\na,54,F,AST,24,U/L,2024-03-01\n",
        {"ast": 24},
    ),
}


@pytest.mark.parametrize("trait", TRAITS)
def test_a_trait_is_read(read: Read, trait: str) -> None:
    content, expected = TRAITS[trait]
    rows, _ = read(content)
    assert find_values(rows) == pytest.approx(expected, rel=1e-5)
    assert rows[0]["age"] == 54
    assert rows[0]["sex"].casefold()[0] in "fmvw"


def test_limits_stay_limits(read: Read) -> None:
    rows, _ = read(f"{HEAD}\na,54,F,CRP,<0.03,mg/dL,2024-03-01\nb,54,F,CRP,2,mg/L,2024-03-01\n")
    assert [row["crp"] for row in rows] == ["<0.3", "2.0"]


OMOP = (
    "measurement_id,person_id,measurement_concept_id,measurement_date,operator_concept_id,"
    "value_as_number,unit_concept_id,unit_source_value,measurement_source_value\n"
    "1,10,3020460,2024-03-01,4171756,0.3,8751,,x\n"
    "2,10,3004410,2024-03-01,,5.4,8554,%,HbA1c\n"
    "3,10,3017250,2024-03-02,,90,8840,mg/dL,Creatinine\n"
    "4,10,0,2024-03-01,,0.9,0,mg/dL,Creatinine\n"
    "5,10,3023314,2024-03-01,,41,8554,%,HCT\n"
    "6,10,77,2024-03-01,,45,8636,g/L,Albumin\n"
)


# https://github.com/Medical-Event-Data-Standard/meds_etl/issues/35
def test_omop_with_its_person_table(read: Read) -> None:
    person = (
        "person_id,gender_concept_id,year_of_birth,month_of_birth,day_of_birth,birth_datetime\n"
        "9,8507,1950,,,\n10,8532,1970,3,1,\n"
    )
    rows, notes = read(OMOP, people=person)
    assert [row["participant_id"] for row in rows] == ["10"]
    assert (rows[0]["age"], rows[0]["sex"]) == (54, "female")
    expected = {"hba1c": 35.505, "creatinine": 79.578}
    values = find_values(rows)
    assert values.pop("crp") == "<0.3"
    assert values == pytest.approx(expected, rel=1e-5)
    said = "\n".join(notes)
    assert "LOINC 2161-8: it is measured in urine" in said
    assert "'HCT' (1)" in said
    assert "concept 77 is not known as albumin" in said


def test_omop_without_its_person_table_is_refused(read: Read) -> None:
    with pytest.raises(ScoringError, match=r"OMOP's PERSON, or add columns such as age and sex"):
        read(OMOP)


def test_used_and_unused_rows_are_described(read: Read) -> None:
    content = (
        "patient_id,age,sex,test,value,unit,specimen,date,ward\n"
        "a,54,F,Sodium,140,mmol/L,serum,2024-03-01,3\n"
        "a,54,F,Creatinine,9,mg/dL,urine,2024-03-01,3\n"
        "a,54,F,AST,clotted,U/L,serum,2024-03-01,3\n"
        "a,54,F,ALT,20,,serum,2024-03-01,3\n"
        "a,54,F,GGT,22,furlongs,serum,2024-03-01,3\n"
        "a,54,F,CRP,1.2,mg/L,serum,2999-03-01,3\n"
        "a,54,F,Albumin,450,g/L,serum,2024-03-01,3\n"
        "a,54,M,RDW,13,%,serum,2024-03-01,3\n"
    )
    rows, notes = read(content)
    assert find_values(rows) == {"rdw": 13}
    assert rows[0]["sex"] is None
    assert notes == [
        "one result per row; columns: person 'patient_id', test 'test', value 'value', "
        "unit 'unit', specimen 'specimen', time 'date', age 'age', sex 'sex'",
        "columns that are not used: 'ward'",
        "8 rows of results, 1 people",
        "tests outside the panel, by rows: 'Sodium' (1)",
        "not used: 1 rows, ast: 'clotted' means no value",
        "not used: 1 rows, date: '2999-03-01' is in the future",
        "not used: 1 rows, creatinine: the specimen is 'urine', not blood",
        "not used: 1 rows, ggt: unit must be one of U/L, ukat/L, nkat/L; got 'furlongs'",
        "not used: 1 rows, alt: it has no unit; give one of U/L, ukat/L, nkat/L",
        "not used: 1 rows, albumin is outside 10 to 70 g/L",
        "not used: sex of 1 people, which differs between their rows",
    ]


# https://github.com/gbif/pipelines/issues/228
def test_dates_of_two_meanings_are_refused(read: Read) -> None:
    rows = "a,54,F,AST,24,U/L,02/03/2021\na,54,F,AST,26,U/L,04/05/2021\n"
    with pytest.raises(ScoringError, match="may begin with the day or the month; write"):
        read(f"{HEAD}\n{rows}")
    with pytest.raises(ScoringError, match="some begin with the day, some with the month"):
        read(f"{HEAD}\n{rows}a,54,F,AST,26,U/L,14/05/2021\na,54,F,AST,26,U/L,04/15/2021\n")
    born = "patient_id,dob,sex,test,value,unit,date\na,02/03/1970,F,AST,24,U/L,2024-03-01\n"
    with pytest.raises(ScoringError, match="column 'dob'"):
        read(born)


def test_results_of_two_people_are_not_mixed(read: Read) -> None:
    rows, _ = read(
        "patient_id,test,value,unit,date\nA,age,54,,\nA,sex,female,,\nA,CRP,1.2,mg/L,2024-03-01\n"
        "B,age,78,,\nB,sex,male,,\nB,Creatinine,180,umol/L,2024-05-01\n"
    )
    seen = [(r["participant_id"], r["age"], r["sex"], r["crp"], r["creatinine"]) for r in rows]
    assert seen == [("A", 54, "female", 1.2, None), ("B", 78, "male", None, 180)]


def test_several_results_at_the_same_time_are_reported(read: Read) -> None:
    rows, notes = read(
        f"{HEAD}\na,54,F,AST,24,U/L,2024-03-01\na,54,F,AST,30,U/L,2024-03-01\n"
        "a,54,F,ALT,20,U/L,2024-03-01\na,54,F,ALT,20,U/L,2024-03-01\n"
        "a,54,F,ALT,<30,U/L,2024-03-01\na,54,F,ALT,30,U/L,2024-02-01\n"
    )
    assert find_values(rows) == {"ast": 24, "alt": 20}
    assert notes[-1] == "several results at the same time, the lowest is used: ast (1)"


def test_people_without_an_identifier_that_differ_are_refused(read: Read) -> None:
    rows = "x,F,AST,24,U/L,2024-03-01\ny,M,AST,30,U/L,2024-03-01\n"
    with pytest.raises(ScoringError, match=r"sex differ between rows.*'ward'"):
        read(f"ward,sex,test,value,unit,date\n{rows}")


def test_an_age_is_of_the_newest_value(read: Read) -> None:
    rows, _ = read(
        f"{HEAD}\na,56,F,Sodium,140,mmol/L,2026-03-01\na,54,F,AST,24,U/L,2024-03-01\n"
        "a,53,F,AST,26,U/L,2023-03-01\n"
    )
    assert rows[0]["age"] == 54


def test_the_choice_is_the_same_in_any_order(read: Read) -> None:
    lines = [
        f"{person},54,F,{test},{value},U/L,2024-0{month}-01"
        for person in "abc"
        for test in ("AST", "ALT", "GOT")
        for value in ("24", "26", "<30", "haemolysed")
        for month in (1, 2, 3)
    ]
    seen = []
    for seed in range(4):
        random.Random(seed).shuffle(lines)
        rows, _ = read("\n".join([HEAD, *lines]) + "\n")
        seen.append(sorted(rows, key=lambda row: str(row["participant_id"])))
    assert seen[0] == seen[1] == seen[2] == seen[3]
    assert [row["ast"] for row in seen[0]] == [24, 24, 24]


def test_parquet_with_typed_columns(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "person_id": np.array([1, 1, 2], np.int64),
            "age": [54.0, 54.0, np.nan],
            "sex": pd.Categorical(["F", "F", "M"]),
            "test": ["AST", "ALT", "AST"],
            "value": [24.0, np.nan, 30.0],
            "unit": "U/L",
            "date": pd.to_datetime(["2024-03-01", "2024-03-01", "2024-03-02"]),
        }
    )
    table.to_parquet(tmp_path / "in.parquet")
    source = open_source(tmp_path / "in.parquet")
    (batch,) = (batch for _, batch in source.read_chunks(Whole(source.names), ()))  # type: ignore[arg-type]
    assert batch is not None
    rows = batch.to_pylist()
    assert [(r["participant_id"], r["age"], r["ast"], r["alt"]) for r in rows] == [
        ("1", 54, 24, None),
        ("2", None, 30, None),
    ]
    assert "not used: 1 rows, alt: no value" in source.notes


class Whole:
    """Every column."""

    def __init__(self, columns: list[str]) -> None:
        self.columns = tuple(columns)


def test_local_codes_are_read_from_a_file(read: Read, tmp_path: Path) -> None:
    codes = tmp_path / "codes.yaml"
    codes.write_text("CRPH: crp\n4711: albumin\n")
    content = f"{HEAD}\na,54,F,CRPH,1.2,mg/L,2024-03-01\na,54,F,4711,45,g/L,2024-03-01\n"
    rows, _ = read(content, tests=read_local_codes(codes))
    assert find_values(rows) == {"crp": 1.2, "albumin": 45}
    codes.write_text("CRPH: crpp\nX: y\n")
    with pytest.raises(ConfigurationError, match="unknown biomarker 'crpp': did you mean crp"):
        read_local_codes(codes)


def test_a_table_of_people_needs_a_result_a_row(read: Read) -> None:
    with pytest.raises(
        ScoringError, match="--people and --tests are for a table with one result per row"
    ):
        read("age,sex,crp\n54,f,1\n", people="id,age,sex\na,54,F\n")


def test_many_rows_are_folded_while_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("henaw.intake.newest._ENOUGH_TO_FOLD", 100)
    rows = 5000
    order = np.random.default_rng(1).permutation(rows)
    table = pd.DataFrame(
        {
            "person_id": order % 50,
            "age": 54,
            "sex": "F",
            "test": "AST",
            "value": order + 1.0,
            "unit": "U/L",
            "date": pd.Timestamp("2024-01-01") + pd.to_timedelta(order, unit="min"),
        }
    )
    path = tmp_path / "in.csv"
    table.to_csv(path, index=False)
    monkeypatch.setattr("henaw.scoring.reading.table_files._CSV_BLOCK_BYTES", 4096)
    source = open_source(path)
    (batch,) = (batch for _, batch in source.read_chunks(Whole(source.names), ()))  # type: ignore[arg-type]
    assert batch is not None
    seen = {row["participant_id"]: row["ast"] for row in batch.to_pylist()}
    assert seen == {str(person): rows - 50 + person + 1 for person in range(50)}
