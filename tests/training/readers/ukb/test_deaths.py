from datetime import date

import polars as pl
import pytest
from henaw.intake.words.ukb_names import Place
from henaw.training.readers.ukb.deaths import merge_deaths, take_fields, take_records

FIRST, SECOND, THIRD = date(2015, 1, 2), date(2015, 3, 4), date(2016, 5, 6)
SCHEMA = {"eid": pl.Int64, "record": pl.Int32, "date": pl.Date, "cause": pl.String}


def records(*rows):
    return pl.DataFrame(list(rows), schema=SCHEMA, orient="row")


def merge(*frames, other_dementia=True):
    people, counts = merge_deaths(frames, other_dementia=other_dementia)
    return people.sort("eid").rows(), counts


def test_the_earliest_date_is_kept_with_its_cause():
    rows, counts = merge(records((1, 0, SECOND, "C34"), (1, 1, FIRST, "I21"), (2, 0, THIRD, "E11")))
    assert rows == [(1, FIRST, 1), (2, THIRD, 7)]
    assert counts["people_with_a_death_record"] == 2
    assert counts["with_more_than_one_record"] == 1
    assert counts["with_dates_that_differ_earliest_kept"] == 1
    assert counts["with_causes_that_differ_earliest_record_kept"] == 1


def test_the_same_death_from_two_places_is_no_conflict():
    wide = records((1, 0, FIRST, "I21"))
    table, causes = records((1, 0, FIRST, None)), records((1, 0, None, "I21"))
    rows, counts = merge(wide, table, causes)
    assert rows == [(1, FIRST, 1)]
    differing = [name for name in counts if "differ" in name or "more_than" in name]
    assert [counts[name] for name in differing] == [0, 0, 0]


def test_one_record_with_two_dates_is_a_conflict():
    rows, counts = merge(records((1, 0, SECOND, None)), records((1, 0, FIRST, None)))
    assert rows == [(1, FIRST, None)]
    assert counts["with_dates_that_differ_earliest_kept"] == 1
    assert counts["with_more_than_one_record"] == 0


def test_causes_of_one_class_do_not_differ():
    _, counts = merge(records((1, 0, FIRST, "I21"), (1, 1, FIRST, "I25")))
    assert counts["with_causes_that_differ_earliest_record_kept"] == 0


def test_a_cause_is_taken_from_another_record_where_the_first_has_none():
    rows, _ = merge(records((1, 0, FIRST, None), (1, 1, SECOND, "C50")))
    assert rows == [(1, FIRST, 2)]


def test_a_cause_without_a_date_gets_no_date():
    rows, counts = merge(records((1, 0, None, "C50")))
    assert rows == [(1, None, 2)]
    assert counts["with_a_cause_and_no_date"] == 1


def test_no_one_died():
    rows, counts = merge(records())
    assert rows == []
    assert set(counts.values()) == {0}


def test_fields_become_records():
    places = [Place(40000, 0), Place(40000, 1), Place(40001, 0), Place(40001, 1)]
    frame = pl.DataFrame(
        {
            "eid": [1, 2, 3],
            str(places[0]): [FIRST, None, None],
            str(places[1]): [SECOND, None, None],
            str(places[2]): ["I21", None, None],
            str(places[3]): [None, None, "C50"],
        },
        schema_overrides={str(p): pl.Date for p in places[:2]}
        | {str(p): pl.String for p in places[2:]},
    )
    assert take_fields(frame, places).sort("eid", "record").rows() == [
        (1, 0, FIRST, "I21"),
        (1, 1, SECOND, None),
        (3, 1, None, "C50"),
    ]


@pytest.mark.parametrize("place", ["level", "array"])
def test_contributory_causes_are_left_out(place):
    first, other = ("1", "2") if place == "level" else ("0", "1")
    frame = pl.DataFrame(
        {"eid": [1, 1], "record": ["0", "0"], place: [other, first], "cause": ["C50", "I219"]}
    )
    found = take_records(frame)
    assert found.select("eid", "record", "date", "cause").rows() == [(1, 0, None, "I21")]


def test_unreadable_dates_of_the_record_table_are_counted():
    frame = pl.DataFrame({"eid": [1, 2], "record": ["0", "0"], "date": ["02/01/2015", "2015"]})
    found = take_records(frame)
    assert found["date"].to_list() == [FIRST, None]
    assert found["date_unread"].to_list() == [False, True]
