"""The control plane: several at one time, rights that are enforced, and nothing left when it ends."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.local.api import ApiError, Document
from deploy.local.binaries import Binaries
from deploy.local.cluster import Cluster
from deploy.local.processes import ProcessEnded
from tests.support.programs import runs

ROOT = Path(__file__).parents[2]
STARTS_WITHIN = 120.0  # seconds; generous, because the tests are not about the time


@pytest.fixture
def own(binaries: Binaries) -> Iterator[Cluster]:
    """A control plane of this test alone, which it may break."""
    with Cluster(binaries) as cluster:
        yield cluster


@pytest.fixture
def short_directory() -> Iterator[str]:
    """A directory for files that a killed program leaves. The path of pytest's is too long for a socket in it."""
    with tempfile.TemporaryDirectory() as directory:
        yield directory


def descendants(process: int) -> set[int]:
    """The ids of all processes below `process`."""
    parents = dict(parent for path in Path("/proc").glob("[0-9]*/stat") for parent in parent_of(path))
    found = {process}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}


def parent_of(stat: Path) -> list[tuple[int, int]]:
    """The ids of a process and its parent from /proc/PID/stat; None if the process has ended.

    The name of the program there is in parentheses and may contain any character.
    """
    try:
        text = stat.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [(int(stat.parent.name), int(text.rpartition(")")[2].split()[1]))]


def wait_until_gone(processes: set[int]) -> None:
    deadline = time.monotonic() + 60
    while any(map(runs, processes)):
        assert time.monotonic() < deadline, f"{processes} still run"
        time.sleep(0.05)


def test_two_run_side_by_side_and_know_nothing_of_each_other(cluster: Cluster, own: Cluster, namespace: str) -> None:
    assert own.url != cluster.url
    own.create_namespace("elsewhere")
    with pytest.raises(ApiError) as refused:
        cluster.api.get("/api/v1/namespaces/elsewhere")
    assert refused.value.code == 404
    with pytest.raises(ApiError) as refused:
        own.api.get(f"/api/v1/namespaces/{namespace}")
    assert refused.value.code == 404


def test_stopping_leaves_neither_processes_nor_files(binaries: Binaries) -> None:
    before = descendants(os.getpid())
    with Cluster(binaries) as cluster:
        directory, started = cluster.directory, descendants(os.getpid()) - before
        assert len(started) >= 2
    wait_until_gone(started)
    assert not directory.exists()


def test_a_failed_start_leaves_nothing_and_says_why(binaries: Binaries) -> None:
    before = descendants(os.getpid())
    broken = Cluster(Binaries(binaries.etcd, Path("/bin/false")))
    with pytest.raises(ProcessEnded, match="kube-apiserver ended with 1"):
        broken.__enter__()
    wait_until_gone(descendants(os.getpid()) - before)
    assert not broken.directory.exists()


def test_it_is_told_when_a_part_dies(own: Cluster) -> None:
    own.check()
    mine = [
        process
        for process in descendants(os.getpid())
        if str(own.directory) in Path(f"/proc/{process}/cmdline").read_text()
    ]
    os.kill(mine[0], signal.SIGKILL)
    with pytest.raises(ProcessEnded, match="ended with -9"):
        check_until(own, time.monotonic() + 60)


def check_until(cluster: Cluster, deadline: float) -> None:
    while time.monotonic() < deadline:
        cluster.check()
        time.sleep(0.01)


def test_rights_are_really_asked_for(cluster: Cluster, namespace: str) -> None:
    account = cluster.as_service_account(namespace, "default")
    with pytest.raises(ApiError, match="cannot list resource") as refused:
        account.get(f"/apis/models.rbee.dev/v1alpha1/namespaces/{namespace}/modeldownloads")
    assert (refused.value.code, refused.value.reason) == (403, "Forbidden")
    cluster.apply(grant(namespace))
    deadline = time.monotonic() + 60
    while not may_list(cluster, namespace):  # the authorizer watches the rules and sees new ones a moment later
        assert time.monotonic() < deadline, "the rights were granted, and never came"
        time.sleep(0.05)


def may_list(cluster: Cluster, namespace: str) -> bool:
    try:
        cluster.as_service_account(namespace, "default").get(
            f"/apis/models.rbee.dev/v1alpha1/namespaces/{namespace}/modeldownloads"
        )
    except ApiError:
        return False
    return True


def grant(namespace: str) -> list[Document]:
    group = "rbac.authorization.k8s.io"
    metadata = {"name": "reader", "namespace": namespace}
    rule = {"apiGroups": ["models.rbee.dev"], "resources": ["modeldownloads"], "verbs": ["list"]}
    role: Document = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]}
    binding: Document = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": metadata,
        "roleRef": {"apiGroup": group, "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}],
    }
    return [role, binding]


def test_nobody_gets_in_without_a_token(cluster: Cluster) -> None:
    code, _ = cluster.anonymous().exchange(
        "GET", "/api/v1/namespaces", None, content_type="application/json", accept="application/json"
    )
    assert code == 403


def test_the_kubeconfig_of_a_service_account_is_private_and_its_own(cluster: Cluster, namespace: str) -> None:
    path = cluster.kubeconfig_for_service_account(namespace, "default")
    assert path.stat().st_mode & 0o777 == 0o600
    config = yaml.safe_load(path.read_text())
    assert config["contexts"][0]["context"]["namespace"] == namespace
    assert set(config["users"][0]["user"]) == {"token"}
    assert cluster.kubeconfig.stat().st_mode & 0o777 == 0o600


def test_apply_creates_and_changes(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    manifest = tmp_path / "two.yaml"
    text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: %s}, data: {key: %s}}"
    manifest.write_text("\n---\n".join([text % ("a", "one"), text % ("b", "one")]))
    assert [document["metadata"]["namespace"] for document in cluster.apply(manifest, namespace)] == [namespace] * 2
    manifest.write_text(text % ("a", "two"))
    cluster.apply(manifest, namespace)
    stored = cluster.api.get(f"/api/v1/namespaces/{namespace}/configmaps")["items"]
    assert {item["metadata"]["name"]: item["data"]["key"] for item in stored} == {"a": "two", "b": "one"}


def test_apply_says_which_kind_is_not_known(cluster: Cluster) -> None:
    with pytest.raises(ApiError, match="the server knows no Gadget in v1"):
        cluster.apply({"apiVersion": "v1", "kind": "Gadget", "metadata": {"name": "a"}})


def test_a_namespace_is_finished_with_all_that_is_in_it(cluster: Cluster, namespace: str) -> None:
    cluster.apply(ROOT / "deploy/samples", namespace)
    cluster.finish_namespace(namespace)
    with pytest.raises(ApiError) as refused:
        cluster.api.get(f"/api/v1/namespaces/{namespace}")
    assert refused.value.code == 404
    cluster.create_namespace(namespace)
    found = cluster.api.get(f"/apis/models.rbee.dev/v1alpha1/namespaces/{namespace}/modeldownloads")
    assert found["items"] == []


def test_finishing_waits_for_finalizers_and_nothing_new_is_let_in(cluster: Cluster, namespace: str) -> None:
    held = {"name": "held", "namespace": namespace, "finalizers": ["example.com/hold"]}
    cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": held})
    with pytest.raises(TimeoutError, match="configmaps/held"):
        cluster.finish_namespace(namespace, timeout=0.2)
    with pytest.raises(ApiError, match="being terminated") as refused:
        cluster.api.create(f"/api/v1/namespaces/{namespace}/configmaps", {"metadata": {"name": "late"}})
    assert refused.value.code == 403
    cluster.api.merge(f"/api/v1/namespaces/{namespace}/configmaps/held", {"metadata": {"finalizers": None}})
    cluster.finish_namespace(namespace)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_a_signal_to_the_program_stops_its_children(
    binaries: Binaries, tmp_path: Path, short_directory: str, how: signal.Signals
) -> None:
    directory = tmp_path / ("a long path" * 15) / "cluster"
    command = [sys.executable, "-m", "deploy.local", "run", "--directory", str(directory)]
    environment = os.environ | {"KUBEBUILDER_ASSETS": str(binaries.etcd.parent), "TMPDIR": short_directory}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as program:
        assert program.stdout is not None
        assert "A control plane runs" in program.stdout.readline()
        children = descendants(program.pid)
        assert len(children) == 2
        program.send_signal(how)
        program.wait(60)
    wait_until_gone(children)
    if how != signal.SIGKILL:
        assert list(Path(short_directory).iterdir()) == []
        assert program.returncode == 130
        assert not directory.exists()


def test_up_leaves_one_and_down_stops_it(binaries: Binaries, tmp_path: Path) -> None:
    def run(command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.local", command, "--directory", str(tmp_path / "cluster")],
            cwd=ROOT,
            env=os.environ | {"KUBEBUILDER_ASSETS": str(binaries.etcd.parent)},
            capture_output=True,
            text=True,
            check=True,
            timeout=STARTS_WITHIN,
        )
        return done.stdout

    try:
        assert f"export KUBECONFIG={tmp_path}/cluster/kubeconfig" in run("up")
        assert "runs already" in run("up")
        keeper = int((tmp_path / "cluster/pid").read_text())
        processes = {keeper} | descendants(keeper)
        assert len(processes) == 3
    finally:
        said = run("down")
    assert said == "stopped the control plane\n"
    wait_until_gone(processes - {keeper})
    assert run("down") == "no control plane runs\n"
