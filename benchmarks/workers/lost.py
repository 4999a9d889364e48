"""A pod is lost when half of its model is there: what the next one fetches again. Here the pods are real processes."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.operator.figures import Figure
from benchmarks.operator.stage import Stage, Watching
from benchmarks.workers.stage import create_namespaces, on_claim, operating
from model_provisioner.kube.resource import collection_path
from model_provisioner.transfer.store.documents import decode_journal
from tests.support.ggufs import write_gguf
from tests.support.pod_node import PodNode
from tests.support.programs import eventually, free_port

MOST_AGAIN = 16
_SIZE = 128 * 1024 * 1024
_MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Lost:
    """How the pod was lost. `again` are the bytes that were sent twice, `journalled` those that the journal had.

    The latter is what came after the loss, beyond what the journal did not have then. Both in bytes.
    """

    fate: str
    again: int
    journalled: int


def figures(found: Sequence[Lost]) -> list[Figure]:
    """The worst of several losses of each kind."""
    made = []
    for fate in dict.fromkeys(one.fate for one in found):
        rounds = [one for one in found if one.fate == fate]
        again, journalled = max(one.again for one in rounds), max(one.journalled for one in rounds)
        times = "once" if len(rounds) == 1 else f"{len(rounds)} times"
        title = f"pod {fate} at half of {_SIZE // _MIB} MiB ({times}): bytes fetched again, the most"
        made.append(Figure(title, again / _MIB, "MiB", MOST_AGAIN))
        made.append(Figure("… of them bytes that the journal had", journalled / _MIB, "MiB", 0))
    return made


def lost(stage: Stage, rounds: int) -> list[Lost]:
    """`rounds` pods that are deleted and as many whose processes are killed, one after the other."""
    (namespace,), port = create_namespaces(stage, "lost", 1), free_port()
    claim = stage.directory / "lost-claim"
    claim.mkdir()
    model = write_gguf(stage.directory / "large.gguf", size=_SIZE)
    node = PodNode(stage.cluster, namespace, stage.directory, {"lost": claim})
    with node, operating(stage, [namespace], port):
        return [
            _one(stage, node, claim, model, fate, number) for number in range(rounds) for fate in ("deleted", "killed")
        ]


def _one(stage: Stage, node: PodNode, claim: Path, model: Path, fate: str, number: int) -> Lost:
    name, namespace = f"{fate}-{number}", "lost-0"
    file = f"{name}.Q4_K_M.gguf"
    size = model.stat().st_size
    stage.hub.repository(f"acme/{name}").add(file, model)
    gate = stage.hub.pause_at(size // 2, file)
    with Watching(stage) as watching:
        stage.cluster.api.create(collection_path(namespace), on_claim(name, f"hf:acme/{name}", "lost"))
        gate.wait_reached(60)
        eventually(lambda: stage.hub.bytes_sent(file) >= size // 2, "all that comes before the gate is sent")
        (program,) = node.running
        if fate == "deleted":
            node.delete_pod()
        else:
            node.crash()
        eventually(lambda: program.process.poll() is not None, "the pod's process has ended")
        durable, before, ended = _durable(claim), stage.hub.bytes_sent(file), time.time()
        gate.release()
        watching.until_ready([name], 120)
    after = _sent_since(stage, file, ended)
    return Lost(fate, before + after - size, max(0, after - (size - durable)))


def _sent_since(stage: Stage, file: str, moment: float) -> int:
    """The bytes of requests that have arrived since. What the hub still writes to the lost pod is left out."""
    asked = (one for one in stage.hub.log if one.origin == "content" and one.path.endswith(file))
    return sum(one.bytes_sent for one in asked if one.time > moment)


def _durable(claim: Path) -> int:
    """The bytes that the journals on the claim name."""
    journals = (decode_journal(file.read_bytes()) for file in claim.rglob("parts/*.json"))
    return sum(journal.spans.total for journal in journals if journal)
