"""The arguments that the chart writes are read by the program as the right settings."""

import argparse
import re
from pathlib import Path

import pytest
import yaml

from model_provisioner.controller import command as operator
from model_provisioner.controller.release import command as release
from model_provisioner.controller.workers.pods.manifests import job_manifest
from model_provisioner.controller.workers.pods.pod_settings import job_settings
from model_provisioner.domain.store.claim import Claim
from model_provisioner.gateway import command as gateway
from model_provisioner.settings.gateway import GatewaySettings
from model_provisioner.settings.operator import Mount, OperatorSettings
from model_provisioner.settings.release import ReleaseSettings
from tests.chart.rendering import Helm


@pytest.fixture
def operator_settings(helm: Helm) -> OperatorSettings:
    container = helm.render(
        'watchNamespaces=["ml"]',
        "slots=2",
        'maxBytesPerSecond="200Mi"',
        'endpoints.hf="https://hub.example.com"',
        'allowedHosts=["a.example:8443"]',
        'proxy="http://proxy.example:3128"',
        'noProxy=["*.svc","mirror.example:8443","10.0.0.0/8","10.1.2.3","[fd00::1]:9000","fd00::/8","*"]',
        'allowedNetworks=["10.1.0.0/16"]',
        'ambientCredentials=["models","team-a"]',
        'caSecret.name="corporate"',
        "responseTimeout=300",
        "gates.enabled=true",
        'catalog.engines=["llama-swap","llama-cpp"]',
        'catalog.mountPath="/mnt/models"',
        'views=["ollama"]',
    ).container("operator")
    parser = argparse.ArgumentParser()
    operator.add_arguments(parser)
    name, *arguments = container["args"]
    assert name == "operator"
    return OperatorSettings(**{k: v for k, v in vars(parser.parse_args(arguments)).items() if v is not None})


def test_the_operator_reads_what_the_chart_sets(operator_settings: OperatorSettings) -> None:
    assert operator_settings.namespaces == ["ai", "ml"]
    assert operator_settings.view == ["ollama"]
    assert operator_settings.mounts == (Mount(namespace="ai", claim="models", directory=Path("/models")),)
    assert (operator_settings.slots, operator_settings.endpoints.own["hf"]) == (2, "https://hub.example.com")
    assert operator_settings.max_bytes_per_second == 200 * 1024**2
    assert operator_settings.allow_host == ["a.example:8443"]
    assert operator_settings.allow_network == ["10.1.0.0/16"]
    assert operator_settings.ambient_credentials == ["models", "team-a"]
    assert operator_settings.proxy == "http://proxy.example:3128"
    assert operator_settings.no_proxy == [
        ".svc",
        "mirror.example:8443",
        "10.0.0.0/8",
        "10.1.2.3/32",
        "[fd00::1]:9000",
        "fd00::/8",
        "*",
    ]
    assert operator_settings.policy.only_listed
    assert operator_settings.response_timeout == 300
    assert (operator_settings.gates, operator_settings.create_models) == (True, True)
    assert [engine.name for engine in operator_settings.engines] == ["llama-swap", "llama-cpp"]
    assert operator_settings.mount_path == "/mnt/models"
    assert operator_settings.ca_file == Path("/etc/model-provisioner/ca/ca.crt")
    assert (operator_settings.lease_namespace, operator_settings.health_listen) == ("ai", "0.0.0.0:8080")
    assert operator_settings.metrics_listen == "0.0.0.0:8082"


def test_the_operator_makes_worker_pods_of_what_the_chart_sets(helm: Helm) -> None:
    container = helm.render(
        "workers.enabled=true",
        "workers.max=7",
        "workers.maxPerNamespace=3",
        'workers.nodeSelector={"pool":"storage"}',
        'workers.tolerations=[{"operator":"Exists"}]',
        'workers.imagePullSecrets=[{"name":"registry"}]',
        'commonLabels={"team":"platform","stage":"test"}',
        'workers.podLabels={"team":"ml"}',
        'workers.podAnnotations={"sidecar.istio.io/inject":"false"}',
        'workers.podSecurity={"runAsUser":1000680000,"supplementalGroups":[3000]}',
        'workers.priorityClassName="downloads"',
        'workers.runtimeClassName="gvisor"',
        'workers.serviceAccountName="models"',
        'endpoints.hf="https://hub.example.com"',
    ).container("operator")
    parser = argparse.ArgumentParser()
    operator.add_arguments(parser)
    settings = OperatorSettings(**vars(parser.parse_args(container["args"][1:])))
    assert (settings.worker_listen, settings.worker_max, settings.worker_max_per_namespace) == ("0.0.0.0:8443", 7, 3)
    assert settings.copies_from_cluster
    job = job_manifest(job_settings(settings), Claim("team-a", "models"), "a token")
    template = job["spec"]["template"]
    assert template["metadata"]["labels"].items() >= {"team": "ml", "stage": "test"}.items()
    assert template["metadata"]["annotations"] == {"sidecar.istio.io/inject": "false"}
    assert template["spec"]["priorityClassName"] == "downloads"
    assert template["spec"]["runtimeClassName"] == "gvisor"
    assert (template["spec"]["serviceAccountName"], template["spec"]["automountServiceAccountToken"]) == (
        "models",
        True,
    )
    assert template["spec"]["nodeSelector"] == {"pool": "storage"}
    assert template["spec"]["tolerations"] == [{"operator": "Exists"}]
    assert template["spec"]["imagePullSecrets"] == [{"name": "registry"}]
    user = {"runAsUser": 1000680000, "runAsGroup": 10001, "fsGroup": 10001, "supplementalGroups": [3000]}
    assert template["spec"]["securityContext"].items() >= user.items()
    (worker,) = template["spec"]["containers"]
    assert worker["resources"]["limits"] == {"memory": "512Mi"}
    assert "--connect=model-provisioner-workers.ai.svc:8443" in worker["args"]
    assert worker["args"][-2:] == ["--endpoint", "hf=https://hub.example.com"]
    assert "a token" not in str(job)


def test_worker_pods_check_the_name_in_the_certificate_of_the_docs(helm: Helm) -> None:
    page = (Path(__file__).parents[2] / "docs" / "worker-pods.md").read_text()
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    (certificate,) = [block["spec"] for block in blocks if block.get("kind") == "Certificate"]
    secret = certificate["secretName"]
    rendering = helm.render("workers.enabled=true", f'workers.tlsSecretName="{secret}"', namespace="models")
    parser = argparse.ArgumentParser()
    operator.add_arguments(parser)
    settings = OperatorSettings(**vars(parser.parse_args(rendering.container("operator")["args"][1:])))
    assert settings.worker_tls_secret == secret
    job = job_manifest(job_settings(settings), Claim("team-a", "models"), "a token")
    (worker,) = job["spec"]["template"]["spec"]["containers"]
    (name,) = certificate["dnsNames"]
    assert f"--server-name={name}" in worker["args"]


def test_the_gateway_reads_what_the_chart_sets(helm: Helm) -> None:
    container = helm.render(
        'watchNamespaces=["ml"]',
        'gateway.auth="none"',
        "gateway.anonymousWrites=true",
        'gateway.allowedHosts=["models.example.com","*.team.example"]',
        'gateway.basePath="/models"',
        'gateway.corsOrigins=["https://a.example"]',
        'gateway.tlsSecretName="page"',
        "gateway.maxStreams=9",
        "gateway.maxStreamsPerIdentity=8",
    ).container("gateway")
    parser = argparse.ArgumentParser()
    gateway.add_arguments(parser)
    name, *arguments = container["args"]
    assert name == "gateway"
    settings = GatewaySettings(**{k: v for k, v in vars(parser.parse_args(arguments)).items() if v is not None})
    assert (settings.listen, settings.watch_namespace) == ("0.0.0.0:8081", ["ai", "ml"])
    assert (settings.default_namespace, settings.operator_namespace) == ("ai", "ai")
    assert (settings.auth, settings.anonymous_writes) == ("none", True)
    assert settings.allowed_host[-2:] == ["models.example.com", "*.team.example"]
    assert (settings.base_path, settings.cors_origin) == ("/models", ["https://a.example"])
    assert (settings.max_streams, settings.max_streams_per_identity) == (9, 8)
    assert settings.tls_cert == Path("/etc/model-provisioner/tls/tls.crt")
    assert settings.tls_key == Path("/etc/model-provisioner/tls/tls.key")


def test_the_uninstall_job_reads_what_the_chart_sets(helm: Helm) -> None:
    rendering = helm.render('watchNamespaces=["ml"]', release="r")
    (job,) = rendering.kind("Job")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    parser = argparse.ArgumentParser()
    release.add_arguments(parser)
    name, *arguments = container["args"]
    assert name == "release"
    settings = ReleaseSettings(**vars(parser.parse_args(arguments)))
    assert (settings.namespace, settings.namespaces) == ("ai", ["ai", "ml"])
    assert [settings.deployment] == [deployment["metadata"]["name"] for deployment in rendering.kind("Deployment")]
