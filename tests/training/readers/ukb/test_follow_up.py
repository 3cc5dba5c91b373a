from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from henaw.training.readers.ukb.configuration import CensoringDates
from henaw.training.readers.ukb.follow_up import follow_up
from henaw.training.readers.ukb.values import NATIONS

VISIT = date(2010, 1, 1)
CENSORING = CensoringDates(england="2020-01-01", scotland="2019-01-01", wales="2018-01-01")


def person(*, nation="england", visit=VISIT, lost=None, died=None, cause=None, record=False):
    people = pl.DataFrame(
        {
            "eid": [1],
            "visit_date": [visit],
            "nation": [None if nation is None else NATIONS.index(nation)],
            "lost_date": [lost],
        },
        schema={"eid": pl.Int64, "visit_date": pl.Date, "nation": pl.Int8, "lost_date": pl.Date},
    )
    schema = {"eid": pl.Int64, "death_date": pl.Date, "ucod_leading": pl.Int8}
    rows = [(1, died, cause)] if died or record else []
    deaths = pl.DataFrame(rows, schema=schema, orient="row")
    table, report = follow_up(people, deaths, CENSORING)
    (row,) = table.select("death", "followup_months", "ucod_leading").rows()
    return row, report["counts"]


def months(start, end):
    return pytest.approx((end - start).days / (365.25 / 12))


@pytest.mark.parametrize(
    ("nation", "end"),
    [
        ("england", date(2020, 1, 1)),
        ("scotland", date(2019, 1, 1)),
        ("wales", date(2018, 1, 1)),
        (None, date(2018, 1, 1)),
    ],
)
def test_survivors_are_followed_to_their_nations_date(nation, end):
    row, counts = person(nation=nation)
    assert row == (0, months(VISIT, end), None)
    assert counts["nation_unknown"] == (nation is None)


def test_a_death_ends_follow_up():
    row, counts = person(died=date(2015, 6, 1), cause=2)
    assert row == (1, months(VISIT, date(2015, 6, 1)), 2)
    assert counts["died_during_follow_up"] == 1


def test_a_death_on_the_last_day_counts_and_one_after_it_does_not():
    assert person(died=date(2020, 1, 1), cause=1)[0][0] == 1
    row, counts = person(died=date(2020, 1, 2), cause=1)
    assert row == (0, months(VISIT, date(2020, 1, 1)), None)
    assert counts["deaths_after_censoring_counted_as_survival"] == 1


def test_the_lost_are_censored_when_they_were_lost():
    lost = date(2012, 1, 1)
    row, counts = person(lost=lost)
    assert row == (0, months(VISIT, lost), None)
    assert counts["censored_when_lost_to_follow_up"] == 1
    assert person(lost=lost, died=date(2015, 1, 1))[0] == (0, months(VISIT, lost), None)
    assert person(lost=lost, died=date(2011, 1, 1))[0][0] == 1


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"visit": date(2021, 1, 1)}, "not_followed_visit_after_censoring"),
        ({"died": date(2009, 1, 1), "cause": 1}, "not_followed_death_before_visit"),
        ({"record": True, "cause": 1}, "not_followed_cause_without_date"),
    ],
)
def test_whoever_cannot_be_followed_has_no_outcome(given, reason):
    row, counts = person(**given)
    assert row == (None, None, None)
    assert counts[reason] == 1
    assert counts["followed"] == 0


def test_a_death_on_the_day_of_the_visit_is_followed():
    assert person(died=VISIT, cause=1)[0] == (1, 0.0, 1)


@pytest.mark.parametrize(
    ("censored", "warning"),
    [
        ("2018-12-31", None),
        ("2022-11-30", "count as alive"),
        ("2015-01-31", "to use them"),
    ],
)
@pytest.mark.parametrize("stray", [0, 5], ids=["no stray", "stray deaths"])
def test_dates_are_compared_with_the_deaths_there_are(censored, warning, stray):
    """By UK Biobank's rule: the last month near the mean of the three before."""
    n = 20_000
    random = np.random.default_rng(1)
    days = random.integers(0, 3287, n)  # 2010 to the end of 2018
    # What has reached the register of the months after.
    days[:60] = random.integers(3287, 3287 + 60, 60)
    # A death years after the others is a slip, not a complete register.
    days[60 : 60 + stray] = 3287 + 1000
    people = pl.DataFrame(
        {"eid": range(n), "visit_date": [VISIT] * n, "nation": [0] * n, "lost_date": [None] * n},
        schema={"eid": pl.Int64, "visit_date": pl.Date, "nation": pl.Int8, "lost_date": pl.Date},
    )
    deaths = pl.DataFrame(
        {
            "eid": range(n),
            "death_date": [VISIT + timedelta(int(d)) for d in days],
            "ucod_leading": [1] * n,
        }
    )
    dates = CensoringDates(england=censored, scotland=censored, wales=censored)
    _, report = follow_up(people, deaths, dates)
    assert report["censoring"]["england"]["last_complete_month_of_deaths"] == "2018-12"
    assert len(report["warnings"]) == (warning is not None)
    assert warning is None or warning in report["warnings"][0]
