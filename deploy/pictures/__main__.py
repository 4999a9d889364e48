"""Takes the pictures of docs/pictures: the web page in a browser, and the output of kubectl. Called by the Makefile.

Decides which objects they show: one in each of four states. The programs are those of the demo, and everything in the
pictures comes from them. Nothing is left running.
"""

import base64
import contextlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from selenium.webdriver import Chrome

from deploy.local import binaries, gobuild, kubectl
from deploy.local.api import ApiError, Document
from deploy.local.cluster import Cluster
from deploy.local.demo import NAMESPACE, OBJECTS
from deploy.local.demo_programs import BIG, GROUP, MIB, REPOSITORY, HubModel, Programs, running
from deploy.local.processes import ProcessEnded
from deploy.pictures.png import to_png
from deploy.pictures.terminal import to_svg
from tests.support.browser import chromium, log_in, shown

PICTURES = Path(__file__).parents[2] / "docs" / "pictures"
COMMAND = f"kubectl get modeldownloads -n {NAMESPACE}"
RATE = "32Mi"  # of the download that is shown on its way: slow enough for two pictures
PERCENT = 40  # of it, when the pictures are taken
WIDTH, HEIGHT = 1200, 800  # pixels of the browser's window; the picture is as high as the page
WITHIN = 120.0  # seconds
PIXELS = """
const [address, done] = arguments;
const image = new Image();
image.onload = () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height });
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const reader = new FileReader();
  reader.onload = () => done(reader.result.split(",")[1]);
  reader.readAsDataURL(new Blob([context.getImageData(0, 0, image.width, image.height).data]));
};
image.src = address;
"""  # the pixels of an image, as base64 of four bytes each

LLAMA = Path("bartowski/Llama-3.2-1B-Instruct-GGUF")
MODELS = (
    HubModel(REPOSITORY / BIG, 636 * MIB),
    HubModel(Path("ggml-org/gemma-3-1b-it-GGUF/gemma-3-1b-it-Q4_K_M.gguf"), 768 * MIB, "gemma3"),
    HubModel(Path("Qwen/Qwen2.5-0.5B-Instruct-GGUF/qwen2.5-0.5b-instruct-q4_k_m.gguf"), 468 * MIB, "qwen2"),
    *(HubModel(LLAMA / f"Llama-3.2-1B-Instruct-{one}.gguf", MIB) for one in ("Q4_K_M", "Q6_K", "Q8_0")),
)
SPECS: dict[str, tuple[str, Document]] = {
    "tinyllama": ("Available", {"modelRef": "hf:TheBloke/TinyLlama-1.1B-Chat-v1.0-GGUF:Q4_K_M"}),
    "llama3": ("SourceNotFound", {"modelRef": "hf:bartowski/Llama-3.2-1B-Instruct-GGUF:Q5_K_M"}),
    "gemma3": ("Downloading", {"modelRef": "hf:ggml-org/gemma-3-1b-it-GGUF:Q4_K_M", "maxBytesPerSecond": RATE}),
    "qwen2": ("Queued", {"modelRef": "hf:Qwen/Qwen2.5-0.5B-Instruct-GGUF:Q4_K_M"}),
}
"""The reason that each object has in the pictures, and its spec. With one slot, the last one waits."""


def main() -> int:
    try:
        with contextlib.ExitStack() as opened:
            directory = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="pictures-")))
            cluster = opened.enter_context(Cluster(binaries.find_or_build()))
            programs = opened.enter_context(
                running(cluster, directory, NAMESPACE, own_hub=True, models=MODELS, operator_flags=["--slots=1"])
            )
            browser = opened.enter_context(chromium(directory / "profile"))
            PICTURES.mkdir(exist_ok=True)
            for name, (reason, spec) in SPECS.items():
                create(cluster, name, spec)
                wait(cluster, name, reason)
            take(cluster, browser, programs)
    except (gobuild.BuildFailed, ApiError, ProcessEnded, TimeoutError) as error:
        print(f"The pictures are not taken: {error}", file=sys.stderr)
        return 1
    return 0


def create(cluster: Cluster, name: str, spec: Document) -> None:
    cluster.apply(
        {"apiVersion": f"{GROUP}/v1alpha1", "kind": "ModelDownload", "metadata": {"name": name}, "spec": spec},
        NAMESPACE,
    )


def wait(cluster: Cluster, name: str, reason: str, percent: int = 0) -> None:
    """Returns when the object has this reason, and this progress or more. Raises TimeoutError."""
    deadline = time.monotonic() + WITHIN
    while True:
        status = cluster.api.get(f"{OBJECTS}/{name}").get("status", {})
        reasons = [one["reason"] for one in status.get("conditions", []) if one["type"] == "Ready"]
        if reasons == [reason] and (status.get("progress", {}).get("percent") or 0) >= percent:
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} is not {reason} after {WITHIN:.0f} s: {status}")
        time.sleep(0.1)


def take(cluster: Cluster, browser: Chrome, programs: Programs) -> None:
    """Takes both pictures while one object downloads. Raises TimeoutError if it is done before."""
    browser.set_window_size(WIDTH, HEIGHT)
    media = {"features": [{"name": "prefers-color-scheme", "value": "light"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    log_in(browser, programs.gateway, programs.token)
    wait(cluster, "gemma3", "Downloading", PERCENT)
    command = [str(kubectl.find_or_build()), *COMMAND.split()[1:], f"--kubeconfig={cluster.kubeconfig}"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    (PICTURES / "terminal.svg").write_text(to_svg(COMMAND, printed))
    (PICTURES / "page.png").write_bytes(page(browser))
    wait(cluster, "gemma3", "Downloading", PERCENT)


def page(browser: Chrome) -> bytes:
    """A picture of the whole page (PNG), once it shows a card for each object."""
    deadline = time.monotonic() + WITHIN
    while len(shown(browser, ".card")) < len(SPECS):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the page does not show {len(SPECS)} objects")
        time.sleep(0.1)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    metrics = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    taken = browser.get_screenshot_as_base64()
    browser.get("about:blank")  # the policy of the page allows no foreign images
    pixels = browser.execute_async_script(PIXELS, f"data:image/png;base64,{taken}")
    return to_png(base64.b64decode(pixels), WIDTH)


if __name__ == "__main__":
    raise SystemExit(main())
