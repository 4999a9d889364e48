"""Pods behind the gate on a real API server, with a real operator: what opens them, and what they are told."""

import re
from pathlib import Path

import yaml

from model_provisioner.domain.annotations import GATE
from tests.support.gated_pods import GatedPods
from tests.support.programs import eventually
from tests.support.stand import Stand

ROOT = Path(__file__).parents[3]
PATH = "/models/hf/acme/tiny/tiny.Q4_K_M.gguf"


def test_a_pod_is_held_until_all_its_models_are_ready(bench: Stand, pods: GatedPods) -> None:
    pods.waiting_for("server", "q4", "q8")
    bench.apply("q4", modelRef="hf:acme/tiny:Q4_K_M")
    bench.apply("q8", modelRef="hf:acme/tiny:Q8_0", suspend=True)
    bench.start_operator("--gates")
    bench.until("q4", "Available")
    message = eventually(lambda: pods.told("server", "Suspended"), "it is told what the pod waits for")
    assert message.startswith("waits: ModelDownload q8 is Suspended: ")
    assert not pods.is_open("server")

    bench.patch("q8", {"suspend": False})
    eventually(lambda: pods.is_open("server"), "the gate is open")
    assert pods.gates("server") == []
    assert pods.annotations("server") == {
        "model-path-0": PATH,
        "model-name-0": "q4",
        "model-path-1": "/models/hf/acme/tiny/tiny.Q8_0.gguf",
        "model-name-1": "q8",
    }
    assert eventually(lambda: pods.told("server", "GateOpened"), "the opening is told").startswith("Ready: q4, q8")


def test_a_ref_is_found_under_its_canonical_spelling_or_created(bench: Stand, pods: GatedPods) -> None:
    bench.apply("mine", modelRef="hf:acme/tiny:Q8_0")
    bench.start_operator("--gates", "--create-models")
    bench.until("mine", "Available")
    pods.using("found", "hf:acme/tiny@main:Q8_0")
    eventually(lambda: pods.is_open("found"), "the model is there")
    assert pods.annotations("found")["model-name-0"] == "mine"

    pods.using("created", "hf:acme/tiny:Q4_K_M")
    eventually(lambda: pods.is_open("created"), "the model was fetched")
    name = pods.annotations("created")["model-name-0"]
    assert name.startswith("tiny-q4-k-m-")
    assert bench.get(name)["spec"]["modelRef"] == "hf:acme/tiny:Q4_K_M"
    assert pods.annotations("created")["model-path-0"] == PATH


def test_other_gates_stay_and_the_pods_own_mount_path_counts(bench: Stand, pods: GatedPods) -> None:
    bench.apply("tiny", modelRef="hf:acme/tiny")
    container = {"name": "server", "image": "x", "volumeMounts": [{"name": "models", "mountPath": "/srv/m/"}]}
    gates = [{"name": "example.com/first"}, {"name": GATE}, {"name": "example.com/last"}]
    annotations = {"models.rbee.dev/models": "tiny", "models.rbee.dev/mount-path": "/srv/m"}
    pods.create("server", annotations, schedulingGates=gates, containers=[container])
    bench.start_operator("--gates")
    eventually(lambda: pods.is_open("server"), "the gate is open")
    assert pods.gates("server") == ["example.com/first", "example.com/last"]
    assert pods.annotations("server")["model-path-0"] == "/srv/m/hf/acme/tiny/tiny.Q4_K_M.gguf"


def test_without_the_flag_no_pod_is_touched(bench: Stand, pods: GatedPods) -> None:
    pods.waiting_for("server", "tiny")
    before = pods.get("server")
    bench.start_operator()
    bench.apply("tiny", modelRef="hf:acme/tiny")
    bench.until("tiny", "Available")
    assert pods.get("server") == before


def test_only_the_operator_that_holds_the_lease_opens_gates(bench: Stand, pods: GatedPods) -> None:
    first = bench.start_operator(environment={"POD_NAME": "first"})
    bench.apply("tiny", modelRef="hf:acme/tiny")
    bench.until("tiny", "Available")
    second = bench.start_operator("--gates", environment={"POD_NAME": "second"})
    pods.waiting_for("server", "tiny")
    eventually(lambda: "holds the Lease" in second.output(), "the second operator waits")
    assert not pods.is_open("server")
    first.stop()
    eventually(lambda: pods.is_open("server"), "the new holder opens the gate")


def test_the_manifest_of_the_documentation_waits_and_is_opened(bench: Stand, pods: GatedPods) -> None:
    section = (ROOT / "docs" / "workers.md").read_text().partition("### The same by hand\n")[2].partition("\n## ")[0]
    (text,) = re.findall(r"```yaml\n(.*?)```", section, re.DOTALL)
    deployment = yaml.safe_load(text)
    deployment["metadata"]["namespace"] = bench.namespace
    bench.cluster.apply(deployment)  # no controller makes pods of it here
    bench.cluster.api.create(
        f"/api/v1/namespaces/{bench.namespace}/pods",
        {**deployment["spec"]["template"], "metadata": {**deployment["spec"]["template"]["metadata"], "name": "made"}},
    )
    bench.start_operator("--gates")
    eventually(lambda: pods.told("made", "ModelNotFound"), "it is told that there is no model")
    bench.apply("tinyllama", modelRef="hf:acme/tiny")
    eventually(lambda: pods.is_open("made"), "the gate is open")
    assert pods.annotations("made")["model-path-0"] == PATH
