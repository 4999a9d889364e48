"""The end of the demo on a real control plane, with the operator: what the user did until then is no failure."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local import demo
from deploy.local.api import Document
from deploy.local.binaries import Binaries
from deploy.local.cluster import Cluster
from deploy.local.demo import DemoFailed, Sample, Stage
from deploy.local.demo_programs import REPOSITORY, SMALL, running
from tests.support.programs import eventually

pytestmark = pytest.mark.xdist_group("demo")  # one process makes what all of them use

REF = f"hf:{REPOSITORY}:Q2_K"  # the small model of the demo's hub
FILE = f"hf/{REPOSITORY}/{SMALL}"
OTHER = "own-copy"
FINALIZER = "example.com/mine"


@pytest.fixture(scope="module")
def programs(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("demo")
    with Cluster(binaries) as cluster, running(cluster, directory, demo.NAMESPACE, own_hub=True) as programs:
        yield Stage(cluster, programs, directory)


@pytest.fixture
def stage(programs: Stage) -> Iterator[Stage]:
    """Afterwards no object and no file is left, so that the next sample is fetched and not adopted."""
    yield programs
    for item in programs.cluster.api.get(demo.OBJECTS)["items"]:
        name = item["metadata"]["name"]
        finalizers = [one for one in item["metadata"].get("finalizers", []) if one != FINALIZER]
        change(programs, name, {"metadata": {"finalizers": finalizers}})  # the operator's own stays: it has to clean up
        remove(programs, name)
    file(programs).unlink(missing_ok=True)


@pytest.fixture
def sample(stage: Stage) -> Sample:
    name = demo.apply_sample(stage, REF)
    wait_until_ready(stage, name)
    return demo.prove(stage, name)


def file(stage: Stage) -> Path:
    return stage.programs.store / FILE


def is_ready(stage: Stage, name: str) -> bool:
    conditions: list[Document] = stage.get(name).get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def wait_until_ready(stage: Stage, name: str) -> None:
    eventually(lambda: is_ready(stage, name), f"{name} is ready")


def remove(stage: Stage, name: str) -> None:
    if demo.find(stage, f"{demo.OBJECTS}/{name}"):
        stage.cluster.api.delete(f"{demo.OBJECTS}/{name}")
        eventually(lambda: demo.find(stage, f"{demo.OBJECTS}/{name}") is None, f"{name} is gone")


def change(stage: Stage, name: str, fields: Document) -> None:
    stage.cluster.api.merge(f"{demo.OBJECTS}/{name}", fields)


def share(stage: Stage, name: str = OTHER) -> None:
    document = {"apiVersion": "models.rbee.dev/v1alpha1", "kind": "ModelDownload", "metadata": {"name": name}}
    stage.cluster.apply({**document, "spec": {"modelRef": REF}}, demo.NAMESPACE)
    wait_until_ready(stage, name)


def share_and_go(stage: Stage) -> None:
    share(stage)
    remove(stage, OTHER)


def delete_and_apply_again(stage: Stage) -> None:
    remove(stage, "tinyllama")
    share(stage, "tinyllama")


def give_a_finalizer(stage: Stage) -> None:
    finalizers = stage.get("tinyllama")["metadata"]["finalizers"]
    change(stage, "tinyllama", {"metadata": {"finalizers": [*finalizers, FINALIZER]}})


def test_nothing_was_done(stage: Stage, sample: Sample) -> None:
    assert demo.say_goodbye(stage, sample) == [
        "tinyllama is deleted with reclaimPolicy Delete",
        f"its file is gone: {FILE}",
        "the catalog has no model",
    ]


@pytest.mark.parametrize(
    ("done", "says"),
    [
        (share, ["is deleted with", f"stays, because it is shared with {OTHER}: {FILE}", f"the catalog has {OTHER}"]),
        (share_and_go, ["is deleted with", "was deleted with reclaimPolicy Retain", "no model"]),
        (lambda stage: remove(stage, "tinyllama"), ["was deleted while the demo was left up", "Retain", "no model"]),
        (delete_and_apply_again, ["it is yours, and is not deleted", "is shared with tinyllama", "has tinyllama"]),
        (lambda stage: change(stage, "tinyllama", {"spec": {"suspend": True}}), ["is deleted", "gone", "no model"]),
        (lambda stage: change(stage, "tinyllama", {"spec": {"priority": 7}}), ["is deleted", "gone", "no model"]),
        (lambda stage: file(stage).unlink(), ["is deleted with", "its file is gone", "no model"]),
        (lambda stage: stage.cluster.api.delete(demo.CATALOG), ["is deleted with", "its file is gone", "no model"]),
        (give_a_finalizer, [FINALIZER, "its file", "the catalog has"]),
    ],
)  # fmt: skip
def test_what_the_user_did_is_told_and_is_no_failure(
    stage: Stage, sample: Sample, monkeypatch: pytest.MonkeyPatch, done: Callable[[Stage], None], says: list[str]
) -> None:
    done(stage)
    if done is give_a_finalizer:
        monkeypatch.setattr(demo, "GONE_WITHIN", 3.0)
    lines = demo.say_goodbye(stage, sample)
    assert [said in line for said, line in zip(says, lines, strict=True)] == [True] * len(lines), lines


def test_without_keep_a_file_that_stays_is_a_failure(stage: Stage, sample: Sample) -> None:
    share(stage)
    with pytest.raises(DemoFailed, match="left something behind"):
        demo.delete(stage, sample.name)
