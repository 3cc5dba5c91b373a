"""The manifests hold to the published schemas, and to each other."""

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import redis
import yaml
from henaw.cli.server.torchserve import LONGEST_STOP_S
from henaw.handler.configuration import load_configuration

REPOSITORY = Path(__file__).resolve().parents[2]
KUBERNETES = REPOSITORY / "serve_config" / "kubernetes"
PASSWORD = "0123456789abcdef"
SELECTING = {"Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy"}
TORCHSERVE = "  # - ../components/torchserve\n"

Document = dict[str, Any]


def render(folder: Path) -> list[Document]:
    """What ``kubectl apply -k`` would send."""
    if shutil.which("kubectl") is None:
        pytest.skip("no kubectl, whose kustomize renders the manifests")
    command = ["kubectl", "kustomize", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return list(yaml.safe_load_all(result.stdout))


@pytest.fixture(scope="module", params=["native", "torchserve"])
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """``production`` as it is, and with the line for TorchServe taken in."""
    folder = tmp_path_factory.mktemp("kubernetes") / "kubernetes"
    shutil.copytree(KUBERNETES, folder)
    if request.param == "torchserve":
        path = folder / "production" / "kustomization.yaml"
        text = path.read_text()
        assert TORCHSERVE in text
        path.write_text(text.replace(TORCHSERVE, TORCHSERVE.replace("# ", "")))
    return render(folder / "production")


def read_kserve(name: str) -> Document:
    document: Document = yaml.safe_load((KUBERNETES / "kserve" / f"{name}.yaml").read_text())
    return document


def find(documents: list[Document], kind: str, name: str = "henaw") -> Document:
    (found,) = [d for d in documents if (d["kind"], d["metadata"]["name"]) == (kind, name)]
    return found


def list_pods(documents: list[Document]) -> list[Document]:
    return [d["spec"]["template"] for d in documents if d["kind"] == "Deployment"]


def matches(selector: Document, labels: Document) -> bool:
    wanted = selector.get("matchLabels", selector)
    assert wanted, "an empty selector is every pod of the namespace"
    return wanted.items() <= labels.items()


def check_service_monitor(document: Document) -> None:
    from cloudcoil.models.prometheus_operator.v1 import ServiceMonitor

    read = ServiceMonitor.model_validate(document)
    # A field that the operator does not know would be gone.
    assert read.model_dump(mode="json", by_alias=True, exclude_unset=True) == document


def check_schema(document: Document) -> None:
    if document["kind"] == "ServiceMonitor":
        check_service_monitor(document)
    else:
        kubernetes_validate.validate(document, "1.37", strict=True)


def test_every_document_holds_to_its_schema(rendered: list[Document]) -> None:
    for document in rendered:
        check_schema(document)
    assert {d["kind"] for d in rendered} >= {
        *("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"),
        *("NetworkPolicy", "ServiceMonitor", "Ingress", "ServiceAccount", "ConfigMap"),
    }


def misspell(document: Document) -> None:
    document["spec"]["selecter"] = {}


def misspell_inside(document: Document) -> None:
    spec = document["spec"]
    (spec.get("endpoints") or spec["template"]["spec"]["containers"])[0]["intervall"] = "1s"


@pytest.mark.parametrize("kind", ["Deployment", "ServiceMonitor"])
@pytest.mark.parametrize("change", [misspell, misspell_inside])
def test_a_misspelt_field_is_found(
    rendered: list[Document], kind: str, change: Callable[[Document], None]
) -> None:
    document = yaml.safe_load(yaml.safe_dump(find(rendered, kind)))
    change(document)
    with pytest.raises((kubernetes_validate.ValidationError, AssertionError)):
        check_schema(document)


def list_containers(rendered: list[Document]) -> Iterator[tuple[Document, Document]]:
    for pod in list_pods(rendered):
        for container in pod["spec"]["containers"]:
            yield pod["spec"], container


def test_no_pod_is_more_than_it_needs_to_be(rendered: list[Document]) -> None:
    """The restricted Pod Security Standard, and a root file system that nobody writes to."""
    for pod, container in list_containers(rendered):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["limits"]["memory"]
        assert all("sizeLimit" in v["emptyDir"] for v in pod["volumes"] if "emptyDir" in v)
        assert all(v["secret"]["defaultMode"] == 0o440 for v in pod["volumes"] if "secret" in v)


def test_images_are_named_by_digest(rendered: list[Document]) -> None:
    server = find(rendered, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    for image in (
        server["image"],
        read_kserve("cluster-serving-runtime")["spec"]["containers"][0]["image"],
    ):
        assert re.fullmatch(r"registry\.example/henaw(-torchserve)?@sha256:[0-9a-f]{64}", image)


def test_what_is_named_is_there(rendered: list[Document]) -> None:
    pods = {pod["metadata"]["labels"]["app.kubernetes.io/name"]: pod for pod in list_pods(rendered)}
    assert set(pods) == {"henaw", "henaw-redis"}
    for document in rendered:
        if document["kind"] not in SELECTING:
            continue
        selector = document["spec"].get("podSelector") or document["spec"]["selector"]
        chosen = [n for n, pod in pods.items() if matches(selector, pod["metadata"]["labels"])]
        assert chosen == [document["metadata"]["name"]], document["kind"]
    ports = {p["name"] for p in pods["henaw"]["spec"]["containers"][0]["ports"]}
    service = find(rendered, "Service")
    assert {p["targetPort"] for p in service["spec"]["ports"]} <= ports
    offered = {p["name"] for p in service["spec"]["ports"]}
    assert {e["port"] for e in find(rendered, "ServiceMonitor")["spec"]["endpoints"]} <= offered
    monitored = find(rendered, "ServiceMonitor")["spec"]["selector"]
    assert matches(monitored, service["metadata"]["labels"])
    (rule,) = find(rendered, "Ingress")["spec"]["rules"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert (backend["name"], backend["port"]["name"] in offered) == ("henaw", True)
    assert find(rendered, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"] == "henaw"
    maps = {d["metadata"]["name"] for d in rendered if d["kind"] == "ConfigMap"}
    for pod in pods.values():
        volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
        assert {v["configMap"]["name"] for v in volumes.values() if "configMap" in v} <= maps
        mounted = {m["name"] for m in pod["spec"]["containers"][0]["volumeMounts"]}
        assert mounted == set(volumes)


def test_the_secrets_are_those_that_the_docs_have_made(rendered: list[Document]) -> None:
    wanted = {
        volume["secret"]["secretName"]
        for pod in list_pods(rendered)
        for volume in pod["spec"]["volumes"]
        if "secret" in volume
    } | {tls["secretName"] for tls in find(rendered, "Ingress")["spec"]["tls"]}
    text = (REPOSITORY / "docs" / "production.md").read_text()
    assert set(re.findall(r"kubectl create secret (?:generic|tls) ([a-z-]+)", text)) == wanted


def test_the_network_lets_through_what_has_to_pass(rendered: list[Document]) -> None:
    policy = find(rendered, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert [p["port"] for rule in policy["ingress"] for p in rule["ports"]] == ["http", "monitor"]
    to_redis = policy["egress"][-1]
    redis_pod = find(rendered, "Deployment", "henaw-redis")["spec"]["template"]
    assert matches(to_redis["to"][0]["podSelector"], redis_pod["metadata"]["labels"])
    assert to_redis["ports"] == [{"port": 6379}]
    (back,) = find(rendered, "NetworkPolicy", "henaw-redis")["spec"]["ingress"]
    server = find(rendered, "Deployment")["spec"]["template"]
    assert matches(back["from"][0]["podSelector"], server["metadata"]["labels"])


def test_pods_are_asked_started_and_ended_as_the_server_needs_it(rendered: list[Document]) -> None:
    deployment = find(rendered, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    torchserve = "torchserve" in container["image"]
    for probe, path in (
        ("startupProbe", "/ready"),
        ("livenessProbe", "/ping" if torchserve else "/live"),
        ("readinessProbe", "/ready"),
    ):
        asked = container[probe]["httpGet"]
        assert asked["path"] == path
        assert asked["port"] in ports
    starting = container["startupProbe"]
    assert starting["periodSeconds"] * starting["failureThreshold"] >= 120
    waits_s = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] > LONGEST_STOP_S + waits_s
    # The autoscaler's number of pods holds, and one may always go.
    assert "replicas" not in deployment
    budget = find(rendered, "PodDisruptionBudget")["spec"]["maxUnavailable"]
    assert budget < find(rendered, "HorizontalPodAutoscaler")["spec"]["minReplicas"]


def test_the_servers_configuration_is_one(tmp_path: Path) -> None:
    pytest.importorskip("henaw.handler.native", reason="the native engine is not there")
    secret = tmp_path / "secret"
    text = (KUBERNETES / "base" / "handler.yaml").read_text()
    path = tmp_path / "handler.yaml"
    secret.write_text("redis://:password@henaw-redis:6379/0\n")
    path.write_text(text.replace("/etc/henaw/redis/url", str(secret)))
    configuration = load_configuration(path)
    assert configuration.monitor.address == "0.0.0.0"
    assert configuration.throttle.redis == "redis://:password@henaw-redis:6379/0"
    for engine in ("native", "torchserve"):
        load_configuration(REPOSITORY / "serve_config" / "container" / engine / "handler.yaml")


def asks_for_a_password(port: int) -> bool:
    """False where nothing listens yet."""
    with redis.Redis(port=port) as client:
        try:
            client.ping()
        except redis.AuthenticationError:
            return True
        except redis.ConnectionError:
            return False
    raise AssertionError("it asked for no password")


def test_redis_asks_for_the_password_of_the_secret(
    rendered: list[Document], tmp_path: Path
) -> None:
    """The container's own command, with the Secret's folder and the port put elsewhere."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server")
    (container,) = find(rendered, "Deployment", "henaw-redis")["spec"]["template"]["spec"][
        "containers"
    ]
    (tmp_path / "password").write_text(PASSWORD)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (script,) = container["args"]
    script = script.replace("/etc/redis-password", str(tmp_path))
    script = script.replace("redis-server -", f"redis-server - --port {port} --bind 127.0.0.1")
    with subprocess.Popen(
        [*container["command"], script], cwd=tmp_path, stdout=subprocess.DEVNULL
    ) as server:
        try:
            deadline_s = time.monotonic() + 30
            while not asks_for_a_password(port):
                assert time.monotonic() < deadline_s
                time.sleep(0.05)
            with redis.Redis(port=port, password=PASSWORD) as client:
                assert client.ping()
                assert client.config_get("save") == {"save": ""}
        finally:
            server.terminate()


def test_kserve_reads_the_runtime_and_the_service() -> None:
    runtime, service = read_kserve("cluster-serving-runtime"), read_kserve("inference-service")
    spec = runtime["spec"]
    pod = {"containers": spec["containers"], "volumes": spec["volumes"]}
    kubernetes_validate.validate(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "henaw"}, "spec": pod},
        "1.37",
        strict=True,
    )
    model = service["spec"]["predictor"]["model"]
    assert model["runtime"] == runtime["metadata"]["name"]
    assert model["protocolVersion"] in spec["protocolVersions"]
    assert model["modelFormat"]["name"] in {f["name"] for f in spec["supportedModelFormats"]}
    # KServe asks for the model by the service's name.
    assert service["metadata"]["name"] == "henaw"


LIST_KSERVES_MODELS = """
import json
from kserve import models

print(json.dumps({
    name: [kind.attribute_map, kind.openapi_types]
    for name, kind in vars(models).items() if hasattr(kind, "attribute_map")
}))
"""


@pytest.fixture(scope="module")
def kserves_models() -> dict[str, list[dict[str, str]]]:
    """By kind: KServe's own name of each field, and the kind of its value."""
    python = os.environ.get("HENAW_KSERVE_PYTHON")
    if python is None:
        pytest.skip("set HENAW_KSERVE_PYTHON to a Python that has kserve")
    listed: dict[str, list[dict[str, str]]] = json.loads(
        subprocess.check_output([python, "-c", LIST_KSERVES_MODELS], text=True).splitlines()[-1]
    )
    return listed


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("cluster-serving-runtime", "V1alpha1ClusterServingRuntime"),
        ("inference-service", "V1beta1InferenceService"),
    ],
)
def test_kserves_own_models_know_every_field(
    kserves_models: dict[str, list[dict[str, str]]], name: str, kind: str
) -> None:
    def check(document: Any, kind: str, where: str) -> None:
        many = re.fullmatch(r"list\[(.+)\]", kind)
        if many:
            for number, item in enumerate(document):
                check(item, many[1], f"{where}[{number}]")
        elif kind in kserves_models:
            attributes, kinds = kserves_models[kind]
            fields = {key: field for field, key in attributes.items()}
            for key, value in document.items():
                assert key in fields, f"{where}.{key}"
                check(value, kinds[fields[key]], f"{where}.{key}")

    assert kind in kserves_models
    check(read_kserve(name), kind, kind)
