"""The processes of the demo other than the control plane: a hub with a few models, the operator, the gateway.

Called by `demo` and `deploy.pictures`. All of them run on loopback with ordinary command lines, and stop when the
`with` block ends.
"""

import contextlib
import hashlib
import json
import socket
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploy.local.api import Document
from deploy.local.cluster import Cluster
from deploy.local.processes import Child, start
from tests.support.ggufs import write_gguf

REPOSITORY = Path("TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF")
BIG, SMALL = "tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf", "tinyllama-1.1b-chat-v1.0.Q2_K.gguf"
MIB = 1024**2
UP_WITHIN = 30.0  # seconds
CLAIM = "models"
GROUP = "models.rbee.dev"


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model on the demo's own hub. `path` is OWNER/REPOSITORY/FILE, `size` the bytes of its weights."""

    path: Path
    size: int
    architecture: str = "llama"


DEMO_MODELS = (HubModel(REPOSITORY / BIG, 512 * MIB), HubModel(REPOSITORY / SMALL, MIB))


@dataclass(frozen=True, slots=True)
class Programs:
    """The running programs.

    `store` is the directory of the volume, `hub_files` that of the demo's own hub (None: the real hub), `gateway` the
    gateway's URL, `token` a token with all rights on ModelDownloads.
    """

    store: Path
    hub_files: Path | None
    gateway: str
    token: str

    def digest_of(self, name: str) -> str | None:
        """SHA-256 of the file `name` on the demo's own hub; None with the real hub."""
        if self.hub_files is None:
            return None
        with (self.hub_files / REPOSITORY / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def running(
    cluster: Cluster,
    directory: Path,
    namespace: str,
    *,
    own_hub: bool,
    models: Sequence[HubModel] = DEMO_MODELS,
    operator_flags: Sequence[str] = (),
) -> Iterator[Programs]:
    """Starts all of them and waits until they are ready. Raises TimeoutError with the end of the logs.

    `models` are those of the demo's own hub.
    """
    cluster.apply(Path(__file__).parents[2] / "crds")
    cluster.create_namespace(namespace)
    cluster.grant(namespace, "gateway", on_downloads("list", "watch"))
    cluster.grant(namespace, "visitor", on_downloads("get", "list", "watch", "create", "patch", "delete"))
    store, files = directory / "volume", directory / "hub"
    store.mkdir()
    with contextlib.ExitStack() as closing:
        source = start_hub(closing, files, models) if own_hub else []
        health, listen = free_address(), free_address()
        start_program(
            closing,
            directory,
            "operator",
            f"--store={namespace}/{CLAIM}={store}",
            f"--kubeconfig={cluster.kubeconfig}",
            f"--health-listen={health}",
            *source,
            *operator_flags,
        )
        start_program(
            closing,
            directory,
            "gateway",
            f"--listen={listen}",
            f"--kubeconfig={cluster.kubeconfig_for_service_account(namespace, 'gateway')}",
            f"--watch-namespace={namespace}",
            f"--default-namespace={namespace}",
        )
        for address in (health, listen):
            wait_until_ready(f"http://{address}/readyz", directory)
        token = cluster.token(namespace, "visitor")
        yield Programs(store, files if own_hub else None, f"http://{listen}", token)


def on_downloads(*verbs: str) -> Document:
    """The RBAC rule that allows `verbs` on ModelDownloads."""
    return {"apiGroups": [GROUP], "resources": ["modeldownloads"], "verbs": list(verbs)}


def start_hub(closing: contextlib.ExitStack, files: Path, models: Sequence[HubModel]) -> list[str]:
    """Starts a hub that serves `models` over TLS. Returns the operator's flags for it."""
    for seed, model in enumerate(models):
        file = files / model.path
        file.parent.mkdir(parents=True, exist_ok=True)
        write_gguf(file, architecture=model.architecture, name=file.stem, size=model.size, seed=seed)
    log = files.with_suffix(".log")
    command = [sys.executable, "-m", "tests.support.hub", f"--directory={files}"]
    closing.callback(start("hub", command, log).stop)
    deadline = time.monotonic() + UP_WITHIN
    while not log.read_text().endswith("\n"):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the hub did not come up:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)
    printed = json.loads(log.read_text().splitlines()[0])
    hosts = [printed[key].removeprefix("https://") for key in ("endpoint", "contentOrigin")]
    return [
        f"--endpoint={printed['endpoint']}",
        f"--ca-file={printed['caFile']}",
        *(f"--allow-host={host}" for host in hosts),
    ]


def start_program(closing: contextlib.ExitStack, directory: Path, subcommand: str, *flags: str) -> Child:
    command = [sys.executable, "-m", "model_provisioner.cli", subcommand, *flags]
    child = start(subcommand, command, directory / f"{subcommand}.log")
    closing.callback(child.stop)
    return child


def wait_until_ready(url: str, directory: Path) -> None:
    deadline = time.monotonic() + UP_WITHIN
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                if response.status == 200:
                    return
        except OSError as error:
            if time.monotonic() > deadline:
                logs = "\n".join(log.read_text()[-2000:] for log in sorted(directory.glob("*.log")))
                raise TimeoutError(f"{url}: {error}; the programs said:\n{logs}") from None
        time.sleep(0.1)


def free_address() -> str:
    """HOST:PORT on loopback that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
