import json
import shutil
from datetime import date

import numpy as np
import pandas as pd
import polars as pl
import pytest
from henaw.intake.words.ukb_names import BIOMARKER_FIELDS, Place
from henaw.model.biomarkers import NAMES
from henaw.model.errors import CohortError
from henaw.training.cohorts.cohort import read_cohort
from henaw.training.configuration import CohortConfiguration
from henaw.training.readers.table import COLUMNS
from henaw.training.readers.ukb.build import build_ukb_table
from henaw.training.readers.ukb.configuration import CensoringDates, UkbConfiguration

PEOPLE = 240


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "extract"
    made.mkdir()
    return made


@pytest.fixture
def out(tmp_path):
    return tmp_path / "cohort.parquet"


@pytest.fixture
def people(extracts):
    return extracts.make_people(PEOPLE)


def build(root, out, configuration=None, **options):
    report = build_ukb_table(root, out, configuration or UkbConfiguration(), **options)
    return pd.read_parquet(out), report


def check_against(table, people, visit=0):
    """The table holds what was written, followed as it should be."""
    rows = np.array([d is not None for d in people[Place(53, visit)]])
    assert table["participant_id"].tolist() == np.array(people["eid"])[rows].tolist()
    for name in NAMES:
        values = np.array(people[Place(BIOMARKER_FIELDS[name], visit)], float)
        np.testing.assert_array_equal(table[name], values[rows])
    np.testing.assert_array_equal(table["age"], np.array(people[Place(21003, visit)], float)[rows])
    np.testing.assert_array_equal(table["sex"], np.array(people[Place(31)])[rows])
    end = date(2022, 11, 30)
    start = np.array(people[Place(53, visit)])[rows]
    died = np.array(people[Place(40000)])[rows]
    dead = np.array([d is not None and d <= end for d in died])
    np.testing.assert_array_equal(table["death"], dead)
    days = [
        ((d if is_dead else end) - s).days for d, s, is_dead in zip(died, start, dead, strict=True)
    ]
    np.testing.assert_allclose(table["followup_months"] * (365.25 / 12), days)
    np.testing.assert_array_equal(table["ucod_leading"], np.where(dead, 1.0, np.nan))


def test_every_convention_gives_the_same_table(folder, out, people, extracts):
    for spelling in extracts.spellings:
        extracts.write_text(extracts.spell(people, spelling), folder / "a.csv")
        table, report = build(folder, out)
        assert tuple(table.columns) == COLUMNS
        check_against(table, people)
        assert report["participants"]["participants_written"] == PEOPLE


def scatter(people, folder, extracts, seed=1):
    """Spread the columns over files of all conventions and kinds, rows in any order."""
    random = np.random.default_rng(seed)
    names = [name for name in people if name != "eid"]
    random.shuffle(names)
    endings = [
        ("a.csv", ","), ("b.csv.gz", ","), ("deep/c.tsv", "\t"), ("deep/er/d.csv.zst", ";"),
        ("e.txt", "\t"), ("f.csv.bz2", ","), ("g.tab.gz", "\t"),
    ]  # fmt: skip
    for i, spelling in enumerate(extracts.spellings):
        part = {"eid": people["eid"]}
        part |= {name: people[name] for name in names[i :: len(extracts.spellings)]}
        frame = extracts.spell(part, spelling).sample(fraction=1, shuffle=True, seed=seed)
        if i < len(endings):
            name, separator = endings[i]
            extracts.write_text(frame, folder / name, separator=separator, bom=bool(i % 2))
        else:
            frame.write_parquet(folder / "h.parquet")


def test_columns_scattered_over_files_of_every_kind_are_joined(folder, out, people, extracts):
    scatter(people, folder, extracts)
    table, report = build(folder, out)
    check_against(table, people)
    assert len(report["files"]) == len(extracts.spellings)
    table, report = build(folder, out, UkbConfiguration(visit=1))
    check_against(table, people, visit=1)
    # Only the first visit says where a person lives.
    assert report["follow_up"]["nation_unknown"] == 0


def test_a_cohort_is_read_from_it(folder, out, people, extracts):
    scatter(people, folder, extracts)
    build(folder, out)
    causes = {"cardiovascular": (1, 5), "cancer": (2,), "diabetes": (7,), "dementia": (6,)}
    cohort = read_cohort(out, CohortConfiguration(causes=causes))
    assert len(cohort) == PEOPLE
    assert cohort.complete.all()
    assert set(cohort.survey) == {"UK Biobank visit 0"}
    assert cohort.event.sum() == sum(
        d is not None and d <= date(2022, 11, 30) for d in people[Place(40000)]
    )


def test_the_same_extract_gives_the_same_bytes(folder, out, people, extracts):
    scatter(people, folder, extracts)
    build(folder, out)
    first = out.read_bytes()
    build(folder, out)
    assert out.read_bytes() == first


def test_spelled_values_read_like_codes(folder, out, people, extracts):
    spelled = dict(people)
    spelled[Place(31)] = [("Female", "Male")[s] for s in people[Place(31)]]
    centre = {11012: "Barts", 11004: "Glasgow", 11003: "Cardiff"}
    spelled[Place(54)] = [centre[c] for c in people[Place(54)]]
    spelled[Place(52)] = ["June"] * PEOPLE
    spelled[Place(40001)] = [
        None if c is None else "I21.9 Acute myocardial infarction, unspecified"
        for c in people[Place(40001)]
    ]
    spelled[Place(53)] = [d.strftime("%d/%m/%Y") for d in people[Place(53)]]
    extracts.write_text(extracts.spell(spelled, "titles"), folder / "a.csv")
    table, report = build(folder, out)
    check_against(table, people)
    assert report["values_not_readable"] == {}
    assert report["censoring"]["wales"]["participants"] == people[Place(54)].count(11003)


def test_deaths_of_the_record_tables_and_the_fields_are_one(folder, out, people, extracts):
    main = dict(people)
    died, causes = main.pop(Place(40000)), main.pop(Place(40001))
    extracts.write_text(extracts.spell(main, "platform"), folder / "main.csv")
    dead = [i for i, d in enumerate(died) if d is not None]
    eids = [people["eid"][i] for i in dead]
    dates = [died[i].strftime("%d/%m/%Y") for i in dead]
    # Everyone twice: the second certificate says a year later.
    later = [died[i].replace(year=died[i].year + 1, day=1).strftime("%d/%m/%Y") for i in dead]
    pl.DataFrame(
        {
            "eid": eids * 2,
            "ins_index": [0] * len(dead) + [1] * len(dead),
            "dsource": "E/W",
            "date_of_death": dates + later,
        }
    ).write_csv(folder / "death.txt", separator="\t")
    pl.DataFrame(
        {
            "eid": eids * 2,
            "ins_index": 0,
            "arr_index": [0] * len(dead) + [1] * len(dead),
            "level": [1] * len(dead) + [2] * len(dead),
            "cause_icd10": [causes[i] for i in dead] + ["C509"] * len(dead),
        }
    ).write_csv(folder / "death_cause.txt", separator="\t")
    table, report = build(folder, out)
    check_against(table, people)
    counts = report["deaths"]
    assert counts["people_with_a_death_record"] == len(dead)
    assert counts["with_dates_that_differ_earliest_kept"] == len(dead)
    assert counts["with_causes_that_differ_earliest_record_kept"] == 0


def test_the_withdrawn_are_out_and_only_the_listed_are_in(folder, out, people, extracts, tmp_path):
    extracts.write_text(extracts.spell(people, "platform"), folder / "a.csv")
    (tmp_path / "gone.csv").write_text("".join(f"{e}\n" for e in people["eid"][:10]))
    images = "".join(f"{e}_21015_0_0.png\n" for e in people["eid"][5:50])
    (tmp_path / "images.txt").write_text(images)
    table, report = build(
        folder, out, withdrawn=[tmp_path / "gone.csv"], only=[tmp_path / "images.txt"]
    )
    assert table["participant_id"].tolist() == people["eid"][10:50]
    assert report["participants"]["withdrawn"] == 10
    assert report["participants"]["not_in_the_list"] == PEOPLE - 50
    assert report["deaths"]["people_with_a_death_record"] <= 40
    with pytest.raises(CohortError, match="no participant is left"):
        build(folder, out, withdrawn=[tmp_path / "gone.csv"], only=[tmp_path / "gone.csv"])


def test_rows_without_a_person_are_counted(folder, out, people, extracts):
    frame = extracts.spell(people, "ukbconv csv").with_columns(pl.col("eid").cast(pl.String))
    frame = frame.with_columns(pl.Series("eid", ["", "-1", "-2", *frame["eid"].to_list()[3:]]))
    extracts.write_text(frame, folder / "a.csv")
    table, report = build(folder, out)
    assert len(table) == PEOPLE - 3
    assert report["participants"]["rows_without_a_participant"] == 1
    assert report["participants"]["rows_with_a_negative_participant"] == 2


def test_repeated_rows_are_dropped_when_alike_and_refused_when_not(folder, out, people, extracts):
    frame = extracts.spell(people, "ukbconv csv")
    extracts.write_text(pl.concat([frame, frame.head(7)]), folder / "a.csv")
    table, report = build(folder, out)
    check_against(table, people)
    assert report["participants"]["rows_repeated_and_alike"] == 7
    other = frame.head(2).with_columns(pl.col("30710-0.0") + 1)
    extracts.write_text(pl.concat([frame, other]), folder / "a.csv")
    with pytest.raises(CohortError, match="2 participants have rows that differ") as caught:
        build(folder, out)
    assert "10000" not in str(caught.value)


def test_of_files_that_disagree_the_first_wins(folder, out, people, extracts):
    extracts.write_text(extracts.spell(people, "platform"), folder / "a.csv")
    changed = {"eid": people["eid"], Place(30710): [v + 1 for v in people[Place(30710)]]}
    extracts.write_text(extracts.spell(changed, "titles"), folder / "b.csv")
    table, report = build(folder, out)
    check_against(table, people)
    counts = report["participants"]
    assert counts["values_that_differ_between_files_first_kept"] == PEOPLE


def test_a_later_file_fills_what_an_earlier_lacks(folder, out, people, extracts):
    half = dict(people)
    half[Place(30710)] = [v if i % 2 else None for i, v in enumerate(people[Place(30710)])]
    extracts.write_text(extracts.spell(half, "platform"), folder / "a.csv")
    rest = {"eid": people["eid"], Place(30710): people[Place(30710)]}
    extracts.write_text(extracts.spell(rest, "ukbconv csv"), folder / "b.csv")
    table, report = build(folder, out)
    check_against(table, people)
    assert "values_that_differ_between_files_first_kept" not in report["participants"]


def test_the_first_array_that_has_a_value_counts(folder, out, people, extracts):
    arrays = dict(people)
    values = arrays.pop(Place(30710))
    arrays[Place(30710, 0, 0)] = [None] * PEOPLE
    arrays[Place(30710, 0, 1)] = values
    arrays[Place(30710, 0, 2)] = [9.0] * PEOPLE
    extracts.write_text(extracts.spell(arrays, "ukbconv csv"), folder / "a.csv")
    table, _ = build(folder, out)
    check_against(table, people)


def test_everything_that_is_missing_is_listed_together(folder, out):
    (folder / "a.csv").write_text("eid,30716-0.0\n1,1\n")
    with pytest.raises(CohortError) as caught:
        build(folder, out)
    assert len(caught.value.problems) == 5
    for part in ("field 31 (Sex)", "field 53", "21022", "30710 (crp)", "date_of_death"):
        assert part in str(caught.value)
    assert not out.exists()


def test_a_visit_that_is_not_in_the_extract(folder, out, people, extracts):
    extracts.write_text(extracts.spell(people, "platform"), folder / "a.csv")
    with pytest.raises(CohortError, match=r"field 53 .* is missing at visit 2"):
        build(folder, out, UkbConfiguration(visit=2))


def test_another_unit_is_recognised(folder, out, people, extracts):
    people[Place(30750)] = [5.4] * PEOPLE  # % in place of mmol/mol
    people[Place(30600)] = [4.5] * PEOPLE  # g/dL
    extracts.write_text(extracts.spell(people, "platform"), folder / "a.csv")
    with pytest.raises(CohortError) as caught:
        build(folder, out)
    assert [problem.split()[0] for problem in caught.value.problems] == ["hba1c", "albumin"]


def test_single_errors_are_counted_and_another_coding_is_refused(folder, out, people, extracts):
    sexes, dates = [str(s) for s in people[Place(31)]], [str(d) for d in people[Place(53)]]
    people[Place(31)] = ["x", *sexes[1:]]
    people[Place(53)] = ["03/25/2008", *dates[1:]]  # a month of 25
    extracts.write_text(extracts.spell(people, "platform"), folder / "a.csv")
    table, report = build(folder, out)
    assert report["values_not_readable"] == {"Sex": 1, "Date of attending assessment centre": 1}
    assert len(table) == PEOPLE - 1
    people[Place(31)] = ["x"] * 20 + sexes[20:]
    people[Place(53)] = ["03/25/2008"] * 20 + dates[20:]
    extracts.write_text(extracts.spell(people, "platform"), folder / "a.csv")
    with pytest.raises(CohortError) as caught:
        build(folder, out)
    assert len(caught.value.problems) == 2
    assert "20 of 240 values are neither" in str(caught.value)
    assert "20 of 320 values are neither" in str(caught.value)  # of both visits


def test_every_damaged_file_is_listed_and_nothing_is_written(folder, out, people, extracts):
    extracts.write_text(extracts.spell(people, "platform"), folder / "a.csv")
    for name in ("b.csv", "c.csv"):
        (folder / name).write_text("eid,30710-0.0\n1,1\n2\n")
    with pytest.raises(CohortError) as caught:
        build(folder, out)
    assert len(caught.value.problems) == 2
    assert not out.exists()
    assert not out.with_suffix(".report.json").exists()


def test_the_report_has_no_data_of_one_person(folder, out, people, extracts):
    scatter(people, folder, extracts)
    build(folder, out)
    text = out.with_suffix(".report.json").read_text()
    assert json.loads(text)["participants"]["participants_written"] == PEOPLE
    assert not [eid for eid in people["eid"] if str(eid) in text]
    assert not [d for d in people[Place(40000)] if d and str(d) in text]


def test_one_file_may_be_named(folder, out, people, extracts):
    path = extracts.write_text(extracts.spell(people, "platform"), folder / "export_table")
    table, report = build(path, out)
    check_against(table, people)
    assert list(report["files"]) == ["export_table"]


def test_the_table_may_lie_in_the_extract(folder, people, extracts):
    extracts.write_text(extracts.spell(people, "platform"), folder / "a.csv")
    inside = folder / "cohort.parquet"
    build(folder, inside)
    table, report = build(folder, inside)
    check_against(table, people)
    assert report["unused_files"] == {}
    shutil.rmtree(folder)


QUOTED = """f.eid\tf.31.0.0\tf.53.0.0\tf.21003.0.0\tf.20115.0.0\tf.30710.0.0\tf.40000.0.0
1\t0\t2008-03-01\t55\tx\t1.5\t2015-02-02
2\t1\t2008-03-01\t55\t"5 ft\t1.5\tNA
3\t1\t2008-03-01\t55\tx\t1.5\tNA
4\t1\t2008-03-01\t55\t"6 ft\t1.5\tNA
5\t"1"\t"2008-03-01"\t"55"\t"x"\t"1.5"\t"NA"
"""


def test_a_quote_at_the_start_of_a_cell_loses_no_row(folder, out):
    (folder / "ukb.tab").write_text(QUOTED)
    table, report = build(folder, out)
    assert table["participant_id"].tolist() == [1, 2, 3, 4, 5]
    assert table["crp"].tolist() == [1.5] * 5
    assert report["files"]["ukb.tab"]["rows"] == 5


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_rows_that_a_quote_would_join_are_refused(folder, out, end):
    (folder / "ukb.csv").write_bytes(QUOTED.replace("\t", ",").replace("\n", end).encode())
    with pytest.raises(CohortError, match=r"5 lines below.*but 3 rows.*first in line ") as caught:
        build(folder, out)
    assert f"first in line {5 if end == chr(10) * 2 else 3}, and" in str(caught.value)
    assert not out.exists()


@pytest.mark.parametrize("short", ["01/03/08", "1-Mar-08"])
def test_a_year_of_two_digits_is_refused_with_its_line(folder, out, people, extracts, short):
    dates = [str(d) for d in people[Place(53)]]
    people[Place(53)] = [*dates[:3], short, *dates[4:]]
    extracts.write_text(extracts.spell(people, "platform"), folder / "a.csv")
    with pytest.raises(CohortError, match="line 5: the year has two digits") as caught:
        build(folder, out)
    assert short not in str(caught.value)


def test_times_of_centuries_are_refused(folder, out, people, extracts):
    dates = [str(d) for d in people[Place(53)]]
    people[Place(53)] = ["1718-03-01", *dates[1:]]
    extracts.write_text(extracts.spell(people, "platform"), folder / "a.csv")
    with pytest.raises(CohortError, match=r"must be 2006 or later.*1 of 240 dates are earlier"):
        build(folder, out)
    people[Place(53)] = dates
    people[Place(40000, 0)] = [None] * PEOPLE
    extracts.write_text(extracts.spell(people, "platform"), folder / "a.csv")
    far = CensoringDates(england="2322-11-30", scotland="2022-11-30", wales="2022-11-30")
    with pytest.raises(CohortError, match="followed for over a hundred years"):
        build(folder, out, UkbConfiguration(censoring=far))
