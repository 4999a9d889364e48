"""“Use it” on the page, in a real browser: each manifest is taken by a real API server, as kubectl sends it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from deploy.local import kubectl
from tests.gateway.caller import Desk
from tests.gateway.page.test_page_use import violations
from tests.support import prepared
from tests.support.browser import chromium, log_in, logged, screenshot, shown
from tests.support.programs import eventually

ENGINES = ["llama.cpp, by annotation", "llama.cpp, by hand", "Ollama", "LocalAI", "vLLM"]
PATH = "hf/acme/tiny/tiny.Q4_K_M.gguf"
HOSTILE = "local/a 'b' \"c\" $(HOME) # d: {e} [f] <img src=x onerror=document.title='owned'> \u2028é😀\\u0041.gguf"
Document = dict[str, Any]

MODELS: dict[str, Document] = {
    "plain": {"name": "tiny", "path": PATH, "projector": None, "files": [{"path": PATH}]},
    "with all": {
        "name": "1e3",
        "path": "a/m-00001-of-00002.gguf",
        "projector": "a/mmproj.gguf",
        "files": [{"path": f"a/{name}"} for name in ("m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "mmproj.gguf")],
    },
    "hostile": {"name": "true", "path": HOSTILE, "projector": f"b/{HOSTILE}", "files": [{"path": HOSTILE}] * 2},
    "longest": {"name": "a." * 31 + "b", "path": PATH, "projector": None, "files": [{"path": PATH}]},
}


@pytest.fixture
def page(desk: Desk, tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path / "profile") as browser:
        log_in(browser, desk.url, desk.cluster.token(desk.namespace, "editor"))
        yield browser


def rendered(page: Chrome, model: Document) -> dict[str, Document]:
    """By engine, what the page would show for a model."""
    script = "const [model, done] = arguments; import('./page/use.js').then((use) => done(use.manifests(model)))"
    return {one["engine"]: one for one in page.execute_async_script(script, model)}


def stored(desk: Desk, text: str) -> list[Document]:
    """The objects that the API server would store. Fails with its message."""
    program = prepared.found(kubectl.find_or_build, "set KUBEBUILDER_ASSETS to a directory with kubectl")
    flags = ["--dry-run=server", "--validate=strict", "--output=json", f"--kubeconfig={desk.cluster.kubeconfig}"]
    done = subprocess.run(
        [program, "create", "--filename=-", *flags], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{done.stderr}\n{text}"
    decoder, found, rest = json.JSONDecoder(), [], done.stdout.strip()
    while rest:
        document, end = decoder.raw_decode(rest)
        found += document.get("items", [document])
        rest = rest[end:].strip()
    return found


def test_every_manifest_is_taken_by_the_api_server(desk: Desk, page: Chrome) -> None:
    for known in MODELS.values():
        model = {**known, "namespace": desk.namespace, "claim": "models"}
        found = rendered(page, model)
        assert list(found) == ENGINES
        for engine, one in found.items():
            *others, deployment = stored(desk, one["text"])
            template = deployment["spec"]["template"]
            assert template["metadata"]["labels"] == {"app": model["name"]}
            assert model["path"] not in json.dumps(template), "the path comes from elsewhere"
            if engine.endswith("by annotation"):
                wanted = {"models.rbee.dev/use": model["name"], "models.rbee.dev/claim": "models"}
                assert template["metadata"]["annotations"] == wanted
            else:
                assert template["spec"]["volumes"][0]["persistentVolumeClaim"] == {"claimName": "models"}
            for other in others:
                (entry,) = yaml.safe_load(other["data"]["models.yaml"])
                assert (entry["name"], entry["parameters"]["model"]) == (model["name"], model["path"])
                assert entry.get("mmproj") == model["projector"]
        assert ("does not load" in found["Ollama"]["note"]) == (len(model["files"]) > 2)
        mmproj = [
            "--mmproj" in stored(desk, found[engine]["text"])[-1]["spec"]["template"]["spec"]["containers"][0]["args"]
            for engine in ENGINES[:2]
        ]
        assert mmproj == [bool(model["projector"])] * 2


TOKENIZERS: dict[str | None, list[str]] = {
    "acme/base-1B": ["--tokenizer", "acme/base-1B"],
    None: [],
    "https://mirror.example/acme/base": [],
    "acme/$(HOME)": [],
    "acme/a b": [],
}
"""By the base model, the arguments that are added."""


def test_vllm_takes_the_tokenizer_of_the_base_model(page: Chrome) -> None:
    """One page for all, because a browser takes longer to start."""
    for base, added in TOKENIZERS.items():
        model = {**MODELS["plain"], "namespace": "ai", "claim": "models", "base_model": base}
        found = rendered(page, model)["vLLM"]
        (container,) = yaml.safe_load(found["text"])["spec"]["template"]["spec"]["containers"]
        assert container["args"][4:] == added, base
        assert ("Add --tokenizer" in found["note"]) == (not added), base


def test_a_model_says_how_it_is_used_and_each_text_can_be_copied(desk: Desk, page: Chrome) -> None:
    desk.apply("tiny", "hf:acme/tiny")
    desk.tell("tiny", "Available", done=1000)
    eventually(lambda: shown(page, "#models .ref") == ["hf:acme/tiny"], "the model is shown")
    page.find_element(By.CSS_SELECTOR, "#models .use summary").send_keys(Keys.ENTER)
    eventually(lambda: shown(page, ".annotation") == ['models.rbee.dev/use: "tiny"'], "the annotation is shown")
    assert shown(page, ".mounted") == [f"/models/{PATH}"]
    choice = Select(page.find_element(By.CSS_SELECTOR, "#models select"))
    assert [option.text for option in choice.options] == ENGINES
    choice.select_by_visible_text("LocalAI")
    eventually(lambda: "kind: ConfigMap" in shown(page, ".manifest")[0], "the other manifest is shown")

    page.execute_cdp_cmd(
        "Browser.grantPermissions",
        {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"], "origin": desk.url},
    )
    for name in ("annotation", "manifest"):
        copy(page, name)
    eventually(lambda: "Annotation copied" in shown(page, "#announcements")[0], "that is announced")
    assert violations(page) == []
    screenshot(page, "use")


def copy(page: Chrome, name: str) -> None:
    """Presses a button with the keyboard, and reads the clipboard."""
    button = page.find_element(By.CSS_SELECTOR, f"#models .copy-{name}")
    assert button.accessible_name == f"Copy {name}: hf:acme/tiny"
    button.send_keys(Keys.SPACE)
    wanted = shown(page, f".{name}")[0]
    script = "navigator.clipboard.readText().then(arguments[0])"
    eventually(lambda: page.execute_async_script(script).strip() == wanted, f"the {name} is in the clipboard")


def test_a_hostile_path_is_text_there_too(desk: Desk, page: Chrome) -> None:
    path = HOSTILE.translate({0x2028: None, 0x5C: None})  # neither is possible in the path of a status
    desk.apply("hostile", "local:x.gguf")
    desk.tell("hostile", "Available", done=1000, path=path)
    eventually(lambda: shown(page, "#models .path") == [path], "the model is shown")
    page.find_element(By.CSS_SELECTOR, "#models .use summary").click()
    Select(page.find_element(By.CSS_SELECTOR, "#models select")).select_by_visible_text("LocalAI")
    eventually(lambda: "onerror" in shown(page, ".manifest")[0], "the path is shown as it is")
    assert page.title == "Models"
    assert not page.find_elements(By.CSS_SELECTOR, "#models img")
    assert not [entry for entry in logged(page, "browser") if "Content Security Policy" in entry["message"]]
