"""The page of `make bench-workers`, of what was measured. Pure but for what it says about this machine."""

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.operator.figures import Figure, table
from benchmarks.workers import lost
from benchmarks.workers.lost import Lost
from benchmarks.workers.restart import Restart
from benchmarks.workers.scale import NAMESPACES, Scale

_TEXT = """# What worker pods cost

Written by `make bench-workers`, on a real kube-apiserver and etcd, with a hub on loopback and claims in memory.

{figures}

{machine} Everything ran on
the same cores: the API server, etcd, the hub, the pods, what creates the objects and what measures.

{noise}

The objects are spread over {namespaces} namespaces, each on a claim of its own, so that each has a Job and a pod of its
own. The operator mounts no volume. It was scraped and probed as in a cluster with the chart's defaults.

Writes are counted by the API server (`apiserver_request_total`), until all Jobs are deleted again: everything the
operator writes, its Lease too, and not what a client, the Job controller and the kubelet write. Memory is proportional
(PSS, with shared pages by their share), every quarter of a second. CPU time is user and system, of the operator's own
process, until three seconds after the last object is Ready.

In the first two scenes all pods are in one process: the relay of a real pod with a TLS connection of its own, and the
engine of a real worker, without the two processes that a real pod has below it. When the operator is restarted, the hub
has sent one half of each model, and sends the rest when all pods are connected again. In the last scene the pods are
real processes, and a pod is lost as soon as the hub has sent one half.

## Writes per download, by kind

{writes}
"""


@dataclass(frozen=True, slots=True)
class Report:
    """What was measured; a scene that did not run is empty or None."""

    scales: Sequence[Scale] = ()
    restart: Restart | None = None
    losses: Sequence[Lost] = ()

    @property
    def figures(self) -> list[Figure]:
        found = [figure for scale in self.scales for figure in scale.figures()]
        found += self.restart.figures() if self.restart else []
        return [*found, *lost.figures(self.losses)]

    def text(self, machine: str, noise: str) -> str:
        return _TEXT.format(
            figures=table(self.figures),
            machine=machine,
            noise=noise,
            namespaces=NAMESPACES,
            writes=_by_kind(self.scales),
        )


def machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("kopf", "aiohttp", "kubernetes"))
    return (
        f"Measured on {os.cpu_count()} cores, {platform.machine()}, {memory:.0f} GiB of memory, "
        f"Python {platform.python_version()}, {libraries}."
    )


def _by_kind(scales: Sequence[Scale]) -> str:
    """A row for each kind, a column for each number of objects."""
    kinds = sorted({kind for scale in scales for kind in scale.writes}, key=lambda kind: -scales[-1].writes[kind])
    heads = ["request", *(f"{scale.count} objects" for scale in scales)]
    rows = [[kind, *(f"{scale.writes[kind] / scale.count:.2f}" for scale in scales)] for kind in kinds]
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows])
