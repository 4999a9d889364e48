"""Use of the page in a real browser: search, pause, details; by keyboard, on a phone, with a screen reader."""

import concurrent.futures
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import model_provisioner.gateway
from tests.gateway.caller import Desk
from tests.support.browser import chromium, log_in, screenshot, shown
from tests.support.programs import eventually

AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text()
MOST_BYTES = 60_000
MANY = 1000
PHONE = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}


EXPLAINED = {
    "hf:acme/tiny": "Hugging Face acme tiny main Q4_K_M, else Q8_0, else the only one",
    "hf:acme/tiny@v2:Q8_0": "Hugging Face acme tiny v2 Q8_0",
    "hf:acme/tiny:sub/m.Q2_K.gguf": "Hugging Face acme tiny main sub/m.Q2_K.gguf",
    "hf://acme/tiny": "Hugging Face acme tiny main Q4_K_M, else Q8_0, else the only one",
    "https://huggingface.co/acme/tiny/blob/main/m.gguf": "Hugging Face acme tiny main m.gguf",
    "hf:acme/tiny:UD-IQ1_S/": "Hugging Face acme tiny main the model in UD-IQ1_S/",
    "https://huggingface.co/acme/tiny/tree/main/UD%20x/": "Hugging Face acme tiny main the model in UD x/",
    "hf.co/acme/tiny/tree/refs%2Fpr%2F3/d": "Hugging Face acme tiny refs/pr/3 the model in d/",
    "https://hf.co/acme/tiny/tree/refs/pr/3": "Hugging Face acme tiny refs/pr/3 Q4_K_M, else Q8_0, else the only one",
    "https://huggingface.co/acme/tiny?show_file_info=d%2Fm.gguf": "Hugging Face acme tiny main d/m.gguf",
    "https://huggingface.co/acme/tiny/resolve/v2/m.gguf?download=true#x": "Hugging Face acme tiny v2 m.gguf",
    "https://hf.co/acme/tiny/commit/0123abc": "Hugging Face acme tiny 0123abc Q4_K_M, else Q8_0, else the only one",
    "hf.co/acme/tiny:Q8_0": "Hugging Face acme tiny main Q8_0",
    "https://huggingface.co/datasets/acme/tiny": "this page shows no files of a model",
    "https://huggingface.co/acme/tiny/discussions": "this page shows no files of a model",
    "https://huggingface.co/acme/tiny/tree/main/%": "Hugging Face acme tiny main the model in %/",
    "hf:acme": "Hugging Face acme is missing main Q4_K_M, else Q8_0, else the only one",
    "local:mine.gguf": "a file on the volume local/mine.gguf",
    "modelscope:acme/tiny": "ModelScope acme tiny master Q4_K_M, else Q8_0, else the only one",
    "modelscope:acme/tiny@v2:d/m.gguf": "ModelScope acme tiny v2 d/m.gguf",
    "modelscope:acme": "ModelScope acme is missing master Q4_K_M, else Q8_0, else the only one",
    "s3://models/team/m.gguf": "a bucket models team/m.gguf",
    "s3://models/team/:Q8_0": "a bucket models team/ Q8_0",
    "s3://models/": "a bucket models all of the bucket Q4_K_M, else Q8_0, else the only one",
    "s3://models/team": "a bucket models ends with .gguf, and a prefix with a slash",
    "oci://docker.io/ai/smollm2": "a registry docker.io ai/smollm2 latest",
    "oci://r.example:5000/team/tiny:v1": "a registry r.example:5000 team/tiny v1",
    f"oci://r.example/a@sha256:{'0' * 64}": f"a registry r.example a sha256:{'0' * 64}",
    "oci://r.example/a@sha256:12": "a registry r.example a sha256: and 64 hexadecimal digits",
    f"oci://r.example/a:v1@sha256:{'0' * 64}": "a registry r.example a a tag and a digest: the digest is enough",
    "oci://ai/smollm2:v1": "a registry is missing: on Docker Hub it is oci://docker.io/ai/smollm2:v1",
    "oci://r.exa": "a registry r.exa is missing latest",
    "oci:r.example/a": "a registry write oci://registry/repository:tag",
    "ollama:llama3.2": "the Ollama registry library llama3.2 latest",
    "ollama:me/tiny:8b": "the Ollama registry me tiny 8b",
    "ollama:": "the Ollama registry library is missing latest",
    "ollama:hf.co/acme/tiny": "the Ollama registry write ollama:name:tag or ollama:namespace/name:tag; a model of "
    "Hugging Face is hf:owner/repository",
    "acme/tiny": "a ref begins with hf:, modelscope:, https:, s3:, oci:, ollama: or local:",
}


@pytest.fixture
def page(desk: Desk, tmp_path: Path) -> Iterator[Chrome]:
    with chromium(tmp_path / "profile") as browser:
        log_in(browser, desk.url, desk.cluster.token(desk.namespace, "editor"))
        yield browser


def click(page: Chrome, selector: str) -> None:
    page.find_element(By.CSS_SELECTOR, selector).click()


def visible(page: Chrome, selector: str) -> list[str]:
    return [text for text in shown(page, selector) if text]


def violations(page: Chrome) -> list[str]:
    """The violations of all rules of axe, including best practices."""
    page.execute_script(AXE)
    found: dict[str, Any] = page.execute_async_script("axe.run(document).then(arguments[0])")
    assert found["passes"], "axe has looked"
    return [f"{one['id']}: {node['html']}" for one in found["violations"] for node in one["nodes"]]


def emulate(page: Chrome, scheme: str) -> None:
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )


def test_a_ref_is_explained_while_it_is_typed(page: Chrome) -> None:
    """One page for all, because a browser takes longer to start than all of them to type."""

    def explained(typed: str) -> str:
        page.find_element(By.ID, "ref").clear()
        page.find_element(By.ID, "ref").send_keys(typed)
        return " ".join(shown(page, "#ref-parts dd"))

    assert {typed: explained(typed) for typed in EXPLAINED} == EXPLAINED


def test_a_search_shows_what_has_all_its_words(desk: Desk, page: Chrome) -> None:
    for name in ("alpha", "beta", "gamma"):
        desk.apply(name, f"hf:acme/{name}")
    desk.tell("gamma", "Available", done=1000)
    eventually(lambda: visible(page, "#models .card .ref") == ["hf:acme/gamma"], "one is a model")
    eventually(lambda: len(visible(page, ".card .ref")) == 3, "all are shown")
    ActionChains(page).send_keys("/").perform()
    assert page.switch_to.active_element.get_attribute("id") == "search"
    page.switch_to.active_element.send_keys("ACME bet")
    assert visible(page, ".card .ref") == ["hf:acme/beta"]
    assert visible(page, "#found") == ["1 of 3 shown"]
    desk.tell("beta", "Downloading", done=500)
    eventually(lambda: visible(page, "#downloads .numbers"), "what is found goes on")
    assert visible(page, ".card .ref") == ["hf:acme/beta"]
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert len(visible(page, ".card .ref")) == 3


def test_a_download_is_paused_and_resumed(desk: Desk, page: Chrome) -> None:
    desk.apply("long", "hf:acme/long")
    desk.tell("long", "Downloading", done=400)
    eventually(lambda: visible(page, "#downloads .pause") == ["Pause"], "it can be paused")
    click(page, "#downloads .pause")
    eventually(lambda: desk.cluster.api.get(desk.path("long"))["spec"].get("suspend"), "it is to pause")
    desk.tell("long", "Suspended", done=400)
    eventually(lambda: visible(page, "#downloads .pause") == ["Resume"], "it can be resumed")
    click(page, "#downloads .pause")
    eventually(lambda: not desk.cluster.api.get(desk.path("long"))["spec"]["suspend"], "it is to go on")


def test_conditions_and_events_are_shown(desk: Desk, page: Chrome) -> None:
    desk.apply("odd", "hf:acme/odd")
    uid = desk.tell("odd", "NotGGUF", error="<i>no</i> model")["metadata"]["uid"]
    eventually(lambda: visible(page, "#downloads .ref"), "it is shown")
    click(page, "#downloads summary")
    eventually(lambda: "you may not list them" in "".join(visible(page, "#downloads .facts")), "that is said")
    assert "NotGGUF" in "".join(visible(page, "#downloads .facts td"))
    let_list_events(desk)
    desk.cluster.api.create(f"/api/v1/namespaces/{desk.namespace}/events", event_about(desk, uid))
    click(page, "#downloads summary")
    click(page, "#downloads summary")
    eventually(lambda: "<b>seen</b>" in visible(page, "#downloads .facts td"), "the event is shown, as text")
    assert not page.find_elements(By.CSS_SELECTOR, ".facts b, .facts i")


def let_list_events(desk: Desk) -> None:
    rbac, group = "rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
    metadata = {"name": "events", "namespace": desk.namespace}
    rule = {"apiGroups": [""], "resources": ["events"], "verbs": ["list"]}
    subject = {"kind": "ServiceAccount", "name": "editor", "namespace": desk.namespace}
    role = {"apiGroup": group, "kind": "Role", "name": "events"}
    desk.cluster.apply(
        [
            {"apiVersion": rbac, "kind": "Role", "metadata": metadata, "rules": [rule]},
            {"apiVersion": rbac, "kind": "RoleBinding", "metadata": metadata, "roleRef": role, "subjects": [subject]},
        ]
    )


def event_about(desk: Desk, uid: str) -> dict[str, Any]:
    about = {"kind": "ModelDownload", "name": "odd", "namespace": desk.namespace, "uid": uid}
    return {
        "metadata": {"name": "odd.1", "namespace": desk.namespace},
        "involvedObject": about,
        "reason": "NotGGUF",
        "message": "<b>seen</b>",
        "type": "Warning",
        "count": 2,
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }


def test_the_theme_follows_the_system_until_one_is_chosen(page: Chrome) -> None:
    def ground() -> str:
        return str(page.execute_script("return getComputedStyle(document.body).backgroundColor"))

    emulate(page, "dark")
    dark = ground()
    emulate(page, "light")
    light = ground()
    assert dark != light
    click(page, "#theme")
    click(page, "#theme")
    assert ground() == dark
    page.refresh()
    eventually(lambda: visible(page, "#theme") == ["Light or dark: dark"], "the choice is kept")
    assert ground() == dark


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(desk: Desk, page: Chrome, scheme: str) -> None:
    desk.apply("going", "hf:acme/going")
    desk.tell("going", "Downloading", done=400)
    desk.apply("failed", "hf:acme/failed")
    desk.tell("failed", "NotGGUF", error="no model")
    desk.apply("ready", "hf:acme/ready")
    desk.tell("ready", "Available", done=1000)
    emulate(page, scheme)
    eventually(lambda: len(visible(page, ".card .ref")) == 3, "all are shown")
    page.find_element(By.ID, "ref").send_keys("hf:acme/new:Q8_0")
    click(page, "#downloads summary")
    click(page, "#models summary")
    click(page, "#change-token")
    eventually(lambda: len(visible(page, ".facts table")) == 2, "the details are shown")
    assert violations(page) == []
    screenshot(page, scheme)
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", PHONE)
    assert page.execute_script("return document.documentElement.scrollWidth") <= PHONE["width"]
    assert violations(page) == []
    screenshot(page, f"{scheme}-phone")


def test_everything_can_be_reached_with_the_keyboard(desk: Desk, page: Chrome) -> None:
    desk.apply("ready", "hf:acme/ready")
    desk.tell("ready", "Available", done=1000)
    desk.apply("going", "hf:acme/going")
    eventually(lambda: len(visible(page, ".card .ref")) == 2, "both are shown")
    reachable = "a[href], button, input, summary"
    wanted = page.execute_script(
        "return [...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility() && !e.disabled).length",
        reachable,
    )
    page.execute_script("document.activeElement.blur()")
    reached = set()
    for _ in range(wanted + 2):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.add(page.switch_to.active_element.id)
        outline = page.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or page.execute_script("return document.activeElement === document.body")
    body = page.find_element(By.TAG_NAME, "body").id
    assert len(reached - {body}) == wanted


def test_a_thousand_models_are_there_at_once_and_can_be_searched(desk: Desk, page: Chrome) -> None:
    def ready(number: int) -> None:
        desk.apply(f"model-{number}", f"hf:acme/model-{number}")
        desk.tell(f"model-{number}", "Available", done=1000)

    with concurrent.futures.ThreadPoolExecutor(8) as several:
        list(several.map(ready, range(MANY)))
    page.refresh()
    script = "return document.querySelectorAll('#models .card').length"
    eventually(lambda: page.execute_script(script) == MANY, "all are there")
    page.refresh()
    took = page.execute_async_script(
        """
        const [many, done] = arguments;
        const look = () => {
          const all = document.querySelectorAll("#models .card").length === many;
          const [paint] = performance.getEntriesByName("first-contentful-paint");
          if (all && paint) requestAnimationFrame(() => done([paint.startTime, performance.now()]));
          else setTimeout(look, 5);
        };
        look();
        """,
        MANY,
    )
    sys.stdout.write(f"first paint after {took[0]:.0f} ms, all of {MANY} models after {took[1]:.0f} ms\n")
    assert took[0] < took[1] < 10_000
    page.find_element(By.ID, "search").send_keys("model-77 ")
    page.find_element(By.ID, "search").send_keys("7")
    assert len(visible(page, ".card .ref")) > 10
    screenshot(page, "thousand")


def test_the_page_is_small() -> None:
    page = files(model_provisioner.gateway) / "page"
    assert sum(len(file.read_bytes()) for file in page.iterdir() if file.is_file()) <= MOST_BYTES
