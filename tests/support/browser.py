"""A real browser without a window: Debian's Chromium, driven over WebDriver."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium.common.exceptions import NoAlertPresentException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By

from tests.support import tools
from tests.support.programs import eventually

_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the tests run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium(profile: Path) -> Iterator[Chrome]:
    """A browser with an empty profile, which logs what pages say on the console and request."""
    program, driver = tools.require("chromium"), tools.require("chromedriver")
    options = ChromeOptions()
    options.binary_location = program
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = Chrome(options=options, service=ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


def shown(browser: Chrome, selector: str) -> list[str]:
    """The text of each matching element, "" for a hidden one. All are read at once, because the page changes.

    It is the textContent: innerText is empty for elements that the browser does not render because they are off-screen.
    """
    script = (
        "return [...document.querySelectorAll(arguments[0])].map(e => e.checkVisibility() ? e.textContent.trim() : '')"
    )
    texts: list[str] = browser.execute_script(script, selector)
    return texts


def bars(browser: Chrome) -> list[str | None]:
    """The progress bar of each download in percent; None while the total is unknown."""
    script = "return [...document.querySelectorAll('#downloads progress')].map(bar => bar.getAttribute('value'))"
    values: list[str | None] = browser.execute_script(script)
    return values


def logged(browser: Chrome, kind: str) -> list[dict[str, str]]:
    """The entries of the log `kind` (`browser` or `performance`) since the last call."""
    entries: list[dict[str, str]] = browser.get_log(kind)  # type: ignore[no-untyped-call]
    return entries


def log_in(browser: Chrome, url: str, token: str) -> None:
    """Opens the page and enters a token; returns when the event stream is open."""
    browser.get(f"{url}/")
    eventually(lambda: browser.find_element(By.ID, "token").is_displayed(), "the page asks for a token")
    browser.find_element(By.ID, "token").send_keys(token)
    browser.find_element(By.CSS_SELECTOR, "#login button").click()
    eventually(lambda: shown(browser, "#connection") == ["Live"], "the stream is open")


def question(browser: Chrome, *, accept: bool) -> str:
    """Waits for a confirmation dialog and answers it; returns its text."""

    def asked() -> str | None:
        try:
            return str(browser.switch_to.alert.text)
        except NoAlertPresentException:
            return None

    text = eventually(asked, "the page asks")
    if accept:
        browser.switch_to.alert.accept()
    else:
        browser.switch_to.alert.dismiss()
    return text


def screenshot(browser: Chrome, name: str) -> None:
    """Writes .artifacts/page-`name`.png, for people to look at."""
    file = Path(__file__).parents[2] / ".artifacts" / f"page-{name}.png"
    file.parent.mkdir(exist_ok=True)
    browser.save_screenshot(str(file))
