"""What the graph says of an answer: critical values, distance, reliable, percentile."""

import itertools

import numpy as np
import numpy.typing as npt
import pytest
import torch
from henaw.export.people import People, draw_anywhere, draw_synthetic_people, join_people
from henaw.model.biomarkers import INDEX, NAMES, PANEL
from henaw.model.checkpoint import Checkpoint
from henaw.model.graph.tables import PERCENTILES, list_published_limits
from henaw.model.network import Network
from henaw.model.runtime import Runtime

Array = npt.NDArray[np.float64]
TYPICAL = tuple(biomarker.typical for biomarker in PANEL)


@pytest.fixture(scope="module")
def people(checkpoint: Checkpoint) -> People:
    """Likely people, likely values in unlikely company, and values from anywhere."""
    likely = draw_synthetic_people(checkpoint, 3_000, seed=61)
    generator = np.random.default_rng(62)
    mixed = likely.biomarkers.copy()
    for column in range(len(NAMES)):
        far = np.argsort(mixed[:, column])[[*range(60), *range(-60, 0)]]
        mixed[generator.permutation(3_000)[:120], column] = mixed[far, column]
    everyone = join_people(likely, likely._replace(biomarkers=mixed), draw_anywhere(1_000, 63))
    biomarkers = everyone.biomarkers.copy()
    everyone.age[3_000:6_000:20] = 88.0
    rows = np.arange(len(biomarkers)) % 2 == 1
    hidden = generator.random(biomarkers.shape) < 0.3
    biomarkers[rows[:, None] & hidden] = np.nan
    return everyone._replace(biomarkers=biomarkers)


@pytest.mark.parametrize("name", NAMES)
def test_values_are_critical_exactly_beyond_the_stored_limits(
    runtime: Runtime, checkpoint: Checkpoint, name: str
) -> None:
    column = INDEX[name]
    low = checkpoint.tensors["critical_low"].numpy()[column]
    high = checkpoint.tensors["critical_high"].numpy()[column]
    ends = [np.float32(-1e9), low, high, np.float32(1e9)]
    if PANEL[column].critical_low is not None:
        ends[0] = np.nextafter(low, np.float32(-1e9))
    if PANEL[column].critical_high is not None:
        ends[3] = np.nextafter(high, np.float32(1e9))
    rows = np.tile(np.array(TYPICAL, np.float32), (4, 1))
    rows[:, column] = ends
    outputs = runtime.predict(rows, np.full(4, 50, np.float32), np.zeros(4, np.int64))
    expected = [PANEL[column].critical_low is not None, False, False]
    expected.append(PANEL[column].critical_high is not None)
    assert outputs["critical"][:, column].tolist() == expected
    assert outputs["critical"].sum() == sum(expected)
    assert not outputs["reliable"][expected].any()


def test_critical_limits_are_the_published_ones(checkpoint: Checkpoint) -> None:
    for side, published in zip(("low", "high"), list_published_limits(), strict=True):
        stored = checkpoint.tensors[f"critical_{side}"]
        given = ~torch.isnan(published)
        torch.testing.assert_close(stored[given], published[given], rtol=0, atol=0)
        # Where none is published, it is beyond what one in a thousand of the fitted has.
        fitted = checkpoint.tensors[f"range_{side}"]
        if side == "low":
            assert (stored[~given] < fitted[~given]).all()
        else:
            assert (stored[~given] > fitted[~given]).all()


def test_a_direction_without_a_limit_is_never_critical(runtime: Runtime) -> None:
    largest = np.finfo(np.float32).max
    for value in (-largest, largest):
        outputs = runtime.predict(
            np.full((1, 9), value, np.float32), np.full(1, 50, np.float32), np.zeros(1, np.int64)
        )
        side = "critical_low" if value < 0 else "critical_high"
        expected = [getattr(biomarker, side) is not None for biomarker in PANEL]
        assert outputs["critical"][0].tolist() == expected


def test_a_missing_value_is_not_critical(runtime: Runtime) -> None:
    for value in (np.nan, np.inf, -np.inf):
        outputs = runtime.predict(
            np.full((1, 9), value, np.float32), np.full(1, 50, np.float32), np.zeros(1, np.int64)
        )
        assert not outputs["critical"].any()


def compute_unclipped(people: People, tables: dict[str, Array]) -> Array:
    """Scores of the nine that go on beyond the tabulated quantiles, as steeply as there."""
    grid = np.linspace(-4.0, 4.0, tables["margin"].shape[1])
    years = np.arange(20, 86)
    scores = np.full(people.biomarkers.shape, np.nan)
    for i, biomarker in enumerate(PANEL):
        x = np.clip(people.biomarkers[:, i].astype(float), biomarker.minimum, biomarker.maximum)
        x = np.log(x) if biomarker.log_scaled else x
        at_age = [
            np.where(
                people.sex == 0,
                np.interp(people.age, years, tables[name][0, :, i]),
                np.interp(people.age, years, tables[name][1, :, i]),
            )
            for name in ("location", "scale")
        ]
        z = (x - at_age[0]) / at_age[1]
        margin = tables["margin"][i]
        inside = np.interp(z, margin, grid)
        steps = 4  # of 32 over eight scores: one score
        below = (z - margin[0]) / (margin[steps] - margin[0])
        above = (z - margin[-1]) / (margin[-1] - margin[-1 - steps])
        scores[:, i] = inside + np.minimum(below, 0.0) + np.maximum(above, 0.0)
        scores[np.isnan(x), i] = np.nan
    return scores


def test_reliable_is_near_not_critical_and_within_the_ages(
    runtime: Runtime, tables: dict[str, Array], people: People
) -> None:
    """Nothing critical, a fitted age, something known, and values together as usual."""
    outputs = runtime.predict(*people)
    scores = compute_unclipped(people, tables)
    known = ~np.isnan(people.biomarkers)
    pattern = ~known @ (1 << np.arange(9))
    distance = np.zeros(len(scores))
    for row, (z, seen) in enumerate(zip(scores, known, strict=True)):
        inverse = np.linalg.inv(tables["correlation"][:9, :9][np.ix_(seen, seen)])
        distance[row] = z[seen] @ inverse @ z[seen]
    limit = tables["distance_limit"][pattern]
    critical = known & (
        (people.biomarkers < tables["critical_low"]) | (people.biomarkers > tables["critical_high"])
    )
    np.testing.assert_array_equal(outputs["critical"], critical)
    near = distance <= limit
    expected = near & ~critical.any(1) & known.any(1) & (people.age >= 20) & (people.age <= 85)
    clear = np.abs(distance / limit - 1) > 1e-3
    assert clear.mean() > 0.99
    np.testing.assert_array_equal(outputs["reliable"][clear], expected[clear])
    # Each condition alone makes some people not reliable.
    rest = ~critical.any(1) & (people.age >= 20) & (people.age <= 85)
    assert (~near & rest).sum() > 10
    assert (near & critical.any(1)).sum() > 10
    assert (near & ~critical.any(1) & ~rest).sum() > 5
    assert outputs["reliable"][:3_000].mean() > 0.98


def test_the_graphs_distance_is_that_of_the_known_block(
    network: Network, tables: dict[str, Array], people: People
) -> None:
    features = network.build_features(*map(torch.from_numpy, people))
    seen = network.compute_distance(features)[:, 0].double().numpy()
    scores = compute_unclipped(people, tables)
    for row in range(0, len(scores), 50):
        known = ~np.isnan(scores[row])
        inverse = np.linalg.inv(tables["correlation"][:9, :9][np.ix_(known, known)])
        expected = scores[row, known] @ inverse @ scores[row, known]
        assert seen[row] == pytest.approx(expected, rel=2e-3, abs=1e-3)


@pytest.mark.parametrize("age", [19.999, 20.0, 85.0, 85.01, 18.0, 120.0])
def test_outside_the_fitted_ages_nothing_is_reliable(runtime: Runtime, age: float) -> None:
    outputs = runtime.predict(
        np.array([TYPICAL], np.float32), np.full(1, age, np.float32), np.zeros(1, np.int64)
    )
    assert outputs["reliable"][0] == (20 <= age <= 85)


@pytest.mark.parametrize(("age", "sex"), [(np.nan, 0), (np.inf, 1), (50.0, 2), (50.0, -1)])
def test_a_row_that_answers_nan_is_not_reliable_and_has_no_percentile(
    runtime: Runtime, age: float, sex: int
) -> None:
    outputs = runtime.predict(
        np.array([TYPICAL] * 2, np.float32),
        np.array([50.0, age], np.float32),
        np.array([0, sex], np.int64),
    )
    assert outputs["reliable"].tolist() == [True, False]
    assert np.isfinite(outputs["percentile"][0])
    assert np.isnan(outputs["percentile"][1])
    assert np.isnan(outputs["draw_sd"][1])


def test_the_percentile_is_read_off_the_gaps_at_each_age(
    runtime: Runtime, tables: dict[str, Array], people: People
) -> None:
    outputs = runtime.predict(*people)
    years = np.arange(20, 86)
    for row in range(0, len(people.age), 25):
        gaps = [
            np.interp(people.age[row], years, column)
            for column in tables["gap_percentiles"][people.sex[row]].T
        ]
        gap = float(outputs["age_gap"][row])
        expected = np.interp(gap, gaps, PERCENTILES)
        # A gap in float32 is good to 1e-5 years of an age of 100.
        steepness = (np.diff(PERCENTILES) / np.diff(gaps)).max()
        assert outputs["percentile"][row] == pytest.approx(expected, abs=1e-3 + 2e-5 * steepness)
    assert outputs["percentile"].min() == pytest.approx(PERCENTILES[0])
    assert outputs["percentile"].max() == pytest.approx(PERCENTILES[-1])


def test_the_percentile_rises_with_the_gap(runtime: Runtime, people: People) -> None:
    outputs = runtime.predict(
        people.biomarkers, np.full_like(people.age, 47.5), np.zeros_like(people.sex)
    )
    order = np.argsort(outputs["age_gap"])
    assert (np.diff(outputs["percentile"][order]) >= -1e-3).all()


def test_the_typical_person_is_at_the_50th_percentile(runtime: Runtime) -> None:
    for age, sex in itertools.product((25.0, 40.0, 62.5, 80.0), (0, 1)):
        outputs = runtime.predict(
            np.full((1, 9), np.nan, np.float32),
            np.full(1, age, np.float32),
            np.full(1, sex, np.int64),
        )
        assert outputs["percentile"][0] == pytest.approx(50.0, abs=2.5)
