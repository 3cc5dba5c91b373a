"""Traits of files that people have: each is read as a person would, or refused by its name.

The sources, one above each, are public reports of the trait; the contents are our own.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from henaw.intake.tables.layout import describe_layout, find_layout
from henaw.model.biomarkers import NAMES
from henaw.model.errors import ScoringError
from henaw.model.shipped import SIDECAR_FILE, find_shipped
from henaw.scoring.reading.inputs import REASONS, read_inputs
from henaw.scoring.reading.sources import open_source


class Trait(NamedTuple):
    """A file, and what its first person has; other values are missing.

    ``says`` is in what is said of the file, or of the row.
    """

    content: str | bytes
    values: Mapping[str, float] = {}
    age: float | None = 54
    sex: int = 0
    name: str = "in.csv"
    people: str | None = None
    tests: Mapping[str, str] | None = None
    says: str = ""


LONG = "patient,age,sex,test,value,unit,date\n"
A = "a,54,F,"
OMOP = "person_id,measurement_concept_id,measurement_date,value_as_number"
PERSON = "person_id,gender_concept_id,year_of_birth,month_of_birth,day_of_birth\n7,8532,1970,3,1\n"
WIDE = "id,age,sex,"
CRP = {"crp": 1.2}

TRAITS: dict[str, Trait] = {
    # https://github.com/ryanbr/noop/issues/1220
    "WHOOP: names of its columns": Trait(
        '"Biomarker Name",Value,Status,"Recorded On Date"\n'
        '"Alanine Aminotransferase (ALT)","33 U/L",Optimal,2026-01-23\n'
        "Age,54,,\nSex,female,,\n",
        {"alt": 33},
    ),
    # https://github.com/ryanbr/noop/issues/1220
    "WHOOP: a count is no percentage": Trait(
        '"Biomarker Name",Value,"Recorded On Date"\nLymphocytes,"3,490 cells/uL",2026-07-02\n'
        'Albumin,"4.5 g/dL",2026-07-02\nAge,54,\nSex,female,\n',
        {"albumin": 45},
        says="is a count per volume",
    ),
    # https://github.com/ryanbr/noop/issues/1220
    "WHOOP: two hyphens for no value": Trait(
        '"Biomarker Name",Value,"Recorded On Date"\n"C-Reactive Protein",--,--\n'
        "AST,24 U/L,2026-07-02\nAge,54,\nSex,female,\n",
        {"ast": 24},
    ),
    # https://github.com/ryanbr/noop/issues/1220
    "years of two digits": Trait(f"{LONG}{A}CRP,1.2,mg/L,7/2/26\n", says="'7/2/26' is not a date"),
    # https://github.com/glucometers-tech/glucometerutils/issues/4
    "a unit glued to the number": Trait(f"{LONG}{A}CRP,1.2mg/L,,2024-03-01\n", CRP),
    # https://github.com/Medical-Event-Data-Standard/meds_etl/issues/35
    "OMOP: units by concept alone": Trait(
        f"{OMOP},unit_concept_id,unit_source_value\n7,3024561,2024-03-01,4.5,8713,\n"
        "7,3016723,2024-03-01,0.9,8840,\n",
        {"albumin": 45, "creatinine": 79.578},
        people=PERSON,
    ),
    # https://github.com/OHDSI/CommonDataModel/issues/642
    "OMOP: a unit that is not mapped": Trait(
        f"{OMOP},unit_concept_id,unit_source_value\n7,3024561,2024-03-01,45,0,g/L\n",
        {"albumin": 45},
        people=PERSON,
    ),
    # https://github.com/OHDSI/CommonDataModel/issues/642
    "OMOP: no unit at all, and only one is possible": Trait(
        f"{OMOP},unit_concept_id\n7,3019897,2024-03-01,13.1,\n", {"rdw": 13.1}, people=PERSON
    ),
    # https://github.com/OHDSI/CommonDataModel/issues/642
    "OMOP: no unit at all, and several are possible": Trait(
        f"{OMOP},unit_concept_id\n7,3004410,2024-03-01,5.4,\n7,3019897,2024-03-01,13.1,\n",
        {"rdw": 13.1},
        people=PERSON,
        says="hba1c: it has no unit; give one of mmol/mol, %",
    ),
    # https://github.com/OHDSI/ETL-Synthea/issues/35
    "OMOP: the source says more than the concept": Trait(
        f"{OMOP},unit_concept_id,unit_source_value\n7,3020460,2024-03-01,0.12,8751,mg/dL\n",
        CRP,
        people=PERSON,
    ),
    # https://github.com/OHDSI/MIMIC/issues/30
    "OMOP: operators by concept": Trait(
        f"{OMOP},operator_concept_id,unit_concept_id\n7,3020460,2024-03-01,0.3,4171756,8751\n",
        {"crp": 0.3},
        people=PERSON,
    ),
    # https://github.com/OHDSI/CommonDataModel/pull/23
    "OMOP: upper case": Trait(
        f"{OMOP.upper()},UNIT_CONCEPT_ID\n7,3037511,2024-03-01,29,8554\n",
        {"lymphocyte_pct": 29},
        people=PERSON.upper(),
    ),
    # https://github.com/i2b2-omop/i2o-transform/pull/20
    "OMOP: a time of day": Trait(
        "person_id,measurement_concept_id,measurement_datetime,value_as_number,unit_concept_id\n"
        "7,3026910,2024-03-01 08:15:00.000,22,8645\n7,3026910,2024-03-01 20:15:00.000,25,8645\n",
        {"ggt": 25},
        people=PERSON,
    ),
    # https://github.com/OHDSI/ClinicalTrialsWGETL/pull/21
    "OMOP: a concept that is not of the panel": Trait(
        f"{OMOP},unit_concept_id,measurement_source_value\n"
        "7,3004501,2024-03-01,99,8840,Glucose\n7,3013721,2024-03-01,24,8645,AST\n",
        {"ast": 24},
        people=PERSON,
        says="'Glucose' (1)",
    ),
    # https://github.com/CDMFORUM/CDM-GUIDANCE/issues/42
    "PCORnet: its columns, and a modifier in words": Trait(
        "PATID,LAB_LOINC,RESULT_NUM,RESULT_MODIFIER,RESULT_UNIT,SPECIMEN_SOURCE,RESULT_DATE\n"
        "p,1988-5,0.3,LT,mg/L,SER_PLAS,2024-03-01\np,1751-7,4.5,EQ,g/dL,SER_PLAS,2024-03-01\n",
        {"crp": 0.3, "albumin": 45},
        people="PATID,BIRTH_DATE,SEX\np,1970-03-01,F\n",
    ),
    # https://github.com/CDMFORUM/CDM-GUIDANCE/issues/42
    "PCORnet: another specimen": Trait(
        "PATID,LAB_LOINC,RESULT_NUM,RESULT_UNIT,SPECIMEN_SOURCE,RESULT_DATE\n"
        "p,2160-0,9,mg/dL,URINE,2024-03-01\np,1751-7,4.5,g/dL,SER_PLAS,2024-03-01\n",
        {"albumin": 45},
        people="PATID,BIRTH_DATE,SEX\np,1970-03-01,F\n",
        says="the specimen is 'URINE', not blood",
    ),
    # https://github.com/MIT-LCP/mimic-fhir/issues/41
    "MIMIC: a result in the comments alone": Trait(
        "subject_id,itemid,charttime,value,valuenum,valueuom,comments\n"
        "1,50889,2024-03-01 08:00:00,___,,mg/L,NEG.\n1,50862,2024-03-01 08:00:00,4.5,4.5,g/dL,\n",
        {"albumin": 45},
        people="subject_id,gender,age\n1,F,54\n",
        tests={"50889": "crp", "50862": "albumin"},
    ),
    # https://github.com/MIT-LCP/mimic-code/issues/749
    "MIMIC: less than, in capitals": Trait(
        f"{LONG}{A}CRP,LESS THAN 0.3,mg/L,2024-03-01\n", {"crp": 0.3}
    ),
    # https://github.com/MIT-LCP/mimic-code/issues/1282
    "words that are no result": Trait(
        f"{LONG}{A}CRP,sm,mg/L,2024-03-01\n{A}AST,24,U/L,2024-03-01\n",
        {"ast": 24},
        says="crp: 'sm' is not a number",
    ),
    # https://github.com/MIT-LCP/mimic-code/issues/170
    "an age of 300 years": Trait(
        f"{WIDE}crp\na,300,F,1.2\n", CRP, age=300, says="age is outside 18 to 120"
    ),
    # https://github.com/MIT-LCP/eicu-code/issues/127
    "an age that is a limit": Trait(
        f"{WIDE}crp\na,> 89,F,1.2\n", CRP, age=None, says="age is not a number"
    ),
    # https://github.com/MIT-LCP/eicu-code/issues/246
    "eICU: the number beside the text": Trait(
        "patientunitstayid,labname,labresult,labresulttext,labmeasurenamesystem\n"
        "9,CRP,1.2,1.2,mg/L\n9,AST (SGOT),24,24,Units/L\n9,-lymphs,29,29,%\n",
        {"crp": 1.2, "ast": 24, "lymphocyte_pct": 29},
        people="patientunitstayid,gender,age\n9,Female,54\n",
    ),
    # https://github.com/sriramvraman/telivex/issues/99
    "a limit above": Trait(f"{WIDE}crp,alt\na,54,F,> 150,20\n", {"crp": 150, "alt": 20}),
    # https://github.com/taktik/icure-backend/pull/397
    "a limit with a space": Trait(f"{WIDE}ggt\na,54,F,< 10\n", {"ggt": 10}),
    # https://github.com/pharmaverse/admiralmetabolic/pull/110
    "ADLB: the unit in the parameter": Trait(
        "USUBJID,AGE,SEX,PARAMCD,PARAM,AVAL,ADT\n"
        "S1,54,F,AST,Aspartate Aminotransferase (U/L),24,2024-03-01\n"
        "S1,54,F,HBA1CHGB,Hemoglobin A1C/Hemoglobin (%),5.4,2024-03-01\n"
        "S1,54,F,ALB,Albumin (g/L),45,2024-03-01\n",
        {"ast": 24, "hba1c": 35.505, "albumin": 45},
    ),
    # https://github.com/pharmaverse/admiralmetabolic/issues/112
    "SDTM: standard results with their units": Trait(
        "USUBJID,LBTESTCD,LBORRES,LBORRESU,LBSTRESN,LBSTRESU,LBDTC,AGE,SEX\n"
        "S1,CREAT,0.9,mg/dL,79.6,umol/L,2024-03-01,54,F\n",
        {"creatinine": 79.578},
    ),
    # https://github.com/pharmaverse/sdtmchecks/issues/428
    "SDTM: original results alone": Trait(
        "USUBJID,LBTEST,LBORRES,LBORRESU,LBDTC,AGE,SEX\n"
        "S1,Gamma Glutamyl Transferase,22,U/L,2024-03-01,54,F\n",
        {"ggt": 22},
    ),
    # https://github.com/pharmaverse/sdtmchecks/issues/27
    "SDTM: not done": Trait(
        "USUBJID,LBTEST,LBORRES,LBORRESU,LBDTC,AGE,SEX\nS1,CRP,NOT DONE,,2024-03-01,54,F\n"
        "S1,ALT,20,U/L,2024-03-01,54,F\n",
        {"alt": 20},
        says="crp: 'NOT DONE' means no value",
    ),
    # https://github.com/srdc/ignifyr/issues/293
    "a code of one method": Trait(
        f"{LONG}{A}61152-5,45,g/L,2024-03-01\n{A}14682-9,79.6,\u00b5mol/L,2024-03-01\n",
        {"albumin": 45, "creatinine": 79.6},
    ),
    # https://github.com/tryVital/docs/pull/153
    "a code with its name beside it": Trait(
        "patient,age,sex,name,loinc,value,unit\na,54,F,hs-CRP,30522-7,1.2,mg/L\n", CRP
    ),
    # https://forum.loinc.org/t/hba1c-loinc-59261-8-ifcc-rmp-method-but-units/2990
    "the IFCC's code in percent": Trait(
        f"{LONG}{A}59261-8,3.5,%,2024-03-01\n{A}AST,24,U/L,2024-03-01\n",
        {"ast": 24},
        says="hba1c: its code comes in mmol/mol",
    ),
    # https://r.details.loinc.org/LOINC/62388-4.html
    "the code of the Japanese scale": Trait(
        f"{LONG}{A}62388-4,5.0,%,2024-03-01\n{A}AST,24,U/L,2024-03-01\n",
        {"ast": 24},
        says="JDS",
    ),
    # https://loinc.org/96595-4/
    "the code of the DCCT's scale": Trait(
        f"{LONG}{A}96595-4,5.4,%,2024-03-01\n", {"hba1c": 35.505}
    ),
    # https://unitypointfinley.testcatalog.org/show/GLYCO-1
    "a code of a calculation": Trait(f"{LONG}{A}17855-8,5.4,%,2024-03-01\n", {"hba1c": 35.505}),
    # https://www.healthassure.in/codes/loinc-4549-2-hba1c-elph-bld-mass-fraction
    "a code of electrophoresis": Trait(f"{LONG}{A}4549-2,5.4,%,2024-03-01\n", {"hba1c": 35.505}),
    # https://github.com/HL7/Vulcan-schedule-ig
    "a code with its system": Trait(f"{LONG}{A}LOINC:4548-4,5.4,%,2024-03-01\n", {"hba1c": 35.505}),
    # https://github.com/synthetichealth/synthea/issues/310
    "Synthea: observations, and patients beside them": Trait(
        "DATE,PATIENT,ENCOUNTER,CATEGORY,CODE,DESCRIPTION,VALUE,UNITS,TYPE\n"
        "2024-03-01T16:35:19Z,p,e,laboratory,4548-4,"
        "Hemoglobin A1c/Hemoglobin.total in Blood,5.4,%,numeric\n"
        "2024-03-01T16:35:19Z,p,e,laboratory,2160-0,Creatinine [Mass/volume],0.9,mg/dL,numeric\n",
        {"hba1c": 35.505, "creatinine": 79.578},
        people="Id,BIRTHDATE,DEATHDATE,GENDER\np,1970-03-01,,F\n",
    ),
    # https://github.com/mitre/fhir-exercises/pull/24
    "Synthea: rows that are no laboratory's": Trait(
        "DATE,PATIENT,ENCOUNTER,CATEGORY,CODE,DESCRIPTION,VALUE,UNITS,TYPE\n"
        "2024-03-01T16:35:19Z,p,,,QALY,QALY,24,a,numeric\n"
        "2024-03-01T16:35:19Z,p,e,laboratory,1751-7,Albumin,45,g/L,numeric\n",
        {"albumin": 45},
        people="Id,BIRTHDATE,GENDER\np,1970-03-01,F\n",
        says="'QALY' (1)",
    ),
    # https://github.com/dayoonkwon/BioAge/issues/21
    "BioAge: units glued to names": Trait(
        f"{WIDE}albumin_gL,creat_umol,lymph,rdw\na,54,F,45,79.6,29,13.1\n",
        {"rdw": 13.1},
        says="albumin_gL",
    ),
    # https://github.com/elkimek/get-based/issues/41
    "fractions, named as such": Trait(
        f"{WIDE}Lymphocytes (fraction)\na,54,F,0.29\n", {"lymphocyte_pct": 29}
    ),
    # https://github.com/elkimek/get-based/pull/900
    "katals": Trait(f"{WIDE}ALT (ukat/L),AST [nkat/L]\na,54,F,0.5,400\n", {"alt": 30, "ast": 24}),
    # https://github.com/afairgiant/MediKeep/issues/514
    "counts per nanolitre": Trait(
        f"{LONG}{A}Lymphozyten,1.9,/nl,2024-03-01\n{A}CRP,1.2,mg/l,2024-03-01\n",
        CRP,
        says="is a count per volume",
    ),
    # https://github.com/afairgiant/MediKeep/pull/284
    "names with the laboratory's commas": Trait(
        f'{LONG}a,54,F,"ALBUMIN, SERUM",4.5,g/dL,2024-03-01\n', {"albumin": 45}
    ),
    # https://github.com/DIGI-UW/OpenELIS-Global-2/issues/3508
    "columns that are empty": Trait(f"{WIDE}crp,albumin,ggt,sodium\na,54,F,1.2,,,\n", CRP),
    # https://github.com/jasp-stats/jasp-desktop/issues/403
    "thousands with points": Trait(
        "id;age;sex;ggt;crp\na;54;F;1.000,92;1,2\n", {"ggt": 1000.92, "crp": 1.2}
    ),
    # https://github.com/markummitchell/engauge-digitizer/issues/364
    "quoted decimal commas": Trait(
        'id,age,sex,crp,ggt\na,54,F,"1,23","22,5"\n', {"crp": 1.23, "ggt": 22.5}
    ),
    # https://github.com/ryancramerdesign/ImportPagesCSV/pull/9
    "semicolons, without decimals": Trait("id;age;sex;ggt\na;54;F;22\n", {"ggt": 22}),
    # https://github.com/Aternus/csv-to-xlsx/issues/27
    "decimal commas in a long table": Trait(
        "patient;age;sex;test;value;unit\na;54;F;CRP;1,25;mg/L\n", {"crp": 1.25}
    ),
    # https://github.com/ctqvva/JugglucoNG/pull/144
    "tabs in a file named .txt": Trait("id\tage\tsex\tcrp\na\t54\tF\t1.2\n", CRP, name="in.txt"),
    # https://github.com/GlycemicGPT/GlycemicGPT/pull/806
    "a unit in the header's brackets": Trait(
        f"{WIDE}CRP (mg/dL),HbA1c [%]\na,54,F,0.12,5.4\n", {"crp": 1.2, "hba1c": 35.505}
    ),
    # https://github.com/langcog/metalab2/issues/60
    "a file that a spreadsheet saved again": Trait(
        '"id";"age";"sex";"crp"\r\n"a";"54";"F";"1,2"\r\n;;;\r\n', CRP
    ),
    # https://github.com/KITPraktomatTeam/Praktomat/issues/14
    "a separator inside of quotes": Trait(
        'id;age;sex;note;crp\na;54;F;"fasting; morning";1,2\n', CRP
    ),
    # https://github.com/lucascamillomd/pyaging/issues/9
    "white cells beside them are not used": Trait(
        f"{WIDE}wbc,lymphocyte_pct\na,54,F,6.0,29\n", {"lymphocyte_pct": 29}
    ),
    # https://github.com/MIT-LCP/eicu-code/issues/102
    "a Greek letter": Trait(f"{WIDE}\u03b3-GT\na,54,F,22\n", {"ggt": 22}),
    # https://github.com/mercedes-benz/DnA/pull/722
    "German: sexes and decimals": Trait(
        "Patienten-ID;Alter;Geschlecht;CRP (mg/l);GOT (U/l)\n1;54;weiblich;1,2;24\n",
        {"crp": 1.2, "ast": 24},
    ),
    # https://github.com/mercedes-benz/DnA/pull/722
    "German: dates with points and a time": Trait(
        "Patient;Geburtsdatum;Geschlecht;Untersuchung;Ergebnis;Einheit;Entnahmedatum\n"
        "1;01.03.1970;w;Kreatinin;0,9;mg/dl;01.03.2024 08:15\n",
        {"creatinine": 79.578},
    ),
    # https://github.com/erikdarlingdata/PerformanceMonitor/issues/240
    "Italian: a comma for decimals and another separator": Trait(
        "id|et\u00e0|sesso|Creatinina (mg/dL)\n1|54|F|0,9\n", {"creatinine": 79.578}
    ),
    # https://github.com/jverein/jverein/issues/53
    "a point that may part thousands": Trait(
        "id;age;sex;ggt;crp\na;54;F;1.079;1,2\n", {"ggt": 1079, "crp": 1.2}
    ),
    # https://github.com/mdsol/rwslib/issues/112
    "names of fields in capitals": Trait(
        "ID,AGE,SEX,CRP,GGT\na,54,F,1.2,22\n", {"crp": 1.2, "ggt": 22}
    ),
    # https://github.com/MIT-LCP/mimic.mit.edu/issues/73
    "itemids are a local code": Trait(
        "subject_id,age,sex,itemid,valuenum,valueuom\n1,54,F,50912,0.9,mg/dL\n",
        {"creatinine": 79.578},
        tests={"50912": "creatinine"},
    ),
    # https://github.com/MIT-LCP/mimic-code/issues/1938
    "negative findings": Trait(
        f"{LONG}{A}CRP,NEG,mg/L,2024-03-01\n{A}AST,24,U/L,2024-03-01\n",
        {"ast": 24},
        says="crp: 'NEG'",
    ),
    # https://github.com/MIT-LCP/mimic-omop/issues/4
    "flags behind the number": Trait(
        f"{WIDE}crp,alt\na,54,F,12.5 H,20 *\n", {"crp": 12.5, "alt": 20}
    ),
    # https://github.com/maziyarpanahi/openmed/issues/1793
    "a reference range beside the value": Trait(
        "patient,age,sex,test,value,unit,reference range\na,54,F,AST,24,U/L,10-35\n", {"ast": 24}
    ),
    # https://github.com/aks129/HealthClawGuardrails/issues/54
    "creatinine in both units, row by row": Trait(
        f"{WIDE}creatinine,creatinine_unit\na,54,F,0.9,mg/dL\nb,54,F,79.6,umol/L\n",
        {"creatinine": 79.578},
    ),
    # https://wwwn.cdc.gov/Nchs/Data/Nhanes/Public/2017/DataFiles/DEMO_J.htm
    "NHANES: its sexes in a table of our names": Trait(
        "SEQN,RIDAGEYR,RIAGENDR,crp\n1,54,2,1.2\n", CRP
    ),
    # https://wwwn.cdc.gov/Nchs/Data/Nhanes/Public/2017/DataFiles/HSCRP_J.htm
    "NHANES: lower case": Trait(
        "seqn,ridageyr,riagendr,lbxhscrp,lbxsal\n1,54,2,1.2,4.5\n", {"crp": 1.2, "albumin": 45}
    ),
    # https://biobank.ndph.ox.ac.uk/showcase/field.cgi?id=30710
    "UK Biobank: the portal's names": Trait("eid,31-0.0,21003-0.0,30710-0.0\n1,0,54,1.2\n", CRP),
    # https://github.com/ropensci/software-review/issues/95
    "UK Biobank: names for R": Trait(
        "f.eid\tf.31.0.0\tf.21003.0.0\tf.30600.0.0\n1\tFemale\t54\t45\n",
        {"albumin": 45},
        name="in.tab.txt",
    ),
}


@pytest.fixture(scope="module")
def medians() -> dict[str, Any]:
    sidecar: dict[str, Any] = json.loads(find_shipped(SIDECAR_FILE).read_text())
    return dict(sidecar["reference"])


def test_there_are_enough() -> None:
    assert len(TRAITS) >= 60


@pytest.mark.parametrize("trait", TRAITS.values(), ids=TRAITS.keys())
def test_a_trait(trait: Trait, tmp_path: Path, medians: dict[str, Any]) -> None:
    path = tmp_path / trait.name
    content = trait.content
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    named: dict[str, Any] = {}
    if trait.people is not None:
        named["people"] = tmp_path / "people.csv"
        named["people"].write_text(trait.people)
    if trait.tests is not None:
        named["tests"] = trait.tests
    if not trait.values:
        with pytest.raises(ScoringError, match=trait.says):
            open_source(path, **named)
        return
    source = open_source(path, **named)
    layout = find_layout(source.names)
    ((_, batch),) = source.read_chunks(layout, ())
    assert batch is not None
    inputs = read_inputs(batch, layout, medians)
    seen = {
        name: pytest.approx(value, rel=1e-3)
        for name, value in zip(NAMES, inputs.biomarkers[0].tolist(), strict=True)
        if np.isfinite(value)
    }
    assert dict(trait.values) == seen
    age = float(inputs.age[0])
    assert (None if np.isnan(age) else age) == (
        trait.age if trait.age is None else pytest.approx(trait.age, abs=0.01)
    )
    assert inputs.sex[0] == trait.sex
    reasons = [word for place, word in enumerate(REASONS) if inputs.reasons[0] >> place & 1]
    said = "\n".join([*source.notes, *describe_layout(layout, source.names), *reasons])
    assert trait.says in said
