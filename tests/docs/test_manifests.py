"""The manifests in the documentation for workers are taken by a real API server, also where Pod Security is restricted.

A control plane without a kubelet starts no pod, so what the containers do is tested elsewhere (`tests/wait`).
"""

import argparse
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.cluster import Cluster
from model_provisioner.wait.command import add_arguments
from tests.chart.installing import create

PAGE = Path(__file__).parents[2] / "docs" / "workers.md"


def manifests() -> list[dict[str, Any]]:
    """The YAML blocks of the page that are whole objects."""
    blocks = re.findall(r"^```yaml\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [document for block in blocks for document in yaml.safe_load_all(block) if "apiVersion" in document]


@pytest.fixture
def restricted(cluster: Cluster) -> str:
    name = f"restricted-{uuid.uuid4().hex[:8]}"
    cluster.create_namespace(name, {"pod-security.kubernetes.io/enforce": "restricted"})
    cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}})
    return name


def test_the_api_server_takes_every_manifest(cluster: Cluster, restricted: str) -> None:
    found = manifests()
    assert len(found) >= 2
    for manifest in found:
        manifest["metadata"]["namespace"] = restricted
        create(cluster.api, manifest, dry_run=True)


def test_a_pod_that_waits_runs_where_pod_security_is_restricted(cluster: Cluster, restricted: str) -> None:
    (template,) = (one["spec"]["template"] for one in manifests() if one["metadata"]["name"] == "tinyllama-that-waits")
    metadata = {**template["metadata"], "name": "pod", "namespace": restricted}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    stored = create(cluster.api, pod, dry_run=True)
    assert not [volume for volume in stored["spec"]["volumes"] if volume["name"].startswith("kube-api-access")]
    (waits,) = stored["spec"]["initContainers"]
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert waits["args"][0] == "wait"
    assert parser.parse_args(waits["args"][1:]).name == "tinyllama"
