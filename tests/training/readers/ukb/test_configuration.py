import pytest
from henaw.model.errors import ConfigurationError
from henaw.training.readers.ukb.configuration import UkbConfiguration, read_ukb_configuration


def test_the_command_line_overrides_the_file(tmp_path):
    path = tmp_path / "ukb.yaml"
    path.write_text(
        "visit: 1\ncensoring: {england: 2023-05-31, wales: '2020-01-31'}\n"
        "limits: [{biomarker: crp, low: 0.08, high: 80}]\n"
    )
    configuration = read_ukb_configuration(path, visit=0, censor=["wales=2021-01-31"])
    assert configuration.visit == 0
    assert configuration.censoring.england == "2023-05-31"
    assert configuration.censoring.wales == "2021-01-31"
    assert configuration.censoring.scotland == UkbConfiguration().censoring.scotland
    assert configuration.limits[0].high == 80
    assert read_ukb_configuration(None) == UkbConfiguration()
    assert read_ukb_configuration(None, mix_visits=True).mix_visits


def test_every_wrong_entry_is_listed(tmp_path):
    path = tmp_path / "ukb.yaml"
    path.write_text(
        "visit: 4\nmix_visits: 1\ncensoring: {england: soon, ireland: 2020-01-01}\n"
        "beyond_limit: guess\nlimits: [{biomarker: crpp, low: 3, high: 2}]\ndementa: all\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        read_ukb_configuration(path)
    for part in (
        "visit must be 0 to 3; got 4",
        "mix_visits",
        "england must be YYYY-MM-DD; got 'soon'",
        "ireland: unknown key",
        "beyond_limit must be",
        "got 'crpp'",
        "low=3",
        "dementa: unknown key",
    ):
        assert part in str(caught.value), part


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, r"ukb\.yaml"), (b"- 1", "mapping"), (b"a: [", "YAML"), (b"\xff", "YAML")],
)
def test_files_that_are_not_a_configuration(tmp_path, content, message):
    path = tmp_path / "ukb.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        read_ukb_configuration(path)


def test_a_nation_without_a_date_is_refused():
    with pytest.raises(ConfigurationError, match="must be NATION=YYYY-MM-DD; got england"):
        read_ukb_configuration(None, censor=["england"])


def test_one_visit_excludes_mixed_visits():
    with pytest.raises(ConfigurationError, match="mix_visits must be off"):
        UkbConfiguration(visit=1, mix_visits=True)
