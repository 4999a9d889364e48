"""The chart's Roles grant what its accounts use, and nothing else: the API server's audit log is held against them.

Operator, gateway and uninstall Job run with tokens of the chart's accounts. They do all that they are for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from deploy.local.binaries import Binaries
from deploy.local.cluster import Cluster
from model_provisioner.domain.engines.engines import ENGINES
from tests.chart.auditing import Right, asked, audited, granted
from tests.chart.controllers import at_work, create_pod
from tests.chart.installing import install
from tests.chart.rendering import Helm, Rendering
from tests.chart.test_uninstall import HOOK, RELEASE, Release
from tests.gateway.caller import Caller
from tests.support.gated_pods import GatedPods
from tests.support.ggufs import tiny_gguf, write_gguf
from tests.support.pod_node import PodNode
from tests.support.programs import Program, eventually, free_port, running
from tests.support.stand import Stand, stand

pytestmark = pytest.mark.xdist_group("audit")  # one process makes what all of them use

GATEWAY = f"{RELEASE}-gateway"
MODELS = "modeldownloads.models.rbee.dev"
DOWNLOADS = "/v1/models/downloads"
USERS_RULE = {
    "apiGroups": ["models.rbee.dev"],
    "resources": ["modeldownloads"],
    "verbs": ["get", "list", "watch", "create", "patch", "delete"],
}

UNSEEN = {
    (RELEASE, "create", "configmaps"): "the first server-side apply of the catalog creates it: the log says patch",
    (RELEASE, "get", MODELS): "an object whose finalizer does not appear for seconds: is it still there?",
}
"""Account, verb and resource of the rights that these runs do not show, and when they are used."""


@pytest.fixture(scope="module")
def audit(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Path]]:
    """A control plane of its own, and its audit log."""
    with audited(binaries, tmp_path_factory.mktemp("audit")) as made:
        yield made


@pytest.fixture
def cluster(audit: tuple[Cluster, Path]) -> Cluster:
    return audit[0]


@pytest.fixture
def log(audit: tuple[Cluster, Path]) -> Path:
    return audit[1]


@pytest.fixture
def release(helm: Helm, cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Release]:
    with stand(cluster, namespace, tmp_path) as bench:
        bench.hub.repository("acme/tiny").add("tiny.Q4_K_M.gguf", tiny_gguf())
        bench.hub.repository("acme/large").add("l.Q4_K_M.gguf", write_gguf(tmp_path / "l.gguf", size=16 * 1024**2))
        yield Release(helm, bench, tmp_path)


def test_no_right_is_unused_and_none_is_missing(release: Release, log: Path, tmp_path: Path) -> None:
    bench = release.bench
    release.install()
    never_ran(release)
    release.install()
    engines_were_switched_off(bench)
    release.start_operator()
    read_a_secret(bench)
    say_the_same_again(bench)
    wait_for_the_lease(bench, tmp_path)
    use_the_gateway(bench, Rendering(release.manifests), tmp_path)
    release.uninstall()
    assert release.jobs.codes == [0, 0]

    allowed, refused = asked(log, bench.namespace)
    assert {right.account for right in allowed} >= {RELEASE, GATEWAY, HOOK}
    assert {right for right in refused if right.account.startswith(RELEASE)} == set()
    rights = granted(Rendering(release.manifests))
    assert unused(rights, allowed) <= set(UNSEEN) <= set(map(in_short, rights))


def test_of_the_rights_in_the_whole_cluster_none_is_unused_and_none_is_missing(
    release: Release, log: Path, tmp_path: Path
) -> None:
    """The operator mounts the volume of its own namespace and that of another, which exists since later."""
    bench = release.bench
    release.install('watchNamespaces=["*"]')
    engines_were_switched_off(bench)
    release.start_operator()
    read_a_secret(bench)
    say_the_same_again(bench)
    wait_for_the_lease(bench, tmp_path)
    with bench.neighbour(f"{bench.namespace}-later") as later:
        later.secret("hub", {"token": "hf_good"})
        later.apply("there", modelRef="hf:acme/tiny", credentialsSecretRef={"name": "hub"})
        later.until("there", "ClaimNotMounted")
        use_the_gateway(bench, Rendering(release.manifests), tmp_path)
        release.uninstall()
        assert release.jobs.codes == [0], release.jobs.outputs
        assert "all namespaces: " in release.jobs.outputs[0]
        assert release.finalizers(bench, later) == {name: [] for name in ("ready", "large", "with-secret", "there")}

    allowed, refused = asked(log, bench.namespace)
    assert {right for right in refused if right.account.startswith(RELEASE)} == set()
    rights = granted(Rendering(release.manifests))
    assert {right.account for right in rights if right.namespace == "*"} == {RELEASE, GATEWAY, HOOK}
    assert unused(rights, allowed) <= {*UNSEEN, (HOOK, "create", "leases.coordination.k8s.io")}


def never_ran(release: Release) -> None:
    """Uninstalls the release before an operator has run: the Job creates the Lease, which is then removed."""
    with at_work(release.jobs.poll):
        release.helm.run("uninstall", RELEASE, *release.place)
    release.cluster.api.delete(f"/apis/coordination.k8s.io/v1/namespaces/{release.namespace}/leases/{RELEASE}")


def engines_were_switched_off(bench: Stand) -> None:
    """Leaves what an earlier operator wrote for each engine."""
    labels = {"app.kubernetes.io/managed-by": "model-provisioner"}
    for engine in ENGINES.values():
        left = {"metadata": {"name": engine.config_map_name, "labels": labels}}
        bench.cluster.api.create(f"/api/v1/namespaces/{bench.namespace}/configmaps", left)


def read_a_secret(bench: Stand) -> None:
    bench.secret("hub", {"token": "hf_good"})
    bench.apply("with-secret", modelRef="hf:acme/tiny", credentialsSecretRef={"name": "hub"})
    bench.until("with-secret", "Available")


def say_the_same_again(bench: Stand) -> None:
    """Brings an object twice to the same reason: the second time raises the count of an Event."""
    for suspend, reason in ((True, "Suspended"), (False, "Downloading"), (True, "Suspended")):
        bench.patch("large", {"suspend": suspend})
        bench.until("large", reason)

    def counts() -> list[int]:
        items = bench.cluster.api.get(f"/api/v1/namespaces/{bench.namespace}/events")["items"]
        return [item["count"] for item in items if item["reason"] == "Suspended"]

    eventually(lambda: counts() == [2], "the Event is counted")


def wait_for_the_lease(bench: Stand, directory: Path) -> None:
    """Starts a second operator, which finds the Lease taken, and looks whether the pod of its holder is gone."""
    uid = create_pod(bench.cluster.api, bench.namespace, {"spec": {"containers": [{"name": "a", "image": "b"}]}}, "two")
    kubeconfig = bench.cluster.kubeconfig_for_service_account(bench.namespace, RELEASE)
    arguments = ["operator", *bench.flags, f"--kubeconfig={kubeconfig}"]
    second = Program(arguments, directory / "second.log", {"POD_NAME": "two", "POD_UID": uid})
    try:
        eventually(lambda: "holds the Lease" in second.output(), "the second operator waits")
    finally:
        assert second.stop() == 0


def use_the_gateway(bench: Stand, rendering: Rendering, directory: Path) -> None:
    """Reads, changes and follows as a user, whose own token does the writing."""
    bench.cluster.grant(bench.namespace, "user", USERS_RULE)
    with gateway(bench.cluster, bench.namespace, rendering, directory) as url:
        use(Caller(url, bench.cluster.token(bench.namespace, "user")), bench.namespace)


@contextmanager
def gateway(cluster: Cluster, namespace: str, rendering: Rendering, directory: Path) -> Iterator[str]:
    """The URL of a gateway with the chart's arguments and the token of its account."""
    listen = f"127.0.0.1:{free_port()}"
    kubeconfig = cluster.kubeconfig_for_service_account(namespace, GATEWAY)
    given = [one for one in rendering.container("gateway")["args"] if not one.startswith("--listen=")]
    arguments = [*given, f"--listen={listen}", f"--kubeconfig={kubeconfig}"]
    with running(arguments, directory / "gateway.log"):
        url = f"http://{listen}"
        eventually(lambda: Caller(url, None).reached("/readyz"), "the gateway is ready")
        yield url


def use(caller: Caller, namespace: str) -> None:
    """Starts a download, meets it, reads it, changes it, follows it, and deletes it."""
    body = {"model_ref": "hf:acme/other", "name": "other"}
    started, met = (caller.call("POST", "/v1/models/download", json=body) for _ in range(2))
    assert {started.status_code, met.status_code} <= {200, 202}, met.text
    one = f"{DOWNLOADS}/{started.json()['download_id']}"
    eventually(lambda: caller.call("GET", one).status_code == 200, "it is on the board")
    assert caller.call("GET", f"{one}/details").status_code == 200
    assert caller.call("PATCH", one, json={"spec": {"priority": 1}}).status_code == 200
    with caller.stream(f"namespace={namespace}"):
        pass  # it was accepted
    assert caller.call("DELETE", one).status_code in {200, 202, 204}


def test_a_gateway_for_everybody_uses_its_own_rights_to_write(
    helm: Helm, cluster: Cluster, namespace: str, log: Path, tmp_path: Path
) -> None:
    settings = ('gateway.auth="none"', "gateway.anonymousWrites=true")
    rendering = install(cluster.api, helm.render(*settings, namespace=namespace), namespace)
    with gateway(cluster, namespace, rendering, tmp_path) as url:
        use(Caller(url, None), namespace)
    allowed, refused = asked(log, namespace)
    assert refused == set()
    assert unused({right for right in granted(rendering) if right.account == GATEWAY}, allowed) == set()


def test_the_gates_need_each_right_that_they_add(helm: Helm, release: Release, log: Path) -> None:
    bench = release.bench
    namespace, api = bench.namespace, bench.cluster.api
    without = granted(helm.render(namespace=namespace))
    rendering = install(api, helm.render("gates.enabled=true", namespace=namespace), namespace)
    GatedPods(api, namespace).using("server", "hf:acme/tiny")
    kubeconfig = bench.cluster.kubeconfig_for_service_account(namespace, RELEASE)
    bench.start_operator(f"--kubeconfig={kubeconfig}", "--gates", "--create-models", "--node-name=node-1")
    eventually(lambda: GatedPods(api, namespace).is_open("server"), "the gate is open")
    allowed, refused = asked(log, namespace)
    assert {right for right in refused if right.account == RELEASE} == set()
    added = granted(rendering) - without
    assert {in_short(right)[1:] for right in added} == {
        *((verb, "pods") for verb in ("list", "watch", "patch")),
        ("create", MODELS),
        ("get", "persistentvolumeclaims"),
    }
    assert unused(added, allowed) == set()


def test_worker_pods_need_each_right_that_they_add(helm: Helm, release: Release, log: Path, tmp_path: Path) -> None:
    bench = release.bench
    namespace, api = bench.namespace, bench.cluster.api
    without = granted(helm.render(namespace=namespace))
    rendering = install(api, helm.render("workers.enabled=true", namespace=namespace), namespace)
    kubeconfig = bench.cluster.kubeconfig_for_service_account(namespace, RELEASE)
    door = f"127.0.0.1:{free_port()}"
    flags = [f"--kubeconfig={kubeconfig}", f"--worker-listen={door}", f"--worker-connect={door}"]
    bench.start_operator(*flags, "--worker-image=example/mp:1", module="tests.support.hasty_pods")
    node = PodNode(bench.cluster, namespace, tmp_path, {"team": tmp_path / "team"})
    (tmp_path / "team").mkdir()
    node.create_claim("team", "ReadWriteOnce")
    bench.apply("tiny", modelRef="hf:acme/tiny", destination={"claimName": "team"})
    bench.until("tiny", "WorkerPending")
    eventually(lambda: "the Job controller has not made it yet" in bench.ready("tiny")["message"], "no pod yet")
    with node:
        bench.until("tiny", "Available")
        eventually(lambda: not node.pods, "the worker pod has ended, and its Job is deleted")
    allowed, refused = asked(log, namespace)
    assert {right for right in refused if right.account == RELEASE} == set()
    added = granted(rendering) - without
    assert {in_short(right)[1:] for right in added} == {
        *((verb, "jobs.batch") for verb in ("create", "delete", "get", "list")),
        ("create", "secrets"),
        ("patch", "secrets"),
        *((verb, "persistentvolumeclaims") for verb in ("get", "list", "watch")),
        *(("list", kind) for kind in ("pods", "events")),
    }
    assert unused(added, allowed) == {(RELEASE, "patch", "secrets")}, "an authority is replaced when it is about to end"


def unused(rights: set[Right], used: set[Right]) -> set[tuple[str, str, str]]:
    """The rights that cover nothing of what was used."""
    return {in_short(right) for right in rights if not any(map(right.covers, used))}


def in_short(right: Right) -> tuple[str, str, str]:
    return right.account, right.verb, right.resource
