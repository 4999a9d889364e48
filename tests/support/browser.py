"""A real browser without a window: Debian's Chromium, driven over WebDriver."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

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
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("needs the programs chromium and chromedriver (Debian: chromium, chromium-driver)")
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
    """The text that each matching element shows, "" for a hidden one; read at one moment, while the page changes."""
    script = (
        "return [...document.querySelectorAll(arguments[0])].map(e => e.checkVisibility() ? e.innerText.trim() : '')"
    )
    texts: list[str] = browser.execute_script(script, selector)
    return texts


def bars(browser: Chrome) -> list[str | None]:
    """Where the progress bar of each download stands, in percent; None while that is not known."""
    script = "return [...document.querySelectorAll('#downloads progress')].map(bar => bar.getAttribute('value'))"
    values: list[str | None] = browser.execute_script(script)
    return values
