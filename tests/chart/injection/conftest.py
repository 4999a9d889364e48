"""Releases whose policies are installed in the API server, each with namespaces of its own."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from deploy.local.api import ApiError
from deploy.local.cluster import Cluster
from tests.chart.injection.pods import Served, pod
from tests.chart.injection.workloads import template, workload
from tests.chart.installing import create, path_of
from tests.chart.rendering import Helm
from tests.support.programs import eventually

ON = ("gates.enabled=true", "injection.enabled=true")
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


@pytest.fixture(scope="session")
def served(helm: Helm, cluster: Cluster) -> Iterator[Served]:
    """A release that also serves a second namespace. Both enforce the restricted Pod Security standard."""
    with installed(helm, cluster) as made:
        yield made


@pytest.fixture(scope="session")
def lenient(helm: Helm, cluster: Cluster) -> Iterator[Served]:
    """The same with `injection.failurePolicy: Ignore`."""
    with installed(helm, cluster, 'injection.failurePolicy="Ignore"') as made:
        yield made


@contextmanager
def installed(helm: Helm, cluster: Cluster, *settings: str) -> Iterator[Served]:
    """Creates the policies of a release; returns when they act, and deletes them at the end."""
    home, other = (f"{name}-{uuid.uuid4().hex[:8]}" for name in ("home", "other"))
    for name in (home, other):
        cluster.create_namespace(name, RESTRICTED)
    rendering = helm.render(*ON, f'watchNamespaces=["{other}"]', *settings, namespace=home)
    made = Served(cluster.api, home, other, rendering)
    cluster.apply(workload("Deployment", made.before, template(use="")), home)
    policies = [one for one in rendering.manifests if "AdmissionPolicy" in one["kind"]]
    for manifest in policies:
        create(cluster.api, manifest)
    try:
        eventually(lambda: act(made), "the API server applies the policies")
        yield made
    finally:
        for manifest in policies:
            cluster.api.delete(path_of(cluster.api, manifest))


def act(served: Served) -> bool:
    """Whether both policies act."""
    try:
        if "schedulingGates" in served.create(pod(), dry_run=True)["spec"]:
            served.create(pod(use=""), dry_run=True)
    except ApiError as error:
        return "has an empty entry" in error.message
    return False
