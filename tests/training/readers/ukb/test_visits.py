from datetime import date

import polars as pl
import pytest
from henaw.training.readers.ukb.configuration import DetectionLimits, UkbConfiguration
from henaw.training.readers.ukb.visits import fill_beyond_limits, select_visits

FIRST, SECOND = date(2008, 6, 14), date(2013, 6, 15)


def one(configuration=None, **columns):
    """One person at two visits, born in June 1950, CRP at both, as joined."""
    base = {
        "31_0": 0,
        "53_0": FIRST,
        "53_1": SECOND,
        "21003_0": 57.0,
        "21003_1": 63.0,
        "30710_0": 1.0,
        "30710_1": 2.0,
    }
    values = {"eid": 1, **base, **columns}
    people = pl.DataFrame({name: [value] for name, value in values.items() if value is not None})
    table, counts = select_visits(people, configuration or UkbConfiguration())
    return (table.row(0, named=True) if table.height else None), counts


def test_the_first_visit_with_a_biomarker_counts():
    row, counts = one()
    assert (row["survey"], row["visit_date"], row["age"], row["crp"]) == (
        "UK Biobank visit 0",
        FIRST,
        57,
        1.0,
    )
    row, counts = one(**{"30710_0": None})
    assert (row["survey"], row["visit_date"], row["age"], row["crp"]) == (
        "UK Biobank visit 1",
        SECOND,
        63,
        2.0,
    )
    assert counts["at_visit_1"] == 1


def test_values_of_another_visit_are_never_mixed_in():
    row, _ = one(**{"30600_1": 44.0})
    assert row["crp"] == 1.0
    assert row["albumin"] is None


def test_a_value_too_low_to_report_is_a_measurement():
    row, _ = one(**{"30710_0": None, "30716_0": -1})
    assert row["survey"] == "UK Biobank visit 0"


def test_the_chosen_visit_counts():
    row, _ = one(UkbConfiguration(visit=1))
    assert (row["visit_date"], row["age"], row["crp"]) == (SECOND, 63, 2.0)
    row, counts = one(UkbConfiguration(visit=2))
    assert row is None
    assert counts["no_visit_with_a_date"] == 1


def test_mixed_visits_start_at_the_latest_that_was_used():
    configuration = UkbConfiguration(mix_visits=True)
    row, counts = one(configuration, **{"30600_1": 44.0})
    assert (row["crp"], row["albumin"], row["visit_date"], row["age"]) == (1.0, 44.0, SECOND, 63)
    assert counts["with_biomarkers_of_several_visits"] == 1
    row, counts = one(configuration)
    assert (row["crp"], row["visit_date"]) == (1.0, FIRST)
    assert counts["with_biomarkers_of_several_visits"] == 0


def test_without_a_biomarker_the_first_visit_counts_and_is_said():
    row, counts = one(**{"30710_0": None, "30710_1": None})
    assert row["visit_date"] == FIRST
    assert counts["without_any_biomarker"] == 1


@pytest.mark.parametrize(
    ("columns", "age"),
    [
        ({"21003_0": 57.0, "21022_0": 56.0}, 57),
        ({"21003_0": None, "21022_0": 56.0}, 56),
        # The fifteenth of the month of birth is assumed.
        ({"21003_0": None, "34_0": 1950, "52_0": 6}, 57),
        ({"21003_0": None, "34_0": 1950, "52_0": 6, "53_0": date(2008, 6, 15)}, 58),
        ({"21003_0": None, "34_0": 1950, "52_0": 5}, 58),
        ({"21003_0": None, "34_0": 1950, "52_0": 7}, 57),
    ],
)
def test_age_in_completed_years(columns, age):
    row, counts = one(**columns)
    assert row["age"] == age
    assert counts["age_computed_from_birth"] == ("34_0" in columns)


def test_age_at_recruitment_is_not_that_of_a_later_visit():
    row, counts = one(UkbConfiguration(visit=1), **{"21003_1": None, "21022_0": 57.0})
    assert row is None
    assert counts["no_age"] == 1


def test_ages_that_disagree_are_counted():
    _, counts = one(**{"34_0": 1940, "52_0": 6})
    assert counts["recorded_age_kept_though_birth_says_otherwise"] == 1
    _, counts = one(**{"34_0": 1950, "52_0": 6})
    assert counts["recorded_age_kept_though_birth_says_otherwise"] == 0


@pytest.mark.parametrize(
    ("column", "reason"),
    [("31_0", "no_sex"), ("21003_0", "no_age")],
)
def test_whoever_lacks_what_a_fit_needs_is_counted(column, reason):
    row, counts = one(**{column: None})
    assert row is None
    assert counts[reason] == 1


def test_the_nation_is_that_of_the_first_assessment():
    row, _ = one(UkbConfiguration(visit=1), **{"54_0": 1, "54_1": 0})
    assert row["nation"] == 1


def limited(n, configuration=None):
    """CRP of n people from 0.08 to 80, one too low, one too high, one both given and not."""
    values = [0.08, 80.0, *[1.0] * (n - 3), 2.0, None, None, None]
    codes = [*[0] * (n - 1), -1, -1, 1, None]
    people = pl.DataFrame(
        {
            "eid": range(n + 3),
            "31_0": 0,
            "53_0": FIRST,
            "21003_0": 57.0,
            "30710_0": values,
            "30716_0": codes,
        }
    )
    configuration = configuration or UkbConfiguration()
    table, _ = select_visits(people, configuration)
    table, report = fill_beyond_limits(table, configuration)
    assert not [name for name in table.columns if name.endswith("_limit")]
    return table.sort("eid")["crp"].to_list()[-4:], report["crp"]


def test_values_beyond_the_limits_get_what_the_extract_shows():
    values, report = limited(1000)
    assert values == [2.0, 0.08, 80.0, None]
    assert report == {
        "below_limit": 1,
        "above_limit": 1,
        "beyond_limit": "set to the limit",
        "called_unreportable_yet_given_kept": 1,
    }


def test_few_people_do_not_show_a_limit():
    values, report = limited(999)
    assert values == [2.0, None, None, None]
    assert report["beyond_limit"] == "left missing"


def test_given_limits_hold_for_any_number():
    limits = (DetectionLimits(biomarker="crp", low=0.1, high=90.0),)
    values, _ = limited(10, UkbConfiguration(limits=limits))
    assert values == [2.0, 0.1, 90.0, None]


def test_leaving_them_out_is_an_option():
    values, report = limited(1000, UkbConfiguration(beyond_limit="missing"))
    assert values == [2.0, None, None, None]
    assert report["below_limit"] == 1
