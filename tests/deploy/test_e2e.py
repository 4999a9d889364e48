"""The parts of `make e2e` that need no node: settings, report, manifests, and the restart of a kubelet."""

import os
import signal
import subprocess
import threading
import uuid
from pathlib import Path

import pytest
from typing_extensions import override

from deploy.e2e import manifests, settings
from deploy.e2e.commands import Failed, Kubectl, until
from deploy.e2e.report import run_steps
from deploy.e2e.scene import Scene
from deploy.e2e.worker_pods import cuts
from deploy.local.cluster import Cluster
from model_provisioner.controller.workers.pods.manifests import JobSettings, job_manifest
from model_provisioner.domain.store.claim import Claim
from tests.support.hub import Hub


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """One with which `make e2e` runs: a cluster, and a kubectl."""
    program = tmp_path / "kubectl"
    program.touch(0o755)
    return {"KUBECONFIG": "/a/kubeconfig", "PATH": str(tmp_path)}


def test_the_defaults_are_for_docker_and_kind(environment: dict[str, str]) -> None:
    found = settings.read(environment)
    assert found.build == "docker build -f deploy/Dockerfile -t model-provisioner:e2e ."
    assert found.load == "kind load docker-image model-provisioner:e2e"
    assert found.engine_build == "docker build -f deploy/e2e/engine.Dockerfile -t llama-server:e2e {root}"
    assert found.engine_load == "kind load docker-image llama-server:e2e"
    assert (found.repository, found.tag, found.kubelet_root) == ("model-provisioner", "e2e", "/var/lib/kubelet")
    assert found.kubelet_restart == ""


def test_a_command_has_the_image_in_it_and_an_empty_one_is_left_out(environment: dict[str, str]) -> None:
    image = "registry.example.com:5000/models/provisioner:1.2"
    found = settings.read({**environment, "IMAGE": image, "IMAGE_BUILD": "", "IMAGE_LOAD": "load {image} {image}"})
    assert (found.build, found.load) == ("", f"load {image} {image}")
    assert (found.repository, found.tag) == ("registry.example.com:5000/models/provisioner", "1.2")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"KUBECONFIG": ""}, "set KUBECONFIG"),
        ({"PATH": "/nowhere"}, "kubectl is not in PATH"),
        ({"IMAGE": "registry.example.com:5000/provisioner"}, "has no tag"),
        ({"ENGINE_IMAGE": "llama-server"}, "ENGINE_IMAGE is llama-server, which has no tag"),
    ],
)
def test_what_is_missing_is_said(environment: dict[str, str], change: dict[str, str], says: str) -> None:
    with pytest.raises(settings.Unusable, match=says):
        settings.read({**environment, **change})


class Deaf(Kubectl):
    """Answers two names to every question for names, and refuses the rest."""

    @override
    def __call__(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
        if arguments[-1] == "name":
            return "pod/operator-0 pod/worker\n"
        raise Failed("connection refused")


def test_each_step_is_printed_with_what_it_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_steps([("first", lambda: "3 MiB"), ("second", lambda: "")], Deaf("models"))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "[ 1/2] first …",
        "        ok",
        "[ 2/2] second …",
        "        ok",
        lines[-1],
    ]
    assert lines[1].endswith("s: 3 MiB")
    assert lines[-1].startswith("2 of 2 steps in ")


def test_a_step_that_fails_is_the_last_one_and_the_logs_of_all_pods_follow(capsys: pytest.CaptureFixture[str]) -> None:
    reached: list[str] = []

    def fails() -> str:
        raise Failed("no claim")

    def succeeds() -> str:
        reached.append("second")
        return ""

    steps = [("first", fails), ("second", succeeds)]
    assert not run_steps(steps, Deaf("models"))
    printed = capsys.readouterr().out
    assert "no claim" in printed
    assert reached == []
    for name in ("pod/operator-0", "pod/worker"):
        assert printed.count(f"--- kubectl logs {name}") == 1
    assert "connection refused" in printed


def test_a_namespace_that_is_not_there_is_not_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    class Gone(Deaf):
        @override
        def __call__(self, *arguments: str, stdin: str | None = None, seconds: float = 120) -> str:
            return ""

    def fails() -> str:
        raise Failed("no claim")

    assert not run_steps([("first", fails)], Gone("a"), Deaf("b"))
    printed = capsys.readouterr().out
    assert printed.count("--- kubectl get events") == 1


def test_a_wait_that_is_in_vain_says_for_what() -> None:
    with pytest.raises(Failed, match="not within 0 s: the pod is ready"):
        until(lambda: False, "the pod is ready", 0)


def test_its_pods_are_admitted_where_pod_security_is_restricted(cluster: Cluster) -> None:
    name = f"e2e-{uuid.uuid4().hex[:6]}"
    (namespace,) = cluster.apply([manifests.namespace(name)])
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    cluster.create_service_account(name, "default")
    pods = [
        manifests.disk("image:tag", 1024),
        manifests.worker("image:tag", "tiny"),
        manifests.engine("image:tag", "tiny"),
    ]
    disk, worker, engine = cluster.apply(pods, name)
    assert engine["metadata"]["annotations"] == {"models.rbee.dev/use": "tiny"}
    assert worker["spec"]["containers"][0]["env"][0]["valueFrom"]["configMapKeyRef"]["key"] == "tiny.path"
    disk["spec"]["nodeName"] = "node-1"
    volume, part = cluster.apply(
        [
            manifests.persistent_volume(disk, "/var/lib/kubelet", 1024),
            manifests.persistent_volume(disk, "/var/lib/kubelet", 1024, claim="other", folder="part"),
        ]
    )
    path = f"/var/lib/kubelet/pods/{disk['metadata']['uid']}/volumes/kubernetes.io~empty-dir/disk"
    assert (volume["spec"]["local"]["path"], part["spec"]["local"]["path"]) == (path, f"{path}/part")
    assert volume["spec"]["claimRef"]["name"] == "models"
    (claim,) = cluster.apply([manifests.claim("other", 1024)], name)
    assert part["spec"]["claimRef"]["name"] == claim["metadata"]["name"]


def test_a_pod_that_pretends_is_admitted_there_too(cluster: Cluster) -> None:
    name = f"e2e-{uuid.uuid4().hex[:6]}"
    cluster.apply([manifests.namespace(name)])
    cluster.create_service_account(name, "default")
    job = job_manifest(
        JobSettings("release", "image:tag", "Never", "door:8443", (), "1"), Claim(name, "models"), "token"
    )
    (pod,) = cluster.apply([manifests.impostor(job, "other/job")], name)
    (container,) = pod["spec"]["containers"]
    assert [one for one in container["args"] if one.startswith("--job=")] == ["--job=other/job"]
    secrets = [one["secret"]["secretName"] for one in pod["spec"]["volumes"] if "secret" in one]
    assert secrets[0].startswith(job["metadata"]["name"])


def test_without_a_command_for_the_kubelet_its_step_says_that_it_is_not_run(
    environment: dict[str, str], tmp_path: Path
) -> None:
    scene = Scene(settings.read(environment), tmp_path, Hub(), tmp_path, teams="ab")
    assert cuts.kubelet_restarted(scene).startswith("not run: KUBELET_RESTART")


SYSCTL = """#!/bin/sh
if [ "$1" = -q ]; then shift 2; echo "$@" >"$0.written"; exit; fi
echo >>"$0.asked"
for name in "$@"; do echo "$name = $(wc -l <"$0.asked")"; done
"""


def test_the_kubelet_is_started_again_with_its_arguments(tmp_path: Path) -> None:
    for name in ("pid", "log"):
        (tmp_path / name).mkdir()
    sysctl = tmp_path / "sysctl"
    sysctl.write_text(SYSCTL)
    sysctl.chmod(0o755)
    environment = {"WORK": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    pid = tmp_path / "pid/kubelet"
    first = subprocess.Popen(["sleep", "600.5"])
    pid.write_text(f"{first.pid}\n")
    threading.Thread(target=first.wait).start()  # so that nothing of it is left to see for the script
    script = Path(settings.__file__).parent / "restart_kubelet.sh"
    subprocess.run([script], env=environment, timeout=60, check=True)
    second = int(pid.read_text())
    try:
        assert (first.returncode, second != first.pid) == (-signal.SIGTERM, True)
        until(lambda: _command(second) == ["sleep", "600.5"], "it runs", 60)
    finally:
        os.kill(second, signal.SIGKILL)
    assert (tmp_path / "sysctl.written").read_text() == "kernel.panic=1 kernel.panic_on_oops=1\n"


def _command(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
