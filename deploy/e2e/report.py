"""Runs the steps one after the other, prints each with its time, and prints what the cluster says if one fails.

Called by `__main__`. What a step does, and how the run is cleaned up, does not belong here.
"""

import time
from collections.abc import Callable, Sequence

from deploy.e2e.commands import Failed, Kubectl

Step = tuple[str, Callable[[], str]]
"""What is shown, and a function that returns what it measured; it raises an exception if the step fails."""

LOG_LINES = 60


def run_steps(steps: Sequence[Step], *namespaces: Kubectl) -> bool:
    """Returns whether all steps succeeded. The first that fails ends the run."""
    started = time.monotonic()
    for number, (name, act) in enumerate(steps, 1):
        print(f"[{number:2d}/{len(steps)}] {name} …", flush=True)
        begun = time.monotonic()
        try:
            note = act()
        except Exception as error:  # noqa: BLE001 - whatever it is, the step has failed, and is reported
            print(f"        FAILED after {time.monotonic() - begun:.1f} s: {type(error).__name__}: {error}", flush=True)
            for kubectl in namespaces:
                diagnose(kubectl)
            return False
        print(f"        ok, {time.monotonic() - begun:.1f} s{f': {note}' if note else ''}", flush=True)
    print(f"{len(steps)} of {len(steps)} steps in {time.monotonic() - started:.0f} s", flush=True)
    return True


def diagnose(kubectl: Kubectl) -> None:
    """Prints pods, objects, events and logs of the namespace, if there are any."""
    if not lines(kubectl, "get", "namespace", kubectl.namespace, "--ignore-not-found", "-o", "name"):
        return
    show(kubectl, "get", "pods,jobs,persistentvolumeclaims", "-o", "wide")
    show(kubectl, "get", "modeldownloads.models.rbee.dev", "-o", "yaml")
    show(kubectl, "get", "events", "--sort-by=.lastTimestamp")
    for name in lines(kubectl, "get", "pods", "-o", "name"):
        show(kubectl, "logs", name, "--all-containers", "--prefix", f"--tail={LOG_LINES}")
        show(kubectl, "logs", name, "--all-containers", "--prefix", f"--tail={LOG_LINES}", "--previous", quiet=True)


def show(kubectl: Kubectl, *arguments: str, quiet: bool = False) -> None:
    """Prints the output of a command. With `quiet`, nothing is printed if the command fails."""
    try:
        text = kubectl(*arguments)
    except Failed as error:
        if quiet:
            return
        text = str(error)
    print(f"--- kubectl {' '.join(arguments)}\n{text.rstrip()}", flush=True)


def lines(kubectl: Kubectl, *arguments: str) -> list[str]:
    try:
        return kubectl(*arguments).split()
    except Failed:
        return []
