import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from henaw.cli.main import commands
from henaw.model.biomarkers import NAMES
from henaw.model.errors import CohortError, DownloadError
from henaw.training.cohorts.cohort import read_cohort
from henaw.training.cohorts.table_checks import ALWAYS_NEEDED
from henaw.training.configuration import CohortConfiguration
from henaw.training.readers.nhanes.build import (
    build_nhanes_table,
    choose_surveys,
    convert_measure,
)
from henaw.training.readers.nhanes.download import Patience
from henaw.training.readers.nhanes.survey import Sites
from henaw.training.readers.nhanes.surveys import SURVEYS
from henaw.training.readers.table import write_table

QUICK = Patience(attempts=2, backoff_seconds=0.01, timeout_seconds=5)
FITTING = ["1988-1994", *(f"{y}-{y + 1}" for y in (1999, 2001, 2003, 2011, 2013, 2015, 2017))]
KEPT_APART = ["2005-2006", "2007-2008", "2009-2010"]

# Positions from the data file indices of 1988-1994 and the read-in program of the linked
# mortality files, written down here a second time.
ADULT = 3348, {"SEQN": (1, 5), "HSSEX": (15, 15), "HSAGEIR": (18, 19)}
EXAM = 6235, {"SEQN": (1, 5), "MAPF12R": (5151, 5151)}
LAB = (
    1977,
    {
        "SEQN": (1, 5),
        "PHPFAST": (1263, 1267),
        "WCPSI": (1278, 1282),
        "LMPPCNT": (1283, 1287),
        "MVPSI": (1340, 1344),
        "RWP": (1360, 1364),
        "CRP": (1667, 1671),
        "SGP": (1758, 1760),
        "CEP": (1784, 1787),
        "ASPSI": (1821, 1823),
        "ATPSI": (1824, 1826),
        "GGPSI": (1827, 1830),
        "APPSI": (1835, 1838),
        "AMP": (1846, 1848),
        "GHP": (1861, 1864),
    },
)
MORTALITY = (
    48,
    {
        "SEQN": (1, 6),
        "ELIGSTAT": (15, 15),
        "MORTSTAT": (16, 16),
        "UCOD_LEADING": (17, 19),
        "PERMTH_INT": (43, 45),
        "PERMTH_EXM": (46, 48),
    },
)
LINKED = [
    {"SEQN": 1, "ELIGSTAT": 2, "MORTSTAT": ".", "UCOD_LEADING": ".", "PERMTH_EXM": "."},
    {"SEQN": 2, "ELIGSTAT": 1, "MORTSTAT": 0, "UCOD_LEADING": ".", "PERMTH_EXM": 231},
    {"SEQN": 3, "ELIGSTAT": 1, "MORTSTAT": 1, "UCOD_LEADING": "005", "PERMTH_EXM": 17},
    {"SEQN": 4, "ELIGSTAT": 1, "MORTSTAT": 1, "UCOD_LEADING": "010", "PERMTH_EXM": "."},
    # Who could not be linked has nothing, whatever stands there.
    {"SEQN": 5, "ELIGSTAT": 3, "MORTSTAT": 0, "UCOD_LEADING": ".", "PERMTH_EXM": 9},
]
MORTALITY_PATH = (
    "/pub/Health_Statistics/NCHS/datalinkage/linked_mortality/NHANES_{}_MORT_2019_PUBLIC.dat"
)
STEMS = {
    "1999-2000": ("DEMO", "LAB25", "LAB18", "LAB10", "LAB11"),
    "2001-2002": ("DEMO_B", "L25_B", "L40_B", "L10_B", "L11_B"),
    "2003-2004": ("DEMO_C", "L25_C", "L40_C", "L10_C", "L11_C"),
    "2005-2006": ("DEMO_D", "CBC_D", "BIOPRO_D", "GHB_D", "CRP_D"),
    "2007-2008": ("DEMO_E", "CBC_E", "BIOPRO_E", "GHB_E", "CRP_E"),
    "2009-2010": ("DEMO_F", "CBC_F", "BIOPRO_F", "GHB_F", "CRP_F"),
    "2011-2012": ("DEMO_G", "CBC_G", "BIOPRO_G", "GHB_G"),
    "2013-2014": ("DEMO_H", "CBC_H", "BIOPRO_H", "GHB_H"),
    "2015-2016": ("DEMO_I", "CBC_I", "BIOPRO_I", "GHB_I", "HSCRP_I"),
    "2017-2018": ("DEMO_J", "CBC_J", "BIOPRO_J", "GHB_J", "HSCRP_J"),
}


@pytest.fixture
def serve_cycle(
    site: Any, write_transport: Callable[..., bytes], write_fixed: Callable[..., bytes]
) -> Callable[..., None]:
    """Put the files of a two-year cycle on the site: five people, one of them 19."""

    def serve(years: str, **changed: dict[str, list[float | None]]) -> None:
        seqn = {"SEQN": [3, 1, 2, 4, 5]}
        second = years == "2001-2002"
        contents: list[dict[str, list[Any]]] = [
            {
                "RIAGENDR": [2, 1, 1, 2, 2],
                "RIDAGEYR": [45, 19, 80, 30, 85],
                "RIDEXPRG": [2, None, None, 1, 3],
            },
            {
                "LBXLYPCT": [30.5, 20, 25.1, None, 40],
                "LBXRDW": [12.9, 12, 14.2, 13, 13],
                "LBXMCVSI": [91.2, 90, 95, 88, 90],
                "LBXWBCSI": [6.8, 7, 5.5, 6, 7],
            },
            {
                "LBDSCR" if second else "LBXSCR": [1.0, 0.9, 1.3, 0.7, None],
                "LBXSAL": [4.3, 4.5, 3.9, 4.0, None],
                "LBXSGTSI": [21, 15, 60, 11, None],
                "LBXSASSI": [24, 20, 33, 18, None],
                "LBXSATSI": [20, 18, 41, 0, None],
                "LBDSAPSI" if second else "LBXSAPSI": [70, 60, 85, 55, None],
                "LBXSGL": [90, 85, 110, 80, None],
            },
            {"LBXGH": [5.4, 5.0, 6.5, 5.1, None]},
        ]
        stems = STEMS[years]
        if len(stems) == 5:
            variable = "LBXHSCRP" if stems[4].startswith("HSCRP") else "LBXCRP"
            contents.append({variable: [0.5, 0.1, 1.2, None, 0.0]})
        for stem, columns in zip(stems, contents, strict=True):
            path = f"/Nchs/Data/Nhanes/Public/{years[:4]}/DataFiles/{stem}.xpt"
            site.files[path] = write_transport(changed.get(stem, seqn | columns))
        site.files[MORTALITY_PATH.format(years.replace("-", "_"))] = write_fixed(
            *MORTALITY, LINKED, end="\n"
        )

    return serve


@pytest.fixture
def serve_third(site: Any, write_fixed: Callable[..., bytes]) -> None:
    """Put the files of 1988-1994 on the site: everyone but the last examined."""
    people = [(3, 2, 45), (1, 1, 19), (2, 1, 90), (4, 2, 30), (5, 2, 85)]
    site.files["/nchs/data/nhanes3/1a/adult.dat"] = write_fixed(
        *ADULT, [{"SEQN": f"{n:05}", "HSSEX": s, "HSAGEIR": a} for n, s, a in people]
    )
    site.files["/nchs/data/nhanes3/1a/exam.dat"] = write_fixed(
        *EXAM, [{"SEQN": f"{n:05}", "MAPF12R": p} for n, p in ((1, ""), (2, ""), (3, 8), (4, 1))]
    )
    usual: dict[str, object] = {
        "SEQN": "00003",
        "PHPFAST": "12.25",
        "WCPSI": "6.85",
        "LMPPCNT": "32.35",
        "MVPSI": "89.30",
        "RWP": "12.35",
        "CRP": "0.21",
        "SGP": "94",
        "CEP": "1.0",
        "ASPSI": "19",
        "ATPSI": "14",
        "GGPSI": "22",
        "APPSI": "83",
        "AMP": "4.1",
        "GHP": "5.3",
    }
    blank: dict[str, object] = {
        name: "8" * (last - first + 1) for name, (first, last) in LAB[1].items()
    }
    site.files["/nchs/data/nhanes3/1a/lab.dat"] = write_fixed(
        *LAB,
        [
            usual,
            usual | {"SEQN": "00002", "PHPFAST": "7.98", "GHP": "8.8", "CRP": "8.80"},
            blank | {"SEQN": "00004"},
        ],
    )
    site.files[MORTALITY_PATH.format("III")] = write_fixed(*MORTALITY, LINKED)


def build(site: Any, folder: Path, *names: str, external: bool = False) -> tuple[Any, Any]:
    table, report = build_nhanes_table(
        choose_surveys(names, external=external),
        folder,
        sites=Sites(survey=site.url, mortality=site.url + "/"),
        patience=QUICK,
    )
    return table.set_index("participant_id"), report


@pytest.mark.parametrize("years", sorted(STEMS))
def test_a_cycle_is_read_in_the_panels_units(
    years: str, site: Any, serve_cycle: Callable[..., None], folder: Path
) -> None:
    serve_cycle(years)
    table, report = build(site, folder, years, external=years in KEPT_APART)
    assert list(table.index) == [f"{years}-{number}" for number in (2, 3, 4, 5)]
    row = table.loc[f"{years}-3"]
    creatinine = (0.147 + 1.013 * 1.0 if years == "1999-2000" else 1.0) * 88.42
    crp = {"1": 5.0, "2": 5.0, "3": 5.0}.get(str(len(STEMS[years]) - 4))
    if years in ("2015-2016", "2017-2018"):
        crp = 0.5
    expected = {
        "crp": np.nan if crp is None else crp,
        "hba1c": (5.4 - 2.152) / 0.09148,
        "creatinine": creatinine,
        "albumin": 43.0,
        "lymphocyte_pct": 30.5,
        "rdw": 12.9,
        "ggt": 21.0,
        "ast": 24.0,
        "alt": 20.0,
        "age": 45.0,
        "sex": 0.0,
        "death": 1.0,
        "followup_months": 17.0,
        "ucod_leading": 5.0,
        "pregnant": 0.0,
        "alp": 70.0,
        "mcv": 91.2,
        "wbc": 6.8,
        "glucose_mmol": 90 * 0.0555,
    }
    assert row[list(expected)].to_dict() == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert table["sex"].tolist() == [1, 0, 0, 0]
    assert table["pregnant"].tolist() == [0, 0, 1, 0]
    # SAS's zero comes through pandas as 5.4e-79.
    assert table.loc[f"{years}-4", "alt"] == 0.0
    counts = report["surveys"][years]
    assert (counts["interviewed"], counts["under_20_years"], counts["rows"]) == (5, 1, 4)
    assert (counts["followed"], counts["deaths"]) == (3, 2)
    assert counts["missing"]["albumin"] == 1
    assert counts["outside_accepted_range"]["alt"] == 1
    assert counts["not_measured"] == (["crp"] if crp is None else [])


def test_follow_up_is_from_the_examination_and_of_the_linked(
    site: Any, serve_cycle: Callable[..., None], folder: Path
) -> None:
    serve_cycle("2003-2004")
    table, _ = build(site, folder, "2003-2004")
    columns = table[["death", "followup_months", "ucod_leading"]]
    nothing = None
    assert columns.astype(object).where(columns.notna(), None).to_numpy().tolist() == [
        [0, 231, nothing],
        [1, 17, 5],
        [1, nothing, 10],
        [nothing, nothing, nothing],
    ]


@pytest.mark.usefixtures("serve_third")
def test_the_third_survey_is_read_from_fixed_columns(site: Any, folder: Path) -> None:
    table, report = build(site, folder, "1988-1994")
    assert list(table.index) == [f"1988-1994-{number}" for number in (2, 3, 4, 5)]
    expected = {
        "age": 45.0,
        "sex": 0.0,
        "crp": 2.1,
        "hba1c": (5.3 - 2.152) / 0.09148,
        "creatinine": (-0.184 + 0.960) * 88.42,
        "albumin": 41.0,
        "lymphocyte_pct": 32.35,
        "rdw": 12.35,
        "ggt": 22.0,
        "ast": 19.0,
        "alt": 14.0,
        "alp": 83.0,
        "mcv": 89.3,
        "wbc": 6.85,
        "glucose_mmol": 94 * 0.0555,
        "death": 1.0,
        "pregnant": 0.0,
    }
    seen = table.loc["1988-1994-3", list(expected)].to_dict()
    assert seen == pytest.approx(expected, rel=1e-9)
    assert table["pregnant"].tolist()[:3] == [0, 0, 1]
    assert np.isnan(table["pregnant"].iloc[3])
    # Only a field full of eights is blank.
    assert table.loc["1988-1994-2", "crp"] == pytest.approx(88.0)
    assert table.loc["1988-1994-2", "hba1c"] == pytest.approx((8.8 - 2.152) / 0.09148)
    assert table.loc["1988-1994-4", list(NAMES)].isna().all()
    assert table.loc["1988-1994-5", list(NAMES)].isna().all()
    # Two people fasted too short a time or had no known fast; one of them has values.
    assert table.loc["1988-1994-2", ["ast", "alt"]].isna().all()
    assert table.loc["1988-1994-2", "ggt"] == 22.0
    assert report["surveys"]["1988-1994"]["not_fasted_blanked"] == {"ast": 1, "alt": 1}


@pytest.mark.usefixtures("serve_third")
def test_surveys_are_joined_into_one_table_that_a_cohort_is_read_from(
    site: Any, serve_cycle: Callable[..., None], folder: Path, tmp_path: Path
) -> None:
    for years in FITTING[1:]:
        serve_cycle(years)
    table, report = build(site, folder)
    assert list(report["surveys"]) == FITTING
    assert table["survey"].unique().tolist() == FITTING
    assert not any(name in path for path, _ in site.asked for name in ("2005", "2007", "2009"))
    table = table.reset_index()
    assert tuple(table.columns[:16]) == (
        *("participant_id", "survey", "age", "sex", *NAMES),
        *("death", "followup_months", "ucod_leading"),
    )
    assert {*ALWAYS_NEEDED, *NAMES, "ucod_leading"} <= set(table.columns)
    out = tmp_path / "cohort.parquet"
    beside = write_table(table, report, out)
    causes = {"cardiovascular": (1, 5), "cancer": (2,), "diabetes": (7,), "dementia": (6,)}
    cohort = read_cohort(out, CohortConfiguration(causes=causes))
    assert len(cohort) == 2 * len(FITTING)
    assert json.loads(beside.read_text()) == report
    for name, described in report["files"].items():
        content = (folder / name).read_bytes()
        assert described["sha256"] == hashlib.sha256(content).hexdigest()
        assert site.files[described["url"].removeprefix(site.url)] == content


def test_reserved_surveys_are_never_read_for_fitting() -> None:
    assert [survey.name for survey in choose_surveys()] == FITTING
    assert [survey.name for survey in choose_surveys(external=True)] == KEPT_APART
    with pytest.raises(CohortError) as caught:
        choose_surveys(["2003-2004", "2005-2006", "1776"])
    assert [problem[:40] for problem in caught.value.problems] == [
        "2005-2006 is reserved for external valid",
        "survey must be one of 1988-1994, 1999-20",
    ]
    with pytest.raises(CohortError, match="2003-2004 is for fitting"):
        choose_surveys(["2003-2004"], external=True)


def test_what_is_wrong_in_the_files_is_listed_together(
    site: Any,
    serve_cycle: Callable[..., None],
    write_fixed: Callable[..., bytes],
    folder: Path,
) -> None:
    serve_cycle(
        "2001-2002",
        L40_B={"SEQN": [1, 2], "LBXSCR": [1, 1], "LBXSAL": [4, 4]},
        L10_B={"SEQN": [1, 1], "LBXGH": [5, 5]},
    )
    path = MORTALITY_PATH.format("2001_2002")
    site.files[path] = write_fixed(*MORTALITY, [LINKED[1], LINKED[2] | {"UCOD_LEADING": "x05"}])
    serve_cycle(
        "2003-2004", DEMO_C={"SEQN": [1], "RIAGENDR": [9], "RIDAGEYR": [None], "RIDEXPRG": [1]}
    )
    with pytest.raises(CohortError) as caught:
        build(site, folder, "2001-2002", "2003-2004")
    text = str(caught.value)
    for part in (
        "2001-2002: L40_B.xpt: there is no variable 'LBDSCR'; did you mean 'LBXSCR'?",
        "2001-2002: L40_B.xpt: there is no variable 'LBXSGTSI'",
        "2001-2002: L10_B.xpt: SEQN must be present and different in every row; empty: 0, repe",
        "NHANES_2001_2002_MORT_2019_PUBLIC.dat: columns 17-19 (UCOD_LEADING) must have "
        "numbers; got 'x05' in row 2",
        "2003-2004: DEMO_C.xpt: RIAGENDR must be 1 or 2; got 9.0",
        "2003-2004: DEMO_C.xpt: RIDAGEYR must not be empty; empty rows: 1",
    ):
        assert part in text


def test_a_truncated_transport_file_is_named(
    site: Any, serve_cycle: Callable[..., None], folder: Path
) -> None:
    serve_cycle("2003-2004")
    path = "/Nchs/Data/Nhanes/Public/2003/DataFiles/L11_C.xpt"
    site.files[path] = site.files[path][:400]
    with pytest.raises(CohortError, match=r"L11_C\.xpt: this is not a SAS transport file"):
        build(site, folder, "2003-2004")


def test_every_missing_file_of_every_survey_is_named(
    site: Any, serve_cycle: Callable[..., None], folder: Path
) -> None:
    serve_cycle("2003-2004")
    del site.files["/Nchs/Data/Nhanes/Public/2003/DataFiles/L11_C.xpt"]
    with pytest.raises(DownloadError) as caught:
        build(site, folder, "2003-2004", "2013-2014")
    assert len(caught.value.problems) == 1 + 5
    assert "L11_C.xpt: the server answered 404 Not Found" in str(caught.value)


# The shared table, where there is one: what is measured in steps must lie on the steps that
# this reader gives; a wrong unit, factor or calibration moves them.


@pytest.fixture(scope="session")
def shared(cohort_path: Path) -> pd.DataFrame:
    return pd.read_parquet(cohort_path)


def test_the_surveys_are_the_shared_tables(shared: pd.DataFrame) -> None:
    assert sorted(shared["survey"].unique()) == FITTING
    assert [s.name for s in SURVEYS if not s.external] == FITTING


@pytest.mark.parametrize("years", FITTING)
@pytest.mark.parametrize(
    ("column", "step", "most"),
    [("creatinine", 0.1, 20), ("hba1c", 0.1, 20), ("albumin", 0.1, 7), ("crp", 0.01, 30)],
)
def test_values_lie_on_the_shared_tables_steps(
    shared: pd.DataFrame, years: str, column: str, step: float, most: float
) -> None:
    (survey,) = choose_surveys([years])
    rows = shared[shared["survey"] == years]
    measures = [measure for measure in survey.measures if measure.column == column]
    assert bool(measures) == rows[column].notna().any()
    if not measures:
        return
    if column == "creatinine" and years >= "2011":
        step, most = 0.01, 3.0  # Reported to two digits since then.
    grid = pd.Series(np.arange(0, most, step))
    converted = convert_measure(grid, measures[0]).to_numpy()
    values = rows[column].dropna().to_numpy(np.float64)
    values = values[(values > 0) & (values < converted.max())]
    assert len(values) > 0.9 * rows[column].notna().sum()
    gap = np.abs(values[:, None] - converted[None, :]).min(1) / np.diff(converted).mean()
    # The shared table has 88.4017 for 88.42 and 10.929 (p - 2.15) for the master equation:
    # together under a tenth of a step.
    assert np.quantile(gap, 0.999) < 0.1


def test_the_steps_tell_a_wrong_convention(shared: pd.DataFrame) -> None:
    """The check above can fail: creatinine of 1999-2000 without its calibration."""
    (first, second) = choose_surveys(["1999-2000", "2001-2002"])
    line = {m.column: m for m in first.measures}["creatinine"].calibration
    assert line != {m.column: m for m in second.measures}["creatinine"].calibration
    values = shared.loc[shared["survey"] == "1999-2000", "creatinine"].dropna() / 88.4017
    assert np.abs(values * 10 - np.round(values * 10)).median() > 0.2
    raw = (values - line[0]) / line[1] * 10
    assert np.abs(raw - np.round(raw)).quantile(0.999) < 0.01


def test_the_command_survives_a_kill_and_says_what_it_read(
    site: Any,
    serve_cycle: Callable[..., None],
    folder: Path,
    wait_for: Callable[..., None],
    henaw: Callable[..., "subprocess.Popen[str]"],
) -> None:
    serve_cycle("2003-2004")
    big = "/Nchs/Data/Nhanes/Public/2003/DataFiles/L40_C.xpt"
    site.faults[big] = [503] * 50
    out = folder.parent / "cohort.parquet"
    command = ["data", "nhanes", "--out", str(out), "--folder", str(folder)]
    command += ["--survey", "2003-2004", "--survey-site", site.url, "--mortality-site", site.url]
    process = henaw(*command)
    wait_for(lambda: site.count(big) > 0)
    process.kill()
    process.wait()
    assert not out.exists()
    site.faults.clear()
    before = len(site.asked)

    process = henaw(*command)
    said, bar = process.communicate(timeout=60)
    assert process.returncode == 0, bar
    fetched = {path.rsplit("/", 1)[-1] for path, _ in site.asked[before:]}
    assert "L40_C.xpt" in fetched
    assert "DEMO_C.xpt" not in fetched
    assert "L40_C.xpt" in bar
    assert "2003-2004: 4 people of 20 and over; 2 deaths among 3 followed" in said
    assert len(pd.read_parquet(out)) == 4
    assert json.loads(out.with_suffix(".report.json").read_text())["surveys"].keys() == {
        "2003-2004"
    }


def test_the_command_refuses_before_it_fetches(site: Any, folder: Path) -> None:
    for arguments, message in (
        (["--out", str(folder / "cohort.csv")], "must end in .parquet"),
        (["--out", str(folder / "a.parquet"), "--survey", "2005-2006"], "reserved"),
    ):
        command = ["data", "nhanes", "--folder", str(folder), "--survey-site", site.url]
        result = CliRunner().invoke(commands, [*command, *arguments])
        assert isinstance(result.exception, CohortError)
        assert message in str(result.exception)
    assert site.asked == []
