"""The manifests, rendered and validated, and compared with the service."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app.main import create_app, create_service
from app.settings import PREFIX, Settings
from app.web.routes import image_router, metrics_router, probe_router, router
from tests.helpers.paths import ROOT

DEPLOY = ROOT / "deploy"
OVERLAYS = DEPLOY / "k8s" / "overlays"
KUBECTL = Path(sys.executable).with_name("kubectl")
VERSION = "1.30.0"  # the oldest supported cluster: preStop can sleep without a shell since then
IDLE = 800 * 10**6  # bytes of the idle process and its sandbox: docs/operations.md, "Image"
GPU = "../../components/gpu"
REGISTRY = "registry.example/photos"

Manifest = dict[str, Any]

ROUTERS = (image_router, router, probe_router, metrics_router)
PATHS = {route.path for each in ROUTERS for route in each.routes}  # type: ignore[attr-defined]


def render(folder: Path) -> dict[str, Manifest]:
    """Return the objects that `kubectl apply -k` sends, by kind: there is one of each."""
    text = subprocess.run(
        [KUBECTL, "kustomize", folder], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    manifests = list(yaml.safe_load_all(text))
    by_kind = {manifest["kind"]: manifest for manifest in manifests}
    assert len(by_kind) == len(manifests)
    return by_kind


def render_with_gpu(position: str, folder: Path, **images: str) -> dict[str, Manifest]:
    """Render the production overlay with the component for GPUs.

    Args:
        position: "first" or "last" in the overlay's components, or "above" in an overlay that has
            the production overlay as its resource.
        folder: an empty folder for a copy of the manifests.
        images: new names of images, set in the topmost overlay with `_` for `-`.
    """
    shutil.copytree(DEPLOY / "k8s", folder, dirs_exist_ok=True)
    file = folder / "overlays" / "prod" / "kustomization.yaml"
    overlay = yaml.safe_load(file.read_text())
    if position == "above":
        overlay = {"resources": ["../prod"], "components": [GPU], "images": []}
        file = folder / "overlays" / "gpu" / "kustomization.yaml"
        file.parent.mkdir()
    else:
        overlay["components"].insert(0 if position == "first" else 99, GPU)
    for name, new_name in images.items():
        overlay["images"].append({"name": name.replace("_", "-"), "newName": new_name})
    file.write_text(yaml.safe_dump(overlay))
    return render(file.parent)


@pytest.fixture(scope="module", params=["dev", "prod", "first", "last", "above"])
def manifests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Render each overlay, and the production overlay with GPUs in every position."""
    if request.param in ("dev", "prod"):
        return render(OVERLAYS / request.param)
    return render_with_gpu(request.param, tmp_path_factory.mktemp("kustomize"))


def container(manifests: dict[str, Manifest]) -> Manifest:
    """Return the one container of the one pod."""
    (only,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(only)


def test_the_published_schemas(manifests: dict[str, Manifest]) -> None:
    """Each manifest is valid for the API server of that version, without unknown fields."""
    for kind, manifest in manifests.items():
        if kind != "ServiceMonitor":  # the Prometheus operator's own
            kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_the_security_context_is_restricted(manifests: dict[str, Manifest]) -> None:
    """The Pod Security Standard "restricted" is met, and the root is read-only."""
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(manifests)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False


def test_the_user_is_the_image_user(manifests: dict[str, Manifest]) -> None:
    """The Dockerfile and the pod name the same user."""
    user = manifests["Deployment"]["spec"]["template"]["spec"]["securityContext"]
    (line,) = re.findall(r"^USER (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert line == f"{user['runAsUser']}:{user['runAsGroup']}"


def test_service_links_are_off(manifests: dict[str, Manifest]) -> None:
    """Kubernetes would set CLUT_ENHANCE_SERVICE_HOST, which is not a setting: no start."""
    name = manifests["Service"]["metadata"]["name"].upper().replace("-", "_")
    assert name.startswith(PREFIX)
    assert manifests["Deployment"]["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_the_grace_period_covers_the_shutdown(manifests: dict[str, Manifest]) -> None:
    """No pod is killed while it completes requests in flight."""
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    only = container(manifests)
    drain = float(environment(only)["CLUT_HTTP_DRAIN_SECONDS"])
    asleep = only["lifecycle"]["preStop"]["sleep"]["seconds"]
    shutdown = asleep + drain + Settings().http.graceful_timeout
    assert pod["terminationGracePeriodSeconds"] > shutdown


def test_probes_and_ports_exist(manifests: dict[str, Manifest]) -> None:
    """Each path is a route, each port the default one."""
    only = container(manifests)
    probes = [only[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert {probe["path"] for probe in probes} <= PATHS
    (port,) = only["ports"]
    assert port == {"name": "http", "containerPort": Settings().http.port}
    assert {probe["port"] for probe in probes} == {"http"}
    assert {p["targetPort"] for p in manifests["Service"]["spec"]["ports"]} == {"http"}


def test_selectors_find_the_pods(manifests: dict[str, Manifest]) -> None:
    """The service, the disruption budget, the policy and the spread select the pods."""
    template = manifests["Deployment"]["spec"]["template"]
    selectors = [
        manifests["Deployment"]["spec"]["selector"]["matchLabels"],
        manifests["Service"]["spec"]["selector"],
        manifests["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        manifests["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *[
            spread["labelSelector"]["matchLabels"]
            for spread in template["spec"]["topologySpreadConstraints"]
        ],
    ]
    for selector in selectors:
        assert selector
        assert selector.items() <= template["metadata"]["labels"].items()


def test_network_policy(manifests: dict[str, Manifest]) -> None:
    """Ingress: pods with one label, the ingress controller and Prometheus. Egress: none."""
    policy = manifests["NetworkPolicy"]["spec"]
    (rule,) = policy["ingress"]
    clients, *namespaces = rule["from"]
    # Without the labels that kustomize adds to our own pods.
    assert clients == {"podSelector": {"matchLabels": {"clut-enhance/client": "true"}}}
    labels = [namespace["namespaceSelector"]["matchLabels"] for namespace in namespaces]
    assert labels == [
        {"kubernetes.io/metadata.name": name} for name in ("ingress-nginx", "monitoring")
    ]
    assert rule["ports"] == [{"port": "http"}]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []


def test_a_roll_out_keeps_all_replicas(manifests: dict[str, Manifest]) -> None:
    """A new pod is ready before an old one stops; a drained node evicts one pod at a time."""
    rolling = manifests["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": 1}
    assert manifests["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    if scaler := manifests.get("HorizontalPodAutoscaler"):
        assert scaler["spec"]["minReplicas"] > 1


def test_the_autoscaler_target_is_one_request_per_core(manifests: dict[str, Manifest]) -> None:
    """As docs/performance.md recommends, wherever the component for GPUs stands."""
    if scaler := manifests.get("HorizontalPodAutoscaler"):
        (metric,) = scaler["spec"]["metrics"]
        cores = container(manifests)["resources"]["limits"]["cpu"]
        assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": cores}


def test_the_memory_limit_covers_the_budgets(manifests: dict[str, Manifest]) -> None:
    """The limit holds the memory budget, all bodies, /tmp and the idle process together."""
    settings, only = Settings(), container(manifests)
    limit = int(only["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30
    (tmp,) = manifests["Deployment"]["spec"]["template"]["spec"]["volumes"]
    scratch = int(tmp["emptyDir"]["sizeLimit"].removesuffix("Mi")) * 2**20
    assert limit > memory_of(settings) + scratch


def test_the_memory_limits_of_compose_cover_the_budgets() -> None:
    """Every service of docker-compose.yml that runs the image has room for both budgets."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    limits = [
        int(it["deploy"]["resources"]["limits"]["memory"].removesuffix("g")) * 2**30
        for name, it in services.items()
        if name.startswith("clut-enhance")
    ]
    assert limits
    assert min(limits) > memory_of(Settings())


def memory_of(settings: Settings) -> int:
    """Return the most bytes that a process and its sandbox take with these settings."""
    return settings.admission.memory_bytes + settings.upload.budget_bytes + IDLE


def test_image_and_device_agree(manifests: dict[str, Manifest]) -> None:
    """A pod has the CUDA image, a GPU and the setting that uses it, or none of the three."""
    only = container(manifests)
    gpus = only["resources"]["limits"].get("nvidia.com/gpu")
    image = only["image"].rpartition(":")[0]
    assert (image, gpus, environment(only).get("CLUT_DEVICE_NAME")) in [
        ("clut-enhance", None, None),
        ("clut-enhance-cuda", "1", "cuda"),
    ]


@pytest.mark.parametrize("position", ["first", "last", "above"])
def test_the_cuda_image_can_come_from_a_registry(position: str, tmp_path: Path) -> None:
    """The topmost overlay sets the registry of the CUDA image, and it is the image that runs."""
    cuda = f"{REGISTRY}/clut-enhance-cuda"
    names = {"clut_enhance": f"{REGISTRY}/clut-enhance", "clut_enhance_cuda": cuda}
    only = container(render_with_gpu(position, tmp_path, **names))
    assert only["image"].startswith(f"{cuda}:")
    assert only["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_clients_without_a_key_are_accepted_explicitly(manifests: dict[str, Manifest]) -> None:
    """The manifest decides who may send requests, not the image."""
    assert environment(container(manifests))["CLUT_AUTH_ALLOW_ANONYMOUS"] == "true"


def environment(container: Manifest) -> dict[str, str]:
    """Return the environment variables of a container."""
    return {variable["name"]: variable["value"] for variable in container["env"]}


def test_autoscaling_and_monitoring() -> None:
    """The autoscaler reads a metric that the adapter provides; Prometheus scrapes the service."""
    manifests = render(OVERLAYS / "prod")
    (metric,) = manifests["HorizontalPodAutoscaler"]["spec"]["metrics"]
    name = metric["pods"]["metric"]["name"]
    adapter = DEPLOY / "k8s" / "components" / "autoscaling" / "adapter.yaml"
    (rule,) = yaml.safe_load(adapter.read_text())["rules"]["custom"]
    assert rule["name"]["as"] == name
    app = create_app(Settings(), create_service(Settings()))
    assert rule["seriesQuery"].split("{")[0] in (ROOT / "app/web/metrics.py").read_text()
    (endpoint,) = manifests["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["path"] in app.openapi()["paths"]
    assert endpoint["port"] in {p["name"] for p in manifests["Service"]["spec"]["ports"]}
    labels = manifests["ServiceMonitor"]["spec"]["selector"]["matchLabels"]
    assert labels.items() <= manifests["Service"]["metadata"]["labels"].items()


def test_the_ingress_exceeds_the_limits_of_the_service() -> None:
    """The ingress rejects no body and cuts off no upload or response that the service accepts."""
    ingress = render(OVERLAYS / "prod")["Ingress"]
    notes = {k.split("/")[1]: v for k, v in ingress["metadata"]["annotations"].items()}
    settings = Settings()
    assert int(notes["proxy-body-size"].removesuffix("m")) * 2**20 > settings.upload.max_bytes
    assert settings.admission.deadline is not None
    longest = settings.upload.timeout + settings.admission.deadline
    assert float(notes["proxy-read-timeout"]) > longest
    assert float(notes["proxy-send-timeout"]) > settings.upload.timeout
    paths = ingress["spec"]["rules"][0]["http"]["paths"]
    assert {item["path"] for item in paths} <= PATHS


def test_every_variable_is_a_setting() -> None:
    """Manifests and documents name no CLUT_* variable that is not a setting."""
    known = {variable for variable, _, _ in Settings.variables()}
    others = [ROOT / name for name in ("Dockerfile", "docker-compose.yml", "README.md")]
    for path in chain(DEPLOY.rglob("*.y*ml"), (ROOT / "docs").glob("*.md"), others):
        names = set(re.findall(r"\bCLUT_[A-Z]+_[A-Z_]+\b", path.read_text()))
        assert names <= known, path
