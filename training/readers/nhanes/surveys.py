"""The NHANES surveys that can be read, with the names and units of their variables.

Sources: the codebooks of the National Center for Health Statistics (NCHS) for the files named
here; its data file indices for 1988-1994; its read-in program of May 2022 for the public-use
linked mortality files, with follow-up to 31 December 2019.

Creatinine of 1988-1994 and 1999-2000 is converted to the scale of the later surveys by the
lines of Selvin et al. 2007 (Am J Kidney Dis 50:918-926, doi:10.1053/j.ajkd.2007.08.020).
"""

from __future__ import annotations

from collections.abc import Mapping

from henaw.training.readers.nhanes.survey import Field, Measure, Survey, SurveyFile

_LINE_1988 = (-0.184, 0.960)
_LINE_1999 = (0.147, 1.013)
_AS_MEASURED = (0.0, 1.0)

_MORTALITY_FOLDER = "pub/Health_Statistics/NCHS/datalinkage/linked_mortality"
_MORTALITY_FIELDS = (
    Field(name="SEQN", first=1, last=6),
    Field(name="ELIGSTAT", first=15, last=15),
    Field(name="MORTSTAT", first=16, last=16),
    Field(name="UCOD_LEADING", first=17, last=19),
    Field(name="PERMTH_EXM", first=46, last=48),
)

_BLOOD_COUNT = {
    "lymphocyte_pct": ("LBXLYPCT", "%"),
    "rdw": ("LBXRDW", "%"),
    "mcv": ("LBXMCVSI", "fL"),
    "wbc": ("LBXWBCSI", "10^9/L"),
}
_CHEMISTRY = {
    "creatinine": ("LBXSCR", "mg/dL"),
    "albumin": ("LBXSAL", "g/dL"),
    "ggt": ("LBXSGTSI", "U/L"),
    "ast": ("LBXSASSI", "U/L"),
    "alt": ("LBXSATSI", "U/L"),
    "alp": ("LBXSAPSI", "U/L"),
    "glucose_mmol": ("LBXSGL", "mg/dL"),
}
_GLYCOHAEMOGLOBIN = {"hba1c": ("LBXGH", "%")}
_CRP = {"crp": ("LBXCRP", "mg/dL")}
_HIGH_SENSITIVITY_CRP = {"crp": ("LBXHSCRP", "mg/L")}

# 2001-2002 has other names for these two.
_CHEMISTRY_2001 = _CHEMISTRY | {"creatinine": ("LBDSCR", "mg/dL"), "alp": ("LBDSAPSI", "U/L")}


def _list_measures(
    file: SurveyFile,
    variables: Mapping[str, tuple[str, str]],
    *,
    creatinine: tuple[float, float] = _AS_MEASURED,
    fasted: tuple[str, ...] = (),
) -> tuple[Measure, ...]:
    """The measures of one file, from the name and unit of each variable by column."""
    return tuple(
        Measure(
            column=column,
            file=file,
            variable=variable,
            unit=unit,
            calibration=creatinine if column == "creatinine" else _AS_MEASURED,
            fasting_hours=8.0 if column in fasted else 0.0,
        )
        for column, (variable, unit) in variables.items()
    )


def _name_mortality(survey: str) -> SurveyFile:
    return SurveyFile(
        path=f"{_MORTALITY_FOLDER}/NHANES_{survey}_MORT_2019_PUBLIC.dat",
        host="mortality",
        fields=_MORTALITY_FIELDS,
    )


def _describe_cycle(
    name: str,
    demographics: str,
    laboratory: Mapping[str, Mapping[str, tuple[str, str]]],
    *,
    creatinine: tuple[float, float] = _AS_MEASURED,
    external: bool = False,
) -> Survey:
    """Describe a two-year cycle by the names of its transport files."""

    def locate(stem: str) -> SurveyFile:
        return SurveyFile(path=f"Nchs/Data/Nhanes/Public/{name[:4]}/DataFiles/{stem}.xpt")

    people = locate(demographics)
    return Survey(
        name=name,
        people=people,
        sex="RIAGENDR",
        age="RIDAGEYR",
        pregnancy=(people, "RIDEXPRG"),
        measures=tuple(
            measure
            for stem, variables in laboratory.items()
            for measure in _list_measures(locate(stem), variables, creatinine=creatinine)
        ),
        mortality=_name_mortality(name.replace("-", "_")),
        external=external,
    )


def _describe_third() -> Survey:
    """Describe NHANES III: files of fixed width, of which these columns are read."""

    def locate(stem: str, **fields: tuple[int, int]) -> SurveyFile:
        return SurveyFile(
            path=f"nchs/data/nhanes3/1a/{stem}.dat",
            fields=tuple(
                Field(name=name, first=first, last=last) for name, (first, last) in fields.items()
            ),
        )

    adult = locate("adult", SEQN=(1, 5), HSSEX=(15, 15), HSAGEIR=(18, 19))
    examination = locate("exam", SEQN=(1, 5), MAPF12R=(5151, 5151))
    laboratory = locate(
        "lab",
        SEQN=(1, 5),
        PHPFAST=(1263, 1267),
        WCPSI=(1278, 1282),
        LMPPCNT=(1283, 1287),
        MVPSI=(1340, 1344),
        RWP=(1360, 1364),
        CRP=(1667, 1671),
        SGP=(1758, 1760),
        CEP=(1784, 1787),
        ASPSI=(1821, 1823),
        ATPSI=(1824, 1826),
        GGPSI=(1827, 1830),
        APPSI=(1835, 1838),
        AMP=(1846, 1848),
        GHP=(1861, 1864),
    )

    return Survey(
        name="1988-1994",
        people=adult,
        sex="HSSEX",
        age="HSAGEIR",
        pregnancy=(examination, "MAPF12R"),
        measures=_list_measures(
            laboratory,
            {
                "crp": ("CRP", "mg/dL"),
                "hba1c": ("GHP", "%"),
                "creatinine": ("CEP", "mg/dL"),
                "albumin": ("AMP", "g/dL"),
                "lymphocyte_pct": ("LMPPCNT", "%"),
                "rdw": ("RWP", "%"),
                "ggt": ("GGPSI", "U/L"),
                "ast": ("ASPSI", "U/L"),
                "alt": ("ATPSI", "U/L"),
                "alp": ("APPSI", "U/L"),
                "mcv": ("MVPSI", "fL"),
                "wbc": ("WCPSI", "10^9/L"),
                "glucose_mmol": ("SGP", "mg/dL"),
            },
            creatinine=_LINE_1988,
            # The shipped model was fitted on a table that has these two only for people who
            # fasted; the survey does not require a fast.
            fasted=("ast", "alt"),
        ),
        mortality=_name_mortality("III"),
        fasting=(laboratory, "PHPFAST"),
    )


def _describe_late_cycle(
    name: str,
    letter: str,
    crp: Mapping[str, Mapping[str, tuple[str, str]]],
    *,
    external: bool = False,
) -> Survey:
    """Describe a cycle from 2005 on: its file names differ by the cycle's letter only."""
    return _describe_cycle(
        name,
        f"DEMO_{letter}",
        {
            f"CBC_{letter}": _BLOOD_COUNT,
            f"BIOPRO_{letter}": _CHEMISTRY,
            f"GHB_{letter}": _GLYCOHAEMOGLOBIN,
            **{f"{stem}_{letter}": variables for stem, variables in crp.items()},
        },
        external=external,
    )


SURVEYS: tuple[Survey, ...] = (
    _describe_third(),
    _describe_cycle(
        "1999-2000",
        "DEMO",
        {"LAB25": _BLOOD_COUNT, "LAB18": _CHEMISTRY, "LAB10": _GLYCOHAEMOGLOBIN, "LAB11": _CRP},
        creatinine=_LINE_1999,
    ),
    _describe_cycle(
        "2001-2002",
        "DEMO_B",
        {
            "L25_B": _BLOOD_COUNT,
            "L40_B": _CHEMISTRY_2001,
            "L10_B": _GLYCOHAEMOGLOBIN,
            "L11_B": _CRP,
        },
    ),
    _describe_cycle(
        "2003-2004",
        "DEMO_C",
        {"L25_C": _BLOOD_COUNT, "L40_C": _CHEMISTRY, "L10_C": _GLYCOHAEMOGLOBIN, "L11_C": _CRP},
    ),
    _describe_late_cycle("2005-2006", "D", {"CRP": _CRP}, external=True),
    _describe_late_cycle("2007-2008", "E", {"CRP": _CRP}, external=True),
    _describe_late_cycle("2009-2010", "F", {"CRP": _CRP}, external=True),
    # CRP was not measured in 2011-2014, and later by an assay that reports mg/L.
    _describe_late_cycle("2011-2012", "G", {}),
    _describe_late_cycle("2013-2014", "H", {}),
    _describe_late_cycle("2015-2016", "I", {"HSCRP": _HIGH_SENSITIVITY_CRP}),
    _describe_late_cycle("2017-2018", "J", {"HSCRP": _HIGH_SENSITIVITY_CRP}),
)
