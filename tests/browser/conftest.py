"""The built dashboard, served by the real API of a running city, in a real Chromium.

`city` runs for the session. `desk` and `phone` are signed-in pages. Whatever page a test opens is watched: a console
error, an uncaught exception, or a request to another origin fails the test that caused it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from platform_api.screenshots_cli import CHROMIUM_ARGUMENTS, chromium_path, open_page, sign_in
from tests.browser.city import ROOT, City

expect.set_options(timeout=20_000)  # a machine that also builds or tests something else is slow, and not wrong
DIST = ROOT / "platform_api" / "dashboard" / "dist" / "index.html"


@dataclass
class Watch:
    """What a page did that a dashboard must not do."""

    origin: str
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    requests: int = 0
    forgiving: bool = False  # a test that takes the platform away forgives the red lines of the browser's console

    def follow(self, page: Page) -> None:
        page.on("pageerror", lambda error: self.errors.append(f"uncaught: {error}"))
        page.on("console", lambda m: self.errors.append(f"{m.text} ({m.location})") if m.type == "error" else None)
        page.on("request", lambda request: self.see(request.url))

    def see(self, url: str) -> None:
        self.requests += 1
        if not url.startswith((self.origin + "/", "data:", f"blob:{self.origin}")):
            self.elsewhere.append(url)


@pytest.fixture(scope="session")
def city(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[City]:
    """A city of 240 simulated devices and a probe, at 60 times the speed of the clock."""
    if not DIST.exists():
        pytest.fail("the dashboard is not built: ./run setup, or npm ci && npm run build in platform_api/dashboard")
    made = City(tmp_path_factory.mktemp("city"), postgres_url)
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, drawing in software."""
    path = chromium_path()
    if path is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium: apt-get install chromium")
        pytest.skip("no Chromium: apt-get install chromium, or name one in DURE_CHROMIUM")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def watch(city: City) -> Iterator[Watch]:
    """Watches the pages of one test, and judges them at its end."""
    watching = Watch(city.url)
    yield watching
    assert watching.elsewhere == []
    if not watching.forgiving:
        assert watching.errors == []


Opener = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser, watch: Watch, tmp_path: Path) -> Iterator[Opener]:
    """Opens a watched page of some width, language and appearance; closes it at the end."""
    pages: list[Page] = []

    def opener(width: int = 1440, language: str = "en", theme: str = "light") -> Page:
        page = open_page(browser, width, language, theme)
        page.set_default_timeout(60_000)
        watch.follow(page)
        pages.append(page)
        return page

    yield opener
    for page in pages:
        page.context.close()


@pytest.fixture
def desk(opened: Opener, city: City) -> Page:
    """Signed in, 1440 px wide, English, light; the probe's clock is the city's."""
    city.catch_up()
    page = opened()
    sign_in(page, city.url, city.name, city.password)
    return page


@pytest.fixture
def phone(opened: Opener, city: City) -> Page:
    """Signed in, 390 px wide, Korean, light."""
    page = opened(390, "ko")
    sign_in(page, city.url, city.name, city.password)
    return page
