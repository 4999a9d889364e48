"""`make demo`: one download from manifest to deletion, on a real control plane on this machine.

Starts a kube-apiserver, a hub, the operator and the gateway; applies the sample, shows its progress, checks the file,
deletes the object and stops everything. KEEP=1 keeps everything running until Ctrl-C or SIGTERM and prints how to
connect; the end then says what the user changed in the meantime, and that is no failure.
MODEL=hf:owner/repo fetches that model from the real hub. Each visible step is a function of this file.
"""

import contextlib
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import yaml

from deploy.local import binaries, gobuild
from deploy.local.api import ApiError, Document
from deploy.local.cluster import Cluster
from deploy.local.demo_programs import Programs, running
from deploy.local.event_stream import read_events
from deploy.local.processes import ProcessEnded

ROOT = Path(__file__).parents[2]
NAMESPACE = "models"
OBJECTS = f"/apis/models.rbee.dev/v1alpha1/namespaces/{NAMESPACE}/modeldownloads"
CATALOG = f"/api/v1/namespaces/{NAMESPACE}/configmaps/model-catalog"
RATE = "64Mi"  # slow enough to show the progress of half a gibibyte
PATIENCE = 600.0  # seconds without a byte from the event stream; a real download may be slow
GONE_WITHIN = 15.0  # seconds
BAR = 40  # characters


@dataclass(frozen=True, slots=True)
class Stage:
    """The state that the steps of the demo share."""

    cluster: Cluster
    programs: Programs
    directory: Path

    def get(self, name: str) -> Document:
        return self.cluster.api.get(f"{OBJECTS}/{name}")


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    model, keep = os.environ.get("MODEL"), bool(os.environ.get("KEEP"))
    try:
        programs = binaries.find_or_build()
        with contextlib.ExitStack() as opened:
            say(
                "Starting a control plane, "
                + ("the operator and the gateway" if model else "a hub, the operator and the gateway")
            )
            directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="demo-")))
            cluster = opened.enter_context(Cluster(programs))
            stage = Stage(
                cluster, opened.enter_context(running(cluster, directory, NAMESPACE, own_hub=not model)), directory
            )
            name = apply_sample(stage, model)
            watch(stage)
            sample = prove(stage, name)
            if keep:
                wait_for_interrupt(stage)
                say("Ending the demo:", *say_goodbye(stage, sample))
            else:
                delete(stage, name)
    except KeyboardInterrupt:
        return 130
    except (gobuild.BuildFailed, ApiError, ProcessEnded, TimeoutError, DemoFailed) as error:
        say(f"The demo failed: {error}")
        return 1
    say("Done: nothing is left running.")
    return 0


@dataclass(frozen=True, slots=True)
class Sample:
    """The object of the demo, and where its file is, relative to the volume's root."""

    name: str
    uid: str
    path: str


class DemoFailed(Exception):
    """A step of the demo had an unexpected result."""


def apply_sample(stage: Stage, model: str | None) -> str:
    """Applies the sample, with `model` or else with a limit on its speed. Returns the object's name."""
    sample: Document = yaml.safe_load((ROOT / "deploy" / "samples" / "hf.yaml").read_text())
    if model:
        sample["spec"]["modelRef"] = model
    else:
        sample["spec"]["maxBytesPerSecond"] = RATE
    say("Applying this manifest:", yaml.safe_dump(sample, sort_keys=False).rstrip())
    stage.cluster.apply(sample, NAMESPACE)
    return str(sample["metadata"]["name"])


def watch(stage: Stage) -> None:
    """Draws a progress bar from the event stream, and prints the columns at 50 % and three events at the end."""
    say("Watching it through the gateway's event stream:")
    shown: list[str] = []
    halfway = False
    for event, data, raw in stream(stage, f"namespace={NAMESPACE}"):
        if event in {"started", "progress", "complete"}:
            shown.append(raw)
        if event == "progress":
            draw(data)
            if not halfway and int(data.get("percent") or 0) >= 50:
                halfway = True
                columns(stage, "The columns of `kubectl get modeldownloads`, half-way:")
        if event == "failed":
            raise DemoFailed(f"{data['state']}: {data['error']}")
        if event == "complete":
            break
    print(flush=True)
    columns(stage, "And at the end:")
    say("Three lines of the event stream:", *[shown[0], shown[len(shown) // 2], shown[-1]])


def prove(stage: Stage, name: str) -> Sample:
    """Prints the catalog, and compares the digest of the file with the hub's. Raises DemoFailed if they differ."""
    found = stage.get(name)
    model = found["status"]["model"]
    catalog = stage.cluster.api.get(CATALOG)["data"]
    say("The catalog, ConfigMap model-catalog:", *(f"{key}: {value[:100]}" for key, value in sorted(catalog.items())))
    file = stage.programs.store / model["path"]
    with file.open("rb") as content:
        here = hashlib.file_digest(content, "sha256").hexdigest()
    there = stage.programs.digest_of(file.name) or model["digest"].removeprefix("sha256:")
    say("sha256sum of the file on the volume, and the hub's:", f"{here}  {model['path']}", f"{there}  hub")
    if here != there or catalog[f"{name}.path"] != model["path"]:
        raise DemoFailed("the file is not the hub's, or the catalog does not lead to it")
    return Sample(name, found["metadata"]["uid"], model["path"])


def delete(stage: Stage, name: str) -> None:
    """Deletes the object with reclaimPolicy Delete. Raises DemoFailed if its file or its catalog entry stays."""
    file = stage.programs.store / stage.get(name)["status"]["model"]["path"]
    stage.cluster.api.merge(f"{OBJECTS}/{name}", {"spec": {"reclaimPolicy": "Delete"}})
    stage.cluster.api.delete(f"{OBJECTS}/{name}")
    if not is_gone(stage, name):
        raise DemoFailed(f"{name} is still there {GONE_WITHIN:.0f} s after its deletion")
    listed = f"{name}.path" in (stage.cluster.api.get(CATALOG).get("data") or {})
    say("Deleted with reclaimPolicy Delete:", f"file there: {file.exists()}", f"in the catalog: {listed}")
    if file.exists() or listed:
        raise DemoFailed("the deletion left something behind")


def say_goodbye(stage: Stage, sample: Sample) -> list[str]:
    """Deletes the sample with reclaimPolicy Delete. Returns lines that say what was done, and what is left and why.

    Unlike `delete` it expects nothing: the user may have changed or deleted anything while the demo was left up.
    """
    return [delete_if_unchanged(stage, sample), state_of_file(stage, sample), state_of_catalog(stage)]


def delete_if_unchanged(stage: Stage, sample: Sample) -> str:
    """Deletes the sample, unless the user has deleted it, or has created another object of this name."""
    name = sample.name
    found = find(stage, f"{OBJECTS}/{name}")
    if found is None:
        return f"{name} was deleted while the demo was left up"
    if found["metadata"]["uid"] != sample.uid:
        return f"{name} was deleted and created again while the demo was left up: it is yours, and is not deleted"
    try:
        stage.cluster.api.merge(f"{OBJECTS}/{name}", {"spec": {"reclaimPolicy": "Delete"}})
        stage.cluster.api.delete(f"{OBJECTS}/{name}")
    except ApiError as error:
        return f"{name} is not deleted: {error}"
    if is_gone(stage, name):
        return f"{name} is deleted with reclaimPolicy Delete"
    waiting = (find(stage, f"{OBJECTS}/{name}") or {}).get("metadata", {}).get("finalizers", [])
    return f"{name} is still there {GONE_WITHIN:.0f} s after its deletion, with the finalizers {', '.join(waiting)}"


def state_of_file(stage: Stage, sample: Sample) -> str:
    if not (stage.programs.store / sample.path).exists():
        return f"its file is gone: {sample.path}"
    listed = find(stage, OBJECTS) or {"items": []}
    holders = [item["metadata"]["name"] for item in listed["items"] if sample.path in paths_of(item)]
    if holders:
        return f"its file stays, because it is shared with {', '.join(holders)}: {sample.path}"
    return f"its file stays, because an object that had it was deleted with reclaimPolicy Retain: {sample.path}"


def state_of_catalog(stage: Stage) -> str:
    catalog = find(stage, CATALOG) or {}
    models = [key.removesuffix(".path") for key in catalog.get("data") or {} if key.endswith(".path")]
    return f"the catalog has {', '.join(models) or 'no model'}"


def paths_of(download: Document) -> list[str]:
    """The paths of the files that the object has resolved to."""
    model = download.get("status", {}).get("model", {})
    return [file["path"] for file in model.get("files", [])]


def wait_for_interrupt(stage: Stage) -> None:
    """Prints how to connect, and returns after Ctrl-C or SIGTERM. Raises ProcessEnded if the control plane ends."""
    with contextlib.suppress(KeyboardInterrupt):
        say(
            "Left up until Ctrl-C:",
            f"page     {stage.programs.gateway}/",
            f"token    {stage.programs.token}",
            f"kubectl  export KUBECONFIG={stage.cluster.kubeconfig}; kubectl get -n {NAMESPACE} modeldownloads",
        )
        while True:
            stage.cluster.check()
            time.sleep(1)


def stream(stage: Stage, query: str) -> Iterator[tuple[str, Document, str]]:
    """Yields the events of the gateway: name, data, and a shortened line with both. Raises DemoFailed if it ends."""
    address = stage.programs.gateway.removeprefix("http://")
    connection = HTTPConnection(address, timeout=PATIENCE)
    with contextlib.closing(connection):
        headers = {"Authorization": f"Bearer {stage.programs.token}"}
        connection.request("GET", f"/v1/models/download/progress?{query}", headers=headers)
        response = connection.getresponse()
        if response.status != 200:
            raise DemoFailed(f"the gateway answered {response.status}: {response.read().decode()}")
        for name, data in read_events(response):
            sent = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
            yield name, data, f"event: {name} · data: {sent[:120]}"
    raise DemoFailed("the gateway ended the stream")


def draw(data: Document) -> None:
    """Prints a progress bar: on a terminal one line that is overwritten, else one line for each call."""
    percent = int(data.get("percent") or 0)
    rate = (data.get("bytes_per_second") or 0) / 1024**2
    left = "" if data.get("eta_seconds") is None else f"{data['eta_seconds']} s left"
    text = f"  [{'█' * (percent * BAR // 100):<{BAR}}] {percent:3d}%  {rate:6.1f} MiB/s  {left}"
    print(f"\r{text}   " if sys.stdout.isatty() else text, end="" if sys.stdout.isatty() else "\n", flush=True)


def columns(stage: Stage, title: str) -> None:
    """Prints the table that the API server makes for kubectl."""
    table = stage.cluster.api.get(OBJECTS, accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    shown = [number for number, column in enumerate(table["columnDefinitions"]) if not column["priority"]]
    rows = [[column["name"].upper() for column in table["columnDefinitions"]], *(row["cells"] for row in table["rows"])]
    texts = [[str(row[number] if row[number] is not None else "") for number in shown] for row in rows]
    widths = [max(len(text[number]) for text in texts) for number in range(len(shown))]
    say(title, *("   ".join(cell.ljust(width) for cell, width in zip(text, widths, strict=True)) for text in texts))


def is_gone(stage: Stage, name: str) -> bool:
    """Waits for GONE_WITHIN seconds until the object is gone. Returns whether it is."""
    deadline = time.monotonic() + GONE_WITHIN
    while find(stage, f"{OBJECTS}/{name}") is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True


def find(stage: Stage, path: str) -> Document | None:
    try:
        return stage.cluster.api.get(path)
    except ApiError as error:
        if error.code == 404:
            return None
        raise


def say(title: str, *lines: str) -> None:
    print("\n" + "\n".join([title, *(f"  {line}" for text in lines for line in text.splitlines())]), flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
