"""What every entry of the panel must say, whichever biomarkers there are."""

import re

import pytest
from henaw.model.biomarkers import (
    INDEX,
    PANEL,
    SYSTEM_NAMES,
    SYSTEMS,
    Biomarker,
    describe_fitted_panel,
    describe_panel,
    list_total_cv,
    suggest_name,
)
from henaw.model.graph.transforms import LOG_SCALED
from henaw.model.panel.units import UNIT_REWRITES, fold_unit

every = pytest.mark.parametrize("biomarker", PANEL, ids=lambda biomarker: biomarker.name)


@every
def test_reference_intervals_lie_in_the_accepted_range(biomarker: Biomarker) -> None:
    for low, high in zip(biomarker.reference.low, biomarker.reference.high, strict=True):
        ends = [end for end in (biomarker.minimum, low, high, biomarker.maximum) if end is not None]
        assert ends == sorted(set(ends))
    assert len(biomarker.reference.low) == 2
    assert biomarker.reference.source


@every
def test_a_harmful_side_has_a_reference_and_a_critical_limit(biomarker: Biomarker) -> None:
    assert biomarker.harmful
    assert biomarker.harmful <= {"low", "high"}
    for side, limit in (("low", biomarker.critical_low), ("high", biomarker.critical_high)):
        assert (limit is not None) == (side in biomarker.harmful)
        if limit is not None:
            assert None not in getattr(biomarker.reference, side)


@every
def test_critical_limits_lie_beyond_the_usual_values(biomarker: Biomarker) -> None:
    low, high = biomarker.critical_low, biomarker.critical_high
    if low is not None and low.value is not None:
        assert biomarker.minimum < low.value < min(filter(None, biomarker.reference.low))
    if high is not None and high.value is not None:
        assert max(filter(None, biomarker.reference.high)) < high.value < biomarker.maximum


@every
def test_a_limit_without_a_value_says_that_none_is_published(biomarker: Biomarker) -> None:
    for limit in (biomarker.critical_low, biomarker.critical_high):
        if limit is not None:
            assert (limit.value is None) == limit.source.startswith("no published limit")


def test_harmful_sides_and_missing_limits_are_the_reviewed_ones() -> None:
    unpublished = {
        (biomarker.name, side)
        for biomarker in PANEL
        for side in ("low", "high")
        for limit in (getattr(biomarker, f"critical_{side}"),)
        if limit is not None and limit.value is None
    }
    lymphocytes = {("lymphocyte_pct", "low"), ("lymphocyte_pct", "high")}
    assert unpublished == {("hba1c", "high"), ("rdw", "high"), *lymphocytes}
    harmful = {biomarker.name: set(biomarker.harmful) for biomarker in PANEL}
    assert harmful.pop("albumin") == {"low"}
    assert harmful.pop("lymphocyte_pct") == {"low", "high"}
    assert all(sides == {"high"} for sides in harmful.values())


def test_systems_come_from_the_entries_in_a_fixed_order() -> None:
    assert tuple(SYSTEMS) == SYSTEM_NAMES
    assert dict(SYSTEMS) == {
        "inflammation": ("crp", "lymphocyte_pct"),
        "metabolism": ("hba1c", "ggt", "ast", "alt"),
        "organ_function": ("creatinine", "albumin"),
        "hematology": ("lymphocyte_pct", "rdw"),
    }
    assert all(set(biomarker.systems) <= set(SYSTEM_NAMES) for biomarker in PANEL)


def test_scales_come_from_the_entries() -> None:
    logged = dict(zip(INDEX, LOG_SCALED, strict=True))
    assert [name for name, log in logged.items() if not log] == ["albumin", "lymphocyte_pct"]


@every
def test_synonyms_mean_one_biomarker(biomarker: Biomarker) -> None:
    assert biomarker.synonyms
    for spelling in (biomarker.label, *biomarker.synonyms):
        assert suggest_name(spelling) == biomarker.name
        assert suggest_name(spelling.upper().replace(" ", "_")) == biomarker.name


@every
def test_spellings_mean_units_that_are_accepted(biomarker: Biomarker) -> None:
    assert set(biomarker.spellings.values()) <= set(biomarker.units)
    assert not set(biomarker.spellings) & {fold_unit(unit) for unit in biomarker.refused_units}


@every
def test_a_typical_value_is_usual(biomarker: Biomarker) -> None:
    lows = [low or biomarker.minimum for low in biomarker.reference.low]
    highs = [high or biomarker.maximum for high in biomarker.reference.high]
    assert max(lows) < biomarker.typical < min(highs)


def test_a_checkpoint_has_what_a_fit_depends_on_and_no_source() -> None:
    for row, whole in zip(describe_fitted_panel(), describe_panel(), strict=True):
        assert not {"synonyms", "units", "loinc", "ukb_field", "label"} & set(row)
        assert "source" not in str(row)
        assert whole["reference"]["source"]
        assert row["variation"]["within_person"] > 0
    assert list_total_cv() == [biomarker.variation.total_cv for biomarker in PANEL]


def test_rewrites_are_of_the_syntax_that_javascript_shares() -> None:
    for pattern, replacement in UNIT_REWRITES:
        assert not re.search(r"\(\?(P|<|[aiLmsux]+[):-])|\\[AZ]", pattern)
        groups = re.compile(pattern).groups
        assert all(int(number) <= groups for number in re.findall(r"\$(\d)", replacement))
