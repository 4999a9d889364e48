"""The web page in a real browser, against a real gateway, while the test plays the operator."""

import functools
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.gateway.caller import Desk
from tests.support.browser import bars, chromium, log_in, logged, question, screenshot, shown
from tests.support.programs import eventually

HOSTILE = "local:<img src=x onerror=document.title='owned'>.gguf"


@pytest.fixture
def page(desk: Desk, tmp_path: Path) -> Iterator[Chrome]:
    """The page, with an editor's token."""
    with chromium(tmp_path / "profile") as browser:
        log_in(browser, desk.url, desk.cluster.token(desk.namespace, "editor"))
        yield browser


def text(browser: Chrome, selector: str) -> str:
    return "".join(shown(browser, selector))


def stand_at(browser: Chrome, percent: int) -> bool:
    return bars(browser) == [str(percent)]


def test_the_projector_is_asked_for_by_a_checkbox_and_shown_with_the_model(desk: Desk, page: Chrome) -> None:
    page.find_element(By.ID, "ref").send_keys("hf:acme/sees")
    page.find_element(By.CSS_SELECTOR, "label[for=projector]").click()
    page.find_element(By.CSS_SELECTOR, "#start button").click()
    (created,) = eventually(lambda: desk.cluster.api.get(desk.path("").rstrip("/"))["items"], "the object is created")
    assert created["spec"]["projector"] == "Auto"
    eventually(lambda: not page.find_element(By.ID, "projector").is_selected(), "the next one is asked for without")
    desk.tell(created["metadata"]["name"], "Available", done=1000, projector="hf/acme/sees/mmproj-F16.gguf")
    eventually(lambda: text(page, "#models .projector") == "hf/acme/sees/mmproj-F16.gguf", "its path is shown")
    desk.apply("blind", "hf:acme/blind")
    desk.tell("blind", "Available", done=1000)
    eventually(lambda: len(page.find_elements(By.CSS_SELECTOR, "#models .card")) == 2, "the other model is shown")
    hidden = [one.get_attribute("hidden") for one in page.find_elements(By.CSS_SELECTOR, "#models .companion")]
    assert hidden == [None, "true"]


def test_a_download_is_started_and_its_bar_moves_to_the_end(desk: Desk, page: Chrome) -> None:
    page.find_element(By.ID, "ref").send_keys("hf:acme/tiny")
    page.find_element(By.CSS_SELECTOR, "#start button").click()
    eventually(lambda: bars(page), "a bar is there")
    name = desk.cluster.api.get(desk.path("").rstrip("/"))["items"][0]["metadata"]["name"]
    for done in (250, 700):
        desk.tell(name, "Downloading", done=done)
        eventually(functools.partial(stand_at, page, done // 10), f"the bar stands at {done // 10}")
    assert "700 B of 1000 B" in text(page, "#downloads .numbers")
    screenshot(page, "downloading")
    desk.tell(name, "Available", done=1000)
    eventually(lambda: text(page, "#models .path") == f"hf/acme/{name}/{name}.Q4_K_M.gguf", "the path is shown")
    eventually(lambda: not bars(page), "the bar is gone")


def test_a_wrong_ref_is_reported_at_its_field(page: Chrome) -> None:
    page.find_element(By.ID, "ref").send_keys("hf:acme")
    page.find_element(By.CSS_SELECTOR, "#start button").click()
    eventually(lambda: "<owner>/<repo>" in text(page, "#start .problem"), "the problem is shown")


def test_a_refused_token_is_answered_with_how_to_get_one(page: Chrome) -> None:
    page.find_element(By.ID, "change-token").click()
    page.find_element(By.ID, "token").send_keys("worthless")
    page.find_element(By.CSS_SELECTOR, "#login button").click()
    eventually(lambda: "kubectl create token" in text(page, "#login .problem"), "the refusal is shown")


def test_a_ready_model_is_deleted_when_that_is_confirmed(desk: Desk, page: Chrome) -> None:
    desk.apply("tiny", "hf:acme/tiny")
    desk.tell("tiny", "Available", done=1000)
    eventually(lambda: text(page, "#models .ref") == "hf:acme/tiny", "the model is shown")
    page.find_element(By.CSS_SELECTOR, "#models .remove").click()
    assert "its file" in question(page, accept=True)
    eventually(lambda: text(page, "#no-models"), "no model is shown")
    assert desk.cluster.api.get(desk.path("").rstrip("/"))["items"] == []


def test_a_hostile_name_is_text(desk: Desk, page: Chrome) -> None:
    desk.apply("hostile", HOSTILE)
    error = "<b>bold</b><script>document.title='owned'</script>"
    desk.tell("hostile", "NotGGUF", error=error, path=HOSTILE.replace(":", "/"))
    eventually(lambda: text(page, "#downloads .ref") == HOSTILE, "the name is shown as it is")
    eventually(lambda: "<b>bold</b>" in text(page, "#downloads .message"), "the message is shown as it is")
    assert page.title == "Models"
    assert not page.find_elements(By.CSS_SELECTOR, "#downloads img, #downloads b, #downloads script")


def test_cancelling_asks_first(desk: Desk, page: Chrome) -> None:
    desk.apply("unwanted", "hf:acme/unwanted")
    eventually(lambda: bars(page), "a bar is there")
    page.find_element(By.CSS_SELECTOR, "#downloads .remove").click()
    assert "stays on the volume" in question(page, accept=False)
    assert desk.cluster.api.get(desk.path("unwanted"))
    page.find_element(By.CSS_SELECTOR, "#downloads .remove").click()
    question(page, accept=True)
    eventually(lambda: not bars(page), "the bar is gone")


def test_the_page_fits_a_phone_and_requests_nothing_from_elsewhere(desk: Desk, page: Chrome) -> None:
    desk.apply("long", "hf:acme/" + "very-long-name-" * 5 + "x:Q4_K_M")
    eventually(lambda: bars(page), "a bar is there")
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    assert page.execute_script("return document.documentElement.scrollWidth") <= 360
    labels = page.execute_script("return [...document.querySelectorAll('progress')].map(p => p.ariaLabel)")
    assert all("very-long-name" in label for label in labels)
    assert requested_elsewhere(page, desk.url) == []
    problems = [entry for entry in logged(page, "browser") if "Content Security Policy" in entry["message"]]
    assert problems == []


def requested_elsewhere(browser: Chrome, origin: str) -> list[str]:
    """Every address outside of its origin that the page has requested."""
    messages = [json.loads(entry["message"])["message"] for entry in logged(browser, "performance")]
    asked = [one["params"]["request"]["url"] for one in messages if one["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith((f"{origin}/", "data:", "chrome:"))]
