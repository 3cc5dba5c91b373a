"""What a search may change: checked whole, drawn, and put into a configuration."""

import dataclasses
from pathlib import Path

import optuna
import pytest
from henaw.model.configuration import read_configuration
from henaw.model.errors import ConfigurationError
from henaw.training.configuration import TrainingConfiguration, read_training_configuration
from henaw.training.search.space import (
    DEFAULT_SEARCH,
    LISTS,
    RANGES,
    Range,
    SearchConfiguration,
    SearchSpace,
    read_search_configuration,
)
from optuna.trial import FixedTrial

SHIPPED = Path(__file__).parents[3] / "training" / "configs" / "nhanes.yaml"


def test_every_wrong_entry_of_a_file_is_in_one_message(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(
        "elastic_weigth: {low: 0.1, high: 0.2}\n"
        "elastic_alpha: {low: 0.5, high: 0.1}\n"
        "hierarchy: {low: 0, high: 1, log: true}\n"
        "knots: [1, 2]\n"
        "bands: [all, elderly]\n"
        "startup_trials: 0\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigurationError) as caught:
        read_search_configuration(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    for expected in (
        "elastic_weigth: unknown key, did you mean elastic_weight?",
        "elastic_alpha.low must be below high, both finite; got low=0.5, high=0.1",
        "hierarchy.low must be > 0 where log is true; got 0.0",
        "knots[0] must be a list; got 1",
        "bands must be some of ['all', '20-49', '40-69', '65+'], each once; got ['all', 'elderly']",
        "startup_trials must be >= 1; got 0",
    ):
        assert expected in message, message


def test_a_search_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"at least one of .*; got none"):
        read_configuration(SearchConfiguration, {"bands": ["all"]}, subject="empty")


def test_a_file_reads_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "search.yaml"
    path.write_text(
        "elastic_weight: {low: 1.0e-6, high: 1.0e-3, log: true}\n"
        "follow_up_years: [8, 15]\n"
        "interactions: [[], [[crp, rdw]]]\n"
        "bands: [40-69]\n",
        encoding="utf-8",
    )
    assert read_search_configuration(path) == SearchConfiguration(
        elastic_weight=Range(low=1e-6, high=1e-3, log=True),
        follow_up_years=(8.0, 15.0),
        interactions=((), (("crp", "rdw"),)),
        bands=("40-69",),
    )


def test_a_search_that_does_not_fit_the_configuration_is_one_message(
    configuration: TrainingConfiguration,
) -> None:
    held = dataclasses.replace(
        configuration, cohort=dataclasses.replace(configuration.cohort, hold_out=("late",))
    )
    search = SearchConfiguration(
        elastic_alpha=Range(low=0.0, high=1.5),
        adaptive_lambda=Range(low=0.5, high=1.0),
        knots=((1.0, 0.0),),
        interactions=((("crp", "crq"),),),
        surveys=("early", "late"),
    )
    with pytest.raises(ConfigurationError) as caught:
        SearchSpace(search, held)
    assert len(caught.value.problems) == 5
    for expected in (
        "elastic_alpha must be 0 to 1; got 1.5",
        "adaptive_lambda: the range must contain the configured value, 0.1; got 0.5 to 1",
        "knots must be at least 1 increasing numbers; got [1.0, 0.0]",
        "interactions: unknown biomarker 'crq'",
        "surveys: 'late' is held out by the configuration",
    ):
        assert expected in str(caught.value)


def test_the_default_search_is_around_the_shipped_configuration() -> None:
    configuration = read_training_configuration(SHIPPED)
    space = SearchSpace(DEFAULT_SEARCH, configuration)
    hyperparameters = space.read_hyperparameters(space.configured)
    assert space.apply(hyperparameters) == configuration
    assert set(hyperparameters) == {*RANGES, *LISTS} - {"knots"}


def test_drawn_settings_go_into_their_own_part(configuration: TrainingConfiguration) -> None:
    search = SearchConfiguration(
        elastic_weight=Range(low=1e-6, high=1e-3, log=True),
        adaptive_lambda=Range(low=0.0, high=1.0),
        follow_up_years=(8.0,),
        interactions=((("crp", "rdw"),), ()),
    )
    space = SearchSpace(search, configuration)
    trial = FixedTrial(
        {
            "elastic_weight": 1.23456e-5,
            "adaptive_lambda": 0.333333,
            "follow_up_years": "8.0",
            "interactions": '[["crp", "rdw"]]',
        }
    )
    hyperparameters = space.suggest(trial)  # type: ignore[arg-type]
    assert hyperparameters == {
        "elastic_weight": 1.23e-5,
        "adaptive_lambda": 0.333,
        "follow_up_years": 8.0,
        "interactions": (("crp", "rdw"),),
    }
    assert isinstance(
        trial.distributions["interactions"], optuna.distributions.CategoricalDistribution
    )
    assert trial.distributions["interactions"].choices == (
        '[["crp", "hba1c"], ["creatinine", "albumin"]]',
        '[["crp", "rdw"]]',
        "[]",
    )
    changed = space.apply(hyperparameters)
    assert (changed.fit.elastic_weight, changed.fit.follow_up_years) == (1.23e-5, 8.0)
    assert changed.network.adaptive_lambda == 0.333
    assert changed.network.interactions == (("crp", "rdw"),)
    assert (
        dataclasses.replace(changed, fit=configuration.fit, network=configuration.network)
        == configuration
    )


def test_rounding_leaves_the_configured_value_and_the_range_alone(
    configuration: TrainingConfiguration,
) -> None:
    exact = dataclasses.replace(
        configuration, fit=dataclasses.replace(configuration.fit, elastic_alpha=0.123456)
    )
    space = SearchSpace(SearchConfiguration(elastic_alpha=Range(low=0.1114, high=0.8888)), exact)
    assert space.read_hyperparameters({"elastic_alpha": 0.123456}) == {"elastic_alpha": 0.123456}
    assert space.read_hyperparameters({"elastic_alpha": 0.1114}) == {"elastic_alpha": 0.1114}
    assert space.read_hyperparameters({"elastic_alpha": 0.8888}) == {"elastic_alpha": 0.8888}
    assert space.read_hyperparameters({"elastic_alpha": 0.55555}) == {"elastic_alpha": 0.556}
