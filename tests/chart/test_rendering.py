"""The rendered chart: the default as a golden, and what each value changes."""

import json
import os
from pathlib import Path

import pytest

from tests.chart.rendering import ROOT, Helm, HelmError, Manifest, Rendering

GOLDEN = ROOT / "tests" / "data" / "chart" / "default.yaml"


def test_the_chart_passes_lint(helm: Helm) -> None:
    helm.run("lint", "--strict", ".")


def test_the_default_rendering_is_the_golden(helm: Helm) -> None:
    rendered = helm.template()
    if os.environ.get("UPDATE_GOLDENS"):
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text(rendered)
    assert rendered == GOLDEN.read_text(), "the rendering changed; see it with `UPDATE_GOLDENS=1 pytest` and git diff"


OPERATOR_ARGUMENTS = [
    ("slots=2", ["--slots=2"]),
    ('maxBytesPerSecond="200Mi"', ["--max-bytes-per-second=200Mi"]),
    ('endpoints={"hf":"https://hub.example.com"}', ["--endpoint=hf=https://hub.example.com"]),
    (
        'allowedEndpoints=["https://a.example/x","http://b.example:8443"]',
        ["--allow-endpoint=https://a.example/x", "--allow-endpoint=http://b.example:8443"],
    ),
    ('allowedHosts=["a.example","b.example:8443"]', ["--allow-host=a.example", "--allow-host=b.example:8443"]),
    ('allowedNetworks=["10.1.0.0/16","fd00::/8"]', ["--allow-network=10.1.0.0/16", "--allow-network=fd00::/8"]),
    ("ambientCredentials=true", ["--ambient-credentials"]),
    ('ambientCredentials=["models"]', ["--ambient-credentials=models"]),
    ("responseTimeout=300", ["--response-timeout=300"]),
    ('noProxy=[".svc:443","*","fd00::"]', ["--no-proxy=.svc:443", "--no-proxy=*", "--no-proxy=fd00::"]),
    ('watchNamespaces=["ml","ai"]', ["--watch-namespace=ai", "--watch-namespace=ml"]),
    ('persistence.existingClaim="lake"', ["--store=ai/lake=/models"]),
    ('views=["ollama"]', ["--view=ollama"]),
    ('persistence.directoryMode="0775"', ["--directory-mode=0775"]),
    ('persistence.fileMode="0440"', ["--file-mode=0440"]),
    ('caSecret.name="corporate"', ["--ca-file=/etc/model-provisioner/ca/ca.crt"]),
]


@pytest.mark.parametrize(("setting", "added"), OPERATOR_ARGUMENTS, ids=[row[0] for row in OPERATOR_ARGUMENTS])
def test_a_value_becomes_the_operators_argument(helm: Helm, setting: str, added: list[str]) -> None:
    before = helm.render().container("operator")["args"]
    after = helm.render(setting).container("operator")["args"]
    assert [argument for argument in after if argument in added] == added
    assert len(set(after) - set(before)) in {len(added), len(added) - 1}


def test_the_role_of_the_operator_is_not_the_gateways(helm: Helm) -> None:
    arn = "arn:aws:iam::123456789012:role/models"
    rendering = helm.render(
        "ambientCredentials=true", f'serviceAccountAnnotations={{"eks.amazonaws.com/role-arn":"{arn}"}}'
    )
    accounts = {one["metadata"]["name"]: one["metadata"].get("annotations") for one in rendering.kind("ServiceAccount")}
    assert [annotations for annotations in accounts.values() if annotations] == [{"eks.amazonaws.com/role-arn": arn}]
    annotations = rendering.pod_template()["metadata"]["annotations"]
    assert annotations == {"eks.amazonaws.com/skip-containers": "gateway"}
    assert "annotations" not in helm.render().pod_template()["metadata"]


def test_a_proxy_is_given_by_its_address(helm: Helm) -> None:
    rendering = helm.render('proxy="http://proxy.example:3128"', 'allowedHosts=["*.hf.co:443"]')
    assert {"--proxy=http://proxy.example:3128", "--allow-host=*.hf.co:443"} <= set(
        rendering.container("operator")["args"]
    )
    assert not any("proxy" in argument for argument in rendering.container("gateway")["args"])


def test_a_proxy_with_a_password_is_given_by_a_file_of_the_operator_alone(helm: Helm) -> None:
    rendering = helm.render('proxySecret={"name":"egress","key":"address"}', 'allowedHosts=["*.hf.co:443"]')
    assert "--proxy=@/etc/model-provisioner/proxy/url" in rendering.container("operator")["args"]
    mount = {"name": "proxy", "mountPath": "/etc/model-provisioner/proxy", "readOnly": True}
    assert mount in mounts(rendering, "operator")
    assert mount not in mounts(rendering, "gateway")
    volumes = {volume["name"]: volume for volume in rendering.pod_template()["spec"]["volumes"]}
    items = [{"key": "address", "path": "url"}]
    assert volumes["proxy"]["secret"] == {"secretName": "egress", "items": items}


def test_two_proxies_are_one_too_many(helm: Helm) -> None:
    with pytest.raises(HelmError, match="not both"):
        helm.template('proxy="http://p.example"', 'proxySecret.name="p"', 'allowedHosts=["a.example"]')


def test_metrics_have_a_port_of_their_own_and_can_be_left_out(helm: Helm) -> None:
    container, without = helm.render().container("operator"), helm.render("metrics.enabled=false").container("operator")
    assert "--metrics-listen=0.0.0.0:8082" in container["args"]
    assert {"name": "metrics", "containerPort": 8082} in container["ports"]
    assert not any("metrics" in argument for argument in without["args"])
    assert [port["name"] for port in without["ports"]] == ["health"]


SERVICE_NAMES = (
    "model-provisioner",
    "model-provisioner.ai",
    "model-provisioner.ai.svc",
    "model-provisioner.ai.svc.cluster.local",
)


def test_the_gateway_gets_its_own_arguments(helm: Helm) -> None:
    container = helm.render('gateway.auth="none"', 'watchNamespaces=["ml"]').container("gateway")
    assert container["args"] == [
        "gateway",
        "--listen=0.0.0.0:8081",
        "--watch-namespace=ai",
        "--watch-namespace=ml",
        "--default-namespace=ai",
        "--lease-namespace=ai",
        "--auth=none",
        *(f"--allowed-host={host}" for host in SERVICE_NAMES),
        "--max-streams=2500",
        "--max-streams-per-identity=250",
    ]


GATEWAY_ARGUMENTS = [
    ('gateway.basePath="/models"', ["--base-path=/models"]),
    (
        'gateway.corsOrigins=["https://a.example","http://b"]',
        ["--cors-origin=https://a.example", "--cors-origin=http://b"],
    ),
    ("gateway.maxStreams=10000000", ["--max-streams=10000000"]),
    ("gateway.maxStreamsPerIdentity=7", ["--max-streams-per-identity=7"]),
]


@pytest.mark.parametrize(("setting", "added"), GATEWAY_ARGUMENTS, ids=[row[0] for row in GATEWAY_ARGUMENTS])
def test_a_value_becomes_the_gateways_argument(helm: Helm, setting: str, added: list[str]) -> None:
    before = helm.render().container("gateway")["args"]
    assert [
        argument for argument in helm.render(setting).container("gateway")["args"] if argument not in before
    ] == added


def test_a_certificate_reaches_the_gateway_and_its_probes(helm: Helm) -> None:
    rendering = helm.render('gateway.tlsSecretName="page"')
    container = rendering.container("gateway")
    assert {"--tls-cert=/etc/model-provisioner/tls/tls.crt", "--tls-key=/etc/model-provisioner/tls/tls.key"} < {
        *container["args"]
    }
    assert rendering.volume("gateway-tls")["secret"] == {"secretName": "page"}
    assert {"name": "gateway-tls", "mountPath": "/etc/model-provisioner/tls", "readOnly": True} in mounts(
        rendering, "gateway"
    )
    probes = [container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert [probe["scheme"] for probe in probes] == ["HTTPS"] * 3
    assert "scheme" not in helm.render().container("gateway")["livenessProbe"]["httpGet"]


IMAGES = [
    ("tag of the chart", (), "model-provisioner:0.1.0"),
    ("own tag", ('image.tag="main"', 'image.repository="r.example/mp"'), "r.example/mp:main"),
    ("digest wins", ('image.tag="main"', f'image.digest="sha256:{"0" * 64}"'), f"model-provisioner@sha256:{'0' * 64}"),
]


@pytest.mark.parametrize(("settings", "image"), [row[1:] for row in IMAGES], ids=[row[0] for row in IMAGES])
def test_both_containers_run_the_image(helm: Helm, settings: tuple[str, ...], image: str) -> None:
    rendering = helm.render(*settings)
    assert {container["image"] for container in rendering.pod_template()["spec"]["containers"]} == {image}


POD_FIELDS = [
    ('nodeSelector={"disk":"nvme"}', "nodeSelector", {"disk": "nvme"}),
    ('tolerations=[{"key":"gpu","operator":"Exists"}]', "tolerations", [{"key": "gpu", "operator": "Exists"}]),
    ('affinity={"nodeAffinity":{}}', "affinity", {"nodeAffinity": {}}),
    ('imagePullSecrets=[{"name":"registry"}]', "imagePullSecrets", [{"name": "registry"}]),
    ('priorityClassName="batch"', "priorityClassName", "batch"),
]


@pytest.mark.parametrize(("setting", "field", "value"), POD_FIELDS, ids=[row[0] for row in POD_FIELDS])
def test_a_value_becomes_a_field_of_every_pod(helm: Helm, setting: str, field: str, value: object) -> None:
    assert field not in helm.render().pod_template()["spec"]
    rendering = helm.render(setting, 'gateway.mode="Deployment"')
    (job,) = rendering.kind("Job")
    templates = (rendering.pod_template("operator"), rendering.pod_template("gateway"), job["spec"]["template"])
    assert [template["spec"][field] for template in templates] == [value] * 3


def test_variables_and_volumes_are_added_to_the_operator_or_the_gateway(helm: Helm) -> None:
    variable, mount = {"name": "A", "value": "1"}, {"name": "cache", "mountPath": "/cache"}
    before = helm.render()
    after = helm.render(
        f"extraEnv={json.dumps([variable])}",
        f"extraVolumeMounts={json.dumps([mount])}",
        'extraVolumes=[{"name":"cache","emptyDir":{}}]',
        'gateway.extraEnv=[{"name":"B","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}}]',
    )
    assert after.container("operator")["env"] == [*before.container("operator")["env"], variable]
    assert mounts(after, "operator") == [*mounts(before, "operator"), mount]
    assert after.volume("cache") == {"name": "cache", "emptyDir": {}}
    assert [one["name"] for one in after.container("gateway")["env"]] == ["B"]
    assert mounts(after, "gateway") == mounts(before, "gateway")


def test_extra_objects_are_templates(helm: Helm) -> None:
    metadata = {"name": "{{ .Release.Name }}-extra", "labels": {}}
    objects = [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"a": "{{ .Values.slots }}"}}]
    (made,) = helm.render(f"extraObjects={json.dumps(objects)}").kind("ConfigMap")
    assert (made["metadata"]["name"], made["data"]) == ("model-provisioner-extra", {"a": "4"})


def test_several_gateways_are_spread_and_not_all_evicted_at_once(helm: Helm) -> None:
    spread = '[{"topologyKey":"kubernetes.io/hostname","maxSkew":1,"whenUnsatisfiable":"ScheduleAnyway"}]'
    settings = ('gateway.mode="Deployment"', f"gateway.topologySpreadConstraints={spread}")
    rendering = helm.render(*settings, "gateway.replicas=2")
    (budget,) = rendering.kind("PodDisruptionBudget")
    template = rendering.pod_template("gateway")
    (constraint,) = template["spec"]["topologySpreadConstraints"]
    assert budget["spec"] == {"maxUnavailable": 1, "selector": constraint["labelSelector"]}
    assert constraint["labelSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert helm.render(*settings).kind("PodDisruptionBudget") == []


MANY = 'persistence.accessModes=["ReadWriteMany"]'


def test_one_operator_is_replaced_and_several_are_rolled(helm: Helm) -> None:
    alone = helm.render()
    assert deployment(alone)["spec"]["strategy"] == {"type": "Recreate"}
    assert deployment(alone)["spec"]["replicas"] == 1
    assert alone.kind("PodDisruptionBudget") == []
    assert "topologySpreadConstraints" not in alone.pod_template()["spec"]
    assert not any("replicas" in argument for argument in alone.container("operator")["args"])
    rendering = helm.render(MANY, "replicas=2")
    spec, template = deployment(rendering)["spec"], rendering.pod_template()
    assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}
    assert "--replicas=2" in rendering.container("operator")["args"]
    (budget,) = rendering.kind("PodDisruptionBudget")
    (constraint,) = template["spec"]["topologySpreadConstraints"]
    assert budget["spec"] == {"maxUnavailable": 1, "selector": constraint["labelSelector"]}
    assert budget["spec"]["selector"] == spec["selector"]
    assert (constraint["topologyKey"], constraint["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")


def test_operators_are_spread_as_asked(helm: Helm) -> None:
    wanted = {"topologyKey": "zone", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}
    rendering = helm.render(MANY, "replicas=3", f"topologySpreadConstraints={json.dumps([wanted])}")
    (constraint,) = rendering.pod_template()["spec"]["topologySpreadConstraints"]
    assert wanted.items() < constraint.items()
    selector = constraint["labelSelector"]["matchLabels"]
    assert selector.items() <= rendering.pod_template()["metadata"]["labels"].items()


@pytest.mark.parametrize("setting", [MANY, "persistence.enabled=false", 'persistence.existingClaim="lake"'])
def test_several_operators_need_a_volume_for_several_or_none(helm: Helm, setting: str) -> None:
    assert deployment(helm.render(setting, "replicas=2"))["spec"]["replicas"] == 2


def test_a_client_of_several_gateways_stays_with_one_that_knows_its_ticket(helm: Helm) -> None:
    def affinity(*settings: str) -> str | None:
        found: str | None = helm.render(*settings).one("Service", "model-provisioner")["spec"].get("sessionAffinity")
        return found

    assert affinity() is None
    assert affinity(MANY, "replicas=2") == "ClientIP"
    assert affinity(MANY, "replicas=2", 'gateway.mode="Deployment"') is None
    assert affinity('gateway.mode="Deployment"', "gateway.replicas=2") == "ClientIP"


CLASSES = [
    ("unset", (), None),
    ("none", ('persistence.storageClassName=""',), ""),
    ("named", ('persistence.storageClassName="fast"',), "fast"),
]


@pytest.mark.parametrize(("settings", "wanted"), [row[1:] for row in CLASSES], ids=[row[0] for row in CLASSES])
def test_no_storage_class_is_not_the_default_class(helm: Helm, settings: tuple[str, ...], wanted: str | None) -> None:
    spec = helm.render(*settings).one("PersistentVolumeClaim", "models")["spec"]
    assert ("storageClassName" in spec) == (wanted is not None)
    assert spec.get("storageClassName") == wanted


def test_the_claim_is_as_asked_and_outlives_the_release(helm: Helm) -> None:
    rendering = helm.render('persistence.size="2Ti"', 'persistence.accessModes=["ReadWriteMany"]')
    claim = rendering.one("PersistentVolumeClaim", "models")
    assert claim["spec"] == {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "2Ti"}}}
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_an_existing_claim_is_mounted_and_none_is_made(helm: Helm) -> None:
    rendering = helm.render('persistence.existingClaim="lake"')
    assert rendering.kind("PersistentVolumeClaim") == []
    assert rendering.volume("models")["persistentVolumeClaim"] == {"claimName": "lake"}


def test_without_persistence_there_is_no_volume(helm: Helm) -> None:
    rendering = helm.render("persistence.enabled=false")
    assert rendering.kind("PersistentVolumeClaim") == []
    assert "models" not in {volume["name"] for volume in rendering.pod_template()["spec"]["volumes"]}
    assert [mount["name"] for mount in mounts(rendering, "operator")] == ["operator-tmp", "operator-token"]
    assert "--store=none" in rendering.container("operator")["args"]
    assert "fsGroup" not in rendering.pod_template()["spec"]["securityContext"]
    with pytest.raises(HelmError, match="set one of them"):
        helm.template("persistence.enabled=false", 'persistence.existingClaim="lake"')


def test_the_ca_secret_is_mounted_read_only_into_the_operator_alone(helm: Helm) -> None:
    rendering = helm.render('caSecret.name="corporate"', 'caSecret.key="root.pem"')
    assert rendering.volume("ca")["secret"] == {
        "secretName": "corporate",
        "items": [{"key": "root.pem", "path": "ca.crt"}],
    }
    assert {"name": "ca", "mountPath": "/etc/model-provisioner/ca", "readOnly": True} in mounts(rendering, "operator")
    assert "ca" not in [mount["name"] for mount in mounts(rendering, "gateway")]


def test_each_container_sees_its_own_token_only(helm: Helm) -> None:
    rendering = helm.render()
    path = "/var/run/secrets/kubernetes.io/serviceaccount"
    volumes = {
        name: [m["name"] for m in mounts(rendering, name) if "token" in m["name"]] for name in ("operator", "gateway")
    }
    assert volumes == {"operator": ["operator-token"], "gateway": ["gateway-token"]}
    assert {m["mountPath"] for name in volumes for m in mounts(rendering, name) if "token" in m["name"]} == {path}
    assert rendering.pod_template()["spec"]["automountServiceAccountToken"] is False
    secret = rendering.one("Secret", rendering.volume("gateway-token")["secret"]["secretName"])
    assert secret["type"] == "kubernetes.io/service-account-token"
    account = secret["metadata"]["annotations"]["kubernetes.io/service-account.name"]
    assert account == "model-provisioner-gateway" != rendering.pod_template()["spec"]["serviceAccountName"]


def test_without_the_gateway_nothing_of_it_is_made(helm: Helm) -> None:
    rendering = helm.render("gateway.enabled=false")
    assert [service["metadata"]["name"] for service in rendering.kind("Service")] == ["model-provisioner-metrics"]
    assert rendering.kind("Secret") == []
    assert [container["name"] for container in rendering.pod_template()["spec"]["containers"]] == ["operator"]
    assert [m for m in rendering.manifests if "gateway" in m["metadata"]["name"]] == []


def test_the_service_is_as_asked_and_reaches_the_gateways_port(helm: Helm) -> None:
    rendering = helm.render('service.type="NodePort"', "service.port=80")
    spec = rendering.one("Service", "model-provisioner")["spec"]
    assert (spec["type"], spec["ports"]) == ("NodePort", [{"name": "http", "port": 80, "targetPort": "http"}])
    assert {"name": "http", "containerPort": 8081} in rendering.container("gateway")["ports"]
    assert spec["selector"].items() <= rendering.pod_template()["metadata"]["labels"].items()


def test_labels_reach_everything_and_never_the_selector(helm: Helm) -> None:
    rendering = helm.render(
        'commonLabels={"team":"ml","app.kubernetes.io/name":"x"}', 'podLabels={"tier":"b"}', 'podAnnotations={"a":"1"}'
    )
    assert {m["metadata"]["labels"]["team"] for m in rendering.manifests} == {"ml"}
    (deployment,) = rendering.kind("Deployment")
    selector = deployment["spec"]["selector"]["matchLabels"]
    template = rendering.pod_template()["metadata"]
    assert selector.items() <= template["labels"].items()
    assert selector["app.kubernetes.io/name"] == "model-provisioner"
    assert (template["labels"]["tier"], template["annotations"]) == ("b", {"a": "1"})
    assert "tier" not in deployment["metadata"]["labels"]


def test_ids_can_be_left_to_the_cluster(helm: Helm) -> None:
    rendering = helm.render(
        "podSecurity.runAsUser=null", "podSecurity.runAsGroup=null", "podSecurity.fsGroup=1000680000"
    )
    context = rendering.pod_template()["spec"]["securityContext"]
    assert context["runAsNonRoot"] is True
    assert not {"runAsUser", "runAsGroup"} & context.keys()
    assert context["fsGroup"] == 1000680000


def test_resources_of_both_containers_are_values(helm: Helm) -> None:
    rendering = helm.render('resources={"limits":{"cpu":2}}', 'gateway.resources={"requests":{"memory":"1Gi"}}')
    assert rendering.container("operator")["resources"]["limits"] == {"cpu": 2, "memory": "1Gi"}
    assert rendering.container("gateway")["resources"]["requests"] == {"cpu": "50m", "memory": "1Gi"}


@pytest.mark.parametrize("release", ["x" * 53, "1"])
def test_every_release_name_gives_valid_names(helm: Helm, release: str) -> None:
    rendering = helm.render(release=release, namespace="123")
    for manifest in rendering.manifests:
        assert isinstance(manifest["metadata"]["name"], str)
        assert len(manifest["metadata"]["name"]) <= 63
        assert manifest["metadata"].get("namespace", "123") == "123"
        assert manifest["metadata"]["labels"]["app.kubernetes.io/instance"] == release


def deployment(rendering: Rendering) -> Manifest:
    return rendering.one("Deployment", "model-provisioner")


def mounts(rendering: Rendering, container: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = rendering.container(container)["volumeMounts"]
    return found


def test_the_chart_and_the_package_have_one_version(helm: Helm) -> None:
    namespace: dict[str, str] = {}
    exec(Path(ROOT / "operator/model_provisioner/__init__.py").read_text(), namespace)
    chart = dict(line.split(": ", 1) for line in helm.run("show", "chart", ".").splitlines() if ": " in line)
    assert chart["version"] == chart["appVersion"] == namespace["__version__"]


def test_the_containers_can_write_only_to_the_volume_and_tmp(helm: Helm) -> None:
    rendering = helm.render('caSecret.name="corporate"')
    for name in ("operator", "gateway"):
        assert rendering.container(name)["securityContext"]["readOnlyRootFilesystem"] is True
    writable = {n: [m["name"] for m in mounts(rendering, n) if not m.get("readOnly")] for n in ("operator", "gateway")}
    assert writable == {"operator": ["models", "operator-tmp"], "gateway": ["gateway-tmp"]}
