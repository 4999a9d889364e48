"""What one apply of a large catalog costs the operator: it sends the whole catalog, and receives it twice.

The catalog runs in this process, as in the operator, and applies each change at once instead of once a second.
"""

import asyncio
import contextlib
import statistics
import time

from benchmarks.operator.figures import Figure
from benchmarks.operator.stage import CLAIM, Stage
from model_provisioner.controller.catalog.catalog import Catalog
from model_provisioner.domain.catalog import Entry, rows, size
from model_provisioner.domain.model_facts import FileRecord, GGUFSummary
from model_provisioner.domain.modeldownload import DigestSource, Model, ModelDownload
from model_provisioner.kube.client import KubeApi
from model_provisioner.kube.resource import parse

_NAMESPACE = "applies"
_DIGEST = f"sha256:{'0' * 64}"
_QUIET_SECONDS = 1.0


def applies(stage: Stage, models: int, rounds: int) -> list[Figure]:
    """Figures of `rounds` applies, each of which removes a model from a catalog of `models`, or adds it again."""
    stage.cluster.create_namespace(_NAMESPACE)
    seconds, cpu = asyncio.run(_measure(stage, models, rounds))
    one = size([rows("model-100", Entry("hf:" + _REPOSITORY, _MODEL))])
    return [
        Figure(
            f"one apply of a catalog of {models} models: until it is answered, median", statistics.median(seconds), "s"
        ),
        Figure("… the longest", max(seconds), "s"),
        Figure("… CPU of the operator, hearing of it included", cpu / rounds, "s"),
        Figure("… bytes of the catalog", models * one / 1024, "KiB"),
    ]


async def _measure(stage: Stage, models: int, rounds: int) -> tuple[list[float], float]:
    """The seconds of each apply, and the processor time of all applies in seconds."""
    api = await KubeApi.connect(stage.cluster.kubeconfig)
    catalog = Catalog(api, [_NAMESPACE], sleep=_no_sleep)
    running = asyncio.create_task(catalog.run())
    try:
        await asyncio.gather(*(catalog.enter(_subject(number), _MODEL) for number in range(models)))
        await asyncio.sleep(_QUIET_SECONDS)
        cpu = time.process_time()
        seconds = [await _one(catalog, number) for number in range(rounds)]
        await asyncio.sleep(_QUIET_SECONDS)
        return seconds, time.process_time() - cpu
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
        await api.close()


async def _one(catalog: Catalog, number: int) -> float:
    begun = time.perf_counter()
    await (catalog.leave(_subject(0)) if number % 2 == 0 else catalog.enter(_subject(0), _MODEL))
    return time.perf_counter() - begun


async def _no_sleep(_seconds: float) -> None:
    await asyncio.sleep(0)


def _subject(number: int) -> ModelDownload:
    metadata = {"namespace": _NAMESPACE, "name": f"model-{number}", "uid": f"uid-{number}"}
    return parse({"metadata": metadata, "spec": {"modelRef": f"hf:{_REPOSITORY}"}})


# A model with an entry of usual size: a catalog has room for about 800 of them.
_REPOSITORY = "TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M"
_PATH = "hf/TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF/tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf"
_BYTES = 668_788_096
_MODEL = Model(
    claim_name=CLAIM,
    store_id="",
    path=_PATH,
    size="637 MiB",
    size_bytes=_BYTES,
    digest_source=DigestSource.SOURCE,
    files=(FileRecord(_PATH, _BYTES, _DIGEST),),
    revision="0" * 40,
    digest=_DIGEST,
    gguf=GGUFSummary("llama", "tinyllama_tinyllama-1.1b-chat-v1.0", 1_100_048_384, "Q4_K_M", 2048, "apache-2.0", True),
)
