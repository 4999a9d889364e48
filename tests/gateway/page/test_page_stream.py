"""The page in a real browser, while the stream or the lists fail."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from tests.gateway.scripted import Connection, Document, ScriptedGateway, scripted_gateway
from tests.support.browser import bars, chromium, question, shown
from tests.support.programs import eventually

pytestmark = pytest.mark.xdist_group("page-stream")  # one process makes what all of them use

LONG = "unbroken" * 30


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("browser") / "profile") as running:
        yield running


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    with scripted_gateway() as running:
        yield running


def download(name: str, percent: int = 0, **more: object) -> Document:
    return {
        "model_ref": f"hf:acme/{name}",
        "download_id": f"uid-{name}",
        "namespace": "models",
        "name": name,
        "state": "Downloading",
        "bytes": percent * 10,
        "total": 1000,
        "percent": percent,
        "bytes_per_second": 100,
        "eta_seconds": 9,
        "queue_position": None,
        **more,
    }


def model(name: str) -> Document:
    return {
        "model_ref": f"hf:acme/{name}",
        "download_id": f"uid-{name}",
        "namespace": "models",
        "name": name,
        "claim": "models",
        "path": f"hf/acme/{name}/{name}.gguf",
        "size_bytes": 1000,
    }


def connect(browser: Chrome, gateway: ScriptedGateway) -> Connection:
    """Opens the page; its stream tells it to reconnect after 100 ms."""
    browser.get(gateway.url)
    connection = gateway.connection()
    connection.send(b"retry: 100\n\n")
    return connection


@contextmanager
def timers(browser: Chrome, milliseconds: str) -> Iterator[None]:
    """In pages that are opened in the block, `setTimeout` waits for the value of this expression of `ms`."""
    source = f"const wait = setTimeout; window.setTimeout = (work, ms) => wait(work, ({milliseconds}));"
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        yield
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)


@pytest.mark.parametrize("cut", [Connection.end, Connection.lose])
def test_a_stream_that_is_cut_goes_on_where_it_was(
    browser: Chrome, gateway: ScriptedGateway, cut: Callable[[Connection], None]
) -> None:
    first = connect(browser, gateway)
    assert first.last_event_id is None
    gateway.downloads = [download("tiny", 25)]
    first.tell("progress", download("tiny", 25), last_id=41)
    first.tell("sync", {"ids": ["uid-tiny"]}, last_id=41)
    eventually(lambda: bars(browser) == ["25"], "the bar stands at 25")
    cut(first)
    second = gateway.connection()
    assert second.last_event_id == "41"
    second.tell("progress", download("tiny", 75), last_id=42)
    eventually(lambda: bars(browser) == ["75"], "the bar has moved on")
    assert shown(browser, "#connection") == ["Live"]


def test_a_download_that_was_deleted_during_a_gap_disappears(browser: Chrome, gateway: ScriptedGateway) -> None:
    gateway.lists = 503
    first = connect(browser, gateway)
    first.tell("progress", download("kept", 10))
    first.tell("progress", download("gone", 20))
    first.tell("sync", {"ids": ["uid-kept", "uid-gone"]})
    eventually(lambda: bars(browser) == ["10", "20"], "both are there")
    first.end()
    gateway.connection().tell("sync", {"ids": ["uid-kept"]})
    eventually(lambda: bars(browser) == ["10"], "one is left")


def test_an_old_failure_stays_until_the_lists_no_longer_have_it(browser: Chrome, gateway: ScriptedGateway) -> None:
    gateway.downloads = [download("old", state="AccessDenied", error="private")]
    first = connect(browser, gateway)
    first.tell("sync", {"ids": []})
    eventually(lambda: bars(browser) == ["0"], "the failure is shown")
    gateway.lists = 503
    first.end()
    second = gateway.connection()
    second.tell("sync", {"ids": []})
    second.tell("progress", download("other", 10))
    eventually(lambda: bars(browser) == ["0", "10"], "nobody has said that it is gone")
    gateway.lists, gateway.downloads = 200, [download("other", 10)]
    second.end()
    gateway.connection().tell("sync", {"ids": ["uid-other"]})
    eventually(lambda: bars(browser) == ["10"], "it is gone")


def test_a_gateway_that_can_not_answer_is_asked_again_ever_more_slowly(
    browser: Chrome, gateway: ScriptedGateway
) -> None:
    with timers(browser, "(window.waits ??= []).push(ms), ms < 45000 ? ms / 20 : ms"):
        first = connect(browser, gateway)
        first.send(b"retry: 4000\n\n")
        first.tell("sync", {"ids": []})
        gateway.refusals = [503, 502]
        first.end()
        gateway.connection().tell("sync", {"ids": []})
        eventually(lambda: shown(browser, "#connection") == ["Live"], "it is live again")
        waits = [ms for ms in browser.execute_script("return waits") if 2000 <= ms < 45000]
    assert gateway.refusals == []
    assert len(waits) == 3
    assert all(4000 * 2**turn / 2 <= ms <= 4000 * 2**turn for turn, ms in enumerate(waits))


def test_a_connection_that_is_dead_but_open_is_given_up(browser: Chrome, gateway: ScriptedGateway) -> None:
    with timers(browser, "ms === 45000 ? 1500 : ms"):
        connect(browser, gateway).tell("sync", {"ids": []}, last_id=7)
        assert gateway.connection().last_event_id == "7"


def test_a_token_that_is_refused_later_is_asked_for_again(browser: Chrome, gateway: ScriptedGateway) -> None:
    first = connect(browser, gateway)
    first.tell("sync", {"ids": []})
    assert not browser.find_element(By.ID, "login").is_displayed()
    gateway.refusals = [401]
    first.end()
    eventually(lambda: browser.find_element(By.ID, "login").is_displayed(), "the page asks for a token")
    browser.find_element(By.ID, "token").send_keys("another")
    browser.find_element(By.ID, "scope").send_keys("team-a")
    browser.find_element(By.CSS_SELECTOR, "#login button").click()
    gateway.connection().tell("sync", {"ids": []})
    eventually(lambda: gateway.asked("GET", "?namespace=team-a"), "only that namespace is asked for")
    assert not browser.find_element(By.ID, "login").is_displayed()
    assert browser.find_element(By.ID, "namespace").get_attribute("value") == "team-a"


def test_events_are_read_whole_however_they_arrive(browser: Chrome, gateway: ScriptedGateway) -> None:
    connection = connect(browser, gateway)
    name = "größe\u2028模型"
    whole = (
        ": a comment\r\n\r\nid: 5\r\nevent: progress\r\n"
        f'data: {{"model_ref":"{name}","download_id":"one","namespace":"models","name":"one",\r\n'
        'data: "state":"Downloading","bytes":1,"total":2,"percent":50,\r\n'
        'data: "bytes_per_second":null,"eta_seconds":null}\r\n\r\n'
    )
    for byte in whole.encode():
        connection.send(bytes([byte]))
    eventually(lambda: bars(browser) == ["50"], "the event was read")
    shown = browser.find_element(By.CSS_SELECTOR, "#downloads .ref").get_attribute("textContent")
    assert shown == name


def test_failures_that_the_stream_no_longer_sends_are_shown_and_tried_again(
    browser: Chrome, gateway: ScriptedGateway
) -> None:
    gateway.downloads = [download("old", state="AccessDenied", error="private; name a Secret")]
    connect(browser, gateway).tell("sync", {"ids": []})
    eventually(lambda: shown(browser, "#downloads .message") == ["private; name a Secret"], "the failure is shown")
    browser.find_element(By.CSS_SELECTOR, "#downloads .again").click()
    call = eventually(lambda: gateway.asked("POST", "/download"), "it is asked for again")[0]
    assert call.body == {"model_ref": "hf:acme/old", "namespace": "models", "name": "old"}


def test_a_download_from_another_hub_is_tried_again_there(browser: Chrome, gateway: ScriptedGateway) -> None:
    gateway.downloads = [download("old", state="AccessDenied", error="private", endpoint="https://mirror.example")]
    connect(browser, gateway).tell("sync", {"ids": []})
    eventually(lambda: shown(browser, "#downloads .message") == ["private"], "the failure is shown")
    browser.find_element(By.CSS_SELECTOR, "#downloads .again").click()
    call = eventually(lambda: gateway.asked("POST", "/download"), "it is asked for again")[0]
    assert isinstance(call.body, dict)
    assert call.body["spec"] == {"endpoint": "https://mirror.example"}


def test_a_download_that_waits_says_for_what(browser: Chrome, gateway: ScriptedGateway) -> None:
    gateway.downloads = [download("big", 5, state="InsufficientStorage", message="3 GiB are needed")]
    connect(browser, gateway).tell("progress", download("big", 40, state="InsufficientStorage"))
    eventually(lambda: shown(browser, "#downloads .message") == ["3 GiB are needed"], "the message is shown")
    assert bars(browser) == ["40"], "a list that is older than the stream took the bar back"


def test_only_news_is_announced(browser: Chrome, gateway: ScriptedGateway) -> None:
    failed = [download(name, state="NotGGUF", error=f"{name} is no model") for name in ("old", "new")]
    gateway.downloads = failed
    connection = connect(browser, gateway)
    connection.tell("error", failed[0])
    connection.tell("sync", {"ids": ["uid-old"]})
    connection.tell("error", failed[0])
    connection.tell("error", failed[1])
    eventually(lambda: shown(browser, "#announcements") != [""], "something is announced")
    assert shown(browser, "#announcements") == ["hf:acme/new failed: new is no model"]


def test_many_that_end_together_are_one_question_and_few_words(browser: Chrome, gateway: ScriptedGateway) -> None:
    names = [f"m{number}" for number in range(300)]
    connection = connect(browser, gateway)
    connection.tell("sync", {"ids": []})
    gateway.models = [model(name) for name in names]
    for name in names:
        connection.tell("complete", download(name, 100, state="Available", path=f"{name}.gguf"))
    eventually(lambda: len(browser.find_elements(By.CSS_SELECTOR, "#models .card")) == 300, "all are shown")
    assert len(gateway.asked("GET", "")) <= 10
    assert shown(browser, "#announcements") == ["hf:acme/m0 is ready"]


def test_a_refused_deletion_is_shown_at_its_card(browser: Chrome, gateway: ScriptedGateway) -> None:
    gateway.models = [model("shared")]
    connect(browser, gateway).tell("sync", {"ids": []})
    eventually(lambda: shown(browser, "#models .ref") == ["hf:acme/shared"], "the model is shown")
    browser.find_element(By.CSS_SELECTOR, "#models .remove").click()
    question(browser, accept=True)
    eventually(lambda: shown(browser, "#models .problem") == ["others hold <b>this</b> model"], "the refusal is shown")
    assert gateway.asked("DELETE", "?namespace=models&model_ref=hf%3Aacme%2Fshared")


def test_the_longest_names_fit_a_phone(browser: Chrome, gateway: ScriptedGateway) -> None:
    gateway.downloads = [download(LONG, state="AccessDenied", error=LONG)]
    gateway.models = [model(LONG)]
    phone = {"width": 360, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    try:
        connect(browser, gateway).tell("sync", {"ids": []})
        eventually(lambda: shown(browser, "#models .card"), "the lists are shown")
        browser.find_element(By.ID, "change-token").click()
        assert browser.find_element(By.ID, "login").is_displayed()
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_keyboard_stays_where_a_card_was(browser: Chrome, gateway: ScriptedGateway) -> None:
    connection = connect(browser, gateway)
    gateway.downloads = [download("tiny", 25)]
    connection.tell("progress", download("tiny", 25))
    eventually(lambda: bars(browser) == ["25"], "the bar is there")
    browser.execute_script("document.querySelector('#downloads .remove').focus()")
    gateway.downloads = []
    connection.tell("deleted", download("tiny", 25))
    eventually(lambda: bars(browser) == [], "the card is gone")
    assert browser.switch_to.active_element.get_attribute("id") == "downloads-title"
