"""The environment of the gateway's benchmark: a real control plane, and the gateway as a process with its own core."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from deploy.local import binaries
from deploy.local.cluster import Cluster
from tests.support.programs import Program, eventually, free_port, running

ROOT = Path(__file__).parents[1]
NAMESPACE = "bench"
ACCOUNTS = 20
OBJECTS = f"/apis/models.rbee.dev/v1alpha1/namespaces/{NAMESPACE}/modeldownloads"
_TICKS = os.sysconf("SC_CLK_TCK")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stage:
    """A gateway, its cluster, and the tokens of accounts that may read."""

    cluster: Cluster
    gateway: Program
    port: int
    tokens: list[str]

    def memory(self, kind: str = "VmRSS") -> float:
        """MiB of the gateway's process: `VmRSS` now, `VmHWM` the peak (proc(5))."""
        status = Path(f"/proc/{self.gateway.process.pid}/status").read_text()
        return int(re.findall(rf"{kind}:\s+(\d+)", status)[0]) / 1024

    def forget_peak(self) -> None:
        """Sets `VmHWM` to the memory of now (proc(5), clear_refs)."""
        Path(f"/proc/{self.gateway.process.pid}/clear_refs").write_text("5")

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.gateway.process.pid}/stat").read_text().rpartition(") ")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def descriptors(self) -> int:
        return len([*Path(f"/proc/{self.gateway.process.pid}/fd").iterdir()])

    def metric(self, name: str) -> float:
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics").text
        return float(re.findall(rf"^model_provisioner_gateway_{name} (\S+)$", text, re.MULTILINE)[0])

    def create(self, name: str, ref: str) -> None:
        document = {
            "apiVersion": "models.rbee.dev/v1alpha1",
            "kind": "ModelDownload",
            "metadata": {"name": name},
            "spec": {"modelRef": ref},
        }
        self.cluster.api.create(OBJECTS, document)

    def tell(self, name: str, reason: str, done: int, total: int = 1_000_000) -> None:
        """Writes the status that the operator would write. `done` and `total` are in bytes."""
        ready = reason == "Available"
        path = f"hf/acme/{name}/{name}.Q4_K_M.gguf"
        condition = {
            "type": "Ready",
            "status": str(ready),
            "reason": reason,
            "message": "as it should",
            "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        model = {
            "claimName": "models",
            "storeID": "one",
            "path": path,
            "size": "1 MB",
            "sizeBytes": total,
            "digestSource": "Source",
            "files": [{"path": path, "sizeBytes": total, "digest": f"sha256:{'0' * 64}"}],
        }
        progress = {
            "bytes": done,
            "totalBytes": total,
            "percent": 100 * done // total,
            "summary": "on its way",
            "bytesPerSecond": 1000,
            "etaSeconds": 60,
            "lastUpdateTime": "2026-01-01T00:00:00Z",
        }
        status = {
            "observedGeneration": 1,
            "conditions": [condition],
            "progress": progress,
            "model": model,
            "attempts": 1,
        }
        self.cluster.api.merge(f"{OBJECTS}/{name}/status", {"status": status})


@contextmanager
def staged(core: int, rest: set[int]) -> Iterator[Stage]:
    """The gateway runs on `core` alone, everything else on `rest`."""
    os.sched_setaffinity(0, rest)
    with tempfile.TemporaryDirectory() as directory, Cluster(binaries.find_or_build()) as cluster:
        cluster.apply(ROOT / "crds")
        cluster.create_namespace(NAMESPACE)
        rule = {"apiGroups": ["models.rbee.dev"], "resources": ["modeldownloads"], "verbs": ["list", "watch"]}
        names = [f"reader-{number}" for number in range(ACCOUNTS)]
        for name in ("gateway", *names):
            cluster.grant(NAMESPACE, name, rule)
        port = free_port()
        flags = [
            "gateway",
            f"--listen=127.0.0.1:{port}",
            f"--kubeconfig={cluster.kubeconfig_for_service_account(NAMESPACE, 'gateway')}",
            f"--watch-namespace={NAMESPACE}",
            f"--default-namespace={NAMESPACE}",
        ]
        with running(flags, Path(directory) / "gateway.log") as gateway:
            os.sched_setaffinity(gateway.process.pid, {core})
            eventually(lambda: _is_ready(port), "the gateway is ready")
            yield Stage(cluster, gateway, port, [cluster.token(NAMESPACE, name) for name in names])


def _is_ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    except httpx.HTTPError:
        return False
