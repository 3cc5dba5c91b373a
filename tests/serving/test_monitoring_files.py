"""The Prometheus and Grafana files that ship."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml
from henaw.handler.configuration import load_configuration
from henaw.handler.observe.exposition import WorkersCollector
from prometheus_client.core import Metric

SERVE_CONFIG = Path(__file__).resolve().parents[2] / "serve_config"
MONITORING = SERVE_CONFIG / "monitoring"
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
OF_TORCHSERVE = {
    *("ts_queue_latency_microseconds", "ts_inference_requests_total", "Requests5XX"),
    "up",
}
"""TorchServe's own metrics, as its metrics.yaml names them, and Prometheus's."""


@pytest.mark.parametrize(
    "command",
    [["check", "config", "prometheus.yml"], ["check", "rules", "alerts.yml"],
     ["test", "rules", "alerts_test.yml"]],
)  # fmt: skip
def test_promtool_finds_no_problem(command: list[str]) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("no promtool: it comes with Debian's package prometheus")
    result = subprocess.run(
        ["promtool", *command], cwd=MONITORING, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_alert_has_a_test_that_fires_and_one_that_does_not() -> None:
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    alerts = {rule["alert"] for rule in rules}
    quiet, loud = yaml.safe_load((MONITORING / "alerts_test.yml").read_text())["tests"]
    assert {test["alertname"] for test in quiet["alert_rule_test"]} == alerts
    samples = loud["promql_expr_test"][0]["exp_samples"]
    assert {re.findall('"(.*)"', sample["labels"])[0] for sample in samples} == alerts
    assert all(rule["annotations"]["action"] for rule in rules)


def list_exposed(families: list[Metric]) -> set[str]:
    return {f.name + suffix for f in families for suffix in SUFFIXES[f.type]}


@pytest.fixture
def exposed(tmp_path: Path) -> set[str]:
    return list_exposed(list(WorkersCollector(tmp_path, patience_s=15.0).collect()))


def find_names(query: str) -> set[str]:
    """Return the metrics that a query reads."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|on) \([^)]*\)", "", query)
    return set(re.findall(r"\b(?:henaw_\w+|ts_\w+|Requests5XX|up)\b", bare))


def test_every_query_reads_what_is_exposed(exposed: set[str]) -> None:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())["groups"][0]["rules"]
    queries += [rule["expr"] for rule in rules]
    for query in queries:
        names = find_names(query)
        assert names, query
        assert names <= exposed | OF_TORCHSERVE, query
    shown = {name for query in queries for name in find_names(query)}
    # A panel shows every metric.
    families = {re.sub("_(total|bucket|sum|count)$", "", name) for name in exposed}
    assert families <= {re.sub("_(total|bucket|sum|count)$", "", name) for name in shown}


@pytest.mark.parametrize("name", ["local", "production"])
def test_prometheus_scrapes_the_monitors_address(name: str) -> None:
    scraped = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"][0] for job in scraped}
    monitor = load_configuration(SERVE_CONFIG / name / "handler.yaml").monitor
    assert targets["henaw"] == f"{monitor.address}:{monitor.port}"
    assert monitor.address == "127.0.0.1"
    lines = (SERVE_CONFIG / name / "config.properties").read_text().splitlines()
    metrics = next(line for line in lines if line.startswith("metrics_address="))
    assert targets["torchserve"] == urlsplit(metrics.partition("=")[2]).netloc
