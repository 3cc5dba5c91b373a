import dataclasses
from pathlib import Path

import pytest
from henaw.handler.configuration import (
    Bucket,
    HandlerConfiguration,
    Limits,
    NativeConfiguration,
    RuntimeConfiguration,
    ThrottleConfiguration,
    load_configuration,
)
from henaw.model.errors import ConfigurationError

SERVE_CONFIG = Path(__file__).resolve().parents[2] / "serve_config"


def test_the_local_configuration_is_as_documented() -> None:
    throttle = load_configuration(SERVE_CONFIG / "local" / "handler.yaml").throttle
    assert throttle.anonymous == throttle.keyed == Bucket(rate=1000, period_s=1, burst=2000)
    assert throttle.accepted_keys is None
    # The largest request allowed fits a rested client's bucket.
    assert Limits().instances * throttle.cost_per_instance <= throttle.anonymous.burst


def test_the_production_configuration_is_the_default_one() -> None:
    production = load_configuration(SERVE_CONFIG / "production" / "handler.yaml")
    # The network has no default for production, since it names files of the host.
    assert production.native.require_key
    assert dataclasses.replace(production, native=NativeConfiguration()) == HandlerConfiguration()
    assert production.throttle.anonymous == Bucket(rate=10, period_s=60, burst=10)
    assert production.throttle.keyed == Bucket(rate=600, period_s=60, burst=600)


def test_an_empty_file_means_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "handler.yaml").write_text("")
    assert load_configuration(tmp_path / "handler.yaml") == HandlerConfiguration()


def test_every_problem_is_in_one_error(tmp_path: Path) -> None:
    path = tmp_path / "handler.yaml"
    path.write_text(
        """
limits: {body_bytes: "8 MB", instances: true}
runtime: {threads: 0}
throttle:
  anonymous: {rate: 10, burst: 10}
  keyed: 600
  burts: 7
colour: blue
"""
    )
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(path)
    for expected in (
        "limits.body_bytes must be a whole number; got '8 MB'",
        "limits.instances must be a whole number; got True",
        "runtime: threads must be above 0; got 0",
        "throttle.anonymous.period_s is missing",
        "throttle.keyed must be a mapping; got 600",
        "throttle.burts is unknown",
        "colour is unknown",
    ):
        assert any(problem.startswith(expected) for problem in caught.value.problems), expected


@pytest.mark.parametrize("text", ["[1, 2]", "{", "\x00", "!!python/object:os.system {}"])
def test_what_is_not_a_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "handler.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        load_configuration(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"handler\.yaml"):
        load_configuration(tmp_path / "handler.yaml")


def test_values_are_checked_at_construction() -> None:
    with pytest.raises(ConfigurationError, match="2 problems"):
        Bucket(rate=0, period_s=-1, burst=1)
    with pytest.raises(ConfigurationError, match="cooldown_s"):
        RuntimeConfiguration(cooldown_s=0)
    with pytest.raises(ConfigurationError, match="2 problems"):
        ThrottleConfiguration(cost_per_instance=-1, proxy_header="X Real IP")


def test_a_key_in_place_of_its_digest_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ThrottleConfiguration(accepted_keys=frozenset({"my-secret-key"}))
    assert "my-secret-key" not in str(caught.value)


def test_the_url_of_redis_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    path, secret = tmp_path / "handler.yaml", tmp_path / "url"
    path.write_text(f"throttle: {{redis_file: {secret}}}")
    secret.write_text("rediss://:secret@redis:6379/0\n")
    throttle = load_configuration(path).throttle
    assert throttle.redis == "rediss://:secret@redis:6379/0"
    assert throttle.redis_file == str(secret)


@pytest.mark.parametrize(
    ("written", "content", "said"),
    [
        ("redis_file: {}", None, "throttle.redis_file cannot be read: No such file"),
        ("redis_file: {}", b"\xff", "throttle.redis_file cannot be read: it is not UTF-8"),
        ("redis_file: {}", b"http://:secret@redis", "throttle.redis must begin with one of"),
        ("redis_file: run/url", None, "redis_file must be an absolute path; got 'run/url'"),
        (
            "redis: redis://a, redis_file: {}",
            b"redis://b",
            "give either throttle.redis or throttle.redis_file",
        ),
    ],
)
def test_a_file_without_a_usable_url_is_refused_and_not_shown(
    tmp_path: Path, written: str, content: bytes | None, said: str
) -> None:
    path, secret = tmp_path / "handler.yaml", tmp_path / "url"
    path.write_text(f"throttle: {{{written.format(secret)}}}")
    if content is not None:
        secret.write_bytes(content)
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(path)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)  # neither password nor URL
