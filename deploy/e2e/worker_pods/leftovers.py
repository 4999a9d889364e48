"""What there is in the cluster, so that a step can say what an uninstallation has left. Called by `steps`."""

import re
from collections.abc import Mapping

from deploy.e2e.commands import Failed, Kubectl, run, until
from deploy.e2e.manifests import GROUP
from deploy.e2e.scene import RELEASE, Scene

PASSING = {"events", "events.events.k8s.io", "endpoints", "endpointslices.discovery.k8s.io"}
"""Kinds whose objects the cluster makes and removes by itself."""
CLUSTER_WIDE = "clusterroles,clusterrolebindings"
OF_THE_RUN = [r"secret/hub-ca", r"persistentvolumeclaim/sample-\d"]
AT_HOME = [f"lease.coordination.k8s.io/{RELEASE}", f"secret/{RELEASE}-workers-ca"]
OF_A_TEAM = [
    r"configmap/model-catalog",
    rf"modeldownload.{GROUP}/.*",
    r"(job.batch|pod|secret)/model-worker-[0-9a-f]{16}.*",
]
"""What stays, as docs/install.md and docs/worker-pods.md say; the last line for at most fifteen minutes."""

Everything = Mapping[str, set[str]]


def everything(scene: Scene) -> Everything:
    """KIND/NAME of all objects of each namespace of the scene, and of those of the release that have none."""
    output = run("kubectl", "api-resources", "--namespaced", "--verbs=list,delete", "--output=name")
    kinds = ",".join(kind for kind in output.split() if kind not in PASSING)
    found = {one.namespace: _names(one.kubectl, kinds) for one in scene.namespaces}
    return {**found, "": {name for name in _names(scene.kubectl, CLUSTER_WIDE) if scene.namespace in name}}


def _names(kubectl: Kubectl, kinds: str) -> set[str]:
    return set(kubectl("get", kinds, "--output=name", "--ignore-not-found").split())


def check_left(scene: Scene, before: Everything) -> None:
    """Raises Failed unless soon nothing is left but `before` and what the documentation says."""
    unexpected: list[str] = []

    def is_clean() -> bool:
        unexpected[:] = _unexpected(scene, before)
        return not unexpected

    try:
        until(is_clean, "helm uninstall has left nothing else")
    except Failed as failed:
        raise Failed(f"{failed}; it has left {unexpected}") from None


def _unexpected(scene: Scene, before: Everything) -> list[str]:
    expected = {scene.namespace: AT_HOME, "": []}
    found: list[str] = []
    for place, names in everything(scene).items():
        expression = re.compile("|".join([*OF_THE_RUN, *expected.get(place, OF_A_TEAM)]))
        found += [
            f"{place}: {one}" for one in sorted(names - before.get(place, set())) if not expression.fullmatch(one)
        ]
    return found
