"""The manifests, rendered and validated; and that they speak of the service as it is."""

from __future__ import annotations

import re
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
from app.web.routes import image_router, router
from tests.helpers.paths import ROOT

DEPLOY = ROOT / "deploy"
OVERLAYS = DEPLOY / "k8s" / "overlays"
KUBECTL = Path(sys.executable).with_name("kubectl")
VERSION = "1.30.0"  # the oldest cluster meant: since then a preStop can sleep without a shell
BYTES_A_PIXEL, IDLE = 10, 500 * 10**6  # docs/operations.md: "ClutMemoryNearLimit", "The image"
GPU = {"components": ["../../components/gpu"], "resources": ["../../overlays/prod"]}

Manifest = dict[str, Any]

PATHS = {route.path for route in (*image_router.routes, *router.routes)}  # type: ignore[attr-defined]


def render(folder: Path) -> dict[str, Manifest]:
    """What `kubectl apply -k` would send, by kind: there is one of each."""
    text = subprocess.run(
        [KUBECTL, "kustomize", folder], check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    manifests = list(yaml.safe_load_all(text))
    by_kind = {manifest["kind"]: manifest for manifest in manifests}
    assert len(by_kind) == len(manifests)
    return by_kind


@pytest.fixture(scope="module", params=["dev", "prod", "prod on GPUs"])
def manifests(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Every overlay, and the production one with the component for GPUs."""
    if request.param in ("dev", "prod"):
        return render(OVERLAYS / request.param)
    root = tmp_path_factory.mktemp("kustomize") / "k8s"
    subprocess.run(["cp", "-r", DEPLOY / "k8s", root], check=True)
    gpu = root / "overlays" / "gpu"
    gpu.mkdir()
    (gpu / "kustomization.yaml").write_text(yaml.safe_dump(GPU))
    return render(gpu)


def container(manifests: dict[str, Manifest]) -> Manifest:
    """The one container of the one pod."""
    (only,) = manifests["Deployment"]["spec"]["template"]["spec"]["containers"]
    return dict(only)


def test_the_published_schemas(manifests: dict[str, Manifest]) -> None:
    """Each manifest is what the API server of that version takes, to the last field."""
    for kind, manifest in manifests.items():
        if kind != "ServiceMonitor":  # the Prometheus operator's own
            kubernetes_validate.validate(manifest, VERSION, strict=True)


def test_the_security_context_is_restricted(manifests: dict[str, Manifest]) -> None:
    """What the Pod Security Standard "restricted" asks for, and a read-only root."""
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(manifests)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["automountServiceAccountToken"] is False


def test_the_user_is_that_of_the_image(manifests: dict[str, Manifest]) -> None:
    """The Dockerfile and the pod name the same user."""
    user = manifests["Deployment"]["spec"]["template"]["spec"]["securityContext"]
    (line,) = re.findall(r"^USER (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert line == f"{user['runAsUser']}:{user['runAsGroup']}"


def test_service_links_do_not_stop_the_start(manifests: dict[str, Manifest]) -> None:
    """Kubernetes would set CLUT_ENHANCE_SERVICE_HOST, which is no setting of ours."""
    name = manifests["Service"]["metadata"]["name"].upper().replace("-", "_")
    assert name.startswith(PREFIX)
    assert manifests["Deployment"]["spec"]["template"]["spec"]["enableServiceLinks"] is False


def test_the_grace_is_longer_than_the_way_out(manifests: dict[str, Manifest]) -> None:
    """Nothing is killed while it still answers."""
    pod = manifests["Deployment"]["spec"]["template"]["spec"]
    only = container(manifests)
    drain = next(float(v["value"]) for v in only["env"] if v["name"] == "CLUT_HTTP_DRAIN_SECONDS")
    asleep = only["lifecycle"]["preStop"]["sleep"]["seconds"]
    way_out = asleep + drain + Settings().http.graceful_timeout
    assert pod["terminationGracePeriodSeconds"] > way_out


def test_probes_and_ports_are_those_of_the_service(manifests: dict[str, Manifest]) -> None:
    """Each path is a route, each port the default one."""
    only = container(manifests)
    probes = [only[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")]
    assert {probe["path"] for probe in probes} <= PATHS
    (port,) = only["ports"]
    assert port == {"name": "http", "containerPort": Settings().http.port}
    assert {probe["port"] for probe in probes} == {"http"}
    assert {p["targetPort"] for p in manifests["Service"]["spec"]["ports"]} == {"http"}


def test_selectors_find_the_pods(manifests: dict[str, Manifest]) -> None:
    """The service, the budget, the policy and the spread mean the pods that are made."""
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


def test_who_may_enter_and_leave(manifests: dict[str, Manifest]) -> None:
    """In: pods with one label, the ingress controller and Prometheus, by our port. Out: nobody."""
    policy = manifests["NetworkPolicy"]["spec"]
    (rule,) = policy["ingress"]
    clients, *namespaces = rule["from"]
    # The labels of our own pods are not asked of those who may enter.
    assert clients == {"podSelector": {"matchLabels": {"clut-enhance/client": "true"}}}
    labels = [namespace["namespaceSelector"]["matchLabels"] for namespace in namespaces]
    assert labels == [
        {"kubernetes.io/metadata.name": name} for name in ("ingress-nginx", "monitoring")
    ]
    assert rule["ports"] == [{"port": "http"}]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert policy["egress"] == []


def test_a_roll_out_leaves_nobody_waiting(manifests: dict[str, Manifest]) -> None:
    """A new pod is ready before an old one goes; a drained node takes one pod at a time."""
    rolling = manifests["Deployment"]["spec"]["strategy"]["rollingUpdate"]
    assert rolling == {"maxUnavailable": 0, "maxSurge": 1}
    assert manifests["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 1
    if scaler := manifests.get("HorizontalPodAutoscaler"):
        assert scaler["spec"]["minReplicas"] > 1


def test_the_autoscaler_aims_at_a_photo_for_each_core(manifests: dict[str, Manifest]) -> None:
    """As docs/capacity.md finds it best; with GPUs, too."""
    if scaler := manifests.get("HorizontalPodAutoscaler"):
        (metric,) = scaler["spec"]["metrics"]
        cores = container(manifests)["resources"]["limits"]["cpu"]
        assert metric["pods"]["target"] == {"type": "AverageValue", "averageValue": cores}


def test_memory_holds_what_is_let_in(manifests: dict[str, Manifest]) -> None:
    """The limit has room for the pixel budget, for all bodies, for /tmp and for the process."""
    settings, only = Settings(), container(manifests)
    limit = int(only["resources"]["limits"]["memory"].removesuffix("Gi")) * 2**30
    pixels = settings.admission.pixel_budget * BYTES_A_PIXEL
    (tmp,) = manifests["Deployment"]["spec"]["template"]["spec"]["volumes"]
    scratch = int(tmp["emptyDir"]["sizeLimit"].removesuffix("Mi")) * 2**20
    assert limit > pixels + settings.upload.budget_bytes + scratch + IDLE


def test_a_pod_has_one_device(manifests: dict[str, Manifest]) -> None:
    """It asks for a GPU exactly where the service is told to use one."""
    only = container(manifests)
    variables = {variable["name"]: variable["value"] for variable in only["env"]}
    gpus = only["resources"]["limits"].get("nvidia.com/gpu")
    assert (gpus, variables.get("CLUT_DEVICE_NAME")) in [(None, None), ("1", "cuda")]


def test_production_scales_and_is_watched() -> None:
    """The autoscaler's metric is one that the adapter makes of one of ours."""
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


def test_the_ingress_lets_our_limits_decide() -> None:
    """Bodies, uploads and answers that the service would take are not cut off before it."""
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
    """Neither manifests nor documents name a CLUT_* variable that the service does not know."""
    known = {variable for variable, _, _ in Settings.variables()}
    others = [ROOT / name for name in ("Dockerfile", "docker-compose.yml", "README.md")]
    for path in chain(DEPLOY.rglob("*.y*ml"), (ROOT / "docs").glob("*.md"), others):
        names = set(re.findall(r"\bCLUT_[A-Z]+_[A-Z_]+\b", path.read_text()))
        assert names <= known, path
