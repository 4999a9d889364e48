"""The step with a pod of one team that says it is the worker of the other team's claim. Called by `steps`."""

from deploy.e2e import manifests
from deploy.e2e.commands import PATIENCE, Document, check, until
from deploy.e2e.models import Model
from deploy.e2e.namespaces import Namespace
from deploy.e2e.scene import MIB, RELEASE, Scene
from deploy.e2e.worker_pods import jobs

REFUSED = "the operator refuses this worker (401)"


def refused(scene: Scene) -> str:
    """Both workers are held at half of a transfer meanwhile. Neither is disturbed."""
    first, second = scene.teams
    held = [(first, scene.publish("held", 16 * MIB)), (second, scene.publish("held-too", 8 * MIB))]
    gates = [scene.hub.pause_at(model.size // 2, model.file) for _, model in held]
    for team, model in held:
        team.ask_for(model)
    for gate in gates:
        gate.wait_reached(PATIENCE)
    before = [jobs.running_pod(team) for team, _ in held]
    said = _try(first, second)
    target = jobs.job(first)["metadata"]["name"]
    until(
        lambda: _logged(scene, f"{first.namespace}/{target}"),
        "the operator's log has the refusal, with the name of the Job",
    )
    for gate in gates:
        gate.release()
    for team, model in held:
        _check_undisturbed(scene, team, model)
    check([jobs.running_pod(team) for team, _ in held] == before, "the worker pods are not those of before")
    for team, model in held:
        team.remove(model)
    return f"it said {said!r}; no byte was sent twice to {len(held)} claims"


def _try(first: Namespace, second: Namespace) -> str:
    """The pod with the Secret of `second` that says it is the worker of `first`. Returns its last line."""
    name = f"{first.namespace}/{jobs.job(first)['metadata']['name']}"
    second.kubectl.apply(manifests.impostor(jobs.job(second), name))
    until(lambda: _phase(second) in {"Succeeded", "Failed"}, "the pod `impostor` has ended")
    lines = second.kubectl("logs", "impostor").strip().splitlines()
    check(any(REFUSED in line for line in lines), f"the pod `impostor` was not refused, it said {lines}")
    second.kubectl("delete", "pod", "impostor")
    return REFUSED


def _phase(team: Namespace) -> str:
    pod: Document = team.kubectl.get("pod", "impostor")
    return str(pod.get("status", {}).get("phase"))


def _logged(scene: Scene, job: str) -> bool:
    lines = scene.kubectl("logs", f"deployment/{RELEASE}", "--container=operator").splitlines()
    return any("refused" in line and job in line for line in lines)


def _check_undisturbed(scene: Scene, team: Namespace, model: Model) -> None:
    team.until_ready(model)
    team.check_on_disk(model)
    twice = scene.hub.bytes_sent(model.file) - model.size
    check(twice == 0, f"{twice} bytes of {model.name} were sent twice")
