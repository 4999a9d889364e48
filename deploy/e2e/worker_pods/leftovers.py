"""What there is in a namespace, so that a step can say what an uninstallation has left. Called by `steps`."""

from deploy.e2e.commands import run
from deploy.e2e.namespaces import Namespace

PASSING = {"events", "events.events.k8s.io", "endpoints", "endpointslices.discovery.k8s.io"}
"""Kinds whose objects the cluster makes and removes by itself."""


def everything(place: Namespace) -> set[str]:
    """KIND/NAME of all objects of the namespace."""
    kinds = run("kubectl", "api-resources", "--namespaced", "--verbs=list,delete", "--output=name").split()
    wanted = ",".join(kind for kind in kinds if kind not in PASSING)
    return set(place.kubectl("get", wanted, "--output=name", "--ignore-not-found").split())
