"""The custom resource definition in the life of a release: installed, upgraded without a step by hand, and kept.

Helm, the API server and the hook's program are real, on a control plane of its own. `controllers` stands in for the
controller and the kubelet that run the hook's Job. The chart of the first version is in tests/data.
"""

import copy
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.api import ApiError
from deploy.local.binaries import Binaries
from deploy.local.cluster import Cluster
from model_provisioner.kube.resource import object_path
from tests.chart.controllers import Jobs, at_work
from tests.chart.installing import create
from tests.chart.rendering import ROOT, Helm

pytestmark = pytest.mark.xdist_group("definition-by-helm")  # one process makes what all of them use

RELEASE = "model-provisioner"
FIRST = "tests/data/chart/model-provisioner-0.1.0.tgz"
FIRST_VALUES = ("slots=2", 'persistence.size="5Gi"', 'gateway.auth="none"', 'commonLabels={"team":"ml"}')
DEFINITION = yaml.safe_load((ROOT / "crds" / "modeldownload.yaml").read_text())
PATH = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{DEFINITION['metadata']['name']}"
REVISION = "models.rbee.dev/revision"


class Life:
    """One release in a namespace of its own, and the Jobs that its hooks have started."""

    def __init__(self, helm: Helm, cluster: Cluster, directory: Path) -> None:
        self.helm = helm
        self.cluster = cluster
        self.namespace = f"life-{uuid.uuid4().hex[:8]}"
        cluster.create_namespace(self.namespace)
        self.jobs = Jobs(cluster, self.namespace, directory)

    def do(self, *arguments: str) -> str:
        """Runs Helm for this release while hooks are served."""
        with at_work(self.jobs.poll):
            return self.helm.run(
                *arguments, "--namespace", self.namespace, "--kubeconfig", str(self.cluster.kubeconfig)
            )

    def install(self, chart: str = ".", *settings: str) -> str:
        return self.do("install", RELEASE, chart, *(part for one in settings for part in ("--set-json", one)))

    def upgrade(self, *flags: str) -> str:
        return self.do("upgrade", RELEASE, ".", "--reset-then-reuse-values", *flags)

    def definition(self) -> dict[str, Any]:
        return self.cluster.api.get(PATH)

    def change_definition(self, change: dict[str, Any]) -> None:
        """Writes the chart's definition with the annotations in `change`; without them there is no revision."""
        document = copy.deepcopy(DEFINITION)
        document["metadata"] |= {
            "annotations": change,
            "resourceVersion": self.definition()["metadata"]["resourceVersion"],
        }
        document["spec"]["versions"][0]["additionalPrinterColumns"][0]["name"] = "Other"
        self.cluster.api.replace(f"{PATH}?fieldManager=helm", document)

    def column(self) -> str:
        return str(self.definition()["spec"]["versions"][0]["additionalPrinterColumns"][0]["name"])

    def wide_objects(self) -> list[str]:
        """The names of the cluster's roles and bindings that the release has made."""
        rbac = "/apis/rbac.authorization.k8s.io/v1"
        lists = [self.cluster.api.get(f"{rbac}/{kind}")["items"] for kind in ("clusterroles", "clusterrolebindings")]
        names = [item["metadata"]["name"] for items in lists for item in items]
        return sorted(name for name in names if name.startswith(self.namespace))


@pytest.fixture(scope="module", params=["helm", "helm4"])
def program(request: pytest.FixtureRequest) -> Helm:
    found: Helm = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="module")
def own_cluster(program: Helm, binaries: Binaries) -> Iterator[Cluster]:
    """One for each Helm: their fields of the definition have different owners."""
    with Cluster(binaries) as running:
        yield running


@pytest.fixture
def life(program: Helm, own_cluster: Cluster, tmp_path: Path) -> Iterator[Life]:
    one = Life(program, own_cluster, tmp_path)
    yield one
    one.do("uninstall", RELEASE, "--ignore-not-found", "--no-hooks")


def test_a_first_install_brings_the_definition_without_a_job_or_a_right_in_the_whole_cluster(life: Life) -> None:
    life.install()
    assert life.definition()["metadata"]["annotations"][REVISION] == DEFINITION["metadata"]["annotations"][REVISION]
    assert life.jobs.codes == []
    assert life.wide_objects() == [f"{life.namespace}-{RELEASE}-{role}" for role in ("edit", "view")]
    life.upgrade()
    assert life.jobs.codes == [], "an upgrade with the same definition has none either"


def test_an_upgrade_of_the_first_version_updates_the_definition_and_keeps_objects_and_values(life: Life) -> None:
    life.install(FIRST, *FIRST_VALUES)
    life.change_definition({})
    model = {"apiVersion": "models.rbee.dev/v1alpha1", "kind": "ModelDownload", "spec": {"modelRef": "hf:acme/tiny"}}
    uid = create(life.cluster.api, {**model, "metadata": {"name": "tiny", "namespace": life.namespace}})["metadata"][
        "uid"
    ]
    life.upgrade()

    assert life.jobs.codes == [0], life.jobs.outputs
    assert "is updated from revision 0 to " in life.jobs.outputs[0]
    assert life.definition()["spec"]["versions"] == DEFINITION["spec"]["versions"]
    assert life.cluster.api.get(object_path(life.namespace, "tiny"))["metadata"]["uid"] == uid
    manifest = life.do("get", "manifest", RELEASE)
    for kept in ("--slots=2", "storage: 5Gi", "--auth=none", "team: ml"):
        assert kept in manifest.replace('"', "")
    assert life.wide_objects() == [f"{life.namespace}-{RELEASE}-{role}" for role in ("edit", "view")]
    left = life.cluster.api.get(f"/apis/batch/v1/namespaces/{life.namespace}/jobs")["items"]
    assert left == [], "a hook that has succeeded leaves nothing"

    life.do("rollback", RELEASE, "1")
    assert life.definition()["spec"]["versions"] == DEFINITION["spec"]["versions"], "a rollback changes no definition"
    life.upgrade()
    assert life.jobs.codes == [0]


def test_an_install_beside_an_older_definition_updates_it(life: Life) -> None:
    """Helm 4 does it by itself, but not if Helm 3 has written the definition, unless a flag says so."""
    life.install()
    life.do("uninstall", RELEASE, "--no-hooks")
    life.change_definition({REVISION: "0"})
    applies = life.helm.run("version", "--short").startswith("v4")
    life.do("install", RELEASE, ".", *(["--force-conflicts"] if applies else []))
    assert (life.jobs.codes, life.column()) == ([] if applies else [0], "Model")


def test_a_newer_definition_of_another_release_stays(life: Life) -> None:
    life.install()
    life.change_definition({REVISION: "1000"})
    life.upgrade()
    assert (life.jobs.codes, life.column()) == ([], "Other")
    life.change_definition({REVISION: "0"})
    life.upgrade()


def test_the_value_leaves_the_definition_alone(life: Life) -> None:
    life.install()
    life.change_definition({})
    life.upgrade("--set=crds.upgrade=false")
    assert (life.jobs.codes, life.column()) == ([], "Other")
    life.upgrade("--set=crds.upgrade=true")
    assert (life.jobs.codes, life.column()) == ([0], "Model")


def test_an_uninstall_keeps_the_definition_and_the_objects(life: Life) -> None:
    life.install()
    model = {"apiVersion": "models.rbee.dev/v1alpha1", "kind": "ModelDownload", "spec": {"modelRef": "hf:acme/tiny"}}
    create(life.cluster.api, {**model, "metadata": {"name": "tiny", "namespace": life.namespace}})
    life.do("uninstall", RELEASE)
    assert life.jobs.codes == [0], life.jobs.outputs
    assert "deletionTimestamp" not in life.definition()["metadata"]
    assert life.cluster.api.get(object_path(life.namespace, "tiny"))["spec"]["modelRef"] == "hf:acme/tiny"


def test_the_jobs_pod_runs_where_pod_security_is_restricted(life: Life) -> None:
    life.install()
    life.change_definition({})
    hooks = life.do("upgrade", RELEASE, ".", "--dry-run=server")
    (job,) = [
        one for one in yaml.safe_load_all(hooks.partition("HOOKS:\n")[2].partition("MANIFEST:")[0]) if is_ours(one)
    ]
    life.cluster.api.merge(
        f"/api/v1/namespaces/{life.namespace}",
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}},
    )
    template = job["spec"]["template"]
    life.cluster.create_service_account(life.namespace, template["spec"]["serviceAccountName"])
    metadata = {**template["metadata"], "name": "pod", "namespace": life.namespace}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
    assert create(life.cluster.api, pod, dry_run=True)["kind"] == "Pod"
    broken = copy.deepcopy(pod)
    broken["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(ApiError, match="violates PodSecurity"):
        create(life.cluster.api, broken, dry_run=True)


def is_ours(document: dict[str, Any] | None) -> bool:
    return bool(document and document["kind"] == "Job" and document["metadata"]["name"].endswith("-definition"))


def test_without_a_cluster_nothing_is_rendered(helm: Helm) -> None:
    """`helm template` has the definition itself, with --include-crds."""
    assert [one for one in helm.render().manifests if "definition" in one["metadata"]["name"]] == []
    assert f"name: {DEFINITION['metadata']['name']}" in helm.run("template", RELEASE, ".", "--include-crds")
