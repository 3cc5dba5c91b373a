"""What the two shipped configurations promise."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

SERVE_CONFIG = Path(__file__).resolve().parents[2] / "serve_config"
LOOPBACK = "127.0.0.1"


def read(name: str) -> dict[str, str]:
    lines = (SERVE_CONFIG / name / "config.properties").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.fixture(params=["local", "production"])
def properties(request: pytest.FixtureRequest) -> dict[str, str]:
    return read(request.param)


def test_the_operators_addresses_are_on_loopback(properties: dict[str, str]) -> None:
    for key in ("management_address", "metrics_address"):
        assert urlsplit(properties[key]).hostname == LOOPBACK
    for key in ("grpc_inference_address", "grpc_management_address"):
        assert properties[key] == LOOPBACK


def test_calls_by_grpc_end_though_they_get_no_answer(properties: dict[str, str]) -> None:
    for server in ("inference", "management"):
        for age in ("max_connection_age_ms", "max_connection_age_grace_ms"):
            assert int(properties[f"grpc_{server}_{age}"]) <= 60_000


def test_nothing_is_fetched_or_decoded_before_the_handler(properties: dict[str, str]) -> None:
    assert properties["allowed_urls"] in ("file://.*", "none://.*")
    assert properties["install_py_dep_per_model"] == "false"
    assert properties["decode_input_request"] == "false"
    # The handler's own limit is smaller, so that its answer names the limit.
    assert int(properties["max_request_size"]) > 8 * 1024 * 1024


def test_a_batch_has_room_for_the_whole_queue(properties: dict[str, str]) -> None:
    """The handler refuses with Retry-After; TorchServe, if its queue is full, without."""
    model = yaml.safe_load((SERVE_CONFIG / "model-config.yaml").read_text())
    assert int(properties["job_queue_size"]) == model["batchSize"] == 1024


def test_local_answers_this_machine_without_a_token() -> None:
    local = read("local")
    assert urlsplit(local["inference_address"]).hostname == LOOPBACK
    assert local["disable_token_authorization"] == "true"


def test_production_requires_tokens_over_tls_and_changes_no_models() -> None:
    production = read("production")
    assert urlsplit(production["inference_address"]).scheme == "https"
    assert production["disable_token_authorization"] == "false"
    assert production["enable_model_api"] == "false"
    assert production["enable_envvars_config"] == "false"
    assert not Path(production["private_key_file"]).is_relative_to(SERVE_CONFIG)


def test_models_are_only_added_from_the_model_store() -> None:
    for name in ("local", "production"):
        properties = read(name)
        if properties.get("enable_model_api") == "true":
            assert properties["allowed_urls"] == "none://.*"


def test_no_key_is_in_the_repository() -> None:
    for path in SERVE_CONFIG.rglob("*"):
        assert path.is_dir() or b"PRIVATE KEY" not in path.read_bytes()
