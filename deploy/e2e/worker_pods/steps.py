"""What is done in this scene, in this order, and what has to come of it. Called by `__main__`.

The release is in a namespace without a volume and serves two others, each with a claim. No right is given by hand.
"""

import time
from collections.abc import Callable
from functools import partial

from deploy.e2e import manifests
from deploy.e2e.commands import PATIENCE, Document, check, until
from deploy.e2e.manifests import DEFINITION
from deploy.e2e.models import condition
from deploy.e2e.report import Step
from deploy.e2e.scene import MIB, RELEASE, Scene
from deploy.e2e.worker_pods import cuts, first_byte, impostor, jobs, leftovers

SIZES = (256 * MIB, 48 * MIB)  # bytes of the volumes of the teams


def steps(scene: Scene) -> list[Step]:
    before: dict[str, set[str]] = {}
    table: list[tuple[str, Callable[[], str]]] = [
        (
            "two restricted namespaces with a claim each, and one for an operator without a volume",
            partial(prepare, scene, before),
        ),
        ("helm install with worker pods", partial(install, scene)),
        ("a model becomes Ready in each namespace, by a worker pod", partial(both_ready, scene)),
        ("from kubectl apply to the first byte, with a pod that has to start", partial(first_byte.measured, scene)),
        ("the worker pod is deleted at half of a transfer", partial(cuts.pod_deleted, scene)),
        ("the operator is replaced at half of a transfer", partial(cuts.operator_replaced, scene)),
        ("the kubelet is restarted at half of a transfer", partial(cuts.kubelet_restarted, scene)),
        ("a model does not fit on the claim", partial(too_small, scene)),
        ("a pod of one namespace says it is the worker of the other", partial(impostor.refused, scene)),
        ("helm upgrade to every namespace at half of a transfer", partial(upgraded, scene)),
        ("a namespace is deleted at half of a transfer", partial(namespace_deleted, scene)),
        ("helm uninstall leaves what it should", partial(uninstalled, scene, before)),
    ]
    return table


def prepare(scene: Scene, before: dict[str, set[str]]) -> str:
    scene.make()
    settings = scene.settings
    for team, size in zip(scene.teams, SIZES, strict=True):
        team.make()
        team.make_volume(settings.image, settings.kubelet_root, size)
        team.kubectl.apply(manifests.claim(team.claim, size))
    before.update(leftovers.everything(scene))
    return f"volumes of {' and '.join(f'{size // MIB} MiB' for size in SIZES)}"


def install(scene: Scene) -> str:
    workers = {"enabled": True, "max": 12, "maxPerNamespace": 8}
    names = [team.namespace for team in scene.teams]
    return scene.install({"persistence": {"enabled": False}, "watchNamespaces": names, "workers": workers})


def both_ready(scene: Scene) -> str:
    asked = [(team, scene.publish(f"first-{number}", MIB)) for number, team in enumerate(scene.teams)]
    begun = time.monotonic()
    for team, model in asked:
        team.ask_for(model)
    for team, model in asked:
        team.until_ready(model)
    took = time.monotonic() - begun
    for team, model in asked:
        team.check_on_disk(model)
        jobs.running_pod(team)
        spec = jobs.pod(team)["spec"]
        check(spec["automountServiceAccountToken"] is False, "the worker pod may have a token of its account")
    check(not scene.kubectl.items("jobs", jobs.WORKERS), "there is a worker pod in the namespace of the release")
    return f"both after {took:.1f} s; their digests on the volumes are the hub's"


def too_small(scene: Scene) -> str:
    team, model = scene.teams[1], scene.publish("too-large", 64 * MIB)
    team.ask_for(model)
    message = str(condition(team.until_reason(model, "InsufficientStorage"))["message"])
    check("MiB" in message or "MB" in message, f"it does not say how much there is: {message}")
    team.remove(model)
    return f"it said {message!r}"


def upgraded(scene: Scene) -> str:
    """To a ClusterRole, which a namespace that is deleted does not take with it. The worker pods of before are kept."""
    return cuts.kept(scene, scene.publish("every-namespace", 32 * MIB), partial(_upgrade, scene))


def _upgrade(scene: Scene) -> None:
    scene.helm("upgrade", RELEASE, ".", "--reset-then-reuse-values", "--set-json", 'watchNamespaces=["*"]')
    scene.until_rolled_out()


def namespace_deleted(scene: Scene) -> str:
    """The namespace goes although a worker pod is busy in it, and the operator serves the other one as before."""
    kept, team = scene.teams
    model = scene.publish("deleted", 16 * MIB)
    gate = scene.hub.pause_at(model.size // 2, model.file)
    operator = scene.operator_pod()["metadata"]["uid"]
    team.ask_for(model)
    gate.wait_reached(PATIENCE)
    begun = time.monotonic()
    team.begin_deletion()
    until(lambda: not team.kubectl.get("namespace", team.namespace), f"namespace {team.namespace} is gone")
    gone = time.monotonic() - begun
    gate.release()
    after = scene.publish("after", MIB)
    begun = time.monotonic()
    kept.ask_for(after)
    kept.until_ready(after)
    ready = time.monotonic() - begun
    _check_never_restarted(scene.operator_pod(), operator)
    return (
        f"it was gone after {gone:.1f} s; a model of the other namespace was Ready {ready:.1f} s after it was asked for"
    )


def _check_never_restarted(pod: Document, uid: str) -> None:
    restarts = {one["name"]: one["restartCount"] for one in pod["status"]["containerStatuses"]}
    check(pod["metadata"]["uid"] == uid, "the operator's pod was replaced")
    check(not any(restarts.values()), f"the operator's containers were started anew: {restarts}")


def uninstalled(scene: Scene, before: dict[str, set[str]]) -> str:
    """What is left is what docs/worker-pods.md and docs/install.md say."""
    team = scene.teams[0]
    scene.helm("uninstall", RELEASE)
    until(lambda: not scene.operator_pod(), "the operator's pod is being deleted")
    objects = {
        item["metadata"]["name"]: item["metadata"].get("finalizers", []) for item in team.kubectl.items(DEFINITION)
    }
    check(objects and not any(objects.values()), f"the objects and their finalizers are {objects}")
    leftovers.check_left(scene, before)
    return f"{len(objects)} objects without finalizers, and what the documentation names, and nothing else"
